//! Control messages as bytes, for fabrics that carry bytes: a tag, then the fields in order.
//! Numbers are big-endian; text, lists and bitfields have their length in front as a `u32`; an
//! option is a byte 0 or 1. Every message has exactly one encoding.
//!
//! The decoder is strict: every byte is used, and a length is checked against the bytes that are
//! left before anything is allocated, so that memory is bounded by a small multiple of the message.

mod read;
mod write;

use crate::{Control, ControlError};

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
