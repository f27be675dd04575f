//! Ranks over a fabric: rank 0 hosts the tracker, the others are peers that share files.
//!
//! The engine decides; this crate moves the bytes, keeps the threads and the clock, and records
//! what happened. It never decides which piece comes next, whom to serve or whom to trust, never
//! reads a plan, and prints nothing: it takes a [`RunConfig`] and returns a [`Report`].
//!
//! ```
//! use dunlin_cluster::{FabricKind, PeerConfig, PeerContent, RunConfig, RunControl};
//! use dunlin_cluster::{VirtualConfig, run};
//! use dunlin_base::Rank;
//! use dunlin_disk::{Fs, MemFs};
//! use dunlin_plan::TokenFile;
//! use std::{path::Path, sync::Arc};
//!
//! let disk = MemFs::new();
//! let tokens = vec!["0a1b".into(), "2c3d".into()];
//! let owned = vec![TokenFile { name: "file1".into(), tokens }];
//! let content = |owned, wanted| PeerContent::Tokens { owned, wanted, out: "/out".into() };
//! let config = RunConfig {
//!     peers: vec![
//!         PeerConfig { rank: Rank(1), content: content(owned, vec![]) },
//!         PeerConfig { rank: Rank(2), content: content(vec![], vec!["file1".into()]) },
//!     ],
//!     fabric: FabricKind::Virtual(VirtualConfig::default()),
//!     ..RunConfig::course(Arc::new(disk.clone()))
//! };
//! let report = run(config, &RunControl::new());
//! assert!(report.ok(), "{}", report.to_json());
//! let written = disk.read_all(Path::new("/out/client2_file1"), 100)?;
//! assert_eq!(written, b"0a1b\n2c3d\n");
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod chart;
mod config;
pub mod content;
mod control;
pub mod download;
pub mod fabric;
pub mod fault;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod lock;
pub mod peer;
pub mod report;
pub mod run;
mod supervision;
pub mod trace;
pub mod tracker;
pub mod upload;

pub use chart::{ChartError, chart};
pub use config::{FoundFile, Mode, PeerConfig, PeerContent, Placement};
pub use control::{ProgressCell, RankProgress, RankState, RunControl};
pub use fabric::join::JoinError;
pub use fabric::mpi;
pub use fabric::process;
pub use fabric::tcp;
pub use fabric::virtual_time::{LinkRates, VirtualConfig};
pub use fault::{Fault, FaultError};
pub use report::{FileReport, FileState, PeerReport, PeerState, Report, Role, RunError};
pub use run::{FabricKind, RunConfig, run};
pub use supervision::{run_mark, watch, witness};
pub use trace::TraceSink;
