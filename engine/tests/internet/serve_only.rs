//! A torrent that is only served: whatever of it is here goes out, and nothing is ever asked for,
//! written or given a name, whatever is missing and whoever else has it.

use crate::internet_world::{HOUR, T, World, adding, torrent};
use dunlin_base::PieceIndex;
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{AddTorrent, ClientEvent, Source, TorrentState};
use dunlin_metainfo::{Format, Torrent};
use dunlin_tracker::AnnounceEvent;
use std::sync::Arc;
use std::time::Duration;

const PIECE: u32 = 64 << 10;
/// Empty files first, in the middle and last.
const FILES: &[u64] = &[0, 10 * PIECE as u64 + 1234, 0, 3 * PIECE as u64, 0];

/// A host that serves all but `lacks`, and what it is called.
fn server(world: &mut World, torrent: &Arc<Torrent>, lacks: &[u32]) -> usize {
    let host = world.host(ClientConfig { seed: 77, ..ClientConfig::default() });
    world.hosts[host].disk.full_copy = true;
    world.hosts[host].disk.changed = lacks.iter().copied().map(PieceIndex).collect();
    let add = adding(Source::Metainfo(torrent.clone()), host);
    world.add(host, AddTorrent { serve_only: true, ..add });
    host
}

fn assert_only_served(world: &World, host: usize) {
    assert_eq!(world.hosts[host].disk.peak, 0, "a piece was asked for");
    let made = |event: &ClientEvent| matches!(event, ClientEvent::FileComplete { .. });
    assert!(!world.hosts[host].events.iter().any(made), "a file was given its name");
    assert!(!world.announced(host).contains(&AnnounceEvent::Completed));
}

#[test]
fn what_is_missing_stays_missing_beside_a_whole_seed() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let mut world = World::new();
        let torrent = torrent(format, PIECE, FILES);
        let hosts = world.swarm(&torrent, 1, 1);
        let host = server(&mut world, &torrent, &[0, 5]);
        assert_eq!(world.state(host), Some(TorrentState::Seeding), "{format:?}");
        assert!(world.run(HOUR, |w| w.seeds(hosts[1])), "{format:?}");
        world.pass(HOUR);
        let view = world.client(host).view(world.now(), T).unwrap();
        assert_eq!(view.wanted - view.have, 2 * u64::from(PIECE));
        assert_only_served(&world, host);
        assert_eq!(world.hosts[host].disk.opened, 1);
    }
}

#[test]
fn what_is_here_is_served_by_a_partial_seed_alone() {
    let mut world = World::new();
    let torrent = torrent(Format::V1, PIECE, FILES);
    let host = server(&mut world, &torrent, &[3]);
    let leecher = world.host(ClientConfig { seed: 3, ..ClientConfig::default() });
    world.add(leecher, adding(Source::Metainfo(torrent.clone()), leecher));
    let all_but_one = torrent.geometry(16 << 10).pieces() - 1;
    let has = |w: &World| w.hosts[leecher].disk.have(T).map(|have| have.count());
    assert!(world.run(HOUR, |w| has(w) == Some(all_but_one)));
    assert_only_served(&world, host);
    let events = world.announced(host);
    assert_eq!(events.first(), Some(&AnnounceEvent::Started));
    assert!(events[1..].iter().all(|event| *event == AnnounceEvent::Paused), "{events:?}");
}

#[test]
fn files_that_go_away_and_come_back_end_nothing() {
    let mut world = World::new();
    let torrent = torrent(Format::V1, PIECE, FILES);
    let host = server(&mut world, &torrent, &[]);
    let pieces = torrent.geometry(16 << 10).pieces();
    world.hosts[host].disk.changed = (0..pieces).map(PieceIndex).collect();
    let leecher = world.host(ClientConfig { seed: 3, ..ClientConfig::default() });
    world.add(leecher, adding(Source::Metainfo(torrent.clone()), leecher));
    assert!(world.run(HOUR, |w| w.hosts[host].disk.have(T).is_some_and(|have| have.count() == 0)));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.state(host), Some(TorrentState::Seeding), "it waits for them");
    let looked = world.hosts[host].disk.opened;
    world.pass(HOUR);
    let again = world.hosts[host].disk.opened - looked;
    assert!((30..=130).contains(&again), "it looked {again} times in an hour");
    world.hosts[host].disk.put_back(T);
    assert!(world.run(HOUR, |w| w.seeds(leecher)));
    assert_only_served(&world, host);
}

#[test]
fn a_file_that_is_touched_now_and_then_ends_nothing() {
    let mut world = World::new();
    let torrent = torrent(Format::V1, PIECE, FILES);
    let host = server(&mut world, &torrent, &[]);
    for round in 0..12 {
        world.hosts[host].disk.changed = [PieceIndex(round)].into();
        let leecher = world.host(ClientConfig { seed: 9, ..ClientConfig::default() });
        world.add(leecher, adding(Source::Metainfo(torrent.clone()), leecher));
        assert!(world.run(HOUR, |w| w.hosts[host].disk.opened == round + 2), "{round}");
        world.pass(Duration::from_secs(120));
        assert_eq!(world.state(host), Some(TorrentState::Seeding), "{round}");
        world.hosts[host].disk.put_back(T);
        // Whoever came before gives nothing to the next one.
        world.hosts[leecher].dead = true;
    }
}
