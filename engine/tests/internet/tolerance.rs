//! What a client bears with: messages that programs in use send and that BEP 3, 6 or 10 do not
//! provide for. Each costs its sender nothing, unless there is no end of them. And what still ends
//! a connection.

use crate::internet_world::{
    HOUR, T, World, adding, address, extended, handshake, magnet, request, torrent,
};
use dunlin_base::{BlockRef, ConnId, PieceIndex};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{ClientEvent, Command, HangUpReason};
use dunlin_engine::swarm::peer::MAX_STRANGE;
use dunlin_metainfo::{Format, InfoHashes, Torrent};
use dunlin_wire::extended::{ExtendedHandshake, METADATA_PIECE, MetadataMessage};
use dunlin_wire::{Handshake, HashRange, Message, Reserved};
use std::sync::Arc;
use std::time::Duration;

const PIECE: u32 = 16384;

fn literal(id: u8, payload: &'static [u8]) -> Message {
    extended(id, payload)
}

fn range(root: u8) -> HashRange {
    HashRange { root: [root; 32], base: 0, index: 0, length: 2, proof: 0 }
}

/// A client, and a scripted peer that has greeted it.
fn met(torrent: &Arc<Torrent>, seeds: bool, reserved: Reserved) -> (World, usize, usize, ConnId) {
    let mut world = World::new();
    let (host, peer) = (world.add_node(torrent, seeds), world.scripted());
    let handshake = Handshake { reserved, ..handshake(peer, torrent.hashes.first()) };
    let conn = world.connect(peer, host, handshake);
    (world, host, peer, conn)
}

fn hung_up(world: &World, host: usize) -> bool {
    let reasons = world.hosts[host].hang_ups.iter();
    reasons.clone().any(|reason| matches!(reason, HangUpReason::Violation(_)))
}

#[test]
fn what_harms_nobody_is_borne_and_not_for_ever() {
    let torrent = torrent(Format::Hybrid, PIECE, &[9 * u64::from(PIECE)]);
    let plain = Reserved::default();
    let reject = BlockRef { piece: PieceIndex(0), begin: 0, len: PIECE };
    let mut metadata = Vec::from(&b"d8:msg_typei0e5:piecei0ee"[..]);
    metadata.resize(18 << 10, b'x');
    let long = extended(1, metadata);
    let hashes = Message::Hashes { range: range(1), hashes: vec![0; 64].into() };
    // What is said again and again, and how the sender has introduced itself.
    let cases = [
        (Message::RejectRequest(reject), Reserved::INTERNET),
        (literal(0, b"i5e"), Reserved::INTERNET),
        (literal(0, b""), Reserved::INTERNET),
        (literal(1, b"nonsense"), Reserved::INTERNET),
        (literal(1, b"d8:msg_typei0ee"), Reserved::INTERNET),
        (long, Reserved::INTERNET),
        (literal(2, b"\x00\x00"), Reserved::INTERNET),
        (literal(3, b"\x00"), Reserved::INTERNET),
        (literal(0, b"de"), plain),
        (hashes, Reserved::INTERNET),
        (Message::HashReject(range(1)), Reserved::INTERNET),
        (request(0, 1, PIECE), plain),
        (request(9, 0, PIECE), plain),
    ];
    for (message, reserved) in cases {
        let (mut world, host, peer, conn) = met(&torrent, true, reserved);
        for number in 0..MAX_STRANGE {
            world.send(peer, conn, message.clone());
            assert!(!world.is_closed(peer, conn), "{message:?}, number {number}");
        }
        world.send(peer, conn, message.clone());
        assert!(world.is_closed(peer, conn) && hung_up(&world, host), "{message:?}: no end");
    }
}

#[test]
fn what_cannot_be_anything_else_ends_the_connection_at_once() {
    let torrent = torrent(Format::V1, PIECE, &[9 * u64::from(PIECE)]);
    let plain = Reserved::default();
    let block = BlockRef { piece: PieceIndex(0), begin: 0, len: PIECE };
    let cases = [
        (Message::Have { piece: 9 }, Reserved::INTERNET),
        (Message::Bitfield(vec![0xff].into()), Reserved::INTERNET),
        (Message::Bitfield(vec![0; 3].into()), Reserved::INTERNET),
        (Message::HaveAll, plain),
        (Message::HaveNone, plain),
        (Message::RejectRequest(block), plain),
    ];
    for (message, reserved) in cases {
        let (mut world, host, peer, conn) = met(&torrent, true, reserved);
        world.send(peer, conn, message.clone());
        assert!(world.is_closed(peer, conn) && hung_up(&world, host), "{message:?}");
    }
}

/// Pieces that a scripted peer was asked for.
fn pieces_asked(world: &World, peer: usize, conn: ConnId) -> Vec<u32> {
    let pieces = world.requested(peer, conn).into_iter().map(|block| block.piece.0);
    let pieces: std::collections::BTreeSet<u32> = pieces.collect();
    pieces.into_iter().collect()
}

/// Answers every request, until nothing more is asked for.
fn give_blocks(world: &mut World, peer: usize, conn: ConnId) {
    for answered in 0.. {
        let Some(block) = world.requested(peer, conn).get(answered).copied() else { return };
        world.send_block(peer, conn, block);
    }
}

#[test]
fn a_later_bitfield_counts_as_so_many_haves() {
    let torrent = torrent(Format::V1, PIECE, &[9 * u64::from(PIECE)]);
    let bits = |bytes: [u8; 2]| Message::Bitfield(bytes.to_vec().into());
    // What is said, and the pieces that are asked for in the end.
    let cases: [(&[Message], &[u32]); 9] = [
        (&[bits([0x80, 0]), bits([0x40, 0])], &[0, 1]),
        (&[bits([0xc0, 0]), bits([0x20, 0x80])], &[0, 1, 2, 8]),
        (&[Message::Have { piece: 4 }, bits([0x80, 0])], &[0, 4]),
        (&[Message::HaveNone, bits([0, 0x80])], &[8]),
        (&[Message::HaveNone, Message::HaveAll], &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (&[Message::HaveAll, bits([0x80, 0])], &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (&[Message::HaveAll, Message::HaveNone], &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (&[bits([0x01, 0]), Message::HaveNone, bits([0x01, 0])], &[7]),
        (&[bits([0x80, 0x7f])], &[0]),
    ];
    for (said, expected) in cases {
        let (mut world, _, peer, conn) = met(&torrent, false, Reserved::INTERNET);
        for message in said {
            world.send(peer, conn, message.clone());
        }
        world.send(peer, conn, Message::Unchoke);
        give_blocks(&mut world, peer, conn);
        assert_eq!(pieces_asked(&world, peer, conn), expected, "{said:?}");
        assert!(!world.is_closed(peer, conn), "{said:?}");
    }
}

#[test]
fn bitfields_that_come_before_the_torrent_is_known_add_up_as_well() {
    let torrent = torrent(Format::V1, PIECE, &[9 * u64::from(PIECE)]);
    let mut world = World::new();
    let host = world.host(ClientConfig::default());
    world.add(host, adding(magnet(torrent.hashes), host));
    let peer = world.scripted();
    let conn = world.greet(peer, host, torrent.hashes.first());
    for message in [
        Message::Bitfield(vec![0x80, 0].into()),
        Message::Have { piece: 3 },
        Message::Bitfield(vec![0x41, 0].into()),
        Message::HaveNone,
    ] {
        world.send(peer, conn, message);
    }
    give_metadata(&mut world, peer, conn, torrent.info().clone(), usize::MAX);
    world.send(peer, conn, Message::Unchoke);
    world.pass(Duration::from_secs(1));
    give_blocks(&mut world, peer, conn);
    assert_eq!(pieces_asked(&world, peer, conn), [0, 1, 3, 7]);
}

/// Requests for metadata that a peer was sent.
fn metadata_asked(world: &World, peer: usize, conn: ConnId) -> Vec<u32> {
    let messages = world.received(peer, conn).into_iter();
    let asked = messages.filter_map(|message| match message {
        Message::Extended { id: 5, payload } => match MetadataMessage::decode(&payload) {
            Ok(Some(MetadataMessage::Request { piece })) => Some(piece),
            _ => None,
        },
        _ => None,
    });
    asked.collect()
}

/// Introduces a scripted peer that has the metadata, and answers for it as rtorrent 0.9.8 does:
/// whoever asks for a second piece before it has the first hears nothing more. Nor does anybody
/// after `answers`.
fn give_metadata(world: &mut World, peer: usize, conn: ConnId, info: bytes::Bytes, answers: usize) {
    let total_size = info.len() as u32;
    let said = ExtendedHandshake {
        extensions: [("ut_metadata", 5)].into(),
        metadata_size: Some(total_size),
        ..ExtendedHandshake::default()
    };
    world.send(peer, conn, extended(0, said.encode()));
    for answered in 0..answers {
        let asked = metadata_asked(world, peer, conn);
        if asked.len() != answered + 1 {
            return;
        }
        let piece = asked[answered];
        let begin = (piece * METADATA_PIECE) as usize;
        let data = info.slice(begin..info.len().min(begin + METADATA_PIECE as usize));
        world.send(
            peer,
            conn,
            extended(1, MetadataMessage::Data { piece, total_size, data }.encode()),
        );
    }
}

/// A torrent whose info dictionary has so many pieces of 16 KiB.
fn with_metadata(pieces: u32) -> Arc<Torrent> {
    // 20 bytes a piece of the torrent.
    let count = (u64::from(pieces) * 16384 - 8000) / 20;
    let torrent = torrent(Format::V1, 16384, &[count * 16384]);
    assert_eq!(dunlin_wire::extended::metadata_pieces(torrent.info().len() as u32), pieces);
    torrent
}

fn knows(world: &World, host: usize) -> bool {
    world.hosts[host].events.iter().any(|event| matches!(event, ClientEvent::Metadata { .. }))
}

#[test]
fn a_peer_that_stands_one_metadata_request_at_a_time_gives_all_of_it() {
    for pieces in [1, 2, 3, 40] {
        let torrent = with_metadata(pieces);
        let mut world = World::new();
        let host = world.host(ClientConfig::default());
        world.add(host, adding(magnet(torrent.hashes), host));
        let peer = world.scripted();
        let conn = world.greet(peer, host, torrent.hashes.first());
        give_metadata(&mut world, peer, conn, torrent.info().clone(), usize::MAX);
        assert!(knows(&world, host), "{pieces} pieces");
        assert!(!world.is_closed(peer, conn));
        assert_eq!(metadata_asked(&world, peer, conn).len() as u32, pieces);
    }
}

#[test]
fn a_connection_that_gives_no_more_metadata_is_made_again() {
    let torrent = with_metadata(3);
    let mut world = World::new();
    let host = world.host(ClientConfig::default());
    world.add(host, adding(magnet(torrent.hashes), host));
    let peer = world.scripted();
    world.command(host, Command::AddPeers(T, vec![address(peer)]));
    for (round, answers) in [1_usize, 0, usize::MAX].into_iter().enumerate() {
        // The world takes the dial of the client for the peer's own.
        let dialled = |world: &World| world.hosts[peer].ends.keys().next_back().copied();
        while dialled(&world).is_none() {
            world.pass(Duration::from_secs(1));
            assert!(world.now().since(dunlin_base::Time::ZERO) < HOUR, "round {round}: no dial");
        }
        let conn = dialled(&world).unwrap();
        world.send_handshake(peer, conn, handshake(peer, torrent.hashes.first()));
        give_metadata(&mut world, peer, conn, torrent.info().clone(), answers);
        world.pass(Duration::from_secs(20));
        let silent = answers < usize::MAX;
        assert_eq!(world.is_closed(peer, conn), silent, "round {round}");
        assert!(metadata_asked(&world, peer, conn).len() <= 3, "round {round}");
    }
    assert!(knows(&world, host));
    let took = world.now().since(dunlin_base::Time::ZERO);
    assert!(took < Duration::from_secs(90), "nobody else is there: {took:?}");
}

#[test]
fn hashes_asked_for_on_a_connection_of_version_1_are_rejected() {
    let torrent = torrent(Format::Hybrid, PIECE, &[9 * u64::from(PIECE)]);
    // It says that it knows version 1 alone.
    let (mut world, _, peer, conn) = met(&torrent, true, Reserved::INTERNET);
    for root in 0..=255 {
        world.send(peer, conn, Message::HashRequest(range(root)));
        assert_eq!(world.last_received(peer, conn), Some(Message::HashReject(range(root))));
    }
    assert!(!world.is_closed(peer, conn));
    // A magnet that names both, before anything is known.
    let mut world = World::new();
    let host = world.host(ClientConfig::default());
    let hashes: InfoHashes = torrent.hashes;
    world.add(host, adding(magnet(hashes), host));
    let peer = world.scripted();
    let conn = world.greet(peer, host, torrent.hashes.first());
    world.send(peer, conn, Message::HashRequest(range(1)));
    assert_eq!(world.last_received(peer, conn), Some(Message::HashReject(range(1))));
}

#[test]
fn blocks_that_nobody_asked_for_are_dropped_and_not_for_ever() {
    let torrent = torrent(Format::V1, PIECE, &[200 * u64::from(PIECE)]);
    for reserved in [Reserved::INTERNET, Reserved::default()] {
        let (mut world, host, peer, conn) = met(&torrent, false, reserved);
        let send = |world: &mut World, piece| {
            let block = BlockRef { piece: PieceIndex(piece), begin: 0, len: PIECE };
            world.send_block(peer, conn, block);
        };
        for piece in 0..MAX_STRANGE {
            send(&mut world, piece);
            assert!(!world.is_closed(peer, conn), "{piece}");
        }
        send(&mut world, MAX_STRANGE);
        assert!(world.is_closed(peer, conn) && hung_up(&world, host));
    }
    // Without the fast extension a choke takes all requests back, and all their blocks may still
    // come.
    let (mut world, _, peer, conn) = met(&torrent, false, Reserved::default());
    world.send(peer, conn, Message::Bitfield(vec![0xff; 25].into()));
    world.send(peer, conn, Message::Unchoke);
    let asked = pieces_asked(&world, peer, conn);
    world.send(peer, conn, Message::Choke);
    for piece in &asked {
        let block = BlockRef { piece: PieceIndex(*piece), begin: 0, len: PIECE };
        world.send_block(peer, conn, block);
    }
    assert!(!world.is_closed(peer, conn) && !asked.is_empty());
}
