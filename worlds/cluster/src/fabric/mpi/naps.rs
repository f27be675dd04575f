//! How long the MPI thread naps between two looks: about as long as it is from one event to the next. A
//! look costs as much as a small message, and ranks often share their cores, so a nap that ends before
//! anything has come is work taken from those who would bring it.
//!
//! ```text
//!   something came during the nap ─▶ half as long        nothing came ─▶ half as long again
//! ```
//!
//! It knows neither MPI nor a clock.

use std::time::Duration;

/// The shortest nap: shorter ones cost more than they bring forward.
const SHORTEST: Duration = Duration::from_micros(50);
/// The longest nap: what a first word after silence may wait.
const LONGEST: Duration = Duration::from_millis(1);
/// Who is given something to send will soon hear of it.
const SOON: Duration = Duration::from_micros(200);

/// The naps of one thread.
#[derive(Debug)]
pub(super) struct Naps {
    nap: Duration,
    /// Whether nothing was found since the last nap began.
    napped: bool,
}

impl Naps {
    /// Short naps first.
    pub(super) fn new() -> Naps {
        Naps { nap: SHORTEST, napped: false }
    }

    /// Something had come when the thread looked.
    pub(super) fn found(&mut self) {
        if std::mem::take(&mut self.napped) {
            self.nap = (self.nap / 2).max(SHORTEST);
        }
    }

    /// The nap was ended by somebody who has work.
    pub(super) fn ordered(&mut self) {
        self.napped = false;
        self.nap = self.nap.min(SOON);
    }

    /// How long to nap now, as nothing was found.
    pub(super) fn next(&mut self) -> Duration {
        if std::mem::replace(&mut self.napped, true) {
            self.nap = (self.nap * 3 / 2).min(LONGEST);
        }
        self.nap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Naps until time `until` (µs) while something comes every `every` µs; returns the looks and the
    /// longest that anything waited in the second half.
    fn run(every: u64, until: u64) -> (u64, u64) {
        let mut naps = Naps::new();
        let (mut now, mut came, mut looks, mut longest) = (0, every, 0, 0);
        while now < until {
            let nap = naps.next();
            assert!((SHORTEST..=LONGEST).contains(&nap), "{nap:?}");
            now += nap.as_micros() as u64;
            looks += 1;
            if came <= now {
                if now > until / 2 {
                    longest = longest.max(now - came);
                }
                naps.found();
                came = now / every * every + every;
            }
        }
        (looks, longest)
    }

    #[test]
    fn naps_are_about_as_long_as_events_are_apart() {
        // Microseconds between events; at most so many looks an event, and so long a wait.
        for (every, looks_each, wait) in
            [(10, 5, 50), (100, 3, 150), (300, 3, 450), (700, 3, 1000), (5000, 12, 1000)]
        {
            let (looks, longest) = run(every, 1_000_000);
            let events = 1_000_000 / every;
            assert!(looks <= events.max(1) * looks_each, "{looks} looks, every {every}");
            assert!(longest <= wait, "{longest} µs, every {every}");
        }
    }

    #[test]
    fn silence_costs_a_thousand_looks_a_second() {
        assert!(run(u64::MAX / 4, 1_000_000).0 < 1_020);
    }

    #[test]
    fn work_makes_naps_short_again() {
        let mut naps = Naps::new();
        for _ in 0..20 {
            naps.next();
        }
        assert_eq!(naps.next(), LONGEST);
        naps.ordered();
        assert_eq!(naps.next(), SOON);
        for _ in 0..3 {
            naps.found();
            naps.next();
        }
        assert_eq!(naps.next(), SHORTEST * 3 / 2, "the last nap found nothing");
    }
}
