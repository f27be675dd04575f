//! The processes of a job, found by a variable that all of them inherit: under a launcher's
//! servers, in sessions of their own and in other namespaces, nothing else leads to them.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

/// The variable that names the job of a process.
pub(crate) const JOB: &str = "DUNLIN_TEST_JOB";
/// Where launchers tell a process its rank.
const RANKS: [&str; 3] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"];

/// A process of a job.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) id: u32,
    /// Its rank, if it is dunlin as a rank, and not its witness or something of the launcher.
    pub(crate) rank: Option<u32>,
    /// Who started it.
    parent: u32,
    words: Vec<String>,
}

impl Process {
    /// Whether it watches the ranks of its host.
    pub(crate) fn is_witness(&self) -> bool {
        self.words.get(1).is_some_and(|word| word == "witness")
    }
}

/// The strings of a file below `/proc` that ends each with a zero byte; none if the process is
/// gone.
fn strings(id: u32, file: &str) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
    let strings = bytes.split(|byte| *byte == 0).filter(|string| !string.is_empty());
    strings.map(|string| String::from_utf8_lossy(string).into_owned()).collect()
}

/// All processes of a job that have not ended.
pub(crate) fn of_job(job: &str) -> Vec<Process> {
    let mark = format!("{JOB}={job}");
    let entries = fs::read_dir("/proc").unwrap();
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let process = |id: u32| {
        let environment = strings(id, "environ");
        environment.contains(&mark).then_some(())?;
        let words = strings(id, "cmdline");
        let program = fs::read_link(format!("/proc/{id}/exe")).ok()?;
        let parent = fields(&format!("/proc/{id}/stat"))?.get(1)?.parse().ok()?;
        let of = |name: &&str| {
            let value = environment.iter().find_map(|text| text.strip_prefix(*name));
            value.and_then(|value| value.strip_prefix('=')?.parse().ok())
        };
        let ours = program.as_os_str() == env!("CARGO_BIN_EXE_dunlin");
        let swarm = words.get(1).is_some_and(|word| word == "swarm");
        let rank = if ours && swarm { RANKS.iter().find_map(of) } else { None };
        Some(Process { id, rank, parent, words })
    };
    ids.filter_map(process).collect()
}

/// The ranks of a job and their processes.
pub(crate) fn ranks(job: &str) -> BTreeMap<u32, u32> {
    ranks_among(&of_job(job))
}

/// What a rank has started is the same program with the same words for a moment, until it becomes
/// another one: that is no rank.
fn ranks_among(processes: &[Process]) -> BTreeMap<u32, u32> {
    let is_rank = |id: u32| processes.iter().any(|one| one.id == id && one.rank.is_some());
    let ranks = processes.iter().filter(|process| !is_rank(process.parent));
    ranks.filter_map(|process| Some((process.rank?, process.id))).collect()
}

/// Sends a signal to processes that may have ended already.
pub(crate) fn signal_all(name: &str, ids: impl IntoIterator<Item = u32>) {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    if !ids.is_empty() {
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -{name} {}", ids.join(" "))]);
        let _ = kill.stderr(Stdio::null()).status();
    }
}

/// User and system time of a process or a thread so far, in ticks of 10 ms, from its `stat`; `None`
/// if it has ended.
pub(crate) fn ticks(stat: &str) -> Option<u64> {
    let fields = fields(stat)?;
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(number(11)? + number(12)?)
}

/// The fields of a `stat` behind the name, which may hold anything; `None` if its process is gone.
fn fields(stat: &str) -> Option<Vec<String>> {
    let text = String::from_utf8(fs::read(stat).ok()?).ok()?;
    let (_, behind) = text.rsplit_once(')')?;
    Some(behind.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn a_child_that_is_about_to_become_the_witness_is_no_rank() {
    let process = |(id, parent, rank)| Process { id, rank, parent, words: Vec::new() };
    let all = [(10, 1, None), (11, 10, Some(0)), (12, 10, Some(1)), (13, 11, Some(0))].map(process);
    assert_eq!(ranks_among(&all), BTreeMap::from([(0, 11), (1, 12)]));
}
