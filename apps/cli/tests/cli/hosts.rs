//! Ranks that dunlin starts on hosts itself, over a stand-in for ssh that runs the command here.

use crate::common::{Sandbox, data, number, peer, same, text};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Writes down how it was called, and runs the command; the host `gone` cannot be reached.
const SSH: &str = r#"#!/bin/sh
host=$1; shift
echo "$host $*" >> calls
if [ "$host" = gone ]; then echo "no route to host" >&2; exit 255; fi
exec sh -c "$*"
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let ssh = sandbox.write("ssh", SSH);
    fs::set_permissions(ssh, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.write("src/m/a", data(1, 700_000));
    sandbox.write("src/m/b", data(2, 9_000));
    sandbox
}

#[test]
fn every_host_gets_a_rank_and_what_is_cast() {
    let sandbox = sandbox();
    let line = "cast src/m dst/{host} --hosts n[1-3] --ssh ./ssh --from 0 --per-rank";
    let report = sandbox.json(0, line);
    for host in ["n1", "n2", "n3"] {
        same(&sandbox.path("src/m/a"), &sandbox.path(&format!("dst/{host}/m/a")));
        same(&sandbox.path("src/m/b"), &sandbox.path(&format!("dst/{host}/m/b")));
    }
    let names: Vec<String> = fs::read_dir(sandbox.path("dst"))
        .unwrap()
        .map(|one| one.unwrap().path())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 3, "rank 0 only gives: {names:?}");
    assert_eq!(number(&report["bytes_moved"]), 3 * 709_000);
    assert_eq!(
        (&peer(&report, 2)["host"], &peer(&report, 2)["state"]),
        (&"n2".into(), &"complete".into())
    );
    // Nothing secret stands in a command line, and all of them are alike.
    let calls = text(&sandbox.path("calls")).unwrap();
    let mut commands: Vec<&str> =
        calls.lines().map(|call| call.split_once(' ').unwrap().1).collect();
    commands.dedup();
    assert_eq!(commands.len(), 1, "{calls}");
    assert!(commands[0].contains("join -"), "{calls}");
    let digits = |word: &str| word.len() >= 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(!calls.split(|c: char| !c.is_ascii_alphanumeric()).any(digits), "{calls}");
}

#[test]
fn a_host_that_cannot_be_reached_is_named_and_the_others_go_on() {
    let sandbox = sandbox();
    sandbox.write("hosts", "n1 slots=1  # the first\ngone\n\nn2\n");
    let line = "cast src/m dst/{host} --hostfile hosts --ssh ./ssh --from 0 --start-timeout 50s";
    let done = sandbox.expect(1, &format!("{line} --json"));
    let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(peer(&report, 2)["state"], "absent", "{report}");
    assert_eq!(peer(&report, 2)["host"], "gone");
    assert!(done.stderr.contains("gone: no route to host"), "{}", done.stderr);
    assert!(done.stderr.contains("rank 2 (gone) never registered"), "{}", done.stderr);
    assert!(report["seconds"].as_f64().unwrap() < 40.0, "nobody waited for it");
    for host in ["n1", "n2"] {
        same(&sandbox.path("src/m/a"), &sandbox.path(&format!("dst/{host}/m/a")));
    }
}

#[test]
fn a_look_at_hosts_says_nothing_of_those_that_do_not_answer() {
    let sandbox = sandbox();
    let cast = "cast src/m dst/{host} --ssh ./ssh --from 0 --start-timeout 50s";
    sandbox.expect(0, &format!("{cast} --hosts n1,n2"));
    let line = format!("{cast} --hosts n1,gone,n2");
    for look in ["--verify-only", "--check"] {
        let done = sandbox.expect(1, &format!("{line} {look}"));
        assert!(!done.stdout.contains("as it should be"), "{look}: {}", done.stdout);
        assert!(!done.stdout.contains("in all"), "{look}: {}", done.stdout);
        assert!(done.stderr.contains("rank 2 (gone) never registered"), "{}", done.stderr);
        let report = sandbox.json(1, &format!("{line} {look}"));
        assert_eq!(report["ok"], false, "{report}");
        let rank = &report["unanswered"][0];
        assert_eq!((&rank["rank"], &rank["host"]), (&2.into(), &"gone".into()), "{report}");
        assert_eq!(rank["state"], "absent");
    }
    let whole = sandbox.json(0, &format!("{cast} --hosts n1,n2 --verify-only"));
    assert_eq!(whole["unanswered"], serde_json::json!([]));
}

#[test]
fn a_plan_of_hosts_is_placed_on_them() {
    let sandbox = sandbox();
    let plan = "[[node]]\nranks = \"0\"\nroot = \"src\"\nhave = [\"**\"]\n\
                [[node]]\nhosts = \"n1,n2,n7\"\nroot = \"w/{host}\"\nwant = [\"m/*\"]\n";
    sandbox.write("plan.toml", plan);
    let done = sandbox.expect(1, "place plan.toml --hosts n1,n2 --ssh ./ssh");
    let said = "plan.toml:5: expected hosts of this job, found host n7, where no rank runs";
    assert!(done.stderr.contains(said), "{}", done.stderr);
    for host in ["n1", "n2"] {
        same(&sandbox.path("src/m/a"), &sandbox.path(&format!("w/{host}/m/a")));
    }
    let done = sandbox.expect(6, "place plan.toml --hosts n1,n2 --ssh ./ssh --verify-only");
    assert!(done.stderr.contains("n7"), "{}", done.stderr);
}

#[test]
fn nobody_else_can_use_join() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.expect(3, "join -").stdout, "");
    sandbox.expect(2, "join elsewhere");
    assert!(!sandbox.expect(0, "--help").stdout.contains("join"));
}
