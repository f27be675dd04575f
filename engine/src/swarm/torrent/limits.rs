//! Limits of a torrent that change: its rates, and the goal of a seed.

use super::{SessionContext, Torrent};
use crate::swarm::rate_limit::Limits;
use dunlin_base::{ConnId, Time};

impl Torrent {
    /// So much payload is given in all from now on, at most; `None` is without an end.
    pub(crate) fn give_at_most(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        most: Option<u64>,
    ) {
        if std::mem::replace(&mut self.uploads.giving.at_most, most) != most {
            self.go_on(context, now);
        }
    }

    /// What was on its way to somebody has not gone: it may go to somebody else.
    pub(super) fn may_give_again(&mut self, context: &mut SessionContext, now: Time) {
        if self.uploads.giving.at_most.is_some() {
            self.go_on(context, now);
        }
    }

    /// Other limits from now on.
    pub(crate) fn limit(&mut self, context: &mut SessionContext, now: Time, limits: Limits) {
        self.rates.set(now, limits);
        self.go_on(context, now);
    }

    /// More may pass than before: asks and gives whatever it may. Who is served first takes turns.
    pub(crate) fn go_on(&mut self, context: &mut SessionContext, now: Time) {
        self.fill(context, now);
        let mut waiting: Vec<ConnId> = self
            .connections
            .peers
            .iter()
            .filter(|(_, peer)| !peer.queue.is_empty())
            .map(|(conn, _)| *conn)
            .collect();
        self.uploads.giving.take_turns(&mut waiting);
        for conn in waiting {
            self.pump(context, now, conn);
        }
    }
}
