//! Tokens of fixed size, which the structural pass makes and the typed access reads.

use crate::error::{Flaw, FlawKind};

/// The four kinds of values (BEP 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An integer of any size.
    Integer,
    /// A byte string; not text by itself.
    Bytes,
    /// A list of values.
    List,
    /// A dictionary.
    Dict,
}

/// One value or key: spans over the input. 32-bit offsets halve the memory of a large document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    /// The first byte of the encoding.
    pub(crate) start: u32,
    /// One past the last byte of the encoding.
    pub(crate) end: u32,
    /// The first byte after the prefix: digits, the string's bytes, or the first element.
    pub(crate) content: u32,
    /// The index of the first token after this value.
    pub(crate) next: u32,
    pub(crate) kind: Kind,
    pub(crate) flaws: u8,
}

const FLAWS: [(u8, FlawKind); 4] = [
    (1, FlawKind::IntegerZeros),
    (2, FlawKind::LengthZeros),
    (4, FlawKind::UnsortedKey),
    (8, FlawKind::DuplicateKey),
];

impl Token {
    pub(crate) fn flaws(self) -> impl Iterator<Item = Flaw> {
        let offset = self.start as usize;
        FLAWS
            .into_iter()
            .filter(move |(bit, _)| self.flaws & bit != 0)
            .map(move |(_, kind)| Flaw { offset, kind })
    }
}
