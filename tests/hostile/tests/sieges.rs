//! Sieges in virtual time.

#![allow(clippy::print_stdout, reason = "a soak prints what it saw")]

use dunlin_hostile::Kind;
use dunlin_hostile::siege::{Outcome, Plan, Siege};
use expect_test::expect_file;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Runs a siege; a panic in it is a failure of one line, too. With `DUNLIN_TRACE=FILE` everything
/// that happens is written there.
fn outcome(plan: Plan) -> Result<Outcome, String> {
    let mut siege = Siege::new(plan);
    let trace = std::env::var_os("DUNLIN_TRACE");
    siege.world.keeps_log = trace.is_some();
    let run = catch_unwind(AssertUnwindSafe(|| siege.run()));
    if let Some(path) = trace {
        std::fs::write(path, siege.world.log.join("\n")).unwrap();
    }
    run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default().replace('\n', " ")))
    })
}

/// Runs many on all cores, and fails with a line for each that failed.
fn all(what: &str, count: u64, plan: impl Fn(u64) -> Plan + Sync) {
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let plan = plan(number);
                    let seed = plan.seed;
                    if let Err(why) = outcome(plan) {
                        let line = format!("{what} {number}, seed {seed}: {why}");
                        failed.lock().unwrap().push(line);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "\n{}\n{} of {count} failed", failed.join("\n"), failed.len());
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn any_strangers() {
    let first = number("DUNLIN_SEED", 0);
    all("siege", number("DUNLIN_SEEDS", 12), |number| Plan::draw(first + number));
}

#[test]
fn each_kind_alone() {
    let kinds: Vec<Kind> = Kind::all();
    all("kind", kinds.len() as u64, |number| Plan::of_one(kinds[number as usize], number));
}

#[test]
fn slow_takers_that_are_more_than_upload_slots_keep_nobody_out() {
    for (kind, sources) in [(Kind::Sipper, 24), (Kind::Sipper, 60), (Kind::SlowReader, 24)] {
        let outcome = outcome(Plan::crowd(kind, sources, sources));
        let outcome = outcome.unwrap_or_else(|why| panic!("{sources} of {kind:?}: {why}"));
        assert_eq!(outcome.complete, 2, "{sources} of {kind:?}: {outcome:?}");
        // Ten seconds without anybody else, and a round or two until it is seen who is slow.
        let most = Duration::from_secs(40 + 50);
        assert!(outcome.took <= most, "{sources} of {kind:?}: {outcome:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_siege() {
    let run = || {
        let mut siege = Siege::new(Plan::draw(3));
        siege.world.keeps_log = true;
        (siege.run(), siege.world.log)
    };
    assert_eq!(run(), run());
}

/// The traces of a few are kept, by a digest.
#[test]
fn the_traces_that_are_kept() {
    let mut kept = String::new();
    for seed in 0..4 {
        let mut siege = Siege::new(Plan::draw(seed));
        siege.world.keeps_log = true;
        siege.run().unwrap();
        let log = siege.world.log.join("\n");
        let digest = dunlin_hostile::world::trace_text::digest(log.as_bytes());
        kept.push_str(&format!("seed {seed}: {} lines, {digest:016x}\n", log.lines().count()));
    }
    expect_file!["golden/sieges.txt"].assert_eq(&kept);
}

#[test]
#[ignore = "a day of virtual time; scripts/soak runs it"]
fn a_day() {
    let outcome =
        outcome(Plan::day(number("DUNLIN_SEED", 0))).unwrap_or_else(|why| panic!("a day: {why}"));
    println!("a day: {outcome:?}");
}
