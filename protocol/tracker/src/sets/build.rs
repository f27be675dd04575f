//! Files with equal holders and wanters become one set.

use super::truth::Verdict;
use super::{Held, Holding, LooseFile, MAX_SET_PIECES, Move, SetPlan, Sets};
use crate::OwnedFile;
use dunlin_base::{Bitfield, PieceIndex, Rank};
use dunlin_metainfo::{HashKind, PieceHashes, SetError, SetFile, SetInfo};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One name: what it holds, who has it and who wants it.
pub(super) struct File<'a> {
    pub(super) verdict: Option<Verdict<'a>>,
    pub(super) wanters: Vec<Rank>,
}

/// One name that has a truth and a wanter.
struct Wanted<'a, 'f> {
    truth: &'a OwnedFile,
    held: &'f [Held<'a>],
    wanters: &'f [Rank],
}

/// Files that will be one set, with the number of their pieces.
struct Draft<'a, 'f> {
    files: Vec<Wanted<'a, 'f>>,
    pieces: u64,
}

/// What files must have in common to be one set: the piece length, who has them (whole or in part)
/// without wanting them, and who wants them. So whoever does not want a set but serves it has
/// registered every file of it, and need not look it up.
type Key<'f> = (u32, Vec<(Rank, bool)>, &'f [Rank]);

/// Fills in torrents, loose files and moves. `files` are in the order of their names.
pub(super) fn build(files: &[File<'_>], sets: &mut Sets) {
    let mut drafts: Vec<Draft<'_, '_>> = Vec::new();
    let mut open: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    for file in files {
        let Some(Verdict { truth, held }) = &file.verdict else { continue };
        if file.wanters.is_empty() {
            sets.loose.push(loose(truth, held));
            continue;
        }
        let wanted = Wanted { truth, held, wanters: &file.wanters };
        count_moves(&wanted, &mut sets.moves);
        let pieces = truth.hashes.len() as u64;
        if truth.hashes.kind() == HashKind::Token {
            drafts.push(Draft { files: vec![wanted], pieces });
            continue;
        }
        let key = (truth.piece_length, pure_holders(&wanted), file.wanters.as_slice());
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
        finish(&draft.files, sets);
    }
    // Only a split draft can be out of order.
    sets.torrents.sort_by(|a, b| first_name(a).cmp(first_name(b)));
}

fn first_name(set: &SetPlan) -> &str {
    set.info.files.first().map_or("", |file| file.name.as_str())
}

fn loose(truth: &OwnedFile, held: &[Held<'_>]) -> LooseFile {
    LooseFile {
        name: truth.name.clone(),
        hashes: truth.hashes.clone(),
        holders: held.iter().map(|held| (held.rank, held.pieces.cloned())).collect(),
    }
}

/// Who has something of the file without wanting it, and whether it is whole there.
fn pure_holders(file: &Wanted<'_, '_>) -> Vec<(Rank, bool)> {
    let wants = |rank: Rank| file.wanters.binary_search(&rank).is_ok();
    let has_any = |held: &Held<'_>| held.pieces.is_none_or(|pieces| pieces.count() > 0);
    let pure = file.held.iter().filter(|held| has_any(held) && !wants(held.rank));
    pure.map(|held| (held.rank, held.whole)).collect()
}

fn count_moves(file: &Wanted<'_, '_>, moves: &mut BTreeMap<Rank, Move>) {
    for rank in file.wanters {
        let held = file.held.binary_search_by_key(rank, |held| held.rank).ok();
        let held = held.and_then(|index| file.held.get(index));
        let here = held.map_or(0, |held| bytes_here(file.truth, held));
        let counted = moves.entry(*rank).or_default();
        counted.files += u64::from(!held.is_some_and(|held| held.whole));
        counted.bytes = counted.bytes.saturating_add(file.truth.bytes - here);
        counted.bytes_here = counted.bytes_here.saturating_add(here);
    }
}

/// Bytes of the payload that a rank has: exact for bytes, in proportion for tokens.
fn bytes_here(truth: &OwnedFile, held: &Held<'_>) -> u64 {
    let Some(pieces) = held.pieces else { return truth.bytes };
    let count = u64::from(pieces.count());
    if truth.hashes.kind() == HashKind::Token {
        let share = u128::from(truth.bytes) * u128::from(count) / u128::from(pieces.len().max(1));
        return u64::try_from(share).unwrap_or(truth.bytes);
    }
    let unit = u64::from(truth.piece_length);
    let last_lacks = (u64::from(pieces.len()) * unit).saturating_sub(truth.length);
    let last = PieceIndex(pieces.len().saturating_sub(1));
    let lacks = if pieces.has(last) { last_lacks } else { 0 };
    (count * unit).saturating_sub(lacks).min(truth.bytes)
}

/// Makes one set of the files, or one of each if they cannot stand together (a file and a folder of
/// one name). A file that cannot even stand alone is missing to all who want it.
fn finish(files: &[Wanted<'_, '_>], sets: &mut Sets) {
    match (info(files), files) {
        (Ok(info), _) => {
            let holders = holders(files, info.hashes.len());
            let wanters = files.first().map(|file| file.wanters.to_vec()).unwrap_or_default();
            sets.torrents.push(SetPlan { info: Arc::new(info), holders, wanters });
        }
        (Err(_), [file]) => {
            for rank in file.wanters {
                sets.missing.entry(*rank).or_default().push(super::nobody_has(&file.truth.name));
            }
        }
        (Err(_), _) => files.chunks(1).for_each(|one| finish(one, sets)),
    }
}

fn info(files: &[Wanted<'_, '_>]) -> Result<SetInfo, SetError> {
    let kind = files.first().map_or(HashKind::Sha1, |file| file.truth.hashes.kind());
    let piece_length = files.first().map_or(1, |file| file.truth.piece_length);
    let names = files
        .iter()
        .map(|file| SetFile { name: file.truth.name.clone(), length: file.truth.length })
        .collect();
    let hashes = match files {
        [file] => file.truth.hashes.clone(),
        _ => {
            let all = files.iter().flat_map(|file| match &file.truth.hashes {
                PieceHashes::Sha1(hashes) => hashes.as_ref(),
                PieceHashes::Tokens(_) => &[],
            });
            PieceHashes::Sha1(all.copied().collect::<Vec<_>>().into())
        }
    };
    SetInfo::new(kind, piece_length, names, hashes)
}

/// What every rank has of the set. Only ranks that have a part of it get a bitfield.
fn holders(files: &[Wanted<'_, '_>], pieces: usize) -> Vec<Holding> {
    #[derive(Default)]
    struct Tally {
        whole: usize,
        full: usize,
        bits: Option<Bitfield>,
    }
    let mut tallies: BTreeMap<Rank, Tally> = BTreeMap::new();
    for held in files.iter().flat_map(|file| file.held) {
        let tally = tallies.entry(held.rank).or_default();
        tally.whole += usize::from(held.whole);
        tally.full += usize::from(held.pieces.is_none());
    }
    let mut start = 0;
    for file in files {
        let len = file.truth.piece_count();
        for held in file.held {
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
