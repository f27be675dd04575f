//! Pieces that are complete: hashing, blame, writing, and what follows once they are ours.

use super::{DriverEvent, SessionContext, Torrent};
use crate::stats::Stats;
use crate::swarm::address::ban_key;
use crate::swarm::config::HaveRule;
use crate::swarm::io::{LocalError, SwarmEvent, SwarmOutput};
use crate::swarm::partials::{Block, Stage};
use crate::wake::Reason;
use dunlin_base::{Endpoint, PieceIndex, PieceKey, Time};

impl Torrent {
    /// The hash of a piece is known.
    pub(crate) fn hashed(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        matches: bool,
    ) {
        if self.downloads.partials.get(piece).map(|partial| partial.stage) != Some(Stage::Hashing) {
            return;
        }
        if matches {
            let digested = !self.downloads.smart_ban.waits_for(piece);
            self.downloads.partials.set_stage(piece, Stage::Storing { written: false, digested });
            if !digested {
                context.out.push_back(SwarmOutput::Digest(PieceKey { torrent: self.id, piece }));
            }
            context.out.push_back(SwarmOutput::Write(PieceKey { torrent: self.id, piece }));
        } else {
            self.failed(context, now, piece);
        }
    }

    fn failed(&mut self, context: &mut SessionContext, now: Time, piece: PieceIndex) {
        let Some(partial) = self.downloads.partials.get(piece) else { return };
        let senders: Vec<Endpoint> = partial.senders().into_keys().collect();
        context.stats.bad_pieces += 1;
        self.traffic.corrupt += u64::from(self.geometry.data_len(piece));
        for sender in &senders {
            Stats::count(&mut context.stats.bad_from, *sender, context.config.bans.named);
        }
        context.event(SwarmEvent::BadPiece {
            key: PieceKey { torrent: self.id, piece },
            from: senders.clone(),
        });
        if senders.len() > 1 {
            self.downloads.partials.set_stage(piece, Stage::Failed);
            context.out.push_back(SwarmOutput::Digest(PieceKey { torrent: self.id, piece }));
            return;
        }
        // One peer gave every block: there is nobody else to blame.
        context.to_ban.extend(senders.into_iter().map(ban_key));
        self.start_over(context, now, piece);
    }

    /// A failed piece is open again. From now on one peer alone must give it.
    fn start_over(&mut self, context: &mut SessionContext, now: Time, piece: PieceIndex) {
        self.downloads.reopen_piece(piece);
        self.downloads.single_source.insert(piece);
        context.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece }));
        self.fill(context, now);
    }

    /// The digests of a piece's blocks are known.
    pub(crate) fn digested(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        digests: &[u64],
    ) {
        match self.downloads.partials.get(piece).map(|partial| partial.stage) {
            Some(Stage::Failed) => {
                let senders = self.downloads.partials.get(piece).into_iter().flat_map(|partial| {
                    partial.blocks.iter().filter_map(|block| match block {
                        Block::Held(from) => Some(*from),
                        Block::Open | Block::Asked(..) => None,
                    })
                });
                let copy: Vec<(Endpoint, u64)> = senders.zip(digests.iter().copied()).collect();
                let liars = self.downloads.smart_ban.failed(piece, copy.into_iter());
                context.to_ban.extend(liars.into_iter().map(ban_key));
                self.start_over(context, now, piece);
            }
            Some(Stage::Storing { written, .. }) => {
                let liars = self.downloads.smart_ban.convict(piece, digests);
                context.to_ban.extend(liars.into_iter().map(ban_key));
                self.downloads
                    .partials
                    .set_stage(piece, Stage::Storing { written, digested: true });
                self.finish_piece(context, piece);
                if !self.downloads.is_under_way() {
                    self.fill(context, now);
                }
            }
            _ => {}
        }
    }

    /// A piece is on disk: only now it is ours, announced and served.
    pub(crate) fn written(&mut self, context: &mut SessionContext, now: Time, piece: PieceIndex) {
        let Some(partial) = self.downloads.partials.get(piece) else { return };
        let Stage::Storing { written: false, digested } = partial.stage else { return };
        self.downloads.disk_pause.written();
        let most = partial.senders().into_iter().max_by_key(|(_, blocks)| *blocks);
        self.downloads.partials.set_stage(piece, Stage::Storing { written: true, digested });
        self.have.set(piece);
        self.traffic.kept += u64::from(self.geometry.data_len(piece));
        self.downloads.single_source.remove(&piece);
        if let Some((from, _)) = most {
            Stats::count(&mut context.stats.pieces_from, from, context.config.bans.named);
            context.event(SwarmEvent::Verified { key: PieceKey { torrent: self.id, piece }, from });
        }
        // While the piece is being stored it is still in the list of started pieces.
        self.finish_piece(context, piece);
        self.announce(context, now, piece);
        context.notify(DriverEvent::PieceDone { torrent: self.id, piece });
        // The last one that was under way: perhaps nobody gives the rest. A policy of a driver goes
        // on when its driver calls it.
        if self.requests.is_pipelined() && !self.downloads.is_under_way() {
            self.fill(context, now);
        }
    }

    fn finish_piece(&mut self, context: &mut SessionContext, piece: PieceIndex) {
        let stage = self.downloads.partials.get(piece).map(|partial| partial.stage);
        if stage == Some(Stage::Storing { written: true, digested: true }) {
            self.downloads.partials.remove(piece);
            context.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece }));
        }
        if self.have.has(piece) && self.downloads.partials.get(piece).is_none() {
            self.downloads.no_longer_missing(&mut self.connections, &mut context.out, piece);
        }
    }

    /// HAVE to everybody who lacks the piece (BEP 3).
    pub(super) fn announce(&mut self, context: &mut SessionContext, now: Time, piece: PieceIndex) {
        if context.config.haves == HaveRule::Never || !context.config.shares {
            return;
        }
        self.pending_haves.push(piece);
        self.announce_crowd(context, now);
    }

    /// Announces what waits, if it is time.
    pub(crate) fn announce_crowd(&mut self, context: &mut SessionContext, now: Time) {
        let (rule, leeching) = (context.config.haves, self.downloads.wants_pieces());
        match self.pending_haves.take(now, rule, leeching) {
            Ok(pieces) => self.connections.announce(&mut context.out, &pieces),
            Err(at) => context.timers.by(Reason::Have, at),
        }
    }

    /// Our disk failed: nobody is blamed. After a full disk there is a pause.
    pub(crate) fn disk_failed(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        piece: PieceIndex,
        error: LocalError,
    ) {
        if self.downloads.partials.get(piece).is_some() {
            self.downloads.cancel_piece(
                &mut self.connections,
                &self.geometry,
                &mut context.out,
                piece,
            );
            self.downloads.unplan(&mut self.connections, &self.geometry, piece);
            self.downloads.reopen_piece(piece);
            context.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece }));
        }
        if error.disk_full {
            context.timers.by(Reason::Dial, self.downloads.disk_pause.disk_is_full(now));
        }
        context.notify(DriverEvent::DiskFailed { torrent: self.id, piece, error });
        self.fill(context, now);
    }
}
