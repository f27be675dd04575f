//! When to announce, and to whom (BEP 3, 12, 21, 27, 31): the trackers of one swarm, by their
//! tiers. Pure: it knows no connection and no codec; time and totals are passed in.
//!
//! ```text
//!   start ─▶ round: first tracker of the first tier that may be asked
//!              │ answers ─▶ to the front of its tier; the next round after its interval
//!              └ fails   ─▶ waits (back-off); the next one is asked at once
//!   completed ─▶ to all that received `started`          stop ─▶ the same, and no more rounds
//! ```

use bytes::Bytes;
use dunlin_base::{InfoHash, PeerId, Rng, Time};
use dunlin_tracker::{AnnounceEvent, AnnounceFailure, AnnounceReply, AnnounceRequest, RetryIn};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The interval of a tracker that states none (practice).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1800);
/// The shortest interval of a tracker that states none (practice).
const DEFAULT_MIN_INTERVAL: Duration = Duration::from_secs(30);
/// No interval is longer: a tracker that says a year is mistaken.
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);
/// No back-off is longer (practice).
const MAX_BACKOFF: u64 = 3600;
/// `stopped` waits so long for the answer to the announce before it, so that the tracker gets them
/// in order.
const ORDER: Duration = Duration::from_secs(2);
/// Trackers of one torrent; what a torrent lists beyond is never asked.
const MAX_TRACKERS: usize = 200;

/// What has been moved since the torrent was started, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnnounceTotals {
    /// Given.
    pub uploaded: u64,
    /// Taken and kept.
    pub downloaded: u64,
    /// Missing of the whole torrent; not 0 while that is not known.
    pub left: u64,
    /// Thrown away because a hash was wrong.
    pub corrupt: u64,
    /// Taken twice.
    pub redundant: u64,
}

/// Who announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Who we are in it.
    pub peer_id: PeerId,
    /// By which trackers know that our addresses are one peer (BEP 7).
    pub key: u32,
}

/// What holds for all trackers of a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceRules {
    /// No interval is shorter.
    pub floor: Duration,
    /// One tracker at a time: peers of one are none of another (BEP 27).
    pub private: bool,
}

/// An announce to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueAnnounce {
    /// Which tracker, as the announcer numbers them.
    pub tracker: u32,
    /// Its address.
    pub url: Arc<str>,
    /// The request.
    pub request: AnnounceRequest,
}

/// What came of an announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceAnswer {
    /// The tracker's address.
    pub url: Arc<str>,
    /// Why it was announced.
    pub event: AnnounceEvent,
    /// The tracker is another one than before, and the torrent private: forget everybody first.
    pub switched: bool,
    /// The answer.
    pub result: Result<Box<AnnounceReply>, AnnounceFailure>,
}

#[derive(Clone, Debug)]
struct Tracker {
    url: Arc<str>,
    /// Failures in a row.
    failures: u32,
    /// Not to be asked before, …
    not_before: Time,
    /// … not even by order of somebody.
    min_before: Time,
    min_interval: Duration,
    /// Never again in this run.
    never: bool,
    /// The totals when it received `started`.
    base: Option<AnnounceTotals>,
    id: Option<Bytes>,
    /// Announces without an answer, the oldest first, and since when.
    waiting: VecDeque<AnnounceEvent>,
    waiting_since: Time,
    owes_completed: bool,
    owes_stopped: bool,
}

/// The trackers of one swarm.
#[derive(Clone, Debug)]
pub struct Announcer {
    identity: Identity,
    rules: AnnounceRules,
    trackers: Vec<Tracker>,
    tiers: Vec<Vec<usize>>,
    rng: Rng,
    running: bool,
    partial_seed: bool,
    /// The tracker that answered last.
    current: Option<usize>,
    next_round: Time,
}

impl Announcer {
    /// The trackers in `tiers`; each tier is shuffled once (BEP 12). Empty and repeated addresses
    /// count for nothing. It waits for [`Announcer::start`].
    #[must_use]
    pub fn new(
        identity: Identity,
        tiers: &[Vec<String>],
        rules: AnnounceRules,
        mut rng: Rng,
    ) -> Announcer {
        let mut trackers: Vec<Tracker> = Vec::new();
        let mut order = Vec::new();
        for tier in tiers {
            let mut places = Vec::new();
            for url in tier.iter().map(|url| url.trim()).filter(|url| !url.is_empty()) {
                let known = trackers.iter().any(|tracker| &*tracker.url == url);
                if !known && trackers.len() < MAX_TRACKERS {
                    places.push(trackers.len());
                    trackers.push(Tracker::new(url));
                }
            }
            rng.shuffle(&mut places);
            if !places.is_empty() {
                order.push(places);
            }
        }
        Announcer {
            identity,
            rules,
            trackers,
            tiers: order,
            rng,
            running: false,
            partial_seed: false,
            current: None,
            next_round: Time::NEVER,
        }
    }

    /// Whether there is no tracker.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trackers.is_empty()
    }

    /// From now on we are in the swarm.
    pub fn start(&mut self, now: Time) {
        if std::mem::replace(&mut self.running, true) {
            return;
        }
        for tracker in &mut self.trackers {
            tracker.owes_stopped = false;
            tracker.owes_completed = false;
            tracker.base = None;
            // Only a failure keeps it from hearing that we are back.
            if tracker.failures == 0 {
                tracker.not_before = Time::ZERO;
            }
        }
        self.next_round = now;
    }

    /// The whole torrent has just become complete: all that received `started` receive it.
    pub fn completed(&mut self) {
        for tracker in self.trackers.iter_mut().filter(|tracker| tracker.base.is_some()) {
            tracker.owes_completed = self.running;
        }
    }

    /// Whether nothing more is wanted though something is missing (BEP 21).
    pub fn set_partial_seed(&mut self, partial_seed: bool) {
        self.partial_seed = partial_seed;
    }

    /// Whether the torrent is private is known only now: it was added by its name alone.
    pub fn set_private(&mut self, private: bool) {
        self.rules.private = private;
    }

    /// We leave: all that received `started` receive it.
    pub fn stop(&mut self) {
        self.running = false;
        self.next_round = Time::NEVER;
        for tracker in self.trackers.iter_mut().filter(|tracker| tracker.base.is_some()) {
            tracker.owes_stopped = true;
        }
    }

    /// Whether every tracker received `stopped`, or cannot be reached.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        !self.running
            && self
                .trackers
                .iter()
                .all(|tracker| !tracker.owes_stopped && tracker.waiting.is_empty())
    }

    /// Somebody asks for a round now: as soon as the tracker allows it.
    pub fn force(&mut self, now: Time) {
        if !self.running {
            return;
        }
        for tracker in &mut self.trackers {
            tracker.not_before = tracker.min_before;
        }
        self.next_round = self.eligible_at().max(now);
    }

    /// When to call [`Announcer::due`] again.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        let owed = self.trackers.iter().filter_map(Tracker::owed_at).min();
        let round = (self.running && !self.is_asking()).then_some(self.next_round);
        owed.into_iter().chain(round).filter(|at| *at != Time::NEVER).min()
    }

    /// The next announce that is due; call it until `None`. `num_want` is how many peers are
    /// wanted.
    pub fn due(
        &mut self,
        now: Time,
        totals: AnnounceTotals,
        port: u16,
        num_want: Option<u32>,
    ) -> Option<DueAnnounce> {
        let owes = |tracker: &Tracker| tracker.owed_at().is_some_and(|at| at <= now);
        if let Some(index) = self.trackers.iter().position(owes) {
            let tracker = self.trackers.get_mut(index)?;
            let event = if tracker.owes_stopped {
                AnnounceEvent::Stopped
            } else {
                AnnounceEvent::Completed
            };
            tracker.owes_stopped = false;
            tracker.owes_completed = false;
            return self.ask(now, index, event, totals, port, num_want);
        }
        if !self.running || self.is_asking() || self.next_round > now {
            return None;
        }
        let index = self.in_order().find(|index| {
            self.trackers
                .get(*index)
                .is_some_and(|tracker| !tracker.never && tracker.not_before <= now)
        });
        let Some(index) = index else {
            self.next_round = self.eligible_at();
            return None;
        };
        let event = match self.trackers.get(index)?.base {
            None => AnnounceEvent::Started,
            Some(_) if self.partial_seed => AnnounceEvent::Paused,
            Some(_) => AnnounceEvent::None,
        };
        self.ask(now, index, event, totals, port, num_want)
    }

    fn ask(
        &mut self,
        now: Time,
        index: usize,
        event: AnnounceEvent,
        totals: AnnounceTotals,
        port: u16,
        num_want: Option<u32>,
    ) -> Option<DueAnnounce> {
        let Identity { info_hash, peer_id, key } = self.identity;
        let tracker = self.trackers.get_mut(index)?;
        if event == AnnounceEvent::Started {
            tracker.base = Some(totals);
        }
        let base = tracker.base.unwrap_or(totals);
        if event == AnnounceEvent::Stopped {
            tracker.base = None;
        }
        tracker.waiting.push_back(event);
        tracker.waiting_since = now;
        let request = AnnounceRequest {
            info_hash,
            peer_id,
            port,
            uploaded: totals.uploaded.saturating_sub(base.uploaded),
            downloaded: totals.downloaded.saturating_sub(base.downloaded),
            left: totals.left,
            corrupt: totals.corrupt.saturating_sub(base.corrupt),
            redundant: totals.redundant.saturating_sub(base.redundant),
            event,
            key,
            num_want: if event == AnnounceEvent::Stopped { Some(0) } else { num_want },
            tracker_id: tracker.id.clone(),
        };
        Some(DueAnnounce { tracker: index as u32, url: tracker.url.clone(), request })
    }

    /// What a tracker answered, or why it did not. `None` if it was not asked.
    pub fn answered(
        &mut self,
        now: Time,
        tracker: u32,
        result: Result<Box<AnnounceReply>, AnnounceFailure>,
    ) -> Option<AnnounceAnswer> {
        let index = tracker as usize;
        let event = self.trackers.get_mut(index)?.waiting.pop_front()?;
        let switched = match &result {
            Ok(reply) => self.succeeded(now, index, event, reply),
            Err(failure) => {
                self.failed(now, index, event, failure);
                false
            }
        };
        let url = self.trackers.get(index)?.url.clone();
        Some(AnnounceAnswer { url, event, switched, result })
    }

    fn succeeded(
        &mut self,
        now: Time,
        index: usize,
        event: AnnounceEvent,
        reply: &AnnounceReply,
    ) -> bool {
        let floor = self.rules.floor;
        let Some(tracker) = self.trackers.get_mut(index) else { return false };
        let least = Duration::from_secs(1);
        let min = reply.min_interval.unwrap_or(DEFAULT_MIN_INTERVAL).clamp(least, MAX_INTERVAL);
        let interval = reply.interval.unwrap_or(DEFAULT_INTERVAL).clamp(least, MAX_INTERVAL);
        let interval = if reply.min_interval.is_some() { interval.max(min) } else { interval };
        tracker.failures = 0;
        tracker.min_interval = min;
        tracker.min_before = now + min;
        tracker.not_before = now + min;
        tracker.id = reply.tracker_id.clone().or(tracker.id.take());
        if event == AnnounceEvent::Stopped {
            return false;
        }
        if self.running {
            self.next_round = now + interval.max(floor);
        }
        if let Some(tier) = self.tiers.iter_mut().find(|tier| tier.contains(&index)) {
            tier.retain(|other| *other != index);
            tier.insert(0, index);
        }
        let before = self.current.replace(index);
        self.rules.private && before.is_some_and(|before| before != index)
    }

    fn failed(&mut self, now: Time, index: usize, event: AnnounceEvent, failure: &AnnounceFailure) {
        let Some(tracker) = self.trackers.get_mut(index) else { return };
        tracker.failures = tracker.failures.saturating_add(1);
        let n = u64::from(tracker.failures.min(100));
        let backoff = (5 + 25 * n * n / 2).min(MAX_BACKOFF);
        let jitter = self.rng.below(backoff * 100 + 1);
        let backoff = Duration::from_secs(backoff) + Duration::from_millis(jitter);
        let mut wait = backoff.max(tracker.min_interval);
        match failure {
            AnnounceFailure::Refused { retry: Some(RetryIn::After(after)), .. } => {
                wait = (*after).min(MAX_INTERVAL);
            }
            AnnounceFailure::Refused { retry: Some(RetryIn::Never), .. }
            | AnnounceFailure::Unsupported(_) => tracker.never = true,
            AnnounceFailure::Refused { reason, retry: None } => {
                tracker.never = is_unregistered(reason);
            }
            AnnounceFailure::Unreachable(_) | AnnounceFailure::Malformed(_) => {}
        }
        tracker.not_before = now + wait;
        tracker.min_before = tracker.not_before;
        if event == AnnounceEvent::Started {
            // It never received `started`.
            tracker.base = None;
            tracker.owes_completed = false;
            tracker.owes_stopped = false;
        }
        if self.running {
            self.next_round = now;
        }
    }

    /// Trackers in the order in which they are tried.
    fn in_order(&self) -> impl Iterator<Item = usize> + '_ {
        self.tiers.iter().flatten().copied()
    }

    /// When the first tracker may be asked again.
    fn eligible_at(&self) -> Time {
        let usable = self.trackers.iter().filter(|tracker| !tracker.never);
        usable.map(|tracker| tracker.not_before).min().unwrap_or(Time::NEVER)
    }

    /// Whether a round is under way.
    fn is_asking(&self) -> bool {
        self.trackers.iter().any(|tracker| !tracker.waiting.is_empty())
    }

    /// Checks all invariants.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        let mut places: Vec<usize> = self.in_order().collect();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..self.trackers.len()), "each tracker has one place");
        for tracker in &self.trackers {
            assert!(tracker.waiting.len() <= 3, "{:?} of {}", tracker.waiting, tracker.url);
        }
    }
}

impl Tracker {
    fn new(url: &str) -> Tracker {
        Tracker {
            url: url.into(),
            failures: 0,
            not_before: Time::ZERO,
            min_before: Time::ZERO,
            min_interval: Duration::ZERO,
            never: false,
            base: None,
            id: None,
            waiting: VecDeque::new(),
            waiting_since: Time::ZERO,
            owes_completed: false,
            owes_stopped: false,
        }
    }

    /// When it receives what it is owed out of turn.
    fn owed_at(&self) -> Option<Time> {
        match (self.owes_stopped, self.owes_completed, self.waiting.is_empty()) {
            (true, _, true) | (false, true, true) => Some(Time::ZERO),
            (true, _, false) => Some(self.waiting_since + ORDER),
            (false, _, _) => None,
        }
    }
}

/// Whether a private tracker says that it does not know the torrent: asking again changes nothing
/// (practice).
fn is_unregistered(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("unregistered torrent") || reason.contains("torrent not registered")
}

#[cfg(test)]
mod tests;
