//! `cast` and `place` with one rank a process: rank 0 hears where everyone is, lets the run begin, is the
//! tracker and a peer, and tells how it went; every other rank does its own part of what rank 0 told.

use super::config::{self, Told};
use super::content::{Look, left_out};
use super::part::{self, Part, misfits};
use super::report::{self, Run};
use super::spec::Work;
use crate::cluster::outputs::Records;
use crate::cluster::progress::{self, watch};
use crate::cluster::ranks::{self, Refusal};
use crate::cluster::swarm::settings;
use crate::cluster::{failures, launch};
use crate::console::progress::ProgressMode;
use crate::console::signals::Watch;
use crate::console::{Console, out};
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::{Hello, Job, LastRun, Launcher, SameHostRank, Welcome};
use dunlin_cluster::{
    FabricKind, PeerConfig, PeerReport, PeerState, RunConfig, RunControl, RunError,
};
use dunlin_disk::{Fs, RealFs};
use dunlin_metainfo::CLUSTER_BLOCK_LENGTH;
use dunlin_plan::place::Site;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What a process knows of its own place.
pub(super) struct Here<'a> {
    /// The job.
    pub(super) job: &'a Job,
    /// The name of this host.
    pub(super) host: String,
    /// Who launched this process, if somebody did.
    pub(super) launcher: Option<&'a Launcher>,
    /// At rank 0 that has started the others: their hosts.
    pub(super) started: BTreeMap<Rank, String>,
    /// Those of them that could not be started.
    pub(super) lost: Arc<Mutex<BTreeSet<Rank>>>,
}

impl<'a> Here<'a> {
    /// A process that has started no other.
    pub(super) fn alone(job: &'a Job, host: String, launcher: Option<&'a Launcher>) -> Here<'a> {
        Here { job, host, launcher, started: BTreeMap::new(), lost: Arc::default() }
    }
}

/// The text for what one process sees. Others say for themselves whether they see the same.
const THESE_FILES: &str = "here";

/// Leads the job to its end.
pub(super) fn lead(here: &Here<'_>, work: Result<Work, Failure>, json: bool) -> Exit {
    let done = work.map_err(Refusal::from).and_then(|work| led(here, &work));
    let exit = done.unwrap_or_else(|refusal| {
        // Said before anybody leaves: a launcher may end everybody when the first one does.
        refusal.report(json);
        refusal.exit
    });
    let _ = here.job.leave(exit.code());
    exit
}

fn led(here: &Here<'_>, work: &Work) -> Result<Exit, Refusal> {
    let (job, options) = (here.job, &work.options);
    let run = &options.run;
    let console = Console::lead(run.quiet);
    let control = RunControl::new();
    // A death is said at once: some launchers end everybody a moment later.
    control.set_notifier(out::say);
    let watch = watch(&control, console)?;
    let peers = job.size().saturating_sub(1);
    let ready = config::check_faults(work, job.size()).and_then(|()| prepare(work));
    let hellos = job.hellos(run.start_timeout, &|| watch.interrupted());
    watch.go_on()?;
    ranks::judge(peers, 0, ready.as_ref().err(), &hellos)?;
    let records = ready?;
    let lost = here.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // Those that could not be started were named when that failed.
    let mut heard = hellos.clone();
    heard.extend(lost.into_iter().map(|rank| (rank, Hello::default())));
    if let Some(text) = ranks::unheard(peers, &heard, run.start_timeout) {
        console.warning(&text);
    }
    if let Some(text) = ranks::last_run(&hellos).filter(|_| !run.quiet && !options.looks_only()) {
        out::say(&text);
    }
    let mut hosts = here.started.clone();
    hosts.extend(hellos.iter().map(|(rank, hello)| (*rank, hello.host.clone())));
    hosts.insert(Rank::TRACKER, here.host.clone());
    let site = |(rank, host): (&Rank, &String)| Site {
        rank: *rank,
        host: host.clone(),
        files: String::new(),
    };
    let mut sites: Vec<Site> = hosts.iter().map(site).collect();
    // A rank that has not said where it is, is somewhere all the same.
    let silent = (1..job.size()).map(Rank).filter(|rank| !hosts.contains_key(rank));
    sites.extend(silent.map(|rank| Site { rank, host: String::new(), files: String::new() }));
    let problems = misfits(work, &sites);
    problems.iter().for_each(|text| console.error(text));
    let state = state(work, job.rank(), &here.host);
    job.own(&Hello { state, ..hello_of(here, work) });
    let seed = settings::seed(run.seed, &FabricKind::Ranks(job.clone()))?;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    // Nobody of this host has a lower rank, so whoever else is here matters to them only.
    let peer = own_peer(here, work, &[], &watch, &fs)?;
    watch.go_on()?;
    let welcome = job.welcome(seed);
    tracing::info!(seed, peers, "starting");
    let config = run_config(here, work, &welcome, peer, (fs, &records));
    let mut report = progress::during(ProgressMode::of(run.quiet), &control, || {
        dunlin_cluster::run(config, &control)
    });
    let lost = here.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // Who never was there did not die.
    let never = |peer: &&mut PeerReport| {
        peer.state == PeerState::Dead && peer.files.is_empty() && lost.contains(&peer.rank)
    };
    report.peers.iter_mut().filter(never).for_each(|peer| peer.state = PeerState::Absent);
    Ok(report::tell(Run { work, hosts, problems, report, records })?)
}

/// What rank 0 leaves to tell.
fn prepare(work: &Work) -> Result<Records, Failure> {
    match work.options.looks_only() {
        true => Ok(Records::default()),
        false => Records::prepare(&work.options.run, None, std::iter::empty()),
    }
}

/// Takes part in the job to its end.
pub(super) fn follow(here: &Here<'_>) -> Exit {
    let exit = take_part(here);
    Exit::of_code(here.job.leave(exit.code()))
}

fn take_part(here: &Here<'_>) -> Exit {
    let job = here.job;
    let work = Work::heard(&job.work());
    let quiet = work.as_ref().is_ok_and(|work| work.options.run.quiet);
    let console = Console::peer(job.rank(), quiet);
    let control = RunControl::new();
    let watch = watch(&control, console);
    let failure = match (&work, &watch) {
        (Err(failure), _) | (_, Err(failure)) => Some(failure.clone()),
        _ => None,
    };
    let hello = match &work {
        Ok(work) => hello_of(here, work),
        Err(_) => Hello { own: true, host: here.host.clone(), ..Hello::default() },
    };
    let told = failure.as_ref().map(|failure| (failure.exit.code(), failure.message.clone()));
    let stopped = || watch.as_ref().is_ok_and(Watch::interrupted);
    let welcome = match job.hello(Hello { failure: told, ..hello }, &stopped) {
        Ok(welcome) => welcome,
        Err(dismissed) => return sent_home(console, Exit::of_code(dismissed.code)),
    };
    let (Ok(work), Ok(watch)) = (work, watch) else {
        return failure.map_or(Exit::Failed, |failure| failure.exit);
    };
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let ready = own_peer(here, &work, &welcome.neighbours, &watch, &fs)
        .and_then(|peer| Ok((peer, Records::of_peer(&work.options.run, None, job.rank())?)));
    let (peer, records) = match ready {
        Ok(ready) => ready,
        Err(failure) => {
            console.error(&failure.message);
            return failure.exit;
        }
    };
    let config = run_config(here, &work, &welcome, peer, (fs, &records));
    let report = dunlin_cluster::run(config, &control);
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

/// Ends a peer that may not take part. Rank 0 says why, if there is one.
fn sent_home(console: Console, exit: Exit) -> Exit {
    if exit == Exit::Network {
        console.error("rank 0 is gone; nothing moved. Run the same command again");
    }
    exit
}

fn hello_of(here: &Here<'_>, work: &Work) -> Hello {
    let state = state(work, here.job.rank(), &here.host);
    Hello {
        own: true,
        last_run: state.as_deref().and_then(|dest| LastRun::read(&RealFs, dest)),
        state,
        block_length: work.options.run.block_size.unwrap_or(CLUSTER_BLOCK_LENGTH),
        host: here.host.clone(),
        ..Hello::default()
    }
}

/// The folder for a rank's wanted files, if it writes any.
fn state(work: &Work, rank: Rank, host: &str) -> Option<PathBuf> {
    let site = Site { rank, host: host.to_owned(), files: THESE_FILES.to_owned() };
    let part = part::parts(work, &[site]).remove(&rank)?;
    let writes = part.takes() && part.refused.is_none() && !work.options.looks_only();
    writes.then_some(part.dest)
}

/// What this rank has and wants, with an eye to those that see the same files.
fn own_peer(
    here: &Here<'_>,
    work: &Work,
    neighbours: &[SameHostRank],
    watch: &Watch,
    fs: &Arc<dyn Fs>,
) -> Result<PeerConfig, Failure> {
    let rank = here.job.rank();
    let files = dunlin_cluster::watch::mount_id();
    let console = match rank {
        Rank::TRACKER => Console::lead(work.options.run.quiet),
        _ => Console::peer(rank, work.options.run.quiet),
    };
    let own = Site { rank, host: here.host.clone(), files: files.clone() };
    let mut sites = vec![own.clone()];
    let beside = neighbours.iter().filter(|one| one.same_files && one.rank != rank);
    sites.extend(beside.map(|one| Site {
        rank: one.rank,
        host: one.host.clone(),
        files: files.clone(),
    }));
    report::generate(work, std::slice::from_ref(&own), console, watch)?;
    let mut parts = part::parts(work, &sites);
    let part = parts.remove(&rank).unwrap_or_else(|| Part::none(String::new()));
    // Who sees the same files and gives the same says the same.
    let said = parts.range(..rank).any(|(_, lower)| lower.gifts == part.gifts);
    let cache = config::cache(work, |name| std::env::var_os(name));
    let look = Look { work, site: &own, cache, fs: &**fs, stop: watch.flag() };
    let ready = look.content(part);
    if !said {
        left_out(std::iter::once(&ready)).iter().for_each(|text| console.warning(text));
    }
    Ok(ready.peer)
}

fn run_config(
    here: &Here<'_>,
    work: &Work,
    welcome: &Welcome,
    peer: PeerConfig,
    (fs, records): (Arc<dyn Fs>, &Records),
) -> RunConfig {
    let told = Told {
        peers: vec![peer],
        fabric: FabricKind::Ranks(here.job.clone()),
        seed: welcome.seed,
        trace: records.trace(),
        fs,
        hash_threads: launch::hash_threads(here.launcher),
    };
    RunConfig { block_length: welcome.block_length, ..config::config(work, told) }
}
