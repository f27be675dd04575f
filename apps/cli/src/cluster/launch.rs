//! How this process was launched: alone, or as one rank of many; over what the ranks talk then, and
//! which of the processes reports what is wrong with the launch.

use crate::cluster::args::LaunchArgs;
use crate::cluster::parsers::Fabric;
use crate::console::out;
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::{Job, Launcher, host_name};
use dunlin_cluster::tcp::{WireFlags, WireUp};
use dunlin_cluster::{FabricKind, VirtualConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a process that leaves the message to rank 0 waits before it ends: launchers kill
/// all processes at the first bad exit, and rank 0's message must be out by then.
const MESSAGE: Duration = Duration::from_secs(1);

/// Threads that hash in a process at least, if the machine has as many: while one rank looks at a
/// large file of its own, all others wait for it.
const LEAST_THREADS: usize = 4;

/// How a run is launched.
#[derive(Clone, Debug)]
pub(crate) enum Launch {
    /// All ranks in this process.
    InProcess(InProcess),
    /// One rank a process.
    Ranks,
}

/// How a run goes whose ranks are all in this process.
#[derive(Clone, Debug)]
pub(crate) struct InProcess {
    /// Over what they talk.
    pub(crate) fabric: FabricKind,
    /// Whether to mention that a launcher started this process, and only this one: a person may
    /// have meant more.
    pub(crate) single: bool,
}

/// What a process that is one rank of a job knows of its own place.
pub(crate) struct JobProcess<'a> {
    /// The job.
    pub(crate) job: &'a Job,
    /// The name of this host.
    pub(crate) host: String,
    /// What launched this process, if a launcher did.
    pub(crate) launcher: Option<&'a Launcher>,
    /// At rank 0 that has started the others: their hosts.
    pub(crate) started: BTreeMap<Rank, String>,
    /// Those of them that could not be started.
    pub(crate) lost: Arc<Mutex<BTreeSet<Rank>>>,
}

impl<'a> JobProcess<'a> {
    /// A process that has started no other.
    pub(crate) fn started_alone(job: &'a Job, launcher: Option<&'a Launcher>) -> JobProcess<'a> {
        let (started, lost) = (BTreeMap::new(), Arc::default());
        JobProcess { job, host: host_name(), launcher, started, lost }
    }

    /// The ranks that could not be started, as far as that is known by now.
    pub(crate) fn lost(&self) -> BTreeSet<Rank> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who launched this process as a rank, by its environment.
pub(crate) fn launcher() -> Option<Launcher> {
    Launcher::detect(&|name| std::env::var(name).ok())
}

/// Whether this process reports what is wrong before it has joined its job: every process of a
/// launch meets the same, and one of them reports it.
pub(crate) fn reports(launcher: Option<&Launcher>) -> bool {
    launcher.is_none_or(|launcher| launcher.rank() == 0)
}

/// Ends a process that does not report, so late that the one that does has reported.
pub(crate) fn end_silently(exit: Exit) -> ExitCode {
    if exit != Exit::Ok {
        std::thread::sleep(MESSAGE);
    }
    exit.into()
}

/// Decides over what the ranks talk. `peers` counts those of the plan, if it can be seen.
///
/// # Errors
/// If every process would run the whole swarm by itself (exit 2), or a rank a process is asked for
/// and there is only this one (exit 3).
pub(crate) fn decide(
    said: Fabric,
    launcher: Option<&Launcher>,
    peers: impl FnOnce() -> Option<u32>,
) -> Result<Launch, Failure> {
    if said == Fabric::Tcp {
        return Ok(Launch::Ranks);
    }
    // A launcher that gives no number has started more than one.
    let Some(launcher) = launcher.filter(|launcher| launcher.size() != Some(1)) else {
        return alone(said, launcher.is_some(), peers).map(Launch::InProcess);
    };
    match said {
        Fabric::Auto | Fabric::Mpi | Fabric::Tcp => Ok(Launch::Ranks),
        Fabric::Memory => Err(each_the_whole("memory", launcher.name())),
        Fabric::Virtual => Err(each_the_whole("virtual", launcher.name())),
    }
}

/// Decides for a process that has no other beside it; `launched` if it has a launcher all the same.
///
/// # Errors
/// If a rank a process is asked for (exit 3).
pub(crate) fn alone(
    said: Fabric,
    launched: bool,
    peers: impl FnOnce() -> Option<u32>,
) -> Result<InProcess, Failure> {
    let fabric = match said {
        Fabric::Auto | Fabric::Memory => FabricKind::Memory,
        Fabric::Virtual => FabricKind::Virtual(VirtualConfig::default()),
        Fabric::Mpi | Fabric::Tcp => return Err(too_few(launched, peers())),
    };
    Ok(InProcess { fabric, single: launched && said == Fabric::Auto })
}

/// Joins the job of this process, over what was asked for. A peer tries to find rank 0 for
/// `patience`. `message` is what rank 0 sends to the others of what they are to do.
///
/// # Errors
/// If an option of the launch is wrong (exit 2), or there is no job to join (exit 3).
pub(crate) fn join(
    said: &LaunchArgs,
    patience: Duration,
    launcher: Option<&Launcher>,
    message: &serde_json::Value,
) -> Result<Job, Failure> {
    if said.fabric != Fabric::Tcp {
        let job = Job::join_mpi(launcher, said.mpi_lib.as_deref(), message);
        return job.map_err(Failure::environment);
    }
    let LaunchArgs { rank, size, root, listen, key_file, .. } = said.clone();
    let flags = WireFlags { rank, size, root, listen, key_file, patience };
    let wire = WireUp::decide(&flags, &|name| std::env::var(name).ok()).map_err(|error| {
        if error.is_usage() { Failure::usage(error) } else { Failure::environment(error) }
    })?;
    Job::join_tcp(&wire, message).map_err(|error| {
        let failure = Failure::environment(error);
        if !reports(launcher) {
            // Rank 0 need not have met the same.
            out::error(&failure.message);
        }
        failure
    })
}

fn each_the_whole(fabric: &str, by: &str) -> Failure {
    Failure::usage(format!(
        "--fabric {fabric} under {by}: each of its processes would run the whole swarm by itself; \
         leave --fabric away for one rank a process, or start a single process"
    ))
}

fn too_few(launched: bool, peers: Option<u32>) -> Failure {
    let how = if launched { "as the only one" } else { "without a launcher" };
    let with = needed(peers);
    Failure::environment(format!(
        "--fabric mpi needs one process a rank, and this process was started {how}; start it with \
         mpirun {with}"
    ))
}

/// The option of launchers that gives every rank a process.
fn needed(peers: Option<u32>) -> String {
    match peers {
        Some(peers) => format!("-np {}", u64::from(peers) + 1),
        None => "-np N, where N is the number of peers and one for the tracker".to_owned(),
    }
}

/// The note for when a launcher started a single process, and all ranks of the plan run in it.
pub(crate) fn one_process(peers: u32) -> String {
    format!(
        "one process under mpirun: all ranks run in this process, over memory; for one rank a \
         process start it with {}",
        needed(Some(peers))
    )
}

/// Threads that hash in this process: those of the machine, shared with the job's other processes
/// on it.
pub(crate) fn hash_threads(launcher: Option<&Launcher>) -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    share(all, launcher.and_then(Launcher::local_size))
}

fn share(threads: usize, processes: Option<u32>) -> usize {
    let processes = usize::try_from(processes.unwrap_or(1)).unwrap_or(usize::MAX);
    (threads / processes.max(1)).max(threads.min(LEAST_THREADS))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rank of Open MPI, as `rank/size`.
    fn launched(how: &str) -> Option<Launcher> {
        let (rank, size) = how.split_once('/')?;
        Launcher::detect(&|name| match name {
            "OMPI_COMM_WORLD_RANK" => Some(rank.to_owned()),
            "OMPI_COMM_WORLD_SIZE" => Some(size.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn the_launch_decides_over_what_the_ranks_talk() {
        let cases = [
            ("", Fabric::Auto, "memory"),
            ("", Fabric::Tcp, "ranks"),
            ("1/2", Fabric::Tcp, "ranks"),
            ("", Fabric::Memory, "memory"),
            ("", Fabric::Virtual, "virtual"),
            ("", Fabric::Mpi, "3 was started without a launcher; start it with mpirun -np 5"),
            ("0/1", Fabric::Auto, "memory, single"),
            ("0/1", Fabric::Memory, "memory"),
            ("0/1", Fabric::Virtual, "virtual"),
            ("0/1", Fabric::Mpi, "3 was started as the only one; start it with mpirun -np 5"),
            ("0/5", Fabric::Auto, "ranks"),
            ("4/5", Fabric::Auto, "ranks"),
            ("4/5", Fabric::Mpi, "ranks"),
            ("0/5", Fabric::Memory, "2 --fabric memory under mpirun of Open MPI: each of its"),
            ("1/2", Fabric::Virtual, "2 --fabric virtual under mpirun of Open MPI: each of its"),
        ];
        for (how, said, expected) in cases {
            let launcher = launched(how);
            assert_eq!(launcher.is_some(), !how.is_empty(), "{how}");
            let found = match decide(said, launcher.as_ref(), || Some(4)) {
                Ok(Launch::Ranks) => "ranks".to_owned(),
                Ok(Launch::InProcess(InProcess { fabric, single })) => {
                    let name = match fabric {
                        FabricKind::Memory => "memory",
                        FabricKind::Virtual(_) => "virtual",
                        FabricKind::Ranks(_) => "a job",
                    };
                    format!("{name}{}", if single { ", single" } else { "" })
                }
                Err(failure) => format!("{} {}", failure.exit.code(), failure.message),
            };
            let (code, text) = expected.split_at(expected.find(' ').unwrap_or(0));
            let matches = match code.parse::<u8>() {
                Ok(_) => found.starts_with(code) && found.contains(text.trim_start()),
                Err(_) => found == expected,
            };
            assert!(matches, "{how} {said:?}: {found}");
        }
    }

    #[test]
    fn without_a_plan_the_number_is_described() {
        let failure = decide(Fabric::Mpi, None, || None).unwrap_err();
        assert!(failure.message.ends_with(
            "-np N, where N is the number of peers and one for the \
                                           tracker"
        ));
        assert!(one_process(4).ends_with("start it with -np 5"));
    }

    #[test]
    fn one_process_of_a_launch_speaks() {
        for (how, expected) in [("", true), ("0/1", true), ("0/3", true), ("2/3", false)] {
            assert_eq!(reports(launched(how).as_ref()), expected, "{how}");
        }
    }

    #[test]
    fn processes_of_one_machine_share_its_threads() {
        let cases =
            [(8, None, 8), (32, Some(4), 8), (8, Some(3), 4), (2, Some(9), 2), (2, Some(0), 2)];
        for (threads, processes, expected) in cases {
            assert_eq!(share(threads, processes), expected);
        }
    }
}
