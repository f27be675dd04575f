//! Ctrl-C and SIGTERM: the first stops a run so that it can be resumed, the second stops the
//! program.

use super::out;
use crate::exit::{Exit, Failure};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A write beyond the largest file that the system allows (`ulimit -f`) fails with its reason, and
/// does not end the program.
pub(crate) fn outlive_file_limit() {
    // Where that is refused, the program ends as others do.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

/// The number of the signal on all systems that dunlin runs on.
const SIGXFSZ: i32 = 25;

/// The same signal within that time is the same request: `timeout` signals the program that it has
/// started and then its process group, to which that belongs.
const ONE_REQUEST: Duration = Duration::from_millis(100);

/// Listens for signals from now until the program ends.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    interrupted: Arc<AtomicBool>,
}

impl Watch {
    /// Starts to listen: the first signal calls `stop`. Of a job only rank 0 `reports` it, since a
    /// launcher sends one signal to every process.
    ///
    /// # Errors
    /// If the operating system refuses (exit 3).
    pub(crate) fn start(reports: bool, stop: impl Fn() + Send + 'static) -> Result<Watch, Failure> {
        let refused = |error: std::io::Error| {
            Failure::environment(format!("cannot listen for Ctrl-C: {error}; try again"))
        };
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(refused)?;
        let watch = Watch { interrupted: Arc::default() };
        let interrupted = watch.interrupted.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || listen(&mut signals, &stop, &interrupted, reports))
            .map_err(refused)?;
        Ok(watch)
    }

    /// Whether a person asked to stop.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// The same, for work that looks for itself.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.interrupted
    }

    /// To be asked between the steps before the run.
    ///
    /// # Errors
    /// If a person asked to stop (exit 9).
    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        if !self.interrupted() {
            return Ok(());
        }
        let message = "interrupted before anything moved; the same command starts again".to_owned();
        Err(Failure { exit: Exit::Interrupted, message })
    }
}

fn listen(signals: &mut Signals, stop: &dyn Fn(), interrupted: &AtomicBool, reports: bool) {
    let say = |text| {
        if reports {
            out::notice(text);
        }
    };
    let mut first = None;
    for signal in signals.forever() {
        let now = (signal, Instant::now());
        if first.is_some_and(|first| is_again(first, now)) {
            continue;
        }
        first.get_or_insert(now);
        if interrupted.swap(true, Ordering::SeqCst) {
            say("stopped at once; the same command goes on from what is on disk");
            std::process::exit(Exit::InterruptedTwice.code().into());
        }
        say("interrupted: saving what is here (once more stops at once)");
        stop();
    }
}

/// Whether a signal is the first one, come a second time.
fn is_again(first: (i32, Instant), now: (i32, Instant)) -> bool {
    let since = now.1.saturating_duration_since(first.1);
    first.0 == now.0 && since < ONE_REQUEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_may_come_as_two_signals() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        for (signal, millis, again) in [
            (SIGTERM, 0, true),
            (SIGTERM, 1, true),
            (SIGTERM, 99, true),
            (SIGTERM, 100, false),
            (SIGTERM, 5000, false),
            (SIGINT, 1, false),
        ] {
            let found = is_again((SIGTERM, start), (signal, after(millis)));
            assert_eq!(found, again, "{signal} after {millis} ms");
        }
    }
}
