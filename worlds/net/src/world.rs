//! The loop: one thread, named `net`, that owns every socket and the engine. It receives what
//! happened (sockets, disk, trackers, the app, time), passes it to the engine, and does what the
//! engine asks. It decides nothing but how much of one connection is read before the next one has
//! its turn.
//!
//! - `sockets`: listening, dialling, reading and writing;
//! - `outputs`: what the engine asks for;
//! - `payload`: pieces that come, and blocks that go;
//! - `memory`: memory that connections hold, counted and bounded;
//! - `torrents`: the torrents, and what is forgotten with one;
//! - `views`: what people see of them.

mod memory;
mod outputs;
mod payload;
mod sockets;
mod torrents;
mod views;

use crate::bind::Bind;
use crate::buffers::Buffers;
use crate::datagrams::DatagramSockets;
use crate::disk::{Disk, DiskDone, Reporter, local};
use crate::listener::Listener;
use crate::messages::{Mailbox, NetEvent, WorldMessage};
use crate::outbox::Outbox;
use crate::reads::Reads;
use crate::receive::Receiver;
use crate::stream::Stream;
use crate::tracker_client::TrackerClient;
use dunlin_base::{BlockRef, ConnId, InfoHash, Time, TorrentId};
use dunlin_disk::pieces::{self, Report};
use dunlin_disk::{Budget, Existing, Fs, Opened, PathClaims, Storage};
use dunlin_engine::client::Client;
use dunlin_engine::io::{ClientInput, SwarmInput};
use dunlin_hash::HashPool;
use memory::SendProgress;
use mio::{Events, Poll, Token};
use payload::ReadCache;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use torrents::TorrentEntry;
use views::ViewSchedule;

/// The token of wake-ups by other threads: a message waits.
pub(crate) const WAKER: Token = Token(0);
/// Listeners come behind the waker, UDP sockets behind the listeners, and then connections.
const FIRST_LISTENER: usize = 1;
pub(crate) const FIRST_UDP: Token = Token(8);
const FIRST_CONN: usize = 16;
/// Bytes that are read without knowing where they go.
const SCRATCH: usize = 64 << 10;
/// The loop wakes up once in this time though nothing happens: connections that have stalled are
/// closed then.
const IDLE_WAKE_UP: Duration = Duration::from_secs(1);
/// When a piece has waited for memory for so long, the engine is asked to free some.
const MEMORY_WAIT: Duration = Duration::from_secs(1);

/// One connection.
struct Connection {
    stream: Stream,
    receiver: Receiver,
    outbox: Outbox,
    /// The connection is being dialled; the dial fails at this time.
    dial_deadline: Option<Instant>,
    /// The system may have bytes to read.
    readable: bool,
    /// The system may take bytes.
    writable: bool,
    /// When the peer last took something of what is sent to it.
    send_progress: SendProgress,
    /// Bytes of memory that it held when they were counted last.
    held: usize,
    /// The reason of its end is in the log.
    reason_logged: bool,
}

/// Everything that the thread owns.
pub(crate) struct World {
    client: Client,
    poll: Poll,
    bind: Bind,
    start: Instant,
    listeners: Vec<Listener>,
    datagrams: Arc<DatagramSockets>,
    conns: BTreeMap<ConnId, Connection>,
    next_conn: u64,
    /// Connections that can be read or written, without a further event of the system.
    ready: BTreeSet<ConnId>,
    /// Listeners at which more may wait.
    ready_listeners: BTreeSet<usize>,
    /// UDP sockets at which more datagrams may wait.
    udp_ready: BTreeSet<usize>,
    /// Bytes of memory that all connections hold.
    held: usize,
    /// Connections that hold too much memory. They are closed when the engine has no more outputs.
    closing_conns: BTreeSet<ConnId>,
    max_conns: usize,
    open_files: usize,
    /// Listeners that could not accept because no descriptor was free. They are tried again when a
    /// connection is closed.
    blocked_listeners: BTreeSet<usize>,
    buffers: Buffers,
    fs: Arc<dyn Fs>,
    budget: Arc<Budget>,
    /// Since when a piece waits for memory.
    out_of_memory_since: Option<Instant>,
    pool: Arc<HashPool>,
    /// Where the pool reports to.
    report: pieces::Reporter,
    disk: Disk,
    read_cache: ReadCache,
    reads: Reads,
    trackers: TrackerClient,
    torrents: BTreeMap<TorrentId, TorrentEntry>,
    /// The names of torrents on the wire.
    by_hash: BTreeMap<InfoHash, TorrentId>,
    /// Of each folder, as long as anything uses it.
    storages: BTreeMap<PathBuf, Weak<Storage>>,
    /// Which torrent writes which path.
    claims: PathClaims,
    /// Blocks that were received and had no place in a piece's buffer.
    unplaced_blocks: BTreeMap<(ConnId, BlockRef), Vec<u8>>,
    inputs: VecDeque<ClientInput>,
    messages: mpsc::Receiver<WorldMessage>,
    events: Sender<NetEvent>,
    mailbox: Arc<Mailbox>,
    views: ViewSchedule,
    scratch: Vec<u8>,
    digest_key: u64,
    /// The engine has stopped; files are still being closed.
    stopped: bool,
    closing: BTreeSet<TorrentId>,
}

/// What the loop is given at its start.
pub(crate) struct WorldSetup {
    pub(crate) client: Client,
    pub(crate) poll: Poll,
    pub(crate) bind: Bind,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) datagrams: Arc<DatagramSockets>,
    pub(crate) max_conns: usize,
    /// Files that the storage of a folder keeps open.
    pub(crate) open_files: usize,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) pool: Arc<HashPool>,
    pub(crate) report: Reporter,
    pub(crate) disk: Disk,
    pub(crate) trackers: TrackerClient,
    pub(crate) messages: mpsc::Receiver<WorldMessage>,
    pub(crate) events: Sender<NetEvent>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) digest_key: u64,
}

impl World {
    pub(crate) fn new(setup: WorldSetup) -> World {
        let buffers = Buffers::new(Arc::clone(setup.budget.buffers()));
        let read_cache = ReadCache::new(setup.budget.total() / 8);
        World {
            client: setup.client,
            poll: setup.poll,
            bind: setup.bind,
            start: Instant::now(),
            listeners: setup.listeners,
            datagrams: setup.datagrams,
            conns: BTreeMap::new(),
            next_conn: 0,
            ready: BTreeSet::new(),
            ready_listeners: BTreeSet::new(),
            udp_ready: BTreeSet::new(),
            held: 0,
            closing_conns: BTreeSet::new(),
            max_conns: setup.max_conns,
            open_files: setup.open_files,
            blocked_listeners: BTreeSet::new(),
            buffers,
            fs: setup.fs,
            budget: setup.budget,
            out_of_memory_since: None,
            pool: setup.pool,
            report: Arc::new(move |done| (setup.report)(DiskDone::Pieces(done))),
            disk: setup.disk,
            read_cache,
            reads: Reads::default(),
            trackers: setup.trackers,
            torrents: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            storages: BTreeMap::new(),
            claims: PathClaims::default(),
            unplaced_blocks: BTreeMap::new(),
            inputs: VecDeque::new(),
            messages: setup.messages,
            events: setup.events,
            mailbox: setup.mailbox,
            views: ViewSchedule::new(Instant::now()),
            scratch: vec![0; SCRATCH],
            digest_key: setup.digest_key,
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
            self.inputs.push_back(ClientInput::Timeout);
            self.drain();
            self.publish_views(self.stopped && self.closing.is_empty());
            if self.stopped && self.closing.is_empty() {
                break;
            }
            if let Err(error) = self.poll.poll(&mut events, Some(self.poll_timeout()))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "sockets cannot be watched any more");
                break;
            }
            for event in &events {
                self.socket_event(event);
            }
            self.receive_messages();
            self.receive_datagrams();
            self.serve_connections();
            self.handle_timeouts();
            self.report_memory();
        }
        self.publish_views(true);
        let _ = self.events.send(NetEvent::Stopped);
    }

    /// How long the loop may wait for an event.
    fn poll_timeout(&self) -> Duration {
        if !(self.ready.is_empty() && self.ready_listeners.is_empty() && self.udp_ready.is_empty())
        {
            return Duration::ZERO;
        }
        let now = self.now();
        let engine = self.client.next_timeout().map(|(at, _)| at.since(now));
        let dials = self.conns.values().filter_map(|conn| conn.dial_deadline).min();
        let dials = dials.map(|at| at.saturating_duration_since(Instant::now()));
        let memory = self.out_of_memory_since.map(|_| MEMORY_WAIT);
        // Rounded up: a wake-up that is too early finds nothing to do.
        let views = self.views.wait().map(|wait| wait.max(Duration::from_millis(1)));
        let soonest = [engine, dials, memory, views].into_iter().flatten().min();
        soonest.unwrap_or(IDLE_WAKE_UP).clamp(Duration::from_micros(50), IDLE_WAKE_UP)
    }

    /// One input, a full drain, the next input.
    fn drain(&mut self) {
        loop {
            while let Some(input) = self.inputs.pop_front() {
                self.mark_view(&input);
                let now = self.now();
                self.client.handle(now, input);
                while let Some(output) = self.client.poll() {
                    self.output(output);
                }
            }
            let Some(conn) = self.closing_conns.pop_first() else { return };
            if let Some(closed) = self.remove_conn(conn) {
                closed.stream.shutdown(self.poll.registry());
                self.inputs.push_back(SwarmInput::Disconnected { conn }.into());
            }
        }
    }

    /// Receives the messages of the app and the other threads.
    fn receive_messages(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            match message {
                WorldMessage::Add(new) => self.add(*new),
                WorldMessage::Command(command) => self.inputs.push_back(command.into()),
                WorldMessage::Done(done) => self.done(done),
                WorldMessage::Announced { torrent, tracker, result } => {
                    self.inputs.push_back(ClientInput::Announced { torrent, tracker, result });
                }
                WorldMessage::MemoryFree => {
                    self.out_of_memory_since = None;
                    self.inputs.push_back(SwarmInput::MemoryFree.into());
                }
            }
            self.drain();
        }
    }

    /// Receives what a disk thread has done.
    fn done(&mut self, done: DiskDone) {
        let input = match done {
            DiskDone::Checking { torrent, done, total } => {
                let _ = self.events.send(NetEvent::Checking { torrent, done, total });
                return;
            }
            DiskDone::Opened { torrent, result } => match result {
                Ok(Opened { have, resumed, faults, .. }) => {
                    if let Some(entry) = self.torrents.get_mut(&torrent) {
                        entry.open = true;
                        if entry.existing == Existing::Read {
                            let _ = self.events.send(NetEvent::Faults { torrent, faults });
                        }
                    }
                    ClientInput::Opened { torrent, have, resumed }
                }
                Err(error) => {
                    let message = local(&error);
                    let _ = self.events.send(NetEvent::OpenFailed { torrent, error });
                    ClientInput::OpenFailed { torrent, error: message }
                }
            },
            DiskDone::Pieces(report) => return self.reported(report),
            DiskDone::Closed { torrent, report } => {
                self.closing.remove(&torrent);
                self.synced(report);
                if let Some(entry) = self.torrents.get_mut(&torrent) {
                    entry.open = false;
                }
                ClientInput::Closed { torrent }
            }
            DiskDone::Read(read) => return self.read(read),
            DiskDone::BlockHashes { key, hashes } => ClientInput::BlockHashes { key, hashes },
        };
        self.inputs.push_back(input);
    }

    /// What came of a piece job, or of a sync.
    fn reported(&mut self, report: Report) {
        let input = match report {
            Report::Hashed { key, matches } => SwarmInput::PieceHashed { key, matches },
            Report::Digested { key, digests } => SwarmInput::BlockDigests { key, digests },
            Report::Written(key) => SwarmInput::PieceWritten(key),
            Report::Loaded { key, blocks } => {
                for (block, data) in blocks {
                    self.buffers.put(key.torrent, block, &data);
                }
                SwarmInput::Reserved(key)
            }
            Report::Failed { key, error } => SwarmInput::DiskFailed { key, error: local(&error) },
            Report::FinishFailed { torrent, file, error } => {
                let error = local(&error);
                self.inputs.push_back(ClientInput::FileFailed { torrent, file, error });
                return;
            }
            Report::Synced(report) => return self.synced(report),
        };
        self.inputs.push_back(input.into());
    }

    fn synced(&mut self, report: dunlin_disk::SyncReport) {
        for (torrent, file) in report.finished {
            self.inputs.push_back(ClientInput::FileFinished { torrent, file });
        }
        for (torrent, file, error) in report.failed {
            self.inputs.push_back(ClientInput::FileFailed { torrent, file, error: local(&error) });
        }
    }

    /// Does what is due by time and is not the engine's.
    fn handle_timeouts(&mut self) {
        let now = Instant::now();
        let late = |conn: &Connection| conn.dial_deadline.is_some_and(|until| until <= now);
        let late: Vec<ConnId> =
            self.conns.iter().filter(|(_, conn)| late(conn)).map(|(id, _)| *id).collect();
        for conn in late {
            self.dial_failed(conn);
        }
        self.close_stalled(now);
        if self.out_of_memory_since.is_some_and(|since| since.elapsed() >= MEMORY_WAIT) {
            self.out_of_memory_since = Some(now);
            self.inputs.push_back(SwarmInput::MemoryWanted.into());
        }
    }
}
