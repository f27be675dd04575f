//! The loop: one thread, named `net`, that owns every socket and the engine. It hears what happened
//! (sockets, disk, trackers, the app, time), tells the engine, and does what the engine asks. It decides
//! nothing but how much of one connection is read before the next one has its turn.
//!
//! - `sockets`: listening, dialling, reading and writing;
//! - `outputs`: what the engine asks for;
//! - `payload`: pieces that come, and blocks that go;
//! - `held`: memory that connections hold, counted and bounded.

mod held;
mod outputs;
mod payload;
mod sockets;

use crate::bind::Bind;
use crate::buffers::Buffers;
use crate::disk::{Disk, DiskDone, Reporter, local};
use crate::messages::{Mailbox, NetEvent, NewTorrent, WorldMessage};
use crate::outbox::Outbox;
use crate::reads::Reads;
use crate::receive::Receiver as Incoming;
use crate::tracker_client::TrackerClient;
use dunlin_base::{BlockRef, ConnId, Endpoint, InfoHash, Time, TorrentId};
use dunlin_disk::pieces::{self, Report};
use dunlin_disk::{Budget, Existing, Fs, Opened, PathClaims, Storage};
use dunlin_engine::client::Node;
use dunlin_engine::io::{Command, Input, Source};
use dunlin_hash::HashPool;
use dunlin_metainfo::Content;
use held::Pace;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Poll, Token};
use payload::Hot;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// Wakes the loop when something else than a socket has news.
pub(crate) const WAKER: Token = Token(0);
/// Listeners come behind the waker, connections behind the listeners.
const FIRST_LISTENER: usize = 1;
const FIRST_CONN: usize = 16;
/// Bytes that are read without knowing where they go.
const SCRATCH: usize = 64 << 10;
/// The app sees numbers that are at most so old.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Who waits for memory so long asks the others to move over.
const STARVING: Duration = Duration::from_secs(1);

/// One connection.
struct Conn {
    stream: TcpStream,
    remote: SocketAddr,
    receiver: Incoming,
    outbox: Outbox,
    /// The dial has not come through yet: until then at the latest.
    dialling: Option<Instant>,
    /// There may be something to read.
    readable: bool,
    /// The system may take something.
    writable: bool,
    /// Whether it takes what is sent to it.
    pace: Pace,
    /// Bytes of memory that it holds, as they were counted last.
    held: usize,
    /// Why it is hung up on was said.
    explained: bool,
}

/// One torrent, as the loop knows it.
struct Known {
    storage: Arc<Storage>,
    folder: PathBuf,
    existing: Existing,
    content: Option<Arc<Content>>,
    /// Its files are open.
    open: bool,
}

/// Everything that the thread owns.
pub(crate) struct World {
    node: Node,
    poll: Poll,
    bind: Bind,
    start: Instant,
    listeners: Vec<TcpListener>,
    conns: BTreeMap<ConnId, Conn>,
    next_conn: u64,
    /// Connections that have something to do though no event says so.
    ready: BTreeSet<ConnId>,
    /// Listeners at which more may wait.
    knocking: BTreeSet<usize>,
    /// Bytes of memory that all connections hold.
    held: usize,
    /// Connections that hold too much: they are closed as soon as the engine has been heard out.
    doomed: BTreeSet<ConnId>,
    max_conns: usize,
    open_files: usize,
    /// Listeners that could not accept for want of a descriptor; they go on when one is free.
    held_off: BTreeSet<usize>,
    buffers: Buffers,
    fs: Arc<dyn Fs>,
    budget: Arc<Budget>,
    /// Since when somebody waits for memory.
    starving: Option<Instant>,
    pool: Arc<HashPool>,
    /// Where the pool reports to.
    report: pieces::Reporter,
    disk: Disk,
    hot: Hot,
    reads: Reads,
    trackers: TrackerClient,
    torrents: BTreeMap<TorrentId, Known>,
    /// The names of torrents on the wire.
    by_hash: BTreeMap<InfoHash, TorrentId>,
    storages: BTreeMap<PathBuf, Arc<Storage>>,
    /// Which torrent writes which path.
    claims: PathClaims,
    /// Blocks that have come and for which there was no place.
    loose: BTreeMap<(ConnId, BlockRef), Vec<u8>>,
    inputs: VecDeque<Input>,
    messages: Receiver<WorldMessage>,
    events: Sender<NetEvent>,
    mailbox: Arc<Mailbox>,
    shown: Instant,
    scratch: Vec<u8>,
    digest_key: u64,
    /// Nobody has to be told any more; what is left is to close files.
    stopped: bool,
    closing: BTreeSet<TorrentId>,
}

/// What the loop is made of.
pub(crate) struct Parts {
    pub(crate) node: Node,
    pub(crate) poll: Poll,
    pub(crate) bind: Bind,
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) max_conns: usize,
    /// Files that the storage of a folder keeps open.
    pub(crate) open_files: usize,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) pool: Arc<HashPool>,
    pub(crate) report: Reporter,
    pub(crate) disk: Disk,
    pub(crate) trackers: TrackerClient,
    pub(crate) messages: Receiver<WorldMessage>,
    pub(crate) events: Sender<NetEvent>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) digest_key: u64,
}

impl World {
    pub(crate) fn new(parts: Parts) -> World {
        let buffers = Buffers::new(Arc::clone(parts.budget.buffers()));
        let hot = Hot::new(parts.budget.total() / 8);
        World {
            node: parts.node,
            poll: parts.poll,
            bind: parts.bind,
            start: Instant::now(),
            listeners: parts.listeners,
            conns: BTreeMap::new(),
            next_conn: 0,
            ready: BTreeSet::new(),
            knocking: BTreeSet::new(),
            held: 0,
            doomed: BTreeSet::new(),
            max_conns: parts.max_conns,
            open_files: parts.open_files,
            held_off: BTreeSet::new(),
            buffers,
            fs: parts.fs,
            budget: parts.budget,
            starving: None,
            pool: parts.pool,
            report: Arc::new(move |done| (parts.report)(DiskDone::Pieces(done))),
            disk: parts.disk,
            hot,
            reads: Reads::default(),
            trackers: parts.trackers,
            torrents: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            storages: BTreeMap::new(),
            claims: PathClaims::default(),
            loose: BTreeMap::new(),
            inputs: VecDeque::new(),
            messages: parts.messages,
            events: parts.events,
            mailbox: parts.mailbox,
            shown: Instant::now(),
            scratch: vec![0; SCRATCH],
            digest_key: parts.digest_key,
            stopped: false,
            closing: BTreeSet::new(),
        }
    }

    /// The time of the engine.
    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// Runs until everything is stopped.
    pub(crate) fn run(mut self) {
        self.listen();
        let mut events = Events::with_capacity(1024);
        loop {
            self.inputs.push_back(Input::Timeout);
            self.drain();
            self.show();
            if self.stopped && self.closing.is_empty() {
                break;
            }
            if let Err(error) = self.poll.poll(&mut events, Some(self.patience()))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the system does not say what its sockets do");
                break;
            }
            for event in &events {
                self.socket_event(event);
            }
            self.hear();
            self.turns();
            self.overdue();
            self.count_held();
        }
        self.show();
        let _ = self.events.send(NetEvent::Stopped);
    }

    /// How long nothing needs to be done unless something happens.
    fn patience(&self) -> Duration {
        if !self.ready.is_empty() || !self.knocking.is_empty() {
            return Duration::ZERO;
        }
        let now = self.now();
        let engine = self.node.next_timeout().map(|(at, _)| at.since(now));
        let dials = self.conns.values().filter_map(|conn| conn.dialling).min();
        let dials = dials.map(|at| at.saturating_duration_since(Instant::now()));
        let memory = self.starving.map(|_| STARVING);
        let show = SHOW_EVERY.saturating_sub(self.shown.elapsed());
        // Rounded up: a wake-up that is too early finds nothing to do.
        let soonest = [engine, dials, memory].into_iter().flatten().min().unwrap_or(SHOW_EVERY);
        soonest.min(show.max(Duration::from_millis(1))).max(Duration::from_micros(50))
    }

    /// One input, a full drain, the next input.
    fn drain(&mut self) {
        loop {
            while let Some(input) = self.inputs.pop_front() {
                let now = self.now();
                self.node.handle(now, input);
                while let Some(output) = self.node.poll() {
                    self.output(output);
                }
            }
            let Some(conn) = self.doomed.pop_first() else { return };
            if self.forget(conn).is_some() {
                self.inputs.push_back(Input::Disconnected { conn });
            }
        }
    }

    /// What the app and the other threads have said.
    fn hear(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            match message {
                WorldMessage::Add(new) => self.add(*new),
                WorldMessage::Command(command) => self.inputs.push_back(Input::Command(command)),
                WorldMessage::Done(done) => self.done(done),
                WorldMessage::Announced { torrent, tracker, result } => {
                    self.inputs.push_back(Input::Announced { torrent, tracker, result });
                }
                WorldMessage::MemoryFree => {
                    self.starving = None;
                    self.inputs.push_back(Input::MemoryFree);
                }
            }
            self.drain();
        }
    }

    fn add(&mut self, new: NewTorrent) {
        let NewTorrent { add, folder, existing } = new;
        let open_files = self.open_files;
        let storage = self.storages.entry(folder.clone()).or_insert_with(|| {
            let mut config = dunlin_disk::StorageConfig::new(Arc::clone(&self.fs), folder.clone());
            config.stop = self.disk.stop();
            config.open_files = config.open_files.min(open_files);
            config.buffers = Arc::clone(self.budget.buffers());
            config.budget = Some(Arc::clone(&self.budget));
            config.claims = self.claims.clone();
            Arc::new(Storage::new(config))
        });
        let storage = Arc::clone(storage);
        let hashes = match &add.source {
            Source::Metainfo(metainfo) => metainfo.hashes,
            Source::Magnet { hashes, .. } => *hashes,
        };
        self.by_hash.extend(hashes.wire().map(|hash| (hash, add.torrent)));
        let known = Known { storage, folder, existing, content: None, open: false };
        self.torrents.insert(add.torrent, known);
        self.inputs.push_back(Input::Command(Command::Add(Box::new(add))));
    }

    /// What a disk thread has done.
    fn done(&mut self, done: DiskDone) {
        let input = match done {
            DiskDone::Checking { torrent, done, total } => {
                let _ = self.events.send(NetEvent::Checking { torrent, done, total });
                return;
            }
            DiskDone::Opened { torrent, result } => match result {
                Ok(Opened { have, resumed, faults, .. }) => {
                    if let Some(known) = self.torrents.get_mut(&torrent) {
                        known.open = true;
                        if known.existing == Existing::Read {
                            let _ = self.events.send(NetEvent::Faults { torrent, faults });
                        }
                    }
                    Input::Opened { torrent, have, resumed }
                }
                Err(error) => {
                    let message = local(&error);
                    let _ = self.events.send(NetEvent::OpenFailed { torrent, error });
                    Input::OpenFailed { torrent, error: message }
                }
            },
            DiskDone::Pieces(report) => return self.reported(report),
            DiskDone::Closed { torrent, report } => {
                self.closing.remove(&torrent);
                self.synced(report);
                if let Some(known) = self.torrents.get_mut(&torrent) {
                    known.open = false;
                }
                Input::Closed { torrent }
            }
            DiskDone::Read(read) => return self.read(read),
            DiskDone::BlockHashes { torrent, piece, hashes } => {
                Input::BlockHashes { torrent, piece, hashes }
            }
        };
        self.inputs.push_back(input);
    }

    /// What came of a piece job, or of a sync.
    fn reported(&mut self, report: Report) {
        let input = match report {
            Report::Hashed { torrent, piece, matches } => {
                Input::PieceHashed { torrent, piece, matches }
            }
            Report::Digested { torrent, piece, digests } => {
                Input::BlockDigests { torrent, piece, digests }
            }
            Report::Written { torrent, piece } => Input::PieceWritten { torrent, piece },
            Report::Loaded { torrent, piece, blocks } => {
                for (block, data) in blocks {
                    self.buffers.put(torrent, block, &data);
                }
                Input::Reserved { torrent, piece }
            }
            Report::Failed { torrent, piece, error } => {
                Input::DiskFailed { torrent, piece, error: local(&error) }
            }
            Report::FinishFailed { torrent, file, error } => {
                Input::FileFailed { torrent, file, error: local(&error) }
            }
            Report::Synced(report) => return self.synced(report),
        };
        self.inputs.push_back(input);
    }

    fn synced(&mut self, report: dunlin_disk::SyncReport) {
        for (torrent, file) in report.finished {
            self.inputs.push_back(Input::FileFinished { torrent, file });
        }
        for (torrent, file, error) in report.failed {
            self.inputs.push_back(Input::FileFailed { torrent, file, error: local(&error) });
        }
    }

    /// What is due for the world's own reasons.
    fn overdue(&mut self) {
        let now = Instant::now();
        let late = |conn: &Conn| conn.dialling.is_some_and(|until| until <= now);
        let late: Vec<ConnId> =
            self.conns.iter().filter(|(_, conn)| late(conn)).map(|(id, _)| *id).collect();
        for conn in late {
            self.dial_failed(conn);
        }
        self.close_stalled(now);
        if self.starving.is_some_and(|since| since.elapsed() >= STARVING) {
            self.starving = Some(now);
            self.inputs.push_back(Input::MemoryWanted);
        }
    }

    /// Shows the app where everything stands, now and then.
    fn show(&mut self) {
        if self.shown.elapsed() < SHOW_EVERY && !(self.stopped && self.closing.is_empty()) {
            return;
        }
        self.shown = Instant::now();
        let now = self.now();
        let views =
            self.torrents.keys().filter_map(|id| Some((*id, self.node.view(now, *id)?))).collect();
        self.mailbox.publish(views);
    }

    fn endpoint(remote: SocketAddr) -> Endpoint {
        Endpoint::Socket(remote)
    }
}
