//! What the trace of a run with profile `course` shows beside the rules of every run, where each
//! file is a torrent of its own, as in course plans: answers are awaited, and with tracker order
//! `least-busy` sorted by loads that were asked for them.

use crate::common::number;
use crate::rules::{Wanted, is};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The options of the runs that these rules are for: refreshes are frequent and name everything.
pub(crate) const OPTIONS: &str =
    "--profile course --tracker-order least-busy --refresh 3 --refresh-scope all";
/// How long the tracker waits for loads, in seconds: an answer that took so long may lack one.
const LOAD_WAIT: f64 = 1.0;

/// Checks the trace of a run with [`OPTIONS`] that ended well.
pub(crate) fn check(lines: &[Value], wanted: &Wanted) {
    let refreshes = lines.iter().filter(|line| is(line, "refresh")).count();
    assert!(refreshes > 0, "the run has refreshes");
    answers_are_awaited(lines);
    answers_are_sorted_by_loads_asked_for_them(lines);
    refreshes_name_every_unfinished_file(lines, wanted);
}

fn names(line: &Value) -> BTreeSet<String> {
    let of = |value: &Value| value.as_str().unwrap().to_owned();
    match line["files"].as_array() {
        Some(all) => all.iter().map(of).collect(),
        None => line["file"].as_str().map(str::to_owned).into_iter().collect(),
    }
}

/// Between a refresh of a rank and its next request lies the answer, for every file of the refresh.
pub(crate) fn answers_are_awaited(lines: &[Value]) {
    let mut awaited: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for line in lines {
        let (from, to) = (number(&line["from"]), number(&line["to"]));
        if is(line, "refresh") {
            let open = awaited.entry(from).or_default();
            assert!(open.is_empty(), "before the last one is answered: {line}");
            *open = names(line);
            assert!(!open.is_empty(), "asks for nothing: {line}");
        } else if is(line, "swarm") {
            awaited.entry(to).or_default().remove(line["file"].as_str().unwrap());
        } else if is(line, "request") {
            let open = awaited.entry(from).or_default();
            assert!(open.is_empty(), "{open:?} is not answered: {line}");
        }
    }
    let open: Vec<_> = awaited.iter().filter(|(_, open)| !open.is_empty()).collect();
    assert!(open.is_empty(), "never answered: {open:?}");
}

/// Each answer lists the members by load, and each of these loads was reported after the answer was
/// asked for. A rank that did not report within the tracker's patience counts with its last load.
fn answers_are_sorted_by_loads_asked_for_them(lines: &[Value]) {
    let mut asked: BTreeMap<(u64, String), VecDeque<usize>> = BTreeMap::new();
    let mut reports: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
    let mut late = BTreeSet::new();
    let mut fresh = 0;
    for (at, line) in lines.iter().enumerate() {
        let (from, to) = (number(&line["from"]), number(&line["to"]));
        if is(line, "lookup") || is(line, "refresh") {
            for name in names(line) {
                asked.entry((from, name)).or_default().push_back(at);
            }
        } else if is(line, "load") {
            reports.entry(from).or_default().push((at, number(&line["load"])));
            late.remove(&from);
        }
        if !is(line, "swarm") {
            continue;
        }
        let name = line["file"].as_str().unwrap().to_owned();
        let begun = asked.get_mut(&(to, name)).and_then(VecDeque::pop_front);
        let begun = begun.unwrap_or_else(|| panic!("nobody asked: {line}"));
        let took = line["t"].as_f64().unwrap() - lines[begun]["t"].as_f64().unwrap();
        let list = |field: &str| line[field].as_array().unwrap().iter().map(number);
        let members: Vec<(u64, u64)> = list("members").zip(list("loads")).collect();
        let others = &members[..members.len() - 1];
        assert!(others.is_sorted_by_key(|(_, load)| *load), "not sorted: {line}");
        for (rank, load) in others {
            let mut own = reports.get(rank).into_iter().flatten();
            let found = own.any(|(place, reported)| *place > begun && reported == load);
            fresh += usize::from(found);
            if !found {
                assert!(took >= LOAD_WAIT || late.contains(rank), "{rank} was not asked: {line}");
                late.insert(*rank);
            }
        }
    }
    assert!(fresh > 0, "loads were asked for");
}

/// A refresh with scope `all` names what a rank wants and has not completed, whether or not it has
/// been looked up.
fn refreshes_name_every_unfinished_file(lines: &[Value], wanted: &Wanted) {
    let mut open: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for (rank, name) in wanted.keys() {
        open.entry(*rank).or_default().insert(name.clone());
    }
    for line in lines {
        let from = number(&line["from"]);
        if is(line, "file-complete") {
            let open = open.entry(from).or_default();
            names(line).iter().for_each(|name| _ = open.remove(name));
        } else if is(line, "refresh") {
            assert_eq!(names(line), open[&from], "{line}");
        }
    }
}
