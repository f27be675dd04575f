//! The contract of the internet's driver: torrents that people add, their files, and trackers.
//!
//! ```text
//!   app and world                        client
//!   ── Command(Add) ───────────────────────▶
//!   ◀── Open ───────────────────────────────   the files are checked
//!   ── Opened ─────────────────────────────▶
//!   ◀── Announce ───────────────────────────
//!   ── Announced ──────────────────────────▶
//!                 Swarm(…): the core's
//!   ◀── FinishFile ─────────────────────────   every piece of a file is written
//!   ── FileFinished ───────────────────────▶
//!   ── Command(Remove) ────────────────────▶
//!   ◀── Close ──────────────────────────────
//!   ── Closed ─────────────────────────────▶
//!   ◀── Removed ────────────────────────────   once trackers know
//! ```

mod values;

use crate::swarm::io::{LocalError, SwarmInput, SwarmOutput};
use crate::swarm::rate_limit::Limits;
use dunlin_base::{Bitfield, FileIndex, PieceKey, TorrentId};
use dunlin_metainfo::Torrent;
use dunlin_tracker::{AnnounceFailure, AnnounceReply, AnnounceRequest};
use std::net::SocketAddr;
use std::sync::Arc;
pub use values::{
    AddTorrent, AnnounceNews, PeerTotal, Priority, SeedGoal, Source, TorrentState, TorrentView,
    TrackerIndex,
};

/// What a client receives.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug)]
pub enum ClientInput {
    /// What the core receives.
    Swarm(SwarmInput),
    /// The time that `next_timeout` returned has come. Early calls do no harm.
    Timeout,
    /// What a person or the app asks for.
    Command(Command),
    /// The files of a torrent are open; `have` was found right on disk, `resumed` pieces of it in
    /// unfinished files.
    Opened { torrent: TorrentId, have: Bitfield, resumed: u32 },
    /// The files of a torrent could not be opened.
    OpenFailed { torrent: TorrentId, error: LocalError },
    /// A file stands under its final name.
    FileFinished { torrent: TorrentId, file: FileIndex },
    /// A file could not be finished.
    FileFailed { torrent: TorrentId, file: FileIndex, error: LocalError },
    /// The files of a torrent are closed, as [`ClientOutput::Close`] asked for: everything is
    /// durable.
    Closed { torrent: TorrentId },
    /// What a tracker answered to [`ClientOutput::Announce`], or why it did not.
    Announced {
        torrent: TorrentId,
        tracker: TrackerIndex,
        result: Result<Box<AnnounceReply>, AnnounceFailure>,
    },
    /// SHA-256 of the blocks of a piece, in order, as [`ClientOutput::HashBlocks`] asked for; empty
    /// if they could not be read.
    BlockHashes { key: PieceKey, hashes: Vec<[u8; 32]> },
}

/// What a person or the app asks of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop: hang up everywhere, and send trackers that know of us a last announce.
    Stop,
    /// Add a torrent.
    Add(Box<AddTorrent>),
    /// Remove a torrent; its files stay. Answered by [`ClientOutput::Removed`].
    Remove(TorrentId),
    /// Pause a torrent: it hangs up, and its trackers receive a last announce.
    Pause(TorrentId),
    /// Resume a torrent.
    Resume(TorrentId),
    /// Announce a torrent to its trackers now, as far as they allow it.
    Announce(TorrentId),
    /// Peers of a torrent to dial.
    AddPeers(TorrentId, Vec<SocketAddr>),
    /// How much each file is wanted from now on.
    Prioritize(TorrentId, Vec<Priority>),
    /// Request pieces in order, or the rarest first.
    Sequential(TorrentId, bool),
    /// Limits of all torrents together, or of one.
    Limit(Option<TorrentId>, Limits),
    /// Another goal for a torrent.
    Seed(TorrentId, Option<SeedGoal>),
    /// The port at which the world listens, for trackers and peers. 0 if nowhere.
    Listening(u16),
}

/// What a client asks of the world.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOutput {
    /// What the core asks for.
    Swarm(SwarmOutput),
    /// Open the files of a torrent and check them, answered by [`ClientInput::Opened`] or
    /// [`ClientInput::OpenFailed`]. `wanted` states for each file whether it is to be written.
    Open { torrent: TorrentId, metainfo: Arc<Torrent>, wanted: Vec<bool> },
    /// Other files are wanted from now on, answered by [`ClientInput::Opened`] once more.
    Want { torrent: TorrentId, wanted: Vec<bool> },
    /// Every piece of this file is written: make it durable and give it its final name, answered by
    /// [`ClientInput::FileFinished`] or [`ClientInput::FileFailed`].
    FinishFile { torrent: TorrentId, file: FileIndex },
    /// Hash the blocks of 16 KiB of a piece that is on disk (BEP 52), answered by
    /// [`ClientInput::BlockHashes`].
    HashBlocks(PieceKey),
    /// Make everything durable and close the files of a torrent, answered by
    /// [`ClientInput::Closed`]. It may come while they are still being opened: then nobody waits
    /// for the check.
    Close { torrent: TorrentId },
    /// Announce to a tracker, answered by [`ClientInput::Announced`].
    Announce {
        torrent: TorrentId,
        tracker: TrackerIndex,
        url: Arc<str>,
        request: Box<AnnounceRequest>,
    },
    /// The engine has forgotten a torrent: forget what is kept of it. Nothing follows about it.
    Removed { torrent: TorrentId },
    /// Something that the app, the trace or a test wants to know. The engine needs no answer.
    Event(ClientEvent),
}

/// What happened to the torrents of a client.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A wanted file stands under its final name.
    FileComplete { torrent: TorrentId, file: FileIndex },
    /// A torrent is in another state; `reason` tells people why, where it failed or waits.
    State { torrent: TorrentId, state: TorrentState, reason: Option<String> },
    /// All of a torrent is known now: it was added by its name alone.
    Metadata { torrent: TorrentId, metainfo: Arc<Torrent> },
    /// A tracker answered, or did not.
    Announced { torrent: TorrentId, news: AnnounceNews },
    /// A torrent has halted: what each peer gave and took since it began, or since this was sent
    /// last; one entry for each peer that moved payload.
    PeerTotals { torrent: TorrentId, totals: Vec<PeerTotal> },
    /// The client has stopped: its trackers have answered, or their time is over.
    Stopped,
}

impl From<SwarmInput> for ClientInput {
    fn from(input: SwarmInput) -> ClientInput {
        ClientInput::Swarm(input)
    }
}

impl From<Command> for ClientInput {
    fn from(command: Command) -> ClientInput {
        ClientInput::Command(command)
    }
}

impl From<SwarmOutput> for ClientOutput {
    fn from(output: SwarmOutput) -> ClientOutput {
        ClientOutput::Swarm(output)
    }
}

impl From<ClientEvent> for ClientOutput {
    fn from(event: ClientEvent) -> ClientOutput {
        ClientOutput::Event(event)
    }
}
