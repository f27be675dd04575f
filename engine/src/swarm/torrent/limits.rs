//! Rates of a torrent: what it may ask for, and what it may give, by its own limits and by those of all
//! torrents together. Without a limit everything passes.

use super::{SessionContext, Torrent};
use crate::swarm::rate_limit::Bucket;
use crate::swarm::rate_limit::Limits;
use crate::wake::Reason;
use dunlin_base::{ConnId, Time};

/// What a torrent gives besides its rate.
#[derive(Debug, Default)]
pub(crate) struct Giving {
    /// Payload that is given in all, at most: what is left of the goal of a seed.
    pub(crate) at_most: Option<u64>,
    /// Bytes of blocks that the world is serving.
    pub(crate) on_its_way: u64,
    /// Which waiting peer is served first, where not all can be.
    turn: usize,
}

fn both_pass(own: &mut Bucket, all: &mut Bucket, now: Time) -> Result<(), Time> {
    match (own.passes(now), all.passes(now)) {
        (Ok(()), Ok(())) => Ok(()),
        (own, all) => Err(own.err().max(all.err()).unwrap_or(now)),
    }
}

fn or_wake(shared: &mut SessionContext, passes: Result<(), Time>) -> bool {
    match passes {
        Ok(()) => true,
        Err(at) => {
            shared.timers.by(Reason::Rate, at);
            false
        }
    }
}

impl Torrent {
    /// Whether a block may be asked for now; otherwise there is a wake-up for when it may.
    pub(super) fn may_take(&mut self, shared: &mut SessionContext, now: Time) -> bool {
        let passes = both_pass(&mut self.rates.down, &mut shared.rates.down, now);
        or_wake(shared, passes)
    }

    /// Whether a block may be given now; otherwise there is a wake-up for when it may.
    pub(super) fn may_give(&mut self, shared: &mut SessionContext, now: Time) -> bool {
        if self.gives_no_more() {
            return false;
        }
        let passes = both_pass(&mut self.rates.up, &mut shared.rates.up, now);
        or_wake(shared, passes)
    }

    /// A block was asked for.
    pub(super) fn takes(&mut self, shared: &mut SessionContext, bytes: u32) {
        self.rates.down.take(bytes);
        shared.rates.down.take(bytes);
    }

    /// A block that was asked for will not come.
    pub(super) fn gives_back(&mut self, shared: &mut SessionContext, bytes: u32) {
        self.rates.down.give_back(bytes);
        shared.rates.down.give_back(bytes);
    }

    /// A block is given.
    pub(super) fn gives(&mut self, shared: &mut SessionContext, bytes: u32) {
        self.rates.up.take(bytes);
        shared.rates.up.take(bytes);
        self.giving.on_its_way += u64::from(bytes);
    }

    /// A block that was to be given is not: who takes its requests back must not use up what others may
    /// have.
    pub(super) fn not_given(&mut self, shared: &mut SessionContext, bytes: u32) {
        self.rates.up.give_back(bytes);
        shared.rates.up.give_back(bytes);
    }

    /// Whether the goal of a seed needs nothing more than what is given, and what is on its way.
    pub(super) fn gives_no_more(&self) -> bool {
        let going = self.traffic.sent.total().saturating_add(self.giving.on_its_way);
        self.giving.at_most.is_some_and(|most| going >= most)
    }

    /// So much payload is given in all from now on, at most; `None` is without an end.
    pub(crate) fn give_at_most(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        most: Option<u64>,
    ) {
        if std::mem::replace(&mut self.giving.at_most, most) != most {
            self.go_on(shared, now);
        }
    }

    /// What was on its way to somebody has not gone: it may go to somebody else.
    pub(super) fn may_give_again(&mut self, shared: &mut SessionContext, now: Time) {
        if self.giving.at_most.is_some() {
            self.go_on(shared, now);
        }
    }

    /// Other limits from now on.
    pub(crate) fn limit(&mut self, shared: &mut SessionContext, now: Time, limits: Limits) {
        self.rates.set(now, limits);
        self.go_on(shared, now);
    }

    /// More may pass than before: asks and gives whatever it may. Who is served first takes turns.
    pub(crate) fn go_on(&mut self, shared: &mut SessionContext, now: Time) {
        self.fill(shared, now);
        let mut waiting: Vec<ConnId> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.queue.is_empty())
            .map(|(conn, _)| *conn)
            .collect();
        if waiting.is_empty() {
            return;
        }
        self.giving.turn = self.giving.turn.wrapping_add(1);
        let first = self.giving.turn % waiting.len();
        waiting.rotate_left(first);
        for conn in waiting {
            self.pump(shared, now, conn);
        }
    }
}
