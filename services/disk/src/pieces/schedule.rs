//! When to sync: when the store says that it is due, and when a file is whole; but no more often
//! than a share of the time allows, since finished files come in crowds, and one sync serves all of
//! them.

use std::time::{Duration, Instant};

/// After a sync, files that are finished wait for the next one this many times as long as it took:
/// so syncs take one part of three of the time at most.
const REST: u32 = 2;

/// What waits for the next sync.
#[derive(Debug)]
pub(super) struct SyncSchedule {
    /// How long a finished file waits for others.
    finish_delay: Duration,
    /// When finished files are due.
    finish_at: Option<Instant>,
    /// When the last sync is long enough ago.
    rested: Option<Instant>,
    /// Nothing else comes before finished files have their names.
    hurry: bool,
    /// Pieces were written since the last sync.
    unsynced: bool,
}

impl SyncSchedule {
    pub(super) fn new(finish_delay: Duration) -> SyncSchedule {
        SyncSchedule { finish_delay, finish_at: None, rested: None, hurry: false, unsynced: false }
    }

    /// A piece was written.
    pub(super) fn wrote(&mut self) {
        self.unsynced = true;
    }

    /// A file waits for its name.
    pub(super) fn finish(&mut self, now: Instant, last: bool) {
        self.hurry |= last;
        if self.finish_at.is_none() {
            let soon = now + self.finish_delay;
            self.finish_at = Some(self.rested.map_or(soon, |rested| rested.max(soon)));
        }
    }

    /// When to sync, if the store's data is `due`.
    pub(super) fn at(&self, due: Option<Instant>) -> Option<Instant> {
        [self.finish_at, due].into_iter().flatten().min()
    }

    /// A sync has gone from `start` to `end`.
    pub(super) fn synced(&mut self, start: Instant, end: Instant) {
        self.rested = Some(end + (end - start) * REST);
        (self.finish_at, self.hurry, self.unsynced) = (None, false, false);
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.finish_at.is_some()
    }

    pub(super) fn hurries(&self) -> bool {
        self.hurry
    }

    pub(super) fn is_unsynced(&self) -> bool {
        self.unsynced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_files_wait_for_others_and_for_the_last_sync() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut schedule = SyncSchedule::new(Duration::from_millis(50));
        assert_eq!(schedule.at(None), None);
        assert_eq!(schedule.at(Some(at(7))), Some(at(7)));
        schedule.finish(at(0), false);
        schedule.finish(at(40), false);
        assert_eq!(schedule.at(Some(at(70))), Some(at(50)), "the second file comes along");
        schedule.synced(at(50), at(150));
        assert!(!schedule.is_finishing());
        schedule.finish(at(160), true);
        assert_eq!(schedule.at(None), Some(at(350)), "twice as long as the sync took");
        assert!(schedule.hurries());
        schedule.synced(at(160), at(161));
        schedule.finish(at(900), false);
        assert_eq!(schedule.at(None), Some(at(950)));
    }
}
