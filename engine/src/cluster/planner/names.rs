//! Every name that anybody registered, with all that is said of it.

use super::{RegisteredCopy, Rules};
use dunlin_base::Rank;
use dunlin_control::{FailedFile, Provenance, Register};
use dunlin_metainfo::{EntryKind, TreeEntry};
use std::collections::BTreeMap;

/// What a rank says that stands under a name, beside the bytes of files.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) rank: Rank,
    pub(super) entry: &'a TreeEntry,
    /// Whether it stands elsewhere than where the rank's wanted files go.
    pub(super) elsewhere: bool,
}

/// All that is said of one name. Within each list by rank.
#[derive(Clone, Copy, Default)]
pub(super) struct Named<'l, 'a> {
    pub(super) name: &'a str,
    pub(super) copies: &'l [RegisteredCopy<'a>],
    pub(super) claims: &'l [Claim<'a>],
    /// Who should have given it and cannot.
    pub(super) unreadable: &'l [(Rank, &'a FailedFile)],
}

/// The registrations, turned around: by name.
pub(super) struct Lists<'a> {
    copies: Vec<RegisteredCopy<'a>>,
    claims: Vec<Claim<'a>>,
    unreadable: Vec<(Rank, &'a FailedFile)>,
}

impl<'a> Lists<'a> {
    /// `by_rank` is in the order of ranks.
    pub(super) fn new(by_rank: &[(Rank, &'a Register)]) -> Lists<'a> {
        let mut lists = Lists { copies: Vec::new(), claims: Vec::new(), unreadable: Vec::new() };
        for (rank, register) in by_rank {
            let (rank, elsewhere) = (*rank, register.elsewhere);
            let copies = register.files.iter().map(|file| RegisteredCopy { rank, file, elsewhere });
            lists.copies.extend(copies);
            let claims = register.entries.iter().map(|entry| Claim { rank, entry, elsewhere });
            lists.claims.extend(claims);
            lists.unreadable.extend(register.unreadable.iter().map(|failed| (rank, failed)));
        }
        // Stable: copies of a name stay in the order of ranks. Registrations are mostly sorted
        // runs.
        lists.copies.sort_by(|a, b| a.file.name.cmp(&b.file.name));
        lists.claims.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
        lists.unreadable.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        lists
    }

    /// The names, in order. Looks alone make no name of a file, and with
    /// [`Rules::owners_only`] neither does a copy that nobody owns.
    pub(super) fn names(&self, rules: &Rules<'_>) -> Vec<Named<'_, 'a>> {
        let mut names: BTreeMap<&'a str, Named<'_, 'a>> = BTreeMap::new();
        for copies in self.copies.chunk_by(|a, b| a.file.name == b.file.name) {
            let Some(first) = copies.first() else { continue };
            let name = first.file.name.as_str();
            let counts = |copy: &RegisteredCopy<'_>| {
                copy.file.provenance == Provenance::Owner
                    || (copy.file.sha256.is_some()
                        && copy.file.sha256.as_ref() == rules.pins.get(name))
            };
            if !rules.owners_only || copies.iter().any(counts) {
                names.insert(name, Named { name, copies, ..Named::default() });
            }
        }
        for claims in self.claims.chunk_by(|a, b| a.entry.name == b.entry.name) {
            let Some(first) = claims.first() else { continue };
            let name = first.entry.name.as_str();
            if let Some(named) = names.get_mut(name) {
                named.claims = claims;
            } else if claims.iter().any(|claim| claim.entry.kind != EntryKind::File) {
                names.insert(name, Named { name, claims, ..Named::default() });
            }
        }
        for unreadable in self.unreadable.chunk_by(|a, b| a.1.name == b.1.name) {
            let Some((_, first)) = unreadable.first() else { continue };
            let name = first.name.as_str();
            names.entry(name).or_insert(Named { name, ..Named::default() }).unreadable = unreadable;
        }
        names.into_values().collect()
    }
}

/// The place of `name` in `names`.
pub(super) fn find(names: &[Named<'_, '_>], name: &str) -> Option<usize> {
    names.binary_search_by(|named| named.name.cmp(name)).ok()
}
