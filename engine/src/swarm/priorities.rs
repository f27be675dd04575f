//! How much each piece is wanted.

use crate::swarm::picker::Picker;
use dunlin_base::{PieceIndex, Rng};

/// How much each piece is wanted: the higher, the sooner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PiecePriorities {
    /// One a piece; empty where all are wanted alike.
    of: Vec<u8>,
    /// The priorities that there are, the highest first.
    used: Vec<u8>,
}

impl PiecePriorities {
    /// The priorities of every piece.
    pub(crate) fn new(of: Vec<u8>) -> PiecePriorities {
        let mut used = of.clone();
        used.sort_unstable_by(|a, b| b.cmp(a));
        used.dedup();
        if used.len() < 2 { PiecePriorities::default() } else { PiecePriorities { of, used } }
    }
}

impl PiecePriorities {
    /// The next piece to start: of the highest priority at which anybody gives one.
    pub(crate) fn pick(
        &self,
        picker: &Picker,
        random_first: Option<&mut Rng>,
        gives: impl Fn(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        if self.used.is_empty() {
            return picker.pick(random_first, gives);
        }
        self.used.iter().find_map(|level| {
            let here = |piece: PieceIndex| self.of.get(piece.index()) == Some(level);
            picker.pick(None, |piece| here(piece) && gives(piece))
        })
    }
}
