//! Pairs, trios and small crowds of engines: everybody gets what it wanted, and the policies do
//! what their names say.

use crate::cluster_world::{Setup, World};
use dunlin_engine::cluster::TrackerMap;
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};
use dunlin_engine::swarm::choker::ChokerKind;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_pair_moves_a_file() {
    let mut world = World::new(&Setup::default(), &["has a:20", "wants a"]);
    assert!(world.run(HOUR));
    assert!(world.has_all(2));
    assert_eq!(world.pieces_from(2), [(1, 20)].into());
    assert_eq!(world.node(1).member.stats().pieces_served, 20);
}

#[test]
fn a_trio_shares() {
    let mut world = World::new(&Setup::default(), &["has a:200", "wants a", "wants a"]);
    world.set_uplinks(1..=3, 10_000_000);
    assert!(world.run(HOUR));
    assert!(world.has_all(2) && world.has_all(3));
    let served = world.node(1).member.stats().pieces_served;
    assert!(served < 320, "the seed gave {served} of 400: its leechers swap the rest");
}

#[test]
fn every_combination_completes() {
    for profile in Profile::ALL {
        for pieces in PieceOrder::ALL {
            for sources in SourceOrder::ALL {
                for map in [TrackerMap::Swarm, TrackerMap::Pieces] {
                    let blind = *profile == Profile::Course && map == TrackerMap::Swarm;
                    if blind && *pieces == PieceOrder::Rarest {
                        continue;
                    }
                    let setup = Setup {
                        profile: *profile,
                        pieces: *pieces,
                        sources: *sources,
                        map,
                        ..Setup::default()
                    };
                    let plan =
                        ["has a:15 b:7 wants c", "has c:12 wants a b", "wants a b c", "wants b"];
                    let mut world = World::new(&setup, &plan);
                    let name = format!("{profile} {pieces} {sources} {map}");
                    assert!(world.run(HOUR), "{name} does not end");
                    for rank in 1..=4 {
                        let failed = world.node(rank).member.failed().to_vec();
                        assert!(world.has_all(rank), "{name}: rank {rank} {failed:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn round_robin_spreads_over_equal_seeds() {
    for profile in [Profile::BitTorrent, Profile::Course] {
        let setup = Setup {
            profile,
            pieces: PieceOrder::Sequential,
            sources: SourceOrder::ROUND_ROBIN,
            ..Setup::default()
        };
        let mut world =
            World::new(&setup, &["has a:100", "has a:100", "has a:100", "has a:100", "wants a"]);
        assert!(world.run(HOUR));
        let most = world.pieces_from(5).into_values().max().unwrap();
        assert!(most <= 30, "{profile}: {:?}", world.pieces_from(5));
    }
}

#[test]
fn least_loaded_does_not_herd() {
    for profile in [Profile::BitTorrent, Profile::Course] {
        let setup = Setup {
            profile,
            pieces: PieceOrder::Sequential,
            sources: SourceOrder::LEAST_LOADED,
            no_share: (5..=16).collect(),
            ..Setup::default()
        };
        let mut plan = vec!["has a:400"; 4];
        plan.extend(["wants a"; 12]);
        let mut world = World::new(&setup, &plan);
        world.set_uplinks(1..=4, 100_000_000);
        assert!(world.run(HOUR));
        let served: Vec<u64> =
            (1..=4).map(|rank| world.node(rank).member.stats().pieces_served).collect();
        let (most, mean) = (*served.iter().max().unwrap(), served.iter().sum::<u64>() / 4);
        assert!(most * 100 <= mean * 125, "{profile}: {served:?}");
    }
}

#[test]
fn tit_for_tat_completes_too() {
    let setup = Setup { choker: ChokerKind::TitForTat, ..Setup::default() };
    let mut plan = vec!["has a:60"];
    plan.extend(["wants a"; 9]);
    let mut world = World::new(&setup, &plan);
    world.set_uplinks(1..=10, 2_000_000);
    assert!(world.run(HOUR));
    assert!((2..=10).all(|rank| world.has_all(rank)));
}

#[test]
fn little_memory_is_enough_and_never_exceeded() {
    for memory in [1u64 << 19, 2 << 20, 6 << 20] {
        let setup = Setup { memory, ..Setup::default() };
        let plan = ["has a:30 b:3", "has a:30", "wants a b", "wants a b"];
        let mut world = World::new(&setup, &plan);
        world.set_uplinks(1..=4, 10_000_000);
        assert!(world.run(HOUR), "{memory}");
        for rank in 3..=4 {
            assert!(world.has_all(rank));
            let peak = world.node(rank).peak_memory;
            assert!(peak <= memory.max(1 << 20), "{peak} of {memory}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_outputs() {
    let run = |seed| {
        let setup = Setup { seed, sources: SourceOrder::RANDOM, ..Setup::default() };
        let mut world =
            World::new(&setup, &["has a:40", "has a:40", "wants a", "wants a", "wants a"]);
        world.set_uplinks(1..=5, 10_000_000);
        assert!(world.run(HOUR));
        world.log
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_window_of_many_small_blocks_is_never_refused() {
    // 16 KiB pieces over a long, fast path: the window holds thousands of them.
    let mut world = World::new(&Setup::default(), &["has a:3000", "wants a"]);
    world.small_pieces();
    world.set_delay(Duration::from_millis(50));
    world.set_uplinks([1], 500_000_000);
    assert!(world.run(HOUR));
    assert!(world.has_all(2));
    assert_eq!(world.node(2).member.stats().rejected, 0);
}
