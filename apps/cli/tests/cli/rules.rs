//! The rules that the trace of a run keeps that ended well, whatever its ranks talked over.

use crate::common::number;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// By rank and name: how many pieces of a wanted file a rank has to fetch.
pub(crate) type Wanted = BTreeMap<(u64, String), u64>;

/// The lines of a trace.
pub(crate) fn read(path: &Path) -> Vec<Value> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn is(line: &Value, msg: &str) -> bool {
    line["msg"] == msg
}

/// Where the messages of a kind stand.
pub(crate) fn places(lines: &[Value], msg: &str) -> Vec<usize> {
    (0..lines.len()).filter(|at| is(&lines[*at], msg)).collect()
}

/// The file of a line, or the first of several.
pub(crate) fn file(line: &Value) -> String {
    line["file"].as_str().unwrap_or_else(|| panic!("no file: {line}")).to_owned()
}

fn files(line: &Value) -> Vec<String> {
    let Some(all) = line["files"].as_array() else { return vec![file(line)] };
    all.iter().map(|file| file.as_str().unwrap().to_owned()).collect()
}

/// Who sent a line's message, and who handled it.
fn between(line: &Value) -> (u64, u64) {
    (number(&line["from"]), number(&line["to"]))
}

/// Checks the trace of a run of ranks 1 to `peers` in which everyone got what it `wanted`.
pub(crate) fn check(lines: &[Value], peers: u64, wanted: &Wanted) {
    times_never_go_back(lines);
    everybody_registers_before_anybody_goes(lines, peers);
    wanted_pieces_are_verified_once(lines, wanted);
    requests_are_answered_once(lines);
    files_are_looked_up_before_they_are_asked_for(lines, wanted);
    files_are_complete_when_their_pieces_are(lines, wanted);
    everybody_is_done_once_and_then_it_ends(lines, peers);
    nobody_asks_itself(lines);
}

fn times_never_go_back(lines: &[Value]) {
    let mut last = 0.0;
    for line in lines {
        let time = line["t"].as_f64().unwrap_or_else(|| panic!("no time: {line}"));
        assert!(time >= last, "before {last}: {line}");
        last = time;
    }
}

fn everybody_registers_before_anybody_goes(lines: &[Value], peers: u64) {
    let registers = places(lines, "register");
    let ranks: BTreeSet<u64> = registers.iter().map(|at| between(&lines[*at]).0).collect();
    assert_eq!(ranks, (1..=peers).collect(), "who registered");
    assert_eq!(registers.len() as u64, peers, "nobody registers twice");
    let last = *registers.last().unwrap();
    for msg in ["go", "lookup"] {
        if let Some(first) = places(lines, msg).first() {
            assert!(*first > last, "{} before {}", lines[*first], lines[last]);
        }
    }
    let went: Vec<u64> = places(lines, "go").iter().map(|at| between(&lines[*at]).1).collect();
    assert_eq!(went.iter().copied().collect::<BTreeSet<u64>>(), ranks, "who may go");
    assert_eq!(went.len() as u64, peers, "nobody goes twice");
}

fn wanted_pieces_are_verified_once(lines: &[Value], wanted: &Wanted) {
    let mut verified: BTreeMap<(u64, String), BTreeSet<u64>> = BTreeMap::new();
    for line in lines.iter().filter(|line| is(line, "verified")) {
        let key = (between(line).0, file(line));
        assert!(wanted.contains_key(&key), "nobody wanted it: {line}");
        let fresh = verified.entry(key).or_default().insert(number(&line["piece"]));
        assert!(fresh, "verified twice: {line}");
    }
    for (key, pieces) in wanted {
        let found = verified.remove(key).unwrap_or_default();
        assert_eq!(found, (0..*pieces).collect(), "rank {}: {}", key.0, key.1);
    }
}

/// A request that was taken back need not be answered; no other stays without an answer, and
/// nothing is answered that was not asked for.
fn requests_are_answered_once(lines: &[Value]) {
    #[derive(Debug, Default)]
    struct Count {
        asked: u64,
        taken_back: u64,
        answered: u64,
    }
    let mut all: BTreeMap<(u64, u64, String, u64), Count> = BTreeMap::new();
    for line in lines {
        let (from, to) = between(line);
        let msg = line["msg"].as_str().unwrap();
        let (who, whom) = match msg {
            "request" | "cancel" => (from, to),
            "piece" | "reject-request" => (to, from),
            _ => continue,
        };
        let count = all.entry((who, whom, file(line), number(&line["piece"]))).or_default();
        match msg {
            "request" => count.asked += 1,
            "cancel" => count.taken_back += 1,
            _ => count.answered += 1,
        }
    }
    for (key, count) in all {
        let most = count.answered + count.taken_back;
        assert!((count.answered..=most).contains(&count.asked), "{key:?}: {count:?}");
    }
}

/// No answer stands before its request.
pub(crate) fn answers_follow_requests(lines: &[Value]) {
    let mut open: BTreeMap<(u64, u64, String, u64), u64> = BTreeMap::new();
    for line in lines {
        let (from, to) = between(line);
        if is(line, "request") {
            *open.entry((from, to, file(line), number(&line["piece"]))).or_default() += 1;
        } else if is(line, "piece") || is(line, "reject-request") {
            let key = (to, from, file(line), number(&line["piece"]));
            let open = open.get_mut(&key).filter(|open| **open > 0);
            *open.unwrap_or_else(|| panic!("an answer to nothing yet: {line}")) -= 1;
        }
    }
}

/// Files that move together are one torrent, and a look-up names the first of them: they have the
/// same wanters.
fn files_are_looked_up_before_they_are_asked_for(lines: &[Value], wanted: &Wanted) {
    let wanters = |name: &str| -> Vec<u64> {
        wanted.keys().filter(|(_, wanted)| wanted == name).map(|(rank, _)| *rank).collect()
    };
    let names = places(lines, "lookup").into_iter().map(|at| file(&lines[at]));
    let first: BTreeSet<String> = names.collect();
    let mut known: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for line in lines {
        let (rank, _) = between(line);
        if is(line, "lookup") {
            let fresh = known.entry(rank).or_default().insert(file(line));
            assert!(fresh, "looked up twice: {line}");
        } else if is(line, "request") {
            let name = file(line);
            let known = known.entry(rank).or_default();
            let with = |other: &String| !first.contains(&name) && wanters(other) == wanters(&name);
            assert!(known.contains(&name) || known.iter().any(with), "not looked up: {line}");
        }
    }
}

fn files_are_complete_when_their_pieces_are(lines: &[Value], wanted: &Wanted) {
    let mut missing = wanted.clone();
    let mut complete = BTreeSet::new();
    for line in lines {
        let rank = between(line).0;
        if is(line, "verified") {
            *missing.get_mut(&(rank, file(line))).unwrap() -= 1;
        } else if is(line, "file-complete") {
            for file in files(line) {
                let left = missing.get(&(rank, file.clone()));
                assert_eq!(left, Some(&0), "{file} is not complete: {line}");
                assert!(complete.insert((rank, file)), "complete twice: {line}");
            }
        }
    }
    assert_eq!(complete, wanted.keys().cloned().collect(), "which files are complete");
}

fn everybody_is_done_once_and_then_it_ends(lines: &[Value], peers: u64) {
    let ranks: BTreeSet<u64> = (1..=peers).collect();
    let done = places(lines, "all-complete");
    let who: BTreeSet<u64> = done.iter().map(|at| between(&lines[*at]).0).collect();
    assert_eq!((done.len() as u64, &who), (peers, &ranks), "who was done, once each");
    let ends = places(lines, "shutdown");
    let who: BTreeSet<u64> = ends.iter().map(|at| between(&lines[*at]).1).collect();
    assert_eq!((ends.len() as u64, &who), (peers, &ranks), "whom it ended for, once each");
    assert!(done.last() < ends.first(), "it ended before the last one was done");
    for at in ends {
        let rank = between(&lines[at]).1;
        assert_eq!(lines[at]["reason"], "done", "{}", lines[at]);
        let later = lines[at + 1..].iter().find(|line| between(line).1 == rank);
        assert!(later.is_none(), "after its end: {later:?}");
    }
}

/// The tracker's answers have the rank that asked in the last place.
fn nobody_asks_itself(lines: &[Value]) {
    for line in lines {
        assert!(!is(line, "request") || line["from"] != line["to"], "{line}");
        if is(line, "swarm") {
            assert_eq!(line["members"].as_array().unwrap().last(), Some(&line["to"]), "{line}");
        }
    }
}
