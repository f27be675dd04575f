//! Ranks of one host: who fetches, and who links what another one has.
//!
//! ```text
//!  host ─┬─ folder ─┬─ head ──────── fetches, or has it
//!        │          └─ others ─────▶ link from the head: the same folder, nothing to write
//!        └─ folder ─── head ───────▶ links from the best head of the host
//! ```

use super::Holding;
use super::moves::Tally;
use dunlin_base::Rank;
use dunlin_control::Register;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Where ranks write, for those who share a file system with others.
#[derive(Debug, Default)]
pub(super) struct Sites {
    of: BTreeMap<Rank, Site>,
    /// By the lowest rank of each folder: all who write into it.
    folders: BTreeMap<Rank, Vec<Rank>>,
}

#[derive(Clone, Copy, Debug)]
struct Site {
    /// The lowest rank that writes into the same file system.
    group: Rank,
    /// The lowest rank that writes into the same folder.
    folder: Rank,
}

impl Sites {
    /// `by_rank` is in the order of ranks.
    pub(super) fn new(by_rank: &[(Rank, &Register)]) -> Sites {
        let nodes = || by_rank.iter().filter_map(|(rank, of)| of.node.as_ref().map(|n| (*rank, n)));
        let mut folders: BTreeMap<(&str, &str), (Rank, u64)> = BTreeMap::new();
        let mut groups: BTreeMap<(&str, u64), (Rank, u32)> = BTreeMap::new();
        let mut all = Vec::new();
        for (rank, node) in nodes() {
            let folder = folders.entry((&node.host, &node.dest)).or_insert((rank, node.device));
            // A folder is in one file system, whatever anybody says.
            let group = groups.entry((&node.host, folder.1)).or_insert((rank, 0));
            group.1 += 1;
            all.push((rank, folder.0, (node.host.as_str(), folder.1)));
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

    /// All ranks that write into the folder of `rank`, itself too; nobody if it is alone on its host.
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

    /// Who of `wanters` links a set, and from whom. Only one writes into a folder, whatever the
    /// others have. Beyond its folder nobody links who has it whole, or who has pieces that
    /// nobody else may have.
    pub(super) fn link(
        &self,
        wanters: &[Rank],
        holders: &[Holding],
        tally: &Tally,
    ) -> BTreeMap<Rank, Rank> {
        let mut links = BTreeMap::new();
        let mut groups: BTreeMap<Rank, BTreeMap<Rank, Vec<Rank>>> = BTreeMap::new();
        if self.of.is_empty() {
            return links;
        }
        for rank in wanters {
            if let Some(site) = self.of.get(rank) {
                groups.entry(site.group).or_default().entry(site.folder).or_default().push(*rank);
            }
        }
        let pieces = |rank: Rank| {
            let at = holders.binary_search_by_key(&rank, |held| held.rank).ok();
            let held = at.and_then(|at| holders.get(at));
            held.map_or(0, |held| held.pieces.as_ref().map_or(u32::MAX, |pieces| pieces.count()))
        };
        let settled = |rank: Rank| tally.stand_of(rank).files == tally.files;
        let best = |ranks: &[Rank]| {
            let worth = |rank: &Rank| {
                let stand = tally.stand_of(*rank);
                let bytes = stand.here.saturating_add(stand.local);
                (settled(*rank), pieces(*rank) == u32::MAX, bytes, Reverse(*rank))
            };
            ranks.iter().copied().max_by_key(worth)
        };
        let seeded = holders.iter().any(|held| held.pieces.is_none());
        for folders in groups.values() {
            let mut heads = Vec::new();
            for mates in folders.values() {
                let Some(head) = best(mates) else { continue };
                heads.push(head);
                let others = mates.iter().filter(|rank| **rank != head && !settled(**rank));
                links.extend(others.map(|rank| (*rank, head)));
            }
            let Some(first) = best(&heads) else { continue };
            for head in heads {
                let unique = pieces(head) > 0 && !seeded;
                if head != first && !settled(head) && pieces(head) < u32::MAX && !unique {
                    links.insert(head, first);
                }
            }
        }
        links
    }
}
