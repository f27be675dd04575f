//! Blocks that were asked for: how they are asked, arrive, are refused, are late, or are taken
//! back.

use super::connect::Violation;
use super::connections::is_silent;
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
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        piece: PieceIndex,
        index: u32,
    ) {
        let block = self.geometry.block(piece, index);
        let Some(partial) = self.downloads.partials.get(piece) else { return };
        let planned = partial.planned;
        let state = match partial.blocks[index as usize] {
            Block::Open => Block::Asked(conn, None),
            Block::Asked(first, None) if first != conn => Block::Asked(first, Some(conn)),
            Block::Asked(..) | Block::Held(_) => return,
        };
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
        self.downloads.starved = false;
        peer.window.asked(block.len);
        let deadline = peer.window.deadline(now);
        peer.asks.push_back(Ask { block, at: now, deadline, state: AskState::Live });
        if state == Block::Asked(conn, None)
            && let Some(peer) = planned.and_then(|planned| self.connections.peers.get_mut(&planned))
        {
            peer.planned -= u64::from(block.len);
        }
        self.downloads.partials.set_block(piece, index, state);
        context.takes(&mut self.rates, block.len);
        context.timers.by(Reason::Request, deadline);
        let message = Message::Request(block);
        context.out.push_back(SwarmOutput::Send { conn, message });
    }

    /// A `piece` message came: its payload is kept, or dropped.
    pub(crate) fn on_block(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        block: BlockRef,
    ) -> Result<(), Violation> {
        let Some(peer) = self.connections.peers.get_mut(&conn) else {
            context.out.push_back(SwarmOutput::Drop { conn, block });
            return Ok(());
        };
        let remote = peer.remote;
        let Some(ask) = peer.take_ask(block) else {
            context.out.push_back(SwarmOutput::Drop { conn, block });
            let what = "a block that was never asked for";
            if context.config.peers.strict {
                return Err(what);
            }
            self.traffic.redundant += u64::from(block.len);
            if peer.forgotten > 0 {
                // It was on its way when we were choked, which took its request back (BEP 3).
                peer.forgotten -= 1;
                return Ok(());
            }
            // BEP 6: with the fast extension every answer has its request. Programs that answer
            // what was cancelled twice lose a block by it, and not the connection.
            return peer.tolerate(what);
        };
        if ask.state == AskState::Cancelled {
            peer.window.asked(block.len);
        }
        peer.window.arrived(now, ask.at, block.len);
        peer.snubbed = peer.owes_late();
        peer.moved = Some(now);
        peer.received += u64::from(block.len);
        if !self.downloads.disk_pause.is_disk_full() {
            // What cannot be written is no gain.
            self.downloads.last_gain = now;
        }
        self.traffic.received.add(now, u64::from(block.len));
        let index = index_of(&self.geometry, block);
        let wanted = self
            .downloads
            .partials
            .get(block.piece)
            .filter(|partial| partial.stage == Stage::Active);
        let state = index.and_then(|index| wanted.map(|partial| partial.blocks[index as usize]));
        let state = state.filter(|_| self.is_welcome(context, conn, block.piece));
        if state.is_none() {
            self.downloads.reopen(&mut self.connections, &self.geometry, conn, block);
        }
        let (Some(index), Some(Block::Open | Block::Asked(..))) = (index, state) else {
            self.traffic.redundant += u64::from(block.len);
            context.out.push_back(SwarmOutput::Drop { conn, block });
            return Ok(());
        };
        if state == Some(Block::Open) {
            self.downloads.ask_is_answered_late(&mut self.connections, block);
        }
        if let Some(Block::Asked(first, second)) = state {
            for other in std::iter::once(first).chain(second).filter(|other| *other != conn) {
                self.connections.cancel(&mut context.out, other, block);
            }
        }
        self.downloads.partials.set_block(block.piece, index, Block::Held(remote));
        context.out.push_back(SwarmOutput::Keep { conn, block });
        context.stats.bytes_received += u64::from(block.len);
        if let Some(partial) = self.downloads.partials.get_mut(block.piece) {
            partial.progress = now;
            if partial.held() as usize == partial.blocks.len() {
                self.downloads.partials.set_stage(block.piece, Stage::Hashing);
                context.out.push_back(SwarmOutput::Hash(PieceKey {
                    torrent: self.id,
                    piece: block.piece,
                }));
            }
        }
        Ok(())
    }

    /// Whether a block of this piece may come from this peer: not from a banned one, and where one
    /// peer alone must give the piece, not from another.
    fn is_welcome(&self, context: &SessionContext, conn: ConnId, piece: PieceIndex) -> bool {
        let honest =
            self.connections.peers.get(&conn).is_some_and(|peer| !context.is_banned(peer.remote));
        let single =
            self.downloads.partials.get(piece).is_some_and(|partial| partial.single_source);
        honest
            && (!single
                || self
                    .downloads
                    .single_giver(&self.connections, piece)
                    .is_none_or(|giver| giver == conn))
    }

    /// A request of ours was refused (BEP 6).
    pub(super) fn on_reject(
        &mut self,
        context: &mut SessionContext,
        conn: ConnId,
        block: BlockRef,
    ) -> Result<(), Violation> {
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return Ok(()) };
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
        context.gives_back(&mut self.rates, block.len);
        if context.config.peers.rejects == RejectRule::UntilRefresh || !by_choke {
            self.connections.known.entry(remote).rejected.insert(block.piece);
        }
        context.stats.rejected += 1;
        context.event(SwarmEvent::Rejected { torrent: self.id, remote });
        self.downloads.reopen(&mut self.connections, &self.geometry, conn, block);
        if self
            .downloads
            .partials
            .get(block.piece)
            .is_some_and(|partial| partial.planned == Some(conn))
        {
            self.downloads.unplan(&mut self.connections, &self.geometry, block.piece);
        }
        self.release_untouched(context, block.piece);
        self.refused(context, block.piece);
        Ok(())
    }

    /// A started piece of which nothing is here and nothing is asked for need not hold memory.
    pub(super) fn release_untouched(&mut self, context: &mut SessionContext, piece: PieceIndex) {
        let untouched = self.downloads.partials.get(piece).is_some_and(|partial| {
            partial.stage == Stage::Active && partial.open() as usize == partial.blocks.len()
        });
        if untouched {
            self.drop_partial(context, piece);
        }
    }

    /// We are choked. Without the fast extension every request is dropped; with it each is
    /// answered.
    pub(super) fn on_choke(&mut self, context: &mut SessionContext, conn: ConnId) {
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
        peer.peer_choking = true;
        if !peer.is_fast() {
            let asks = u32::try_from(peer.asks.len()).unwrap_or(u32::MAX);
            peer.forgotten = peer.forgotten.saturating_add(asks);
            self.take_back(context, conn);
        } else {
            self.downloads.unplan_all(&mut self.connections, &self.geometry, conn);
        }
    }

    /// Everything asked of, or planned for, a connection is open again; its requests are forgotten.
    pub(super) fn take_back(&mut self, context: &mut SessionContext, conn: ConnId) {
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
        let asks = std::mem::take(&mut peer.asks);
        for ask in asks {
            if ask.state != AskState::Cancelled
                && let Some(peer) = self.connections.peers.get_mut(&conn)
            {
                peer.window.gave_up(ask.block.len);
            }
            if ask.state == AskState::Live {
                context.gives_back(&mut self.rates, ask.block.len);
                self.downloads.reopen(&mut self.connections, &self.geometry, conn, ask.block);
            }
        }
        self.downloads.unplan_all(&mut self.connections, &self.geometry, conn);
    }

    /// Requests whose deadline has passed are open again, and the peer that owes them is snubbed:
    /// one request at a time until it answers. A late answer is still welcome.
    pub(super) fn expire_requests(&mut self, context: &mut SessionContext, now: Time) {
        let mut late: Vec<(ConnId, BlockRef)> = Vec::new();
        let silent: Vec<ConnId> = self
            .connections
            .peers
            .iter()
            .filter(|(_, peer)| !peer.snubbed && is_silent(&context.config, peer))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in silent {
            let Some(peer) = self.connections.peers.get_mut(&conn) else { continue };
            let until = peer.since + MIN_DEADLINE;
            peer.snubbed = until <= now;
            if !peer.snubbed {
                context.timers.by(Reason::Request, until);
            }
        }
        for (conn, peer) in &mut self.connections.peers {
            for ask in peer.asks.iter_mut().filter(|ask| ask.state == AskState::Live) {
                if ask.deadline <= now {
                    ask.state = AskState::Late;
                    late.push((*conn, ask.block));
                } else {
                    context.timers.by(Reason::Request, ask.deadline);
                }
            }
        }
        for (conn, block) in late {
            if let Some(peer) = self.connections.peers.get_mut(&conn)
                && !std::mem::replace(&mut peer.snubbed, true)
            {
                peer.window.snub();
            }
            self.downloads.reopen(&mut self.connections, &self.geometry, conn, block);
            self.downloads.unplan_all(&mut self.connections, &self.geometry, conn);
            self.refused(context, block.piece);
        }
    }
}
