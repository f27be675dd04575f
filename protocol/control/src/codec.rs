//! Control messages as bytes, for fabrics that carry bytes: a tag, then the fields in order.
//! Numbers are big-endian; text, lists and bitfields have their length in front as a `u32`; an
//! option is a byte 0 or 1. Every message has exactly one encoding.
//!
//! The decoder is strict: every byte is used, and a length is checked against the bytes that are
//! left before anything is allocated, so that memory is bounded by a small multiple of the message.

mod read;
mod write;

use crate::Control;
use dunlin_base::BitfieldError;
use dunlin_metainfo::{EntryError, SetError};
use thiserror::Error;

/// The tags, in the order in which the messages came to be.
mod tag {
    pub(super) const CHECKING: u8 = 0;
    pub(super) const REGISTER: u8 = 1;
    pub(super) const ALIVE: u8 = 2;
    pub(super) const GO: u8 = 3;
    pub(super) const LOOKUP: u8 = 4;
    pub(super) const SWARM: u8 = 5;
    pub(super) const REFUSED: u8 = 6;
    pub(super) const REFRESH: u8 = 7;
    pub(super) const LOAD_QUERY: u8 = 8;
    pub(super) const LOAD: u8 = 9;
    pub(super) const FILE_COMPLETE: u8 = 10;
    pub(super) const ALL_COMPLETE: u8 = 11;
    pub(super) const DEPARTED: u8 = 12;
    pub(super) const SHUTDOWN: u8 = 13;
    pub(super) const LINKABLE: u8 = 14;
}

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

/// The bytes of a message.
#[must_use]
pub fn encode(message: &Control) -> Vec<u8> {
    write::control(message)
}

/// The message that the bytes are, all of them.
///
/// # Errors
/// [`ControlError`] if they are no message; nothing larger than a small multiple of `bytes` was
/// allocated.
pub fn decode(bytes: &[u8]) -> Result<Control, ControlError> {
    read::control(bytes)
}

#[cfg(test)]
mod tests;
