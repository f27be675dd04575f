//! The classic algorithm in virtual time.

use crate::common::Run;
use dunlin_cluster::{PeerState, Role};
use dunlin_engine::cluster::{TrackerMap, TrackerOrder};
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};

const ORDERS: [TrackerOrder; 3] =
    [TrackerOrder::Arrival, TrackerOrder::LeastBusy, TrackerOrder::Random];
const MAPS: [TrackerMap; 2] = [TrackerMap::Swarm, TrackerMap::Pieces];

const SMALL: &[(&str, &str)] = &[
    ("a:25 b:12", "c"),
    ("c:30", "a b"),
    ("", "a b c"),
    ("a:25 d:3", "a d"),
    ("b:12", ""),
    ("c:30 e:0", "e"),
];

#[test]
fn everybody_gets_what_it_wants() {
    let done = Run::course(SMALL).go().ok();
    for (rank, name, count) in [
        (1, "c", 30),
        (2, "a", 25),
        (2, "b", 12),
        (3, "a", 25),
        (3, "b", 12),
        (3, "c", 30),
        (4, "a", 25),
        (4, "d", 3),
        (6, "e", 0),
    ] {
        done.has_tokens(rank, name, count);
    }
    assert_eq!(done.peer(5).role, Role::Seed);
    assert!(done.peer(5).files.is_empty());
    assert_eq!(done.output(5, "b"), None);
    assert_eq!(done.peer(3).pieces_from.values().sum::<u64>(), 67);
}

#[test]
fn every_legal_combination_of_policies() {
    for profile in Profile::ALL {
        for pieces in PieceOrder::ALL {
            for sources in SourceOrder::ALL {
                for (order, map) in ORDERS.iter().flat_map(|order| MAPS.map(|map| (order, map))) {
                    let blind = *profile == Profile::Course && map == TrackerMap::Swarm;
                    if blind && *pieces == PieceOrder::Rarest {
                        continue;
                    }
                    let run = Run::course(SMALL).with(|config| {
                        (config.profile, config.pieces, config.sources) =
                            (*profile, *pieces, *sources);
                        (config.tracker_order, config.tracker_map) = (*order, map);
                    });
                    let done = run.go();
                    let what = format!("{profile} {pieces} {sources} {order} {map}");
                    assert!(done.report.ok(), "{what}: {:#}", done.report.to_json());
                    done.has_tokens(3, "c", 30);
                    assert!(done.report.seconds < 60.0, "{what}: {}", done.report.seconds);
                }
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let run = Run::course(SMALL).with(|config| {
            config.seed = seed;
            config.pieces = PieceOrder::Random;
            config.sources = SourceOrder::RANDOM;
        });
        run.go().ok().trace.text()
    };
    assert!(run(7) == run(7), "a seed replays");
    assert!(run(7) != run(8), "another seed is another run");
}

#[test]
fn what_nobody_has_fails_by_itself() {
    let done = Run::course(&[("a:5", "nothing"), ("", "a nothing")]).go();
    assert_eq!(done.report.exit_code(), 1);
    done.has_tokens(2, "a", 5);
    assert_eq!(done.peer(2).state, PeerState::Failed);
    let failed: Vec<&str> = done
        .peer(2)
        .files
        .iter()
        .filter(|file| file.reason.is_some())
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(failed, ["nothing"]);
}

#[test]
fn the_trace_tells_the_classic_story() {
    let done = Run::course(&[("a:35", ""), ("", "a"), ("a:35", ""), ("", "a")]).go().ok();
    let lines = done.lines();
    let at = |msg: &str| lines.iter().position(|line| line["msg"] == msg).expect("first");
    let last = |msg: &str| lines.iter().rposition(|line| line["msg"] == msg).expect("last");
    assert!(last("register") < at("lookup"));
    assert!(last("all-complete") < at("shutdown"));
    for line in lines.iter().filter(|line| line["msg"] == "swarm") {
        let members = line["members"].as_array().expect("members");
        assert_eq!(members.last(), Some(&line["to"]), "the asker stands last");
    }
    for line in lines.iter().filter(|line| line["msg"] == "request") {
        assert_ne!(line["from"], line["to"]);
        assert_eq!(line["file"], "a");
    }
    for rank in [2, 4] {
        let mine = |msg: &str| {
            lines.iter().filter(|line| line["msg"] == msg && line["from"] == rank).count()
        };
        assert_eq!(mine("verified"), 35);
        // After every 10 verified pieces, while something is missing.
        assert_eq!(mine("refresh"), 3);
    }
    assert_eq!(done.peer(2).refreshes, 3);
}

#[test]
fn an_empty_run_ends() {
    let done = Run::course(&[("", ""), ("a:1", "")]).go().ok();
    assert_eq!(done.report.bytes_moved, 0);
}

#[test]
fn two_hundred_ranks() {
    let names = ["a", "b", "c", "d", "e"];
    let peers: Vec<(String, String)> = (0..200)
        .map(|rank: usize| {
            let owns = format!("{}:20", names[rank % 5]);
            let wants = format!("{} {}", names[(rank + 1) % 5], names[(rank + 3) % 5]);
            (owns, wants)
        })
        .collect();
    let peers: Vec<(&str, &str)> =
        peers.iter().map(|(owns, wants)| (owns.as_str(), wants.as_str())).collect();
    let run = Run::course(&peers).with(|config| {
        config.fabric = crate::common::quick();
        config.trace = None;
    });
    let done = run.go().ok();
    for rank in 1..=200 {
        done.has_tokens(rank, names[rank as usize % 5], 20);
    }
}
