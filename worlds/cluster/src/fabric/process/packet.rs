//! What travels on the stream between two ranks: packets, each `length ‖ kind ‖ body`, numbers
//! big-endian, the length counting kind and body (as in BEP 3, "peer messages"). Control messages
//! and the peer wire protocol keep their own codecs; this one only frames them. It moves nothing,
//! and does not look into what the processes send each other at the launch and at the end.
//!
//! | kind | | body |
//! |---|---|---|
//! | 1 | control | a control message (`dunlin_control`) |
//! | 2 | handshake | torrent, the 68 bytes of BEP 3 |
//! | 3 | wire | torrent, a message as it stands on the wire, its own length in front; never `piece` |
//! | 4 | ask | torrent, piece, begin, length, tag (u16) |
//! | 5 | piece | torrent, piece, begin, length, data to the end |
//! | 6 | hang-up | torrent |
//! | 7 | void | torrent, tag (u16) |
//! | 8 | session | bytes to the end |
//! | 9 | progress | state (u8), have, wanted, moved, sent (u64 each) |
//! | 10 | trace | until (u64), lines to the end |
//! | 11 | pulse | nothing |
//!
//! Every packet has exactly one encoding. All ranks run one build, so whatever is not known is an
//! error, and the stream cannot be followed after it.

use super::message::ProcessMessage;
use crate::fabric::mpi::transport::MAX_TAG;
use crate::frame::{Frame, Payload};
use bytes::Bytes;
use dunlin_base::{BlockRef, PieceIndex, TorrentId};
use dunlin_control::ControlError;
use dunlin_wire::{HANDSHAKE_LEN, Handshake, Message, WireError};

/// The longest packet in bytes, kind included. A registration or a set's metainfo holds 20 bytes a
/// piece and a name a file; a bitfield one bit a piece; all of them are far below.
pub(crate) const MAX_PACKET: u32 = 1 << 30;
/// The longest block in bytes: also the longest token (`dunlin_metainfo::MAX_TOKEN`). Requests
/// of this build are much smaller.
pub(crate) const MAX_BLOCK: u32 = 16 << 20;

/// Bytes until kind and length are known.
const HEAD: usize = 5;
/// What an idle decoder may keep allocated: about a full window of its stream.
const KEEP: usize = 64 << 10;

/// The kinds. None is 0, so that zeros are no packets.
mod kind {
    pub(super) const CONTROL: u8 = 1;
    pub(super) const HANDSHAKE: u8 = 2;
    pub(super) const WIRE: u8 = 3;
    pub(super) const ASK: u8 = 4;
    pub(super) const PIECE: u8 = 5;
    pub(super) const HANG_UP: u8 = 6;
    pub(super) const VOID: u8 = 7;
    pub(super) const SESSION: u8 = 8;
    pub(super) const PROGRESS: u8 = 9;
    pub(super) const TRACE: u8 = 10;
    pub(super) const PULSE: u8 = 11;
}

/// What one rank sends to another over the stream between them.
#[derive(Debug, PartialEq)]
pub(crate) enum Packet {
    /// A frame of the swarm. Of blocks only tokens travel here, and those of so few bytes that a
    /// receive of their own would cost more: 1 to [`MAX_BLOCK`] bytes. A token is as long as it is,
    /// whatever its length in segments.
    Frame(Frame),
    /// A request whose answer is to land under a tag of the data lane.
    Ask {
        /// The torrent that the connection is for.
        torrent: TorrentId,
        /// What is asked for; 1 to [`MAX_BLOCK`] long.
        range: BlockRef,
        /// The tag under which the receive is posted, 1 to [`MAX_TAG`].
        tag: u16,
    },
    /// The request under this tag will not be answered.
    Void {
        /// The torrent that the connection is for.
        torrent: TorrentId,
        /// The tag that came with the request, 1 to [`MAX_TAG`].
        tag: u16,
    },
    /// A message between the processes.
    Process(ProcessMessage),
}

/// Why bytes are no packet. The rank at the other end is to blame: it is another build, or a broken
/// one. The stream cannot be followed any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PacketError {
    /// There is no room for a kind.
    #[error(
        "malformed packet: a length of 0, expected 1 at least; run the same build at every rank"
    )]
    NoKind,
    /// The kind means nothing here.
    #[error(
        "malformed packet: kind {found}, expected 1 to {max}; run the same build at every rank",
        max = kind::PULSE
    )]
    Kind {
        /// The byte that was found.
        found: u8,
    },
    /// The kind has no packets of this length.
    #[error("malformed packet `{kind}`: expected a length of {least} to {most}, found {found}")]
    Length {
        /// The kind's name.
        kind: &'static str,
        /// The least length, kind included.
        least: u32,
        /// The greatest length, kind included.
        most: u32,
        /// The length that was found.
        found: u32,
    },
    /// The control message in it is malformed.
    #[error("malformed packet `control`: {0}")]
    Control(#[from] ControlError),
    /// The handshake or message in it is malformed.
    #[error("malformed packet `{kind}`: {error}")]
    Wire {
        /// The kind's name.
        kind: &'static str,
        /// What is wrong.
        error: WireError,
    },
    /// The message's own length is not that of the bytes.
    #[error("malformed packet `wire`: expected a message of length {expected}, found {found}")]
    WireLength {
        /// Bytes that are there.
        expected: u32,
        /// The length that the message has in front.
        found: u32,
    },
    /// A message that has no place here.
    #[error(
        "malformed packet `wire`: a message of id {found}, expected one of ours and no `piece`"
    )]
    WireId {
        /// Its id.
        found: u8,
    },
    /// A block of no or too many bytes.
    #[error("malformed packet `{kind}`: a block of {found}, expected 1 to {MAX_BLOCK}")]
    Block {
        /// The kind's name.
        kind: &'static str,
        /// Its length.
        found: u32,
    },
    /// A tag outside its limits.
    #[error("malformed packet `{kind}`: tag {found}, expected 1 to {MAX_TAG}")]
    Tag {
        /// The kind's name.
        kind: &'static str,
        /// The tag.
        found: u16,
    },
}

/// Appends the bytes of a packet. A `piece` in [`Frame::Wire`], a tag or a block outside its
/// limits, or more than [`MAX_PACKET`] bytes are the caller's mistakes: the other end refuses them.
pub(crate) fn encode(packet: &Packet, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match packet {
        Packet::Frame(frame) => put_frame(frame, out),
        Packet::Ask { torrent, range, tag } => {
            begin(kind::ASK, *torrent, out);
            put_range(*range, out);
            out.extend_from_slice(&tag.to_be_bytes());
        }
        Packet::Void { torrent, tag } => {
            begin(kind::VOID, *torrent, out);
            out.extend_from_slice(&tag.to_be_bytes());
        }
        Packet::Process(message) => put_message(message, out),
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(prefix) = out.get_mut(start..).and_then(|packet| packet.first_chunk_mut()) {
        *prefix = length.to_be_bytes();
    }
}

fn put_frame(frame: &Frame, out: &mut Vec<u8>) {
    match frame {
        Frame::Control(control) => {
            out.push(kind::CONTROL);
            out.extend_from_slice(&dunlin_control::encode(control));
        }
        Frame::Handshake { torrent, handshake } => {
            begin(kind::HANDSHAKE, *torrent, out);
            out.extend_from_slice(&handshake.encode());
        }
        Frame::Wire { torrent, message } => {
            debug_assert!(!matches!(message, Message::Piece(_)), "a piece has a kind of its own");
            begin(kind::WIRE, *torrent, out);
            dunlin_wire::encode_into(message, out);
        }
        Frame::Piece { torrent, range, payload } => {
            begin(kind::PIECE, *torrent, out);
            put_range(*range, out);
            out.extend_from_slice(&payload.data);
        }
        Frame::HangUp { torrent } => begin(kind::HANG_UP, *torrent, out),
    }
}

fn put_message(message: &ProcessMessage, out: &mut Vec<u8>) {
    match message {
        ProcessMessage::Session(bytes) => {
            out.push(kind::SESSION);
            out.extend_from_slice(bytes);
        }
        ProcessMessage::Progress { state, have, wanted, moved, sent } => {
            out.extend_from_slice(&[kind::PROGRESS, *state]);
            for number in [have, wanted, moved, sent] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        ProcessMessage::Trace { until, lines } => {
            out.push(kind::TRACE);
            out.extend_from_slice(&until.to_be_bytes());
            out.extend_from_slice(lines);
        }
        ProcessMessage::Pulse => out.push(kind::PULSE),
    }
}

fn begin(kind: u8, torrent: TorrentId, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&torrent.0.to_be_bytes());
}

fn put_range(range: BlockRef, out: &mut Vec<u8>) {
    for number in [range.piece.0, range.begin, range.len] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Turns the bytes of a stream, cut anywhere, into packets. It allocates for what has come, not for
/// what a length promises.
#[derive(Debug, Default)]
pub(crate) struct PacketDecoder {
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that are used up.
    used: usize,
    error: Option<PacketError>,
}

impl PacketDecoder {
    /// An decoder that has seen nothing.
    pub(crate) fn new() -> PacketDecoder {
        PacketDecoder::default()
    }

    /// Puts bytes behind those that came before. Call [`PacketDecoder::next`] until it gives `None`
    /// afterwards: what it does not take is kept. A dead one forgets them.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next packet; `None` until all of it has come.
    ///
    /// # Errors
    /// [`PacketError`] if the bytes are none. The decoder is dead from then on: it holds nothing,
    /// and every later call gives the same error.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, PacketError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        match first(self.buffer.get(self.used..).unwrap_or_default()) {
            Ok(None) => Ok(None),
            Ok(Some((packet, bytes))) => {
                self.used += bytes;
                self.compact();
                Ok(Some(packet))
            }
            Err(error) => {
                *self = PacketDecoder { error: Some(error.clone()), ..PacketDecoder::default() };
                Err(error)
            }
        }
    }

    /// Gives up what is used. It moves bytes only when at least as many are used as are left, so
    /// that a byte is moved once on average at most, however many packets come at once.
    fn compact(&mut self) {
        let left = self.buffer.len() - self.used;
        if left > self.used {
            return;
        }
        if self.buffer.capacity() > KEEP && left < self.buffer.capacity() / 4 {
            self.buffer = self.buffer.split_off(self.used);
        } else {
            self.buffer.drain(..self.used);
        }
        self.used = 0;
    }

    /// Asserts what always holds, with `came` bytes pushed in all. Tests call it after every step.
    ///
    /// # Panics
    /// If something does not hold.
    pub(crate) fn check(&self, came: usize) {
        assert!(self.used <= self.buffer.len() - self.used, "what is used is given up");
        assert!(self.buffer.len() <= came, "{} bytes of {came}", self.buffer.len());
        // A vector doubles, and begins with a few bytes.
        let most = (2 * came).max(8);
        assert!(self.buffer.capacity() <= most, "room for {} of {came}", self.buffer.capacity());
        assert!(self.error.is_none() || self.buffer.capacity() == 0, "a dead one holds nothing");
    }
}

/// The packet at the front of `bytes` and how many it takes; `None` if it is not all there. Length
/// and kind are checked as soon as they are.
fn first(bytes: &[u8]) -> Result<Option<(Packet, usize)>, PacketError> {
    let Some(prefix) = bytes.first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(*prefix);
    if length == 0 {
        return Err(PacketError::NoKind);
    }
    let Some(kind) = bytes.get(HEAD - 1).copied() else { return Ok(None) };
    let bounds = bounds(kind)?;
    bounds.check(length)?;
    let end = HEAD - 1 + length as usize;
    let Some(body) = bytes.get(HEAD..end) else { return Ok(None) };
    Ok(Some((packet(kind, body, bounds.kind)?, end)))
}

/// Which lengths a kind may have, itself included.
#[derive(Clone, Copy)]
struct Bounds {
    kind: &'static str,
    least: u32,
    most: u32,
}

impl Bounds {
    fn check(self, found: u32) -> Result<(), PacketError> {
        let Bounds { kind, least, most } = self;
        match (least..=most).contains(&found) {
            true => Ok(()),
            false => Err(PacketError::Length { kind, least, most, found }),
        }
    }
}

fn bounds(found: u8) -> Result<Bounds, PacketError> {
    let (kind, least, most) = match found {
        kind::CONTROL => ("control", 2, MAX_PACKET),
        kind::HANDSHAKE => ("handshake", 5 + HANDSHAKE_LEN as u32, 5 + HANDSHAKE_LEN as u32),
        kind::WIRE => ("wire", 9, MAX_PACKET),
        kind::ASK => ("ask", 19, 19),
        kind::PIECE => ("piece", 18, 17 + MAX_BLOCK),
        kind::HANG_UP => ("hang-up", 5, 5),
        kind::VOID => ("void", 7, 7),
        kind::SESSION => ("session", 1, MAX_PACKET),
        kind::PROGRESS => ("progress", 34, 34),
        kind::TRACE => ("trace", 9, MAX_PACKET),
        kind::PULSE => ("pulse", 1, 1),
        found => return Err(PacketError::Kind { found }),
    };
    Ok(Bounds { kind, least, most })
}

/// The packet of a body whose length is right for its kind.
fn packet(found: u8, body: &[u8], name: &'static str) -> Result<Packet, PacketError> {
    let torrent = || TorrentId(u32::from_be_bytes(at(body, 0)));
    let number = |offset| u64::from_be_bytes(at(body, offset));
    let rest = |offset| Bytes::copy_from_slice(body.get(offset..).unwrap_or_default());
    Ok(match found {
        kind::CONTROL => Packet::Frame(Frame::Control(dunlin_control::decode(body)?)),
        kind::HANDSHAKE => {
            let handshake = Handshake::decode(&at(body, 4));
            let handshake = handshake.map_err(|error| PacketError::Wire { kind: name, error })?;
            Packet::Frame(Frame::Handshake { torrent: torrent(), handshake })
        }
        kind::WIRE => {
            let message = wire(body.get(4..).unwrap_or_default(), name)?;
            Packet::Frame(Frame::Wire { torrent: torrent(), message })
        }
        kind::ASK => {
            Packet::Ask { torrent: torrent(), range: range(body, name)?, tag: tag(body, 16, name)? }
        }
        kind::PIECE => {
            let payload = Payload { data: rest(16), charge: None };
            Packet::Frame(Frame::Piece { torrent: torrent(), range: range(body, name)?, payload })
        }
        kind::HANG_UP => Packet::Frame(Frame::HangUp { torrent: torrent() }),
        kind::VOID => Packet::Void { torrent: torrent(), tag: tag(body, 4, name)? },
        kind::SESSION => Packet::Process(ProcessMessage::Session(rest(0))),
        kind::PROGRESS => Packet::Process(ProcessMessage::Progress {
            state: u8::from_be_bytes(at(body, 0)),
            have: number(1),
            wanted: number(9),
            moved: number(17),
            sent: number(25),
        }),
        kind::TRACE => Packet::Process(ProcessMessage::Trace { until: number(0), lines: rest(8) }),
        kind::PULSE => Packet::Process(ProcessMessage::Pulse),
        found => return Err(PacketError::Kind { found }),
    })
}

/// A message with its length in front. The length of a bitfield has no cap of its own: it depends
/// on the torrent, which is the reader's to know, and the packet has one.
fn wire(frame: &[u8], kind: &'static str) -> Result<Message, PacketError> {
    let body = frame.get(4..).unwrap_or_default();
    let (expected, found) = (body.len() as u32, u32::from_be_bytes(at(frame, 0)));
    if found != expected {
        return Err(PacketError::WireLength { expected, found });
    }
    let id = body.first().copied().unwrap_or_default();
    match Message::decode(body).map_err(|error| PacketError::Wire { kind, error })? {
        None | Some(Message::Piece(_)) => Err(PacketError::WireId { found: id }),
        Some(message) => Ok(message),
    }
}

fn range(body: &[u8], kind: &'static str) -> Result<BlockRef, PacketError> {
    let number = |offset| u32::from_be_bytes(at(body, offset));
    let range = BlockRef { piece: PieceIndex(number(4)), begin: number(8), len: number(12) };
    match range.len {
        1..=MAX_BLOCK => Ok(range),
        found => Err(PacketError::Block { kind, found }),
    }
}

fn tag(body: &[u8], offset: usize, kind: &'static str) -> Result<u16, PacketError> {
    match u16::from_be_bytes(at(body, offset)) {
        tag @ 1..=MAX_TAG => Ok(tag),
        found => Err(PacketError::Tag { kind, found }),
    }
}

/// So many bytes from `offset` on; all zero if they are not there, which [`Bounds`] rules out.
fn at<const N: usize>(body: &[u8], offset: usize) -> [u8; N] {
    body.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests;
