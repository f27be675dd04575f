//! What a rank gets that comes when the sets are made.

use super::*;
use crate::cluster::{SwarmTable, TrackerMap};

/// What comes of the last rank of `text`, if the others had begun without it.
fn late(text: &str, rules: &Rules<'_>) -> Vec<String> {
    let mut all = registers(text);
    let (rank, last) = all.pop().unwrap();
    let borrowed: Vec<_> = all.iter().map(|(rank, register)| (*rank, register)).collect();
    let sets = make_sets(&borrowed, rules);
    let table = SwarmTable::new(&sets, TrackerMap::Pieces);
    let (torrents, unwanted) = (table.infos(), table.unwanted());
    let settled = PlannedSets { torrents: &torrents, unwanted: &unwanted, tree: &sets.tree };
    let admission = admit(rank, &last, rules, settled);
    let mut lines = Vec::new();
    for LateAssignment { torrent, holding, wants } in &admission.assignments {
        let has = holding.as_ref().map_or(String::new(), |held| match &held.pieces {
            None => if held.whole { "whole" } else { "all" }.to_owned(),
            Some(pieces) => format!("{pieces:?}"),
        });
        lines.push(format!("{torrent:?} {has}{}", if *wants { "?" } else { "" }));
    }
    let missing = BTreeMap::from([(rank, admission.missing)]);
    lines.extend(fails(&missing).into_iter().map(|mut line| line.split_off(2)));
    lines.extend(admission.replace.iter().map(|name| format!("replace {name}")));
    lines.extend(admission.entries.iter().map(|entry| format!("entry {}", entry.name)));
    let Move { files, bytes, bytes_here, linked } = admission.moved;
    if admission.moved != Move::default() {
        lines.push(format!("move {files} {bytes}+{bytes_here} linked {linked}"));
    }
    lines
}

#[test]
fn sets_are_taken_as_they_are() {
    let early = "1: a=AB b=B c=C x=X o=O\n2: +a +b\n3: +c\n4: x=Y *x\n";
    let split = "it moves together with files that this rank does not want, which was settled before \
                 the rank came; start again";
    let other = "it moves together with `a`, which this rank cannot take";
    let conflict = "rank 1 and rank 4 have different files `x`: piece 0 is the first that differs";
    let cases: [(&str, Vec<String>); 9] = [
        ("+a +b", vec!["t0 ?".into(), "move 2 10+0 linked 0".into()]),
        ("+a +b +c a~AB/10", vec!["t0 100?".into(), "t1 ?".into(), "move 3 9+4 linked 0".into()]),
        ("+a", vec![format!("a: {split}")]),
        ("+a +b a@AX", vec!["t0 ?".into(), "replace a".into(), "move 2 6+4 linked 0".into()]),
        ("+a +b a=AX", vec![
            "a: rank 5 owns another `a` than the others: it differs: piece 1 of 2 is the first that \
             does"
            .into(),
            format!("b: {other}"),
        ]),
        ("a=AB b=B", vec!["t0 whole".into()]),
        ("a=AB", vec![]),
        ("+x +o +ghost", vec![
            "o: nobody wanted it when the run began, so it does not move; start again".into(),
            format!("x: {conflict}"),
            "ghost: nobody has it".into(),
        ]),
        ("+a +b a=AB b=B elsewhere", vec!["t0 whole?".into(), "move 2 0+0 linked 10".into()]),
    ];
    for (text, expected) in cases {
        assert_eq!(late(&format!("{early}5: {text}"), &placing()), expected, "{text}");
    }
}

#[test]
fn entries_space_and_obstacles() {
    let early = "1: d:d d/a=AB d/a:f d/l:>a\n2: ***\n";
    let by = |text: &str, rules: &Rules<'_>| late(&format!("{early}3: {text}"), rules);
    let late = |text: &str| by(text, &placing());
    let all = ["t0 ?", "entry d", "entry d/a", "entry d/l", "move 1 7+0 linked 0"];
    assert_eq!(late("***"), all);
    assert_eq!(late("+d/l"), ["entry d", "entry d/l"]);
    assert_eq!(late("*** $7"), all);
    let full = late("*** $6");
    assert!(
        full.len() == 1 && full[0].starts_with("**: what the rank wants needs 7 B"),
        "{full:?}"
    );
    let swarm = swarm(OnConflict::Refuse, false);
    let refused = by("+d/a d/a@AX", &swarm);
    assert!(refused.len() == 1 && refused[0].contains("--force"), "{refused:?}");
    let forced = Rules { force: true, ..swarm };
    assert_eq!(by("+d/a d/a@AX", &forced)[..2], ["t0 ?", "replace d/a"]);
}
