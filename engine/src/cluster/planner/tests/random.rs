//! Whatever is registered, everybody hears of everything that it wants.

use super::*;
use crate::cluster::{SwarmTable, TrackerMap};
use dunlin_base::Rng;
use std::collections::BTreeSet;

/// A line of registrations: few names and contents, so that much of it meets.
fn line(rng: &mut Rng, rank: u32) -> String {
    let words = [
        "a=AB",
        "a=AX",
        "a@AB",
        "a@AY",
        "a~AB/10",
        "b=B",
        "b@B",
        "b@BB",
        "d/a=A",
        "d/a@A",
        "d:d",
        "d:f",
        "a:f",
        "a:d",
        "b:^a",
        "b:>a",
        "c:^a",
        "d/l:>x",
        "d/l:d",
        "-a",
        "-d/z",
        "elsewhere",
        "$3",
        "$9",
        "a=AB!g",
        "b=B!g",
        "d=D",
        "x#xy",
    ];
    let wants =
        ["+a", "+b", "+c", "+d", "+d/a", "+d/l", "+d/z", "+x", "+ghost", "*d/**", "***", "*?"];
    let locations = ["%h:/1", "%h:/2", "%i:/1", "%h:/1:9", ""];
    let pick = |rng: &mut Rng, of: &[&str]| of[rng.below(of.len() as u64) as usize].to_owned();
    let mut text = format!("{rank}: {}", pick(rng, &locations));
    for _ in 0..rng.below(5) {
        text += &format!(" {}", pick(rng, &words));
    }
    for _ in 0..rng.below(4) {
        text += &format!(" {}", pick(rng, &wants));
    }
    text
}

/// The names that a rank gets, and its failures.
fn told(sets: &Sets, rank: Rank) -> BTreeSet<String> {
    let files = sets.torrents.iter().filter(|set| set.wants(rank));
    let files = files.flat_map(|set| set.info.files.iter().map(|file| file.name.clone()));
    let entries = sets.entries.get(&rank).into_iter().flat_map(|list| list.iter());
    let missing = sets.missing.get(&rank).into_iter().flatten();
    let names = entries.map(|entry| entry.name.clone());
    files.chain(names).chain(missing.map(|failed| failed.name.clone())).collect()
}

fn check_run(text: &str, rules: &Rules<'_>) {
    let registers = registers(text);
    let borrowed: Vec<_> = registers.iter().map(|(rank, register)| (*rank, register)).collect();
    let sets = make_sets(&borrowed, rules);
    sets.check();
    for (rank, register) in &borrowed {
        let told = told(&sets, *rank);
        for want in &register.wants {
            let Want::Name(name) = want else { continue };
            let only = rules.on_conflict != OnConflict::FailName;
            assert!(told.contains(name) || only, "{rank} {name}: {text}\n{}", draw(&sets));
        }
        let wanted = sets.torrents.iter().filter(|set| set.wants(*rank));
        let lengths = wanted.flat_map(|set| set.info.files.iter().map(|file| file.length));
        let moved = sets.moves.get(rank).copied().unwrap_or_default();
        let sum = moved.bytes + moved.bytes_here + moved.linked;
        assert_eq!(lengths.sum::<u64>(), sum, "{rank}: {text}\n{}", draw(&sets));
    }
    let location =
        |rank: Rank| borrowed.iter().find(|of| of.0 == rank).and_then(|of| of.1.location.as_ref());
    for (rank, from) in sets.torrents.iter().flat_map(|set| &set.links) {
        let hosts = (
            location(*rank).map(|location| &location.host),
            location(*from).map(|location| &location.host),
        );
        assert!(hosts.0.is_some() && hosts.0 == hosts.1, "{text}");
    }
    // Each of them may come late, too.
    for (late, (rank, register)) in borrowed.iter().enumerate() {
        let mut early = borrowed.clone();
        early.remove(late);
        let sets = make_sets(&early, rules);
        let mut table = SwarmTable::new(&sets, TrackerMap::Pieces);
        let (torrents, unwanted) = (table.infos(), table.unwanted());
        let settled = PlannedSets { torrents: &torrents, unwanted: &unwanted, tree: &sets.tree };
        let admission = admit(*rank, register, rules, settled);
        let mut told: BTreeSet<&str> =
            admission.missing.iter().map(|failed| failed.name.as_str()).collect();
        told.extend(admission.entries.iter().map(|entry| entry.name.as_str()));
        for part in &admission.assignments {
            if let Some(held) = &part.holding {
                table.set_holding(part.torrent, held, held.whole);
            }
            let files = torrents[part.torrent.0 as usize].files.iter();
            told.extend(files.filter(|_| part.wants).map(|file| file.name.as_str()));
        }
        table.check();
        for want in &register.wants {
            let (Want::Name(name) | Want::Glob(name)) = want;
            let glob = matches!(want, Want::Glob(_));
            assert!(glob || told.contains(name.as_str()), "late {rank} {name}: {text}");
        }
    }
}

#[test]
fn everybody_hears_of_everything_that_it_wants() {
    let pins = BTreeMap::from([("b".to_owned(), [b'g'; 32])]);
    let mut rng = Rng::new(5);
    for _ in 0..4_000 {
        let ranks = 1 + rng.below(5) as u32;
        let text: Vec<String> = (0..ranks).map(|rank| line(&mut rng, rank)).collect();
        let text = text.join("\n");
        let plain = placing();
        for rules in [
            plain,
            Rules { pins: &pins, compare: true, ..plain },
            Rules { owners_only: true, ..plain },
            swarm(OnConflict::Refuse, true),
        ] {
            check_run(&text, &rules);
        }
    }
}
