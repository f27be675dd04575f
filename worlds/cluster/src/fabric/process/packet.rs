//! What travels on the stream between two ranks: parcels, each `length ‖ kind ‖ body`, numbers
//! big-endian, the length counting kind and body (as in BEP 3, "peer messages"). Control messages
//! and the peer wire protocol keep their own codecs; this one only wraps them. It moves nothing,
//! and does not look into what the launch and the report say to each other.
//!
//! | kind | | body |
//! |---|---|---|
//! | 1 | control | a control message (`dunlin_tracker`) |
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
//! Every parcel has exactly one encoding. What a stranger may do does not apply: all ranks run one
//! build, so whatever is not known is an error, and the stream cannot be followed after it.

use crate::fabric::mpi::transport::MAX_TAG;
use bytes::Bytes;
use dunlin_base::TorrentId;
use dunlin_control::{Control, ControlError};
use dunlin_wire::{BlockRange, HANDSHAKE_LEN, Handshake, Message, WireError};

/// The longest parcel in bytes, kind included. A registration or a set's metainfo holds 20 bytes a
/// piece and a name a file; a bitfield one bit a piece; all of them are far below.
pub(crate) const MAX_PARCEL: u32 = 1 << 30;
/// The longest block in bytes: also the longest token (`dunlin_metainfo::MAX_TOKEN`). Requests of
/// ours are much smaller.
pub(crate) const MAX_BLOCK: u32 = 16 << 20;

/// Bytes until kind and length are known.
const HEAD: usize = 5;
/// What an idle unpacker may keep allocated: about a full window of its stream.
const KEEP: usize = 64 << 10;

/// The kinds, in the order of [`Parcel`]'s variants. 0 is none, so that zeros are no parcels.
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

/// One thing that a rank says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parcel {
    /// Between a peer and the tracker.
    Control(Control),
    /// The first parcel of a connection, from either side.
    Handshake {
        /// The torrent that the connection is for.
        torrent: TorrentId,
        /// What it says.
        handshake: Handshake,
    },
    /// A peer wire message; never `piece`.
    Wire {
        /// The torrent that the connection is for.
        torrent: TorrentId,
        /// The message.
        message: Message,
    },
    /// A request whose answer is to land under a tag of the data lane.
    Ask {
        /// The torrent that the connection is for.
        torrent: TorrentId,
        /// What is asked for; 1 to [`MAX_BLOCK`] long.
        range: BlockRange,
        /// The tag under which the receive is posted, 1 to [`MAX_TAG`].
        tag: u16,
    },
    /// A block whose data travels here: a token, or so few bytes that a receive of their own would
    /// cost more.
    Piece {
        /// The torrent that the connection is for.
        torrent: TorrentId,
        /// The request that it answers; 1 to [`MAX_BLOCK`] long.
        range: BlockRange,
        /// The data, 1 to [`MAX_BLOCK`] bytes. A token is as long as it is, whatever its length in
        /// segments.
        data: Bytes,
    },
    /// The sender closed the connection.
    HangUp {
        /// The torrent that the connection was for.
        torrent: TorrentId,
    },
    /// The request under this tag will not be answered.
    Void {
        /// The torrent that the connection is for.
        torrent: TorrentId,
        /// The tag that came with the request, 1 to [`MAX_TAG`].
        tag: u16,
    },
    /// A message of the launch or the report, opaque here.
    Session(Bytes),
    /// How far the sender is, for rank 0 to show.
    Progress {
        /// Its state, a number of whoever shows it.
        state: u8,
        /// Pieces of what it wants that it has.
        have: u64,
        /// Pieces that it wants.
        wanted: u64,
        /// Bytes of payload it received.
        moved: u64,
        /// Bytes of payload it sent.
        sent: u64,
    },
    /// Lines of the sender's trace.
    Trace {
        /// The sender's clock in nanoseconds; no line before it is still to come.
        until: u64,
        /// Whole lines, as they stand in the file.
        lines: Bytes,
    },
    /// Nothing to say, but alive.
    Pulse,
}

/// Why bytes are no parcel. The rank at the other end is to blame: it is another build, or a broken
/// one. The stream cannot be followed any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// There is no room for a kind.
    #[error(
        "malformed parcel: a length of 0, expected 1 at least; run the same build at every rank"
    )]
    NoKind,
    /// The kind means nothing here.
    #[error(
        "malformed parcel: kind {found}, expected 1 to {max}; run the same build at every rank",
        max = kind::PULSE
    )]
    Kind {
        /// The byte that was found.
        found: u8,
    },
    /// The length is none of its kind.
    #[error("malformed parcel `{kind}`: expected a length of {least} to {most}, found {found}")]
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
    /// The control message in it is none.
    #[error("malformed parcel `control`: {0}")]
    Control(#[from] ControlError),
    /// The handshake or message in it is none.
    #[error("malformed parcel `{kind}`: {error}")]
    Wire {
        /// The kind's name.
        kind: &'static str,
        /// What is wrong.
        error: WireError,
    },
    /// The message's own length is not that of the bytes.
    #[error("malformed parcel `wire`: expected a message of length {expected}, found {found}")]
    WireLength {
        /// Bytes that are there.
        expected: u32,
        /// The length that the message has in front.
        found: u32,
    },
    /// A message that has no place here.
    #[error(
        "malformed parcel `wire`: a message of id {found}, expected one of ours and no `piece`"
    )]
    WireId {
        /// Its id.
        found: u8,
    },
    /// A block of no or too many bytes.
    #[error("malformed parcel `{kind}`: a block of {found}, expected 1 to {MAX_BLOCK}")]
    Block {
        /// The kind's name.
        kind: &'static str,
        /// Its length.
        found: u32,
    },
    /// A tag that no receive is posted under.
    #[error("malformed parcel `{kind}`: tag {found}, expected 1 to {MAX_TAG}")]
    Tag {
        /// The kind's name.
        kind: &'static str,
        /// The tag.
        found: u16,
    },
}

/// Appends the bytes of a parcel. A `piece` in [`Parcel::Wire`], a tag or a block outside its
/// limits, or more than [`MAX_PARCEL`] bytes are the caller's mistakes: the other end refuses them.
pub(crate) fn pack(parcel: &Parcel, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match parcel {
        Parcel::Control(control) => {
            out.push(kind::CONTROL);
            out.extend_from_slice(&dunlin_control::encode(control));
        }
        Parcel::Handshake { torrent, handshake } => {
            begin(kind::HANDSHAKE, *torrent, out);
            out.extend_from_slice(&handshake.encode());
        }
        Parcel::Wire { torrent, message } => {
            debug_assert!(!matches!(message, Message::Piece(_)), "a piece has a parcel of its own");
            begin(kind::WIRE, *torrent, out);
            dunlin_wire::encode_into(message, out);
        }
        Parcel::Ask { torrent, range, tag } => {
            begin(kind::ASK, *torrent, out);
            put_range(*range, out);
            out.extend_from_slice(&tag.to_be_bytes());
        }
        Parcel::Piece { torrent, range, data } => {
            begin(kind::PIECE, *torrent, out);
            put_range(*range, out);
            out.extend_from_slice(data);
        }
        Parcel::HangUp { torrent } => begin(kind::HANG_UP, *torrent, out),
        Parcel::Void { torrent, tag } => {
            begin(kind::VOID, *torrent, out);
            out.extend_from_slice(&tag.to_be_bytes());
        }
        Parcel::Session(bytes) => {
            out.push(kind::SESSION);
            out.extend_from_slice(bytes);
        }
        Parcel::Progress { state, have, wanted, moved, sent } => {
            out.extend_from_slice(&[kind::PROGRESS, *state]);
            for number in [have, wanted, moved, sent] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        Parcel::Trace { until, lines } => {
            out.push(kind::TRACE);
            out.extend_from_slice(&until.to_be_bytes());
            out.extend_from_slice(lines);
        }
        Parcel::Pulse => out.push(kind::PULSE),
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(prefix) = out.get_mut(start..).and_then(|parcel| parcel.first_chunk_mut()) {
        *prefix = length.to_be_bytes();
    }
}

fn begin(kind: u8, torrent: TorrentId, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&torrent.0.to_be_bytes());
}

fn put_range(range: BlockRange, out: &mut Vec<u8>) {
    for number in [range.piece, range.begin, range.length] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Turns the bytes of a stream, cut anywhere, into parcels. It allocates for what has come, not for
/// what a length promises.
#[derive(Debug, Default)]
pub(crate) struct Unpacker {
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that are used up.
    used: usize,
    malformed: Option<Malformed>,
}

impl Unpacker {
    /// An unpacker that has seen nothing.
    pub(crate) fn new() -> Unpacker {
        Unpacker::default()
    }

    /// Puts bytes behind those that came before. Call [`Unpacker::next`] until it gives `None`
    /// afterwards: what it does not take is kept. A dead one forgets them.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.malformed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next parcel; `None` until all of it has come.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are none. The unpacker is dead from then on: it holds nothing, and
    /// every later call gives the same error.
    pub(crate) fn next(&mut self) -> Result<Option<Parcel>, Malformed> {
        if let Some(malformed) = &self.malformed {
            return Err(malformed.clone());
        }
        match first(self.buffer.get(self.used..).unwrap_or_default()) {
            Ok(None) => Ok(None),
            Ok(Some((parcel, bytes))) => {
                self.used += bytes;
                self.compact();
                Ok(Some(parcel))
            }
            Err(malformed) => {
                *self = Unpacker { malformed: Some(malformed.clone()), ..Unpacker::default() };
                Err(malformed)
            }
        }
    }

    /// Gives up what is used. It moves bytes only when at least as many are used as are left, so
    /// that a byte is moved once on average at most, however many parcels come at once.
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
        assert!(
            self.malformed.is_none() || self.buffer.capacity() == 0,
            "a dead one holds nothing"
        );
    }
}

/// The parcel at the front of `bytes` and how many it takes; `None` if it is not all there. Length
/// and kind are checked as soon as they are.
fn first(bytes: &[u8]) -> Result<Option<(Parcel, usize)>, Malformed> {
    let Some(prefix) = bytes.first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(*prefix);
    if length == 0 {
        return Err(Malformed::NoKind);
    }
    let Some(kind) = bytes.get(HEAD - 1).copied() else { return Ok(None) };
    let bounds = bounds(kind)?;
    bounds.check(length)?;
    let end = HEAD - 1 + length as usize;
    let Some(body) = bytes.get(HEAD..end) else { return Ok(None) };
    Ok(Some((parcel(kind, body, bounds.kind)?, end)))
}

/// Which lengths a kind may have, itself included.
#[derive(Clone, Copy)]
struct Bounds {
    kind: &'static str,
    least: u32,
    most: u32,
}

impl Bounds {
    fn check(self, found: u32) -> Result<(), Malformed> {
        let Bounds { kind, least, most } = self;
        match (least..=most).contains(&found) {
            true => Ok(()),
            false => Err(Malformed::Length { kind, least, most, found }),
        }
    }
}

fn bounds(found: u8) -> Result<Bounds, Malformed> {
    let (kind, least, most) = match found {
        kind::CONTROL => ("control", 2, MAX_PARCEL),
        kind::HANDSHAKE => ("handshake", 5 + HANDSHAKE_LEN as u32, 5 + HANDSHAKE_LEN as u32),
        kind::WIRE => ("wire", 9, MAX_PARCEL),
        kind::ASK => ("ask", 19, 19),
        kind::PIECE => ("piece", 18, 17 + MAX_BLOCK),
        kind::HANG_UP => ("hang-up", 5, 5),
        kind::VOID => ("void", 7, 7),
        kind::SESSION => ("session", 1, MAX_PARCEL),
        kind::PROGRESS => ("progress", 34, 34),
        kind::TRACE => ("trace", 9, MAX_PARCEL),
        kind::PULSE => ("pulse", 1, 1),
        found => return Err(Malformed::Kind { found }),
    };
    Ok(Bounds { kind, least, most })
}

/// The parcel of a body whose length is right for its kind.
fn parcel(found: u8, body: &[u8], name: &'static str) -> Result<Parcel, Malformed> {
    let torrent = || TorrentId(u32::from_be_bytes(at(body, 0)));
    let number = |offset| u64::from_be_bytes(at(body, offset));
    let rest = |offset| Bytes::copy_from_slice(body.get(offset..).unwrap_or_default());
    Ok(match found {
        kind::CONTROL => Parcel::Control(dunlin_control::decode(body)?),
        kind::HANDSHAKE => {
            let handshake = Handshake::decode(&at(body, 4));
            let handshake = handshake.map_err(|error| Malformed::Wire { kind: name, error })?;
            Parcel::Handshake { torrent: torrent(), handshake }
        }
        kind::WIRE => Parcel::Wire {
            torrent: torrent(),
            message: wire(body.get(4..).unwrap_or_default(), name)?,
        },
        kind::ASK => {
            Parcel::Ask { torrent: torrent(), range: range(body, name)?, tag: tag(body, 16, name)? }
        }
        kind::PIECE => {
            Parcel::Piece { torrent: torrent(), range: range(body, name)?, data: rest(16) }
        }
        kind::HANG_UP => Parcel::HangUp { torrent: torrent() },
        kind::VOID => Parcel::Void { torrent: torrent(), tag: tag(body, 4, name)? },
        kind::SESSION => Parcel::Session(rest(0)),
        kind::PROGRESS => Parcel::Progress {
            state: u8::from_be_bytes(at(body, 0)),
            have: number(1),
            wanted: number(9),
            moved: number(17),
            sent: number(25),
        },
        kind::TRACE => Parcel::Trace { until: number(0), lines: rest(8) },
        kind::PULSE => Parcel::Pulse,
        found => return Err(Malformed::Kind { found }),
    })
}

/// A message with its length in front. The length of a bitfield has no cap of its own: it depends on
/// the torrent, which is the reader's to know, and the parcel has one.
fn wire(frame: &[u8], kind: &'static str) -> Result<Message, Malformed> {
    let body = frame.get(4..).unwrap_or_default();
    let (expected, found) = (body.len() as u32, u32::from_be_bytes(at(frame, 0)));
    if found != expected {
        return Err(Malformed::WireLength { expected, found });
    }
    let id = body.first().copied().unwrap_or_default();
    match Message::decode(body).map_err(|error| Malformed::Wire { kind, error })? {
        None | Some(Message::Piece(_)) => Err(Malformed::WireId { found: id }),
        Some(message) => Ok(message),
    }
}

fn range(body: &[u8], kind: &'static str) -> Result<BlockRange, Malformed> {
    let number = |offset| u32::from_be_bytes(at(body, offset));
    let range = BlockRange { piece: number(4), begin: number(8), length: number(12) };
    match range.length {
        1..=MAX_BLOCK => Ok(range),
        found => Err(Malformed::Block { kind, found }),
    }
}

fn tag(body: &[u8], offset: usize, kind: &'static str) -> Result<u16, Malformed> {
    match u16::from_be_bytes(at(body, offset)) {
        tag @ 1..=MAX_TAG => Ok(tag),
        found => Err(Malformed::Tag { kind, found }),
    }
}

/// So many bytes from `offset` on; all zero if they are not there, which [`Bounds`] rules out.
fn at<const N: usize>(body: &[u8], offset: usize) -> [u8; N] {
    body.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests;
