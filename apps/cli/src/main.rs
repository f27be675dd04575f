//! `dunlin`: moves large files to many machines at once.
//!
//! This is the roof of the house: it reads the command line and the plan, starts a world, and shows
//! what happens. It decides nothing about how files move, and speaks no protocol.
//!
//! ```text
//! dunlin swarm examples/flock          run a plan
//! dunlin swarm PLAN --trace run.trace  and write down every message
//! dunlin trace run.trace               as a sequence chart
//! dunlin clean PLAN                    remove what unfinished runs left
//! ```

mod args;
mod check;
mod clean;
mod conflict;
mod exit;
mod json;
mod logging;
mod out;
mod peers;
mod pending;
mod plan;
mod progress;
mod restart;
mod settings;
mod signals;
mod swarm;
mod table;
mod trace;
mod troubles;
mod values;

use args::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let done = logging::start(args.verbose).and_then(|()| match &args.command {
        Command::Swarm(options) => swarm::run(options),
        Command::Trace(options) => trace::run(options),
        Command::Clean(options) => clean::run(options),
    });
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(args.json()),
    }
}
