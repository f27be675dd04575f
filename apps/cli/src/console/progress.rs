//! Where progress is shown, and how far one long step is.

use super::bars::Bar;
use super::out;
use std::time::{Duration, Instant};

/// Between two lines.
pub(crate) const LINE: Duration = Duration::from_secs(1);

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    /// Bars.
    Bars,
    /// Lines.
    Lines,
    /// Nowhere.
    Quiet,
}

impl ProgressMode {
    /// Bars on a terminal, lines otherwise, nothing if `quiet`.
    pub(crate) fn of(quiet: bool) -> ProgressMode {
        match (quiet, out::stderr_is_screen()) {
            (true, _) => ProgressMode::Quiet,
            (false, true) => ProgressMode::Bars,
            (false, false) => ProgressMode::Lines,
        }
    }
}

/// Shows how far one long step is that happens before the run, like generating test data.
#[derive(Debug)]
pub(crate) struct Step {
    mode: ProgressMode,
    what: String,
    total: u64,
    shown: Instant,
    bar: Option<Bar>,
}

impl Step {
    /// Begins a step of `total` bytes. `what` begins its lines.
    pub(crate) fn begin(mode: ProgressMode, what: String, total: u64) -> Step {
        let bar = (mode == ProgressMode::Bars).then(|| {
            let bar = Bar::alone("[{bar:16}] {percent:>3}%  {wide_msg}");
            bar.draw(0, total, &what);
            bar
        });
        if mode == ProgressMode::Lines {
            out::notice(&what);
        }
        Step { mode, what, total, shown: Instant::now(), bar }
    }

    /// `done` bytes are behind us.
    pub(crate) fn at(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.draw(done, self.total, &self.what);
        } else if self.mode == ProgressMode::Lines && self.shown.elapsed() >= LINE {
            self.shown = Instant::now();
            out::notice(&format!("{}  {}%", self.what, percent(done, self.total)));
        }
    }

    /// The step is over.
    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }
}

/// Whole percent, 100 only when all is there. Nothing of nothing is all.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    match total {
        0 => 100,
        _ => u64::try_from(u128::from(done) * 100 / u128::from(total)).unwrap_or(100).min(100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_percent_is_all() {
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
