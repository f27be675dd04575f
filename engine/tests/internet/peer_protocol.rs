//! How a client behaves towards a single peer, message by message: greetings, extensions, hashes,
//! peers without the fast extension, dials, places.

use crate::internet_world::{
    HOUR, T, World, adding, address, extended, handshake, magnet, plain_handshake, torrent,
};
use dunlin_base::{InfoHash, PeerId, TorrentId};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{AddTorrent, Command, HangUpReason, Source, SwarmInput};
use dunlin_metainfo::Format;
use dunlin_metainfo::merkle::{HashSpan, check_proof, layers_of};
use dunlin_tracker::AnnounceFailure;
use dunlin_wire::extended::{ExtendedHandshake, MetadataMessage, write_dont_have};
use dunlin_wire::{Handshake, HashRange, Message};
use std::sync::Arc;
use std::time::Duration;

const PIECE: u32 = 64 << 10;

#[test]
fn the_extension_handshake_comes_first_and_says_who_we_are() {
    let torrent = torrent(Format::V1, PIECE, &[9 * u64::from(PIECE)]);
    let mut world = World::new();
    let host = world.add_node(&torrent, true);
    let peer = world.scripted();
    let conn = world.greet(peer, host, torrent.hashes.first());
    let messages = world.received(peer, conn);
    let Message::Extended { id: 0, payload } = &messages[0] else { panic!("{messages:?}") };
    let said = ExtendedHandshake::decode(payload).unwrap();
    assert_eq!(said.port, Some(6881));
    assert_eq!(said.your_ip, Some(address(peer).ip()));
    assert_eq!(said.metadata_size, Some(torrent.info().len() as u32));
    assert_eq!((said.upload_only, said.queue), (Some(true), Some(500)));
    assert!(said.client.unwrap().starts_with("dunlin "));
    assert_eq!(messages[1], Message::HaveAll);
    let plain = world.scripted();
    let conn = world.connect(plain, host, plain_handshake(plain, torrent.hashes.first()));
    let messages = world.received(plain, conn);
    assert_eq!(messages, [Message::Bitfield(vec![0xff, 0x80].into())], "neither of them");
}

#[test]
fn metadata_is_served_but_not_for_ever_and_not_of_private_torrents() {
    let files: Vec<u64> = vec![16; 2000];
    let open = torrent(Format::V1, 16384, &files);
    let mut world = World::new();
    let host = world.add_node(&open, true);
    let peer = world.scripted();
    let conn = world.greet(peer, host, open.hashes.first());
    let said = ExtendedHandshake {
        extensions: [("ut_metadata", 5)].into(),
        ..ExtendedHandshake::default()
    };
    world.send(peer, conn, extended(0, said.encode()));
    let ask = |world: &mut World, piece| {
        world.send(peer, conn, extended(1, MetadataMessage::Request { piece }.encode()));
        let answer = world.last_received(peer, conn).unwrap();
        let Message::Extended { id: 5, payload } = answer else { panic!("{answer:?}") };
        MetadataMessage::decode(&payload).unwrap().unwrap()
    };
    // What is refused counts as nothing that was given: hashes, and pieces that there are none of.
    for index in 0..40 {
        let range = HashRange { root: [1; 32], base: 0, index: index * 2, length: 2, proof: 0 };
        world.send(peer, conn, Message::HashRequest(range));
        assert_eq!(ask(&mut world, 900 + index), MetadataMessage::Reject { piece: 900 + index });
    }
    let size = open.info().len() as u32;
    let pieces = dunlin_wire::extended::metadata_pieces(size);
    assert!((3..=5).contains(&pieces), "{size}");
    let mut whole = Vec::new();
    for piece in 0..pieces {
        let MetadataMessage::Data { total_size, data, .. } = ask(&mut world, piece) else {
            panic!("piece {piece}")
        };
        assert_eq!(total_size, size);
        whole.extend_from_slice(&data);
    }
    assert_eq!(whole, open.info().as_ref());
    assert_eq!(ask(&mut world, pieces), MetadataMessage::Reject { piece: pieces });
    for _ in 0..20 {
        ask(&mut world, 0);
    }
    assert_eq!(ask(&mut world, 0), MetadataMessage::Reject { piece: 0 });
    assert!(!world.is_closed(peer, conn));
}

#[test]
fn a_seed_of_version_2_answers_for_its_hashes() {
    let torrent = torrent(Format::V2, 16384, &[300 * 16384 + 1]);
    let mut world = World::new();
    let host = world.add_node(&torrent, true);
    let peer = world.scripted();
    let short = torrent.hashes.first();
    let conn = world.greet(peer, host, short);
    let file = &torrent.files[0];
    let root = file.root.unwrap();
    for span in HashSpan::of_piece_layer(file.length, 16384) {
        let HashSpan { base, index, length, proof } = span;
        let range = HashRange { root, base, index, length, proof };
        world.send(peer, conn, Message::HashRequest(range));
        let Some(Message::Hashes { range: back, hashes }) = world.last_received(peer, conn) else {
            panic!("no answer")
        };
        let nodes: Vec<[u8; 32]> = hashes.chunks(32).map(|node| node.try_into().unwrap()).collect();
        assert_eq!(back, range);
        assert!(check_proof(&root, layers_of(file.length), span, &nodes));
    }
    let strange = HashRange { root: [1; 32], base: 0, index: 0, length: 2, proof: 0 };
    let wrong = HashRange { root, base: 0, index: 1, length: 2, proof: 0 };
    for range in [strange, wrong] {
        world.send(peer, conn, Message::HashRequest(range));
        assert_eq!(world.last_received(peer, conn), Some(Message::HashReject(range)));
    }
}

#[test]
fn a_hybrid_torrent_is_known_by_both_names_and_takes_the_upgrade() {
    let torrent = torrent(Format::Hybrid, PIECE, &[9 * u64::from(PIECE)]);
    let names: Vec<InfoHash> = torrent.hashes.wire().collect();
    let mut world = World::new();
    let host = world.add_node(&torrent, false);
    for name in &names {
        let peer = world.scripted();
        let conn = world.greet(peer, host, *name);
        assert!(!world.is_closed(peer, conn));
        let answer = world.handshakes(peer).remove(0);
        assert_eq!(answer.info_hash, *name, "answered by the name that was asked for");
        assert_eq!(answer.reserved.v2(), *name == names[0]);
    }
    let mut announced: Vec<InfoHash> =
        world.announces.iter().map(|(_, _, request)| request.info_hash).collect();
    announced.sort();
    let mut both = names.clone();
    both.sort();
    assert_eq!(announced, both, "two swarms");
    let peer = world.scripted();
    world.command(host, Command::AddPeers(T, vec![address(peer)]));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.handshakes(peer)[0].info_hash, names[0]);
    let conn = *world.hosts[peer].ends.keys().next().unwrap();
    world.send_handshake(peer, conn, handshake(peer, names[1]));
    let range = HashRange { root: [1; 32], base: 0, index: 0, length: 2, proof: 0 };
    world.send(peer, conn, Message::HashRequest(range));
    assert_eq!(world.last_received(peer, conn), Some(Message::HashReject(range)));
}

#[test]
fn without_the_fast_extension_a_choke_takes_requests_back() {
    let torrent = torrent(Format::V1, PIECE, &[4 * u64::from(PIECE)]);
    let mut world = World::new();
    let host = world.add_node(&torrent, false);
    let peer = world.scripted();
    let conn = world.connect(peer, host, plain_handshake(peer, torrent.hashes.first()));
    world.send(peer, conn, Message::Bitfield(vec![0xf0].into()));
    assert_eq!(world.last_received(peer, conn), Some(Message::Interested));
    world.send(peer, conn, Message::Unchoke);
    let first = world.requested(peer, conn);
    assert!(!first.is_empty());
    world.send(peer, conn, Message::Choke);
    let block = first[0];
    world.send_block(peer, conn, block);
    assert!(!world.is_closed(peer, conn), "it was on its way");
    world.send(peer, conn, Message::Unchoke);
    assert!(world.requested(peer, conn).len() > first.len(), "and is asked for again");
    world.send(peer, conn, Message::HaveAll);
    assert!(world.is_closed(peer, conn), "what needs the extension is a breach");
}

#[test]
fn a_choke_rejects_and_says_nothing_of_the_pieces() {
    let torrent = torrent(Format::V1, PIECE, &[4 * u64::from(PIECE)]);
    let mut world = World::new();
    let host = world.add_node(&torrent, false);
    let peer = world.scripted();
    let conn = world.greet(peer, host, torrent.hashes.first());
    world.send(peer, conn, Message::HaveAll);
    world.send(peer, conn, Message::Unchoke);
    let first = world.requested(peer, conn);
    world.send(peer, conn, Message::Choke);
    for range in &first {
        world.send(peer, conn, Message::RejectRequest(*range));
    }
    world.send(peer, conn, Message::Unchoke);
    let again = world.requested(peer, conn);
    assert!(again.len() >= first.len() * 2, "{again:?}");
}

#[test]
fn what_a_peer_has_lost_is_not_asked_of_it() {
    let torrent = torrent(Format::V1, PIECE, &[3 * u64::from(PIECE)]);
    let mut world = World::new();
    let host = world.add_node(&torrent, false);
    let peer = world.scripted();
    let conn = world.greet(peer, host, torrent.hashes.first());
    world.send(peer, conn, Message::HaveAll);
    for piece in [0, 2, 2, 99] {
        world.send(peer, conn, extended(3, write_dont_have(piece)));
    }
    world.send(peer, conn, Message::Unchoke);
    world.pass(Duration::from_secs(1));
    assert!(world.requested(peer, conn).iter().all(|range| range.piece.0 == 1));
    world.send(peer, conn, extended(3, write_dont_have(1)));
    assert_eq!(world.last_received(peer, conn), Some(Message::NotInterested));
}

#[test]
fn never_more_requests_than_the_peer_keeps() {
    let torrent = torrent(Format::V1, 1 << 20, &[64 << 20]);
    for (queue, most) in [(None, 250), (Some(3), 3), (Some(100_000), 500)] {
        let mut world = World::new();
        let host = world.add_node(&torrent, false);
        let peer = world.scripted();
        let conn = world.greet(peer, host, torrent.hashes.first());
        let said = ExtendedHandshake { queue, ..ExtendedHandshake::default() };
        world.send(peer, conn, extended(0, said.encode()));
        world.send(peer, conn, Message::HaveAll);
        world.send(peer, conn, Message::Unchoke);
        let mut answered = 0;
        for _ in 0..40 {
            let all = world.requested(peer, conn);
            let open = all[answered..].to_vec();
            assert!(open.len() <= most, "{} of {most}", open.len());
            answered = all.len();
            // Whoever has given everything is of no more use.
            let Some(end) = world.hosts[peer].ends.get(&conn).copied() else { break };
            for block in open {
                world.hosts[end.host].disk.park(end.conn, block, true);
                let conn = end.conn;
                world.input(host, SwarmInput::BlockArrived { conn, block });
            }
            world.pass(Duration::from_millis(100));
        }
        assert!(answered > most.min(100), "{answered}");
    }
}

/// The seconds at which a host dialled.
fn dials(world: &World, host: usize) -> Vec<u64> {
    let dial = format!("{host} -> dial");
    let lines = world.log.iter().filter(|line| line.contains(&dial));
    lines.map(|line| line.split('.').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn dials_back_off_and_are_given_up() {
    let torrent = torrent(Format::V1, PIECE, &[u64::from(PIECE)]);
    let mut world = World::new();
    let host = world.add_node(&torrent, true);
    let nobody = world.scripted();
    world.hosts[nobody].listens = false;
    world.command(host, Command::AddPeers(T, vec![address(nobody)]));
    world.pass(HOUR);
    assert_eq!(dials(&world, host), [0, 60, 180], "a minute for each failure, three times");
    world.hosts[nobody].listens = true;
    world.command(host, Command::AddPeers(T, vec![address(nobody)]));
    world.pass(Duration::from_secs(5));
    assert_eq!(dials(&world, host).len(), 4, "people may insist");
    assert_eq!(world.handshakes(nobody).len(), 1);
}

#[test]
fn who_is_the_only_hope_is_tried_soon_and_never_given_up() {
    let torrent = torrent(Format::V1, PIECE, &[u64::from(PIECE)]);
    let hashes = torrent.hashes;
    for source in [Source::Metainfo(torrent), magnet(hashes)] {
        let mut world = World::new();
        let host = world.host(ClientConfig::default());
        world.add(host, adding(source, host));
        let nobody = world.scripted();
        world.hosts[nobody].listens = false;
        world.command(host, Command::AddPeers(T, vec![address(nobody)]));
        world.pass(Duration::from_secs(250));
        assert_eq!(dials(&world, host), [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        // Once it is there it is found within a minute.
        world.pass(HOUR);
        let before = dials(&world, host).len();
        world.hosts[nobody].listens = true;
        world.pass(Duration::from_secs(61));
        assert_eq!((dials(&world, host).len(), world.handshakes(nobody).len()), (before + 1, 1));
        // It hangs up at once: no reason to dial it without an end.
        let conn = *world.hosts[nobody].ends.keys().next().unwrap();
        world.close(nobody, conn);
        world.pass(Duration::from_secs(300));
        let after = dials(&world, host).len() - before;
        assert!((2..8).contains(&after), "{after}");
    }
}

#[test]
fn who_promises_and_gives_nothing_takes_no_hope_away() {
    let torrent = torrent(Format::V1, PIECE, &[2 * u64::from(PIECE)]);
    let mut world = World::new();
    let host = world.add_node(&torrent, false);
    let peer = world.scripted();
    let conn = world.greet(peer, host, torrent.hashes.first());
    world.send(peer, conn, Message::HaveAll);
    let nobody = world.scripted();
    world.hosts[nobody].listens = false;
    world.command(host, Command::AddPeers(T, vec![address(nobody)]));
    for _ in 0..30 {
        world.pass(Duration::from_secs(100));
        world.send(peer, conn, Message::KeepAlive);
    }
    assert!(!world.is_closed(peer, conn));
    let dials = dials(&world, host).len();
    assert!((20..60).contains(&dials), "{dials}");
}

#[test]
fn places_are_limited_and_some_are_kept_for_our_own_dials() {
    let torrent = torrent(Format::V1, PIECE, &[u64::from(PIECE)]);
    let mut world = World::new();
    let config = ClientConfig {
        connections: 12,
        connections_per_torrent: 10,
        dials_per_second: 5,
        half_open: 2,
        ..ClientConfig::default()
    };
    let host = world.host(config);
    world.add(host, adding(Source::Metainfo(torrent.clone()), host));
    let strangers: Vec<usize> = (0..20).map(|_| world.scripted()).collect();
    for stranger in &strangers {
        world.greet(*stranger, host, torrent.hashes.first());
    }
    assert_eq!(world.hosts[host].ends.len(), 8, "four of five places");
    assert!(world.hosts[host].hang_ups.contains(&HangUpReason::Crowded));
    let others: Vec<usize> = (0..20).map(|_| world.scripted()).collect();
    let peers = others.iter().map(|other| address(*other)).collect();
    world.command(host, Command::AddPeers(T, peers));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.hosts[host].ends.len(), 10);
    let crowd = ClientConfig { connections_per_ip: 2, ..ClientConfig::default() };
    let host = world.host(crowd);
    world.add(host, adding(Source::Metainfo(torrent.clone()), host));
    for number in 0..5 {
        let peer_id = PeerId([number; 20]);
        let handshake = Handshake { peer_id, ..handshake(strangers[0], torrent.hashes.first()) };
        world.connect(strangers[0], host, handshake);
    }
    let theirs = world.hosts[host].ends.values().filter(|end| end.host == strangers[0]);
    assert_eq!(theirs.count(), 2);
}

#[test]
fn another_tracker_of_a_private_torrent_is_another_swarm() {
    let mut world = World::new();
    let files = dunlin_metainfo::NewFile {
        path: vec!["f".into()],
        length: 16384,
        executable: false,
        link: None,
    };
    let new = dunlin_metainfo::NewTorrent::single(files, 16384, Format::V1).unwrap();
    let hashes = dunlin_metainfo::NewHashes {
        pieces: vec![[5; 20]],
        ..dunlin_metainfo::NewHashes::default()
    };
    let torrent = Arc::new(new.with_private(true).finish(&hashes).unwrap());
    let host = world.host(ClientConfig::default());
    let add = adding(Source::Metainfo(torrent.clone()), host);
    let trackers = vec![vec!["http://a/".into()], vec!["http://b/".into()]];
    world.add(host, AddTorrent { trackers, ..add });
    world.pass(Duration::from_secs(1));
    let peer = world.scripted();
    let conn = world.greet(peer, host, torrent.hashes.first());
    assert!(!world.is_closed(peer, conn));
    let said = ExtendedHandshake {
        extensions: [("ut_metadata", 5)].into(),
        ..ExtendedHandshake::default()
    };
    world.send(peer, conn, extended(0, said.encode()));
    world.send(peer, conn, extended(1, MetadataMessage::Request { piece: 0 }.encode()));
    let reject = MetadataMessage::Reject { piece: 0 }.encode();
    let last = world.last_received(peer, conn);
    assert_eq!(last, Some(extended(5, reject)), "no metadata");
    world.broken.insert("http://a/".into(), AnnounceFailure::Unreachable("down".into()));
    for _ in 0..20 {
        world.send(peer, conn, Message::KeepAlive);
        world.pass(Duration::from_secs(100));
    }
    assert_eq!(world.announces.last().unwrap().1, "http://b/");
    assert!(world.is_closed(peer, conn));
}

/// What the dials of a torrent come to that has gone, or waits, takes no place of others: the
/// counts are compared after every step.
#[test]
fn dials_that_outlive_their_torrent_count_for_nothing() {
    let torrent = torrent(Format::V1, PIECE, &[u64::from(PIECE)]);
    let mut world = World::new();
    world.refused_after = Duration::from_secs(15);
    let host = world.host(ClientConfig { half_open: 3, ..ClientConfig::default() });
    let nowhere: Vec<_> = (200..203).map(address).collect();
    let add = |torrent_id, peers| AddTorrent {
        torrent: torrent_id,
        peers,
        trackers: Vec::new(),
        ..adding(Source::Metainfo(torrent.clone()), host)
    };
    world.add(host, add(T, nowhere));
    assert_eq!(dials(&world, host).len(), 3, "all that may be half open");
    world.command(host, Command::Remove(T));
    // The places of those dials are free at once, and stay so when they fail.
    let there = world.scripted();
    world.add(host, add(TorrentId(8), vec![address(there)]));
    world.command(host, Command::Pause(TorrentId(8)));
    world.pass(Duration::from_secs(1));
    assert_eq!(dials(&world, host).len(), 4);
    assert!(world.hosts[host].hang_ups.contains(&HangUpReason::Stopping), "it waits");
    assert!(world.hosts[host].ends.is_empty());
    world.command(host, Command::Resume(TorrentId(8)));
    world.pass(Duration::from_secs(30));
    assert!(dials(&world, host).len() > 4 && !world.handshakes(there).is_empty());
}
