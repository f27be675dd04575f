//! The example of the engine that downloads with blocking sockets, against this world as the seed.

#[path = "../../../engine/examples/embed/main.rs"]
#[allow(dead_code, unreachable_pub, reason = "its arguments are not tested here")]
mod embed;

use dunlin_base::{PeerId, TorrentId};
use dunlin_bencode::Writer;
use dunlin_disk::{Existing, RealFs};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{AddTorrent, Command, Limits, SeedGoal, Source};
use dunlin_metainfo::Torrent;
use dunlin_net::tracker_client::TrackerConfig;
use dunlin_net::{Bind, Net, NetConfig, NetEvent, NewTorrent, Port};
use sha1::{Digest, Sha1};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

const PIECE: usize = 32 << 10;
const FILES: &[(&str, usize)] = &[("first", 5 * PIECE + 100), ("empty", 0), ("second", 70_000)];

/// A torrent file, and the bytes of its files one after another.
fn torrent() -> (Vec<u8>, Vec<u8>) {
    let mut rng = dunlin_base::Rng::new(3);
    let length = FILES.iter().map(|(_, length)| length).sum();
    let bytes: Vec<u8> = (0..length).map(|_| rng.next_u64() as u8).collect();
    let hashes: Vec<u8> = bytes.chunks(PIECE).flat_map(Sha1::digest).collect();
    let mut writer = Writer::new();
    writer.dict().key("info").dict().key("files").list();
    for (name, length) in FILES {
        writer.dict().key("length").integer(*length as u64);
        writer.key("path").list().bytes(name).end().end();
    }
    writer.end().key("name").bytes("some").key("piece length").integer(PIECE as u64);
    writer.key("pieces").bytes(&hashes).end().end();
    (writer.finish().unwrap(), bytes)
}

/// Seeds what is below `folder`.
fn seed(folder: &Path, metainfo: Torrent) -> (Net, Receiver<NetEvent>) {
    let config = NetConfig {
        client: ClientConfig::default(),
        bind: Bind::parse("127.0.0.1").unwrap(),
        port: Port::Exactly(0),
        fs: Arc::new(RealFs),
        hash_threads: 1,
        trackers: TrackerConfig::default(),
    };
    let (net, events) = Net::start(config).unwrap();
    let add = AddTorrent {
        torrent: TorrentId(0),
        source: Source::Metainfo(Arc::new(metainfo)),
        trackers: Vec::new(),
        peers: Vec::new(),
        priorities: Vec::new(),
        sequential: false,
        limits: Limits::default(),
        seed: Some(SeedGoal::default()),
        peer_id: PeerId(*b"-DN0100-............"),
        key: 1,
        paused: false,
        serve_only: true,
    };
    net.add(NewTorrent { add, folder: folder.to_owned(), existing: Existing::Read });
    (net, events)
}

#[test]
fn the_example_downloads_from_a_seed_on_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    let (file, bytes) = torrent();
    let torrent = folder.path().join("some.torrent");
    std::fs::write(&torrent, &file).unwrap();
    std::fs::create_dir_all(source.join("some")).unwrap();
    let mut rest = &bytes[..];
    for (name, length) in FILES {
        let (own, more) = rest.split_at(*length);
        std::fs::write(source.join("some").join(name), own).unwrap();
        rest = more;
    }
    let (net, _events) = seed(&source, Torrent::parse(&file).unwrap());
    embed::download(&torrent, &target, vec![net.addresses()[0]]).unwrap();
    for (name, _) in FILES {
        let read = |folder: &Path| std::fs::read(folder.join("some").join(name)).unwrap();
        assert!(read(&target) == read(&source), "{name} differs");
    }
    assert_eq!(std::fs::read_dir(target.join("some")).unwrap().count(), FILES.len());
    // What is there is not written over.
    let again = embed::download(&torrent, &target, vec![net.addresses()[0]]).unwrap_err();
    assert!(again.to_string().ends_with("exists; name another folder"), "{again}");
    net.command(Command::Stop);
    net.join();
}

#[test]
fn the_example_explains_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.torrent");
    let error = embed::download(&missing, folder.path(), Vec::new()).unwrap_err().to_string();
    assert!(error.contains("missing.torrent: "), "{error}");
}
