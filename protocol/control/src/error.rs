//! What may be wrong with a control message.

use dunlin_base::BitfieldError;
use dunlin_metainfo::{EntryError, SetError};
use thiserror::Error;

/// Why bytes are no control message, or a registration counts for nothing. The sender is to blame;
/// the message is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The message ends too early, or a length in it is too large.
    #[error("malformed control message: {what} needs {needed} bytes, found {left}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes it needs at least.
        needed: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// Bytes follow the end of the message.
    #[error("malformed control message: {left} bytes after its end, expected none")]
    Trailing {
        /// How many.
        left: usize,
    },
    /// A tag that means nothing here.
    #[error("malformed control message: {found} is no tag of {what}")]
    Tag {
        /// What was being read.
        what: &'static str,
        /// The byte that was found.
        found: u8,
    },
    /// Text that is not UTF-8.
    #[error("malformed control message: {what} is not UTF-8")]
    Text {
        /// What was being read.
        what: &'static str,
    },
    /// A name or glob that must not be used.
    #[error("`{name}` is refused: {why}; rename it at the peer that registers it")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A registered file whose parts do not fit together.
    #[error("the file `{name}` is refused: {why}; the peer that registers it is at fault")]
    File {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Bytes that are no bitfield of that many pieces.
    #[error("malformed control message: {0}")]
    Bitfield(#[from] BitfieldError),
    /// An entry of a tree that must not be made.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Metainfo whose parts do not fit together.
    #[error("malformed control message: the metainfo is wrong: {0}")]
    Set(#[from] SetError),
}
