//! The receiving side of a connection: bytes become handshakes, messages and blocks, and payload
//! goes from the stream straight to its place in the piece's buffer.
//!
//! Peers answer requests in order, so the next headers are known before they are received. One read
//! therefore takes many blocks at once, each to its own place, with room for the header between
//! them:
//!
//! ```text
//!   read ─▶ [rest of this block][13][next block][13][the one after] …
//! ```
//!
//! A header that is not the expected one ends the run: what was received behind it is copied out of
//! the places where it does not belong, and parsed as it is. This module decides nothing, and keeps
//! nothing but its position in the stream.

use crate::buffers::{Buffers, Evicted};
use bytes::Bytes;
use dunlin_base::{BlockRef, ConnId, PieceIndex, PieceKey, TorrentId};
use dunlin_wire::{
    Frame, Framer, FramerLimits, Handshake, Message, PIECE_HEADER_LEN, PieceMode, WireError,
};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read};

/// Blocks that one read takes at most.
const MAX_RUN: usize = 64;
/// Pieces that one read may fill.
const MAX_PIECES: usize = 8;
/// Messages that are taken at a time from received bytes: the engine handles them before the next
/// ones are taken.
pub(crate) const MESSAGES_PER_READ: usize = 16;
/// The longest message but extensions and hashes, in bytes: the bitfield of the largest torrent.
const MAX_FRAME: u32 = dunlin_metainfo::MAX_PIECES.div_ceil(8) + 1;

/// Something that was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// The other side's handshake.
    Handshake(Handshake),
    /// A message; never `piece`.
    Message(Message),
    /// A block, in its place.
    Block(BlockRef),
    /// A block without a place in a buffer: it could not be claimed.
    Unplaced(BlockRef, Vec<u8>),
}

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum ReceiveError {
    /// The peer has closed the connection, or it broke.
    Closed(io::Error),
    /// The peer's bytes are malformed.
    Malformed(WireError),
}

/// Where the block goes that is being received.
#[derive(Debug)]
enum Destination {
    /// Its place in the piece's buffer is claimed.
    Place(BlockRef),
    /// Into memory of its own.
    Unplaced(BlockRef, Vec<u8>),
}

/// One direction of a connection.
pub(crate) struct Receiver {
    conn: ConnId,
    torrent: Option<TorrentId>,
    framer: Framer,
    destination: Option<Destination>,
    /// Blocks that were requested and not received, in the order of the requests.
    requested: VecDeque<BlockRef>,
    /// Received bytes that were not parsed yet: a read takes a bounded number of messages.
    rest: Bytes,
}

/// What one read brought.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// What was received, in order.
    pub(crate) arrived: Vec<Arrived>,
    /// Bytes.
    pub(crate) bytes: usize,
    /// The system has no more bytes now.
    pub(crate) drained: bool,
}

impl Received {
    /// The number of messages without blocks: what blocks cost is counted in bytes.
    pub(crate) fn messages(&self) -> usize {
        let block = |arrived: &&Arrived| matches!(arrived, Arrived::Block(_));
        self.arrived.len() - self.arrived.iter().filter(block).count()
    }
}

impl Receiver {
    /// For a new connection.
    pub(crate) fn new(conn: ConnId) -> Receiver {
        let limits = FramerLimits { max_frame: MAX_FRAME, ..FramerLimits::default() };
        let framer = Framer::new(limits, PieceMode::Direct);
        let (requested, rest) = (VecDeque::new(), Bytes::new());
        Receiver { conn, torrent: None, framer, destination: None, requested, rest }
    }

    /// Whether received bytes were not parsed yet.
    pub(crate) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Bytes of memory that it holds, without places in pieces' buffers.
    pub(crate) fn held(&self) -> usize {
        let unplaced = match &self.destination {
            Some(Destination::Unplaced(_, bytes)) => bytes.capacity(),
            _ => 0,
        };
        self.framer.held() + self.rest.len() + unplaced
    }

    /// Sets the torrent that the connection is for.
    pub(crate) fn set_torrent(&mut self, torrent: TorrentId) {
        self.torrent = Some(torrent);
    }

    /// Whether the peer's handshake was not received yet.
    pub(crate) fn awaits_handshake(&self) -> bool {
        self.framer.awaits_handshake()
    }

    /// The torrent, once it is known.
    pub(crate) fn torrent(&self) -> Option<TorrentId> {
        self.torrent
    }

    /// A request for the block is sent.
    pub(crate) fn request_sent(&mut self, block: BlockRef) {
        self.requested.push_back(block);
    }

    /// The request for the block is answered, or will not be.
    pub(crate) fn request_ended(&mut self, block: BlockRef) {
        if let Some(at) = self.requested.iter().position(|requested| *requested == block) {
            self.requested.remove(at);
        }
    }

    /// The memory into which a block is being received is gone; the rest goes elsewhere.
    pub(crate) fn evicted(&mut self, evicted: Evicted) {
        if let Some(Destination::Place(block)) = &self.destination {
            let block = *block;
            let mut bytes = evicted.bytes;
            bytes.resize(block.len as usize, 0);
            self.destination = Some(Destination::Unplaced(block, bytes));
        }
    }

    /// Gives up its claim.
    pub(crate) fn close(&mut self, buffers: &mut Buffers) {
        if let (Some(Destination::Place(block)), Some(torrent)) =
            (self.destination.take(), self.torrent)
        {
            buffers.unclaim(torrent, block, self.conn);
        }
    }

    /// Reads once from `from`: into places where blocks are expected, otherwise through `scratch`.
    ///
    /// # Errors
    /// If the connection is over, or the peer's bytes are malformed.
    pub(crate) fn read(
        &mut self,
        from: &mut impl Read,
        buffers: &mut Buffers,
        scratch: &mut [u8],
    ) -> Result<Received, ReceiveError> {
        let mut received = Received::default();
        if self.has_rest() {
            let rest = std::mem::take(&mut self.rest);
            let left = self.feed(&rest, buffers, &mut received)?;
            self.rest = rest.slice(rest.len() - left..);
            return Ok(received);
        }
        let run = self.expected(buffers);
        let coming = matches!(self.destination, Some(Destination::Place(_)));
        let result = if run.is_empty() && !coming {
            self.read_plain(from, buffers, scratch, &mut received)
        } else {
            self.read_run(from, buffers, run, &mut received)
        };
        match result {
            Ok(0) => Err(ReceiveError::Closed(io::ErrorKind::UnexpectedEof.into())),
            Ok(bytes) => {
                received.bytes = bytes;
                Ok(received)
            }
            Err(ReceiveError::Closed(error)) => match error.kind() {
                io::ErrorKind::WouldBlock => Ok(Received { drained: true, ..received }),
                io::ErrorKind::Interrupted => Ok(received),
                _ => Err(ReceiveError::Closed(error)),
            },
            Err(malformed) => Err(malformed),
        }
    }

    /// The blocks that should come next and have a place, in order. Their places are claimed.
    fn expected(&mut self, buffers: &mut Buffers) -> Vec<BlockRef> {
        let Some(torrent) = self.torrent else { return Vec::new() };
        let at_head = self.framer.at_message_start();
        let in_place = matches!(self.destination, Some(Destination::Place(_)));
        if !at_head && !in_place {
            return Vec::new();
        }
        let coming = match &self.destination {
            Some(Destination::Place(block)) => Some(*block),
            _ => None,
        };
        let mut run: Vec<BlockRef> = Vec::new();
        let mut last = coming;
        let mut pieces = usize::from(coming.is_some());
        for block in self.requested.iter().filter(|block| Some(**block) != coming).take(MAX_RUN) {
            // Places are cut from the buffers from front to back.
            match last {
                Some(last) if last.piece == block.piece && block.begin < last.begin + last.len => {
                    break;
                }
                Some(last) if last.piece == block.piece => {}
                _ if coming.is_some_and(|coming| coming.piece == block.piece) => break,
                _ if run.iter().any(|other| other.piece == block.piece) => break,
                _ => pieces += 1,
            }
            if pieces > MAX_PIECES || !buffers.claim(torrent, *block, self.conn) {
                break;
            }
            run.push(*block);
            last = Some(*block);
        }
        run
    }

    fn read_plain(
        &mut self,
        from: &mut impl Read,
        buffers: &mut Buffers,
        scratch: &mut [u8],
        received: &mut Received,
    ) -> Result<usize, ReceiveError> {
        // With blocks to come, a header that was cut is completed by itself, so that the payload
        // behind it goes to its place.
        let cut = !self.requested.is_empty() && self.framer.in_message_head();
        let most = if cut { PIECE_HEADER_LEN.min(scratch.len()) } else { scratch.len() };
        let scratch = scratch.get_mut(..most).unwrap_or_default();
        let bytes = from.read(scratch).map_err(ReceiveError::Closed)?;
        self.take(scratch.get(..bytes).unwrap_or_default(), buffers, received)?;
        Ok(bytes)
    }

    /// One read into the rest of the coming block, and then header, place, header, place.
    fn read_run(
        &mut self,
        from: &mut impl Read,
        buffers: &mut Buffers,
        run: Vec<BlockRef>,
        received: &mut Received,
    ) -> Result<usize, ReceiveError> {
        let Some(torrent) = self.torrent else { return Ok(0) };
        let coming = match &self.destination {
            Some(Destination::Place(block)) => {
                let left = self.framer.payload_left();
                Some((*block, block.len.saturating_sub(left)))
            }
            _ => None,
        };
        let mut headers = vec![[0; PIECE_HEADER_LEN]; run.len()];
        let mut lent = lend(buffers, torrent, coming.map(|(block, _)| block).iter().chain(&run));
        let result = {
            let mut slices = Vec::with_capacity(1 + 2 * run.len());
            let mut places = BlockSlices::new(&mut lent);
            if let Some((block, done)) = coming {
                slices.extend(places.cut(block, done).map(IoSliceMut::new));
            }
            for (block, header) in run.iter().zip(&mut headers) {
                slices.push(IoSliceMut::new(header));
                slices.extend(places.cut(*block, 0).map(IoSliceMut::new));
            }
            from.read_vectored(&mut slices)
        };
        give_back(buffers, torrent, lent);
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => {
                run.iter().for_each(|block| buffers.unclaim(torrent, *block, self.conn));
                return Err(ReceiveError::Closed(error));
            }
        };
        self.process_run(buffers, torrent, &run, &headers, bytes, received)?;
        Ok(bytes)
    }

    /// Processes the bytes that a run has received.
    fn process_run(
        &mut self,
        buffers: &mut Buffers,
        torrent: TorrentId,
        run: &[BlockRef],
        headers: &[[u8; PIECE_HEADER_LEN]],
        bytes: usize,
        received: &mut Received,
    ) -> Result<(), ReceiveError> {
        let mut left = bytes;
        if matches!(self.destination, Some(Destination::Place(_))) {
            let took = left.min(self.framer.payload_left() as usize);
            self.framer.payload_received(took as u32);
            left -= took;
            self.complete_block(buffers, received);
        }
        for (index, (block, header)) in run.iter().zip(headers).enumerate() {
            let came = header.get(..left.min(PIECE_HEADER_LEN)).unwrap_or_default();
            if !self.is_header(came, *block) {
                // Not what was expected: the rest is read as it is.
                let rest =
                    bytes_from(buffers, torrent, self.conn, &run[index..], &headers[index..], left);
                run[index..].iter().for_each(|block| buffers.unclaim(torrent, *block, self.conn));
                return self.take(&rest, buffers, received);
            }
            left -= came.len();
            if came.len() < PIECE_HEADER_LEN {
                run[index..].iter().for_each(|block| buffers.unclaim(torrent, *block, self.conn));
                return self.take(came, buffers, received);
            }
            let mut input = came;
            self.framer.next_frame(&mut input).map_err(ReceiveError::Malformed)?;
            self.destination = Some(Destination::Place(*block));
            let took = left.min(self.framer.payload_left() as usize);
            self.framer.payload_received(took as u32);
            left -= took;
            self.complete_block(buffers, received);
            if left == 0 {
                run[index + 1..]
                    .iter()
                    .for_each(|block| buffers.unclaim(torrent, *block, self.conn));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether these bytes are (the beginning of) the header of `block`.
    fn is_header(&self, came: &[u8], block: BlockRef) -> bool {
        let mut header = Vec::with_capacity(PIECE_HEADER_LEN);
        dunlin_wire::encode_piece_header(block, &mut header);
        header.starts_with(came)
    }

    /// Adds the block to what was received, if all of it is here.
    fn complete_block(&mut self, buffers: &mut Buffers, received: &mut Received) {
        if self.framer.payload_left() > 0 {
            return;
        }
        match self.destination.take() {
            Some(Destination::Place(block)) => {
                self.request_ended(block);
                let torrent = self.torrent.unwrap_or_default();
                buffers.arrived(torrent, block, self.conn);
                received.arrived.push(Arrived::Block(block));
            }
            Some(Destination::Unplaced(block, bytes)) => {
                self.request_ended(block);
                received.arrived.push(Arrived::Unplaced(block, bytes));
            }
            None => {}
        }
    }

    /// Parses bytes; those beyond the messages of one read wait.
    fn take(
        &mut self,
        input: &[u8],
        buffers: &mut Buffers,
        received: &mut Received,
    ) -> Result<(), ReceiveError> {
        let left = self.feed(input, buffers, received)?;
        if left > 0 {
            self.rest = Bytes::copy_from_slice(input.get(input.len() - left..).unwrap_or_default());
        }
        Ok(())
    }

    /// Parses messages of one read from bytes; returns how many bytes are left.
    fn feed(
        &mut self,
        mut input: &[u8],
        buffers: &mut Buffers,
        received: &mut Received,
    ) -> Result<usize, ReceiveError> {
        let most = received.arrived.len() + MESSAGES_PER_READ;
        while received.arrived.len() < most {
            let frame = self.framer.next_frame(&mut input).map_err(ReceiveError::Malformed)?;
            match frame {
                None => return Ok(0),
                Some(Frame::Handshake(handshake)) => {
                    received.arrived.push(Arrived::Handshake(handshake));
                }
                Some(Frame::Message(message)) => {
                    match &message {
                        Message::RejectRequest(block) => self.request_ended(*block),
                        Message::Choke => self.requested.clear(),
                        _ => {}
                    }
                    let large = has_large_answer(&message);
                    received.arrived.push(Arrived::Message(message));
                    if large {
                        return Ok(input.len());
                    }
                }
                Some(Frame::PieceHeader { range: block }) => {
                    let known = self.torrent.filter(|_| self.requested.contains(&block));
                    let claimed =
                        known.is_some_and(|torrent| buffers.claim(torrent, block, self.conn));
                    self.destination = Some(match claimed {
                        true => Destination::Place(block),
                        false => Destination::Unplaced(block, vec![0; block.len as usize]),
                    });
                }
                Some(Frame::Payload { offset, data }) => {
                    let at = offset as usize..offset as usize + data.len();
                    let place = match &mut self.destination {
                        Some(Destination::Place(block)) => {
                            let torrent = self.torrent.unwrap_or_default();
                            buffers
                                .bytes_mut(torrent, *block, self.conn)
                                .and_then(|all| all.get_mut(at))
                        }
                        Some(Destination::Unplaced(_, all)) => all.get_mut(at),
                        None => None,
                    };
                    if let Some(place) = place {
                        place.copy_from_slice(data);
                    }
                    self.complete_block(buffers, received);
                }
                // Not in this mode.
                Some(Frame::Piece { .. }) => {}
            }
        }
        Ok(input.len())
    }
}

/// Whether the answer to this message may be thousands of times as long: nothing behind it is
/// parsed before the answer is queued.
fn has_large_answer(message: &Message) -> bool {
    matches!(message, Message::HashRequest(_) | Message::Extended { .. })
}

/// The memory of the pieces of these blocks, in their order, each once.
fn lend<'b>(
    buffers: &mut Buffers,
    torrent: TorrentId,
    blocks: impl Iterator<Item = &'b BlockRef>,
) -> Vec<(PieceIndex, dunlin_disk::Buffer)> {
    let mut lent: Vec<(PieceIndex, dunlin_disk::Buffer)> = Vec::new();
    for block in blocks {
        if lent.last().is_some_and(|(piece, _)| *piece == block.piece) {
            continue;
        }
        if let Some(buffer) = buffers.lend(PieceKey { torrent, piece: block.piece }) {
            lent.push((block.piece, buffer));
        }
    }
    lent
}

fn give_back(
    buffers: &mut Buffers,
    torrent: TorrentId,
    lent: Vec<(PieceIndex, dunlin_disk::Buffer)>,
) {
    for (piece, buffer) in lent {
        buffers.give_back(PieceKey { torrent, piece }, buffer);
    }
}

/// Cuts places from buffers, from front to back.
struct BlockSlices<'l> {
    rest: std::slice::IterMut<'l, (PieceIndex, dunlin_disk::Buffer)>,
    piece: Option<PieceIndex>,
    at: usize,
    bytes: &'l mut [u8],
}

impl<'l> BlockSlices<'l> {
    fn new(lent: &'l mut [(PieceIndex, dunlin_disk::Buffer)]) -> BlockSlices<'l> {
        BlockSlices { rest: lent.iter_mut(), piece: None, at: 0, bytes: &mut [] }
    }

    /// The place of a block, but for the `done` bytes at its beginning.
    fn cut(&mut self, block: BlockRef, done: u32) -> Option<&'l mut [u8]> {
        if self.piece != Some(block.piece) {
            let (piece, buffer) = self.rest.next()?;
            self.piece = Some(*piece);
            self.at = 0;
            self.bytes = buffer.bytes_mut();
        }
        let skip = (block.begin + done) as usize - self.at;
        let len = (block.len - done) as usize;
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.len() < skip + len {
            return None;
        }
        let (_, bytes) = bytes.split_at_mut(skip);
        let (place, bytes) = bytes.split_at_mut(len);
        self.bytes = bytes;
        self.at = (block.begin + block.len) as usize;
        Some(place)
    }
}

/// The bytes of a run from its first header on, in the order in which they were received.
fn bytes_from(
    buffers: &mut Buffers,
    torrent: TorrentId,
    conn: ConnId,
    run: &[BlockRef],
    headers: &[[u8; PIECE_HEADER_LEN]],
    mut left: usize,
) -> Vec<u8> {
    let mut rest = Vec::with_capacity(left);
    for (block, header) in run.iter().zip(headers) {
        let took = left.min(PIECE_HEADER_LEN);
        rest.extend_from_slice(header.get(..took).unwrap_or_default());
        left -= took;
        let place = buffers.bytes_mut(torrent, *block, conn);
        let place: &[u8] = place.map_or(&[], |place| place);
        let took = left.min(place.len());
        rest.extend_from_slice(place.get(..took).unwrap_or_default());
        left -= took;
        if left == 0 {
            break;
        }
    }
    rest
}

#[cfg(test)]
mod tests;
