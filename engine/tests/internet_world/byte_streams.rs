//! Connections that carry bytes: between a client and a stranger, whose bytes are whatever it
//! likes. Each way there is a socket buffer of fixed size; before the client's stands an outbox
//! that keeps the rules of `worlds/net`: messages and blocks leave in order, a block counts as sent
//! when the buffer has taken its last byte, a cancelled block that has not begun to leave is taken
//! out, and who leaves too much unread is neither read from nor given more.

use dunlin_base::{BlockRef, ConnId, PieceIndex};
use dunlin_engine::io::SwarmInput;
use dunlin_wire::{
    Frame, Framer, FramerLimits, Handshake, Message, PieceMode, encode_into, encode_piece_header,
};
use std::collections::{BTreeMap, VecDeque};

/// Bytes that the systems of both ends hold for one direction of a connection.
pub const SOCKET: usize = 128 << 10;
/// Bytes of messages that wait in the outbox from which on nothing more is read from the peer.
pub const UNREAD: usize = 256 << 10;
/// Bytes that a client reads from one connection before the next one has its turn.
pub const TURN: usize = 64 << 10;

enum Part {
    Bytes(Vec<u8>),
    Block(BlockRef),
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::Block(block) => 13 + block.len as usize,
        }
    }
}

/// A connection between a client and a stranger.
pub struct Wire {
    /// The client's host.
    pub node: usize,
    /// The stranger's host, and its number for the connection.
    pub stranger: usize,
    pub theirs: ConnId,
    outbox: VecDeque<Part>,
    /// Bytes of the first part that have left.
    gone: usize,
    waiting: usize,
    /// Blocks that are being read from disk; a cancelled one stays until the read is back.
    reading: Vec<(BlockRef, bool)>,
    /// In the socket buffer towards the stranger.
    down: Vec<u8>,
    /// In the socket buffer towards the client.
    up: VecDeque<u8>,
    framer: Framer,
    /// What was read in this turn and has not been worked off.
    found: VecDeque<Found>,
    /// Whether the blocks that were sent to the client are right, in order.
    right: VecDeque<bool>,
    /// It waits for the uplink.
    pub waits: bool,
    /// The stranger has closed: what it sent is still read.
    pub closed: bool,
    /// The most bytes that this side has held.
    pub peak: usize,
}

/// Something that the client finds when it reads.
pub enum Found {
    Input(SwarmInput),
    Block(BlockRef, bool),
    Malformed,
}

impl Wire {
    pub fn new(node: usize, stranger: usize, theirs: ConnId) -> Wire {
        Wire {
            node,
            stranger,
            theirs,
            outbox: VecDeque::new(),
            gone: 0,
            waiting: 0,
            reading: Vec::new(),
            down: Vec::new(),
            up: VecDeque::new(),
            framer: Framer::new(FramerLimits::default(), PieceMode::Whole),
            found: VecDeque::new(),
            right: VecDeque::new(),
            waits: false,
            closed: false,
            peak: 0,
        }
    }

    /// Bytes that this side holds for the connection: what waits to be sent, and blocks being read.
    pub fn held(&self) -> usize {
        let reading = self.reading.iter().map(|(block, _)| block.len as usize);
        self.waiting - self.gone + reading.sum::<usize>()
    }

    /// Messages that wait, in bytes.
    fn unread(&self) -> usize {
        let bytes = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Block(_) => 0,
        };
        self.outbox.iter().map(bytes).sum()
    }

    pub fn queue_handshake(&mut self, handshake: &Handshake) {
        self.push(Part::Bytes(handshake.encode().to_vec()));
    }

    pub fn queue(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        encode_into(message, &mut bytes);
        self.push(Part::Bytes(bytes));
    }

    fn push(&mut self, part: Part) {
        self.waiting += part.len();
        self.outbox.push_back(part);
        self.peak = self.peak.max(self.held());
    }

    /// A block begins to be read from disk.
    pub fn read_block(&mut self, block: BlockRef) {
        self.reading.push((block, false));
        self.peak = self.peak.max(self.held());
    }

    /// A block is back from disk. True if it was cancelled meanwhile.
    pub fn block_is_read(&mut self, block: BlockRef, good: bool) -> bool {
        let found = self.reading.iter().position(|(of, _)| *of == block);
        let cancelled = found.is_none_or(|index| self.reading.remove(index).1);
        if !cancelled && good {
            self.push(Part::Block(block));
        }
        cancelled
    }

    /// Takes a block out that has not begun to leave; true if it was there.
    pub fn cancel(&mut self, block: BlockRef) -> bool {
        if let Some((_, cancelled)) = self.reading.iter_mut().find(|(of, _)| *of == block) {
            *cancelled = true;
            return false;
        }
        let is = |part: &Part| matches!(part, Part::Block(of) if *of == block);
        let Some(index) = self.outbox.iter().position(is) else { return false };
        if index == 0 && self.gone > 0 {
            return false;
        }
        let part = self.outbox.remove(index);
        self.waiting -= part.map_or(0, |part| part.len());
        true
    }

    /// Whether a block is what leaves next.
    pub fn is_block_next(&self) -> bool {
        matches!(self.outbox.front(), Some(Part::Block(_)))
    }

    /// Whether something waits and the socket buffer takes more.
    pub fn can_leave(&self) -> bool {
        !self.outbox.is_empty() && self.down.len() < SOCKET
    }

    /// Hands as much of the first part to the system as fits; returns how much, and the block whose
    /// last byte it took.
    pub fn leave(&mut self) -> (usize, Option<BlockRef>) {
        let Some(part) = self.outbox.front() else { return (0, None) };
        let take = (SOCKET - self.down.len()).min(part.len() - self.gone);
        match part {
            Part::Bytes(bytes) => {
                self.down.extend_from_slice(&bytes[self.gone..self.gone + take]);
            }
            Part::Block(block) => {
                let (piece, begin, length) = (block.piece.0, block.begin, block.len);
                let mut head = Vec::with_capacity(13);
                encode_piece_header(
                    BlockRef { piece: PieceIndex(piece), begin, len: length },
                    &mut head,
                );
                let head = &head[self.gone.min(13)..(self.gone + take).min(13)];
                self.down.extend_from_slice(head);
                self.down.resize(self.down.len() + take - head.len(), 0);
            }
        }
        self.gone += take;
        if self.gone < part.len() {
            return (take, None);
        }
        self.waiting -= part.len();
        self.gone = 0;
        match self.outbox.pop_front() {
            Some(Part::Block(block)) => (take, Some(block)),
            _ => (take, None),
        }
    }

    /// The stranger reads, so many bytes at most.
    pub fn take(&mut self, most: usize) -> Vec<u8> {
        let rest = self.down.split_off(most.min(self.down.len()));
        std::mem::replace(&mut self.down, rest)
    }

    pub fn has_for_stranger(&self) -> bool {
        !self.down.is_empty()
    }

    /// The stranger writes; returns how many bytes its system took.
    pub fn give(&mut self, bytes: &[u8]) -> usize {
        let took = bytes.len().min(SOCKET - self.up.len());
        self.up.extend(&bytes[..took]);
        took
    }

    /// The stranger has queued a block, and this is whether it is right.
    pub fn will_give_block(&mut self, right: bool) {
        self.right.push_back(right);
    }

    /// Whether the client can read something now.
    pub fn is_readable(&self) -> bool {
        (!self.up.is_empty() || !self.found.is_empty()) && self.unread() < UNREAD
    }

    /// All is read of what a stranger sent before it closed.
    pub fn is_over(&self) -> bool {
        self.closed && self.up.is_empty() && self.found.is_empty()
    }

    /// The next thing of a turn, in which the client reads `left` bytes more at most. Who leaves
    /// too much unread is not read from, in the middle of a turn, too.
    pub fn read(&mut self, conn: ConnId, left: &mut usize) -> Option<Found> {
        if !self.is_readable() {
            return None;
        }
        if self.found.is_empty() {
            let most = (*left).min(self.up.len());
            *left -= most;
            let bytes: Vec<u8> = self.up.drain(..most).collect();
            self.parse(conn, &bytes);
        }
        self.found.pop_front()
    }

    fn parse(&mut self, conn: ConnId, mut input: &[u8]) {
        loop {
            let found = match self.framer.next_frame(&mut input) {
                Ok(Some(Frame::Handshake(handshake))) => {
                    Found::Input(SwarmInput::Handshake { conn, handshake })
                }
                Ok(Some(Frame::Message(message))) => {
                    Found::Input(SwarmInput::Message { conn, message })
                }
                Ok(Some(Frame::Piece { range, .. })) => {
                    let right = self.right.pop_front().unwrap_or(false);
                    Found::Block(range, right)
                }
                Ok(Some(_)) => unreachable!("blocks are read whole"),
                Ok(None) => return,
                Err(_) => Found::Malformed,
            };
            let over = matches!(found, Found::Malformed);
            self.found.push_back(found);
            if over {
                return;
            }
        }
    }
}

/// All such connections, by the client's number.
#[derive(Default)]
pub struct Wires {
    pub all: BTreeMap<ConnId, Wire>,
    /// Connections that were made, and whether the stranger dialled; for whoever plays the
    /// strangers.
    pub opened: Vec<(ConnId, bool)>,
    /// Connections that are over.
    pub over: Vec<ConnId>,
    /// The most bytes that were held for one connection.
    pub peak: usize,
}

impl Wires {
    pub fn close(&mut self, conn: ConnId) -> Option<Wire> {
        let wire = self.all.remove(&conn)?;
        self.peak = self.peak.max(wire.peak);
        self.over.push(conn);
        Some(wire)
    }
}
