//! Far more ranks than cores.

use crate::common::{Course, Sandbox};
use crate::job::{Job, Mpi};
use std::time::Duration;

/// Peers of the plan; with the tracker, 33 ranks.
const PEERS: u32 = 32;
/// Their processes share a core or two.
const LIMIT: Duration = Duration::from_secs(240);

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn thirty_two_peers_on_a_small_machine() {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        let mut course = Course::new(&[("a", 20), ("b", 12)]).peer("a", "b").peer("b", "a");
        for _ in 2..PEERS {
            course = course.peer("", "a b");
        }
        course.write(&sandbox, "plan");
        let line = "swarm plan --out out --quiet";
        Job::new(&sandbox, &mpi, PEERS + 1, line).limit(LIMIT).expect(0);
        course.check(&sandbox, "out");
    }
}
