//! One rank: the state machine around the engine's member, used by every driver.
//!
//! `handle(now, arrival)` takes what came in; `poll` returns the effects to carry out, in order.
//! The engine decides; this module keeps what the engine must not hold: payload, memory, the ranks
//! at the other ends of connections, and the records for trace and report.
//!
//! ```text
//!   Mute ── Stop ──▶ Over            Running ── shutdown, Stop ──▶ Closing ── Closed ──▶ Over
//!                                    Running ── fault `die` ──▶ Over
//! ```

mod buffers;
mod connections;
mod downloads;
mod outputs;
mod recorder;

use crate::config::Mode;
use crate::content::{Content, local};
use crate::control::ProgressCell;
use crate::download::{DownloadDone, DownloadJob};
use crate::fault::RankFaults;
use crate::frame::{Frame, Payload};
use crate::report::PeerReport;
use crate::trace::TraceSink;
use crate::upload::{UploadDone, UploadJob};
use buffers::Buffers;
use connections::{Connections, HandshakeOutcome};
use dunlin_base::{BlockRef, ConnId, Endpoint, Rank, Rate, Rng, Time, TorrentId};
use dunlin_control::{Control, FailedFile};
use dunlin_disk::{Budget, SyncReport};
use dunlin_engine::cluster::member::Member;
use dunlin_engine::config::Config;
use dunlin_engine::io::{MemberInput, SwarmInput, Wake};
use dunlin_metainfo::{HashKind, MAX_TOKEN};
use dunlin_wire::{Handshake, Message};
use recorder::Recorder;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Handshakes that may wait for their torrents: more than ranks of a large cluster have in common.
const MAX_EARLY: usize = 65_536;

/// Streams of the run's seed that belong to a rank, so that no two uses share numbers.
const STREAM_REFUSE: u64 = 1 << 32;
const STREAM_DIGEST: u64 = 2 << 32;

/// Something that came in for a rank.
#[derive(Debug)]
pub enum Arrival {
    /// A frame of another rank.
    Frame {
        /// The sender.
        from: Rank,
        /// The frame.
        frame: Frame,
    },
    /// The download side has done something.
    Downloaded(DownloadDone),
    /// The upload side has done something.
    Uploaded(UploadDone),
    /// There is memory again.
    MemoryFree,
    /// Others starve for memory.
    MemoryWanted,
    /// The time that `next_timeout` named has come.
    Timeout,
    /// The run is over for this rank, whatever it thinks.
    Stop,
}

/// Something for the driver to carry out.
#[derive(Debug)]
pub enum Effect {
    /// Send a frame.
    Send {
        /// To whom.
        to: Rank,
        /// What.
        frame: Frame,
    },
    /// Run a job on the download side; jobs run one after another.
    Download(DownloadJob),
    /// Give a job to the upload side.
    Upload(UploadJob),
    /// The run has ended: keep what the next one need not read ([`Content::keep_at_end`]).
    ///
    /// [`Content::keep_at_end`]: crate::content::Content::keep_at_end
    Keep,
    /// The rank is over: no effect follows.
    Finished,
}

/// The configuration of a rank.
#[derive(Clone, Debug)]
pub struct PeerSetup {
    /// How the engine works.
    pub config: Config,
    /// What is wrong with the rank.
    pub faults: RankFaults,
    /// The memory of the process.
    pub budget: Arc<Budget>,
    /// Where trace lines go.
    pub trace: Option<TraceSink>,
    /// Where progress is shown.
    pub progress: Arc<ProgressCell>,
    /// What it sends at most, in bytes a second.
    pub max_rate: Option<Rate>,
    /// What it should have wanted and cannot take, with the reasons.
    pub refused: Vec<FailedFile>,
}

/// One peer rank, ready to run.
pub(crate) struct RankSetup {
    pub(crate) setup: PeerSetup,
    pub(crate) content: Arc<Content>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Mute,
    Running,
    Closing,
    Over,
}

/// Where the download side is. It ends when the rank has all that it wants, or a reason why not;
/// the upload side serves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Downloads {
    Open,
    /// The last sync is under way; no job follows it.
    Closing,
    Closed,
}

/// The state machine of one rank.
pub struct Peer {
    rank: Rank,
    shares: bool,
    block_length: u32,
    mode: Mode,
    member: Member,
    phase: Phase,
    downloads: Downloads,
    budget: Arc<Budget>,
    connections: Connections,
    buffers: Buffers,
    parked: BTreeMap<(ConnId, BlockRef), (TorrentId, Payload)>,
    inputs: VecDeque<MemberInput>,
    effects: VecDeque<Effect>,
    recorder: Recorder,
    progress: Arc<ProgressCell>,
    faults: RankFaults,
    refusals: Rng,
    digest_key: u64,
    replace: Arc<BTreeSet<String>>,
    /// Torrents whose storage is being opened.
    opening: BTreeSet<TorrentId>,
    /// Handshakes that came before their torrent was open: a holder that has not got the start
    /// yet, or still checks its files, may be connected to.
    early: BTreeMap<(Rank, TorrentId), Handshake>,
    /// The budget has this rank in its queue.
    queued: bool,
}

impl Peer {
    /// The state machine of a rank. Its first effect is to check its files.
    #[must_use]
    pub fn new(setup: PeerSetup) -> Peer {
        let PeerSetup { config, faults, budget, trace, progress, refused, .. } = setup;
        let (rank, seed) = (config.rank, config.seed);
        let mut effects = VecDeque::new();
        if !faults.mute {
            effects.push_back(Effect::Download(DownloadJob::Check));
        }
        Peer {
            rank,
            shares: config.shares,
            block_length: config.block_length,
            mode: if config.placing { Mode::Place } else { Mode::Swarm },
            member: Member::new(config),
            phase: if faults.mute { Phase::Mute } else { Phase::Running },
            downloads: Downloads::Open,
            budget,
            connections: Connections::default(),
            buffers: Buffers::default(),
            parked: BTreeMap::new(),
            inputs: VecDeque::new(),
            effects,
            recorder: Recorder::new(rank, trace, refused),
            progress,
            faults,
            refusals: Rng::fork(seed, STREAM_REFUSE + u64::from(rank.0)),
            digest_key: Rng::fork(seed, STREAM_DIGEST + u64::from(rank.0)).next_u64(),
            replace: Arc::default(),
            opening: BTreeSet::new(),
            early: BTreeMap::new(),
            queued: false,
        }
    }

    /// The rank.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Takes what came in at `now`.
    pub fn handle(&mut self, now: Time, arrival: Arrival) {
        match self.phase {
            Phase::Over => return,
            Phase::Mute => {
                if matches!(arrival, Arrival::Stop) {
                    self.over();
                }
                return;
            }
            Phase::Closing => {
                if let Arrival::Downloaded(DownloadDone::Closed(synced)) = arrival {
                    self.closed(synced);
                }
                return;
            }
            Phase::Running => {}
        }
        let mut memory_free = false;
        match arrival {
            Arrival::Frame { from, frame } => self.frame(now, from, frame),
            Arrival::Downloaded(done) => self.downloaded(done),
            Arrival::Uploaded(done) => self.uploaded(done),
            Arrival::MemoryFree => {
                memory_free = true;
                self.queued = false;
                self.inputs.push_back(SwarmInput::MemoryFree.into());
            }
            Arrival::MemoryWanted => self.inputs.push_back(SwarmInput::MemoryWanted.into()),
            Arrival::Timeout => self.inputs.push_back(MemberInput::Timeout),
            Arrival::Stop => {
                self.inputs.push_back(MemberInput::Stop);
                self.run(now);
                self.close();
                return;
            }
        }
        self.run(now);
        if self.phase == Phase::Running && self.recorder.started() && !self.early.is_empty() {
            self.take_early();
            self.run(now);
        }
        if memory_free && !self.queued {
            // A rank that was woken and wants nothing any more must not keep others from being
            // woken.
            self.budget.cancel(u64::from(self.rank.0));
        }
        self.show();
    }

    /// The next effect to carry out.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to pass [`Arrival::Timeout`], and why.
    #[must_use]
    pub fn next_timeout(&self) -> Wake {
        if self.phase == Phase::Running { self.member.next_timeout() } else { None }
    }

    /// Checks all invariants of the engine.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        self.member.check();
    }

    /// The report of the rank.
    #[must_use]
    pub fn into_report(self, now: Time) -> PeerReport {
        self.recorder.report(now, self.member.stats(), self.shares, self.faults.mute)
    }

    /// One input, a full drain, the next input.
    fn run(&mut self, now: Time) {
        while let Some(input) = self.inputs.pop_front() {
            self.member.handle(now, input);
            while let Some(output) = self.member.poll() {
                self.output(now, output);
            }
            if self.must_die() {
                self.die();
                return;
            }
        }
        if self.recorder.shutdown.is_some() {
            self.close();
        }
    }

    fn show(&self) {
        let progress = self.member.progress();
        let (moved, sent) = (self.recorder.bytes_moved, self.recorder.bytes_sent);
        self.progress.moved(progress, self.recorder.started(), moved, sent);
    }

    fn must_die(&self) -> bool {
        let Some(percent) = self.faults.die.filter(|_| self.recorder.started()) else {
            return false;
        };
        let progress = self.member.progress();
        let (has, all) = if self.recorder.wants_anything() {
            (progress.pieces_have, progress.pieces_wanted)
        } else {
            (self.recorder.bytes_sent, self.recorder.bytes_owned)
        };
        u128::from(has) * 100 >= u128::from(all) * u128::from(percent)
    }

    /// Stops at once: nothing in or out any more, no flush.
    fn die(&mut self) {
        self.recorder.dead = true;
        self.effects.clear();
        self.progress.died();
        self.over();
    }

    fn close(&mut self) {
        self.phase = Phase::Closing;
        self.free();
        self.end_downloads();
        if self.downloads == Downloads::Closed {
            self.closed(SyncReport::default());
        }
    }

    /// Nothing is downloaded any more: the last sync, and the download side ends.
    fn end_downloads(&mut self) {
        if self.downloads == Downloads::Open {
            self.downloads = Downloads::Closing;
            self.effects.push_back(Effect::Download(DownloadJob::Close));
        }
    }

    fn closed(&mut self, synced: SyncReport) {
        for (torrent, file) in synced.finished {
            self.recorder.file_complete(torrent, file);
        }
        for (_, _, error) in synced.failed {
            self.recorder.error(&local(error));
        }
        self.progress.ended();
        self.effects.push_back(Effect::Keep);
        self.over();
    }

    fn over(&mut self) {
        self.phase = Phase::Over;
        self.free();
        self.effects.push_back(Effect::Finished);
    }

    /// Gives all memory back and leaves the queue for more.
    fn free(&mut self) {
        self.inputs.clear();
        self.parked.clear();
        self.early.clear();
        self.buffers.clear();
        self.budget.forget(u64::from(self.rank.0));
    }

    fn frame(&mut self, now: Time, from: Rank, frame: Frame) {
        match frame {
            Frame::Control(control) => self.control(now, control),
            Frame::Handshake { torrent, handshake } => {
                let names = ("handshake", None);
                self.recorder.trace_piece(now, from, torrent, names, None, None);
                let opening = !self.recorder.started() || self.opening.contains(&torrent);
                if opening && self.early.len() < MAX_EARLY {
                    self.early.insert((from, torrent), handshake);
                } else {
                    self.handshake(from, torrent, handshake);
                }
            }
            Frame::Wire { torrent, message } => self.wire(now, from, torrent, message),
            Frame::Piece { torrent, range, payload } => {
                self.piece(now, from, torrent, range, payload);
            }
            Frame::HangUp { torrent } => {
                self.early.remove(&(from, torrent));
                if let Some(conn) = self.connections.hung_up(from, torrent) {
                    self.lost(conn);
                }
            }
        }
    }

    /// Takes the handshakes that came before their torrent was open.
    fn take_early(&mut self) {
        let (waiting, ready) = std::mem::take(&mut self.early)
            .into_iter()
            .partition(|((_, torrent), _)| self.opening.contains(torrent));
        self.early = waiting;
        let ready: BTreeMap<(Rank, TorrentId), Handshake> = ready;
        for ((from, torrent), handshake) in ready {
            self.handshake(from, torrent, handshake);
        }
    }

    fn handshake(&mut self, from: Rank, torrent: TorrentId, handshake: Handshake) {
        let remote = Endpoint::Rank(from);
        let conn = match self.connections.handshake(from, torrent) {
            HandshakeOutcome::Answer(conn) => conn,
            HandshakeOutcome::New(conn) => {
                self.inputs.push_back(SwarmInput::Incoming { conn, remote }.into());
                conn
            }
            HandshakeOutcome::Replaced { old, new } => {
                self.lost(old);
                self.inputs.push_back(SwarmInput::Incoming { conn: new, remote }.into());
                new
            }
        };
        self.inputs.push_back(SwarmInput::Handshake { conn, handshake }.into());
    }

    fn control(&mut self, now: Time, control: Control) {
        self.recorder.trace_control(now, &control);
        if let Control::Start(go) = &control {
            self.recorder.started_with(go);
            self.replace = Arc::new(go.replace.iter().cloned().collect());
            if self.mode == Mode::Place {
                let entries = Arc::clone(&go.entries);
                self.effects.push_back(Effect::Download(DownloadJob::Tree { entries }));
            }
        }
        self.inputs.push_back(MemberInput::Control(control));
    }

    fn wire(&mut self, now: Time, from: Rank, torrent: TorrentId, message: Message) {
        let Some(conn) = self.connections.established(from, torrent) else { return };
        self.recorder.trace_wire(now, from, torrent, &message);
        if let (Message::Request(range), Some(percent)) = (&message, self.faults.refuse)
            && self.refusals.chance(u64::from(percent), 100)
        {
            let message = Message::RejectRequest(*range);
            let frame = Frame::Wire { torrent, message };
            self.effects.push_back(Effect::Send { to: from, frame });
            return;
        }
        if let Message::Cancel(block) = message {
            // What waits for the disk or for its turn need not be sent any more.
            self.effects.push_back(Effect::Upload(UploadJob::Cancel { conn, block }));
        }
        self.inputs.push_back(SwarmInput::Message { conn, message }.into());
    }

    fn piece(
        &mut self,
        now: Time,
        from: Rank,
        torrent: TorrentId,
        range: BlockRef,
        payload: Payload,
    ) {
        let Some(conn) = self.connections.established(from, torrent) else { return };
        self.recorder.trace_wire(now, from, torrent, &Message::Piece(range));
        let known = self.recorder.torrents.get(&torrent);
        let sound = match known.map(|known| known.info.kind) {
            Some(HashKind::Token) => (1..=MAX_TOKEN).contains(&payload.data.len()),
            Some(HashKind::Sha1) => payload.data.len() == range.len as usize && range.len > 0,
            Some(HashKind::Merkle) | None => false,
        };
        if !sound {
            self.inputs.push_back(SwarmInput::Malformed { conn }.into());
            return;
        }
        self.parked.insert((conn, range), (torrent, payload));
        self.inputs.push_back(SwarmInput::BlockArrived { conn, block: range }.into());
    }

    /// The other end has closed a connection.
    fn lost(&mut self, conn: ConnId) {
        self.forget(conn);
        self.inputs.push_back(SwarmInput::Disconnected { conn }.into());
    }

    fn forget(&mut self, conn: ConnId) {
        self.parked.retain(|(owner, _), _| *owner != conn);
        self.effects.push_back(Effect::Upload(UploadJob::Forget { conn }));
    }

    fn uploaded(&mut self, done: UploadDone) {
        match done {
            UploadDone::Sent { conn, block, bytes } => {
                self.recorder.bytes_sent += bytes;
                self.inputs.push_back(SwarmInput::BlockSent { conn, block }.into());
            }
            UploadDone::Failed { conn, block, error } => {
                self.recorder.error(&error);
                self.inputs.push_back(SwarmInput::ServeFailed { conn, block, error }.into());
            }
            UploadDone::Cancelled { conn, block } => {
                self.inputs.push_back(SwarmInput::ServeCancelled { conn, block }.into());
            }
        }
    }
}
