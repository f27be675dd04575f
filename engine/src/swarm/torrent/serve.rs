//! Requests of others, and choking (BEP 3, "choking"; BEP 6: every request gets exactly one answer).

use super::connect::Violation;
use super::slots::{SlotRoom, judge, uses_slot};
use super::{SessionContext, Torrent};
use crate::swarm::address::source_of;
use crate::swarm::choker::{
    Candidate, ChokerKind, ROUND, SEED_QUANTUM_PIECES, SEED_QUANTUM_ROUNDS,
};
use crate::swarm::config::RejectRule;
use crate::swarm::io::SwarmOutput;
use crate::swarm::peer::{AskState, MAX_QUEUED};
use crate::wake::Reason;
use dunlin_base::{BlockRef, ConnId, PieceIndex, Time};
use dunlin_wire::Message;

impl Torrent {
    /// A peer wants something of us, or nothing any more.
    pub(super) fn on_interest(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conn: ConnId,
        interested: bool,
    ) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if std::mem::replace(&mut peer.peer_interested, interested) == interested {
            return;
        }
        let choked = interested && peer.am_choking && shared.config.shares;
        match self.room_for(shared, now, conn).filter(|_| choked) {
            Some(SlotRoom::Slot) => self.gives_slot(shared, now, conn),
            Some(SlotRoom::Trial) => {
                self.end_a_trial(shared, now, conn);
                self.gives_slot(shared, now, conn);
            }
            None => {}
        }
    }

    /// A slot from now on.
    fn gives_slot(&mut self, shared: &mut SessionContext, now: Time, conn: ConnId) {
        self.unchoke(shared, conn);
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.slot.since = Some(now);
        }
    }

    pub(super) fn unchoke(&mut self, shared: &mut SessionContext, conn: ConnId) {
        let round = self.choker.round();
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.am_choking = false;
        (peer.slot.given, peer.slot.given_before, peer.slot.since) = (0, 0, None);
        peer.slot.since_round = round;
        shared.out.push_back(SwarmOutput::Send { conn, message: Message::Unchoke });
    }

    /// Chokes a peer: with the fast extension every waiting request is rejected, after the choke.
    pub(super) fn choke(&mut self, shared: &mut SessionContext, conn: ConnId) {
        let round = self.choker.round();
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.am_choking = true;
        peer.slot.since_round = round;
        shared.out.push_back(SwarmOutput::Send { conn, message: Message::Choke });
        let queue = std::mem::take(&mut peer.queue);
        if peer.is_fast() {
            for block in queue {
                let message = Message::RejectRequest(block);
                shared.out.push_back(SwarmOutput::Send { conn, message });
            }
        }
    }

    /// One round of the choker.
    pub(crate) fn rechoke(&mut self, shared: &mut SessionContext, now: Time) {
        if shared.config.choker == ChokerKind::Cooperative || self.peers.is_empty() {
            return;
        }
        let piece_length = u64::from(self.geometry.piece_length().max(1));
        let (seeding, share) = (!self.downloads(), self.fair_share(shared));
        let (round, rotates) = (self.choker.round(), shared.config.uploads.rotates);
        let candidates: Vec<Candidate> = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| peer.is_established())
            .map(|(conn, peer)| {
                let (wasted, slow) = judge(shared, peer, share, now);
                let pieces_in_slot = peer.slot.given / piece_length;
                let had_its_time = round.saturating_sub(peer.slot.since_round)
                    >= SEED_QUANTUM_ROUNDS
                    || seeding && pieces_in_slot >= SEED_QUANTUM_PIECES;
                Candidate {
                    conn: *conn,
                    source: source_of(peer.remote),
                    wasted,
                    takes_part: uses_slot(peer),
                    slow,
                    had_its_time: rotates && !peer.am_choking && had_its_time,
                    interested: peer.peer_interested,
                    choked: peer.am_choking,
                    gives: peer.window.rate(now),
                    pieces_in_slot,
                    since_round: peer.slot.since_round,
                    newcomer: now.since(peer.since) < ROUND * 3,
                    snubbed: peer.snubbed,
                }
            })
            .collect();
        let kind = shared.config.choker;
        let slots = shared.config.uploads.slots;
        let open = self.choker.rechoke(kind, seeding, slots, &candidates, &mut shared.rng);
        for candidate in candidates {
            let unchoke = open.contains(&candidate.conn) && shared.config.shares;
            if unchoke && candidate.choked {
                self.gives_slot(shared, now, candidate.conn);
            } else if !unchoke && !candidate.choked {
                self.choke(shared, candidate.conn);
            }
        }
        if shared.config.peers.rejects == RejectRule::UntilUnchoked {
            // What was refused a round ago may be had by now.
            self.known.iter_mut().for_each(|(_, known)| known.rejected.clear());
        }
        shared.timers.by(Reason::Choke, now + ROUND);
    }

    /// A peer asks for a block.
    pub(super) fn on_request(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conn: ConnId,
        asked: BlockRef,
    ) -> Result<(), Violation> {
        let fits = self.geometry.check_request(asked);
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        let servable = Some(asked)
            .filter(|block| fits && self.have.has(block.piece))
            .filter(|_| shared.config.shares && !self.halted)
            .filter(|_| !peer.am_choking && peer.owed() < MAX_QUEUED);
        match servable {
            // A request that is repeated is one request.
            Some(block) if peer.queue.contains(&block) || peer.serving.contains(&block) => {}
            Some(block) => {
                peer.queue.push_back(block);
                self.offer_taken(now, conn, block.piece);
                self.pump(shared, now, conn);
                return Ok(());
            }
            _ if peer.is_fast() => {
                let message = Message::RejectRequest(asked);
                shared.out.push_back(SwarmOutput::Send { conn, message });
            }
            // Without the fast extension there is no answer (BEP 3).
            None if !fits => peer.tolerate("request outside the piece")?,
            _ => {}
        }
        self.asked_in_vain(now, conn)
    }

    /// A peer takes a request back. With the fast extension it still gets its one answer.
    pub(super) fn on_cancel(&mut self, shared: &mut SessionContext, conn: ConnId, block: BlockRef) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(index) = peer.queue.iter().position(|queued| *queued == block) else { return };
        peer.queue.remove(index);
        if peer.is_fast() {
            let message = Message::RejectRequest(block);
            shared.out.push_back(SwarmOutput::Send { conn, message });
        }
    }

    /// Hands waiting requests to the world, as many as the window of this destination takes.
    pub(super) fn pump(&mut self, shared: &mut SessionContext, now: Time, conn: ConnId) {
        loop {
            let Some(peer) = self.peers.get(&conn) else { return };
            let full = peer.serving.len() >= shared.config.uploads.window;
            if full || peer.queue.is_empty() || !self.may_give(shared, now) {
                return;
            }
            let Some(peer) = self.peers.get_mut(&conn) else { return };
            let Some(block) = peer.queue.pop_front() else { return };
            peer.serving.push(block);
            self.gives(shared, block.len);
            shared.out.push_back(SwarmOutput::Serve { conn, block });
        }
    }

    /// A block is on its way.
    pub(crate) fn sent(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conn: ConnId,
        block: BlockRef,
    ) {
        let piece_len = self.geometry.data_len(block.piece);
        self.is_served(conn, block);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        (peer.moved, peer.slot.unused) = (Some(now), 0);
        shared.slot_memory.takes(peer.remote);
        peer.sent += u64::from(block.len);
        peer.slot.given += u64::from(block.len);
        shared.stats.served(block, piece_len);
        self.traffic.sent.add(now, u64::from(block.len));
        if self.gives_no_more() {
            // The goal of a seed is reached; what is on its way still goes.
            shared.timers.by(Reason::Goal, now);
        }
        self.offered_left(shared, now, conn, block);
        self.pump(shared, now, conn);
    }

    /// A block will not be sent, because our disk failed or the request was taken back: the peer gets its
    /// one answer, and nobody is blamed.
    pub(crate) fn not_served(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conn: ConnId,
        block: BlockRef,
    ) {
        self.is_served(conn, block);
        let Some(fast) = self.peers.get(&conn).map(|peer| peer.is_fast()) else { return };
        self.not_given(shared, block.len);
        if fast {
            let message = Message::RejectRequest(block);
            shared.out.push_back(SwarmOutput::Send { conn, message });
        }
        self.pump(shared, now, conn);
        self.may_give_again(shared, now);
    }

    /// The world is no longer serving this block.
    fn is_served(&mut self, conn: ConnId, block: BlockRef) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(index) = peer.serving.iter().position(|serving| *serving == block) else { return };
        peer.serving.remove(index);
        self.giving.on_its_way = self.giving.on_its_way.saturating_sub(u64::from(block.len));
    }

    /// Blocks that others have asked for and not got: part of our load.
    pub(crate) fn owed(&self) -> u64 {
        self.peers.values().map(|peer| peer.owed() as u64).sum()
    }

    /// One message of a connection whose handshake is done.
    pub(crate) fn on_message(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        match message {
            Message::KeepAlive | Message::Port(_) | Message::AllowedFast { .. } => {}
            Message::SuggestPiece { piece } => self.on_suggest(shared, now, conn, *piece)?,
            Message::Interested => self.on_interest(shared, now, conn, true),
            Message::NotInterested => self.on_interest(shared, now, conn, false),
            Message::Request(range) => self.on_request(shared, now, conn, *range)?,
            Message::Cancel(range) => self.on_cancel(shared, conn, *range),
            Message::Choke => {
                self.on_choke(shared, conn);
                self.fill(shared, now);
            }
            Message::Unchoke => {
                if let Some(peer) = self.peers.get_mut(&conn) {
                    if shared.config.peers.rejects == RejectRule::UntilUnchoked {
                        self.known.entry(peer.remote).rejected.clear();
                    }
                    peer.peer_choking = false;
                    peer.snubbed = peer.asks.iter().any(|ask| ask.state == AskState::Late);
                }
                self.fill_from(shared, now, Some(conn));
            }
            Message::Have { piece } => {
                self.on_pieces(shared, now, conn, message)?;
                let piece = PieceIndex(*piece);
                let wanted = self.missing.has(piece);
                if wanted && (self.picker.is_open(piece) || self.partials.any_ready()) {
                    self.fill_from(shared, now, Some(conn));
                }
            }
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => {
                self.on_pieces(shared, now, conn, message)?;
                self.fill_from(shared, now, Some(conn));
            }
            Message::RejectRequest(range) => {
                self.on_reject(shared, conn, *range)?;
                self.fill(shared, now);
            }
            Message::Piece(_) => return Err("a piece message without its payload"),
            // A driver that has agreed on extensions handles these before the core does.
            Message::Extended { .. }
            | Message::HashRequest(_)
            | Message::Hashes { .. }
            | Message::HashReject(_) => return Err("an extension that was never agreed on"),
        }
        Ok(())
    }
}
