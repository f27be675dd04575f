//! The same strategies against the real loop, over loopback: the honest peer is served, and what
//! connections hold stays within the budget.

use dunlin_base::{PeerId, Rate, TorrentId};
use dunlin_bencode::Writer;
use dunlin_disk::{Existing, RealFs};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{AddTorrent, ClientEvent, Command, Limits, SeedGoal, Source, TorrentState};
use dunlin_hostile::sockets::{Attack, Seen};
use dunlin_hostile::{Flood, Kind, Target};
use dunlin_metainfo::Torrent;
use dunlin_net::tracker_client::TrackerConfig;
use dunlin_net::{Bind, Net, NetConfig, NetEvent, NewTorrent, Port};
use sha1::{Digest, Sha1};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

const TORRENT: TorrentId = TorrentId(0);
const PIECE: usize = 64 << 10;
/// Bytes of the torrent: more than the memory budget, so that it cannot be held as a whole.
const LENGTH: usize = 12 << 20;
const BUDGET: u64 = 8 << 20;
/// No test waits longer for anything; none comes near it unless something is wrong.
const LIMIT: Duration = Duration::from_secs(120);

fn torrent() -> (Arc<Torrent>, Vec<u8>) {
    let mut rng = dunlin_base::Rng::new(5);
    let bytes: Vec<u8> = (0..LENGTH / 8).flat_map(|_| rng.next_u64().to_be_bytes()).collect();
    let mut hashes = Vec::new();
    for piece in bytes.chunks(PIECE) {
        hashes.extend_from_slice(&Sha1::digest(piece));
    }
    let mut writer = Writer::new();
    writer.dict().key("info").dict().key("length").integer(bytes.len() as u64);
    writer.key("name").bytes("t").key("piece length").integer(PIECE as u64);
    writer.key("pieces").bytes(&hashes).end().end();
    (Arc::new(Torrent::parse(&writer.finish().unwrap()).unwrap()), bytes)
}

/// A running program with one torrent.
struct Program {
    net: Net,
    events: Receiver<NetEvent>,
}

impl Program {
    fn start(folder: &Path, torrent: &Arc<Torrent>, peers: Vec<SocketAddr>, down: u64) -> Program {
        let limits = Limits { down: (down > 0).then_some(Rate(down)), up: None };
        let client = ClientConfig { memory: BUDGET, limits, ..ClientConfig::default() };
        let config = NetConfig {
            client,
            bind: Bind::parse("127.0.0.1").unwrap(),
            port: Port::Exactly(0),
            fs: Arc::new(RealFs),
            hash_threads: 1,
            trackers: TrackerConfig::default(),
        };
        let (net, events) = Net::start(config).unwrap();
        let mut id = *b"-DN0100-............";
        id[18..].copy_from_slice(&net.port().to_be_bytes());
        let existing = if peers.is_empty() { Existing::Read } else { Existing::Refuse };
        let add = AddTorrent {
            serve_only: false,
            torrent: TORRENT,
            source: Source::Metainfo(Arc::clone(torrent)),
            trackers: Vec::new(),
            peers,
            priorities: Vec::new(),
            sequential: false,
            limits: Limits::default(),
            seed: Some(SeedGoal::default()),
            peer_id: PeerId(id),
            key: 1,
            paused: false,
        };
        net.add(NewTorrent { add, folder: folder.to_owned(), existing });
        Program { net, events }
    }

    /// Waits until it has everything.
    fn is_complete(&self, what: &str) {
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(NetEvent::Client(ClientEvent::State {
                    state: TorrentState::Seeding, ..
                })) => return,
                Ok(NetEvent::Client(ClientEvent::State {
                    state: TorrentState::Failed,
                    reason,
                    ..
                })) => {
                    panic!("{what}: failed: {reason:?}")
                }
                Ok(_) => {}
                Err(error) => panic!("{what}: not complete: {error}; {:?}", self.net.take_views()),
            }
        }
    }

    fn stop(self) {
        self.net.command(Command::Stop);
        self.net.join();
    }
}

/// A seed that is attacked by many connections of one kind, and an honest peer that takes
/// everything from it meanwhile.
fn besieged(kinds: &[Kind]) {
    let (torrent, bytes) = torrent();
    let (home, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(home.path().join("t"), &bytes).unwrap();
    let seed = Program::start(home.path(), &torrent, Vec::new(), 0);
    seed.is_complete("the seed");
    let address = seed.net.addresses()[0];
    let pieces = LENGTH.div_ceil(PIECE) as u32;
    let mut target = Target::of(torrent.hashes.first(), pieces, PIECE as u32, bytes.len() as u64);
    (target.tempo, target.burst) = (Duration::from_millis(2), 200);
    target.content = Some(Arc::new(bytes.clone()));
    let target = Arc::new(target);
    let attacks: Vec<_> = (0..)
        .zip(kinds)
        .map(|(number, kind)| {
            let from = (2..6).map(|host| IpAddr::V4(Ipv4Addr::new(127, 0, number + 1, host)));
            let (from, target) = (from.collect(), Arc::clone(&target));
            let attack = Attack { address, from, kind: *kind, connections: 16, target, seed: 3 };
            attack.begin().unwrap()
        })
        .collect();
    // The attack stands before the honest peer comes.
    let until = Instant::now() + LIMIT;
    while attacks.iter().any(|attack| attack.seen().connections == 0) {
        assert!(Instant::now() < until, "{kinds:?} never connected");
        std::thread::yield_now();
    }
    // As fast as 4 MiB/s, so that the attack has three seconds.
    let honest = Program::start(here.path(), &torrent, vec![address], 4 << 20);
    honest.is_complete(&format!("{kinds:?}"));
    let seen: Vec<Seen> = attacks.into_iter().map(|attack| attack.end()).collect();
    assert!(seen.iter().all(|seen| seen.connections > 0), "{kinds:?} {seen:?}");
    assert!(std::fs::read(here.path().join("t")).unwrap() == bytes, "{kinds:?}: wrong bytes");
    let peak = seed.net.memory_peak();
    assert!(peak <= BUDGET, "{kinds:?}: {peak} bytes were in use, of {BUDGET}");
    honest.stop();
    seed.stop();
}

#[test]
fn peers_that_do_not_read() {
    besieged(&[Kind::Flood(Flood::ChokedRequests, false), Kind::Flood(Flood::HashRequests, false)]);
}

#[test]
fn requests_and_cancels() {
    besieged(&[Kind::Flood(Flood::RequestCancel, false), Kind::Flood(Flood::RequestCancel, true)]);
}

#[test]
fn floods_of_small_messages() {
    besieged(&[
        Kind::Flood(Flood::Have, true),
        Kind::Flood(Flood::Interest, true),
        Kind::Flood(Flood::Choke, false),
        Kind::Flood(Flood::KeepAlive, true),
        Kind::Flood(Flood::Ports, true),
    ]);
}

#[test]
fn peers_that_hold_places() {
    besieged(&[Kind::Silent, Kind::HalfHandshake, Kind::Drip, Kind::HalfMessage, Kind::Idle]);
}

#[test]
fn peers_that_lie_and_send_nonsense() {
    besieged(&[
        Kind::Thief,
        Kind::Impostor,
        Kind::Unasked,
        Kind::LateBitfield,
        Kind::Malformed,
        Kind::Babbler,
    ]);
}

#[test]
fn peers_that_take() {
    besieged(&[Kind::Greedy, Kind::SlowReader]);
}
