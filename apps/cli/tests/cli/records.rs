//! A trace or dump that cannot be made is an error before anything moves.

use crate::common::{Course, Sandbox};

#[test]
fn a_path_that_cannot_be_made_is_named() {
    let sandbox = Sandbox::new();
    Course::new(&[("f", 5)]).peer("f", "").peer("", "f").write(&sandbox, "plan");
    sandbox.write("file", "");
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    let cases = [
        "--trace nowhere/t",
        "--trace folder",
        "--dump-tracker nowhere/t.json",
        "--dump-tracker folder",
        "--dump-peers file/peers",
    ];
    for options in cases {
        let done = sandbox.expect(5, &format!("swarm plan --out out {options}"));
        let (option, path) = options.split_once(' ').unwrap();
        assert!(done.stderr.contains(option) && done.stderr.contains(path), "{}", done.stderr);
        assert!(!sandbox.path("out").exists(), "{options}: something moved");
    }
    assert_eq!(sandbox.tree("folder"), Vec::<String>::new());
}

#[test]
fn a_failed_run_leaves_no_unfinished_dump() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", "one");
    sandbox.write("plan/peer2/a", "two");
    sandbox.write("plan/peer3/wants", "a");
    sandbox.expect(4, "swarm plan --dump-tracker t.json --dump-peers peers");
    let left = sandbox.tree("");
    assert!(!left.iter().any(|name| name.ends_with("dunlin-part")), "{left:?}");
}
