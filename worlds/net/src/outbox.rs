//! What waits to be sent on one connection. Payload is never copied here: it goes from whoever read it
//! to the system. It knows no torrent, and decides nothing.

use bytes::Bytes;
use dunlin_base::BlockRef;
use dunlin_wire::{BlockRange, Message, encode_into, encode_piece_header};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

/// Slices that are handed to the system at a time.
const MAX_SLICES: usize = 64;
/// Messages are put together up to so many bytes.
const CHUNK: usize = 16 << 10;
/// Bytes of messages that may wait: who takes so few of them is dead. A bitfield and a HAVE for every
/// piece of the largest torrent fit.
pub(crate) const MAX_MESSAGES: usize = 32 << 20;

/// One thing to send.
enum Part {
    /// Messages.
    Messages(Vec<u8>),
    /// The data of a block; its header stands in the messages before it.
    Data(BlockRef, Bytes),
}

/// The queue of one connection.
#[derive(Default)]
pub(crate) struct Outbox {
    parts: VecDeque<Part>,
    /// Bytes of the first part that are gone already.
    gone: usize,
    /// Bytes of messages that wait.
    messages: usize,
    /// Bytes of payload that wait.
    payload: usize,
}

/// How far a flush came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flushed {
    /// Bytes that the system took.
    pub(crate) bytes: usize,
    /// Blocks of which it took the last byte.
    pub(crate) blocks: Vec<BlockRef>,
    /// It takes no more now.
    pub(crate) full: bool,
}

impl Outbox {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes of messages that wait.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes of payload that wait.
    #[cfg(test)]
    pub(crate) fn payload(&self) -> usize {
        self.payload
    }

    /// Queues raw bytes: a handshake.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        self.chunk().extend_from_slice(bytes);
        self.messages += bytes.len();
    }

    /// Queues a message.
    pub(crate) fn push(&mut self, message: &Message) {
        let chunk = self.chunk();
        let before = chunk.len();
        encode_into(message, chunk);
        let added = chunk.len() - before;
        self.messages += added;
    }

    /// Queues a block: its header, then its data.
    pub(crate) fn push_block(&mut self, block: BlockRef, data: Bytes) {
        let range = BlockRange { piece: block.piece.0, begin: block.begin, length: block.len };
        let chunk = self.chunk();
        let before = chunk.len();
        encode_piece_header(range, chunk);
        let added = chunk.len() - before;
        self.messages += added;
        self.payload += data.len();
        self.parts.push_back(Part::Data(block, data));
    }

    /// The messages at the end of the queue.
    fn chunk(&mut self) -> &mut Vec<u8> {
        // The first part may have begun to go; more may still be put behind it.
        let room = matches!(self.parts.back(), Some(Part::Messages(chunk)) if chunk.len() < CHUNK);
        if !room {
            self.parts.push_back(Part::Messages(Vec::new()));
        }
        match self.parts.back_mut() {
            Some(Part::Messages(chunk)) => chunk,
            // Not reached: what was pushed last holds messages.
            _ => unreachable!("the last part holds messages"),
        }
    }

    /// Takes a block back that has not begun to go. Its header goes with it.
    pub(crate) fn cancel(&mut self, block: BlockRef) -> bool {
        let found =
            self.parts.iter().position(|part| matches!(part, Part::Data(of, _) if *of == block));
        let Some(index) = found.filter(|index| *index > 0) else { return false };
        let header = 13;
        let before_gone = if index == 1 { self.gone } else { 0 };
        let Some(Part::Messages(chunk)) = self.parts.get_mut(index - 1) else { return false };
        if chunk.len() < before_gone + header {
            return false;
        }
        chunk.truncate(chunk.len() - header);
        self.messages -= header;
        let empty = chunk.len() == before_gone;
        if let Some(Part::Data(_, data)) = self.parts.remove(index) {
            self.payload -= data.len();
        }
        if empty {
            self.parts.remove(index - 1);
            if index == 1 {
                self.gone = 0;
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
        while !self.parts.is_empty() && flushed.bytes < quota {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, part) in slices.iter_mut().zip(&self.parts) {
                let bytes: &[u8] = match part {
                    Part::Messages(chunk) => chunk,
                    Part::Data(_, data) => data,
                };
                let gone = if count == 0 { self.gone } else { 0 };
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
                    flushed.full = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(flushed)
    }

    fn taken(&mut self, mut taken: usize, blocks: &mut Vec<BlockRef>) {
        while let Some(part) = self.parts.front() {
            let length = match part {
                Part::Messages(chunk) => chunk.len(),
                Part::Data(_, data) => data.len(),
            };
            let left = length - self.gone;
            if taken < left {
                self.gone += taken;
                return;
            }
            taken -= left;
            self.gone = 0;
            match self.parts.pop_front() {
                Some(Part::Messages(chunk)) => self.messages -= chunk.len(),
                Some(Part::Data(block, data)) => {
                    self.payload -= data.len();
                    blocks.push(block);
                }
                None => {}
            }
        }
    }
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
        outbox.push_block(block(1), Bytes::from_static(b"abc"));
        outbox.push_block(block(2), Bytes::from_static(b"def"));
        outbox.push(&Message::Have { piece: 9 });
        let mut expected = Vec::new();
        encode_into(&Message::Unchoke, &mut expected);
        for (piece, data) in [(1, b"abc"), (2, b"def")] {
            let range = BlockRange { piece, begin: 0, length: 3 };
            encode_piece_header(range, &mut expected);
            expected.extend_from_slice(data);
        }
        encode_into(&Message::Have { piece: 9 }, &mut expected);
        (outbox, expected)
    }

    #[test]
    fn everything_goes_in_order_however_narrow_the_way() {
        for step in 1..60 {
            let (mut outbox, expected) = filled();
            let mut to = Narrow { calls: vec![step; 100], got: Vec::new() };
            let flushed = outbox.flush(&mut to, usize::MAX).unwrap();
            assert_eq!(flushed.blocks, [block(1), block(2)]);
            assert_eq!((flushed.bytes, to.got), (expected.len(), expected));
            assert!(outbox.is_empty() && outbox.messages() == 0 && outbox.payload() == 0);
        }
    }

    #[test]
    fn a_block_counts_as_sent_with_its_last_byte() {
        let (mut outbox, expected) = filled();
        let mut to = Narrow { calls: vec![5 + 13 + 2], got: Vec::new() };
        let flushed = outbox.flush(&mut to, usize::MAX).unwrap();
        assert!(flushed.blocks.is_empty() && flushed.full);
        assert!(!outbox.cancel(block(1)), "it has begun to go");
        assert!(outbox.cancel(block(2)), "this one has not");
        let mut rest = Narrow { calls: vec![100; 9], got: to.got };
        assert_eq!(outbox.flush(&mut rest, usize::MAX).unwrap().blocks, [block(1)]);
        assert_eq!(rest.got[..21], expected[..21]);
        assert_eq!(rest.got[21..], expected[expected.len() - 9..], "then the HAVE alone");
        assert!(outbox.is_empty() && outbox.messages() == 0 && outbox.payload() == 0);
    }

    #[test]
    fn a_quota_ends_a_flush() {
        let (mut outbox, _) = filled();
        let mut to = Narrow { calls: vec![4; 9], got: Vec::new() };
        assert_eq!(outbox.flush(&mut to, 8).unwrap().bytes, 8);
        assert!(!outbox.is_empty());
    }
}
