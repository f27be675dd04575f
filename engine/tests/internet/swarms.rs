//! Nodes of the internet among themselves: swarms, trackers, goals, pauses, and what people change.

use crate::internet_world::{HOUR, T, World, adding, magnet, torrent};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{ClientEvent, HangUpReason, Source, TorrentState};
use dunlin_metainfo::Format;
use dunlin_tracker::AnnounceEvent;
use std::time::Duration;

const PIECE: u32 = 64 << 10;
const LONG: &[u64] = &[40 * PIECE as u64 + 1234, 0, 5 * PIECE as u64];

#[test]
fn a_pair_and_a_crowd_complete() {
    for (leechers, format) in
        [(1, Format::V1), (6, Format::V1), (3, Format::V2), (3, Format::Hybrid)]
    {
        let mut world = World::new();
        let hosts = world.swarm(&torrent(format, PIECE, LONG), leechers, 1);
        world.set_uplink(1, 2_000_000);
        assert!(world.run(HOUR, |w| hosts.iter().all(|host| w.seeds(*host))), "{format:?}");
        world.pass(Duration::from_secs(60));
        for host in &hosts {
            let view = world.client(*host).view(world.now(), T).unwrap();
            assert_eq!((view.have, view.peers), (view.wanted, 0), "seeds have hung up");
            assert_eq!(world.hosts[*host].disk.reserved(), 0);
            let expected = if *host == hosts[0] {
                [AnnounceEvent::Started].as_slice()
            } else {
                &[AnnounceEvent::Started, AnnounceEvent::Completed]
            };
            let mut heard = world.announced(*host);
            heard.dedup();
            assert_eq!(heard, expected, "{format:?} {host}");
        }
        assert!(world.hosts[hosts[0]].hang_ups.contains(&HangUpReason::Useless));
    }
}

#[test]
fn a_magnet_link_is_enough() {
    let long = [600 * 16384_u64, 3 * 16384, 100];
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let torrent = torrent(format, 16384, &long);
        let mut world = World::new();
        let seed = world.swarm(&torrent, 0, 3)[0];
        let host = world.host(ClientConfig { seed: 9, ..ClientConfig::default() });
        world.add(host, adding(magnet(torrent.hashes), host));
        assert_eq!(world.state(host), Some(TorrentState::Metadata));
        assert!(world.run(HOUR, |w| w.seeds(host)), "{format:?} {:?}", world.state(host));
        let known = world.hosts[host].events.iter().find_map(|event| match event {
            ClientEvent::Metadata { metainfo, .. } => Some(metainfo.clone()),
            _ => None,
        });
        let known = known.unwrap();
        assert_eq!(known.info(), torrent.info());
        // And it gives it on, with what it got itself.
        let third = world.host(ClientConfig { seed: 10, ..ClientConfig::default() });
        world.hosts[seed].dead = true;
        world.add(third, adding(magnet(torrent.hashes), third));
        assert!(world.run(HOUR, |w| w.seeds(third)), "{format:?} {:?}", world.state(third));
    }
}

#[test]
fn the_same_seed_gives_the_same_outputs() {
    let run = |seed| {
        let mut world = World::new();
        let hosts = world.swarm(&torrent(Format::V1, PIECE, LONG), 3, seed);
        assert!(world.run(HOUR, |w| hosts.iter().all(|host| w.seeds(*host))));
        world.log
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_goal_ends_it_and_trackers_hear_both() {
    let torrent = torrent(Format::V1, PIECE, LONG);
    let mut world = World::new();
    world.swarm(&torrent, 0, 5);
    let host = world.host(ClientConfig::default());
    let add = adding(Source::Metainfo(torrent), host);
    world.add(host, dunlin_engine::io::AddTorrent { seed: None, ..add });
    assert!(world.run(HOUR, |w| w.state(host) == Some(TorrentState::Done)));
    world.pass(Duration::from_secs(20));
    use AnnounceEvent::{Completed, Started, Stopped};
    assert_eq!(world.announced(host), [Started, Completed, Stopped]);
    assert!(!world.hosts[host].disk.is_open(T));
    assert!(world.hosts[host].ends.is_empty());
}
