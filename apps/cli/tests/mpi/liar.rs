//! A rank that lies over MPI: named and banned, and everybody gets the right bytes.

use crate::common::{Sandbox, banned, data, same, total};
use crate::job::{Job, Mpi};
use crate::plans;

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn one_who_lies_about_tokens_is_found() {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        let plan = plans::course(&sandbox, "plan");
        let line = "swarm plan --out out --fault corrupt=2 --seed 5";
        let (report, _) = Job::new(&sandbox, &mpi, plan.ranks, line).json(0);
        plan.check(&sandbox, "out");
        assert!(total(&report, "bad_pieces") > 0, "{report}");
        assert_eq!(banned(&report), [2], "{report}");
    }
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn one_who_lies_about_blocks_is_found_and_nobody_else_is_blamed() {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        for rank in [1, 2] {
            sandbox.write(&format!("plan/peer{rank}/big"), data(1, 3_000_000));
        }
        for rank in [3, 4] {
            sandbox.write(&format!("plan/peer{rank}/wants"), "big");
        }
        let line = "swarm plan --fault corrupt=2 --sources round-robin --piece-size 64KiB";
        let (report, _) = Job::new(&sandbox, &mpi, 5, line).json(0);
        for rank in [3, 4] {
            let copy = sandbox.path(&format!("plan/peer{rank}/big"));
            same(&sandbox.path("plan/peer1/big"), &copy);
        }
        assert!(total(&report, "bad_pieces") > 0, "{report}");
        assert_eq!(banned(&report), [2], "{report}");
        for peer in report["peers"].as_array().unwrap() {
            let blamed = peer["bad_from"].as_object().unwrap();
            assert!(blamed.keys().all(|rank| rank == "2"), "{report}");
        }
    }
}
