//! The extension protocol (BEP 10) and what is said in it: its handshake, metadata (BEP 9), "I want
//! nothing" (BEP 21) and "I have it no longer" (BEP 54). Payloads to values and back; never files,
//! never who may say what.
//!
//! Numbers of extensions are local: a message carries the number that its *receiver* gave.

mod handshake;
mod metadata;

pub use handshake::{ExtendedHandshake, ExtensionIds, MAX_CLIENT_NAME};
pub use metadata::{METADATA_PIECE, MetadataMessage, metadata_pieces};

use bytes::Bytes;
use thiserror::Error;

/// The number of the extension handshake (BEP 10).
pub const HANDSHAKE: u8 = 0;

/// The name of metadata among extensions (BEP 9).
pub const UT_METADATA: &str = "ut_metadata";
/// The name of "I want nothing" among extensions (BEP 21).
pub const UPLOAD_ONLY: &str = "upload_only";
/// The name of "I have it no longer" among extensions (BEP 54).
pub const DONT_HAVE: &str = "lt_donthave";

/// Why the payload of an extension makes no sense. The sender is to blame; the messages before and
/// after it can still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExtendedError {
    /// The payload is no dictionary.
    #[error("malformed message of `{0}`: expected a bencoded dictionary; hang up")]
    NotDict(&'static str),
    /// A key that is needed is absent, or its value is of no use.
    #[error("malformed message of `{extension}`: key `{key}` is absent or wrong; hang up")]
    Key {
        /// The extension.
        extension: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A payload of fixed length has another one.
    #[error(
        "malformed message of `{extension}`: expected {expected} bytes, found {found}; hang up"
    )]
    Length {
        /// The extension.
        extension: &'static str,
        /// Bytes that it has.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
}

/// The payload of `upload_only` (BEP 21): whether the sender wants nothing.
#[must_use]
pub fn write_upload_only(upload_only: bool) -> Bytes {
    Bytes::copy_from_slice(&[u8::from(upload_only)])
}

/// Reads the payload of `upload_only` (BEP 21).
///
/// # Errors
/// If it is not one byte.
pub fn read_upload_only(payload: &[u8]) -> Result<bool, ExtendedError> {
    match payload {
        [byte] => Ok(*byte != 0),
        _ => Err(ExtendedError::Length {
            extension: "upload_only",
            expected: 1,
            found: payload.len(),
        }),
    }
}

/// The payload of `lt_donthave` (BEP 54): the piece that the sender has no longer.
#[must_use]
pub fn write_dont_have(piece: u32) -> Bytes {
    Bytes::copy_from_slice(&piece.to_be_bytes())
}

/// Reads the payload of `lt_donthave` (BEP 54). The number is as it stands on the wire.
///
/// # Errors
/// If it is not four bytes.
pub fn read_dont_have(payload: &[u8]) -> Result<u32, ExtendedError> {
    let four = <[u8; 4]>::try_from(payload).map_err(|_| ExtendedError::Length {
        extension: "lt_donthave",
        expected: 4,
        found: payload.len(),
    })?;
    Ok(u32::from_be_bytes(four))
}

#[cfg(test)]
mod tests;
