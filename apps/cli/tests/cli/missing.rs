//! What nobody has fails by itself: all else completes, exit 1, with the name and the reason.

use crate::common::{Course, Sandbox, complete, data, peer, same};

#[test]
fn a_wanted_file_that_nobody_owns() {
    let sandbox = Sandbox::new();
    let plan = Course::new(&[("f", 20)]).peer("f", "ghost").peer("", "f ghost").peer("", "f");
    plan.write(&sandbox, "plan");
    for profile in ["course", "bittorrent"] {
        let line = format!("swarm plan --profile {profile} --out {profile}");
        let report = sandbox.json(1, &line);
        plan.check(&sandbox, profile);
        assert!(complete(&report, 3) && !complete(&report, 2));
        let files = peer(&report, 2)["files"].as_array().unwrap();
        let ghost = files.iter().find(|file| file["name"] == "ghost").unwrap();
        assert_eq!(ghost["state"], "failed");
        assert!(!ghost["reason"].as_str().unwrap().is_empty());
    }
    let done = sandbox.expect(1, "swarm plan --out out");
    assert!(done.stdout.contains("ranks 1, 2: ghost failed"), "{}", done.stdout);
    assert!(done.stderr.contains("ghost"), "{}", done.stderr);
}

#[test]
fn a_glob_that_matches_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", data(1, 50_000));
    sandbox.write("plan/peer2/wants", "a\nghost/**\n");
    let report = sandbox.json(1, "swarm plan");
    same(&sandbox.path("plan/peer1/a"), &sandbox.path("plan/peer2/a"));
    let files = peer(&report, 2)["files"].as_array().unwrap();
    assert!(files.iter().any(|file| file["name"] == "ghost/**" && file["state"] == "failed"));
}
