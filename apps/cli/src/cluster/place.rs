//! `dunlin cast` and `dunlin place`: every rank comes to hold what it should, from whoever holds it. From
//! the command line to each rank's part, and from the report to what is told. How the bytes move is the
//! world's business.
//!
//! ```text
//!   work    what all ranks are told: rank 0's arguments and plan
//!   part    one rank's part of it, from names alone
//!   content what is found on disk for that part
//!   here    all ranks in this process          job   one rank a process
//!   remote  ranks that are started over ssh    tell  what came of it
//! ```

mod config;
mod content;
mod here;
pub(crate) mod hosts;
mod job;
mod part;
mod remote;
mod report;
mod spec;

use crate::args::Command;
use crate::cluster::args::place::PlacingArgs;
use crate::cluster::launch::{self, Launch};
use crate::cluster::parsers::{Fabric, same_host};
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::{Job, Launcher, host_name};
use dunlin_cluster::tcp::WireUp;
use job::Here;
use remote::{Remote, Remotes, Wanted};
use serde_json::{Value, json};
use spec::Work;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a rank that was started over ssh tries to find rank 0.
const PATIENCE: Duration = Duration::from_secs(60);
/// The key under which a rank that was started over ssh is told the name of its host.
const HOST: &str = "host";

/// Runs `cast` or `place`. `launcher` started this process as a rank, if one did.
///
/// # Errors
/// Whatever keeps the run from beginning, while this process is alone.
pub(crate) fn run(command: &Command, launcher: Option<&Launcher>) -> Result<Exit, Failure> {
    let Some(options) = spec::options_of(command) else {
        return Err(Failure::usage("this is neither a cast nor a plan to place"));
    };
    // Only rank 0's counts, whatever another one's command line or disk says.
    let work = words().and_then(|words| Work::given(command, words));
    if let Some(hosts) = hosts_of(options)? {
        return start(&work?, &hosts);
    }
    let said = &options.run.launch;
    match launch::decide(said.fabric, launcher, || None)? {
        Launch::Here(_) => return here::run(&work?),
        Launch::Ranks => refuse_here_only(options)?,
    }
    let told = work.as_ref().map_or(Value::Null, |work| work.told().clone());
    let job = launch::join(said, options.run.start_timeout, launcher, &told)?;
    tracing::info!(over = job.carrier(), rank = %job.rank(), size = job.size(), "joined the job");
    if job.size() == 1 && said.fabric != Fabric::Tcp {
        // The launcher did not say that it started one process only.
        let _ = job.leave(Exit::Ok.code());
        return here::run(&work?);
    }
    let here = Here::alone(&job, host_name(), launcher);
    Ok(match job.rank() {
        Rank::TRACKER => job::lead(&here, work, options.run.json),
        _ => job::follow(&here),
    })
}

/// What is for ranks of one process means nothing for others.
///
/// # Errors
/// If it was said all the same (exit 2).
fn refuse_here_only(options: &PlacingArgs) -> Result<(), Failure> {
    let said = [
        ("--ranks", options.ranks.is_some()),
        ("--host-names", options.host_names.is_some()),
        ("--link-rate", options.link_rate.is_some()),
    ];
    let said = said.into_iter().find(|(_, said)| *said);
    said.map_or(Ok(()), |(option, _)| {
        Err(Failure::usage(format!(
            "{option} is for ranks that are all in one process; leave it away, or start one process"
        )))
    })
}

/// The hosts on which ranks are to be started, if any were given.
fn hosts_of(options: &PlacingArgs) -> Result<Option<Vec<String>>, Failure> {
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
fn start(work: &Work, hosts: &[String]) -> Result<Exit, Failure> {
    let options = &work.options;
    let own = host_name();
    let mut others = hosts.to_vec();
    let here = others.iter().position(|host| same_host(host, &own));
    let host = here.map_or(own, |at| others.remove(at));
    let work = if here.is_some() { work.clone() } else { work.clone().with_bystander() };
    let remote = Remote::new(&options.ssh, options.remote_dunlin.as_deref())?;
    let size = u32::try_from(others.len()).unwrap_or(u32::MAX).saturating_add(1);
    let said = &options.run.launch;
    let wire = WireUp::start(size, said.listen).map_err(Failure::environment)?;
    let roots: Vec<String> = said.root.iter().cloned().collect();
    let job = Job::join_tcp(&wire, work.told()).map_err(Failure::environment)?;
    let started: BTreeMap<Rank, String> = (1..).map(Rank).zip(others).collect();
    let wanted = started.iter().map(|(rank, host)| Wanted {
        rank: *rank,
        host: host.clone(),
        line: with_host(&wire.line_for(*rank, &roots), host),
    });
    let lost = Arc::<Mutex<BTreeSet<Rank>>>::default();
    let (given_up, told) = (job.clone(), Arc::clone(&lost));
    let give_up = move |rank| {
        told.lock().unwrap_or_else(PoisonError::into_inner).insert(rank);
        given_up.give_up(rank);
    };
    let remotes = Remotes::start(&remote, wanted.collect(), give_up)?;
    let here = Here { job: &job, host, launcher: None, started, lost };
    let exit = job::lead(&here, Ok(work), options.run.json);
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

/// Runs one rank as rank 0 tells on standard input.
///
/// # Errors
/// If what it tells is no job that can be joined (exit 3).
pub(crate) fn join() -> Result<Exit, Failure> {
    let line = remote::told()?;
    let wire = WireUp::of_line(&line, PATIENCE).map_err(Failure::environment)?;
    let told: Value = serde_json::from_str(&line).unwrap_or_default();
    let host = told.get(HOST).and_then(Value::as_str).map_or_else(host_name, str::to_owned);
    let job = Job::join_tcp(&wire, &Value::Null).map_err(Failure::environment)?;
    let here = Here::alone(&job, host, None);
    Ok(job::follow(&here))
}

/// The words of this process's command line.
fn words() -> Result<Vec<String>, Failure> {
    let text = |word: std::ffi::OsString| {
        word.into_string().map_err(|word| {
            Failure::usage(format!(
                "{}: expected arguments in UTF-8, found other bytes; rename the file",
                word.display()
            ))
        })
    };
    std::env::args_os().map(text).collect()
}
