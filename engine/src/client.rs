//! A peer of the internet: torrents that people add, trackers that are asked, goals that are
//! reached. Drives a [`Session`], which does the rest, as the member of a cluster does.
//!
//! ```text
//!   Add ─▶ Metadata ─▶ Checking ─▶ Downloading ─▶ Seeding ─▶ Done
//!            (a name     (Open,          │ ▲        (goal)
//!             alone)      Opened)        ▼ │ space
//!                                     DiskFull
//!   Pause, Resume: Paused, from everywhere and back.
//!   Failed: the files cannot be opened or written.
//! ```
//!
//! A torrent that ends (done, failed, removed, stopped) halts first: nothing more is asked for,
//! what is under way comes to its end, and only then its files are closed.

mod admission;
mod announce;
pub mod announcer;
mod candidates;
mod commands;
mod config;
mod connections;
mod ending;
mod eviction;
pub mod extension;
mod extensions;
mod files;
mod hash_service;
mod hash_trees;
mod internet;
mod internet_peer;
mod internet_torrent;
pub(crate) mod io;
mod layers;
mod lifecycle;
mod magnet;
mod metadata;
mod torrent_entry;
mod transfers;
mod view;

use crate::client::internet::Internet;
use crate::client::io::{ClientEvent, ClientInput, ClientOutput, TorrentState};
use crate::config::{ChokerKind, SourceOrder};
use crate::stats::Stats;
use crate::swarm::config::{
    Availability, BanRules, HaveRule, PeerRules, RejectRule, SwarmConfig, UploadRules,
};
use crate::swarm::context::DriverEvent;
use crate::swarm::io::SwarmInput;
use crate::swarm::outputs::OutputQueue;
use crate::swarm::session::Session;
use crate::wake::{Reason, Wake};
pub use config::ClientConfig;
use config::{BAN_LIFETIME, MAX_BANS, MAX_NAMED};
use dunlin_base::{PieceKey, Rng, Time, TorrentId};
use internet_torrent::InternetPeers;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use torrent_entry::TorrentEntry;

/// The block of the internet (BEP 3, practice).
const BLOCK_LENGTH: u32 = dunlin_metainfo::BLOCK_LENGTH;
/// Requests that a peer keeps, if it does not state another number (BEP 10, `reqq`).
const DEFAULT_QUEUE: u32 = 250;
/// A peer that gives nothing for so long is snubbed (practice).
const PATIENCE: Duration = Duration::from_secs(20);
/// Which of the streams of random numbers of one seed a client draws from; ranks of a cluster draw
/// from the others.
const RANDOM_STREAM: u64 = u32::MAX as u64;

/// A peer of the internet.
#[derive(Debug)]
pub struct Client {
    session: Session,
    outputs: OutputQueue<ClientOutput>,
    internet: Internet,
    /// What is kept of each peer besides what the core does.
    peers: InternetPeers,
    torrents: BTreeMap<TorrentId, TorrentEntry>,
    /// Torrents that halt, and whose files are closed when they are quiet.
    ending: BTreeSet<TorrentId>,
    /// Until when trackers may still answer, once we stop.
    stopping: Option<Time>,
    stopped: bool,
}

impl Client {
    /// A client without torrents.
    #[must_use]
    pub fn new(config: ClientConfig) -> Client {
        let swarm = SwarmConfig {
            sources: SourceOrder::FASTEST,
            choker: ChokerKind::TitForTat,
            availability: Availability::Announced,
            haves: HaveRule::Each,
            shares: true,
            superseeds: false,
            uploads: UploadRules {
                slots: config.slots.max(1),
                window: config.upload_window.max(1),
                rotates: true,
            },
            peers: PeerRules {
                queue: DEFAULT_QUEUE,
                patience: Some(PATIENCE),
                rejects: RejectRule::UntilUnchoked,
                counts_idle_messages: true,
                strict: false,
            },
            bans: BanRules {
                lifetime: Some(BAN_LIFETIME),
                most: MAX_BANS,
                serves: false,
                named: MAX_NAMED,
            },
            memory: config.memory,
        };
        let rng = Rng::fork(config.seed, RANDOM_STREAM);
        Client {
            session: Session::new(swarm, config.limits, rng),
            outputs: OutputQueue::new(),
            internet: Internet::new(config),
            peers: InternetPeers::new(),
            torrents: BTreeMap::new(),
            ending: BTreeSet::new(),
            stopping: None,
            stopped: false,
        }
    }

    /// One input. Drain [`Client::poll`] before the next.
    pub fn handle(&mut self, now: Time, input: ClientInput) {
        if self.stopped {
            return;
        }
        match input {
            ClientInput::Timeout => self.timeout(now),
            ClientInput::Command(command) => self.command(now, command),
            ClientInput::Opened { torrent, have, resumed } => {
                self.opened(now, torrent, &have, resumed)
            }
            ClientInput::OpenFailed { torrent, error } => {
                self.open_failed(now, torrent, &error.message)
            }
            ClientInput::FileFinished { torrent, file } => self.file_finished(now, torrent, file),
            ClientInput::FileFailed { torrent, file, error } => {
                self.file_failed(now, torrent, file, &error);
            }
            ClientInput::Announced { torrent, tracker, result } => {
                self.announced(now, torrent, tracker, result);
            }
            ClientInput::Closed { torrent } => self.closed(now, torrent),
            ClientInput::BlockHashes { key: PieceKey { torrent, piece }, hashes } => {
                self.block_hashes(torrent, piece, &hashes);
            }
            ClientInput::Swarm(input) => self.swarm_input(now, input),
        }
        self.drain(now);
        self.close_halted(now);
        self.dial(now);
    }

    /// What the core receives; whom to dial and whom to let in is decided here.
    fn swarm_input(&mut self, now: Time, input: SwarmInput) {
        match input {
            SwarmInput::Connected { torrent, conn, remote } => {
                self.connected(now, torrent, conn, remote);
            }
            SwarmInput::DialFailed { torrent, remote } => self.dial_failed(now, torrent, remote),
            SwarmInput::Incoming { conn, remote } => self.incoming(now, conn, remote),
            SwarmInput::Handshake { conn, handshake } => self.handshake(now, conn, &handshake),
            SwarmInput::Message { conn, message } => self.message(now, conn, &message),
            SwarmInput::BlockArrived { conn, block } => self.block(now, conn, block),
            SwarmInput::Malformed { conn } => self.malformed(now, conn),
            SwarmInput::Disconnected { conn } => self.disconnected(now, conn),
            other => self.session.handle(now, other),
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<ClientOutput> {
        self.outputs.poll(&mut self.session)
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

    /// Bytes of memory that are held of what peers have sent and that is not verified yet: metadata
    /// on its way. Payload is never here.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.torrents.values().map(TorrentEntry::held_bytes).sum()
    }

    /// All torrents, in the order of their numbers.
    pub fn torrents(&self) -> impl Iterator<Item = TorrentId> + '_ {
        self.torrents.keys().copied()
    }

    fn event(&mut self, event: ClientEvent) {
        self.push(event.into());
    }

    fn push(&mut self, output: ClientOutput) {
        self.outputs.push(&mut self.session, output);
    }

    fn set_state(&mut self, id: TorrentId, state: TorrentState, reason: Option<String>) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        if entry.state != Some(state) || entry.reason != reason {
            (entry.state, entry.reason) = (Some(state), reason.clone());
            self.event(ClientEvent::State { torrent: id, state, reason });
        }
    }

    fn drain(&mut self, now: Time) {
        while let Some(event) = self.session.next_event() {
            match event {
                DriverEvent::PieceDone { torrent, piece } => self.piece_done(now, torrent, piece),
                DriverEvent::DiskFailed { torrent, error, .. } => {
                    self.disk_failed(now, torrent, &error);
                }
                DriverEvent::ServeFailed { torrent, error } => {
                    self.serve_failed(now, torrent, &error.message);
                }
                DriverEvent::Gone { torrent, conn, peer } => {
                    self.peer_gone(now, torrent, conn, &peer);
                }
                // Trackers are asked when it is time: nothing else brings new peers.
                DriverEvent::Starved { .. } => {}
            }
        }
    }

    fn timeout(&mut self, now: Time) {
        let due = self.session.take_due(now);
        if self.session.timers().take(Reason::Idle, now) {
            self.keep_alive(now);
        }
        self.session.timeout(now, due, |_, _| {});
        if self.session.timers().take(Reason::Announce, now) {
            self.announce_all(now);
        }
        if self.session.timers().take(Reason::Goal, now) {
            self.check_goals(now);
        }
        if self.session.timers().take(Reason::Refresh, now) {
            self.request_all_metadata(now);
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
        self.internet.check();
        self.peers.values().for_each(internet_peer::InternetPeer::check);
        assert_eq!(self.peers.len(), self.session.standing());
        for (id, entry) in &self.torrents {
            entry.check(self.session.torrent(*id));
        }
        assert!(self.ending.iter().all(|id| self.torrents.contains_key(id)));
    }
}
