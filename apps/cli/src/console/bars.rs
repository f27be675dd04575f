//! Bars on a terminal. The one place that draws with escape sequences: what is shown beside a bar
//! goes through [`plain`] first, as everything else that goes out.

use dunlin_base::plain;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

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
