//! Pieces that are complete: hashing, blame, writing, and what follows once they are ours.

use super::{DISK_FULL_PAUSE, DriverEvent, MAX_FULL_PAUSE, SessionContext, Torrent};
use crate::stats::Stats;
use crate::swarm::address::ban_key;
use crate::swarm::config::HaveRule;
use crate::swarm::io::{LocalError, SwarmEvent, SwarmOutput};
use crate::swarm::partials::{Block, Stage};
use crate::wake::Reason;
use dunlin_base::{Endpoint, PieceIndex, PieceKey, Time};
use dunlin_wire::Message;
use std::time::Duration;

/// Among many ranks most of what is sent are announcements. Pieces that come in a crowd are announced
/// together, so often at most; the first of a crowd at once.
const CROWD: Duration = Duration::from_millis(15);

/// Pieces that wait to be announced.
#[derive(Debug, Default)]
pub(super) struct Unsaid {
    pieces: Vec<PieceIndex>,
    /// When pieces were last announced.
    said: Option<Time>,
}

impl Torrent {
    /// The hash of a piece is known.
    pub(crate) fn hashed(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        matches: bool,
    ) {
        if self.partials.get(piece).map(|partial| partial.stage) != Some(Stage::Hashing) {
            return;
        }
        if matches {
            let digested = !self.smart_ban.waits_for(piece);
            self.partials.set_stage(piece, Stage::Storing { written: false, digested });
            if !digested {
                shared.out.push_back(SwarmOutput::Digest(PieceKey { torrent: self.id, piece }));
            }
            shared.out.push_back(SwarmOutput::Write(PieceKey { torrent: self.id, piece }));
        } else {
            self.failed(shared, now, piece);
        }
    }

    fn failed(&mut self, shared: &mut SessionContext, now: Time, piece: PieceIndex) {
        let Some(partial) = self.partials.get(piece) else { return };
        let senders: Vec<Endpoint> = partial.senders().into_keys().collect();
        shared.stats.bad_pieces += 1;
        self.traffic.corrupt += u64::from(self.geometry.data_len(piece));
        for sender in &senders {
            Stats::count(&mut shared.stats.bad_from, *sender);
        }
        shared.event(SwarmEvent::BadPiece {
            key: PieceKey { torrent: self.id, piece },
            from: senders.clone(),
        });
        if senders.len() > 1 {
            self.partials.set_stage(piece, Stage::Failed);
            shared.out.push_back(SwarmOutput::Digest(PieceKey { torrent: self.id, piece }));
            return;
        }
        // One peer gave every block: there is nobody else to blame.
        shared.to_ban.extend(senders.into_iter().map(ban_key));
        self.start_over(shared, now, piece);
    }

    /// A failed piece is open again. From now on one peer alone must give it.
    fn start_over(&mut self, shared: &mut SessionContext, now: Time, piece: PieceIndex) {
        self.reopen_piece(piece);
        self.alone.insert(piece);
        shared.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece }));
        self.fill(shared, now);
    }

    /// The digests of a piece's blocks are known.
    pub(crate) fn digested(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        digests: &[u64],
    ) {
        match self.partials.get(piece).map(|partial| partial.stage) {
            Some(Stage::Failed) => {
                let senders = self.partials.get(piece).into_iter().flat_map(|partial| {
                    partial.blocks.iter().filter_map(|block| match block {
                        Block::Held(from) => Some(*from),
                        Block::Open | Block::Asked(..) => None,
                    })
                });
                let copy: Vec<(Endpoint, u64)> = senders.zip(digests.iter().copied()).collect();
                let liars = self.smart_ban.failed(piece, copy.into_iter());
                shared.to_ban.extend(liars.into_iter().map(ban_key));
                self.start_over(shared, now, piece);
            }
            Some(Stage::Storing { written, .. }) => {
                let liars = self.smart_ban.convict(piece, digests);
                shared.to_ban.extend(liars.into_iter().map(ban_key));
                self.partials.set_stage(piece, Stage::Storing { written, digested: true });
                self.finish_piece(shared, piece);
                if !self.is_under_way() {
                    self.fill(shared, now);
                }
            }
            _ => {}
        }
    }

    /// A piece is on disk: only now it is ours, announced and served.
    pub(crate) fn written(&mut self, shared: &mut SessionContext, now: Time, piece: PieceIndex) {
        let Some(partial) = self.partials.get(piece) else { return };
        let Stage::Storing { written: false, digested } = partial.stage else { return };
        self.full_pause = Duration::ZERO;
        let most = partial.senders().into_iter().max_by_key(|(_, blocks)| *blocks);
        self.partials.set_stage(piece, Stage::Storing { written: true, digested });
        self.have.set(piece);
        self.traffic.kept += u64::from(self.geometry.data_len(piece));
        self.alone.remove(&piece);
        if let Some((from, _)) = most {
            Stats::count(&mut shared.stats.pieces_from, from);
            shared.event(SwarmEvent::Verified { key: PieceKey { torrent: self.id, piece }, from });
        }
        // While the piece is being stored it is still in the list of started pieces.
        self.finish_piece(shared, piece);
        self.announce(shared, now, piece);
        shared.notify(DriverEvent::PieceDone { torrent: self.id, piece });
        // The last one that was under way: perhaps nobody gives the rest. A policy of a driver goes on
        // when its driver calls it.
        if self.requests.is_pipelined() && !self.is_under_way() {
            self.fill(shared, now);
        }
    }

    fn finish_piece(&mut self, shared: &mut SessionContext, piece: PieceIndex) {
        let stage = self.partials.get(piece).map(|partial| partial.stage);
        if stage == Some(Stage::Storing { written: true, digested: true }) {
            self.partials.remove(piece);
            shared.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece }));
        }
        if self.have.has(piece) && self.partials.get(piece).is_none() {
            self.no_longer_missing(shared, piece);
        }
    }

    /// HAVE to everybody who lacks the piece (BEP 3).
    pub(super) fn announce(&mut self, shared: &mut SessionContext, now: Time, piece: PieceIndex) {
        if shared.config.haves == HaveRule::Never || !shared.config.shares {
            return;
        }
        self.unsaid.pieces.push(piece);
        self.announce_crowd(shared, now);
    }

    /// Announces what waits, if it is time.
    pub(crate) fn announce_crowd(&mut self, shared: &mut SessionContext, now: Time) {
        if let Some(said) = self.unsaid.said
            && shared.config.haves == HaveRule::Crowds
            && now.since(said) < CROWD
            && self.downloads()
        {
            shared.timers.by(Reason::Have, said + CROWD);
            return;
        }
        let pieces = std::mem::take(&mut self.unsaid.pieces);
        if pieces.is_empty() {
            return;
        }
        self.unsaid.said = Some(now);
        for (conn, peer) in self.peers.iter().filter(|(_, peer)| peer.is_established()) {
            for piece in pieces.iter().filter(|piece| !peer.pieces.has(**piece)) {
                let message = Message::Have { piece: piece.0 };
                shared.out.push_back(SwarmOutput::Send { conn: *conn, message });
            }
        }
    }

    /// Our disk failed: nobody is blamed. After a full disk there is a pause.
    pub(crate) fn disk_failed(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        error: LocalError,
    ) {
        if self.partials.get(piece).is_some() {
            self.cancel_piece(shared, piece);
            self.unplan(piece);
            self.reopen_piece(piece);
            shared.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece }));
        }
        if error.disk_full {
            // Pieces that were under way fail together; that is one failure.
            if now >= self.paused_until {
                self.full_pause = (self.full_pause * 2).clamp(DISK_FULL_PAUSE, MAX_FULL_PAUSE);
                self.paused_until = now + self.full_pause;
            }
            shared.timers.by(Reason::Dial, self.paused_until);
        }
        shared.notify(DriverEvent::DiskFailed { torrent: self.id, piece, error });
        self.fill(shared, now);
    }
}
