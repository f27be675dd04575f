//! Ranks that lie, die, refuse, dawdle and keep silent, in virtual time.

use crate::common::Run;
use dunlin_base::{Rank, Rng};
use dunlin_cluster::{Fault, PeerState};
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};

const FILES: &[(&str, &str)] = &[
    ("big:1500003 x:70000", ""),
    ("big:1500003", "x"),
    ("x:70000", "big"),
    ("", "big x"),
    ("", "big x"),
];
const COURSE: &[(&str, &str)] =
    &[("a:60 b:20", ""), ("a:60", "b"), ("b:20", "a"), ("", "a b"), ("", "a b")];

fn faults(run: Run, texts: &[&str]) -> Run {
    run.with(|config| {
        config.faults = texts.iter().map(|text| text.parse::<Fault>().expect("fault")).collect();
        config.stall_timeout = crate::common::seconds(30);
        config.start_timeout = crate::common::seconds(5);
    })
}

#[test]
fn a_liar_is_found_and_nobody_else_is_blamed() {
    for run in [Run::files(FILES), Run::course(COURSE)] {
        let done = faults(run, &["corrupt=2"]).go().ok();
        let bad: u64 = done.report.peers.iter().map(|peer| peer.bad_pieces).sum();
        assert!(bad > 0, "the liar was never asked");
        for peer in &done.report.peers {
            assert!(peer.banned.iter().all(|rank| *rank == Rank(2)), "{:?}", peer.banned);
        }
        let banned = done.report.peers.iter().any(|peer| peer.banned.contains(&Rank(2)));
        assert!(banned, "nobody banned the liar");
    }
}

#[test]
fn the_others_go_on_when_one_dies() {
    for run in [Run::files(FILES), Run::course(COURSE)] {
        let done = faults(run, &["die=3@50"]).go();
        assert_eq!(done.report.exit_code(), 1);
        let states: Vec<PeerState> = done.report.peers.iter().map(|peer| peer.state).collect();
        let mut expected = [PeerState::Complete; 5];
        expected[2] = PeerState::Dead;
        assert_eq!(states, expected, "{:#}", done.report.to_json());
    }
}

#[test]
fn refusals_only_cost_time() {
    for run in [Run::files(FILES), Run::course(COURSE)] {
        let done = faults(run, &["refuse=1:50", "refuse=2:30"]).go().ok();
        assert!(done.report.peers.iter().map(|peer| peer.rejected).sum::<u64>() > 0);
    }
}

#[test]
fn a_slow_rank_only_costs_time() {
    let done = faults(Run::files(FILES), &["slow=1:200kB"]).go().ok();
    done.has_file(4, "big", 1_500_003);
    faults(Run::course(COURSE), &["slow=1:100"]).go().ok();
}

#[test]
fn a_mute_rank_is_named_and_the_others_complete() {
    for run in [Run::files(FILES), Run::course(COURSE)] {
        let done = faults(run, &["mute=3"]).go();
        assert_eq!(done.report.exit_code(), 1);
        assert_eq!(done.peer(3).state, PeerState::Absent);
        for rank in [1, 2, 4, 5] {
            assert_eq!(done.peer(rank).state, PeerState::Complete, "rank {rank}");
        }
    }
}

#[test]
fn the_only_holder_dies_and_that_is_said() {
    let run = Run::course(&[("a:60", ""), ("", "a"), ("b:5", "b")]);
    let done = faults(run, &["die=1@50"]).go();
    assert_eq!(done.report.exit_code(), 1);
    assert_eq!(done.peer(1).state, PeerState::Dead);
    assert_eq!(done.peer(3).state, PeerState::Complete);
    let file = &done.peer(2).files[0];
    assert!(file.reason.as_ref().is_some_and(|reason| !reason.is_empty()), "{file:?}");
}

/// Seeds that every run of the tests tries; the soak tries more.
const SEEDS: u64 = 25;

#[test]
fn seeds_of_trouble() {
    let seeds = std::env::var("DUNLIN_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(SEEDS) {
        let mut rng = Rng::fork(seed, 99);
        let mut texts = Vec::new();
        // Rank 1 is honest and has everything, so the honest can always complete.
        for rank in 2..=5 {
            match rng.below(8) {
                0 => texts.push(format!("corrupt={rank}")),
                1 => texts.push(format!("die={rank}@{}", rng.below(101))),
                2 => texts.push(format!("refuse={rank}:{}", rng.below(90))),
                3 => texts.push(format!("slow={rank}:20kB")),
                4 => texts.push(format!("mute={rank}")),
                _ => {}
            }
        }
        let run = if seed % 2 == 0 { Run::files(FILES) } else { Run::course(COURSE) };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let done = faults(run, &texts)
            .with(|config| {
                config.seed = seed;
                config.trace = None;
                let sources = SourceOrder::ALL;
                config.sources = sources[rng.below(sources.len() as u64) as usize];
                if rng.chance(1, 2) {
                    (config.profile, config.pieces) = (Profile::BitTorrent, PieceOrder::Rarest);
                }
            })
            .go();
        assert!(done.report.errors.is_empty(), "{seed} {texts:?}: {:?}", done.report.errors);
        for peer in &done.report.peers {
            let odd = texts.iter().any(|text| {
                let lost = text.starts_with("die") || text.starts_with("mute");
                lost && text.contains(&format!("={}", peer.rank))
            });
            let what = format!("seed {seed} {texts:?} rank {}: {:?}", peer.rank, peer.files);
            assert!(odd || peer.state == PeerState::Complete, "{what}");
            let liars = |rank: &Rank| texts.contains(&format!("corrupt={rank}").as_str());
            assert!(peer.banned.iter().all(liars), "{what} banned {:?}", peer.banned);
        }
    }
}
