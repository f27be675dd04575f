//! One connection of a strategy: bytes in, bytes out, timers. It knows no socket.

use crate::strategy::{Action, Context, Incoming, Kind, Receive, Strategy, Target};
use dunlin_base::{BlockRef, Rng, Time};
use dunlin_wire::{
    Frame, Framer, FramerLimits, Message, PieceMode, encode_into, encode_piece_header,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// A timer waits as long as so many bytes have not left yet: a strategy produces no more than its
/// connection takes.
const BACKLOG: usize = 256 << 10;

/// What a line reads of its peer beyond what deployed programs send: an answer to a request may be
/// anything up to this.
const LIMITS: FramerLimits = FramerLimits {
    max_block: 1 << 20,
    max_frame: 1 << 20,
    max_extended: 1 << 20,
    max_hashes: 1 << 20,
};

/// Counts of what came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes.
    pub bytes: u64,
    /// Messages, blocks among them.
    pub messages: u64,
    /// Bytes of blocks.
    pub payload: u64,
}

/// A connection of a strategy.
pub struct Line {
    strategy: Box<dyn Strategy>,
    target: Arc<Target>,
    rng: Rng,
    framer: Framer,
    output: Vec<u8>,
    right: VecDeque<bool>,
    timer: Option<Time>,
    receive: Receive,
    /// Bytes that a slow reader may take until its timer comes again.
    sip: usize,
    closed: bool,
    received: Received,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("received", &self.received).finish_non_exhaustive()
    }
}

impl Line {
    /// A connection that is not open yet.
    #[must_use]
    pub fn new(kind: Kind, target: Arc<Target>, seed: u64) -> Line {
        Line {
            strategy: kind.begin(),
            target,
            rng: Rng::new(seed),
            framer: Framer::new(LIMITS, PieceMode::Whole),
            output: Vec::new(),
            right: VecDeque::new(),
            timer: None,
            receive: Receive::All,
            sip: 0,
            closed: false,
            received: Received::default(),
        }
    }

    /// The connection stands.
    pub fn opened(&mut self, now: Time, dialled: bool) {
        self.step(now, &Incoming::Opened { dialled });
    }

    /// How many bytes may be read from the socket now.
    #[must_use]
    pub fn readable(&self) -> usize {
        match self.receive {
            Receive::All => usize::MAX,
            Receive::Nothing => 0,
            Receive::Slowly(_) => self.sip,
        }
    }

    /// Bytes came. What is no protocol closes the connection.
    pub fn receive(&mut self, now: Time, bytes: &[u8]) {
        self.received.bytes += bytes.len() as u64;
        self.sip = self.sip.saturating_sub(bytes.len());
        let mut input = bytes;
        loop {
            let incoming = match self.framer.next_frame(&mut input) {
                Ok(None) => return,
                Ok(Some(Frame::Handshake(handshake))) => Incoming::Handshake(handshake),
                Ok(Some(Frame::Message(message))) => Incoming::Message(message),
                Ok(Some(Frame::Piece { range, data })) => {
                    self.received.payload += data.len() as u64;
                    Incoming::Message(Message::Piece(range))
                }
                // Never in this mode.
                Ok(Some(Frame::PieceHeader { .. } | Frame::Payload { .. })) => return,
                Err(_) => {
                    self.closed = true;
                    return;
                }
            };
            self.received.messages += 1;
            self.step(now, &incoming);
        }
    }

    /// When [`Line::wake`] is to be called; `None` if never, or while too much waits to leave.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        self.timer.filter(|_| self.output.len() < BACKLOG && !self.closed)
    }

    /// The time has come.
    pub fn wake(&mut self, now: Time) {
        if self.next_wake().is_some_and(|at| at <= now) {
            self.timer = None;
            if let Receive::Slowly(bytes) = self.receive {
                self.sip = bytes;
            }
            self.step(now, &Incoming::Timer);
        }
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So many of them are sent.
    pub fn sent(&mut self, bytes: usize) {
        self.output.drain(..bytes.min(self.output.len()));
    }

    /// Takes the next of the blocks in the output, in order: whether its bytes are meant to be
    /// right.
    pub fn next_block_is_right(&mut self) -> Option<bool> {
        self.right.pop_front()
    }

    /// Whether the connection is to be closed: everything is sent, or the other side made no sense.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.closed && self.output.is_empty()
    }

    /// What has come.
    #[must_use]
    pub fn received(&self) -> Received {
        self.received
    }

    fn step(&mut self, now: Time, incoming: &Incoming) {
        if self.closed {
            return;
        }
        let mut actions = Vec::new();
        let (target, rng) = (&*self.target, &mut self.rng);
        let mut cx = Context { now, target, rng, actions: &mut actions };
        self.strategy.next(&mut cx, incoming);
        for action in actions {
            self.act(now, action);
        }
    }

    fn act(&mut self, now: Time, action: Action) {
        match action {
            Action::Handshake(handshake) => self.output.extend_from_slice(&handshake.encode()),
            Action::Send(message) => encode_into(&message, &mut self.output),
            Action::Bytes(bytes) => self.output.extend_from_slice(&bytes),
            Action::Block { range, right } => {
                encode_piece_header(range, &mut self.output);
                self.block(range, right);
                self.right.push_back(right);
            }
            Action::Receive(receive) => self.receive = receive,
            Action::Timer(after) => self.timer = Some(now + after),
            Action::Close => self.closed = true,
        }
    }

    fn block(&mut self, range: BlockRef, right: bool) {
        let length = range.len as usize;
        let begin = u64::from(range.piece.0) * u64::from(self.target.piece_length);
        let begin = usize::try_from(begin + u64::from(range.begin)).unwrap_or(usize::MAX);
        let content = self.target.content.as_deref().filter(|_| right);
        let found = content.and_then(|bytes| bytes.get(begin..begin.saturating_add(length)));
        match found {
            Some(bytes) => self.output.extend_from_slice(bytes),
            None => self.output.resize(self.output.len() + length, 0),
        }
    }
}
