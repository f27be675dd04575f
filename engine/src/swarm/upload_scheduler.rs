//! Whom to offer something next, and how much may be on offer at a time: a seed that offers to
//! everybody at once gives everybody everything late. Destinations have their turns one after
//! another; one that is slow to take what it was offered soon keeps nobody back but itself. Knows
//! no pieces and no torrents.
//!
//! ```text
//!   waiting ─▶ [ r4 r7 r2 … ] ─ turn ─▶ offers (few at a time, few a destination) ─▶ gone
//!      ▲                                                                               │
//!      └───────────────────────────────────────────────────────────────────────────────┘
//! ```

use dunlin_base::{Endpoint, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Offers to one destination at a time, at first: one is sent while the requests for the next are
/// on their way, and one more for whoever is scheduled late.
const AHEAD: u32 = 3;
/// Offers to all destinations together, at first: enough to fill the uplink, few enough that the
/// first of them are soon passed on.
const ALL_AHEAD: u32 = 64;
/// Where everything was taken before more could be offered, twice as many may be, up to so many:
/// small pieces take less time than a round trip.
const MAX_AHEAD: u32 = 1024;
/// An offer that takes so many times what offers take keeps nobody else back.
const LAG: u32 = 4;
/// … which nobody knows before the first has been taken.
const FIRST_LAG: Duration = Duration::from_millis(500);

/// An offer that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    at: Time,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
struct ScheduledPeer {
    open: u32,
    ahead: u32,
}

impl Default for ScheduledPeer {
    fn default() -> ScheduledPeer {
        ScheduledPeer { open: 0, ahead: AHEAD }
    }
}

/// The turns of all destinations.
#[derive(Clone, Debug)]
pub struct UploadScheduler {
    destinations: BTreeMap<Endpoint, ScheduledPeer>,
    waiting: VecDeque<Endpoint>,
    queued: BTreeSet<Endpoint>,
    open: BTreeSet<Ticket>,
    ahead: u32,
    /// What an offer takes until it is gone, on average.
    takes: Option<Duration>,
    number: u64,
}

impl Default for UploadScheduler {
    fn default() -> UploadScheduler {
        UploadScheduler {
            destinations: BTreeMap::new(),
            waiting: VecDeque::new(),
            queued: BTreeSet::new(),
            open: BTreeSet::new(),
            ahead: ALL_AHEAD,
            takes: None,
            number: 0,
        }
    }
}

impl UploadScheduler {
    /// There may be something for this destination.
    pub fn wait(&mut self, remote: Endpoint) {
        if self.room(remote) > 0 && self.queued.insert(remote) {
            self.waiting.push_back(remote);
        }
    }

    /// The destination whose turn it is. It is no longer waiting.
    pub fn turn(&mut self, now: Time) -> Option<Endpoint> {
        if self.in_time(now) >= self.ahead as usize {
            return None;
        }
        let remote = self.waiting.pop_front()?;
        self.queued.remove(&remote);
        Some(remote)
    }

    /// When there may be a turn though nothing happens: somebody waits, and what keeps it back is
    /// late.
    #[must_use]
    pub fn next(&self, now: Time) -> Option<Time> {
        let waits = !self.waiting.is_empty();
        let oldest = self.open.range(self.since(now)..).next().filter(|_| waits)?;
        Some(oldest.at + self.lag())
    }

    /// How many more offers this destination may have.
    #[must_use]
    pub fn room(&self, remote: Endpoint) -> u32 {
        let found = self.destinations.get(&remote).copied().unwrap_or_default();
        found.ahead.saturating_sub(found.open)
    }

    /// Something is offered.
    pub fn offered(&mut self, now: Time, remote: Endpoint) -> Ticket {
        self.number += 1;
        let ticket = Ticket { at: now, number: self.number };
        self.open.insert(ticket);
        self.destinations.entry(remote).or_default().open += 1;
        ticket
    }

    /// What was offered is no longer; `given` if that is because all of it has left.
    pub fn gone(&mut self, now: Time, remote: Endpoint, ticket: Ticket, given: bool) {
        if !self.open.remove(&ticket) {
            return;
        }
        let Some(destination) = self.destinations.get_mut(&remote) else { return };
        destination.open -= 1;
        if given {
            if destination.open == 0 {
                destination.ahead = (destination.ahead * 2).min(MAX_AHEAD);
            }
            if self.open.is_empty() {
                self.ahead = (self.ahead * 2).min(MAX_AHEAD);
            }
            let took = now.since(ticket.at);
            self.takes = Some(self.takes.map_or(took, |takes| (takes * 7 + took) / 8));
        }
        self.wait(remote);
    }

    fn lag(&self) -> Duration {
        self.takes.map_or(FIRST_LAG, |takes| takes.saturating_mul(LAG))
    }

    /// Where the offers begin that are not late.
    fn since(&self, now: Time) -> Ticket {
        let lag = u64::try_from(self.lag().as_nanos()).unwrap_or(u64::MAX);
        // Who waits for the moment at which one is late must not meet it again.
        let at = now.0.checked_sub(lag).map_or(Time::ZERO, |late| Time(late + 1));
        Ticket { at, number: 0 }
    }

    fn in_time(&self, now: Time) -> usize {
        self.open.range(self.since(now)..).count()
    }

    /// Asserts the invariants.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        let open: usize = self.destinations.values().map(|one| one.open as usize).sum();
        assert_eq!(open, self.open.len());
        assert_eq!(self.waiting.len(), self.queued.len());
        assert!(self.waiting.iter().all(|remote| self.queued.contains(remote)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::Rank;

    fn at(ms: u64) -> Time {
        Time::from_duration(Duration::from_millis(ms))
    }

    fn to(rank: u32) -> Endpoint {
        Endpoint::Rank(Rank(rank))
    }

    /// Offers whatever may be offered; to whom, in order.
    fn offer(turns: &mut UploadScheduler, now: Time, tickets: &mut Vec<(u32, Ticket)>) -> Vec<u32> {
        let mut order = Vec::new();
        while let Some(remote) = turns.turn(now) {
            let rank = remote.rank().unwrap().0;
            tickets.push((rank, turns.offered(now, remote)));
            order.push(rank);
            turns.wait(remote);
            turns.check();
        }
        order
    }

    #[test]
    fn destinations_take_turns_and_few_offers_are_open() {
        let (mut turns, mut tickets) = (UploadScheduler::default(), Vec::new());
        (1..=2).for_each(|rank| turns.wait(to(rank)));
        assert_eq!(offer(&mut turns, at(0), &mut tickets), [1, 2, 1, 2, 1, 2], "three for each");
        (3..=40).for_each(|rank| turns.wait(to(rank)));
        let order = offer(&mut turns, at(0), &mut tickets);
        assert_eq!(order.len(), ALL_AHEAD as usize - 6, "so many at a time");
        assert_eq!(order[36..40], [39, 40, 3, 4], "everybody once before anybody twice");
        let last = order[order.len() - 1];
        let (rank, ticket) = tickets.remove(0);
        turns.gone(at(10), to(rank), ticket, true);
        assert_eq!(offer(&mut turns, at(10), &mut tickets), [last + 1], "the next in turn");
        turns.check();
    }

    #[test]
    fn who_lags_keeps_nobody_else_back() {
        let (mut turns, mut tickets) = (UploadScheduler::default(), Vec::new());
        (1..=60).for_each(|rank| turns.wait(to(rank)));
        offer(&mut turns, at(0), &mut tickets);
        let (first, ticket) = tickets.remove(0);
        turns.gone(at(10), to(first), ticket, true);
        offer(&mut turns, at(10), &mut tickets);
        assert_eq!(offer(&mut turns, at(11), &mut tickets), [0; 0]);
        let late = turns.next(at(11)).unwrap();
        assert_eq!(late, at(40), "four times ten milliseconds after the oldest");
        let more = offer(&mut turns, late, &mut tickets);
        assert_eq!(more.len(), ALL_AHEAD as usize - 1, "those of the beginning are late");
        assert!(turns.next(late).is_none_or(|next| next > late), "time goes on");
    }

    #[test]
    fn whoever_runs_dry_is_offered_more() {
        let (mut turns, mut tickets) = (UploadScheduler::default(), Vec::new());
        turns.wait(to(1));
        for expected in [3, 6, 12, 24] {
            let count = offer(&mut turns, at(0), &mut tickets).len();
            assert_eq!(count, expected);
            for (rank, ticket) in std::mem::take(&mut tickets) {
                turns.gone(at(1), to(rank), ticket, true);
            }
            turns.check();
        }
    }
}
