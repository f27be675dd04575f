//! What a torrent fetches: which pieces are missing, which are started, and what is asked of whom
//! for them. Takes the connections where a request or a plan stands with a peer.

use super::connections::Connections;
use crate::config::PieceOrder;
use crate::swarm::bans::Bans;
use crate::swarm::context::Outputs;
use crate::swarm::partials::{Block, Partials, Stage, index_of};
use crate::swarm::peer::{AskState, Pieces};
use crate::swarm::picker::Picker;
use crate::swarm::policy::single_giver;
use crate::swarm::priorities::PiecePriorities;
use crate::swarm::smart_ban::SmartBan;
use dunlin_base::{Bitfield, BlockRef, ConnId, FileIndex, PieceIndex, Rng, Time};
use dunlin_metainfo::Geometry;
use std::collections::BTreeSet;
use std::time::Duration;

/// Time after a full disk before another piece is tried: one piece alone, until one is written.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(1);
/// The pause doubles up to this while the disk stays full: what is fetched to try it is fetched in
/// vain, and a person needs longer than that to make room.
const MAX_FULL_PAUSE: Duration = Duration::from_secs(16);

/// The pauses after a full disk.
#[derive(Debug, Default)]
pub(crate) struct DiskPause {
    until: Time,
    /// The last pause; zero since a piece was written.
    length: Duration,
}

impl DiskPause {
    /// When the present pause ends, if there is one.
    pub(crate) fn ends(&self, now: Time) -> Option<Time> {
        (now < self.until).then_some(self.until)
    }

    /// Whether no piece was written since the disk was full.
    pub(crate) fn is_disk_full(&self) -> bool {
        !self.length.is_zero()
    }

    /// The disk is full. Returns when the pause ends. Pieces that were under way fail together;
    /// that is one failure.
    pub(crate) fn disk_is_full(&mut self, now: Time) -> Time {
        if now >= self.until {
            self.length = (self.length * 2).clamp(DISK_FULL_PAUSE, MAX_FULL_PAUSE);
            self.until = now + self.length;
        }
        self.until
    }

    /// A piece was written.
    pub(crate) fn written(&mut self) {
        self.length = Duration::ZERO;
    }
}

/// What a torrent fetches.
#[derive(Debug)]
pub(crate) struct Downloads {
    /// Wanted and not here.
    pub(crate) missing: Bitfield,
    pub(crate) picker: Picker,
    pub(crate) priorities: PiecePriorities,
    pub(crate) partials: Partials,
    pub(crate) smart_ban: SmartBan,
    /// Pieces that failed with several senders: a single one must give them.
    pub(crate) single_source: BTreeSet<PieceIndex>,
    /// The place of the source that was chosen last, in the tracker's order.
    pub(crate) last_place: Option<u32>,
    /// When a block last arrived, or the torrent was started.
    pub(crate) last_gain: Time,
    pub(crate) disk_pause: DiskPause,
    /// Nobody in the swarm gives a wanted piece: that was reported, and nothing was asked for or
    /// refreshed since.
    pub(crate) starved: bool,
}

impl Downloads {
    /// Nothing is started; everything that is missing may be.
    pub(crate) fn new(
        now: Time,
        order: PieceOrder,
        missing: Bitfield,
        priorities: PiecePriorities,
        rng: &mut Rng,
    ) -> Downloads {
        let mut picker = Picker::new(order, missing.len());
        picker.open_all(missing.ones(), rng);
        Downloads {
            missing,
            picker,
            priorities,
            partials: Partials::default(),
            smart_ban: SmartBan::default(),
            single_source: BTreeSet::new(),
            last_place: None,
            last_gain: now,
            disk_pause: DiskPause::default(),
            starved: false,
        }
    }

    /// Whether something is wanted that is not here.
    pub(crate) fn wants_pieces(&self) -> bool {
        self.missing.count() > 0
    }

    /// Whether nobody in the swarm gives a wanted piece.
    pub(crate) fn starves(&self) -> bool {
        self.starved && self.wants_pieces()
    }

    /// A started piece is no longer started: it may be, if it is still wanted.
    pub(crate) fn reopen_piece(&mut self, piece: PieceIndex) {
        self.partials.remove(piece);
        if self.missing.has(piece) {
            self.picker.open(piece);
        }
    }

    /// Whether nothing of it is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.partials.iter().all(|(_, partial)| partial.stage == Stage::Spilled)
    }

    /// The first wanted piece that is not here, for messages.
    pub(crate) fn first_missing(&self, geometry: &Geometry, file: FileIndex) -> Option<PieceIndex> {
        geometry.file_pieces(file).map(PieceIndex).find(|piece| self.missing.has(*piece))
    }

    /// Whether any started piece waits for somebody: for blocks, memory, the hash or the disk.
    pub(crate) fn is_under_way(&self) -> bool {
        self.partials.iter().any(|(_, partial)| match partial.stage {
            Stage::Spilled => false,
            Stage::Active => {
                partial.open() as usize + (partial.held() as usize) < partial.blocks.len()
            }
            _ => true,
        })
    }

    /// The peer that began a piece which one peer alone must give, if it is still there and
    /// answers.
    pub(crate) fn single_giver(
        &self,
        connections: &Connections,
        piece: PieceIndex,
    ) -> Option<ConnId> {
        single_giver(&self.partials, &connections.peers, &connections.known, piece)
    }

    /// The block, asked of one other peer, that has been under way longest, and since when.
    pub(crate) fn slowest_block(
        &self,
        connections: &Connections,
        geometry: &Geometry,
        idle: ConnId,
    ) -> Option<(Time, PieceIndex, u32)> {
        let mut slowest: Option<(Time, PieceIndex, u32)> = None;
        for (conn, peer) in &connections.peers {
            let Some(ask) = peer.asks.iter().find(|ask| ask.state == AskState::Live) else {
                continue;
            };
            let Some(index) = geometry.block_index(ask.block) else { continue };
            let piece = ask.block.piece;
            let Some(partial) = self.partials.get(piece) else { continue };
            let single = partial.blocks[index as usize] == Block::Asked(*conn, None);
            if *conn == idle
                || !single
                || partial.single_source
                || !connections.gives_piece(idle, piece)
            {
                continue;
            }
            if slowest.is_none_or(|(at, ..)| ask.at < at) {
                slowest = Some((ask.at, piece, index));
            }
        }
        slowest
    }

    /// Plans every open block of a piece for one peer.
    pub(crate) fn plan(
        &mut self,
        connections: &mut Connections,
        geometry: &Geometry,
        piece: PieceIndex,
        conn: ConnId,
    ) {
        self.unplan(connections, geometry, piece);
        let bytes = self.open_bytes(geometry, piece);
        let Some(peer) = connections.peers.get_mut(&conn) else { return };
        let Some(partial) = self.partials.get_mut(piece) else { return };
        partial.planned = Some(conn);
        peer.planned += bytes;
    }

    /// The open blocks of a piece may be asked of anybody again.
    pub(crate) fn unplan(
        &mut self,
        connections: &mut Connections,
        geometry: &Geometry,
        piece: PieceIndex,
    ) {
        let bytes = self.open_bytes(geometry, piece);
        let Some(conn) = self.partials.get_mut(piece).and_then(|partial| partial.planned.take())
        else {
            return;
        };
        if let Some(peer) = connections.peers.get_mut(&conn) {
            peer.planned -= bytes;
        }
    }

    pub(crate) fn unplan_all(
        &mut self,
        connections: &mut Connections,
        geometry: &Geometry,
        conn: ConnId,
    ) {
        let planned: Vec<PieceIndex> = self
            .partials
            .iter()
            .filter(|(_, partial)| partial.planned == Some(conn))
            .map(|(piece, _)| piece)
            .collect();
        for piece in planned {
            self.unplan(connections, geometry, piece);
        }
    }

    pub(crate) fn open_bytes(&self, geometry: &Geometry, piece: PieceIndex) -> u64 {
        let Some(partial) = self.partials.get(piece) else { return 0 };
        (0u32..)
            .zip(&partial.blocks)
            .filter(|(_, block)| **block == Block::Open)
            .map(|(index, _)| u64::from(geometry.block(piece, index).len))
            .sum()
    }

    /// The block is no longer asked of `conn`: it is open again unless somebody else was asked too.
    pub(crate) fn reopen(
        &mut self,
        connections: &mut Connections,
        geometry: &Geometry,
        conn: ConnId,
        block: BlockRef,
    ) {
        let Some(index) = index_of(geometry, block) else { return };
        let Some(partial) = self.partials.get(block.piece) else { return };
        let state = match partial.blocks[index as usize] {
            Block::Asked(first, None) if first == conn => Block::Open,
            Block::Asked(first, Some(second)) if first == conn => Block::Asked(second, None),
            Block::Asked(first, Some(second)) if second == conn => Block::Asked(first, None),
            _ => return,
        };
        if state == Block::Open
            && let Some(planned) = partial.planned
            && let Some(peer) = connections.peers.get_mut(&planned)
        {
            peer.planned += u64::from(block.len);
        }
        self.partials.set_block(block.piece, index, state);
    }

    /// An open block arrives after its deadline: the peer that it is planned for has that much less
    /// to give.
    pub(crate) fn ask_is_answered_late(&mut self, connections: &mut Connections, block: BlockRef) {
        let planned = self.partials.get(block.piece).and_then(|partial| partial.planned);
        if let Some(peer) = planned.and_then(|conn| connections.peers.get_mut(&conn)) {
            peer.planned -= u64::from(block.len);
        }
    }

    /// Takes every request for a piece back; its asked blocks are open again.
    pub(crate) fn cancel_piece(
        &mut self,
        connections: &mut Connections,
        geometry: &Geometry,
        out: &mut Outputs,
        piece: PieceIndex,
    ) {
        let conns = connections.conns();
        for conn in conns {
            let blocks: Vec<BlockRef> = connections.peers[&conn]
                .asks
                .iter()
                .filter(|ask| ask.block.piece == piece && ask.state != AskState::Cancelled)
                .map(|ask| ask.block)
                .collect();
            for block in blocks {
                connections.cancel(out, conn, block);
                self.reopen(connections, geometry, conn, block);
            }
        }
    }

    /// Takes back every request to a peer and every plan for it.
    pub(crate) fn cancel_all(
        &mut self,
        connections: &mut Connections,
        geometry: &Geometry,
        out: &mut Outputs,
        conn: ConnId,
    ) {
        for block in connections.asked_blocks(conn) {
            connections.cancel(out, conn, block);
            self.reopen(connections, geometry, conn, block);
        }
        self.unplan_all(connections, geometry, conn);
    }

    /// A wanted piece is here now, or no longer wanted.
    pub(crate) fn no_longer_missing(
        &mut self,
        connections: &mut Connections,
        out: &mut Outputs,
        piece: PieceIndex,
    ) {
        if self.missing.clear(piece) {
            connections.remove_useful(out, piece, &self.missing);
        }
    }

    /// A piece is wanted that is not here.
    pub(crate) fn is_missing(&mut self, connections: &mut Connections, piece: PieceIndex) {
        if !self.missing.set(piece) {
            return;
        }
        connections.add_useful(piece);
        if self.partials.get(piece).is_none() {
            self.picker.open(piece);
        }
    }

    /// A peer has one piece more. Of a banned one nothing is noted.
    pub(crate) fn add_piece(
        &mut self,
        connections: &mut Connections,
        banned: &Bans,
        out: &mut Outputs,
        conn: ConnId,
        piece: PieceIndex,
    ) {
        let Some(peer) = connections.peers.get_mut(&conn) else { return };
        if banned.bars(peer.remote) {
            return;
        }
        if peer.pieces == Pieces::Unknown {
            peer.pieces = Pieces::Some(Bitfield::new(self.missing.len()));
        }
        let Pieces::Some(field) = &mut peer.pieces else { return };
        if !field.set(piece) {
            return;
        }
        self.picker.inc_availability(piece);
        if self.missing.has(piece) {
            peer.useful += 1;
            connections.update_interest(out, conn, &self.missing);
        }
    }
}
