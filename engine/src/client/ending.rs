//! How a torrent ends, and how all of them do: it halts, comes to rest, and its files are closed;
//! trackers receive `stopped`, under one deadline.

use super::Client;
use super::lifecycle::{PendingClose, Storage};
use super::torrent_entry::TorrentEntry;
use crate::client::announcer::{AnnounceTotals, Announcer};
use crate::client::io::{ClientEvent, ClientOutput};
use crate::swarm::io::HangUpReason;
use crate::wake::Reason;
use dunlin_base::{Endpoint, Time, TorrentId};
use std::time::Duration;

/// Trackers that do not answer within this time are not waited for (practice).
const FAREWELL: Duration = Duration::from_secs(5);

impl Client {
    /// Ends a torrent: trackers receive `stopped`.
    pub(super) fn end(
        &mut self,
        now: Time,
        id: TorrentId,
        next: PendingClose,
        reason: HangUpReason,
    ) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.announcers.iter_mut().for_each(Announcer::stop);
        self.announce(now, id);
        self.halt(now, id, next, reason);
    }

    /// Nothing more is asked for or served; what comes then, comes when it is quiet.
    pub(super) fn halt(
        &mut self,
        now: Time,
        id: TorrentId,
        next: PendingClose,
        reason: HangUpReason,
    ) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.lifecycle.end(next);
        (entry.seeding_since, entry.goal_met) = (None, None);
        self.ending.insert(id);
        self.session.with(now, id, |swarm, context| swarm.halt(context, now, reason));
        self.session.forget_closed();
    }

    /// Closes the files of torrents that have come to rest.
    pub(super) fn close_halted(&mut self, now: Time) {
        let quiet: Vec<TorrentId> = self
            .ending
            .iter()
            .copied()
            .filter(|id| self.session.torrent(*id).is_none_or(|swarm| swarm.downloads.is_quiet()))
            .collect();
        for id in quiet {
            self.ending.remove(&id);
            self.rest(now, id);
        }
        self.finish_shutdown(now);
    }

    fn rest(&mut self, now: Time, id: TorrentId) {
        let swarm = self.session.torrent(id);
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let totals = entry.totals(swarm);
        entry.before = AnnounceTotals { left: 0, ..totals };
        let internet = std::mem::take(&mut entry.internet);
        let sockets = swarm
            .into_iter()
            .flat_map(|swarm| swarm.connections.known.iter())
            .filter_map(|known| match known {
                (Endpoint::Socket(address), known) if known.conn.is_none() => {
                    Some((address, internet.candidates.get(Endpoint::Socket(address)).source))
                }
                _ => None,
            });
        entry.peers.extend(sockets);
        let totals = internet.transfers.totals();
        if !totals.is_empty() {
            let event = ClientEvent::PeerTotals { torrent: id, totals };
            self.outputs.push(&mut self.session, event.into());
        }
        self.session.end_torrent(id);
        match (entry.lifecycle.ending(), entry.lifecycle.storage()) {
            (Some(PendingClose::Check), Storage::Open) => {
                entry.lifecycle.go_on();
                entry.forget_files();
                self.open(id);
            }
            // What is being opened is closed, too: a check of many files takes long.
            (_, Storage::Open | Storage::Opening) => {
                entry.lifecycle.set_storage(Storage::Closing);
                self.push(ClientOutput::Close { torrent: id });
            }
            _ => self.closed(now, id),
        }
    }

    /// A torrent's files are closed.
    pub(super) fn closed(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.lifecycle.set_storage(Storage::Closed);
        entry.forget_files();
        let next = entry.lifecycle.ending();
        if next == Some(PendingClose::Remove) {
            // Trackers may still have to receive `stopped`; nothing else is left.
            if entry.announcers.iter().all(Announcer::is_stopped) || self.stopping.is_some() {
                self.forget(id);
            }
            return;
        }
        entry.lifecycle.go_on();
        let _ = now;
    }

    fn forget(&mut self, id: TorrentId) {
        if self.stopping.is_none() {
            self.torrents.remove(&id);
            self.ending.remove(&id);
            self.push(ClientOutput::Removed { torrent: id });
        }
    }

    /// Everything ends.
    pub(super) fn stop(&mut self, now: Time) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(now + FAREWELL);
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            self.end(now, id, PendingClose::Close, HangUpReason::Stopping);
        }
        self.reject_all_pending();
        self.session.timers().by(Reason::Announce, now + FAREWELL);
    }

    fn finish_shutdown(&mut self, now: Time) {
        let Some(deadline) = self.stopping else {
            let removed: Vec<TorrentId> = self
                .torrents
                .iter()
                .filter(|(_, entry)| entry.lifecycle.ending() == Some(PendingClose::Remove))
                .filter(|(_, entry)| entry.lifecycle.storage() == Storage::Closed)
                .filter(|(id, entry)| {
                    !self.ending.contains(id) && entry.announcers.iter().all(Announcer::is_stopped)
                })
                .map(|(id, _)| *id)
                .collect();
            removed.into_iter().for_each(|id| self.forget(id));
            return;
        };
        // Connections that come meanwhile are closed, too: after the end nobody would do it.
        self.reject_all_pending();
        let told =
            self.torrents.values().flat_map(|entry| &entry.announcers).all(Announcer::is_stopped);
        if told || now >= deadline {
            self.stopped =
                self.torrents.values().all(|entry| entry.lifecycle.storage() == Storage::Closed);
            if self.stopped {
                self.event(ClientEvent::Stopped);
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
