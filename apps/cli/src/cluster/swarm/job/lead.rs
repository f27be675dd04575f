//! Rank 0 of a job: it hears how everyone read the plan, lets the run begin or sends everyone home,
//! runs the tracker, and tells how it went. It needs no part of the plan itself.

use crate::cluster::args::SwarmArgs;
use crate::cluster::outputs::Records;
use crate::cluster::plan::{self, Glance};
use crate::cluster::progress::{self, watch};
use crate::cluster::ranks::{self, Refusal};
use crate::cluster::swarm::peers::Outputs;
use crate::cluster::swarm::settings::Settings;
use crate::cluster::swarm::{self, check, conflict, restart};
use crate::console::progress::ProgressMode;
use crate::console::{Console, out};
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::{Hello, Job};
use dunlin_cluster::{FabricKind, Report, RunControl};
use dunlin_disk::RealFs;
use dunlin_plan::PlanForm;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Leads the job to its end.
pub(super) fn run(args: &SwarmArgs, job: &Job) -> Exit {
    let exit = lead(args, job).unwrap_or_else(|refusal| {
        // Said before anybody leaves: a launcher may end everybody when the first one does.
        refusal.report(args.run.json);
        refusal.exit
    });
    let _ = job.leave(exit.code());
    exit
}

fn lead(args: &SwarmArgs, job: &Job) -> Result<Exit, Refusal> {
    let console = Console::lead(args.run.quiet);
    let control = RunControl::new();
    // A death is said at once: most launchers end everybody a moment later.
    control.set_notifier(out::say);
    let watch = watch(&control, console)?;
    let glance = plan::glance(args.plan());
    let prepared = prepare(args, job, glance.as_ref());
    let hellos = job.hellos(args.run.start_timeout, &|| watch.interrupted());
    watch.go_on()?;
    let seen = glance.as_ref();
    seen.into_iter().flat_map(|glance| &glance.warnings).for_each(|text| console.warning(text));
    let peers = job.size().saturating_sub(1);
    let highest = seen.map_or(0, |glance| glance.highest);
    ranks::judge(peers, highest, prepared.as_ref().err(), &hellos)?;
    let (settings, records) = prepared?;
    settings.warnings.iter().for_each(|text| console.warning(text));
    introduce(args, console, peers, &hellos);
    job.welcome(settings.seed);
    tracing::info!(seed = settings.seed, peers, "starting");
    let config = swarm::config(args, settings, Vec::new(), Arc::new(RealFs), records.trace());
    let mode = ProgressMode::of(args.run.quiet);
    let mut report = progress::during(mode, &control, || dunlin_cluster::run(config, &control));
    name_places(args, &mut report);
    let form = glance.map(|glance| glance.form);
    Ok(if args.check {
        tell_check(args, form, &report)
    } else {
        tell(args, form, report, records)
    }?)
}

/// Rank 0's own preparations. They are judged with everyone else's: that the job has the wrong number
/// of ranks, say, explains why one of them is not in it.
fn prepare(
    args: &SwarmArgs,
    job: &Job,
    glance: Option<&Glance>,
) -> Result<(Settings, Records), Failure> {
    let form = glance.map(|glance| glance.form);
    form.map_or(Ok(()), |form| args.refuse_implied(form))?;
    let peers = job.size().saturating_sub(1);
    let settings = Settings::decide(args, form, peers, FabricKind::Ranks(job.clone()))?;
    let records = match args.check {
        true => Records::default(),
        false => Records::prepare(&args.run, None, std::iter::empty())?,
    };
    Ok((settings, records))
}

/// Says what is worth knowing of the ranks before the run.
fn introduce(args: &SwarmArgs, console: Console, peers: u32, hellos: &BTreeMap<Rank, Hello>) {
    if let Some(text) = ranks::unheard(peers, hellos, args.run.start_timeout) {
        console.warning(&text);
    }
    if let Some(text) = ranks::last_run(hellos).filter(|_| !args.run.quiet && !args.check) {
        out::say(&text);
    }
}

/// Completes the message about owners that disagree, where rank 0 can see their places in the plan.
fn name_places(args: &SwarmArgs, report: &mut Report) {
    if report.conflict.is_none() {
        return;
    }
    if let Ok(loaded) = plan::load(args.plan()) {
        let outputs = Outputs::of(args, &loaded);
        conflict::name_places(report, &loaded, &outputs);
    }
}

fn tell_check(args: &SwarmArgs, form: Option<PlanForm>, report: &Report) -> Result<Exit, Failure> {
    let exit = Exit::of_code(report.exit_code());
    match exit {
        Exit::Ok => check::print(args.run.json, form, &[], &check::moves(report))?,
        _ => swarm::tell(args, report, exit)?,
    }
    Ok(exit)
}

fn tell(
    args: &SwarmArgs,
    form: Option<PlanForm>,
    report: Report,
    records: Records,
) -> Result<Exit, Failure> {
    progress::last_word(ProgressMode::of(args.run.quiet), &report);
    let exit = Exit::of_code(report.exit_code());
    records.write(&report)?;
    swarm::tell(args, &report, exit)?;
    match exit {
        Exit::Ok if !args.run.quiet => restart::in_place(&report).into_iter().for_each(out::say),
        Exit::Interrupted => out::say(how_to_go_on(form)),
        _ => {}
    }
    Ok(exit)
}

fn how_to_go_on(form: Option<PlanForm>) -> &'static str {
    match form {
        Some(PlanForm::Course) => "interrupted; a course plan starts afresh: launch the job again",
        _ => "interrupted; what is here is kept. To go on, launch the job again",
    }
}
