//! Peers that lie, die, say nothing or break the protocol, and a disk that is full.

use crate::cluster_world::{Setup, World, request};
use dunlin_base::{BlockRef, PieceIndex, Rank};
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};
use dunlin_engine::io::MemberEvent;
use dunlin_wire::Message;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn setups() -> [Setup; 4] {
    let course = Setup {
        profile: Profile::Course,
        pieces: PieceOrder::Sequential,
        sources: SourceOrder::ROUND_ROBIN,
        ..Setup::default()
    };
    [
        Setup::default(),
        Setup { sources: SourceOrder::ROUND_ROBIN, ..Setup::default() },
        Setup { sources: SourceOrder::RANDOM, memory: 3 << 20, ..Setup::default() },
        course,
    ]
}

#[test]
fn a_liar_is_banned_and_nobody_else() {
    for (index, setup) in setups().iter().enumerate() {
        for seed in 0..10 {
            let setup = Setup { seed, ..setup.clone() };
            let plan = ["has a:30", "has a:30", "has a:30", "wants a", "wants a", "wants a"];
            let mut world = World::new(&setup, &plan);
            world.set_uplinks(1..=6, 20_000_000);
            world.node(2).lies = true;
            assert!(world.run(HOUR), "setup {index} seed {seed}");
            for rank in 4..=6 {
                assert!(world.has_all(rank), "setup {index} seed {seed}");
                assert!(world.banned(rank).iter().all(|liar| *liar == 2));
            }
            let bad: u64 = (4..=6).map(|rank| world.node(rank).member.stats().bad_pieces).sum();
            assert!(bad > 0, "setup {index} seed {seed}: the liar was never asked");
        }
    }
}

#[test]
fn a_source_that_says_nothing_is_left_for_others() {
    for setup in setups() {
        let mut world = World::new(&setup, &["has a:30", "has a:30", "wants a"]);
        world.node(2).mute_data = true;
        assert!(world.run(HOUR));
        assert!(world.has_all(3));
    }
}

#[test]
fn a_dead_owner_leaves_files_failed_with_a_reason() {
    for setup in setups() {
        let mut world = World::new(&setup, &["has a:30", "has b:4", "wants a b", "wants b"]);
        world.set_uplinks([1], 1_000_000);
        world.run(Duration::from_secs(8));
        world.node(1).dead = true;
        assert!(world.run(HOUR), "the run ends without the dead owner");
        assert!(world.has_all(4), "what others hold still comes");
        let failed: Vec<_> = world
            .events(3)
            .iter()
            .filter_map(|event| match event {
                MemberEvent::FileFailed(failed) => Some(failed.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert_eq!(failed[0].name, "a");
        assert!(failed[0].reason.contains("no live source"), "{}", failed[0].reason);
        assert_eq!(world.coordinator.outcome().dead, [Rank(1)]);
    }
}

#[test]
fn a_source_that_withdraws_ends_the_wait_of_everybody() {
    // Where memory is short, pieces that were begun wait for it as long as anything may stall; and
    // in classic runs nobody says of himself what he has.
    let usual = |setup: &&Setup| {
        setup.memory == Setup::default().memory && setup.profile != Profile::Course
    };
    for (index, setup) in setups().iter().filter(usual).enumerate() {
        let others = ["has b:4", "has a:30 b:4"].into_iter();
        for (other, stops) in others.flat_map(|other| [(other, true), (other, false)]) {
            let files = "wants a b";
            let mut world = World::new(setup, &["has a:30", other, files, files, "wants b"]);
            world.set_uplinks([1], 1_000_000);
            world.set_uplinks([2], 1_000_000);
            world.run(Duration::from_secs(8));
            let begun = world.now();
            // It stops, or its file is not what it was any more.
            match stops {
                true => world.withdraw(1),
                false => world.node(1).unreadable = true,
            }
            assert!(world.run(HOUR), "setup {index}");
            let took = world.now().since(begun);
            let stays = other.contains("a:");
            assert!(stays || took < Duration::from_secs(20), "setup {index}: {took:?}");
            for rank in [3, 4] {
                let failed = world.node(rank).member.failed().to_vec();
                assert_eq!(failed.is_empty(), stays, "setup {index}: {failed:?}");
                let named = |reason: &str| reason.contains("rank 1, which had it, gives no more");
                assert!(failed.iter().all(|one| one.name == "a" && named(&one.reason)));
            }
            assert!(world.has_all(5), "what others hold still comes");
        }
    }
}

#[test]
fn a_full_disk_blames_nobody_and_resumes() {
    for setup in setups() {
        let mut world = World::new(&setup, &["has a:10", "wants a"]);
        world.disk_full = true;
        world.run(Duration::from_secs(20));
        assert!(!world.has_all(2));
        world.disk_full = false;
        assert!(world.run(HOUR));
        assert!(world.has_all(2));
        assert!(world.banned(2).is_empty());
    }
}

#[test]
fn a_full_disk_for_too_long_fails_with_its_reason() {
    let mut world = World::new(&Setup::default(), &["has a:100", "wants a"]);
    world.disk_full = true;
    assert!(world.run(HOUR));
    // What was under way when it became full, and then one piece a pause.
    assert!(world.vain < 100 + 10, "{} pieces were fetched in vain", world.vain);
    assert!(world.events(2).iter().any(
        |event| matches!(event, MemberEvent::FileFailed(failed) if failed.reason.contains("disk full"))
    ));
}

#[test]
fn nobody_has_it() {
    let mut world = World::new(&Setup::default(), &["has a:3", "wants a nothing"]);
    assert!(world.run(HOUR));
    let failed = world.node(2).member.failed().to_vec();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].name, "nothing");
}

#[test]
fn a_breach_of_the_protocol_closes_the_connection_and_harms_nobody() {
    let breaches = [
        Message::Have { piece: 1_000_000 },
        Message::Bitfield(vec![0xff; 3].into()),
        Message::HaveAll,
    ];
    for breach in breaches {
        let mut world = World::new(&Setup::default(), &["has a:40", "has a:40", "wants a"]);
        world.set_uplinks(1..=2, 5_000_000);
        world.run(Duration::from_secs(1));
        world.inject(2, 3, 0, breach.clone());
        assert!(world.run(HOUR), "{breach:?}");
        assert!(world.has_all(3), "{breach:?}");
        assert!(world.banned(3).is_empty(), "a breach is no lie");
    }
}

#[test]
fn requests_that_make_no_sense_are_rejected() {
    let mut world = World::new(&Setup::default(), &["has a:4", "wants a", "wants a"]);
    world.set_uplinks([1], 1_000_000);
    world.run(Duration::from_secs(1));
    for (piece, begin, length) in [(9, 0, 16384), (0, 1 << 20, 16384), (0, 0, u32::MAX), (0, 0, 0)]
    {
        world.inject(2, 1, 0, request(piece, begin, length));
    }
    let strange = BlockRef { piece: PieceIndex(7), begin: 1, len: 2 };
    world.inject(2, 1, 0, Message::Cancel(strange));
    world.inject(1, 2, 0, Message::RejectRequest(strange));
    assert!(world.run(HOUR));
    assert!(world.has_all(2) && world.has_all(3));
}
