//! Who is banned, and until when. A peer of the internet is banned by its source, for a while, and
//! so many are remembered; a rank of a cluster that lied is banned for the rest of the run.

use crate::swarm::address::ban_key;
use dunlin_base::{Endpoint, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// A source of the internet is banned for so long: addresses get other owners, and who is found
/// lying again is banned again.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Sources of the internet that are banned at a time; with more, whoever is free first is free now.
pub(crate) const MAX_BANS: usize = 1000;

/// The bans of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bans {
    until: BTreeMap<Endpoint, Time>,
}

impl Bans {
    /// Whether nothing is asked of this peer any more.
    pub(crate) fn bars(&self, remote: Endpoint) -> bool {
        !self.until.is_empty() && self.until.contains_key(&ban_key(remote))
    }

    /// Bans a key. Returns when it ends, or `None` if it is banned already.
    pub(crate) fn insert(&mut self, now: Time, key: Endpoint) -> Option<Time> {
        if self.until.contains_key(&key) {
            return None;
        }
        let ends = match key {
            Endpoint::Rank(_) => Time::NEVER,
            Endpoint::Socket(_) => now + LIFETIME,
        };
        if self.until.len() >= MAX_BANS && ends != Time::NEVER {
            let first = self.until.iter().min_by_key(|(key, ends)| (**ends, **key));
            if let Some(first) = first.map(|(key, _)| *key) {
                self.until.remove(&first);
            }
        }
        self.until.insert(key, ends);
        Some(ends)
    }

    /// When the first ban ends, if any ever does.
    pub(crate) fn next(&self) -> Option<Time> {
        self.until.values().copied().min().filter(|ends| *ends != Time::NEVER)
    }

    /// Ends the bans whose time has come.
    pub(crate) fn expire(&mut self, now: Time) {
        self.until.retain(|_, ends| *ends > now);
    }

    /// # Panics
    /// If more are banned than may be.
    pub(crate) fn check(&self) {
        let sources = self.until.values().filter(|ends| **ends != Time::NEVER).count();
        assert!(sources <= MAX_BANS, "{sources} sources are banned");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::Rank;
    use std::net::{Ipv4Addr, SocketAddr};

    fn source(n: u32) -> Endpoint {
        Endpoint::Socket(SocketAddr::from((Ipv4Addr::from(n), 0)))
    }

    #[test]
    fn a_ban_ends_and_can_come_again() {
        let mut bans = Bans::default();
        let ends = bans.insert(Time::ZERO, source(1)).unwrap();
        assert_eq!(ends, Time::ZERO + LIFETIME);
        assert_eq!(bans.insert(Time::ZERO, source(1)), None, "it is banned");
        bans.expire(Time::ZERO + (LIFETIME - Duration::from_secs(1)));
        assert!(bans.bars(source(1)) && bans.next() == Some(ends));
        bans.expire(ends);
        assert!(bans.until.is_empty() && bans.next().is_none());
        assert!(bans.insert(ends, source(1)).is_some());
    }

    #[test]
    fn so_many_are_banned_and_ranks_for_ever() {
        let mut bans = Bans::default();
        bans.insert(Time::ZERO, Endpoint::Rank(Rank(3)));
        for n in 0..3000_u32 {
            bans.insert(Time::ZERO + Duration::from_millis(u64::from(n)), source(n));
            bans.check();
        }
        assert!(bans.bars(source(2999)) && !bans.bars(source(1)));
        bans.expire(Time::ZERO + LIFETIME * 2);
        assert!(bans.bars(Endpoint::Rank(Rank(3))) && !bans.bars(source(2999)));
    }
}
