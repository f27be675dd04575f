//! Ranks that rank 0 starts on other hosts, and what such a rank does: the two ends of one line of
//! JSON.

use super::remote::{self, Remote, Remotes, Start};
use super::spec::JobSpec;
use super::{PlaceRun, hosts};
use crate::cluster::args::place::PlacingArgs;
use crate::cluster::launch::JobProcess;
use crate::cluster::parsers::{Fabric, same_host};
use crate::cluster::pipeline;
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::{Job, host_name};
use dunlin_cluster::tcp::WireUp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a rank that was started over ssh tries to find rank 0.
const PATIENCE: Duration = Duration::from_secs(60);
/// The key under which a rank that was started over ssh is given the name of its host.
const HOST: &str = "host";

/// The hosts on which ranks are to be started, if any were given.
///
/// # Errors
/// If they are not hosts (exit 4), or another fabric than TCP was asked for (exit 2).
pub(super) fn hosts_of(options: &PlacingArgs) -> Result<Option<Vec<String>>, Failure> {
    let hosts = match (&options.hosts, &options.hostfile) {
        (Some(hosts), _) => hosts.0.clone(),
        (None, Some(path)) => hosts::of_file(path)?,
        (None, None) => return Ok(None),
    };
    if !matches!(options.run.launch.fabric, Fabric::Auto | Fabric::Tcp) {
        return Err(Failure::usage("ranks on hosts talk over tcp; leave --fabric away"));
    }
    Ok(Some(hosts))
}

/// Starts a rank on each host, and leads them. If this host is among them, rank 0 is its rank.
///
/// # Errors
/// If there is no job to lead, or no rank can be started (exit 3).
pub(super) fn on_hosts(spec: JobSpec, hosts: &[String]) -> Result<Exit, Failure> {
    let options = spec.options.clone();
    let own = host_name();
    let mut others = hosts.to_vec();
    let here = others.iter().position(|host| same_host(host, &own));
    let host = here.map_or(own, |at| others.remove(at));
    let spec = if here.is_some() { spec } else { spec.with_source_only() };
    let remote = Remote::new(&options.ssh, options.remote_dunlin.as_deref())?;
    let size = u32::try_from(others.len()).unwrap_or(u32::MAX).saturating_add(1);
    let said = &options.run.launch;
    let wire = WireUp::start(size, said.listen).map_err(Failure::environment)?;
    let roots: Vec<String> = said.root.iter().cloned().collect();
    let job = Job::join_tcp(&wire, &spec.message()).map_err(Failure::environment)?;
    let started: BTreeMap<Rank, String> = (1..).map(Rank).zip(others).collect();
    let wanted = started.iter().map(|(rank, host)| Start {
        rank: *rank,
        host: host.clone(),
        line: with_host(&wire.line_for(*rank, &roots), host),
    });
    let lost = Arc::<Mutex<BTreeSet<Rank>>>::default();
    let (given_up, losing) = (job.clone(), Arc::clone(&lost));
    let give_up = move |rank| {
        losing.lock().unwrap_or_else(PoisonError::into_inner).insert(rank);
        given_up.give_up(rank);
    };
    let remotes = Remotes::start(&remote, wanted.collect(), give_up)?;
    let process = JobProcess { job: &job, host, launcher: None, started, lost };
    let exit = pipeline::lead(&process, Ok(PlaceRun::new(spec)), options.run.json);
    drop(remotes);
    Ok(exit)
}

/// Adds to a line of JSON what the host is called.
fn with_host(line: &str, host: &str) -> String {
    match serde_json::from_str(line) {
        Ok(Value::Object(mut fields)) => {
            fields.insert(HOST.to_owned(), host.into());
            json!(fields).to_string()
        }
        _ => line.to_owned(),
    }
}

/// Runs one rank as rank 0 asks for on standard input.
///
/// # Errors
/// If the input is no job that can be joined (exit 3).
pub(crate) fn join() -> Result<Exit, Failure> {
    let line = remote::read_line()?;
    let wire = WireUp::of_line(&line, PATIENCE).map_err(Failure::environment)?;
    let fields: Value = serde_json::from_str(&line).unwrap_or_default();
    let host = fields.get(HOST).and_then(Value::as_str).map_or_else(host_name, str::to_owned);
    let job = Job::join_tcp(&wire, &Value::Null).map_err(Failure::environment)?;
    let process = JobProcess { host, ..JobProcess::started_alone(&job, None) };
    let spec = JobSpec::received(&job.work());
    Ok(pipeline::follow(&process, spec.map(PlaceRun::new)))
}
