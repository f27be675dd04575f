//! Plain counters, polled by whoever wants to show them.

use dunlin_base::{BlockRef, Endpoint};
use std::collections::{BTreeMap, BTreeSet};

/// What one engine did and what was done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Verified pieces, by who gave most of each.
    pub pieces_from: BTreeMap<Endpoint, u64>,
    /// Pieces' worth of blocks handed to the transport.
    pub pieces_served: u64,
    /// Bytes handed to the transport (segments for token files).
    pub bytes_served: u64,
    /// Bytes kept (segments for token files).
    pub bytes_received: u64,
    /// Requests of ours that were refused.
    pub rejected: u64,
    /// Pieces whose hash did not match.
    pub bad_pieces: u64,
    /// Bad pieces, by everyone who gave a block of them.
    pub bad_from: BTreeMap<Endpoint, u64>,
    /// Peers that were caught lying.
    pub banned: BTreeSet<Endpoint>,
    /// Refreshes sent, forced ones included.
    pub refreshes: u64,
    /// Refreshes sent out of turn.
    pub refreshes_forced: u64,
    /// Pieces found right in unfinished files.
    pub pieces_resumed: u64,
    served_parts: u64,
}

impl Stats {
    /// A whole piece, in the parts that [`Stats::served`] counts.
    const PARTS: u64 = 1 << 32;

    /// A peer sent wrong data. At most `named` of them are named.
    pub(crate) fn ban(&mut self, remote: Endpoint, named: usize) {
        if self.banned.len() < named {
            self.banned.insert(remote);
        }
    }

    /// One more for this peer, if it is counted: at most `named` are.
    pub(crate) fn count(counters: &mut BTreeMap<Endpoint, u64>, remote: Endpoint, named: usize) {
        if counters.len() < named || counters.contains_key(&remote) {
            *counters.entry(remote).or_default() += 1;
        }
    }

    /// Counts a block that was handed to the transport, of a piece of `piece_len`.
    pub(crate) fn served(&mut self, block: BlockRef, piece_len: u32) {
        self.bytes_served += u64::from(block.len);
        self.served_parts += Self::PARTS * u64::from(block.len) / u64::from(piece_len.max(1));
        // Rounded to nearest: blocks of a third of a piece must add up to a whole one.
        self.pieces_served = (self.served_parts + Self::PARTS / 2) / Self::PARTS;
    }
}

/// How far an engine is with what it wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pieces of wanted files.
    pub pieces_wanted: u64,
    /// Those of them that are here and verified.
    pub pieces_have: u64,
    /// Everything wanted is there, or has failed.
    pub complete: bool,
}
