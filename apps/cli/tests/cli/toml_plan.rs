//! `plan.toml`: generated data, roots, have and want.

use crate::common::{Sandbox, number, peer, same};

const PLAN: &str = r#"
[[generate]]
path = "work/1/big.bin"
size = "3MiB"
seed = 7
[[generate]]
path = "work/1/tree/a"
size = "10kB"
seed = 8
[[generate]]
path = "work/2/tree/b"
size = "20kB"
seed = 9

[[node]]
ranks = "1"
root = "work/{rank}"
have = ["**"]
[[node]]
ranks = "2"
root = "work/{rank}"
have = ["tree/**"]
want = ["big.bin", "tree/a"]
[[node]]
ranks = "3-4"
root = "work/{rank}"
want = ["**"]
"#;

fn check(sandbox: &Sandbox, root: impl Fn(u32) -> String) {
    for rank in [3, 4] {
        let root = root(rank);
        same(&sandbox.path("plan/work/1/big.bin"), &sandbox.path(&format!("{root}/big.bin")));
        same(&sandbox.path("plan/work/1/tree/a"), &sandbox.path(&format!("{root}/tree/a")));
        same(&sandbox.path("plan/work/2/tree/b"), &sandbox.path(&format!("{root}/tree/b")));
    }
}

#[test]
fn data_is_generated_and_moved() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/plan.toml", PLAN);
    let report = sandbox.json(0, "swarm plan");
    check(&sandbox, |rank| format!("plan/work/{rank}"));
    assert_eq!(peer(&report, 2)["files"].as_array().unwrap().len(), 2);
    assert!(number(&report["bytes_moved"]) >= 3 * (3 << 20));
    let done = sandbox.expect(0, "swarm plan/plan.toml");
    assert!(done.stderr.contains("there already"), "{}", done.stderr);
    let paths = "plan/work/3/big.bin plan/work/3/tree plan/work/4/big.bin plan/work/4/tree";
    assert!(done.stderr.contains(paths), "{}", done.stderr);
}

#[test]
fn with_out_each_peer_has_a_folder() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/plan.toml", PLAN);
    sandbox.expect(0, "swarm plan --out out --seed 3");
    check(&sandbox, |rank| format!("out/peer{rank}"));
    assert!(!sandbox.path("plan/work/3").exists());
}

#[test]
fn what_stands_where_data_should_be_made_is_never_overwritten() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/plan.toml", PLAN);
    sandbox.write("plan/work/1/big.bin", "mine");
    let done = sandbox.expect(4, "swarm plan");
    assert!(done.stderr.contains("big.bin"), "{}", done.stderr);
    assert_eq!(std::fs::read(sandbox.path("plan/work/1/big.bin")).unwrap(), b"mine");
}

#[test]
fn a_have_pattern_without_a_file_is_a_warning() {
    let sandbox = Sandbox::new();
    let slip = PLAN.replace("have = [\"tree/**\"]", "have = [\"tree/**\", \"tre/*\"]");
    sandbox.write("plan/plan.toml", slip);
    let text = "warning: plan/plan.toml: rank 2: the `have` pattern `tre/*` matches no file";
    for line in ["swarm plan --check", "swarm plan", "swarm plan/plan.toml --out out"] {
        let done = sandbox.expect(0, line);
        assert!(done.stderr.contains(text), "{line}: {}", done.stderr);
        assert_eq!(done.stderr.matches("matches no file").count(), 1, "{line}: {}", done.stderr);
    }
    assert!(!sandbox.expect(0, "swarm plan --quiet").stderr.contains("matches no file"));
}
