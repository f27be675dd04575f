//! What waiting costs: ranks whose source is slow leave the processor to others.

use crate::common::Sandbox;
use crate::job::{Job, Mpi};
use crate::plans;
use crate::processes::ticks;
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

/// How long the ranks are watched.
const WATCHED: Duration = Duration::from_secs(5);
/// A tick of the clock that processes are charged by.
const TICK: Duration = Duration::from_millis(10);
/// What a rank may take of a core, in thousandths.
const RANK: u64 = 150;
/// What its MPI thread may take.
const THREAD: u64 = 100;

/// The `stat` of the thread that makes the calls of MPI: a library's own threads may have its name,
/// and come later.
fn thread_of_mpi(process: u32) -> String {
    let entries = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut threads: Vec<u32> =
        entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect();
    threads.sort_unstable();
    let of = |thread: &u32| format!("/proc/{process}/task/{thread}");
    let named = |thread: &&u32| fs::read(of(thread) + "/comm").is_ok_and(|name| name == b"mpi\n");
    let found =
        threads.iter().find(named).unwrap_or_else(|| panic!("{process} has no such thread"));
    of(found) + "/stat"
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn ranks_that_wait_leave_the_processor_alone() {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        let plan = plans::one_file(&sandbox, "plan", 4, 20_000_000);
        let line = "swarm plan --piece-size 64KiB --fault slow=1:200kB";
        let mut running = Job::new(&sandbox, &mpi, plan.ranks, line).start();
        let ranks = running.joined(plan.ranks);
        for rank in 2..=4 {
            let part = sandbox.path(&format!("plan/peer{rank}/.big.dunlin-part"));
            running.wait_for("the first piece", |_| part.exists().then_some(()));
        }
        let stats: Vec<(u32, [String; 2])> = ranks
            .iter()
            .map(|(rank, id)| (*rank, [format!("/proc/{id}/stat"), thread_of_mpi(*id)]))
            .collect();
        let look = || -> Vec<[u64; 2]> {
            let look = |stat: &String| ticks(stat).expect("a rank that lives");
            stats.iter().map(|(_, stats)| [look(&stats[0]), look(&stats[1])]).collect()
        };
        let (begun, before) = (Instant::now(), look());
        std::thread::sleep(WATCHED);
        let (after, took) = (look(), begun.elapsed());
        running.kill();
        running.end();
        for (((rank, _), before), after) in stats.iter().zip(before).zip(after) {
            let share = |at: usize| {
                let used = TICK * u32::try_from(after[at] - before[at]).unwrap();
                u64::try_from(used.as_nanos() * 1000 / took.as_nanos()).unwrap()
            };
            let (all, mpi_thread) = (share(0), share(1));
            let what =
                format!("{} rank {rank}: {all} ‰ of a core, thread mpi {mpi_thread} ‰", mpi.name());
            // Not by a macro: it is to be seen though the test passes.
            std::io::stdout().write_all(format!("{what}\n").as_bytes()).unwrap();
            assert!(all < RANK && mpi_thread < THREAD, "{what}");
        }
    }
}
