//! A launcher that is told to end: the job ends in order and goes on the next time.

use crate::common::{Sandbox, signal};
use crate::deaths::{LINE, SLOWLY, check_left, go_on, plan, under_way};
use crate::job::{Job, Mpi};
use std::time::Duration;

/// What a launcher that ends a job may take.
const END: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn a_job_that_is_told_to_end_goes_on_the_next_time() {
    for mpi in Mpi::all() {
        for name in ["TERM", "INT"] {
            let sandbox = Sandbox::new();
            let ranks = plan(&sandbox, 3);
            let mut running = Job::new(&sandbox, &mpi, ranks, SLOWLY).start();
            under_way(&mut running, &sandbox, &[2, 3]);
            signal(running.launcher(), name);
            let done = running.end_within(END);
            assert_ne!(done.code, 0, "{} {name}: {}", mpi.name(), done.stderr);
            check_left(&sandbox, &[2, 3]);
            go_on(&Job::new(&sandbox, &mpi, ranks, LINE), &sandbox, &[2, 3]);
        }
    }
}
