//! Bits in wire order (BEP 3: piece 0 is the most significant bit of byte 0) over `u64` words.

use crate::PieceIndex;
use thiserror::Error;

/// Why bytes are no bitfield of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BitfieldError {
    /// The number of bytes is not ceil(pieces / 8).
    #[error("bitfield of {found} bytes, expected {expected}")]
    Length {
        /// Bytes expected for the number of pieces.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A bit past the last piece is set.
    #[error("a spare bit of the bitfield is set")]
    SpareBits,
}

/// A set of pieces. Bit `i` of the wire is bit `63 - i % 64` of word `i / 64`, so that words
/// compare and convert to wire bytes by one byte swap. Bits past `len` are always 0.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Bitfield {
    words: Vec<u64>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// No pieces of `len`.
    #[must_use]
    pub fn new(len: u32) -> Bitfield {
        Bitfield { words: vec![0; len.div_ceil(64) as usize], len, ones: 0 }
    }

    /// All pieces of `len`.
    #[must_use]
    pub fn full(len: u32) -> Bitfield {
        let mut words = vec![u64::MAX; len.div_ceil(64) as usize];
        if let Some(last) = words.last_mut()
            && !len.is_multiple_of(64)
        {
            *last = !(u64::MAX >> (len % 64));
        }
        Bitfield { words, len, ones: len }
    }

    /// Reads the wire's bytes for a torrent of `len` pieces.
    ///
    /// # Errors
    /// If the length is wrong or a spare bit is set.
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Result<Bitfield, BitfieldError> {
        let expected = len.div_ceil(8) as usize;
        if bytes.len() != expected {
            return Err(BitfieldError::Length { expected, found: bytes.len() });
        }
        let mut field = Bitfield::new(len);
        for (word, chunk) in field.words.iter_mut().zip(bytes.chunks(8)) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_be_bytes(eight);
        }
        let spare = !Bitfield::full(len).words.last().copied().unwrap_or(0);
        if field.words.last().is_some_and(|last| last & spare != 0) {
            return Err(BitfieldError::SpareBits);
        }
        field.ones = field.words.iter().map(|word| word.count_ones()).sum();
        Ok(field)
    }

    /// Reads what a peer sent for a torrent of `len` pieces; `None` if its length is wrong. Spare
    /// bits stand for nothing: programs in use set them, and all others take no notice.
    #[must_use]
    pub fn from_peer(len: u32, bytes: &[u8]) -> Option<Bitfield> {
        let spare = len.next_multiple_of(8) - len;
        let mut own = bytes.to_vec();
        if let Some(last) = own.last_mut() {
            *last &= u8::MAX << spare;
        }
        Bitfield::from_bytes(len, &own).ok()
    }

    /// The wire's bytes: ceil(len / 8), spare bits 0.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8) as usize);
        bytes
    }

    /// How many pieces there are, held or not.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no pieces at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bits are set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// Whether every bit is set (true where there are none).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether `piece` is in the set; false past the end.
    #[must_use]
    pub fn has(&self, piece: PieceIndex) -> bool {
        piece.0 < self.len && self.words[piece.index() / 64] & mask(piece) != 0
    }

    /// Adds `piece`; returns whether it was new.
    ///
    /// # Panics
    /// If `piece` is past the end.
    pub fn set(&mut self, piece: PieceIndex) -> bool {
        assert!(piece.0 < self.len, "{piece:?} of {}", self.len);
        let word = &mut self.words[piece.index() / 64];
        let new = *word & mask(piece) == 0;
        *word |= mask(piece);
        self.ones += u32::from(new);
        new
    }

    /// Removes `piece`; returns whether it was there.
    ///
    /// # Panics
    /// If `piece` is past the end.
    pub fn clear(&mut self, piece: PieceIndex) -> bool {
        assert!(piece.0 < self.len, "{piece:?} of {}", self.len);
        let word = &mut self.words[piece.index() / 64];
        let was = *word & mask(piece) != 0;
        *word &= !mask(piece);
        self.ones -= u32::from(was);
        was
    }

    /// The pieces of the set, in order.
    pub fn ones(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        bits(self.words.iter().copied())
    }

    /// The pieces that are not in the set, in order.
    pub fn zeros(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        let len = self.len;
        bits(self.words.iter().map(|word| !word)).take_while(move |piece| piece.0 < len)
    }

    /// The pieces that are in `self` and not in `other`, in order. Sizes must agree.
    pub fn minus<'a>(&'a self, other: &'a Bitfield) -> impl Iterator<Item = PieceIndex> + 'a {
        debug_assert_eq!(self.len, other.len);
        bits(self.words.iter().zip(&other.words).map(|(mine, theirs)| mine & !theirs))
    }

    /// Whether `self` holds any piece that `other` lacks.
    #[must_use]
    pub fn has_any_minus(&self, other: &Bitfield) -> bool {
        debug_assert_eq!(self.len, other.len);
        self.words.iter().zip(&other.words).any(|(mine, theirs)| mine & !theirs != 0)
    }

    /// Whether any piece is in both. Sizes must agree.
    #[must_use]
    pub fn meets(&self, other: &Bitfield) -> bool {
        debug_assert_eq!(self.len, other.len);
        self.words.iter().zip(&other.words).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// Adds every piece of `other`. Sizes must agree.
    pub fn union_with(&mut self, other: &Bitfield) {
        debug_assert_eq!(self.len, other.len);
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
        self.ones = self.words.iter().map(|word| word.count_ones()).sum();
    }
}

fn mask(piece: PieceIndex) -> u64 {
    1 << (63 - piece.0 % 64)
}

fn bits(words: impl Iterator<Item = u64>) -> impl Iterator<Item = PieceIndex> {
    words.enumerate().flat_map(|(index, word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let bit = rest.leading_zeros();
            rest &= !(1 << (63 - bit));
            Some(PieceIndex(index as u32 * 64 + bit))
        })
    })
}

impl std::fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.len > 128 {
            return write!(f, "{}/{}", self.ones, self.len);
        }
        (0..self.len)
            .try_for_each(|piece| f.write_str(if self.has(PieceIndex(piece)) { "1" } else { "0" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wire_order_and_spare_bits() {
        // The W-6 vector: 10 pieces, have 0, 2, 9.
        let field = Bitfield::from_bytes(10, &[0xa0, 0x40]).unwrap();
        assert_eq!(field.ones().map(|p| p.0).collect::<Vec<_>>(), [0, 2, 9]);
        assert_eq!(field.to_bytes(), [0xa0, 0x40]);
        assert_eq!(Bitfield::from_bytes(10, &[0xa0, 0x20]), Err(BitfieldError::SpareBits));
        assert_eq!(Bitfield::from_peer(10, &[0xa0, 0x7f]), Some(field));
        assert_eq!(Bitfield::from_peer(8, &[0xff]), Some(Bitfield::full(8)));
        assert_eq!((Bitfield::from_peer(10, &[0]), Bitfield::from_peer(0, &[1])), (None, None));
        assert_eq!(Bitfield::from_peer(0, &[]), Some(Bitfield::new(0)));
        let wrong = Err(BitfieldError::Length { expected: 2, found: 3 });
        assert_eq!(Bitfield::from_bytes(10, &[0, 0, 0]), wrong);
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_bools(bools in proptest::collection::vec(any::<bool>(), 0..200)) {
            let mut field = Bitfield::new(bools.len() as u32);
            for (index, bit) in bools.iter().enumerate() {
                if *bit { field.set(PieceIndex(index as u32)); }
            }
            let all = (0..bools.len() as u32).map(PieceIndex);
            let (ones, zeros): (Vec<_>, Vec<_>) = all.partition(|piece| bools[piece.index()]);
            prop_assert_eq!(field.ones().collect::<Vec<_>>(), ones.clone());
            prop_assert_eq!(field.zeros().collect::<Vec<_>>(), zeros.clone());
            prop_assert_eq!(field.count() as usize, ones.len());
            prop_assert_eq!(&Bitfield::from_bytes(field.len(), &field.to_bytes()).unwrap(), &field);
            let full = Bitfield::full(field.len());
            prop_assert_eq!(full.minus(&field).collect::<Vec<_>>(), zeros.clone());
            prop_assert_eq!(full.has_any_minus(&field), !zeros.is_empty());
            let mut rest = Bitfield::new(field.len());
            zeros.iter().for_each(|piece| { rest.set(*piece); });
            prop_assert!(!field.meets(&rest));
            prop_assert_eq!(field.meets(&full), field.count() > 0);
            let mut copy = field.clone();
            copy.union_with(&full);
            prop_assert!(copy.is_full());
            for piece in ones { prop_assert!(field.clear(piece)); }
            prop_assert_eq!(field.count(), 0);
        }
    }
}
