//! A complete file of other content in place is refused before anything moves, unless `--force`.

use crate::common::{Sandbox, data, same};

#[test]
fn what_stands_in_the_way_is_named_and_kept() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", data(1, 100_000));
    sandbox.write("plan/peer1/b", data(2, 100_000));
    sandbox.write("plan/peer2/wants", "a\nb");
    sandbox.write("out/peer2/a", "something else");
    let before = sandbox.files("out");
    let done = sandbox.expect(4, "swarm plan --out out");
    assert!(done.stderr.contains("--force") && done.stderr.contains('a'), "{}", done.stderr);
    assert!(before == sandbox.files("out"), "nothing moved");
    sandbox.expect(0, "swarm plan --out out --force");
    for name in ["a", "b"] {
        same(&sandbox.path("plan/peer1").join(name), &sandbox.path("out/peer2").join(name));
    }
}

#[test]
fn a_right_file_in_place_is_not_in_the_way() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", data(1, 100_000));
    sandbox.write("plan/peer2/wants", "a");
    sandbox.write("out/peer2/a", data(1, 100_000));
    let report = sandbox.json(0, "swarm plan --out out");
    assert_eq!(report["bytes_moved"], 0);
}
