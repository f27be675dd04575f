//! All the reasons to wake up, on one page: one slot a reason, each the earliest time it may be
//! due. A slot may be early (the work then finds nothing to do and sets it again), never late.

use crate::wake::{Reason, Wake};
use dunlin_base::Time;

const REASONS: [Reason; 14] = [
    Reason::Choke,
    Reason::Have,
    Reason::Request,
    Reason::Refresh,
    Reason::Stall,
    Reason::Alive,
    Reason::Dial,
    Reason::Start,
    Reason::Silence,
    Reason::Load,
    Reason::Announce,
    Reason::Rate,
    Reason::Idle,
    Reason::Goal,
];

/// The timers of one engine.
#[derive(Clone, Debug)]
pub struct Timers {
    due: [Time; REASONS.len()],
}

impl Default for Timers {
    fn default() -> Timers {
        Timers { due: [Time::NEVER; REASONS.len()] }
    }
}

impl Timers {
    /// Wakes at `at` for `reason`, or earlier if an earlier time is already set.
    pub fn by(&mut self, reason: Reason, at: Time) {
        let slot = &mut self.due[reason as usize];
        *slot = at.min(*slot);
    }

    /// Sets the time for `reason`; `Time::NEVER` stops it.
    pub fn set(&mut self, reason: Reason, at: Time) {
        self.due[reason as usize] = at;
    }

    /// Whether `reason` is due; if so its slot is cleared.
    pub fn take(&mut self, reason: Reason, now: Time) -> bool {
        let slot = &mut self.due[reason as usize];
        let due = *slot <= now;
        if due {
            *slot = Time::NEVER;
        }
        due
    }

    /// The earliest time and its reason.
    #[must_use]
    pub fn next(&self) -> Wake {
        let (reason, at) = REASONS.iter().zip(self.due).min_by_key(|(_, at)| *at)?;
        (at != Time::NEVER).then_some((at, *reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_wins_and_says_why() {
        for (index, reason) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, index, "slots are in the order of the enum");
        }
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.by(Reason::Alive, Time(9));
        timers.by(Reason::Request, Time(5));
        timers.by(Reason::Request, Time(7));
        assert_eq!(timers.next(), Some((Time(5), Reason::Request)));
        assert!(!timers.take(Reason::Request, Time(4)));
        assert!(timers.take(Reason::Request, Time(5)));
        assert_eq!(timers.next(), Some((Time(9), Reason::Alive)));
        timers.set(Reason::Alive, Time::NEVER);
        assert_eq!(timers.next(), None);
    }
}
