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
mod bars;
mod check;
mod clean;
mod conflict;
mod exit;
mod job;
mod json;
mod launch;
mod logging;
mod out;
mod peers;
mod pending;
mod placing;
mod plan;
mod progress;
mod ranks;
mod records;
mod restart;
mod settings;
mod signals;
mod swarm;
mod table;
mod torrent;
mod trace;
mod tracker_cmd;
mod transfer;
mod troubles;
mod values;
mod voice;
mod witness;

use args::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    out::clean_panics();
    signals::outlive_file_limit();
    let launcher = launch::launcher();
    let speaks = launch::speaks(launcher.as_ref());
    let args = match args::parse(std::env::args_os(), speaks) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let done = logging::start(args.verbose).and_then(|()| match &args.command {
        Command::Swarm(options) => swarm::run(options, launcher.as_ref()),
        command @ (Command::Cast(_) | Command::Place(_)) => {
            placing::run(command, launcher.as_ref())
        }
        Command::Get(options) => transfer::get(options),
        Command::Seed(options) => transfer::seed(options),
        Command::Join(_) => placing::join(),
        Command::Tracker(options) => tracker_cmd::run(options),
        Command::Trace(options) => trace::run(options),
        Command::Clean(options) => clean::run(options),
        Command::Create(options) => torrent::create::run(options),
        Command::Show(options) => torrent::show::run(options),
        Command::Edit(options) => torrent::edit::run(options),
        Command::Verify(options) => torrent::verify::run(options),
        Command::Magnet(options) => torrent::magnet::run(options),
        Command::Completions(options) => torrent::manual::completions(options),
        Command::Man(options) => torrent::manual::man(options),
        Command::Witness => witness::run(),
    });
    match done {
        Ok(exit) => exit.into(),
        // Only a run is one undertaking of all its processes.
        Err(failure) if !speaks && args.run().is_some() => {
            tracing::info!(%failure, "rank 0 says it");
            launch::end_silently(failure.exit)
        }
        Err(failure) => failure.report(args.json()),
    }
}
