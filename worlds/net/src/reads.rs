//! Reads for peers: which connection waits for which block, and what is being read. A read that has
//! begun stays under way until the disk has answered, even if its request is cancelled; so reads
//! under way are bounded for each connection and for all together, and connections take turns. It
//! has no file and no socket.
//!
//! ```text
//!   request ─▶ waits ── start ─▶ its window is read ── done ─▶ given to all that wait
//!                └──────── cancel, forget ─────▶ nothing; the read goes on without it
//! ```

use dunlin_base::{BlockRef, ConnId, PieceKey};
use std::collections::{BTreeMap, VecDeque};

/// Reads under way at a time: the disk always has the next one at hand, and they hold 4 MiB.
pub(crate) const MAX_READS: usize = 16;
/// Reads under way that one connection has asked for: a few are ahead of what is sent, and one
/// connection leaves most of them to the others.
pub(crate) const MAX_READS_PER_CONN: usize = 4;

/// A window of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PieceWindow {
    pub(crate) key: PieceKey,
    /// Which window of the piece.
    pub(crate) index: u32,
}

/// A block that a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BlockRequest {
    part: PieceWindow,
    block: BlockRef,
}

/// Requests that wait, and reads under way.
#[derive(Default)]
pub(crate) struct Reads {
    waiting: BTreeMap<ConnId, VecDeque<BlockRequest>>,
    /// Windows that are being read, and the connection that each is read for first.
    running: BTreeMap<PieceWindow, ConnId>,
    /// The connection that had the last turn.
    last: ConnId,
}

impl Reads {
    /// A connection waits for a block.
    pub(crate) fn request(&mut self, conn: ConnId, part: PieceWindow, block: BlockRef) {
        self.waiting.entry(conn).or_default().push_back(BlockRequest { part, block });
    }

    /// The next window to read, and the block for which it is read first; call it until `None`.
    pub(crate) fn start(&mut self) -> Option<(PieceWindow, BlockRef)> {
        if self.running.len() >= MAX_READS {
            return None;
        }
        let (conn, want) = {
            let after = (std::ops::Bound::Excluded(self.last), std::ops::Bound::Unbounded);
            let mut turns = self.waiting.range(after).chain(self.waiting.range(..=self.last));
            turns.find_map(|(conn, waiting)| {
                let own = self.running.values().filter(|of| *of == conn).count();
                let waits = |want: &&BlockRequest| !self.running.contains_key(&want.part);
                let want = waiting.iter().find(waits).filter(|_| own < MAX_READS_PER_CONN)?;
                Some((*conn, *want))
            })?
        };
        self.last = conn;
        self.running.insert(want.part, conn);
        Some((want.part, want.block))
    }

    /// Ends a read; returns the requests that wait for it.
    pub(crate) fn done(&mut self, part: PieceWindow) -> Vec<(ConnId, BlockRef)> {
        self.running.remove(&part);
        let mut found = Vec::new();
        self.waiting.retain(|conn, waiting| {
            waiting.retain(|want| {
                let of = want.part == part;
                found.extend(of.then_some((*conn, want.block)));
                !of
            });
            !waiting.is_empty()
        });
        found
    }

    /// Cancels a request; whether it waited.
    pub(crate) fn cancel(&mut self, conn: ConnId, block: BlockRef) -> bool {
        let Some(waiting) = self.waiting.get_mut(&conn) else { return false };
        let Some(at) = waiting.iter().position(|want| want.block == block) else { return false };
        waiting.remove(at);
        if waiting.is_empty() {
            self.waiting.remove(&conn);
        }
        true
    }

    /// Forgets the requests of a connection that is gone.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.waiting.remove(&conn);
    }

    /// How many reads are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.running.len()
    }

    /// Checks the bounds; debug builds call it after every turn.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self) {
        assert!(self.running.len() <= MAX_READS, "{} reads", self.running.len());
        for conn in self.running.values() {
            let own = self.running.values().filter(|of| *of == conn).count();
            assert!(own <= MAX_READS_PER_CONN, "{own} reads for {conn}");
        }
        assert!(self.waiting.values().all(|waiting| !waiting.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::{PieceIndex, TorrentId};

    fn block(piece: u32) -> BlockRef {
        BlockRef { piece: PieceIndex(piece), begin: 0, len: 16 << 10 }
    }

    fn part(piece: u32) -> PieceWindow {
        PieceWindow { key: PieceKey { torrent: TorrentId(0), piece: PieceIndex(piece) }, index: 0 }
    }

    fn start_all(reads: &mut Reads) -> Vec<u32> {
        let started = std::iter::from_fn(|| reads.start());
        let started = started.map(|(part, _)| part.key.piece.0).collect();
        reads.check();
        started
    }

    #[test]
    fn a_request_that_is_taken_back_leaves_no_second_read() {
        let mut reads = Reads::default();
        for n in 0..10_000_u32 {
            reads.request(ConnId(1), part(n % 100), block(n % 100));
            start_all(&mut reads);
            assert!(reads.cancel(ConnId(1), block(n % 100)));
            assert!(reads.under_way() <= MAX_READS_PER_CONN);
        }
        assert!(reads.waiting.is_empty(), "what was taken back is not remembered");
        assert!(!reads.cancel(ConnId(1), block(1)), "nothing waits");
    }

    #[test]
    fn a_part_is_read_once_for_all_who_wait() {
        let mut reads = Reads::default();
        for conn in 1..4 {
            reads.request(ConnId(conn), part(7), block(7));
        }
        assert_eq!(start_all(&mut reads), [7]);
        let all = [1, 2, 3].map(|conn| (ConnId(conn), block(7)));
        assert_eq!(reads.done(part(7)), all);
        assert_eq!(reads.under_way(), 0);
    }

    #[test]
    fn connections_take_turns_and_leave_room() {
        let mut reads = Reads::default();
        for n in 0..100 {
            reads.request(ConnId(1), part(n), block(n));
        }
        assert_eq!(start_all(&mut reads).len(), MAX_READS_PER_CONN);
        reads.request(ConnId(2), part(500), block(500));
        assert_eq!(start_all(&mut reads), [500], "the other one does not wait");
        for conn in 3..100 {
            let n = 1000 + conn as u32;
            reads.request(ConnId(conn), part(n), block(n));
        }
        assert_eq!(start_all(&mut reads).len(), MAX_READS - MAX_READS_PER_CONN - 1);
        reads.done(part(0));
        let next = start_all(&mut reads);
        assert!(next.len() == 1 && next[0] > 1000, "who had a turn waits: {next:?}");
    }

    #[test]
    fn who_is_gone_waits_for_nothing() {
        let mut reads = Reads::default();
        reads.request(ConnId(1), part(1), block(1));
        start_all(&mut reads);
        reads.request(ConnId(1), part(2), block(2));
        reads.forget(ConnId(1));
        assert_eq!(start_all(&mut reads), [] as [u32; 0]);
        assert_eq!(reads.done(part(1)), []);
    }
}
