//! Owners who disagree: refused with names, or settled by the lowest rank.

use crate::common::{Course, Sandbox, data, same};

#[test]
fn a_course_plan_names_file_ranks_and_piece() {
    let sandbox = Sandbox::new();
    Course::new(&[("f", 5)]).peer("f", "").peer("", "f").write(&sandbox, "plan");
    sandbox.write("plan/in3.txt", "1\nf 5\nf-0000\nf-0001\nother\nrepeated\nf-0004\n0\n");
    sandbox.write("plan/client2_f", "earlier\n");
    let done = sandbox.expect(4, "swarm plan");
    for part in ["f", "1", "3", "piece 2", "--on-conflict"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    assert_eq!(sandbox.files("plan")["client2_f"], b"earlier\n", "nothing was overwritten");
    let document = sandbox.json(4, "swarm plan");
    assert_eq!((&document["schema"], &document["ok"]), (&1.into(), &false.into()));
    assert_eq!(document["error"]["kind"], "input");
    sandbox.expect(0, "swarm plan --on-conflict lowest-rank --out out");
    let text = String::from_utf8(sandbox.files("out")["client2_f"].clone()).unwrap();
    assert!(text.split_whitespace().eq(["f-0000", "f-0001", "f-0002", "repeated", "f-0004"]));
}

#[test]
fn real_files_too() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", data(1, 200_000));
    sandbox.write("plan/peer2/a", data(2, 200_000));
    sandbox.write("plan/peer3/wants", "a");
    let done = sandbox.expect(4, "swarm plan");
    assert!(done.stderr.contains("--on-conflict"), "{}", done.stderr);
    assert!(!sandbox.path("plan/peer3/a").exists());
    sandbox.expect(0, "swarm plan --on-conflict lowest-rank");
    same(&sandbox.path("plan/peer1/a"), &sandbox.path("plan/peer3/a"));
    assert_eq!(std::fs::read(sandbox.path("plan/peer2/a")).unwrap(), data(2, 200_000));
}
