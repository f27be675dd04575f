//! Who waits for whom at the disk: nobody for the check of another torrent, and no end for a check.

#[path = "common/gated_fs.rs"]
mod gated_fs;

use dunlin_base::{PeerId, TorrentId};
use dunlin_bencode::Writer;
use dunlin_disk::{Existing, Fs, RealFs};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{AddTorrent, ClientEvent, Command, Limits, SeedGoal, Source, TorrentState};
use dunlin_metainfo::Torrent;
use dunlin_net::tracker_client::TrackerConfig;
use dunlin_net::{Bind, Net, NetConfig, NetEvent, NewTorrent, Port};
use gated_fs::{Gate, GatedFs};
use sha1::{Digest, Sha1};
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// No test waits longer for anything; none comes near it unless something is wrong.
const LIMIT: Duration = Duration::from_secs(60);

const LARGE: TorrentId = TorrentId(1);
const SMALL: TorrentId = TorrentId(2);

/// A torrent of one file.
fn torrent(name: &str, length: u64, piece_length: u64, hashes: &[u8]) -> Arc<Torrent> {
    let mut writer = Writer::new();
    writer.dict().key("info").dict();
    writer.key("length").integer(length).key("name").bytes(name);
    writer.key("piece length").integer(piece_length).key("pieces").bytes(hashes).end().end();
    Arc::new(Torrent::parse(&writer.finish().unwrap()).unwrap())
}

/// 2 GiB of which nothing is right.
fn large() -> Arc<Torrent> {
    let (length, piece) = (2 << 30, 4 << 20);
    torrent("large", length, piece, &vec![7; (length / piece) as usize * 20])
}

/// A torrent that can be had from others, and its bytes.
fn small() -> (Arc<Torrent>, Vec<u8>) {
    let mut rng = dunlin_base::Rng::new(1);
    let bytes: Vec<u8> = (0..1_000_000).map(|_| rng.next_u64() as u8).collect();
    let hashes: Vec<u8> = bytes.chunks(32 << 10).flat_map(Sha1::digest).collect();
    (torrent("small", bytes.len() as u64, 32 << 10, &hashes), bytes)
}

struct Peer {
    net: Net,
    events: Receiver<NetEvent>,
}

impl Peer {
    fn start(fs: Arc<dyn Fs>) -> Peer {
        let (net, events) = Net::start(NetConfig {
            client: ClientConfig { memory: 64 << 20, ..ClientConfig::default() },
            bind: Bind::parse("127.0.0.1").unwrap(),
            port: Port::Exactly(0),
            fs,
            hash_threads: 1,
            trackers: TrackerConfig::default(),
        })
        .unwrap();
        Peer { net, events }
    }

    fn add(&self, id: TorrentId, torrent: &Arc<Torrent>, folder: &Path, from: Option<SocketAddr>) {
        let mut peer_id = *b"-DN0100-............";
        peer_id[18..].copy_from_slice(&self.net.port().to_be_bytes());
        let add = AddTorrent {
            torrent: id,
            source: Source::Metainfo(Arc::clone(torrent)),
            trackers: Vec::new(),
            peers: from.into_iter().collect(),
            priorities: Vec::new(),
            sequential: false,
            limits: Limits::default(),
            seed: Some(SeedGoal::default()),
            peer_id: PeerId(peer_id),
            key: 1,
            paused: false,
            serve_only: false,
        };
        let (folder, existing) = (folder.to_owned(), Existing::Refuse);
        self.net.add(NewTorrent { add, folder, existing });
    }

    fn until(&self, what: &str, is: impl Fn(&NetEvent) -> bool) {
        loop {
            match self.events.recv_timeout(LIMIT) {
                Ok(event) if is(&event) => return,
                Ok(_) => {}
                Err(error) => panic!("{what} never came: {error}"),
            }
        }
    }

    fn until_seeding(&self, id: TorrentId) {
        let wanted = |event: &NetEvent| {
            matches!(event, NetEvent::Client(ClientEvent::State { torrent, state, .. })
                if *torrent == id && *state == TorrentState::Seeding)
        };
        self.until("a complete torrent", wanted);
    }
}

/// A peer that has the small torrent.
fn seed(folder: &Path) -> Peer {
    let (torrent, bytes) = small();
    std::fs::write(folder.join("small"), bytes).unwrap();
    let peer = Peer::start(Arc::new(RealFs));
    peer.add(SMALL, &torrent, folder, None);
    peer.until_seeding(SMALL);
    peer
}

#[test]
fn nobody_waits_for_the_check_of_a_large_torrent() {
    let (home, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let seed = seed(home.path());
    let file = here.path().join("large");
    File::create(&file).unwrap().set_len(2 << 30).unwrap();
    let (gate, arrived) = Gate::before(file);
    let peer = Peer::start(GatedFs::over(&gate));
    peer.add(LARGE, &large(), here.path(), None);
    arrived.recv_timeout(LIMIT).expect("the large torrent is being checked");

    // The check goes on until the gate is opened. Another torrent of the same folder is fetched,
    // written, synced and gets its name meanwhile.
    let (torrent, bytes) = small();
    peer.add(SMALL, &torrent, here.path(), Some(seed.net.addresses()[0]));
    peer.until_seeding(SMALL);
    assert_eq!(std::fs::read(here.path().join("small")).unwrap(), bytes);

    // Both are closed while the gate is still shut: after its end nothing of a torrent is open.
    peer.net.command(Command::Stop);
    peer.until("the end", |event| matches!(event, NetEvent::Stopped));
    gate.open();
    peer.net.join();
    seed.net.command(Command::Stop);
    seed.net.join();
}
