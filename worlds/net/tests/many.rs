//! Two thousand torrents in one process: what they took of the memory is given back when they are
//! removed. The allocator of this binary counts the bytes that are in use.

use cap::Cap;
use dunlin_base::{BlockRef, InfoHash, PeerId, PieceIndex, Rng, TorrentId};
use dunlin_bencode::Writer;
use dunlin_disk::{Existing, RealFs};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{AddTorrent, ClientEvent, Command, Limits, SeedGoal, Source, TorrentState};
use dunlin_engine::tracker::Access;
use dunlin_metainfo::{InfoHashes, Torrent};
use dunlin_net::tracker_client::TrackerConfig;
use dunlin_net::tracker_server::{TrackerLimits, TrackerServer, TrackerServerConfig};
use dunlin_net::{Bind, Net, NetConfig, NetEvent, NewTorrent, Port};
use dunlin_wire::{Handshake, Message, Reserved, encode_into};
use sha1::{Digest, Sha1};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

const TORRENTS: u32 = 2000;
const PIECE: usize = 16 << 10;
const PIECES: usize = 4;
/// Torrents that come and go before anything is counted.
const WARM_UP: u32 = 100;
/// Seeds that a peer fetches a block of, at most.
const SERVED: usize = 40;
/// No test waits longer for anything; none comes near it unless something is wrong.
const LIMIT: Duration = Duration::from_secs(120);

/// What is done with a torrent. Its number decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its files are there; a tracker over UDP knows it.
    Seed,
    /// Nothing of it is there, and nobody has it. Its folder is its own.
    Download,
    /// Only its name is known; its tracker is not there.
    Magnet,
    /// It waits, in a folder with others.
    Paused,
}

fn kind(n: u32) -> Kind {
    match n % 4 {
        0 => Kind::Seed,
        1 => Kind::Download,
        2 => Kind::Magnet,
        _ => Kind::Paused,
    }
}

fn data(n: u32) -> Vec<u8> {
    let mut rng = Rng::new(n.into());
    (0..PIECE * PIECES).map(|_| rng.next_u64() as u8).collect()
}

fn torrent(n: u32) -> Arc<Torrent> {
    let hashes: Vec<u8> = data(n).chunks(PIECE).flat_map(Sha1::digest).collect();
    let mut writer = Writer::new();
    writer.dict().key("info").dict().key("length").integer((PIECE * PIECES) as u32);
    writer.key("name").bytes(name(n)).key("piece length").integer(PIECE as u32);
    writer.key("pieces").bytes(&hashes).end().end();
    Arc::new(Torrent::parse(&writer.finish().unwrap()).unwrap())
}

fn name(n: u32) -> String {
    format!("torrent-{n}")
}

/// Where trackers and peers of the torrents are.
struct Others {
    tracker: String,
    /// Nobody listens there.
    closed: SocketAddr,
}

fn new_torrent(n: u32, root: &Path, others: &Others) -> NewTorrent {
    let kind = kind(n);
    let source = match kind {
        Kind::Magnet => {
            let mut hash = [7; 20];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            let hashes = InfoHashes { v1: Some(InfoHash(hash)), v2: None };
            Source::Magnet { hashes, name: Some(name(n)) }
        }
        _ => Source::Metainfo(torrent(n)),
    };
    let trackers = match kind {
        Kind::Seed => vec![vec![others.tracker.clone()]],
        Kind::Magnet => vec![vec![format!("http://{}/announce", others.closed)]],
        Kind::Download | Kind::Paused => Vec::new(),
    };
    let add = AddTorrent {
        torrent: TorrentId(n),
        source,
        trackers,
        peers: if kind == Kind::Download { vec![others.closed] } else { Vec::new() },
        priorities: Vec::new(),
        sequential: false,
        limits: Limits::default(),
        seed: Some(SeedGoal::default()),
        peer_id: PeerId(*b"-DN0100-............"),
        key: 1,
        paused: kind == Kind::Paused,
        serve_only: kind == Kind::Seed,
    };
    let folder = match kind {
        Kind::Seed => root.join("seeds"),
        Kind::Download => root.join(name(n)),
        Kind::Magnet | Kind::Paused => root.join("downloads"),
    };
    std::fs::create_dir_all(&folder).unwrap();
    let existing = if kind == Kind::Seed { Existing::Read } else { Existing::Refuse };
    NewTorrent { add, folder, existing }
}

fn tracker_server() -> TrackerServer {
    TrackerServer::start(TrackerServerConfig {
        http: Vec::new(),
        udp: vec!["127.0.0.1:0".parse().unwrap()],
        interval: Duration::from_secs(900),
        access: Access::Open,
        trusted: Vec::new(),
        limits: TrackerLimits::default(),
    })
    .unwrap()
}

fn start() -> (Net, Receiver<NetEvent>) {
    Net::start(NetConfig {
        client: ClientConfig { memory: 32 << 20, ..ClientConfig::default() },
        bind: Bind::parse("127.0.0.1").unwrap(),
        port: Port::Exactly(0),
        fs: Arc::new(RealFs),
        hash_threads: 1,
        trackers: TrackerConfig::default(),
    })
    .unwrap()
}

/// Receives events until `is_last`.
fn until(events: &Receiver<NetEvent>, what: &str, mut is_last: impl FnMut(NetEvent) -> bool) {
    let end = Instant::now() + LIMIT;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match events.recv_timeout(left) {
            Ok(event) => {
                if is_last(event) {
                    return;
                }
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

/// Fetches a block, and leaves the connection open.
fn fetch_block(net: SocketAddr, n: u32) -> TcpStream {
    let mut stream = TcpStream::connect(net).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let info_hash = torrent(n).hashes.first();
    let mut peer_id = *b"-XX0100-............";
    peer_id[16..].copy_from_slice(&n.to_be_bytes());
    let reserved = Reserved::INTERNET;
    let handshake = Handshake { reserved, info_hash, peer_id: PeerId(peer_id) };
    let mut out = handshake.encode().to_vec();
    encode_into(&Message::Interested, &mut out);
    stream.write_all(&out).unwrap();
    let mut handshake = [0; 68];
    stream.read_exact(&mut handshake).unwrap();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).unwrap();
        match body.split_first() {
            Some((7, block)) => {
                assert_eq!(block[8..], data(n)[..PIECE], "the block of torrent {n}");
                return stream;
            }
            // Unchoke.
            Some((1, _)) => {
                let mut out = Vec::new();
                let range = BlockRef { piece: PieceIndex(0), begin: 0, len: PIECE as u32 };
                encode_into(&Message::Request(range), &mut out);
                stream.write_all(&out).unwrap();
            }
            _ => {}
        }
    }
}

/// Fetches a block of some of the seeds, and leaves the connections open.
fn fetch_blocks(net: &Net, of: Range<u32>) -> Vec<TcpStream> {
    let seeds = of.filter(|n| kind(*n) == Kind::Seed).take(SERVED);
    seeds.map(|n| fetch_block(net.addresses()[0], n)).collect()
}

/// Adds torrents, and waits until each is where it should be, and those with a tracker have asked
/// it.
fn add(net: &Net, events: &Receiver<NetEvent>, of: Range<u32>, root: &Path, others: &Others) {
    let mut expected = BTreeMap::new();
    let mut unasked = BTreeSet::new();
    for n in of {
        let state = match kind(n) {
            Kind::Seed => TorrentState::Seeding,
            Kind::Download => TorrentState::Downloading,
            Kind::Magnet => TorrentState::Metadata,
            Kind::Paused => TorrentState::Paused,
        };
        expected.insert(TorrentId(n), state);
        if matches!(kind(n), Kind::Seed | Kind::Magnet) {
            unasked.insert(TorrentId(n));
        }
        net.add(new_torrent(n, root, others));
    }
    until(events, "all torrents are added", |event| {
        match event {
            NetEvent::Client(ClientEvent::State { torrent, state, reason }) => {
                assert_ne!(state, TorrentState::Failed, "{torrent}: {reason:?}");
                if expected.get(&torrent) == Some(&state) {
                    expected.remove(&torrent);
                }
            }
            NetEvent::Client(ClientEvent::Announced { torrent, news }) => {
                assert_eq!(news.result.is_ok(), kind(torrent.0) == Kind::Seed, "{news:?}");
                unasked.remove(&torrent);
            }
            _ => {}
        }
        expected.is_empty() && unasked.is_empty()
    });
}

fn remove(net: &Net, events: &Receiver<NetEvent>, of: Range<u32>) {
    let mut left: BTreeSet<TorrentId> = of.map(TorrentId).collect();
    left.iter().for_each(|torrent| net.command(Command::Remove(*torrent)));
    until(events, "all torrents are removed", |event| {
        if let NetEvent::Removed { torrent } = event {
            assert!(left.remove(&torrent), "{torrent} is removed once");
        }
        left.is_empty()
    });
}

#[test]
fn the_memory_of_two_thousand_torrents_is_given_back() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("seeds")).unwrap();
    for n in (0..TORRENTS).filter(|n| kind(*n) == Kind::Seed) {
        std::fs::write(root.path().join("seeds").join(name(n)), data(n)).unwrap();
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (net, events) = start();
    let with =
        |server: &TrackerServer| Others { tracker: format!("udp://{}", server.udp()[0]), closed };
    // Threads make what they keep when they are used first, and queues keep the room of their
    // longest burst: some torrents of each kind have come and gone before anything is counted.
    let server = tracker_server();
    add(&net, &events, 0..WARM_UP, root.path(), &with(&server));
    let peers = fetch_blocks(&net, 0..WARM_UP);
    remove(&net, &events, 0..WARM_UP);
    drop((server, peers));
    let before = ALLOCATOR.allocated();

    let server = tracker_server();
    let others = with(&server);
    add(&net, &events, 0..TORRENTS, root.path(), &others);
    let peers = fetch_blocks(&net, 0..TORRENTS);
    assert_eq!(server.stats().totals.torrents, (TORRENTS / 4) as usize);
    let full = ALLOCATOR.allocated();

    remove(&net, &events, 0..TORRENTS);
    drop(peers);
    assert_eq!(server.stats().totals.torrents, 0, "the tracker knows that they are gone");
    drop((server, others));
    // Some of it is given back by other threads just after the event.
    let end = Instant::now() + LIMIT / 4;
    let most = before + before / 10;
    while ALLOCATOR.allocated() > most && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    let after = ALLOCATOR.allocated();
    assert!(full > before + TORRENTS as usize * 500, "{full} bytes of {before} are hardly more");
    assert!(after <= most, "{after} bytes are in use, {before} were");
    net.command(Command::Stop);
    net.join();
}
