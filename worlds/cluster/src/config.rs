//! The configuration of a run's peers: which files each has, and what it wants.

use dunlin_base::Rank;
use dunlin_control::{FailedFile, Location};
use dunlin_metainfo::TreeEntry;
use dunlin_plan::{Have, Pattern, TokenFile};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What a run does with files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every rank fetches the files that it wants and does not have.
    #[default]
    Swarm,
    /// A plan is carried out: files that differ are repaired, and trees keep their metadata. Peers
    /// have content with a [`Placement`] then.
    Place,
}

/// One peer of a run.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Its rank, from 1.
    pub rank: Rank,
    /// What it has and wants.
    pub content: PeerContent,
}

/// What a peer has and wants.
#[derive(Clone, Debug)]
pub enum PeerContent {
    /// Token files.
    Tokens {
        /// The files it has.
        owned: Vec<TokenFile>,
        /// The names it wants.
        wanted: Vec<String>,
        /// The folder for `client<R>_<name>`.
        out: PathBuf,
    },
    /// Real files.
    Files {
        /// Where its files are.
        root: PathBuf,
        /// Where wanted files go; the root itself unless there is an output folder.
        dest: PathBuf,
        /// What was found below the root.
        found: Vec<FoundFile>,
        /// What was found below the destination, where it is another folder.
        found_dest: Vec<FoundFile>,
        /// Which of the files below the root it offers.
        have: Have,
        /// What it wants.
        wants: Vec<Pattern>,
        /// What [`Mode::Place`] adds; `None` in [`Mode::Swarm`].
        placement: Option<Box<Placement>>,
    },
}

/// What a rank gets beside its files where a plan is carried out (`cast`, `place`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The folders, links and metadata of the trees that it offers, by name.
    pub entries: Vec<TreeEntry>,
    /// The folders and links that are where wanted ones go, by name, where a run that only reports
    /// differences has listed them.
    pub existing: Option<Vec<TreeEntry>>,
    /// Names of files whose SHA-256 matters.
    pub pins: BTreeSet<String>,
    /// Files that it should have given and cannot, each with its reason.
    pub unreadable: Vec<FailedFile>,
    /// Files that it should have wanted and cannot take, each with its reason. They count as
    /// failed.
    pub refused: Vec<FailedFile>,
    /// Where it runs; `None` where ranks of one host do not help each other.
    pub location: Option<Location>,
    /// A lower rank of this host writes into the same folder: this one neither checks nor writes
    /// the files there.
    pub mirrors: bool,
    /// Whether a file that differs is changed in place, instead of replaced by a copy.
    pub in_place: bool,
    /// Whether files that the patterns match and no rank has are removed in the end.
    pub delete: bool,
    /// The folder of the hash lists of earlier runs; `None` to read every byte.
    pub cache: Option<PathBuf>,
}

/// A regular file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Its relative name with `/`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub length: u64,
}
