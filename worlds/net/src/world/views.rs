//! Views of torrents for people. A view is made only of a torrent that something happened to, or
//! whose rates are not zero, at most ten times a second, and it is moved to the app, not copied.

use super::World;
use dunlin_base::{Rate, TorrentId};
use dunlin_engine::io::{ClientInput, Command, SwarmInput};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The time between two publications, at least: a person sees no faster change.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// Torrents whose views are to be published, and when that was done last.
pub(super) struct ViewSchedule {
    changed: BTreeSet<TorrentId>,
    published: Instant,
}

impl ViewSchedule {
    pub(super) fn new(now: Instant) -> ViewSchedule {
        ViewSchedule { changed: BTreeSet::new(), published: now }
    }

    /// Something happened to the torrent.
    pub(super) fn mark(&mut self, torrent: TorrentId) {
        self.changed.insert(torrent);
    }

    /// The torrent is gone.
    pub(super) fn remove(&mut self, torrent: TorrentId) {
        self.changed.remove(&torrent);
    }

    /// The time until the next publication; `None` if nothing is to be published.
    pub(super) fn wait(&self) -> Option<Duration> {
        let wait = || PUBLISH_EVERY.saturating_sub(self.published.elapsed());
        (!self.changed.is_empty()).then(wait)
    }

    /// The torrents to publish now, if it is time.
    fn take(&mut self, at_once: bool) -> BTreeSet<TorrentId> {
        let wait = self.wait();
        if !wait.is_some_and(|wait| at_once || wait.is_zero()) {
            return BTreeSet::new();
        }
        self.published = Instant::now();
        std::mem::take(&mut self.changed)
    }
}

impl World {
    /// Marks the torrent that an input is about.
    pub(super) fn mark_view(&mut self, input: &ClientInput) {
        if let Some(torrent) = self.torrent_of_input(input) {
            self.views.mark(torrent);
        }
    }

    /// Publishes the views that have changed, if it is time or `at_once`.
    pub(super) fn publish_views(&mut self, at_once: bool) {
        let changed = self.views.take(at_once);
        if changed.is_empty() {
            return;
        }
        let now = self.now();
        let mut views = BTreeMap::new();
        for torrent in changed {
            let Some(view) = self.client.view(now, torrent) else { continue };
            if view.rate_down != Rate(0) || view.rate_up != Rate(0) {
                // Rates fall though nothing happens.
                self.views.mark(torrent);
            }
            views.insert(torrent, view);
        }
        self.mailbox.publish(views);
    }

    fn torrent_of_input(&self, input: &ClientInput) -> Option<TorrentId> {
        match input {
            ClientInput::Swarm(input) => self.torrent_of_swarm_input(input),
            ClientInput::Command(command) => torrent_of_command(command),
            ClientInput::Opened { torrent, .. }
            | ClientInput::OpenFailed { torrent, .. }
            | ClientInput::FileFinished { torrent, .. }
            | ClientInput::FileFailed { torrent, .. }
            | ClientInput::Closed { torrent }
            | ClientInput::Announced { torrent, .. } => Some(*torrent),
            ClientInput::BlockHashes { key, .. } => Some(key.torrent),
            // What it changes in a torrent, an event or a rate shows.
            ClientInput::Timeout => None,
        }
    }

    fn torrent_of_swarm_input(&self, input: &SwarmInput) -> Option<TorrentId> {
        let conn = match input {
            SwarmInput::Connected { torrent, .. } | SwarmInput::DialFailed { torrent, .. } => {
                return Some(*torrent);
            }
            SwarmInput::Reserved(key)
            | SwarmInput::NoMemory(key)
            | SwarmInput::PieceHashed { key, .. }
            | SwarmInput::BlockDigests { key, .. }
            | SwarmInput::PieceWritten(key)
            | SwarmInput::DiskFailed { key, .. } => return Some(key.torrent),
            SwarmInput::Disconnected { conn }
            | SwarmInput::Handshake { conn, .. }
            | SwarmInput::Message { conn, .. }
            | SwarmInput::Malformed { conn }
            | SwarmInput::BlockArrived { conn, .. }
            | SwarmInput::BlockSent { conn, .. }
            | SwarmInput::ServeCancelled { conn, .. }
            | SwarmInput::ServeFailed { conn, .. } => conn,
            // The torrent of the connection is not known yet, and memory is of no torrent.
            SwarmInput::Incoming { .. } | SwarmInput::MemoryFree | SwarmInput::MemoryWanted => {
                return None;
            }
        };
        self.conns.get(conn)?.receiver.torrent()
    }
}

fn torrent_of_command(command: &Command) -> Option<TorrentId> {
    match command {
        Command::Add(add) => Some(add.torrent),
        Command::Remove(torrent)
        | Command::Pause(torrent)
        | Command::Resume(torrent)
        | Command::Announce(torrent)
        | Command::AddPeers(torrent, _)
        | Command::Prioritize(torrent, _)
        | Command::Sequential(torrent, _)
        | Command::Seed(torrent, _) => Some(*torrent),
        // Neither of these is in a view.
        Command::Limit(..) | Command::Listening(_) | Command::Stop => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_torrents_are_published_and_each_once() {
        let begin = Instant::now();
        let mut views = ViewSchedule::new(begin);
        assert_eq!((views.wait(), views.take(true)), (None, BTreeSet::new()));
        [3, 5, 3].map(TorrentId).into_iter().for_each(|torrent| views.mark(torrent));
        views.remove(TorrentId(5));
        assert!(views.wait().is_some_and(|wait| wait <= PUBLISH_EVERY));
        assert_eq!(views.take(true), BTreeSet::from([TorrentId(3)]));
        assert_eq!((views.wait(), views.take(true)), (None, BTreeSet::new()));
    }
}
