//! Which block to ask of whom, with many requests in flight.
//!
//! 1. Pieces that were started come first (strict priority).
//! 2. Then new pieces: the picker chooses which, the source policy from whom. A fast peer is
//!    planned for the whole piece, slow peers share one. Memory is reserved before anything is
//!    asked for.
//! 3. When there is nothing left to start, idle peers take open blocks that others planned.
//! 4. Endgame: every block is asked for; idle peers ask for what is slow to come a second time.

use super::connections::is_silent;
use super::{SessionContext, Torrent};
use crate::config::PieceOrder;
use crate::swarm::io::SwarmOutput;
use crate::swarm::partials::{Block, Partial, Stage};
use crate::swarm::peer::{Peer, Pieces};
use crate::swarm::picker::RANDOM_FIRST_PIECES;
use crate::swarm::sources::SourceView;
use crate::wake::Reason;
use dunlin_base::{ConnId, PieceIndex, PieceKey, Time};
use std::time::Duration;

/// A peer that gives a piece in this time gets whole pieces; slower ones share (practice of the
/// field: under 20 s for pieces of the internet; here pieces are asked for by the megabyte).
const WHOLE_PIECE: Duration = Duration::from_secs(2);
/// A block is asked for a second time when it has been under way for so many times what the idle
/// peer would need for it.
const ENDGAME_PATIENCE: u32 = 2;
/// … and for at least so long.
const ENDGAME_AGE: Duration = Duration::from_millis(100);

/// A strict order passes over a source that is so many times slower than the next.
const LAGGARD: u64 = 4;
/// … which nobody knows of a connection before it is so old: until then a thread that was not
/// scheduled looks like a slow source.
const LAG_AFTER: Duration = Duration::from_secs(1);

impl Torrent {
    pub(super) fn fill_many(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        only: Option<ConnId>,
    ) {
        if !context.may_take(&mut self.rates, now) {
            return;
        }
        // A strict order may have waited for just this peer's turn, with others behind it.
        let only = only.filter(|_| !context.config.sources.is_strict());
        let able = |peer: &Peer| peer.gives() && peer.may_ask();
        let mut givers: Vec<ConnId> = match only {
            Some(conn) => self
                .connections
                .peers
                .get(&conn)
                .filter(|peer| able(peer))
                .map(|_| conn)
                .into_iter()
                .collect(),
            None => self
                .connections
                .peers
                .iter()
                .filter(|(_, peer)| able(peer))
                .map(|(conn, _)| *conn)
                .collect(),
        };
        if !givers.is_empty() {
            self.continue_pieces(context, now, &mut givers);
            self.revive_spilled(context, &givers);
            let all_started = self.start_pieces(context, now, &givers);
            if all_started && !context.out_of_memory {
                self.help_out(context, now, &mut givers);
                if self.downloads.picker.open_pieces() == 0 {
                    self.endgame(context, now, &givers);
                }
            }
        }
        self.starve_if_idle(context);
    }

    /// Chooses one of `conns` and counts the choice.
    fn choose_conn(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conns: &[ConnId],
    ) -> Option<ConnId> {
        let sources: Vec<SourceView> =
            conns.iter().map(|conn| self.connections.source(*conn, now)).collect();
        let last = self.downloads.last_place;
        let index = context.config.sources.choose(&sources, last, &mut context.rng)?;
        Some(conns[index])
    }

    /// Step 1: open blocks of started pieces.
    fn continue_pieces(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        givers: &mut Vec<ConnId>,
    ) {
        let ready: Vec<PieceIndex> = self.downloads.partials.ready().collect();
        for piece in ready {
            if givers.is_empty() {
                return;
            }
            self.continue_piece(context, now, piece, givers);
            givers.retain(|conn| self.connections.peers[conn].may_ask());
        }
    }

    fn continue_piece(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        givers: &[ConnId],
    ) {
        loop {
            let Some(partial) = self.downloads.partials.get(piece) else { return };
            let Some(index) = partial.first_open() else { return };
            let begun = (partial.open() as usize) < partial.blocks.len();
            let (planned, single) = (partial.planned, partial.single_source);
            let may = |conn: &ConnId| {
                self.connections.gives_piece(*conn, piece) && self.connections.peers[conn].may_ask()
            };
            let conn = match planned {
                _ if single && begun => match self.downloads.single_giver(&self.connections, piece)
                {
                    Some(conn) if givers.contains(&conn) && may(&conn) => conn,
                    Some(_) => return,
                    None => {
                        // The peer that began it is gone: what it gave cannot stand beside
                        // another's.
                        self.drop_partial(context, piece);
                        return;
                    }
                },
                Some(conn) if self.connections.keeps_plan(conn, piece) => {
                    if !givers.contains(&conn) || !may(&conn) {
                        return;
                    }
                    conn
                }
                _ => {
                    let able: Vec<ConnId> = givers.iter().copied().filter(may).collect();
                    self.downloads.unplan(&mut self.connections, &self.geometry, piece);
                    let Some(conn) = self.choose_conn(context, now, &able) else { return };
                    if single {
                        self.downloads.plan(&mut self.connections, &self.geometry, piece, conn);
                    }
                    conn
                }
            };
            if !context.may_take(&mut self.rates, now) {
                return;
            }
            self.ask(context, now, conn, piece, index);
        }
    }

    /// Spilled pieces come back before new ones are started.
    fn revive_spilled(&mut self, context: &mut SessionContext, givers: &[ConnId]) {
        if context.out_of_memory {
            return;
        }
        let spilled: Vec<PieceIndex> = self.downloads.partials.spilled().collect();
        for piece in spilled {
            if givers.iter().any(|conn| self.connections.gives_piece(*conn, piece)) {
                self.downloads.partials.set_stage(piece, Stage::Reserving);
                self.reserve(context, piece);
            }
        }
    }

    /// Step 2. Returns whether every piece that anybody gives is started.
    fn start_pieces(&mut self, context: &mut SessionContext, now: Time, givers: &[ConnId]) -> bool {
        let mut roomy: Vec<ConnId> = givers.to_vec();
        if context.config.sources.is_strict()
            && let Some(until) = self.connections.waits_for_answers(&context.config, now, LAG_AFTER)
        {
            context.timers.by(Reason::Request, until);
            return false;
        }
        loop {
            // The disk was full: the piece that is under way shows whether it still is. One that
            // nobody gives shows nothing.
            let tries = |partial: &Partial| match partial.stage {
                Stage::Reserving | Stage::Hashing | Stage::Storing { written: false, .. } => true,
                Stage::Active => {
                    partial.blocks.iter().any(|block| matches!(block, Block::Asked(..)))
                }
                _ => false,
            };
            if self.downloads.disk_pause.is_disk_full()
                && self.downloads.partials.iter().any(|(_, partial)| tries(partial))
            {
                return false;
            }
            roomy.retain(|conn| self.connections.peers[conn].has_room());
            if roomy.is_empty() || context.out_of_memory {
                return false;
            }
            let random_first = self.downloads.picker.order() == PieceOrder::Rarest
                && self.have.count() < RANDOM_FIRST_PIECES;
            // Looked up once, not once a piece.
            let offers: Vec<_> = roomy
                .iter()
                .map(|conn| &self.connections.peers[conn])
                .map(|peer| (&peer.pieces, self.connections.known.get(peer.remote)))
                .collect();
            // Most of the time nobody has anything new, which a look at each piece is too long for.
            let any = |pieces: &Pieces| match pieces {
                Pieces::Unknown => false,
                Pieces::All => true,
                Pieces::Some(field) => self.downloads.picker.is_any_open(field),
            };
            if !offers.iter().any(|(pieces, _)| any(pieces)) {
                return true;
            }
            let gives = |piece: PieceIndex| {
                offers.iter().any(|(pieces, known)| {
                    pieces.has(piece) && known.is_none_or(|known| !known.rejected.contains(&piece))
                })
            };
            let random_first = random_first.then_some(&mut context.rng);
            let Some(piece) =
                self.downloads.priorities.pick(&self.downloads.picker, random_first, gives)
            else {
                return true;
            };
            let able: Vec<ConnId> = roomy
                .iter()
                .copied()
                .filter(|conn| self.connections.gives_piece(*conn, piece))
                .collect();
            let Some(conn) = self.choose_conn(context, now, &able) else { return true };
            if context.config.sources.is_strict() && !self.is_its_turn(context, now, piece, conn) {
                return false;
            }
            let remote = self.connections.peers[&conn].remote;
            self.count_choice(context, remote);
            self.start(context, now, piece, conn);
        }
    }

    /// A strict order waits for the peer whose turn it is, though its window is full, unless it is
    /// much slower than the one that would take its place: a slow source must not set the pace.
    /// Without the wait the windows would decide and not the order: a source that gave more has the
    /// larger window.
    fn is_its_turn(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        conn: ConnId,
    ) -> bool {
        let all: Vec<ConnId> = self
            .connections
            .peers
            .iter()
            .filter(|(_, peer)| peer.gives() && !peer.snubbed)
            .map(|(conn, _)| *conn)
            .filter(|conn| self.connections.gives_piece(*conn, piece))
            .collect();
        let Some(turn) = self.choose_conn(context, now, &all) else { return true };
        let (holder, other) =
            (self.connections.source(turn, now).rate, self.connections.source(conn, now).rate);
        let known = self
            .connections
            .peers
            .get(&turn)
            .is_some_and(|peer| now.since(peer.since) >= LAG_AFTER);
        let lags = known && holder.0 > 0 && holder.0.saturating_mul(LAGGARD) < other.0;
        turn == conn || lags
    }

    /// Starts a piece that `conn` is to give.
    pub(crate) fn start(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        conn: ConnId,
    ) {
        let bytes = self.geometry.data_len(piece);
        let block = self.geometry.block_length().max(1);
        self.downloads.picker.close(piece);
        let partial = self.downloads.partials.start(piece, self.geometry.blocks(piece), now);
        partial.single_source = self.downloads.single_source.contains(&piece);
        if context.config.streamed(bytes) {
            let window = (context.config.memory / 8 / u64::from(block)).max(1);
            partial.stream_blocks = Some(window as u32);
        }
        let rate =
            self.connections.peers.get_mut(&conn).map(|peer| peer.rate(now)).unwrap_or_default();
        let slow = rate.0 > 0 && rate.time_for(u64::from(bytes)) > WHOLE_PIECE;
        if !slow || self.downloads.single_source.contains(&piece) {
            self.downloads.plan(&mut self.connections, &self.geometry, piece, conn);
        }
        self.reserve(context, piece);
    }

    pub(crate) fn reserve(&mut self, context: &mut SessionContext, piece: PieceIndex) {
        let bytes = self.geometry.data_len(piece);
        let streamed = self.downloads.partials.get(piece).and_then(|partial| partial.stream_blocks);
        // A streamed piece holds its window twice: what is asked for, and what waits to be written.
        let window = |blocks: u32| blocks.saturating_mul(2 * self.geometry.block_length());
        context.out.push_back(SwarmOutput::Reserve {
            key: PieceKey { torrent: self.id, piece },
            bytes: streamed.map_or(bytes, |blocks| bytes.min(window(blocks))),
            streamed: streamed.is_some(),
        });
    }

    /// The memory is there.
    pub(crate) fn reserved(&mut self, context: &mut SessionContext, now: Time, piece: PieceIndex) {
        match self.downloads.partials.get(piece).map(|partial| partial.stage) {
            Some(Stage::Reserving) => {
                self.downloads.partials.set_stage(piece, Stage::Active);
                let full = self.downloads.partials.get_mut(piece).is_some_and(|partial| {
                    partial.progress = now;
                    partial.held() as usize == partial.blocks.len()
                });
                if full {
                    self.downloads.partials.set_stage(piece, Stage::Hashing);
                    context.out.push_back(SwarmOutput::Hash(PieceKey { torrent: self.id, piece }));
                }
            }
            // The piece was taken back while the world was at it.
            Some(Stage::Abandoned) => {
                context.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece }));
                self.downloads.reopen_piece(piece);
            }
            None => {
                context.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece }))
            }
            Some(_) => {}
        }
        let planned = self.downloads.partials.get(piece).and_then(|partial| partial.planned);
        self.fill_from(context, now, planned);
    }

    /// There is no memory now.
    pub(crate) fn no_memory(&mut self, context: &mut SessionContext, piece: PieceIndex) {
        context.out_of_memory = true;
        let Some(partial) = self.downloads.partials.get(piece) else { return };
        match partial.stage {
            Stage::Reserving if partial.held() > 0 => {
                self.downloads.unplan(&mut self.connections, &self.geometry, piece);
                self.downloads.partials.set_stage(piece, Stage::Spilled);
            }
            Stage::Reserving => {
                self.downloads.unplan(&mut self.connections, &self.geometry, piece);
                self.downloads.reopen_piece(piece);
            }
            Stage::Abandoned => self.downloads.reopen_piece(piece),
            _ => {}
        }
    }

    /// Step 3: idle peers take open blocks that a busy peer planned.
    fn help_out(&mut self, context: &mut SessionContext, now: Time, givers: &mut Vec<ConnId>) {
        let ready: Vec<PieceIndex> = self.downloads.partials.ready().collect();
        for piece in ready {
            givers.retain(|conn| {
                self.connections.peers[conn].has_room() && !self.connections.peers[conn].snubbed
            });
            if givers.is_empty() {
                return;
            }
            let Some(partial) = self.downloads.partials.get(piece) else { continue };
            if partial.single_source || partial.planned.is_none() {
                continue;
            }
            let helper = givers.iter().copied().find(|conn| {
                partial.planned != Some(*conn) && self.connections.gives_piece(*conn, piece)
            });
            if helper.is_some() {
                self.downloads.unplan(&mut self.connections, &self.geometry, piece);
                self.continue_piece(context, now, piece, givers);
            }
        }
    }

    /// Step 4: a peer with nothing to do asks for a block that is slow to come from another.
    fn endgame(&mut self, context: &mut SessionContext, now: Time, givers: &[ConnId]) {
        if self.downloads.partials.any_ready() {
            return;
        }
        for conn in givers {
            let Some(peer) = self.connections.peers.get_mut(conn) else { continue };
            if !peer.asks.is_empty() || peer.snubbed {
                continue;
            }
            let rate = peer.rate(now);
            let block = u64::from(self.geometry.block_length());
            let would_take = if rate.0 == 0 { Duration::ZERO } else { rate.time_for(block) };
            let patience = would_take.saturating_mul(ENDGAME_PATIENCE).max(ENDGAME_AGE);
            match self.downloads.slowest_block(&self.connections, &self.geometry, *conn) {
                Some((at, piece, index)) if now.since(at) >= patience => {
                    if !context.may_take(&mut self.rates, now) {
                        return;
                    }
                    self.ask(context, now, *conn, piece, index);
                }
                // Perhaps nothing else happens until then.
                Some((at, ..)) => context.timers.by(Reason::Request, at + patience),
                None => {}
            }
        }
    }

    /// Nothing is under way and nobody has what is missing: ask the tracker.
    fn starve_if_idle(&mut self, context: &mut SessionContext) {
        if self.downloads.starved || self.downloads.is_under_way() {
            return;
        }
        let begun =
            self.downloads.partials.iter().any(|(_, partial)| partial.stage == Stage::Active);
        if context.out_of_memory && !begun {
            return;
        }
        let may_yet_give = self.connections.peers.iter().any(|(conn, peer)| {
            let silent = is_silent(&context.config, peer);
            let waits = peer.am_interested && (peer.peer_choking || !peer.may_ask());
            !peer.snubbed
                && !context.is_banned(peer.remote)
                && (silent
                    || waits
                        && self
                            .downloads
                            .missing
                            .ones()
                            .any(|piece| self.connections.gives_piece(*conn, piece)))
        });
        if !may_yet_give && !self.connections.known.iter().any(|(_, known)| known.dialling) {
            self.starve(context);
        }
    }
}
