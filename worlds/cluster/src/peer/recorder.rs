//! What a rank records: the trace, and what its report contains in the end.

use crate::report::{FileReport, FileState, PeerReport, PeerState, Role};
use crate::trace::{TraceLine, TraceSink, classic_control, classic_wire, shutdown_reason};
use dunlin_base::{Endpoint, FileIndex, PieceKey, Rank, Time, TorrentId};
use dunlin_control::{Control, FailedFile, Provenance, Register, ShutdownReason, Start, Want};
use dunlin_engine::io::{LocalError, MemberEvent, SwarmEvent};
use dunlin_engine::stats::Stats;
use dunlin_metainfo::{Geometry, PieceHashes, SetInfo};
use dunlin_wire::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Errors of one rank that are kept for the report; more of them show nothing new.
const MAX_ERRORS: usize = 16;

/// A torrent whose metadata this rank has.
#[derive(Debug)]
pub(super) struct KnownTorrent {
    pub(super) info: Arc<SetInfo>,
    pub(super) geometry: Geometry,
}

#[derive(Debug)]
pub(super) struct Recorder {
    rank: Rank,
    trace: Option<TraceSink>,
    pub(super) torrents: BTreeMap<TorrentId, KnownTorrent>,
    names: BTreeMap<TorrentId, Vec<String>>,
    wanted: BTreeSet<String>,
    wants_anything: bool,
    /// What it registered as wanted.
    wants: Vec<Want>,
    complete: BTreeSet<String>,
    failed: BTreeMap<String, String>,
    /// The hashes of what it has whole, by name: for its dump.
    hashes: BTreeMap<String, PieceHashes>,
    errors: Vec<LocalError>,
    pub(super) shutdown: Option<ShutdownReason>,
    pub(super) bytes_moved: u64,
    pub(super) bytes_linked: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_owned: u64,
    started: bool,
    whole_at_start: bool,
    done_at: Option<Time>,
    pub(super) dead: bool,
}

impl Recorder {
    pub(super) fn new(rank: Rank, trace: Option<TraceSink>, refused: Vec<FailedFile>) -> Recorder {
        Recorder {
            rank,
            trace,
            torrents: BTreeMap::new(),
            names: BTreeMap::new(),
            wanted: BTreeSet::new(),
            wants_anything: false,
            wants: Vec::new(),
            complete: BTreeSet::new(),
            failed: refused.into_iter().map(|failed| (failed.name, failed.reason)).collect(),
            hashes: BTreeMap::new(),
            errors: Vec::new(),
            shutdown: None,
            bytes_moved: 0,
            bytes_linked: 0,
            bytes_sent: 0,
            bytes_owned: 0,
            started: false,
            whole_at_start: false,
            done_at: None,
            dead: false,
        }
    }

    pub(super) fn registered(&mut self, register: &Register) {
        let whole = register.files.iter().filter(|file| file.provenance != Provenance::Part);
        self.wants = register.wants.clone();
        self.bytes_owned = whole.clone().map(|file| file.bytes).sum();
        self.whole_at_start = whole.clone().next().is_some();
        self.hashes = whole.map(|file| (file.name.clone(), file.hashes.clone())).collect();
    }

    /// The run has started.
    pub(super) fn started_with(&mut self, go: &Start) {
        self.started = true;
        for assignment in &go.torrents {
            if assignment.wants {
                self.wants_anything = true;
                self.wanted.extend(assignment.names.iter().cloned());
            }
            self.names.insert(assignment.torrent, assignment.names.clone());
        }
        self.wanted.extend(go.missing.iter().map(|missing| missing.name.clone()));
    }

    /// Whether the rank wants anything that some rank has.
    pub(super) fn wants_anything(&self) -> bool {
        self.wants_anything
    }

    pub(super) fn started(&self) -> bool {
        self.started
    }

    /// Keeps an error for the report, and logs it: once, however many blocks met it.
    pub(super) fn error(&mut self, error: &LocalError) {
        if self.keep(error) {
            tracing::warn!(rank = self.rank.0, "{}", error.message);
        }
    }

    /// Keeps an error for the report; false if it is there already, or there are too many.
    pub(super) fn keep(&mut self, error: &LocalError) -> bool {
        let new = self.errors.len() < MAX_ERRORS && !self.errors.contains(error);
        if new {
            self.errors.push(error.clone());
        }
        new
    }

    fn name(&self, torrent: TorrentId, file: FileIndex) -> Option<&str> {
        self.names.get(&torrent)?.get(file.index()).map(String::as_str)
    }

    /// The file that a piece belongs to, and which piece of it this is.
    fn place(&self, torrent: TorrentId, piece: u32) -> Option<(&str, u32)> {
        let known = self.torrents.get(&torrent)?;
        let file = known.geometry.piece_files(known.geometry.piece(piece)?).next()?;
        let first = known.geometry.file_pieces(FileIndex(file)).start;
        Some((known.info.files.get(file as usize)?.name.as_str(), piece.saturating_sub(first)))
    }

    pub(super) fn trace_control(&self, now: Time, control: &Control) {
        let Some(trace) = &self.trace else { return };
        let mut line = TraceLine::new(now, Rank::TRACKER, self.rank, control.name());
        line.classic = classic_control(control);
        match control {
            Control::Swarm(swarm) => {
                line.files = vec![&swarm.name];
                line.members = Some(swarm.members.iter().map(|member| member.rank).collect());
                line.loads = Some(swarm.members.iter().map(|member| member.load).collect());
            }
            Control::Refused { name, reason } => {
                (line.files, line.reason) = (vec![name.as_str()], Some(reason.as_str()));
            }
            Control::Departed { rank } => line.about = Some(("peer", vec![*rank])),
            Control::Shutdown(reason) => line.reason = Some(shutdown_reason(reason)),
            _ => {}
        }
        trace.write(&line);
    }

    pub(super) fn trace_wire(&self, now: Time, from: Rank, torrent: TorrentId, message: &Message) {
        let classic = classic_wire(message);
        self.trace_piece(now, from, torrent, (message.name(), classic), message.piece(), None);
    }

    /// A line about a torrent, and perhaps about a piece of it.
    pub(super) fn trace_piece(
        &self,
        now: Time,
        from: Rank,
        torrent: TorrentId,
        names: (&str, Option<&'static str>),
        piece: Option<u32>,
        about: Option<(&'static str, Vec<Rank>)>,
    ) {
        let Some(trace) = &self.trace else { return };
        let mut line = TraceLine::new(now, from, self.rank, names.0);
        (line.classic, line.about) = (names.1, about);
        match piece.and_then(|piece| self.place(torrent, piece)) {
            Some((file, piece)) => (line.files, line.piece) = (vec![file], Some(piece)),
            None => {
                // A set may have thousands of files; a message about the whole of it names the
                // first.
                line.files = self.name(torrent, FileIndex(0)).into_iter().collect();
            }
        }
        trace.write(&line);
    }

    fn trace_local(&self, now: Time, msg: &str, key: PieceKey, source: Vec<Rank>) {
        let about = Some(("source", source));
        self.trace_piece(now, self.rank, key.torrent, (msg, None), Some(key.piece.0), about);
    }

    /// Takes in what happened to the member.
    pub(super) fn event(&mut self, now: Time, event: MemberEvent) {
        match event {
            MemberEvent::FileComplete { torrent, file } => self.file_complete(torrent, file),
            MemberEvent::FileFailed(failed) => {
                self.failed.insert(failed.name, failed.reason);
            }
            MemberEvent::AllComplete => self.done_at = Some(now),
            MemberEvent::Shutdown(reason) => self.shutdown = Some(reason),
            MemberEvent::Started { missing, .. } => self.wanted.extend(missing),
            // The trace has the message itself.
            MemberEvent::Refreshed { .. } => {}
        }
    }

    /// Takes in what happened in a swarm.
    pub(super) fn swarm_event(&mut self, now: Time, event: SwarmEvent) {
        match event {
            SwarmEvent::Verified { key, from } => {
                self.trace_local(now, "verified", key, ranks([from]));
            }
            SwarmEvent::BadPiece { key, from } => {
                self.trace_local(now, "bad-piece", key, ranks(from));
            }
            SwarmEvent::Banned { remote } => {
                if let Some(trace) = &self.trace {
                    let mut line = TraceLine::new(now, self.rank, self.rank, "banned");
                    line.about = Some(("peer", ranks([remote])));
                    trace.write(&line);
                }
            }
            // The trace has the message itself.
            SwarmEvent::Rejected { .. } => {}
        }
    }

    /// A wanted file stands under its final name.
    pub(super) fn file_complete(&mut self, torrent: TorrentId, file: FileIndex) {
        // A torrent that a neighbour fetched was never opened here: its hashes are the neighbour's.
        let names = self.names.get(&torrent);
        let Some(name) = names.and_then(|names| names.get(file.index())) else { return };
        if let Some(known) = self.torrents.get(&torrent) {
            self.hashes.insert(name.clone(), known.info.file_hashes(file));
        }
        self.failed.remove(name);
        self.complete.insert(name.clone());
    }

    /// The report of this rank.
    pub(super) fn report(
        mut self,
        now: Time,
        stats: &Stats,
        shares: bool,
        mute: bool,
    ) -> PeerReport {
        let over_before_start = !self.started && self.shutdown != Some(ShutdownReason::Checked);
        if over_before_start {
            let name = |want: &Want| match want {
                Want::Name(text) | Want::Glob(text) => text.clone(),
            };
            self.wanted.extend(self.wants.iter().map(name));
        }
        let files = self.files();
        let all_here = files.iter().all(|file| file.state == FileState::Complete);
        let fetched = self.bytes_moved > 0;
        let role = match () {
            () if !shares || mute || !(self.whole_at_start || fetched) => Role::Leecher,
            () if self.whole_at_start && !fetched => Role::Seed,
            () if stats.bytes_served > 0 => Role::Peer,
            () => Role::Leecher,
        };
        let state = match () {
            () if self.dead => PeerState::Dead,
            () if mute || !self.started && self.shutdown.is_none() => PeerState::Absent,
            () if all_here && !over_before_start => PeerState::Complete,
            () => PeerState::Failed,
        };
        let by_rank = |counts: &BTreeMap<Endpoint, u64>| {
            counts.iter().filter_map(|(who, count)| Some((who.rank()?, *count))).collect()
        };
        PeerReport {
            rank: self.rank,
            role,
            state,
            files,
            pieces_from: by_rank(&stats.pieces_from),
            pieces_served: stats.pieces_served,
            rejected: stats.rejected,
            bad_pieces: stats.bad_pieces,
            bad_from: by_rank(&stats.bad_from),
            banned: stats.banned.iter().filter_map(|who| who.rank()).collect(),
            refreshes: stats.refreshes,
            refreshes_forced: stats.refreshes_forced,
            pieces_resumed: stats.pieces_resumed,
            seconds: self.done_at.unwrap_or(now).as_secs_f64(),
            bytes_moved: self.bytes_moved,
            bytes_linked: self.bytes_linked,
            bytes_sent: self.bytes_sent,
            errors: self.errors.into_iter().map(|error| error.message).collect(),
            hashes: self.hashes,
        }
    }

    /// Everything it wanted, and how that stands.
    fn files(&self) -> Vec<FileReport> {
        let why = match &self.shutdown {
            _ if self.dead => "the rank stopped",
            Some(ShutdownReason::Refused(_)) => "the run was refused",
            Some(ShutdownReason::Checked) => "nothing was moved, this was a check",
            Some(ShutdownReason::Interrupted) => "the run was interrupted",
            Some(ShutdownReason::Done) | None => "the run ended before it was complete",
        };
        let report = |name: &String| {
            let (state, reason) = match self.failed.get(name) {
                _ if self.complete.contains(name) => (FileState::Complete, None),
                Some(reason) => (FileState::Failed, Some(reason.clone())),
                None => (FileState::Failed, Some(why.to_owned())),
            };
            FileReport { name: name.clone(), state, reason }
        };
        let others = self.failed.keys().filter(|name| !self.wanted.contains(*name));
        self.wanted.iter().chain(others).map(report).collect()
    }
}

fn ranks(who: impl IntoIterator<Item = Endpoint>) -> Vec<Rank> {
    who.into_iter().filter_map(Endpoint::rank).collect()
}
