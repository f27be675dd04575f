//! What the trace of a `course` run must show, and what `dunlin trace` makes of it.

use crate::common::{Course, Sandbox, number};
use crate::rules::{self, file, is, places};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;

/// A refresh is due after so many verified pieces.
const EVERY: usize = 10;
const PEERS: u64 = 5;

/// One owner of each file rejects half of what it is asked, so that there are full rounds of
/// rejections; rank 2 is done early and goes on serving.
fn plan() -> Course {
    Course::new(&[("long", 75), ("short", 12), ("other", 33)])
        .peer("long short other", "")
        .peer("", "short")
        .peer("", "long short other")
        .peer("", "other long")
        .peer("", "other short long")
}

fn record(fabric: &str, options: &str) -> (Sandbox, Vec<Value>) {
    let sandbox = Sandbox::new();
    plan().write(&sandbox, "plan");
    sandbox.expect(0, &format!("swarm plan --fabric {fabric} --trace run.trace {options}"));
    let lines = rules::read(&sandbox.path("run.trace"));
    (sandbox, lines)
}

fn check(lines: &[Value]) {
    rules::check(lines, PEERS, &plan().pieces());
    rules::answers_follow_requests(lines);
    files_come_one_after_another(lines);
    refreshes_are_due_after_every_ten(lines);
    rejections_lead_to_the_next_member_and_then_to_a_refresh(lines);
    the_end_comes_after_the_last(lines);
}

fn files_come_one_after_another(lines: &[Value]) {
    for rank in 1..=PEERS {
        let mut order: Vec<String> = Vec::new();
        for line in lines.iter().filter(|line| is(line, "verified") && line["from"] == rank) {
            let file = file(line);
            if order.last() != Some(&file) {
                assert!(!order.contains(&file), "rank {rank} came back to {file}");
                order.push(file);
            }
        }
    }
}

fn refreshes_are_due_after_every_ten(lines: &[Value]) {
    for rank in 1..=PEERS {
        let mine = |line: &&Value| line["from"] == rank;
        let verified = lines.iter().filter(mine).filter(|line| is(line, "verified")).count();
        let mut due = 0;
        let mut so_far = 0;
        for line in lines.iter().filter(mine) {
            so_far += usize::from(is(line, "verified"));
            if is(line, "refresh") && line["forced"] != true {
                due += 1;
                assert!(so_far >= due * EVERY, "rank {rank}: refresh {due} after {so_far} pieces");
            }
        }
        // At the end of a file there may be nothing left to refresh.
        assert!(due <= verified / EVERY, "rank {rank}: {due} refreshes, {verified} pieces");
        assert!(due + 3 >= verified / EVERY, "rank {rank}: {due} refreshes, {verified} pieces");
    }
}

fn rejections_lead_to_the_next_member_and_then_to_a_refresh(lines: &[Value]) {
    /// What one rank knows of one file: the swarm, and who rejected which piece since.
    #[derive(Default)]
    struct Known {
        members: BTreeSet<u64>,
        rejected: BTreeMap<u64, BTreeSet<u64>>,
    }
    let mut known: BTreeMap<(u64, String), Known> = BTreeMap::new();
    let mut forced = 0;
    for line in lines {
        let (from, to) = (number(&line["from"]), number(&line["to"]));
        match line["msg"].as_str().unwrap() {
            "swarm" => {
                let members = line["members"].as_array().unwrap().iter().map(number);
                let members = members.filter(|member| *member != to).collect();
                known.insert((to, file(line)), Known { members, ..Known::default() });
            }
            "reject-request" => {
                let piece = number(&line["piece"]);
                let known = known.entry((to, file(line))).or_default();
                known.rejected.entry(piece).or_default().insert(from);
            }
            "request" => {
                let piece = number(&line["piece"]);
                let Some(known) = known.get(&(from, file(line))) else { panic!("{line}") };
                let again = known.rejected.get(&piece).is_some_and(|by| by.contains(&to));
                assert!(!again, "asked again though it rejected: {line}");
                assert!(known.members.contains(&to), "asked though no member: {line}");
            }
            "refresh" if line["forced"] == true => {
                forced += 1;
                let Some(known) = known.get(&(from, file(line))) else { panic!("{line}") };
                let full = known.rejected.values().any(|by| *by == known.members);
                assert!(full || known.members.is_empty(), "forced without a full round: {line}");
            }
            _ => {}
        }
    }
    assert!(forced > 0, "no forced refresh in a run with rejections");
}

fn the_end_comes_after_the_last(lines: &[Value]) {
    let ends = places(lines, "all-complete");
    // Rank 2 wanted something, was done, and went on serving.
    let done = ends.iter().find(|at| lines[**at]["from"] == 2).unwrap();
    let served = |at: usize| is(&lines[at], "piece") && lines[at]["from"] == 2;
    assert!((*done..lines.len()).any(served), "rank 2 served nothing after its own completion");
}

const REFUSING: &str = "--fault refuse=1:60 --seed 3";

#[test]
fn a_course_run_keeps_the_rules_in_virtual_time() {
    check(&record("virtual", REFUSING).1);
}

#[test]
fn a_course_run_keeps_the_rules_over_memory() {
    // The owner is slow, so that rank 2 is done long before the others need what it has.
    check(&record("memory", &format!("{REFUSING} --fault slow=1:8kB")).1);
}

#[test]
fn virtual_time_gives_the_same_trace_twice() {
    for options in ["", "--profile bittorrent", REFUSING, "--fault corrupt=1 --no-share 3"] {
        let traces = [1, 2].map(|_| {
            let sandbox = Sandbox::new();
            Course::new(&[("a", 30), ("b", 20)])
                .peer("a b", "")
                .peer("a b", "")
                .peer("", "a b")
                .peer("", "b")
                .write(&sandbox, "plan");
            let line = format!("swarm plan --fabric virtual --trace run.trace {options}");
            sandbox.expect(0, &line);
            std::fs::read(sandbox.path("run.trace")).unwrap()
        });
        assert!(traces[0] == traces[1] && !traces[0].is_empty(), "{options}");
    }
}

#[test]
fn the_chart_shows_names_and_arrows() {
    let (sandbox, lines) = record("virtual", REFUSING);
    let chart = sandbox.expect(0, "trace run.trace").stdout;
    for word in ["register", "lookup", "swarm", "refresh", "request", "all-complete", "shutdown"] {
        assert!(chart.contains(word), "{word}");
    }
    assert!(chart.lines().count() >= lines.len());
}

#[test]
fn a_trace_that_is_none_is_bad_input() {
    let sandbox = Sandbox::new();
    sandbox.write("t", "{\"t\":0.1,\"from\":1,\"to\":0,\"msg\":\"register\"}\nnot a trace\n");
    let done = sandbox.expect(4, "trace t");
    assert!(done.stderr.contains("line 2"), "{}", done.stderr);
    let done = sandbox.expect(4, "trace nowhere");
    assert!(done.stderr.contains("nowhere"), "{}", done.stderr);
}

/// What the rules are worth: a trace from which one message is taken, or in which one comes twice
/// or too early, breaks them.
#[test]
fn the_rules_notice_what_is_missing() {
    let (_, lines) = record("virtual", REFUSING);
    let broken = |lines: &[Value]| catch_unwind(|| check(lines)).is_err();
    assert!(!broken(&lines));
    for msg in [
        "register",
        "go",
        "lookup",
        "request",
        "piece",
        "reject-request",
        "verified",
        "file-complete",
        "all-complete",
        "shutdown",
    ] {
        let at = places(&lines, msg)[0];
        let (mut without, mut twice, mut early) = (lines.clone(), lines.clone(), lines.clone());
        without.remove(at);
        twice.insert(at, lines[at].clone());
        early.remove(at);
        early.insert(0, lines[at].clone());
        assert!(broken(&without), "without a {msg}");
        assert!(broken(&twice), "with a {msg} twice");
        assert!(broken(&early) || at == 0, "with a {msg} too early");
    }
}
