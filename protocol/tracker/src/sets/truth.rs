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
    /// place, else unfinished files. Among equals the lowest rank speaks first. `None` for no
    /// copies.
    pub(super) fn judge<'a>(&mut self, named: &Named<'a>, wanters: &[Rank]) -> Option<Verdict<'a>> {
        let best = named.copies.iter().map(|copy| copy.file.standing).min()?;
        let first = named.copies.iter().find(|copy| copy.file.standing == best)?;
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
            if standing == best && self.policy == OnConflict::Refuse {
                let conflict =
                    conflict(named.name, (first.rank, first.file), (copy.rank, copy.file));
                self.sets.conflicts.push(conflict);
            } else if wanters.binary_search(&copy.rank).is_ok() {
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
    Conflict { name: name.to_owned(), first, second, piece, lengths }
}
