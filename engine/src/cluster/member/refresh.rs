//! When to ask the tracker for a fresh swarm: after every N verified pieces, or at once when nobody
//! in the swarm gives a wanted piece, then with a bounded back-off.

use super::{Member, TorrentPhase};
use crate::cluster::io::MemberEvent;
use crate::config::RefreshScope;
use crate::wake::Reason;
use dunlin_base::{PieceIndex, Time, TorrentId};
use dunlin_control::{Control, Refresh};
use std::time::Duration;

/// The second forced refresh in a row waits so long; each further one twice as long as the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(2);
/// No forced refresh waits longer than this.
const MAX_BACKOFF: Duration = Duration::from_millis(500);

/// The pace of one torrent's refreshes.
#[derive(Clone, Debug, Default)]
pub(super) struct RefreshPace {
    verified: u64,
    gained: Vec<PieceIndex>,
    /// Refreshes on their way. While there is one nobody asks out of turn: its answer may change
    /// all.
    asked: u32,
    starved: bool,
    /// No forced refresh before.
    not_before: Time,
    backoff: Option<Duration>,
    /// Forced refreshes in a row while nobody has anything that is missing.
    vain: u32,
}

impl RefreshPace {
    /// The swarm is fresh: whether somebody in it gives a wanted piece is asked anew.
    pub(super) fn answered(&mut self) {
        self.asked = self.asked.saturating_sub(1);
        self.starved = false;
    }
}

impl Member {
    /// A piece is verified: perhaps a refresh is due.
    pub(super) fn count_for_refresh(&mut self, now: Time, id: TorrentId, piece: PieceIndex) {
        let (every, scope, reports) = {
            let config = &self.config;
            (u64::from(config.refresh_every), config.refresh_scope, config.tracker_pieces)
        };
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.refresh.verified += 1;
        (entry.refresh.backoff, entry.refresh.vain) = (None, 0);
        entry.refresh.not_before = Time::ZERO;
        let starved = entry.refresh.starved;
        if reports {
            entry.refresh.gained.push(piece);
        }
        self.verified += 1;
        let count = match scope {
            RefreshScope::File => entry.refresh.verified,
            RefreshScope::All => self.verified,
        };
        if every > 0 && count.is_multiple_of(every) {
            let targets = self.refresh_targets(id);
            let lacks = |id: &TorrentId| match (self.torrents.get(id), self.session.torrent(*id)) {
                (Some(entry), _) if entry.phase == TorrentPhase::Done => false,
                (_, Some(torrent)) => torrent.downloads.wants_pieces(),
                _ => true,
            };
            if targets.iter().any(lacks) {
                self.send_refresh(now, &targets, false);
            }
        }
        // What is verified now was asked for before the torrent starved: it starves still.
        if starved {
            self.starved(now, id);
        }
    }

    /// What a refresh asks for that this torrent is the occasion of: the torrent, or with scope
    /// `all` every one of which a file is unfinished, also those that wait for their turn. What a
    /// neighbour fetches has no swarm here.
    fn refresh_targets(&self, id: TorrentId) -> Vec<TorrentId> {
        match self.config.refresh_scope {
            RefreshScope::File => vec![id],
            RefreshScope::All => self
                .torrents
                .iter()
                .filter(|(_, entry)| entry.unfinished.any() && entry.phase != TorrentPhase::Linking)
                .map(|(id, _)| *id)
                .collect(),
        }
    }

    /// Under profile course nothing is requested until every answer is here, as in the classic
    /// programs.
    fn send_refresh(&mut self, now: Time, torrents: &[TorrentId], forced: bool) {
        let mut asked = Vec::new();
        let mut vain = 0;
        for id in torrents {
            let Some(entry) = self.torrents.get_mut(id) else { continue };
            vain = entry.refresh.vain;
            entry.refresh.asked += 1;
            self.awaited += 1;
            asked.push((*id, std::mem::take(&mut entry.refresh.gained)));
        }
        if self.rules.awaits_answers {
            self.session.hold_requests();
        }
        let stats = self.session.stats_mut();
        stats.refreshes += 1;
        stats.refreshes_forced += u64::from(forced);
        self.event(MemberEvent::Refreshed { forced });
        self.send_control(
            now,
            Control::Refresh(Refresh {
                vain: if asked.len() == 1 { vain } else { 0 },
                torrents: asked,
                forced,
            }),
        );
    }

    /// What this rank has of a torrent cannot be read any more: nobody must wait for it.
    pub(super) fn withdraw(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        // What it downloads itself it may still get from others, and give to them; and of several
        // files the others can still be read.
        let gives = self.session.torrent(id).is_some_and(|torrent| {
            torrent.downloads.wants_pieces() || torrent.geometry.files() > 1
        });
        if gives || std::mem::replace(&mut entry.withdrawn, true) {
            return;
        }
        let torrents = vec![(id, Vec::new())];
        let refresh = Refresh { torrents, forced: false, vain: dunlin_control::WITHDRAWN };
        self.send_control(now, Control::Refresh(refresh));
    }

    /// Nobody in the swarm gives a wanted piece.
    pub(super) fn starved(&mut self, now: Time, id: TorrentId) {
        // Whatever was asked for since is the end of starving.
        let still = self.session.torrent(id).is_some_and(|torrent| torrent.downloads.starves());
        let Some(entry) =
            self.torrents.get_mut(&id).filter(|entry| entry.phase == TorrentPhase::Running)
        else {
            return;
        };
        let pace = &mut entry.refresh;
        pace.starved = still;
        if !still {
            return;
        }
        if pace.asked > 0 {
            return;
        }
        if now < pace.not_before {
            let at = pace.not_before;
            self.session.timers().by(Reason::Refresh, at);
            return;
        }
        let backoff = pace.backoff.map_or(FIRST_BACKOFF, |last| (last * 2).min(MAX_BACKOFF));
        pace.backoff = Some(backoff);
        pace.not_before = now + backoff;
        pace.starved = false;
        let offered = self
            .session
            .torrent(id)
            .is_some_and(|torrent| torrent.connections.is_offered(&torrent.downloads.missing));
        if let Some(entry) = self.torrents.get_mut(&id) {
            entry.refresh.vain = if offered { 0 } else { entry.refresh.vain.saturating_add(1) };
        }
        let targets = self.refresh_targets(id);
        self.send_refresh(now, &targets, true);
    }

    pub(super) fn refresh_if_due(&mut self, now: Time) {
        if !self.session.timers().take(Reason::Refresh, now) {
            return;
        }
        let starved: Vec<TorrentId> = self
            .torrents
            .iter()
            .filter(|(_, entry)| entry.refresh.starved && entry.phase == TorrentPhase::Running)
            .map(|(id, _)| *id)
            .collect();
        for id in starved {
            self.starved(now, id);
        }
    }
}
