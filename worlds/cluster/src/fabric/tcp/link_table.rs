//! The table of all links of a process: which ranks are linked, where frames and events go, what
//! follows when a link breaks, and when a rank counts as lost. It decides nothing about pieces.
//!
//! A link that breaks between two peers is a hang-up of all their torrents: the engine dials again.
//! One that breaks between rank 0 and a peer is made again by the peer within [`GRACE`], and their
//! resumable streams lose nothing; after that each takes the other for dead.

use super::link_protocol::LinkMessage;
use super::queue::{OutgoingBlock, ResumableStream};
use super::rank_links::{OpenLink, RankLinks, ResumableIn, UnackedOutput};
use crate::fabric::process::carrier::{CarrierEvent, EventSink, FrameSink};
use crate::fabric::process::message::ProcessMessage;
use crate::fabric::process::packet::{Packet, encode};
use crate::frame::{Frame, Sent};
use crate::lock::lock;
use crate::trace::TraceClock;
use bytes::Bytes;
use dunlin_base::{Rank, TorrentId};
use dunlin_disk::{Budget, Buffer, BufferPool};
use dunlin_links::{Link, LinkError, Party};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// A peer's link to rank 0 that is not made again within so long is not made again.
pub(super) const GRACE: Duration = Duration::from_secs(3);
/// Links between rank 0 and a peer may break for so long without carrying anything, where no run
/// has set how long.
const PATIENCE: Duration = Duration::from_secs(60);
/// A peer whose links are changed on the way, one after the other for so long, gives nothing more:
/// the rest of the stall time is left to find out that no other source has its files.
const FORGED: Duration = Duration::from_secs(8);
/// Rank 0 waits a little longer than a peer tries.
const LAST: Duration = Duration::from_millis(500);
/// Blocks up to this many bytes travel among the small things: a frame of their own would cost more
/// than the copy. Tokens always are that small.
const INLINE: usize = 2048;
/// Memory for blocks that come before there is a budget, in bytes.
const SPARE: u64 = 4 << 20;

/// Something for a task of its own to do. The table names it; the carrier that made the table
/// starts it.
pub(super) enum LinkTask {
    /// Send and receive on a link that stands.
    Run {
        /// Whose link it is.
        links: Arc<RankLinks>,
        /// The number of the link.
        id: u64,
        /// Notified when something waits to be sent.
        wake: Arc<Notify>,
        /// The link.
        link: Box<Link>,
    },
    /// Make a link to a peer, for what waits to be sent to it.
    DialPeer(Arc<RankLinks>),
    /// Make the link to rank 0 again, unless more links than these have broken.
    DialRoot {
        /// How often the links with rank 0 have broken.
        breaks: u64,
    },
}

/// Starts a task on the table's runtime.
pub(super) type TaskStarter = fn(&Arc<LinkTable>, LinkTask);

/// Everything that the tasks share.
pub(super) struct LinkTable {
    pub(super) party: Party,
    size: u32,
    pub(super) clock: Arc<TraceClock>,
    pub(super) runtime: Handle,
    start: TaskStarter,
    /// Where we listen: the port, and the address if a person chose one.
    pub(super) listens_at: OnceLock<(u16, Option<IpAddr>)>,
    /// Where rank 0 was found.
    pub(super) root: OnceLock<SocketAddr>,
    ranks: Mutex<BTreeMap<Rank, Arc<RankLinks>>>,
    frames: RwLock<Frames>,
    events: EventSink,
    budget: OnceLock<Arc<Budget>>,
    spare: Arc<BufferPool>,
    greeting: OnceLock<Bytes>,
    patience: OnceLock<Duration>,
    quiet: AtomicBool,
    next_link: AtomicU64,
}

#[derive(Default)]
struct Frames {
    sink: Option<FrameSink>,
    /// Frames that came before there was a sink.
    held: Vec<(Rank, Frame)>,
}

impl LinkTable {
    pub(super) fn new(
        party: Party,
        size: u32,
        clock: Arc<TraceClock>,
        events: EventSink,
        (runtime, start): (Handle, TaskStarter),
    ) -> LinkTable {
        LinkTable {
            party,
            size,
            clock,
            runtime,
            start,
            listens_at: OnceLock::new(),
            root: OnceLock::new(),
            ranks: Mutex::default(),
            frames: RwLock::default(),
            events,
            budget: OnceLock::new(),
            spare: BufferPool::new(SPARE),
            greeting: OnceLock::new(),
            patience: OnceLock::new(),
            quiet: AtomicBool::new(false),
            next_link: AtomicU64::new(1),
        }
    }

    pub(super) fn leads(&self) -> bool {
        self.party.rank == Rank::TRACKER
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::SeqCst)
    }

    pub(super) fn be_quiet(&self) {
        self.quiet.store(true, Ordering::SeqCst);
    }

    /// The links with a rank.
    pub(super) fn of(&self, rank: Rank) -> Arc<RankLinks> {
        let mut ranks = lock(&self.ranks);
        Arc::clone(ranks.entry(rank).or_insert_with(|| Arc::new(RankLinks::new(rank))))
    }

    /// The links with every rank that was ever linked or dialled.
    pub(super) fn all(&self) -> Vec<Arc<RankLinks>> {
        lock(&self.ranks).values().cloned().collect()
    }

    /// Reports something about a rank to the driver.
    pub(super) fn report(&self, rank: Rank, event: CarrierEvent) {
        (self.events)(rank, event);
    }

    /// How long links may break one after the other without carrying anything.
    pub(super) fn set_patience(&self, patience: Duration) {
        // It is set once.
        let _ = self.patience.set(patience);
    }

    pub(super) fn use_budget(&self, budget: Arc<Budget>) {
        // It is set once.
        let _ = self.budget.set(budget);
    }

    /// Memory for a block that comes in.
    pub(super) fn buffer(&self, len: usize) -> Buffer {
        match self.budget.get() {
            Some(budget) => budget.buffers().take(len),
            None => self.spare.take(len),
        }
    }

    pub(super) fn budget(&self) -> Option<&Arc<Budget>> {
        self.budget.get()
    }

    pub(super) fn deliver_to(&self, sink: FrameSink) {
        let mut frames = self.frames.write().unwrap_or_else(PoisonError::into_inner);
        frames.held.drain(..).for_each(|(from, frame)| sink(from, frame));
        frames.sink = Some(sink);
    }

    pub(super) fn deliver(&self, from: Rank, frame: Frame) {
        let frames = self.frames.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sink) = &frames.sink {
            return sink(from, frame);
        }
        drop(frames);
        let mut frames = self.frames.write().unwrap_or_else(PoisonError::into_inner);
        match &frames.sink {
            Some(sink) => sink(from, frame),
            None => frames.held.push((from, frame)),
        }
    }

    /// Sends this session message first to every rank, also to those that are linked later.
    pub(super) fn greet(self: &Arc<Self>, session: Bytes) {
        let mut encoded = Vec::new();
        encode(&Packet::Process(ProcessMessage::Session(session)), &mut encoded);
        let greeting = Bytes::from(encoded);
        if self.greeting.set(greeting.clone()).is_err() {
            return;
        }
        for links in self.all() {
            let mut state = links.state();
            if state.life != 0 && !std::mem::replace(&mut state.greeted, true) {
                state.queue.resumable.push(greeting.clone());
                state.wake();
            }
        }
    }

    /// Sends a frame.
    pub(super) fn send(self: &Arc<Self>, to: Rank, frame: Frame, sent: Option<Sent>) {
        let Some(links) = self.partner(to) else {
            return sent.into_iter().for_each(|report| report(false));
        };
        let mut state = links.state();
        let nobody_dials = self.leads() || to == Rank::TRACKER;
        if nobody_dials && state.is_dead() {
            drop(state);
            if let Frame::Handshake { torrent, .. } = frame {
                self.deliver(to, Frame::HangUp { torrent });
            }
            return sent.into_iter().for_each(|report| report(false));
        }
        let mut inline = None;
        let mut dropped = Vec::new();
        match frame {
            Frame::Control(_) => {
                drop(state);
                return self.send_resumable(to, &Packet::Frame(frame));
            }
            Frame::Piece { torrent, range, payload } if payload.data.len() > INLINE => {
                state.queue.block(OutgoingBlock { torrent, range, payload, sent });
            }
            frame => {
                match &frame {
                    Frame::Handshake { torrent, .. } => _ = state.torrents.insert(*torrent),
                    Frame::HangUp { torrent } => {
                        state.torrents.remove(torrent);
                        dropped = state.queue.take_blocks_of(*torrent);
                    }
                    Frame::Piece { .. } => inline = sent,
                    Frame::Control(_) | Frame::Wire { .. } => {}
                }
                encode(&Packet::Frame(frame), state.queue.per_link());
            }
        }
        state.wake();
        let dial = !nobody_dials && state.open.is_empty();
        let dial = dial && !std::mem::replace(&mut state.dialling, true);
        drop(state);
        inline.into_iter().for_each(|report| report(true));
        dropped.into_iter().for_each(|block| block.end(false));
        if dial {
            (self.start)(self, LinkTask::DialPeer(links));
        }
    }

    /// The links with a rank that can be sent something.
    fn partner(&self, to: Rank) -> Option<Arc<RankLinks>> {
        let other = to != self.party.rank && to.0 < self.size;
        (other && !(self.is_quiet() && to != Rank::TRACKER && !self.leads())).then(|| self.of(to))
    }

    /// Sends a packet in the resumable stream.
    pub(super) fn send_resumable(&self, to: Rank, packet: &Packet) {
        let Some(links) = self.partner(to) else { return };
        let mut encoded = Vec::new();
        encode(packet, &mut encoded);
        let mut state = links.state();
        if !state.is_dead() {
            state.queue.resumable.push(encoded.into());
            state.wake();
        }
    }

    /// Sends a message of the carrier.
    pub(super) fn send_link_message(&self, to: &RankLinks, message: &LinkMessage) {
        let mut state = to.state();
        if !state.open.is_empty() {
            state.queue.message(message.encode());
            state.wake();
        }
    }

    /// A link stands: from now on it is used.
    pub(super) fn enter(self: &Arc<Self>, link: Link) {
        let (rank, life) = (link.remote.rank, link.remote.life);
        if rank.0 >= self.size || rank == self.party.rank || self.is_quiet() {
            return;
        }
        let links = self.of(rank);
        let resumable = self.leads() || rank == Rank::TRACKER;
        let id = self.next_link.fetch_add(1, Ordering::Relaxed);
        let mut lost = UnackedOutput::default();
        let mut flapping = None;
        let mut state = links.state();
        let another = state.life != 0 && state.life != life;
        if state.dead == Some(life) || (another && rank == Rank::TRACKER) {
            tracing::debug!(%rank, "a link of a process that is gone");
            return;
        }
        let was_dead = state.dead.is_some();
        if another {
            lost = state.cut_all();
            state.dead = Some(state.life);
            state.reset(life);
        } else if !link.dialled && state.open.iter().any(|open| !open.dialled) {
            // A rank that has a link does not dial: that one is over at the other end.
            flapping =
                state.broke(Instant::now(), "the other end has made another", false).flapping;
            lost = state.cut_all();
        }
        let first = state.life != life || another;
        state.life = life;
        let received = {
            let mut resumable_in = links.resumable_in();
            if another {
                *resumable_in = ResumableIn::default();
            }
            resumable_in.link = id;
            resumable_in.received
        };
        if let (true, Some(greeting)) = (resumable && self.leads(), self.greeting.get())
            && !std::mem::replace(&mut state.greeted, true)
        {
            debug_assert!(first, "a process is greeted when it is first seen");
            state.queue.resumable.push_first(greeting.clone());
        }
        if resumable {
            state.queue.message(LinkMessage::Resume { received }.encode());
        }
        if let (true, Some((port, ip))) = (link.dialled, self.listens_at.get()) {
            state.queue.message(LinkMessage::ListensAt { port: *port, ip: *ip }.encode());
        }
        let wake = Arc::new(Notify::new());
        state.open.push(OpenLink {
            id,
            since: Instant::now(),
            dialled: link.dialled,
            shutdown: link.shutdown_handle(),
            wake: Arc::clone(&wake),
            resumed: false,
            writing: false,
            there: link.there.ip().to_canonical(),
            here: link.here.ip().to_canonical(),
        });
        state.linked();
        drop(state);
        tracing::debug!(%rank, there = %link.there, dialled = link.dialled, "linked");
        self.hang_up(&links, lost);
        if let Some(text) = flapping {
            self.report(rank, CarrierEvent::Flapping(text));
        }
        if another && !was_dead && self.leads() {
            self.report(rank, CarrierEvent::Lost("its process was started again".into()));
        }
        (self.start)(self, LinkTask::Run { links, id, wake, link: Box::new(link) });
    }

    /// A link is over, and with it all links with its rank.
    pub(super) fn broke(self: &Arc<Self>, links: &Arc<RankLinks>, id: u64, error: &LinkError) {
        let why = &error.to_string();
        let mut state = links.state();
        if !state.open.iter().any(|one| one.id == id) {
            return;
        }
        let broke = state.broke(Instant::now(), why, matches!(error, LinkError::Auth(_)));
        let lost = state.cut_all();
        let breaks = state.breaks;
        drop(state);
        tracing::debug!(rank = %links.rank, why, "the link is over");
        self.hang_up(links, lost);
        if self.is_quiet() {
            return;
        }
        if let Some(text) = broke.flapping {
            self.report(links.rank, CarrierEvent::Flapping(text));
        }
        let resumable = self.leads() || links.rank == Rank::TRACKER;
        let patience = *self.patience.get().unwrap_or(&PATIENCE);
        if resumable && broke.since.elapsed() >= patience {
            return self.lose(links, breaks, &broke.count);
        }
        if broke.forged && broke.since.elapsed() >= patience.min(FORGED) {
            return self.violated(links, broke.count);
        }
        if links.rank == Rank::TRACKER {
            (self.start)(self, LinkTask::DialRoot { breaks });
        } else if self.leads() {
            let (table, links) = (Arc::clone(self), Arc::clone(links));
            let why = broke.count;
            self.runtime.spawn(async move {
                tokio::time::sleep(GRACE + LAST).await;
                table.lose(&links, breaks, &why);
            });
        }
    }

    /// The link was not made again in time.
    pub(super) fn lose(&self, links: &RankLinks, breaks: u64, why: &str) {
        let mut state = links.state();
        if state.breaks != breaks || !state.open.is_empty() || state.is_dead() {
            return;
        }
        state.dead = Some(state.life);
        let lost = state.cut_all();
        state.queue.resumable = ResumableStream::default();
        drop(state);
        self.hang_up(links, lost);
        if !self.is_quiet() {
            self.report(links.rank, CarrierEvent::Lost(why.to_owned()));
        }
    }

    /// A driver knows that a rank is gone.
    pub(super) fn lost(&self, rank: Rank) {
        let links = self.of(rank);
        let mut state = links.state();
        if state.life == 0 || state.is_dead() {
            return;
        }
        state.dead = Some(state.life);
        state.address = None;
        let lost = state.cut_all();
        state.queue.resumable = ResumableStream::default();
        drop(state);
        self.hang_up(&links, lost);
    }

    /// What a rank sends violates the protocol: it is another build, or a broken one.
    pub(super) fn violated(&self, links: &RankLinks, why: String) {
        self.lost(links.rank);
        self.report(links.rank, CarrierEvent::Broken(why));
    }

    /// Delivers to the engine what was lost with the links.
    pub(super) fn hang_up(&self, links: &RankLinks, lost: UnackedOutput) {
        for torrent in lost.torrents {
            self.deliver(links.rank, Frame::HangUp { torrent });
        }
        lost.blocks.into_iter().for_each(|block| block.end(false));
    }

    /// The other end opened or closed the connection of a torrent.
    pub(super) fn set_connected(&self, links: &RankLinks, torrent: TorrentId, open: bool) {
        let mut state = links.state();
        if open {
            state.torrents.insert(torrent);
        } else {
            state.torrents.remove(&torrent);
        }
    }

    /// Whether everything is handed to the system that can be.
    pub(super) fn drained(&self) -> bool {
        self.all().iter().all(|links| links.state().drained())
    }

    /// Ends all links.
    pub(super) fn end(&self) {
        for links in self.all() {
            let lost = links.state().cut_all();
            lost.blocks.into_iter().for_each(|block| block.end(false));
        }
    }
}
