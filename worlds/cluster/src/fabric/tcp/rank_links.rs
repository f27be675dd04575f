//! What one rank keeps of another: the links between them, what waits to be sent, where it is, and
//! which process it is. Every change is made under one lock, and nothing is called under it.
//!
//! ```text
//!   nobody yet ── link ──▶ linked ── every link is over ──▶ broken ── link in time ──▶ linked
//!                                                              └── too late ──▶ lost
//!   any ── a link of another process of that rank ──▶ linked, after all of the old one is dropped
//! ```
//!
//! Both sides may dial at once: then there are two links, each side sends on the one that it had
//! first, and receives on both. When one is over, so is the other.

use super::queue::{Outgoing, OutgoingBlock, OutgoingQueue, ResumableStream};
use crate::fabric::process::packet::PacketDecoder;
use crate::lock::lock;
use dunlin_base::{Rank, TorrentId};
use dunlin_links::Shutdown;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// After a dial that failed the next one waits so long, and twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest wait.
const LAST_PAUSE: Duration = Duration::from_secs(4);
/// A link that stood for so long was a good one.
const STEADY: Duration = Duration::from_secs(5);
/// So many links that broke one after the other are reported.
const FLAPPING: u32 = 4;

/// The links with one rank.
pub(super) struct RankLinks {
    pub(super) rank: Rank,
    state: Mutex<LinksState>,
    /// The resumable stream on its way in.
    pub(super) resumable_in: Mutex<ResumableIn>,
}

/// The resumable stream on its way in. Only the newest link adds to it.
#[derive(Default)]
pub(super) struct ResumableIn {
    /// The number of that link.
    pub(super) link: u64,
    pub(super) received: u64,
    pub(super) decoder: PacketDecoder,
}

/// One link that stands.
pub(super) struct OpenLink {
    pub(super) id: u64,
    pub(super) since: Instant,
    pub(super) dialled: bool,
    pub(super) shutdown: Shutdown,
    pub(super) wake: Arc<Notify>,
    /// The other end has acknowledged its part of the resumable stream.
    pub(super) resumed: bool,
    /// Something of it is being handed to the system.
    pub(super) writing: bool,
    /// The other end's address, and ours as it sees it.
    pub(super) there: IpAddr,
    pub(super) here: IpAddr,
}

/// What is under the lock.
#[derive(Default)]
pub(super) struct LinksState {
    /// Its process; 0 before any was seen.
    pub(super) life: u64,
    /// The process that is known to be gone.
    pub(super) dead: Option<u64>,
    /// The first one is the one to send on.
    pub(super) open: Vec<OpenLink>,
    pub(super) queue: OutgoingQueue,
    /// Torrents that have a connection over these links.
    pub(super) torrents: BTreeSet<TorrentId>,
    /// Where it listens, and which process that was.
    pub(super) address: Option<(u64, SocketAddr)>,
    /// The task that waits for its address.
    pub(super) address_waiter: Option<oneshot::Sender<()>>,
    pub(super) dialling: bool,
    /// Whether it has been greeted in this life.
    pub(super) greeted: bool,
    /// How often the links have broken.
    pub(super) breaks: u64,
    failures: u32,
    not_before: Option<Instant>,
    failing: Option<FailingLinks>,
    /// That links break again and again was reported.
    reported: bool,
}

/// Links that break again and again: before anything of use has come over them, or since what comes
/// was changed on the way.
struct FailingLinks {
    since: Instant,
    links: u32,
    forged: bool,
}

/// What a link that broke means together with those that broke before.
pub(super) struct BreakReport {
    /// Since when no link was of use.
    pub(super) since: Instant,
    /// Whether what comes over them is changed on the way.
    pub(super) forged: bool,
    /// What to report to people; once for each rank.
    pub(super) flapping: Option<String>,
    /// How many links that were, for people.
    pub(super) count: String,
}

/// Output that no acknowledgement covers when the links break: it is lost.
#[derive(Default)]
pub(super) struct UnackedOutput {
    pub(super) torrents: BTreeSet<TorrentId>,
    pub(super) blocks: VecDeque<OutgoingBlock>,
}

impl RankLinks {
    pub(super) fn new(rank: Rank) -> RankLinks {
        RankLinks { rank, state: Mutex::default(), resumable_in: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, LinksState> {
        lock(&self.state)
    }

    pub(super) fn resumable_in(&self) -> MutexGuard<'_, ResumableIn> {
        lock(&self.resumable_in)
    }

    /// What is to be sent on this link now; `Err` once it is over. `small` leaves blocks where they
    /// are.
    pub(super) fn next(&self, link: u64, small: bool) -> Result<Option<Outgoing>, ()> {
        let mut state = self.state();
        let LinksState { open, queue, .. } = &mut *state;
        let Some(place) = open.iter().position(|one| one.id == link) else { return Err(()) };
        let Some(one) = open.get_mut(place).filter(|_| place == 0) else { return Ok(None) };
        let next = if small { queue.next_small(one.resumed) } else { queue.next(one.resumed) };
        one.writing = next.is_some() || small;
        Ok(next)
    }
}

impl LinksState {
    /// Whether the process that was seen last is known to be gone.
    pub(super) fn is_dead(&self) -> bool {
        self.life != 0 && self.dead == Some(self.life)
    }

    /// Wakes the task that sends.
    pub(super) fn wake(&self) {
        if let Some(link) = self.open.first() {
            link.wake.notify_one();
        }
    }

    /// Everything that was given to send is handed to the system, or cannot be.
    pub(super) fn drained(&self) -> bool {
        let idle = self.queue.is_empty() && !self.open.iter().any(|link| link.writing);
        idle || self.open.is_empty()
    }

    /// Cuts all links; returns what is lost with them.
    pub(super) fn cut_all(&mut self) -> UnackedOutput {
        self.open.drain(..).for_each(|link| link.shutdown.shutdown());
        self.breaks += 1;
        let torrents = std::mem::take(&mut self.torrents);
        UnackedOutput { torrents, blocks: self.queue.link_broke() }
    }

    /// The links broke, and [`LinksState::cut_all`] is called next. While links are of no use, each
    /// further one is dialled after a longer pause.
    pub(super) fn broke(&mut self, now: Instant, why: &str, forged: bool) -> BreakReport {
        if self.open.iter().any(|link| now - link.since >= STEADY) {
            self.failing = None;
        }
        let places: Vec<String> = self.open.iter().map(|link| link.there.to_string()).collect();
        let failing = self.failing.get_or_insert(FailingLinks { since: now, links: 0, forged });
        failing.links = failing.links.saturating_add(1);
        failing.forged |= forged;
        let FailingLinks { since, links, forged } = *failing;
        if links > 1 {
            let pause = FIRST_PAUSE * 2_u32.saturating_pow((links - 2).min(16));
            self.not_before = Some(now + pause.min(LAST_PAUSE));
        }
        let place = places.first().map_or("", String::as_str);
        let count = match links {
            1 => format!("the link with {place} broke: {why}"),
            _ => format!("{links} links with {place} broke one after the other: {why}"),
        };
        let report = links >= FLAPPING && !std::mem::replace(&mut self.reported, true);
        BreakReport { since, forged, flapping: report.then(|| count.clone()), count }
    }

    /// Something of use has come over a link. That is no gain while the links do not last since
    /// bits are turned around on the way: there is no end of it.
    pub(super) fn progressed(&mut self) {
        self.failing.take_if(|failing| !failing.forged);
    }

    /// Another process of this rank, or none: nothing that was sent to the old one counts.
    pub(super) fn reset(&mut self, life: u64) {
        self.queue.resumable = ResumableStream::default();
        (self.life, self.greeted, self.address) = (life, false, None);
    }

    /// A dial came to nothing.
    pub(super) fn dial_failed(&mut self, now: Instant) {
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause.min(LAST_PAUSE));
        self.dialling = false;
    }

    /// A link stands.
    pub(super) fn linked(&mut self) {
        (self.failures, self.not_before, self.dialling) = (0, None, false);
    }

    /// When the next dial may begin.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_no_use_are_counted_and_dialled_ever_more_slowly() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut state = LinksState::default();
        let mut reports = 0;
        for link in 0..10 {
            let broke = state.broke(start + second * link, "why", false);
            assert_eq!((broke.since, broke.forged), (start, false));
            reports += usize::from(broke.flapping.is_some());
        }
        assert_eq!((reports, state.not_before()), (1, Some(start + second * 9 + LAST_PAUSE)));
        state.progressed();
        assert_eq!(state.broke(start + second * 20, "why", false).since, start + second * 20);
        // What is changed on the way is no gain, however much of it comes first.
        let broke = state.broke(start + second * 21, "why", true);
        state.progressed();
        let again = state.broke(start + second * 22, "why", false);
        assert!(broke.forged && again.forged && again.since == broke.since);
    }
}
