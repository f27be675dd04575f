//! `dunlin cast` and `dunlin place`: every rank comes to hold what it should, from whoever holds it. From
//! the command line to each rank's part, and from the report to what is told. How the bytes move is the
//! world's business.
//!
//! ```text
//!   work    what all ranks are told: rank 0's arguments and plan
//!   part    one rank's part of it, from names alone
//!   content what is found on disk for that part
//!   here    all ranks in this process          job   one rank a process
//!   remote  ranks that are started over ssh    tell  what came of it
//! ```

mod config;
mod content;
mod here;
pub(crate) mod hosts;
mod part;
mod tell;
mod work;

use crate::args::Command;
use crate::exit::{Exit, Failure};
use dunlin_cluster::mpi::Launcher;
use work::Work;

/// Runs `cast` or `place`. `launcher` started this process as a rank, if one did.
///
/// # Errors
/// Whatever keeps the run from beginning, while this process is alone.
pub(crate) fn run(command: &Command, launcher: Option<&Launcher>) -> Result<Exit, Failure> {
    let _ = launcher;
    let work = Work::given(command, words()?)?;
    here::run(&work)
}

/// Runs one rank as rank 0 tells on standard input.
///
/// # Errors
/// If what it tells is no job that can be joined (exit 3).
pub(crate) fn join() -> Result<Exit, Failure> {
    Err(Failure::environment("there is nothing to join yet"))
}

/// The name of this host.
fn host_name() -> String {
    let name = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    match String::from_utf8_lossy(&name).trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// The words of this process's command line.
fn words() -> Result<Vec<String>, Failure> {
    let text = |word: std::ffi::OsString| {
        word.into_string().map_err(|word| {
            Failure::usage(format!(
                "{}: expected arguments in UTF-8, found other bytes; rename the file",
                word.display()
            ))
        })
    };
    std::env::args_os().map(text).collect()
}
