//! From all registrations to what will move: the true content of every name, conflicts and
//! obstacles, the sets, who wants what, who links from whom, and the looks of trees. Pure, and
//! near-linear in the number of registered copies.
//!
//! ```text
//!  registrations ─▶ names ─▶ truth (owners, else in place, else parts) ─▶ who holds what
//!        └ wants ─▶ classes of equal wishes ─▶ sets by (holders, wanters) ─▶ links, moves
//! ```

use dunlin_base::{Bitfield, FileIndex, Rank};
use dunlin_control::{FailedFile, OwnedFile, Register};
use dunlin_metainfo::{PieceHashes, SetInfo, TreeEntry};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

mod build;
mod conflicts;
mod differs;
mod late_join;
mod links;
mod moves;
mod names;
mod sites;
mod space;
mod tree;
mod want_table;

pub use late_join::{Admission, LateAssignment, PlannedSets, admit};
pub use tree::Tree;

/// The most pieces of a set. Larger ones are split, so that a torrent's bitfield stays under 256
/// KiB and below the most pieces of a torrent; a single file may go up to the latter.
pub const MAX_SET_PIECES: u64 = 2_000_000;

/// What happens when owners of a name disagree (`--on-conflict`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Nothing moves.
    #[default]
    Refuse,
    /// The lowest rank's content counts; the others are no owners.
    LowestRank,
    /// That name fails for all who want it; all else goes on.
    FailName,
}

/// By what rules registrations are judged.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What happens when owners disagree.
    pub on_conflict: OnConflict,
    /// Whether what stands in the way is replaced, an owner's copy of a file that it wants
    /// included, if all owners that do not want the file agree.
    pub force: bool,
    /// Whether a plan is to be made so: what stands at a destination and differs is repaired, and
    /// whoever lacks space fails alone.
    pub placing: bool,
    /// Whether copies that merely stand somewhere say nothing of what a name holds.
    pub owners_only: bool,
    /// Whether to say how every destination differs from the plan ([`Sets::differs`]).
    pub compare: bool,
    /// The SHA-256 that files must have, by name.
    pub pins: &'a BTreeMap<String, [u8; 32]>,
}

/// Two ranks that have the right to say what a name holds, and say different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The file.
    pub name: String,
    /// The lower rank.
    pub first: Rank,
    /// The higher rank.
    pub second: Rank,
    /// The first piece that differs; `None` if the files are not comparable piece by piece, because
    /// their lengths, piece lengths or kinds differ.
    pub piece: Option<u32>,
    /// The lengths of both, in the order of the ranks: bytes, or tokens of a token file.
    pub lengths: (u64, u64),
    /// The one of the two whose copy may be replaced with `force`: it wants the file, and all
    /// owners that do not want it agree.
    pub gives_way: Option<Rank>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conflict { name, first, second, piece, lengths, .. } = self;
        write!(f, "rank {first} and rank {second} have different files `{name}`: ")?;
        match piece {
            Some(piece) => write!(f, "piece {piece} is the first that differs"),
            None if lengths.0 != lengths.1 => {
                write!(f, "their lengths are {} and {}", lengths.0, lengths.1)
            }
            None => f.write_str("they are cut into other pieces, from the first piece on"),
        }
    }
}

/// A file of other content that stands where a wanted file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Where it stands.
    pub rank: Rank,
    /// The file.
    pub name: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Obstacle { rank, name } = self;
        write!(f, "`{name}` already stands at rank {rank} with other content")
    }
}

/// What a rank has of a set at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The rank.
    pub rank: Rank,
    /// Its pieces; `None` means all.
    pub pieces: Option<Bitfield>,
    /// Whether every file of the set stands there whole, under its name.
    pub whole: bool,
}

/// A set of files that moves as one torrent. Its number is its place in [`Sets::torrents`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPlan {
    /// Its metainfo.
    pub info: Arc<SetInfo>,
    /// Who has something of it, by rank.
    pub holders: Vec<Holding>,
    /// Who wants it, by rank; never nobody.
    pub wanters: Arc<[Rank]>,
    /// Who does not fetch it but links its files, and from whose folder; nobody links from somebody
    /// who links from him.
    pub links: BTreeMap<Rank, Rank>,
    /// Of ranks that others link from: the files that stand in their folders already, in order.
    pub ready: BTreeMap<Rank, Vec<FileIndex>>,
}

impl SetPlan {
    /// Whether `rank` wants the set.
    #[must_use]
    pub fn wants(&self, rank: Rank) -> bool {
        self.wanters.binary_search(&rank).is_ok()
    }
}

/// A file that nobody wants. It does not move, but the tracker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwantedFile {
    /// Its name.
    pub name: String,
    /// The hashes of its pieces.
    pub hashes: PieceHashes,
    /// Who has it, by rank, and which pieces; `None` means all.
    pub holders: Vec<(Rank, Option<Bitfield>)>,
}

/// What a rank will fetch. Bytes are of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Move {
    /// Wanted files that are not whole here.
    pub files: u64,
    /// Bytes of them that must still come.
    pub bytes: u64,
    /// Bytes of wanted files that are here already, or are zeros, which need not come.
    pub bytes_here: u64,
    /// Bytes of wanted files that come from the same host: linked from another rank's folder, or
    /// copied from where this rank owns them.
    pub linked: u64,
}

/// What all registrations come to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Sets {
    /// The sets, by number: in the order of their first names.
    pub torrents: Vec<SetPlan>,
    /// Files that nobody wants, by name.
    pub unwanted: Vec<UnwantedFile>,
    /// Names whose owners disagree. Only under [`OnConflict::Refuse`].
    pub conflicts: Vec<Conflict>,
    /// What stands in the way. Empty with `force`, and when placing.
    pub obstacles: Vec<Obstacle>,
    /// What stands in the way and will be replaced (`--force`), or is repaired (placing).
    pub replace: BTreeMap<Rank, Vec<String>>,
    /// Wants that nobody can meet, each with its reason.
    pub missing: BTreeMap<Rank, Vec<FailedFile>>,
    /// What every rank that wants something will fetch.
    pub moves: BTreeMap<Rank, Move>,
    /// The looks of all trees, wanted or not.
    pub tree: Tree,
    /// What of the trees each rank wants, by name. Ranks with equal wants share it.
    pub entries: BTreeMap<Rank, Arc<[TreeEntry]>>,
    /// What people should know although nothing fails of it, such as owners whose looks of a name
    /// differ.
    pub notes: Vec<String>,
    /// With [`Rules::compare`]: what is not as the plan says, by rank.
    pub differs: BTreeMap<Rank, Vec<FailedFile>>,
}

impl Sets {
    /// Asserts that the parts hold together.
    ///
    /// # Panics
    /// If they do not.
    pub fn check(&self) {
        let mut firsts = Vec::new();
        let mut names: Vec<&str> = self.unwanted.iter().map(|file| file.name.as_str()).collect();
        for set in &self.torrents {
            let pieces = set.info.hashes.len();
            assert!(pieces as u64 <= MAX_SET_PIECES || set.info.files.len() == 1);
            assert!(!set.wanters.is_empty() && set.wanters.is_sorted());
            assert!(set.holders.is_sorted_by(|a, b| a.rank < b.rank));
            assert!(set.info.files.is_sorted_by(|a, b| a.name < b.name));
            let fits = |have: &Bitfield| have.len() as usize == pieces;
            assert!(set.holders.iter().all(|held| held.pieces.as_ref().is_none_or(fits)));
            assert!(set.holders.iter().all(|held| !held.whole || held.pieces.is_none()));
            for (rank, from) in &set.links {
                assert!(set.wants(*rank) && set.wants(*from), "wanters help each other");
                let next = set.links.get(from);
                assert!(next.is_none_or(|next| !set.links.contains_key(next)), "two steps at most");
            }
            assert!(set.ready.keys().all(|rank| set.links.values().any(|from| from == rank)));
            names.extend(set.info.files.iter().map(|file| file.name.as_str()));
            firsts.extend(set.info.files.first().map(|file| &file.name));
        }
        assert!(firsts.is_sorted());
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a name is in one set");
        self.tree.check();
        let sorted = |list: &Arc<[TreeEntry]>| list.is_sorted_by(|a, b| a.name < b.name);
        assert!(self.entries.values().all(sorted), "one entry a name");
    }
}

/// A registered copy of a file.
#[derive(Clone, Copy)]
struct RegisteredCopy<'a> {
    rank: Rank,
    file: &'a OwnedFile,
    /// Whether an owner's copy is not where the rank's wanted files go.
    elsewhere: bool,
}

/// What a rank has of one file.
#[derive(Clone, Copy)]
struct Held<'a> {
    rank: Rank,
    /// What it can serve; `None` means all.
    pieces: Option<&'a Bitfield>,
    /// Whether it is there under its name, and no other content is.
    whole: bool,
    /// What stands where its wanted files go; `None` for nothing.
    at_dest: Option<DestContent<'a>>,
}

/// What stands at a destination.
#[derive(Clone, Copy)]
enum DestContent<'a> {
    Whole,
    /// Pieces of an unfinished file; `None` means all.
    Part(Option<&'a Bitfield>),
}

/// Works out what all registrations come to. Each should have passed [`Register::check`]; what does
/// not fit together is left out.
#[must_use]
pub fn make_sets(registers: &[(Rank, &Register)], rules: &Rules<'_>) -> Sets {
    let mut by_rank = registers.to_vec();
    by_rank.sort_by_key(|(rank, _)| *rank);
    let lists = names::Lists::new(&by_rank);
    let names = lists.names(rules);
    let sites = sites::Sites::new(&by_rank);
    let mut want_table = want_table::WantTable::new(&by_rank, &names, rules.pins);
    let mut sets = Sets::default();
    let mut resolver =
        conflicts::ConflictResolver { rules, names: &names, sites: &sites, sets: &mut sets };
    let resolutions = resolver.all(&want_table);
    sets.tree = tree::tree(&names, &resolutions, &mut sets.notes);
    let mut plan = build::build(&resolutions, &want_table, &sites, rules.placing);
    let differs = rules.compare.then(|| {
        // What is there is no matter of space.
        let mut all = Sets { tree: sets.tree.clone(), ..Sets::default() };
        let plan = build::build(&resolutions, &want_table, &sites, rules.placing);
        plan.into_sets(&names, &resolutions, &want_table, &sites, &mut all);
        differs::differs(&names, &resolutions, &want_table, &sites, &by_rank, &all)
    });
    if rules.placing {
        let dropped = space::too_small(&plan, &by_rank, &sites, &want_table);
        if !dropped.is_empty() {
            want_table.drop_ranks(dropped);
            plan = build::build(&resolutions, &want_table, &sites, rules.placing);
        }
    }
    plan.into_sets(&names, &resolutions, &want_table, &sites, &mut sets);
    sets.differs = differs.unwrap_or_default();
    sets
}

#[cfg(test)]
pub(crate) mod tests;
