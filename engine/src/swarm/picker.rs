//! Which piece next. Counts how many peers have each piece and keeps the pieces that may be started
//! in the order in which they should be. Knows nothing of peers, blocks or time.
//!
//! Rarest first keeps the open pieces in one list, sorted into buckets of equal availability:
//!
//! ```text
//!   list    [ 7 2 9 | 4 | 0 1 3 5 ]        a bucket is in random order
//!   bounds    0       3   4         8      bounds[a] = where the bucket of availability a begins
//! ```
//!
//! A HAVE moves one piece over one border: two swaps, however many pieces there are. Opening or
//! closing a piece costs one swap a bucket, so at most one a peer. Seeds are a counter and move
//! nothing.

use crate::config::PieceOrder;
use dunlin_base::{Bitfield, PieceIndex, Rng};

/// Pieces to complete before rarest first begins: a first piece that many peers have comes sooner,
/// and then there is something to share (practice of the field: four).
pub const RANDOM_FIRST_PIECES: u32 = 4;

const NOT_OPEN: u32 = u32::MAX;

/// The availability of every piece and the order of those that may be started.
#[derive(Clone, Debug)]
pub struct Picker {
    order: PieceOrder,
    /// Peers that have each piece, seeds not counted; empty until there is one.
    available: Vec<u32>,
    seeds: u32,
    /// Pieces that are wanted, not here and not started.
    open: Bitfield,
    list: Vec<PieceIndex>,
    /// Where each open piece stands in the list; empty until one is open.
    position: Vec<u32>,
    /// Rarest first only. `bounds.len()` is one more than the number of buckets.
    bounds: Vec<u32>,
    /// Sequential only: no open piece lies before it.
    cursor: u32,
}

impl Picker {
    /// A picker for `pieces` pieces of which none is open. The order within a bucket, and the order
    /// of [`PieceOrder::Random`], comes from `rng`.
    #[must_use]
    pub fn new(order: PieceOrder, pieces: u32) -> Picker {
        Picker {
            order,
            available: Vec::new(),
            seeds: 0,
            open: Bitfield::new(pieces),
            list: Vec::new(),
            position: Vec::new(),
            bounds: vec![0, 0],
            cursor: 0,
        }
    }

    /// The order it was made with.
    #[must_use]
    pub fn order(&self) -> PieceOrder {
        self.order
    }

    /// Opens many pieces at once, in random order: the start of a download.
    pub fn open_all(&mut self, pieces: impl Iterator<Item = PieceIndex>, rng: &mut Rng) {
        let mut pieces: Vec<PieceIndex> = pieces.filter(|piece| !self.open.has(*piece)).collect();
        rng.shuffle(&mut pieces);
        for piece in pieces {
            self.open(piece);
        }
    }

    /// The piece may be started (again).
    pub fn open(&mut self, piece: PieceIndex) {
        if !self.open.set(piece) {
            return;
        }
        self.cursor = self.cursor.min(piece.0);
        if self.order == PieceOrder::Sequential {
            return;
        }
        if self.position.is_empty() {
            self.position = vec![NOT_OPEN; self.open.len() as usize];
        }
        self.list.push(piece);
        let mut hole = self.list.len() - 1;
        if self.order == PieceOrder::Rarest {
            let bucket = self.counted(piece) as usize;
            self.grow(bucket);
            // Every bucket above moves up by one: its first piece goes to its new end.
            for above in (bucket + 1..self.bounds.len() - 1).rev() {
                let first = self.bounds[above] as usize;
                if first < self.bounds[above + 1] as usize {
                    self.put(self.list[first], hole);
                    hole = first;
                }
            }
            for bound in &mut self.bounds[bucket + 1..] {
                *bound += 1;
            }
        }
        self.put(piece, hole);
    }

    /// The piece was started, or is no longer wanted.
    pub fn close(&mut self, piece: PieceIndex) {
        if !self.open.clear(piece) {
            return;
        }
        if self.order == PieceOrder::Sequential {
            while self.cursor < self.open.len() && !self.open.has(PieceIndex(self.cursor)) {
                self.cursor += 1;
            }
            return;
        }
        let mut hole = self.position[piece.index()] as usize;
        self.position[piece.index()] = NOT_OPEN;
        if self.order == PieceOrder::Rarest {
            let bucket = self.counted(piece) as usize;
            // The last piece of this bucket and of every one above fills the hole below it.
            for above in bucket..self.bounds.len() - 1 {
                let last = self.bounds[above + 1] as usize - 1;
                if last != hole {
                    self.put(self.list[last], hole);
                    hole = last;
                }
                self.bounds[above + 1] -= 1;
            }
        } else if hole + 1 != self.list.len() {
            self.put(self.list[self.list.len() - 1], hole);
        }
        self.list.pop();
    }

    /// A peer has the piece.
    pub fn inc_availability(&mut self, piece: PieceIndex) {
        if self.available.is_empty() {
            self.available = vec![0; self.open.len() as usize];
        }
        let count = self.available[piece.index()];
        self.available[piece.index()] = count + 1;
        if self.order != PieceOrder::Rarest || !self.open.has(piece) {
            return;
        }
        let bucket = count as usize;
        self.grow(bucket + 1);
        let last = self.bounds[bucket + 1] as usize - 1;
        self.swap(self.position[piece.index()] as usize, last);
        self.bounds[bucket + 1] -= 1;
    }

    /// A peer that had the piece is gone or has lost it.
    ///
    /// # Panics
    /// If nobody had it: the caller counts wrong.
    pub fn dec_availability(&mut self, piece: PieceIndex) {
        let count = self.counted(piece);
        assert!(count > 0, "{piece:?} is lost by a peer that never had it");
        self.available[piece.index()] = count - 1;
        if self.order != PieceOrder::Rarest || !self.open.has(piece) {
            return;
        }
        let bucket = count as usize;
        let first = self.bounds[bucket] as usize;
        self.swap(self.position[piece.index()] as usize, first);
        self.bounds[bucket] += 1;
    }

    /// A peer that has everything came.
    pub fn add_seed(&mut self) {
        self.seeds += 1;
    }

    /// A peer that had everything left.
    ///
    /// # Panics
    /// If there was none.
    pub fn remove_seed(&mut self) {
        self.seeds = self.seeds.checked_sub(1).expect("a seed left that never came");
    }

    /// How many peers have the piece.
    #[must_use]
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.counted(piece) + self.seeds
    }

    /// How many peers have the piece, seeds not counted.
    fn counted(&self, piece: PieceIndex) -> u32 {
        self.available.get(piece.index()).copied().unwrap_or(0)
    }

    /// Whether the piece may be started.
    #[must_use]
    pub fn is_open(&self, piece: PieceIndex) -> bool {
        self.open.has(piece)
    }

    /// Whether any piece of these may be started.
    #[must_use]
    pub fn is_any_open(&self, pieces: &Bitfield) -> bool {
        self.open.meets(pieces)
    }

    /// How many pieces may be started.
    #[must_use]
    pub fn open_pieces(&self) -> u32 {
        self.open.count()
    }

    /// The first open piece, in the picker's order, that `accept` takes. With `random_first` rarest
    /// first begins at a place of its list that is drawn from it, instead of at the rarest piece.
    pub fn pick(
        &self,
        random_first: Option<&mut Rng>,
        mut accept: impl FnMut(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        match self.order {
            PieceOrder::Sequential => (self.cursor..self.open.len())
                .map(PieceIndex)
                .find(|piece| self.open.has(*piece) && accept(*piece)),
            PieceOrder::Random => self.list.iter().copied().find(|piece| accept(*piece)),
            PieceOrder::Rarest => {
                // Where there is no seed, nobody has the pieces of the first bucket.
                let skip = if self.seeds == 0 { self.bounds[1] as usize } else { 0 };
                let list = &self.list[skip..];
                if list.is_empty() {
                    return None;
                }
                let start = random_first.map_or(0, |rng| rng.below(list.len() as u64) as usize);
                let (before, after) = list.split_at(start);
                after.iter().chain(before).copied().find(|piece| accept(*piece))
            }
        }
    }

    fn grow(&mut self, bucket: usize) {
        let end = self.list.len() as u32;
        while self.bounds.len() < bucket + 2 {
            // The list may hold one piece that is not yet in a bucket: an end is where buckets end.
            let last = self.bounds.last().copied().unwrap_or(end);
            self.bounds.push(last);
        }
    }

    fn put(&mut self, piece: PieceIndex, position: usize) {
        self.list[position] = piece;
        self.position[piece.index()] = position as u32;
    }

    fn swap(&mut self, a: usize, b: usize) {
        let (first, second) = (self.list[a], self.list[b]);
        self.put(first, b);
        self.put(second, a);
    }

    /// Checks all invariants.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        if self.order == PieceOrder::Sequential {
            assert!(self.open.ones().next().is_none_or(|first| first.0 >= self.cursor));
            return;
        }
        assert_eq!(self.list.len(), self.open.count() as usize);
        for (position, piece) in self.list.iter().enumerate() {
            assert!(self.open.has(*piece), "{piece:?} is listed and not open");
            assert_eq!(self.position[piece.index()] as usize, position);
        }
        if self.order == PieceOrder::Rarest {
            assert_eq!(self.bounds[0], 0);
            assert_eq!(self.bounds.last().copied(), Some(self.list.len() as u32));
            assert!(self.bounds.is_sorted());
            for (bucket, range) in self.bounds.windows(2).enumerate() {
                for piece in &self.list[range[0] as usize..range[1] as usize] {
                    assert_eq!(self.counted(*piece) as usize, bucket, "{piece:?}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
