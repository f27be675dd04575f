//! The threads of ranks, as the system sees them.

use crate::common::{Course, Sandbox, text};
use crate::job::{Job, Mpi};
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

/// How long a download thread may outlive the last output of its rank.
const SOON: Duration = Duration::from_secs(1);

/// The names of the threads of a process.
fn threads(process: u32) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/task")) else { return BTreeSet::new() };
    let name = |path: std::path::PathBuf| text(&path.join("comm"));
    let names = entries.filter_map(|entry| name(entry.ok()?.path()));
    names.map(|name| name.trim().to_owned()).collect()
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn the_download_thread_ends_with_all_complete() {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        let course = Course::new(&[("a", 400), ("b", 1)]).peer("a b", "").peer("", "b");
        course.peer("", "a").write(&sandbox, "plan");
        let mut running = Job::new(&sandbox, &mpi, 4, "swarm plan --fault slow=1:60B").start();
        let ranks = running.joined(4);
        let output = sandbox.path("plan/client2_b");
        running.wait_for("rank 2 to be complete", |_| output.exists().then_some(()));
        let done = Instant::now();
        running.wait_for("its download thread to end", |_| {
            let all = threads(ranks[&2]);
            (!all.contains("r2-download")).then_some(())
        });
        assert!(done.elapsed() < SOON, "{}: {:?}", mpi.name(), done.elapsed());
        let (two, three) = (threads(ranks[&2]), threads(ranks[&3]));
        assert!(two.contains("r2-upload"), "{}: {two:?}", mpi.name());
        assert!(three.contains("r3-download"), "{}: {three:?}", mpi.name());
        running.kill();
        running.end();
    }
}
