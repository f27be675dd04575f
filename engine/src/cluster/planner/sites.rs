//! Where ranks write: which of them share a folder, and which a file system.

use dunlin_base::Rank;
use dunlin_control::Register;
use std::collections::BTreeMap;

/// Where ranks write, for those who share a file system with others.
#[derive(Debug, Default)]
pub(super) struct Sites {
    pub(super) of: BTreeMap<Rank, Site>,
    /// By the lowest rank of each folder: all who write into it.
    folders: BTreeMap<Rank, Vec<Rank>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    /// The lowest rank that writes into the same file system.
    pub(super) group: Rank,
    /// The lowest rank that writes into the same folder.
    pub(super) folder: Rank,
}

impl Sites {
    /// `by_rank` is in the order of ranks.
    pub(super) fn new(by_rank: &[(Rank, &Register)]) -> Sites {
        let locations =
            || by_rank.iter().filter_map(|(rank, of)| of.location.as_ref().map(|n| (*rank, n)));
        let mut folders: BTreeMap<(&str, &str), (Rank, u64)> = BTreeMap::new();
        let mut groups: BTreeMap<(&str, u64), (Rank, u32)> = BTreeMap::new();
        let mut all = Vec::new();
        for (rank, location) in locations() {
            let folder =
                folders.entry((&location.host, &location.dest)).or_insert((rank, location.device));
            // A folder is in one file system, whatever anybody says.
            let group = groups.entry((&location.host, folder.1)).or_insert((rank, 0));
            group.1 += 1;
            all.push((rank, folder.0, (location.host.as_str(), folder.1)));
        }
        let mut sites = Sites::default();
        for (rank, folder, key) in all {
            let Some((group, count)) = groups.get(&key) else { continue };
            if *count > 1 {
                sites.of.insert(rank, Site { group: *group, folder });
                sites.folders.entry(folder).or_default().push(rank);
            }
        }
        sites
    }

    /// All ranks that write into the folder of `rank`, itself too; nobody if it is alone on its
    /// host.
    pub(super) fn mates(&self, rank: Rank) -> &[Rank] {
        let site = self.of.get(&rank);
        let mates = site.and_then(|site| self.folders.get(&site.folder));
        mates.map_or(&[], Vec::as_slice)
    }

    /// The same number for ranks that write into one file system; `None` for who is alone there.
    pub(super) fn group(&self, rank: Rank) -> Option<Rank> {
        self.of.get(&rank).map(|site| site.group)
    }

    /// Whether both write into one folder.
    pub(super) fn same_folder(&self, one: Rank, other: Rank) -> bool {
        let folder = |rank| self.of.get(&rank).map(|site| site.folder);
        one == other || (folder(one).is_some() && folder(one) == folder(other))
    }
}
