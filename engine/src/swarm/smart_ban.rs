//! Who gave a bad block. Of a piece that failed its hash only a keyed digest per (block, sender) is
//! kept, never bytes; the later good copy convicts whoever's digest differs from it.

use dunlin_base::{Endpoint, PieceIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Failed copies that are remembered of one piece; more than so many differ only in who lies.
const MAX_COPIES: usize = 16;
/// Pieces of which failed copies are remembered.
const MAX_PIECES: usize = 4096;

/// What one sender gave for one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Statement {
    block: u32,
    sender: Endpoint,
    digest: u64,
}

/// The memory of failed pieces.
#[derive(Clone, Debug, Default)]
pub struct SmartBan {
    failed: BTreeMap<PieceIndex, Vec<Vec<Statement>>>,
}

impl SmartBan {
    /// Whether a good copy of this piece would convict somebody.
    #[must_use]
    pub fn waits_for(&self, piece: PieceIndex) -> bool {
        self.failed.contains_key(&piece)
    }

    /// A copy failed: `blocks` says who gave each block and its digest. Returns senders who gave
    /// two different contents for one block: nobody needs a good copy to know that they lie.
    pub fn failed(
        &mut self,
        piece: PieceIndex,
        blocks: impl Iterator<Item = (Endpoint, u64)>,
    ) -> BTreeSet<Endpoint> {
        let copy: Vec<Statement> = (0u32..)
            .zip(blocks)
            .map(|(block, (sender, digest))| Statement { block, sender, digest })
            .collect();
        if self.failed.len() >= MAX_PIECES && !self.failed.contains_key(&piece) {
            self.failed.pop_first();
        }
        let copies = self.failed.entry(piece).or_default();
        let liars = copy
            .iter()
            .filter(|new| {
                copies.iter().flatten().any(|old| {
                    old.block == new.block && old.sender == new.sender && old.digest != new.digest
                })
            })
            .map(|new| new.sender)
            .collect();
        if copies.len() == MAX_COPIES {
            copies.remove(0);
        }
        copies.push(copy);
        liars
    }

    /// A copy matched its hash: `digests` are those of its blocks, in order. Returns everyone who
    /// gave something else before.
    pub fn convict(&mut self, piece: PieceIndex, digests: &[u64]) -> BTreeSet<Endpoint> {
        self.failed
            .remove(&piece)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|statement| digests.get(statement.block as usize) != Some(&statement.digest))
            .map(|statement| statement.sender)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::Rank;

    const P: PieceIndex = PieceIndex(7);

    fn rank(rank: u32) -> Endpoint {
        Endpoint::Rank(Rank(rank))
    }

    #[test]
    fn only_the_liar_is_convicted() {
        let mut memory = SmartBan::default();
        let copy = [(rank(1), 10), (rank(2), 666), (rank(3), 30)];
        assert!(memory.failed(P, copy.into_iter()).is_empty());
        assert!(memory.waits_for(P));
        assert_eq!(memory.convict(P, &[10, 20, 30]), BTreeSet::from([rank(2)]));
        assert!(!memory.waits_for(P));
        assert!(memory.convict(P, &[10, 20, 30]).is_empty());
    }

    #[test]
    fn two_contents_of_one_block_convict_at_once() {
        let mut memory = SmartBan::default();
        memory.failed(P, [(rank(1), 10), (rank(2), 666)].into_iter());
        let liars = memory.failed(P, [(rank(3), 10), (rank(2), 667)].into_iter());
        assert_eq!(liars, BTreeSet::from([rank(2)]));
    }

    #[test]
    fn memory_is_bounded() {
        let mut memory = SmartBan::default();
        for piece in 0..5000 {
            for _ in 0..20 {
                memory.failed(PieceIndex(piece), [(rank(1), 1)].into_iter());
            }
        }
        assert_eq!(memory.failed.len(), MAX_PIECES);
        assert!(memory.failed.values().all(|copies| copies.len() <= MAX_COPIES));
    }
}
