//! One trace of many ranks' lines: each rank sends up to which time its lines are complete, and
//! lines that no other line can precede any more are written, in order. It reads no line further
//! than its time.

use super::TraceSink;
use bytes::Bytes;
use dunlin_base::Rank;
use std::collections::BTreeMap;

/// Bytes of lines that wait for a rank that lags behind; more are written in the order they have.
const MAX_WAITING: usize = 64 << 20;

/// The lines of all ranks on their way into one trace.
pub(crate) struct TraceMerge {
    out: TraceSink,
    /// Up to which microsecond a rank's lines are complete.
    until: BTreeMap<Rank, u64>,
    /// By time, and then by arrival.
    waiting: BTreeMap<(u64, u64), Bytes>,
    bytes: usize,
    arrived: u64,
}

impl TraceMerge {
    /// A merge of these ranks' lines into `out`.
    pub(crate) fn new(out: TraceSink, ranks: impl Iterator<Item = Rank>) -> TraceMerge {
        TraceMerge {
            out,
            until: ranks.map(|rank| (rank, 0)).collect(),
            waiting: BTreeMap::new(),
            bytes: 0,
            arrived: 0,
        }
    }

    /// Lines of a rank, complete up to `until` nanoseconds.
    pub(crate) fn add(&mut self, rank: Rank, until: u64, lines: &Bytes) {
        let Some(complete) = self.until.get_mut(&rank) else { return };
        let until = until / 1000;
        *complete = until.max(*complete);
        let mut rest = lines.clone();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest.split_to(end + 1);
            let Some(time) = micros(&line) else { continue };
            self.bytes += line.len();
            self.arrived += 1;
            self.waiting.insert((time, self.arrived), line);
        }
        self.write();
    }

    /// A rank has come, or has come back: its lines count from now on.
    pub(crate) fn join(&mut self, rank: Rank) {
        self.until.entry(rank).or_insert(0);
    }

    /// Nothing more comes from a rank.
    pub(crate) fn over(&mut self, rank: Rank) {
        self.until.remove(&rank);
        self.write();
    }

    /// Writes everything that is here.
    pub(crate) fn finish(&mut self) {
        self.until.clear();
        self.write();
    }

    fn write(&mut self) {
        let safe = self.until.values().min().copied().unwrap_or(u64::MAX);
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 >= safe && self.bytes <= MAX_WAITING {
                return;
            }
            let line = first.remove();
            self.bytes -= line.len();
            self.out.write_whole(&line);
        }
    }
}

/// The time of a line in microseconds: it begins with `{"t":SECONDS.MICROS`.
fn micros(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?.strip_prefix("{\"t\":")?;
    let (seconds, rest) = text.split_once('.')?;
    let digits = rest.get(..6)?;
    let seconds: u64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(digits.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: &str, word: &str) -> String {
        format!("{{\"t\":{time},\"msg\":\"{word}\"}}\n")
    }

    fn words(sink: &TraceSink) -> String {
        let text = sink.text();
        let word = |line: &str| line.split('"').nth(5).unwrap_or("?").to_owned();
        text.lines().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lines_wait_until_no_other_can_precede_them() {
        let out = TraceSink::memory();
        let mut merge = TraceMerge::new(out.clone(), [Rank(0), Rank(1)].into_iter());
        let lines = line("0.000005", "b") + &line("2.000000", "d");
        merge.add(Rank(1), 2_500_000_000, &lines.into());
        assert_eq!(words(&out), "", "rank 0 may have earlier ones");
        merge.add(Rank(0), 1_000_000_000, &line("0.000004", "a").into());
        assert_eq!(words(&out), "a b");
        merge.add(Rank(0), 1_500_000_000, &(line("1.2", "broken") + &line("1.200000", "c")).into());
        assert_eq!(words(&out), "a b c");
        merge.over(Rank(0));
        assert_eq!(words(&out), "a b c d");
        merge.add(Rank(0), 9_000_000_000, &line("8.000000", "gone").into());
        merge.finish();
        assert_eq!(words(&out), "a b c d");
    }

    #[test]
    fn a_rank_that_lags_costs_no_memory_without_bound() {
        let out = TraceSink::memory();
        let mut merge = TraceMerge::new(out.clone(), [Rank(0), Rank(1)].into_iter());
        let long = line("1.000000", &"x".repeat(1 << 20));
        for _ in 0..70 {
            merge.add(Rank(1), 0, &long.clone().into());
        }
        assert!(merge.bytes <= MAX_WAITING);
        assert!(out.text().lines().count() >= 6);
    }
}
