//! What a name truly holds, who says otherwise, and what that means.

use super::names::{Claim, Named, find};
use super::sites::Sites;
use super::want_table::WantTable;
use super::{Conflict, DestContent, Held, Obstacle, OnConflict, RegisteredCopy, Rules, Sets};
use dunlin_base::{Rank, hex};
use dunlin_control::{OwnedFile, Provenance};
use dunlin_metainfo::{EntryKind, HashKind, TreeEntry};

pub(super) struct ConflictResolver<'j, 'l, 'a> {
    pub(super) rules: &'j Rules<'j>,
    pub(super) names: &'j [Named<'l, 'a>],
    pub(super) sites: &'j Sites,
    pub(super) sets: &'j mut Sets,
}

/// What a name is.
pub(super) enum Resolution<'a> {
    /// A file.
    File(ResolvedFile<'a>),
    /// A folder or a link, as this rank says.
    Entry(Rank, &'a TreeEntry),
    /// Nobody gets it, for this reason.
    Fails(String),
}

/// The true content of a name, and who has it, by rank.
pub(super) struct ResolvedFile<'a> {
    pub(super) content: &'a OwnedFile,
    /// Whose word counts.
    pub(super) authority: Rank,
    pub(super) held: Vec<Held<'a>>,
    /// Files of other content that stand where the name is wanted and will be repaired, by rank.
    pub(super) bases: Vec<(Rank, &'a OwnedFile)>,
}

/// How much a word about a name counts, the weightiest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Of who has it and does not want it.
    Pure,
    Owner,
    InPlace,
    Part,
}

impl<'a> ConflictResolver<'_, '_, 'a> {
    /// What each name is, in the order of names.
    pub(super) fn all(&mut self, want_table: &WantTable<'_>) -> Vec<Resolution<'a>> {
        let names = self.names;
        names
            .iter()
            .enumerate()
            .map(|(index, named)| self.resolve(index, named, want_table))
            .collect()
    }

    fn resolve(
        &mut self,
        index: usize,
        named: &Named<'_, 'a>,
        want_table: &WantTable<'_>,
    ) -> Resolution<'a> {
        let wants = |rank: Rank| want_table.wants(index, rank);
        let pin = self.rules.pins.get(named.name);
        if let Some(resolution) = self.no_file(named, &wants).filter(|_| pin.is_none()) {
            return resolution;
        }
        let resolution = match pin {
            Some(pin) => self.pinned(named, &wants, pin),
            None => self.resolve_copies(named, &wants),
        };
        if let Some(Resolution::File(_)) = resolution
            && self.rules.placing
        {
            // Something stands there that could not be read.
            for (rank, _) in named.unreadable.iter().filter(|(rank, _)| wants(*rank)) {
                self.replace(*rank, named.name, &wants);
            }
        }
        resolution.unwrap_or_else(|| Resolution::Fails(unreadable(named)))
    }

    /// What the name is if it is no file: the weightiest word counts, and of equal ones that of the
    /// lowest rank. `None` if it is a file, or nothing at all.
    fn no_file(
        &mut self,
        named: &Named<'_, 'a>,
        wants: &dyn Fn(Rank) -> bool,
    ) -> Option<Resolution<'a>> {
        let weigh = |claim: &&Claim<'_>| match (wants(claim.rank), claim.elsewhere) {
            (false, _) => Weight::Pure,
            (true, true) => Weight::Owner,
            (true, false) => Weight::InPlace,
        };
        let others = named.claims.iter().filter(|claim| claim.entry.kind != EntryKind::File);
        let (weight, claim) =
            others.map(|claim| (weigh(&claim), claim)).min_by_key(|(weight, _)| *weight)?;
        let weigh = |copy: &RegisteredCopy<'_>| match copy.file.provenance {
            Provenance::Owner if wants(copy.rank) => Weight::Owner,
            Provenance::Owner => Weight::Pure,
            Provenance::InPlace => Weight::InPlace,
            Provenance::Part => Weight::Part,
        };
        let file = named.copies.iter().map(|copy| (weigh(copy), copy));
        let file = file.min_by_key(|(weight, _)| *weight);
        match file {
            Some((other, _)) if other < weight => None,
            Some((other, copy)) if other == weight && !self.is_name_of(claim, copy.file) => {
                Some(Resolution::Fails(two_kinds(named.name, (copy.rank, "file"), claim)))
            }
            Some((other, _)) if other == weight => None,
            _ => {
                let link = matches!(claim.entry.kind, EntryKind::HardLink { .. });
                let copies = named.copies.iter().filter(|copy| link && wants(copy.rank));
                for copy in copies.filter(|copy| copy.file.provenance == Provenance::InPlace) {
                    self.replace(copy.rank, named.name, wants);
                }
                Some(Resolution::Entry(claim.rank, claim.entry))
            }
        }
    }

    /// Whether the claim is a further name of a file of this content.
    fn is_name_of(&self, claim: &Claim<'_>, file: &OwnedFile) -> bool {
        let EntryKind::HardLink { to } = &claim.entry.kind else { return false };
        let named = find(self.names, to).and_then(|index| self.names.get(index));
        let copies = named.map_or(&[][..], |named| named.copies);
        let mut own = copies.iter().filter(|copy| copy.rank == claim.rank);
        own.any(|copy| is_same(copy.file, file))
    }

    /// The best standing that any copy has says what the name holds: owners, else what stands in
    /// place, else unfinished files. Among equals the lowest rank speaks first, but a disagreement
    /// that is not settled by rank is judged by the owners that do not want the file: who wants it
    /// may let its copy go. `None` for no copies.
    fn resolve_copies(
        &mut self,
        named: &Named<'_, 'a>,
        wants: &dyn Fn(Rank) -> bool,
    ) -> Option<Resolution<'a>> {
        let best = named.copies.iter().map(|copy| copy.file.provenance).min()?;
        let equals = || named.copies.iter().filter(|copy| copy.file.provenance == best);
        let by_rank = self.rules.on_conflict == OnConflict::LowestRank || best != Provenance::Owner;
        let pure = || equals().filter(|copy| !by_rank && !wants(copy.rank));
        let authority = pure().next();
        let first = authority.or_else(|| equals().next())?;
        let mut agreed = None;
        let mut resolved = ResolvedFile::of(first);
        for copy in named.copies {
            if is_same(first.file, copy.file) {
                resolved.hold(copy);
                continue;
            }
            let provenance = copy.file.provenance;
            // A part that differs was of other content: it counts as nothing, and so do its bytes.
            if provenance == Provenance::Part {
                continue;
            }
            let gives_way = wants(copy.rank)
                && provenance == best
                && authority.is_some()
                && *agreed.get_or_insert_with(|| pure().all(|one| is_same(first.file, one.file)));
            let rival = provenance == best && self.rules.on_conflict != OnConflict::LowestRank;
            if rival && !(gives_way && self.rules.force) {
                let (one, other) = ((first.rank, first.file), (copy.rank, copy.file));
                let (lower, higher) = if one.0 <= other.0 { (one, other) } else { (other, one) };
                let gives_way = gives_way.then_some(copy.rank);
                let conflict = Conflict { gives_way, ..conflict(named.name, lower, higher) };
                if self.rules.on_conflict == OnConflict::FailName {
                    return Some(Resolution::Fails(conflict.to_string()));
                }
                self.sets.conflicts.push(conflict);
            } else {
                self.differs(&mut resolved, named.name, copy, wants);
            }
        }
        Some(Resolution::File(resolved))
    }

    /// Only copies with that hash count, whatever their standing; all others give way.
    fn pinned(
        &mut self,
        named: &Named<'_, 'a>,
        wants: &dyn Fn(Rank) -> bool,
        pin: &[u8; 32],
    ) -> Option<Resolution<'a>> {
        let right = |copy: &&RegisteredCopy<'_>| copy.file.sha256.as_ref() == Some(pin);
        let Some(first) = named.copies.iter().filter(right).min_by_key(|copy| copy.file.provenance)
        else {
            return Some(Resolution::Fails(nobody_has_pinned(named, pin)));
        };
        let mut resolved = ResolvedFile::of(first);
        for copy in named.copies {
            let part = copy.file.provenance == Provenance::Part;
            if is_same(first.file, copy.file) && (part || right(&copy)) {
                resolved.hold(copy);
            } else if !part {
                self.differs(&mut resolved, named.name, copy, wants);
            }
        }
        Some(Resolution::File(resolved))
    }

    /// A whole copy that is not the truth: nothing, unless it stands where the name is wanted.
    fn differs(
        &mut self,
        resolved: &mut ResolvedFile<'a>,
        name: &str,
        copy: &RegisteredCopy<'a>,
        wants: &dyn Fn(Rank) -> bool,
    ) {
        let at_dest = copy.file.provenance == Provenance::InPlace || !copy.elsewhere;
        if !wants(copy.rank) || !at_dest {
            return;
        }
        resolved.give_way(copy.rank, copy.file);
        if self.rules.placing || self.rules.force {
            return self.replace(copy.rank, name, wants);
        }
        if copy.file.hashes.kind() == HashKind::Token {
            // It stands in the plan; what is wanted goes into a file of its own.
            return;
        }
        let obstacle = Obstacle { rank: copy.rank, name: name.to_owned() };
        if self.sets.obstacles.last() != Some(&obstacle) {
            self.sets.obstacles.push(obstacle);
        }
    }

    /// Lets `rank` replace the name, and all who write into the same folder.
    fn replace(&mut self, rank: Rank, name: &str, wants: &dyn Fn(Rank) -> bool) {
        let mates = self.sites.mates(rank).iter().filter(|mate| **mate != rank && wants(**mate));
        for rank in mates.chain([&rank]) {
            let replace = self.sets.replace.entry(*rank).or_default();
            if replace.last().is_none_or(|last| last != name) {
                replace.push(name.to_owned());
            }
        }
    }
}

impl<'a> ResolvedFile<'a> {
    fn of(authority: &RegisteredCopy<'a>) -> ResolvedFile<'a> {
        let (held, bases) = (Vec::new(), Vec::new());
        ResolvedFile { content: authority.file, authority: authority.rank, held, bases }
    }

    /// Adds what a rank has in this copy; a second copy of the same rank can only add to it.
    pub(super) fn hold(&mut self, copy: &RegisteredCopy<'a>) {
        let RegisteredCopy { rank, file, elsewhere } = *copy;
        // A bitfield for another number of pieces says nothing.
        let fits = file.pieces.as_ref().is_none_or(|pieces| pieces.len() == file.piece_count());
        if !fits {
            return;
        }
        let pieces = file.pieces.as_ref().filter(|pieces| !pieces.is_full());
        let full = pieces.is_none() && file.provenance != Provenance::Part;
        let at_dest = match (file.provenance, full) {
            (Provenance::Owner, _) if elsewhere => None,
            (_, true) => Some(DestContent::Whole),
            (_, false) => Some(DestContent::Part(pieces)),
        };
        let differs = self.bases.last().is_some_and(|(other, _)| *other == rank);
        match self.held.last_mut() {
            Some(last) if last.rank == rank => {
                last.whole = (last.whole || full) && !differs;
                last.pieces = more(last.pieces, pieces);
                last.at_dest = match (last.at_dest, at_dest) {
                    (Some(DestContent::Whole), _) | (_, Some(DestContent::Whole)) => {
                        Some(DestContent::Whole)
                    }
                    (Some(DestContent::Part(one)), Some(DestContent::Part(other))) => {
                        Some(DestContent::Part(more(one, other)))
                    }
                    (one, other) => one.or(other),
                };
            }
            _ => self.held.push(Held { rank, pieces, whole: full && !differs, at_dest }),
        }
    }

    /// Notes down a copy of other content that stands where `rank` wants the name.
    pub(super) fn give_way(&mut self, rank: Rank, file: &'a OwnedFile) {
        self.bases.push((rank, file));
        if let Some(held) = self.held.last_mut().filter(|held| held.rank == rank) {
            held.whole = false;
        }
    }

    /// What `rank` has.
    pub(super) fn held(&self, rank: Rank) -> Option<&Held<'a>> {
        let at = self.held.binary_search_by_key(&rank, |held| held.rank).ok()?;
        self.held.get(at)
    }
}

type HeldPieces<'a> = Option<&'a dunlin_base::Bitfield>;

/// The fuller of two; `None` is all.
fn more<'a>(one: HeldPieces<'a>, other: HeldPieces<'a>) -> HeldPieces<'a> {
    match (one, other) {
        (Some(one), Some(other)) if one.count() >= other.count() => Some(one),
        (Some(_), Some(other)) => Some(other),
        _ => None,
    }
}

/// Whether two copies are of one content, as far as hashes of pieces can tell.
pub(super) fn is_same(a: &OwnedFile, b: &OwnedFile) -> bool {
    a.length == b.length && a.piece_length == b.piece_length && a.hashes == b.hashes
}

fn conflict(name: &str, first: (Rank, &OwnedFile), second: (Rank, &OwnedFile)) -> Conflict {
    let ((first, a), (second, b)) = (first, second);
    let lengths = (a.length, b.length);
    let piece = first_difference(a, b);
    Conflict { name: name.to_owned(), first, second, piece, lengths, gives_way: None }
}

/// The first piece that differs; `None` if the two cannot be compared piece by piece.
fn first_difference(a: &OwnedFile, b: &OwnedFile) -> Option<u32> {
    let comparable = a.length == b.length
        && a.piece_length == b.piece_length
        && a.hashes.kind() == b.hashes.kind();
    let piece = comparable.then(|| a.hashes.first_difference(&b.hashes)).flatten()?;
    u32::try_from(piece).ok()
}

/// In what a copy is not what it should be, for people.
pub(super) fn why_other(content: &OwnedFile, copy: &OwnedFile) -> String {
    match first_difference(content, copy) {
        Some(piece) => {
            format!("it differs: piece {piece} of {} is the first that does", content.piece_count())
        }
        None if content.length != copy.length => {
            format!("it differs: its length is {}, expected {}", copy.length, content.length)
        }
        None => "it differs".to_owned(),
    }
}

fn unreadable(named: &Named<'_, '_>) -> String {
    match named.unreadable.first() {
        Some((rank, failed)) => format!("rank {rank} cannot read it: {}", failed.reason),
        None => "nobody has it".to_owned(),
    }
}

fn two_kinds(name: &str, file: (Rank, &str), claim: &Claim<'_>) -> String {
    let what = match &claim.entry.kind {
        EntryKind::File => "file".to_owned(),
        EntryKind::Directory => "folder".to_owned(),
        EntryKind::Symlink { .. } => "symlink".to_owned(),
        EntryKind::HardLink { to } => format!("further name of another file, `{to}`,"),
    };
    let ((rank, kind), other) = (file, claim.rank);
    format!("`{name}` is a {kind} at rank {rank} and a {what} at rank {other}")
}

/// What is there in place of what a pin asks for.
fn nobody_has_pinned(named: &Named<'_, '_>, pin: &[u8; 32]) -> String {
    let mut text = format!("nobody has it with SHA-256 {}", hex(pin));
    if let Some(other) = named.copies.iter().find(|copy| copy.file.sha256.is_some()) {
        let has = other.file.sha256.map(|has| hex(&has)).unwrap_or_default();
        text += &format!("; rank {} has {has}", other.rank);
    } else if let Some((rank, failed)) = named.unreadable.first() {
        text += &format!("; rank {rank} cannot read it: {}", failed.reason);
    }
    text
}
