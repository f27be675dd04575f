//! What one rank keeps of another: the links between them, what waits to be sent, where it is, and
//! which process it is. Every change is made under one lock, and nothing is told to anybody else under
//! it.
//!
//! ```text
//!   nobody yet ── link ──▶ linked ── every link is over ──▶ broken ── link in time ──▶ linked
//!                                                              └── too late ──▶ lost
//!   any ── a link of another process of that rank ──▶ linked, after all of the old one is dropped
//! ```
//!
//! Both sides may dial at once: then there are two links, each side sends on the one that it had
//! first, and receives on both. When one is over, so is the other.

use super::queue::{Block, Next, Queue};
use crate::fabric::process::envelope::Unpacker;
use crate::lock::lock;
use dunlin_base::{Rank, TorrentId};
use dunlin_links::Cut;
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
/// So many links that broke one after the other are worth a word.
const WORN: u32 = 4;

/// A rank that we know of.
pub(super) struct Pair {
    pub(super) rank: Rank,
    state: Mutex<PairState>,
    /// The firm stream on its way in.
    pub(super) firm_in: Mutex<FirmIn>,
}

/// The firm stream on its way in. Only the newest link adds to it.
#[derive(Default)]
pub(super) struct FirmIn {
    pub(super) line: u64,
    pub(super) received: u64,
    pub(super) unpacker: Unpacker,
}

/// One link.
pub(super) struct Line {
    pub(super) id: u64,
    pub(super) since: Instant,
    pub(super) dialled: bool,
    pub(super) cut: Cut,
    pub(super) wake: Arc<Notify>,
    /// The other end has said how much of the firm stream it has.
    pub(super) resumed: bool,
    /// Something of it is being handed to the system.
    pub(super) writing: bool,
    /// The other end's address, and ours as it sees it.
    pub(super) there: IpAddr,
    pub(super) here: IpAddr,
}

/// What is under the lock.
#[derive(Default)]
pub(super) struct PairState {
    /// Its process; 0 before any was seen.
    pub(super) life: u64,
    /// The process that is known to be gone.
    pub(super) dead: Option<u64>,
    /// The first one is the one to send on.
    pub(super) lines: Vec<Line>,
    pub(super) queue: Queue,
    /// Torrents that it and we speak of.
    pub(super) torrents: BTreeSet<TorrentId>,
    /// Where it lets others in, and which process that was.
    pub(super) address: Option<(u64, SocketAddr)>,
    /// Who waits to hear where it is.
    pub(super) asked: Option<oneshot::Sender<()>>,
    pub(super) dialling: bool,
    /// Whether it has been greeted in this life.
    pub(super) greeted: bool,
    /// How often the links have broken.
    pub(super) breaks: u64,
    failures: u32,
    not_before: Option<Instant>,
    trouble: Option<Trouble>,
    worn: bool,
}

/// Links that break again and again: before anything of use has come over them, or since what comes was
/// changed on the way.
struct Trouble {
    since: Instant,
    links: u32,
    forged: bool,
}

/// What a break means beside itself.
pub(super) struct Worn {
    /// Since when no link was of use.
    pub(super) since: Instant,
    /// Whether what comes over them is changed on the way.
    pub(super) forged: bool,
    /// For people; once for each rank.
    pub(super) word: Option<String>,
    /// How many links that were, for people.
    pub(super) count: String,
}

/// What goes down when the links break.
#[derive(Default)]
pub(super) struct Wreck {
    pub(super) torrents: BTreeSet<TorrentId>,
    pub(super) blocks: VecDeque<Block>,
}

impl Pair {
    pub(super) fn new(rank: Rank) -> Pair {
        Pair { rank, state: Mutex::default(), firm_in: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, PairState> {
        lock(&self.state)
    }

    pub(super) fn firm_in(&self) -> MutexGuard<'_, FirmIn> {
        lock(&self.firm_in)
    }

    /// What is to be sent on this link now; `Err` once it is over. `small` leaves blocks where they
    /// are.
    pub(super) fn next(&self, line: u64, small: bool) -> Result<Option<Next>, ()> {
        let mut state = self.state();
        let PairState { lines, queue, .. } = &mut *state;
        let Some(place) = lines.iter().position(|one| one.id == line) else { return Err(()) };
        let Some(one) = lines.get_mut(place).filter(|_| place == 0) else { return Ok(None) };
        let next = if small { queue.next_small(one.resumed) } else { queue.next(one.resumed) };
        one.writing = next.is_some() || small;
        Ok(next)
    }
}

impl PairState {
    /// Whether the process that was seen last is known to be gone.
    pub(super) fn is_dead(&self) -> bool {
        self.life != 0 && self.dead == Some(self.life)
    }

    /// Wakes who sends.
    pub(super) fn wake(&self) {
        if let Some(line) = self.lines.first() {
            line.wake.notify_one();
        }
    }

    /// Everything that was given to send is handed to the system, or cannot be.
    pub(super) fn drained(&self) -> bool {
        let idle = self.queue.is_empty() && !self.lines.iter().any(|line| line.writing);
        idle || self.lines.is_empty()
    }

    /// All links are over.
    pub(super) fn wreck(&mut self) -> Wreck {
        self.lines.drain(..).for_each(|line| line.cut.cut());
        self.breaks += 1;
        Wreck { torrents: std::mem::take(&mut self.torrents), blocks: self.queue.broken() }
    }

    /// The links broke, as [`PairState::wreck`] says next, for this reason. While they are of no use,
    /// each further link is dialled after a longer pause.
    pub(super) fn broken(&mut self, now: Instant, why: &str, forged: bool) -> Worn {
        if self.lines.iter().any(|line| now - line.since >= STEADY) {
            self.trouble = None;
        }
        let places: Vec<String> = self.lines.iter().map(|line| line.there.to_string()).collect();
        let trouble = self.trouble.get_or_insert(Trouble { since: now, links: 0, forged });
        trouble.links = trouble.links.saturating_add(1);
        trouble.forged |= forged;
        let Trouble { since, links, forged } = *trouble;
        if links > 1 {
            let pause = FIRST_PAUSE * 2_u32.saturating_pow((links - 2).min(16));
            self.not_before = Some(now + pause.min(LAST_PAUSE));
        }
        let place = places.first().map_or("", String::as_str);
        let count = match links {
            1 => format!("the link with {place} broke: {why}"),
            _ => format!("{links} links with {place} broke one after the other: {why}"),
        };
        let say = links >= WORN && !std::mem::replace(&mut self.worn, true);
        Worn { since, forged, word: say.then(|| count.clone()), count }
    }

    /// Something of use has come over a link. That is no gain while the links do not last since bits
    /// are turned around on the way: there is no end of it.
    pub(super) fn gained(&mut self) {
        self.trouble.take_if(|trouble| !trouble.forged);
    }

    /// Another process of this rank, or none: nothing that the old one was told counts.
    pub(super) fn forget(&mut self, life: u64) {
        self.queue.firm = super::queue::Firm::default();
        (self.life, self.greeted, self.address) = (life, false, None);
    }

    /// A dial came to nothing.
    pub(super) fn failed(&mut self, now: Instant) {
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause.min(LAST_PAUSE));
        self.dialling = false;
    }

    /// A link stands.
    pub(super) fn succeeded(&mut self) {
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
        let mut state = PairState::default();
        let mut said = 0;
        for link in 0..10 {
            let worn = state.broken(start + second * link, "why", false);
            assert_eq!((worn.since, worn.forged), (start, false));
            said += usize::from(worn.word.is_some());
        }
        assert_eq!((said, state.not_before()), (1, Some(start + second * 9 + LAST_PAUSE)));
        state.gained();
        assert_eq!(state.broken(start + second * 20, "why", false).since, start + second * 20);
        // What is changed on the way is no gain, however much of it comes first.
        let worn = state.broken(start + second * 21, "why", true);
        state.gained();
        let again = state.broken(start + second * 22, "why", false);
        assert!(worn.forged && again.forged && again.since == worn.since);
    }
}
