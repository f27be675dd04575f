//! Whole swarms over TCP: outputs, reports, and what is left behind.

use crate::common::{Course, Sandbox, complete, data, number, text, wait_for};
use crate::job::{Job, codes, document, one_owner};
use std::os::unix::fs::PermissionsExt;

#[test]
fn four_ranks_by_flags() {
    let sandbox = Sandbox::new();
    let content = one_owner(&sandbox, 4, 5_000_001);
    sandbox.write("plan/peer3/own", data(9, 70_000));
    sandbox.write("plan/peer2/wants", "file\nown\n");
    let mut job = Job::start(&sandbox, 4, "--trace trace");
    let done = job.end();
    assert_eq!(codes(&done), [0; 4], "{done:?}");
    let chart = sandbox.expect(0, "trace trace").stdout;
    assert!(chart.contains("register") && chart.contains("piece"), "the messages of all ranks");
    for rank in [2, 3] {
        assert!(std::fs::read(job.file(rank, "file")).unwrap() == content);
    }
    assert!(std::fs::read(job.file(2, "own")).unwrap() == data(9, 70_000));
    let report = document(&done);
    assert!(complete(&report, 2) && complete(&report, 3));
    assert_eq!(number(&report["bytes_moved"]), 2 * 5_000_001 + 70_000);
    assert!(done[1..].iter().flatten().all(|peer| peer.stdout.is_empty()), "rank 0 alone tells");
    assert!(!sandbox.path("key").exists(), "the key goes with the job");
}

#[test]
fn a_course_plan() {
    let sandbox = Sandbox::new();
    let course = Course::new(&[("a", 200), ("b", 30)])
        .peer("a", "b")
        .peer("b", "a")
        .peer("", "a b")
        .peer("", "b");
    course.write(&sandbox, "plan");
    let done = Job::start(&sandbox, 5, "--out out").end();
    assert_eq!(codes(&done), [0; 5], "{done:?}");
    course.check(&sandbox, "out");
}

#[test]
fn the_key_file_is_its_owners_alone() {
    let sandbox = Sandbox::new();
    one_owner(&sandbox, 3, 40_000_000);
    let mut job = Job::start(&sandbox, 3, "--fault slow=1:8MB");
    let mode = wait_for("the key", || std::fs::metadata(sandbox.path("key")).ok());
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    // Nobody can see it from outside.
    let text = text(&sandbox.path("key")).unwrap();
    let key = text.split("\"key\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(key.len(), 64);
    job.wait_for_bytes(2, "file", 1_000_000);
    for folder in std::fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            let bytes = std::fs::read(folder.path().join(file)).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&bytes).contains(&key), "{folder:?}/{file}");
        }
    }
    assert_eq!(codes(&job.end()), [0; 3]);
}

#[test]
fn a_key_file_of_an_earlier_job_does_no_harm() {
    let sandbox = Sandbox::new();
    let content = one_owner(&sandbox, 3, 3_000_000);
    let mut job = Job::start(&sandbox, 3, "--fault slow=1:1MB");
    job.wait_for_bytes(2, "file", 300_000);
    (0..3).for_each(|rank| job.kill(rank));
    assert!(sandbox.path("key").exists(), "nobody was left to remove it");
    let mut job = Job::start(&sandbox, 3, "");
    let done = job.end();
    assert_eq!(codes(&done), [0; 3], "{done:?}");
    assert!(std::fs::read(job.file(2, "file")).unwrap() == content);
    let moved = number(&document(&done)["bytes_moved"]);
    assert!(moved < 3_000_000, "{moved} bytes moved: it went on from what was there");
}
