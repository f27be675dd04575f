//! How long the MPI thread pauses between two polls. A poll costs as much as a small message, and
//! ranks often share their cores, so a pause that ends before anything has come takes time from
//! those who would bring it. It knows neither MPI nor a clock.
//!
//! ```text
//!   blocks on their way   many are, so none is waited for: pauses as long as events are apart
//!       something came during the pause ─▶ half as long      nothing came ─▶ half as long again
//!   messages only         the next step may wait for the answer: short pauses
//!       nothing came for 2 ms ─▶ twice as long each
//! ```

use std::time::Duration;

/// The shortest pause: shorter ones cost more than they bring forward.
const SHORTEST: Duration = Duration::from_micros(50);
/// The longest pause: what a first message after silence may wait.
const LONGEST: Duration = Duration::from_millis(1);
/// The pause after a command while blocks are on their way: an answer may come soon.
const SOON: Duration = Duration::from_micros(200);
/// For so many of the shortest pauses an answer is likely to come: two milliseconds.
const WARM: u32 = 40;

/// The pauses of one thread.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    /// Pauses since something was found.
    empty: u32,
}

impl Backoff {
    /// Short pauses first.
    pub(super) fn new() -> Backoff {
        Backoff { pause: SHORTEST, empty: 0 }
    }

    /// A poll found something. `blocks`: whether any are on their way.
    pub(super) fn found(&mut self, blocks: bool) {
        match (std::mem::take(&mut self.empty), blocks) {
            (_, false) => self.pause = SHORTEST,
            (0, true) => {}
            (_, true) => self.pause = (self.pause / 2).max(SHORTEST),
        }
    }

    /// The pause was ended by a command.
    pub(super) fn commanded(&mut self, blocks: bool) {
        self.empty = 0;
        self.pause = self.pause.min(if blocks { SOON } else { SHORTEST });
    }

    /// How long to pause now, since nothing was found.
    pub(super) fn next(&mut self, blocks: bool) -> Duration {
        let longer = match blocks {
            true if self.empty > 0 => self.pause * 3 / 2,
            false if self.empty > WARM => self.pause * 2,
            _ => self.pause,
        };
        self.pause = longer.min(LONGEST);
        self.empty = self.empty.saturating_add(1);
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pauses until time `until` (µs) while something comes every `every` µs; returns the polls and
    /// the longest that anything waited in the second half.
    fn run(blocks: bool, every: u64, until: u64) -> (u64, u64) {
        let mut backoff = Backoff::new();
        let (mut now, mut came, mut polls, mut longest) = (0, every, 0, 0);
        while now < until {
            let pause = backoff.next(blocks);
            assert!((SHORTEST..=LONGEST).contains(&pause), "{pause:?}");
            now += pause.as_micros() as u64;
            polls += 1;
            if came <= now {
                if now > until / 2 {
                    longest = longest.max(now - came);
                }
                backoff.found(blocks);
                came = now / every * every + every;
            }
        }
        (polls, longest)
    }

    #[test]
    fn pauses_are_about_as_long_as_blocks_are_apart() {
        // Microseconds between events; at most so many polls an event, and so long a wait.
        for (every, polls_each, wait) in
            [(10, 5, 50), (100, 3, 150), (300, 3, 450), (700, 3, 1000), (5000, 12, 1000)]
        {
            let (polls, longest) = run(true, every, 1_000_000);
            let events = 1_000_000 / every;
            assert!(polls <= events.max(1) * polls_each, "{polls} polls, every {every}");
            assert!(longest <= wait, "{longest} µs, every {every}");
        }
    }

    #[test]
    fn answers_are_waited_for_in_short_pauses() {
        for every in [100, 300, 1000, 2000] {
            let (_, longest) = run(false, every, 1_000_000);
            assert!(longest <= 50, "{longest} µs, every {every}");
        }
    }

    #[test]
    fn silence_costs_a_thousand_polls_a_second() {
        for blocks in [true, false] {
            assert!(run(blocks, u64::MAX / 4, 1_000_000).0 < 1_050);
        }
    }

    #[test]
    fn work_makes_pauses_short_again() {
        for (blocks, soon) in [(true, SOON), (false, SHORTEST)] {
            let mut backoff = Backoff::new();
            for _ in 0..60 {
                backoff.next(blocks);
            }
            assert_eq!(backoff.next(blocks), LONGEST);
            backoff.commanded(blocks);
            assert_eq!(backoff.next(blocks), soon);
            backoff.found(false);
            assert_eq!(backoff.next(blocks), SHORTEST);
        }
    }
}
