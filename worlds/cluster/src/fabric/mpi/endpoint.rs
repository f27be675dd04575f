//! What the MPI thread does: frames in, messages out, and back. It keeps the stream of every other
//! rank, posts the receives that payload lands in, and answers each request that it was asked exactly
//! once: with the block, or by saying that none will come. It knows no engine, no disk and no clock but
//! the trace's, and never waits.
//!
//! ```text
//!   requester                                    holder
//!   request ─▶ post a receive under tag 17
//!              ── ask(block, 17) ──stream──▶     remember 17
//!   block lands in its buffer  ◀──data, 17──     piece: send it under 17
//!   cancel the receive  ◀── void(17) ──stream──  or: refused, hung up, forgotten
//! ```
//!
//! Invariants: a tag of a source is in use from the posting of its receive until that receive has
//! ended; a holder never sends under a tag that it has voided; what is sent to or comes from a rank that
//! is gone is dropped.

use super::link::{Answer, Link, Posted};
use super::transport::{Done, Lane, STREAM_TAG, Ticket, Transport, TransportError};
use crate::fabric::process::carrier::{FrameSink, Told, Word, WordSink};
use crate::fabric::process::envelope::Parcel;
use crate::frame::{Frame, Payload};
use crate::trace::TraceClock;
use bytes::Bytes;
use dunlin_base::{Rank, TorrentId};
use dunlin_disk::{Budget, Buffer, BufferPool, Charge};
use dunlin_wire::{BlockRange, Message};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Blocks up to this many bytes travel in the stream: a receive of their own would cost more than
/// the copy. Tokens always do.
const INLINE: u32 = 2048;
/// Receives that wait for fragments, at a rank with many neighbours.
const STREAM_RECEIVES: usize = 64;
/// Receives that wait for fragments of a single neighbour: one window of the stream.
const STREAM_RECEIVES_ALONE: usize = 16;
/// Memory for fragments on their way in, in bytes.
const FRAGMENT_POOL: u64 = 4 << 20;
/// A posted receive that is older than this counts against the memory budget by itself: the piece that
/// it was reserved for may be long done.
const OVERDUE: Duration = Duration::from_secs(8);

/// What a send that is on its way carries.
enum Sending {
    Fragment { to: u32 },
    Block { to: u32, len: usize, since: Instant, charge: Option<Charge>, told: Told },
}

/// What a posted receive waits for.
enum Waiting {
    Fragment(Lane),
    Block { from: u32, tag: u16 },
}

/// Everything that the MPI thread keeps.
pub(crate) struct Station<T: Transport> {
    pub(super) transport: T,
    me: u32,
    /// By rank; our own is never used.
    links: Vec<Link>,
    /// Ranks whose streams may have something to send.
    dirty: Vec<u32>,
    sending: BTreeMap<Ticket, Sending>,
    waiting: BTreeMap<Ticket, Waiting>,
    /// Blocks on their way, in and out.
    in_flight: usize,
    /// It speaks only when it is told to: somebody may have stopped listening.
    quiet: bool,
    buffers: Arc<BufferPool>,
    budget: Option<Arc<Budget>>,
    clock: Arc<TraceClock>,
    frames: Option<FrameSink>,
    /// Frames that came before anybody took them.
    held: Vec<(Rank, Frame)>,
    words: WordSink,
    done: Vec<Done>,
    parcels: Vec<Parcel>,
}

impl<T: Transport> Station<T> {
    /// The station of this rank, with its receives posted.
    ///
    /// # Errors
    /// If the library refuses.
    pub(crate) fn new(
        transport: T,
        clock: Arc<TraceClock>,
        words: WordSink,
    ) -> Result<Station<T>, TransportError> {
        let (me, size) = (transport.rank(), transport.size());
        let mut station = Station {
            transport,
            me,
            links: (0..size).map(|_| Link::default()).collect(),
            dirty: Vec::new(),
            sending: BTreeMap::new(),
            waiting: BTreeMap::new(),
            in_flight: 0,
            quiet: false,
            buffers: BufferPool::new(FRAGMENT_POOL),
            budget: None,
            clock,
            frames: None,
            held: Vec::new(),
            words,
            done: Vec::new(),
            parcels: Vec::new(),
        };
        let lanes: &[Lane] =
            if me == 0 { &[Lane::Tracker] } else { &[Lane::Tracker, Lane::Control] };
        for lane in lanes {
            let alone = me != 0 && *lane == Lane::Tracker;
            let count = if alone { STREAM_RECEIVES_ALONE } else { STREAM_RECEIVES };
            for _ in 0..count {
                station.listen(*lane)?;
            }
        }
        Ok(station)
    }

    /// Our rank.
    pub(crate) fn rank(&self) -> u32 {
        self.me
    }

    /// How many ranks there are.
    pub(crate) fn size(&self) -> u32 {
        self.transport.size()
    }

    /// The memory that payload is received into.
    pub(crate) fn use_budget(&mut self, budget: Arc<Budget>) {
        self.budget = Some(budget);
    }

    /// From now on frames go here; those that came before go first.
    pub(crate) fn deliver_to(&mut self, frames: FrameSink) {
        self.held.drain(..).for_each(|(from, frame)| frames(from, frame));
        self.frames = Some(frames);
    }

    /// From now on no credit is given back and no sign of life is sent: the job is about to end, and what
    /// comes after the end would be a message that nobody receives. What a peer still has for other peers
    /// is dropped: they have all they wanted, and may give no credit for it any more.
    pub(crate) fn be_quiet(&mut self) {
        self.quiet = true;
        if self.me != 0 {
            self.links.iter_mut().skip(1).for_each(Link::clear);
        }
    }

    /// Whether blocks are on their way, in or out.
    pub(crate) fn transferring(&self) -> bool {
        self.in_flight > 0
    }

    /// Whether everything that was given to it for ranks that live is sent.
    pub(crate) fn drained(&self) -> bool {
        let waits =
            |link: &Link| !link.gone && (link.stream.queued() > 0 || !link.blocks.is_empty());
        let lives = |to: &u32| self.links.get(*to as usize).is_some_and(|link| !link.gone);
        let on_its_way = |sending: &Sending| match sending {
            Sending::Fragment { to } | Sending::Block { to, .. } => lives(to),
        };
        !self.sending.values().any(on_its_way) && !self.links.iter().any(waits)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// If the library refuses.
    pub(crate) fn send(
        &mut self,
        to: Rank,
        frame: Frame,
        told: Told,
    ) -> Result<(), TransportError> {
        match frame {
            Frame::Control(control) => self.pack(to.0, &Parcel::Control(control)),
            Frame::Handshake { torrent, handshake } => {
                self.pack(to.0, &Parcel::Handshake { torrent, handshake });
            }
            Frame::Wire { torrent, message: Message::Request(range) } => {
                told.sent();
                return self.request(to.0, torrent, range);
            }
            Frame::Wire { torrent, message } => {
                if let Message::RejectRequest(range) = &message {
                    self.void_one(to.0, torrent, *range);
                }
                self.pack(to.0, &Parcel::Wire { torrent, message });
            }
            Frame::Piece { torrent, range, payload } => {
                self.piece(to.0, torrent, range, payload, told);
                return Ok(());
            }
            Frame::HangUp { torrent } => {
                self.void_all(to.0, torrent);
                self.pack(to.0, &Parcel::HangUp { torrent });
            }
        }
        told.sent();
        Ok(())
    }

    /// Sends a parcel that is no frame.
    pub(crate) fn pack(&mut self, to: u32, parcel: &Parcel) {
        if self.quiet && self.me != 0 && to != 0 {
            return;
        }
        let Some(link) = self.links.get_mut(to as usize).filter(|link| !link.gone) else { return };
        link.pack(parcel);
        if !std::mem::replace(&mut link.dirty, true) {
            self.dirty.push(to);
        }
    }

    /// A rank is gone: nothing is sent to it or expected of it any more.
    pub(crate) fn lost(&mut self, rank: Rank) {
        let Some(link) = self.links.get_mut(rank.0 as usize) else { return };
        link.gone = true;
        link.clear();
        for posted in link.posted() {
            self.transport.cancel(posted);
        }
        // What is on its way to it may never end, and must not keep others from being served.
        for sending in self.sending.values_mut() {
            if let Sending::Block { to, charge, told, .. } = sending
                && *to == rank.0
            {
                *charge = None;
                *told = Told::new(None);
            }
        }
    }

    /// One look at everything; whether anything has happened.
    ///
    /// # Errors
    /// If the library fails.
    pub(crate) fn poll(&mut self) -> Result<bool, TransportError> {
        let mut done = std::mem::take(&mut self.done);
        self.transport.poll(&mut done)?;
        let happened = !done.is_empty();
        for one in done.drain(..) {
            self.ended(one)?;
        }
        self.done = done;
        Ok(happened)
    }

    /// Sends what streams and queues hold, as far as credits and windows go.
    ///
    /// # Errors
    /// If the library refuses.
    pub(crate) fn flush(&mut self) -> Result<(), TransportError> {
        while let Some(rank) = self.dirty.pop() {
            let lane = self.stream_lane(rank);
            let Some(link) = self.links.get_mut(rank as usize) else { continue };
            link.dirty = false;
            let idle = link.stream.queued() == 0 && link.blocks.is_empty();
            if link.gone || (self.quiet && idle) {
                continue;
            }
            let stamp = self.clock.now();
            while let Some(fragment) = link.stream.next(stamp) {
                let sent = self.transport.send(lane, rank, STREAM_TAG, fragment)?;
                self.sending.insert(sent, Sending::Fragment { to: rank });
            }
            while link.blocks.front().is_some_and(|next| link.window.takes(next.data.len()))
                && let Some(Answer { tag, data, charge, told, .. }) = link.blocks.pop_front()
            {
                let (len, since) = (data.len(), Instant::now());
                let ticket = self.transport.send(Lane::Data, rank, tag, data)?;
                link.window.sent(len);
                self.in_flight += 1;
                let block = Sending::Block { to: rank, len, since, charge, told };
                self.sending.insert(ticket, block);
            }
        }
        Ok(())
    }

    /// What is done now and then: rank 0 says that it lives, and receives that are overdue are charged
    /// to the budget.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if self.me == 0 && !self.quiet {
            (1..self.transport.size()).for_each(|rank| self.pack(rank, &Parcel::Pulse));
        }
        let Some(budget) = &self.budget else { return };
        for link in &mut self.links {
            link.charge_overdue(|since| now.saturating_duration_since(since) > OVERDUE, budget);
        }
    }

    fn stream_lane(&self, rank: u32) -> Lane {
        if self.me == 0 || rank == 0 { Lane::Tracker } else { Lane::Control }
    }

    fn listen(&mut self, lane: Lane) -> Result<(), TransportError> {
        let buffer = self.buffers.take(super::stream::FRAGMENT);
        self.listen_in(lane, buffer)
    }

    fn listen_in(&mut self, lane: Lane, buffer: Buffer) -> Result<(), TransportError> {
        // Nobody but rank 0 sends to a peer on the tracker's lane.
        let from = (lane == Lane::Tracker && self.me != 0).then_some(0);
        let ticket = self.transport.receive(lane, from, STREAM_TAG, buffer)?;
        self.waiting.insert(ticket, Waiting::Fragment(lane));
        Ok(())
    }

    /// Posts the receive, then asks.
    fn request(
        &mut self,
        to: u32,
        torrent: TorrentId,
        range: BlockRange,
    ) -> Result<(), TransportError> {
        let Some(link) = self.links.get_mut(to as usize).filter(|link| !link.gone) else {
            return Ok(());
        };
        let tag = if range.length > INLINE { link.tags.take() } else { None };
        let (Some(tag), Some(budget)) = (tag, &self.budget) else {
            self.pack(to, &Parcel::Wire { torrent, message: Message::Request(range) });
            return Ok(());
        };
        let buffer = budget.buffers().take(range.length as usize);
        let ticket = self.transport.receive(Lane::Data, Some(to), tag, buffer)?;
        link.post(tag, Posted { ticket, torrent, range, since: Instant::now(), charge: None });
        self.waiting.insert(ticket, Waiting::Block { from: to, tag });
        self.in_flight += 1;
        self.pack(to, &Parcel::Ask { torrent, range, tag });
        Ok(())
    }

    /// A block that somebody asked for, unless it was taken back.
    fn piece(
        &mut self,
        to: u32,
        torrent: TorrentId,
        range: BlockRange,
        payload: Payload,
        told: Told,
    ) {
        let Some(link) = self.links.get_mut(to as usize).filter(|link| !link.gone) else { return };
        match link.answer(torrent, range) {
            Some(0) => {
                let data = payload.data.clone();
                self.pack(to, &Parcel::Piece { torrent, range, data });
                told.sent();
            }
            // Longer than what was asked for it would be written beyond the receive's buffer: not every
            // library stops at its end.
            Some(tag) if payload.data.len() > range.length as usize => {
                self.pack(to, &Parcel::Void { torrent, tag });
            }
            Some(tag) => {
                let Payload { data, charge } = payload;
                link.blocks.push_back(Answer { tag, torrent, data, charge, told });
                if !std::mem::replace(&mut link.dirty, true) {
                    self.dirty.push(to);
                }
            }
            None => {}
        }
    }

    /// A request that was asked of us will not be answered.
    fn void_one(&mut self, to: u32, torrent: TorrentId, range: BlockRange) {
        let link = self.links.get_mut(to as usize);
        if let Some(tag @ 1..) = link.and_then(|link| link.answer(torrent, range)) {
            self.pack(to, &Parcel::Void { torrent, tag });
        }
    }

    /// No request of this torrent that was asked of us will be answered.
    fn void_all(&mut self, to: u32, torrent: TorrentId) {
        let Some(link) = self.links.get_mut(to as usize) else { return };
        for tag in link.forget(torrent) {
            self.pack(to, &Parcel::Void { torrent, tag });
        }
    }

    fn ended(&mut self, done: Done) -> Result<(), TransportError> {
        match done {
            Done::Sent { ticket } => self.sent(ticket),
            Done::Received { ticket, from, buffer, len } => match self.waiting.remove(&ticket) {
                Some(Waiting::Fragment(lane)) => {
                    let bytes = buffer.as_ref().get(..len).unwrap_or_default();
                    self.fragment(from, bytes);
                    return self.listen_in(lane, buffer);
                }
                Some(Waiting::Block { from, tag }) => self.landed(from, tag, Some((buffer, len))),
                None => {}
            },
            Done::Cancelled { ticket } => match self.waiting.remove(&ticket) {
                Some(Waiting::Block { from, tag }) => self.voided(from, tag),
                Some(Waiting::Fragment(_)) => {}
                None => self.sent(ticket),
            },
            Done::Failed { ticket, error } => match self.waiting.remove(&ticket) {
                // Longer than what was asked for: its sender is to blame.
                Some(Waiting::Block { from, tag }) => self.landed(from, tag, None),
                // A fragment that is too long has no known sender.
                Some(Waiting::Fragment(lane)) => {
                    tracing::warn!(%error, "a fragment could not be received");
                    return self.listen(lane);
                }
                None => {
                    tracing::warn!(%error, "a message could not be sent");
                    self.sent(ticket);
                }
            },
        }
        Ok(())
    }

    fn sent(&mut self, ticket: Ticket) {
        if let Some(Sending::Block { to, len, since, charge, told }) = self.sending.remove(&ticket)
        {
            drop(charge);
            told.sent();
            self.in_flight = self.in_flight.saturating_sub(1);
            if let Some(link) = self.links.get_mut(to as usize) {
                link.window.ended(len, since.elapsed());
                if !link.blocks.is_empty() && !std::mem::replace(&mut link.dirty, true) {
                    self.dirty.push(to);
                }
            }
        }
    }

    /// A block has landed; `None` if it was longer than what was asked for.
    fn landed(&mut self, from: u32, tag: u16, landed: Option<(Buffer, usize)>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(link) = self.links.get_mut(from as usize) else { return };
        let Some(Posted { torrent, range, charge, .. }) = link.unpost(tag) else { return };
        if link.gone {
            return;
        }
        let data = match landed {
            Some((buffer, len)) => buffer.freeze().slice(..len),
            None => Bytes::new(),
        };
        let payload = Payload { data, charge };
        self.deliver(Rank(from), Frame::Piece { torrent, range, payload });
    }

    /// A receive was cancelled.
    fn voided(&mut self, from: u32, tag: u16) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(link) = self.links.get_mut(from as usize) {
            link.unpost(tag);
        }
    }

    fn fragment(&mut self, from: u32, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(from as usize).filter(|link| !link.gone) else {
            return;
        };
        let mut parcels = std::mem::take(&mut self.parcels);
        let heard = link.hear(bytes, &mut parcels);
        // Credits came, or are to be given back.
        if !std::mem::replace(&mut link.dirty, true) {
            self.dirty.push(from);
        }
        // Before anybody handles what came: else its line could seem older than its cause.
        if let Ok(stamp) = &heard {
            self.clock.hear(*stamp);
        }
        for parcel in parcels.drain(..) {
            self.parcel(from, parcel);
        }
        self.parcels = parcels;
        if let Err(why) = heard {
            self.lost(Rank(from));
            (self.words)(Rank(from), Word::Broken(why));
        }
    }

    fn parcel(&mut self, remote: u32, parcel: Parcel) {
        let from = Rank(remote);
        let Some(link) = self.links.get_mut(remote as usize) else { return };
        let frame = match parcel {
            Parcel::Control(control) => Frame::Control(control),
            Parcel::Handshake { torrent, handshake } => Frame::Handshake { torrent, handshake },
            Parcel::Ask { torrent, range, tag } => {
                link.asked(torrent, range, tag);
                Frame::Wire { torrent, message: Message::Request(range) }
            }
            Parcel::Wire { torrent, message } => {
                if let Message::Request(range) = &message {
                    link.asked(torrent, *range, 0);
                }
                Frame::Wire { torrent, message }
            }
            Parcel::Piece { torrent, range, data } => {
                let bytes = data.len() as u64;
                let charge = self.budget.as_ref().map(|budget| budget.charge_unbounded(bytes));
                Frame::Piece { torrent, range, payload: Payload { data, charge } }
            }
            Parcel::HangUp { torrent } => {
                self.void_all(remote, torrent);
                Frame::HangUp { torrent }
            }
            Parcel::Void { tag, .. } => {
                if let Some(ticket) = link.ticket(tag) {
                    self.transport.cancel(ticket);
                }
                return;
            }
            Parcel::Session(bytes) => return (self.words)(from, Word::Session(bytes)),
            Parcel::Progress { state, have, wanted, moved, sent } => {
                let numbers = [u64::from(state), have, wanted, moved, sent];
                return (self.words)(from, Word::Progress(numbers));
            }
            Parcel::Trace { until, lines } => {
                return (self.words)(from, Word::Trace { until, lines });
            }
            Parcel::Pulse => return (self.words)(from, Word::Pulse),
        };
        self.deliver(from, frame);
    }

    fn deliver(&mut self, from: Rank, frame: Frame) {
        match &self.frames {
            Some(frames) => frames(from, frame),
            None => self.held.push((from, frame)),
        }
    }
}
