//! What comes of a run, for the report and the exit code.

use crate::cluster::{Conflict, Move};
use dunlin_base::Rank;
use dunlin_control::FailedFile;
use std::collections::BTreeMap;

/// What has come of a run.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Why nothing was moved, if nothing was.
    pub refusal: Option<Refusal>,
    /// Ranks that never registered, in order.
    pub absent: Vec<Rank>,
    /// Ranks that were lost, in order. One that had completed before stays in `completed` too.
    pub dead: Vec<Rank>,
    /// Ranks that were absent or dead and came late, in order. They are not in the other two unless
    /// they were lost again.
    pub returned: Vec<Rank>,
    /// What ranks could not get, in their own words; of a mere check, what nobody can give them.
    pub failed: BTreeMap<Rank, Vec<FailedFile>>,
    /// Ranks that reported all complete (or failed for a stated reason), in the order of their
    /// reports.
    pub completed: Vec<Rank>,
    /// What every rank that wants something has to fetch, by rank. Filled in at the start, also
    /// when nothing moves.
    pub plan: Vec<PlannedMove>,
    /// Payload bytes of all wanted files, for all ranks together, whether or not they are there
    /// already.
    pub bytes_wanted: u64,
    /// Whether a person stopped the run.
    pub interrupted: bool,
    /// What people should know although nothing fails of it: owners whose looks of a name differ.
    pub notes: Vec<String>,
    /// Of a mere check: every wanted name that is not there as it should be, by rank, with what is
    /// wrong. Bounded: of very many the rest is a number.
    pub differs: BTreeMap<Rank, Vec<FailedFile>>,
}

/// What a rank has to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    /// The rank.
    pub rank: Rank,
    /// Wanted files that are not whole there.
    pub files: u64,
    /// Payload bytes of them that must still come.
    pub bytes: u64,
    /// Payload bytes of wanted files that are there already, or are zeros, which need not come.
    pub bytes_here: u64,
    /// Payload bytes that come from the same host: linked from another rank's folder, or copied
    /// from where the rank owns them.
    pub linked: u64,
}

impl PlannedMove {
    pub(super) fn new(rank: Rank, moved: Move) -> PlannedMove {
        let Move { files, bytes, bytes_here, linked } = moved;
        PlannedMove { rank, files, bytes, bytes_here, linked }
    }

    /// Payload bytes of everything that the rank wants.
    pub(super) fn wanted(&self) -> u64 {
        self.bytes.saturating_add(self.bytes_here).saturating_add(self.linked)
    }
}

/// Why nothing was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind of reason it is; it decides the exit code.
    pub kind: RefusalKind,
    /// The whole message for people: what, where, and what to do. That of a conflict begins with
    /// the conflict as text.
    pub text: String,
    /// Of owners that disagree: the first conflict, for whoever knows where the files come from.
    pub conflict: Option<Conflict>,
}

/// Which kind of reason a refusal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Owners disagree about a file.
    Conflict,
    /// A file of other content stands where a wanted one goes.
    Obstacle,
    /// The wanted files do not fit.
    NoSpace,
}
