//! The same plan over every fabric: threads, virtual time, and each MPI. The outputs are the same
//! bytes, and the traces keep the same rules.

use crate::common::Sandbox;
use crate::job::{Job, Mpi, Running};
use crate::plans::{self, Plan};
use crate::{classic, rules};

/// Runs a plan in the folder `plan` over every fabric.
fn everywhere(sandbox: &Sandbox, plan: &Plan, options: &str) {
    let line = |out: &str| format!("swarm plan --out {out} --trace {out}.trace {options}");
    let check = |out: &str| {
        plan.check(sandbox, out);
        let lines = rules::read(&sandbox.path(&format!("{out}.trace")));
        rules::check(&lines, u64::from(plan.ranks) - 1, &plan.wanted);
        if options == classic::OPTIONS {
            classic::check(&lines, &plan.wanted);
        }
        // Blocks over MPI carry no time: an answer may seem a moment older than its request.
        if !(out.starts_with("mpi") && plan.blocks) {
            rules::answers_follow_requests(&lines);
        }
    };
    for fabric in ["memory", "virtual"] {
        sandbox.expect(0, &format!("{} --fabric {fabric}", line(fabric)));
        check(fabric);
    }
    for (index, mpi) in Mpi::all().iter().enumerate() {
        let out = format!("mpi{index}");
        let mut running = Job::new(sandbox, mpi, plan.ranks, &line(&out)).start();
        let library = running.wait_for("a rank to join", Running::library);
        mpi.check_library(&library);
        let done = running.end();
        assert_eq!(done.code, 0, "{}: {}", mpi.name(), done.stderr);
        check(&out);
        assert_eq!(done.stdout.matches("rank  role").count(), 1, "one table: {}", done.stdout);
        // The launcher only starts the processes.
        let out = format!("tcp{index}");
        let tcp = format!("{} --fabric tcp --key-file {out}.key", line(&out));
        let done = Job::new(sandbox, mpi, plan.ranks, &tcp).start().end();
        assert_eq!(done.code, 0, "{} {tcp}: {}", mpi.name(), done.stderr);
        check(&out);
    }
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn token_files() {
    let sandbox = Sandbox::new();
    let plan = plans::course(&sandbox, "plan");
    for options in [classic::OPTIONS, "--profile bittorrent"] {
        everywhere(&sandbox, &plan, options);
    }
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn the_example() {
    let sandbox = Sandbox::new();
    let plan = plans::example(&sandbox, "plan");
    everywhere(&sandbox, &plan, "");
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn real_files_of_odd_sizes() {
    for (piece, options) in [
        (64 << 10, "--piece-size 64KiB"),
        (1 << 20, "--piece-size 1MiB"),
        (16 << 10, "--piece-size 16KiB --profile course"),
    ] {
        let sandbox = Sandbox::new();
        let plan = plans::folders(&sandbox, "plan", piece);
        everywhere(&sandbox, &plan, options);
    }
}
