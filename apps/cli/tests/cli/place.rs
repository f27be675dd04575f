//! `dunlin place`: every rank holds what the plan says, from whoever has it.

use crate::common::{Sandbox, data, number, peer, total};
use crate::trees::{flip, look};
use std::collections::BTreeMap;
use std::fs;

const PLAN: &str = r#"
[[node]]
ranks = "0"
root = "s/0"
have = ["**"]
[[node]]
ranks = "1"
root = "s/1"
have = ["m/**"]
want = ["cfg/*.toml"]
[[node]]
ranks = "2-3"
root = "w/{rank}"
want = ["m/***"]
[[node]]
ranks = "4"
root = "w/{rank}"
want = ["m/x/*", "cfg/**"]
[[node]]
ranks = "5"
root = "w/{rank}"
want = ["m/y/g[1-3]", "m/big"]
"#;

/// Six ranks, two sources with a half each and a file that both have.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for index in 1..7 {
        sandbox.write(&format!("s/0/m/x/f{index}"), data(index, 100_000));
        sandbox.write(&format!("s/1/m/y/g{index}"), data(10 + index, 60_000));
    }
    sandbox.write("s/0/cfg/a.toml", "a = 1\n");
    for rank in [0, 1] {
        sandbox.write(&format!("s/{rank}/m/big"), data(99, 2_000_000));
    }
    std::os::unix::fs::symlink("x/f1", sandbox.path("s/0/m/link")).unwrap();
    sandbox.write("plan.toml", PLAN);
    sandbox
}

fn names(sandbox: &Sandbox, root: &str) -> String {
    let files = look(&sandbox.path(root)).into_keys();
    let files = files.filter(|name| !sandbox.path(root).join(name).is_dir());
    files.collect::<Vec<_>>().join(" ")
}

#[test]
fn everyone_holds_what_the_plan_says() {
    for options in ["--per-rank", "", "--per-rank --fabric virtual"] {
        let sandbox = sandbox();
        let checked = sandbox.json(0, &format!("place plan.toml --check {options}"));
        assert!(!sandbox.path("w").exists() && !sandbox.path("s/1/cfg").exists());
        let planned = |field: &str| -> u64 {
            checked["plan"].as_array().unwrap().iter().map(|one| number(&one[field])).sum()
        };
        let report = sandbox.json(0, &format!("place plan.toml {options}"));
        assert_eq!(names(&sandbox, "w/5"), "m/big m/y/g1 m/y/g2 m/y/g3", "{options}");
        assert_eq!(names(&sandbox, "w/4"), "cfg/a.toml m/x/f1 m/x/f2 m/x/f3 m/x/f4 m/x/f5 m/x/f6");
        assert_eq!(names(&sandbox, "s/1/cfg"), "a.toml");
        for rank in [2, 3] {
            let found = look(&sandbox.path(&format!("w/{rank}/m")));
            let mut expected = look(&sandbox.path("s/0/m"));
            expected.append(&mut look(&sandbox.path("s/1/m")));
            let keys = |all: &BTreeMap<_, _>| all.keys().cloned().collect::<Vec<String>>();
            assert_eq!(keys(&found), keys(&expected), "{options}");
            for (name, seen) in found.iter().filter(|(name, _)| name.contains('/')) {
                assert_eq!(Some(seen), expected.get(name), "rank {rank}: {name}");
            }
        }
        let (moved, linked) = (total(&report, "bytes_moved"), total(&report, "bytes_linked"));
        assert!(moved.abs_diff(planned("bytes")) * 100 <= moved, "{options}: {moved} moved");
        assert!(linked.abs_diff(planned("bytes_linked")) * 100 <= linked, "{options}: {linked}");
        sandbox.expect(0, "place plan.toml --verify-only");
        let again = sandbox.json(0, &format!("place . {options}"));
        assert_eq!(total(&again, "bytes_moved") + total(&again, "bytes_linked"), 0, "{options}");
    }
}

#[test]
fn a_difference_is_found_and_repaired() {
    let sandbox = sandbox();
    // Otherwise ranks of this host would have one file together.
    sandbox.expect(0, "place plan.toml --per-rank");
    flip(&sandbox.path("w/3/m/big"), 777_777);
    fs::remove_dir_all(sandbox.path("w/4/cfg")).unwrap();
    let report = sandbox.json(6, "place plan.toml --verify-only");
    let differs = report["differs"].as_array().unwrap();
    let found: Vec<String> = differs
        .iter()
        .map(|one| format!("{} {}", number(&one["rank"]), one["name"].as_str().unwrap()))
        .collect();
    assert!(found.contains(&"3 m/big".to_owned()), "{found:?}");
    assert!(found.contains(&"4 cfg/a.toml".to_owned()), "{found:?}");
    assert!(found.iter().all(|one| one == "3 m/big" || one.starts_with("4 cfg")), "{found:?}");
    let report = sandbox.json(0, "place plan.toml --per-rank");
    assert!(number(&peer(&report, 3)["bytes_moved"]) * 100 < 2_000_000, "{report}");
    sandbox.expect(0, "place plan.toml --verify-only");
}

#[test]
fn nodes_may_be_hosts() {
    let sandbox = sandbox();
    let plan = r#"
[[node]]
ranks = "0"
root = "s/0"
have = ["**"]
[[node]]
hosts = "n[2-3]"
root = "w/{host}"
want = ["cfg/**"]
rack = "r1"
"#;
    sandbox.write("hosts.toml", plan);
    // Two ranks on n2 have one folder and one copy.
    let report = sandbox.json(0, "place hosts.toml --host-names n1,n2.cluster,n3,n2.cluster");
    assert_eq!(names(&sandbox, "w/n2.cluster"), "cfg/a.toml");
    assert_eq!(names(&sandbox, "w/n3"), "cfg/a.toml");
    assert_eq!(peer(&report, 3)["host"], "n2.cluster");
    assert_eq!(peer(&report, 3)["state"], "complete");
}

#[test]
fn a_pin_says_whose_file_is_right() {
    let sandbox = sandbox();
    sandbox.write("s/1/m/big", data(7, 2_000_000));
    sandbox.expect(1, "place plan.toml");
    assert!(!sandbox.path("w/2/m/big").exists(), "nobody knows which is right");
    assert!(sandbox.path("w/2/m/x/f1").exists(), "all else is placed");
    let sum = std::process::Command::new("sha256sum").arg(sandbox.path("s/0/m/big")).output();
    let hash = String::from_utf8(sum.unwrap().stdout).unwrap()[..64].to_owned();
    let pin = format!("[[pin]]\npath = \"m/big\"\nsha256 = \"{hash}\"\n");
    sandbox.write("plan.toml", format!("{PLAN}{pin}"));
    sandbox.expect(0, "place plan.toml");
    assert!(fs::read(sandbox.path("w/2/m/big")).unwrap() == data(99, 2_000_000));
    let wrong = pin.replace(&hash, &"0".repeat(64));
    sandbox.write("plan.toml", format!("{PLAN}{wrong}"));
    let done = sandbox.expect(1, "place plan.toml");
    assert!(done.stderr.contains(&"0".repeat(64)), "{}", done.stderr);
    assert!(fs::read(sandbox.path("w/2/m/big")).unwrap() == data(99, 2_000_000), "kept");
}

#[test]
fn test_data_of_a_plan_is_made_first() {
    let sandbox = Sandbox::new();
    let plan = r#"
[[generate]]
path = "a/big"
size = "300kB"
seed = 1
[[node]]
ranks = "0"
root = "a"
have = ["**"]
[[node]]
ranks = "1"
root = "b"
want = ["**"]
"#;
    sandbox.write("plan.toml", plan);
    let done = sandbox.expect(4, "place plan.toml --check");
    assert!(done.stderr.contains("not there yet"), "{}", done.stderr);
    sandbox.expect(0, "place plan.toml");
    crate::common::same(&sandbox.path("a/big"), &sandbox.path("b/big"));
}
