//! `dunlin cast` and `dunlin place`: every rank comes to hold what it should, from whichever ranks
//! hold it. From the command line to each rank's part, and from the report to what is printed. How
//! the bytes move is the world's business.
//!
//! ```text
//!   spec    what rank 0 sends to all ranks: its arguments and its plan
//!   part    one rank's part of it, from names alone
//!   content what is found on disk for that part
//!   start   ranks on other hosts         remote  the commands that run there
//!   report  what came of it
//! ```

mod assignment;
mod content;
mod hosts;
mod remote;
mod report;
mod spec;
mod start;

pub(crate) use start::join;

use super::args::RunArgs;
use super::args::place::PlacingArgs;
use super::launch::{self, JobProcess, Launch};
use super::outputs::Outputs;
use super::parsers::Fabric;
use super::pipeline::{self, Kind, LoadedRanks, ProcessRole, Stage};
use super::plan;
use super::policies::Policies;
use crate::args::Command;
use crate::console::Console;
use crate::exit::{Exit, Failure};
use assignment::{Assignment, unmatched};
use content::{Lookup, RankContent, left_out};
use dunlin_base::Rank;
use dunlin_cluster::process::{Hello, Job, LastRun, Launcher, host_name};
use dunlin_cluster::{
    FabricKind, LinkRates, Mode, PeerConfig, Report, RunConfig, VirtualConfig, watch,
};
use dunlin_disk::RealFs;
use dunlin_engine::cluster::OnConflict;
use dunlin_engine::config::Profile;
use dunlin_metainfo::CLUSTER_BLOCK_LENGTH;
use dunlin_plan::place::Site;
use report::{Finished, HostNames};
use serde_json::Value;
use spec::{JobSpec, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

/// The text for the files that one process sees. Others find out by themselves whether they see the
/// same.
const THESE_FILES: &str = "here";

/// Runs `cast` or `place`. `launcher` started this process as a rank, if one did.
///
/// # Errors
/// Whatever keeps the run from beginning, while this process is alone.
pub(crate) fn run(command: &Command, launcher: Option<&Launcher>) -> Result<Exit, Failure> {
    let Some(options) = spec::options_of(command) else {
        return Err(Failure::usage("this is neither a cast nor a plan to place"));
    };
    // Only rank 0's counts, whatever is on another one's command line or disk.
    let spec = words().and_then(|words| JobSpec::given(command, words));
    if let Some(hosts) = start::hosts_of(options)? {
        return start::on_hosts(spec?, &hosts);
    }
    let launch = launch::decide(options.run.launch.fabric, launcher, || None)?;
    if matches!(launch, Launch::Ranks) {
        refuse_here_only(options)?;
    }
    let message = spec.as_ref().map_or(Value::Null, JobSpec::message);
    pipeline::run(spec.map(PlaceRun::new), &options.run, launch, launcher, &message)
}

/// What is for ranks of one process means nothing for others.
///
/// # Errors
/// If it was given all the same (exit 2).
fn refuse_here_only(options: &PlacingArgs) -> Result<(), Failure> {
    let given = [
        ("--ranks", options.ranks.is_some()),
        ("--host-names", options.host_names.is_some()),
        ("--link-rate", options.link_rate.is_some()),
    ];
    let given = given.into_iter().find(|(_, given)| *given);
    given.map_or(Ok(()), |(option, _)| {
        Err(Failure::usage(format!(
            "{option} is for ranks that are all in one process; leave it away, or start one process"
        )))
    })
}

/// The words of this process's command line.
fn words() -> Result<Vec<String>, Failure> {
    let text = |word: OsString| {
        word.into_string().map_err(|word| {
            Failure::usage(format!(
                "{}: expected arguments in UTF-8, found other bytes; rename the file",
                word.display()
            ))
        })
    };
    std::env::args_os().map(text).collect()
}

/// A run of a `cast` or `place`.
struct PlaceRun {
    spec: JobSpec,
    /// The hosts of ranks, as far as they are known here.
    hosts: HostNames,
    /// What cannot be placed at all, a sentence each.
    problems: Vec<String>,
    /// In one process: all ranks.
    sites: Vec<Site>,
}

impl PlaceRun {
    fn new(spec: JobSpec) -> PlaceRun {
        PlaceRun { spec, hosts: HostNames::new(), problems: Vec::new(), sites: Vec::new() }
    }

    /// Refuses options that the ranks of one process cannot have, and faults of ranks that there
    /// are not.
    fn decide_here(&mut self) -> Result<(), Failure> {
        let options = &self.spec.options;
        if options.link_rate.is_some() && options.run.launch.fabric != Fabric::Virtual {
            return Err(Failure::usage(
                "--link-rate: only links of virtual time have rates; add --fabric virtual, or use \
                 --max-rate",
            ));
        }
        self.sites = sites(&self.spec);
        let size = u32::try_from(self.sites.len()).unwrap_or(u32::MAX);
        check_faults(&self.spec, size)
    }

    /// What all ranks of this process have and want.
    fn load_here(&mut self, stage: &Stage<'_>) -> Result<Vec<PeerConfig>, Failure> {
        let (spec, sites) = (&self.spec, &self.sites);
        generate(spec, sites, stage)?;
        let mut problems = unmatched(spec, sites);
        let mut parts = assignment::parts(spec, sites);
        refuse_shared(sites, &parts)?;
        let mut all: Vec<RankContent> = Vec::new();
        let cache = cache(spec, |name| std::env::var_os(name));
        for site in sites {
            stage.watch.go_on()?;
            let Some(part) = parts.remove(&site.rank) else { continue };
            let (fs, stop) = (&*stage.fs, stage.watch.flag());
            let lookup = Lookup { spec, site, cache: cache.clone(), fs, stop };
            all.push(lookup.content(part));
        }
        left_out(all.iter()).iter().for_each(|text| stage.console.warning(text));
        let has: BTreeSet<usize> = all.iter().flat_map(|ready| ready.has.iter().copied()).collect();
        stage.watch.go_on()?;
        problems.extend(unheld(spec, &has));
        problems.iter().for_each(|text| stage.console.error(text));
        if sites.len() == 1 {
            stage.console.warning(
                "there is one rank only, and nothing goes anywhere else; for more use --hosts, a \
                 launcher like mpirun, or --ranks",
            );
        }
        self.hosts = sites.iter().map(|site| (site.rank, site.host.clone())).collect();
        self.problems = problems;
        Ok(all.into_iter().map(|ready| ready.peer).collect())
    }

    /// Finds out what cannot be placed at all, from the hosts that the ranks sent.
    fn find_problems(&mut self, process: &JobProcess<'_>, stage: &Stage<'_>) {
        let mut hosts = process.started.clone();
        hosts.extend(stage.hellos.iter().map(|(rank, hello)| (*rank, hello.host.clone())));
        hosts.insert(Rank::TRACKER, process.host.clone());
        // A rank that has not sent where it is, is somewhere all the same.
        let site = |rank: Rank| Site {
            rank,
            host: hosts.get(&rank).cloned().unwrap_or_default(),
            files: String::new(),
        };
        let sites: Vec<Site> = (0..process.job.size()).map(|rank| site(Rank(rank))).collect();
        self.problems = unmatched(&self.spec, &sites);
        self.problems.iter().for_each(|text| stage.console.error(text));
        self.hosts = hosts;
    }

    /// What this rank has and wants, with an eye to those that see the same files.
    fn load_own(&self, process: &JobProcess<'_>, stage: &Stage<'_>) -> Result<PeerConfig, Failure> {
        let (spec, rank) = (&self.spec, process.job.rank());
        let files = watch::mount_id();
        let own = Site { rank, host: process.host.clone(), files: files.clone() };
        let mut sites = vec![own.clone()];
        let same_host = stage.neighbours.iter().filter(|one| one.same_files && one.rank != rank);
        sites.extend(same_host.map(|one| Site {
            rank: one.rank,
            host: one.host.clone(),
            files: files.clone(),
        }));
        generate(spec, std::slice::from_ref(&own), stage)?;
        let mut parts = assignment::parts(spec, &sites);
        let part = parts.remove(&rank).unwrap_or_else(|| Assignment::none(String::new()));
        // A rank that sees the same files and gives the same prints the same notes.
        let printed = parts.range(..rank).any(|(_, lower)| lower.sources == part.sources);
        let cache = cache(spec, |name| std::env::var_os(name));
        let (fs, stop) = (&*stage.fs, stage.watch.flag());
        let ready = Lookup { spec, site: &own, cache, fs, stop }.content(part);
        if !printed {
            left_out(std::iter::once(&ready)).iter().for_each(|text| stage.console.warning(text));
        }
        Ok(ready.peer)
    }

    /// The folder for a rank's wanted files, if it writes any.
    fn state(&self, rank: Rank, host: &str) -> Option<PathBuf> {
        let site = Site { rank, host: host.to_owned(), files: THESE_FILES.to_owned() };
        let part = assignment::parts(&self.spec, &[site]).remove(&rank)?;
        let writes = part.takes() && part.refused.is_none() && !self.only_looks();
        writes.then_some(part.dest)
    }
}

impl Kind for PlaceRun {
    // Ranks of one host share folders, so each has to know the others first.
    const LOADS_FIRST: bool = false;

    fn options(&self) -> &RunArgs {
        &self.spec.options.run
    }

    fn only_looks(&self) -> bool {
        self.spec.options.looks_only()
    }

    fn at_peer(_: Result<PlaceRun, Failure>, job: &Job) -> Result<PlaceRun, Failure> {
        JobSpec::received(&job.work()).map(PlaceRun::new)
    }

    fn decide(&mut self, role: &ProcessRole<'_>, _: Console) -> Result<(), Failure> {
        match role {
            ProcessRole::All(_) => self.decide_here(),
            ProcessRole::Lead(process) => check_faults(&self.spec, process.job.size()),
            // Rank 0 has decided for all.
            ProcessRole::Peer(_) => Ok(()),
        }
    }

    fn hello(&self, process: &JobProcess<'_>, _: Option<&PeerConfig>) -> Hello {
        let state = self.state(process.job.rank(), &process.host);
        Hello {
            own: true,
            last_run: state.as_deref().and_then(|dest| LastRun::read(&RealFs, dest)),
            state,
            block_length: self.options().block_size.unwrap_or(CLUSTER_BLOCK_LENGTH),
            host: process.host.clone(),
            ..Hello::default()
        }
    }

    fn load(&mut self, stage: &Stage<'_>) -> Result<LoadedRanks, Failure> {
        let peers = match stage.role {
            ProcessRole::All(_) => self.load_here(stage)?,
            ProcessRole::Lead(process) => {
                self.find_problems(process, stage);
                process.job.set_local_hello(&self.hello(process, None));
                // No rank of this host is lower, so the others matter to themselves only.
                vec![self.load_own(process, stage)?]
            }
            ProcessRole::Peer(process) => vec![self.load_own(process, stage)?],
        };
        Ok(LoadedRanks { peers, lock: None })
    }

    fn policies(&self) -> Policies {
        Policies::of(self.options(), Profile::Cluster)
    }

    fn configure(&self, config: RunConfig) -> RunConfig {
        let fabric = match config.fabric {
            FabricKind::Virtual(_) => FabricKind::Virtual(virtual_config(&self.spec)),
            other => other,
        };
        RunConfig {
            fabric,
            on_conflict: OnConflict::FailName,
            mode: Mode::Place,
            owners_only: matches!(self.spec.task, Task::Cast(_)),
            pins: self.spec.pins(),
            max_rate: self.spec.options.max_rate,
            ..config
        }
    }

    fn report(self, report: Report, outputs: Outputs) -> Result<Exit, Failure> {
        let PlaceRun { spec, hosts, problems, .. } = self;
        report::print(Finished { spec: &spec, hosts, problems, report, outputs })
    }
}

/// Makes the test data of a plan that is not there yet, at the ranks of `sites`.
///
/// # Errors
/// If it is not there and nothing may be made (exit 4), something else stands in its place (exit
/// 4), the disk refuses (exit 5), or a person stops it (exit 9).
fn generate(spec: &JobSpec, sites: &[Site], stage: &Stage<'_>) -> Result<(), Failure> {
    let Task::Place(place) = &spec.task else { return Ok(()) };
    if place.plan.generate.is_empty() {
        return Ok(());
    }
    let mut generate = place.plan.generate.clone();
    let roots: Vec<_> = assignment::parts(spec, sites)
        .into_values()
        .flat_map(|part| part.sources.into_iter().map(|source| source.path))
        .collect();
    generate.retain(|data| {
        let path = assignment::real(&place.dir.join(&data.path));
        roots.iter().any(|root| path.starts_with(root))
    });
    if spec.options.looks_only() {
        let absent = generate.iter().find(|data| !place.dir.join(&data.path).exists());
        return absent.map_or(Ok(()), |data| {
            Err(Failure::input(format!(
                "{}: the plan generates this test data and it is not there yet; run `dunlin place` \
                 without --check and --verify-only first",
                place.dir.join(&data.path).display()
            )))
        });
    }
    // Ranks of one host may make the same data: each into a file of its own first.
    let rank = sites.first().map(|site| site.rank).filter(|_| sites.len() == 1);
    plan::generate_all(&place.dir, &generate, rank, stage.progress(), stage.watch)
}

/// The ranks of this process and the hosts that they are on, or pretend to be on.
fn sites(spec: &JobSpec) -> Vec<Site> {
    let names = match &spec.options.host_names {
        Some(names) if !names.0.is_empty() => names.0.clone(),
        _ => vec![host_name()],
    };
    let pretended = spec.options.host_names.is_some();
    let files = watch::mount_id();
    let site = |(rank, host): (u32, &String)| {
        // Hosts that are pretended do not help each other as ranks of one host do.
        let files = if pretended { format!("{files} {host}") } else { files.clone() };
        Site { rank: Rank(rank), host: host.clone(), files }
    };
    (0..count(spec, names.len())).zip(names.iter().cycle()).map(site).collect()
}

/// How many ranks there are.
fn count(spec: &JobSpec, names: usize) -> u32 {
    let by_plan = match &spec.task {
        Task::Cast(_) => 1,
        Task::Place(place) => {
            let ranks = place.plan.nodes.iter().flat_map(|node| &node.ranks);
            ranks.map(|rank| rank.0.saturating_add(1)).max().unwrap_or(1)
        }
    };
    let names = u32::try_from(names).unwrap_or(u32::MAX);
    spec.options.ranks.unwrap_or(by_plan.max(names))
}

/// Ranks that pretend to be on different hosts must not write into the same folder: they see the
/// same files all the same.
///
/// # Errors
/// If they would (exit 2).
fn refuse_shared(sites: &[Site], parts: &BTreeMap<Rank, Assignment>) -> Result<(), Failure> {
    let mut writers: BTreeMap<PathBuf, &Site> = BTreeMap::new();
    for site in sites {
        let Some(part) = parts.get(&site.rank).filter(|part| part.takes()) else { continue };
        let first = writers.entry(assignment::real(&part.dest)).or_insert(site);
        if first.files != site.files {
            return Err(Failure::usage(format!(
                "--host-names: rank {} as `{}` and rank {} as `{}` would write into the same folder, \
                 {}; put {{host}} or {{rank}} into its path",
                first.rank,
                first.host,
                site.rank,
                site.host,
                part.dest.display()
            )));
        }
    }
    Ok(())
}

/// Sources that no rank has and that nothing else would name: of several, one whose contents land
/// has no name of its own.
fn unheld(spec: &JobSpec, has: &BTreeSet<usize>) -> Vec<String> {
    let Task::Cast(cast) = &spec.task else { return Vec::new() };
    let several = cast.sources.len() > 1;
    let lacking = cast
        .sources
        .iter()
        .enumerate()
        .filter(|(at, source)| several && source.name.is_empty() && !has.contains(at));
    lacking.map(|(_, source)| format!("`{}`: {}", source.given, source.unheld())).collect()
}

/// Virtual time with the links that were asked for.
fn virtual_config(spec: &JobSpec) -> VirtualConfig {
    let links = spec.options.link_rate.as_ref();
    let links = links.map_or_else(LinkRates::default, |rates| LinkRates {
        all: Some(rates.all),
        of: rates.of.clone(),
    });
    VirtualConfig { links, ..VirtualConfig::default() }
}

/// Refuses faults of ranks that the job does not have.
///
/// # Errors
/// A wrong command line (exit 2).
fn check_faults(spec: &JobSpec, size: u32) -> Result<(), Failure> {
    let unknown = spec.options.run.fault.iter().find(|fault| fault.rank().0 >= size);
    unknown.map_or(Ok(()), |fault| {
        Err(Failure::usage(format!(
            "--fault for rank {}: no such rank; this job has ranks 0 to {}",
            fault.rank(),
            Rank(size.saturating_sub(1))
        )))
    })
}

/// Where hash lists of earlier runs are kept for this host; `None` if they are not to be believed,
/// or there is no place for them.
fn cache(spec: &JobSpec, lookup: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if spec.options.no_cache || spec.options.verify_only {
        return None;
    }
    let given = |name| lookup(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")))?;
    // A home that many hosts share: their inodes mean nothing to each other.
    Some(base.join("dunlin").join(format!("hashes-{}", host_name())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser;

    fn spec(options: &str) -> JobSpec {
        let words = format!("dunlin cast a b {options}");
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let command: Command = Args::try_parse_from(&words).unwrap().command;
        JobSpec::given(&command, words).unwrap()
    }

    #[test]
    fn hash_lists_are_kept_where_caches_belong() {
        let host = host_name();
        let cases = [
            ("", "XDG_CACHE_HOME=/x HOME=/h", Some("/x/dunlin")),
            ("", "XDG_CACHE_HOME=x HOME=/h", Some("/h/.cache/dunlin")),
            ("", "HOME=/h", Some("/h/.cache/dunlin")),
            ("", "", None),
            ("--no-cache", "HOME=/h", None),
            ("--verify-only", "HOME=/h", None),
        ];
        for (options, environment, expected) in cases {
            let lookup = |name: &str| {
                let pairs = environment.split(' ').filter_map(|pair| pair.split_once('='));
                pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
            };
            let expected = expected.map(|base| PathBuf::from(format!("{base}/hashes-{host}")));
            assert_eq!(cache(&spec(options), lookup), expected, "{options} {environment}");
        }
    }

    #[test]
    fn a_fault_needs_its_rank() {
        assert!(check_faults(&spec("--fault mute=2"), 3).is_ok());
        assert!(check_faults(&spec("--fault mute=3"), 3).is_err());
    }
}
