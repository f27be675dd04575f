//! `dunlin`: moves large files to many machines at once.
//!
//! This is the roof of the house: it reads the command line and the plan, starts a world, and shows
//! what happens. It decides nothing about how files move, and speaks no protocol.
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
//! dunlin show, edit, magnet TORRENT    what it says, other trackers, its link
//! dunlin clean PLAN                    remove what unfinished runs left
//! ```

mod args;
mod atomic_file;
mod clean;
mod cluster;
mod console;
mod exit;
mod manual;
mod parsers;
mod torrents;
mod trace;
mod tracker;

use args::{Args, Command};
use clap::CommandFactory;
use cluster::launch;
use console::{logging, out, signals};
use std::process::ExitCode;
use torrents::transfer;

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
        Command::Swarm(options) => cluster::swarm::run(options, launcher.as_ref()),
        command @ (Command::Cast(_) | Command::Place(_)) => {
            cluster::place::run(command, launcher.as_ref())
        }
        Command::Join(_) => cluster::place::join(),
        Command::Witness => cluster::witness::run(),
        Command::Trace(options) => trace::run(options),
        Command::Clean(options) => clean::run(options),
        Command::Get(options) => transfer::get(options),
        Command::Seed(options) => transfer::seed(options),
        Command::Create(options) => torrents::create::run(options),
        Command::Show(options) => torrents::show::run(options),
        Command::Edit(options) => torrents::edit::run(options),
        Command::Verify(options) => torrents::verify::run(options),
        Command::Magnet(options) => torrents::magnet::run(options),
        Command::Tracker(options) => tracker::run(options),
        Command::Completions(options) => manual::completions(options, Args::command()),
        Command::Man(options) => manual::man(options, Args::command()),
    });
    match done {
        Ok(exit) => exit.into(),
        // Only a run is one undertaking of all its processes.
        Err(failure) if !reports && args.run().is_some() => {
            tracing::info!(%failure, "rank 0 reports it");
            launch::end_silently(failure.exit)
        }
        Err(failure) => console::fail(&failure, args.json()).into(),
    }
}
