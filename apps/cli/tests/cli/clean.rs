//! `dunlin clean PATH`: leftovers go, finished files and running ones stay.

use crate::common::{Sandbox, data, end, wait_for};

#[test]
fn leftovers_are_listed_and_removed() {
    let sandbox = Sandbox::new();
    sandbox.write("out/peer1/done.bin", "done");
    sandbox.write("out/peer1/.big.bin.dunlin-part", "half");
    sandbox.write("out/peer2/deep/.x.dunlin-part", "half");
    let listed = sandbox.expect(0, "clean out --dry-run");
    assert_eq!(listed.stdout.lines().count(), 2, "{}", listed.stdout);
    assert!(listed.stderr.contains("nothing was removed"));
    assert!(sandbox.path("out/peer1/.big.bin.dunlin-part").exists());
    let removed = sandbox.expect(0, "clean out");
    assert_eq!(removed.stdout, listed.stdout);
    assert!(!sandbox.path("out/peer1/.big.bin.dunlin-part").exists());
    assert!(sandbox.path("out/peer1/done.bin").exists());
    let again = sandbox.expect(0, "clean out");
    assert!(again.stdout.is_empty() && again.stderr.contains("nothing to clean"));
}

#[test]
fn what_a_run_is_using_stays() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/big", data(1, 4 << 20));
    sandbox.write("plan/peer2/wants", "big");
    let mut run = sandbox.start("swarm plan --fault slow=1:100kB");
    let part = sandbox.path("plan/peer2/.big.dunlin-part");
    wait_for("a part file", || part.exists().then_some(()));
    let done = sandbox.expect(4, "clean plan");
    assert!(done.stderr.contains(&run.id().to_string()), "{}", done.stderr);
    assert!(part.exists());
    run.kill().unwrap();
    end(run);
    sandbox.expect(0, "clean plan");
    assert!(!part.exists() && !sandbox.path("plan/peer2/.dunlin").exists());
}

#[test]
fn a_path_that_is_not_there_is_bad_input() {
    let done = Sandbox::new().expect(4, "clean nowhere");
    assert!(done.stderr.contains("nowhere"));
}
