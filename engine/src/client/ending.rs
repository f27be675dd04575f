//! How a torrent ends, and how all of them do: it halts, comes to rest, and its files are closed; trackers
//! are told, under one deadline.

use super::Node;
use super::part::{After, Storage, TorrentEntry};
use crate::client::announcer::{AnnounceTotals, Announcer};
use crate::io::{Event, HangUpReason, Output, Reason};
use dunlin_base::{Endpoint, Time, TorrentId};
use std::time::Duration;

/// Trackers that do not answer within this time do not hear that we stop (practice).
const FAREWELL: Duration = Duration::from_secs(5);

impl Node {
    /// Ends a torrent: trackers are told.
    pub(super) fn end(&mut self, now: Time, id: TorrentId, after: After, reason: HangUpReason) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        part.announcers.iter_mut().for_each(Announcer::stop);
        self.announce(now, id);
        self.halt(now, id, after, reason);
    }

    /// Nothing more is asked for or served; what comes then, comes when it is quiet.
    pub(super) fn halt(&mut self, now: Time, id: TorrentId, after: After, reason: HangUpReason) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        // Who is removed stays removed.
        if part.after != Some(After::Remove) {
            part.after = Some(after);
        }
        (part.seeding_since, part.goal_met) = (None, None);
        self.ending.insert(id);
        self.session.with(now, id, |swarm, shared| swarm.halt(shared, now, reason));
        self.session.forget_closed();
    }

    /// Closes the files of torrents that have come to rest.
    pub(super) fn wind_up(&mut self, now: Time) {
        let quiet: Vec<TorrentId> = self
            .ending
            .iter()
            .copied()
            .filter(|id| self.session.torrent(*id).is_none_or(|swarm| swarm.is_quiet()))
            .collect();
        for id in quiet {
            self.ending.remove(&id);
            self.rest(now, id);
        }
        self.finish_stopping(now);
    }

    fn rest(&mut self, now: Time, id: TorrentId) {
        let swarm = self.session.torrent(id);
        let Some(part) = self.parts.get_mut(&id) else { return };
        let totals = part.totals(swarm);
        part.before = AnnounceTotals { left: 0, ..totals };
        let internet = std::mem::take(&mut part.internet);
        let sockets =
            swarm.into_iter().flat_map(|swarm| swarm.known.iter()).filter_map(
                |known| match known {
                    (Endpoint::Socket(address), known) if known.conn.is_none() => {
                        Some((address, internet.candidates.get(Endpoint::Socket(address)).source))
                    }
                    _ => None,
                },
            );
        part.peers.extend(sockets);
        let totals = internet.transfers.totals();
        if !totals.is_empty() {
            self.session.push(Output::Event(Event::PeerTotals { torrent: id, totals }));
        }
        self.session.end_torrent(id);
        match (part.after, part.storage) {
            (Some(After::Check), Storage::Open) => {
                part.after = None;
                part.forget_files();
                self.open(id);
            }
            // What is being opened is closed, too: a check of many files takes long.
            (_, Storage::Open | Storage::Opening) => {
                part.storage = Storage::Closing;
                self.session.push(Output::Close { torrent: id });
            }
            _ => self.closed(now, id),
        }
    }

    /// A torrent's files are closed.
    pub(super) fn closed(&mut self, now: Time, id: TorrentId) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        part.storage = Storage::Closed;
        part.forget_files();
        let after = part.after;
        if after == Some(After::Remove) {
            // Trackers may still have to hear of it; nothing else is left.
            if part.announcers.iter().all(Announcer::is_silent) || self.stopping.is_some() {
                self.forget(id);
            }
            return;
        }
        part.after = None;
        let _ = now;
    }

    fn forget(&mut self, id: TorrentId) {
        if self.stopping.is_none() {
            self.parts.remove(&id);
            self.ending.remove(&id);
        }
    }

    /// Everything ends.
    pub(super) fn stop(&mut self, now: Time) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(now + FAREWELL);
        let ids: Vec<TorrentId> = self.parts.keys().copied().collect();
        for id in ids {
            self.end(now, id, After::Close, HangUpReason::Stopping);
        }
        self.reject_all_pending();
        self.session.timers().by(Reason::Announce, now + FAREWELL);
    }

    fn finish_stopping(&mut self, now: Time) {
        let Some(deadline) = self.stopping else {
            let removed: Vec<TorrentId> = self
                .parts
                .iter()
                .filter(|(_, part)| part.after == Some(After::Remove))
                .filter(|(_, part)| part.storage == Storage::Closed)
                .filter(|(id, part)| {
                    !self.ending.contains(id) && part.announcers.iter().all(Announcer::is_silent)
                })
                .map(|(id, _)| *id)
                .collect();
            removed.into_iter().for_each(|id| self.forget(id));
            return;
        };
        // Whoever comes meanwhile is sent away, too: after the end nobody would do it.
        self.reject_all_pending();
        let told = self.parts.values().flat_map(|part| &part.announcers).all(Announcer::is_silent);
        if told || now >= deadline {
            self.stopped = self.parts.values().all(|part| part.storage == Storage::Closed);
            if self.stopped {
                self.event(Event::Stopped);
            }
        } else {
            self.session.timers().by(Reason::Announce, deadline);
        }
    }
}

impl TorrentEntry {
    /// What is known of its files counts for nothing: they are closed, or checked again.
    fn forget_files(&mut self) {
        self.unfinished.clear();
        self.files_left = 0;
        self.finished.clear();
        self.finishing.clear();
        self.retry.clear();
    }
}
