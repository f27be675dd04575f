//! What a process does that a launcher started, as its environment says: before any job is joined.
//! Whole jobs are run under real launchers elsewhere.

use crate::common::{Course, Done, Sandbox, end};
use std::process::Stdio;

/// Runs the binary as this rank of so many, as `mpirun` of Open MPI would start it.
fn as_rank(sandbox: &Sandbox, rank: u32, size: u32, line: &str) -> Done {
    let mut command = sandbox.command(line);
    command.env("OMPI_COMM_WORLD_RANK", rank.to_string());
    command.env("OMPI_COMM_WORLD_SIZE", size.to_string());
    end(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn plan(sandbox: &Sandbox) -> Course {
    let course = Course::new(&[("f", 5)]).peer("f", "").peer("", "f");
    course.write(sandbox, "plan");
    course
}

#[test]
fn a_launch_that_is_wrong_is_said_by_rank_0_alone() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let cases = [
        (2, "swarm plan --fabric ether", "auto, memory, virtual, mpi"),
        (2, "swarm plan --fabric memory", "--fabric memory under mpirun of Open MPI"),
        (2, "swarm plan --fabric virtual", "each of its processes would run the whole swarm"),
        (2, "swarm plan --nothing", "--nothing"),
        (3, "swarm plan --mpi-lib none/libmpi.so.40", "none/libmpi.so.40"),
        (3, "swarm plan --fabric mpi --mpi-lib none/libmpi.so.40", "--mpi-lib"),
    ];
    for (code, line, text) in cases {
        let first = as_rank(&sandbox, 0, 3, line);
        assert_eq!((first.code, first.stdout.as_str()), (code, ""), "{line}: {}", first.stderr);
        assert!(first.stderr.contains(text), "{line}: {}", first.stderr);
        let other = as_rank(&sandbox, 2, 3, line);
        let said = (other.stdout.as_str(), other.stderr.as_str());
        assert_eq!((other.code, said), (code, ("", "")), "{line}");
        let document = as_rank(&sandbox, 0, 3, &format!("{line} --json")).stdout;
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["ok"], false, "{line}");
        let silent = as_rank(&sandbox, 1, 3, &format!("{line} --json"));
        assert_eq!(silent.stdout, "", "{line}");
    }
    assert_eq!(sandbox.tree("plan"), ["in1.txt", "in2.txt"]);
}

#[test]
fn help_is_printed_once_and_other_commands_have_no_ranks() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    for line in ["--help", "swarm -h", "--version"] {
        assert_eq!(as_rank(&sandbox, 0, 3, line).stdout, sandbox.expect(0, line).stdout);
        let other = as_rank(&sandbox, 1, 3, line);
        assert_eq!((other.code, other.stdout.as_str()), (0, ""));
    }
    let cleaned = as_rank(&sandbox, 1, 3, "clean none");
    assert_eq!(cleaned.code, 4);
    assert!(cleaned.stderr.contains("none is no folder"), "{}", cleaned.stderr);
}

#[test]
fn a_single_process_runs_all_ranks_over_memory_and_says_so() {
    let sandbox = Sandbox::new();
    let course = plan(&sandbox);
    let text = "one process under mpirun: all ranks run in this process, over memory; for one rank \
                a process start it with -np 3\n";
    let done = as_rank(&sandbox, 0, 1, "swarm plan --out a");
    assert_eq!((done.code, done.stderr.matches(text).count()), (0, 1), "{}", done.stderr);
    course.check(&sandbox, "a");
    for options in ["--quiet", "--fabric memory", "--fabric virtual"] {
        let done = as_rank(&sandbox, 0, 1, &format!("swarm plan --out b {options}"));
        assert_eq!((done.code, done.stderr.contains("one process")), (0, false), "{options}");
    }
    assert!(!sandbox.expect(0, "swarm plan --out c").stderr.contains("one process"));
}

#[test]
fn a_rank_a_process_needs_more_than_one() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let alone = sandbox.expect(3, "swarm plan --fabric mpi").stderr;
    assert!(alone.contains("without a launcher; start it with mpirun -np 3\n"), "{alone}");
    let one = as_rank(&sandbox, 0, 1, "swarm plan --fabric mpi");
    assert_eq!(one.code, 3);
    assert!(one.stderr.contains("as the only one; start it with mpirun -np 3\n"), "{}", one.stderr);
    let unseen = sandbox.expect(3, "swarm none --fabric mpi").stderr;
    assert!(unseen.contains("-np N, where N is the number of peers"), "{unseen}");
    assert_eq!(sandbox.tree("plan"), ["in1.txt", "in2.txt"]);
}
