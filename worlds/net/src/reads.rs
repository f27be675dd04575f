//! Reads for others: who waits for which block, and what is being read. A read that has begun stays
//! under way until the disk has answered, whoever took a request back meanwhile; so reads under way
//! are bounded for each connection and in all, and connections take turns. It knows no file and no
//! socket.
//!
//! ```text
//!   want ─▶ waits ── start ─▶ its part is being read ── done ─▶ given to all who wait
//!             └───────── cancel, forget ─────▶ nothing; the read goes on without it
//! ```

use dunlin_base::{BlockRef, ConnId, PieceIndex, TorrentId};
use std::collections::{BTreeMap, VecDeque};

/// Reads under way at a time: the disk always has the next one at hand, and they hold 4 MiB.
pub(crate) const MAX_READS: usize = 16;
/// Reads under way that one connection has asked for: a few are ahead of what is sent, and one
/// connection leaves most of them to the others.
pub(crate) const MAX_READS_PER_CONN: usize = 4;

/// A part of a piece: the torrent, the piece, and which window of it.
pub(crate) type Part = (TorrentId, PieceIndex, u32);

/// A block that a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Want {
    part: Part,
    block: BlockRef,
}

/// Who waits, and what is under way.
#[derive(Default)]
pub(crate) struct Reads {
    wants: BTreeMap<ConnId, VecDeque<Want>>,
    /// Parts that are being read, and who asked for them.
    running: BTreeMap<Part, ConnId>,
    /// Who had the last turn.
    last: ConnId,
}

impl Reads {
    /// A connection waits for a block.
    pub(crate) fn want(&mut self, conn: ConnId, part: Part, block: BlockRef) {
        self.wants.entry(conn).or_default().push_back(Want { part, block });
    }

    /// The next part to read, and the block for which it is read first; call it until `None`.
    pub(crate) fn start(&mut self) -> Option<(Part, BlockRef)> {
        if self.running.len() >= MAX_READS {
            return None;
        }
        let (conn, want) = {
            let after = (std::ops::Bound::Excluded(self.last), std::ops::Bound::Unbounded);
            let mut turns = self.wants.range(after).chain(self.wants.range(..=self.last));
            turns.find_map(|(conn, wants)| {
                let own = self.running.values().filter(|of| *of == conn).count();
                let waits = |want: &&Want| !self.running.contains_key(&want.part);
                let want = wants.iter().find(waits).filter(|_| own < MAX_READS_PER_CONN)?;
                Some((*conn, *want))
            })?
        };
        self.last = conn;
        self.running.insert(want.part, conn);
        Some((want.part, want.block))
    }

    /// A read has ended: who waits for it.
    pub(crate) fn done(&mut self, part: Part) -> Vec<(ConnId, BlockRef)> {
        self.running.remove(&part);
        let mut found = Vec::new();
        self.wants.retain(|conn, wants| {
            wants.retain(|want| {
                let of = want.part == part;
                found.extend(of.then_some((*conn, want.block)));
                !of
            });
            !wants.is_empty()
        });
        found
    }

    /// A request is taken back; whether it waited.
    pub(crate) fn cancel(&mut self, conn: ConnId, block: BlockRef) -> bool {
        let Some(wants) = self.wants.get_mut(&conn) else { return false };
        let Some(at) = wants.iter().position(|want| want.block == block) else { return false };
        wants.remove(at);
        if wants.is_empty() {
            self.wants.remove(&conn);
        }
        true
    }

    /// A connection is gone.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.wants.remove(&conn);
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
        assert!(self.wants.values().all(|wants| !wants.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(piece: u32) -> BlockRef {
        BlockRef { piece: PieceIndex(piece), begin: 0, len: 16 << 10 }
    }

    fn part(piece: u32) -> Part {
        (TorrentId(0), PieceIndex(piece), 0)
    }

    fn start_all(reads: &mut Reads) -> Vec<u32> {
        let started = std::iter::from_fn(|| reads.start());
        let started = started.map(|(part, _)| part.1.0).collect();
        reads.check();
        started
    }

    #[test]
    fn a_request_that_is_taken_back_leaves_no_second_read() {
        let mut reads = Reads::default();
        for n in 0..10_000_u32 {
            reads.want(ConnId(1), part(n % 100), block(n % 100));
            start_all(&mut reads);
            assert!(reads.cancel(ConnId(1), block(n % 100)));
            assert!(reads.under_way() <= MAX_READS_PER_CONN);
        }
        assert!(reads.wants.is_empty(), "what was taken back is not remembered");
        assert!(!reads.cancel(ConnId(1), block(1)), "nothing waits");
    }

    #[test]
    fn a_part_is_read_once_for_all_who_wait() {
        let mut reads = Reads::default();
        for conn in 1..4 {
            reads.want(ConnId(conn), part(7), block(7));
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
            reads.want(ConnId(1), part(n), block(n));
        }
        assert_eq!(start_all(&mut reads).len(), MAX_READS_PER_CONN);
        reads.want(ConnId(2), part(500), block(500));
        assert_eq!(start_all(&mut reads), [500], "the other one does not wait");
        for conn in 3..100 {
            let n = 1000 + conn as u32;
            reads.want(ConnId(conn), part(n), block(n));
        }
        assert_eq!(start_all(&mut reads).len(), MAX_READS - MAX_READS_PER_CONN - 1);
        reads.done(part(0));
        let next = start_all(&mut reads);
        assert!(next.len() == 1 && next[0] > 1000, "who had a turn waits: {next:?}");
    }

    #[test]
    fn who_is_gone_waits_for_nothing() {
        let mut reads = Reads::default();
        reads.want(ConnId(1), part(1), block(1));
        start_all(&mut reads);
        reads.want(ConnId(1), part(2), block(2));
        reads.forget(ConnId(1));
        assert_eq!(start_all(&mut reads), [] as [u32; 0]);
        assert_eq!(reads.done(part(1)), []);
    }
}
