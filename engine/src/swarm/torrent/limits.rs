//! Rates of a torrent of the internet: what it may ask for, and what it may give, by its own limits and
//! by those of all torrents together. A torrent of a cluster has none.

use super::{Abroad, Shared, Torrent};
use crate::io::{Limits, Reason};
use crate::swarm::rate_limit::Bucket;
use dunlin_base::{ConnId, Time};

fn both_pass(own: &mut Bucket, all: &mut Bucket, now: Time) -> Result<(), Time> {
    match (own.passes(now), all.passes(now)) {
        (Ok(()), Ok(())) => Ok(()),
        (own, all) => Err(own.err().max(all.err()).unwrap_or(now)),
    }
}

fn or_wake(shared: &mut Shared, passes: Result<(), Time>) -> bool {
    match passes {
        Ok(()) => true,
        Err(at) => {
            shared.timers.by(Reason::Rate, at);
            false
        }
    }
}

/// Whether a block may be asked for now; otherwise there is a wake-up for when it may.
pub(super) fn may_take(abroad: Option<&mut Abroad>, shared: &mut Shared, now: Time) -> bool {
    let (Some(abroad), Some(net)) = (abroad, &mut shared.net) else { return true };
    let passes = both_pass(&mut abroad.down, &mut net.down, now);
    or_wake(shared, passes)
}

/// Whether a block may be given now; otherwise there is a wake-up for when it may.
pub(super) fn may_give(abroad: Option<&mut Abroad>, shared: &mut Shared, now: Time) -> bool {
    let (Some(abroad), Some(net)) = (abroad, &mut shared.net) else { return true };
    if abroad.gives_no_more() {
        return false;
    }
    let passes = both_pass(&mut abroad.up, &mut net.up, now);
    or_wake(shared, passes)
}

/// A block was asked for.
pub(super) fn takes(abroad: Option<&mut Abroad>, shared: &mut Shared, bytes: u32) {
    if let (Some(abroad), Some(net)) = (abroad, &mut shared.net) {
        abroad.down.take(bytes);
        net.down.take(bytes);
    }
}

/// A block that was asked for will not come.
pub(super) fn gives_back(abroad: Option<&mut Abroad>, shared: &mut Shared, bytes: u32) {
    if let (Some(abroad), Some(net)) = (abroad, &mut shared.net) {
        abroad.down.give_back(bytes);
        net.down.give_back(bytes);
    }
}

/// A block is given.
pub(super) fn gives(abroad: Option<&mut Abroad>, shared: &mut Shared, bytes: u32) {
    if let (Some(abroad), Some(net)) = (abroad, &mut shared.net) {
        abroad.up.take(bytes);
        net.up.take(bytes);
        abroad.on_its_way += u64::from(bytes);
    }
}

impl Abroad {
    /// Whether the goal of a seed needs nothing more than what is given, and what is on its way.
    pub(super) fn gives_no_more(&self) -> bool {
        let going = self.sent.total().saturating_add(self.on_its_way);
        self.give_at_most.is_some_and(|most| going >= most)
    }
}

/// A block that was to be given is not: who takes its requests back must not use up what others may
/// have.
pub(super) fn not_given(abroad: Option<&mut Abroad>, shared: &mut Shared, bytes: u32) {
    if let (Some(abroad), Some(net)) = (abroad, &mut shared.net) {
        abroad.up.give_back(bytes);
        net.up.give_back(bytes);
    }
}

impl Torrent {
    /// So much payload is given in all from now on, at most; `None` is without an end.
    pub(crate) fn give_at_most(&mut self, shared: &mut Shared, now: Time, most: Option<u64>) {
        let Some(abroad) = &mut self.abroad else { return };
        if std::mem::replace(&mut abroad.give_at_most, most) != most {
            self.go_on(shared, now);
        }
    }

    /// What was on its way to somebody has not gone: it may go to somebody else.
    pub(super) fn may_give_again(&mut self, shared: &mut Shared, now: Time) {
        if self.abroad.as_ref().is_some_and(|abroad| abroad.give_at_most.is_some()) {
            self.go_on(shared, now);
        }
    }

    /// Other limits from now on.
    pub(crate) fn limit(&mut self, shared: &mut Shared, now: Time, limits: Limits) {
        if let Some(abroad) = &mut self.abroad {
            abroad.down.set(now, limits.down);
            abroad.up.set(now, limits.up);
        }
        self.go_on(shared, now);
    }

    /// More may pass than before: asks and gives whatever it may. Who is served first takes turns.
    pub(crate) fn go_on(&mut self, shared: &mut Shared, now: Time) {
        self.fill(shared, now);
        let mut waiting: Vec<ConnId> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.queue.is_empty())
            .map(|(conn, _)| *conn)
            .collect();
        let Some(abroad) = self.abroad.as_mut().filter(|_| !waiting.is_empty()) else { return };
        abroad.turn = abroad.turn.wrapping_add(1);
        let first = abroad.turn % waiting.len();
        waiting.rotate_left(first);
        for conn in waiting {
            self.pump(shared, now, conn);
        }
    }
}
