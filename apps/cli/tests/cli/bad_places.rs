//! Plans that cannot be placed as they stand: each fault is said clearly, the rest is placed, and
//! nothing is lost.

use crate::common::{Sandbox, data};
use std::fs;

/// A node: who, where, and its other lines.
fn node(who: &str, root: &str, rest: &str) -> String {
    let key = if who.contains(|c: char| c.is_ascii_alphabetic()) { "hosts" } else { "ranks" };
    format!("[[node]]\n{key} = \"{who}\"\nroot = \"{root}\"\n{rest}\n")
}

/// Rank 0 has a folder `c` and a file `f`; rank 1 wants both and gets them, whatever else is wrong.
fn sandbox(rest: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("src/c/a", data(1, 40_000));
    sandbox.write("src/f", data(2, 40_000));
    sandbox.write("other/f", data(3, 40_000));
    sandbox.write("old/f", "keep me");
    let plan = node("0", "src", "have = [\"**\"]") + &node("1", "good", "want = [\"c/**\"]") + rest;
    sandbox.write("plan.toml", plan);
    sandbox
}

fn check(rest: &str, options: &str, parts: &[&str]) -> Sandbox {
    let sandbox = sandbox(rest);
    let done = sandbox.expect(1, &format!("place plan.toml {options}"));
    for part in parts {
        assert!(done.stderr.contains(part), "{rest}\nexpected {part}\n{}", done.stderr);
    }
    crate::common::same(&sandbox.path("src/c/a"), &sandbox.path("good/c/a"));
    assert_eq!(crate::common::text(&sandbox.path("old/f")).as_deref(), Some("keep me"));
    sandbox
}

#[test]
fn a_rank_or_host_that_the_job_does_not_have() {
    let want = "want = [\"f\"]";
    let unknown = node("7-9", "w/{rank}", want);
    check(
        &unknown,
        "--ranks 3",
        &["plan.toml:9: expected ranks of this job, 0 to 2, found ranks 7"],
    );
    let unknown = node("q[1-2]", "w/{host}", want);
    check(&unknown, "", &["plan.toml:9: expected hosts of this job, found hosts q1, q2, where no"]);
}

#[test]
fn places_that_overlap() {
    for (one, two) in [("w", "w/in"), ("w/in", "w"), ("w", "w")] {
        let rest = node("2", one, "want = [\"f\"]") + &node("3", two, "want = [\"c/**\"]");
        let parts = ["rank 3: c/** failed: plan.toml:13: expected separate places", "(line 9)"];
        let sandbox = check(&rest, "", &parts);
        assert!(sandbox.path(one).join("f").exists(), "the first is placed");
        assert!(!sandbox.path(two).join("c").exists());
    }
}

#[test]
fn a_rank_that_two_nodes_cover() {
    let rest = node("2", "w", "want = [\"f\"]") + &node("h2", "v", "want = [\"f\"]");
    let parts = ["plan.toml:13: expected one [[node]] for every rank, found rank 2 (host `h2`)"];
    check(&rest, "--host-names h0,h1,h2", &parts);
}

#[test]
fn names_that_nobody_has() {
    let rest = node("2", "w", "want = [\"f\", \"gone\", \"no/**\"]");
    let sandbox = check(&rest, "", &["rank 2: gone failed: nobody has it", "no/** failed: nobody"]);
    assert!(sandbox.path("w/f").exists());
}

#[test]
fn holders_that_differ() {
    let rest = node("2", "other", "have = [\"f\"]") + &node("3", "old", "want = [\"f\", \"c/*\"]");
    let sandbox = check(&rest, "", &["rank 3: f failed: ", "rank 0 and rank 2"]);
    assert!(sandbox.path("old/c/a").exists());
}

#[test]
fn a_pin_that_nobody_wants_or_nobody_meets() {
    let pin = |path: &str| format!("[[pin]]\npath = \"{path}\"\nsha256 = \"{}\"\n", "a".repeat(64));
    check(&pin("f"), "", &["plan.toml:10: expected a pin of a wanted file, found `f`"]);
    let rest = node("2", "old", "want = [\"f\"]") + &pin("f");
    check(&rest, "", &["rank 2: f failed: ", &"a".repeat(64)]);
}

#[test]
fn a_file_where_a_folder_must_be() {
    let rest = node("2", "old/f", "want = [\"f\"]") + &node("3", "w", "want = [\"f\"]");
    let sandbox = check(&rest, "", &["old/f: expected a folder or nothing, found a file"]);
    assert!(sandbox.path("w/f").exists());
    let sandbox = sandbox_with_file(&node("2", "w", "want = [\"c/**\", \"f\"]"), "w/c");
    let done = sandbox.expect(1, "place plan.toml");
    assert!(done.stderr.contains("rank 2: c/a failed: "), "{}", done.stderr);
    assert_eq!(crate::common::text(&sandbox.path("w/c")).as_deref(), Some("in the way"));
    assert!(sandbox.path("w/f").exists(), "the rest is placed");
}

fn sandbox_with_file(rest: &str, file: &str) -> Sandbox {
    let sandbox = sandbox(rest);
    sandbox.write(file, "in the way");
    sandbox
}

#[test]
fn a_source_that_cannot_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = sandbox(&node("2", "w", "want = [\"f\", \"c/*\"]"));
    let path = sandbox.path("src/f");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        return; // Root reads everything.
    }
    let done = sandbox.expect(1, "place plan.toml");
    assert!(done.stderr.contains("rank 2: f failed: rank 0 cannot read it"), "{}", done.stderr);
    assert!(sandbox.path("w/c/a").exists());
}

#[test]
fn faults_of_the_plan_itself_are_bad_input() {
    let cases = [
        ("", "plan.toml:1: expected at least one [[node]]"),
        ("[[node]]\nranks = \"x\"", "plan.toml:2: expected ranks and ranges of them, from 0"),
        ("[[node]]\nranks = \"0\"\nroot = \"a/../b\"", "plan.toml:3: expected a folder"),
        ("[[node]]\nranks = \"0\"\nroot = \"/\"", "plan.toml:3: expected a folder"),
        ("[[node]]\nranks = \"0\"\nroot = \"a\"\nrack = \"\"", "plan.toml:4: expected a label"),
        ("[[pin]]\npath = \"a\"\nsha256 = \"12\"", "plan.toml:3: expected 64 hexadecimal digits"),
        ("[[pin]]\npath = \"../a\"", "plan.toml:2: expected the name of a file"),
        ("[[pins]]", "plan.toml:1: expected [[generate]], [[node]] or [[pin]], found `pins`"),
    ];
    for (text, start) in cases {
        let sandbox = Sandbox::new();
        sandbox.write("plan.toml", text);
        let done = sandbox.expect(4, "place plan.toml");
        assert!(done.stderr.starts_with(&format!("error: {start}")), "{text}\n{}", done.stderr);
    }
    let sandbox = Sandbox::new();
    sandbox.write("empty/x", "");
    assert!(sandbox.expect(4, "place empty").stderr.contains("found a folder without plan.toml"));
    assert!(sandbox.expect(4, "place gone").stderr.contains("found nothing there"));
}
