//! Files with equal holders and wanters become one set.

use super::conflicts::{Resolution, ResolvedFile};
use super::moves::{Tally, Zeros, has_any};
use super::names::Named;
use super::sites::Sites;
use super::want_table::{ClassId, WantTable, nobody_has};
use super::{DestContent, Holding, MAX_SET_PIECES, Move, SetPlan, Sets, UnwantedFile};
use dunlin_base::{Bitfield, FileIndex, PieceIndex, Rank};
use dunlin_control::FailedFile;
use dunlin_metainfo::{HashKind, PieceHashes, SetError, SetFile, SetInfo, TreeEntry};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What will move, before anybody lacks space.
pub(super) struct Plan {
    pub(super) sets: Vec<Planned>,
    unwanted: Vec<UnwantedFile>,
    /// Files that cannot stand even alone in a set, by who wants them.
    unfit: Vec<(Vec<ClassId>, FailedFile)>,
}

/// A set, who wants it, and what it comes to.
pub(super) struct Planned {
    pub(super) plan: SetPlan,
    pub(super) tally: Tally,
    classes: Vec<ClassId>,
}

/// One name that has a truth and a wanter.
struct WantedFile<'r, 'a> {
    index: usize,
    resolved: &'r ResolvedFile<'a>,
}

/// Files that will be one set, with the number of their pieces.
struct Draft<'r, 'a> {
    files: Vec<WantedFile<'r, 'a>>,
    pieces: u64,
}

/// What files must have in common to be one set: the piece length, who has them (whole or in part)
/// without wanting them, and who wants them. So whoever does not want a set but serves it has
/// registered every file of it, and need not look it up.
type Key<'w> = (u32, Vec<(Rank, bool)>, &'w [ClassId]);

/// Works with what all names are.
struct Builder<'b, 'a> {
    want_table: &'b WantTable<'a>,
    sites: &'b Sites,
    repairs: bool,
    zeros: Zeros,
    /// Who wants a set, by the classes that do: many sets share one list.
    wanters: BTreeMap<Vec<ClassId>, Arc<[Rank]>>,
    plan: Plan,
}

/// The sets of all names, in order. With `repairs`, right pieces of files of other content count.
pub(super) fn build<'a>(
    resolutions: &[Resolution<'a>],
    want_table: &WantTable<'a>,
    sites: &Sites,
    repairs: bool,
) -> Plan {
    let mut drafts: Vec<Draft<'_, '_>> = Vec::new();
    let mut open: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    let plan = Plan { sets: Vec::new(), unwanted: Vec::new(), unfit: Vec::new() };
    let (zeros, wanters) = (Zeros::default(), BTreeMap::new());
    let mut builder = Builder { want_table, sites, repairs, zeros, wanters, plan };
    for (index, resolution) in resolutions.iter().enumerate() {
        let Resolution::File(resolved) = resolution else { continue };
        let classes = want_table.wanters(index);
        if classes.is_empty() {
            builder.plan.unwanted.push(unwanted(resolved));
            continue;
        }
        let pieces = resolved.content.hashes.len() as u64;
        let wanted = WantedFile { index, resolved };
        if resolved.content.hashes.kind() == HashKind::Token {
            drafts.push(Draft { files: vec![wanted], pieces });
            continue;
        }
        let pure = pure_holders(resolved, |rank| want_table.wants(index, rank));
        let key = (resolved.content.piece_length, pure, classes);
        let fitting = open.get(&key).and_then(|index| drafts.get_mut(*index));
        match fitting.filter(|draft| draft.pieces + pieces <= MAX_SET_PIECES) {
            Some(draft) => {
                draft.pieces += pieces;
                draft.files.push(wanted);
            }
            None => {
                open.insert(key, drafts.len());
                drafts.push(Draft { files: vec![wanted], pieces });
            }
        }
    }
    for draft in &drafts {
        builder.finish(&draft.files);
    }
    // Only a split draft can be out of order.
    builder.plan.sets.sort_by(|a, b| first_name(a).cmp(first_name(b)));
    builder.plan
}

fn first_name(set: &Planned) -> &str {
    set.plan.info.files.first().map_or("", |file| file.name.as_str())
}

fn unwanted(resolved: &ResolvedFile<'_>) -> UnwantedFile {
    let holders = resolved.held.iter().map(|held| (held.rank, held.pieces.cloned())).collect();
    let content = resolved.content;
    UnwantedFile { name: content.name.clone(), hashes: content.hashes.clone(), holders }
}

/// Who has something of the file without wanting it, and whether it is whole there.
fn pure_holders(resolved: &ResolvedFile<'_>, wants: impl Fn(Rank) -> bool) -> Vec<(Rank, bool)> {
    let pure = resolved.held.iter().filter(|held| has_any(held) && !wants(held.rank));
    pure.map(|held| (held.rank, held.whole)).collect()
}

impl Builder<'_, '_> {
    /// Makes one set of the files, or one of each if they cannot stand together (a file and a
    /// folder of one name). A file that cannot even stand alone is missing to all who want it.
    fn finish(&mut self, files: &[WantedFile<'_, '_>]) {
        let Some(first) = files.first() else { return };
        let classes = self.want_table.wanters(first.index).to_vec();
        match (info(files), files) {
            (Ok(info), _) => {
                let planned = self.planned(info, files, classes);
                self.plan.sets.push(planned);
            }
            (Err(_), [file]) => {
                let failed = nobody_has(&file.resolved.content.name, None);
                self.plan.unfit.push((classes, failed));
            }
            (Err(_), _) => files.chunks(1).for_each(|one| self.finish(one)),
        }
    }

    fn planned(
        &mut self,
        info: SetInfo,
        files: &[WantedFile<'_, '_>],
        classes: Vec<ClassId>,
    ) -> Planned {
        let holders = holders(files, info.hashes.len());
        let fresh = || self.want_table.ranks(&classes);
        let wanters = Arc::clone(self.wanters.entry(classes.clone()).or_insert_with(fresh));
        let mut tally = Tally::default();
        for file in files {
            tally.add(file.resolved, self.repairs, &mut self.zeros);
        }
        let links = self.sites.link(&wanters, &holders, &tally);
        let mut ready: BTreeMap<Rank, Vec<FileIndex>> =
            links.values().map(|from| (*from, Vec::new())).collect();
        for (index, file) in (0..).map(FileIndex).zip(files) {
            for (rank, files) in &mut ready {
                let at_dest = file.resolved.held(*rank).and_then(|held| held.at_dest);
                if matches!(at_dest, Some(DestContent::Whole)) {
                    files.push(index);
                }
            }
        }
        let plan = SetPlan { info: Arc::new(info), holders, wanters, links, ready };
        Planned { plan, tally, classes }
    }
}

impl Plan {
    /// What every rank that wants a file has to fetch.
    pub(super) fn moves(&self, want_table: &WantTable<'_>, sites: &Sites) -> BTreeMap<Rank, Move> {
        // Most ranks of a class fetch the same; only those that have something differ.
        let mut by_class: BTreeMap<ClassId, Move> = BTreeMap::new();
        for set in &self.sets {
            for class in &set.classes {
                plus(by_class.entry(*class).or_default(), set.tally.moved(Default::default()));
            }
        }
        let mut moves: BTreeMap<Rank, Move> = BTreeMap::new();
        for (class, ranks, _) in want_table.classes() {
            let Some(all) = by_class.get(&class) else { continue };
            moves.extend(ranks.iter().map(|rank| (*rank, *all)));
        }
        for set in &self.sets {
            let others = set.tally.shares.keys().chain(set.plan.links.keys());
            let others: BTreeSet<Rank> = others.copied().collect();
            for rank in others.into_iter().filter(|rank| set.plan.wants(*rank)) {
                let share = set.tally.share_of(rank);
                let moved = match set.plan.links.get(&rank) {
                    Some(from) => set.tally.linked(share, sites.same_folder(rank, *from)),
                    None => set.tally.moved(share),
                };
                let entry = moves.entry(rank).or_default();
                minus(entry, set.tally.moved(Default::default()));
                plus(entry, moved);
            }
        }
        moves
    }

    /// Fills in all that people and ranks are told.
    pub(super) fn into_sets(
        self,
        names: &[Named<'_, '_>],
        resolutions: &[Resolution<'_>],
        want_table: &WantTable<'_>,
        sites: &Sites,
        sets: &mut Sets,
    ) {
        sets.moves = self.moves(want_table, sites);
        let mut classes: BTreeMap<ClassId, ClassList<'_>> = BTreeMap::new();
        for (class, _, unmatched) in want_table.classes() {
            let list = ClassList { failed: unmatched.to_vec(), ..ClassList::default() };
            classes.insert(class, list);
        }
        for (index, (named, resolution)) in names.iter().zip(resolutions).enumerate() {
            for class in want_table.wanters(index) {
                let Some(list) = classes.get_mut(class) else { continue };
                match resolution {
                    Resolution::Fails(reason) => list
                        .failed
                        .push(FailedFile { name: named.name.to_owned(), reason: reason.clone() }),
                    Resolution::File(_) | Resolution::Entry(..) => {
                        list.wanted.insert(named.name);
                    }
                }
            }
        }
        for (unfit, failed) in &self.unfit {
            for class in unfit {
                let Some(list) = classes.get_mut(class) else { continue };
                list.wanted.remove(failed.name.as_str());
                list.failed.push(failed.clone());
            }
        }
        for (class, ranks, _) in want_table.classes() {
            let Some(list) = classes.remove(&class) else { continue };
            list.give(ranks, sets);
        }
        for (rank, failed) in want_table.dropped() {
            sets.missing.insert(*rank, failed.clone());
            sets.replace.remove(rank);
        }
        sets.torrents = self.sets.into_iter().map(|planned| planned.plan).collect();
        sets.unwanted = self.unwanted;
    }
}

/// What ranks with equal wants are told.
#[derive(Default)]
struct ClassList<'a> {
    wanted: BTreeSet<&'a str>,
    failed: Vec<FailedFile>,
}

impl ClassList<'_> {
    fn give(mut self, ranks: &[Rank], sets: &mut Sets) {
        let (entries, failed): (Arc<[TreeEntry]>, _) = sets.tree.pick(&self.wanted);
        self.failed.extend(failed);
        for rank in ranks {
            if !self.failed.is_empty() {
                sets.missing.insert(*rank, self.failed.clone());
            }
            if !entries.is_empty() {
                // Who wants nothing but folders and links wants something, too.
                sets.moves.entry(*rank).or_default();
                sets.entries.insert(*rank, Arc::clone(&entries));
            }
        }
    }
}

fn plus(sum: &mut Move, one: Move) {
    sum.files = sum.files.saturating_add(one.files);
    sum.bytes = sum.bytes.saturating_add(one.bytes);
    sum.bytes_here = sum.bytes_here.saturating_add(one.bytes_here);
    sum.linked = sum.linked.saturating_add(one.linked);
}

fn minus(sum: &mut Move, one: Move) {
    sum.files = sum.files.saturating_sub(one.files);
    sum.bytes = sum.bytes.saturating_sub(one.bytes);
    sum.bytes_here = sum.bytes_here.saturating_sub(one.bytes_here);
    sum.linked = sum.linked.saturating_sub(one.linked);
}

fn info(files: &[WantedFile<'_, '_>]) -> Result<SetInfo, SetError> {
    let contents = || files.iter().map(|file| file.resolved.content);
    let kind = contents().next().map_or(HashKind::Sha1, |content| content.hashes.kind());
    let piece_length = contents().next().map_or(1, |content| content.piece_length);
    let names = contents()
        .map(|content| SetFile { name: content.name.clone(), length: content.length })
        .collect();
    let hashes = match files {
        [file] => file.resolved.content.hashes.clone(),
        _ => {
            let all = contents().flat_map(|content| match &content.hashes {
                PieceHashes::Sha1(hashes) => hashes.as_ref(),
                PieceHashes::Merkle(_) | PieceHashes::Tokens(_) => &[],
            });
            PieceHashes::Sha1(all.copied().collect())
        }
    };
    SetInfo::new(kind, piece_length, names, hashes)
}

/// Who has what of the set. Only ranks that have a part of it get a bitfield.
fn holders(files: &[WantedFile<'_, '_>], pieces: usize) -> Vec<Holding> {
    #[derive(Default)]
    struct Tally {
        whole: usize,
        full: usize,
        bits: Option<Bitfield>,
    }
    let mut tallies: BTreeMap<Rank, Tally> = BTreeMap::new();
    for held in files.iter().flat_map(|file| &file.resolved.held) {
        let tally = tallies.entry(held.rank).or_default();
        tally.whole += usize::from(held.whole);
        tally.full += usize::from(held.pieces.is_none());
    }
    let mut start = 0;
    for file in files {
        let len = file.resolved.content.piece_count();
        for held in &file.resolved.held {
            let Some(tally) = tallies.get_mut(&held.rank) else { continue };
            if tally.full == files.len() {
                continue;
            }
            let bits = tally.bits.get_or_insert_with(|| Bitfield::new(pieces as u32));
            for piece in (0..len).map(PieceIndex) {
                if held.pieces.is_none_or(|pieces| pieces.has(piece)) {
                    bits.set(PieceIndex(start + piece.0));
                }
            }
        }
        start += len;
    }
    tallies
        .into_iter()
        .filter(|(_, tally)| {
            tally.full > 0 || tally.bits.as_ref().is_some_and(|bits| bits.count() > 0)
        })
        .map(|(rank, tally)| Holding {
            rank,
            whole: tally.whole == files.len(),
            pieces: tally.bits.filter(|bits| !bits.is_full()),
        })
        .collect()
}
