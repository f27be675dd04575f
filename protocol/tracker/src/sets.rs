//! From all registrations to what will move: the true content of every name, conflicts and
//! obstacles, the sets, and who wants what. Pure, and near-linear in the number of registered
//! copies.
//!
//! ```text
//!  registrations ─▶ copies by name ─▶ truth (owners, else in place, else parts) ─▶ who holds what
//!        └ wants (names, globs) ──────────────▶ wanters of a name ─▶ sets by (holders, wanters)
//! ```

use crate::{FailedFile, OwnedFile, Register, Want};
use dunlin_base::{Bitfield, Rank};
use dunlin_metainfo::{PieceHashes, SetInfo};
use dunlin_plan::Pattern;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

mod build;
mod truth;

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
    pub wanters: Vec<Rank>,
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
pub struct LooseFile {
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
    /// Bytes of wanted files that are here already.
    pub bytes_here: u64,
}

/// What all registrations come to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Sets {
    /// The sets, by number: in the order of their first names.
    pub torrents: Vec<SetPlan>,
    /// Files that nobody wants, by name.
    pub loose: Vec<LooseFile>,
    /// Names whose owners disagree. Empty under [`OnConflict::LowestRank`].
    pub conflicts: Vec<Conflict>,
    /// What stands in the way. Empty with `force`.
    pub obstacles: Vec<Obstacle>,
    /// What stands in the way and will be replaced (`--force`).
    pub replace: BTreeMap<Rank, Vec<String>>,
    /// Wants that nobody can meet, each with its reason.
    pub missing: BTreeMap<Rank, Vec<FailedFile>>,
    /// What every rank that wants something will fetch.
    pub moves: BTreeMap<Rank, Move>,
}

impl Sets {
    /// Asserts that the parts hold together.
    ///
    /// # Panics
    /// If they do not.
    pub fn check(&self) {
        let mut firsts = Vec::new();
        let mut names: Vec<&str> = self.loose.iter().map(|file| file.name.as_str()).collect();
        for set in &self.torrents {
            let pieces = set.info.hashes.len();
            assert!(pieces as u64 <= MAX_SET_PIECES || set.info.files.len() == 1);
            assert!(!set.wanters.is_empty() && set.wanters.is_sorted());
            assert!(set.holders.is_sorted_by(|a, b| a.rank < b.rank));
            assert!(set.info.files.is_sorted_by(|a, b| a.name < b.name));
            let fits = |have: &Bitfield| have.len() as usize == pieces;
            assert!(set.holders.iter().all(|held| held.pieces.as_ref().is_none_or(fits)));
            assert!(set.holders.iter().all(|held| !held.whole || held.pieces.is_none()));
            names.extend(set.info.files.iter().map(|file| file.name.as_str()));
            firsts.extend(set.info.files.first().map(|file| &file.name));
        }
        assert!(firsts.is_sorted());
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a name is in one set");
    }
}

/// A registered copy of a file.
#[derive(Clone, Copy)]
struct Copy<'a> {
    rank: Rank,
    file: &'a OwnedFile,
}

/// All copies of one name, by rank.
struct Named<'a> {
    name: &'a str,
    copies: &'a [Copy<'a>],
}

/// What a rank has of one file.
#[derive(Clone, Copy)]
struct Held<'a> {
    rank: Rank,
    /// `None` means all.
    pieces: Option<&'a Bitfield>,
    whole: bool,
}

/// Works out what all registrations come to. Each should have passed [`Register::check`]; what does
/// not fit together is left out. With `force`, what stands in the way is replaced, an owner's copy of a
/// file that it wants included, if all owners that do not want the file agree.
#[must_use]
pub fn make_sets(registers: &[(Rank, &Register)], policy: OnConflict, force: bool) -> Sets {
    let mut by_rank = registers.to_vec();
    by_rank.sort_by_key(|(rank, _)| *rank);
    let mut copies: Vec<Copy<'_>> = by_rank
        .iter()
        .flat_map(|(rank, register)| register.files.iter().map(|file| Copy { rank: *rank, file }))
        .collect();
    // Stable: copies of a name stay in the order of ranks. Registrations are mostly sorted runs.
    copies.sort_by(|a, b| a.file.name.cmp(&b.file.name));
    let names: Vec<Named<'_>> = copies
        .chunk_by(|a, b| a.file.name == b.file.name)
        .filter_map(|copies| copies.first().map(|first| Named { name: &first.file.name, copies }))
        .collect();
    let mut sets = Sets::default();
    let wanters = resolve_wants(&by_rank, &names, &mut sets.missing);
    let mut judge = truth::Judge { policy, force, sets: &mut sets };
    let verdicts: Vec<_> =
        names.iter().zip(&wanters).map(|(named, wanters)| judge.judge(named, wanters)).collect();
    let files: Vec<build::File<'_>> = verdicts
        .into_iter()
        .zip(wanters)
        .map(|(verdict, wanters)| build::File { verdict, wanters })
        .collect();
    build::build(&files, &mut sets);
    sets
}

/// Who wants each of `names`, by rank; wants that match no name go to `missing`.
fn resolve_wants(
    by_rank: &[(Rank, &Register)],
    names: &[Named<'_>],
    missing: &mut BTreeMap<Rank, Vec<FailedFile>>,
) -> Vec<Vec<Rank>> {
    let mut wanters: Vec<Vec<Rank>> = vec![Vec::new(); names.len()];
    // Ranks of one node rule share their globs, so each is matched once.
    let mut globs: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (rank, register) in by_rank {
        for want in &register.wants {
            let one;
            let (text, found) = match want {
                Want::Name(name) => {
                    one = names.binary_search_by(|named| named.name.cmp(name)).ok();
                    (name, one.as_slice())
                }
                Want::Glob(glob) => {
                    let found = globs.entry(glob).or_insert_with(|| matches(glob, names));
                    (glob, found.as_slice())
                }
            };
            if found.is_empty() {
                missing.entry(*rank).or_default().push(nobody_has(text));
            }
            for index in found {
                if let Some(wanters) = wanters.get_mut(*index)
                    && wanters.last() != Some(rank)
                {
                    wanters.push(*rank);
                }
            }
        }
    }
    wanters
}

/// A name or pattern that nobody has.
fn nobody_has(name: &str) -> FailedFile {
    FailedFile { name: name.to_owned(), reason: "nobody has it".to_owned() }
}

fn matches(glob: &str, names: &[Named<'_>]) -> Vec<usize> {
    let Ok(pattern) = Pattern::parse(glob) else { return Vec::new() };
    let matching = names.iter().enumerate().filter(|(_, named)| pattern.matches(named.name));
    matching.map(|(index, _)| index).collect()
}

#[cfg(test)]
pub(crate) mod tests;
