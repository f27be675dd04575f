//! The swarm table as the sockets share it: a lock for each shard, one clock, and the limits of all
//! shards together.

use super::TrackerLimits;
use dunlin_base::{InfoHash, Time};
use dunlin_engine::tracker::{Access, Announce, Full, Room, Shard, Totals, shard_of};
use dunlin_tracker::udp::ConnectionIds;
use dunlin_tracker::{AnnounceEvent, AnnounceRequest, ScrapeCounts};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Shards: many more than workers, so that two of them rarely need the same one.
const SHARDS: usize = 256;
/// The shortest and the longest interval.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));
/// Time between two searches for expired peers, if the interval is not shorter.
const TICK: Duration = Duration::from_secs(1);
/// Peers of one shard that are checked while its lock is held: well below a millisecond.
const SWEEP: usize = 20_000;

/// Why an announce is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnnounceRefusal {
    /// The torrent is not served here.
    NotServed,
    /// There is no room.
    Full(Full),
}

impl AnnounceRefusal {
    /// For the peer.
    pub(super) fn reason(self) -> String {
        match self {
            AnnounceRefusal::NotServed => "this tracker does not serve this torrent".to_owned(),
            AnnounceRefusal::Full(full) => full.to_string(),
        }
    }
}

/// All shards.
pub(super) struct Swarms {
    shards: Vec<Mutex<Shard>>,
    access: RwLock<Arc<Access>>,
    pub(super) ids: ConnectionIds,
    started: Instant,
    interval: Duration,
    torrents: AtomicUsize,
    peers: AtomicUsize,
    limits: TrackerLimits,
}

impl Swarms {
    pub(super) fn new(
        interval: Duration,
        access: Access,
        limits: &TrackerLimits,
    ) -> io::Result<Swarms> {
        let interval = interval.clamp(INTERVALS.0, INTERVALS.1);
        let mut shards = Vec::with_capacity(SHARDS);
        for _ in 0..SHARDS {
            shards.push(Mutex::new(Shard::new(random()?, interval * 2)));
        }
        let mut key = [0; 32];
        let words = random::<4>()?.into_iter().flat_map(u64::to_be_bytes);
        key.iter_mut().zip(words).for_each(|(to, from)| *to = from);
        Ok(Swarms {
            shards,
            access: RwLock::new(Arc::new(access)),
            ids: ConnectionIds::new(key),
            started: Instant::now(),
            interval,
            torrents: AtomicUsize::new(0),
            peers: AtomicUsize::new(0),
            limits: *limits,
        })
    }

    /// Seconds between two announces.
    pub(super) fn interval(&self) -> u32 {
        self.interval.as_secs() as u32
    }

    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Seconds since the start, as connection ids count them.
    pub(super) fn seconds(&self) -> u32 {
        u32::try_from(self.uptime().as_secs()).unwrap_or(u32::MAX)
    }

    fn now(&self) -> Time {
        Time::from_duration(self.uptime())
    }

    pub(super) fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    pub(super) fn access(&self) -> Arc<Access> {
        self.access.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shard(&self, torrent: &InfoHash) -> Option<&Mutex<Shard>> {
        self.shards.get(shard_of(torrent, self.shards.len()))
    }

    /// Enters an announce from `ip`, and appends at most `wanted` peers to `out`.
    pub(super) fn announce(
        &self,
        ip: IpAddr,
        request: &AnnounceRequest,
        wanted: usize,
        out: &mut Vec<u8>,
    ) -> Result<ScrapeCounts, AnnounceRefusal> {
        if !self.access().permits(&request.info_hash) {
            return Err(AnnounceRefusal::NotServed);
        }
        let Some(shard) = self.shard(&request.info_hash) else {
            return Err(AnnounceRefusal::NotServed);
        };
        let stopped = request.event == AnnounceEvent::Stopped;
        let announce = Announce {
            info_hash: request.info_hash,
            at: SocketAddr::new(ip, request.port),
            peer_id: request.peer_id,
            event: request.event,
            seed: request.left == 0,
            downloaded: request.downloaded > 0,
            wanted: if stopped { 0 } else { wanted },
        };
        let room = Room {
            torrent: self.torrents.load(Ordering::Relaxed) < self.limits.torrents,
            peer: self.peers.load(Ordering::Relaxed) < self.limits.peers,
        };
        let now = self.now();
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shard.totals();
        let result = shard.announce(now, &announce, room, out);
        self.update_totals(before, shard.totals());
        result.map_err(AnnounceRefusal::Full)
    }

    /// What is known of a torrent that is served; `None` if nothing.
    pub(super) fn scrape(&self, access: &Access, torrent: &InfoHash) -> Option<ScrapeCounts> {
        if !access.permits(torrent) {
            return None;
        }
        let shard = self.shard(torrent)?;
        shard.lock().unwrap_or_else(PoisonError::into_inner).scrape(torrent)
    }

    /// Updates the numbers of all shards after one of them has changed.
    fn update_totals(&self, before: Totals, after: Totals) {
        let change = |sum: &AtomicUsize, before: usize, after: usize| {
            if after >= before {
                sum.fetch_add(after - before, Ordering::Relaxed);
            } else {
                sum.fetch_sub(before - after, Ordering::Relaxed);
            }
        };
        let peers = |totals: Totals| totals.peers_v4 + totals.peers_v6;
        change(&self.torrents, before.torrents, after.torrents);
        change(&self.peers, peers(before), peers(after));
    }

    /// Time between two calls of [`Swarms::expire`].
    pub(super) fn tick(&self) -> Duration {
        TICK.min(self.interval / 2)
    }

    /// Removes some of the peers that have expired.
    pub(super) fn expire(&self) {
        for shard in &self.shards {
            let now = self.now();
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let before = shard.totals();
            shard.expire(now, SWEEP);
            self.update_totals(before, shard.totals());
        }
    }

    /// How much is in all of them.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for shard in &self.shards {
            totals += shard.lock().unwrap_or_else(PoisonError::into_inner).totals();
        }
        totals
    }
}

fn random<const N: usize>() -> io::Result<[u64; N]> {
    let mut words = [0; N];
    for word in &mut words {
        *word = getrandom::u64()?;
    }
    Ok(words)
}
