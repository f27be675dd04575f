//! `dunlin swarm PLAN`: from the plan to the table. All ranks in this process here; what one rank a
//! process does else is in `job`.

pub(crate) mod check;
pub(crate) mod conflict;
pub(crate) mod job;
pub(crate) mod peers;
pub(crate) mod restart;
pub(crate) mod settings;
pub(crate) mod table;

use crate::cluster::args::SwarmArgs;
use crate::cluster::failures;
use crate::cluster::launch::{self, Here, Launch};
use crate::cluster::outputs::Records;
use crate::cluster::plan::{self, LoadError, Loaded};
use crate::cluster::progress::{self, watch};
use crate::console::progress::{ProgressMode, Step};
use crate::console::signals::Watch;
use crate::console::{Console, json, out};
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::Launcher;
use dunlin_cluster::{PeerConfig, Report, RunConfig, RunControl, TraceSink};
use dunlin_disk::{Fs, RealFs};
use dunlin_metainfo::CLUSTER_BLOCK_LENGTH;
use dunlin_plan::PlanForm;
use peers::Outputs;
use restart::Before;
use settings::Settings;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Runs the command. `launcher` started this process as a rank, if one did.
///
/// # Errors
/// Whatever keeps the run from beginning, while this process is alone. A run that began, and a job
/// that was joined, ends with an exit code.
pub(crate) fn run(args: &SwarmArgs, launcher: Option<&Launcher>) -> Result<Exit, Failure> {
    match launch::decide(args.run.launch.fabric, launcher, || job::peers_of(args))? {
        Launch::Here(here) => run_here(args, here),
        Launch::Ranks => job::run(args, launcher),
    }
}

/// Runs all ranks in this process.
///
/// # Errors
/// Whatever keeps the run from beginning.
pub(crate) fn run_here(args: &SwarmArgs, here: Here) -> Result<Exit, Failure> {
    let loaded = plan::load(args.plan()).map_err(|error| match error {
        LoadError::NotAPlan { found, .. } if args.plan.is_none() => Failure::usage(format!(
            "no PLAN was given, and the current folder is none: expected in1.txt, found {found}; \
             give the folder of a plan"
        )),
        error => Failure::input(error),
    })?;
    args.refuse_implied(loaded.plan.form)?;
    let console = Console::lead(args.run.quiet);
    let peers = u32::try_from(loaded.plan.peers.len()).unwrap_or(u32::MAX);
    let settings = Settings::decide(args, Some(loaded.plan.form), peers, here.fabric)?;
    if here.single && !args.run.quiet {
        out::say(&launch::one_process(peers));
    }
    loaded.plan.warnings.iter().for_each(|text| console.warning(text));
    settings.warnings.iter().for_each(|text| console.warning(text));
    let outputs = Outputs::of(args, &loaded);
    if args.check {
        return run_check(args, &loaded, settings, &outputs);
    }
    let control = RunControl::new();
    let watch = watch(&control, console)?;
    let records = Records::prepare(
        &args.run,
        args.dump_peers.as_deref(),
        loaded.plan.peers.iter().map(|peer| peer.rank),
    )?;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let lock = outputs.prepare(&fs, None)?;
    let mode = ProgressMode::of(args.run.quiet);
    generate(&loaded, None, mode, &watch)?;
    let peers = peers::configure(&loaded, &outputs, console)?;
    watch.go_on()?;
    let generated = loaded.plan.generate.iter().map(|data| loaded.dir.join(&data.path)).collect();
    let before = Before::look(&peers, &loaded.dir, &generated);
    tracing::info!(seed = settings.seed, peers = peers.len(), "starting");
    let config = config(args, settings, peers, fs, records.trace());
    let mut report = progress::during(mode, &control, || dunlin_cluster::run(config, &control));
    conflict::name_places(&mut report, &loaded, &outputs);
    drop(lock);
    progress::last_word(mode, &report);
    let exit = Exit::of_code(report.exit_code());
    records.write(&report)?;
    tell(args, &report, exit)?;
    let advice = before.advice(loaded.plan.form, &report);
    if exit == Exit::Ok && !args.run.quiet {
        advice.iter().for_each(|line| out::say(line));
    }
    if exit == Exit::Interrupted {
        how_to_go_on(loaded.plan.form).iter().for_each(|line| out::say(line));
    }
    Ok(exit)
}

fn run_check(
    args: &SwarmArgs,
    loaded: &Loaded,
    settings: Settings,
    outputs: &Outputs,
) -> Result<Exit, Failure> {
    let form = Some(loaded.plan.form);
    let console = Console::lead(args.run.quiet);
    let ungenerated = check::ungenerated(loaded)?;
    if !ungenerated.is_empty() {
        let moves = check::by_names(loaded, outputs, &ungenerated, console)?;
        check::print(args.run.json, form, &ungenerated, &moves)?;
        return Ok(Exit::Ok);
    }
    let control = RunControl::new();
    let watch = watch(&control, console)?;
    let peers = peers::configure(loaded, outputs, console)?;
    watch.go_on()?;
    let config = config(args, settings, peers, Arc::new(RealFs), None);
    let mode = ProgressMode::of(args.run.quiet);
    let mut report = progress::during(mode, &control, || dunlin_cluster::run(config, &control));
    conflict::name_places(&mut report, loaded, outputs);
    let exit = Exit::of_code(report.exit_code());
    if exit != Exit::Ok {
        tell(args, &report, exit)?;
        return Ok(exit);
    }
    check::print(args.run.json, form, &[], &check::moves(&report))?;
    Ok(exit)
}

/// Makes the plan's test data, before anything else. Of a job, `rank` is this process's.
///
/// # Errors
/// If something else stands there (exit 4), the disk refuses (exit 5), or a person stops it (exit 9).
pub(crate) fn generate(
    loaded: &Loaded,
    rank: Option<Rank>,
    mode: ProgressMode,
    watch: &Watch,
) -> Result<(), Failure> {
    for data in &loaded.plan.generate {
        if plan::is_generated(&loaded.dir, data).map_err(|error| Failure::from(&error))? {
            continue;
        }
        watch.go_on()?;
        let path = loaded.dir.join(&data.path);
        let size = dunlin_base::format_size(data.size);
        let what = format!("generating {} ({size})", path.display());
        let mut step = Step::begin(mode, what, data.size);
        let mut progress = |done| {
            step.at(done);
            if watch.interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        plan::generate(&loaded.dir, data, rank, &mut progress)
            .map_err(|error| Failure::from(&error))?;
        step.end();
    }
    Ok(())
}

/// Everything that the world is told.
pub(crate) fn config(
    args: &SwarmArgs,
    settings: Settings,
    peers: Vec<PeerConfig>,
    fs: Arc<dyn Fs>,
    trace: Option<TraceSink>,
) -> RunConfig {
    RunConfig {
        peers,
        fabric: settings.fabric,
        profile: settings.profile,
        pieces: settings.pieces,
        sources: settings.sources,
        tracker_order: settings.tracker_order,
        tracker_map: settings.tracker_map,
        choker: settings.choker,
        refresh_every: args.refresh,
        refresh_scope: settings.refresh_scope,
        piece_size: settings.piece_size,
        block_length: args.run.block_size.unwrap_or(CLUSTER_BLOCK_LENGTH),
        memory: args.run.memory,
        seed: settings.seed,
        start_timeout: args.run.start_timeout,
        stall_timeout: args.run.stall_timeout,
        no_share: settings.no_share,
        force: args.force,
        check_only: args.check,
        on_conflict: settings.on_conflict,
        faults: settings.faults,
        trace,
        hash_threads: launch::hash_threads(None),
        ..RunConfig::bittorrent(fs)
    }
}

/// Prints the report: a document, or the table and what went wrong. Errors are never silenced.
///
/// # Errors
/// If stdout takes no more for another reason than that its reader went away (exit 5).
pub(crate) fn tell(args: &SwarmArgs, report: &Report, exit: Exit) -> Result<(), Failure> {
    let failures = failures::failures(report);
    if args.run.json {
        let message = failures.join("\n");
        out::document(&json::report(report.to_json(), exit, &message))?;
    } else if !args.run.quiet && !report.peers.is_empty() {
        table::print(report)?;
    }
    if exit != Exit::Ok {
        failures.iter().for_each(|text| out::error(text));
    }
    Ok(())
}

fn how_to_go_on(form: PlanForm) -> [String; 2] {
    let words: Vec<String> =
        std::env::args_os().map(|word| out::shown_word(Path::new(&word))).collect();
    let how = if form == PlanForm::Course {
        "interrupted; a course plan starts afresh with"
    } else {
        "interrupted; what is here is kept. To go on, run the same command:"
    };
    [how.to_owned(), format!("  {}", words.join(" "))]
}
