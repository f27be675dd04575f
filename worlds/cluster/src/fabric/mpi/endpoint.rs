//! What the MPI thread does: frames in, messages out, and back. It keeps the stream of every other
//! rank, posts the receives that payload lands in, and answers each request that it gets exactly
//! once: with the block, or with a `void` that none will come. It knows no engine, no disk and no
//! clock but the trace's, and never waits.
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
//! ended; a holder never sends under a tag that it has voided; what is sent to or comes from a rank
//! that is gone is dropped.

use super::remote::{Answer, Posted, RemoteRank};
use super::transport::{Done, Lane, OperationId, STREAM_TAG, Transport, TransportError};
use crate::fabric::process::carrier::{CarrierEvent, EventSink, FrameSink, SentNotice};
use crate::fabric::process::message::ProcessMessage;
use crate::fabric::process::packet::Packet;
use crate::frame::{Frame, Payload};
use crate::trace::TraceClock;
use bytes::Bytes;
use dunlin_base::{BlockRef, Rank, TorrentId};
use dunlin_disk::{Budget, Buffer, BufferPool, Charge};
use dunlin_wire::Message;
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
/// A posted receive that is older than this counts against the memory budget by itself: the piece
/// that it was reserved for may be long done.
const OVERDUE: Duration = Duration::from_secs(8);

/// What a send that is on its way carries.
enum Sending {
    Fragment { to: u32 },
    Block { to: u32, len: usize, since: Instant, charge: Option<Charge>, notice: SentNotice },
}

/// What a posted receive waits for.
enum Waiting {
    Fragment(Lane),
    Block { from: u32, tag: u16 },
}

/// Everything that the MPI thread keeps.
pub(crate) struct MpiEndpoint<T: Transport> {
    pub(super) transport: T,
    me: u32,
    /// By rank; our own is never used.
    remotes: Vec<RemoteRank>,
    /// Ranks whose streams may have something to send.
    dirty: Vec<u32>,
    sending: BTreeMap<OperationId, Sending>,
    waiting: BTreeMap<OperationId, Waiting>,
    /// Blocks on their way, in and out.
    in_flight: usize,
    /// It sends only what it is commanded to: other ranks may have stopped receiving.
    quiet: bool,
    buffers: Arc<BufferPool>,
    budget: Option<Arc<Budget>>,
    clock: Arc<TraceClock>,
    frames: Option<FrameSink>,
    /// Frames that came before there was a sink.
    held: Vec<(Rank, Frame)>,
    events: EventSink,
    done: Vec<Done>,
    packets: Vec<Packet>,
}

impl<T: Transport> MpiEndpoint<T> {
    /// The endpoint of this rank, with its receives posted.
    ///
    /// # Errors
    /// If the library refuses.
    pub(crate) fn new(
        transport: T,
        clock: Arc<TraceClock>,
        events: EventSink,
    ) -> Result<MpiEndpoint<T>, TransportError> {
        let (me, size) = (transport.rank(), transport.size());
        let mut endpoint = MpiEndpoint {
            transport,
            me,
            remotes: (0..size).map(|_| RemoteRank::default()).collect(),
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
            events,
            done: Vec::new(),
            packets: Vec::new(),
        };
        let lanes: &[Lane] =
            if me == 0 { &[Lane::Tracker] } else { &[Lane::Tracker, Lane::Control] };
        for lane in lanes {
            let alone = me != 0 && *lane == Lane::Tracker;
            let count = if alone { STREAM_RECEIVES_ALONE } else { STREAM_RECEIVES };
            for _ in 0..count {
                endpoint.listen(*lane)?;
            }
        }
        Ok(endpoint)
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

    /// From now on no credit is given back and no pulse is sent: the job is about to end, and no
    /// rank receives what comes after the end. What a peer still has for other peers is dropped:
    /// they have all they wanted, and may give no credit for it any more.
    pub(crate) fn be_quiet(&mut self) {
        self.quiet = true;
        if self.me != 0 {
            self.remotes.iter_mut().skip(1).for_each(RemoteRank::clear);
        }
    }

    /// Whether blocks are on their way, in or out.
    pub(crate) fn transferring(&self) -> bool {
        self.in_flight > 0
    }

    /// Whether everything that was given to it for ranks that live is sent.
    pub(crate) fn drained(&self) -> bool {
        let waits = |remote: &RemoteRank| {
            !remote.gone && (remote.stream.queued() > 0 || !remote.blocks.is_empty())
        };
        let lives = |to: &u32| self.remotes.get(*to as usize).is_some_and(|remote| !remote.gone);
        let on_its_way = |sending: &Sending| match sending {
            Sending::Fragment { to } | Sending::Block { to, .. } => lives(to),
        };
        !self.sending.values().any(on_its_way) && !self.remotes.iter().any(waits)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// If the library refuses.
    pub(crate) fn send(
        &mut self,
        to: Rank,
        frame: Frame,
        notice: SentNotice,
    ) -> Result<(), TransportError> {
        match frame {
            Frame::Wire { torrent, message: Message::Request(range) } => {
                notice.sent();
                return self.request(to.0, torrent, range);
            }
            Frame::Piece { torrent, range, payload } => {
                self.piece(to.0, torrent, range, payload, notice);
                return Ok(());
            }
            Frame::Wire { torrent, message: Message::RejectRequest(range) } => {
                self.void_one(to.0, torrent, range);
            }
            Frame::HangUp { torrent } => self.void_all(to.0, torrent),
            Frame::Control(_) | Frame::Handshake { .. } | Frame::Wire { .. } => {}
        }
        self.queue(to.0, &Packet::Frame(frame));
        notice.sent();
        Ok(())
    }

    /// Queues a packet for the stream to a rank.
    pub(crate) fn queue(&mut self, to: u32, packet: &Packet) {
        if self.quiet && self.me != 0 && to != 0 {
            return;
        }
        let Some(remote) = self.remotes.get_mut(to as usize).filter(|remote| !remote.gone) else {
            return;
        };
        remote.queue(packet);
        if !std::mem::replace(&mut remote.dirty, true) {
            self.dirty.push(to);
        }
    }

    /// A rank is gone: nothing is sent to it or expected of it any more.
    pub(crate) fn lost(&mut self, rank: Rank) {
        let Some(remote) = self.remotes.get_mut(rank.0 as usize) else { return };
        remote.gone = true;
        remote.clear();
        for posted in remote.posted() {
            self.transport.cancel(posted);
        }
        // What is on its way to it may never end, and must not keep others from being served.
        for sending in self.sending.values_mut() {
            if let Sending::Block { to, charge, notice, .. } = sending
                && *to == rank.0
            {
                *charge = None;
                *notice = SentNotice::new(None);
            }
        }
    }

    /// Polls everything once; returns whether anything has happened.
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
            let Some(remote) = self.remotes.get_mut(rank as usize) else { continue };
            remote.dirty = false;
            let idle = remote.stream.queued() == 0 && remote.blocks.is_empty();
            if remote.gone || (self.quiet && idle) {
                continue;
            }
            let stamp = self.clock.now();
            while let Some(fragment) = remote.stream.next(stamp) {
                let sent = self.transport.send(lane, rank, STREAM_TAG, fragment)?;
                self.sending.insert(sent, Sending::Fragment { to: rank });
            }
            while remote.blocks.front().is_some_and(|next| remote.window.takes(next.data.len()))
                && let Some(Answer { tag, data, charge, notice, .. }) = remote.blocks.pop_front()
            {
                let (len, since) = (data.len(), Instant::now());
                let id = self.transport.send(Lane::Data, rank, tag, data)?;
                remote.window.sent(len);
                self.in_flight += 1;
                let block = Sending::Block { to: rank, len, since, charge, notice };
                self.sending.insert(id, block);
            }
        }
        Ok(())
    }

    /// What is done every second: rank 0 sends a pulse, and receives that are overdue are charged
    /// to the budget.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if self.me == 0 && !self.quiet {
            (1..self.transport.size())
                .for_each(|rank| self.queue(rank, &Packet::Process(ProcessMessage::Pulse)));
        }
        let Some(budget) = &self.budget else { return };
        for remote in &mut self.remotes {
            remote.charge_overdue(|since| now.saturating_duration_since(since) > OVERDUE, budget);
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
        let id = self.transport.receive(lane, from, STREAM_TAG, buffer)?;
        self.waiting.insert(id, Waiting::Fragment(lane));
        Ok(())
    }

    /// Posts the receive, then asks.
    fn request(
        &mut self,
        to: u32,
        torrent: TorrentId,
        range: BlockRef,
    ) -> Result<(), TransportError> {
        let Some(remote) = self.remotes.get_mut(to as usize).filter(|remote| !remote.gone) else {
            return Ok(());
        };
        let tag = if range.len > INLINE { remote.tags.take() } else { None };
        let (Some(tag), Some(budget)) = (tag, &self.budget) else {
            let message = Message::Request(range);
            self.queue(to, &Packet::Frame(Frame::Wire { torrent, message }));
            return Ok(());
        };
        let buffer = budget.buffers().take(range.len as usize);
        let id = self.transport.receive(Lane::Data, Some(to), tag, buffer)?;
        remote.post(tag, Posted { id, torrent, range, since: Instant::now(), charge: None });
        self.waiting.insert(id, Waiting::Block { from: to, tag });
        self.in_flight += 1;
        self.queue(to, &Packet::Ask { torrent, range, tag });
        Ok(())
    }

    /// Sends a block that the rank requested, unless it has cancelled the request.
    fn piece(
        &mut self,
        to: u32,
        torrent: TorrentId,
        range: BlockRef,
        payload: Payload,
        notice: SentNotice,
    ) {
        let Some(remote) = self.remotes.get_mut(to as usize).filter(|remote| !remote.gone) else {
            return;
        };
        match remote.answer(torrent, range) {
            Some(0) => {
                self.queue(to, &Packet::Frame(Frame::Piece { torrent, range, payload }));
                notice.sent();
            }
            // Longer than what was asked for it would be written beyond the receive's buffer: not
            // every library stops at its end.
            Some(tag) if payload.data.len() > range.len as usize => {
                self.queue(to, &Packet::Void { torrent, tag });
            }
            Some(tag) => {
                let Payload { data, charge } = payload;
                remote.blocks.push_back(Answer { tag, torrent, data, charge, notice });
                if !std::mem::replace(&mut remote.dirty, true) {
                    self.dirty.push(to);
                }
            }
            None => {}
        }
    }

    /// A request of the rank will not be answered.
    fn void_one(&mut self, to: u32, torrent: TorrentId, range: BlockRef) {
        let remote = self.remotes.get_mut(to as usize);
        if let Some(tag @ 1..) = remote.and_then(|remote| remote.answer(torrent, range)) {
            self.queue(to, &Packet::Void { torrent, tag });
        }
    }

    /// No request of the rank for this torrent will be answered.
    fn void_all(&mut self, to: u32, torrent: TorrentId) {
        let Some(remote) = self.remotes.get_mut(to as usize) else { return };
        for tag in remote.forget(torrent) {
            self.queue(to, &Packet::Void { torrent, tag });
        }
    }

    fn ended(&mut self, done: Done) -> Result<(), TransportError> {
        match done {
            Done::Sent { id } => self.sent(id),
            Done::Received { id, from, buffer, len } => match self.waiting.remove(&id) {
                Some(Waiting::Fragment(lane)) => {
                    let bytes = buffer.as_ref().get(..len).unwrap_or_default();
                    self.fragment(from, bytes);
                    return self.listen_in(lane, buffer);
                }
                Some(Waiting::Block { from, tag }) => self.landed(from, tag, Some((buffer, len))),
                None => {}
            },
            Done::Cancelled { id } => match self.waiting.remove(&id) {
                Some(Waiting::Block { from, tag }) => self.voided(from, tag),
                Some(Waiting::Fragment(_)) => {}
                None => self.sent(id),
            },
            Done::Failed { id, error } => match self.waiting.remove(&id) {
                // Longer than what was asked for: its sender is to blame.
                Some(Waiting::Block { from, tag }) => self.landed(from, tag, None),
                // A fragment that is too long has no known sender.
                Some(Waiting::Fragment(lane)) => {
                    tracing::warn!(%error, "a fragment could not be received");
                    return self.listen(lane);
                }
                None => {
                    tracing::warn!(%error, "a message could not be sent");
                    self.sent(id);
                }
            },
        }
        Ok(())
    }

    fn sent(&mut self, id: OperationId) {
        if let Some(Sending::Block { to, len, since, charge, notice }) = self.sending.remove(&id) {
            drop(charge);
            notice.sent();
            self.in_flight = self.in_flight.saturating_sub(1);
            if let Some(remote) = self.remotes.get_mut(to as usize) {
                remote.window.ended(len, since.elapsed());
                if !remote.blocks.is_empty() && !std::mem::replace(&mut remote.dirty, true) {
                    self.dirty.push(to);
                }
            }
        }
    }

    /// A block has landed; `None` if it was longer than what was asked for.
    fn landed(&mut self, from: u32, tag: u16, landed: Option<(Buffer, usize)>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(remote) = self.remotes.get_mut(from as usize) else { return };
        let Some(Posted { torrent, range, charge, .. }) = remote.unpost(tag) else { return };
        if remote.gone {
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
        if let Some(remote) = self.remotes.get_mut(from as usize) {
            remote.unpost(tag);
        }
    }

    fn fragment(&mut self, from: u32, bytes: &[u8]) {
        let Some(remote) = self.remotes.get_mut(from as usize).filter(|remote| !remote.gone) else {
            return;
        };
        let mut packets = std::mem::take(&mut self.packets);
        let received = remote.receive(bytes, &mut packets);
        // Credits came, or are to be given back.
        if !std::mem::replace(&mut remote.dirty, true) {
            self.dirty.push(from);
        }
        // Before anything that came is handled: else its trace line could seem older than its
        // cause.
        if let Ok(stamp) = &received {
            self.clock.observe(*stamp);
        }
        for packet in packets.drain(..) {
            self.packet(from, packet);
        }
        self.packets = packets;
        if let Err(why) = received {
            self.lost(Rank(from));
            (self.events)(Rank(from), CarrierEvent::Broken(why));
        }
    }

    fn packet(&mut self, from: u32, packet: Packet) {
        let Some(remote) = self.remotes.get_mut(from as usize) else { return };
        let mut frame = match packet {
            Packet::Frame(frame) => frame,
            Packet::Ask { torrent, range, tag } => {
                remote.asked(torrent, range, tag);
                let message = Message::Request(range);
                return self.deliver(Rank(from), Frame::Wire { torrent, message });
            }
            Packet::Void { tag, .. } => {
                if let Some(id) = remote.id(tag) {
                    self.transport.cancel(id);
                }
                return;
            }
            Packet::Process(message) => {
                return (self.events)(Rank(from), CarrierEvent::Message(message));
            }
        };
        match &mut frame {
            Frame::Wire { torrent, message: Message::Request(range) } => {
                remote.asked(*torrent, *range, 0);
            }
            Frame::Piece { payload, .. } => {
                let bytes = payload.data.len() as u64;
                payload.charge = self.budget.as_ref().map(|budget| budget.charge_unbounded(bytes));
            }
            Frame::HangUp { torrent } => self.void_all(from, *torrent),
            Frame::Control(_) | Frame::Handshake { .. } | Frame::Wire { .. } => {}
        }
        self.deliver(Rank(from), frame);
    }

    fn deliver(&mut self, from: Rank, frame: Frame) {
        match &self.frames {
            Some(frames) => frames(from, frame),
            None => self.held.push((from, frame)),
        }
    }
}
