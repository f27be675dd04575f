//! What a session on the internet keeps besides: how many connections there may be, limits of rate, and
//! who broke the protocol. A session of a cluster has none of it.

use crate::client::NodeConfig;
use crate::io::Limits;
use crate::swarm::rate_limit::Bucket;
use dunlin_base::{Endpoint, Time, TorrentId};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Breaches of the protocol by one source before it is banned: one may be a bug, more are a habit.
const MAX_BREACHES: u32 = 5;
/// Sources whose breaches, whose slots that they let pass, whose slowness and whose going are remembered;
/// with more, the one that did nothing of it for longest is forgotten.
const MAX_REMEMBERED: usize = 1000;
/// A source of which a connection found no place, or gave one up, waits so long behind others where
/// places are scarce; the same where those are scarce that have not said yet what they came for.
const AWAY: Duration = Duration::from_secs(10);
/// Who comes again within that time, while it waits, waits as long anew. Honest peers pause for longer, and
/// so do a few of them behind one address.
const AT_ONCE: Duration = Duration::from_millis(2500);
/// What peers of a source made of their slots counts for so long for others of it: they may be people
/// behind one address.
const MEMORY: Duration = Duration::from_secs(600);
/// Breaches that are farther apart are no habit.
const HABIT: Duration = Duration::from_secs(3600);

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
    /// How many breaches of a source, and when the last one was.
    breaches: BTreeMap<IpAddr, (u32, Time)>,
    /// How many slots in a row peers of a source have let pass, and when the last one was.
    let_pass: BTreeMap<IpAddr, (u32, Time)>,
    /// Sources of peers that took far less than they could have, and when one last did.
    slow: BTreeMap<IpAddr, Time>,
    /// Sources that found no place, or gave one up.
    went: BTreeMap<IpAddr, Away>,
    /// Sources that never said what they came for, or came for nothing that is here.
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

/// Makes room for one more source: the one that did the least lately is forgotten.
fn forget_one<T>(all: &mut BTreeMap<IpAddr, T>, source: IpAddr, at: impl Fn(&T) -> Time) {
    if all.len() >= MAX_REMEMBERED && !all.contains_key(&source) {
        let oldest = all.iter().min_by_key(|(source, one)| (at(one), **source));
        if let Some(oldest) = oldest.map(|(source, _)| *source) {
            all.remove(&oldest);
        }
    }
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
            let_pass: BTreeMap::new(),
            slow: BTreeMap::new(),
            went: BTreeMap::new(),
            knocked: BTreeMap::new(),
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
    pub(crate) fn breached(&mut self, now: Time, remote: Endpoint) -> bool {
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

    /// A peer has let so many slots in a row pass without taking anything.
    pub(crate) fn lets_pass(&mut self, now: Time, remote: Endpoint, slots: u32) {
        let Some(source) = source_of(remote) else { return };
        forget_one(&mut self.let_pass, source, |(_, at)| *at);
        let (count, at) = self.let_pass.entry(source).or_insert((0, now));
        (*count, *at) = ((*count).max(slots), now);
    }

    /// A peer takes something.
    pub(crate) fn takes(&mut self, remote: Endpoint) {
        if !self.let_pass.is_empty()
            && let Some(source) = source_of(remote)
        {
            self.let_pass.remove(&source);
        }
    }

    /// How many slots in a row its source has let pass.
    pub(crate) fn let_pass(&self, now: Time, remote: Endpoint) -> u32 {
        let found = source_of(remote).and_then(|source| self.let_pass.get(&source));
        found.filter(|(_, at)| now.since(*at) < MEMORY).map_or(0, |(slots, _)| *slots)
    }

    /// A peer took far less in its slot than it could have, or did not.
    pub(crate) fn is_slow(&mut self, now: Time, remote: Endpoint, slow: bool) {
        let Some(source) = source_of(remote) else { return };
        if !slow {
            self.slow.remove(&source);
            return;
        }
        forget_one(&mut self.slow, source, |at| *at);
        self.slow.insert(source, now);
    }

    /// Whether a peer of its source was slow when one was last looked at.
    pub(crate) fn was_slow(&self, now: Time, remote: Endpoint) -> bool {
        !self.slow.is_empty()
            && source_of(remote)
                .and_then(|source| self.slow.get(&source))
                .is_some_and(|at| now.since(*at) < MEMORY)
    }

    /// A stranger that came by itself found no place in a torrent, or gave one up.
    pub(crate) fn goes(&mut self, now: Time, remote: Endpoint) {
        Away::begin(&mut self.went, now, remote);
    }

    /// Whether its source has just gone, so that others come first where places are scarce.
    pub(crate) fn has_just_gone(&mut self, now: Time, remote: Endpoint) -> bool {
        Away::comes(&mut self.went, now, remote)
    }

    /// A stranger went before it said what it came for, or came for nothing that is here.
    pub(crate) fn knocks(&mut self, now: Time, remote: Endpoint) {
        Away::begin(&mut self.knocked, now, remote);
    }

    /// Whether its source has just knocked, so that others come first where many do.
    pub(crate) fn has_just_knocked(&mut self, now: Time, remote: Endpoint) -> bool {
        Away::comes(&mut self.knocked, now, remote)
    }

    /// # Panics
    /// If more is remembered than may be.
    pub(crate) fn check(&self) {
        assert!(self.breaches.len() <= MAX_REMEMBERED);
        assert!(self.let_pass.len() <= MAX_REMEMBERED);
        assert!(self.slow.len() <= MAX_REMEMBERED);
        assert!(self.went.len() <= MAX_REMEMBERED);
        assert!(self.knocked.len() <= MAX_REMEMBERED);
    }
}

/// The address of a peer of the internet, without its port and in one form.
pub(crate) fn ip_of(remote: Endpoint) -> Option<IpAddr> {
    match remote {
        Endpoint::Socket(address) => Some(address.ip().to_canonical()),
        Endpoint::Rank(_) => None,
    }
}

/// Who counts as one where places are shared and bans are made ([`dunlin_base::source_of`]).
pub(crate) fn source_of(remote: Endpoint) -> Option<IpAddr> {
    ip_of(remote).map(dunlin_base::source_of)
}

/// Whom a ban of `remote` shuts out: the whole source on the internet, where ports are cheap.
pub(crate) fn ban_key(remote: Endpoint) -> Endpoint {
    source_of(remote).map_or(remote, |source| Endpoint::Socket(SocketAddr::new(source, 0)))
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
        let of = |text| ban_key(Endpoint::Socket(at(text)));
        assert_eq!(of("[2001:db8:0:7::1]:5"), of("[2001:db8:0:7:8:9:a:b]:6"), "one /64");
        assert_ne!(of("[2001:db8:0:7::1]:5"), of("[2001:db8:0:8::1]:5"));
        assert_ne!(of("192.0.2.1:5"), of("192.0.2.2:5"));
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
            let mut net = Internet::new(NodeConfig::default());
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

    #[test]
    fn what_a_peer_made_of_its_slot_is_forgotten() {
        let (peer, other) = (at("192.0.2.1:5"), at("192.0.2.1:9"));
        let (peer, other) = (Endpoint::Socket(peer), Endpoint::Socket(other));
        let mut net = Internet::new(NodeConfig::default());
        net.lets_pass(Time::ZERO, peer, 3);
        net.is_slow(Time::ZERO, peer, true);
        let (before, then) = (Time::ZERO + MEMORY / 2, Time::ZERO + MEMORY);
        assert_eq!((net.let_pass(before, other), net.was_slow(before, other)), (3, true));
        assert_eq!((net.let_pass(then, other), net.was_slow(then, other)), (0, false));
    }
}
