//! Peers that may be dialled, of one torrent: who named them, what their dials came to, and who is
//! next.

use crate::swarm::address::{canonical, is_dialable};
use crate::swarm::context::SessionContext;
use crate::swarm::peer_list::{KnownPeer, PeerList};
use crate::swarm::torrent::Torrent;
use crate::wake::Reason;
use dunlin_base::{ConnId, Endpoint, Time};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Peers that are remembered for one torrent (practice of the field).
pub(super) const MAX_KNOWN: usize = 3000;
/// Addresses that are remembered though only peers of one source announced that they listen there:
/// as many as may be connected of it.
const MAX_SAID_PER_SOURCE: usize = 8;
/// Time before a peer is dialled again, for every dial in a row that came to nothing (practice).
const REDIAL: Duration = Duration::from_secs(60);
/// Dials in a row that come to nothing before a peer is given up (practice).
const MAX_FAILURES: u32 = 3;
/// A torrent that nobody gives anything, and that has nobody else to dial, tries one of the peers
/// that it knows again after so long, twice as long each time, …
const LONE_REDIAL: Duration = Duration::from_secs(1);
/// … up to this: a peer that starts later than we do is found within a minute, however late.
pub(super) const MAX_LONE_REDIAL: Duration = Duration::from_secs(60);

/// Who named a peer: the greater, the more it is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PeerSource {
    /// A peer of this source, which announced that it listens there (BEP 10, `p`).
    Peer(Option<IpAddr>),
    /// A tracker; or the peer is connected under this address.
    #[default]
    Tracker,
    /// The person that runs the program.
    User,
}

impl PeerSource {
    /// Whether nobody but the peer itself names it.
    pub(super) fn is_peer(self) -> bool {
        matches!(self, PeerSource::Peer(_))
    }
}

/// What is kept of a peer that may be dialled, besides what the core does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DialCandidate {
    /// Dials in a row that came to nothing.
    failures: u32,
    /// It had everything when it was connected last.
    seed: bool,
    /// It is ourselves.
    ourselves: bool,
    /// The same peer is connected under another address.
    twin: Option<ConnId>,
    /// Who named it.
    pub(super) source: PeerSource,
}

/// All candidates of one torrent. The core's peer list has an entry for each of them.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    peers: BTreeMap<Endpoint, DialCandidate>,
    /// Dials in a row that a torrent without anybody made, and when the next one may be.
    lone: (u32, Time),
}

/// How a connection ended, for the next dial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// The peer had connected to us.
    pub(super) incoming: bool,
    /// The connection stood long enough to be worth its dial.
    pub(super) worth: bool,
    /// The peer had everything, or wanted nothing.
    pub(super) seed: bool,
}

impl Candidates {
    /// What is kept of a peer.
    pub(super) fn get(&self, remote: Endpoint) -> DialCandidate {
        self.peers.get(&remote).copied().unwrap_or_default()
    }

    /// A peer turned out to be ourselves.
    pub(super) fn set_ourselves(&mut self, remote: Endpoint) {
        self.peers.entry(remote).or_default().ourselves = true;
    }

    /// The same peer is connected at `conn`, under another address.
    pub(super) fn set_twin(&mut self, remote: Endpoint, conn: ConnId) {
        self.peers.entry(remote).or_default().twin = Some(conn);
    }

    /// Forgets a peer, here and in the core.
    pub(super) fn remove(&mut self, known: &mut PeerList, remote: Endpoint) {
        known.remove(remote);
        self.peers.remove(&remote);
    }

    /// Peers that somebody named. Those that a person names, and not a tracker, are tried at once.
    pub(super) fn add_all(
        &mut self,
        torrent: &mut Torrent,
        context: &mut SessionContext,
        peers: &[(SocketAddr, PeerSource)],
    ) {
        let mut news = 0;
        for (address, source) in
            peers.iter().map(|(address, source)| (canonical(*address), *source))
        {
            if !is_dialable(address) {
                continue;
            }
            let place = context.rng.next_u64() as u32;
            let remote = Endpoint::Socket(address);
            let by_user = source == PeerSource::User;
            news += usize::from(self.add(&mut torrent.connections.known, remote, place, source));
            // Who is named anew may be there now.
            if news > 0 || by_user {
                self.lone.0 = 0;
            }
            let Some(known) = torrent.connections.known.get_mut(remote) else { continue };
            // Who was given up and is named again gets one more try.
            let candidate = self.peers.entry(remote).or_default();
            candidate.failures = candidate.failures.min(MAX_FAILURES - 1);
            if by_user {
                (candidate.failures, known.redial_at) = (0, Time::ZERO);
            }
        }
    }

    /// A peer announced that it listens there; it is connected at `conn`. Where it listened
    /// `before` it does no longer: a connection listens at one address, the one that it announced
    /// last.
    pub(super) fn add_announced(
        &mut self,
        torrent: &mut Torrent,
        context: &mut SessionContext,
        conn: ConnId,
        listens: Endpoint,
        before: Option<Endpoint>,
        source: PeerSource,
    ) {
        if let Some(before) = before {
            self.take_back(&mut torrent.connections.known, before, conn);
        }
        let place = context.rng.next_u64() as u32;
        self.add(&mut torrent.connections.known, listens, place, source);
        if torrent.connections.known.get(listens).is_some() {
            self.set_twin(listens, conn);
        }
    }

    /// Somebody named a peer. `place` orders those that were tried equally often. Returns whether
    /// it is news. A full list takes whom a tracker or a person names, and gives up whom only peers
    /// did; of a source that names many, the last one counts.
    fn add(
        &mut self,
        known: &mut PeerList,
        remote: Endpoint,
        place: u32,
        source: PeerSource,
    ) -> bool {
        if known.get(remote).is_some() {
            let candidate = self.peers.entry(remote).or_default();
            candidate.source = candidate.source.max(source);
            return false;
        }
        let of_source = |one: &&DialCandidate| one.source == source;
        if source.is_peer()
            && self.peers.values().filter(of_source).count() >= MAX_SAID_PER_SOURCE
            && !self.give_up(known, |one| one.source == source)
        {
            return false;
        }
        if known.len() >= MAX_KNOWN {
            let may = |one: &DialCandidate| {
                one.source.is_peer()
                    || one.source <= source
                    || one.failures > 0 && one.source != PeerSource::User
            };
            if !self.give_up(known, may) {
                return false;
            }
        }
        known.entry(remote).place = place;
        self.peers.insert(remote, DialCandidate { source, ..DialCandidate::default() });
        true
    }

    /// Forgets the peer that is worth least among those that `may` go; false if there is none. Who
    /// is connected, being dialled, or ourselves stays.
    fn give_up(&mut self, list: &mut PeerList, may: impl Fn(&DialCandidate) -> bool) -> bool {
        let worst = list
            .iter()
            .map(|(remote, known)| (remote, known, self.get(remote)))
            .filter(|(_, known, one)| known.conn.is_none() && !known.dialling && !one.ourselves)
            .filter(|(_, _, one)| may(one))
            .min_by_key(|(remote, known, one)| {
                let order = (!one.source.is_peer(), one.source == PeerSource::User);
                (order, Reverse(one.failures), Reverse(known.place), *remote)
            });
        let Some(worst) = worst.map(|(remote, ..)| remote) else { return false };
        self.remove(list, worst);
        true
    }

    /// The peer at `conn` no longer announces that it listens there: if nobody else did, nobody
    /// does.
    fn take_back(&mut self, known: &mut PeerList, remote: Endpoint, conn: ConnId) {
        let Some(entry) = known.get(remote) else { return };
        let idle = entry.conn.is_none() && !entry.dialling;
        let Some(candidate) = self.peers.get_mut(&remote) else { return };
        if candidate.twin == Some(conn) {
            candidate.twin = None;
            if candidate.source.is_peer() && idle {
                self.remove(known, remote);
            }
        }
    }

    /// Forgets everybody: another tracker of a private torrent is another swarm (BEP 27).
    pub(super) fn forget_all(&mut self, known: &mut PeerList) {
        let all: Vec<Endpoint> = known
            .iter()
            .filter(|(remote, known)| !known.dialling && !self.get(*remote).ourselves)
            .map(|(remote, _)| remote)
            .collect();
        for remote in all {
            self.remove(known, remote);
        }
    }

    /// Whom to dial next; the time of the next chance is set where there is nobody. `alone` means
    /// that nobody who is connected has anything for us.
    pub(super) fn next(
        &self,
        torrent: &Torrent,
        context: &mut SessionContext,
        now: Time,
        alone: bool,
    ) -> Option<Endpoint> {
        let wants = !torrent.is_upload_only();
        let (mut best, mut last_hope) = (None, None);
        for (remote, known) in torrent.connections.known.iter() {
            let one = self.get(remote);
            let twin = one.twin.is_some_and(|twin| torrent.connections.peers.contains_key(&twin));
            if is_taken(known) || one.ourselves || twin || one.seed && !wants {
                continue;
            }
            if context.is_banned(remote) {
                continue;
            }
            let key = (one.failures, Reverse(one.source), known.place, remote);
            let hopeless = one.failures >= MAX_FAILURES;
            if hopeless || known.redial_at > now {
                if !hopeless {
                    context.timers.by(Reason::Dial, known.redial_at);
                }
                if last_hope.is_none_or(|best| key < best) {
                    last_hope = Some(key);
                }
                continue;
            }
            if best.is_none_or(|best| key < best) {
                best = Some(key);
            }
        }
        if let (None, Some(key), true) = (best, last_hope, wants && alone) {
            let (_, next) = self.lone;
            if next <= now {
                best = Some(key);
            } else {
                context.timers.by(Reason::Dial, next);
            }
        }
        best.map(|(.., remote)| remote)
    }

    /// A dial, or the connection that it made, came to nothing: the next one waits longer, where
    /// there is nobody else.
    fn came_to_nothing(&mut self, now: Time, worth: bool) {
        let (tries, next) = &mut self.lone;
        *tries = if worth { 0 } else { tries.saturating_add(1) };
        let pause = LONE_REDIAL.saturating_mul(1 << tries.saturating_sub(1).min(16));
        *next = now + pause.min(MAX_LONE_REDIAL);
    }

    /// A dial failed.
    pub(super) fn dial_failed(&mut self, list: &mut PeerList, now: Time, remote: Endpoint) {
        let candidate = self.peers.entry(remote).or_default();
        candidate.failures = candidate.failures.saturating_add(1);
        list.entry(remote).redial_at = now + REDIAL.saturating_mul(candidate.failures);
        self.came_to_nothing(now, false);
    }

    /// A connection ended to a peer that listens at `remote`.
    pub(super) fn ended(&mut self, list: &mut PeerList, now: Time, remote: Endpoint, ended: Ended) {
        let Some(known) = list.get_mut(remote) else { return };
        let candidate = self.peers.entry(remote).or_default();
        if ended.worth {
            candidate.failures = 0;
        } else if !ended.incoming || candidate.source.is_peer() {
            // Who came by itself only announced that it listens there: that is no reason to give up
            // who was named by somebody else.
            candidate.failures = candidate.failures.saturating_add(1);
        }
        candidate.seed = ended.seed;
        known.redial_at = now + REDIAL.saturating_mul(candidate.failures.max(1));
        // A peer that comes and goes by itself is no sign of those that we dial.
        if !ended.incoming {
            self.came_to_nothing(now, ended.worth);
        }
    }

    /// # Panics
    /// If more is remembered than may be.
    pub(super) fn check(&self, list: &PeerList) {
        assert!(self.peers.keys().all(|remote| list.get(*remote).is_some()));
        let mut announced: BTreeMap<PeerSource, usize> = BTreeMap::new();
        for one in self.peers.values().filter(|one| one.source.is_peer()) {
            *announced.entry(one.source).or_default() += 1;
        }
        let idle = list.iter().filter(|(_, known)| known.conn.is_none()).count();
        assert!(idle <= MAX_KNOWN, "{idle} peers are remembered");
        assert!(announced.values().all(|count| *count <= MAX_SAID_PER_SOURCE), "{announced:?}");
    }
}

fn is_taken(known: &KnownPeer) -> bool {
    known.conn.is_some() || known.dialling
}

#[cfg(test)]
mod tests;
