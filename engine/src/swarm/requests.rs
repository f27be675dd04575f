//! How much to ask of one peer, and until when. The window follows bandwidth × delay instead of a
//! constant: it doubles every round trip until the rate stops growing, and then stays at twice what
//! the path holds plus a little queue.

use dunlin_base::{Rate, RateMeter, Time};
use std::time::Duration;

/// What a peer may owe us at first, in blocks.
const INITIAL_BLOCKS: u64 = 4;
/// The window never falls below so many blocks, so that one is asked for while one travels.
const MIN_BLOCKS: u64 = 2;
/// Queue at the source that rides out its pauses (scheduling, a disk read).
const QUEUE: Duration = Duration::from_millis(20);
/// The same at a stranger: it may send in turns of half a second, or hold a block back until the
/// header before it is acknowledged …
const STRANGERS_QUEUE: Duration = Duration::from_secs(1);
/// … in bytes at most: whoever is fast has short pauses.
const STRANGERS_BYTES: u64 = 512 << 10;
/// Rounds without a quarter more rate before the start-up ends.
const FLAT_ROUNDS: u32 = 2;
/// How long the shortest delay is believed: a route or a neighbour may change.
const DELAY_MEMORY: Duration = Duration::from_secs(10);
/// A request is late after so long at the earliest.
pub const MIN_DEADLINE: Duration = Duration::from_secs(4);
/// A request is late after so many times the time it should take.
const DEADLINE_FACTOR: u32 = 8;
/// The window over which a peer's rate is measured.
const METER: Duration = Duration::from_secs(2);

/// Nanoseconds, which take half the room of a [`Duration`]; at most 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The request window of one peer, in bytes.
#[derive(Clone, Debug)]
pub struct Window {
    block: u64,
    size: u64,
    in_flight: u64,
    meter: RateMeter,
    starting: bool,
    flat_rounds: u32,
    round_ends: Time,
    round_bytes: u64,
    round_began: Time,
    best_rate: Rate,
    /// The shortest delay in nanoseconds; `u64::MAX` before one was measured.
    min_delay: u64,
    min_delay_at: Time,
    /// Since when the window is small, so that our own queue is no part of the delay.
    probing: Option<Time>,
    cap: u64,
    /// A request is late after so long at the earliest, in nanoseconds.
    patience: u64,
    stranger: bool,
}

impl Window {
    /// A window for blocks of `block` bytes, of at most `cap` bytes.
    #[must_use]
    pub fn new(block: u32, cap: u64) -> Window {
        let block = u64::from(block.max(1));
        Window {
            block,
            size: (INITIAL_BLOCKS * block).min(cap.max(block)),
            in_flight: 0,
            meter: RateMeter::new(METER),
            starting: true,
            flat_rounds: 0,
            round_ends: Time::ZERO,
            round_bytes: 0,
            round_began: Time::ZERO,
            best_rate: Rate(0),
            min_delay: u64::MAX,
            min_delay_at: Time::ZERO,
            probing: None,
            cap: cap.max(block),
            patience: nanos(MIN_DEADLINE),
            stranger: false,
        }
    }

    /// For a peer that serves many others, in turns of its own: no request is late before
    /// `patience` is over, and the queue rides out longer pauses.
    #[must_use]
    pub fn for_stranger(mut self, patience: Duration) -> Window {
        self.patience = nanos(patience);
        self.stranger = true;
        self
    }

    /// Bytes that may still be asked for.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.size.saturating_sub(self.in_flight)
    }

    /// Bytes asked for and not answered.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The whole window in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What the peer gives us, averaged over two seconds.
    #[must_use]
    pub fn rate(&mut self, now: Time) -> Rate {
        self.meter.rate(now)
    }

    /// The same, for who may only look.
    #[must_use]
    pub fn rate_at(&self, now: Time) -> Rate {
        self.meter.clone().rate(now)
    }

    /// All bytes it ever gave.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.meter.total()
    }

    /// `bytes` were asked for.
    pub fn asked(&mut self, bytes: u32) {
        self.in_flight += u64::from(bytes);
    }

    /// `bytes` that were asked for will not come, or came too late to count.
    pub fn gave_up(&mut self, bytes: u32) {
        self.in_flight = self.in_flight.saturating_sub(u64::from(bytes));
    }

    /// A block that was asked for at `asked_at` has come.
    pub fn arrived(&mut self, now: Time, asked_at: Time, bytes: u32) {
        let bytes = u64::from(bytes);
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.meter.add(now, bytes);
        let delay = now.since(asked_at).max(Duration::from_nanos(1));
        self.measure_delay(now, asked_at, delay);
        if self.starting {
            self.size = (self.size + bytes).min(self.cap);
        }
        self.round_bytes += bytes;
        if now >= self.round_ends {
            self.end_round(now, delay);
        }
    }

    /// The shortest delay. When it is old the window is made small until a request that was made
    /// since is answered: otherwise our own queue would be taken for the path, and the window would
    /// grow on itself.
    fn measure_delay(&mut self, now: Time, asked_at: Time, delay: Duration) {
        if self.probing.is_some_and(|since| asked_at >= since) {
            self.probing = None;
            self.min_delay = nanos(delay);
            self.min_delay_at = now;
            self.resize();
        } else if nanos(delay) <= self.min_delay {
            self.min_delay = nanos(delay);
            self.min_delay_at = now;
        } else if !self.starting
            && self.probing.is_none()
            && now.since(self.min_delay_at) > DELAY_MEMORY
        {
            self.probing = Some(now);
            self.resize();
        }
    }

    /// Twice what the path holds, and a little queue.
    fn resize(&mut self) {
        let least = (MIN_BLOCKS * self.block).min(self.cap);
        if self.probing.is_some() {
            self.size = least;
            return;
        }
        let min_delay = Duration::from_nanos(self.min_delay);
        let held = min_delay.saturating_mul(2).saturating_add(QUEUE);
        let rate = u128::from(self.best_rate.0);
        let bytes = |time: Duration| {
            u64::try_from(rate * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
        };
        let mut size = bytes(held);
        if self.stranger {
            size = size.max(bytes(STRANGERS_QUEUE).min(STRANGERS_BYTES));
        }
        self.size = size.clamp(least, self.cap);
    }

    fn end_round(&mut self, now: Time, delay: Duration) {
        let rate = Rate::of(self.round_bytes, now.since(self.round_began));
        if rate.0 > self.best_rate.0 + self.best_rate.0 / 4 {
            self.flat_rounds = 0;
        } else {
            self.flat_rounds += 1;
        }
        self.best_rate = if self.starting {
            self.best_rate.max(rate)
        } else {
            // Follow a path that grows at once, one that shrinks slowly: a pause is no new path.
            rate.max(Rate(self.best_rate.0 - self.best_rate.0 / 8))
        };
        if self.flat_rounds >= FLAT_ROUNDS {
            self.starting = false;
        }
        if !self.starting {
            self.resize();
        }
        self.round_began = now;
        self.round_ends = now + delay;
        self.round_bytes = 0;
    }

    /// The peer did not answer in time: ask it for one block at a time until it does.
    pub fn snub(&mut self) {
        self.size = self.block;
        self.starting = true;
        self.probing = None;
        self.flat_rounds = 0;
        self.best_rate = Rate(0);
        self.min_delay = u64::MAX;
    }

    /// When a request that is made now is late: eight times what it should take, four seconds at
    /// the least, or what was chosen instead. What is already in flight comes first.
    #[must_use]
    pub fn deadline(&mut self, now: Time) -> Time {
        let rate = self.meter.rate(now);
        let expected =
            if rate.0 == 0 { Duration::ZERO } else { rate.time_for(self.in_flight + self.block) };
        now + expected.saturating_mul(DEADLINE_FACTOR).max(Duration::from_nanos(self.patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of `rate` bytes/s and `delay`: keeps the window full for `blocks` blocks and returns
    /// it.
    fn run(rate: u64, delay: Duration, blocks: u64) -> Window {
        let block = 16384;
        let mut window = Window::new(block, 1 << 30);
        let mut now = Time::ZERO;
        let mut queue = std::collections::VecDeque::new();
        let mut free_at = Time::ZERO;
        for _ in 0..blocks {
            while window.room() >= u64::from(block) {
                window.asked(block);
                free_at = free_at.max(now + delay) + Rate(rate).time_for(u64::from(block));
                queue.push_back((now, free_at));
            }
            let (asked, arrives) = queue.pop_front().unwrap();
            now = arrives;
            window.arrived(now, asked, block);
        }
        window
    }

    #[test]
    fn the_window_follows_bandwidth_times_delay() {
        // (bytes/s, delay in ms)
        for (rate, delay) in [(1_000_000, 10), (100_000_000, 20), (1_000_000_000, 100)] {
            let window = run(rate, Duration::from_millis(delay), 200_000);
            let product = rate / 1000 * delay;
            let queue = rate / 1000 * 20;
            assert!(
                (product..4 * (product + queue) + 40_000).contains(&window.size()),
                "{rate} B/s, {delay} ms: {} for a path of {product}",
                window.size()
            );
        }
    }

    /// Blocks that come in a minute from a source that answers one request at once and 8 more half
    /// a second later, and so on.
    fn from_a_source_in_turns(mut window: Window) -> usize {
        let (block, mut now) = (16384, Time::ZERO);
        let mut queue = std::collections::VecDeque::new();
        let mut came = 0;
        for (pause, blocks) in [(1, 1), (499, 8)].into_iter().cycle().take(240) {
            while window.room() >= u64::from(block) {
                window.asked(block);
                queue.push_back(now);
            }
            now += Duration::from_millis(pause);
            for asked in queue.drain(..queue.len().min(blocks)) {
                // The one at once is the latest.
                let asked = if blocks == 1 { now - Duration::from_millis(1) } else { asked };
                window.arrived(now, asked, block);
                came += 1;
            }
        }
        came
    }

    #[test]
    fn a_stranger_that_sends_in_turns_is_never_short_of_requests() {
        let window = || Window::new(16384, 1 << 30);
        let friend = from_a_source_in_turns(window());
        let stranger = from_a_source_in_turns(window().for_stranger(MIN_DEADLINE));
        assert!(stranger > 9 * 120 * 9 / 10, "{stranger} of {}", 9 * 120);
        assert!(friend < stranger / 2, "{friend}: the test tests nothing");
    }

    #[test]
    fn a_snubbing_peer_gets_one_request_and_recovers() {
        let mut window = run(10_000_000, Duration::from_millis(5), 1000);
        window.snub();
        assert_eq!(window.size(), 16384);
        window.asked(16384);
        window.arrived(Time(1 << 40), Time((1 << 40) - 1_000_000), 16384);
        assert!(window.size() > 16384);
    }

    #[test]
    fn deadlines_grow_with_what_is_owed() {
        let mut window = Window::new(16384, 1 << 20);
        assert_eq!(window.deadline(Time::ZERO), Time::ZERO + MIN_DEADLINE);
        let mut slow = run(10_000, Duration::from_millis(5), 50);
        let now = Time::ZERO + Duration::from_secs(80);
        let _ = slow.rate(now);
        slow.asked(16384);
        assert!(slow.deadline(now) > now + MIN_DEADLINE);
    }
}
