//! Strangers that take places, names and patience: who copies an id, who names addresses by the
//! thousand, who holds places and slots and takes nothing, who says nothing new without end. The
//! honest peer is served all the same.

use crate::internet_world::{
    HOUR, Parcel, T, World, adding, address, extended, handshake, peer_id, torrent,
};
use dunlin_base::{ConnId, InfoHash, PeerId, PieceIndex};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{AddTorrent, Command, HangUpReason, Source, SwarmInput};
use dunlin_metainfo::{Format, Torrent};
use dunlin_wire::extended::ExtendedHandshake;
use dunlin_wire::{Handshake, Message};
use std::sync::Arc;
use std::time::Duration;

const PIECE: u32 = 64 << 10;

fn some() -> Arc<Torrent> {
    torrent(Format::V1, PIECE, &[40 * u64::from(PIECE)])
}

fn greet_as(world: &mut World, from: usize, to: usize, hash: InfoHash, id: PeerId) -> ConnId {
    world.connect(from, to, Handshake { peer_id: id, ..handshake(from, hash) })
}

/// Many messages at one moment.
fn say_at_once(world: &mut World, from: usize, conn: ConnId, messages: &[Message]) {
    for message in messages {
        let Some(end) = world.hosts[from].ends.get(&conn).copied() else { return };
        let message = message.clone();
        world.input(end.host, SwarmInput::Message { conn: end.conn, message });
    }
}

#[test]
fn an_id_that_is_copied_evicts_nobody() {
    let torrent = some();
    let mut world = World::new();
    let host = world.add_node(&torrent, false);
    let (owner, thief) = (world.scripted(), world.scripted());
    let hash = torrent.hashes.first();
    // Ids above and below ours: who keeps which connection depends on them.
    for id in [PeerId([0; 20]), PeerId([0xff; 20])] {
        let first = greet_as(&mut world, owner, host, hash, id);
        let second = greet_as(&mut world, thief, host, hash, id);
        assert!(!world.is_closed(owner, first) && !world.is_closed(thief, second));
        let again = greet_as(&mut world, owner, host, hash, id);
        assert!(world.is_closed(owner, again), "the same address: one of them is enough");
    }
    // A seed that we dialled keeps its connection, and is dialled again when it is lost.
    world.command(host, Command::AddPeers(T, vec![address(owner)]));
    world.pass(Duration::from_secs(2));
    let dialled = world.hosts[owner]
        .got
        .iter()
        .rev()
        .find_map(|(conn, parcel)| matches!(parcel, Parcel::Handshake(..)).then_some(*conn));
    assert!(dialled.is_some_and(|conn| !world.is_closed(owner, conn)));
}

#[test]
fn addresses_that_a_stranger_names_keep_out_nobody_that_a_tracker_names() {
    let torrent = some();
    let mut world = World::new();
    let host = world.add_node(&torrent, false);
    let stranger = world.scripted();
    let conn = world.greet(stranger, host, torrent.hashes.first());
    let names: Vec<Message> = (1..=3000)
        .map(|port| {
            let said = ExtendedHandshake { port: Some(port), ..ExtendedHandshake::default() };
            extended(0, said.encode())
        })
        .collect();
    say_at_once(&mut world, stranger, conn, &names);
    // Invariants are checked after every input: so many of one source, so many in all.
    let seed = world.add_node(&torrent, true);
    world.command(host, Command::AddPeers(T, vec![address(seed)]));
    assert!(world.run(Duration::from_secs(60), |world| world.seeds(host)));
}

/// So many connections from so many addresses, all interested, that never ask for anything.
fn sitters(world: &mut World, seed: usize, hash: InfoHash, hosts: usize, each: usize) {
    for _ in 0..hosts {
        let host = world.scripted();
        for number in 0..each {
            let mut id = peer_id(host);
            id.0[0] = number as u8;
            let conn = greet_as(world, host, seed, hash, id);
            world.send(host, conn, Message::Interested);
        }
    }
}

#[test]
fn who_sits_in_a_place_and_takes_nothing_makes_room() {
    // (addresses, connections each, how long they sit before somebody honest comes)
    for (hosts, each, sat) in [(10, 8, 0), (80, 1, 60)] {
        let torrent = some();
        let mut world = World::new();
        let seed = world.add_node(&torrent, true);
        sitters(&mut world, seed, torrent.hashes.first(), hosts, each);
        world.pass(Duration::from_secs(sat));
        assert_eq!(world.hosts[seed].ends.len(), 80, "four of five places");
        let honest = world.add_node(&torrent, false);
        let served = world.run(Duration::from_secs(120), |world| world.seeds(honest));
        assert!(served, "{hosts} addresses with {each} connections each");
        assert!(world.hosts[seed].ends.len() <= 80);
    }
}

#[test]
fn a_source_that_has_all_its_places_gives_up_its_own() {
    let torrent = some();
    let mut world = World::new();
    let seed = world.add_node(&torrent, true);
    let hash = torrent.hashes.first();
    sitters(&mut world, seed, hash, 1, 8);
    let host = world.hosts.len() - 1;
    let early = greet_as(&mut world, host, seed, hash, PeerId([9; 20]));
    assert!(world.is_closed(host, early), "they have only just come");
    world.pass(Duration::from_secs(60));
    let late = greet_as(&mut world, host, seed, hash, PeerId([8; 20]));
    assert!(!world.is_closed(host, late));
    assert_eq!(world.hosts[seed].ends.len(), 8);
}

#[test]
fn messages_that_change_nothing_are_borne_up_to_a_rate() {
    let have = |n: u32| Message::Have { piece: n % 3 };
    let toggle =
        |n: u32| if n.is_multiple_of(2) { Message::Interested } else { Message::NotInterested };
    let cancel = |n: u32| {
        let range = dunlin_base::BlockRef { piece: PieceIndex(n % 40), begin: 0, len: 16 << 10 };
        Message::Cancel(range)
    };
    // What it lacks, what there is not, and hashes that a torrent of version 1 does not have.
    let range = |piece| dunlin_base::BlockRef { piece: PieceIndex(piece), begin: 0, len: 16 << 10 };
    let lacking = |n: u32| Message::Request(range(n % 40));
    let wild = |n: u32| Message::Request(range(77_777 + n));
    let hashes = |index| {
        Message::HashRequest(dunlin_wire::HashRange {
            root: [1; 32],
            base: 0,
            index,
            length: 2,
            proof: 0,
        })
    };
    let kinds: [&dyn Fn(u32) -> Message; 7] =
        [&have, &toggle, &cancel, &|_| Message::KeepAlive, &lacking, &wild, &hashes];
    for (number, kind) in kinds.into_iter().enumerate() {
        let torrent = some();
        let mut world = World::new();
        let host = world.add_node(&torrent, false);
        let peer = world.scripted();
        let conn = world.greet(peer, host, torrent.hashes.first());
        let some: Vec<Message> = (0..3000).map(kind).collect();
        say_at_once(&mut world, peer, conn, &some);
        assert!(!world.is_closed(peer, conn), "kind {number}: a burst is borne");
        world.pass(Duration::from_secs(30));
        say_at_once(&mut world, peer, conn, &some);
        assert!(!world.is_closed(peer, conn), "kind {number}: patience comes back");
        say_at_once(&mut world, peer, conn, &some);
        world.pass(Duration::from_secs(1));
        assert!(world.is_closed(peer, conn), "kind {number}: it ends");
        let breach = |reason: &HangUpReason| matches!(reason, HangUpReason::Violation(_));
        assert!(world.hosts[host].hang_ups.iter().any(breach));
    }
}

#[test]
fn news_costs_no_patience() {
    let torrent = torrent(Format::V1, 16 << 10, &[6000 * (16 << 10)]);
    let mut world = World::new();
    let host = world.add_node(&torrent, true);
    let peer = world.scripted();
    let conn = world.greet(peer, host, torrent.hashes.first());
    let haves: Vec<Message> = (0..5999).map(|piece| Message::Have { piece }).collect();
    say_at_once(&mut world, peer, conn, &haves);
    assert!(!world.is_closed(peer, conn), "it has what it says");
}

#[test]
fn a_ban_ends() {
    let torrent = some();
    let mut world = World::new();
    let host = world.add_node(&torrent, false);
    let peer = world.scripted();
    let hash = torrent.hashes.first();
    for _ in 0..5 {
        let conn = world.greet(peer, host, hash);
        world.send(peer, conn, Message::Have { piece: 10_000 });
        assert!(world.is_closed(peer, conn));
    }
    let conn = world.greet(peer, host, hash);
    assert!(world.is_closed(peer, conn), "five breaches are a habit");
    assert!(world.hosts[host].hang_ups.contains(&HangUpReason::Banned));
    world.pass(HOUR);
    let conn = world.greet(peer, host, hash);
    assert!(!world.is_closed(peer, conn), "an hour later it may try again");
    world.send(peer, conn, Message::Have { piece: 10_000 });
    let conn = world.greet(peer, host, hash);
    assert!(!world.is_closed(peer, conn), "and begins anew");
}

#[test]
fn what_is_taken_back_uses_up_no_limit() {
    let torrent = some();
    let mut world = World::new();
    let limits = dunlin_engine::io::Limits { up: Some(dunlin_base::Rate(1 << 20)), down: None };
    let seed = world.host(ClientConfig { limits, ..ClientConfig::default() });
    world.hosts[seed].disk.full_copy = true;
    world.add(seed, adding(Source::Metainfo(torrent.clone()), seed));
    let peer = world.scripted();
    let conn = world.greet(peer, seed, torrent.hashes.first());
    world.send(peer, conn, Message::Interested);
    // A minute's worth of the limit, taken back as soon as it was asked for.
    let end = world.hosts[peer].ends[&conn];
    for n in 0..3840_u32 {
        let block = dunlin_base::BlockRef { piece: PieceIndex(n % 40), begin: 0, len: 16 << 10 };
        let messages = [Message::Request(block), Message::Cancel(block)];
        for message in messages {
            world.input(seed, SwarmInput::Message { conn: end.conn, message });
        }
        world.input(seed, SwarmInput::ServeCancelled { conn: end.conn, block });
    }
    let honest = world.host(ClientConfig::default());
    let add = adding(Source::Metainfo(torrent.clone()), honest);
    world.add(honest, AddTorrent { peers: vec![address(seed)], ..add });
    let served = world.run(Duration::from_secs(20), |world| world.seeds(honest));
    assert!(served, "2.5 MiB at 1 MiB/s");
}

#[test]
fn slots_that_a_source_lets_pass_are_remembered_when_it_comes_again() {
    let torrent = some();
    let mut world = World::new();
    let seed = world.add_node(&torrent, true);
    world.set_uplink(seed, 100_000);
    let hash = torrent.hashes.first();
    let strangers: Vec<usize> = (0..10).map(|_| world.scripted()).collect();
    let mut conns: Vec<(usize, ConnId)> = Vec::new();
    let sit = |world: &mut World, conns: &mut Vec<(usize, ConnId)>| {
        for (host, conn) in conns.drain(..) {
            world.close(host, conn);
        }
        for stranger in &strangers {
            let conn = world.greet(*stranger, seed, hash);
            world.send(*stranger, conn, Message::Interested);
            conns.push((*stranger, conn));
        }
    };
    sit(&mut world, &mut conns);
    world.pass(Duration::from_secs(2));
    let honest = world.add_node(&torrent, false);
    // 2.5 MiB at 100 kB a second take 27 s when nobody disturbs. The strangers come anew all the
    // time.
    let began = world.now();
    while !world.seeds(honest) {
        let passed = world.now().since(began);
        assert!(passed < Duration::from_secs(50), "{passed:?}");
        world.pass(Duration::from_secs(1));
        if passed.as_secs() % 5 == 4 {
            sit(&mut world, &mut conns);
        }
    }
}

/// A newcomer greets a tenth of a second after it has connected, and tries again after a quarter of
/// a minute. Returns whether it has had a place.
fn newcomer_comes_in(
    world: &mut World,
    host: usize,
    hash: InfoHash,
    mut crowd: impl FnMut(&mut World, Duration),
) -> bool {
    let newcomer = world.scripted();
    for _ in 0..4 {
        let conn = world.dial(newcomer, host);
        crowd(world, Duration::from_millis(100));
        world.send_handshake(newcomer, conn, handshake(newcomer, hash));
        if !world.received(newcomer, conn).is_empty() {
            return true;
        }
        crowd(world, Duration::from_secs(15));
    }
    false
}

#[test]
fn strangers_that_dial_again_at_once_keep_no_newcomer_from_greeting() {
    let torrent = some();
    let mut world = World::new();
    let host = world.add_node(&torrent, true);
    let strangers: Vec<usize> = (0..120).map(|_| world.scripted()).collect();
    let mut conns: Vec<(usize, ConnId)> = Vec::new();
    let mut crowd = |world: &mut World, time: Duration| {
        let until = world.now() + time.min(Duration::from_secs(1));
        while world.now() < until {
            // Each has three connections, and dials again when one of them is closed.
            conns.retain(|(stranger, conn)| !world.is_closed(*stranger, *conn));
            for stranger in &strangers {
                let own = conns.iter().filter(|(other, _)| other == stranger).count();
                for _ in own..3 {
                    conns.push((*stranger, world.stranger_dials(*stranger, host)));
                }
            }
            world.pass(Duration::from_millis(25));
        }
        world.pass(time - time.min(Duration::from_secs(1)));
    };
    crowd(&mut world, Duration::from_secs(1));
    assert!(newcomer_comes_in(&mut world, host, torrent.hashes.first(), crowd));
}

#[test]
fn strangers_that_dial_again_at_once_keep_no_newcomer_from_a_place() {
    let torrent = some();
    let mut world = World::new();
    let host = world.host(ClientConfig { connections_per_torrent: 10, ..ClientConfig::default() });
    world.hosts[host].disk.full_copy = true;
    world.add(host, adding(Source::Metainfo(torrent.clone()), host));
    let strangers: Vec<usize> = (0..20).map(|_| world.scripted()).collect();
    let hash = torrent.hashes.first();
    let mut conns: Vec<(usize, ConnId)> = Vec::new();
    let mut crowd = |world: &mut World, time: Duration| {
        let until = world.now() + time;
        while world.now() < until {
            conns.retain(|(stranger, conn)| !world.is_closed(*stranger, *conn));
            for stranger in &strangers {
                if !conns.iter().any(|(other, _)| other == stranger) {
                    let conn = world.greet(*stranger, host, hash);
                    conns.push((*stranger, conn));
                }
            }
            world.pass(Duration::from_millis(25));
        }
    };
    crowd(&mut world, Duration::from_secs(1));
    assert!(newcomer_comes_in(&mut world, host, hash, crowd));
}

/// Whoever shares an address with strangers that only wait comes in all the same: the one of them
/// that waits longest makes room.
#[test]
fn silent_strangers_of_one_source_make_room_for_others_of_it() {
    let torrent = some();
    let mut world = World::new();
    let host = world.add_node(&torrent, true);
    let stranger = world.scripted();
    let silent: Vec<ConnId> = (0..32).map(|_| world.stranger_dials(stranger, host)).collect();
    world.pass(Duration::from_secs(1));
    assert!(silent.iter().all(|conn| !world.is_closed(stranger, *conn)), "so many may wait");
    let conn = world.greet(stranger, host, torrent.hashes.first());
    world.pass(Duration::from_secs(1));
    assert!(!world.is_closed(stranger, conn) && !world.received(stranger, conn).is_empty());
    let closed = silent.iter().filter(|conn| world.is_closed(stranger, **conn)).count();
    assert_eq!(closed, 1);
}
