//! What can be wrong with bencoded bytes. Offsets count bytes from the start of the input.

use std::fmt;
use thiserror::Error;

/// Why bytes are not bencode. The sender of the bytes is to blame, except for
/// [`DecodeError::TooDeep`], [`DecodeError::TooManyTokens`] and [`DecodeError::InputTooLong`],
/// which are limits of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("bencode ends at byte {offset}, expected {expected}")]
    UnexpectedEnd {
        /// Where the input ends.
        offset: usize,
        /// What had to come.
        expected: &'static str,
    },
    /// A byte that cannot stand here.
    #[error("bencode byte {offset} is {found:#04x}, expected {expected}")]
    UnexpectedByte {
        /// Where the byte is.
        offset: usize,
        /// The byte.
        found: u8,
        /// What had to come.
        expected: &'static str,
    },
    /// A byte string claims more bytes than are left.
    #[error("bencode string at byte {offset} is longer than the {left} bytes that are left")]
    StringTooLong {
        /// Where the string begins.
        offset: usize,
        /// Bytes left after its colon.
        left: usize,
    },
    /// A key of a dictionary that is not a byte string.
    #[error("bencode dictionary key at byte {offset} is no byte string")]
    KeyNotString {
        /// Where the key begins.
        offset: usize,
    },
    /// A dictionary ends after a key.
    #[error("bencode dictionary ends at byte {offset} where a value had to come")]
    MissingValue {
        /// Where the value is missing.
        offset: usize,
    },
    /// More nested lists and dictionaries than allowed.
    #[error("bencode nests deeper than {limit} at byte {offset}")]
    TooDeep {
        /// Where the limit was passed.
        offset: usize,
        /// The limit.
        limit: usize,
    },
    /// More values and keys than allowed.
    #[error("bencode has more than {limit} tokens (at byte {offset})")]
    TooManyTokens {
        /// Where the limit was passed.
        offset: usize,
        /// The limit.
        limit: usize,
    },
    /// The input is longer than spans can say (4 GiB).
    #[error("bencode of {found} bytes is longer than the 4294967295 that can be read")]
    InputTooLong {
        /// Bytes found.
        found: usize,
    },
    /// Strict mode: bytes follow the value.
    #[error("bencode value ends at byte {offset} and more bytes follow")]
    TrailingData {
        /// Where the value ends.
        offset: usize,
    },
    /// Strict mode: the value is readable, but this is not its valid encoding.
    #[error("bencode is not canonical: {0}")]
    NotCanonical(Flaw),
}

/// A soft error: an encoding that BEP 3 forbids and that has only one possible meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where the flawed value or key begins, in bytes from the start of the input.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: FlawKind,
}

/// The kinds of soft errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlawKind {
    /// An integer with leading zeros, or minus zero.
    IntegerZeros,
    /// A string length with leading zeros.
    LengthZeros,
    /// A key that is less than the key before it.
    UnsortedKey,
    /// A key that equals the key before it. The first of them counts.
    DuplicateKey,
}

impl fmt::Display for FlawKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FlawKind::IntegerZeros => "integer with leading zeros or minus zero",
            FlawKind::LengthZeros => "string length with leading zeros",
            FlawKind::UnsortedKey => "dictionary key out of order",
            FlawKind::DuplicateKey => "duplicate dictionary key",
        })
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}
