//! What waits to be sent on one connection. Payload is passed from its reader to the system, and
//! not copied here. This module knows no torrent, and decides nothing.

use bytes::Bytes;
use dunlin_base::BlockRef;
use dunlin_wire::{Message, PIECE_HEADER_LEN, encode_into, encode_piece_header};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice, Write};

/// Slices that are handed to the system at a time.
const MAX_SLICES: usize = 64;
/// Messages are put together up to so many bytes.
const CHUNK: usize = 16 << 10;
/// Bytes of messages that may wait on one connection: over 400 000 HAVEs. A peer that takes so few
/// of them is dead.
pub(crate) const MAX_MESSAGES: usize = 4 << 20;
/// Bytes of answers above which a connection is not read: a peer that does not take the answers to
/// its requests can request nothing more. It is far above what honest peers owe one another, or two
/// of them could wait for each other; messages that are no answers (HAVEs) do not count for the
/// same reason.
pub(crate) const MAX_ANSWERS: usize = 256 << 10;

/// What was read at a time, of which a block is a part: the torrent's piece and the window in it.
pub(crate) type Window = (u32, u32);

/// One thing to send.
enum Segment {
    /// Messages, and how many bytes of them answer something.
    Messages(Vec<u8>, usize),
    /// The data of a block; its header stands in the messages before it. And the window that it
    /// keeps in memory, unless it is a copy.
    Data(BlockRef, Bytes, Option<Window>),
}

/// The queue of one connection.
#[derive(Default)]
pub(crate) struct Outbox {
    segments: VecDeque<Segment>,
    /// Bytes of the first part that are gone already.
    sent: usize,
    /// Bytes of messages that wait.
    messages: usize,
    /// Bytes of answers among them.
    answers: usize,
    /// Bytes of payload that wait.
    payload: usize,
    /// Windows that are kept in memory, each with its blocks here, and its length.
    windows: BTreeMap<Window, (usize, usize)>,
    /// Bytes of all of these.
    pinned: usize,
    /// Bytes of copies of blocks.
    copied: usize,
}

/// What a flush did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flushed {
    /// Bytes that the system took.
    pub(crate) bytes: usize,
    /// Blocks of which it took the last byte.
    pub(crate) blocks: Vec<BlockRef>,
    /// The system takes no more now.
    pub(crate) would_block: bool,
}

impl Outbox {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes of messages that wait.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes of answers that wait.
    pub(crate) fn answers(&self) -> usize {
        self.answers
    }

    /// Bytes of memory that it keeps: messages, and for payload everything that was read together
    /// with it.
    pub(crate) fn held(&self) -> usize {
        self.messages + self.copied + self.pinned
    }

    /// Bytes of payload that wait.
    #[cfg(test)]
    pub(crate) fn payload(&self) -> usize {
        self.payload
    }

    /// Queues raw bytes: a handshake.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        self.chunk().0.extend_from_slice(bytes);
        self.messages += bytes.len();
    }

    /// Queues a message.
    pub(crate) fn push(&mut self, message: &Message) {
        let answers = is_answer(message);
        let (chunk, answering) = self.chunk();
        let before = chunk.len();
        encode_into(message, chunk);
        let added = chunk.len() - before;
        *answering += if answers { added } else { 0 };
        self.messages += added;
        self.answers += if answers { added } else { 0 };
    }

    /// Queues a block: its header, then its data, which is a part of `window` of `whole` bytes.
    pub(crate) fn push_block(&mut self, block: BlockRef, data: Bytes, window: u32, whole: usize) {
        let (chunk, _) = self.chunk();
        let before = chunk.len();
        encode_piece_header(block, chunk);
        let added = chunk.len() - before;
        self.messages += added;
        self.payload += data.len();
        let window = (block.piece.0, window);
        let (blocks, _) = self.windows.entry(window).or_insert_with(|| {
            self.pinned += whole;
            (0, whole)
        });
        *blocks += 1;
        self.segments.push_back(Segment::Data(block, data, Some(window)));
    }

    /// The messages at the end of the queue, and how many bytes of them are answers.
    fn chunk(&mut self) -> (&mut Vec<u8>, &mut usize) {
        // The first part may have begun to go; more may still be put behind it.
        let room = match self.segments.back() {
            Some(Segment::Messages(chunk, _)) => chunk.len() < CHUNK,
            _ => false,
        };
        if !room {
            self.segments.push_back(Segment::Messages(Vec::new(), 0));
        }
        match self.segments.back_mut() {
            Some(Segment::Messages(chunk, answers)) => (chunk, answers),
            // Not reached: what was pushed last holds messages.
            _ => unreachable!("the last part holds messages"),
        }
    }

    /// Copies the payload, so that no more of it stays in memory than what is to be sent: a slow
    /// peer must not keep all of what was read with its blocks.
    pub(crate) fn compact(&mut self) {
        for part in &mut self.segments {
            if let Segment::Data(_, data, window @ Some(_)) = part {
                *data = Bytes::copy_from_slice(data);
                *window = None;
                self.copied += data.len();
            }
        }
        self.windows.clear();
        self.pinned = 0;
    }

    /// Notes that a block has left the queue.
    fn unpin(&mut self, bytes: usize, window: Option<Window>) {
        self.payload -= bytes;
        let Some(window) = window else {
            self.copied -= bytes;
            return;
        };
        if let Some((blocks, whole)) = self.windows.get_mut(&window) {
            *blocks -= 1;
            if *blocks == 0 {
                self.pinned -= *whole;
                self.windows.remove(&window);
            }
        }
    }

    /// Takes a block back that has not begun to go. Its header goes with it.
    pub(crate) fn cancel(&mut self, block: BlockRef) -> bool {
        let found = self
            .segments
            .iter()
            .position(|part| matches!(part, Segment::Data(of, ..) if *of == block));
        let Some(index) = found.filter(|index| *index > 0) else { return false };
        let before_gone = if index == 1 { self.sent } else { 0 };
        let Some(Segment::Messages(chunk, answers)) = self.segments.get_mut(index - 1) else {
            return false;
        };
        if chunk.len() < before_gone + PIECE_HEADER_LEN {
            return false;
        }
        chunk.truncate(chunk.len() - PIECE_HEADER_LEN);
        self.messages -= PIECE_HEADER_LEN;
        let empty = chunk.len() == before_gone;
        if empty {
            // What is gone of it is no longer counted, either.
            self.messages -= chunk.len();
            self.answers -= *answers;
        }
        if let Some(Segment::Data(_, data, window)) = self.segments.remove(index) {
            self.unpin(data.len(), window);
        }
        if empty {
            self.segments.remove(index - 1);
            if index == 1 {
                self.sent = 0;
            }
        }
        true
    }

    /// Hands as much as it takes to the system, `quota` bytes at most.
    ///
    /// # Errors
    /// If the connection is broken.
    pub(crate) fn flush(&mut self, to: &mut impl Write, quota: usize) -> io::Result<Flushed> {
        let mut flushed = Flushed::default();
        while !self.segments.is_empty() && flushed.bytes < quota {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, part) in slices.iter_mut().zip(&self.segments) {
                let bytes: &[u8] = match part {
                    Segment::Messages(chunk, _) => chunk,
                    Segment::Data(_, data, _) => data,
                };
                let gone = if count == 0 { self.sent } else { 0 };
                *slice = IoSlice::new(bytes.get(gone..).unwrap_or_default());
                count += 1;
            }
            match to.write_vectored(slices.get(..count).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    flushed.bytes += taken;
                    self.taken(taken, &mut flushed.blocks);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    flushed.would_block = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(flushed)
    }

    fn taken(&mut self, mut taken: usize, blocks: &mut Vec<BlockRef>) {
        while let Some(part) = self.segments.front() {
            let length = match part {
                Segment::Messages(chunk, _) => chunk.len(),
                Segment::Data(_, data, _) => data.len(),
            };
            let left = length - self.sent;
            if taken < left {
                self.sent += taken;
                return;
            }
            taken -= left;
            self.sent = 0;
            match self.segments.pop_front() {
                Some(Segment::Messages(chunk, answers)) => {
                    self.messages -= chunk.len();
                    self.answers -= answers;
                }
                Some(Segment::Data(block, data, window)) => {
                    self.unpin(data.len(), window);
                    blocks.push(block);
                }
                None => {}
            }
        }
    }
}

/// Whether a message answers one of the other side's.
fn is_answer(message: &Message) -> bool {
    matches!(
        message,
        Message::RejectRequest(_)
            | Message::Hashes { .. }
            | Message::HashReject(_)
            | Message::Extended { .. }
            | Message::Unchoke
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::PieceIndex;

    /// Takes so many bytes a call, then none.
    struct Narrow {
        calls: Vec<usize>,
        got: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            if self.calls.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = all.len().min(self.calls.remove(0));
            self.got.extend_from_slice(&all[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn block(piece: u32) -> BlockRef {
        BlockRef { piece: PieceIndex(piece), begin: 0, len: 3 }
    }

    fn filled() -> (Outbox, Vec<u8>) {
        let mut outbox = Outbox::default();
        outbox.push(&Message::Unchoke);
        outbox.push_block(block(1), Bytes::from_static(b"abc"), 0, 90);
        outbox.push_block(block(2), Bytes::from_static(b"def"), 0, 90);
        outbox.push(&Message::Have { piece: 9 });
        let mut expected = Vec::new();
        encode_into(&Message::Unchoke, &mut expected);
        for (piece, data) in [(1, b"abc"), (2, b"def")] {
            let range = BlockRef { piece: PieceIndex(piece), begin: 0, len: 3 };
            encode_piece_header(range, &mut expected);
            expected.extend_from_slice(data);
        }
        encode_into(&Message::Have { piece: 9 }, &mut expected);
        (outbox, expected)
    }

    fn is_clean(outbox: &Outbox) -> bool {
        let kept = outbox.held() + outbox.payload() + outbox.answers() + outbox.windows.len();
        outbox.is_empty() && kept == 0
    }

    #[test]
    fn memory_is_counted_by_what_is_kept() {
        let mut outbox = Outbox::default();
        let reject = Message::RejectRequest(BlockRef { piece: PieceIndex(1), begin: 0, len: 3 });
        outbox.push(&Message::Have { piece: 9 });
        outbox.push(&reject);
        assert_eq!((outbox.held(), outbox.answers()), (9 + 17, 17));
        for begin in 0..3 {
            let of = BlockRef { piece: PieceIndex(1), begin, len: 3 };
            outbox.push_block(of, Bytes::from_static(b"abc"), begin / 2, 1000);
        }
        let messages = 9 + 17 + 3 * 13;
        assert_eq!(outbox.held(), messages + 2000, "two windows");
        let first = BlockRef { piece: PieceIndex(1), begin: 0, len: 3 };
        assert!(outbox.cancel(first));
        assert_eq!(outbox.held(), messages - 13 + 2000, "the other block is of that window");
        outbox.compact();
        assert_eq!(outbox.held(), messages - 13 + 6, "two blocks, and nothing beside them");
        outbox.push_block(first, Bytes::from_static(b"abc"), 0, 1000);
        assert_eq!(outbox.held(), messages + 6 + 1000);
        let mut to = Narrow { calls: vec![7; 100], got: Vec::new() };
        assert_eq!(outbox.flush(&mut to, usize::MAX).unwrap().blocks.len(), 3);
        assert!(is_clean(&outbox));
    }

    #[test]
    fn everything_goes_in_order_however_narrow_the_way() {
        for step in 1..60 {
            let (mut outbox, expected) = filled();
            let mut to = Narrow { calls: vec![step; 100], got: Vec::new() };
            let flushed = outbox.flush(&mut to, usize::MAX).unwrap();
            assert_eq!(flushed.blocks, [block(1), block(2)]);
            assert_eq!((flushed.bytes, to.got), (expected.len(), expected));
            assert!(is_clean(&outbox));
        }
    }

    #[test]
    fn a_block_counts_as_sent_with_its_last_byte() {
        let (mut outbox, expected) = filled();
        let mut to = Narrow { calls: vec![5 + 13 + 2], got: Vec::new() };
        let flushed = outbox.flush(&mut to, usize::MAX).unwrap();
        assert!(flushed.blocks.is_empty() && flushed.would_block);
        assert!(!outbox.cancel(block(1)), "it has begun to go");
        assert!(outbox.cancel(block(2)), "this one has not");
        let mut rest = Narrow { calls: vec![100; 9], got: to.got };
        assert_eq!(outbox.flush(&mut rest, usize::MAX).unwrap().blocks, [block(1)]);
        assert_eq!(rest.got[..21], expected[..21]);
        assert_eq!(rest.got[21..], expected[expected.len() - 9..], "then the HAVE alone");
        assert!(is_clean(&outbox));
    }

    #[test]
    fn a_quota_ends_a_flush() {
        let (mut outbox, _) = filled();
        let mut to = Narrow { calls: vec![4; 9], got: Vec::new() };
        assert_eq!(outbox.flush(&mut to, 8).unwrap().bytes, 8);
        assert!(!outbox.is_empty());
    }
}
