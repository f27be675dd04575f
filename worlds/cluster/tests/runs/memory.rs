//! The threaded driver, on small swarms.

use crate::common::{Run, content};
use dunlin_base::Rank;
use dunlin_cluster::{
    FabricKind, Fault, FoundFile, PeerConfig, PeerContent, PeerState, RunConfig, RunControl, run,
};
use dunlin_disk::RealFs;
use dunlin_plan::{Have, Pattern};
use std::sync::Arc;

fn threaded(run: Run) -> Run {
    run.with(|config| config.fabric = FabricKind::Memory)
}

#[test]
fn tokens_and_files() {
    let plan = [("a:25 b:12", "c"), ("c:30", "a b"), ("", "a b c")];
    let done = threaded(Run::course(&plan)).go().ok();
    done.has_tokens(3, "c", 30);
    let done =
        threaded(Run::files(&[("big:3000000 s/x:5", ""), ("", "**"), ("", "big")])).go().ok();
    done.has_file(2, "big", 3_000_000);
    done.has_file(2, "s/x", 5);
    done.has_file(3, "big", 3_000_000);
}

#[test]
fn a_tiny_budget() {
    let run = threaded(Run::files(&[("big:3000000", ""), ("", "big"), ("", "big"), ("", "big")]));
    let done = run.with(|config| config.memory = 1 << 20).go().ok();
    (2..=4).for_each(|rank| done.has_file(rank, "big", 3_000_000));
}

#[test]
fn many_ranks_at_once() {
    let mut plan = vec![("a:10 b:10", "")];
    plan.extend(std::iter::repeat_n(("", "a b"), 60));
    let done = threaded(Run::course(&plan)).with(|config| config.trace = None).go().ok();
    (2..=61).for_each(|rank| done.has_tokens(rank, "b", 10));
}

#[test]
fn a_mute_rank_ends_the_run_too() {
    let run = threaded(Run::course(&[("a:5", ""), ("", "a"), ("", "a")])).with(|config| {
        config.faults = vec![Fault::Mute { rank: Rank(3) }];
        config.start_timeout = std::time::Duration::from_millis(300);
    });
    let done = run.go();
    assert_eq!(done.report.exit_code(), 1);
    assert_eq!(done.peer(3).state, PeerState::Absent);
    done.has_tokens(2, "a", 5);
}

#[test]
fn an_interrupt_ends_it_and_the_next_run_goes_on() {
    let run = threaded(Run::files(&[("big:3000000", ""), ("", "big")])).with(|config| {
        // A rank that never registers holds the start barrier, so nothing can be over before.
        config.faults = vec![Fault::Mute { rank: Rank(1) }];
    });
    let control = RunControl::new();
    control.interrupt();
    let report = dunlin_cluster::run(run.config, &control);
    assert_eq!(report.exit_code(), 9, "{:#}", report.to_json());
    let done = threaded(Run::again(run.disk, &["", "big"])).go().ok();
    done.has_file(2, "big", 3_000_000);
}

#[test]
fn on_a_real_disk() {
    let folder = tempfile::tempdir().expect("tempdir");
    let bytes = content("big", 5_000_000);
    let root = |rank: u32| folder.path().join(format!("peer{rank}"));
    std::fs::create_dir_all(root(1)).expect("folder");
    std::fs::write(root(1).join("big"), &bytes).expect("write");
    let mut config = RunConfig::bittorrent(Arc::new(RealFs));
    let found = FoundFile { name: "big".into(), path: root(1).join("big"), length: 5_000_000 };
    for rank in 1..=4 {
        let (found, wants) = match rank {
            1 => (vec![found.clone()], vec![]),
            _ => (vec![], vec![Pattern::parse("*").expect("pattern")]),
        };
        let content = PeerContent::Files {
            placement: None,
            root: root(rank),
            dest: root(rank),
            found,
            found_dest: vec![],
            have: Have::Everything,
            wants,
        };
        config.peers.push(PeerConfig { rank: Rank(rank), content });
    }
    let report = run(config, &RunControl::new());
    assert!(report.ok(), "{:#}", report.to_json());
    for rank in 2..=4 {
        assert!(std::fs::read(root(rank).join("big")).expect("read") == bytes);
        assert_eq!(std::fs::read_dir(root(rank)).expect("list").count(), 1, "nothing else is left");
    }
}
