//! Requests of others, and choking (BEP 3, "choking"; BEP 6: every request gets exactly one
//! answer).

use super::connect::Violation;
use super::slots::{SlotRoom, judge, uses_slot};
use super::{SessionContext, Torrent};
use crate::swarm::address::source_of;
use crate::swarm::choker::{Candidate, ROUND, SEED_QUANTUM_PIECES, SEED_QUANTUM_ROUNDS};
use crate::swarm::config::RejectRule;
use crate::swarm::io::SwarmOutput;
use crate::swarm::peer::MAX_QUEUED;
use crate::wake::Reason;
use dunlin_base::{BlockRef, ConnId, PieceIndex, Time};
use dunlin_wire::Message;

impl Torrent {
    /// A peer wants something of us, or nothing any more.
    pub(super) fn on_interest(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        interested: bool,
    ) {
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
        if std::mem::replace(&mut peer.peer_interested, interested) == interested {
            return;
        }
        let choked = interested && peer.am_choking && context.config.shares;
        match self
            .uploads
            .room_for(context, &self.connections, self.downloads.wants_pieces(), now, conn)
            .filter(|_| choked)
        {
            Some(SlotRoom::Slot) => self.gives_slot(context, now, conn),
            Some(SlotRoom::Trial) => {
                self.uploads.end_a_trial(
                    &mut self.connections,
                    &mut context.slot_memory,
                    &mut context.out,
                    now,
                    conn,
                );
                self.gives_slot(context, now, conn);
            }
            None => {}
        }
    }

    /// A slot from now on.
    fn gives_slot(&mut self, context: &mut SessionContext, now: Time, conn: ConnId) {
        let round = self.uploads.choker.round();
        self.connections.unchoke(&mut context.out, round, conn);
        if let Some(peer) = self.connections.peers.get_mut(&conn) {
            peer.slot.since = Some(now);
        }
    }

    /// One round of the choker.
    pub(crate) fn rechoke(&mut self, context: &mut SessionContext, now: Time) {
        if context.config.choker.unchokes_all() || self.connections.peers.is_empty() {
            return;
        }
        let piece_length = u64::from(self.geometry.piece_length().max(1));
        let (seeding, share) = (
            !self.downloads.wants_pieces(),
            self.uploads.fair_share(context.config.uploads, self.traffic.sent.total()),
        );
        let (round, rotates) = (self.uploads.choker.round(), context.config.uploads.rotates);
        let candidates: Vec<Candidate> = self
            .connections
            .peers
            .iter_mut()
            .filter(|(_, peer)| peer.is_established())
            .map(|(conn, peer)| {
                let (wasted, slow) = judge(&mut context.slot_memory, peer, share, now);
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
        let kind = context.config.choker;
        let slots = context.config.uploads.slots;
        let open = self.uploads.choker.rechoke(kind, seeding, slots, &candidates, &mut context.rng);
        for candidate in candidates {
            let unchoke = open.contains(&candidate.conn) && context.config.shares;
            if unchoke && candidate.choked {
                self.gives_slot(context, now, candidate.conn);
            } else if !unchoke && !candidate.choked {
                let round = self.uploads.choker.round();
                self.connections.choke(&mut context.out, round, candidate.conn);
            }
        }
        if context.config.peers.rejects == RejectRule::UntilUnchoked {
            // What was refused a round ago may be had by now.
            self.connections.known.iter_mut().for_each(|(_, known)| known.rejected.clear());
        }
        context.timers.by(Reason::Choke, now + ROUND);
    }

    /// A peer asks for a block.
    pub(super) fn on_request(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        asked: BlockRef,
    ) -> Result<(), Violation> {
        let fits = self.geometry.check_request(asked);
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return Ok(()) };
        let servable = Some(asked)
            .filter(|block| fits && self.have.has(block.piece))
            .filter(|_| context.config.shares && !self.lifecycle.is_halted())
            .filter(|_| !peer.am_choking && peer.owed() < MAX_QUEUED);
        match servable {
            // A request that is repeated is one request.
            Some(block) if peer.queue.contains(&block) || peer.serving.contains(&block) => {}
            Some(block) => {
                peer.queue.push_back(block);
                peer.takes_offer(now, block.piece);
                self.pump(context, now, conn);
                return Ok(());
            }
            _ if peer.is_fast() => {
                let message = Message::RejectRequest(asked);
                context.out.push_back(SwarmOutput::Send { conn, message });
            }
            // Without the fast extension there is no answer (BEP 3).
            None if !fits => peer.tolerate("request outside the piece")?,
            _ => {}
        }
        self.connections.asked_in_vain(now, conn)
    }

    /// Hands waiting requests to the world, as many as the window of this destination takes.
    pub(super) fn pump(&mut self, context: &mut SessionContext, now: Time, conn: ConnId) {
        loop {
            let Some(peer) = self.connections.peers.get(&conn) else { return };
            let full = peer.serving.len() >= context.config.uploads.window;
            if full
                || peer.queue.is_empty()
                || self.uploads.giving.is_enough(self.traffic.sent.total())
                || !context.may_give(&mut self.rates, now)
            {
                return;
            }
            let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
            let Some(block) = peer.queue.pop_front() else { return };
            peer.serving.push(block);
            context.gives(&mut self.rates, block.len);
            self.uploads.giving.begins(block.len);
            context.out.push_back(SwarmOutput::Serve { conn, block });
        }
    }

    /// A block is on its way.
    pub(crate) fn sent(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        block: BlockRef,
    ) {
        let piece_len = self.geometry.data_len(block.piece);
        self.is_served(conn, block);
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
        (peer.moved, peer.slot.unused) = (Some(now), 0);
        context.slot_memory.takes(peer.remote);
        peer.sent += u64::from(block.len);
        peer.slot.given += u64::from(block.len);
        peer.block_left(&mut context.upload_scheduler, now, block);
        context.stats.served(block, piece_len);
        self.traffic.sent.add(now, u64::from(block.len));
        if self.uploads.giving.is_enough(self.traffic.sent.total()) {
            // The goal of a seed is reached; what is on its way still goes.
            context.timers.by(Reason::Goal, now);
        }
        self.pump(context, now, conn);
    }

    /// A block will not be sent, because our disk failed or the request was taken back: the peer
    /// gets its one answer, and nobody is blamed.
    pub(crate) fn not_served(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        block: BlockRef,
    ) {
        self.is_served(conn, block);
        let Some(fast) = self.connections.peers.get(&conn).map(|peer| peer.is_fast()) else {
            return;
        };
        context.not_given(&mut self.rates, block.len);
        if fast {
            let message = Message::RejectRequest(block);
            context.out.push_back(SwarmOutput::Send { conn, message });
        }
        self.pump(context, now, conn);
        self.may_give_again(context, now);
    }

    /// The world is no longer serving this block.
    fn is_served(&mut self, conn: ConnId, block: BlockRef) {
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
        let Some(index) = peer.serving.iter().position(|serving| *serving == block) else { return };
        peer.serving.remove(index);
        self.uploads.giving.ends(u64::from(block.len));
    }

    /// One message of a connection whose handshake is done.
    pub(crate) fn on_message(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        match message {
            Message::KeepAlive | Message::Port(_) | Message::AllowedFast { .. } => {}
            Message::SuggestPiece { piece } => self.on_suggest(context, now, conn, *piece)?,
            Message::Interested => self.on_interest(context, now, conn, true),
            Message::NotInterested => self.on_interest(context, now, conn, false),
            Message::Request(range) => self.on_request(context, now, conn, *range)?,
            Message::Cancel(range) => self.connections.on_cancel(&mut context.out, conn, *range),
            Message::Choke => {
                self.on_choke(context, conn);
                self.fill(context, now);
            }
            Message::Unchoke => {
                if let Some(peer) = self.connections.peers.get_mut(&conn) {
                    if context.config.peers.rejects == RejectRule::UntilUnchoked {
                        self.connections.known.entry(peer.remote).rejected.clear();
                    }
                    peer.peer_choking = false;
                    peer.snubbed = peer.owes_late();
                }
                self.fill_from(context, now, Some(conn));
            }
            Message::Have { piece } => {
                self.on_pieces(context, now, conn, message)?;
                let piece = PieceIndex(*piece);
                let wanted = self.downloads.missing.has(piece);
                if wanted
                    && (self.downloads.picker.is_open(piece) || self.downloads.partials.any_ready())
                {
                    self.fill_from(context, now, Some(conn));
                }
            }
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => {
                self.on_pieces(context, now, conn, message)?;
                self.fill_from(context, now, Some(conn));
            }
            Message::RejectRequest(range) => {
                self.on_reject(context, conn, *range)?;
                self.fill(context, now);
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
