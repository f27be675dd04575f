//! What waits to be sent to one rank, and in which order it goes: pure. Small things go before
//! blocks. The resumable stream, between rank 0 and a peer, outlives a link: bytes that the other
//! end has not acknowledged are kept, and sent again over the next link. All else is lost with its
//! link.

use crate::frame::{Payload, Sent};
use bytes::Bytes;
use dunlin_base::{BlockRef, TorrentId};
use std::collections::VecDeque;

/// The most bytes of packets that go in one frame.
pub(super) const BATCH: usize = 64 * 1024;

/// A block on its way to one rank.
pub(super) struct OutgoingBlock {
    pub(super) torrent: TorrentId,
    pub(super) range: BlockRef,
    pub(super) payload: Payload,
    pub(super) sent: Option<Sent>,
}

impl OutgoingBlock {
    /// Reports whether the network has it.
    pub(super) fn end(mut self, sent: bool) {
        // The memory is free before the report makes somebody ask for more.
        drop(self.payload);
        if let Some(report) = self.sent.take() {
            report(sent);
        }
    }
}

/// The next thing to send.
pub(super) enum Outgoing {
    /// A message of the carrier.
    Message(Vec<u8>),
    /// Encoded packets that are lost with the link, to be cut into frames of [`BATCH`].
    PerLink(Vec<u8>),
    /// Bytes of the resumable stream, [`BATCH`] at most.
    Resumable(Vec<Bytes>),
    /// A block.
    Block(OutgoingBlock),
}

/// What waits for one rank.
#[derive(Default)]
pub(super) struct OutgoingQueue {
    messages: VecDeque<Vec<u8>>,
    per_link: Vec<u8>,
    blocks: VecDeque<OutgoingBlock>,
    pub(super) resumable: ResumableStream,
}

impl OutgoingQueue {
    /// A message of the carrier.
    pub(super) fn message(&mut self, bytes: Vec<u8>) {
        self.messages.push_back(bytes);
    }

    /// Where packets are encoded that are lost with the link.
    pub(super) fn per_link(&mut self) -> &mut Vec<u8> {
        &mut self.per_link
    }

    /// A block, behind those that wait.
    pub(super) fn block(&mut self, block: OutgoingBlock) {
        self.blocks.push_back(block);
    }

    /// Takes the blocks of a torrent out: its connection was closed.
    pub(super) fn take_blocks_of(&mut self, torrent: TorrentId) -> Vec<OutgoingBlock> {
        let mut out = Vec::new();
        for block in std::mem::take(&mut self.blocks) {
            if block.torrent == torrent { out.push(block) } else { self.blocks.push_back(block) }
        }
        out
    }

    /// The link is over: drops what is lost with it, and gives the blocks back.
    pub(super) fn link_broke(&mut self) -> VecDeque<OutgoingBlock> {
        self.messages.clear();
        self.per_link = Vec::new();
        std::mem::take(&mut self.blocks)
    }

    /// What goes before any block; `resumed` if the resumable stream may go.
    pub(super) fn next_small(&mut self, resumed: bool) -> Option<Outgoing> {
        if let Some(message) = self.messages.pop_front() {
            return Some(Outgoing::Message(message));
        }
        if !self.per_link.is_empty() {
            return Some(Outgoing::PerLink(std::mem::take(&mut self.per_link)));
        }
        if !resumed {
            return None;
        }
        let bytes = self.resumable.next();
        (!bytes.is_empty()).then_some(Outgoing::Resumable(bytes))
    }

    /// What goes next.
    pub(super) fn next(&mut self, resumed: bool) -> Option<Outgoing> {
        let small = self.next_small(resumed);
        small.or_else(|| self.blocks.pop_front().map(Outgoing::Block))
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        let small = self.messages.is_empty() && self.per_link.is_empty();
        small && self.resumable.sent_all() && self.blocks.is_empty()
    }
}

/// The resumable stream on its way out.
#[derive(Debug, Default)]
pub(super) struct ResumableStream {
    /// Bytes in front of `kept`: the other end has them.
    first: u64,
    /// Parts of [`BATCH`] at most.
    kept: VecDeque<Bytes>,
    /// How many of `kept` have been sent over this link.
    sent: usize,
}

impl ResumableStream {
    /// Puts bytes behind all others.
    pub(super) fn push(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            self.kept.push_back(bytes.split_to(bytes.len().min(BATCH)));
        }
    }

    /// Puts bytes before all others, while nothing has ever been sent.
    pub(super) fn push_first(&mut self, bytes: Bytes) {
        debug_assert!(self.first == 0 && self.sent == 0, "nothing comes before what was sent");
        let later = std::mem::take(&mut self.kept);
        self.push(bytes);
        self.kept.extend(later);
    }

    fn next(&mut self) -> Vec<Bytes> {
        let mut parts = Vec::new();
        let mut bytes = 0;
        while let Some(part) = self.kept.get(self.sent)
            && bytes + part.len() <= BATCH
        {
            bytes += part.len();
            parts.push(part.clone());
            self.sent += 1;
        }
        parts
    }

    fn sent_all(&self) -> bool {
        self.sent == self.kept.len()
    }

    /// The other end has so many bytes.
    pub(super) fn acknowledged(&mut self, received: u64) {
        while let Some(part) = self.kept.front()
            && self.sent > 0
            && self.first + part.len() as u64 <= received
        {
            self.first += part.len() as u64;
            self.kept.pop_front();
            self.sent -= 1;
        }
    }

    /// A new link, over which the other end acknowledged so many bytes. `false` if no part ends
    /// there: then the number belongs to another stream.
    pub(super) fn resume(&mut self, received: u64) -> bool {
        self.sent = self.kept.len();
        self.acknowledged(received);
        self.sent = 0;
        // Frames are handled as a whole, and each holds whole parts.
        self.first == received
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::{PieceIndex, Rng};

    #[test]
    fn what_was_not_acknowledged_is_sent_again() {
        let mut stream = ResumableStream::default();
        stream.push(Bytes::from_static(b"two"));
        stream.push_first(Bytes::from_static(b"one"));
        assert_eq!(stream.next().concat(), b"onetwo");
        stream.push(Bytes::from_static(b"three"));
        assert!(!stream.sent_all());
        stream.acknowledged(3);
        assert_eq!(stream.next().concat(), b"three");
        assert!(stream.sent_all());
        assert!(stream.resume(3));
        assert_eq!(stream.next().concat(), b"twothree");
        stream.acknowledged(11);
        assert!(stream.resume(11) && stream.next().is_empty());
        assert!(!stream.resume(12), "more than was sent");
        assert!(!stream.resume(10), "less than was acknowledged");
    }

    /// Any links that break at any time, and acknowledgements at any time: everything arrives,
    /// once and in order.
    #[test]
    fn nothing_is_lost_or_doubled() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let (mut stream, mut pushed, mut came) =
                (ResumableStream::default(), Vec::new(), Vec::new());
            for _ in 0..60 {
                match rng.below(5) {
                    0 | 1 => {
                        let bytes = vec![rng.below(256) as u8; rng.below(90_000) as usize];
                        pushed.extend_from_slice(&bytes);
                        stream.push(bytes.into());
                    }
                    2 => came.extend(stream.next().concat()),
                    // Sent, but the link broke before it came.
                    3 => {
                        let _ = stream.next();
                        assert!(stream.resume(came.len() as u64));
                    }
                    _ => stream.acknowledged(came.len() as u64),
                }
            }
            loop {
                match stream.next() {
                    parts if parts.is_empty() => break,
                    parts => came.extend(parts.concat()),
                }
            }
            assert!(came == pushed, "seed {seed}");
        }
    }

    #[test]
    fn small_things_go_before_blocks() {
        let range = BlockRef { piece: PieceIndex(0), begin: 0, len: 3 };
        let block = |torrent| OutgoingBlock {
            torrent: TorrentId(torrent),
            range,
            payload: Payload { data: Bytes::from_static(b"abc"), charge: None },
            sent: None,
        };
        let mut queue = OutgoingQueue::default();
        queue.block(block(1));
        queue.block(block(2));
        queue.resumable.push(Bytes::from_static(b"resumable"));
        queue.per_link().extend_from_slice(b"per-link");
        queue.message(vec![1]);
        let name = |next| match next {
            Some(Outgoing::Message(_)) => "message",
            Some(Outgoing::PerLink(_)) => "per-link",
            Some(Outgoing::Resumable(_)) => "resumable",
            Some(Outgoing::Block(_)) => "block",
            None => "nothing",
        };
        assert_eq!(name(queue.next(false)), "message");
        assert_eq!(name(queue.next(false)), "per-link");
        assert_eq!(name(queue.next_small(false)), "nothing");
        assert_eq!(queue.take_blocks_of(TorrentId(1)).len(), 1);
        assert_eq!(name(queue.next(true)), "resumable");
        assert!(!queue.is_empty());
        assert_eq!(name(queue.next(true)), "block");
        assert!(queue.is_empty());
        queue.block(block(3));
        assert_eq!((queue.link_broke().len(), name(queue.next(true))), (1, "nothing"));
    }
}
