//! Rates of a torrent of the internet: what it may ask for, and what it may give, by its own limits and
//! by those of all torrents together. A torrent of a cluster has none.

use super::{Abroad, Shared, Torrent};
use crate::io::{Limits, Reason};
use crate::rate_limit::Bucket;
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
    }
}

impl Torrent {
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
