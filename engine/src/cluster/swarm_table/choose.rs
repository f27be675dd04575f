//! Which members of a large swarm are named to somebody, so that answers stay small.

use super::{SwarmEntry, SwarmTable};
use dunlin_base::{Rank, Rng};
use std::collections::BTreeSet;

/// Sources take up one place of so many: if everybody only knew sources, they would serve
/// everybody.
const SOURCE_SHARE: usize = 4;
/// Of the rest one place of so many is for members of the asker's rack, whose wires are short.
const RACK_SHARE: usize = 2;
/// Draws at most so many times as many ranks as are asked for, however many of them are hidden.
const TRIES: usize = 4;

/// Ranks that are drawn one after another, each once.
struct Draw<'d> {
    chosen: Vec<Rank>,
    seen: BTreeSet<Rank>,
    hidden: &'d BTreeSet<Rank>,
    rng: &'d mut Rng,
}

impl SwarmTable {
    /// At most `limit` members, the asker among them if it is one: sources, neighbours in the
    /// asker's rack, and whom the seed gives. What everybody knows together stays in one piece:
    /// whoever joins is told of members that were drawn evenly from all before it.
    pub(super) fn choose(
        &self,
        torrent: &SwarmEntry,
        asker: Rank,
        limit: usize,
        rng: &mut Rng,
    ) -> Vec<Rank> {
        let own = torrent.is_member(asker).then_some(asker);
        // Whoever asks is told of somebody.
        let room = (limit - own.map_or(0, |_| 1)).max(1);
        let (chosen, seen) = (Vec::new(), BTreeSet::from([asker]));
        let mut draw = Draw { chosen, seen, hidden: &self.hidden, rng };
        draw.from(&torrent.sources, (room / SOURCE_SHARE).max(1));
        let near = self.racks.get(&asker).and_then(|rack| torrent.racks.get(rack));
        let rest = room - draw.chosen.len();
        draw.from(near.map_or(&[], Vec::as_slice), rest / RACK_SHARE);
        let rest = room - draw.chosen.len();
        draw.from(&torrent.members, rest);
        draw.chosen.extend(own);
        draw.chosen
    }
}

impl Draw<'_> {
    fn from(&mut self, ranks: &[Rank], count: usize) {
        let mut left = count;
        let mut take = |draw: &mut Self, rank: Rank| {
            if left > 0 && !draw.hidden.contains(&rank) && draw.seen.insert(rank) {
                draw.chosen.push(rank);
                left -= 1;
            }
            left > 0
        };
        if ranks.len() <= count.saturating_mul(2) {
            let mut all = ranks.to_vec();
            self.rng.shuffle(&mut all);
            all.into_iter().for_each(|rank| {
                take(self, rank);
            });
            return;
        }
        for _ in 0..count.saturating_mul(TRIES) {
            let at = self.rng.below(ranks.len() as u64) as usize;
            let more = ranks.get(at).is_none_or(|rank| take(self, *rank));
            if !more {
                return;
            }
        }
    }
}
