//! The framer (BEP 3, "peer protocol"): a stream of bytes, cut anywhere, becomes a handshake and
//! then messages.
//!
//! ```text
//!              68 bytes          53 bytes hold all of fixed length
//!  Handshake ───────────▶ Head ─────────────────────────────────────────▶ (message) ─▶ Head
//!                          │ bitfield, extended, hashes, whole piece ▶ Body ──▶ (frame) ─▶ Head
//!                          │ piece when direct ▶ (header) ▶ Payload ─────▶ Head
//!                          └ unknown id ▶ Skip ──────────────────────────▶ Head
//!  any ── error ─▶ Failed (for ever)
//! ```
//!
//! A length is checked when its id is there, before a byte of the rest is stored, and memory grows
//! only with bytes that have come.

use crate::codec::{
    BITFIELD, EXTENDED, HASH_HEAD, HASHES, PIECE, PIECE_HEADER_LEN, PIECE_OVERHEAD, check_length,
    decode_checked,
};
use crate::{Handshake, HandshakeDecoder, Message, WireError};
use dunlin_base::{BlockRef, PieceIndex};

/// The longest message of fixed length with its prefix: `hash request` and its kin.
const HEAD: usize = 4 + HASH_HEAD as usize;
/// Bytes until the id is known.
const ID_END: usize = 5;

/// The most hashes of one answer that anybody asks for (practice; BEP 52 wants 512 at most).
const MAX_HASHES: u32 = 8192;
/// Layers above the blocks of a file of 2^44 bytes: more never prove anything.
const MAX_PROOF: u32 = 30;

/// How large messages may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramerLimits {
    /// The largest block in a `piece`, in bytes: what was negotiated. 16 KiB on the internet.
    pub max_block: u32,
    /// The longest of all other messages in bytes, id included. It bounds bitfields and what is
    /// skipped.
    pub max_frame: u32,
    /// The longest message of an extension in bytes, id included (BEP 10). Ours are a handshake, a
    /// piece of metadata with its dictionary, and a few bytes.
    pub max_extended: u32,
    /// The longest `hashes` in bytes, id included (BEP 52).
    pub max_hashes: u32,
}

impl Default for FramerLimits {
    /// What the internet's peers do: 16 KiB a block, 8192 hashes with their proof, 64 KiB for an
    /// extension, 1 MiB for all else (a bitfield of 8 million pieces).
    fn default() -> FramerLimits {
        FramerLimits {
            max_block: 16 << 10,
            max_frame: 1 << 20,
            max_extended: 64 << 10,
            max_hashes: HASH_HEAD + (MAX_HASHES + MAX_PROOF) * 32,
        }
    }
}

/// How the data of a `piece` is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceMode {
    /// As one slice: [`Frame::Piece`].
    Whole,
    /// [`Frame::PieceHeader`] first; then the data as it comes ([`Frame::Payload`]), or received
    /// elsewhere and accounted for with [`Framer::payload_received`].
    Direct,
}

/// What the framer found. Slices live until the next call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The other side's handshake; always the first.
    Handshake(Handshake),
    /// A message; never `piece`.
    Message(Message),
    /// A whole block ([`PieceMode::Whole`]).
    Piece {
        /// Where it belongs. The length is that of the data.
        range: BlockRef,
        /// Its bytes.
        data: &'a [u8],
    },
    /// A block begins ([`PieceMode::Direct`]).
    PieceHeader {
        /// Where it belongs. The length is that of the data to come.
        range: BlockRef,
    },
    /// Bytes of the block that began last ([`PieceMode::Direct`]).
    Payload {
        /// Where the bytes belong within the block.
        offset: u32,
        /// The bytes; never none.
        data: &'a [u8],
    },
}

#[derive(Clone, Debug)]
enum State {
    Handshake(HandshakeDecoder),
    Head,
    Body { id: u8, left: u32 },
    Payload { left: u32 },
    Skip { left: u32 },
    Failed(WireError),
}

/// Turns one direction of a connection into frames. It owns no more memory than one message of the
/// size that its limits allow.
#[derive(Clone, Debug)]
pub struct Framer {
    limits: FramerLimits,
    mode: PieceMode,
    state: State,
    head: [u8; HEAD],
    head_len: usize,
    range: BlockRef,
    buffer: Vec<u8>,
}

impl Framer {
    /// A framer for a new connection: the handshake comes first.
    #[must_use]
    pub fn new(limits: FramerLimits, mode: PieceMode) -> Framer {
        let state = State::Handshake(HandshakeDecoder::default());
        Framer { state, ..Framer::after_handshake(limits, mode) }
    }

    /// A framer for a connection whose handshake was read elsewhere.
    #[must_use]
    pub fn after_handshake(limits: FramerLimits, mode: PieceMode) -> Framer {
        Framer {
            limits,
            mode,
            state: State::Head,
            head: [0; HEAD],
            head_len: 0,
            range: BlockRef { piece: PieceIndex(0), begin: 0, len: 0 },
            buffer: Vec::new(),
        }
    }

    /// The torrent that a connection is for, once that much of the handshake has come, and until
    /// the handshake is complete.
    #[must_use]
    pub fn early_info_hash(&self) -> Option<dunlin_base::InfoHash> {
        match &self.state {
            State::Handshake(decoder) => decoder.info_hash(),
            _ => None,
        }
    }

    /// Whether the handshake has not come yet, or not all of it.
    #[must_use]
    pub fn awaits_handshake(&self) -> bool {
        matches!(self.state, State::Handshake(_))
    }

    /// Whether the next byte is the first of a message.
    #[must_use]
    pub fn at_message_start(&self) -> bool {
        matches!(self.state, State::Head) && self.head_len == 0
    }

    /// Whether the next byte belongs to the head of a message that has begun.
    #[must_use]
    pub fn in_message_head(&self) -> bool {
        matches!(self.state, State::Head) && self.head_len > 0
    }

    /// Bytes of memory that wait for the rest of a message.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// How many bytes of a block are still to come ([`PieceMode::Direct`]; otherwise 0). So many
    /// may be received straight into the block's place, once the input at hand is used up.
    #[must_use]
    pub fn payload_left(&self) -> u32 {
        match self.state {
            State::Payload { left } => left,
            _ => 0,
        }
    }

    /// Says that `bytes` of the block were received around the framer.
    ///
    /// # Panics
    /// If they are more than [`Framer::payload_left`]: the caller has lost its place in the stream.
    pub fn payload_received(&mut self, bytes: u32) {
        let left = self.payload_left();
        assert!(bytes <= left, "{bytes} bytes received of a block that lacks {left}");
        self.payload_taken(bytes);
    }

    fn payload_taken(&mut self, bytes: u32) {
        let left = self.payload_left().saturating_sub(bytes);
        if matches!(self.state, State::Payload { .. }) {
            self.state = if left == 0 { State::Head } else { State::Payload { left } };
        }
    }

    /// Takes the next frame from the front of `input`; `None` when all of it is used up. Call it
    /// until then.
    ///
    /// # Errors
    /// If the bytes are not the protocol. Every later call gives the same error.
    pub fn next_frame<'f, 'i: 'f>(
        &'f mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Frame<'f>>, WireError> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Err(*error),
                State::Handshake(decoder) => {
                    let fed = decoder.feed(input);
                    let handshake = decoder.handshake();
                    fed.map_err(|error| self.fail(error))?;
                    let Some(handshake) = handshake else { return Ok(None) };
                    self.state = State::Head;
                    return Ok(Some(Frame::Handshake(handshake)));
                }
                State::Head => match self.head(input).map_err(|error| self.fail(error))? {
                    Step::More if !input.is_empty() => {}
                    // A body of no bytes is complete without any input.
                    Step::More if !matches!(self.state, State::Head) => {}
                    Step::More => return Ok(None),
                    Step::Message(message) => return Ok(Some(Frame::Message(message))),
                    Step::Header => return Ok(Some(Frame::PieceHeader { range: self.range })),
                },
                State::Skip { left } => {
                    *left -= take(input, *left).len() as u32;
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.state = State::Head;
                }
                State::Payload { left } => {
                    let offset = self.range.len - *left;
                    let data = take(input, *left);
                    if data.is_empty() {
                        return Ok(None);
                    }
                    self.payload_taken(data.len() as u32);
                    return Ok(Some(Frame::Payload { offset, data }));
                }
                State::Body { id, left } => {
                    let id = *id;
                    let data = take(input, *left);
                    *left -= data.len() as u32;
                    let done = *left == 0;
                    let at_once = done && self.buffer.is_empty();
                    if !at_once {
                        self.buffer.extend_from_slice(data);
                    }
                    if !done {
                        return Ok(None);
                    }
                    self.state = State::Head;
                    if id != PIECE {
                        let data = if at_once { data } else { &self.buffer };
                        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
                        let message = decode_checked(id, data, length.saturating_add(1));
                        // A long message is rare: its memory is not kept for the next one.
                        self.buffer = Vec::new();
                        match message {
                            Some(message) => return Ok(Some(Frame::Message(message))),
                            // Its length was checked with its head, so there always is a message.
                            None => continue,
                        }
                    }
                    let data = if at_once { data } else { &self.buffer };
                    return Ok(Some(Frame::Piece { range: self.range, data }));
                }
            }
        }
    }

    fn fail(&mut self, error: WireError) -> WireError {
        self.buffer = Vec::new();
        self.state = State::Failed(error);
        error
    }

    /// Collects the head of a message, no byte more than it has, and decides what follows.
    fn head(&mut self, input: &mut &[u8]) -> Result<Step, WireError> {
        self.collect(input, 4);
        if self.head_len < 4 {
            return Ok(Step::More);
        }
        let [a, b, c, d, ..] = self.head;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length == 0 {
            self.head_len = 0;
            return Ok(Step::Message(Message::KeepAlive));
        }
        self.collect(input, ID_END);
        if self.head_len < ID_END {
            return Ok(Step::More);
        }
        let [_, _, _, _, id, ..] = self.head;
        self.check(id, length)?;
        match id {
            PIECE => return Ok(self.piece_head(input, length)),
            BITFIELD | EXTENDED | HASHES => self.body(id, length - 1),
            _ if crate::codec::fixed_length(id).is_none() => {
                self.head_len = 0;
                self.state = State::Skip { left: length - 1 };
            }
            _ => {
                let end = 4 + length as usize;
                self.collect(input, end);
                if self.head_len == end {
                    self.head_len = 0;
                    let payload = self.head.get(ID_END..end).unwrap_or_default();
                    if let Some(message) = decode_checked(id, payload, length) {
                        return Ok(Step::Message(message));
                    }
                }
            }
        }
        Ok(Step::More)
    }

    fn piece_head(&mut self, input: &mut &[u8], length: u32) -> Step {
        self.collect(input, PIECE_HEADER_LEN);
        if self.head_len < PIECE_HEADER_LEN {
            return Step::More;
        }
        let [_, _, _, _, _, p0, p1, p2, p3, b0, b1, b2, b3, ..] = self.head;
        self.range = BlockRef {
            piece: PieceIndex(u32::from_be_bytes([p0, p1, p2, p3])),
            begin: u32::from_be_bytes([b0, b1, b2, b3]),
            len: length - PIECE_OVERHEAD,
        };
        if self.mode == PieceMode::Whole {
            self.body(PIECE, self.range.len);
            return Step::More;
        }
        self.head_len = 0;
        self.state = State::Payload { left: self.range.len };
        Step::Header
    }

    fn body(&mut self, id: u8, left: u32) {
        self.head_len = 0;
        self.buffer.clear();
        self.state = State::Body { id, left };
    }

    fn check(&self, id: u8, found: u32) -> Result<(), WireError> {
        check_length(id, found)?;
        let cap = match id {
            PIECE => self.limits.max_block.saturating_add(PIECE_OVERHEAD),
            EXTENDED => self.limits.max_extended,
            HASHES => self.limits.max_hashes,
            _ => self.limits.max_frame,
        };
        if crate::codec::fixed_length(id).is_none() && found > cap {
            return Err(WireError::TooLong { id, cap, found });
        }
        Ok(())
    }

    /// Fills the head up to `end` from the front of `input`.
    fn collect(&mut self, input: &mut &[u8], end: usize) {
        let wanted = end.min(HEAD).saturating_sub(self.head_len);
        let taken = take(input, wanted as u32);
        for (to, from) in self.head.iter_mut().skip(self.head_len).zip(taken) {
            *to = *from;
        }
        self.head_len += taken.len();
    }
}

/// What came of a head.
enum Step {
    More,
    Message(Message),
    Header,
}

/// Takes up to `most` bytes from the front of `input`.
fn take<'i>(input: &mut &'i [u8], most: u32) -> &'i [u8] {
    let (taken, rest) = input.split_at(input.len().min(most as usize));
    *input = rest;
    taken
}

#[cfg(test)]
mod tests;
