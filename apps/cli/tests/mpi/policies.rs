//! Every profile and every value of every policy over MPI, at least once each.

use crate::common::Sandbox;
use crate::job::{Job, Mpi};
use crate::plans;

/// One run each, under one MPI after the other.
const RUNS: &[&str] = &[
    "--profile course --sources round-robin --pieces sequential --tracker-order arrival",
    "--profile course --sources least-busy --tracker-order least-busy --pieces random",
    "--profile course --sources least-loaded --tracker-map pieces --pieces rarest",
    "--profile course --sources random --tracker-order random --refresh-scope all",
    "--profile bittorrent --sources fastest --pieces rarest --tracker-map swarm",
    "--profile bittorrent --sources two-choices --choker tit-for-tat --refresh-scope file",
    "--profile bittorrent --sources least-loaded --tracker-map pieces --choker cooperative",
    "--profile bittorrent --sources round-robin --pieces random --tracker-order random",
    "--profile cluster --sources fastest --pieces rarest",
    "--profile cluster --sources round-robin --pieces random --tracker-map pieces",
];

/// What the program takes for an option, as it says itself.
fn values(sandbox: &Sandbox, option: &str) -> Vec<String> {
    let said = sandbox.expect(2, &format!("swarm plan {option} nothing-of-this-name")).stderr;
    let (_, list) = said.split_once(": use ").unwrap_or_else(|| panic!("{option}: {said}"));
    let list = list.lines().next().unwrap().trim_start_matches("one of ").replace(" or ", ", ");
    list.split(", ").map(|value| value.trim().to_owned()).collect()
}

#[test]
#[ignore = "needs Open MPI and MPICH; scripts/test runs it"]
fn every_policy_moves_the_same_bytes() {
    let sandbox = Sandbox::new();
    for option in [
        "--profile",
        "--sources",
        "--pieces",
        "--tracker-order",
        "--tracker-map",
        "--choker",
        "--refresh-scope",
    ] {
        for value in values(&sandbox, option) {
            let words = format!("{option} {value}");
            assert!(RUNS.iter().any(|run| run.contains(&words)), "no run has {words}");
        }
    }
    let course = plans::course(&sandbox, "course");
    let folders = plans::folders(&sandbox, "folders", 64 << 10);
    let mpis = Mpi::all();
    for (index, options) in RUNS.iter().enumerate() {
        let plans = [("course", &course), ("folders", &folders)];
        for (other, (name, plan)) in plans.into_iter().enumerate() {
            let out = format!("out{index}-{name}");
            let line = format!("swarm {name} --out {out} --piece-size 64KiB --quiet {options}");
            let mpi = &mpis[(index + other) % mpis.len()];
            let done = Job::new(&sandbox, mpi, plan.ranks, &line).expect(0);
            assert_eq!(done.stdout, "", "{line}");
            plan.check(&sandbox, &out);
        }
    }
}
