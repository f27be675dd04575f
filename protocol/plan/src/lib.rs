//! Plans: text in, a [`Plan`] out. A plan says which peer has which files and which it wants.
//!
//! Three forms are read into the same plan: a folder of `in<R>.txt` ([`parse_course`]), a folder
//! of `peer<R>/` directories whose wishes stand in a file `wants` ([`parse_wants`]), and a
//! `plan.toml` ([`parse_toml`]). This crate never opens a file, looks into a folder, or asks the
//! environment anything: the app reads, this crate understands. Whatever the bytes, it returns a
//! plan or a [`PlanError`] with file and line, in memory proportional to the input.
//!
//! ```
//! let toml = r#"
//!     [[node]]
//!     ranks = "1-2"
//!     root = "work/{rank}"
//!     want = ["model/**"]
//! "#;
//! let plan = dunlin_plan::parse_toml("plan.toml", toml.as_bytes())?;
//! assert_eq!(plan.nodes[0].ranks.len(), 2);
//!
//! let wrong = dunlin_plan::parse_course("in1.txt", b"-3").unwrap_err();
//! let message = "in1.txt:1: expected the number of owned files, found `-3`; ";
//! assert!(wrong.to_string().starts_with(message));
//! # Ok::<(), dunlin_plan::PlanError>(())
//! ```

mod course;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod name;
mod pattern;
pub mod place;
mod plan;
mod ranks;
mod toml;
mod wants;

pub use self::toml::{
    Generate, MAX_GENERATED, MAX_HOSTS, MAX_RANKS, NodeRule, Pin, TomlPlan, expand_hosts,
    parse_place, parse_ranks, parse_toml,
};
pub use course::{CourseInput, MAX_TOKEN, TokenFile, parse_course, token_line};
pub use fault::{Fault, PlanError};
pub use pattern::{MAX_PATTERN, Pattern, PatternError};
pub use plan::{Have, PeerPlan, PeerSource, Plan, PlanForm};
pub use ranks::missing_rank;
pub use wants::parse_wants;
