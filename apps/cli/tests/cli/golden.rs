//! What scripts and readers rely on, held by files: the keys of `--json`, the trace of a run by its
//! seed, the head of the table, the exit codes. `UPDATE_EXPECT=1` writes the files anew.

use crate::common::{Course, Sandbox, text};
use expect_test::expect_file;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// One owner of two files, another of one, and ranks that want what others have.
fn plan(sandbox: &Sandbox) {
    Course::new(&[("long", 23), ("short", 5)])
        .peer("long short", "")
        .peer("short", "long")
        .peer("", "short long")
        .write(sandbox, "plan");
}

/// The path of every key in a document; what is named by a rank's number stands as `N`.
fn keys(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let key = if key.parse::<u64>().is_ok() { "N" } else { key };
                keys(value, &format!("{path}.{key}"), all);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().for_each(|value| keys(value, &format!("{path}[]"), all));
        }
        _ => _ = all.insert(path.trim_start_matches('.').to_owned()),
    }
}

#[test]
fn keys_of_reports() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    Course::new(&[("a", 2)]).peer("a", "").peer("", "a b").write(&sandbox, "missing");
    sandbox.write("tree/peer1/a", vec![1; 100_000]);
    sandbox.write("tree/peer2/wants", "a");
    let mut text = String::new();
    for (code, line) in [
        (0, "swarm plan"),
        (0, "swarm tree --check"),
        (0, "swarm tree"),
        (1, "swarm missing"),
        (4, "swarm nowhere"),
        (0, "cast tree/peer1/a out --ranks 3 --from 0"),
    ] {
        let mut all = BTreeSet::new();
        let done = sandbox.run(&format!("{line} --json"));
        assert_eq!(done.code, code, "{line}: {done:?}");
        keys(&serde_json::from_str(&done.stdout).unwrap(), "", &mut all);
        text.push_str(&format!("# {line}\n"));
        all.iter().for_each(|key| text.push_str(&format!("{key}\n")));
    }
    expect_file!["golden/keys.txt"].assert_eq(&text);
}

/// The whole trace: every message with its time, our names and the classic ones.
#[test]
fn a_trace_in_virtual_time() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    for (profile, file) in [
        ("course --refresh 3 --refresh-scope all --tracker-order least-busy", "course"),
        ("bittorrent", "bittorrent"),
        ("cluster", "cluster"),
    ] {
        let line = "swarm plan --fabric virtual --trace run.trace --force --profile";
        sandbox.expect(0, &format!("{line} {profile}"));
        let trace = text(&sandbox.path("run.trace")).unwrap();
        match file {
            "course" => expect_file!["golden/course.trace"].assert_eq(&trace),
            "bittorrent" => expect_file!["golden/bittorrent.trace"].assert_eq(&trace),
            _ => expect_file!["golden/cluster.trace"].assert_eq(&trace),
        }
        for output in fs::read_dir(sandbox.path("plan")).unwrap() {
            let output = output.unwrap().path();
            if output.file_name().unwrap().to_string_lossy().starts_with("client") {
                fs::remove_file(output).unwrap();
            }
        }
    }
}

#[test]
fn the_head_of_the_table() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let done = sandbox.expect(0, "swarm plan");
    let head: Vec<&str> = done.stdout.lines().next().unwrap().split_whitespace().collect();
    expect_file!["golden/head.txt"].assert_eq(&format!("{}\n", head.join(" ")));
}

#[test]
fn exit_codes() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    Course::new(&[("a", 2)]).peer("a", "").peer("", "a b").write(&sandbox, "missing");
    sandbox.write("bad/in1.txt", "no number\n");
    sandbox.write("two/peer1/a", "one");
    sandbox.write("two/peer2/a", "two");
    sandbox.write("two/peer3/wants", "a");
    sandbox.write("idle/peer1/a", vec![1; 100_000]);
    sandbox.write("idle/peer2/wants", "a");
    let mut text = String::new();
    for line in [
        "swarm plan",
        "swarm missing",
        "swarm --nonsense",
        "swarm plan --choker nobody",
        "swarm plan --fabric mpi --mpi-lib nowhere.so",
        "swarm nowhere",
        "swarm bad",
        "swarm two",
        "swarm idle --no-share 1 --stall-timeout 1s",
        "trace nowhere",
    ] {
        let done = sandbox.run(line);
        text.push_str(&format!("{} dunlin {line}\n", done.code));
    }
    expect_file!["golden/exit-codes.txt"].assert_eq(&text);
}
