//! What happens to a peer at each event, who is named to whom, and that nothing grows without end.

use super::*;
use dunlin_base::{InfoHash, PeerId, Rng, Time};
use dunlin_tracker::{AnnounceEvent, ScrapeCounts};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const TORRENT: InfoHash = InfoHash([7; 20]);
const ROOM: Room = Room { torrent: true, peer: true };
const LIFETIME: Duration = Duration::from_secs(100);

fn shard() -> Shard {
    Shard::new([1, 2, 3], LIFETIME)
}

fn at(seconds: u64) -> Time {
    Time::from_duration(Duration::from_secs(seconds))
}

/// Number `n`, with IPv4 or IPv6.
fn address(n: u32, v6: bool) -> SocketAddr {
    let port = 1000 + (n % 60_000) as u16;
    if v6 {
        SocketAddr::new(std::net::Ipv6Addr::from(0x2001_0DB8 << 96 | u128::from(n)).into(), port)
    } else {
        SocketAddr::new(Ipv4Addr::from(0x0A00_0000 + n).into(), port)
    }
}

fn peer(n: u32) -> Announce {
    let mut id = [b'x'; 20];
    id[..4].copy_from_slice(&n.to_be_bytes());
    Announce {
        info_hash: TORRENT,
        at: address(n, false),
        peer_id: PeerId(id),
        event: AnnounceEvent::None,
        seed: false,
        downloaded: false,
        wanted: 50,
    }
}

/// A peer that nobody takes for a magnet link.
fn seed(n: u32) -> Announce {
    Announce { seed: true, downloaded: true, ..peer(n) }
}

/// What a shard says to an announce: counts and peers.
fn tell(shard: &mut Shard, seconds: u64, announce: &Announce) -> (ScrapeCounts, Vec<SocketAddr>) {
    let mut out = Vec::new();
    let counts = shard.announce(at(seconds), announce, ROOM, &mut out).unwrap();
    shard.check();
    let peers = match announce.at.ip().to_canonical().is_ipv4() {
        true => dunlin_tracker::http::compact_v4(&out).collect(),
        false => dunlin_tracker::http::compact_v6(&out).collect(),
    };
    (counts, peers)
}

/// Seeds, leechers, downloaders, completions.
fn counts(shard: &Shard) -> (u32, u32, u32, u32) {
    let counts = shard.scrape(&TORRENT).unwrap_or_default();
    let downloaders = counts.downloaders.unwrap_or(counts.incomplete);
    (counts.complete, counts.incomplete, downloaders, counts.downloaded)
}

/// An event, whether the peer has everything, and the counts after it.
type Step = (AnnounceEvent, bool, (u32, u32, u32, u32));

#[test]
fn events() {
    use AnnounceEvent::{Completed, None, Paused, Started, Stopped};
    // Of one peer in turn: event, has it everything, and then: seeds, leechers, downloaders,
    // completed.
    let cases: &[&[Step]] = &[
        &[
            (Started, false, (0, 1, 1, 0)),
            (Completed, true, (1, 0, 0, 1)),
            (Stopped, true, (0, 0, 0, 0)),
        ],
        &[
            (Started, false, (0, 1, 1, 0)),
            (Started, false, (0, 1, 1, 0)),
            (None, false, (0, 1, 1, 0)),
        ],
        // Who says once that nothing is missing may be a magnet link that does not know better.
        &[(Started, true, (0, 1, 1, 0)), (None, true, (1, 0, 0, 0)), (None, false, (0, 1, 1, 0))],
        &[
            (Started, true, (0, 1, 1, 0)),
            (None, false, (0, 1, 1, 0)),
            (Completed, true, (1, 0, 0, 1)),
        ],
        &[(Started, true, (0, 1, 1, 0)), (Completed, true, (1, 0, 0, 1))],
        &[(None, true, (0, 1, 1, 0)), (Stopped, true, (0, 0, 0, 0))],
        &[(Stopped, false, (0, 0, 0, 0))],
        &[(Completed, true, (1, 0, 0, 0)), (Completed, true, (1, 0, 0, 0))],
        &[(None, false, (0, 1, 1, 0)), (None, true, (1, 0, 0, 0)), (Completed, true, (1, 0, 0, 0))],
        &[
            (None, false, (0, 1, 1, 0)),
            (Completed, true, (1, 0, 0, 1)),
            (Completed, true, (1, 0, 0, 1)),
        ],
        &[
            (None, false, (0, 1, 1, 0)),
            (Completed, true, (1, 0, 0, 1)),
            (None, false, (0, 1, 1, 1)),
            (Completed, true, (1, 0, 0, 1)),
        ],
        &[
            (Completed, false, (0, 1, 1, 0)),
            (Paused, false, (0, 1, 0, 0)),
            (None, false, (0, 1, 1, 0)),
        ],
        &[
            (Paused, false, (0, 1, 0, 0)),
            (Paused, true, (1, 0, 0, 0)),
            (Paused, true, (1, 0, 0, 0)),
            (Stopped, false, (0, 0, 0, 0)),
        ],
    ];
    for v6 in [false, true] {
        for case in cases {
            let mut shard = shard();
            for (event, seed, expected) in *case {
                let announce =
                    Announce { event: *event, seed: *seed, at: address(1, v6), ..peer(1) };
                tell(&mut shard, 1, &announce);
                assert_eq!(counts(&shard), *expected, "{case:?}: {event:?}");
            }
        }
    }
}

#[test]
fn a_peer_is_its_address_and_never_hears_of_itself() {
    let mut shard = shard();
    tell(&mut shard, 1, &peer(1));
    // Another id at the same address is the same peer; the same id elsewhere is not named to
    // itself.
    let renamed = Announce { peer_id: PeerId([9; 20]), ..peer(1) };
    assert_eq!(
        tell(&mut shard, 1, &renamed),
        (ScrapeCounts { incomplete: 1, downloaders: Some(1), ..ScrapeCounts::default() }, vec![])
    );
    let elsewhere = Announce { at: address(2, false), ..renamed };
    assert_eq!(tell(&mut shard, 1, &elsewhere).1, []);
    assert_eq!(tell(&mut shard, 1, &peer(3)).1.len(), 2);
    // Nobody else can make it leave.
    let foreign = Announce { event: AnnounceEvent::Stopped, at: address(4, false), ..renamed };
    tell(&mut shard, 1, &foreign);
    assert_eq!(counts(&shard).1, 3);
    // IPv4 within IPv6 is IPv4.
    let mapped = Announce { at: "[::ffff:10.0.0.1]:1001".parse().unwrap(), ..peer(1) };
    assert_eq!(tell(&mut shard, 1, &mapped).0.incomplete, 3);
}

#[test]
fn families_do_not_mix_and_both_count() {
    let mut shard = shard();
    for n in 0..10 {
        tell(&mut shard, 1, &peer(n));
        let six = if n < 5 { seed(n + 10) } else { peer(n + 10) };
        tell(&mut shard, 1, &Announce { at: address(n + 10, true), ..six });
    }
    assert_eq!(counts(&shard), (5, 15, 15, 0));
    let (_, four) = tell(&mut shard, 1, &peer(0));
    assert!(four.len() == 9 && four.iter().all(SocketAddr::is_ipv4));
    let (_, six) = tell(&mut shard, 1, &Announce { at: address(19, true), ..peer(19) });
    assert!(six.len() == 9 && six.iter().all(SocketAddr::is_ipv6));
    let totals = shard.totals();
    assert_eq!((totals.torrents, totals.peers_v4, totals.peers_v6, totals.seeds), (1, 10, 10, 5));
}

#[test]
fn who_is_told_about_whom() {
    // Leechers, seeds, wanted; how many of each are named to a leecher, and how many leechers to a
    // seed.
    let cases = [
        (5, 5, 50, (5, 5), 5),
        (0, 0, 50, (0, 0), 0),
        (100, 0, 50, (50, 0), 50),
        (0, 100, 50, (0, 50), 0),
        (100, 100, 40, (30, 10), 40),
        (3, 100, 40, (3, 37), 3),
        (100, 3, 40, (37, 3), 40),
        (2000, 2000, 200, (150, 50), 200),
        (10, 10, 0, (0, 0), 0),
        (10, 10, 1, (1, 0), 1),
    ];
    for (leechers, seeds, wanted, expected, to_seed) in cases {
        let mut shard = shard();
        let mut out = Vec::new();
        for n in 0..leechers + seeds {
            let one = if n >= leechers { seed(n + 10) } else { peer(n + 10) };
            let announce = Announce { wanted: 0, ..one };
            shard.announce(at(1), &announce, ROOM, &mut out).unwrap();
        }
        assert!(out.is_empty());
        let is_seed =
            |at: &SocketAddr| (leechers..leechers + seeds).any(|n| address(n + 10, false) == *at);
        let (_, told) = tell(&mut shard, 1, &Announce { wanted, ..peer(1) });
        let found = told.iter().filter(|at| is_seed(at)).count();
        assert_eq!((told.len() - found, found), expected, "{leechers} {seeds} {wanted}");
        let distinct: BTreeSet<_> = told.iter().collect();
        assert!(distinct.len() == told.len() && !told.contains(&address(1, false)));
        let first_seed = told.iter().position(is_seed).unwrap_or(told.len());
        assert!(told[first_seed..].iter().all(is_seed), "leechers come first");
        tell(&mut shard, 1, &Announce { event: AnnounceEvent::Stopped, ..peer(1) });
        let (_, told) = tell(&mut shard, 1, &Announce { wanted, ..seed(2) });
        assert!(told.len() == to_seed && !told.iter().any(is_seed), "{leechers} {seeds} {wanted}");
    }
}

#[test]
fn a_magnet_link_that_says_it_misses_nothing_hears_of_seeds() {
    // 30 seeds are there; what an announcer says of itself in turn, and how many of them it
    // receives.
    use AnnounceEvent::{Completed, None, Started};
    let says = |event, downloaded| Announce { event, downloaded, seed: true, ..peer(1) };
    let misses = |event| Announce { event, ..peer(1) };
    let renamed = Announce { peer_id: PeerId([9; 20]), ..says(Started, false) };
    let cases: &[&[(Announce, usize)]] = &[
        // Then it says so again: a seed, or a link that has found nobody.
        &[(says(Started, false), 30), (says(None, false), 5), (says(None, false), 5)],
        &[(says(None, false), 30), (misses(None), 30), (says(Completed, true), 0)],
        &[(says(Started, false), 30), (says(Completed, false), 0), (says(None, false), 0)],
        &[(misses(Started), 30), (says(None, false), 0)],
        &[(says(None, true), 0), (says(None, false), 0)],
        // A peer that comes to an address after a seed is another one.
        &[(says(None, true), 0), (renamed, 30)],
    ];
    for v6 in [false, true] {
        for case in cases {
            let mut shard = shard();
            for n in 10..40 {
                tell(&mut shard, 1, &Announce { at: address(n, v6), ..seed(n) });
            }
            for (step, (announce, expected)) in case.iter().enumerate() {
                let announce = Announce { at: address(1, v6), ..*announce };
                let told = tell(&mut shard, 1, &announce).1.len();
                assert_eq!(told, *expected, "step {step} of {case:?}");
            }
        }
    }
}

#[test]
fn everybody_is_named_about_as_often() {
    for size in [60_u32, 1000] {
        let mut shard = shard();
        let mut out = Vec::new();
        for n in 0..size {
            shard.announce(at(1), &Announce { wanted: 0, ..peer(n) }, ROOM, &mut out).unwrap();
        }
        let mut named: BTreeMap<SocketAddr, u32> = BTreeMap::new();
        let asker = Announce { wanted: 20, ..seed(9_999) };
        let rounds = 100 * size / 20;
        for _ in 0..rounds {
            out.clear();
            shard.announce(at(1), &asker, ROOM, &mut out).unwrap();
            assert_eq!(out.len(), 20 * 6);
            dunlin_tracker::http::compact_v4(&out)
                .for_each(|at| *named.entry(at).or_default() += 1);
        }
        // Each a hundred times on average; ten standard deviations at most.
        assert_eq!(named.len(), size as usize);
        assert!(named.values().all(|times| (20..200).contains(times)), "{size}: {named:?}");
    }
}

#[test]
fn the_dead_are_forgotten() {
    let mut shard = shard();
    for n in 0..100 {
        tell(&mut shard, u64::from(n), &Announce { seed: n % 3 == 0, ..peer(n) });
        let other =
            Announce { info_hash: InfoHash([n as u8; 20]), at: address(n, true), ..peer(n) };
        tell(&mut shard, u64::from(n), &other);
    }
    assert_eq!(shard.totals().torrents, 100);
    // Seconds, and who is left: those that were seen no more than 100 s ago.
    for (now, left) in [(100, 100), (101, 99), (150, 50), (151, 49), (199, 1), (200, 0)] {
        while !shard.expire(at(now), 1) {}
        while !shard.expire(at(now), usize::MAX) {}
        shard.check();
        let totals = shard.totals();
        assert_eq!((totals.peers_v4, totals.peers_v6), (left, left), "{now}");
    }
    assert_eq!((shard.totals().torrents, shard.scrape(&TORRENT)), (0, None));
    assert!(shard.memory() < 2000, "{} bytes for nothing", shard.memory());
}

#[test]
fn a_full_table_keeps_whom_it_has() {
    let mut shard = shard();
    let mut out = Vec::new();
    tell(&mut shard, 1, &peer(1));
    // A torrent of two makes room for nobody.
    tell(&mut shard, 1, &peer(7));
    let full = Room { torrent: false, peer: false };
    let other = Announce { info_hash: InfoHash([8; 20]), ..peer(1) };
    assert_eq!(shard.announce(at(2), &other, full, &mut out), Err(Full::Torrents));
    let peers = Room { torrent: true, peer: false };
    assert_eq!(shard.announce(at(2), &other, peers, &mut out), Err(Full::Peers));
    assert_eq!(shard.announce(at(2), &peer(2), full, &mut out), Err(Full::Peers));
    assert!(shard.announce(at(2), &peer(1), full, &mut out).is_ok());
    out.clear();
    for n in [1, 7] {
        let stopped = Announce { event: AnnounceEvent::Stopped, ..peer(n) };
        assert!(shard.announce(at(2), &stopped, full, &mut out).is_ok());
    }
    shard.check();
    assert_eq!((shard.totals().torrents, out.len()), (0, 0));
}

/// An announce of torrent `n`, from a port of a host.
fn entry(torrent: u32, host: u32, port: u16) -> Announce {
    let mut hash = [9; 20];
    hash[..4].copy_from_slice(&torrent.to_be_bytes());
    let ip = Ipv4Addr::from(0xC633_6400 + host);
    Announce { info_hash: InfoHash(hash), at: SocketAddr::new(ip.into(), port), ..peer(host) }
}

#[test]
fn a_source_has_its_share_of_torrents_and_of_ports() {
    let share = usize::from(MAX_PER_SOURCE);
    for (torrents, ports) in [(20_000, 1), (1, 20_000), (100, 200)] {
        let mut shard = shard();
        let mut out = Vec::new();
        let honest = entry(1_000_000, 1, 6881);
        shard.announce(at(1), &honest, ROOM, &mut out).unwrap();
        for torrent in 0..torrents {
            for port in 0..ports {
                let flood = entry(torrent, 2, 1024 + port);
                // Each is answered, or refused with a reason.
                let told = shard.announce(at(2), &flood, ROOM, &mut out);
                assert!(matches!(told, Ok(_) | Err(Full::Source)), "{told:?}");
            }
        }
        shard.check();
        let totals = shard.totals();
        assert!(totals.peers_v4 <= share + 1 && totals.torrents <= share + 1, "{totals:?}");
        assert_eq!(shard.scrape(&honest.info_hash).map(|counts| counts.incomplete), Some(1));
        // Others come as before.
        for host in 3..100 {
            shard.announce(at(3), &entry(7, host, 1), ROOM, &mut out).unwrap();
        }
        assert_eq!(shard.totals().peers_v4, totals.peers_v4 + 97);
    }
}

#[test]
fn in_a_full_table_torrents_of_one_peer_make_room_for_smaller_sources() {
    let mut shard = shard();
    let mut out = Vec::new();
    for torrent in 0..400 {
        shard.announce(at(1), &entry(torrent, 2, 1), ROOM, &mut out).unwrap();
    }
    for host in 10..20 {
        shard.announce(at(1), &entry(1000, host, 1), ROOM, &mut out).unwrap();
    }
    let full = Room { torrent: false, peer: false };
    // Of the flood: who has one entry is smaller than who has 400.
    for host in 20..60 {
        shard.announce(at(2), &entry(2000 + host, host, 1), full, &mut out).unwrap();
        shard.announce(at(2), &entry(1000, host, 1), full, &mut out).unwrap();
    }
    shard.check();
    let totals = shard.totals();
    assert_eq!((totals.peers_v4, totals.torrents), (410, 361), "one for one");
    let popular = entry(1000, 10, 1).info_hash;
    assert_eq!(shard.scrape(&popular).map(|counts| counts.incomplete), Some(50));
    for host in 20..60 {
        assert!(shard.scrape(&entry(2000 + host, host, 1).info_hash).is_some(), "{host}");
    }
    // The flood itself pushes nobody smaller out, only its own.
    for torrent in 5000..6000 {
        let _ = shard.announce(at(3), &entry(torrent, 2, 1), full, &mut out);
    }
    for host in 20..60 {
        assert!(shard.scrape(&entry(2000 + host, host, 1).info_hash).is_some(), "{host}");
    }
    assert_eq!(shard.totals().peers_v4, 410);
}

#[test]
fn any_order_of_things_leaves_it_whole() {
    use AnnounceEvent::{Completed, None, Paused, Started, Stopped};
    let mut rng = Rng::new(11);
    let mut shard = shard();
    // What should be there: torrent and address, and whether it has everything.
    let mut model: BTreeMap<(InfoHash, SocketAddr), (bool, u64)> = BTreeMap::new();
    for step in 0..6_000_u64 {
        let n = rng.below(80) as u32;
        let now = step / 40;
        let event = [None, Started, Completed, Paused, Stopped][rng.below(5) as usize];
        let announce = Announce {
            info_hash: InfoHash([rng.below(3) as u8; 20]),
            at: address(n, rng.chance(1, 4)),
            event,
            seed: rng.chance(1, 3),
            downloaded: rng.chance(1, 4),
            wanted: rng.below(60) as usize,
            ..peer(n)
        };
        let mut out = Vec::new();
        let told = shard.announce(at(now), &announce, ROOM, &mut out).unwrap();
        let key = (announce.info_hash, announce.at);
        let knows = model.contains_key(&key) || event == Completed || announce.downloaded;
        if event == Stopped {
            model.remove(&key);
        } else {
            model.insert(key, (announce.seed && knows, now));
        }
        let of_it = model.iter().filter(|(key, _)| key.0 == announce.info_hash);
        let seeds = of_it.clone().filter(|(_, (seed, _))| *seed).count() as u32;
        let all = of_it.count() as u32;
        assert_eq!((told.complete, told.incomplete), (seeds, all - seeds), "step {step}");
        if step % 50 == 0 {
            while !shard.expire(at(now), 10) {}
            while !shard.expire(at(now), usize::MAX) {}
            model.retain(|_, (_, seen)| *seen + LIFETIME.as_secs() >= now);
        }
        if step % 16 == 0 {
            shard.check();
        }
    }
    let totals = shard.totals();
    assert_eq!(totals.peers_v4 + totals.peers_v6, model.len());
}

#[test]
fn a_peer_takes_little_memory() {
    for (v6, most) in [(false, 48), (true, 72)] {
        let mut shard = shard();
        let mut out = Vec::new();
        for n in 0..100_000 {
            let announce = Announce { at: address(n, v6), wanted: 0, ..peer(n) };
            shard.announce(at(1), &announce, ROOM, &mut out).unwrap();
        }
        let each = shard.memory() / 100_000;
        assert!(each <= most, "{each} bytes a peer, expected at most {most}");
    }
}

#[test]
fn torrents_spread_over_shards() {
    let mut rng = Rng::new(1);
    let mut found = [0; 16];
    for _ in 0..16_000 {
        let hash = std::array::from_fn(|_| rng.next_u64() as u8);
        found[shard_of(&InfoHash(hash), 16)] += 1;
    }
    assert!(found.iter().all(|count| (800..1200).contains(count)), "{found:?}");
    assert_eq!(shard_of(&TORRENT, 0), 0);
}
