//! The tracker of a cluster: control messages and their codec, the sets that registrations make,
//! the swarm table and its orders. And those of the internet: announces over HTTP and UDP, and the
//! swarm table of a public tracker.
//!
//! It only computes: it never sends a message, asks a clock, or opens a file. Whatever bytes or
//! registrations it is given, it returns a value or says who is wrong.
//!
//! ```
//! use dunlin_tracker::{Control, decode, encode};
//!
//! let lookup = Control::Lookup { name: "model/weights.bin".into() };
//! assert_eq!(decode(&encode(&lookup)), Ok(lookup));
//! assert!(decode(&[4, 0, 0, 0, 200, b'x']).is_err());
//! ```

mod announce;
mod check;
mod codec;
mod control;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
mod order;
pub mod public;
mod sets;
mod table;
pub mod udp;
mod url;

pub use announce::{
    AnnounceEvent, AnnounceFailure, AnnounceReply, AnnounceRequest, RetryIn, ScrapeCounts,
};
pub use codec::{ControlError, decode, encode};
pub use control::{
    Control, FailedFile, Go, LinkFrom, Load, Member, Node, Outline, OwnedFile, Refresh, Register,
    ShutdownReason, Space, Standing, Swarm, WITHDRAWN, Want,
};
pub use order::{TrackerMap, TrackerOrder, UnknownPolicy};
pub use sets::{
    Admission, Conflict, Holding, LatePart, LooseFile, MAX_SET_PIECES, Move, Obstacle, OnConflict,
    Rules, SetPlan, Sets, Settled, Tree, admit, make_sets,
};
pub use table::{DumpRow, Listing, SwarmTable};
pub use url::{MAX_TRACKER_URL, Scheme, TrackerUrl, TrackerUrlError, is_public};
