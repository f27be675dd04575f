//! Trackers of the internet: announces and scrapes over HTTP and UDP, byte for byte, and the
//! addresses of trackers.
//!
//! It only computes: it never sends a message, asks a clock, or opens a file. Whatever bytes it is
//! given, it returns a value or says who is wrong.
//!
//! ```
//! use dunlin_tracker::{Scheme, TrackerUrl};
//!
//! let url = TrackerUrl::parse("udp://tracker.example:6969/announce").unwrap();
//! assert_eq!((url.scheme(), url.host(), url.port()), (Scheme::Udp, "tracker.example", 6969));
//! ```

mod announce;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod udp;
mod url;

pub use announce::{
    AnnounceEvent, AnnounceFailure, AnnounceReply, AnnounceRequest, RetryIn, ScrapeCounts,
};
pub use url::{MAX_TRACKER_URL, Scheme, TrackerUrl, TrackerUrlError, is_public};
