//! Whom to serve (BEP 3, "choking"; practice of the field). A pure function over a list of peers:
//! it knows no connection and keeps no state but the round and who has the optimistic slot.

use dunlin_base::{ConnId, Rate, Rng};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

pub use crate::config::ChokerKind;

/// Time between rechoke rounds (BEP 3: ten seconds).
pub const ROUND: Duration = Duration::from_secs(10);
/// Regular upload slots, the optimistic one included (BEP 3: four).
pub const SLOTS: usize = 4;
/// Rounds that an optimistic unchoke lasts (BEP 3: three).
pub const OPTIMISTIC_ROUNDS: u64 = 3;
/// A new peer is this many times as likely to get the optimistic slot (BEP 3).
pub const NEWCOMER_WEIGHT: u64 = 3;
/// In seed mode a peer keeps its slot until it got so many pieces' worth of blocks, …
pub const SEED_QUANTUM_PIECES: u64 = 20;
/// … or, on the internet, until it had it for so many rounds (practice: a minute).
pub(crate) const SEED_QUANTUM_ROUNDS: u64 = 6;

/// Slots that a seed has besides for peers that have taken nothing yet, one a source: whoever lets
/// them pass costs nothing, and keeps nobody waiting who does take.
pub(crate) const TRIALS: usize = 16;
/// Slots on the internet besides for peers that take far less than they could have: they cost
/// little, and a slot that they held would stand idle while others wait.
pub(crate) const SLOW_SLOTS: usize = 16;

/// A peer as the choker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The connection.
    pub conn: ConnId,
    /// Who counts as one with it: its address on the internet, nobody in a cluster.
    pub source: Option<IpAddr>,
    /// How many slots in a row it has let pass without taking anything; not 0 in its present slot
    /// if it takes nothing now.
    pub wasted: u32,
    /// Whether it has taken or asked for anything in its present or last slot.
    pub takes_part: bool,
    /// In its present or last slot it took far less than it could have.
    pub slow: bool,
    /// It had its slot for as long as one lasts while others wait.
    pub had_its_time: bool,
    /// Whether it wants anything of us.
    pub interested: bool,
    /// Whether we choke it now.
    pub choked: bool,
    /// What it gives us, averaged.
    pub gives: Rate,
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

    /// One round: the connections that are unchoked from now on. All others are choked. `slots` is
    /// how many may be served, the optimistic one included; at least one.
    pub fn rechoke(
        &mut self,
        kind: ChokerKind,
        seeding: bool,
        slots: usize,
        peers: &[Candidate],
        rng: &mut Rng,
    ) -> Vec<ConnId> {
        self.round += 1;
        if kind.unchokes_all() {
            return peers.iter().map(|peer| peer.conn).collect();
        }
        let mut ranked: Vec<&Candidate> = peers.iter().collect();
        let turns = turns(peers);
        let turn = |peer: &Candidate| turns.get(&peer.conn).copied().unwrap_or_default();
        if seeding {
            // Who has shown that it takes comes before who may not, for which there are slots on
            // trial; and whoever has a slot keeps it for its quantum, and then comes after those
            // who wait.
            ranked.retain(|peer| !peer.slow);
            ranked.sort_by_key(|peer| {
                let order = (!peer.takes_part, !peer.keeps_slot(), peer.had_its_time);
                (peer.wasted, order, turn(peer))
            });
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
        // Slots that nobody earned go to whoever has the next turn: an idle uplink helps nobody.
        let mut waiting: Vec<&Candidate> =
            peers.iter().filter(|peer| peer.interested && !unchoked.contains(&peer.conn)).collect();
        waiting.sort_by_key(|peer| (peer.had_its_time, turn(peer)));
        let (slow, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|peer| peer.slow);
        let free = regular.saturating_sub(taken);
        unchoked.extend(waiting.iter().take(free).map(|peer| peer.conn));
        let free_for_slow = SLOW_SLOTS + free.saturating_sub(waiting.len());
        unchoked.extend(slow.iter().take(free_for_slow).map(|peer| peer.conn));
        let on_trial = waiting.iter().skip(free).filter(|peer| {
            let (wasted, number, ..) = turn(peer);
            seeding && wasted == 0 && number == 0 && !peer.takes_part
        });
        unchoked.extend(on_trial.take(TRIALS).map(|peer| peer.conn));
        unchoked
    }

    fn renew_optimistic(&mut self, peers: &[Candidate], regular: &[ConnId], rng: &mut Rng) {
        let held = self.optimistic.filter(|conn| {
            !regular.contains(conn)
                && peers
                    .iter()
                    .any(|peer| peer.conn == *conn && peer.interested && peer.uses_slot())
        });
        if held.is_some() && !self.round.is_multiple_of(OPTIMISTIC_ROUNDS) {
            return;
        }
        let eligible: Vec<&Candidate> = peers
            .iter()
            .filter(|peer| peer.interested && !regular.contains(&peer.conn))
            .filter(|peer| peers.len() == 1 || Some(peer.conn) != held || regular.is_empty())
            .collect();
        // Those who are slow have slots of their own.
        let others = eligible.iter().any(|peer| !peer.slow);
        let eligible: Vec<&Candidate> =
            eligible.into_iter().filter(|peer| !(others && peer.slow)).collect();
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
}

impl Candidate {
    /// In seed mode: whether it has a slot, takes what it asked for, and has not had its quantum.
    fn keeps_slot(&self) -> bool {
        let has_its_quantum = self.had_its_time || self.pieces_in_slot >= SEED_QUANTUM_PIECES;
        !self.choked && self.uses_slot() && !has_its_quantum
    }

    /// Whether it takes enough to keep a slot from others.
    fn uses_slot(&self) -> bool {
        self.wasted == 0 && !self.slow
    }
}

/// Whose turn is next, the least first: who let fewer slots pass, then who is the first of its
/// source, then who waits longest. So a source that sends many peers gets no more than one that
/// sends one.
type Turn = (u32, u32, u64, ConnId);

fn turns(peers: &[Candidate]) -> BTreeMap<ConnId, Turn> {
    let mut waiting: Vec<&Candidate> = peers.iter().filter(|peer| peer.interested).collect();
    waiting.sort_by_key(|peer| (!peer.keeps_slot(), peer.wasted, peer.since_round, peer.conn));
    let mut of_source: BTreeMap<IpAddr, u32> = BTreeMap::new();
    let mut turns = BTreeMap::new();
    for peer in waiting {
        let before = peer.source.map(|source| of_source.entry(source).or_default());
        let number = before.map_or(0, |count| {
            *count += 1;
            *count - 1
        });
        turns.insert(peer.conn, (peer.wasted, number, peer.since_round, peer.conn));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u64, gives: u64) -> Candidate {
        Candidate {
            conn: ConnId(id),
            source: None,
            wasted: 0,
            takes_part: false,
            slow: false,
            had_its_time: false,
            interested: true,
            choked: true,
            gives: Rate(gives),
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
    fn who_takes_nothing_of_its_slot_gives_it_up_and_waits_behind_the_others() {
        let mut peers: Vec<_> = (0..12).map(|id| peer(id, 0)).collect();
        for idle in &mut peers[..3] {
            (idle.choked, idle.wasted) = (false, 1);
        }
        peers[3].wasted = 2;
        peers[11].since_round = 9;
        for seeding in [true, false] {
            let mut choker = Choker::default();
            let rng = &mut Rng::new(1);
            let open = ids(choker.rechoke(ChokerKind::TitForTat, seeding, 9, &peers, rng));
            assert!((4..12).all(|id| open.contains(&id)), "{open:?}");
        }
    }

    #[test]
    fn a_source_of_many_peers_gets_no_more_than_one_of_one_peer() {
        let mut peers: Vec<_> = (0..80).map(|id| peer(id, 0)).collect();
        for peer in &mut peers {
            peer.source = Some(IpAddr::from([10, 0, 0, (peer.conn.0 % 5) as u8]));
        }
        let mut late = peer(80, 0);
        (late.source, late.since_round) = (Some(IpAddr::from([10, 0, 1, 1])), 50);
        peers.push(late);
        for seeding in [true, false] {
            let mut choker = Choker::default();
            let rng = &mut Rng::new(1);
            let open = choker.rechoke(ChokerKind::TitForTat, seeding, 7, &peers, rng);
            assert!(open.contains(&ConnId(80)), "it came last, and is the first of its source");
        }
    }

    #[test]
    fn who_takes_slowly_keeps_nobody_out() {
        for (count, seeding) in [(12, true), (12, false), (60, true), (60, false)] {
            let mut peers: Vec<_> = (0..count).map(|id| peer(id, 0)).collect();
            for slow in &mut peers {
                (slow.takes_part, slow.slow, slow.choked) = (true, true, slow.conn.0 >= 16);
            }
            let mut late = peer(100, 0);
            (late.takes_part, late.since_round) = (true, 50);
            peers.push(late);
            let mut choker = Choker::default();
            for _ in 0..20 {
                let rng = &mut Rng::new(1);
                let open = choker.rechoke(ChokerKind::TitForTat, seeding, 8, &peers, rng);
                assert!(open.contains(&ConnId(100)), "{count} {seeding}: {open:?}");
                assert!(open.len() >= 12 && open.len() <= 8 + SLOW_SLOTS, "{open:?}");
            }
        }
    }

    #[test]
    fn a_slot_ends_by_its_time_as_well() {
        let mut peers: Vec<_> = (0..24).map(|id| peer(id, 0)).collect();
        for holder in &mut peers[..8] {
            (holder.takes_part, holder.choked, holder.had_its_time) = (true, false, true);
        }
        for other in &mut peers[8..] {
            (other.takes_part, other.since_round) = (true, other.conn.0);
        }
        for seeding in [true, false] {
            let mut choker = Choker::default();
            let rng = &mut Rng::new(1);
            let open = choker.rechoke(ChokerKind::TitForTat, seeding, 8, &peers, rng);
            assert!((8..15).all(|id| open.contains(&ConnId(id))), "{open:?}");
            assert_eq!(open.len(), 8);
        }
    }

    #[test]
    fn names_read_back() {
        for kind in ChokerKind::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
        }
        assert!("nice".parse::<ChokerKind>().unwrap_err().to_string().contains("cooperative"));
    }
}
