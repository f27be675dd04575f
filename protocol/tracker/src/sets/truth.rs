//! What a name truly holds, who says otherwise, and what that means.

use super::{Conflict, Held, Named, Obstacle, OnConflict, Sets};
use crate::{OwnedFile, Standing};
use dunlin_base::Rank;

pub(super) struct Judge<'s> {
    pub(super) policy: OnConflict,
    pub(super) force: bool,
    pub(super) sets: &'s mut Sets,
}

/// The true content of a name, and who has it, by rank.
pub(super) struct Verdict<'a> {
    pub(super) truth: &'a OwnedFile,
    pub(super) held: Vec<Held<'a>>,
}

impl Judge<'_> {
    /// The best standing that any copy has says what the name holds: owners, else what stands in
    /// place, else unfinished files. Among equals the lowest rank speaks first, but a disagreement
    /// that is not settled by rank is judged by the owners that do not want the file: who wants it
    /// may let its copy go. `None` for no copies.
    pub(super) fn judge<'a>(&mut self, named: &Named<'a>, wanters: &[Rank]) -> Option<Verdict<'a>> {
        let best = named.copies.iter().map(|copy| copy.file.standing).min()?;
        let wants = |rank: Rank| wanters.binary_search(&rank).is_ok();
        let equals = || named.copies.iter().filter(|copy| copy.file.standing == best);
        let by_rank = self.policy == OnConflict::LowestRank || best != Standing::Owner;
        let pure = || equals().filter(|copy| !by_rank && !wants(copy.rank));
        let speaker = pure().next();
        let first = speaker.or_else(|| equals().next())?;
        let mut agreed = None;
        let mut held: Vec<Held<'a>> = Vec::new();
        for copy in named.copies {
            if is_same(first.file, copy.file) {
                hold(&mut held, copy.rank, copy.file);
                continue;
            }
            let standing = copy.file.standing;
            // A part that differs was of other content: it counts as nothing, and so do its bytes.
            if standing == Standing::Part {
                continue;
            }
            let wanted = wants(copy.rank);
            let gives_way = wanted
                && standing == best
                && speaker.is_some()
                && *agreed.get_or_insert_with(|| pure().all(|one| is_same(first.file, one.file)));
            let rival = standing == best && self.policy == OnConflict::Refuse;
            if rival && !(gives_way && self.force) {
                let (one, other) = ((first.rank, first.file), (copy.rank, copy.file));
                let (lower, higher) = if one.0 <= other.0 { (one, other) } else { (other, one) };
                let gives_way = gives_way.then_some(copy.rank);
                let conflict = Conflict { gives_way, ..conflict(named.name, lower, higher) };
                self.sets.conflicts.push(conflict);
            } else if wanted {
                self.in_the_way(copy.rank, named.name);
            }
        }
        Some(Verdict { truth: first.file, held })
    }

    fn in_the_way(&mut self, rank: Rank, name: &str) {
        let name = name.to_owned();
        if self.force {
            let replace = self.sets.replace.entry(rank).or_default();
            if replace.last() != Some(&name) {
                replace.push(name);
            }
            return;
        }
        let obstacle = Obstacle { rank, name };
        if self.sets.obstacles.last() != Some(&obstacle) {
            self.sets.obstacles.push(obstacle);
        }
    }
}

fn is_same(a: &OwnedFile, b: &OwnedFile) -> bool {
    a.length == b.length && a.piece_length == b.piece_length && a.hashes == b.hashes
}

/// Adds what `rank` has in this copy; a second copy of the same rank can only add to it.
fn hold<'a>(held: &mut Vec<Held<'a>>, rank: Rank, file: &'a OwnedFile) {
    // A bitfield for another number of pieces says nothing.
    let fits = file.pieces.as_ref().is_none_or(|pieces| pieces.len() == file.piece_count());
    if !fits {
        return;
    }
    let pieces = file.pieces.as_ref().filter(|pieces| !pieces.is_full());
    let whole = pieces.is_none() && file.standing != Standing::Part;
    match held.last_mut() {
        Some(last) if last.rank == rank => {
            last.whole |= whole;
            last.pieces = match (last.pieces, pieces) {
                (Some(one), Some(other)) if one.count() >= other.count() => Some(one),
                (Some(_), Some(other)) => Some(other),
                _ => None,
            };
        }
        _ => held.push(Held { rank, pieces, whole }),
    }
}

fn conflict(name: &str, first: (Rank, &OwnedFile), second: (Rank, &OwnedFile)) -> Conflict {
    let ((first, a), (second, b)) = (first, second);
    let comparable = a.length == b.length
        && a.piece_length == b.piece_length
        && a.hashes.kind() == b.hashes.kind();
    let piece = match comparable {
        true => a.hashes.first_difference(&b.hashes).and_then(|piece| u32::try_from(piece).ok()),
        false => None,
    };
    let lengths = (a.length, b.length);
    Conflict { name: name.to_owned(), first, second, piece, lengths, gives_way: None }
}
