//! One connection: interest and choke both ways, what we asked for, what we owe.
//!
//! ```text
//!   we download                               we upload
//!   ───────────                               ─────────
//!   they have what we lack                    they are interested
//!     → interested ─▶ they unchoke              → unchoke (the choker decides)
//!         │              │                          │
//!         │           request ─▶ Asked              request ─▶ queued ─▶ Serve ─▶ sent
//!         │              ├ piece  → kept              ├ cancel → reject (BEP 6: one answer)
//!         │              ├ reject → open again        └ choke  → reject all
//!         │              └ deadline → late, snubbed
//!   they have nothing → not interested
//! ```

use crate::swarm::patience::Patience;
use crate::swarm::requests::{MIN_DEADLINE, Window};
use crate::swarm::superseed::Destination;
use crate::swarm::upload_scheduler::UploadScheduler;
use dunlin_base::{Bitfield, BlockRef, Endpoint, PieceIndex, Rate, Time};
use std::collections::VecDeque;

/// Requests that a peer may queue with us before we reject, and that we queue with a peer (BEP 10,
/// `reqq`; our own rule: 500).
pub const MAX_QUEUED: usize = 500;
/// Blocks on their way to one destination: one travels while the next is read, and a slow
/// destination never holds what a fast one needs.
pub const UPLOAD_WINDOW: usize = 2;
/// Messages of one connection that are wrong where they come and harm nobody, before we hang up
/// (our own rule). Programs in use send a few of them: answers to requests that were taken back,
/// messages of extensions in a form of their own. More are a peer that has lost its place.
pub const MAX_STRANGE: u32 = 50;

/// What a peer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// It has not announced it.
    Unknown,
    /// Everything; or, under the course profile, it may be asked for anything.
    All,
    /// These.
    Some(Bitfield),
}

impl Pieces {
    /// Whether it has the piece.
    #[must_use]
    pub fn has(&self, piece: PieceIndex) -> bool {
        match self {
            Pieces::Unknown => false,
            Pieces::All => true,
            Pieces::Some(field) => field.has(piece),
        }
    }
}

/// How a request of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskState {
    /// An answer is expected.
    Live,
    /// The deadline has passed; others may be asked, a late answer is still welcome.
    Late,
    /// Taken back; the answer (BEP 6: there is one) changes nothing.
    Cancelled,
}

/// A request of ours.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The block.
    pub block: BlockRef,
    /// When it was sent.
    pub at: Time,
    /// When it is late.
    pub deadline: Time,
    /// How it stands.
    pub state: AskState,
}

/// How far the handshake of a connection has come.
///
/// ```text
///   Connected ── our handshake ──▶ HandshakeSent ── its handshake ──▶ Established
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// The connection stands; we have sent nothing.
    Connected,
    /// We have sent our handshake and wait for the other one.
    HandshakeSent,
    /// Both handshakes were sent: messages may come.
    Established {
        /// Both sides speak the fast extension (BEP 6).
        fast: bool,
        /// The peer has sent a message about its pieces.
        announced: bool,
    },
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Who it leads to.
    pub remote: Endpoint,
    /// When it was made.
    pub since: Time,
    /// How far its handshake has come.
    pub state: PeerState,
    /// What it has.
    pub pieces: Pieces,
    /// How many pieces it has that we want and lack (kept for [`Pieces::Some`]).
    pub useful: u32,
    /// We choke it.
    pub am_choking: bool,
    /// We have sent that we are interested.
    pub am_interested: bool,
    /// It chokes us.
    pub peer_choking: bool,
    /// It is interested.
    pub peer_interested: bool,
    /// It owes us blocks past their deadline.
    pub snubbed: bool,
    /// What we may ask of it.
    pub window: Window,
    /// Bytes of pieces planned for it that were not yet asked for.
    pub planned: u64,
    /// Our requests, oldest first.
    pub asks: VecDeque<Ask>,
    /// Messages that were wrong and harmed nobody.
    pub strange: u8,
    /// Requests that were taken back without a word, so that their blocks may still come (BEP 3: a
    /// choke without the fast extension).
    pub forgotten: u32,
    /// Its requests that wait.
    pub queue: VecDeque<BlockRef>,
    /// Its requests that the world is serving.
    pub serving: Vec<BlockRef>,
    /// Payload that was sent to it, in bytes.
    pub sent: u64,
    /// Its upload slot.
    pub slot: UploadSlot,
    /// It connected to us.
    pub incoming: bool,
    /// Which of the torrent's names its handshake has (BEP 52: a hybrid has two).
    pub name: u8,
    /// Requests that it keeps for us.
    pub queue_limit: u32,
    /// Payload that came of it, kept or not.
    pub received: u64,
    /// When payload last moved, either way.
    pub moved: Option<Time>,
    /// Messages that change nothing which it may still send.
    pub(crate) patience: Patience,
    /// What we offer it, where we offer what we have.
    pub(crate) destination: Option<Box<Destination>>,
}

/// The upload slot of a peer, as the choker's rounds see it.
#[derive(Clone, Debug, Default)]
pub struct UploadSlot {
    /// The choker's round in which the slot or the wait for one began.
    pub since_round: u64,
    /// When the choker first saw the peer in its present slot.
    pub since: Option<Time>,
    /// Bytes given in the present slot.
    pub given: u64,
    /// What had been given in it when the choker last looked.
    pub given_before: u64,
    /// How often the peer had a slot and took nothing, since it last took anything.
    pub unused: u32,
    /// Whether the peer took far less than it could have when the choker last looked at a slot of
    /// it.
    pub slow: Option<bool>,
}

// A session keeps one of these for each of its connections.
const _: () = assert!(size_of::<Peer>() <= 512);

impl Peer {
    /// A fresh connection: both sides choke and nobody is interested (BEP 3).
    #[must_use]
    pub fn new(remote: Endpoint, now: Time, window: Window) -> Peer {
        Peer {
            remote,
            since: now,
            state: PeerState::Connected,
            pieces: Pieces::Unknown,
            useful: 0,
            am_choking: true,
            am_interested: false,
            peer_choking: true,
            peer_interested: false,
            snubbed: false,
            window,
            planned: 0,
            asks: VecDeque::new(),
            strange: 0,
            forgotten: 0,
            queue: VecDeque::new(),
            serving: Vec::new(),
            sent: 0,
            slot: UploadSlot::default(),
            incoming: false,
            name: 0,
            queue_limit: MAX_QUEUED as u32,
            received: 0,
            moved: None,
            patience: Patience::default(),
            destination: None,
        }
    }

    /// Whether both handshakes were sent.
    #[must_use]
    pub fn is_established(&self) -> bool {
        matches!(self.state, PeerState::Established { .. })
    }

    /// Whether both sides speak the fast extension (BEP 6).
    #[must_use]
    pub fn is_fast(&self) -> bool {
        matches!(self.state, PeerState::Established { fast: true, .. })
    }

    /// Whether it has sent a message about its pieces.
    #[must_use]
    pub fn has_announced(&self) -> bool {
        matches!(self.state, PeerState::Established { announced: true, .. })
    }

    /// Notes whether it has sent a message about its pieces. Returns whether it had before.
    pub fn set_announced(&mut self, now: bool) -> bool {
        match &mut self.state {
            PeerState::Established { announced, .. } => std::mem::replace(announced, now),
            PeerState::Connected | PeerState::HandshakeSent => false,
        }
    }

    /// Whether any request of ours is past its deadline.
    #[must_use]
    pub fn owes_late(&self) -> bool {
        self.asks.iter().any(|ask| ask.state == AskState::Late)
    }

    /// A piece that may have been offered to it is asked for.
    pub(crate) fn takes_offer(&mut self, now: Time, piece: PieceIndex) {
        let destination = self.destination.as_deref_mut();
        if let Some(offer) = destination.and_then(|to| to.open.get_mut(&piece)) {
            offer.taken = true;
            offer.until = now + MIN_DEADLINE;
        }
    }

    /// A block, perhaps of a piece that was offered, has left for it.
    pub(crate) fn block_left(
        &mut self,
        scheduler: &mut UploadScheduler,
        now: Time,
        block: BlockRef,
    ) {
        let Some(destination) = &mut self.destination else { return };
        let Some(offer) = destination.open.get_mut(&block.piece) else { return };
        offer.left -= block.len.min(offer.left);
        offer.until = now + MIN_DEADLINE;
        if offer.left == 0 {
            let ticket = offer.ticket;
            destination.open.remove(&block.piece);
            scheduler.gone(now, self.remote, ticket, true);
        }
    }

    /// Whether it can be asked for blocks at all.
    #[must_use]
    pub fn gives(&self) -> bool {
        self.is_established() && !self.peer_choking && self.am_interested
    }

    /// Whether a new piece may be planned for it.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.window.room() > self.planned && self.asks.len() < self.queue_limit as usize
    }

    /// Whether a block may be asked for now.
    #[must_use]
    pub fn may_ask(&self) -> bool {
        self.window.room() > 0 && self.asks.len() < self.queue_limit as usize
    }

    /// Takes the request for exactly this block off the list: the one that stands, if there is one
    /// that was cancelled, too. A peer that is asked again for what it is sending already sends it
    /// once.
    pub fn take_ask(&mut self, block: BlockRef) -> Option<Ask> {
        self.take(block, |state| state != AskState::Cancelled)
    }

    /// The same for a reject: of two it answers the one that was cancelled (BEP 6).
    pub fn take_rejected(&mut self, block: BlockRef) -> Option<Ask> {
        self.take(block, |state| state == AskState::Cancelled)
    }

    /// Takes the request for this block off the list, one that is `rather` if there is one.
    fn take(&mut self, block: BlockRef, rather: impl Fn(AskState) -> bool) -> Option<Ask> {
        let all = || self.asks.iter().enumerate().filter(|(_, ask)| ask.block == block);
        let first = all().find(|(_, ask)| rather(ask.state));
        let (index, _) = first.or_else(|| all().next())?;
        self.asks.remove(index)
    }

    /// A message that is wrong where it comes and harms nobody: it counts for nothing.
    ///
    /// # Errors
    /// `what`, if there were more than [`MAX_STRANGE`]: a breach of the protocol.
    pub(crate) fn tolerate(&mut self, what: &'static str) -> Result<(), &'static str> {
        self.strange = self.strange.saturating_add(1);
        if u32::from(self.strange) <= MAX_STRANGE { Ok(()) } else { Err(what) }
    }

    /// The rate at which it gives.
    pub fn rate(&mut self, now: Time) -> Rate {
        self.window.rate(now)
    }

    /// # Panics
    /// If more is kept of it than may be.
    pub(crate) fn check(&self) {
        assert!(self.owed() <= MAX_QUEUED, "{} requests of {:?}", self.owed(), self.remote);
    }

    /// Blocks it has asked for and not got.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.queue.len() + self.serving.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::Rank;

    #[test]
    fn an_answer_is_for_the_request_that_stands() {
        let window = Window::new(16_384, 1 << 20);
        let mut peer = Peer::new(Endpoint::Rank(Rank(1)), Time::ZERO, window);
        let block = BlockRef { piece: PieceIndex(0), begin: 0, len: 16_384 };
        let ask = |state| Ask { block, at: Time::ZERO, deadline: Time::ZERO, state };
        // It was on its way when it was cancelled, and is asked for again: it comes once.
        peer.asks.extend([ask(AskState::Cancelled), ask(AskState::Live)]);
        assert_eq!(peer.take_ask(block).map(|ask| ask.state), Some(AskState::Live));
        assert_eq!(peer.take_ask(block).map(|ask| ask.state), Some(AskState::Cancelled));
        assert!(peer.take_ask(block).is_none());
        peer.asks.extend([ask(AskState::Cancelled), ask(AskState::Live)]);
        assert_eq!(peer.take_rejected(block).map(|ask| ask.state), Some(AskState::Cancelled));
        assert_eq!(peer.take_rejected(block).map(|ask| ask.state), Some(AskState::Live));
    }
}
