//! `dunlin swarm PLAN`: from the plan to the table.

use crate::args::SwarmArgs;
use crate::check::{self, Move};
use crate::exit::{Exit, Failure};
use crate::peers::{self, Outputs};
use crate::pending::{self, Pending};
use crate::plan::{self, Loaded};
use crate::progress::{self, Mode, Step};
use crate::restart::Before;
use crate::settings::Settings;
use crate::signals::Watch;
use crate::{conflict, json, out, table, troubles};
use dunlin_base::Rank;
use dunlin_cluster::{PeerConfig, PeerReport, PeerState, Report, RunConfig, RunControl, TraceSink};
use dunlin_disk::{Fs, RealFs};
use dunlin_plan::PlanForm;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs the command.
///
/// # Errors
/// Whatever keeps the run from beginning. A run that began ends with its report and an exit code.
pub(crate) fn run(args: &SwarmArgs) -> Result<Exit, Failure> {
    let loaded = plan::load(&args.plan).map_err(Failure::input)?;
    let peers = u32::try_from(loaded.plan.peers.len()).unwrap_or(u32::MAX);
    let settings = Settings::decide(args, loaded.plan.form, peers)?;
    if !args.quiet {
        loaded.plan.warnings.iter().for_each(|text| out::warning(text));
        settings.warnings.iter().for_each(|text| out::warning(text));
    }
    let outputs = Outputs::of(args, &loaded);
    if args.check {
        return run_check(args, &loaded, settings, &outputs);
    }
    let control = RunControl::new();
    let watch = Watch::start(control.clone())?;
    let records = Records::prepare(args, &loaded)?;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let lock = outputs.prepare(&fs)?;
    let mode = Mode::of(args.quiet);
    generate(&loaded, mode, &watch)?;
    let peers = peers::configure(&loaded, &outputs, args.quiet)?;
    watch.go_on()?;
    let generated = loaded.plan.generate.iter().map(|data| loaded.dir.join(&data.path)).collect();
    let before = Before::look(&peers, &loaded.dir, &generated);
    tracing::info!(seed = settings.seed, peers = peers.len(), "starting");
    let config = config(args, settings, peers, fs, records.trace.clone());
    let mut report = progress::during(mode, &control, || dunlin_cluster::run(config, &control));
    conflict::name_places(&mut report, &loaded, &outputs);
    drop(lock);
    progress::last_word(mode, &report);
    let exit = Exit::of_code(report.exit_code());
    records.write(&report)?;
    tell(args, &report, exit)?;
    let advice = before.advice(loaded.plan.form, &report);
    if let Some(advice) = advice.filter(|_| exit == Exit::Ok && !args.quiet) {
        out::say(&advice);
    }
    if exit == Exit::Interrupted {
        out::say(&how_to_go_on(loaded.plan.form));
    }
    Ok(exit)
}

fn run_check(
    args: &SwarmArgs,
    loaded: &Loaded,
    settings: Settings,
    outputs: &Outputs,
) -> Result<Exit, Failure> {
    let form = loaded.plan.form;
    let ungenerated = check::ungenerated(loaded)?;
    if !ungenerated.is_empty() {
        let moves = check::by_names(loaded, outputs, &ungenerated, args.quiet)?;
        check::print(args.json, form, &ungenerated, &moves)?;
        return Ok(Exit::Ok);
    }
    let control = RunControl::new();
    let watch = Watch::start(control.clone())?;
    let peers = peers::configure(loaded, outputs, args.quiet)?;
    watch.go_on()?;
    let config = config(args, settings, peers, Arc::new(RealFs), None);
    let mode = Mode::of(args.quiet);
    let mut report = progress::during(mode, &control, || dunlin_cluster::run(config, &control));
    conflict::name_places(&mut report, loaded, outputs);
    let exit = Exit::of_code(report.exit_code());
    if exit != Exit::Ok {
        tell(args, &report, exit)?;
        return Ok(exit);
    }
    let moves: Vec<Move> = report
        .plan
        .iter()
        .map(|planned| Move {
            rank: planned.rank,
            files: planned.files,
            bytes: planned.bytes,
            here: planned.bytes_here,
            missing: Vec::new(),
        })
        .collect();
    check::print(args.json, form, &[], &moves)?;
    Ok(exit)
}

/// Makes the plan's test data, before anything else.
fn generate(loaded: &Loaded, mode: Mode, watch: &Watch) -> Result<(), Failure> {
    for data in &loaded.plan.generate {
        if plan::is_generated(&loaded.dir, data).map_err(|error| Failure::plan(&error))? {
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
        plan::generate(&loaded.dir, data, &mut progress).map_err(|error| Failure::plan(&error))?;
        step.end();
    }
    Ok(())
}

fn config(
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
        memory: args.memory,
        seed: settings.seed,
        start_timeout: args.start_timeout,
        stall_timeout: args.stall_timeout,
        no_share: settings.no_share,
        force: args.force,
        check_only: args.check,
        on_conflict: settings.on_conflict,
        faults: settings.faults,
        trace,
        fs,
        hash_threads: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Prints the report: a document, or the table and what went wrong. Errors are never silenced.
fn tell(args: &SwarmArgs, report: &Report, exit: Exit) -> Result<(), Failure> {
    let failures = troubles::failures(report);
    if args.json {
        let message = failures.join("\n");
        out::document(&json::report(report.to_json(), exit, &message))?;
    } else if !args.quiet && !report.peers.is_empty() {
        table::print(report)?;
    }
    if exit != Exit::Ok {
        failures.iter().for_each(|text| out::error(text));
    }
    Ok(())
}

fn how_to_go_on(form: PlanForm) -> String {
    let words: Vec<String> =
        std::env::args_os().map(|word| out::shell_word(Path::new(&word))).collect();
    let how = if form == PlanForm::Course {
        "interrupted; a course plan starts afresh with"
    } else {
        "interrupted; what is here is kept. To go on, run the same command:"
    };
    format!("{how}\n  {}", words.join(" "))
}

/// The files that tell what happened: proved to be creatable before anything moves.
#[derive(Debug)]
struct Records {
    trace: Option<TraceSink>,
    trace_path: PathBuf,
    tracker: Option<Pending>,
    peers: Vec<(Rank, Pending)>,
}

impl Records {
    /// Makes the trace, and the unfinished twins of the dumps.
    ///
    /// # Errors
    /// If one of them cannot be made (exit 5).
    fn prepare(args: &SwarmArgs, loaded: &Loaded) -> Result<Records, Failure> {
        let trace = args.trace.as_deref().map(|path| {
            TraceSink::create(path).map_err(|error| pending::refused("--trace", path, &error))
        });
        let tracker =
            args.dump_tracker.as_deref().map(|path| Pending::create("--dump-tracker", path));
        let mut peers = Vec::new();
        if let Some(folder) = &args.dump_peers {
            std::fs::create_dir_all(folder)
                .map_err(|error| pending::refused("--dump-peers", folder, &error))?;
            for peer in &loaded.plan.peers {
                let path = folder.join(format!("peer{}.json", peer.rank));
                peers.push((peer.rank, Pending::create("--dump-peers", &path)?));
            }
        }
        Ok(Records {
            trace: trace.transpose()?,
            trace_path: args.trace.clone().unwrap_or_default(),
            tracker: tracker.transpose()?,
            peers,
        })
    }

    /// Writes what the run left to tell. Ranks that were lost leave no dump, and a run that was
    /// refused leaves none at all.
    ///
    /// # Errors
    /// If the disk refuses (exit 5).
    fn write(self, report: &Report) -> Result<(), Failure> {
        if let Some(trace) = &self.trace {
            trace.flush().map_err(|error| pending::refused("--trace", &self.trace_path, &error))?;
        }
        if report.peers.is_empty() || report.refused.is_some() {
            return Ok(());
        }
        if let Some(file) = self.tracker {
            let dump = report.tracker_dump_json();
            file.write("--dump-tracker", format!("{dump}\n").as_bytes())?;
        }
        for (rank, file) in self.peers {
            let lives = |peer: &&PeerReport| {
                peer.rank == rank && matches!(peer.state, PeerState::Complete | PeerState::Failed)
            };
            if let Some(peer) = report.peers.iter().find(lives) {
                file.write("--dump-peers", format!("{}\n", peer.dump_json()).as_bytes())?;
            }
        }
        Ok(())
    }
}
