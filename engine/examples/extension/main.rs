//! An extension message (BEP 10) of one file, in a client of a virtual swarm.
//!
//! ```sh
//! cargo run -p dunlin-engine --example extension
//! ```

#![allow(clippy::print_stdout, reason = "a program that prints what it has received")]

mod dunlin_ping;
#[path = "../../tests/internet_world/mod.rs"]
mod internet_world;

use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::Source;
use dunlin_metainfo::Format;
use dunlin_wire::Message;
use dunlin_wire::extended::{self, ExtendedHandshake};
use internet_world::{World, adding, extended, torrent};

/// A peer's number for the extension.
const THEIRS: u8 = 7;

/// Sends a client payloads of the extension as a peer, and returns what the peer receives then.
fn exchange(payloads: &[&'static [u8]]) -> Vec<Message> {
    let torrent = torrent(Format::V1, 32 << 10, &[100_000]);
    let mut world = World::new();
    let extensions = vec![dunlin_ping::EXTENSION];
    let host = world.host(ClientConfig { extensions, ..ClientConfig::default() });
    world.add(host, adding(Source::Metainfo(torrent.clone()), host));
    let peer = world.scripted();
    let conn = world.greet(peer, host, torrent.hashes.first());
    let theirs = world.received(peer, conn).into_iter().find_map(|message| match message {
        Message::Extended { id: extended::HANDSHAKE, payload } => {
            ExtendedHandshake::decode(&payload).ok()?.extensions.get("dunlin_ping")
        }
        _ => None,
    });
    let ours = theirs.expect("the client offers the extension");
    let stated = ExtendedHandshake {
        extensions: [("dunlin_ping", THEIRS)].into(),
        ..ExtendedHandshake::default()
    };
    world.send(peer, conn, extended(extended::HANDSHAKE, stated.encode()));
    let before = world.received(peer, conn).len();
    for payload in payloads {
        world.send(peer, conn, extended(ours, *payload));
    }
    assert!(!world.is_closed(peer, conn), "a few wrong payloads are tolerated");
    world.received(peer, conn).split_off(before)
}

fn main() {
    println!("{:?}", exchange(&[b"12345678", b"too long a payload"]));
}

#[test]
fn a_ping_is_answered_and_a_wrong_one_is_not() {
    let wrong: [&[u8]; 3] = [b"", b"1234567", b"123456789"];
    assert_eq!(exchange(&wrong), []);
    assert_eq!(exchange(&[b"12345678"]), [extended(THEIRS, &b"12345678"[..])]);
}
