//! The plan that all three forms are read into.

use crate::{CourseInput, Generate, Pattern, PlanError, TomlPlan};
use dunlin_base::Rank;

/// Who has what and who wants what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The form it was read from.
    pub form: PlanForm,
    /// The peers, rank 1 first, without a gap; at least one.
    pub peers: Vec<PeerPlan>,
    /// Test data to make before anything else; empty but for `plan.toml`.
    pub generate: Vec<Generate>,
    /// What a person should know and that stops nothing, a sentence each.
    pub warnings: Vec<String>,
}

/// The three forms of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanForm {
    /// A folder of `in<R>.txt`.
    Course,
    /// A folder of `peer<R>/` directories.
    Folders,
    /// A `plan.toml`.
    Toml,
}

/// One peer of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPlan {
    /// Its rank, 1 or more.
    pub rank: Rank,
    /// What it has and wants.
    pub source: PeerSource,
}

/// What a peer has and wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerSource {
    /// Token files.
    Course(CourseInput),
    /// Real files below a folder.
    Files {
        /// The folder, as the loader gives it: a path that can be opened from where the program
        /// runs. It need not be there yet.
        root: String,
        /// Which of the files below it are offered.
        have: Have,
        /// The names it wants.
        wants: Vec<Pattern>,
    },
}

/// Which files below its root a peer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Have {
    /// All of them: a `peer<R>/` folder.
    Everything,
    /// Those that any of the patterns matches.
    Patterns(Vec<Pattern>),
    /// Whatever wanted files are found, whole or in part: the default of `plan.toml`.
    Wanted,
}

impl Plan {
    /// The plan of a `plan.toml`: `root_of` turns a root relative to the plan's folder into a path
    /// that can be opened. `file` is the name of the plan for messages.
    ///
    /// # Errors
    /// If a node has hosts and no ranks: hosts are for a launcher.
    pub fn from_toml(
        file: &str,
        toml: TomlPlan,
        root_of: impl Fn(&str) -> String,
    ) -> Result<Plan, PlanError> {
        let mut peers = Vec::new();
        for node in &toml.nodes {
            if !node.hosts.is_empty() {
                return Err(crate::fault::error(file, node.line, crate::Fault::HostsOnly));
            }
            for rank in &node.ranks {
                let have = node.have.clone().map_or(Have::Wanted, Have::Patterns);
                let root = root_of(&node.root_of(*rank, ""));
                let source = PeerSource::Files { root, have, wants: node.want.clone() };
                peers.push(PeerPlan { rank: *rank, source });
            }
        }
        peers.sort_by_key(|peer| peer.rank);
        let generate = toml.generate;
        Ok(Plan { form: PlanForm::Toml, peers, generate, warnings: Vec::new() })
    }
}
