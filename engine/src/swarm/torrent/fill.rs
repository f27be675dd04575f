//! Which block to ask of whom, with many requests in flight.
//!
//! 1. Pieces that were started come first (strict priority).
//! 2. Then new pieces: the picker says which, the source order from whom. A fast peer is planned for the
//!    whole piece, slow peers share one. Memory is reserved before anything is asked for.
//! 3. When there is nothing left to start, idle peers take open blocks that others planned.
//! 4. Endgame: every block is asked for; idle peers ask for what is slow to come a second time.

use super::{SessionContext, Torrent};
use crate::config::PieceOrder;
use crate::swarm::choker::ChokerKind;
use crate::swarm::config::Availability;
use crate::swarm::io::SwarmOutput;
use crate::swarm::partials::{Block, Partial, Stage};
use crate::swarm::peer::{AskState, Peer, Pieces};
use crate::swarm::picker::RANDOM_FIRST_PIECES;
use crate::swarm::sources::SourceView;
use crate::wake::Reason;
use dunlin_base::{ConnId, PieceIndex, PieceKey, Time};
use std::time::Duration;

/// A peer that gives a piece in this time gets whole pieces; slower ones share (practice of the field:
/// under 20 s for pieces of the internet; here pieces are asked for by the megabyte).
const WHOLE_PIECE: Duration = Duration::from_secs(2);
/// A block is asked for a second time when it has been under way for so many times what the idle peer
/// would need for it.
const ENDGAME_PATIENCE: u32 = 2;
/// … and for at least so long.
const ENDGAME_AGE: Duration = Duration::from_millis(100);

/// A strict order passes over a source that is so many times slower than the next.
const LAGGARD: u64 = 4;
/// … which nobody knows of a connection before it is so old: until then a thread that was not scheduled
/// looks like a slow source.
const LAG_AFTER: Duration = Duration::from_secs(1);

impl Torrent {
    pub(super) fn fill_many(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        only: Option<ConnId>,
    ) {
        if !self.may_take(shared, now) {
            return;
        }
        // A strict order may have waited for just this peer's turn, with others behind it.
        let only = only.filter(|_| !shared.config.sources.is_strict());
        let able = |peer: &Peer| peer.gives() && peer.may_ask();
        let mut givers: Vec<ConnId> = match only {
            Some(conn) => {
                self.peers.get(&conn).filter(|peer| able(peer)).map(|_| conn).into_iter().collect()
            }
            None => {
                self.peers.iter().filter(|(_, peer)| able(peer)).map(|(conn, _)| *conn).collect()
            }
        };
        if !givers.is_empty() {
            self.continue_pieces(shared, now, &mut givers);
            self.revive_spilled(shared, &givers);
            let all_started = self.start_pieces(shared, now, &givers);
            if all_started && !shared.out_of_memory {
                self.help_out(shared, now, &mut givers);
                if self.picker.open_pieces() == 0 {
                    self.endgame(shared, now, &givers);
                }
            }
        }
        self.starve_if_idle(shared);
    }

    /// Whether the peer has the piece and has not refused it since the last refresh.
    pub(crate) fn gives_piece(&self, conn: ConnId, piece: PieceIndex) -> bool {
        self.peers.get(&conn).is_some_and(|peer| {
            peer.pieces.has(piece)
                && self.known.get(peer.remote).is_none_or(|known| !known.rejected.contains(&piece))
        })
    }

    fn source(&mut self, conn: ConnId, now: Time) -> SourceView {
        let Some(peer) = self.peers.get_mut(&conn) else { return SourceView::default() };
        let (in_flight, rate) = (peer.window.in_flight() + peer.planned, peer.rate(now));
        let members = self.known.members();
        self.known.entry(peer.remote).source(members, in_flight, rate)
    }

    /// Chooses one of `conns` and counts the choice.
    fn choose_conn(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conns: &[ConnId],
    ) -> Option<ConnId> {
        let sources: Vec<SourceView> = conns.iter().map(|conn| self.source(*conn, now)).collect();
        let order = shared.config.sources;
        order.choose(&sources, self.last_place, &mut shared.rng).map(|index| conns[index])
    }

    /// Counts that a piece is asked of a peer.
    fn count_choice(&mut self, shared: &mut SessionContext, conn: ConnId) {
        if let Some(peer) = self.peers.get(&conn) {
            shared.chosen += 1;
            let known = self.known.entry(peer.remote);
            known.last_chosen = shared.chosen;
            known.asked += 1;
            self.last_place = Some(known.place);
        }
    }

    /// Step 1: open blocks of started pieces.
    fn continue_pieces(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        givers: &mut Vec<ConnId>,
    ) {
        let ready: Vec<PieceIndex> = self.partials.ready().collect();
        for piece in ready {
            if givers.is_empty() {
                return;
            }
            self.continue_piece(shared, now, piece, givers);
            givers.retain(|conn| self.peers[conn].may_ask());
        }
    }

    fn continue_piece(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        givers: &[ConnId],
    ) {
        loop {
            let Some(partial) = self.partials.get(piece) else { return };
            let Some(index) = partial.first_open() else { return };
            let begun = (partial.open() as usize) < partial.blocks.len();
            let (planned, alone) = (partial.planned, partial.alone);
            let may = |conn: &ConnId| self.gives_piece(*conn, piece) && self.peers[conn].may_ask();
            let conn = match planned {
                _ if alone && begun => match self.only_giver(piece) {
                    Some(conn) if givers.contains(&conn) && may(&conn) => conn,
                    Some(_) => return,
                    None => {
                        // Whoever began it is gone: what it gave cannot stand beside another's.
                        self.drop_partial(shared, piece);
                        return;
                    }
                },
                Some(conn) if self.keeps_plan(conn, piece) => {
                    if !givers.contains(&conn) || !may(&conn) {
                        return;
                    }
                    conn
                }
                _ => {
                    let able: Vec<ConnId> = givers.iter().copied().filter(may).collect();
                    self.unplan(piece);
                    let Some(conn) = self.choose_conn(shared, now, &able) else { return };
                    if alone {
                        self.plan(piece, conn);
                    }
                    conn
                }
            };
            if !self.may_take(shared, now) {
                return;
            }
            self.ask(shared, now, conn, piece, index);
        }
    }

    /// The peer that began a piece which one peer alone must give, if it is still there and answers.
    pub(crate) fn only_giver(&self, piece: PieceIndex) -> Option<ConnId> {
        let conn = self.partials.get(piece)?.blocks.iter().find_map(|block| match block {
            Block::Open => None,
            Block::Asked(conn, _) => Some(*conn),
            Block::Held(sender) => self.known.get(*sender)?.conn,
        })?;
        self.peers.get(&conn).filter(|peer| !peer.snubbed).map(|_| conn)
    }

    /// Whether a peer is still able to give what was planned for it.
    fn keeps_plan(&self, conn: ConnId, piece: PieceIndex) -> bool {
        self.peers.get(&conn).is_some_and(|peer| peer.gives() && !peer.snubbed)
            && self.gives_piece(conn, piece)
    }

    /// Spilled pieces come back before new ones are started.
    fn revive_spilled(&mut self, shared: &mut SessionContext, givers: &[ConnId]) {
        if shared.out_of_memory {
            return;
        }
        let spilled: Vec<PieceIndex> = self.partials.spilled().collect();
        for piece in spilled {
            if givers.iter().any(|conn| self.gives_piece(*conn, piece)) {
                self.partials.set_stage(piece, Stage::Reserving);
                self.reserve(shared, piece);
            }
        }
    }

    /// Step 2. Returns whether every piece that anybody gives is started.
    fn start_pieces(&mut self, shared: &mut SessionContext, now: Time, givers: &[ConnId]) -> bool {
        let mut roomy: Vec<ConnId> = givers.to_vec();
        if shared.config.sources.is_strict() && self.waits_for_answers(shared, now) {
            return false;
        }
        loop {
            // The disk was full: the piece that is under way shows whether it still is. One that nobody
            // gives shows nothing.
            let tries = |partial: &Partial| match partial.stage {
                Stage::Reserving | Stage::Hashing | Stage::Storing { written: false, .. } => true,
                Stage::Active => {
                    partial.blocks.iter().any(|block| matches!(block, Block::Asked(..)))
                }
                _ => false,
            };
            if !self.full_pause.is_zero() && self.partials.iter().any(|(_, partial)| tries(partial))
            {
                return false;
            }
            roomy.retain(|conn| self.peers[conn].has_room());
            if roomy.is_empty() || shared.out_of_memory {
                return false;
            }
            let random_first = self.picker.order() == PieceOrder::Rarest
                && self.have.count() < RANDOM_FIRST_PIECES;
            // Looked up once, not once a piece.
            let offers: Vec<_> = roomy
                .iter()
                .map(|conn| &self.peers[conn])
                .map(|peer| (&peer.pieces, self.known.get(peer.remote)))
                .collect();
            // Most of the time nobody has anything new, which a look at each piece is too long for.
            let any = |pieces: &Pieces| match pieces {
                Pieces::Unknown => false,
                Pieces::All => true,
                Pieces::Some(field) => self.picker.is_any_open(field),
            };
            if !offers.iter().any(|(pieces, _)| any(pieces)) {
                return true;
            }
            let gives = |piece: PieceIndex| {
                offers.iter().any(|(pieces, known)| {
                    pieces.has(piece) && known.is_none_or(|known| !known.rejected.contains(&piece))
                })
            };
            let random_first = random_first.then_some(&mut shared.rng);
            let Some(piece) = self.priorities.pick(&self.picker, random_first, gives) else {
                return true;
            };
            let able: Vec<ConnId> =
                roomy.iter().copied().filter(|conn| self.gives_piece(*conn, piece)).collect();
            let Some(conn) = self.choose_conn(shared, now, &able) else { return true };
            if shared.config.sources.is_strict() && !self.is_its_turn(shared, now, piece, conn) {
                return false;
            }
            self.count_choice(shared, conn);
            self.start(shared, now, piece, conn);
        }
    }

    /// Whether a fresh connection has yet to say what it has: a strict order does not begin without it.
    fn waits_for_answers(&self, shared: &mut SessionContext, now: Time) -> bool {
        let fresh = self
            .peers
            .values()
            .filter(|peer| now.since(peer.since) < LAG_AFTER && self.is_silent(shared, peer))
            .map(|peer| peer.since + LAG_AFTER)
            .max();
        if let Some(until) = fresh {
            shared.timers.by(Reason::Request, until);
        }
        fresh.is_some()
    }

    /// A strict order waits for whoever's turn it is, though its window is full, unless it is much slower
    /// than the one that would take its place: a slow source must not set the pace. Without the wait the
    /// windows would decide and not the order: a source that gave more has the larger window.
    fn is_its_turn(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        conn: ConnId,
    ) -> bool {
        let all: Vec<ConnId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.gives() && !peer.snubbed)
            .map(|(conn, _)| *conn)
            .filter(|conn| self.gives_piece(*conn, piece))
            .collect();
        let Some(turn) = self.choose_conn(shared, now, &all) else { return true };
        let (holder, other) = (self.source(turn, now).rate, self.source(conn, now).rate);
        let known = self.peers.get(&turn).is_some_and(|peer| now.since(peer.since) >= LAG_AFTER);
        let lags = known && holder.0 > 0 && holder.0.saturating_mul(LAGGARD) < other.0;
        turn == conn || lags
    }

    /// Starts a piece that `conn` is to give.
    pub(crate) fn start(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        conn: ConnId,
    ) {
        let bytes = self.geometry.data_len(piece);
        let block = self.geometry.block_length().max(1);
        self.picker.close(piece);
        let partial = self.partials.start(piece, self.geometry.blocks(piece), now);
        partial.alone = self.alone.contains(&piece);
        if shared.config.streamed(bytes) {
            let window = (shared.config.memory / 8 / u64::from(block)).max(1);
            partial.stream_blocks = Some(window as u32);
        }
        let rate = self.peers.get_mut(&conn).map(|peer| peer.rate(now)).unwrap_or_default();
        let slow = rate.0 > 0 && rate.time_for(u64::from(bytes)) > WHOLE_PIECE;
        if !slow || self.alone.contains(&piece) {
            self.plan(piece, conn);
        }
        self.reserve(shared, piece);
    }

    pub(crate) fn reserve(&mut self, shared: &mut SessionContext, piece: PieceIndex) {
        let bytes = self.geometry.data_len(piece);
        let streamed = self.partials.get(piece).and_then(|partial| partial.stream_blocks);
        // A streamed piece holds its window twice: what is asked for, and what waits to be written.
        let window = |blocks: u32| blocks.saturating_mul(2 * self.geometry.block_length());
        shared.out.push_back(SwarmOutput::Reserve {
            key: PieceKey { torrent: self.id, piece },
            bytes: streamed.map_or(bytes, |blocks| bytes.min(window(blocks))),
            streamed: streamed.is_some(),
        });
    }

    /// The memory is there.
    pub(crate) fn reserved(&mut self, shared: &mut SessionContext, now: Time, piece: PieceIndex) {
        match self.partials.get(piece).map(|partial| partial.stage) {
            Some(Stage::Reserving) => {
                self.partials.set_stage(piece, Stage::Active);
                let full = self.partials.get_mut(piece).is_some_and(|partial| {
                    partial.progress = now;
                    partial.held() as usize == partial.blocks.len()
                });
                if full {
                    self.partials.set_stage(piece, Stage::Hashing);
                    shared.out.push_back(SwarmOutput::Hash(PieceKey { torrent: self.id, piece }));
                }
            }
            // The piece was taken back while the world was at it.
            Some(Stage::Abandoned) => {
                shared.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece }));
                self.reopen_piece(piece);
            }
            None => {
                shared.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece }))
            }
            Some(_) => {}
        }
        let planned = self.partials.get(piece).and_then(|partial| partial.planned);
        self.fill_from(shared, now, planned);
    }

    /// There is no memory now.
    pub(crate) fn no_memory(&mut self, shared: &mut SessionContext, piece: PieceIndex) {
        shared.out_of_memory = true;
        let Some(partial) = self.partials.get(piece) else { return };
        match partial.stage {
            Stage::Reserving if partial.held() > 0 => {
                self.unplan(piece);
                self.partials.set_stage(piece, Stage::Spilled);
            }
            Stage::Reserving => {
                self.unplan(piece);
                self.reopen_piece(piece);
            }
            Stage::Abandoned => self.reopen_piece(piece),
            _ => {}
        }
    }

    /// Step 3: idle peers take open blocks that a busy peer planned.
    fn help_out(&mut self, shared: &mut SessionContext, now: Time, givers: &mut Vec<ConnId>) {
        let ready: Vec<PieceIndex> = self.partials.ready().collect();
        for piece in ready {
            givers.retain(|conn| self.peers[conn].has_room() && !self.peers[conn].snubbed);
            if givers.is_empty() {
                return;
            }
            let Some(partial) = self.partials.get(piece) else { continue };
            if partial.alone || partial.planned.is_none() {
                continue;
            }
            let helper = givers
                .iter()
                .copied()
                .find(|conn| partial.planned != Some(*conn) && self.gives_piece(*conn, piece));
            if helper.is_some() {
                self.unplan(piece);
                self.continue_piece(shared, now, piece, givers);
            }
        }
    }

    /// Step 4: a peer with nothing to do asks for a block that is slow to come from another.
    fn endgame(&mut self, shared: &mut SessionContext, now: Time, givers: &[ConnId]) {
        if self.partials.any_ready() {
            return;
        }
        for conn in givers {
            let Some(peer) = self.peers.get_mut(conn) else { continue };
            if !peer.asks.is_empty() || peer.snubbed {
                continue;
            }
            let rate = peer.rate(now);
            let block = u64::from(self.geometry.block_length());
            let would_take = if rate.0 == 0 { Duration::ZERO } else { rate.time_for(block) };
            let patience = would_take.saturating_mul(ENDGAME_PATIENCE).max(ENDGAME_AGE);
            match self.slowest_block(*conn) {
                Some((at, piece, index)) if now.since(at) >= patience => {
                    if !self.may_take(shared, now) {
                        return;
                    }
                    self.ask(shared, now, *conn, piece, index);
                }
                // Perhaps nothing else happens until then.
                Some((at, ..)) => shared.timers.by(Reason::Request, at + patience),
                None => {}
            }
        }
    }

    /// The block, asked of one other peer, that has been under way longest, and since when.
    fn slowest_block(&self, idle: ConnId) -> Option<(Time, PieceIndex, u32)> {
        let mut slowest: Option<(Time, PieceIndex, u32)> = None;
        for (conn, peer) in &self.peers {
            let Some(ask) = peer.asks.iter().find(|ask| ask.state == AskState::Live) else {
                continue;
            };
            let Some(index) = self.geometry.block_index(ask.block) else { continue };
            let piece = ask.block.piece;
            let Some(partial) = self.partials.get(piece) else { continue };
            let single = partial.blocks[index as usize] == Block::Asked(*conn, None);
            if *conn == idle || !single || partial.alone || !self.gives_piece(idle, piece) {
                continue;
            }
            if slowest.is_none_or(|(at, ..)| ask.at < at) {
                slowest = Some((ask.at, piece, index));
            }
        }
        slowest
    }

    /// Nothing is under way and nobody has what is missing: ask the tracker.
    fn starve_if_idle(&mut self, shared: &mut SessionContext) {
        if self.starved || self.is_under_way() {
            return;
        }
        let begun = self.partials.iter().any(|(_, partial)| partial.stage == Stage::Active);
        if shared.out_of_memory && !begun {
            return;
        }
        let may_yet_give = self.peers.iter().any(|(conn, peer)| {
            let silent = self.is_silent(shared, peer);
            let waits = peer.am_interested && (peer.peer_choking || !peer.may_ask());
            !peer.snubbed
                && !shared.is_banned(peer.remote)
                && (silent
                    || waits && self.missing.ones().any(|piece| self.gives_piece(*conn, piece)))
        });
        if !may_yet_give && !self.known.iter().any(|(_, known)| known.dialling) {
            self.starve(shared);
        }
    }

    /// Whether the peer has yet to say what it has, which with map `pieces` the tracker does, or to let us
    /// ask for it, which a cooperative one does at once.
    pub(super) fn is_silent(&self, shared: &SessionContext, peer: &Peer) -> bool {
        let listens = shared.config.availability != Availability::Reported;
        let cooperative = shared.config.choker == ChokerKind::Cooperative;
        !peer.is_established()
            || listens && peer.pieces == Pieces::Unknown
            || cooperative && peer.am_interested && peer.peer_choking
    }

    /// Whether any started piece waits for somebody: for blocks, memory, the hash or the disk.
    pub(super) fn is_under_way(&self) -> bool {
        self.partials.iter().any(|(_, partial)| match partial.stage {
            Stage::Spilled => false,
            Stage::Active => {
                partial.open() as usize + (partial.held() as usize) < partial.blocks.len()
            }
            _ => true,
        })
    }
}
