//! `dunlin`: moves large files to many machines at once.
//!
//! It reads the command line and the plan, starts a world, and shows
//! what happens. It decides nothing about how files move, and knows no protocol.
//!
//! ```text
//! dunlin swarm examples/flock          run a plan
//! dunlin swarm PLAN --trace run.trace  and write down every message
//! mpirun -np 7 dunlin swarm PLAN       one rank a process, over MPI
//! dunlin cast SRC DEST                 files and folders to every rank
//! dunlin place plan.toml               what each rank or host should hold
//! dunlin get FILE.torrent              a torrent of the internet
//! dunlin seed FILE.torrent             give it to others
//! dunlin trace run.trace               as a sequence chart
//! dunlin create PATH                   a torrent of a file or folder
//! dunlin show, edit, magnet TORRENT    what it holds, other trackers, its link
//! dunlin clean PLAN                    remove what unfinished runs left
//! ```

mod args;
#[cfg(feature = "course")]
mod atomic_file;
mod clean;
#[cfg(feature = "course")]
mod cluster;
#[cfg_attr(
    not(all(feature = "course", feature = "internet", feature = "manual")),
    allow(dead_code, reason = "each group of commands uses a part of it")
)]
mod console;
#[cfg_attr(
    not(all(feature = "course", feature = "internet", feature = "manual")),
    allow(dead_code, reason = "each group of commands uses a part of it")
)]
mod exit;
#[cfg(feature = "manual")]
mod manual;
mod parsers;
#[cfg(feature = "internet")]
mod torrents;
#[cfg(feature = "course")]
mod trace;
#[cfg(feature = "internet")]
mod tracker;

use args::Command;
#[cfg(feature = "manual")]
use clap::CommandFactory;
#[cfg(feature = "course")]
use cluster::launch;
use console::{logging, out, signals};
use std::process::ExitCode;
#[cfg(feature = "internet")]
use torrents::transfer;

#[cfg(not(any(feature = "course", feature = "internet")))]
compile_error!("dunlin without `course` and without `internet` would have nothing to do");

/// Without the cluster no launcher matters.
#[cfg(not(feature = "course"))]
mod launch {
    use crate::exit::Exit;
    use std::process::ExitCode;

    pub(crate) struct Launcher;

    pub(crate) fn launcher() -> Option<Launcher> {
        None
    }

    pub(crate) fn reports(_: Option<&Launcher>) -> bool {
        true
    }

    pub(crate) fn end_silently(exit: Exit) -> ExitCode {
        exit.into()
    }
}

fn main() -> ExitCode {
    out::clean_panics();
    signals::outlive_file_limit();
    let launcher = launch::launcher();
    if launcher.is_some() {
        out::set_launched();
    }
    let reports = launch::reports(launcher.as_ref());
    let args = match args::parse(std::env::args_os(), reports) {
        Ok(args) => args,
        Err(exit) if reports => return exit.into(),
        Err(exit) => return launch::end_silently(exit),
    };
    let done = logging::start(args.verbose).and_then(|()| match &args.command {
        Command::Clean(options) => clean::run(options),
        #[cfg(feature = "course")]
        Command::Swarm(options) => cluster::swarm::run(options, launcher.as_ref()),
        #[cfg(feature = "course")]
        command @ (Command::Cast(_) | Command::Place(_)) => {
            cluster::place::run(command, launcher.as_ref())
        }
        #[cfg(feature = "course")]
        Command::Join(_) => cluster::place::join(),
        #[cfg(feature = "course")]
        Command::Witness => cluster::witness::run(),
        #[cfg(feature = "course")]
        Command::Trace(options) => trace::run(options),
        #[cfg(feature = "internet")]
        Command::Get(options) => transfer::get(options),
        #[cfg(feature = "internet")]
        Command::Seed(options) => transfer::seed(options),
        #[cfg(feature = "internet")]
        Command::Create(options) => torrents::create::run(options),
        #[cfg(feature = "internet")]
        Command::Show(options) => torrents::show::run(options),
        #[cfg(feature = "internet")]
        Command::Edit(options) => torrents::edit::run(options),
        #[cfg(feature = "internet")]
        Command::Verify(options) => torrents::verify::run(options),
        #[cfg(feature = "internet")]
        Command::Magnet(options) => torrents::magnet::run(options),
        #[cfg(feature = "internet")]
        Command::Tracker(options) => tracker::run(options),
        #[cfg(feature = "manual")]
        Command::Completions(options) => manual::completions(options, args::Args::command()),
        #[cfg(feature = "manual")]
        Command::Man(options) => manual::man(options, args::Args::command()),
    });
    match done {
        Ok(exit) => exit.into(),
        // Only a run is one undertaking of all its processes.
        Err(failure) if !reports && args.is_run() => {
            tracing::info!(%failure, "rank 0 reports it");
            launch::end_silently(failure.exit)
        }
        Err(failure) => console::fail(&failure, args.json()).into(),
    }
}
