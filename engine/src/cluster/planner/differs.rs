//! How every destination differs from the plan, for people who only want to know.

use super::DestContent;
use super::Sets;
use super::conflicts::{Resolution, why_other};
use super::names::Named;
use super::sites::Sites;
use super::want_table::WantTable;
use dunlin_base::Rank;
use dunlin_control::{FailedFile, Register};
use dunlin_metainfo::{EntryKind, TreeEntry};
use std::collections::BTreeMap;

/// A rank's differences beyond so many are counted only: a report must not be larger than the plan.
const MAX_DIFFERENCES: usize = 1000;

#[derive(Default)]
struct DifferingLists {
    of: BTreeMap<Rank, Vec<FailedFile>>,
    more: BTreeMap<Rank, u64>,
}

impl DifferingLists {
    fn push(&mut self, rank: Rank, name: &str, reason: &str) {
        let list = self.of.entry(rank).or_default();
        if list.len() < MAX_DIFFERENCES {
            list.push(FailedFile { name: name.to_owned(), reason: reason.to_owned() });
        } else {
            *self.more.entry(rank).or_default() += 1;
        }
    }
}

/// What of all that is wanted is missing or other than it should be, by rank. Ranks that write into
/// one folder are not told the same twice.
pub(super) fn differs(
    names: &[Named<'_, '_>],
    resolutions: &[Resolution<'_>],
    want_table: &WantTable<'_>,
    sites: &Sites,
    by_rank: &[(Rank, &Register)],
    sets: &Sets,
) -> BTreeMap<Rank, Vec<FailedFile>> {
    let mut lists = DifferingLists::default();
    for (index, (named, resolution)) in names.iter().zip(resolutions).enumerate() {
        let Resolution::File(resolved) = resolution else { continue };
        let wanters = want_table.ranks(want_table.wanters(index));
        for rank in wanters.iter().copied() {
            let mut mates = sites.mates(rank).iter().take_while(|mate| **mate < rank);
            if mates.any(|mate| want_table.wants(index, *mate)) {
                continue;
            }
            let base = resolved.bases.iter().find(|(other, _)| *other == rank);
            let found = resolved.held(rank).and_then(|held| held.at_dest);
            match (found, base) {
                (Some(DestContent::Whole), _) => {}
                (_, Some((_, base))) => {
                    lists.push(rank, named.name, &why_other(resolved.content, base));
                }
                (Some(DestContent::Part(_)), None) => {
                    lists.push(rank, named.name, "it is unfinished")
                }
                (None, None) => lists.push(rank, named.name, "it is not there"),
            }
        }
    }
    for (rank, register) in by_rank {
        let (Some(stands), Some(entries)) = (&register.stands, sets.entries.get(rank)) else {
            continue;
        };
        let stands: BTreeMap<&str, &EntryKind> =
            stands.iter().map(|entry| (entry.name.as_str(), &entry.kind)).collect();
        for entry in entries.iter() {
            if let Some(why) = why_no_entry(entry, stands.get(entry.name.as_str()).copied()) {
                lists.push(*rank, &entry.name, &why);
            }
        }
    }
    for (rank, missing) in &sets.missing {
        missing.iter().for_each(|failed| lists.push(*rank, &failed.name, &failed.reason));
    }
    for (rank, more) in std::mem::take(&mut lists.more) {
        let (name, reason) = ("…".to_owned(), format!("{more} more names differ"));
        lists.of.entry(rank).or_default().push(FailedFile { name, reason });
    }
    lists.of
}

/// Why what stands there is not the folder or link that it should be. Files are compared by their
/// bytes.
fn why_no_entry(entry: &TreeEntry, found: Option<&EntryKind>) -> Option<String> {
    match (&entry.kind, found) {
        (EntryKind::File, _) => None,
        (wanted, Some(found)) if wanted == found => None,
        (EntryKind::Directory, None) => Some("the folder is not there".to_owned()),
        (EntryKind::Directory, Some(_)) => Some("it is no folder".to_owned()),
        (EntryKind::Symlink { .. }, None) => Some("the symlink is not there".to_owned()),
        (EntryKind::Symlink { target }, Some(EntryKind::Symlink { target: found })) => {
            Some(format!("the symlink leads to `{found}`, expected `{target}`"))
        }
        (EntryKind::Symlink { .. }, Some(_)) => Some("it is no symlink".to_owned()),
        (EntryKind::HardLink { to }, None) => {
            Some(format!("the further name of `{to}` is not there"))
        }
        (EntryKind::HardLink { to }, Some(_)) => Some(format!("it is no further name of `{to}`")),
    }
}
