//! A peer that is a process of its own: it reads its own part of the plan, makes ready what is its
//! own, says so to rank 0, and takes part in the run if rank 0 lets it begin.

use crate::cluster::args::SwarmArgs;
use crate::cluster::outputs::Records;
use crate::cluster::plan::{self, Loaded, Own};
use crate::cluster::progress::watch;
use crate::cluster::swarm::peers::{self, Outputs};
use crate::cluster::swarm::settings::Settings;
use crate::cluster::swarm::{self, check};
use crate::cluster::{failures, launch};
use crate::console::Console;
use crate::console::out::shell_word;
use crate::console::progress::ProgressMode;
use crate::console::signals::Watch;
use crate::exit::{Exit, Failure};
use dunlin_cluster::process::{self, Hello, Job, LastRun, Launcher};
use dunlin_cluster::{
    FabricKind, PeerConfig, PeerContent, Report, RunConfig, RunControl, RunError,
};
use dunlin_disk::{Fs, LockError, OutputLock, RealFs};
use dunlin_metainfo::CLUSTER_BLOCK_LENGTH;
use std::path::Path;
use std::sync::Arc;

/// A peer that can take part.
struct Ready {
    settings: Settings,
    records: Records,
    peer: PeerConfig,
    /// The shared lock of a course plan's outputs, held until the run is over.
    lock: Option<OutputLock>,
}

/// Takes part in the job to its end.
pub(super) fn run(args: &SwarmArgs, job: &Job, launcher: Option<&Launcher>) -> Exit {
    let exit = take_part(args, job, launcher);
    Exit::of_code(job.leave(exit.code()))
}

fn take_part(args: &SwarmArgs, job: &Job, launcher: Option<&Launcher>) -> Exit {
    let console = Console::peer(job.rank(), args.run.quiet);
    let control = RunControl::new();
    let watch = watch(&control, console);
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let Own { highest, here, part } = plan::load_own(args.plan(), job.rank());
    let ready = match (&watch, part) {
        (Ok(watch), Ok(loaded)) => ready(args, job, &loaded, watch, &fs),
        (Err(failure), Ok(_)) => Err(failure.clone()),
        (_, Err(error)) => Err(Failure::input(error)),
    };
    let failure = ready.as_ref().err();
    let state = ready.as_ref().ok().filter(|_| !args.check).and_then(|ready| dest(&ready.peer));
    let hello = Hello {
        highest,
        own: here,
        failure: failure.map(|failure| (failure.exit.code(), failure.message.clone())),
        last_run: state.and_then(|dest| LastRun::read(&*fs, dest)),
        state: state.map(Path::to_owned),
        block_length: args.run.block_size.unwrap_or(CLUSTER_BLOCK_LENGTH),
        host: process::host_name(),
    };
    let stopped = || watch.as_ref().is_ok_and(Watch::interrupted);
    let welcome = match job.hello(hello, &stopped) {
        Ok(welcome) => welcome,
        Err(dismissed) => return sent_home(console, Exit::of_code(dismissed.code)),
    };
    let Ready { settings, records, peer, lock } = match ready {
        Ok(ready) => ready,
        Err(failure) => return failure.exit,
    };
    let settings = Settings { seed: welcome.seed, ..settings };
    let config = RunConfig {
        hash_threads: launch::hash_threads(launcher),
        block_length: welcome.block_length,
        ..swarm::config(args, settings, vec![peer], fs, records.trace())
    };
    let report = dunlin_cluster::run(config, &control);
    drop(lock);
    tell(console, report, records)
}

/// Ends a peer that may not take part. Rank 0 says why, if there is one.
fn sent_home(console: Console, exit: Exit) -> Exit {
    if exit == Exit::Network {
        console.error("rank 0 is gone; nothing moved. Run the same command again");
    }
    exit
}

/// Writes what the peer leaves to tell. All else is rank 0's to say, unless it is gone.
fn tell(console: Console, report: Report, records: Records) -> Exit {
    if report.errors.iter().any(|error| matches!(error, RunError::Network(_))) {
        failures::failures(&report).iter().for_each(|text| console.error(text));
    }
    let exit = Exit::of_code(report.exit_code());
    match records.write(&report) {
        Ok(()) => exit,
        Err(failure) => {
            console.error(&failure.message);
            failure.exit
        }
    }
}

/// Makes everything ready that is this peer's own.
///
/// # Errors
/// Whatever keeps the peer from taking part.
fn ready(
    args: &SwarmArgs,
    job: &Job,
    loaded: &Loaded,
    watch: &Watch,
    fs: &Arc<dyn Fs>,
) -> Result<Ready, Failure> {
    args.refuse_implied(loaded.plan.form)?;
    let rank = job.rank();
    let peers = job.size().saturating_sub(1);
    let fabric = FabricKind::Ranks(job.clone());
    let settings = Settings::decide(args, Some(loaded.plan.form), peers, fabric)?;
    let outputs = Outputs::of(args, loaded);
    let (mut records, mut lock) = (Records::default(), None);
    if args.check {
        refuse_ungenerated(args, loaded)?;
    } else {
        records = Records::of_peer(&args.run, args.dump_peers.as_deref(), rank)?;
        lock = outputs.prepare(fs, Some(&job.id()))?;
        swarm::generate(loaded, Some(rank), ProgressMode::Quiet, watch)?;
    }
    let found = peers::configure(loaded, &outputs, Console::peer(rank, args.run.quiet))?;
    watch.go_on()?;
    let peer = found.into_iter().next();
    let peer = peer.ok_or_else(|| Failure::input(format!("the plan has no rank {rank}")))?;
    if let Some(dest) = dest(&peer).filter(|_| !args.check) {
        refuse_used(fs, dest)?;
    }
    Ok(Ready { settings, records, peer, lock })
}

/// A check makes no test data, and without it this rank cannot say what it has.
fn refuse_ungenerated(args: &SwarmArgs, loaded: &Loaded) -> Result<(), Failure> {
    let Some((path, _)) = check::ungenerated(loaded)?.into_iter().next() else { return Ok(()) };
    Err(Failure::input(format!(
        "{}: the plan generates this test data and it is not there yet; a check of one rank a \
         process makes nothing: run `dunlin swarm {} --check` without the launcher",
        path.display(),
        shell_word(args.plan())
    )))
}

/// The folder of a peer's wanted real files.
fn dest(peer: &PeerConfig) -> Option<&Path> {
    match &peer.content {
        PeerContent::Files { dest, wants, .. } if !wants.is_empty() => Some(dest),
        _ => None,
    }
}

/// Looks whether the folder of the outputs can be written and no other run works in it: the run itself
/// takes its lock, but then the others would have begun already. A folder that is not there yet is
/// nobody's, and the run makes it.
fn refuse_used(fs: &Arc<dyn Fs>, dest: &Path) -> Result<(), Failure> {
    if fs.metadata(dest).is_err() {
        return Ok(());
    }
    OutputLock::acquire(fs, dest).map(drop).map_err(|error| match error {
        LockError::Held { .. } => Failure::input(error),
        LockError::Io { .. } => Failure::disk(error),
    })
}
