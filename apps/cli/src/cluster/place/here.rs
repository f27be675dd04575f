//! All ranks of a `cast` or `place` in this process, over memory or in virtual time.

use super::config::{self, Told};
use super::content::{Look, Ready, left_out};
use super::part::{self, Part, misfits};
use super::report::{self, Run};
use super::spec::{Task, Work};
use crate::cluster::launch;
use crate::cluster::outputs::Records;
use crate::cluster::parsers::Fabric;
use crate::cluster::progress::{self, watch};
use crate::cluster::swarm::settings;
use crate::console::Console;
use crate::console::progress::ProgressMode;
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::host_name;
use dunlin_cluster::{FabricKind, RunControl, watch};
use dunlin_disk::{Fs, RealFs};
use dunlin_plan::place::Site;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Runs all ranks.
///
/// # Errors
/// Whatever keeps the run from beginning.
pub(super) fn run(work: &Work) -> Result<Exit, Failure> {
    let options = &work.options;
    let fabric = match options.run.launch.fabric {
        Fabric::Virtual => FabricKind::Virtual(config::virtual_config(work)),
        _ => FabricKind::Memory,
    };
    if options.link_rate.is_some() && !matches!(fabric, FabricKind::Virtual(_)) {
        return Err(Failure::usage(
            "--link-rate: only links of virtual time have rates; add --fabric virtual, or use \
             --max-rate",
        ));
    }
    let sites = sites(work);
    let size = u32::try_from(sites.len()).unwrap_or(u32::MAX);
    config::check_faults(work, size)?;
    let seed = settings::seed(options.run.seed, &fabric)?;
    let console = Console::lead(options.run.quiet);
    let control = RunControl::new();
    let watch = watch(&control, console)?;
    let records = match options.looks_only() {
        true => Records::default(),
        false => Records::prepare(&options.run, None, std::iter::empty())?,
    };
    report::generate(work, &sites, console, &watch)?;
    let mut problems = misfits(work, &sites);
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut parts = part::parts(work, &sites);
    refuse_shared(&sites, &parts)?;
    let mut all: Vec<Ready> = Vec::new();
    let cache = config::cache(work, |name| std::env::var_os(name));
    for site in &sites {
        watch.go_on()?;
        let Some(part) = parts.remove(&site.rank) else { continue };
        let look = Look { work, site, cache: cache.clone(), fs: &*fs, stop: watch.flag() };
        all.push(look.content(part));
    }
    left_out(all.iter()).iter().for_each(|text| console.warning(text));
    let has: BTreeSet<usize> = all.iter().flat_map(|ready| ready.has.iter().copied()).collect();
    let peers: Vec<_> = all.into_iter().map(|ready| ready.peer).collect();
    watch.go_on()?;
    problems.extend(unheld(work, &has));
    problems.iter().for_each(|text| console.error(text));
    if size == 1 {
        console.warning(
            "there is one rank only, and nothing goes anywhere else; for more use --hosts, a \
             launcher like mpirun, or --ranks",
        );
    }
    tracing::info!(seed, ranks = size, "starting");
    let told = Told {
        peers,
        fabric,
        seed,
        trace: records.trace(),
        fs,
        hash_threads: launch::hash_threads(None),
    };
    let config = config::config(work, told);
    let mode = ProgressMode::of(options.run.quiet);
    let report = progress::during(mode, &control, || dunlin_cluster::run(config, &control));
    let hosts = sites.into_iter().map(|site| (site.rank, site.host)).collect();
    report::tell(Run { work, hosts, problems, report, records })
}

/// The ranks of this process and the hosts that they are on, or pretend to be on.
fn sites(work: &Work) -> Vec<Site> {
    let host = host_name();
    let names = match &work.options.host_names {
        Some(names) if !names.0.is_empty() => names.0.clone(),
        _ => vec![host],
    };
    let pretended = work.options.host_names.is_some();
    let files = watch::mount_id();
    let site = |(rank, host): (u32, &String)| {
        // Hosts that are pretended do not help each other as ranks of one host do.
        let files = if pretended { format!("{files} {host}") } else { files.clone() };
        Site { rank: Rank(rank), host: host.clone(), files }
    };
    (0..count(work, names.len())).zip(names.iter().cycle()).map(site).collect()
}

/// Ranks that pretend to be on different hosts must not write into the same folder: they see the same
/// files all the same.
///
/// # Errors
/// If they would (exit 2).
fn refuse_shared(sites: &[Site], parts: &BTreeMap<Rank, Part>) -> Result<(), Failure> {
    let mut writers: BTreeMap<PathBuf, &Site> = BTreeMap::new();
    for site in sites {
        let Some(part) = parts.get(&site.rank).filter(|part| part.takes()) else { continue };
        let first = writers.entry(part::real(&part.dest)).or_insert(site);
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

/// How many ranks there are.
fn count(work: &Work, names: usize) -> u32 {
    let by_plan = match &work.task {
        Task::Cast(_) => 1,
        Task::Place(place) => {
            let ranks = place.plan.nodes.iter().flat_map(|node| &node.ranks);
            ranks.map(|rank| rank.0.saturating_add(1)).max().unwrap_or(1)
        }
    };
    let names = u32::try_from(names).unwrap_or(u32::MAX);
    work.options.ranks.unwrap_or(by_plan.max(names))
}

/// Sources that nobody has and that nothing else would name: of several, one whose contents land has no
/// name of its own.
fn unheld(work: &Work, has: &BTreeSet<usize>) -> Vec<String> {
    let Task::Cast(cast) = &work.task else { return Vec::new() };
    let several = cast.sources.len() > 1;
    let lacking = cast
        .sources
        .iter()
        .enumerate()
        .filter(|(at, source)| several && source.name.is_empty() && !has.contains(at));
    lacking.map(|(_, source)| format!("`{}`: {}", source.said, source.unheld())).collect()
}
