//! Peers that are known for a torrent, connected or not: what the tracker says of them, what they
//! refused, and when they may be dialled again.

use crate::swarm::sources::Source;
use dunlin_base::{Bitfield, ConnId, Endpoint, PieceIndex, Rank, Rate, Time};
use dunlin_control::Member;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Time before a peer that could not be reached, or hung up, is dialled again.
pub const REDIAL: Duration = Duration::from_secs(2);
/// Peers of the internet that are remembered for one torrent (practice of the field).
pub const MAX_KNOWN: usize = 3000;
/// Addresses that are remembered though only peers of one source said that they listen there: as many as
/// may be connected of it.
const MAX_SAID_PER_SOURCE: usize = 8;
/// Connections of one torrent in a cluster up to which members are dialled: enough to find any piece, few
/// enough that a HAVE to all of them stays cheap (practice of the field: 50 to 100).
pub const MAX_CONNECTIONS: usize = 80;

/// Who said that there is a peer (internet): the greater, the more it is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whence {
    /// A peer of this source said that it listens there.
    Said(Option<IpAddr>),
    /// A tracker; or the peer is connected under this address.
    #[default]
    Tracker,
    /// Whoever runs the program.
    People,
}

impl Whence {
    /// Whether nobody but the peer itself says so.
    #[must_use]
    pub fn is_said(self) -> bool {
        matches!(self, Whence::Said(_))
    }
}

/// What is known of a peer.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its place in the tracker's order; `u32::MAX` if the tracker did not name it.
    pub place: u32,
    /// Its load as last reported.
    pub load: u64,
    /// Pieces asked of it since that report.
    pub asked: u64,
    /// When we last chose it (a counter).
    pub last_chosen: u64,
    /// Pieces it refused since the last refresh.
    pub rejected: BTreeSet<PieceIndex>,
    /// It could not be reached since the last refresh.
    pub unreachable: bool,
    /// Our connection to it.
    pub conn: Option<ConnId>,
    /// A dial is under way.
    pub dialling: bool,
    /// Not to be dialled before.
    pub redial_at: Time,
    /// What the tracker says it has (map `pieces`).
    pub owned: Option<Bitfield>,
    /// Dials in a row that came to nothing (internet).
    pub failures: u32,
    /// It has everything, when we last heard of it (internet).
    pub seed: bool,
    /// It is ourselves (internet).
    pub ourselves: bool,
    /// The same peer is connected under another address (internet).
    pub twin: Option<ConnId>,
    /// Who said that it is there (internet).
    pub whence: Whence,
}

impl Known {
    /// The peer as the choice of a source sees it, in a swarm of `members`. Everybody is told the same
    /// loads and turns to the same source: so what we asked of it since counts for all of them.
    #[must_use]
    pub fn source(&self, members: u64, in_flight: u64, rate: Rate) -> Source {
        Source {
            place: self.place,
            load: self.load,
            asked: self.asked.saturating_mul(members.max(1)),
            in_flight,
            rate,
            last_chosen: self.last_chosen,
        }
    }
}

/// All known peers of one torrent.
#[derive(Clone, Debug, Default)]
pub struct PeerList {
    peers: BTreeMap<Endpoint, Known>,
    members: u64,
}

impl PeerList {
    /// Takes the tracker's answer: the order and the loads are news, and what was refused may be asked
    /// for again. Peers the tracker no longer names stay while they are connected. `changed` is told
    /// what the tracker said of a peer before and says now (map `pieces`); `under_way` says how many
    /// pieces are asked of a peer right now.
    pub fn refresh(
        &mut self,
        own: Endpoint,
        members: &[Member],
        owners: Option<&[(Rank, Bitfield)]>,
        under_way: impl Fn(Endpoint) -> u64,
        mut changed: impl FnMut(Option<&Bitfield>, Option<&Bitfield>),
    ) {
        let named: BTreeSet<Endpoint> =
            members.iter().map(|member| Endpoint::Rank(member.rank)).collect();
        self.peers.retain(|remote, known| {
            known.place = u32::MAX;
            let stays = named.contains(remote) || known.conn.is_some() || known.dialling;
            if !stays {
                changed(known.owned.as_ref(), None);
            }
            stays
        });
        self.members = members.len() as u64;
        for (place, member) in (0u32..).zip(members) {
            let remote = Endpoint::Rank(member.rank);
            if remote == own {
                continue;
            }
            let known = self.peers.entry(remote).or_default();
            known.place = place;
            if known.load != member.load {
                // A new report; what is under way to that peer is not yet in it.
                known.load = member.load;
                known.asked = under_way(remote);
            }
            known.unreachable = false;
            known.rejected.clear();
        }
        for (rank, pieces) in owners.unwrap_or_default() {
            if let Some(known) = self.peers.get_mut(&Endpoint::Rank(*rank)) {
                changed(known.owned.as_ref(), Some(pieces));
                known.owned = Some(pieces.clone());
            }
        }
    }

    /// What is known of a peer.
    #[must_use]
    pub fn get(&self, remote: Endpoint) -> Option<&Known> {
        self.peers.get(&remote)
    }

    /// What is known of a peer, to change it.
    pub fn get_mut(&mut self, remote: Endpoint) -> Option<&mut Known> {
        self.peers.get_mut(&remote)
    }

    /// A peer that came by itself.
    pub fn entry(&mut self, remote: Endpoint) -> &mut Known {
        self.peers.entry(remote).or_insert_with(|| Known { place: u32::MAX, ..Known::default() })
    }

    /// Somebody said that there is a peer (internet). `place` orders those that were tried equally
    /// often. Returns whether it is news. A full list takes whom a tracker or a person names, and gives up
    /// whom only peers did; of a source that says much, the last word counts.
    pub fn add(&mut self, remote: Endpoint, place: u32, whence: Whence) -> bool {
        if let Some(known) = self.peers.get_mut(&remote) {
            known.whence = known.whence.max(whence);
            return false;
        }
        if whence.is_said()
            && self.peers.values().filter(|known| known.whence == whence).count()
                >= MAX_SAID_PER_SOURCE
            && !self.give_up(|known| known.whence == whence)
        {
            return false;
        }
        if self.peers.len() >= MAX_KNOWN {
            let may = |known: &Known| {
                known.whence.is_said()
                    || known.whence <= whence
                    || known.failures > 0 && known.whence != Whence::People
            };
            if !self.give_up(may) {
                return false;
            }
        }
        self.peers.insert(remote, Known { place, whence, ..Known::default() });
        true
    }

    /// Forgets the peer that is worth least among those that `may` go; false if there is none. Who is
    /// connected, being dialled, or ourselves stays.
    fn give_up(&mut self, may: impl Fn(&Known) -> bool) -> bool {
        let idle = |known: &Known| known.conn.is_none() && !known.dialling && !known.ourselves;
        let worth = |(remote, known): &(&Endpoint, &Known)| {
            let said = known.whence.is_said();
            (
                !said,
                known.whence == Whence::People,
                Reverse(known.failures),
                Reverse(known.place),
                **remote,
            )
        };
        let worst =
            self.peers.iter().filter(|(_, known)| idle(known) && may(known)).min_by_key(worth);
        let Some(worst) = worst.map(|(remote, _)| *remote) else { return false };
        self.peers.remove(&worst).is_some()
    }

    /// The peer at `conn` no longer says that it listens there: if nobody else did, nobody does.
    pub fn take_back(&mut self, remote: Endpoint, conn: ConnId) {
        let Some(known) = self.peers.get_mut(&remote) else { return };
        if known.twin == Some(conn) {
            known.twin = None;
            if known.whence.is_said() && known.conn.is_none() && !known.dialling {
                self.peers.remove(&remote);
            }
        }
    }

    /// # Panics
    /// If more is remembered than may be.
    pub(crate) fn check(&self) {
        let mut said: BTreeMap<Whence, usize> = BTreeMap::new();
        let mut idle = 0;
        for known in self.peers.values() {
            idle += usize::from(known.conn.is_none());
            if known.whence.is_said() {
                *said.entry(known.whence).or_default() += 1;
            }
        }
        let ranks = self.peers.keys().filter(|remote| remote.rank().is_some()).count();
        assert!(idle <= MAX_KNOWN + ranks, "{idle} peers are remembered");
        assert!(said.values().all(|count| *count <= MAX_SAID_PER_SOURCE), "{said:?}");
    }

    /// How many peers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// How many peers the tracker named.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.members
    }

    /// Forgets a peer.
    pub fn remove(&mut self, remote: Endpoint) -> Option<Known> {
        self.peers.remove(&remote)
    }

    /// All known peers, by address.
    pub fn iter(&self) -> impl Iterator<Item = (Endpoint, &Known)> {
        self.peers.iter().map(|(remote, known)| (*remote, known))
    }

    /// All known peers, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Endpoint, &mut Known)> {
        self.peers.iter_mut().map(|(remote, known)| (*remote, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(ranks: &[u32]) -> Vec<Member> {
        ranks.iter().map(|rank| Member { rank: Rank(*rank), load: u64::from(*rank) * 10 }).collect()
    }

    fn at(rank: u32) -> Endpoint {
        Endpoint::Rank(Rank(rank))
    }

    #[test]
    fn a_refresh_forgets_refusals_and_never_lists_ourselves() {
        let mut list = PeerList::default();
        list.refresh(at(9), &members(&[2, 1, 9]), None, |_| 0, |_, _| {});
        assert_eq!(list.iter().map(|(remote, _)| remote).collect::<Vec<_>>(), [at(1), at(2)]);
        assert_eq!((list.get(at(2)).unwrap().place, list.get(at(1)).unwrap().place), (0, 1));
        let known = list.get_mut(at(2)).unwrap();
        known.rejected.insert(PieceIndex(3));
        known.asked = 5;
        list.refresh(at(9), &members(&[1, 2, 9]), None, |_| 2, |_, _| {});
        let known = list.get(at(2)).unwrap();
        assert!(known.rejected.is_empty());
        assert_eq!((known.place, known.load, known.asked), (1, 20, 5), "no new report");
        let news = [Member { rank: Rank(2), load: 26 }];
        list.refresh(at(9), &news, None, |_| 2, |_, _| {});
        let known = list.get(at(2)).unwrap();
        assert_eq!((known.load, known.asked), (26, 2), "what is under way is not in the report");
    }

    #[test]
    fn who_is_no_longer_named_stays_only_while_connected() {
        let mut list = PeerList::default();
        list.refresh(at(9), &members(&[1, 2, 9]), None, |_| 0, |_, _| {});
        list.get_mut(at(1)).unwrap().conn = Some(dunlin_base::ConnId(4));
        list.refresh(at(9), &members(&[9]), None, |_| 0, |_, _| {});
        assert_eq!(list.iter().map(|(remote, _)| remote).collect::<Vec<_>>(), [at(1)]);
        assert_eq!(list.get(at(1)).unwrap().place, u32::MAX);
    }

    fn socket(a: u8, b: u8, port: u16) -> Endpoint {
        Endpoint::Socket(std::net::SocketAddr::from(([10, 0, a, b], port)))
    }

    #[test]
    fn a_stranger_fills_no_list_and_those_that_are_named_always_get_in() {
        let mut list = PeerList::default();
        let source = |n: u8| Whence::Said(Some(IpAddr::from([10, 0, 0, n])));
        for port in 1..4000 {
            list.add(socket(0, 1, port), 7, source(1));
            list.check();
        }
        assert_eq!(list.len(), MAX_SAID_PER_SOURCE, "one source has so many words");
        assert!(list.get(socket(0, 1, 3999)).is_some(), "the last ones");
        // Strangers of many sources fill it, and nobody else is kept out by them.
        for n in 0..4000_u32 {
            let whence = Whence::Said(Some(IpAddr::from(n.to_be_bytes())));
            list.add(socket(1 + (n >> 8) as u8, n as u8, 9), n, whence);
        }
        assert_eq!(list.len(), MAX_KNOWN);
        assert!(list.add(socket(0, 2, 5), 1, Whence::People));
        for n in 0..4000_u32 {
            assert!(list.add(socket(100 + (n >> 8) as u8, n as u8, 9), n, Whence::Tracker));
            list.check();
        }
        assert_eq!(list.len(), MAX_KNOWN);
        assert!(list.get(socket(0, 2, 5)).is_some(), "whom people name stays");
        assert!(!list.add(socket(0, 3, 5), 1, source(3)), "a stranger takes no place of theirs");
        list.get_mut(socket(110, 5, 9)).unwrap().failures = 1;
        assert!(list.add(socket(0, 3, 5), 1, source(3)), "but of one that failed");
        assert!(list.get(socket(110, 5, 9)).is_none());
    }

    #[test]
    fn a_word_is_taken_back_and_a_better_one_stays() {
        let mut list = PeerList::default();
        let (said, conn) = (Whence::Said(None), dunlin_base::ConnId(3));
        for port in [1, 2] {
            list.add(socket(0, 1, port), 1, said);
            list.get_mut(socket(0, 1, port)).unwrap().twin = Some(conn);
        }
        assert!(!list.add(socket(0, 1, 2), 1, Whence::Tracker), "it is known");
        list.take_back(socket(0, 1, 1), conn);
        list.take_back(socket(0, 1, 2), conn);
        assert!(list.get(socket(0, 1, 1)).is_none());
        let known = list.get(socket(0, 1, 2)).unwrap();
        assert_eq!((known.whence, known.twin), (Whence::Tracker, None));
        assert!(!list.add(socket(0, 1, 2), 1, said) && list.get(socket(0, 1, 2)).is_some());
    }
}
