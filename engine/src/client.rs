//! A peer of the internet: torrents that people add, trackers that are asked, goals that are reached.
//! Drives a [`Session`], which does the rest, as the member of a cluster does.
//!
//! ```text
//!   Add ─▶ Metadata ─▶ Checking ─▶ Downloading ─▶ Seeding ─▶ Done
//!            (a name     (OpenTorrent,   │ ▲        (goal)
//!             alone)      Opened)        ▼ │ space
//!                                     DiskFull
//!   Pause / Resume: Paused, from everywhere and back.     Failed: the files cannot be opened or written.
//! ```
//!
//! A torrent that ends (done, failed, removed, stopped) halts first: nothing more is asked for, what is
//! under way comes to its end, and only then its files are closed.

mod announce;
pub mod announcer;
mod commands;
mod config;
mod ending;
mod files;
pub(crate) mod internet;
mod layers;
mod magnet;
mod metadata;
mod part;
mod view;

use crate::client::internet::Internet;
use crate::config::{Config, PieceOrder, Profile, RefreshScope, SourceOrder};
use crate::io::{Event, Input, Output, Reason, TorrentState, Wake};
use crate::stats::Stats;
use crate::swarm::choker::ChokerKind;
use crate::swarm::session::Session;
use crate::swarm::torrent::Happened;
pub use config::NodeConfig;
use dunlin_base::{PeerId, Rank, Time, TorrentId};
use part::Part;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The block of the internet (BEP 3, practice).
const BLOCK_LENGTH: u32 = dunlin_metainfo::BLOCK_LENGTH;

/// A peer of the internet.
#[derive(Debug)]
pub struct Node {
    session: Session,
    parts: BTreeMap<TorrentId, Part>,
    /// Torrents that halt, and whose files are closed when they are quiet.
    ending: BTreeSet<TorrentId>,
    /// Until when trackers may still answer, once we stop.
    stopping: Option<Time>,
    stopped: bool,
}

impl Node {
    /// A node without torrents.
    #[must_use]
    pub fn new(config: NodeConfig) -> Node {
        let policies = Config {
            // No rank of any cluster: it only separates streams of random numbers.
            rank: Rank(u32::MAX),
            peer_id: PeerId::default(),
            profile: Profile::BitTorrent,
            pieces: PieceOrder::Rarest,
            sources: SourceOrder::Fastest,
            choker: ChokerKind::TitForTat,
            tracker_pieces: false,
            shares: true,
            refresh_every: 0,
            refresh_scope: RefreshScope::File,
            stall_timeout: Duration::MAX,
            block_length: BLOCK_LENGTH,
            placing: false,
            memory: config.memory,
            seed: config.seed,
        };
        Node {
            session: Session::abroad(policies, Internet::new(config)),
            parts: BTreeMap::new(),
            ending: BTreeSet::new(),
            stopping: None,
            stopped: false,
        }
    }

    /// One input. Drain [`Node::poll`] before the next.
    pub fn handle(&mut self, now: Time, input: Input) {
        if self.stopped {
            return;
        }
        match input {
            Input::Timeout => self.timeout(now),
            Input::Command(command) => self.command(now, command),
            Input::Opened { torrent, have, resumed } => self.opened(now, torrent, &have, resumed),
            Input::OpenFailed { torrent, error } => self.open_failed(now, torrent, &error.message),
            Input::FileFinished { torrent, file } => self.file_finished(now, torrent, file),
            Input::FileFailed { torrent, file, error } => {
                self.file_failed(now, torrent, file, &error);
            }
            Input::Announced { torrent, tracker, result } => {
                self.announced(now, torrent, tracker, result);
            }
            Input::Closed { torrent } => self.closed(now, torrent),
            Input::BlockHashes { torrent, piece, hashes } => {
                self.block_hashes(torrent, piece, &hashes);
            }
            other => self.session.pass_on(now, other),
        }
        self.drain(now);
        self.wind_up(now);
        self.session.dial_abroad(now);
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.session.poll()
    }

    /// When to call again for the time's sake, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Wake {
        self.session.next_timeout()
    }

    /// The counters, over all torrents.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        self.session.stats()
    }

    /// Bytes of memory that are held of what peers have sent and that is not verified yet: metadata on its
    /// way. Payload is never here.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.parts.values().map(Part::held_bytes).sum()
    }

    /// All torrents, in the order of their numbers.
    pub fn torrents(&self) -> impl Iterator<Item = TorrentId> + '_ {
        self.parts.keys().copied()
    }

    fn event(&mut self, event: Event) {
        self.session.push(Output::Event(event));
    }

    fn set_state(&mut self, id: TorrentId, state: TorrentState, reason: Option<String>) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        if part.state != Some(state) || part.reason != reason {
            (part.state, part.reason) = (Some(state), reason.clone());
            self.event(Event::State { torrent: id, state, reason });
        }
    }

    fn drain(&mut self, now: Time) {
        while let Some(happened) = self.session.happened() {
            match happened {
                Happened::PieceDone { torrent, piece } => self.piece_done(now, torrent, piece),
                Happened::DiskFailed { torrent, error, .. } => {
                    self.disk_failed(now, torrent, &error);
                }
                Happened::ServeFailed { torrent, error } => {
                    self.serve_failed(now, torrent, &error.message);
                }
                Happened::Introduced { torrent, conn } => self.introduced(now, torrent, conn),
                Happened::Metadata { torrent, conn, message } => {
                    self.metadata(now, torrent, conn, &message);
                }
                Happened::HashRequest { torrent, conn, range } => {
                    self.hash_request(now, torrent, conn, range);
                }
                Happened::Hashes { torrent, conn, range, hashes } => {
                    self.hashes(now, torrent, conn, &range, hashes.as_ref());
                }
                Happened::Gone { torrent, conn } => self.peer_gone(now, torrent, conn),
                // Trackers are asked when it is time: nothing else brings new peers.
                Happened::Starved { .. } => {}
            }
        }
    }

    fn timeout(&mut self, now: Time) {
        self.session.timeout(now);
        if self.session.timers().take(Reason::Announce, now) {
            self.announce_all(now);
        }
        if self.session.timers().take(Reason::Goal, now) {
            self.check_goals(now);
        }
        if self.session.timers().take(Reason::Refresh, now) {
            self.ask_around_all(now);
        }
        if self.session.timers().take(Reason::Stall, now) {
            self.finish_again(now);
            self.look_again(now);
        }
    }

    /// Checks all invariants; tests call it after every step.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        self.session.check();
        for (id, part) in &self.parts {
            part.check(self.session.torrent(*id));
        }
        assert!(self.ending.iter().all(|id| self.parts.contains_key(id)));
    }
}
