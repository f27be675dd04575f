//! The clock of a run over processes. Deadlines look at its local time; traces at its own, which
//! every message from a clock that is ahead sets forward, so that no message seems to be handled
//! before it was sent, on whatever hosts the ranks are.

use dunlin_base::Time;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The clock of this process. It stands at zero until the run begins.
#[derive(Debug, Default)]
pub(crate) struct TraceClock {
    start: OnceLock<Instant>,
    /// Nanoseconds by which others are ahead.
    ahead: AtomicU64,
}

impl TraceClock {
    /// The run begins now, if it has not begun.
    pub(crate) fn begin(&self) {
        let _ = self.start.set(Instant::now());
    }

    /// The time since the run began here: what deadlines are counted in.
    pub(crate) fn local(&self) -> Time {
        self.start.get().map_or(Time::ZERO, |start| Time::from_duration(start.elapsed()))
    }

    /// The trace's time now, in nanoseconds.
    pub(crate) fn now(&self) -> u64 {
        self.of(self.local()).0
    }

    /// The trace's time of a local time.
    pub(crate) fn of(&self, local: Time) -> Time {
        Time(local.0.saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    /// Takes in the stamp of a message: its sender's time of the trace.
    pub(crate) fn observe(&self, stamp: u64) {
        let ahead = stamp.saturating_sub(self.local().0);
        self.ahead.fetch_max(ahead, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_sets_it_forward_and_none_sets_it_back() {
        let clock = TraceClock::default();
        assert_eq!((clock.now(), clock.local()), (0, Time::ZERO), "nothing has begun");
        clock.begin();
        let hour = 3_600_000_000_000;
        clock.observe(hour);
        let first = clock.now();
        assert!(first >= hour);
        clock.observe(5);
        assert!(clock.now() >= first);
        assert!(clock.local().0 < hour, "deadlines do not jump");
    }
}
