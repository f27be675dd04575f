//! What waits to be sent to one rank, and in which order it goes: pure. Small things go before blocks.
//! The firm stream, between rank 0 and a peer, outlives a connection: what the other end has not
//! said to have is kept, and sent again. All else goes down with its connection.

use crate::frame::{Payload, Sent};
use bytes::Bytes;
use dunlin_base::TorrentId;
use dunlin_wire::BlockRange;
use std::collections::VecDeque;

/// The most bytes of parcels that go in one frame.
pub(super) const BATCH: usize = 64 * 1024;

/// A block on its way to one rank.
pub(super) struct Block {
    pub(super) torrent: TorrentId,
    pub(super) range: BlockRange,
    pub(super) payload: Payload,
    pub(super) sent: Option<Sent>,
}

impl Block {
    /// Tells whether the network has it.
    pub(super) fn end(mut self, sent: bool) {
        // The memory is free before anybody hears of it and asks for more.
        drop(self.payload);
        if let Some(tell) = self.sent.take() {
            tell(sent);
        }
    }
}

/// The next thing to send.
pub(super) enum Next {
    /// A message of the carrier.
    Talk(Vec<u8>),
    /// Packed parcels, to be cut into frames of [`BATCH`].
    Loose(Vec<u8>),
    /// Bytes of the firm stream, [`BATCH`] at most.
    Firm(Vec<Bytes>),
    /// A block.
    Block(Block),
}

/// What waits for one rank.
#[derive(Default)]
pub(super) struct Queue {
    talk: VecDeque<Vec<u8>>,
    loose: Vec<u8>,
    blocks: VecDeque<Block>,
    pub(super) firm: Firm,
}

impl Queue {
    /// A message of the carrier.
    pub(super) fn talk(&mut self, bytes: Vec<u8>) {
        self.talk.push_back(bytes);
    }

    /// Where parcels are packed that go down with the connection.
    pub(super) fn loose(&mut self) -> &mut Vec<u8> {
        &mut self.loose
    }

    /// A block, behind those that wait.
    pub(super) fn block(&mut self, block: Block) {
        self.blocks.push_back(block);
    }

    /// Takes the blocks of a torrent out: its connection was closed.
    pub(super) fn take_blocks_of(&mut self, torrent: TorrentId) -> Vec<Block> {
        let mut out = Vec::new();
        for block in std::mem::take(&mut self.blocks) {
            if block.torrent == torrent { out.push(block) } else { self.blocks.push_back(block) }
        }
        out
    }

    /// The connection is over: what goes down with it, of which the blocks are given back.
    pub(super) fn broken(&mut self) -> VecDeque<Block> {
        self.talk.clear();
        self.loose = Vec::new();
        std::mem::take(&mut self.blocks)
    }

    /// What goes before any block; `firm` if the firm stream may go.
    pub(super) fn next_small(&mut self, firm: bool) -> Option<Next> {
        if let Some(talk) = self.talk.pop_front() {
            return Some(Next::Talk(talk));
        }
        if !self.loose.is_empty() {
            return Some(Next::Loose(std::mem::take(&mut self.loose)));
        }
        if !firm {
            return None;
        }
        let bytes = self.firm.next();
        (!bytes.is_empty()).then_some(Next::Firm(bytes))
    }

    /// What goes next.
    pub(super) fn next(&mut self, firm: bool) -> Option<Next> {
        let small = self.next_small(firm);
        small.or_else(|| self.blocks.pop_front().map(Next::Block))
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        let small = self.talk.is_empty() && self.loose.is_empty() && self.firm.sent_all();
        small && self.blocks.is_empty()
    }
}

/// The firm stream on its way out.
#[derive(Debug, Default)]
pub(super) struct Firm {
    /// Bytes in front of `kept`: the other end has them.
    first: u64,
    /// Parts of [`BATCH`] at most.
    kept: VecDeque<Bytes>,
    /// How many of `kept` have been sent over this connection.
    sent: usize,
}

impl Firm {
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

    /// A new connection, over which the other end says that it has so many bytes. `false` if that is
    /// not where a part ends: then it speaks of another stream.
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
    use dunlin_base::Rng;

    #[test]
    fn what_was_not_acknowledged_is_sent_again() {
        let mut firm = Firm::default();
        firm.push(Bytes::from_static(b"two"));
        firm.push_first(Bytes::from_static(b"one"));
        assert_eq!(firm.next().concat(), b"onetwo");
        firm.push(Bytes::from_static(b"three"));
        assert!(!firm.sent_all());
        firm.acknowledged(3);
        assert_eq!(firm.next().concat(), b"three");
        assert!(firm.sent_all());
        assert!(firm.resume(3));
        assert_eq!(firm.next().concat(), b"twothree");
        firm.acknowledged(11);
        assert!(firm.resume(11) && firm.next().is_empty());
        assert!(!firm.resume(12), "more than was sent");
        assert!(!firm.resume(10), "less than was acknowledged");
    }

    /// Any connections that break at any time, and acknowledgements at any time: everything arrives,
    /// once and in order.
    #[test]
    fn nothing_is_lost_or_doubled() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let (mut firm, mut pushed, mut came) = (Firm::default(), Vec::new(), Vec::new());
            for _ in 0..60 {
                match rng.below(5) {
                    0 | 1 => {
                        let bytes = vec![rng.below(256) as u8; rng.below(90_000) as usize];
                        pushed.extend_from_slice(&bytes);
                        firm.push(bytes.into());
                    }
                    2 => came.extend(firm.next().concat()),
                    // Sent, but the connection broke before it came.
                    3 => {
                        let _ = firm.next();
                        assert!(firm.resume(came.len() as u64));
                    }
                    _ => firm.acknowledged(came.len() as u64),
                }
            }
            loop {
                match firm.next() {
                    parts if parts.is_empty() => break,
                    parts => came.extend(parts.concat()),
                }
            }
            assert!(came == pushed, "seed {seed}");
        }
    }

    #[test]
    fn small_things_go_before_blocks() {
        let range = BlockRange { piece: 0, begin: 0, length: 3 };
        let block = |torrent| Block {
            torrent: TorrentId(torrent),
            range,
            payload: Payload { data: Bytes::from_static(b"abc"), charge: None },
            sent: None,
        };
        let mut queue = Queue::default();
        queue.block(block(1));
        queue.block(block(2));
        queue.firm.push(Bytes::from_static(b"firm"));
        queue.loose().extend_from_slice(b"loose");
        queue.talk(vec![1]);
        let name = |next| match next {
            Some(Next::Talk(_)) => "talk",
            Some(Next::Loose(_)) => "loose",
            Some(Next::Firm(_)) => "firm",
            Some(Next::Block(_)) => "block",
            None => "nothing",
        };
        assert_eq!(name(queue.next(false)), "talk");
        assert_eq!(name(queue.next(false)), "loose");
        assert_eq!(name(queue.next_small(false)), "nothing");
        assert_eq!(queue.take_blocks_of(TorrentId(1)).len(), 1);
        assert_eq!(name(queue.next(true)), "firm");
        assert!(!queue.is_empty());
        assert_eq!(name(queue.next(true)), "block");
        assert!(queue.is_empty());
        queue.block(block(3));
        assert_eq!((queue.broken().len(), name(queue.next(true))), (1, "nothing"));
    }
}
