//! The board that all links of a process come together on: who is linked, where frames and words go,
//! who is told that a link broke, and when a rank counts as lost. It decides nothing about pieces.
//!
//! A link that breaks between two peers is a hang-up of all their torrents: the engine dials again. One
//! that breaks between rank 0 and a peer is made again by the peer within [`GRACE`], and what they
//! told each other firmly is not lost; after that each takes the other for dead.

use super::pair::{Line, Pair, Wreck};
use super::queue::Block;
use super::talk::Talk;
use crate::fabric::process::carrier::{FrameSink, Word, WordSink};
use crate::fabric::process::envelope::{Parcel, pack};
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
/// Links between rank 0 and a peer may break for so long without carrying anything, where no run has
/// said how long anybody waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// A peer whose links are changed on the way, one after the other for so long, gives nothing more: who
/// waits for it has the rest of the time to hear that nobody else does.
const FORGED: Duration = Duration::from_secs(8);
/// Rank 0 waits a little longer than a peer tries.
const LAST: Duration = Duration::from_millis(500);
/// Blocks up to this many bytes travel among the small things: a frame of their own would cost more than
/// the copy. Tokens always are that small.
const INLINE: usize = 2048;
/// Memory for blocks that come before anybody said which memory is theirs, in bytes.
const SPARE: u64 = 4 << 20;

/// Something for a task of its own to do. The board names it; whoever made the board starts it.
pub(super) enum LinkTask {
    /// Send and receive on a link that stands.
    Run {
        /// Whose link it is.
        pair: Arc<Pair>,
        /// The number of the link.
        line: u64,
        /// Notified when something waits to be sent.
        wake: Arc<Notify>,
        /// The link.
        link: Box<Link>,
    },
    /// Make a link to a peer, for what waits to be sent to it.
    DialPeer(Arc<Pair>),
    /// Make the link to rank 0 again, unless more links than these have broken.
    DialRoot {
        /// How often the links with rank 0 have broken.
        breaks: u64,
    },
}

/// Starts a task on the board's runtime.
pub(super) type TaskStarter = fn(&Arc<Board>, LinkTask);

/// Everything that the tasks share.
pub(super) struct Board {
    pub(super) party: Party,
    size: u32,
    pub(super) clock: Arc<TraceClock>,
    pub(super) runtime: Handle,
    start: TaskStarter,
    /// Where we let others in: the port, and the address if a person chose one.
    pub(super) door: OnceLock<(u16, Option<IpAddr>)>,
    /// Where rank 0 was found.
    pub(super) root: OnceLock<SocketAddr>,
    pairs: Mutex<BTreeMap<Rank, Arc<Pair>>>,
    frames: RwLock<Frames>,
    words: WordSink,
    budget: OnceLock<Arc<Budget>>,
    spare: Arc<BufferPool>,
    greeting: OnceLock<Bytes>,
    patience: OnceLock<Duration>,
    quiet: AtomicBool,
    next_line: AtomicU64,
}

#[derive(Default)]
struct Frames {
    sink: Option<FrameSink>,
    /// Frames that came before anybody took them.
    held: Vec<(Rank, Frame)>,
}

impl Board {
    pub(super) fn new(
        party: Party,
        size: u32,
        clock: Arc<TraceClock>,
        words: WordSink,
        (runtime, start): (Handle, TaskStarter),
    ) -> Board {
        Board {
            party,
            size,
            clock,
            runtime,
            start,
            door: OnceLock::new(),
            root: OnceLock::new(),
            pairs: Mutex::default(),
            frames: RwLock::default(),
            words,
            budget: OnceLock::new(),
            spare: BufferPool::new(SPARE),
            greeting: OnceLock::new(),
            patience: OnceLock::new(),
            quiet: AtomicBool::new(false),
            next_line: AtomicU64::new(1),
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

    pub(super) fn pair(&self, rank: Rank) -> Arc<Pair> {
        let mut pairs = lock(&self.pairs);
        Arc::clone(pairs.entry(rank).or_insert_with(|| Arc::new(Pair::new(rank))))
    }

    pub(super) fn pairs(&self) -> Vec<Arc<Pair>> {
        lock(&self.pairs).values().cloned().collect()
    }

    pub(super) fn word(&self, from: Rank, word: Word) {
        (self.words)(from, word);
    }

    /// How long links may break one after the other without carrying anything.
    pub(super) fn bear(&self, patience: Duration) {
        // It is said once.
        let _ = self.patience.set(patience);
    }

    pub(super) fn use_budget(&self, budget: Arc<Budget>) {
        // It is said once.
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

    /// What is said first to everyone.
    pub(super) fn greet(self: &Arc<Self>, session: Bytes) {
        let mut packed = Vec::new();
        pack(&Parcel::Session(session), &mut packed);
        let greeting = Bytes::from(packed);
        if self.greeting.set(greeting.clone()).is_err() {
            return;
        }
        for pair in self.pairs() {
            let mut state = pair.state();
            if state.life != 0 && !std::mem::replace(&mut state.greeted, true) {
                state.queue.firm.push(greeting.clone());
                state.wake();
            }
        }
    }

    /// Sends a frame.
    pub(super) fn send(self: &Arc<Self>, to: Rank, frame: Frame, sent: Option<Sent>) {
        let Some(pair) = self.partner(to) else {
            sent.into_iter().for_each(|tell| tell(false));
            return;
        };
        let mut state = pair.state();
        let nobody_dials = self.leads() || to == Rank::TRACKER;
        if nobody_dials && state.is_dead() {
            drop(state);
            if let Frame::Handshake { torrent, .. } = frame {
                self.deliver(to, Frame::HangUp { torrent });
            }
            return sent.into_iter().for_each(|tell| tell(false));
        }
        let mut told = None;
        let mut dropped = Vec::new();
        match frame {
            Frame::Control(control) => {
                drop(state);
                return self.parcel(to, &Parcel::Control(control));
            }
            Frame::Handshake { torrent, handshake } => {
                state.torrents.insert(torrent);
                pack(&Parcel::Handshake { torrent, handshake }, state.queue.loose());
            }
            Frame::Wire { torrent, message } => {
                pack(&Parcel::Wire { torrent, message }, state.queue.loose());
            }
            Frame::Piece { torrent, range, payload } if payload.data.len() <= INLINE => {
                let data = payload.data;
                pack(&Parcel::Piece { torrent, range, data }, state.queue.loose());
                told = sent;
            }
            Frame::Piece { torrent, range, payload } => {
                state.queue.block(Block { torrent, range, payload, sent });
            }
            Frame::HangUp { torrent } => {
                state.torrents.remove(&torrent);
                dropped = state.queue.take_blocks_of(torrent);
                pack(&Parcel::HangUp { torrent }, state.queue.loose());
            }
        }
        state.wake();
        let dial = !nobody_dials && state.lines.is_empty();
        let dial = dial && !std::mem::replace(&mut state.dialling, true);
        drop(state);
        told.into_iter().for_each(|tell| tell(true));
        dropped.into_iter().for_each(|block| block.end(false));
        if dial {
            (self.start)(self, LinkTask::DialPeer(pair));
        }
    }

    /// Who can be sent something.
    fn partner(&self, to: Rank) -> Option<Arc<Pair>> {
        let other = to != self.party.rank && to.0 < self.size;
        (other && !(self.is_quiet() && to != Rank::TRACKER && !self.leads())).then(|| self.pair(to))
    }

    /// Sends a parcel firmly.
    pub(super) fn parcel(&self, to: Rank, parcel: &Parcel) {
        let Some(pair) = self.partner(to) else { return };
        let mut packed = Vec::new();
        pack(parcel, &mut packed);
        let mut state = pair.state();
        if !state.is_dead() {
            state.queue.firm.push(packed.into());
            state.wake();
        }
    }

    /// A message of the carrier.
    pub(super) fn talk(&self, to: &Pair, talk: &Talk) {
        let mut state = to.state();
        if !state.lines.is_empty() {
            state.queue.talk(talk.encode());
            state.wake();
        }
    }

    /// A link stands: from now on it is used.
    pub(super) fn enter(self: &Arc<Self>, link: Link) {
        let (rank, life) = (link.remote.rank, link.remote.life);
        if rank.0 >= self.size || rank == self.party.rank || self.is_quiet() {
            return;
        }
        let pair = self.pair(rank);
        let firm = self.leads() || rank == Rank::TRACKER;
        let id = self.next_line.fetch_add(1, Ordering::Relaxed);
        let mut wreck = Wreck::default();
        let mut word = None;
        let mut state = pair.state();
        let another = state.life != 0 && state.life != life;
        if state.dead == Some(life) || (another && rank == Rank::TRACKER) {
            tracing::debug!(%rank, "a link of a process that is gone");
            return;
        }
        let was_dead = state.dead.is_some();
        if another {
            wreck = state.wreck();
            state.dead = Some(state.life);
            state.forget(life);
        } else if !link.dialled && state.lines.iter().any(|line| !line.dialled) {
            // Nobody dials who has a link: that one is over at the other end.
            word = state.broken(Instant::now(), "the other end has made another", false).word;
            wreck = state.wreck();
        }
        let first = state.life != life || another;
        state.life = life;
        let received = {
            let mut firm_in = pair.firm_in();
            if another {
                *firm_in = super::pair::FirmIn::default();
            }
            firm_in.line = id;
            firm_in.received
        };
        if let (true, Some(greeting)) = (firm && self.leads(), self.greeting.get())
            && !std::mem::replace(&mut state.greeted, true)
        {
            debug_assert!(first, "a process is greeted when it is first seen");
            state.queue.firm.push_first(greeting.clone());
        }
        if firm {
            state.queue.talk(Talk::Resume { received }.encode());
        }
        if let (true, Some((port, ip))) = (link.dialled, self.door.get()) {
            state.queue.talk(Talk::Here { port: *port, ip: *ip }.encode());
        }
        let wake = Arc::new(Notify::new());
        state.lines.push(Line {
            id,
            since: Instant::now(),
            dialled: link.dialled,
            cut: link.cut(),
            wake: Arc::clone(&wake),
            resumed: false,
            writing: false,
            there: link.there.ip().to_canonical(),
            here: link.here.ip().to_canonical(),
        });
        state.succeeded();
        drop(state);
        tracing::debug!(%rank, there = %link.there, dialled = link.dialled, "linked");
        self.hang_up(&pair, wreck);
        if let Some(word) = word {
            self.word(rank, Word::Worn(word));
        }
        if another && !was_dead && self.leads() {
            self.word(rank, Word::Lost("its process was started again".into()));
        }
        (self.start)(self, LinkTask::Run { pair, line: id, wake, link: Box::new(link) });
    }

    /// A link is over, and with it all links of its pair.
    pub(super) fn broke(self: &Arc<Self>, pair: &Arc<Pair>, line: u64, error: &LinkError) {
        let why = &error.to_string();
        let mut state = pair.state();
        if !state.lines.iter().any(|one| one.id == line) {
            return;
        }
        let worn = state.broken(Instant::now(), why, matches!(error, LinkError::Forged(_)));
        let wreck = state.wreck();
        let breaks = state.breaks;
        drop(state);
        tracing::debug!(rank = %pair.rank, why, "the link is over");
        self.hang_up(pair, wreck);
        if self.is_quiet() {
            return;
        }
        if let Some(word) = worn.word {
            self.word(pair.rank, Word::Worn(word));
        }
        let firm = self.leads() || pair.rank == Rank::TRACKER;
        let patience = *self.patience.get().unwrap_or(&PATIENCE);
        if firm && worn.since.elapsed() >= patience {
            return self.lose(pair, breaks, &worn.count);
        }
        if worn.forged && worn.since.elapsed() >= patience.min(FORGED) {
            return self.broken(pair, worn.count);
        }
        if pair.rank == Rank::TRACKER {
            (self.start)(self, LinkTask::DialRoot { breaks });
        } else if self.leads() {
            let (board, pair) = (Arc::clone(self), Arc::clone(pair));
            let why = worn.count;
            self.runtime.spawn(async move {
                tokio::time::sleep(GRACE + LAST).await;
                board.lose(&pair, breaks, &why);
            });
        }
    }

    /// The link was not made again in time.
    pub(super) fn lose(&self, pair: &Pair, breaks: u64, why: &str) {
        let mut state = pair.state();
        if state.breaks != breaks || !state.lines.is_empty() || state.is_dead() {
            return;
        }
        state.dead = Some(state.life);
        let wreck = state.wreck();
        state.queue.firm = super::queue::Firm::default();
        drop(state);
        self.hang_up(pair, wreck);
        if !self.is_quiet() {
            self.word(pair.rank, Word::Lost(why.to_owned()));
        }
    }

    /// A driver knows that a rank is gone.
    pub(super) fn lost(&self, rank: Rank) {
        let pair = self.pair(rank);
        let mut state = pair.state();
        if state.life == 0 || state.is_dead() {
            return;
        }
        state.dead = Some(state.life);
        state.address = None;
        let wreck = state.wreck();
        state.queue.firm = super::queue::Firm::default();
        drop(state);
        self.hang_up(&pair, wreck);
    }

    /// What it sends makes no sense: it is another build, or a broken one.
    pub(super) fn broken(&self, pair: &Pair, why: String) {
        self.lost(pair.rank);
        self.word(pair.rank, Word::Broken(why));
    }

    /// The engine hears what went down with the links.
    pub(super) fn hang_up(&self, pair: &Pair, wreck: Wreck) {
        for torrent in wreck.torrents {
            self.deliver(pair.rank, Frame::HangUp { torrent });
        }
        wreck.blocks.into_iter().for_each(|block| block.end(false));
    }

    /// A torrent was greeted or hung up by the other end.
    pub(super) fn note(&self, pair: &Pair, torrent: TorrentId, open: bool) {
        let mut state = pair.state();
        if open {
            state.torrents.insert(torrent);
        } else {
            state.torrents.remove(&torrent);
        }
    }

    /// Whether everything is handed to the system that can be.
    pub(super) fn drained(&self) -> bool {
        self.pairs().iter().all(|pair| pair.state().drained())
    }

    /// Ends all links.
    pub(super) fn end(&self) {
        for pair in self.pairs() {
            let wreck = pair.state().wreck();
            wreck.blocks.into_iter().for_each(|block| block.end(false));
        }
    }
}
