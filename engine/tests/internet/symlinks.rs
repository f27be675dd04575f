//! Symbolic links of a torrent (BEP 47) are made when every other wanted file has its name, so that
//! nothing is ever written through one.

use crate::internet_world::{HOUR, T, World, adding};
use dunlin_base::FileIndex;
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{AddTorrent, ClientEvent, Priority, Source};
use dunlin_metainfo::{Format, NewFile, NewHashes, NewTorrent, Torrent};
use std::sync::Arc;

const PIECE: u32 = 64 << 10;
/// By the order of names: links come before what they lead to, between, and behind.
const FILES: [(&str, u64, Option<&str>); 6] = [
    ("a link", 0, Some("m file")),
    ("b empty", 0, None),
    ("c file", 3 * PIECE as u64 + 5, None),
    ("d link", 0, Some("a link")),
    ("m file", 2 * PIECE as u64, None),
    ("z link", 0, Some("b empty")),
];

fn torrent(format: Format) -> Arc<Torrent> {
    let files = FILES.map(|(name, length, link)| NewFile {
        path: vec![name.into()],
        length,
        executable: false,
        link: link.map(|name| vec![name.into()]),
    });
    let new = NewTorrent::folder("some".into(), files.to_vec(), PIECE, format).unwrap();
    let pieces = new.geometry().pieces();
    let root = |piece: u32| {
        let mut hash = [7; 32];
        hash[..4].copy_from_slice(&piece.to_be_bytes());
        hash
    };
    let hashes = NewHashes {
        pieces: if format.has_v1() { vec![[5; 20]; pieces as usize] } else { Vec::new() },
        roots: if format.has_v2() { (0..pieces).map(root).collect() } else { Vec::new() },
    };
    let torrent = new.finish(&hashes).unwrap();
    let links = torrent.files.iter().filter(|file| file.target.is_some()).count();
    assert_eq!(links, 3);
    Arc::new(torrent)
}

/// Files of a host in the order in which they got their names, without padding.
fn finished(world: &World, host: usize, torrent: &Torrent) -> Vec<String> {
    let named = |event: &ClientEvent| match event {
        ClientEvent::FileComplete { torrent: T, file: FileIndex(file) } => {
            torrent.files.get(*file as usize).map(|file| file.path.join("/"))
        }
        _ => None,
    };
    world.hosts[host].events.iter().filter_map(named).collect()
}

fn fetch(format: Format, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut world = World::new();
    let torrent = torrent(format);
    world.swarm(&torrent, 0, 1);
    let host = world.host(ClientConfig { seed: 3, ..ClientConfig::default() });
    let priority = |name: &str| if wanted(name) { Priority::Normal } else { Priority::Skip };
    let priorities = torrent.files.iter().map(|file| priority(&file.path.join("/"))).collect();
    let add = adding(Source::Metainfo(torrent.clone()), host);
    world.add(host, AddTorrent { priorities, ..add });
    assert!(world.run(HOUR, |w| w.seeds(host)), "{format:?}");
    finished(&world, host, &torrent)
}

#[test]
fn links_come_last() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let mut order = fetch(format, |_| true);
        assert_eq!(order.len(), FILES.len(), "{format:?}: {order:?}");
        let mut links = order.split_off(3);
        assert!(order.iter().all(|name| !name.ends_with("link")), "{format:?}: {order:?}");
        links.sort();
        assert_eq!(links, ["a link", "d link", "z link"], "{format:?}");
    }
}

#[test]
fn what_is_not_wanted_keeps_no_link_waiting() {
    // (what is wanted, the order of names)
    let cases: [(&[&str], &[&str]); 4] = [
        (&["a link"], &["a link"]),
        (&["a link", "c file"], &["c file", "a link"]),
        (&["z link", "b empty"], &["b empty", "z link"]),
        (&["m file"], &["m file"]),
    ];
    for (wanted, expected) in cases {
        let order = fetch(Format::V1, |name| wanted.contains(&name));
        assert_eq!(order, expected);
    }
}
