//! Jobs that cannot begin: one message, whatever the number of ranks, its exit code, and no hang.

use crate::common::{Course, Sandbox};
use crate::job::{Job, Mpi, document};
use std::fs;

/// A plan of three peers in `plan`; the same without rank 2's input, and with a broken one.
fn plans(sandbox: &Sandbox) {
    let course = Course::new(&[("a", 12), ("b", 5)]).peer("a", "").peer("b", "a").peer("", "a b");
    for folder in ["plan", "lacks", "broken"] {
        course.write(sandbox, folder);
    }
    fs::remove_file(sandbox.path("lacks/in2.txt")).unwrap();
    sandbox.write("broken/in3.txt", "0\n2\na\n");
    sandbox.write("folders/peer1/f", "data");
    sandbox.write("folders/peer3/wants", "f");
}

/// Ranks, words, exit code, and what must be said once.
const CASES: &[(u32, &str, i32, &str)] = &[
    (
        3,
        "swarm plan",
        3,
        "the plan has 3 peers and needs 4 ranks (one is the tracker); this job has 3",
    ),
    (
        2,
        "swarm folders",
        3,
        "needs 4 ranks (one is the tracker); this job has 2: start it with -np 4",
    ),
    (6, "swarm plan", 3, "needs 4 ranks (one is the tracker); this job has 6: start it with -np 4"),
    (4, "swarm lacks", 4, "rank 2: lacks"),
    (4, "swarm folders", 4, "rank 2: folders"),
    (4, "swarm broken", 4, "in3.txt"),
    (4, "swarm nowhere", 4, "nowhere"),
    (4, "swarm plan --fabric memory", 2, "each of its processes would run the whole swarm"),
    (4, "swarm plan --fabric virtual", 2, "each of its processes would run the whole swarm"),
    (4, "swarm plan --mpi-lib /nonexistent", 3, "/nonexistent: "),
    (4, "swarm plan --pieces nonsense", 2, "`nonsense` is no piece order"),
    (4, "swarm plan --fault corrupt=9", 2, "no such rank"),
    (4, "swarm plan --trace nowhere/t", 5, "cannot write nowhere/t"),
];

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn what_keeps_a_job_from_beginning_is_said_once() {
    let sandbox = Sandbox::new();
    plans(&sandbox);
    let before = sandbox.tree("");
    for mpi in Mpi::all() {
        for (ranks, line, code, text) in CASES {
            let what = format!("{} -np {ranks} {line}", mpi.name());
            let done = Job::new(&sandbox, &mpi, *ranks, line).expect(*code);
            let said: Vec<&str> = done
                .stderr
                .lines()
                .filter(|line| line.contains("dunlin: ") || line.contains("error: "))
                .collect();
            assert_eq!(done.stderr.matches(text).count(), 1, "{what}: {}", done.stderr);
            assert_eq!((said.len(), done.stdout.as_str()), (1, ""), "{what}: {}", done.stderr);
            let done = Job::new(&sandbox, &mpi, *ranks, &format!("{line} --json")).expect(*code);
            let report = document(&done);
            assert_eq!(report["ok"], false, "{what}: {report}");
            let message = report["error"]["message"].as_str().unwrap();
            assert!(message.contains(text), "{what}: {report}");
        }
        fs::remove_dir_all(sandbox.path("tmp")).unwrap();
        assert_eq!(sandbox.tree(""), before, "a job that did not begin makes no file");
    }
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn a_single_process_runs_all_ranks_by_itself() {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        plans(&sandbox);
        let done = Job::new(&sandbox, &mpi, 1, "swarm plan --out out").expect(0);
        let note = "all ranks run in this process, over memory";
        assert_eq!(done.stderr.matches(note).count(), 1, "{}", done.stderr);
        assert_eq!(sandbox.tree("out"), ["client2_a", "client3_a", "client3_b"]);
    }
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn a_check_says_what_would_move_and_moves_nothing() {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        plans(&sandbox);
        let before = sandbox.tree("plan");
        let job = Job::new(&sandbox, &mpi, 4, "swarm plan --check --out out");
        let alone = sandbox.expect(0, "swarm plan --check --out out --fabric memory").stdout;
        assert_eq!(job.expect(0).stdout, alone);
        assert_eq!(sandbox.tree("plan"), before);
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn help_is_printed_once() {
    let sandbox = Sandbox::new();
    for mpi in Mpi::all() {
        for line in ["--help", "swarm -h", "--version"] {
            let alone = sandbox.expect(0, line).stdout;
            assert_eq!(Job::new(&sandbox, &mpi, 4, line).expect(0).stdout, alone, "{line}");
        }
    }
}
