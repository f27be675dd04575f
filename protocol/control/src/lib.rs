//! The control messages of a cluster: what peers and the tracker of rank 0 send one another, and
//! how that stands in bytes.
//!
//! It only computes: it never sends a message, asks a clock, or opens a file. Whatever bytes it is
//! given, it returns a message or says who is wrong.
//!
//! ```
//! use dunlin_control::{Control, decode, encode};
//!
//! let lookup = Control::Lookup { name: "model/weights.bin".into() };
//! assert_eq!(decode(&encode(&lookup)), Ok(lookup));
//! assert!(decode(&[4, 0, 0, 0, 200, b'x']).is_err());
//! ```

mod check;
mod codec;
mod control;
mod error;
#[doc(hidden)]
pub mod fuzzing;

pub use codec::{decode, encode};
pub use control::{
    Control, FailedFile, LinkFrom, Load, Location, Member, OwnedFile, Provenance, Refresh,
    Register, ShutdownReason, Space, Start, Swarm, TorrentAssignment, WITHDRAWN, Want,
};
pub use error::ControlError;
