//! Whether what ranks want fits where it goes, when placing: who lacks space fails alone.

use super::build::Plan;
use super::sites::Sites;
use super::want_table::WantTable;
use dunlin_base::{Rank, format_size};
use dunlin_control::{Register, Space};
use std::collections::BTreeMap;

/// The ranks whose wants do not fit, each with what to tell people. Lower ranks go first. What
/// ranks of one file system link counts once; what a rank copies from where it owns it counts, too.
pub(super) fn too_small(
    plan: &Plan,
    by_rank: &[(Rank, &Register)],
    sites: &Sites,
    want_table: &WantTable<'_>,
) -> BTreeMap<Rank, String> {
    let moves = plan.moves(want_table, sites);
    let mut devices: BTreeMap<u64, (u64, Vec<Rank>)> = BTreeMap::new();
    for (rank, register) in by_rank {
        let Some(Space { device, free }) = register.space else { continue };
        let entry = devices.entry(device).or_insert((free, Vec::new()));
        entry.0 = entry.0.min(free);
        entry.1.push(*rank);
    }
    let mut dropped = BTreeMap::new();
    for (free, ranks) in devices.into_values() {
        let moved = ranks.iter().filter_map(|rank| moves.get(rank));
        let most = moved
            .fold(0_u64, |sum, moved| sum.saturating_add(moved.bytes).saturating_add(moved.linked));
        if most > free {
            fill(plan, sites, free, &ranks, &mut dropped);
        }
    }
    dropped
}

/// Gives the space of a device away, rank by rank.
fn fill(
    plan: &Plan,
    sites: &Sites,
    free: u64,
    ranks: &[Rank],
    dropped: &mut BTreeMap<Rank, String>,
) {
    // The sets that are counted for a file system, and whether for a rank that links nothing.
    let mut counted: BTreeMap<(Rank, usize), bool> = BTreeMap::new();
    let mut left = free;
    for rank in ranks {
        let group = sites.group(*rank);
        let mut needed = 0_u64;
        let mut fresh = Vec::new();
        for (number, set) in plan.sets.iter().enumerate().filter(|(_, set)| set.plan.wants(*rank)) {
            let links = set.plan.links.contains_key(rank);
            let known = group.and_then(|group| counted.get(&(group, number)).copied());
            fresh.extend(group.map(|group| ((group, number), !links || known == Some(true))));
            // Whoever links first stands for whoever fetches.
            if known.is_some_and(|fetched| links || !fetched) {
                continue;
            }
            let next = |rank: &Rank| set.plan.links.get(rank).copied();
            let fetches = std::iter::successors(Some(*rank), next).last().unwrap_or(*rank);
            let mates = sites.mates(fetches).iter().chain([&fetches]);
            let here = mates.map(|mate| set.tally.share_of(*mate).here).max().unwrap_or(0);
            let bytes = set.tally.bytes.saturating_sub(set.tally.zeros).saturating_sub(here);
            needed = needed.saturating_add(bytes);
        }
        if needed <= left {
            left -= needed;
            counted.extend(fresh);
        } else {
            dropped.insert(*rank, reason(needed, free, free - left));
        }
    }
}

/// What people are told of bytes that do not fit.
pub(super) fn reason(needed: u64, free: u64, others: u64) -> String {
    let beside = match others {
        0 => String::new(),
        _ => format!(", of which {} ({others} bytes) go to other ranks", format_size(others)),
    };
    format!(
        "what the rank wants needs {} ({needed} bytes), but only {} ({free} bytes) are free where \
         it goes{beside}; make room, or write to another place",
        format_size(needed),
        format_size(free),
    )
}
