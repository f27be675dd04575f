//! Whom to serve (BEP 3, "choking"; practice of the field). A pure function over a list of peers: it
//! knows no connection and keeps no state but the round.

use crate::config::policy;
use dunlin_base::{ConnId, Rate, Rng};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

policy! {
    /// Whom to serve.
    ChokerKind, "choker" {
        /// Everybody at once; the windows per destination share the uplink.
        Cooperative = "cooperative",
        /// Those who give most, and one optimistic slot.
        TitForTat = "tit-for-tat",
    }
}

/// Time between rechoke rounds (BEP 3: ten seconds).
pub const ROUND: Duration = Duration::from_secs(10);
/// Regular upload slots, the optimistic one included (BEP 3: four).
pub const SLOTS: usize = 4;
/// Rounds that an optimistic unchoke lasts (BEP 3: three).
pub const OPTIMISTIC_ROUNDS: u64 = 3;
/// A new peer is this many times as likely to get the optimistic slot (BEP 3).
pub const NEWCOMER_WEIGHT: u64 = 3;
/// In seed mode a peer keeps its slot until it got so many pieces' worth of blocks.
pub const SEED_QUANTUM_PIECES: u64 = 20;

/// A peer as the choker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The connection.
    pub conn: ConnId,
    /// Whether it wants anything of us.
    pub interested: bool,
    /// Whether we choke it now.
    pub choked: bool,
    /// What it gives us, averaged.
    pub gives: Rate,
    /// What it takes from us, averaged.
    pub takes: Rate,
    /// Whole pieces' worth it got in its present slot.
    pub pieces_in_slot: u64,
    /// The round in which its slot began or it was last choked.
    pub since_round: u64,
    /// Connected within the last rounds.
    pub newcomer: bool,
    /// It owes us blocks and sends none.
    pub snubbed: bool,
}

/// The choker's memory between rounds.
#[derive(Clone, Debug, Default)]
pub struct Choker {
    round: u64,
    optimistic: Option<ConnId>,
}

impl Choker {
    /// The number of the present round.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round
    }

    /// One round: the connections that are unchoked from now on. All others are choked. `slots` is how
    /// many may be served, the optimistic one included; at least one.
    pub fn rechoke(
        &mut self,
        kind: ChokerKind,
        seeding: bool,
        slots: usize,
        peers: &[Candidate],
        rng: &mut Rng,
    ) -> Vec<ConnId> {
        self.round += 1;
        if kind == ChokerKind::Cooperative {
            return peers.iter().map(|peer| peer.conn).collect();
        }
        let mut ranked: Vec<&Candidate> = peers.iter().collect();
        if seeding {
            ranked.sort_by_key(|peer| seed_rank(peer));
        } else {
            ranked.retain(|peer| !peer.snubbed);
            ranked.sort_by_key(|peer| (std::cmp::Reverse(peer.gives), peer.conn));
        }
        let regular = slots.saturating_sub(1);
        let mut unchoked = Vec::new();
        let mut taken = 0;
        for peer in ranked {
            if taken == regular {
                break;
            }
            if !seeding && peer.gives == Rate(0) {
                break;
            }
            // A faster peer that wants nothing yet is unchoked too and takes no slot: it may want
            // something before the next round.
            taken += usize::from(peer.interested);
            if peer.interested || !seeding {
                unchoked.push(peer.conn);
            }
        }
        self.renew_optimistic(peers, &unchoked, rng);
        unchoked.extend(self.optimistic);
        Choker::fill_free_slots(peers, &mut unchoked, regular.saturating_sub(taken));
        unchoked
    }

    fn renew_optimistic(&mut self, peers: &[Candidate], regular: &[ConnId], rng: &mut Rng) {
        let held = self.optimistic.filter(|conn| {
            !regular.contains(conn)
                && peers.iter().any(|peer| peer.conn == *conn && peer.interested)
        });
        if held.is_some() && !self.round.is_multiple_of(OPTIMISTIC_ROUNDS) {
            return;
        }
        let eligible: Vec<&Candidate> = peers
            .iter()
            .filter(|peer| peer.interested && !regular.contains(&peer.conn))
            .filter(|peer| peers.len() == 1 || Some(peer.conn) != held || regular.is_empty())
            .collect();
        let weight = |peer: &Candidate| if peer.newcomer { NEWCOMER_WEIGHT } else { 1 };
        let total: u64 = eligible.iter().map(|peer| weight(peer)).sum();
        if total == 0 {
            self.optimistic = held;
            return;
        }
        let mut ticket = rng.below(total);
        self.optimistic = eligible
            .into_iter()
            .find(|peer| match ticket.checked_sub(weight(peer)) {
                Some(rest) => {
                    ticket = rest;
                    false
                }
                None => true,
            })
            .map(|peer| peer.conn);
    }

    /// Slots that nobody earned go to whoever waits longest: an idle uplink helps nobody.
    fn fill_free_slots(peers: &[Candidate], unchoked: &mut Vec<ConnId>, free: usize) {
        let mut waiting: Vec<&Candidate> =
            peers.iter().filter(|peer| peer.interested && !unchoked.contains(&peer.conn)).collect();
        waiting.sort_by_key(|peer| (peer.since_round, peer.conn));
        unchoked.extend(waiting.into_iter().take(free).map(|peer| peer.conn));
    }
}

/// Seed mode: whoever has a slot keeps it for its quantum, then the longest waiting comes first.
fn seed_rank(peer: &Candidate) -> (bool, u64, ConnId) {
    let keeps = !peer.choked && peer.pieces_in_slot < SEED_QUANTUM_PIECES;
    (!keeps, peer.since_round, peer.conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u64, gives: u64) -> Candidate {
        Candidate {
            conn: ConnId(id),
            interested: true,
            choked: true,
            gives: Rate(gives),
            takes: Rate(0),
            pieces_in_slot: 0,
            since_round: 0,
            newcomer: false,
            snubbed: false,
        }
    }

    fn ids(mut conns: Vec<ConnId>) -> Vec<u64> {
        conns.sort_unstable();
        conns.into_iter().map(|conn| conn.0).collect()
    }

    #[test]
    fn cooperative_unchokes_everybody() {
        let peers = [peer(1, 0), peer(2, 0), peer(3, 9)];
        let mut choker = Choker::default();
        let open = choker.rechoke(ChokerKind::Cooperative, false, SLOTS, &peers, &mut Rng::new(1));
        assert_eq!(ids(open), [1, 2, 3]);
    }

    #[test]
    fn tit_for_tat_takes_the_best_and_one_other() {
        let peers: Vec<_> = (0..10).map(|id| peer(id, id * 100)).collect();
        let mut choker = Choker::default();
        for seed in 0..20 {
            let open =
                choker.rechoke(ChokerKind::TitForTat, false, SLOTS, &peers, &mut Rng::new(seed));
            assert_eq!(open.len(), SLOTS, "three regular slots and the optimistic one");
            for best in [9, 8, 7] {
                assert!(open.contains(&ConnId(best)));
            }
        }
    }

    #[test]
    fn the_optimistic_slot_moves_on_after_three_rounds() {
        let peers: Vec<_> = (0..8).map(|id| peer(id, if id < 3 { 100 } else { 0 })).collect();
        let mut choker = Choker::default();
        let mut rng = Rng::new(4);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..60 {
            let open = choker.rechoke(ChokerKind::TitForTat, false, SLOTS, &peers, &mut rng);
            seen.extend(open.into_iter().filter(|conn| conn.0 >= 3));
        }
        assert_eq!(seen.len(), 5, "everybody gets its chance: {seen:?}");
    }

    #[test]
    fn a_snubbing_peer_loses_its_regular_slot() {
        let mut peers: Vec<_> = (0..6).map(|id| peer(id, 100 * (id + 1))).collect();
        peers[5].snubbed = true;
        peers[5].interested = false;
        let mut choker = Choker::default();
        let open = choker.rechoke(ChokerKind::TitForTat, false, SLOTS, &peers, &mut Rng::new(1));
        assert!(!open.contains(&ConnId(5)));
    }

    #[test]
    fn a_seed_lets_the_longest_waiting_in_after_a_quantum() {
        let mut peers: Vec<_> = (0..6).map(|id| peer(id, 0)).collect();
        for (id, candidate) in peers.iter_mut().enumerate().take(3) {
            candidate.choked = false;
            candidate.since_round = 1;
            candidate.pieces_in_slot = if id == 0 { SEED_QUANTUM_PIECES } else { 3 };
        }
        let mut choker = Choker::default();
        let open = choker.rechoke(ChokerKind::TitForTat, true, SLOTS, &peers, &mut Rng::new(1));
        assert!(open.contains(&ConnId(1)) && open.contains(&ConnId(2)));
        assert!(open.contains(&ConnId(3)), "the longest waiting takes the place of peer 0");
    }

    #[test]
    fn names_read_back() {
        for kind in ChokerKind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
        }
        assert!("nice".parse::<ChokerKind>().unwrap_err().to_string().contains("cooperative"));
    }
}
