//! What a client keeps of all its torrents together: how fast it dials, and which sources broke the
//! protocol or wait behind others.

use crate::client::config::ClientConfig;
use crate::swarm::address::source_of;
use crate::swarm::slot_memory::{MAX_REMEMBERED, forget_one};
use dunlin_base::{Endpoint, Time, TorrentId};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Breaches of the protocol by one source before it is banned: one may be a bug, more are a habit.
const MAX_BREACHES: u32 = 5;
/// A source of which a connection found no place, or gave one up, waits so long behind others where
/// places are scarce; the same where those are scarce that have not said yet what they came for.
const AWAY: Duration = Duration::from_secs(10);
/// Who comes again within that time, while it waits, waits as long anew. Honest peers pause for
/// longer, and so do a few of them behind one address.
const AT_ONCE: Duration = Duration::from_millis(2500);
/// Breaches that are farther apart are no habit.
const HABIT: Duration = Duration::from_secs(3600);

/// What concerns all torrents of a client.
#[derive(Debug)]
pub(super) struct Internet {
    pub(super) config: ClientConfig,
    /// Where we listen; 0 if nowhere.
    pub(super) port: u16,
    /// Dials let through in the present second, and when it began.
    pub(super) dialled: (Time, u32),
    /// Somebody may be dialled who could not be before.
    pub(super) dials_possible: bool,
    /// The torrent that dialled last: the next one has its turn.
    pub(super) last_dialled: TorrentId,
    /// How many breaches of a source, and when the last one was.
    breaches: BTreeMap<IpAddr, (u32, Time)>,
    /// Sources that found no place, or gave one up.
    went: BTreeMap<IpAddr, Away>,
    /// Sources that never sent what they came for, or came for nothing that is here.
    knocked: BTreeMap<IpAddr, Away>,
}

/// A source that waits behind others.
#[derive(Clone, Copy, Debug)]
struct Away {
    /// Since when.
    since: Time,
    /// When it came last.
    came: Time,
}

impl Away {
    fn begin(all: &mut BTreeMap<IpAddr, Away>, now: Time, remote: Endpoint) {
        let Some(source) = source_of(remote) else { return };
        forget_one(all, source, |away| away.came);
        all.insert(source, Away { since: now, came: now });
    }

    /// Whether it waits; who comes again at once waits anew.
    fn comes(all: &mut BTreeMap<IpAddr, Away>, now: Time, remote: Endpoint) -> bool {
        let away = source_of(remote).and_then(|source| all.get_mut(&source));
        let Some(away) = away.filter(|away| now.since(away.since) < AWAY) else { return false };
        if now.since(away.came) < AT_ONCE {
            away.since = now;
        }
        away.came = now;
        true
    }
}

impl Internet {
    pub(super) fn new(config: ClientConfig) -> Internet {
        Internet {
            port: config.port,
            dialled: (Time::ZERO, 0),
            dials_possible: false,
            last_dialled: TorrentId(0),
            breaches: BTreeMap::new(),
            went: BTreeMap::new(),
            knocked: BTreeMap::new(),
            config,
        }
    }

    /// A peer broke the protocol. Returns whether that makes it a habit.
    pub(super) fn breached(&mut self, now: Time, remote: Endpoint) -> bool {
        let Some(source) = source_of(remote) else { return false };
        forget_one(&mut self.breaches, source, |(_, at)| *at);
        let (count, at) = self.breaches.entry(source).or_insert((0, now));
        *count = if now.since(*at) < HABIT { *count + 1 } else { 1 };
        *at = now;
        let habit = *count >= MAX_BREACHES;
        if habit {
            // It is banned; when that ends it begins anew.
            self.breaches.remove(&source);
        }
        habit
    }

    /// A stranger that came by itself found no place in a torrent, or gave one up.
    pub(super) fn goes(&mut self, now: Time, remote: Endpoint) {
        Away::begin(&mut self.went, now, remote);
    }

    /// Whether its source has just gone, so that others come first where places are scarce.
    pub(super) fn has_just_gone(&mut self, now: Time, remote: Endpoint) -> bool {
        Away::comes(&mut self.went, now, remote)
    }

    /// A stranger went before it said what it came for, or came for nothing that is here.
    pub(super) fn knocks(&mut self, now: Time, remote: Endpoint) {
        Away::begin(&mut self.knocked, now, remote);
    }

    /// Whether its source has just knocked, so that others come first where many do.
    pub(super) fn has_just_knocked(&mut self, now: Time, remote: Endpoint) -> bool {
        Away::comes(&mut self.knocked, now, remote)
    }

    /// # Panics
    /// If more is remembered than may be.
    pub(super) fn check(&self) {
        assert!(self.breaches.len() <= MAX_REMEMBERED);
        assert!(self.went.len() <= MAX_REMEMBERED);
        assert!(self.knocked.len() <= MAX_REMEMBERED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn breaches_become_a_habit_and_memory_is_bounded() {
        let mut net = Internet::new(ClientConfig::default());
        let peer = Endpoint::Socket(at("192.0.2.1:5"));
        let now = Time::ZERO;
        let habits: Vec<bool> = (0..MAX_BREACHES).map(|_| net.breached(now, peer)).collect();
        assert_eq!(habits.iter().filter(|habit| **habit).count(), 1);
        assert_eq!(habits.last(), Some(&true));
        let mut often = |n: u32| net.breached(now + HABIT * n, peer);
        assert!((1..20).map(&mut often).all(|habit| !habit), "once an hour is no habit");
        for n in 0..5000_u32 {
            let at = now + Duration::from_secs(n.into());
            net.breached(at, Endpoint::Socket(SocketAddr::new(IpAddr::V4((!n).into()), 1)));
            net.check();
        }
        assert_eq!(net.breaches.len(), MAX_REMEMBERED);
        assert!(net.breaches.contains_key(&IpAddr::V4((!4999_u32).into())), "the last one");
    }

    #[test]
    fn who_goes_waits_and_only_who_hurries_waits_anew() {
        let peer = Endpoint::Socket(at("192.0.2.1:5"));
        let after = |millis| Time::ZERO + Duration::from_millis(millis);
        // (when it comes again, whether it waits then)
        type Comes = (u64, bool);
        let cases: [&[Comes]; 3] = [
            &[(9_999, true), (10_000, false)],
            // Others behind its address, now and then: nobody is sent further back.
            &[(3_000, true), (6_000, true), (9_000, true), (10_000, false)],
            // At once, again and again.
            &[(1_000, true), (2_000, true), (11_999, true), (12_000, false)],
        ];
        for comes in cases {
            let mut net = Internet::new(ClientConfig::default());
            assert!(
                !net.has_just_gone(Time::ZERO, peer) && !net.has_just_knocked(Time::ZERO, peer)
            );
            net.goes(Time::ZERO, peer);
            for (millis, waits) in comes {
                assert_eq!(net.has_just_gone(after(*millis), peer), *waits, "{comes:?}: {millis}");
                assert!(!net.has_just_knocked(after(*millis), peer), "that is another room");
            }
        }
    }
}
