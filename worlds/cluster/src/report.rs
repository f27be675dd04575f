//! The report of a run: what everyone has in the end, and how it came by it. Schema 1.

use crate::json;
use dunlin_base::Rank;
use dunlin_control::FailedFile;
use dunlin_engine::cluster::coordinator::PlannedMove;
use dunlin_engine::cluster::{Conflict, DumpRow};
use dunlin_metainfo::PieceHashes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The version of the report's JSON form.
pub const SCHEMA: u32 = 1;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// How long it took, in seconds (of virtual time where time is virtual).
    pub seconds: f64,
    /// Bytes of all wanted files at all ranks, whether or not they were there already.
    pub bytes_wanted: u64,
    /// Those of them that were not there at the start, nor elsewhere on that host.
    pub bytes_missing: u64,
    /// Payload bytes that were received and kept.
    pub bytes_moved: u64,
    /// Payload bytes that came to their places without a way over the network.
    pub bytes_linked: u64,
    /// The peers, by rank.
    pub peers: Vec<PeerReport>,
    /// Why nothing was moved, for people, if the run was refused.
    pub refused: Option<String>,
    /// If it was refused because owners disagree: the first conflict. `refused` begins with its
    /// text.
    pub conflict: Option<Conflict>,
    /// Whether the run was refused as a whole, for whatever reason: nothing began to move, and the
    /// failure of a wanted file adds nothing to that.
    pub never_began: bool,
    /// Whether a person stopped it.
    pub interrupted: bool,
    /// What went wrong in the run as a whole.
    pub errors: Vec<RunError>,
    /// What would move, or moved: known once everyone had registered.
    pub plan: Vec<PlannedMove>,
    /// Of a mere check: wanted names that are not there as they should be, by rank.
    pub differs: BTreeMap<Rank, Vec<FailedFile>>,
    /// Of a mere check: wanted names without a source, by rank.
    pub ungiven: BTreeMap<Rank, Vec<FailedFile>>,
    /// What people should know although nothing fails of it.
    pub notes: Vec<String>,
    /// Ranks that were absent or dead, came late, and took part.
    pub returned: Vec<Rank>,
    /// Whether this was only a check.
    pub checked: bool,
    /// The tracker's view: file → (piece hash, ranks).
    pub tracker_dump: Vec<(String, Vec<DumpRow>)>,
}

/// Something that went wrong in the run as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", content = "message", rename_all = "lowercase")]
pub enum RunError {
    /// The disk: a file cannot be read, a folder not be locked.
    #[error("{0}")]
    Disk(String),
    /// What the plan asks for cannot be done as it stands.
    #[error("{0}")]
    Input(String),
    /// Nothing moves any more.
    #[error("{0}")]
    Stalled(String),
    /// The tracker, or the network below it, is gone.
    #[error("{0}")]
    Network(String),
    /// A defect of this program, or no threads to be had.
    #[error("{0}")]
    Internal(String),
}

impl RunError {
    /// The name of its kind, as reports have it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            RunError::Disk(_) => "disk",
            RunError::Input(_) => "input",
            RunError::Stalled(_) => "stalled",
            RunError::Network(_) => "network",
            RunError::Internal(_) => "internal",
        }
    }
}

/// What a run came to for one rank.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerReport {
    /// The rank.
    #[serde(with = "json::rank")]
    pub rank: Rank,
    /// What it was to the swarm.
    pub role: Role,
    /// How it ended.
    pub state: PeerState,
    /// What it wanted.
    pub files: Vec<FileReport>,
    /// Verified pieces, by who gave most of each.
    #[serde(with = "json::by_rank")]
    pub pieces_from: BTreeMap<Rank, u64>,
    /// Pieces' worth of blocks it served.
    pub pieces_served: u64,
    /// Requests of its own that were refused.
    pub rejected: u64,
    /// Pieces that came with a wrong hash.
    pub bad_pieces: u64,
    /// Bad pieces, by everyone who gave a block of them.
    #[serde(with = "json::by_rank")]
    pub bad_from: BTreeMap<Rank, u64>,
    /// The ranks that it banned.
    #[serde(with = "json::ranks")]
    pub banned: BTreeSet<Rank>,
    /// Refreshes it sent.
    pub refreshes: u64,
    /// Refreshes it sent out of turn.
    pub refreshes_forced: u64,
    /// Pieces it found right in unfinished files.
    pub pieces_resumed: u64,
    /// When it was done, in seconds from the start.
    pub seconds: f64,
    /// Payload bytes it received and kept.
    pub bytes_moved: u64,
    /// Payload bytes that were linked or copied on its host.
    pub bytes_linked: u64,
    /// Payload bytes it sent.
    pub bytes_sent: u64,
    /// Errors of its own disk, for people.
    pub errors: Vec<String>,
    /// The hashes of every file that it has whole. They stay with the rank, and are not part of the
    /// JSON form.
    #[serde(skip)]
    pub hashes: BTreeMap<String, PieceHashes>,
}

/// What a rank was to the swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It had whole files and fetched none.
    Seed,
    /// It fetched and shared what it had.
    Peer,
    /// It shared nothing.
    Leecher,
}

/// How a rank ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// It has everything it wanted.
    Complete,
    /// It lacks something, for a stated reason.
    Failed,
    /// It stopped in the middle.
    Dead,
    /// It never registered.
    Absent,
}

/// A wanted file, in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Its name, or the pattern that nothing matched.
    pub name: String,
    /// How it stands.
    pub state: FileState,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a wanted file stands in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// It stands under its final name, verified.
    Complete,
    /// It does not.
    Failed,
}

impl Role {
    /// The role's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Seed => "seed",
            Role::Peer => "peer",
            Role::Leecher => "leecher",
        }
    }
}

impl PeerState {
    /// The state's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            PeerState::Complete => "complete",
            PeerState::Failed => "failed",
            PeerState::Dead => "dead",
            PeerState::Absent => "absent",
        }
    }
}

impl FileState {
    /// The state's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FileState::Complete => "complete",
            FileState::Failed => "failed",
        }
    }
}

/// Everything is there.
pub const EXIT_OK: u8 = 0;
/// Some files or peers failed.
pub const EXIT_FAILED: u8 = 1;
/// The input cannot be used as it stands.
pub const EXIT_INPUT: u8 = 4;
/// The disk.
pub const EXIT_DISK: u8 = 5;
/// The tracker, or the network below it.
pub const EXIT_NETWORK: u8 = 7;
/// Nothing moved any more.
pub const EXIT_STALLED: u8 = 8;
/// Stopped by a person; can be resumed.
pub const EXIT_INTERRUPTED: u8 = 9;

impl Report {
    /// Whether everyone has what it wanted.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.exit_code() == EXIT_OK
    }

    /// The exit code of a program that did this run.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.refused.is_some() {
            return EXIT_INPUT;
        }
        if let Some(first) = self.errors.first() {
            return match first {
                RunError::Disk(_) => EXIT_DISK,
                RunError::Input(_) => EXIT_INPUT,
                RunError::Stalled(_) => EXIT_STALLED,
                RunError::Network(_) => EXIT_NETWORK,
                RunError::Internal(_) => EXIT_FAILED,
            };
        }
        if self.interrupted {
            return EXIT_INTERRUPTED;
        }
        if self.checked {
            // A check knows nothing of a rank that does not answer.
            return if self.unanswered().next().is_none() { EXIT_OK } else { EXIT_FAILED };
        }
        if self.peers.iter().all(|peer| peer.state == PeerState::Complete) {
            return EXIT_OK;
        }
        // A failure is the disk's if every rank that failed has an error of its own disk.
        let mut failed = self.peers.iter().filter(|peer| peer.state != PeerState::Complete);
        if failed.all(|peer| peer.state == PeerState::Failed && !peer.errors.is_empty()) {
            return EXIT_DISK;
        }
        EXIT_FAILED
    }

    /// The ranks that never registered or stopped in the middle.
    pub fn unanswered(&self) -> impl Iterator<Item = &PeerReport> {
        let silent = |state| matches!(state, PeerState::Absent | PeerState::Dead);
        self.peers.iter().filter(move |peer| silent(peer.state))
    }

    /// What went wrong, a sentence each, for people.
    #[must_use]
    pub fn error_text(&self) -> Option<String> {
        let mut all: Vec<String> = self.refused.iter().cloned().collect();
        all.extend(self.errors.iter().map(RunError::to_string));
        if all.is_empty() { None } else { Some(all.join("\n")) }
    }

    /// The report as JSON, schema 1.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let kind = if self.refused.is_some() { "refused" } else { self.error_kind() };
        let error = self.error_text().map(|message| ErrorForm { kind, message });
        to_value(&ReportForm {
            schema: SCHEMA,
            ok: self.ok(),
            exit: self.exit_code(),
            interrupted: self.interrupted,
            seconds: self.seconds,
            bytes_wanted: self.bytes_wanted,
            bytes_missing: self.bytes_missing,
            bytes_moved: self.bytes_moved,
            bytes_linked: self.bytes_linked,
            plan: self.plan.iter().map(PlanForm::from).collect(),
            returned: self.returned.clone(),
            peers: &self.peers,
            error,
        })
    }

    fn error_kind(&self) -> &'static str {
        self.errors.first().map_or("internal", RunError::kind)
    }

    /// The tracker's dump: `{"name": [["hash", [ranks…]], …]}`.
    #[must_use]
    pub fn tracker_dump_json(&self) -> Value {
        let rows = |rows: &[DumpRow]| -> Value {
            let row = |(hash, ranks): &DumpRow| {
                Value::from(vec![
                    Value::from(hash.as_str()),
                    ranks.iter().map(|rank| rank.0).collect(),
                ])
            };
            rows.iter().map(row).collect()
        };
        let files = self.tracker_dump.iter().map(|(name, all)| (name.clone(), rows(all)));
        Value::Object(files.collect::<Map<String, Value>>())
    }
}

impl PeerReport {
    /// A rank that a defect of this program ended: nothing is known of it.
    #[must_use]
    pub(crate) fn lost(rank: Rank) -> PeerReport {
        let defect = "a thread of the rank failed; this is a defect, please report it".to_owned();
        PeerReport { errors: vec![defect], ..PeerReport::silent(rank) }
    }

    /// A rank that has sent no report: nothing is known of it.
    #[must_use]
    pub(crate) fn silent(rank: Rank) -> PeerReport {
        PeerReport {
            rank,
            role: Role::Leecher,
            state: PeerState::Dead,
            files: Vec::new(),
            pieces_from: BTreeMap::new(),
            pieces_served: 0,
            rejected: 0,
            bad_pieces: 0,
            bad_from: BTreeMap::new(),
            banned: BTreeSet::new(),
            refreshes: 0,
            refreshes_forced: 0,
            pieces_resumed: 0,
            seconds: 0.0,
            bytes_moved: 0,
            bytes_linked: 0,
            bytes_sent: 0,
            errors: Vec::new(),
            hashes: BTreeMap::new(),
        }
    }

    /// The exit code of a process that was this rank alone.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.state {
            PeerState::Complete => EXIT_OK,
            PeerState::Failed if !self.errors.is_empty() => EXIT_DISK,
            PeerState::Failed | PeerState::Dead | PeerState::Absent => EXIT_FAILED,
        }
    }

    /// How many different ranks gave it verified pieces.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.pieces_from.len()
    }

    /// The peer's own dump: `{"name": ["hash", …]}` of every file it has whole.
    #[must_use]
    pub fn dump_json(&self) -> Value {
        let hashes = |hashes: &PieceHashes| -> Value {
            (0..hashes.len()).map(|index| Value::from(hashes.display(index))).collect()
        };
        let files = self.hashes.iter().map(|(name, all)| (name.clone(), hashes(all)));
        Value::Object(files.collect::<Map<String, Value>>())
    }

    /// The report of this rank as JSON, without the hashes.
    #[cfg(test)]
    fn to_json(&self) -> Value {
        to_value(self)
    }
}

/// The JSON form of a report.
#[derive(Serialize)]
struct ReportForm<'a> {
    schema: u32,
    ok: bool,
    exit: u8,
    interrupted: bool,
    seconds: f64,
    bytes_wanted: u64,
    bytes_missing: u64,
    bytes_moved: u64,
    bytes_linked: u64,
    plan: Vec<PlanForm>,
    #[serde(with = "json::ranks")]
    returned: Vec<Rank>,
    peers: &'a [PeerReport],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorForm>,
}

/// The JSON form of what one rank would fetch.
#[derive(Serialize)]
struct PlanForm {
    #[serde(with = "json::rank")]
    rank: Rank,
    files: u64,
    bytes: u64,
    bytes_here: u64,
    bytes_linked: u64,
}

impl From<&PlannedMove> for PlanForm {
    fn from(planned: &PlannedMove) -> PlanForm {
        let PlannedMove { rank, files, bytes, bytes_here, linked, .. } = *planned;
        PlanForm { rank, files, bytes, bytes_here, bytes_linked: linked }
    }
}

#[derive(Serialize)]
struct ErrorForm {
    kind: &'static str,
    message: String,
}

/// The value of a form. Every one has string keys and finite numbers, which is all that JSON asks
/// for.
fn to_value(form: &impl Serialize) -> Value {
    serde_json::to_value(form).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert_eq!(Report::default().exit_code(), EXIT_OK);
        let refused = Report { refused: Some("no".into()), ..Report::default() };
        assert_eq!(refused.exit_code(), EXIT_INPUT);
        assert_eq!(refused.to_json()["error"]["message"], "no");
        let stopped = Report { interrupted: true, ..Report::default() };
        assert_eq!(stopped.exit_code(), EXIT_INTERRUPTED);
        assert_eq!(stopped.to_json()["ok"], false);
        let silent = vec![PeerReport::silent(Rank(2))];
        let unseen = Report { checked: true, peers: silent, ..Report::default() };
        assert_eq!(unseen.exit_code(), EXIT_FAILED, "nobody knows how it stands there");
        assert_eq!(Report { checked: true, ..Report::default() }.exit_code(), EXIT_OK);
        let stalled = RunError::Stalled("nothing moves".into());
        let stalled = Report { errors: vec![stalled], interrupted: true, ..Report::default() };
        assert_eq!(stalled.exit_code(), EXIT_STALLED);
    }

    fn of_json(value: &Value) -> Option<PeerReport> {
        serde_json::from_value(value.clone()).ok()
    }

    #[test]
    fn a_report_comes_back() {
        let failed = FileReport {
            name: "b".into(),
            state: FileState::Failed,
            reason: Some("nobody has it".into()),
        };
        let complete =
            FileReport { name: "a/\"x\"".into(), state: FileState::Complete, reason: None };
        let report = PeerReport {
            role: Role::Peer,
            state: PeerState::Failed,
            files: vec![complete, failed],
            pieces_from: BTreeMap::from([(Rank(1), 7), (Rank(12), u64::MAX)]),
            bad_from: BTreeMap::from([(Rank(2), 1)]),
            banned: [Rank(2)].into(),
            bad_pieces: 1,
            pieces_served: 3,
            pieces_resumed: 4,
            rejected: 5,
            refreshes: 6,
            refreshes_forced: 2,
            seconds: 1.25,
            bytes_moved: 99,
            bytes_linked: 7,
            bytes_sent: 98,
            errors: vec!["disk".into()],
            ..PeerReport::silent(Rank(3))
        };
        let json = report.to_json();
        let back = of_json(&json).expect("reads its own");
        assert_eq!(back.to_json(), json);
        assert_eq!(format!("{back:?}"), format!("{report:?}"));
    }

    #[test]
    fn whatever_is_missing_or_of_another_type_is_refused() {
        let json = PeerReport::silent(Rank(3)).to_json();
        let whole = json.as_object().expect("an object");
        for key in whole.keys() {
            let mut cut = whole.clone();
            cut.remove(key);
            assert!(of_json(&Value::Object(cut)).is_none(), "without {key}");
            let mut wrong = whole.clone();
            wrong.insert(key.clone(), Value::Bool(true));
            assert!(of_json(&Value::Object(wrong)).is_none(), "{key} is no {key}");
        }
    }
}
