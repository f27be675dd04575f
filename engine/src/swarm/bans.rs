//! Who is banned, and until when ([`BanRules`]). A peer with an address is banned with its source.

use crate::swarm::address::ban_key;
use crate::swarm::config::BanRules;
use dunlin_base::{Endpoint, Time};
use std::collections::BTreeMap;

/// The bans of a session.
#[derive(Clone, Debug)]
pub(crate) struct Bans {
    rules: BanRules,
    until: BTreeMap<Endpoint, Time>,
}

impl Bans {
    /// No bans.
    pub(crate) fn new(rules: BanRules) -> Bans {
        Bans { rules, until: BTreeMap::new() }
    }

    /// Whether nothing is asked of this peer any more.
    pub(crate) fn bars(&self, remote: Endpoint) -> bool {
        !self.until.is_empty() && self.until.contains_key(&ban_key(remote))
    }

    /// Bans a key. Returns when it ends, or `None` if it is banned already. The ban that ends first
    /// ends now if there are too many.
    pub(crate) fn insert(&mut self, now: Time, key: Endpoint) -> Option<Time> {
        if self.until.contains_key(&key) {
            return None;
        }
        let ends = self.rules.lifetime.map_or(Time::NEVER, |lifetime| now + lifetime);
        if self.until.len() >= self.rules.most.max(1) {
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
        let (banned, most) = (self.until.len(), self.rules.most.max(1));
        assert!(banned <= most, "{banned} are banned, of {most}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::Rank;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    const LIFETIME: Duration = Duration::from_secs(3600);

    fn rules() -> BanRules {
        BanRules { lifetime: Some(LIFETIME), most: 1000, ..BanRules::default() }
    }

    fn source(n: u32) -> Endpoint {
        Endpoint::Socket(SocketAddr::from((Ipv4Addr::from(n), 0)))
    }

    #[test]
    fn a_ban_ends_and_can_come_again() {
        let mut bans = Bans::new(rules());
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
    fn so_many_are_banned() {
        let mut bans = Bans::new(rules());
        for n in 0..3000_u32 {
            bans.insert(Time::ZERO + Duration::from_millis(u64::from(n)), source(n));
            bans.check();
        }
        assert!(bans.bars(source(2999)) && !bans.bars(source(1)));
        bans.expire(Time::ZERO + LIFETIME * 2);
        assert!(!bans.bars(source(2999)));
    }

    #[test]
    fn a_ban_may_never_end() {
        let mut bans = Bans::new(BanRules::default());
        assert_eq!(bans.insert(Time::ZERO, Endpoint::Rank(Rank(3))), Some(Time::NEVER));
        bans.expire(Time::ZERO + LIFETIME * 2);
        assert!(bans.bars(Endpoint::Rank(Rank(3))) && bans.next().is_none());
    }
}
