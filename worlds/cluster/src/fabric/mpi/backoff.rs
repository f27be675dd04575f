//! How long the MPI thread naps between two looks. A look costs as much as a small message, and ranks
//! often share their cores, so a nap that ends before anything has come is work taken from those who
//! would bring it. It knows neither MPI nor a clock.
//!
//! ```text
//!   blocks on their way   many are, so none is waited for: naps as long as events are apart
//!       something came during the nap ─▶ half as long        nothing came ─▶ half as long again
//!   messages only         the next step may wait for the answer: short naps
//!       nothing came for 2 ms ─▶ twice as long each
//! ```

use std::time::Duration;

/// The shortest nap: shorter ones cost more than they bring forward.
const SHORTEST: Duration = Duration::from_micros(50);
/// The longest nap: what a first word after silence may wait.
const LONGEST: Duration = Duration::from_millis(1);
/// Who is given something to send while blocks are on their way will soon hear of it.
const SOON: Duration = Duration::from_micros(200);
/// So many of the shortest naps an answer is likely to come: two milliseconds.
const WARM: u32 = 40;

/// The naps of one thread.
#[derive(Debug)]
pub(super) struct Naps {
    nap: Duration,
    /// Naps since something was found.
    empty: u32,
}

impl Naps {
    /// Short naps first.
    pub(super) fn new() -> Naps {
        Naps { nap: SHORTEST, empty: 0 }
    }

    /// Something had come when the thread looked. `blocks`: whether any are on their way.
    pub(super) fn found(&mut self, blocks: bool) {
        match (std::mem::take(&mut self.empty), blocks) {
            (_, false) => self.nap = SHORTEST,
            (0, true) => {}
            (_, true) => self.nap = (self.nap / 2).max(SHORTEST),
        }
    }

    /// The nap was ended by somebody who has work.
    pub(super) fn ordered(&mut self, blocks: bool) {
        self.empty = 0;
        self.nap = self.nap.min(if blocks { SOON } else { SHORTEST });
    }

    /// How long to nap now, as nothing was found.
    pub(super) fn next(&mut self, blocks: bool) -> Duration {
        let longer = match blocks {
            true if self.empty > 0 => self.nap * 3 / 2,
            false if self.empty > WARM => self.nap * 2,
            _ => self.nap,
        };
        self.nap = longer.min(LONGEST);
        self.empty = self.empty.saturating_add(1);
        self.nap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Naps until time `until` (µs) while something comes every `every` µs; returns the looks and the
    /// longest that anything waited in the second half.
    fn run(blocks: bool, every: u64, until: u64) -> (u64, u64) {
        let mut naps = Naps::new();
        let (mut now, mut came, mut looks, mut longest) = (0, every, 0, 0);
        while now < until {
            let nap = naps.next(blocks);
            assert!((SHORTEST..=LONGEST).contains(&nap), "{nap:?}");
            now += nap.as_micros() as u64;
            looks += 1;
            if came <= now {
                if now > until / 2 {
                    longest = longest.max(now - came);
                }
                naps.found(blocks);
                came = now / every * every + every;
            }
        }
        (looks, longest)
    }

    #[test]
    fn naps_are_about_as_long_as_blocks_are_apart() {
        // Microseconds between events; at most so many looks an event, and so long a wait.
        for (every, looks_each, wait) in
            [(10, 5, 50), (100, 3, 150), (300, 3, 450), (700, 3, 1000), (5000, 12, 1000)]
        {
            let (looks, longest) = run(true, every, 1_000_000);
            let events = 1_000_000 / every;
            assert!(looks <= events.max(1) * looks_each, "{looks} looks, every {every}");
            assert!(longest <= wait, "{longest} µs, every {every}");
        }
    }

    #[test]
    fn answers_are_waited_for_with_open_eyes() {
        for every in [100, 300, 1000, 2000] {
            let (_, longest) = run(false, every, 1_000_000);
            assert!(longest <= 50, "{longest} µs, every {every}");
        }
    }

    #[test]
    fn silence_costs_a_thousand_looks_a_second() {
        for blocks in [true, false] {
            assert!(run(blocks, u64::MAX / 4, 1_000_000).0 < 1_050);
        }
    }

    #[test]
    fn work_makes_naps_short_again() {
        for (blocks, soon) in [(true, SOON), (false, SHORTEST)] {
            let mut naps = Naps::new();
            for _ in 0..60 {
                naps.next(blocks);
            }
            assert_eq!(naps.next(blocks), LONGEST);
            naps.ordered(blocks);
            assert_eq!(naps.next(blocks), soon);
            naps.found(false);
            assert_eq!(naps.next(blocks), SHORTEST);
        }
    }
}
