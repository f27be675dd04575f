//! The core's part of the contract: connections, memory, blocks and pieces. Both drivers pass it
//! on, with what is their own around it.

use dunlin_base::{BlockRef, ConnId, Endpoint, PieceKey, TorrentId};
use dunlin_wire::{Handshake, Message};

/// What the core receives.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug)]
pub enum SwarmInput {
    // Connections.
    /// A dial for a torrent came through.
    Connected { torrent: TorrentId, conn: ConnId, remote: Endpoint },
    /// A dial for a torrent failed.
    DialFailed { torrent: TorrentId, remote: Endpoint },
    /// A peer connected to us. Its handshake states for which torrent.
    Incoming { conn: ConnId, remote: Endpoint },
    /// The connection is gone. A hang-up of ours is not confirmed by this.
    Disconnected { conn: ConnId },
    /// The handshake of the other side.
    Handshake { conn: ConnId, handshake: Handshake },
    /// A message, decoded and without payload. Never `piece`: that is [`SwarmInput::BlockArrived`].
    Message { conn: ConnId, message: Message },
    /// The bytes of the connection make no sense. The engine hangs up and blames the peer.
    Malformed { conn: ConnId },

    // Memory.
    /// The memory that [`SwarmOutput::Reserve`] asked for is reserved.
    Reserved(PieceKey),
    /// There is no memory now. The world has queued the engine and will send
    /// [`SwarmInput::MemoryFree`].
    NoMemory(PieceKey),
    /// There is memory again, after [`SwarmInput::NoMemory`].
    MemoryFree,
    /// Others starve for memory: partial pieces that make no progress are to be spilled.
    MemoryWanted,

    // Blocks and pieces.
    /// A `piece` message arrived; the world has parked its payload until [`SwarmOutput::Keep`] or
    /// [`SwarmOutput::Drop`]. `block` is as it stood on the wire.
    BlockArrived { conn: ConnId, block: BlockRef },
    /// A block that [`SwarmOutput::Serve`] asked for was handed to the transport.
    BlockSent { conn: ConnId, block: BlockRef },
    /// A block was not sent because its request was cancelled in time.
    ServeCancelled { conn: ConnId, block: BlockRef },
    /// A block could not be read from our disk.
    ServeFailed { conn: ConnId, block: BlockRef, error: LocalError },
    /// A piece was hashed; `matches` if its hash is the expected one.
    PieceHashed { key: PieceKey, matches: bool },
    /// The keyed digests of a piece's blocks, in order, as [`SwarmOutput::Digest`] asked for.
    BlockDigests { key: PieceKey, digests: Vec<u64> },
    /// A piece is on disk (handed to the operating system; durable comes later).
    PieceWritten(PieceKey),
    /// A piece could not be written or hashed for a reason of our own. Nobody is blamed.
    DiskFailed { key: PieceKey, error: LocalError },
}

/// What the core asks of the world.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwarmOutput {
    /// Connect to a peer for a torrent, answered by [`SwarmInput::Connected`] or
    /// [`SwarmInput::DialFailed`].
    Dial { torrent: TorrentId, remote: Endpoint },
    /// Close a connection; the engine has forgotten it.
    HangUp { conn: ConnId, reason: HangUpReason },
    /// Send our handshake.
    SendHandshake { conn: ConnId, handshake: Handshake },
    /// Send a message. Never `piece`: that is [`SwarmOutput::Serve`].
    Send { conn: ConnId, message: Message },
    /// Reserve memory for a piece, answered by [`SwarmInput::Reserved`] or
    /// [`SwarmInput::NoMemory`]. If it is `streamed`, it is too large for the budget: it is hashed
    /// in order as blocks arrive and written block by block, and the reservation covers only the
    /// window.
    Reserve { key: PieceKey, bytes: u32, streamed: bool },
    /// Give back the memory of a piece, and drop what it holds.
    Release(PieceKey),
    /// Move the blocks that a reserved piece holds to its part file and give the memory back. When
    /// the piece is reserved again they are there again.
    Spill(PieceKey),
    /// The parked block is wanted: put it into its piece.
    Keep { conn: ConnId, block: BlockRef },
    /// The parked block is not wanted.
    Drop { conn: ConnId, block: BlockRef },
    /// Hash this piece, whose blocks are all kept, answered by [`SwarmInput::PieceHashed`]. From
    /// now until the release its buffer is frozen.
    Hash(PieceKey),
    /// Digest the blocks of this piece, answered by [`SwarmInput::BlockDigests`].
    Digest(PieceKey),
    /// Write this verified piece, answered by [`SwarmInput::PieceWritten`] or
    /// [`SwarmInput::DiskFailed`].
    Write(PieceKey),
    /// Read this block and send it, answered by [`SwarmInput::BlockSent`],
    /// [`SwarmInput::ServeCancelled`] or [`SwarmInput::ServeFailed`].
    Serve { conn: ConnId, block: BlockRef },
    /// Something that the app, the trace or a test wants to know. The engine needs no answer.
    Event(SwarmEvent),
}

/// What happened in a swarm.
#[allow(missing_docs, reason = "the names and types of fields say what they are")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwarmEvent {
    /// A piece matched its hash; `from` sent most of it.
    Verified { key: PieceKey, from: Endpoint },
    /// A piece did not match its hash; each of `from` sent a block of it.
    BadPiece { key: PieceKey, from: Vec<Endpoint> },
    /// A peer sent wrong data and is banned.
    Banned { remote: Endpoint },
    /// A peer rejected a request of ours.
    Rejected { torrent: TorrentId, remote: Endpoint },
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
