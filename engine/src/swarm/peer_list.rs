//! Peers that are known for a torrent, connected or not: what the tracker reports of them, what
//! they refused, and when they may be dialled again.

use crate::swarm::sources::SourceView;
use dunlin_base::{Bitfield, ConnId, Endpoint, PieceIndex, Rate, Time};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a peer.
#[derive(Clone, Debug, Default)]
pub struct KnownPeer {
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
    /// What the tracker reports that it has (map `pieces`).
    pub owned: Option<Bitfield>,
}

impl KnownPeer {
    /// The peer as the choice of a source sees it, in a swarm of `members`. Everybody receives the
    /// same loads and turns to the same source: so what we asked of it since counts for all of
    /// them.
    #[must_use]
    pub fn source(&self, members: u64, in_flight: u64, rate: Rate) -> SourceView {
        SourceView {
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
    peers: BTreeMap<Endpoint, KnownPeer>,
    members: u64,
}

impl PeerList {
    /// Takes the tracker's answer: the order and the loads are news, and what was refused may be
    /// asked for again. Peers the tracker no longer names stay while they are connected. `changed`
    /// receives what the tracker reported of a peer before and reports now (map `pieces`);
    /// `under_way` returns how many pieces are asked of a peer right now.
    pub fn refresh(
        &mut self,
        own: Endpoint,
        members: &[(Endpoint, u64)],
        owners: Option<&[(Endpoint, Bitfield)]>,
        under_way: impl Fn(Endpoint) -> u64,
        mut changed: impl FnMut(Option<&Bitfield>, Option<&Bitfield>),
    ) {
        let named: BTreeSet<Endpoint> = members.iter().map(|(remote, _)| *remote).collect();
        self.peers.retain(|remote, known| {
            known.place = u32::MAX;
            let stays = named.contains(remote) || known.conn.is_some() || known.dialling;
            if !stays {
                changed(known.owned.as_ref(), None);
            }
            stays
        });
        self.members = members.len() as u64;
        for (place, (remote, load)) in (0u32..).zip(members.iter().copied()) {
            if remote == own {
                continue;
            }
            let known = self.peers.entry(remote).or_default();
            known.place = place;
            if known.load != load {
                // A new report; what is under way to that peer is not yet in it.
                known.load = load;
                known.asked = under_way(remote);
            }
            known.unreachable = false;
            known.rejected.clear();
        }
        for (remote, pieces) in owners.unwrap_or_default() {
            if let Some(known) = self.peers.get_mut(remote) {
                changed(known.owned.as_ref(), Some(pieces));
                known.owned = Some(pieces.clone());
            }
        }
    }

    /// What is known of a peer.
    #[must_use]
    pub fn get(&self, remote: Endpoint) -> Option<&KnownPeer> {
        self.peers.get(&remote)
    }

    /// What is known of a peer, to change it.
    pub fn get_mut(&mut self, remote: Endpoint) -> Option<&mut KnownPeer> {
        self.peers.get_mut(&remote)
    }

    /// A peer that came by itself.
    pub fn entry(&mut self, remote: Endpoint) -> &mut KnownPeer {
        self.peers
            .entry(remote)
            .or_insert_with(|| KnownPeer { place: u32::MAX, ..KnownPeer::default() })
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
    pub fn remove(&mut self, remote: Endpoint) -> Option<KnownPeer> {
        self.peers.remove(&remote)
    }

    /// All known peers, by address.
    pub fn iter(&self) -> impl Iterator<Item = (Endpoint, &KnownPeer)> {
        self.peers.iter().map(|(remote, known)| (*remote, known))
    }

    /// All known peers, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Endpoint, &mut KnownPeer)> {
        self.peers.iter_mut().map(|(remote, known)| (*remote, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::Rank;

    fn members(ranks: &[u32]) -> Vec<(Endpoint, u64)> {
        ranks.iter().map(|rank| (at(*rank), u64::from(*rank) * 10)).collect()
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
        let news = [(at(2), 26)];
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
}
