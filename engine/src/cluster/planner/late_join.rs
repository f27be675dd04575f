//! A rank that comes when the sets are made: what it can bring, and what it can still get.

use super::conflicts::{ResolvedFile, is_same, why_other};
use super::moves::{Tally, Zeros};
use super::want_table::nobody_has;
use super::{Holding, Move, RegisteredCopy, Rules, Tree, space};
use dunlin_base::{Bitfield, FileIndex, PieceIndex, Rank, TorrentId};
use dunlin_control::{FailedFile, OwnedFile, Provenance, Register, Want};
use dunlin_metainfo::{SetInfo, TreeEntry};
use dunlin_plan::Pattern;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What comes of a rank that registers when the run is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Admission {
    /// The sets that it takes part in, by number.
    pub assignments: Vec<LateAssignment>,
    /// What it wants and does not get, each with its reason.
    pub missing: Vec<FailedFile>,
    /// What stands where it wants something, and is replaced or repaired.
    pub replace: Vec<String>,
    /// What of the trees it wants, by name.
    pub entries: Arc<[TreeEntry]>,
    /// What it has to fetch.
    pub moved: Move,
}

/// A set that a late rank takes part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateAssignment {
    /// The set.
    pub torrent: TorrentId,
    /// What the rank has of it; `None` for nothing.
    pub holding: Option<Holding>,
    /// Whether it wants the set.
    pub wants: bool,
}

/// What a late rank is measured against.
#[derive(Clone, Copy, Debug)]
pub struct PlannedSets<'s> {
    /// The sets, by number.
    pub torrents: &'s [Arc<SetInfo>],
    /// Names of files that nobody wanted.
    pub unwanted: &'s [&'s str],
    /// The looks of all trees.
    pub tree: &'s Tree,
}

/// What can be done for `rank`, whose registration has passed [`Register::check`]. What others get
/// stays as it is: names that only this rank knows go nowhere.
#[must_use]
pub fn admit(
    rank: Rank,
    register: &Register,
    rules: &Rules<'_>,
    planned: PlannedSets<'_>,
) -> Admission {
    let late = LateRank::new(rank, register, rules, planned);
    let admission = late.admission(true);
    let Some(free) = register.space.map(|space| space.free) else { return admission };
    let needed = admission.moved.bytes.saturating_add(admission.moved.linked);
    if needed <= free {
        return admission;
    }
    let reason = space::reason(needed, free, 0);
    let failed = register.wants.iter().map(|want| {
        let (Want::Name(name) | Want::Glob(name)) = want;
        FailedFile { name: name.clone(), reason: reason.clone() }
    });
    Admission { missing: failed.collect(), ..late.admission(false) }
}

struct LateRank<'a> {
    rank: Rank,
    register: &'a Register,
    rules: &'a Rules<'a>,
    planned: PlannedSets<'a>,
    patterns: Vec<Option<Pattern>>,
    own: BTreeMap<&'a str, Vec<&'a OwnedFile>>,
}

/// A file of a set, as the late rank stands to it.
struct LateFile {
    wanted: bool,
    /// Why the rank cannot take it.
    fault: Option<String>,
}

impl<'a> LateRank<'a> {
    fn new(
        rank: Rank,
        register: &'a Register,
        rules: &'a Rules<'a>,
        planned: PlannedSets<'a>,
    ) -> LateRank<'a> {
        let patterns = register.wants.iter().map(|want| match want {
            Want::Name(_) => None,
            Want::Glob(glob) => Pattern::parse(glob).ok(),
        });
        let patterns = patterns.collect();
        let mut own: BTreeMap<&str, Vec<&OwnedFile>> = BTreeMap::new();
        for file in &register.files {
            own.entry(&file.name).or_default().push(file);
        }
        LateRank { rank, register, rules, planned, patterns, own }
    }

    /// Whether the rank wants `name`; notes down which of its wants say so.
    fn wants(&self, name: &str, met: &mut BTreeSet<usize>) -> bool {
        let mut wanted = false;
        for (index, want) in self.register.wants.iter().enumerate() {
            let meets = match (want, self.patterns.get(index)) {
                (Want::Name(wanted), _) => wanted == name,
                (Want::Glob(_), Some(Some(pattern))) => pattern.matches(name),
                (Want::Glob(_), _) => false,
            };
            if meets {
                met.insert(index);
                wanted = true;
            }
        }
        wanted
    }

    fn admission(&self, takes: bool) -> Admission {
        let mut admission = Admission::default();
        let mut met = BTreeSet::new();
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut zeros = Zeros::default();
        for (torrent, info) in (0..).map(TorrentId).zip(self.planned.torrents) {
            let contents = contents(info);
            let files: Vec<LateFile> = contents
                .iter()
                .map(|content| LateFile {
                    wanted: takes && self.wants(&content.name, &mut met),
                    fault: self.fault(content),
                })
                .collect();
            let wants =
                !files.is_empty() && files.iter().all(|file| file.wanted && file.fault.is_none());
            if !wants {
                admission.missing.extend(left_out(info, &files));
            }
            let resolved_files: Vec<ResolvedFile<'_>> =
                contents.iter().map(|content| self.resolved(content)).collect();
            let holding = self.holding(&resolved_files, info.hashes.len());
            if wants {
                names.extend(info.files.iter().map(|file| file.name.as_str()));
                let mut tally = Tally::default();
                for resolved in &resolved_files {
                    tally.add(resolved, self.rules.placing, &mut zeros);
                    if !resolved.bases.is_empty() {
                        admission.replace.push(resolved.content.name.clone());
                    }
                }
                add(&mut admission.moved, tally.moved(tally.share_of(self.rank)));
            }
            let serves = resolved_files.iter().all(|resolved| !resolved.held.is_empty());
            if wants || (serves && holding.is_some()) {
                admission.assignments.push(LateAssignment { torrent, holding, wants });
            }
        }
        if takes {
            self.others(&mut admission, names, met);
        }
        admission
    }

    /// What is wanted beside the files of sets.
    fn others(
        &self,
        admission: &mut Admission,
        mut names: BTreeSet<&'a str>,
        mut met: BTreeSet<usize>,
    ) {
        let tree = self.planned.tree;
        for name in self.planned.unwanted {
            if self.wants(name, &mut met) {
                let reason =
                    "nobody wanted it when the run began, so it does not move; start again";
                admission.missing.push(failed(name, reason));
            }
        }
        for (name, reason) in tree.fails() {
            if self.wants(name, &mut met) {
                admission.missing.push(failed(name, reason));
            }
        }
        let others = tree.entries().iter().filter(|entry| !Tree::is_file(entry));
        for entry in others {
            if self.wants(&entry.name, &mut met) {
                names.insert(&entry.name);
            }
        }
        for (index, want) in self.register.wants.iter().enumerate() {
            let (Want::Name(name) | Want::Glob(name)) = want;
            if !met.contains(&index) {
                admission.missing.push(nobody_has(name, self.rules.pins.get(name)));
            }
        }
        let (entries, fails) = tree.pick(&names);
        admission.entries = entries;
        admission.missing.extend(fails);
    }

    fn copies(&self, name: &str) -> &[&'a OwnedFile] {
        self.own.get(name).map_or(&[], Vec::as_slice)
    }

    /// Why the rank's own copy forbids to take the file.
    fn fault(&self, content: &OwnedFile) -> Option<String> {
        let pinned = self.rules.pins.contains_key(&content.name);
        let others = self.copies(&content.name).iter().filter(|copy| !is_same(content, copy));
        others.filter(|_| !pinned).find_map(|copy| match copy.provenance {
            Provenance::Owner => Some(format!(
                "rank {} owns another `{}` than the others: {}",
                self.rank,
                content.name,
                why_other(content, copy)
            )),
            Provenance::InPlace if !self.rules.placing && !self.rules.force => Some(format!(
                "another content stands at rank {}; move it out of the way, or let it be replaced \
                 with --force",
                self.rank
            )),
            Provenance::InPlace | Provenance::Part => None,
        })
    }

    fn resolved<'t>(&self, content: &'t OwnedFile) -> ResolvedFile<'t>
    where
        'a: 't,
    {
        let mut resolved =
            ResolvedFile { content, authority: self.rank, held: Vec::new(), bases: Vec::new() };
        let elsewhere = self.register.elsewhere;
        for file in self.copies(&content.name) {
            let at_dest = file.provenance == Provenance::InPlace || !elsewhere;
            if is_same(content, file) {
                resolved.hold(&RegisteredCopy { rank: self.rank, file, elsewhere });
            } else if at_dest && file.provenance != Provenance::Part {
                resolved.give_way(self.rank, file);
            }
        }
        resolved
    }

    /// What the rank has of a set.
    fn holding(&self, resolved_files: &[ResolvedFile<'_>], pieces: usize) -> Option<Holding> {
        let mut bits = Bitfield::new(pieces as u32);
        let mut whole = true;
        let (mut start, mut all) = (0, true);
        for resolved in resolved_files {
            let len = resolved.content.piece_count();
            let held = resolved.held(self.rank);
            whole &= held.is_some_and(|held| held.whole);
            all &= held.is_some_and(|held| held.pieces.is_none());
            for piece in (0..len).map(PieceIndex) {
                let has = |pieces: &Bitfield| pieces.has(piece);
                if held.is_some_and(|held| held.pieces.is_none_or(has)) {
                    bits.set(PieceIndex(start + piece.0));
                }
            }
            start += len;
        }
        let pieces = (!all).then_some(bits);
        let any = all || pieces.as_ref().is_some_and(|pieces| pieces.count() > 0);
        any.then_some(Holding { rank: self.rank, pieces, whole })
    }
}

/// The files of a set, as their owners registered them.
fn contents(info: &SetInfo) -> Vec<OwnedFile> {
    let files = (0..).map(FileIndex).zip(&info.files);
    let content = files.map(|(index, file)| OwnedFile {
        name: file.name.clone(),
        length: file.length,
        piece_length: info.piece_length,
        hashes: info.file_hashes(index),
        pieces: None,
        provenance: Provenance::Owner,
        bytes: file.length,
        sha256: None,
    });
    content.collect()
}

/// Wanted files of a set that the rank cannot take part in.
fn left_out(info: &SetInfo, files: &[LateFile]) -> Vec<FailedFile> {
    let first = info.files.iter().zip(files).find(|(_, file)| file.wanted && file.fault.is_some());
    let reason = match first {
        Some((file, _)) => {
            format!("it moves together with `{}`, which this rank cannot take", file.name)
        }
        None => {
            "it moves together with files that this rank does not want, which was settled before \
                 the rank came; start again"
                .to_owned()
        }
    };
    let wanted = info.files.iter().zip(files).filter(|(_, file)| file.wanted);
    let each =
        wanted.map(|(info, file)| failed(&info.name, file.fault.as_ref().unwrap_or(&reason)));
    each.collect()
}

fn failed(name: &str, reason: &str) -> FailedFile {
    FailedFile { name: name.to_owned(), reason: reason.to_owned() }
}

fn add(sum: &mut Move, one: Move) {
    sum.files += one.files;
    sum.bytes = sum.bytes.saturating_add(one.bytes);
    sum.bytes_here = sum.bytes_here.saturating_add(one.bytes_here);
    sum.linked = sum.linked.saturating_add(one.linked);
}
