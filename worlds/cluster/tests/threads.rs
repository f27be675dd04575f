//! The threads of a rank, as the system sees them. One test: other ranks of this process would have
//! threads of the same names.

#[path = "runs/common/mod.rs"]
mod common;

use common::Run;
use dunlin_base::{Rank, Rate};
use dunlin_cluster::{FabricKind, Fault, RunControl, run};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// No healthy run takes that long.
const LIMIT: Duration = Duration::from_secs(60);

/// The names of the threads of this process.
fn threads() -> BTreeSet<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread may end between the two looks.
        let bytes = std::fs::read(task.ok()?.path().join("comm")).ok()?;
        String::from_utf8(bytes).ok()
    };
    tasks.filter_map(name).map(|name| name.trim().to_owned()).collect()
}

fn wait_for(what: &str, limit: Duration, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < limit, "waited in vain for {what}: {:?}", threads());
        std::thread::yield_now();
    }
}

#[test]
fn the_download_thread_ends_with_all_complete_and_the_upload_thread_serves_on() {
    let words: usize = 400;
    let setup = Run::course(&[(&format!("a:{words} b:1"), ""), ("", "b"), ("", "a")]);
    let control = RunControl::new();
    let setup = setup.with(|config| {
        config.fabric = FabricKind::Memory;
        // A token of `a` is 6 bytes: the run is far from its end when rank 2 is done.
        config.faults = vec![Fault::Slow { rank: Rank(1), rate: Rate(60) }];
    });
    let trace = setup.trace.clone();
    let (config, stop) = (setup.config, control.clone());
    let running = std::thread::spawn(move || run(config, &control));
    let done = r#""from":2,"to":0,"msg":"all-complete""#;
    wait_for("all complete", LIMIT, || trace.text().contains(done));
    // Rank 1 wants nothing: it is complete at once.
    for (ended, serves) in [("r2-download", "r2-upload"), ("r1-download", "r1-upload")] {
        wait_for(ended, Duration::from_secs(1), || !threads().contains(ended));
        let others = threads();
        assert!(others.contains(serves) && others.contains("r3-download"), "{others:?}");
    }
    let before = trace.text().matches("verified").count();
    wait_for("rank 1 to serve on", LIMIT, || trace.text().matches("verified").count() > before);
    stop.interrupt();
    assert!(running.join().expect("no panic").interrupted);
}
