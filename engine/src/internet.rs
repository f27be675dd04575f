//! What a session on the internet keeps besides: how many connections there may be, limits of rate, and
//! who broke the protocol. A session of a cluster has none of it.

use crate::io::Limits;
use crate::node::NodeConfig;
use crate::rate_limit::Bucket;
use dunlin_base::{Endpoint, Time, TorrentId};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Breaches of the protocol by one address before it is banned: one may be a bug, more are a habit.
const MAX_BREACHES: u32 = 5;
/// Addresses whose breaches are remembered.
const MAX_REMEMBERED: usize = 1000;

/// The session's part of the internet.
#[derive(Debug)]
pub(crate) struct Internet {
    pub(crate) config: NodeConfig,
    /// What all torrents together may take and give.
    pub(crate) down: Bucket,
    pub(crate) up: Bucket,
    /// Where we listen; 0 if nowhere.
    pub(crate) port: u16,
    /// Dials under way.
    pub(crate) dialling: usize,
    /// Connections that stand.
    pub(crate) connected: usize,
    /// Dials let through in the present second, and when it began.
    pub(crate) dialled: (Time, u32),
    /// Somebody may be dialled who could not be before.
    pub(crate) look: bool,
    /// The torrent that dialled last: the next one has its turn.
    pub(crate) last_dialled: TorrentId,
    breaches: BTreeMap<IpAddr, u32>,
}

impl Internet {
    pub(crate) fn new(config: NodeConfig) -> Internet {
        Internet {
            down: Bucket::new(config.limits.down),
            up: Bucket::new(config.limits.up),
            port: config.port,
            dialling: 0,
            connected: 0,
            dialled: (Time::ZERO, 0),
            look: false,
            last_dialled: TorrentId(0),
            breaches: BTreeMap::new(),
            config,
        }
    }

    pub(crate) fn limit(&mut self, now: Time, limits: Limits) {
        self.down.set(now, limits.down);
        self.up.set(now, limits.up);
    }

    /// Connections and dials that may be added.
    pub(crate) fn free(&self) -> usize {
        self.config.connections.saturating_sub(self.connected + self.dialling)
    }

    /// A peer broke the protocol. Returns whether that makes it a habit.
    pub(crate) fn breached(&mut self, remote: Endpoint) -> bool {
        let Some(ip) = ip_of(remote) else { return false };
        if self.breaches.len() >= MAX_REMEMBERED && !self.breaches.contains_key(&ip) {
            self.breaches.pop_first();
        }
        let count = self.breaches.entry(ip).or_default();
        *count += 1;
        *count >= MAX_BREACHES
    }
}

/// The address of a peer of the internet, without its port and in one form.
pub(crate) fn ip_of(remote: Endpoint) -> Option<IpAddr> {
    match remote {
        Endpoint::Socket(address) => Some(address.ip().to_canonical()),
        Endpoint::Rank(_) => None,
    }
}

/// Whom a ban of `remote` shuts out: the whole address on the internet, where ports are cheap.
pub(crate) fn ban_key(remote: Endpoint) -> Endpoint {
    ip_of(remote).map_or(remote, |ip| Endpoint::Socket(SocketAddr::new(ip, 0)))
}

/// An address in one form: IPv4 in the clothes of IPv6 is IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether a peer can be reached there at all.
pub(crate) fn is_dialable(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::Rank;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_ban_is_of_the_whole_address() {
        let (a, b) = (at("192.0.2.1:5"), at("[::ffff:192.0.2.1]:9"));
        assert_eq!(ban_key(Endpoint::Socket(a)), ban_key(Endpoint::Socket(b)));
        assert_eq!(ban_key(Endpoint::Rank(Rank(3))), Endpoint::Rank(Rank(3)));
        assert_eq!(canonical(b), at("192.0.2.1:9"));
    }

    #[test]
    fn where_nobody_can_be_is_not_dialled() {
        let bad = ["192.0.2.1:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "255.255.255.255:1"];
        assert!(bad.iter().all(|address| !is_dialable(at(address))));
        assert!(is_dialable(at("127.0.0.1:1")) && is_dialable(at("[2001:db8::1]:6881")));
    }

    #[test]
    fn breaches_become_a_habit_and_memory_is_bounded() {
        let mut net = Internet::new(NodeConfig::default());
        let peer = Endpoint::Socket(at("192.0.2.1:5"));
        let habits: Vec<bool> = (0..MAX_BREACHES).map(|_| net.breached(peer)).collect();
        assert_eq!(habits.iter().filter(|habit| **habit).count(), 1);
        assert_eq!(habits.last(), Some(&true));
        for n in 0..5000_u32 {
            net.breached(Endpoint::Socket(SocketAddr::new(IpAddr::V4(n.into()), 1)));
        }
        assert_eq!(net.breaches.len(), MAX_REMEMBERED);
    }
}
