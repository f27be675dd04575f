//! Rates: bytes per second as integers, a sliding meter, and a token bucket. No floats: decisions
//! that use a rate must replay bit for bit.

use crate::Time;
use std::time::Duration;

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Rate(pub u64);

impl Rate {
    /// The rate of `bytes` in `time`; zero for no time.
    #[must_use]
    pub fn of(bytes: u64, time: Duration) -> Rate {
        let nanos = time.as_nanos();
        if nanos == 0 {
            return Rate(0);
        }
        let rate = u128::from(bytes) * 1_000_000_000 / nanos;
        Rate(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// How long `bytes` take at this rate. An unknown rate (0) takes for ever.
    #[must_use]
    pub fn time_for(self, bytes: u64) -> Duration {
        if self.0 == 0 {
            return Duration::MAX;
        }
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Measures a rate over a sliding window of slots.
#[derive(Clone, Debug)]
pub struct RateMeter {
    slots: [u64; RateMeter::SLOTS],
    slot_nanos: u64,
    current: u64,
    first: Option<Time>,
    total: u64,
}

impl RateMeter {
    const SLOTS: usize = 8;

    /// A meter that looks back over `window`.
    ///
    /// # Panics
    /// If the window is under 8 ns.
    #[must_use]
    pub fn new(window: Duration) -> RateMeter {
        let slot_nanos = window.as_nanos() as u64 / Self::SLOTS as u64;
        assert!(slot_nanos > 0, "a window of nothing measures nothing");
        RateMeter { slots: [0; Self::SLOTS], slot_nanos, current: 0, first: None, total: 0 }
    }

    /// Counts `bytes` that arrived at `now`. Moments must not go backwards.
    pub fn add(&mut self, now: Time, bytes: u64) {
        self.advance(now);
        self.first.get_or_insert(now);
        self.slots[(self.current % Self::SLOTS as u64) as usize] += bytes;
        self.total += bytes;
    }

    /// The rate over the window, or over the time since the first byte where that is shorter (at
    /// least one slot).
    #[must_use]
    pub fn rate(&mut self, now: Time) -> Rate {
        self.advance(now);
        let Some(first) = self.first else { return Rate(0) };
        let bytes: u64 = self.slots.iter().sum();
        let window = self.slot_nanos * (Self::SLOTS as u64 - 1) + now.0 % self.slot_nanos;
        let since_first = now.since(first).as_nanos() as u64;
        Rate::of(bytes, Duration::from_nanos(window.min(since_first.max(self.slot_nanos))))
    }

    /// All bytes ever counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    fn advance(&mut self, now: Time) {
        let slot = now.0 / self.slot_nanos;
        if slot <= self.current {
            return;
        }
        let steps = (slot - self.current).min(Self::SLOTS as u64);
        for step in 1..=steps {
            self.slots[((slot - steps + step) % Self::SLOTS as u64) as usize] = 0;
        }
        self.current = slot;
    }
}

/// A token bucket: how long something must wait to stay under a rate.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: Rate,
    free_at: Time,
}

impl TokenBucket {
    /// A bucket of `rate`; it starts empty-handed, so nothing is free of charge.
    #[must_use]
    pub fn new(rate: Rate) -> TokenBucket {
        TokenBucket { rate, free_at: Time::ZERO }
    }

    /// Books `bytes` at `now` and returns when they are through.
    pub fn take(&mut self, now: Time, bytes: u64) -> Time {
        let start = self.free_at.max(now);
        self.free_at = start + self.rate.time_for(bytes);
        self.free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_is_measured_and_forgotten() {
        let mut meter = RateMeter::new(Duration::from_secs(1));
        let step = Duration::from_millis(10);
        let mut now = Time::ZERO;
        for _ in 0..300 {
            now += step;
            meter.add(now, 10_000);
        }
        let rate = meter.rate(now).0;
        assert!((900_000..=1_150_000).contains(&rate), "{rate}");
        assert_eq!(meter.rate(now + Duration::from_secs(5)), Rate(0));
        assert_eq!(meter.total(), 3_000_000);
    }

    #[test]
    fn a_bucket_spaces_what_it_lets_through() {
        let mut bucket = TokenBucket::new(Rate(1_000));
        assert_eq!(bucket.take(Time::ZERO, 500), Time::from_duration(Duration::from_millis(500)));
        assert_eq!(bucket.take(Time::ZERO, 500), Time::from_duration(Duration::from_secs(1)));
        let later = Time::from_duration(Duration::from_secs(9));
        assert_eq!(bucket.take(later, 1_000), later + Duration::from_secs(1));
    }

    #[test]
    fn no_time_and_no_rate() {
        assert_eq!(Rate::of(5, Duration::ZERO), Rate(0));
        assert_eq!(Rate(0).time_for(1), Duration::MAX);
    }
}
