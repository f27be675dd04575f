//! Limits of rate: a bucket of credit that fills with time. What is let through may put it into
//! debt by one block; then nothing passes until it has paid. So the average is right to the byte,
//! however large a block is beside the rate, and a burst is never longer than a tenth of a second.

use dunlin_base::{Rate, Time};
use std::time::Duration;

/// The longest burst: what a bucket holds when nothing was let through for a while.
const BURST: Duration = Duration::from_millis(100);
/// An empty bucket opens again with so much in it, so that a fast limit wakes nobody for every
/// block.
const REOPEN: Duration = Duration::from_millis(25);
/// Nanoseconds of a second: credit is counted in billionths of a byte, so that no time is lost.
const NANOS: i128 = 1_000_000_000;

/// Bytes of payload a second; `None` means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// What we take.
    pub down: Option<Rate>,
    /// What we give.
    pub up: Option<Rate>,
}

/// A limit of bytes a second; without a rate everything passes.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    rate: Option<Rate>,
    credit: i128,
    at: Time,
    /// Nothing passes before.
    opens: Time,
}

impl Bucket {
    /// A bucket of this rate, empty.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Bucket {
        Bucket { rate, ..Bucket::default() }
    }

    /// Another rate from now on. What was let through before is forgotten.
    pub fn set(&mut self, now: Time, rate: Option<Rate>) {
        if self.rate != rate {
            *self = Bucket { rate, credit: 0, at: now, opens: Time::ZERO };
        }
    }

    /// Its rate.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Whether something may pass now; otherwise when (never at a rate of nothing).
    ///
    /// # Errors
    /// The time from which something passes again.
    pub fn passes(&mut self, now: Time) -> Result<(), Time> {
        let Some(rate) = self.rate else { return Ok(()) };
        self.fill(now, rate);
        if now < self.opens {
            return Err(self.opens);
        }
        if self.credit > 0 {
            return Ok(());
        }
        let wanted = credit(rate, REOPEN).max(1) - self.credit;
        self.opens = match i128::from(rate.0) {
            0 => Time::NEVER,
            rate => {
                let nanos = u64::try_from(wanted / rate + 1).unwrap_or(u64::MAX);
                now + Duration::from_nanos(nanos)
            }
        };
        Err(self.opens)
    }

    /// Bytes that passed.
    pub fn take(&mut self, bytes: u32) {
        if self.rate.is_some() {
            self.credit -= i128::from(bytes) * NANOS;
        }
    }

    /// Bytes that were let through and did not pass after all.
    pub fn give_back(&mut self, bytes: u32) {
        if let Some(rate) = self.rate {
            let most = credit(rate, BURST).max(self.credit);
            self.credit = (self.credit + i128::from(bytes) * NANOS).min(most);
        }
    }

    fn fill(&mut self, now: Time, rate: Rate) {
        let most = credit(rate, BURST);
        let gained = credit(rate, now.since(self.at));
        self.at = self.at.max(now);
        if self.credit < most {
            self.credit = (self.credit + gained).min(most);
        }
    }
}

/// What this rate gives in this time.
fn credit(rate: Rate, time: Duration) -> i128 {
    i128::from(rate.0) * i128::try_from(time.as_nanos()).unwrap_or(i128::MAX >> 64)
}

/// Whether both buckets let something pass now.
///
/// # Errors
/// The time from which something passes again.
pub(crate) fn both_pass(own: &mut Bucket, all: &mut Bucket, now: Time) -> Result<(), Time> {
    match (own.passes(now), all.passes(now)) {
        (Ok(()), Ok(())) => Ok(()),
        (own, all) => Err(own.err().max(all.err()).unwrap_or(now)),
    }
}

/// Both directions of one torrent, or of all together.
#[derive(Debug)]
pub(crate) struct RateLimits {
    pub(crate) down: Bucket,
    pub(crate) up: Bucket,
}

impl RateLimits {
    pub(crate) fn new(limits: Limits) -> RateLimits {
        RateLimits { down: Bucket::new(limits.down), up: Bucket::new(limits.up) }
    }

    /// Other limits from now on.
    pub(crate) fn set(&mut self, now: Time, limits: Limits) {
        self.down.set(now, limits.down);
        self.up.set(now, limits.up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets blocks through for `seconds` as fast as the bucket allows; returns bytes and wake-ups.
    fn run(bucket: &mut Bucket, from: Time, seconds: u64, block: u32) -> (u64, u64) {
        let (mut now, end) = (from, from + Duration::from_secs(seconds));
        let (mut bytes, mut waits) = (0, 0);
        loop {
            match bucket.passes(now) {
                Ok(()) => {
                    bucket.take(block);
                    bytes += u64::from(block);
                }
                Err(at) if at > end => return (bytes, waits),
                Err(at) => {
                    assert!(at > now);
                    now = at;
                    waits += 1;
                }
            }
        }
    }

    #[test]
    fn the_average_is_right_within_a_block_and_a_burst() {
        for rate in [1_000, 20_000, 500_000, 10_000_000, 1_000_000_000_u64] {
            let mut bucket = Bucket::new(Some(Rate(rate)));
            let (bytes, waits) = run(&mut bucket, Time::ZERO, 20, 16_384);
            let (least, most) = (rate * 19, rate * 20 + rate / 10 + 16_384);
            assert!((least.saturating_sub(16_384)..=most).contains(&bytes), "{rate}: {bytes}");
            assert!(waits <= 20 * 41, "{rate}: {waits} wake-ups");
        }
    }

    #[test]
    fn idling_saves_no_more_than_a_burst() {
        let mut bucket = Bucket::new(Some(Rate(1_000_000)));
        let late = Time::from_duration(Duration::from_secs(3600));
        let (bytes, _) = run(&mut bucket, late, 1, 1_000);
        assert!((1_050_000..=1_101_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_did_not_pass_is_given_back() {
        let mut bucket = Bucket::new(Some(Rate(1_000)));
        let now = Time::from_duration(Duration::from_secs(1));
        assert_eq!(bucket.passes(now), Ok(()));
        bucket.take(50_000);
        let mut other = bucket.clone();
        other.give_back(50_000);
        assert_eq!(other.passes(now), Ok(()));
        assert!(bucket.passes(now).unwrap_err() >= now + Duration::from_secs(49));
    }

    #[test]
    fn no_rate_is_no_limit_and_a_rate_of_nothing_lets_nothing_through() {
        let mut free = Bucket::default();
        free.take(u32::MAX);
        assert_eq!(free.passes(Time::ZERO), Ok(()));
        let mut shut = Bucket::new(Some(Rate(0)));
        assert_eq!(shut.passes(Time(5)), Err(Time::NEVER));
        shut.set(Time(9), None);
        assert_eq!(shut.passes(Time(9)), Ok(()));
    }
}
