//! Ranks that die, and ranks that come back.

use crate::common::{Sandbox, complete, peer};
use crate::job::{Job, codes, document, one_owner};
use std::time::{Duration, Instant};

#[test]
fn one_rank_dies_and_the_others_complete() {
    let sandbox = Sandbox::new();
    let content = one_owner(&sandbox, 5, 12_000_000);
    let mut job = Job::start(&sandbox, 5, "--fault slow=1:6MB");
    job.wait_for_bytes(3, "file", 1_000_000);
    job.kill(3);
    let done = job.end();
    assert_eq!(codes(&done), [1, 0, 0, -2, 0], "{done:?}");
    for rank in [2, 4] {
        assert!(std::fs::read(job.file(rank, "file")).unwrap() == content);
    }
    let report = document(&done);
    assert_eq!(peer(&report, 3)["state"], "dead", "{report}");
    assert!(complete(&report, 2) && complete(&report, 4));
    let said = &done[0].as_ref().unwrap().stderr;
    assert!(said.contains("rank 3 died"), "{said}");
}

#[test]
fn a_rank_that_is_started_again_completes() {
    let sandbox = Sandbox::new();
    let content = one_owner(&sandbox, 4, 24_000_000);
    let mut job = Job::start(&sandbox, 4, "--fault slow=1:4MB");
    job.wait_for_bytes(3, "file", 2_000_000);
    job.kill(3);
    job.again(3);
    let done = job.end();
    assert_eq!(codes(&done), [0; 4], "{done:?}");
    for rank in [2, 3] {
        assert!(std::fs::read(job.file(rank, "file")).unwrap() == content);
    }
    let report = document(&done);
    assert_eq!(peer(&report, 3)["state"], "complete", "{report}");
    let said = &done[0].as_ref().unwrap().stderr;
    assert!(said.contains("rank 3 died") && said.contains("rank 3 is back"), "{said}");
}

#[test]
fn without_rank_0_the_others_take_what_there_is_and_say_so() {
    let sandbox = Sandbox::new();
    let content = one_owner(&sandbox, 4, 12_000_000);
    let mut job = Job::start(&sandbox, 4, "--fault slow=1:6MB");
    job.wait_for_bytes(2, "file", 1_000_000);
    job.wait_for_bytes(3, "file", 1_000_000);
    job.kill(0);
    let killed = Instant::now();
    let done = job.end();
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());
    assert_eq!(codes(&done), [-2, 7, 7, 7], "{done:?}");
    for (rank, one) in done.iter().enumerate().skip(1) {
        let said = &one.as_ref().unwrap().stderr;
        assert!(said.contains("rank 0, the tracker, is gone"), "{rank}: {said}");
    }
    for rank in [2, 3] {
        assert!(std::fs::read(job.file(rank, "file")).unwrap() == content, "{rank} was finished");
    }
    // The same job again finds everything in place.
    let done = Job::start(&sandbox, 4, "").end();
    assert_eq!(codes(&done), [0; 4], "{done:?}");
    assert_eq!(document(&done)["bytes_moved"], 0);
}
