//! Ranks that share no folder: each in a mount namespace where only its own part of the plan is
//! there, as on a host of its own.

use crate::common::Sandbox;
use crate::job::{Job, Mpi};
use crate::plans;

/// Puts an empty folder in the plan's place, this rank's part in it, and hides everybody's. It ends
/// by becoming the rank.
const SCRIPT: &str = r#"
set -e
rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-$PMIX_RANK}}
mount -t tmpfs none plan
mount -t tmpfs none mine
if [ -d "all/peer$rank" ]; then
    mkdir "plan/peer$rank"
    mount --bind "all/peer$rank" "plan/peer$rank"
elif [ -f "all/in$rank.txt" ]; then
    cp "all/in$rank.txt" plan
fi
mkdir -p "outs/$rank"
mount --bind "outs/$rank" mine
mount -t tmpfs none all
mount -t tmpfs none outs
exec "$@"
"#;

/// Runs the plan in `all`, where every rank sees its own part as `plan` and writes into `mine`.
fn apart(sandbox: &Sandbox, mpi: &Mpi, ranks: u32, out: &str) {
    for folder in ["plan", "mine", "outs"] {
        std::fs::create_dir_all(sandbox.path(folder)).unwrap();
    }
    let wrapper = ["unshare", "-m", "sh", "-c", SCRIPT, "sh"];
    let line = format!("swarm plan --json{out}");
    let done = Job::new(sandbox, mpi, ranks, &line).mounts().wrapped(&wrapper).expect(0);
    let report = crate::job::document(&done);
    assert_eq!(report["ok"], true, "{report}");
    // What was mounted is gone with the ranks, and was never seen from here.
    assert!(sandbox.tree("plan").is_empty() && sandbox.tree("mine").is_empty());
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn every_rank_reads_its_own_token_file_only() {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        let plan = plans::course(&sandbox, "all");
        apart(&sandbox, &mpi, plan.ranks, " --out mine");
        for rank in 0..plan.ranks {
            let prefix = format!("client{rank}_");
            for name in sandbox.tree(&format!("outs/{rank}")) {
                assert!(name.starts_with(&prefix), "{name} in the outputs of rank {rank}");
                let output = sandbox.path(&format!("outs/{rank}/{name}"));
                std::fs::rename(output, sandbox.path(&format!("outs/{name}"))).unwrap();
            }
            std::fs::remove_dir(sandbox.path(&format!("outs/{rank}"))).unwrap();
        }
        plan.check(&sandbox, "outs");
    }
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn every_rank_reads_its_own_folder_only() {
    for mpi in Mpi::all() {
        let sandbox = Sandbox::new();
        let plan = plans::folders(&sandbox, "all", 64 << 10);
        let before = sandbox.files("all");
        apart(&sandbox, &mpi, plan.ranks, " --piece-size 64KiB");
        let mut after = sandbox.files("all");
        for (name, bytes) in before {
            assert!(after.remove(&name) == Some(bytes), "{name} has changed");
        }
        for (name, bytes) in after {
            sandbox.write(&format!("fetched/{name}"), bytes);
        }
        plan.check(&sandbox, "fetched");
    }
}
