//! Hostile and broken peers: the right blame, honest peers unaffected.

use crate::internet_world::{
    HOUR, Parcel, T, World, adding, address, extended, handshake, magnet, request, torrent,
};
use dunlin_base::{ConnId, InfoHash, PieceIndex};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{HangUpReason, Source, SwarmInput, TorrentState};
use dunlin_metainfo::Format;
use dunlin_wire::Message;
use dunlin_wire::extended::{ExtendedHandshake, MetadataMessage};
use std::sync::Arc;
use std::time::Duration;

const PIECE: u32 = 64 << 10;
const LENGTH: u64 = 40 * PIECE as u64 + 1234;

/// A client that leeches (nobody seeds), and a scripted peer.
fn leecher() -> (World, usize, usize, InfoHash) {
    let torrent = torrent(Format::V1, PIECE, &[LENGTH]);
    let mut world = World::new();
    let host = world.host(ClientConfig::default());
    world.add(host, adding(Source::Metainfo(torrent.clone()), host));
    let peer = world.scripted();
    (world, host, peer, torrent.hashes.first())
}

/// A client that seeds, and a scripted peer.
fn seed() -> (World, usize, usize, InfoHash) {
    let torrent = torrent(Format::V1, PIECE, &[LENGTH]);
    let mut world = World::new();
    let host = world.swarm(&torrent, 0, 1)[0];
    let peer = world.scripted();
    (world, host, peer, torrent.hashes.first())
}

fn has(world: &World, host: usize, reason: HangUpReason) -> bool {
    world.hosts[host].hang_ups.contains(&reason)
}

#[test]
fn what_breaks_the_protocol_is_closed_and_only_a_habit_is_banned() {
    let breaches = [
        Message::Have { piece: 41 },
        Message::Bitfield(vec![0xff; 5].into()),
        Message::Bitfield(vec![0xff; 7].into()),
    ];
    for breach in breaches {
        let (mut world, host, peer, hash) = leecher();
        let conn = world.greet(peer, host, hash);
        assert!(!world.is_closed(peer, conn));
        world.send(peer, conn, breach.clone());
        assert!(world.is_closed(peer, conn), "{breach:?}");
        assert_eq!(world.banned(host), 0, "{breach:?} is no lie");
    }
    let (mut world, host, peer, hash) = leecher();
    for _ in 0..5 {
        let conn = world.greet(peer, host, hash);
        world.send(peer, conn, Message::Have { piece: 41 });
    }
    assert_eq!(world.banned(host), 1, "a habit");
    let conn = world.dial(peer, host);
    assert!(world.is_closed(peer, conn));
    assert!(has(&world, host, HangUpReason::Banned));
}

#[test]
fn who_is_banned_meanwhile_is_not_let_in_by_an_older_connection() {
    let (mut world, host, peer, hash) = leecher();
    let older = world.dial(peer, host);
    for _ in 0..5 {
        let conn = world.greet(peer, host, hash);
        world.send(peer, conn, Message::Have { piece: 41 });
    }
    assert_eq!(world.banned(host), 1);
    world.send_handshake(peer, older, handshake(peer, hash));
    assert!(world.is_closed(peer, older));
    assert_eq!(world.hosts[host].hang_ups.last(), Some(&HangUpReason::Banned));
}

#[test]
fn who_comes_while_we_stop_is_sent_away() {
    let (mut world, host, peer, _) = leecher();
    // It is asked to stop, and waits for the tracker's answer.
    world.command(host, dunlin_engine::io::Command::Stop);
    let conn = ConnId(900);
    let remote = dunlin_base::Endpoint::Socket(address(peer));
    world.input(host, SwarmInput::Incoming { conn, remote });
    world.pass(Duration::from_secs(1));
    assert!(has(&world, host, HangUpReason::Stopping));
}

#[test]
fn requests_outside_of_a_piece_are_rejected() {
    let (mut world, host, peer, hash) = seed();
    let conn = world.greet(peer, host, hash);
    world.send(peer, conn, Message::HaveNone);
    world.send(peer, conn, Message::Interested);
    let bad =
        [(41, 0, 16384), (0, PIECE, 1), (0, 0, 16385), (0, 0, 0), (0, u32::MAX, 2), (40, 0, 1235)];
    for (piece, begin, length) in bad {
        world.send(peer, conn, request(piece, begin, length));
        let range = dunlin_base::BlockRef { piece: PieceIndex(piece), begin, len: length };
        let answer = Message::RejectRequest(range);
        assert_eq!(world.last_received(peer, conn), Some(answer));
    }
    world.send(peer, conn, request(40, 0, 1234));
    let got = &world.hosts[peer].got;
    assert!(
        got.iter().any(|(_, parcel)| matches!(parcel, Parcel::Piece(_, b, true) if b.len == 1234))
    );
    assert!(!world.is_closed(peer, conn));
}

#[test]
fn bytes_that_are_no_handshake_close_at_once_and_blame_nobody() {
    let (mut world, host, peer, hash) = leecher();
    for _ in 0..20 {
        let conn = world.dial(peer, host);
        let end = world.hosts[peer].ends[&conn];
        world.input(host, SwarmInput::Malformed { conn: end.conn });
        world.pass(Duration::from_millis(50));
        assert!(world.is_closed(peer, conn));
    }
    assert_eq!(world.banned(host), 0);
    let conn = world.greet(peer, host, hash);
    assert!(!world.is_closed(peer, conn), "it may come again at once, and speak BitTorrent");
}

#[test]
fn another_torrent_and_ourselves_are_sent_away() {
    let (mut world, host, peer, hash) = leecher();
    let conn = world.greet(peer, host, InfoHash([9; 20]));
    assert!(world.is_closed(peer, conn) && has(&world, host, HangUpReason::UnknownTorrent));
    assert!(world.received(peer, conn).is_empty());
    let conn = world.dial(peer, host);
    world.send_handshake(peer, conn, handshake(host, hash));
    assert!(world.is_closed(peer, conn) && has(&world, host, HangUpReason::Ourselves));
    // A client that is told of its own address finds out, once.
    world.command(host, dunlin_engine::io::Command::AddPeers(T, vec![address(host)]));
    world.pass(Duration::from_secs(600));
    let times = world.hosts[host].hang_ups.iter().filter(|r| **r == HangUpReason::Ourselves);
    assert!(times.count() <= 3);
}

#[test]
fn the_same_peer_has_one_connection() {
    let (mut world, host, peer, hash) = leecher();
    let first = world.greet(peer, host, hash);
    let second = world.greet(peer, host, hash);
    assert!(!world.is_closed(peer, first) && world.is_closed(peer, second));
    assert!(has(&world, host, HangUpReason::SamePeer));
}

#[test]
fn two_nodes_that_dial_each_other_keep_one_connection() {
    let torrent = torrent(Format::V1, PIECE, &[LENGTH]);
    let mut world = World::new();
    let hosts = [1, 2].map(|seed| world.host(ClientConfig { seed, ..ClientConfig::default() }));
    for (host, other) in [(hosts[0], hosts[1]), (hosts[1], hosts[0])] {
        let add = adding(Source::Metainfo(torrent.clone()), host);
        let peers = vec![address(other)];
        world.add(host, dunlin_engine::io::AddTorrent { peers, trackers: vec![], ..add });
    }
    world.pass(Duration::from_secs(300));
    for host in hosts {
        assert_eq!(world.client(host).view(world.now(), T).unwrap().peers, 1);
        assert_eq!(world.hosts[host].ends.len(), 1);
    }
    let twice: usize = hosts.iter().map(|host| world.hosts[*host].hang_ups.len()).sum();
    assert!(twice <= 2, "they do not do it again and again: {twice}");
}

#[test]
fn silence_is_no_connection() {
    let (mut world, host, peer, hash) = leecher();
    let mute = world.dial(peer, host);
    let greeted = world.greet(peer, host, hash);
    world.pass(Duration::from_secs(30));
    assert!(world.is_closed(peer, mute), "no handshake");
    assert!(!world.is_closed(peer, greeted));
    world.pass(Duration::from_secs(100));
    assert!(world.received(peer, greeted).contains(&Message::KeepAlive));
    world.send(peer, greeted, Message::KeepAlive);
    world.pass(Duration::from_secs(150));
    assert!(!world.is_closed(peer, greeted), "it gave a sign of life");
    world.pass(Duration::from_secs(60));
    assert!(world.is_closed(peer, greeted));
    assert!(has(&world, host, HangUpReason::Dead));
    assert_eq!(world.banned(host), 0);
}

#[test]
fn a_flood_of_connections_leaves_room_for_others() {
    let torrent = torrent(Format::V1, PIECE, &[LENGTH]);
    let mut world = World::new();
    let hosts = world.swarm(&torrent, 1, 1);
    world.set_uplink(hosts[0], 300_000);
    let flood: Vec<usize> = (0..50).map(|_| world.scripted()).collect();
    let hash = torrent.hashes.first();
    let mut conns: Vec<(usize, ConnId)> = Vec::new();
    for peer in &flood {
        for number in 0..20 {
            let conn = if number % 2 == 0 {
                world.dial(*peer, hosts[0])
            } else {
                world.greet(*peer, hosts[0], hash)
            };
            conns.push((*peer, conn));
        }
    }
    let open = conns.iter().filter(|(peer, conn)| !world.is_closed(*peer, *conn)).count();
    assert!(open <= 400, "{open} of 1000 connections are kept");
    let third = world.host(ClientConfig::default());
    world.add(third, adding(Source::Metainfo(torrent), third));
    assert!(world.run(HOUR, |w| w.seeds(hosts[1]) && w.seeds(third)));
}

#[test]
fn a_liar_is_banned_and_nobody_else() {
    for seed in 0..8 {
        let torrent = torrent(Format::V1, PIECE, &[LENGTH]);
        let mut world = World::new();
        let hosts = world.swarm(&torrent, 4, seed);
        let liar = world.host(ClientConfig { seed, ..ClientConfig::default() });
        (world.hosts[liar].disk.full_copy, world.hosts[liar].lies) = (true, true);
        world.add(liar, adding(Source::Metainfo(torrent), liar));
        world.set_uplink(hosts[0], 500_000);
        world.set_uplink(liar, 500_000);
        assert!(world.run(HOUR, |w| hosts.iter().all(|h| w.seeds(*h))), "seed {seed}");
        for host in &hosts {
            for banned in &world.client(*host).stats().banned {
                let dunlin_base::Endpoint::Socket(banned) = banned else { panic!() };
                assert_eq!(banned.ip(), address(liar).ip(), "seed {seed}");
            }
        }
        assert!(hosts.iter().any(|host| world.banned(*host) == 1), "seed {seed}");
    }
}

/// Bytes came, but never the right ones: whoever asks is told of a piece.
#[test]
fn a_piece_that_is_wrong_from_everybody_is_named_until_it_is_right() {
    let torrent = torrent(Format::V1, PIECE, &[LENGTH]);
    let mut world = World::new();
    let host = world.host(ClientConfig::default());
    world.add(host, adding(Source::Metainfo(Arc::clone(&torrent)), host));
    let named = |world: &World| world.client(host).view(world.now(), T).unwrap().bad_piece;
    let seed_of = |world: &mut World, lies: bool, seed: u64| {
        let peer = world.host(ClientConfig { seed, ..ClientConfig::default() });
        (world.hosts[peer].disk.full_copy, world.hosts[peer].lies) = (true, lies);
        world.add(peer, adding(Source::Metainfo(Arc::clone(&torrent)), peer));
    };
    assert_eq!(named(&world), None);
    seed_of(&mut world, true, 4);
    assert!(world.run(HOUR, |w| named(w).is_some()));
    world.pass(HOUR);
    assert!(named(&world).is_some() && world.banned(host) == 1);
    seed_of(&mut world, false, 5);
    assert!(world.run(HOUR, |w| w.seeds(host)));
    assert_eq!(named(&world), None);
}

/// A scripted peer that says it has metadata of `size` bytes.
fn offers_metadata(
    world: &mut World,
    peer: usize,
    host: usize,
    hash: InfoHash,
    size: u32,
) -> ConnId {
    let conn = world.greet(peer, host, hash);
    let said = ExtendedHandshake {
        extensions: [("ut_metadata", 9)].into(),
        metadata_size: Some(size),
        ..ExtendedHandshake::default()
    };
    world.send(peer, conn, extended(0, said.encode()));
    conn
}

/// Pieces of metadata that were asked of a scripted peer.
fn asked(world: &World, peer: usize, conn: ConnId) -> Vec<u32> {
    let messages = world.received(peer, conn);
    let extended = messages.into_iter().filter_map(|message| match message {
        Message::Extended { id: 9, payload } => MetadataMessage::decode(&payload).unwrap(),
        _ => None,
    });
    extended
        .filter_map(|message| match message {
            MetadataMessage::Request { piece } => Some(piece),
            _ => None,
        })
        .collect()
}

#[test]
fn wrong_metadata_bans_whoever_gave_it_and_the_right_one_still_comes() {
    let torrent = torrent(Format::V1, PIECE, &[LENGTH]);
    let (hash, size) = (torrent.hashes.first(), torrent.info().len() as u32);
    let mut world = World::new();
    let host = world.host(ClientConfig::default());
    world.add(host, adding(magnet(torrent.hashes), host));
    let liar = world.scripted();
    let conn = offers_metadata(&mut world, liar, host, hash, size);
    assert_eq!(asked(&world, liar, conn), [0]);
    let data = vec![b'x'; size as usize].into();
    world.send(
        liar,
        conn,
        extended(1, MetadataMessage::Data { piece: 0, total_size: size, data }.encode()),
    );
    assert!(world.is_closed(liar, conn));
    assert_eq!(world.banned(host), 1);
    let seed = world.host(ClientConfig { seed: 4, ..ClientConfig::default() });
    world.hosts[seed].disk.full_copy = true;
    world.add(seed, adding(Source::Metainfo(torrent), seed));
    assert!(world.run(HOUR, |w| w.seeds(host)));
}

#[test]
fn metadata_that_never_ends_keeps_nobody() {
    let torrent = torrent(Format::V1, PIECE, &[LENGTH]);
    let hash = torrent.hashes.first();
    let mut world = World::new();
    let host = world.host(ClientConfig::default());
    world.add(host, adding(magnet(torrent.hashes), host));
    let peers: Vec<usize> = (0..3).map(|_| world.scripted()).collect();
    for (number, peer) in peers.iter().enumerate() {
        let conn = offers_metadata(&mut world, *peer, host, hash, (20 << 20) + number as u32);
        let first = asked(&world, *peer, conn);
        assert_eq!(first.len(), 1, "never more at a time");
        for piece in first {
            world.send(*peer, conn, extended(1, MetadataMessage::Reject { piece }.encode()));
        }
    }
    assert_eq!(world.state(host), Some(TorrentState::Metadata));
    let seed = world.host(ClientConfig { seed: 4, ..ClientConfig::default() });
    world.hosts[seed].disk.full_copy = true;
    world.add(seed, adding(Source::Metainfo(torrent), seed));
    let done = world.run(HOUR, |w| w.seeds(host));
    assert!(done, "whatever others say its size is");
}

#[test]
fn a_node_that_gives_nothing_does_not_stop_others() {
    let torrent = torrent(Format::V1, PIECE, &[LENGTH]);
    let mut world = World::new();
    let hosts = world.swarm(&torrent, 2, 3);
    let mute = world.host(ClientConfig::default());
    (world.hosts[mute].disk.full_copy, world.hosts[mute].mute) = (true, true);
    world.add(mute, adding(Source::Metainfo(torrent), mute));
    assert!(world.run(HOUR, |w| hosts.iter().all(|host| w.seeds(*host))));
    assert!(hosts.iter().all(|host| world.banned(*host) == 0));
}
