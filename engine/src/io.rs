//! The whole contract on one page: what goes into the engine and what comes out of it.
//!
//! **The engine decides, the world does.** `handle(now, input)`, then `poll()` until `None`, then the next
//! input. `next_timeout()` says when to call `handle(now, Input::Timeout)` and why. Same inputs and same
//! seed: same outputs, bit for bit. **Payload never passes through the engine**: it speaks of
//! (piece, begin, length), the world moves the bytes.
//!
//! ```text
//!   world                                engine
//!   ── Connected / Incoming ───────────────▶
//!   ◀── SendHandshake, Send(bitfield …) ────
//!   ── Handshake, Message(bitfield …) ─────▶
//!   ◀── Reserve(piece) ─────────────────────   memory first
//!   ── Reserved(piece) ────────────────────▶
//!   ◀── Send(request) ──────────────────────
//!   ── BlockArrived (payload parked) ──────▶
//!   ◀── Keep / Drop ────────────────────────
//!   ◀── Hash(piece) ────────────────────────   every block is here
//!   ── PieceHashed(matches) ───────────────▶
//!   ◀── Write(piece) ───────────────────────
//!   ── PieceWritten ───────────────────────▶   only now it is ours:
//!   ◀── Send(have), Release(piece) ─────────   announced and served
//! ```

mod internet;

pub use crate::swarm::rate_limit::Limits;
pub use crate::wake::{Reason, Wake};
use dunlin_base::{Bitfield, BlockRef, ConnId, Endpoint, FileIndex, PieceKey, Rank, TorrentId};
use dunlin_control::{Control, FailedFile, LinkFrom, Register, ShutdownReason};
use dunlin_metainfo::{SetInfo, Torrent};
use dunlin_tracker::{AnnounceFailure, AnnounceReply, AnnounceRequest};
use dunlin_wire::{Handshake, Message};
pub use internet::{
    AddTorrent, AnnounceNews, PeerTotal, Priority, SeedGoal, Source, TorrentState, TorrentView,
    TrackerIndex,
};
use std::net::SocketAddr;
use std::sync::Arc;

/// What the world tells the engine.
#[derive(Clone, Debug)]
pub enum Input {
    /// The time that `next_timeout` named has come. Early calls do no harm.
    Timeout,
    /// What a person or the world asks for.
    Command(Command),

    // The cluster's control plane.
    /// This rank has checked its files and can register.
    Checked(Box<Register>),
    /// A message from the tracker.
    Control(Control),

    // Storage of a torrent.
    /// The torrent's storage is open; `have` was found right on disk, `resumed` of it in unfinished
    /// files.
    Opened {
        /// The torrent.
        torrent: TorrentId,
        /// Pieces that are there and right.
        have: Bitfield,
        /// How many of them were found in unfinished files.
        resumed: u32,
    },
    /// The torrent's storage could not be opened.
    OpenFailed {
        /// The torrent.
        torrent: TorrentId,
        /// Why, for people.
        error: LocalError,
    },

    // Connections.
    /// A dial came through.
    Connected {
        /// The torrent it was dialled for.
        torrent: TorrentId,
        /// The new connection.
        conn: ConnId,
        /// Who it leads to.
        remote: Endpoint,
    },
    /// A dial failed.
    DialFailed {
        /// The torrent it was dialled for.
        torrent: TorrentId,
        /// Who could not be reached.
        remote: Endpoint,
    },
    /// Somebody connected to us. Its handshake says what for.
    Incoming {
        /// The new connection.
        conn: ConnId,
        /// Who it leads to.
        remote: Endpoint,
    },
    /// The connection is gone. Also the answer to nothing: a hang-up of ours is not confirmed.
    Disconnected {
        /// The connection.
        conn: ConnId,
    },
    /// The other side's handshake.
    Handshake {
        /// The connection.
        conn: ConnId,
        /// What it says.
        handshake: Handshake,
    },
    /// A message, decoded and payload-free. Never `piece`: that is [`Input::BlockArrived`].
    Message {
        /// The connection.
        conn: ConnId,
        /// The message.
        message: Message,
    },
    /// The bytes of the connection make no sense. The engine hangs up and blames the peer.
    Malformed {
        /// The connection.
        conn: ConnId,
    },

    // Memory.
    /// The memory that [`Output::Reserve`] asked for is reserved.
    Reserved(PieceKey),
    /// There is no memory now. The world has queued us and will say [`Input::MemoryFree`].
    NoMemory(PieceKey),
    /// There is memory again, after [`Input::NoMemory`]: ask again.
    MemoryFree,
    /// Others starve for memory: spill partial pieces that make no progress.
    MemoryWanted,

    // Blocks and pieces.
    /// A `piece` message arrived; the world has parked its payload until Keep or Drop. `block` is as
    /// it stood on the wire.
    BlockArrived {
        /// The connection.
        conn: ConnId,
        /// What the sender says it is.
        block: BlockRef,
    },
    /// A block that [`Output::Serve`] asked for has been handed to the transport.
    BlockSent {
        /// The connection.
        conn: ConnId,
        /// The block.
        block: BlockRef,
    },
    /// A block was not sent because its request was taken back in time.
    ServeCancelled {
        /// The connection.
        conn: ConnId,
        /// The block.
        block: BlockRef,
    },
    /// A block could not be read from our disk.
    ServeFailed {
        /// The connection.
        conn: ConnId,
        /// The block.
        block: BlockRef,
        /// Why, for people.
        error: LocalError,
    },
    /// A piece has been hashed.
    PieceHashed {
        /// Which piece.
        key: PieceKey,
        /// Whether the hash is the expected one.
        matches: bool,
    },
    /// The keyed digests of a piece's blocks, in order, as [`Output::Digest`] asked for.
    BlockDigests {
        /// Which piece.
        key: PieceKey,
        /// One a block.
        digests: Vec<u64>,
    },
    /// A piece is on disk (handed to the operating system; durable comes later).
    PieceWritten(PieceKey),
    /// A piece could not be written or hashed for a reason of our own. Nobody is blamed.
    DiskFailed {
        /// Which piece.
        key: PieceKey,
        /// Why, for people.
        error: LocalError,
    },
    /// A file stands under its final name.
    FileFinished {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
    },
    /// A file that [`Output::Link`] asked for could not be linked or copied from a neighbour: it has to
    /// be fetched.
    LinkFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// Why, for people.
        error: LocalError,
    },
    /// Folders, links and looks are as they should be, but for these.
    TreeFinished {
        /// What could not be made or kept, with the reasons.
        failed: Vec<FailedFile>,
    },
    /// A file could not be finished.
    FileFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// Why, for people.
        error: LocalError,
    },

    // The internet.
    /// What a tracker answered to [`Output::Announce`], or why it did not.
    Announced {
        /// The torrent.
        torrent: TorrentId,
        /// Which of its trackers.
        tracker: TrackerIndex,
        /// The answer.
        result: Result<Box<AnnounceReply>, AnnounceFailure>,
    },
    /// The hashes of a piece's blocks of 16 KiB that [`Output::HashBlocks`] asked for (BEP 52); none if
    /// they could not be read.
    BlockHashes {
        /// Which piece.
        key: PieceKey,
        /// SHA-256 of each block, in order.
        hashes: Vec<[u8; 32]>,
    },
    /// The storage of a torrent is closed, as [`Output::Close`] asked for: everything is durable.
    Closed {
        /// The torrent.
        torrent: TorrentId,
    },
}

/// What a person or the world asks of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop: hang up everywhere. Of the internet: trackers that know of us are told.
    Stop,
    /// A torrent is added.
    Add(Box<AddTorrent>),
    /// A torrent goes, its files stay.
    Remove(TorrentId),
    /// A torrent waits: it hangs up, and trackers are told.
    Pause(TorrentId),
    /// It goes on.
    Resume(TorrentId),
    /// Its trackers are asked now, as far as they allow it.
    Announce(TorrentId),
    /// Peers to dial.
    AddPeers(TorrentId, Vec<SocketAddr>),
    /// How much each file is wanted from now on.
    Prioritize(TorrentId, Vec<Priority>),
    /// Pieces in order, or the rarest first.
    Sequential(TorrentId, bool),
    /// Limits of all torrents together, or of one.
    Limit(Option<TorrentId>, Limits),
    /// Another goal for a torrent.
    Seed(TorrentId, Option<SeedGoal>),
    /// Where the world listens: said to trackers and peers. 0 if nowhere.
    Listening(u16),
}

/// A fault on our own side. It never blames a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LocalError {
    /// The full sentence for people: which file, what happened, what to do.
    pub message: String,
    /// Whether waiting can help (a full disk).
    pub disk_full: bool,
}

/// What the engine asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message to the tracker.
    SendControl(Control),
    /// Open a torrent's storage, answered by [`Input::Opened`] or [`Input::OpenFailed`].
    Open {
        /// The torrent.
        torrent: TorrentId,
        /// Its metainfo.
        info: Arc<SetInfo>,
        /// Whether files are to be written; otherwise the storage is only read.
        wants: bool,
    },
    /// Connect to a peer for a torrent.
    Dial {
        /// The torrent.
        torrent: TorrentId,
        /// The peer.
        remote: Endpoint,
    },
    /// Close a connection.
    HangUp {
        /// The connection; it is gone for the engine.
        conn: ConnId,
        /// Why.
        reason: HangUpReason,
    },
    /// Send our handshake.
    SendHandshake {
        /// The connection.
        conn: ConnId,
        /// What to say.
        handshake: Handshake,
    },
    /// Send a message. Never `piece`: that is [`Output::Serve`].
    Send {
        /// The connection.
        conn: ConnId,
        /// The message.
        message: Message,
    },
    /// Reserve memory for a piece, answered by [`Input::Reserved`] or [`Input::NoMemory`].
    Reserve {
        /// Which piece.
        key: PieceKey,
        /// Bytes.
        bytes: u32,
        /// True if the piece is too large for the budget: it is hashed in order as blocks arrive and
        /// written block by block, and the reservation covers only the window.
        streamed: bool,
    },
    /// Give back the memory of a piece, and drop what it holds.
    Release(PieceKey),
    /// Move the blocks that a reserved piece holds to its part file and give the memory back. When the
    /// piece is reserved again they are there again.
    Spill(PieceKey),
    /// The parked block is wanted: put it into its piece.
    Keep {
        /// The connection it came from.
        conn: ConnId,
        /// The block.
        block: BlockRef,
    },
    /// The parked block is not wanted.
    Drop {
        /// The connection it came from.
        conn: ConnId,
        /// The block.
        block: BlockRef,
    },
    /// Hash this piece, whose blocks are all kept, answered by [`Input::PieceHashed`]. From now until
    /// the release its buffer is frozen.
    Hash(PieceKey),
    /// Digest the blocks of this piece, answered by [`Input::BlockDigests`].
    Digest(PieceKey),
    /// Write this verified piece, answered by [`Input::PieceWritten`] or [`Input::DiskFailed`].
    Write(PieceKey),
    /// Every piece of this file is written: make it durable and give it its final name, answered by
    /// [`Input::FileFinished`] or [`Input::FileFailed`].
    FinishFile {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
    },
    /// A rank of the same host has this file whole in its folder for wanted files: link or copy it,
    /// answered by [`Input::FileFinished`] or [`Input::LinkFailed`].
    Link {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// Its name.
        name: String,
        /// Who has it, and where.
        from: LinkFrom,
    },
    /// Every wanted file is finished or has failed: make links, and give folders and files their looks,
    /// answered by [`Input::TreeFinished`].
    FinishTree,
    /// Read this block and send it, answered by [`Input::BlockSent`], [`Input::ServeCancelled`] or
    /// [`Input::ServeFailed`].
    Serve {
        /// The connection.
        conn: ConnId,
        /// The block.
        block: BlockRef,
    },
    /// Open a torrent's files and check them, answered by [`Input::Opened`] or [`Input::OpenFailed`].
    /// Torrents of the internet; [`Output::Open`] is for sets of a cluster.
    OpenTorrent {
        /// The torrent.
        torrent: TorrentId,
        /// Everything about it.
        metainfo: Arc<Torrent>,
        /// Whether each file is wanted, by index.
        wanted: Vec<bool>,
    },
    /// Other files are wanted from now on: the answer is [`Input::Opened`] once more.
    Want {
        /// The torrent.
        torrent: TorrentId,
        /// Whether each file is wanted, by index.
        wanted: Vec<bool>,
    },
    /// Make everything durable and close a torrent's files, answered by [`Input::Closed`]. It may be said
    /// while they are still being opened: then nobody waits for the check.
    Close {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Tell a tracker that we are here, answered by [`Input::Announced`].
    Announce {
        /// The torrent.
        torrent: TorrentId,
        /// Which of its trackers.
        tracker: TrackerIndex,
        /// The tracker's address.
        url: Arc<str>,
        /// What to say.
        request: Box<AnnounceRequest>,
    },
    /// Hash the blocks of a piece that is on disk, answered by [`Input::BlockHashes`] (BEP 52).
    HashBlocks(PieceKey),
    /// Something the app or a test wants to know.
    Event(Event),
}

/// What happened, for the app, the trace and the tests. The engine never needs an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The start barrier opened: this many wanted files are known.
    Started {
        /// Wanted files that somebody has.
        wanted: u64,
        /// Wants that nobody can meet.
        missing: Vec<String>,
    },
    /// A piece matched its hash. `from` gave most of it.
    Verified {
        /// Which piece.
        key: PieceKey,
        /// Who gave most of it.
        from: Endpoint,
    },
    /// A piece did not match its hash.
    BadPiece {
        /// Which piece.
        key: PieceKey,
        /// Everyone who gave a block of it.
        from: Vec<Endpoint>,
    },
    /// A peer was caught lying and is banned.
    Banned {
        /// The peer.
        remote: Endpoint,
    },
    /// A wanted file stands under its final name.
    FileComplete {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
    },
    /// A wanted file will not come.
    FileFailed(FailedFile),
    /// Everything wanted is there, or has failed.
    AllComplete,
    /// A refresh was sent.
    Refreshed {
        /// Whether it was out of turn.
        forced: bool,
    },
    /// A request of ours was refused.
    Rejected {
        /// The torrent.
        torrent: TorrentId,
        /// Who refused it.
        remote: Endpoint,
    },
    /// The tracker ended the run.
    Shutdown(ShutdownReason),
    /// A torrent of the internet stands elsewhere now.
    State {
        /// The torrent.
        torrent: TorrentId,
        /// Where it stands.
        state: TorrentState,
        /// Why, for people, where it failed or waits.
        reason: Option<String>,
    },
    /// All of a torrent is known now: it was added by its name alone.
    Metadata {
        /// The torrent.
        torrent: TorrentId,
        /// Everything about it.
        metainfo: Arc<Torrent>,
    },
    /// A tracker was asked.
    Announced {
        /// The torrent.
        torrent: TorrentId,
        /// What came of it.
        news: AnnounceNews,
    },
    /// What each peer gave and took since the torrent began or this was said last: it has halted.
    PeerTotals {
        /// The torrent.
        torrent: TorrentId,
        /// One for each peer that moved payload.
        totals: Vec<PeerTotal>,
    },
    /// Nobody is left who has to be told that we stop.
    Stopped,
}

/// What the coordinator asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorOutput {
    /// Send a message to a peer.
    Send {
        /// The peer.
        to: Rank,
        /// The message.
        message: Control,
    },
    /// The run is over: everyone has been told. The outcome is ready.
    Finished,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUpReason {
    /// Its bytes are wrong, or it broke the protocol.
    Violation(&'static str),
    /// The peer is banned.
    Banned,
    /// We do not have the torrent that it asked for.
    UnknownTorrent,
    /// A second connection to the same peer for the same torrent.
    Duplicate,
    /// Neither side wants anything of the other.
    Useless,
    /// The peer answers nothing.
    Dead,
    /// We stop.
    Stopping,
    /// It is connected already, under another address.
    SamePeer,
    /// It is ourselves.
    Ourselves,
    /// There are as many connections as there may be.
    Crowded,
}
