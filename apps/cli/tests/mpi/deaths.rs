//! Ranks that are killed in mid-transfer: what is on disk is kept, the death is named, and the same
//! command goes on.

use crate::common::{Done, Sandbox, complete, peer, same, text, total};
use crate::job::{Job, Mpi, Running, document};
use crate::plans;
use crate::processes::signal_all;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// The file that moves, in bytes.
const BYTES: usize = 60_000_000;
/// Without the fault it moves within a second or two.
pub(crate) const LINE: &str = "swarm plan --piece-size 256KiB";
/// Slow enough that a rank can be caught in the middle.
pub(crate) const SLOWLY: &str = "swarm plan --piece-size 256KiB --fault slow=1:8MB";
/// A launcher that is told of a death ends the others within so long.
const END: Duration = Duration::from_secs(15);
/// A rank is in the middle when its part file holds so many blocks of 512 bytes.
const ENOUGH: u64 = (4 << 20) / 512;

/// A plan of one file, which rank 1 has and the others want, in the folder `plan`; and how many
/// ranks that makes.
pub(crate) fn plan(sandbox: &Sandbox, last: u64) -> u32 {
    plans::one_file(sandbox, "plan", last, BYTES).ranks
}

/// Waits until each of these ranks has written something, and a resume file that says so.
pub(crate) fn under_way(running: &mut Running, sandbox: &Sandbox, ranks: &[u64]) {
    for rank in ranks {
        let part = sandbox.path(&format!("plan/peer{rank}/.big.dunlin-part"));
        let state = format!("plan/peer{rank}/.dunlin");
        running.wait_for("pieces on disk", |_| {
            let written = fs::metadata(&part).ok()?.blocks() >= ENOUGH;
            let said = || sandbox.tree(&state).iter().any(|name| name.ends_with(".resume"));
            (written && said()).then_some(())
        });
    }
}

/// What a run that was cut off leaves: parts and their state, and no file that is wrong.
pub(crate) fn check_left(sandbox: &Sandbox, ranks: &[u64]) {
    for rank in ranks {
        let names = sandbox.tree(&format!("plan/peer{rank}"));
        let is_there = |end: &str| names.iter().any(|name| name.ends_with(end));
        assert!(is_there(".big.dunlin-part") && is_there(".resume"), "rank {rank}: {names:?}");
        assert!(!names.contains(&"big".to_owned()), "unfinished under its final name: {names:?}");
    }
}

/// Runs the plan again, to its end: it goes on where the last one was. What was said.
pub(crate) fn go_on(job: &Job<'_>, sandbox: &Sandbox, ranks: &[u64]) -> String {
    let (report, said) = job.json(0);
    assert!(total(&report, "pieces_resumed") > 0, "{report}");
    for rank in ranks {
        assert!(complete(&report, *rank), "{report}");
        let copy = sandbox.path(&format!("plan/peer{rank}/big"));
        same(&sandbox.path("plan/peer1/big"), &copy);
    }
    let left = sandbox.tree("plan");
    assert!(!left.iter().any(|name| name.contains("dunlin")), "{left:?}");
    said
}

/// Kills a rank of a job in mid-transfer.
fn strike(running: &mut Running, sandbox: &Sandbox, ranks: u32, victim: u32) {
    let processes = running.joined(ranks);
    let wanting: Vec<u64> = (2..u64::from(ranks)).collect();
    under_way(running, sandbox, &wanting);
    let witnesses = running.processes().iter().filter(|process| process.is_witness()).count();
    assert_eq!(witnesses, 1, "one for each host");
    signal_all("KILL", [processes[&victim]]);
}

/// By default a launcher ends everybody when a rank dies.
fn killed_with_all(victim: u32) {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        let ranks = plan(&sandbox, 3);
        let mut running = Job::new(&sandbox, &mpi, ranks, SLOWLY).start();
        strike(&mut running, &sandbox, ranks, victim);
        let done = running.end_within(END);
        assert_ne!(done.code, 0, "{}: {}", mpi.name(), done.stderr);
        check_left(&sandbox, &[2, 3]);
        let said = go_on(&Job::new(&sandbox, &mpi, ranks, LINE), &sandbox, &[2, 3]);
        let name = format!("the last run ended when rank {victim} died; going on");
        assert_eq!(said.matches(&name).count(), 1, "{}: {said}", mpi.name());
    }
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn a_peer_is_killed() {
    killed_with_all(3);
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn the_source_is_killed() {
    killed_with_all(1);
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn the_tracker_is_killed() {
    killed_with_all(0);
}

/// Runs the rank and writes its exit code down: this launcher's own says nothing of it.
const EXITS: &str = r#""$@"; code=$?; echo $code >"exits/$OMPI_COMM_WORLD_RANK"; exit $code"#;

/// Kills a rank where the launcher lets the others live. How it ended, and how each rank did.
fn survive(sandbox: &Sandbox, ranks: u32, victim: u32) -> (Done, Vec<String>) {
    let mpi = Mpi::open_mpi();
    fs::create_dir(sandbox.path("exits")).unwrap();
    let job = Job::new(sandbox, &mpi, ranks, &format!("{SLOWLY} --json"));
    let job = job.option("--enable-recovery").wrapped(&["sh", "-c", EXITS, "sh"]);
    let mut running = job.start();
    strike(&mut running, sandbox, ranks, victim);
    let done = running.end();
    let code = |rank| text(&sandbox.path(&format!("exits/{rank}"))).unwrap_or_default();
    let codes = (0..ranks).map(|rank| code(rank).trim().to_owned()).collect();
    (done, codes)
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn survivors_complete_where_the_launcher_lets_them() {
    let sandbox = Sandbox::new();
    let ranks = plan(&sandbox, 4);
    let (done, codes) = survive(&sandbox, ranks, 4);
    assert_eq!(codes, ["1", "0", "0", "0", "137"], "{}", done.stderr);
    let report = document(&done);
    assert_eq!((&report["ok"], &report["exit"]), (&false.into(), &1.into()), "{report}");
    let at_once = "rank 4 died: its process ended without a word";
    assert_eq!(done.stderr.matches(at_once).count(), 1, "{}", done.stderr);
    assert_eq!(peer(&report, 4)["state"], "dead", "{report}");
    for rank in [2, 3] {
        assert!(complete(&report, rank), "{report}");
        let copy = sandbox.path(&format!("plan/peer{rank}/big"));
        same(&sandbox.path("plan/peer1/big"), &copy);
    }
    check_left(&sandbox, &[4]);
    let mpi = Mpi::open_mpi();
    let said = go_on(&Job::new(&sandbox, &mpi, ranks, LINE), &sandbox, &[2, 3, 4]);
    assert!(said.contains("the last run ended when rank 4 died"), "{said}");
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn without_the_tracker_survivors_end_and_keep_what_they_have() {
    let sandbox = Sandbox::new();
    let ranks = plan(&sandbox, 3);
    let (done, codes) = survive(&sandbox, ranks, 0);
    assert_eq!(codes, ["137", "7", "7", "7"], "{}", done.stderr);
    assert!(done.stderr.contains("rank 0, the tracker, is gone"), "{}", done.stderr);
    // Their neighbours may have given them everything.
    let mpi = Mpi::open_mpi();
    let (report, _) = Job::new(&sandbox, &mpi, ranks, LINE).json(0);
    assert!(total(&report, "bytes_moved") < 2 * BYTES as u64, "{report}");
    for rank in [2, 3] {
        let copy = sandbox.path(&format!("plan/peer{rank}/big"));
        same(&sandbox.path("plan/peer1/big"), &copy);
    }
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn the_whole_job_is_killed() {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        let ranks = plan(&sandbox, 3);
        let mut running = Job::new(&sandbox, &mpi, ranks, SLOWLY).start();
        under_way(&mut running, &sandbox, &[2, 3]);
        running.kill();
        running.end();
        check_left(&sandbox, &[2, 3]);
        let said = go_on(&Job::new(&sandbox, &mpi, ranks, LINE), &sandbox, &[2, 3]);
        assert_eq!(said.matches("the last run ").count(), 1, "{said}");
    }
}
