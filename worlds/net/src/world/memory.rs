//! Memory that connections hold: what waits to be sent, and what has come of a message. It is counted
//! where it changes, in the budget of the process, and bounded for each connection and in all.

use super::{Conn, World};
use crate::outbox::MAX_MESSAGES;
use crate::world::payload::WINDOW;
use dunlin_base::ConnId;
use std::time::{Duration, Instant};

/// What connections may hold together is this part of the memory budget, …
const HELD_SHARE: u64 = 4;
/// … and with a small budget so many bytes: twice what a usual number of peers is being sent.
const MIN_HELD: usize = 8 << 20;
/// Whoever took nothing for so long goes first when connections hold too much.
const SLOW: Duration = Duration::from_secs(2);
/// Whoever takes nothing of what waits for it for so long is gone (practice: one to two minutes).
const STALLED: Duration = Duration::from_secs(120);

/// What all connections may hold with a budget of `total` bytes.
fn most_held(total: u64) -> usize {
    usize::try_from(total / HELD_SHARE).unwrap_or(usize::MAX).max(MIN_HELD)
}

/// How fast the other side takes what is sent to it. What it sends us meanwhile does not count: a peer
/// that talks and never reads must go like one that is silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When the system last took something, or something began to wait.
    at: Instant,
    waits: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace { at: now, waits: false }
    }

    /// The system took something.
    pub(super) fn took(&mut self, now: Instant) {
        self.at = now;
    }

    /// Whether anything waits for it now.
    fn waits(&mut self, now: Instant, waits: bool) {
        if waits && !self.waits {
            self.at = now;
        }
        self.waits = waits;
    }

    /// Whether nothing was taken for so long though something waits.
    fn is_idle_for(&self, now: Instant, time: Duration) -> bool {
        self.waits && now.saturating_duration_since(self.at) >= time
    }
}

impl Conn {
    /// Bytes of memory that it holds.
    fn holds(&self) -> usize {
        self.outbox.held() + self.receiver.held()
    }
}

impl World {
    /// Counts what a connection holds now. Whoever holds too much is closed, and if all together do,
    /// those go who take nothing.
    pub(super) fn weigh(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.pace.waits(Instant::now(), !conn.outbox.is_empty());
        let holds = conn.holds();
        self.held = self.held + holds - std::mem::replace(&mut conn.held, holds);
        if conn.outbox.messages() > MAX_MESSAGES {
            tracing::debug!(%id, "hang up: it does not take what is sent to it");
            self.doom(id);
        }
        while self.held > most_held(self.budget.total()) && self.lighten() {}
    }

    /// It is closed as soon as the engine has been heard out; what it holds is free at once.
    fn doom(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        self.held -= std::mem::take(&mut conn.held);
        conn.outbox = crate::outbox::Outbox::default();
        self.doomed.insert(id);
    }

    /// Makes the connection hold less that holds most: of those that take nothing, if there are any.
    fn lighten(&mut self) -> bool {
        let now = Instant::now();
        let heaviest = |slow: bool| {
            let conns = self.conns.iter().filter(|(id, conn)| {
                let takes = !conn.pace.is_idle_for(now, SLOW);
                !self.doomed.contains(id) && conn.held > 0 && !(slow && takes)
            });
            conns.max_by_key(|(_, conn)| conn.held).map(|(id, _)| *id)
        };
        let Some(id) = heaviest(true).or_else(|| heaviest(false)) else { return false };
        let Some(conn) = self.conns.get_mut(&id) else { return false };
        conn.outbox.compact();
        let holds = conn.holds();
        let before = std::mem::replace(&mut conn.held, holds);
        self.held = self.held + holds - before;
        if holds >= before {
            tracing::debug!(%id, "hang up: connections hold too much memory");
            self.doom(id);
        }
        true
    }

    /// Closes connections that take nothing of what waits for them.
    pub(super) fn close_stalled(&mut self, now: Instant) {
        let stalled = |conn: &Conn| conn.pace.is_idle_for(now, STALLED);
        let stalled =
            self.conns.iter().filter(|(_, conn)| stalled(conn) && conn.dialling.is_none());
        let stalled: Vec<ConnId> = stalled.map(|(id, _)| *id).collect();
        for id in stalled {
            tracing::debug!(%id, "hang up: it takes nothing of what waits for it");
            self.gone(id);
        }
    }

    /// Tells the budget what connections, reads for others, what was read lately and metadata take.
    pub(super) fn count_held(&mut self) {
        self.drain();
        #[cfg(debug_assertions)]
        self.check_held();
        let reads = self.reads.under_way() * WINDOW as usize;
        let held = self.held + reads + self.node.held_bytes();
        self.budget.hold(held as u64 + self.hot.bytes());
    }

    /// What is counted is what is held, and it is bounded.
    #[cfg(debug_assertions)]
    fn check_held(&self) {
        self.reads.check();
        let all: usize = self.conns.values().map(Conn::holds).sum();
        assert_eq!(all, self.held, "bytes held by connections");
        assert!(self.held <= most_held(self.budget.total()), "{} bytes are held", self.held);
        for (id, conn) in &self.conns {
            assert!(conn.outbox.messages() <= MAX_MESSAGES, "the outbox of {id}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_taken_counts_as_taking() {
        let begin = Instant::now();
        let at = |secs| begin + Duration::from_secs(secs);
        let mut pace = Pace::new(begin);
        // Nothing waits: it may be silent for as long as it likes.
        assert!(!pace.is_idle_for(at(1000), STALLED));
        pace.waits(at(1000), true);
        assert!(!pace.is_idle_for(at(1119), STALLED));
        assert!(pace.is_idle_for(at(1120), STALLED));
        // More that waits does not set it back, what is taken does.
        pace.waits(at(1100), true);
        assert!(pace.is_idle_for(at(1120), STALLED));
        pace.took(at(1110));
        assert!(!pace.is_idle_for(at(1120), STALLED));
        pace.waits(at(1111), false);
        assert!(!pace.is_idle_for(at(9999), STALLED));
    }
}
