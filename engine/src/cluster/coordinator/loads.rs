//! How busy the members of a swarm are.
//!
//! Most profiles sort by loads that were reported: they are asked for in the background, for the
//! answers to come. A rank of profile `course` awaits its answers, as the classic programs do, and
//! such an answer is sorted by loads that were asked for it:
//!
//! ```text
//!   lookup, refresh ──▶ load query to each member ──▶ all reported, or LOAD_WAIT passed ──▶ swarm
//! ```
//!
//! A member that reports too late counts with its last load, and no answer waits for it again until
//! it has reported. A rank owes at most one report at a time: a query that comes while it owes one
//! is sent once that one is answered, for all answers that wait for it by then.

use super::Coordinator;
use dunlin_base::{Rank, Time, TorrentId};
use dunlin_control::Load;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long an answer waits for the loads that were asked for it: far longer than a rank that lives
/// takes to report, and a tenth of the silence after which a rank counts as dead.
pub const LOAD_WAIT: Duration = Duration::from_secs(1);
/// Answers to one rank that may wait for loads. A rank that awaits its answers has one lookup and
/// one refresh on their way; one that sends more does not wait, and gets what is known.
const MAX_WAITING: usize = 4;

/// The load queries of one rank.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadQueries {
    /// How many were sent.
    sent: u64,
    /// The last one is not answered yet.
    owed: bool,
    /// Another one is to be sent once that one is answered.
    again: bool,
    /// It let the time of an answer pass: no answer waits for it until it reports.
    overdue: bool,
    /// When it last reported.
    reported: Option<Time>,
}

/// An answer that waits for loads.
#[derive(Clone, Debug)]
pub(super) struct PendingAnswer {
    to: Rank,
    /// The name that was looked up; none if it is the answer to a refresh.
    name: Option<String>,
    /// The swarms and whom they will name.
    swarms: Vec<(TorrentId, Vec<Rank>)>,
    /// By rank: the query whose answer counts, by number.
    reports: BTreeMap<Rank, u64>,
    until: Time,
}

impl LoadQueries {
    /// The number of a query that is sent now, or as soon as the owed one is answered; and whether
    /// it is to be sent now.
    fn ask(&mut self) -> (u64, bool) {
        if self.owed {
            self.again = true;
            return (self.sent + 1, false);
        }
        (self.owed, self.sent) = (true, self.sent + 1);
        (self.sent, true)
    }
}

impl Coordinator {
    /// Answers once the members that are named have reported their loads.
    pub(super) fn answer_by_load(
        &mut self,
        now: Time,
        to: Rank,
        name: Option<String>,
        swarms: Vec<(TorrentId, Vec<Rank>)>,
    ) {
        let named: BTreeSet<Rank> = swarms.iter().flat_map(|(_, ranks)| ranks).copied().collect();
        let mut reports = BTreeMap::new();
        for rank in named {
            if rank == to || !self.is_living(rank) {
                continue;
            }
            let Some(peer) = self.peer_mut(rank).filter(|peer| !peer.queries.overdue) else {
                continue;
            };
            let (number, send) = peer.queries.ask();
            reports.insert(rank, number);
            if send {
                self.query(rank);
            }
        }
        self.waiting.push_back(PendingAnswer { to, name, swarms, reports, until: now + LOAD_WAIT });
        if self.waiting.iter().filter(|waiting| waiting.to == to).count() > MAX_WAITING {
            let own = self.waiting.iter_mut().filter(|waiting| waiting.to == to);
            own.for_each(|waiting| waiting.reports.clear());
        }
        self.send_ready();
    }

    /// Asks the members that somebody was told of how busy they are, for the answers to come. A
    /// member that owes a report, or gave one lately, is left in peace.
    pub(super) fn query_in_background(&mut self, now: Time, asker: Rank, named: Vec<Rank>) {
        let age = self.config.load_min_age;
        for rank in named.into_iter().filter(|rank| *rank != asker) {
            let Some(peer) = self.peer_mut(rank) else { continue };
            let queries = &mut peer.queries;
            let old = queries.reported.is_none_or(|reported| now.since(reported) >= age);
            if old && !queries.owed {
                queries.ask();
                self.query(rank);
            }
        }
    }

    fn query(&mut self, rank: Rank) {
        self.send(rank, dunlin_control::Control::LoadQuery);
    }

    /// A report of a load. One that nobody asked for counts as well.
    pub(super) fn load(&mut self, now: Time, from: Rank, load: Load) {
        let Some(peer) = self.peer_mut(from) else { return };
        let queries = &mut peer.queries;
        (queries.owed, queries.overdue, queries.reported) = (false, false, Some(now));
        let answered = queries.sent;
        let again = std::mem::take(&mut queries.again);
        if again {
            queries.ask();
        }
        self.table.load(from, load);
        if again {
            self.query(from);
        }
        let waits_for = |waiting: &mut PendingAnswer| {
            waiting.reports.get(&from).is_some_and(|number| *number <= answered)
        };
        for waiting in &mut self.waiting {
            if waits_for(waiting) {
                waiting.reports.remove(&from);
            }
        }
        self.send_ready();
    }

    /// Nothing comes from this rank any more, and nothing is sent to it.
    pub(super) fn forget_load(&mut self, rank: Rank) {
        if let Some(peer) = self.peer_mut(rank) {
            peer.queries = LoadQueries::default();
        }
        self.waiting.retain(|waiting| waiting.to != rank);
        self.wait_no_more_for(rank);
        self.send_ready();
    }

    /// Answers go without the loads that are overdue.
    pub(super) fn expire_loads(&mut self, now: Time) {
        let passed = self.waiting.iter().take_while(|waiting| waiting.until <= now);
        let overdue: BTreeSet<Rank> =
            passed.flat_map(|waiting| waiting.reports.keys()).copied().collect();
        for rank in &overdue {
            if let Some(peer) = self.peer_mut(*rank) {
                (peer.queries.overdue, peer.queries.again) = (true, false);
            }
            self.wait_no_more_for(*rank);
        }
        self.send_ready();
    }

    /// When the first answer has waited long enough.
    pub(super) fn loads_due(&self) -> Option<Time> {
        self.waiting.front().map(|waiting| waiting.until)
    }

    fn wait_no_more_for(&mut self, rank: Rank) {
        for waiting in &mut self.waiting {
            waiting.reports.remove(&rank);
        }
    }

    /// Sends the answers that wait for nothing any more. Those to one rank keep their order.
    fn send_ready(&mut self) {
        let mut blocked = BTreeSet::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if !waiting.reports.is_empty() || blocked.contains(&waiting.to) {
                blocked.insert(waiting.to);
                self.waiting.push_back(waiting);
                continue;
            }
            let PendingAnswer { to, name, swarms, .. } = waiting;
            for (torrent, ranks) in swarms {
                self.answer(to, torrent, name.clone(), &ranks);
            }
        }
    }

    /// Asserts the invariants of answers that wait.
    ///
    /// # Panics
    /// If one does not hold.
    pub(super) fn check_loads(&self) {
        assert!(self.waiting.iter().is_sorted_by_key(|waiting| waiting.until));
        let mut first = BTreeSet::new();
        for waiting in &self.waiting {
            assert!(self.is_living(waiting.to), "{:?} gets an answer", waiting.to);
            let waits = !waiting.reports.is_empty();
            assert!(waits || !first.insert(waiting.to), "an answer waits for nothing");
            first.insert(waiting.to);
            for (rank, number) in &waiting.reports {
                let queries = self.peer(*rank).map(|peer| &peer.queries);
                let expected = queries.is_some_and(|queries| {
                    let last = queries.sent + u64::from(queries.again);
                    queries.owed && !queries.overdue && *number <= last
                });
                assert!(expected && self.is_living(*rank), "{rank:?} will report");
            }
        }
        for (rank, _) in self.lives() {
            let own = self.waiting.iter().filter(|waiting| waiting.to == rank);
            assert!(own.count() <= MAX_WAITING);
        }
    }
}
