//! Swarms drawn by seed: plans, policies, memory, uplinks and faults. Every honest rank completes,
//! or says why it cannot; nobody honest is banned; every invariant holds after every step.

use crate::cluster_world::{Setup, World};
use dunlin_base::{Rank, Rng};
use dunlin_engine::cluster::TrackerMap;
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};
use dunlin_engine::swarm::choker::ChokerKind;
use expect_test::expect_file;
use std::fmt::Write as _;
use std::time::Duration;

/// Runs whose traces are kept, by a digest.
const KEPT: u64 = 60;

struct Drawn {
    setup: Setup,
    plan: Vec<String>,
    liars: Vec<u32>,
    mutes: Vec<u32>,
    dies: Vec<(u32, u64)>,
    uplinks: Vec<(u32, u64)>,
    disk_delay: Duration,
    refusals: Vec<(u32, u64)>,
}

impl Drawn {
    fn is_given(&self, name: &str) -> bool {
        (1u32..).zip(&self.plan).any(|(rank, line)| {
            let (has, _) = line.split_once("wants").unwrap();
            has.contains(&format!(" {name}:"))
                && !self.liars.contains(&rank)
                && !self.setup.no_share.contains(&rank)
        })
    }
}

fn draw(seed: u64) -> Drawn {
    let mut rng = Rng::new(seed);
    let profile = Profile::ALL[rng.below(3) as usize];
    let map = if rng.chance(1, 2) { TrackerMap::Swarm } else { TrackerMap::Pieces };
    let mut pieces = PieceOrder::ALL[rng.below(3) as usize];
    if profile == Profile::Course && map == TrackerMap::Swarm && pieces == PieceOrder::Rarest {
        pieces = PieceOrder::Sequential;
    }
    let ranks = 3 + rng.below(8) as u32;
    let no_share = (1..=ranks).filter(|_| rng.chance(1, 12)).collect();
    let setup = Setup {
        profile,
        pieces,
        sources: SourceOrder::ALL[rng.below(6) as usize],
        choker: if rng.chance(1, 5) { ChokerKind::TitForTat } else { ChokerKind::Cooperative },
        map,
        refresh: [0, 1, 3, 10][rng.below(4) as usize],
        memory: [1 << 19, 2 << 20, 8 << 20, 1 << 30][rng.below(4) as usize],
        seed,
        no_share,
    };
    let files = ["a", "b", "c"];
    let sizes: Vec<u64> = files.iter().map(|_| rng.below(25)).collect();
    let mut plan = Vec::new();
    for _ in 0..ranks {
        let (mut has, mut wants) = (String::from("has"), String::from("wants"));
        for (name, size) in files.iter().zip(&sizes) {
            match rng.below(5) {
                0 => has.push_str(&format!(" {name}:{size}")),
                1..=3 => wants.push_str(&format!(" {name}")),
                _ => {}
            }
        }
        plan.push(format!("{has} {wants}"));
    }
    let mut some = |part: u64| -> Vec<u32> {
        if rng.chance(1, 2) {
            (1..=ranks).filter(|_| rng.chance(1, part)).collect()
        } else {
            vec![]
        }
    };
    let (liars, mutes, dying) = (some(6), some(8), some(8));
    let dies = dying.into_iter().map(|rank| (rank, rng.below(3000))).collect();
    let slow = rng.chance(1, 2);
    let uplinks =
        (1..=ranks).filter(|_| slow).map(|rank| (rank, 500_000 << rng.below(8))).collect();
    let disk_delay = Duration::from_millis([0, 0, 1, 7, 300][rng.below(5) as usize]);
    let refusing = rng.chance(1, 3);
    let refusals = (1..=ranks)
        .filter(|_| refusing && rng.chance(1, 2))
        .map(|rank| (rank, 30 + 30 * u64::from(rank % 3)))
        .collect();
    Drawn { setup, plan, liars, mutes, dies, uplinks, disk_delay, refusals }
}

fn run(seed: u64) -> World {
    let drawn = draw(seed);
    let lines: Vec<&str> = drawn.plan.iter().map(String::as_str).collect();
    let mut world = World::new(&drawn.setup, &lines);
    world.disk_delay = drawn.disk_delay;
    for (rank, percent) in &drawn.refusals {
        world.node(*rank).refuses = *percent;
    }
    for liar in &drawn.liars {
        world.node(*liar).lies = true;
    }
    for mute in &drawn.mutes {
        world.node(*mute).mute_data = true;
    }
    for (rank, rate) in &drawn.uplinks {
        world.set_uplinks([*rank], *rate);
    }
    let mut deaths = drawn.dies.clone();
    deaths.sort_by_key(|(_, at)| *at);
    for (rank, at_ms) in deaths {
        world.run(Duration::from_millis(at_ms));
        world.node(rank).dead = true;
    }
    let context = || format!("seed {seed}: {:?}", drawn.plan);
    assert!(world.run(Duration::from_secs(7200)), "{} does not end", context());
    for rank in 1..=lines.len() as u32 {
        if world.nodes[&Rank(rank)].dead {
            continue;
        }
        let progress = world.nodes[&Rank(rank)].member.progress();
        assert!(progress.complete, "{}: rank {rank}", context());
        let failed = world.nodes[&Rank(rank)].member.failed();
        assert!(failed.iter().all(|file| !file.reason.is_empty()));
        if failed.is_empty() {
            assert_eq!(progress.pieces_have, progress.pieces_wanted, "{}: {rank}", context());
        }
        // Whatever somebody honest has and shares must come, to liars too.
        let cooperative = drawn.setup.choker == ChokerKind::Cooperative;
        if drawn.mutes.is_empty() && drawn.dies.is_empty() && cooperative {
            let given = failed.iter().find(|file| drawn.is_given(&file.name));
            assert_eq!(given, None, "{}: rank {rank}", context());
        }
        for banned in world.banned(rank) {
            assert!(drawn.liars.contains(&banned), "{}: {rank} banned {banned}", context());
        }
    }
    world
}

#[test]
fn every_honest_rank_completes_or_says_why() {
    let seeds = std::env::var("DUNLIN_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    // Of the first ones the traces are kept.
    let mut kept = String::new();
    for seed in 0..seeds.max(KEPT) {
        let log = run(seed).log;
        if seed < KEPT {
            let digest = crate::cluster_world::trace_text::digest(log.as_bytes());
            writeln!(kept, "seed {seed}: {} lines, {digest:016x}", log.lines().count()).unwrap();
        }
    }
    expect_file!["../golden/digests.txt"].assert_eq(&kept);
}
