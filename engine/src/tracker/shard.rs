//! A part of the swarm table: all torrents whose info-hash falls into it.

use super::index::Index;
use super::peers::{Asker, COUNTED, KNOWS, PAUSED, PeerRecord, Peers, SEED};
use super::shares::{MAX_PER_SOURCE, Shares};
use super::sip::SipKey;
use dunlin_base::{InfoHash, PeerId, Rng, Time};
use dunlin_tracker::{AnnounceEvent, ScrapeCounts};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use thiserror::Error;

/// Seeds that are named to a seed, which may be a magnet link that found nobody the first time:
/// enough to begin with, few enough for the many that are what they say.
const FEW_SEEDS: usize = 5;

/// What a peer says of itself to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Where it listens: the address that its announce came from, and its port. IPv4 within IPv6 is
    /// IPv4. It is known by this, so that nobody can speak for anybody else.
    pub at: SocketAddr,
    /// Who it is: no peer with the same id is named to it.
    pub peer_id: PeerId,
    /// Why.
    pub event: AnnounceEvent,
    /// Nothing is missing, as it says.
    pub seed: bool,
    /// It has downloaded something since it started, as it says.
    pub downloaded: bool,
    /// Peers that are wanted, at most; the caller has set a bound.
    pub wanted: usize,
}

/// What the table may still take, which only who knows all shards can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// One more torrent.
    pub torrent: bool,
    /// One more peer.
    pub peer: bool,
}

/// Why the table does not take somebody new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Full {
    /// It has as many torrents as it may have.
    #[error("the tracker has as many torrents as it can hold")]
    Torrents,
    /// It has as many peers as it may have.
    #[error("the tracker has as many peers as it can hold")]
    Peers,
    /// The source of the announce has its share of this part of the table.
    #[error("too many torrents and ports are announced from this address")]
    Source,
}

/// Torrents that are looked at to find one that makes room. What is sought is a large part of them
/// when it is sought: a flood, or what nobody else takes part in.
const PROBES: usize = 64;

/// How much is in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Torrents with at least one peer.
    pub torrents: usize,
    /// Peers with IPv4.
    pub peers_v4: usize,
    /// Peers with IPv6.
    pub peers_v6: usize,
    /// Those of all peers that have everything.
    pub seeds: usize,
    /// Completions that were counted since the start.
    pub completed: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.torrents += other.torrents;
        self.peers_v4 += other.peers_v4;
        self.peers_v6 += other.peers_v6;
        self.seeds += other.seeds;
        self.completed += other.completed;
    }
}

/// The shard of a torrent, of `shards`. Which torrents fall together is no secret: each shard finds
/// them by a key of its own.
#[must_use]
pub fn shard_of(torrent: &InfoHash, shards: usize) -> usize {
    let [first, second, ..] = torrent.0;
    usize::from(u16::from_be_bytes([first, second])) % shards.max(1)
}

/// Everybody who takes part in one torrent.
struct Swarm {
    torrent: InfoHash,
    /// Completions since the first peer came.
    completed: u32,
    v4: Peers<6>,
    v6: Peers<18>,
}

impl Swarm {
    fn new(torrent: InfoHash) -> Swarm {
        Swarm { torrent, completed: 0, v4: Peers::default(), v6: Peers::default() }
    }

    fn counts(&self) -> ScrapeCounts {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let leechers = self.v4.leechers() + self.v6.leechers();
        let paused = self.v4.paused() + self.v6.paused();
        ScrapeCounts {
            complete: number(self.v4.seeds() + self.v6.seeds()),
            downloaded: self.completed,
            incomplete: number(leechers),
            downloaders: Some(number(leechers.saturating_sub(paused))),
        }
    }

    fn is_empty(&self) -> bool {
        self.v4.len() == 0 && self.v6.len() == 0
    }

    /// The only peer, and when it was seen.
    fn single(&self) -> Option<(IpAddr, u32)> {
        let four = || self.v4.iter().next().map(|peer| (peer.ip(), peer.seen));
        let six = || self.v6.iter().next().map(|peer| (peer.ip(), peer.seen));
        (self.v4.len() + self.v6.len() == 1).then(|| four().or_else(six)).flatten()
    }

    fn add_to(&self, totals: &mut Totals) {
        totals.peers_v4 += self.v4.len();
        totals.peers_v6 += self.v6.len();
        totals.seeds += self.v4.seeds() + self.v6.seeds();
    }

    fn take_from(&self, totals: &mut Totals) {
        totals.peers_v4 -= self.v4.len();
        totals.peers_v6 -= self.v6.len();
        totals.seeds -= self.v4.seeds() + self.v6.seeds();
    }
}

/// A part of the swarm table. Its memory follows the peers in it.
pub struct Shard {
    key: SipKey,
    rng: Rng,
    swarms: Vec<Swarm>,
    index: Index,
    totals: Totals,
    /// Who was not seen for so many seconds is gone.
    lifetime: u32,
    /// The swarms before this position are still to be looked through in this round.
    cursor: usize,
    /// Whose the entries are.
    shares: Shares,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("totals", &self.totals()).finish_non_exhaustive()
    }
}

impl Shard {
    /// An empty shard. `key` must be random, and nobody else may know it; a peer is gone when it
    /// was not seen for `lifetime`.
    #[must_use]
    pub fn new(key: [u64; 3], lifetime: Duration) -> Shard {
        let [first, second, seed] = key;
        Shard {
            key: SipKey([first, second]),
            rng: Rng::new(seed),
            swarms: Vec::new(),
            index: Index::default(),
            totals: Totals::default(),
            lifetime: u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).max(1),
            cursor: 0,
            shares: Shares::default(),
        }
    }

    /// Takes in what a peer says, and appends peers for it to `out`: 6 bytes each if it came over
    /// IPv4, 18 if over IPv6. None when it leaves.
    ///
    /// A source with [`MAX_PER_SOURCE`] entries here gets a further one in the place of another of
    /// its own. Where there is no room for anybody, a torrent with a single peer makes room, if its
    /// source has no fewer entries than the one that comes.
    ///
    /// # Errors
    /// If it is not known yet and nobody makes room; it is not taken in then.
    pub fn announce(
        &mut self,
        now: Time,
        announce: &Announce,
        room: Room,
        out: &mut Vec<u8>,
    ) -> Result<ScrapeCounts, Full> {
        let stopped = announce.event == AnnounceEvent::Stopped;
        let found = self.find(&announce.info_hash);
        let known = found.is_some_and(|position| self.knows(position, announce.at));
        let position = match found {
            None if stopped => return Ok(ScrapeCounts::default()),
            Some(position) if known || stopped => position,
            _ => {
                self.admit(announce, found, room)?;
                // Who made room may have moved others.
                let found = self.find(&announce.info_hash);
                found.unwrap_or_else(|| self.add(announce.info_hash))
            }
        };
        let (key, rng) = (self.key, &mut self.rng);
        let Some(swarm) = self.swarms.get_mut(position) else {
            return Ok(ScrapeCounts::default());
        };
        swarm.take_from(&mut self.totals);
        let visit = Visit { key, now: seconds(now), announce };
        let (ip, port) = (announce.at.ip().to_canonical(), announce.at.port());
        let completed = match ip {
            IpAddr::V4(ip) => {
                let at = compact::<4, 6>(ip.octets(), port);
                visit.run(&mut swarm.v4, at, rng, out)
            }
            IpAddr::V6(ip) => {
                let at = compact::<16, 18>(ip.octets(), port);
                visit.run(&mut swarm.v6, at, rng, out)
            }
        };
        if completed {
            swarm.completed = swarm.completed.saturating_add(1);
            self.totals.completed += 1;
        }
        match (known, stopped) {
            (false, false) => self.shares.add(Shares::place(key, ip)),
            (true, true) => self.shares.remove(Shares::place(key, ip)),
            _ => {}
        }
        swarm.add_to(&mut self.totals);
        let counts = swarm.counts();
        if swarm.is_empty() {
            self.remove(position);
        }
        Ok(counts)
    }

    fn knows(&self, position: usize, at: SocketAddr) -> bool {
        let Some(swarm) = self.swarms.get(position) else { return false };
        match at.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let at = compact::<4, 6>(ip.octets(), at.port());
                swarm.v4.get(self.key, &at).is_some()
            }
            IpAddr::V6(ip) => {
                let at = compact::<16, 18>(ip.octets(), at.port());
                swarm.v6.get(self.key, &at).is_some()
            }
        }
    }

    /// Whether there is room for somebody new, after others have made it.
    fn admit(
        &mut self,
        announce: &Announce,
        torrent: Option<usize>,
        room: Room,
    ) -> Result<(), Full> {
        let place = Shares::place(self.key, announce.at.ip());
        let mut full = match torrent {
            None if !room.torrent => Some(Full::Torrents),
            _ if !room.peer => Some(Full::Peers),
            _ => None,
        };
        let own = self.shares.count(place);
        if own >= MAX_PER_SOURCE {
            match self.evict_own(place, torrent) {
                None => return Err(Full::Source),
                Some(ended) if ended || full == Some(Full::Peers) => full = None,
                Some(_) => {}
            }
        }
        match full {
            Some(full) if !self.evict_single(own, torrent) => Err(full),
            _ => Ok(()),
        }
    }

    /// Forgets a peer of a source, where one is found soon: in the torrent that is announced, or in
    /// others. Whether its torrent ended with it; `None` if none was found.
    fn evict_own(&mut self, place: usize, torrent: Option<usize>) -> Option<bool> {
        for probe in 0..PROBES {
            let any = self.rng.below(self.swarms.len().max(1) as u64) as usize;
            let position = torrent.filter(|_| probe % 8 == 0).unwrap_or(any);
            let Some(swarm) = self.swarms.get_mut(position) else { continue };
            let (key, rng) = (self.key, &mut self.rng);
            let is = |ip| Shares::place(key, ip) == place;
            swarm.take_from(&mut self.totals);
            let four = swarm.v4.any(rng).filter(|peer| is(peer.ip()));
            let six = swarm.v6.any(rng).filter(|peer| is(peer.ip()));
            let found = four.is_some_and(|peer| swarm.v4.remove(key, &peer.at))
                || six.is_some_and(|peer| swarm.v6.remove(key, &peer.at));
            swarm.add_to(&mut self.totals);
            if found {
                let ended = swarm.is_empty();
                self.shares.remove(place);
                if ended {
                    self.remove(position);
                }
                return Some(ended);
            }
        }
        None
    }

    /// Forgets a torrent with a single peer whose source has `own` entries or more: of those that
    /// are found soon, the one of the largest source, and then the one that was not seen for
    /// longest. Not the torrent at `but`.
    fn evict_single(&mut self, own: u16, but: Option<usize>) -> bool {
        let mut found: Option<(u16, u32, usize, usize)> = None;
        for _ in 0..PROBES {
            let position = self.rng.below(self.swarms.len().max(1) as u64) as usize;
            let Some(swarm) = self.swarms.get(position) else { continue };
            let Some((ip, seen)) = swarm.single().filter(|_| Some(position) != but) else {
                continue;
            };
            let place = Shares::place(self.key, ip);
            let candidate = (self.shares.count(place), u32::MAX - seen, position, place);
            if candidate.0 >= own && found.is_none_or(|found| candidate > found) {
                found = Some(candidate);
            }
        }
        let Some((_, _, position, place)) = found else { return false };
        if let Some(swarm) = self.swarms.get(position) {
            swarm.take_from(&mut self.totals);
        }
        self.shares.remove(place);
        self.remove(position);
        true
    }

    /// What is known of a torrent; `None` if nobody takes part in it.
    #[must_use]
    pub fn scrape(&self, torrent: &InfoHash) -> Option<ScrapeCounts> {
        let position = self.find(torrent)?;
        self.swarms.get(position).map(Swarm::counts)
    }

    /// Forgets peers that were not seen for too long, and torrents without peers. Looks through so
    /// many peers or few more, and goes on from there the next time; true if it has come through
    /// everything.
    pub fn expire(&mut self, now: Time, peers: usize) -> bool {
        let since = seconds(now).saturating_sub(self.lifetime);
        let mut looked = 0;
        self.cursor = self.cursor.min(self.swarms.len());
        while self.cursor > 0 && looked < peers {
            self.cursor -= 1;
            let Some(swarm) = self.swarms.get_mut(self.cursor) else { continue };
            looked += swarm.v4.len() + swarm.v6.len();
            swarm.take_from(&mut self.totals);
            let (key, shares) = (self.key, &mut self.shares);
            let mut gone = |ip| shares.remove(Shares::place(key, ip));
            swarm.v4.expire(key, since, &mut gone);
            swarm.v6.expire(key, since, &mut gone);
            swarm.add_to(&mut self.totals);
            if swarm.is_empty() {
                self.remove(self.cursor);
            }
        }
        let done = self.cursor == 0;
        if done {
            self.cursor = self.swarms.len();
        }
        done
    }

    /// How much is in it.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { torrents: self.swarms.len(), ..self.totals }
    }

    /// Bytes of memory that its tables have. Looks at every torrent.
    #[must_use]
    pub fn memory(&self) -> usize {
        let peers = self.swarms.iter().map(|swarm| swarm.v4.memory() + swarm.v6.memory());
        let swarms = self.swarms.capacity() * size_of::<Swarm>();
        swarms + self.index.memory() + self.shares.memory() + peers.sum::<usize>()
    }

    fn find(&self, torrent: &InfoHash) -> Option<usize> {
        let is = |position: usize| {
            self.swarms.get(position).is_some_and(|swarm| swarm.torrent == *torrent)
        };
        self.index.find(self.key.hash_20(&torrent.0), is)
    }

    fn add(&mut self, torrent: InfoHash) -> usize {
        let position = self.swarms.len();
        self.swarms.push(Swarm::new(torrent));
        let (key, swarms) = (self.key, &self.swarms);
        self.index.insert(key.hash_20(&torrent.0), position, |at| hash_at(swarms, key, at));
        position
    }

    /// Forgets a torrent; the last one takes its place.
    fn remove(&mut self, position: usize) {
        let (key, swarms) = (self.key, &self.swarms);
        let last = swarms.len().saturating_sub(1);
        let hash_of = |at: usize| hash_at(swarms, key, at);
        self.index.remove(hash_of(position), position, hash_of);
        if position != last {
            self.index.moved(hash_of(last), last, position);
        }
        self.swarms.swap_remove(position);
        if self.swarms.len() * 4 < self.swarms.capacity() {
            self.swarms.shrink_to(self.swarms.len() * 2);
        }
    }

    /// Asserts that everything fits together.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut totals = Totals { completed: self.totals.completed, ..Totals::default() };
        let mut shares = Shares::default();
        for (position, swarm) in self.swarms.iter().enumerate() {
            assert_eq!(self.find(&swarm.torrent), Some(position));
            assert!(!swarm.is_empty(), "{:?}", swarm.torrent);
            swarm.v4.check(self.key);
            swarm.v6.check(self.key);
            swarm.add_to(&mut totals);
            let all = swarm.v4.iter().map(|peer| peer.ip());
            let all = all.chain(swarm.v6.iter().map(|peer| peer.ip()));
            all.for_each(|ip| shares.add(Shares::place(self.key, ip)));
        }
        assert_eq!(self.shares.all(), shares.all());
        assert_eq!((self.index.len(), totals), (self.swarms.len(), self.totals));
    }
}

/// One announce on its way to one family's peers.
struct Visit<'a> {
    key: SipKey,
    now: u32,
    announce: &'a Announce,
}

impl Visit<'_> {
    /// True if a completion is to be counted.
    fn run<const N: usize>(
        &self,
        peers: &mut Peers<N>,
        at: [u8; N],
        rng: &mut Rng,
        out: &mut Vec<u8>,
    ) -> bool {
        let announce = self.announce;
        if announce.event == AnnounceEvent::Stopped {
            peers.remove(self.key, &at);
            return false;
        }
        let known = peers.get(self.key, &at);
        let tag = self.key.hash_20(&announce.peer_id.0) as u32;
        let again = known.is_some_and(|peer| peer.tag == tag);
        let old = known.map_or(0, |peer| peer.flags);
        let has_completed = announce.event == AnnounceEvent::Completed && announce.seed;
        let knows =
            !announce.seed || has_completed || announce.downloaded || again && old & KNOWS != 0;
        // A program that has no more than a magnet link does not know what is missing, and some say
        // 0 (aria2, librqbit, webtorrent). So nobody is a seed because it said so once.
        let seed = announce.seed && (again || knows);
        // Only who was seen to miss something has completed it, and only once.
        let completed = has_completed && known.is_some() && old & (SEED | COUNTED) == 0;
        let mut flags = old & COUNTED;
        if seed {
            flags |= SEED;
        } else if announce.event == AnnounceEvent::Paused && !announce.seed {
            flags |= PAUSED;
        }
        if completed {
            flags |= COUNTED;
        }
        if knows {
            flags |= KNOWS;
        }
        peers.put(self.key, PeerRecord { at, flags, tag, seen: self.now });
        let seeds = match (seed, knows) {
            (false, _) => usize::MAX,
            (true, false) => FEW_SEEDS,
            (true, true) => 0,
        };
        let asker = Asker { at, tag, seeds };
        peers.choose(announce.wanted, &asker, rng, out);
        completed
    }
}

/// The hash of the torrent at a position.
fn hash_at(swarms: &[Swarm], key: SipKey, position: usize) -> u64 {
    swarms.get(position).map_or(0, |swarm| key.hash_20(&swarm.torrent.0))
}

fn seconds(time: Time) -> u32 {
    u32::try_from(time.since(Time::ZERO).as_secs()).unwrap_or(u32::MAX)
}

/// Address and port as they are sent.
fn compact<const A: usize, const N: usize>(ip: [u8; A], port: u16) -> [u8; N] {
    let mut at = [0; N];
    let bytes = ip.into_iter().chain(port.to_be_bytes());
    at.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    at
}
