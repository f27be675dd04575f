//! How many messages that change nothing one peer may still send: a budget that comes back with
//! time.

use dunlin_base::Time;
use std::time::Duration;

/// Messages that change nothing which one peer may send at once: a choke and the requests that
/// cross it, the cancels of an endgame, the metadata of the largest torrent.
const MAX_IDLE_MESSAGES: u32 = 4000;
/// Those that it may send each second besides, for as long as it likes.
const IDLE_MESSAGES_PER_SECOND: u32 = 200;

/// How many messages that change nothing a peer may still send. By default nothing is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patience {
    counts: bool,
    left: u32,
    /// Until when what was regained is counted.
    at: Time,
}

impl Patience {
    pub(crate) fn new(now: Time) -> Patience {
        Patience { counts: true, left: MAX_IDLE_MESSAGES, at: now }
    }

    /// Whether messages are counted at all.
    pub(crate) fn counts(&self) -> bool {
        self.counts
    }

    /// Takes `cost`; false if there is not so much left.
    pub(crate) fn take(&mut self, now: Time, cost: u32) -> bool {
        if !self.counts {
            return true;
        }
        let each = Duration::from_secs(1) / IDLE_MESSAGES_PER_SECOND;
        let regained = now.since(self.at).as_nanos() / each.as_nanos();
        let regained = u32::try_from(regained).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(regained).min(MAX_IDLE_MESSAGES);
        // A part of one that came back counts the next time.
        self.at = if regained == u32::MAX { now } else { self.at + each * regained };
        let enough = self.left >= cost;
        self.left = self.left.saturating_sub(cost);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_and_comes_back() {
        let mut patience = Patience::new(Time::ZERO);
        assert!((0..MAX_IDLE_MESSAGES).all(|_| patience.take(Time::ZERO, 1)));
        assert!(!patience.take(Time::ZERO, 1));
        let mut now = Time::ZERO;
        // In steps that are shorter than one message takes to come back, and in longer ones.
        for (millis, steps) in [(1, 10_000), (6, 10_000), (9, 10_000)] {
            let mut taken = 0;
            for _ in 0..steps {
                now += Duration::from_millis(millis);
                taken += (0..2).filter(|_| patience.take(now, 1)).count() as u64;
            }
            let regained = millis * steps * u64::from(IDLE_MESSAGES_PER_SECOND) / 1000;
            assert_eq!(taken, regained, "{millis} ms");
        }
        now += Duration::from_secs(100_000);
        assert!(patience.take(now, MAX_IDLE_MESSAGES) && !patience.take(now, 1), "no hoarding");
    }
}
