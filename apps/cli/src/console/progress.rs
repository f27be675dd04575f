//! Where progress is shown, how far one long step is, and bars on a terminal. This is the one place
//! that draws with escape sequences: what is shown beside a bar goes through [`plain`] first, as
//! everything else that goes out.

use super::out;
use dunlin_base::plain;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
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

/// Several bars on stderr, one below the other.
pub(crate) struct Bars(MultiProgress);

impl Bars {
    /// No bar yet.
    pub(crate) fn new() -> Bars {
        Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
    }

    /// Adds a bar at the end.
    pub(crate) fn add(&self, template: &'static str, prefix: &str) -> Bar {
        Bar(self.0.add(bar(template, prefix, ProgressDrawTarget::hidden())))
    }

    /// Adds a bar before the one at `index`.
    pub(crate) fn insert(&self, index: usize, template: &'static str, prefix: &str) -> Bar {
        Bar(self.0.insert(index, bar(template, prefix, ProgressDrawTarget::hidden())))
    }

    /// Writes one line above the bars.
    pub(crate) fn say(&self, text: &str) {
        // A screen that is gone needs no line.
        let _ = self.0.println(plain(text));
    }

    /// Takes all bars away.
    pub(crate) fn clear(&self) {
        let _ = self.0.clear();
    }
}

/// One bar.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar of its own on stderr.
    pub(crate) fn alone(template: &'static str) -> Bar {
        Bar(bar(template, "", ProgressDrawTarget::stderr()))
    }

    /// Shows that `done` of `total` are behind us.
    pub(crate) fn draw(&self, done: u64, total: u64, message: &str) {
        self.0.set_length(total);
        self.0.set_position(done);
        self.0.set_message(plain(message).into_owned());
    }

    /// Leaves it full.
    pub(crate) fn finish(&self) {
        self.0.finish();
    }

    /// Leaves it as it is.
    pub(crate) fn abandon(&self) {
        self.0.abandon();
    }
}

/// A bar that draws at `target`, its name already: one that is to be among others is hidden until
/// it is.
fn bar(template: &'static str, prefix: &str, target: ProgressDrawTarget) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), target);
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("#>-"));
    bar.set_prefix(plain(prefix).into_owned());
    bar
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
