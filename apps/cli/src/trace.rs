//! `dunlin trace FILE`: a trace as a sequence chart on stdout.
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

use crate::console::out;
use crate::exit::{Exit, Failure};
use clap::Args as ClapArgs;
use dunlin_cluster::ChartError;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

/// Options of `dunlin trace`.
#[derive(Debug, ClapArgs)]
pub(crate) struct TraceArgs {
    /// The trace.
    ///
    /// A file that `dunlin swarm --trace FILE` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

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
