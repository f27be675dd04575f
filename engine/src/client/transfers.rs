//! How much each peer gave and took, for reports. Bounded, however many connect.

use crate::client::internet_peer::InternetPeer;
use crate::client::io::PeerTotal;
use crate::swarm::address::ip_of;
use crate::swarm::peer::Peer;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Peers of one torrent that its report lists one by one. When there are more, those that moved
/// least count together as nobody in particular.
const MAX_PEERS: usize = 200;

/// What peers gave and took, by address and program: both stay the same when a peer comes again.
#[derive(Clone, Debug, Default)]
pub(super) struct Transfers {
    peers: BTreeMap<(IpAddr, String), Moved>,
    others: Moved,
}

#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    received: u64,
    sent: u64,
}

impl Moved {
    fn add(&mut self, other: Moved) {
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
    }

    fn total(self) -> u64 {
        self.received.saturating_add(self.sent)
    }
}

impl Transfers {
    /// A connection is over. One that moved no payload leaves no trace.
    pub(super) fn add(&mut self, peer: &Peer, known: &InternetPeer) {
        let moved = Moved { received: peer.received, sent: peer.sent };
        let Some(ip) = ip_of(peer.remote).filter(|_| moved.total() > 0) else { return };
        let program = known.client.clone().unwrap_or_else(|| {
            let id = known.peer_id.unwrap_or_default();
            let letters = id.0.iter().take(8).take_while(|byte| byte.is_ascii_graphic());
            letters.map(|byte| char::from(*byte)).collect()
        });
        self.count(ip, program, moved);
    }

    fn count(&mut self, ip: IpAddr, program: String, moved: Moved) {
        self.peers.entry((ip, program)).or_default().add(moved);
        if self.peers.len() > MAX_PEERS
            && let Some(least) = self.peers.iter().min_by_key(|(_, moved)| moved.total())
        {
            let key = least.0.clone();
            self.others.add(self.peers.remove(&key).unwrap_or_default());
        }
    }

    /// All of it; what counts together has no address.
    pub(super) fn totals(&self) -> Vec<PeerTotal> {
        let of = |address: Option<IpAddr>, program: &str, moved: &Moved| PeerTotal {
            address,
            program: program.to_owned(),
            received: moved.received,
            sent: moved.sent,
        };
        let peers = self.peers.iter().map(|((ip, program), moved)| of(Some(*ip), program, moved));
        let others = Some(&self.others).filter(|others| others.total() > 0);
        peers.chain(others.map(|others| of(None, "", others))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn it_adds_up_and_has_an_end() {
        let mut transfers = Transfers::default();
        let moved = |received, sent| Moved { received, sent };
        let ip = |number: u32| IpAddr::from(Ipv4Addr::from(number));
        for _ in 0..2 {
            transfers.count(ip(1), "a".into(), moved(1000, 2000));
            transfers.count(ip(1), "b".into(), moved(3000, 0));
        }
        for number in 2..1000 {
            transfers.count(ip(number), "c".into(), moved(1, 2));
        }
        let totals = transfers.totals();
        assert_eq!(totals.len(), MAX_PEERS + 1);
        let expected =
            PeerTotal { address: Some(ip(1)), program: "a".into(), received: 2000, sent: 4000 };
        assert_eq!(totals[0], expected);
        let sum = |of: fn(&PeerTotal) -> u64| totals.iter().map(of).sum::<u64>();
        assert_eq!(sum(|one| one.received), 8000 + 998);
        assert_eq!(sum(|one| one.sent), 4000 + 2 * 998);
        assert_eq!(totals.last().map(|one| one.address), Some(None));
    }
}
