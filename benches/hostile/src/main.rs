//! Attacks over loopback on the program as it is shipped, with `--memory 64MiB`, beside honest
//! peers whose time is taken: a report as Markdown on stdout, progress on stderr.
//!
//! ```text
//! dunlin-bench-hostile DUNLIN [--only NAME]…
//! ```
//!
//! `scripts/bench-hostile` builds both and runs this in a network namespace. It never connects to
//! anything but loopback. The exit code is 1 if a bound does not hold.

#![allow(clippy::print_stdout, reason = "the report")]
#![allow(clippy::print_stderr, reason = "progress")]

mod cases;
mod doors;
mod program;

use std::path::PathBuf;
use std::process::ExitCode;

/// What an attacked process may take beyond an idle seed of the same torrent, in KiB.
const MORE_KIB: u64 = 128 << 10;
/// What an honest peer is answered within, whatever others do.
const ANSWER_MS: u128 = 2000;

/// A line of the report.
struct Row {
    name: &'static str,
    what: &'static str,
    /// The highest resident set of the attacked process, in KiB.
    peak_kib: u64,
    idle_kib: u64,
    /// What the honest peer took, and how long it may take.
    took_ms: u128,
    bound_ms: u128,
    /// What else is to be known.
    note: String,
    /// Whether the honest peer got what it wanted, unharmed.
    served: bool,
}

impl Row {
    fn holds(&self) -> bool {
        self.served
            && self.took_ms <= self.bound_ms
            && self.peak_kib <= self.idle_kib.saturating_add(MORE_KIB)
    }

    fn write(&self) {
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.2} | {:.2} | {} | {} |",
            self.name,
            self.what,
            self.idle_kib as f64 / 1024.0,
            self.peak_kib as f64 / 1024.0,
            self.took_ms as f64 / 1000.0,
            self.bound_ms as f64 / 1000.0,
            self.note,
            if self.holds() { "yes" } else { "**no**" },
        );
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (mut dunlin, mut only) = (None, Vec::new());
    while let Some(word) = words.next() {
        if word == "--only" {
            only.extend(words.next());
        } else {
            dunlin = Some(PathBuf::from(word));
        }
    }
    let Some(dunlin) = dunlin else {
        eprintln!("usage: dunlin-bench-hostile DUNLIN [--only NAME]…");
        return ExitCode::from(2);
    };
    match run(&dunlin, &only) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dunlin: &std::path::Path, only: &[String]) -> Result<bool, String> {
    println!(
        "| fault | attack | idle, MiB | peak, MiB | honest, s | at most, s | attack saw | holds |"
    );
    println!("|---|---|---:|---:|---:|---:|---|---|");
    let mut all = true;
    let mut done = |row: Row| {
        row.write();
        all &= row.holds();
    };
    cases::run(dunlin, only, &mut done)?;
    doors::run(dunlin, only, &mut done)?;
    Ok(all)
}
