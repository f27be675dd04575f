//! Ranks of one host: who fetches, and who links what another one has.
//!
//! ```text
//!  host ─┬─ folder ─┬─ head ──────── fetches, or has it
//!        │          └─ others ─────▶ link from the head: the same folder, nothing to write
//!        └─ folder ─── head ───────▶ links from the best head of the host
//! ```

use super::Holding;
use super::moves::Tally;
use super::sites::Sites;
use dunlin_base::Rank;
use std::cmp::Reverse;
use std::collections::BTreeMap;

impl Sites {
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
        let settled = |rank: Rank| tally.share_of(rank).files == tally.files;
        let best = |ranks: &[Rank]| {
            let worth = |rank: &Rank| {
                let share = tally.share_of(*rank);
                let bytes = share.here.saturating_add(share.local);
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
