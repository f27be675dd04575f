//! A peer's side of a cluster: registers, looks files up, keeps swarms fresh, reports what is
//! complete. Drives a [`Session`], which does the rest.
//!
//! ```text
//!   Checked ─▶ register ─▶ (start barrier) ─▶ go
//!     for each wanted torrent:  lookup ─▶ swarm ─▶ Open ─▶ download ─▶ FinishFile ─▶ file complete
//!                                            ▲ refresh every N pieces, or at once when starved
//!   nothing left ─▶ all complete ─▶ serve until shutdown
//! ```

mod dial;
mod link;
mod own;
mod progress;
mod refresh;
mod stall;
mod unfinished;

use super::profile::MemberRules;
use crate::cluster::io::{MemberEvent, MemberInput, MemberOutput};
use crate::config::Config;
use crate::stats::Stats;
use crate::swarm::context::DriverEvent;
use crate::swarm::io::{LocalError, SwarmInput};
use crate::swarm::outputs::OutputQueue;
use crate::swarm::priorities::PiecePriorities;
use crate::swarm::rate_limit::Limits;
use crate::swarm::session::Session;
use crate::swarm::torrent::{SwarmName, TorrentParams};
use crate::wake::{Reason, Wake};
use dunlin_base::{Bitfield, Endpoint, FileIndex, PieceIndex, Rng, Time, TorrentId};
use dunlin_control::{Control, FailedFile, Load, Register, Start, Swarm, TorrentAssignment, Want};
use dunlin_metainfo::{Geometry, SetInfo, cluster_block_length};
use dunlin_wire::Reserved;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The tracker hears from us at least so often.
pub const ALIVE: Duration = Duration::from_secs(1);

/// Where a torrent of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TorrentPhase {
    Waiting,
    /// A rank of the same host fetches it; what it has is linked.
    Linking,
    LookingUp,
    Opening,
    Running,
    Done,
}

/// A torrent that this rank takes part in.
#[derive(Debug)]
struct MemberTorrent {
    assignment: TorrentAssignment,
    phase: TorrentPhase,
    info: Option<Arc<SetInfo>>,
    geometry: Option<Geometry>,
    /// The swarm of the lookup, until the storage is open.
    swarm: Option<Box<Swarm>>,
    /// Pieces each file still lacks.
    lacks: Vec<u32>,
    /// Files that are neither finished nor failed.
    unfinished: unfinished::Unfinished,
    refresh: refresh::RefreshPace,
    linking: link::Linking,
    /// Since when the disk is full, and what it said.
    disk_full: Option<(Time, String)>,
    /// Whether it has been said that nothing more of it can be given.
    withdrawn: bool,
}

/// A peer of a cluster.
#[derive(Debug)]
pub struct Member {
    session: Session,
    outputs: OutputQueue<MemberOutput>,
    config: Config,
    rules: MemberRules,
    register: Option<Register>,
    running: bool,
    complete: bool,
    stopped: bool,
    torrents: BTreeMap<TorrentId, MemberTorrent>,
    queue: VecDeque<TorrentId>,
    failed: Vec<FailedFile>,
    tree: link::TreeState,
    /// Verified pieces of all torrents (refresh scope `all`).
    verified: u64,
    /// Answers to refreshes that are still to come.
    awaited: usize,
    last_sent: Time,
}

impl Member {
    /// A member that has not registered yet.
    #[must_use]
    pub fn new(config: Config) -> Member {
        let rng = Rng::fork(config.seed, u64::from(config.rank.0));
        Member {
            session: Session::new(config.swarm_config(), Limits::default(), rng),
            outputs: OutputQueue::new(),
            rules: config.member_rules(),
            config,
            register: None,
            running: false,
            complete: false,
            stopped: false,
            torrents: BTreeMap::new(),
            queue: VecDeque::new(),
            failed: Vec::new(),
            tree: link::TreeState::default(),
            verified: 0,
            awaited: 0,
            last_sent: Time::ZERO,
        }
    }

    /// One input. Drain [`Member::poll`] before the next.
    pub fn handle(&mut self, now: Time, input: MemberInput) {
        if self.stopped {
            return;
        }
        match input {
            MemberInput::Timeout => self.timeout(now),
            MemberInput::Stop => self.stop(now),
            MemberInput::Checked(mut register) => {
                register.awaits_answers = self.rules.awaits_answers;
                self.register = Some((*register).clone());
                self.send_control(now, Control::Register(register));
            }
            MemberInput::Control(message) => self.control(now, message),
            MemberInput::Opened { torrent, have, resumed } => {
                self.opened(now, torrent, have, resumed)
            }
            MemberInput::OpenFailed { torrent, error } => self.open_failed(now, torrent, &error),
            MemberInput::FileFinished { torrent, file } => self.file_finished(now, torrent, file),
            MemberInput::FileFailed { torrent, file, error } => {
                self.fail_file(now, torrent, file, &error.message);
            }
            MemberInput::LinkFailed { torrent, file, error } => {
                self.link_failed(now, torrent, file, &error);
            }
            MemberInput::TreeFinished { failed } => self.tree_finished(failed),
            MemberInput::Swarm(SwarmInput::DialFailed { torrent, remote }) => {
                self.dial_failed(now, torrent, remote);
            }
            MemberInput::Swarm(input) => self.session.handle(now, input),
        }
        self.drain(now);
        self.finish_if_complete(now);
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<MemberOutput> {
        self.outputs.poll(&mut self.session)
    }

    /// When to call again for the time's sake, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Wake {
        self.session.next_timeout()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        self.session.stats()
    }

    /// What it could not get, so far.
    #[must_use]
    pub fn failed(&self) -> &[FailedFile] {
        &self.failed
    }

    fn send_control(&mut self, now: Time, message: Control) {
        self.last_sent = now;
        self.push(MemberOutput::SendControl(message));
        self.session.timers().set(Reason::Alive, now + ALIVE);
    }

    fn event(&mut self, event: MemberEvent) {
        self.push(event.into());
    }

    fn push(&mut self, output: MemberOutput) {
        self.outputs.push(&mut self.session, output);
    }

    fn control(&mut self, now: Time, message: Control) {
        match message {
            Control::Start(go) => self.go(now, *go),
            Control::Swarm(swarm) => self.swarm(now, swarm),
            Control::Refused { name, reason } => self.refused(now, &name, &reason),
            Control::LoadQuery => {
                let in_flight =
                    self.session.torrents().map(|torrent| torrent.connections.owed()).sum();
                let served = self.session.stats().pieces_served;
                self.send_control(now, Control::Load(Load { served, in_flight }));
            }
            Control::Linkable { torrent, files, last } => {
                self.linkable(now, torrent, &files, last);
            }
            // What a rank that is gone should have linked, the tracker says (`linkable`, the last).
            Control::Departed { rank } => self.session.departed(now, Endpoint::Rank(rank)),
            Control::Shutdown(reason) => {
                self.stop(now);
                self.event(MemberEvent::Shutdown(reason));
            }
            // What peers say to the tracker is none of ours.
            Control::Checking { .. }
            | Control::Register(_)
            | Control::Alive
            | Control::Lookup { .. }
            | Control::Refresh(_)
            | Control::Load(_)
            | Control::FileComplete { .. }
            | Control::AllComplete { .. } => {}
        }
    }

    fn stop(&mut self, now: Time) {
        self.session.stop(now);
        self.stopped = true;
    }

    /// The start barrier is open.
    fn go(&mut self, now: Time, go: Start) {
        if self.running || self.register.is_none() {
            return;
        }
        self.running = true;
        let wanted = go
            .torrents
            .iter()
            .filter(|assignment| assignment.wants)
            .map(|assignment| assignment.names.len() as u64)
            .sum();
        let missing = go.missing.iter().map(|missing| missing.name.clone()).collect();
        self.event(MemberEvent::Started { wanted, missing });
        go.missing.into_iter().for_each(|missing| self.fail(missing));
        let mut wanted = Vec::new();
        for assignment in go.torrents {
            let id = assignment.torrent;
            let lookup = assignment.wants && !assignment.holds_all;
            let links = lookup && assignment.link.is_some();
            if lookup && !links {
                wanted.push((self.place_of(&assignment), id));
            }
            let unfinished = unfinished::Unfinished::new(assignment.names.len(), assignment.wants);
            let entry = MemberTorrent {
                phase: if links { TorrentPhase::Linking } else { TorrentPhase::Waiting },
                info: None,
                geometry: None,
                swarm: None,
                lacks: Vec::new(),
                unfinished,
                refresh: refresh::RefreshPace::default(),
                linking: link::Linking::default(),
                disk_full: None,
                withdrawn: false,
                assignment,
            };
            self.torrents.insert(id, entry);
            if !lookup {
                self.open_own(now, id);
            }
        }
        wanted.sort_unstable();
        self.queue.extend(wanted.into_iter().map(|(_, id)| id));
        self.look_up_next(now);
    }

    /// The place of a torrent in the order of our own wishes: the classic algorithm takes files one
    /// after another in that order.
    fn place_of(&self, assignment: &TorrentAssignment) -> usize {
        let wants = self.register.iter().flat_map(|register| &register.wants);
        wants
            .enumerate()
            .find(|(_, want)| match want {
                Want::Name(name) => assignment.names.contains(name),
                Want::Glob(_) => false,
            })
            .map_or(usize::MAX, |(place, _)| place)
    }

    fn block_length(&self, info: &SetInfo) -> u32 {
        cluster_block_length(info.piece_length, self.config.block_length)
    }

    fn open(&mut self, id: TorrentId, info: Arc<SetInfo>, wants: bool) {
        let block_length = self.block_length(&info);
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.phase = TorrentPhase::Opening;
        entry.geometry = Some(info.geometry(block_length));
        entry.info = Some(info.clone());
        self.push(MemberOutput::Open { torrent: id, info, wants });
    }

    /// Looks up as many torrents as may run at a time: one under the course profile.
    fn look_up_next(&mut self, now: Time) {
        let limit = self.rules.active_torrents;
        let busy = |entry: &&MemberTorrent| {
            entry.assignment.wants
                && matches!(
                    entry.phase,
                    TorrentPhase::LookingUp | TorrentPhase::Opening | TorrentPhase::Running
                )
        };
        let mut active = self.torrents.values().filter(busy).count();
        while active < limit {
            let Some(id) = self.queue.pop_front() else { return };
            let Some(entry) = self.torrents.get_mut(&id) else { continue };
            entry.phase = TorrentPhase::LookingUp;
            active += 1;
            let name = entry.assignment.names[0].clone();
            self.send_control(now, Control::Lookup { name });
        }
    }

    fn swarm(&mut self, now: Time, mut swarm: Box<Swarm>) {
        let id = swarm.torrent;
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        // The answer to a lookup has the metainfo, that to a refresh has not.
        let refreshed = swarm.info.is_none();
        if refreshed {
            entry.refresh.answered();
            self.awaited = self.awaited.saturating_sub(1);
        }
        match (entry.phase, swarm.info.take()) {
            (TorrentPhase::LookingUp, Some(info)) => {
                entry.swarm = Some(swarm);
                self.open(id, info, true);
            }
            (TorrentPhase::Running, _) => self.refreshed(now, id, &swarm),
            _ => {}
        }
        if refreshed && self.awaited == 0 {
            self.session.release_requests(now);
        }
    }

    fn refused(&mut self, now: Time, name: &str, reason: &str) {
        let id = self
            .torrents
            .iter()
            .find(|(_, entry)| {
                let waits = matches!(entry.phase, TorrentPhase::LookingUp | TorrentPhase::Running);
                waits && entry.assignment.names.iter().any(|n| n == name)
            })
            .map(|(id, _)| *id);
        if let Some(id) = id {
            self.fail_torrent(now, id, reason);
        }
    }

    fn opened(&mut self, now: Time, id: TorrentId, have: Bitfield, resumed: u32) {
        let Some(entry) =
            self.torrents.get_mut(&id).filter(|entry| entry.phase == TorrentPhase::Opening)
        else {
            return;
        };
        let (Some(info), Some(geometry)) = (&entry.info, &entry.geometry) else { return };
        if have.len() != geometry.pieces() {
            return;
        }
        entry.phase = TorrentPhase::Running;
        entry.lacks = (0..geometry.files())
            .map(|file| {
                let pieces = geometry.file_pieces(FileIndex(file));
                pieces.filter(|raw| !have.has(PieceIndex(*raw))).count() as u32
            })
            .collect();
        let whole: Vec<FileIndex> = (0u32..)
            .zip(&entry.lacks)
            .filter(|(_, lacks)| **lacks == 0)
            .map(|(file, _)| FileIndex(file))
            .collect();
        let (wants, swarm) = (entry.assignment.wants, entry.swarm.take());
        let (info_hash, geometry) = (info.info_hash(), geometry.clone());
        self.session.stats_mut().pieces_resumed += u64::from(resumed);
        let pieces = geometry.pieces();
        let params = TorrentParams {
            id,
            names: vec![SwarmName { info_hash, reserved: Reserved::OURS }],
            peer_id: self.config.peer_id,
            geometry,
            have,
            wanted: if wants { Bitfield::full(pieces) } else { Bitfield::new(pieces) },
            order: self.config.pieces,
            priorities: PiecePriorities::default(),
            limits: Limits::default(),
            awaits_metadata: false,
            requests: self.config.requests(),
        };
        self.session.add(now, params);
        if wants {
            for file in whole {
                self.push(MemberOutput::FinishFile { torrent: id, file });
            }
            self.watch_for_stalls(now);
        }
        if let Some(swarm) = swarm {
            self.refreshed(now, id, &swarm);
        }
    }

    fn open_failed(&mut self, now: Time, id: TorrentId, error: &LocalError) {
        tracing::warn!(torrent = %id, %error, "storage could not be opened");
        self.fail_torrent(now, id, &error.message);
    }

    fn drain(&mut self, now: Time) {
        while let Some(event) = self.session.next_event() {
            match event {
                DriverEvent::PieceDone { torrent, piece } => self.piece_done(now, torrent, piece),
                DriverEvent::Starved { torrent } => self.starved(now, torrent),
                DriverEvent::DiskFailed { torrent, piece, error } => {
                    self.disk_failed(now, torrent, piece, &error);
                }
                DriverEvent::ServeFailed { torrent, .. } => self.withdraw(now, torrent),
                DriverEvent::Gone { torrent, peer, .. } => {
                    self.peer_gone(now, torrent, peer.remote);
                }
            }
        }
    }

    fn piece_done(&mut self, now: Time, id: TorrentId, piece: PieceIndex) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.disk_full = None;
        let Some(geometry) = &entry.geometry else { return };
        let mut finished = Vec::new();
        for file in geometry.piece_files(piece) {
            let index = file as usize;
            if geometry.file_pieces(FileIndex(file)).contains(&piece.0)
                && let Some(lacks) = entry.lacks.get_mut(index)
            {
                *lacks = lacks.saturating_sub(1);
                if *lacks == 0 && entry.unfinished.has(FileIndex(file)) {
                    finished.push(FileIndex(file));
                }
            }
        }
        for file in finished {
            self.push(MemberOutput::FinishFile { torrent: id, file });
        }
        self.count_for_refresh(now, id, piece);
        if self.rules.awaits_answers {
            // A refresh that is due went first.
            self.session.with(now, id, |torrent, context| torrent.fill(context, now));
        }
    }

    fn disk_failed(&mut self, now: Time, id: TorrentId, piece: PieceIndex, error: &LocalError) {
        let patience = self.config.stall_timeout;
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        if error.disk_full {
            let (since, _) = entry.disk_full.get_or_insert((now, error.message.clone()));
            if now.since(*since) < patience {
                return;
            }
        }
        let Some(geometry) = &entry.geometry else { return };
        let files: Vec<FileIndex> = match error.disk_full {
            // Nothing could be written for so long: there is no room for any of them.
            true => entry.unfinished.iter().collect(),
            false => geometry
                .piece_files(piece)
                .filter(|file| geometry.file_pieces(FileIndex(*file)).contains(&piece.0))
                .map(FileIndex)
                .collect(),
        };
        for file in files {
            self.fail_file(now, id, file, &error.message);
        }
    }

    fn file_finished(&mut self, now: Time, id: TorrentId, file: FileIndex) {
        if !self.settle(id, file) {
            return;
        }
        self.linked(now, id, file);
        self.event(MemberEvent::FileComplete { torrent: id, file });
        self.send_control(now, Control::FileComplete { torrent: id, files: vec![file] });
        self.close_part(now, id);
    }

    /// Marks a file as finished or failed; false if it was already.
    fn settle(&mut self, id: TorrentId, file: FileIndex) -> bool {
        self.torrents.get_mut(&id).is_some_and(|entry| entry.unfinished.settle(file))
    }

    fn fail(&mut self, failed: FailedFile) {
        self.failed.push(failed.clone());
        self.event(MemberEvent::FileFailed(failed));
    }

    fn fail_file(&mut self, now: Time, id: TorrentId, file: FileIndex, reason: &str) {
        if !self.settle(id, file) {
            return;
        }
        let name =
            self.torrents[&id].assignment.names.get(file.index()).cloned().unwrap_or_default();
        self.fail(FailedFile { name, reason: reason.to_owned() });
        self.session.abandon(now, id, file);
        self.close_part(now, id);
    }

    fn fail_torrent(&mut self, now: Time, id: TorrentId, reason: &str) {
        let files = self.torrents.get(&id).map_or(0, |entry| entry.assignment.names.len() as u32);
        for file in (0..files).map(FileIndex) {
            self.fail_file(now, id, file, reason);
        }
        self.close_part(now, id);
    }

    /// A torrent of which every file is finished or failed makes room for the next.
    fn close_part(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        if entry.phase != TorrentPhase::Done && !entry.unfinished.any() {
            entry.phase = TorrentPhase::Done;
            self.look_up_next(now);
        }
    }

    fn finish_if_complete(&mut self, now: Time) {
        if !self.running || self.complete || self.stopped || !self.queue.is_empty() {
            return;
        }
        if self.torrents.values().any(|entry| entry.unfinished.any()) || !self.tree_is_finished() {
            return;
        }
        self.complete = true;
        let failed = self.failed.clone();
        self.event(MemberEvent::AllComplete);
        self.send_control(now, Control::AllComplete { failed });
    }

    fn timeout(&mut self, now: Time) {
        let due = self.session.take_due(now);
        let dials = self.rules.dials_members;
        self.session.timeout(now, due, |torrent, context| {
            if dials && torrent.downloads.wants_pieces() {
                dial::dial_members(torrent, context, now);
            }
        });
        self.refresh_if_due(now);
        if self.session.timers().take(Reason::Stall, now) {
            self.fail_stalled(now);
        }
        if self.session.timers().take(Reason::Alive, now) {
            self.send_control(now, Control::Alive);
        }
    }

    /// Checks all invariants; tests call it after every step.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        self.session.check();
        for (id, entry) in &self.torrents {
            let Some(torrent) = self.session.torrent(*id) else { continue };
            for (file, lacks) in (0u32..).zip(&entry.lacks) {
                let pieces = torrent.geometry.file_pieces(FileIndex(file));
                let missing = pieces.filter(|raw| !torrent.have.has(PieceIndex(*raw))).count();
                assert_eq!(*lacks as usize, missing, "file {file} of {id:?}");
            }
        }
        if self.complete {
            assert!(self.queue.is_empty());
        }
    }
}
