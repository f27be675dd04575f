//! `dunlin trace FILE`: a trace as a sequence chart on stdout.

use crate::args::TraceArgs;
use crate::exit::{Exit, Failure};
use crate::out;
use dunlin_cluster::ChartError;
use std::fs::File;
use std::io::BufReader;

/// Runs the command.
///
/// # Errors
/// If the file cannot be read or is no trace (exit 4).
pub(crate) fn run(args: &TraceArgs) -> Result<Exit, Failure> {
    let path = args.file.display();
    let unreadable = |error| {
        Failure::input(format!(
            "cannot read the trace {path}: {error}; `dunlin swarm PLAN --trace FILE` writes one"
        ))
    };
    let file = File::open(&args.file).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
    }
    let mut fault = None;
    out::data(|page| match dunlin_cluster::chart(BufReader::new(file), page.lines()) {
        Ok(()) => Ok(()),
        Err(ChartError::Io(error)) => Err(error),
        Err(other) => {
            fault = Some(other);
            Ok(())
        }
    })?;
    match fault {
        Some(error) => Err(Failure::input(format!("{path}: {error}"))),
        None => Ok(Exit::Ok),
    }
}
