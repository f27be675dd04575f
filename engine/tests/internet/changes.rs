//! What people change while it runs, and what goes wrong at home: pauses, removals, stops, files
//! that are wanted or not, limits, goals, a full disk, files that change behind our back.

use crate::internet_world::{HOUR, T, TRACKER, World, adding, address, magnet, torrent};
use dunlin_base::{FileIndex, PieceIndex, Rate, Rng, Time};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{
    AddTorrent, ClientEvent, Command, Limits, Priority, SeedGoal, Source, SwarmEvent, TorrentState,
    TorrentView,
};
use dunlin_metainfo::{Format, Torrent};
use dunlin_tracker::{AnnounceEvent, AnnounceFailure};
use std::sync::Arc;
use std::time::Duration;

const PIECE: u32 = 64 << 10;
const BLOCK: u64 = 16 << 10;
const LONG: &[u64] = &[40 * PIECE as u64 + 1234, 0, 5 * PIECE as u64, 20_000];

fn some() -> Arc<Torrent> {
    torrent(Format::V1, PIECE, LONG)
}

fn view(world: &World, host: usize) -> TorrentView {
    world.client(host).view(world.now(), T).unwrap()
}

fn config(seed: u64) -> ClientConfig {
    ClientConfig { seed, ..ClientConfig::default() }
}

fn finished(world: &World, host: usize) -> Vec<u32> {
    let events = world.hosts[host].events.iter();
    let mut files: Vec<u32> = events
        .filter_map(|event| match event {
            ClientEvent::FileComplete { file: FileIndex(file), .. } => Some(*file),
            _ => None,
        })
        .collect();
    files.sort_unstable();
    files
}

#[test]
fn a_pause_hangs_up_and_a_resume_goes_on() {
    let mut world = World::new();
    let hosts = world.swarm(&some(), 1, 1);
    world.set_uplink(hosts[0], 200_000);
    world.pass(Duration::from_secs(5));
    let before = view(&world, hosts[1]).have;
    assert!(before > 0 && !world.seeds(hosts[1]));
    world.command(hosts[1], Command::Pause(T));
    world.pass(Duration::from_secs(100));
    assert_eq!(world.state(hosts[1]), Some(TorrentState::Paused));
    assert!(world.hosts[hosts[1]].ends.is_empty());
    assert_eq!(world.hosts[hosts[1]].disk.reserved(), 0, "no memory is kept");
    assert_eq!(world.announced(hosts[1]), [AnnounceEvent::Started, AnnounceEvent::Stopped]);
    world.command(hosts[1], Command::Resume(T));
    assert!(world.run(HOUR, |w| w.seeds(hosts[1])));
    assert_eq!(world.hosts[hosts[1]].disk.opened, 1, "nothing is checked again");
}

#[test]
fn a_torrent_may_be_added_paused_and_removed() {
    let mut world = World::new();
    let torrent = some();
    world.swarm(&torrent, 0, 1);
    let host = world.host(config(3));
    let add = adding(Source::Metainfo(torrent), host);
    world.add(host, AddTorrent { paused: true, ..add.clone() });
    world.pass(Duration::from_secs(10));
    assert_eq!(world.state(host), Some(TorrentState::Paused));
    assert!(world.announced(host).is_empty());
    world.command(host, Command::Resume(T));
    world.pass(Duration::from_millis(60));
    world.command(host, Command::Remove(T));
    assert!(world.hosts[host].removed.is_empty(), "its files are open, and its tracker must know");
    world.pass(Duration::from_secs(10));
    assert_eq!(world.client(host).torrents().count(), 0);
    assert_eq!(world.hosts[host].removed, [T], "once");
    world.command(host, Command::Remove(T));
    assert_eq!(world.hosts[host].removed, [T, T], "there is none, so it is removed");
    assert!(!world.hosts[host].disk.is_open(T));
    assert_eq!(world.hosts[host].disk.reserved(), 0);
    world.add(host, add);
    assert!(world.run(HOUR, |w| w.seeds(host)), "and added again");
}

#[test]
fn a_stop_tells_trackers_and_closes_everything() {
    for slow in [false, true] {
        let mut world = World::new();
        let hosts = world.swarm(&some(), 1, 1);
        world.set_uplink(hosts[0], 200_000);
        world.pass(Duration::from_secs(5));
        if slow {
            world.set_delay(Duration::from_secs(30));
        }
        let began = world.now();
        world.command(hosts[1], Command::Stop);
        let stopped = |w: &World| w.hosts[hosts[1]].events.last() == Some(&ClientEvent::Stopped);
        assert!(world.run(Duration::from_secs(5), stopped));
        let took = world.now().since(began);
        assert_eq!(took >= Duration::from_secs(5), slow, "{took:?}");
        assert_eq!(world.announced(hosts[1]).last(), Some(&AnnounceEvent::Stopped));
        assert!(!world.hosts[hosts[1]].disk.is_open(T));
        assert!(world.hosts[hosts[1]].ends.is_empty());
    }
}

#[test]
fn unwanted_files_stay_away_until_they_are_wanted() {
    let mut world = World::new();
    let torrent = some();
    world.swarm(&torrent, 0, 1);
    let host = world.host(config(3));
    let skip = vec![Priority::Skip, Priority::Skip, Priority::High];
    let add = adding(Source::Metainfo(torrent), host);
    world.add(host, AddTorrent { priorities: skip, ..add });
    assert!(world.run(HOUR, |w| w.seeds(host)));
    assert_eq!(finished(&world, host), [2, 3]);
    assert_eq!(view(&world, host).wanted, 5 * u64::from(PIECE) + 20_000);
    assert_eq!(view(&world, host).have, view(&world, host).wanted);
    assert!(!world.hosts[host].disk.have(T).unwrap().has(PieceIndex(3)));
    world.pass(Duration::from_secs(2000));
    let heard = world.announced(host);
    assert_eq!(heard, [AnnounceEvent::Started, AnnounceEvent::Paused], "a partial seed says so");
    world.command(host, Command::Prioritize(T, vec![]));
    assert_eq!(world.state(host), Some(TorrentState::Downloading));
    assert!(world.run(HOUR, |w| w.seeds(host)));
    assert_eq!(finished(&world, host), [0, 1, 2, 3]);
    assert!(world.announced(host).contains(&AnnounceEvent::Completed));
}

#[test]
fn what_is_no_longer_wanted_is_not_waited_for() {
    let mut world = World::new();
    let hosts = world.swarm(&some(), 1, 1);
    world.set_uplink(hosts[0], 200_000);
    world.pass(Duration::from_secs(3));
    world.command(hosts[1], Command::Prioritize(T, vec![Priority::Skip]));
    assert!(world.run(Duration::from_secs(10), |w| w.seeds(hosts[1])));
    assert_eq!(finished(&world, hosts[1]), [1, 2, 3]);
}

/// Indexes of verified pieces, in the order in which they came.
fn order(world: &World, host: usize) -> Vec<u32> {
    let events = world.hosts[host].swarm_events.iter();
    events
        .filter_map(|event| match event {
            SwarmEvent::Verified { key, .. } => Some(key.piece.0),
            _ => None,
        })
        .collect()
}

#[test]
fn higher_files_come_first_and_sequential_comes_in_order() {
    let mut world = World::new();
    let torrent = torrent(Format::V1, PIECE, &[256 * u64::from(PIECE); 2]);
    let seed = world.swarm(&torrent, 0, 1)[0];
    world.set_uplink(seed, 1_000_000);
    let host = world.host(config(3));
    let add = adding(Source::Metainfo(torrent.clone()), host);
    let priorities = vec![Priority::Low, Priority::High];
    world.add(host, AddTorrent { priorities, ..add.clone() });
    assert!(world.run(HOUR, |w| w.seeds(host)));
    let came = order(&world, host);
    assert!(came[..60].iter().all(|piece| *piece >= 256), "{came:?}");
    let host = world.host(config(4));
    let add = AddTorrent { sequential: true, ..adding(Source::Metainfo(torrent), host) };
    world.add(host, add);
    world.run(HOUR, |w| order(w, host).len() >= 60);
    let came = order(&world, host);
    let late = came.iter().enumerate().filter(|(at, piece)| at.abs_diff(**piece as usize) > 16);
    assert_eq!(late.count(), 0, "{came:?}");
    world.command(host, Command::Sequential(T, false));
    world.run(HOUR, |w| order(w, host).len() >= 300);
    let rest = order(&world, host)[60..].to_vec();
    assert!(!rest.is_sorted(), "{rest:?}");
}

#[test]
fn limits_are_kept_within_five_percent() {
    let large = torrent(Format::V1, 1 << 20, &[200 << 20]);
    // (limits of the leecher, of its torrent, of the seed, bytes a second)
    let down = |rate| Limits { down: Some(Rate(rate)), up: None };
    let up = |rate| Limits { down: None, up: Some(Rate(rate)) };
    let none = Limits::default();
    for (all, own, given, expected) in [
        (down(1_000_000), none, none, 1_000_000),
        (none, down(300_000), none, 300_000),
        (down(5_000_000), down(2_000_000), none, 2_000_000),
        (none, none, up(700_000), 700_000),
        (down(50_000), none, none, 50_000),
    ] {
        let mut world = World::new();
        let seed = world.host(ClientConfig { limits: given, ..config(1) });
        world.hosts[seed].disk.full_copy = true;
        world.add(seed, adding(Source::Metainfo(large.clone()), seed));
        let host = world.host(ClientConfig { limits: all, ..config(2) });
        let add = adding(Source::Metainfo(large.clone()), host);
        world.add(host, AddTorrent { limits: own, ..add });
        world.set_uplink(seed, 20_000_000);
        world.pass(Duration::from_secs(5));
        let before = view(&world, host).received;
        world.pass(Duration::from_secs(20));
        let came = view(&world, host).received - before;
        let (least, most) = (expected * 19, expected * 21);
        assert!((least..=most).contains(&came), "{came} of {}", expected * 20);
        world.command(host, Command::Limit(None, none));
        world.command(host, Command::Limit(Some(T), none));
        world.command(seed, Command::Limit(None, none));
        let before = view(&world, host).received;
        world.pass(Duration::from_secs(5));
        assert!(view(&world, host).received - before > 60_000_000, "taken off at run time");
    }
}

#[test]
fn goals_of_ratio_and_time() {
    let torrent = some();
    for (goal, leechers) in [
        (SeedGoal { ratio_permille: Some(1500), time: None }, 3),
        (SeedGoal { ratio_permille: None, time: Some(Duration::from_secs(500)) }, 1),
        (SeedGoal { ratio_permille: Some(0), time: None }, 0),
    ] {
        let mut world = World::new();
        let seed = world.host(config(1));
        world.hosts[seed].disk.full_copy = true;
        let add = adding(Source::Metainfo(torrent.clone()), seed);
        world.add(seed, AddTorrent { seed: Some(goal), ..add });
        for number in 0..leechers {
            let host = world.host(config(5 + number));
            world.set_uplink(host, 1000);
            world.add(host, adding(Source::Metainfo(torrent.clone()), host));
        }
        let done = |w: &World| w.state(seed) == Some(TorrentState::Done);
        assert!(world.run(HOUR, done), "{goal:?}");
        let total: u64 = LONG.iter().sum();
        if goal.ratio_permille == Some(1500) {
            let needs = (total * 1500).div_ceil(1000);
            let sent = view(&world, seed).sent;
            assert!((needs..needs + BLOCK).contains(&sent), "{sent} of {needs}");
        }
        if goal.time.is_some() {
            assert!((500..502).contains(&world.now().since(Time::ZERO).as_secs()));
        }
    }
}

#[test]
fn a_goal_of_payload_is_kept_to_the_block_however_fast_peers_take() {
    let torrent = some();
    let total: u64 = LONG.iter().sum();
    for permille in [1, 300, 1000, 1001, 2500] {
        let mut world = World::new();
        let seed = world.host(config(1));
        world.hosts[seed].disk.full_copy = true;
        let add = adding(Source::Metainfo(torrent.clone()), seed);
        let goal = SeedGoal { ratio_permille: Some(permille), time: None };
        world.add(seed, AddTorrent { seed: Some(goal), ..add });
        // They take all at once and give nothing to each other.
        for number in 0..4 {
            let host = world.host(config(5 + number));
            world.hosts[host].mute = true;
            world.add(host, adding(Source::Metainfo(torrent.clone()), host));
        }
        let done = |w: &World| w.state(seed) == Some(TorrentState::Done);
        assert!(world.run(HOUR, done), "{permille}");
        let needs = (total * permille).div_ceil(1000);
        let sent = view(&world, seed).sent;
        assert!((needs..needs + BLOCK).contains(&sent), "{permille}: {sent} of {needs}");
    }
}

#[test]
fn what_each_peer_gave_and_took_is_told_in_the_end() {
    let torrent = some();
    let total: u64 = LONG.iter().sum();
    let mut world = World::new();
    let hosts = world.swarm(&torrent, 3, 9);
    let done = |w: &World| hosts[1..].iter().all(|host| w.seeds(*host));
    assert!(world.run(HOUR, done));
    let mut moved = (0, 0);
    for host in &hosts {
        world.command(*host, Command::Remove(T));
        world.pass(Duration::from_secs(10));
        let events = world.hosts[*host].events.iter();
        let totals: Vec<_> = events
            .filter_map(|event| match event {
                ClientEvent::PeerTotals { torrent: T, totals } => Some(totals.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        let others: Vec<_> = hosts.iter().filter(|other| *other != host).collect();
        for total in &totals {
            let ip = total.address.unwrap();
            assert!(others.iter().any(|other| address(**other).ip() == ip), "{total:?}");
            assert!(total.program.starts_with("dunlin "), "{total:?}");
        }
        moved.0 += totals.iter().map(|one| one.received).sum::<u64>();
        moved.1 += totals.iter().map(|one| one.sent).sum::<u64>();
    }
    assert_eq!(moved.0, moved.1, "what one gave another took");
    assert!(moved.0 >= 3 * total);
}

#[test]
fn a_full_disk_waits_with_its_reason_and_goes_on_by_itself() {
    let mut world = World::new();
    let hosts = world.swarm(&some(), 1, 1);
    world.hosts[hosts[1]].disk.full = true;
    let full = |w: &World| w.state(hosts[1]) == Some(TorrentState::DiskFull);
    assert!(world.run(HOUR, full));
    world.pass(HOUR * 3);
    assert!(full(&world), "however long it takes");
    let reason = world.hosts[hosts[1]].events.iter().rev().find_map(|event| match event {
        ClientEvent::State { reason, .. } => reason.clone(),
        _ => None,
    });
    assert!(reason.unwrap().contains("disk is full"));
    assert_eq!(world.banned(hosts[1]), 0);
    world.hosts[hosts[1]].disk.full = false;
    let done = world.run(HOUR, |w| w.seeds(hosts[1]));
    let tail = world.log.len().saturating_sub(60);
    assert!(done, "{:#?}", &world.log[tail..]);
}

#[test]
fn files_that_changed_are_checked_before_they_are_served_again() {
    let mut world = World::new();
    let torrent = some();
    let hosts = world.swarm(&torrent, 1, 1);
    assert!(world.run(HOUR, |w| w.seeds(hosts[1])));
    world.hosts[hosts[0]].disk.changed.extend([PieceIndex(3), PieceIndex(4)]);
    let third = world.host(config(9));
    world.add(third, adding(Source::Metainfo(torrent), third));
    let checked = |w: &World| w.state(hosts[0]) == Some(TorrentState::Downloading);
    assert!(world.run(HOUR, checked), "{:?}", world.state(hosts[0]));
    assert_eq!(world.hosts[hosts[0]].disk.opened, 2);
    assert!(world.run(HOUR, |w| w.seeds(hosts[0]) && w.seeds(third)), "and mended from others");
    assert!([hosts[0], hosts[1], third].iter().all(|host| world.banned(*host) == 0));
}

#[test]
fn trackers_that_fail_are_passed_over() {
    let mut world = World::new();
    let torrent = some();
    world.swarm(&torrent, 0, 1);
    let failure = AnnounceFailure::Unreachable("nobody there".into());
    world.broken.insert("dead".into(), failure);
    let host = world.host(config(4));
    let trackers = vec![vec!["http://dead/announce".into()], vec![TRACKER.into()]];
    let add = adding(Source::Metainfo(torrent), host);
    world.add(host, AddTorrent { trackers, ..add });
    assert!(world.run(HOUR, |w| w.seeds(host)));
    let news = world.hosts[host].events.iter().filter_map(|event| match event {
        ClientEvent::Announced { news, .. } => Some((news.url.to_string(), news.result.is_ok())),
        _ => None,
    });
    let news: Vec<_> = news.take(2).collect();
    assert_eq!(news, [("http://dead/announce".into(), false), (TRACKER.into(), true)]);
}

/// Swarms drawn by seed, with everything that may be done to them; whoever is left completes.
#[test]
fn random_swarms_complete_whatever_is_done_to_them() {
    let seeds = std::env::var("DUNLIN_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(40) {
        let mut rng = Rng::new(seed);
        let format = [Format::V1, Format::V2, Format::Hybrid][rng.below(3) as usize];
        let lengths: Vec<u64> = (0..1 + rng.below(6)).map(|_| rng.below(30 * 65536)).collect();
        let lengths = [lengths, vec![1]].concat();
        let torrent = torrent(format, PIECE, &lengths);
        let mut world = World::new();
        world.set_delay(Duration::from_millis(1 + rng.below(80)));
        let hosts = world.swarm(&torrent, 1 + rng.below(5) as usize, seed);
        let named = world.host(config(seed));
        world.add(named, adding(magnet(torrent.hashes), named));
        let hosts = [hosts, vec![named]].concat();
        for host in &hosts {
            world.set_uplink(*host, [0, 100_000, 1_000_000][rng.below(3) as usize]);
            world.hosts[*host].disk.delay = Duration::from_millis(rng.below(3) * 20);
        }
        for _ in 0..rng.below(12) {
            world.pass(Duration::from_millis(rng.below(4000)));
            let host = hosts[rng.below(hosts.len() as u64) as usize];
            let limit = Some(Rate(50_000 + rng.below(500_000)));
            let files = lengths.len() as u64;
            match rng.below(9) {
                0 | 1 => world.command(host, Command::Pause(T)),
                2 => world.command(host, Command::Resume(T)),
                3 => world.command(host, Command::Sequential(T, rng.chance(1, 2))),
                4 => {
                    let all = [Priority::Skip, Priority::Low, Priority::Normal, Priority::High];
                    let draw = |_| all[rng.below(4) as usize];
                    let priorities = (0..files).map(draw).collect();
                    world.command(host, Command::Prioritize(T, priorities));
                }
                5 => world.command(host, Command::Limit(None, Limits { down: limit, up: limit })),
                6 => world.hosts[host].disk.full ^= true,
                7 => world.command(host, Command::Announce(T)),
                // The only copy may be the seed's.
                _ if host == hosts[0] => {}
                _ => {
                    let Some(have) = world.hosts[host].disk.have(T) else { continue };
                    let changed = have.ones().next();
                    world.hosts[host].disk.changed.extend(changed);
                }
            }
        }
        for host in &hosts {
            world.hosts[*host].disk.full = false;
            world.command(*host, Command::Resume(T));
            world.command(*host, Command::Limit(None, Limits::default()));
            world.command(*host, Command::Prioritize(T, Vec::new()));
        }
        let done = world.run(HOUR * 5, |w| hosts.iter().all(|host| w.seeds(*host)));
        let states: Vec<_> = hosts.iter().map(|host| world.state(*host)).collect();
        assert!(done, "seed {seed}: {states:?}");
        assert!(hosts.iter().all(|host| world.banned(*host) == 0), "seed {seed}");
    }
}
