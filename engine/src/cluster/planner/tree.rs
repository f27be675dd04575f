//! The metadata of trees: which entry of a name counts, and which entries who gets.

use super::conflicts::{Resolution, ResolvedFile};
use super::names::{Claim, Named};
use dunlin_base::Rank;
use dunlin_control::FailedFile;
use dunlin_metainfo::{EntryKind, TreeEntry};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Notes beyond so many are counted only: they are for people.
const MAX_NOTES: usize = 50;

/// The metadata of everything that was registered, and the names that nobody gets.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tree {
    /// By name.
    entries: Vec<TreeEntry>,
    fails: BTreeMap<String, String>,
}

impl Tree {
    /// The entries, by name.
    #[must_use]
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// Names that nobody gets, each with its reason.
    #[must_use]
    pub fn fails(&self) -> &BTreeMap<String, String> {
        &self.fails
    }

    /// Whether the entry is a file's, whose bytes are a set's business.
    pub(super) fn is_file(entry: &TreeEntry) -> bool {
        entry.kind == EntryKind::File
    }

    fn find(&self, name: &str) -> Option<&TreeEntry> {
        let at = self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
        self.entries.get(at)
    }

    /// The entries for who wants the names `wanted` (of files that it gets, folders and links), and
    /// the folders above them. Hard links need the file that they are names of: those whose file is
    /// not among `wanted` fail.
    #[must_use]
    pub fn pick(&self, wanted: &BTreeSet<&str>) -> (Arc<[TreeEntry]>, Vec<FailedFile>) {
        let mut picked: BTreeSet<&str> = BTreeSet::new();
        let mut failed = Vec::new();
        for name in wanted {
            let entry = self.find(name);
            if let Some(EntryKind::HardLink { to }) = entry.map(|entry| &entry.kind)
                && let Some(why) = self.no_file(to, wanted)
            {
                let reason = format!("it is a further name of `{to}`, {why}");
                failed.push(FailedFile { name: (*name).to_owned(), reason });
                continue;
            }
            picked.extend(entry.map(|entry| entry.name.as_str()));
            for (slash, _) in name.match_indices('/').rev() {
                let above = name.get(..slash).and_then(|above| self.find(above));
                let Some(above) = above.filter(|above| above.kind == EntryKind::Directory) else {
                    continue;
                };
                // What is above a folder that was picked has been picked with it.
                if !picked.insert(&above.name) {
                    break;
                }
            }
        }
        (picked.into_iter().filter_map(|name| self.find(name)).cloned().collect(), failed)
    }

    /// Why there is no file `to` for a hard link.
    fn no_file(&self, to: &str, wanted: &BTreeSet<&str>) -> Option<String> {
        if let Some(reason) = self.fails.get(to) {
            return Some(format!("which fails: {reason}"));
        }
        if !wanted.contains(to) {
            return Some("which is not wanted here".to_owned());
        }
        let kind = self.find(to).map(|entry| &entry.kind);
        let is_file = matches!(kind, None | Some(EntryKind::File));
        (!is_file).then(|| "which is no file".to_owned())
    }

    pub(super) fn check(&self) {
        assert!(self.entries.is_sorted_by(|a, b| a.name < b.name), "one entry a name");
        assert!(self.entries.iter().all(|entry| !self.fails.contains_key(&entry.name)));
    }
}

/// The tree of all names.
pub(super) fn tree(
    names: &[Named<'_, '_>],
    resolutions: &[Resolution<'_>],
    notes: &mut Vec<String>,
) -> Tree {
    let mut tree = Tree::default();
    let mut more = 0_usize;
    for (named, resolution) in names.iter().zip(resolutions) {
        let (rank, entry) = match resolution {
            Resolution::Fails(reason) => {
                tree.fails.insert(named.name.to_owned(), reason.clone());
                continue;
            }
            Resolution::Entry(rank, entry) => (*rank, *entry),
            Resolution::File(resolved) => match claim_of(named, resolved) {
                Some(claim) => (claim.rank, claim.entry),
                None => continue,
            },
        };
        if let Some(note) = differing_metadata(named, resolution, rank, entry) {
            if notes.len() < MAX_NOTES {
                notes.push(note);
            } else {
                more += 1;
            }
        }
        tree.entries.push(entry.clone());
    }
    if more > 0 {
        notes.push(format!("{more} more names look different at their owners"));
    }
    tree
}

/// Of a file: its metadata at the rank whose content counts, else at the lowest that has the same.
fn claim_of<'l, 'a>(named: &Named<'l, 'a>, resolved: &ResolvedFile<'_>) -> Option<&'l Claim<'a>> {
    let mut claims = named.claims.iter().filter(|claim| claim.entry.kind == EntryKind::File);
    let authority = claims.clone().find(|claim| claim.rank == resolved.authority);
    authority
        .or_else(|| claims.find(|claim| resolved.held(claim.rank).is_some_and(|held| held.whole)))
}

/// What people read if another rank that counts as much has other metadata for the name. Times of
/// folders are no matter: whoever made a folder made it at a time of its own.
fn differing_metadata(
    named: &Named<'_, '_>,
    resolution: &Resolution<'_>,
    rank: Rank,
    entry: &TreeEntry,
) -> Option<String> {
    let weighs = |claim: &&Claim<'_>| match resolution {
        Resolution::File(resolved) => resolved.held(claim.rank).is_some_and(|held| held.whole),
        _ => true,
    };
    let own = named.claims.iter().find(|claim| claim.rank == rank)?;
    let others = named.claims.iter().filter(|claim| claim.elsewhere == own.elsewhere);
    others.filter(weighs).filter(|claim| claim.rank != rank).find_map(|claim| {
        let what = difference(entry, claim.entry)?;
        let (name, other) = (named.name, claim.rank);
        Some(format!("`{name}` has {what} at rank {other}: that of rank {rank} counts"))
    })
}

fn difference(a: &TreeEntry, b: &TreeEntry) -> Option<&'static str> {
    let folder = a.kind == EntryKind::Directory;
    match (&a.kind, &b.kind) {
        (EntryKind::Symlink { target }, EntryKind::Symlink { target: other }) => {
            return (target != other).then_some("another target");
        }
        (EntryKind::HardLink { .. }, EntryKind::File | EntryKind::HardLink { .. })
        | (EntryKind::File, EntryKind::HardLink { .. }) => return None,
        (one, other) if one != other => return Some("another kind"),
        _ => {}
    }
    let (one, other) = (&a.meta, &b.meta);
    if one.mode != other.mode {
        Some("other permissions")
    } else if (one.uid, one.gid) != (other.uid, other.gid) {
        Some("another owner")
    } else if one.modified != other.modified && !folder {
        Some("another time")
    } else {
        (one.attributes != other.attributes).then_some("other attributes")
    }
}
