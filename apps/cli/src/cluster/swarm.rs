//! `dunlin swarm PLAN`: a plan of which every rank reads its own part. In one process all parts are
//! read here; of a job, rank 0 needs none, and a peer never reads another's.

mod check;
mod peers;
mod restart;

use super::args::RunArgs;
use super::args::SwarmArgs;
use super::launch::{self, JobProcess};
use super::outputs::Outputs;
use super::pipeline::{self, Kind, LoadedRanks, ProcessRole, Stage};
use super::plan::{self, LoadError, LoadedPlan, OwnPart};
use super::policies::{Policies, SwarmPolicies};
use super::{failures, progress, table};
use crate::console::progress::ProgressMode;
use crate::console::{Console, json, out};
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::{self, Hello, LastRun, Launcher};
use dunlin_cluster::{PeerConfig, PeerContent, Report, RunConfig};
use dunlin_disk::{Fs, LockError, OutputLock, RealFs};
use dunlin_metainfo::CLUSTER_BLOCK_LENGTH;
use dunlin_plan::PlanForm;
use peers::OutputFolders;
use restart::Before;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Runs the command. `launcher` started this process as a rank, if one did.
///
/// # Errors
/// Whatever keeps the run from beginning, while this process is alone.
pub(crate) fn run(args: &SwarmArgs, launcher: Option<&Launcher>) -> Result<Exit, Failure> {
    let swarm = SwarmRun::new(args);
    let launch = launch::decide(args.run.launch.fabric, launcher, || swarm.peers())?;
    pipeline::run(Ok(swarm), &args.run, launch, launcher, &Value::Null)
}

/// A run of a plan.
struct SwarmRun<'a> {
    args: &'a SwarmArgs,
    /// The form of the plan; rank 0 of a job may not see it.
    form: Option<PlanForm>,
    /// The highest rank of the plan as far as it is seen from here; 0 if none.
    highest: u32,
    /// Whether the input of a peer of a job is there, right or wrong.
    own: bool,
    /// The plan, or the part of one rank.
    plan: Option<LoadedPlan>,
    warnings: Vec<String>,
    /// What stood at the outputs before a run in one process.
    before: Option<Before>,
}

impl<'a> SwarmRun<'a> {
    fn new(args: &'a SwarmArgs) -> SwarmRun<'a> {
        SwarmRun {
            args,
            form: None,
            highest: 0,
            own: true,
            plan: None,
            warnings: Vec::new(),
            before: None,
        }
    }

    fn swarm_policies(&self) -> SwarmPolicies {
        SwarmPolicies::of(self.args, self.form)
    }

    /// The plan that was loaded, and where its outputs go.
    ///
    /// # Errors
    /// If none was: a defect.
    fn loaded(&self) -> Result<(&LoadedPlan, OutputFolders), Failure> {
        let plan = self.plan.as_ref();
        let plan = plan.ok_or_else(|| Failure::input("the plan has not been loaded"))?;
        Ok((plan, OutputFolders::of(self.args, plan)))
    }

    /// Reads the whole plan.
    fn load_whole(&self) -> Result<LoadedPlan, Failure> {
        plan::load(self.args.plan()).map_err(|error| match error {
            LoadError::NotAPlan { found, .. } if self.args.plan.is_none() => {
                Failure::usage(format!(
                    "no PLAN was given, and the current folder is none: expected in1.txt, found \
                     {found}; give the folder of a plan"
                ))
            }
            error => Failure::input(error),
        })
    }

    /// What a rank 0 that needs no part of the plan can see of it.
    fn glance(&mut self, console: Console) {
        let Some(glance) = plan::glance(self.args.plan()) else { return };
        glance.warnings.iter().for_each(|text| console.warning(text));
        (self.form, self.highest) = (Some(glance.form), glance.highest);
    }

    /// Reads the part of one peer.
    fn load_own(&mut self, rank: Rank) -> Result<(), Failure> {
        let OwnPart { highest, here, part } = plan::load_own(self.args.plan(), rank);
        (self.highest, self.own) = (highest, here);
        let loaded = part.map_err(Failure::input)?;
        self.form = Some(loaded.plan.form);
        self.plan = Some(loaded);
        Ok(())
    }

    /// Completes the message about owners that disagree with their places in the plan, where these
    /// can be seen from here.
    fn name_places(&self, report: &mut Report) {
        if report.conflict.is_none() {
            return;
        }
        let seen = match &self.plan {
            Some(_) => None,
            None => plan::load(self.args.plan()).ok(),
        };
        if let Some(plan) = self.plan.as_ref().or(seen.as_ref()) {
            let outputs = OutputFolders::of(self.args, plan);
            peers::name_places(report, plan, &outputs);
        }
    }

    /// Prints the report: a document, or the table and what went wrong. Errors are never silenced.
    fn show(&self, report: &Report, exit: Exit) -> Result<(), Failure> {
        let (args, failures) = (self.args, failures::failures(report));
        if args.run.json {
            let message = failures.join("\n");
            out::document(&json::report(report.to_json(), exit, &message))?;
        } else if !args.run.quiet && !report.peers.is_empty() {
            out::data(|page| table::write_swarm(report, page))?;
        }
        if exit != Exit::Ok {
            failures.iter().for_each(|text| out::error(text));
        }
        Ok(())
    }

    /// What a person may want to do next.
    fn advice(&self, report: &Report, exit: Exit) -> Vec<String> {
        let course = self.form == Some(PlanForm::Course);
        match (exit, &self.before) {
            (Exit::Ok, _) if self.args.run.quiet => Vec::new(),
            (Exit::Ok, Some(before)) => before.advice(course, report),
            (Exit::Ok, None) => restart::in_place(report).map(str::to_owned).into_iter().collect(),
            (Exit::Interrupted, Some(_)) => resume_command(course).into(),
            (Exit::Interrupted, None) => vec![resume_job(course).to_owned()],
            _ => Vec::new(),
        }
    }
}

impl Kind for SwarmRun<'_> {
    // What is wrong with a part is judged by rank 0 before the run.
    const LOADS_FIRST: bool = true;

    fn options(&self) -> &RunArgs {
        &self.args.run
    }

    fn only_looks(&self) -> bool {
        self.args.check
    }

    fn dump_peers(&self) -> Option<(&Path, Vec<Rank>)> {
        let peers = &self.plan.as_ref()?.plan.peers;
        Some((self.args.dump_peers.as_deref()?, peers.iter().map(|peer| peer.rank).collect()))
    }

    fn peers(&self) -> Option<u32> {
        plan::glance(self.args.plan()).map(|glance| glance.highest)
    }

    fn decide(&mut self, role: &ProcessRole<'_>, console: Console) -> Result<(), Failure> {
        let peers = match role {
            ProcessRole::All(_) => {
                let loaded = self.load_whole()?;
                self.form = Some(loaded.plan.form);
                let peers = u32::try_from(loaded.plan.peers.len()).unwrap_or(u32::MAX);
                self.plan = Some(loaded);
                peers
            }
            ProcessRole::Lead(process) => {
                self.glance(console);
                process.job.size().saturating_sub(1)
            }
            ProcessRole::Peer(process) => {
                self.load_own(process.job.rank())?;
                process.job.size().saturating_sub(1)
            }
        };
        self.form.map_or(Ok(()), |form| self.args.refuse_implied(form))?;
        let settings = self.swarm_policies();
        settings.check(peers, &role.fabric())?;
        if let ProcessRole::All(here) = role
            && let Some(loaded) = &self.plan
        {
            if here.single && !self.args.run.quiet {
                out::notice(&launch::one_process(peers));
            }
            self.warnings.clone_from(&loaded.plan.warnings);
        }
        self.warnings.extend(settings.warnings);
        Ok(())
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn answer(&self, console: Console) -> Result<Option<Exit>, Failure> {
        if !self.args.check {
            return Ok(None);
        }
        let (loaded, outputs) = self.loaded()?;
        let ungenerated = check::ungenerated(loaded)?;
        if ungenerated.is_empty() {
            return Ok(None);
        }
        let moves = check::by_names(loaded, &outputs, &ungenerated, console)?;
        check::print(self.args.run.json, self.form, &ungenerated, &moves)?;
        Ok(Some(Exit::Ok))
    }

    fn highest(&self) -> u32 {
        self.highest
    }

    fn hello(&self, _: &JobProcess<'_>, loaded: Option<&PeerConfig>) -> Hello {
        let state = loaded.filter(|_| !self.args.check).and_then(dest);
        Hello {
            highest: self.highest,
            own: self.own,
            failure: None,
            last_run: state.and_then(|dest| LastRun::read(&RealFs, dest)),
            state: state.map(Path::to_owned),
            block_length: self.args.run.block_size.unwrap_or(CLUSTER_BLOCK_LENGTH),
            host: process::host_name(),
        }
    }

    fn load(&mut self, stage: &Stage<'_>) -> Result<LoadedRanks, Failure> {
        let rank = match stage.role {
            ProcessRole::Lead(_) => return Ok(LoadedRanks { peers: Vec::new(), lock: None }),
            ProcessRole::All(_) => None,
            ProcessRole::Peer(process) => Some(process.job.rank()),
        };
        let (loaded, outputs) = self.loaded()?;
        let mut lock = None;
        if !self.args.check {
            let job = match stage.role {
                ProcessRole::Peer(process) => Some(process.job.id()),
                _ => None,
            };
            lock = outputs.prepare(&stage.fs, job.as_deref())?;
            let data = &loaded.plan.generate;
            plan::generate_all(&loaded.dir, data, rank, stage.progress(), stage.watch)?;
        } else if rank.is_some() {
            check::refuse_ungenerated(self.args, loaded)?;
        }
        let peers = peers::configure(loaded, &outputs, stage.console)?;
        stage.watch.go_on()?;
        match rank {
            Some(rank) => {
                let peer = peers.first();
                let peer =
                    peer.ok_or_else(|| Failure::input(format!("the plan has no rank {rank}")))?;
                if let Some(dest) = dest(peer).filter(|_| !self.args.check) {
                    refuse_used(&stage.fs, dest)?;
                }
            }
            None => {
                let made = loaded.plan.generate.iter().map(|data| loaded.dir.join(&data.path));
                self.before = Some(Before::look(&peers, &loaded.dir, &made.collect()));
            }
        }
        Ok(LoadedRanks { peers, lock })
    }

    fn policies(&self) -> Policies {
        self.swarm_policies().policies
    }

    fn configure(&self, config: RunConfig) -> RunConfig {
        let settings = self.swarm_policies();
        RunConfig {
            tracker_order: settings.tracker_order,
            tracker_map: settings.tracker_map,
            choker: settings.choker,
            refresh_every: self.args.refresh,
            refresh_scope: settings.refresh_scope,
            piece_size: settings.piece_size,
            no_share: settings.no_share,
            force: self.args.force,
            on_conflict: settings.on_conflict,
            ..config
        }
    }

    fn report(self, mut report: Report, outputs: Outputs) -> Result<Exit, Failure> {
        self.name_places(&mut report);
        let exit = Exit::of_code(report.exit_code());
        if self.args.check {
            match exit {
                Exit::Ok => {
                    check::print(self.args.run.json, self.form, &[], &check::moves(&report))?;
                }
                _ => self.show(&report, exit)?,
            }
            return Ok(exit);
        }
        progress::last_line(ProgressMode::of(self.args.run.quiet), &report);
        outputs.write(&report)?;
        self.show(&report, exit)?;
        self.advice(&report, exit).iter().for_each(|line| out::notice(line));
        Ok(exit)
    }
}

/// The folder of a peer's wanted real files.
fn dest(peer: &PeerConfig) -> Option<&Path> {
    match &peer.content {
        PeerContent::Files { dest, wants, .. } if !wants.is_empty() => Some(dest),
        _ => None,
    }
}

/// Looks whether the folder of the outputs can be written and no other run works in it: the run
/// itself takes its lock, but then the others would have begun already. A folder that is not there
/// yet is made by the run.
fn refuse_used(fs: &Arc<dyn Fs>, dest: &Path) -> Result<(), Failure> {
    if fs.metadata(dest).is_err() {
        return Ok(());
    }
    OutputLock::acquire(fs, dest).map(drop).map_err(|error| match error {
        LockError::Held { .. } => Failure::input(error),
        LockError::Io { .. } => Failure::disk(error),
    })
}

fn resume_command(course: bool) -> [String; 2] {
    let words: Vec<String> =
        std::env::args_os().map(|word| out::shown_word(Path::new(&word))).collect();
    let how = match course {
        true => "interrupted; a course plan starts afresh with",
        false => "interrupted; what is here is kept. To go on, run the same command:",
    };
    [how.to_owned(), format!("  {}", words.join(" "))]
}

fn resume_job(course: bool) -> &'static str {
    match course {
        true => "interrupted; a course plan starts afresh: launch the job again",
        false => "interrupted; what is here is kept. To go on, launch the job again",
    }
}
