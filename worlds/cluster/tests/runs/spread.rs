//! Who serves how much.

use crate::common::Run;
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};

#[test]
fn round_robin_asks_everybody_alike() {
    const SEEDS: u64 = 8;
    for profile in Profile::ALL {
        // A source that is slow by chance is passed over now and then: over a few runs that evens
        // out.
        let mut given = std::collections::BTreeMap::<_, u64>::new();
        for seed in 1..=SEEDS {
            let owner = ("a:200", "");
            let run = Run::course(&[owner, owner, owner, owner, ("", "a")]);
            let done = run
                .with(|config| {
                    (config.profile, config.seed) = (*profile, seed);
                    config.sources = SourceOrder::ROUND_ROBIN;
                })
                .go()
                .ok();
            for (rank, pieces) in &done.peer(5).pieces_from {
                *given.entry(*rank).or_default() += pieces;
            }
        }
        let largest = given.values().max().copied().unwrap_or(0);
        assert!(largest <= 55 * SEEDS, "{profile}: {given:?}");
    }
}

#[test]
fn least_loaded_does_not_herd() {
    for (profile, sources) in [
        (Profile::BitTorrent, SourceOrder::LEAST_LOADED),
        (Profile::Course, SourceOrder::LEAST_LOADED),
        (Profile::BitTorrent, SourceOrder::LEAST_BUSY),
        (Profile::Course, SourceOrder::LEAST_BUSY),
    ] {
        let mut plan = vec![("a:400", ""); 4];
        plan.extend([("", "a"); 12]);
        let run = Run::course(&plan).with(|config| {
            config.fabric = crate::common::quick();
            config.trace = None;
            config.no_share = (5..=16).map(dunlin_base::Rank).collect();
            config.pieces = PieceOrder::Sequential;
            (config.profile, config.sources) = (profile, sources);
        });
        let done = run.go().ok();
        let served: Vec<u64> = (1..=4).map(|rank| done.peer(rank).pieces_served).collect();
        // In endgame a block may be asked for twice.
        assert!((4800..=4850).contains(&served.iter().sum::<u64>()), "{served:?}");
        if sources == SourceOrder::LEAST_LOADED {
            let largest = served.iter().max().copied().unwrap_or(0);
            assert!(largest * 4 * 100 <= 4800 * 125, "{profile}: {served:?}");
        }
    }
}

#[test]
fn the_map_of_pieces_shows_every_holder() {
    let run = Run::course(&[("a:20", ""), ("a:20", ""), ("", "a"), ("b:3", "")]);
    let run = run.with(|config| config.tracker_map = dunlin_engine::cluster::TrackerMap::Pieces);
    let done = run.go().ok();
    let dump = done.report.tracker_dump_json();
    let rows = dump["a"].as_array().expect("rows");
    assert_eq!(rows.len(), 20);
    for row in rows {
        assert_eq!(row[1], serde_json::json!([1, 2, 3]), "{row}");
    }
    assert_eq!(dump["b"][2], serde_json::json!(["b-0002", [4]]));
    assert_eq!(done.peer(3).dump_json()["a"][19], "a-0013");
}
