//! Blocks that were asked for: how they are asked, arrive, are refused, are late, or are taken back.

use super::connect::Violation;
use super::{SessionContext, Torrent};
use crate::swarm::config::RejectRule;
use crate::swarm::io::{SwarmEvent, SwarmOutput};
use crate::swarm::partials::{Block, Stage, index_of};
use crate::swarm::peer::{Ask, AskState};
use crate::swarm::requests::MIN_DEADLINE;
use crate::wake::Reason;
use dunlin_base::{BlockRef, ConnId, PieceIndex, PieceKey, Time};
use dunlin_wire::Message;

impl Torrent {
    /// Asks `conn` for a block.
    pub(crate) fn ask(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conn: ConnId,
        piece: PieceIndex,
        index: u32,
    ) {
        let block = self.geometry.block(piece, index);
        let Some(partial) = self.partials.get(piece) else { return };
        let planned = partial.planned;
        let state = match partial.blocks[index as usize] {
            Block::Open => Block::Asked(conn, None),
            Block::Asked(first, None) if first != conn => Block::Asked(first, Some(conn)),
            Block::Asked(..) | Block::Held(_) => return,
        };
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        self.starved = false;
        peer.window.asked(block.len);
        let deadline = peer.window.deadline(now);
        peer.asks.push_back(Ask { block, at: now, deadline, state: AskState::Live });
        if state == Block::Asked(conn, None)
            && let Some(peer) = planned.and_then(|planned| self.peers.get_mut(&planned))
        {
            peer.planned -= u64::from(block.len);
        }
        self.partials.set_block(piece, index, state);
        self.takes(shared, block.len);
        shared.timers.by(Reason::Request, deadline);
        let message = Message::Request(block);
        shared.out.push_back(SwarmOutput::Send { conn, message });
    }

    /// Plans every open block of a piece for one peer.
    pub(crate) fn plan(&mut self, piece: PieceIndex, conn: ConnId) {
        self.unplan(piece);
        let bytes = self.open_bytes(piece);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(partial) = self.partials.get_mut(piece) else { return };
        partial.planned = Some(conn);
        peer.planned += bytes;
    }

    /// The open blocks of a piece may be asked of anybody again.
    pub(crate) fn unplan(&mut self, piece: PieceIndex) {
        let bytes = self.open_bytes(piece);
        let Some(conn) = self.partials.get_mut(piece).and_then(|partial| partial.planned.take())
        else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.planned -= bytes;
        }
    }

    fn open_bytes(&self, piece: PieceIndex) -> u64 {
        let Some(partial) = self.partials.get(piece) else { return 0 };
        (0u32..)
            .zip(&partial.blocks)
            .filter(|(_, block)| **block == Block::Open)
            .map(|(index, _)| u64::from(self.geometry.block(piece, index).len))
            .sum()
    }

    /// The block is no longer asked of `conn`: it is open again unless somebody else was asked too.
    fn reopen(&mut self, conn: ConnId, block: BlockRef) {
        let Some(index) = index_of(&self.geometry, block) else { return };
        let Some(partial) = self.partials.get(block.piece) else { return };
        let state = match partial.blocks[index as usize] {
            Block::Asked(first, None) if first == conn => Block::Open,
            Block::Asked(first, Some(second)) if first == conn => Block::Asked(second, None),
            Block::Asked(first, Some(second)) if second == conn => Block::Asked(first, None),
            _ => return,
        };
        if state == Block::Open
            && let Some(planned) = partial.planned
            && let Some(peer) = self.peers.get_mut(&planned)
        {
            peer.planned += u64::from(block.len);
        }
        self.partials.set_block(block.piece, index, state);
    }

    /// A `piece` message came. Says whether its payload is wanted.
    pub(crate) fn on_block(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conn: ConnId,
        block: BlockRef,
    ) -> Result<(), Violation> {
        let Some(peer) = self.peers.get_mut(&conn) else {
            shared.out.push_back(SwarmOutput::Drop { conn, block });
            return Ok(());
        };
        let remote = peer.remote;
        let Some(ask) = peer.take_ask(block) else {
            shared.out.push_back(SwarmOutput::Drop { conn, block });
            let what = "a block that was never asked for";
            if shared.config.peers.strict {
                return Err(what);
            }
            self.traffic.redundant += u64::from(block.len);
            if peer.forgotten > 0 {
                // It was on its way when we were choked, which took its request back (BEP 3).
                peer.forgotten -= 1;
                return Ok(());
            }
            // BEP 6: with the fast extension every answer has its request. Programs that answer what was
            // cancelled twice lose a block by it, and not the connection.
            return peer.tolerate(what);
        };
        if ask.state == AskState::Cancelled {
            peer.window.asked(block.len);
        }
        peer.window.arrived(now, ask.at, block.len);
        peer.snubbed = peer.asks.iter().any(|ask| ask.state == AskState::Late);
        peer.moved = Some(now);
        peer.received += u64::from(block.len);
        if self.full_pause.is_zero() {
            // What cannot be written is no gain.
            self.last_gain = now;
        }
        self.traffic.received.add(now, u64::from(block.len));
        let index = index_of(&self.geometry, block);
        let wanted =
            self.partials.get(block.piece).filter(|partial| partial.stage == Stage::Active);
        let state = index.and_then(|index| wanted.map(|partial| partial.blocks[index as usize]));
        let state = state.filter(|_| self.is_welcome(shared, conn, block.piece));
        if state.is_none() {
            self.reopen(conn, block);
        }
        let (Some(index), Some(Block::Open | Block::Asked(..))) = (index, state) else {
            self.traffic.redundant += u64::from(block.len);
            shared.out.push_back(SwarmOutput::Drop { conn, block });
            return Ok(());
        };
        if state == Some(Block::Open) {
            self.ask_is_answered_late(block);
        }
        if let Some(Block::Asked(first, second)) = state {
            for other in std::iter::once(first).chain(second).filter(|other| *other != conn) {
                self.cancel(shared, other, block);
            }
        }
        self.partials.set_block(block.piece, index, Block::Held(remote));
        shared.out.push_back(SwarmOutput::Keep { conn, block });
        shared.stats.bytes_received += u64::from(block.len);
        if let Some(partial) = self.partials.get_mut(block.piece) {
            partial.progress = now;
            if partial.held() as usize == partial.blocks.len() {
                self.partials.set_stage(block.piece, Stage::Hashing);
                shared.out.push_back(SwarmOutput::Hash(PieceKey {
                    torrent: self.id,
                    piece: block.piece,
                }));
            }
        }
        Ok(())
    }

    /// Whether a block of this piece may come from this peer: not from a liar, and where one peer alone
    /// must give the piece, not from another.
    fn is_welcome(&self, shared: &SessionContext, conn: ConnId, piece: PieceIndex) -> bool {
        let honest = self.peers.get(&conn).is_some_and(|peer| !shared.is_banned(peer.remote));
        let alone = self.partials.get(piece).is_some_and(|partial| partial.alone);
        honest && (!alone || self.only_giver(piece).is_none_or(|giver| giver == conn))
    }

    /// An open block arrives after its deadline: whoever planned it has that much less to ask for.
    fn ask_is_answered_late(&mut self, block: BlockRef) {
        let planned = self.partials.get(block.piece).and_then(|partial| partial.planned);
        if let Some(peer) = planned.and_then(|conn| self.peers.get_mut(&conn)) {
            peer.planned -= u64::from(block.len);
        }
    }

    /// Takes one request back.
    fn cancel(&mut self, shared: &mut SessionContext, conn: ConnId, block: BlockRef) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let live = |ask: &&mut Ask| ask.block == block && ask.state != AskState::Cancelled;
        let Some(ask) = peer.asks.iter_mut().find(live) else { return };
        ask.state = AskState::Cancelled;
        peer.window.gave_up(block.len);
        let message = Message::Cancel(block);
        shared.out.push_back(SwarmOutput::Send { conn, message });
    }

    /// Takes every request for a piece back; its asked blocks are open again.
    pub(super) fn cancel_piece(&mut self, shared: &mut SessionContext, piece: PieceIndex) {
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            let blocks: Vec<BlockRef> = self.peers[&conn]
                .asks
                .iter()
                .filter(|ask| ask.block.piece == piece && ask.state != AskState::Cancelled)
                .map(|ask| ask.block)
                .collect();
            for block in blocks {
                self.cancel(shared, conn, block);
                self.reopen(conn, block);
            }
        }
    }

    /// Takes back every request to a peer and every plan for it.
    pub(super) fn cancel_all(&mut self, shared: &mut SessionContext, conn: ConnId) {
        let Some(peer) = self.peers.get(&conn) else { return };
        let live = peer.asks.iter().filter(|ask| ask.state != AskState::Cancelled);
        let blocks: Vec<BlockRef> = live.map(|ask| ask.block).collect();
        for block in blocks {
            self.cancel(shared, conn, block);
            self.reopen(conn, block);
        }
        self.unplan_all(conn);
    }

    /// A request of ours was refused (BEP 6).
    pub(super) fn on_reject(
        &mut self,
        shared: &mut SessionContext,
        conn: ConnId,
        block: BlockRef,
    ) -> Result<(), Violation> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        if !peer.is_fast() {
            return Err("reject request needs the fast extension");
        }
        let Some(ask) = peer.take_rejected(block) else {
            return peer.tolerate("a reject of what was never asked for");
        };
        if ask.state == AskState::Cancelled {
            return Ok(());
        }
        peer.window.gave_up(block.len);
        let (remote, by_choke) = (peer.remote, peer.peer_choking);
        self.gives_back(shared, block.len);
        if shared.config.peers.rejects == RejectRule::UntilRefresh || !by_choke {
            self.known.entry(remote).rejected.insert(block.piece);
        }
        shared.stats.rejected += 1;
        shared.event(SwarmEvent::Rejected { torrent: self.id, remote });
        self.reopen(conn, block);
        if self.partials.get(block.piece).is_some_and(|partial| partial.planned == Some(conn)) {
            self.unplan(block.piece);
        }
        self.release_untouched(shared, block.piece);
        self.refused(shared, block.piece);
        Ok(())
    }

    /// A started piece of which nothing is here and nothing is asked for need not hold memory.
    pub(super) fn release_untouched(&mut self, shared: &mut SessionContext, piece: PieceIndex) {
        let untouched = self.partials.get(piece).is_some_and(|partial| {
            partial.stage == Stage::Active && partial.open() as usize == partial.blocks.len()
        });
        if untouched {
            self.drop_partial(shared, piece);
        }
    }

    /// We are choked. Without the fast extension every request is dropped; with it each is answered.
    pub(super) fn on_choke(&mut self, shared: &mut SessionContext, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.peer_choking = true;
        if !peer.is_fast() {
            let asks = u32::try_from(peer.asks.len()).unwrap_or(u32::MAX);
            peer.forgotten = peer.forgotten.saturating_add(asks);
            self.take_back(shared, conn);
        } else {
            self.unplan_all(conn);
        }
    }

    /// Everything asked of, or planned for, a connection is open again; its requests are forgotten.
    pub(super) fn take_back(&mut self, shared: &mut SessionContext, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let asks = std::mem::take(&mut peer.asks);
        for ask in asks {
            if ask.state != AskState::Cancelled
                && let Some(peer) = self.peers.get_mut(&conn)
            {
                peer.window.gave_up(ask.block.len);
            }
            if ask.state == AskState::Live {
                self.gives_back(shared, ask.block.len);
                self.reopen(conn, ask.block);
            }
        }
        self.unplan_all(conn);
    }

    pub(super) fn unplan_all(&mut self, conn: ConnId) {
        let planned: Vec<PieceIndex> = self
            .partials
            .iter()
            .filter(|(_, partial)| partial.planned == Some(conn))
            .map(|(piece, _)| piece)
            .collect();
        for piece in planned {
            self.unplan(piece);
        }
    }

    /// Requests whose deadline has passed are open again, and whoever owes them is snubbed: one request
    /// at a time until it answers. A late answer is still welcome.
    pub(super) fn expire_requests(&mut self, shared: &mut SessionContext, now: Time) {
        let mut late: Vec<(ConnId, BlockRef)> = Vec::new();
        let silent: Vec<ConnId> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.snubbed && self.is_silent(shared, peer))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in silent {
            let Some(peer) = self.peers.get_mut(&conn) else { continue };
            let until = peer.since + MIN_DEADLINE;
            peer.snubbed = until <= now;
            if !peer.snubbed {
                shared.timers.by(Reason::Request, until);
            }
        }
        for (conn, peer) in &mut self.peers {
            for ask in peer.asks.iter_mut().filter(|ask| ask.state == AskState::Live) {
                if ask.deadline <= now {
                    ask.state = AskState::Late;
                    late.push((*conn, ask.block));
                } else {
                    shared.timers.by(Reason::Request, ask.deadline);
                }
            }
        }
        for (conn, block) in late {
            if let Some(peer) = self.peers.get_mut(&conn)
                && !std::mem::replace(&mut peer.snubbed, true)
            {
                peer.window.snub();
            }
            self.reopen(conn, block);
            self.unplan_all(conn);
            self.refused(shared, block.piece);
        }
    }
}
