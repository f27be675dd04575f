//! Ctrl-C and SIGTERM: exit 9, how to go on, nothing unfinished under a final name; twice: exit
//! 130.

use crate::common::{Sandbox, data, end, same, signal, text, wait_for};
use std::fs;

fn plan(sandbox: &Sandbox) {
    sandbox.write("plan/peer1/big", data(1, 8 << 20));
    sandbox.write("plan/peer2/wants", "big");
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_goes_on() {
    for name in ["INT", "TERM"] {
        let sandbox = Sandbox::new();
        plan(&sandbox);
        let run = sandbox.start("swarm plan --piece-size 64KiB --fault slow=1:2MB");
        let part = sandbox.path("plan/peer2/.big.dunlin-part");
        wait_for("a part file", || fs::metadata(&part).ok().filter(|meta| meta.len() > 0));
        signal(run.id(), name);
        let done = end(run);
        assert_eq!(done.code, 9, "{}", done.stderr);
        assert!(done.stderr.contains("swarm plan --piece-size 64KiB"), "{}", done.stderr);
        assert!(!sandbox.path("plan/peer2/big").exists());
        sandbox.expect(0, "swarm plan --piece-size 64KiB");
        same(&sandbox.path("plan/peer1/big"), &sandbox.path("plan/peer2/big"));
    }
}

#[test]
fn with_json_an_interrupted_run_leaves_a_document() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let run = sandbox.start("swarm plan --fault slow=1:2MB --json");
    let part = sandbox.path("plan/peer2/.big.dunlin-part");
    wait_for("a part file", || part.exists().then_some(()));
    signal(run.id(), "INT");
    let done = end(run);
    assert_eq!(done.code, 9, "{}", done.stderr);
    let document: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&document["ok"], &document["schema"]), (&false.into(), &1.into()));
    assert_eq!(document["error"]["kind"], "interrupted");
}

#[test]
fn a_second_signal_stops_at_once() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let run = sandbox.start("swarm plan --fault slow=1:2MB");
    let part = sandbox.path("plan/peer2/.big.dunlin-part");
    wait_for("a part file", || part.exists().then_some(()));
    // Both are waiting when the process goes on, so that it cannot end in between.
    ["STOP", "INT", "TERM", "CONT"].iter().for_each(|name| signal(run.id(), name));
    assert_eq!(end(run).code, 130);
    sandbox.expect(0, "swarm plan");
    same(&sandbox.path("plan/peer1/big"), &sandbox.path("plan/peer2/big"));
}

#[test]
fn an_interrupt_while_data_is_generated_leaves_no_part() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "plan/plan.toml",
        "[[generate]]\npath = \"work/1/big\"\nsize = \"4GiB\"\nseed = 1\n\
         [[node]]\nranks = \"1\"\nroot = \"work/{rank}\"\nwant = [\"big\"]\n",
    );
    let run = sandbox.start("swarm plan");
    let part = sandbox.path("plan/work/1/.big.dunlin-part");
    wait_for("a part file", || part.exists().then_some(()));
    signal(run.id(), "INT");
    let done = end(run);
    assert_eq!(done.code, 9, "{}", done.stderr);
    assert!(!part.exists() && !sandbox.path("plan/work/1/big").exists());
}

#[test]
fn a_look_that_is_interrupted_states_no_result() {
    let sandbox = Sandbox::new();
    let big = sandbox.write("w0/big", vec![7; 256 << 20]);
    fs::create_dir(sandbox.path("w1")).unwrap();
    fs::hard_link(big, sandbox.path("w1/big")).unwrap();
    let node = "ranks = \"0-1\"\nroot = \"w{rank}\"\nwant = [\"big\"]\n";
    sandbox.write("plan.toml", format!("[[node]]\n{node}"));
    for (json, reading) in [("", false), ("", true), ("--json", false), ("--json", true)] {
        let look = "place plan.toml --no-cache --verify-only";
        let run = sandbox.start(&format!("{look} {json}"));
        // A signal before that ends the process as it ends any.
        let status = format!("/proc/{}/status", run.id());
        let caught = |line: &str| {
            let mask = line.strip_prefix("SigCgt:")?.trim();
            u64::from_str_radix(mask, 16).ok().filter(|mask| mask & 2 != 0)
        };
        wait_for("who catches signals", || text(status.as_ref())?.lines().find_map(caught));
        if reading {
            wait_for("who reads, or has ended", || reads_or_ended(run.id(), "big").then_some(()));
        }
        signal(run.id(), "INT");
        let done = end(run);
        if done.code == 0 && reading {
            // It was quicker.
            continue;
        }
        assert_eq!(done.code, 9, "{}{}", done.stdout, done.stderr);
        assert!(!done.stdout.contains("as it should be"), "{}", done.stdout);
        if !json.is_empty() {
            let document: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
            assert!(!document["error"]["message"].as_str().unwrap().is_empty(), "{document}");
        }
    }
}

/// Whether a process of ours has a file of this name open, or is no more.
fn reads_or_ended(process: u32, name: &str) -> bool {
    let status = text(format!("/proc/{process}/status").as_ref()).unwrap_or_default();
    if status.lines().any(|line| line.starts_with("State:") && line.contains('Z')) {
        return true;
    }
    let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else { return true };
    let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.into_iter().any(|link| link.ends_with(name))
}
