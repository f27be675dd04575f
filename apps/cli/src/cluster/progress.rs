//! How far a run is, on stderr: bars on a terminal, a line a second otherwise.

use crate::console::progress::{Bar, Bars, LINE, ProgressMode, percent};
use crate::console::signals::Watch;
use crate::console::{Console, out};
use crate::exit::Failure;
use dunlin_base::{Rank, format_rate, format_size};
use dunlin_cluster::{PeerState, RankState, Report, RunControl};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// The most bars on a terminal beside the total: they fit on a screen of 14 rows.
const MAX_BARS: usize = 12;
/// Between two drawings of the bars.
const FRAME: Duration = Duration::from_millis(100);
/// What one bar looks like.
const BAR: &str = "{prefix:>8} [{bar:16}] {percent:>3}%  {wide_msg}";

/// Stops the run of `control` at the first signal, so that it can be resumed.
///
/// # Errors
/// If the operating system refuses (exit 3).
pub(crate) fn watch(control: &RunControl, console: Console) -> Result<Watch, Failure> {
    let control = control.clone();
    Watch::start(console.leads(), move || control.interrupt())
}

/// Runs `work` and shows the progress of `control` meanwhile.
pub(crate) fn during<T>(mode: ProgressMode, control: &RunControl, work: impl FnOnce() -> T) -> T {
    if mode == ProgressMode::Quiet {
        return work();
    }
    thread::scope(|scope| {
        let (running, ended) = mpsc::channel::<()>();
        scope.spawn(move || match mode {
            ProgressMode::Bars => bars(control, &ended),
            _ => lines(control, &ended),
        });
        let result = work();
        drop(running);
        result
    })
}

/// All ranks at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Snapshot {
    peers: Vec<RankSnapshot>,
}

/// RankSnapshot rank at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RankSnapshot {
    rank: Rank,
    state: RankState,
    have: u64,
    wanted: u64,
    bytes: u64,
}

impl Snapshot {
    fn take(control: &RunControl) -> Snapshot {
        let peers = control.progress().into_iter().map(|rank| RankSnapshot {
            rank: rank.rank,
            state: rank.state,
            have: rank.pieces_have,
            wanted: rank.pieces_wanted,
            bytes: rank.bytes_moved,
        });
        Snapshot { peers: peers.collect() }
    }

    fn sum(&self, of: impl Fn(&RankSnapshot) -> u64) -> u64 {
        self.peers.iter().map(of).fold(0, u64::saturating_add)
    }

    fn count(&self, state: RankState) -> usize {
        self.peers.iter().filter(|peer| peer.state == state).count()
    }

    /// Whether nothing moves yet: ranks hash their files or wait for those who do.
    fn starting(&self) -> bool {
        let begun = [RankState::Moving, RankState::Complete, RankState::Ended];
        !self.peers.iter().any(|peer| begun.contains(&peer.state))
    }

    /// RankSnapshot line: `12.3s  3/8 peers complete  41%  210.0 MiB/s`.
    fn line(&self, elapsed: Duration, rate: u64) -> String {
        let seconds = elapsed.as_secs_f64();
        let peers = self.peers.len();
        if self.starting() {
            // While a rank is checking, its pieces are bytes.
            let checking: Vec<&RankSnapshot> =
                self.peers.iter().filter(|one| one.state == RankState::Checking).collect();
            return format!(
                "{seconds:.1}s  checking  {}/{peers} peers ready  {} of {}",
                self.count(RankState::Waiting),
                format_size(checking.iter().map(|one| one.have).sum()),
                format_size(checking.iter().map(|one| one.wanted).sum())
            );
        }
        let part = percent(self.sum(|one| one.have), self.sum(|one| one.wanted));
        let complete = self.count(RankState::Complete) + self.count(RankState::Ended);
        let mut line = format!(
            "{seconds:.1}s  {complete}/{peers} peers complete  {part}%  {}",
            format_rate(rate)
        );
        let lost = self.count(RankState::Dead);
        if lost > 0 {
            line.push_str(&format!("  {lost} lost"));
        }
        line
    }
}

impl RankSnapshot {
    fn message(&self) -> String {
        match self.state {
            RankState::Idle => String::new(),
            RankState::Checking => {
                format!("checking {} of {}", format_size(self.have), format_size(self.wanted))
            }
            RankState::Waiting => "ready".to_owned(),
            RankState::Moving => format!("{} of {} pieces", self.have, self.wanted),
            RankState::Complete if self.wanted == 0 => "serves".to_owned(),
            RankState::Complete | RankState::Ended => "complete".to_owned(),
            RankState::Dead => "lost".to_owned(),
        }
    }
}

/// Bytes a second between two looks.
#[derive(Debug)]
struct Speed {
    at: Instant,
    bytes: u64,
}

impl Speed {
    fn since(&mut self, bytes: u64) -> u64 {
        let elapsed = self.at.elapsed().as_millis().max(1);
        let moved = u128::from(bytes.saturating_sub(self.bytes));
        *self = Speed { at: Instant::now(), bytes };
        u64::try_from(moved * 1000 / elapsed).unwrap_or(u64::MAX)
    }
}

fn lines(control: &RunControl, ended: &Receiver<()>) {
    let begun = Instant::now();
    let mut speed = Speed { at: begun, bytes: 0 };
    while ended.recv_timeout(LINE) == Err(RecvTimeoutError::Timeout) {
        let now = Snapshot::take(control);
        let rate = speed.since(now.sum(|one| one.bytes));
        out::notice(&now.line(begun.elapsed(), rate));
    }
}

fn bars(control: &RunControl, ended: &Receiver<()>) {
    let begun = Instant::now();
    let screen = Bars::new();
    let total = screen.add(BAR, "total");
    let mut peers: Vec<Bar> = Vec::new();
    let mut speed = Speed { at: begun, bytes: 0 };
    let mut rate = 0;
    while ended.recv_timeout(FRAME) == Err(RecvTimeoutError::Timeout) {
        let now = Snapshot::take(control);
        if speed.at.elapsed() >= LINE {
            rate = speed.since(now.sum(|one| one.bytes));
        }
        for (index, one) in now.peers.iter().take(MAX_BARS).enumerate() {
            if peers.len() == index {
                peers.push(screen.insert(index, BAR, &format!("rank {}", one.rank)));
            }
            let Some(shown) = peers.get(index) else { continue };
            draw(shown, one.have, one.wanted, &one.message());
        }
        let (have, wanted) = (now.sum(|one| one.have), now.sum(|one| one.wanted));
        draw(&total, have, wanted, &now.line(begun.elapsed(), rate));
    }
    screen.clear();
}

/// The line after the last: how the run ended. On a terminal the table shows it.
pub(crate) fn last_line(mode: ProgressMode, report: &Report) {
    if mode != ProgressMode::Lines || report.peers.is_empty() {
        return;
    }
    let complete = report.peers.iter().filter(|peer| peer.state == PeerState::Complete).count();
    let rate = report.bytes_moved as f64 / report.seconds.max(0.001);
    out::notice(&format!(
        "{:.1}s  {complete}/{} peers complete  {} moved  {}",
        report.seconds,
        report.peers.len(),
        format_size(report.bytes_moved),
        format_rate(rate as u64)
    ));
}

fn draw(bar: &Bar, have: u64, wanted: u64, message: &str) {
    bar.draw(if wanted == 0 { 1 } else { have }, wanted.max(1), message);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rank: u32, state: RankState, have: u64, wanted: u64) -> RankSnapshot {
        RankSnapshot { rank: Rank(rank), state, have, wanted, bytes: 0 }
    }

    #[test]
    fn a_line_says_how_far_all_are() {
        let peers = vec![
            one(1, RankState::Complete, 0, 0),
            one(2, RankState::Moving, 41, 100),
            one(3, RankState::Dead, 0, 0),
        ];
        let line = Snapshot { peers }.line(Duration::from_millis(12_345), 210 << 20);
        assert_eq!(line, "12.3s  1/3 peers complete  41%  210.0 MiB/s  1 lost");
    }

    #[test]
    fn checking_is_shown_as_such() {
        let peers =
            vec![one(1, RankState::Checking, 1 << 20, 4 << 20), one(2, RankState::Waiting, 0, 0)];
        let line = Snapshot { peers }.line(Duration::from_secs(1), 0);
        assert_eq!(line, "1.0s  checking  1/2 peers ready  1.0 MiB of 4.0 MiB");
    }
}
