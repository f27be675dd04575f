//! Memory that connections hold: what waits to be sent, and received parts of messages. It is
//! counted where it changes, in the budget of the process, and bounded for each connection and for
//! all together.

use super::{Connection, World};
use crate::outbox::MAX_MESSAGES;
use crate::world::payload::WINDOW;
use dunlin_base::ConnId;
use std::time::{Duration, Instant};

/// Connections together may hold this part of the memory budget, …
const HELD_SHARE: u64 = 4;
/// … and with a small budget so many bytes: twice what a usual number of peers is being sent.
const MIN_HELD: usize = 8 << 20;
/// Connections whose peer took nothing for so long are the first to be closed when connections hold
/// too much.
const SLOW: Duration = Duration::from_secs(2);
/// A connection whose peer takes nothing of what waits for it for so long is closed (practice: one
/// to two minutes).
const STALLED: Duration = Duration::from_secs(120);

/// What all connections may hold with a budget of `total` bytes.
fn most_held(total: u64) -> usize {
    usize::try_from(total / HELD_SHARE).unwrap_or(usize::MAX).max(MIN_HELD)
}

/// Whether a peer takes what is sent to it. What it sends meanwhile does not count: a peer that
/// sends and never reads is closed like one that is silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendProgress {
    /// When the system last took bytes, or the first of them began to wait.
    at: Instant,
    waits: bool,
}

impl SendProgress {
    pub(super) fn new(now: Instant) -> SendProgress {
        SendProgress { at: now, waits: false }
    }

    /// The system took bytes.
    pub(super) fn took(&mut self, now: Instant) {
        self.at = now;
    }

    /// Notes whether bytes wait now.
    fn waits(&mut self, now: Instant, waits: bool) {
        if waits && !self.waits {
            self.at = now;
        }
        self.waits = waits;
    }

    /// Whether bytes wait and none was taken for `time`.
    fn is_idle_for(&self, now: Instant, time: Duration) -> bool {
        self.waits && now.saturating_duration_since(self.at) >= time
    }
}

impl Connection {
    /// Bytes of memory that it holds.
    fn holds(&self) -> usize {
        self.outbox.held() + self.receiver.held()
    }
}

impl World {
    /// Counts what a connection holds now. A connection that holds too much is closed; if all
    /// together hold too much, those are closed whose peers take nothing.
    pub(super) fn count_memory(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.send_progress.waits(Instant::now(), !conn.outbox.is_empty());
        let holds = conn.holds();
        self.held = self.held + holds - std::mem::replace(&mut conn.held, holds);
        if conn.outbox.messages() > MAX_MESSAGES {
            tracing::debug!(%id, "hang up: it does not take what is sent to it");
            self.close_soon(id);
        }
        while self.held > most_held(self.budget.total()) && self.free_memory() {}
    }

    /// Closes a connection as soon as the engine has no more outputs; what it holds is free at
    /// once.
    fn close_soon(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        self.held -= std::mem::take(&mut conn.held);
        conn.outbox = crate::outbox::Outbox::default();
        self.closing_conns.insert(id);
    }

    /// Frees memory of the connection that holds most, of those whose peers take nothing if there
    /// are any. Returns false if no connection holds any.
    fn free_memory(&mut self) -> bool {
        let now = Instant::now();
        let heaviest = |slow: bool| {
            let conns = self.conns.iter().filter(|(id, conn)| {
                let takes = !conn.send_progress.is_idle_for(now, SLOW);
                !self.closing_conns.contains(id) && conn.held > 0 && !(slow && takes)
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
            self.close_soon(id);
        }
        true
    }

    /// Closes connections that take nothing of what waits for them.
    pub(super) fn close_stalled(&mut self, now: Instant) {
        let stalled = |conn: &Connection| conn.send_progress.is_idle_for(now, STALLED);
        let stalled =
            self.conns.iter().filter(|(_, conn)| stalled(conn) && conn.dial_deadline.is_none());
        let stalled: Vec<ConnId> = stalled.map(|(id, _)| *id).collect();
        for id in stalled {
            tracing::debug!(%id, "hang up: it takes nothing of what waits for it");
            self.disconnected(id);
        }
    }

    /// Reports to the budget what connections, reads for peers, the read cache and metadata take.
    pub(super) fn report_memory(&mut self) {
        self.drain();
        #[cfg(debug_assertions)]
        self.check_held();
        let reads = self.reads.under_way() * WINDOW as usize;
        let held = self.held + reads + self.client.held_bytes();
        self.budget.hold(held as u64 + self.read_cache.bytes());
    }

    /// Checks that the count is right and within its bounds.
    #[cfg(debug_assertions)]
    fn check_held(&self) {
        self.reads.check();
        let all: usize = self.conns.values().map(Connection::holds).sum();
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
        let mut send_progress = SendProgress::new(begin);
        // Nothing waits: it may be silent for as long as it likes.
        assert!(!send_progress.is_idle_for(at(1000), STALLED));
        send_progress.waits(at(1000), true);
        assert!(!send_progress.is_idle_for(at(1119), STALLED));
        assert!(send_progress.is_idle_for(at(1120), STALLED));
        // More that waits does not set it back, what is taken does.
        send_progress.waits(at(1100), true);
        assert!(send_progress.is_idle_for(at(1120), STALLED));
        send_progress.took(at(1110));
        assert!(!send_progress.is_idle_for(at(1120), STALLED));
        send_progress.waits(at(1111), false);
        assert!(!send_progress.is_idle_for(at(9999), STALLED));
    }
}
