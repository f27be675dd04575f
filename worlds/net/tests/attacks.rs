//! The real loop against peers that do not read, that take back what they ask for, that flood it
//! with messages that say nothing, or that begin what they never end: memory stays within the
//! budget, and an honest peer gets all of the torrent meanwhile.

use dunlin_base::{BlockRef, InfoHash, PeerId, PieceIndex, TorrentId};
use dunlin_bencode::Writer;
use dunlin_disk::{Existing, RealFs};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{AddTorrent, ClientEvent, Command, Limits, SeedGoal, Source, TorrentState};
use dunlin_metainfo::Torrent;
use dunlin_net::tracker_client::TrackerConfig;
use dunlin_net::{Bind, Net, NetConfig, NetEvent, NewTorrent, Port};
use dunlin_wire::{Handshake, Message, Reserved, encode_into};
use sha1::{Digest, Sha1};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

const TORRENT: TorrentId = TorrentId(0);
const PIECE: usize = 256 << 10;
const BLOCK: u32 = 16 << 10;
const LENGTH: usize = 6 << 20;
const MEMORY: u64 = 32 << 20;
/// No test waits longer for anything; none comes near it unless something is wrong.
const LIMIT: Duration = Duration::from_secs(60);
/// Who is not taken from for so long is held up.
const HELD_UP: Duration = Duration::from_millis(300);
/// No attacker sends more.
const FLOOD: usize = 16 << 20;

fn torrent() -> (Arc<Torrent>, Vec<u8>) {
    let mut rng = dunlin_base::Rng::new(5);
    let bytes: Vec<u8> = (0..LENGTH).map(|_| rng.next_u64() as u8).collect();
    let hashes: Vec<u8> = bytes.chunks(PIECE).flat_map(Sha1::digest).collect();
    let mut writer = Writer::new();
    writer.dict().key("info").dict().key("length").integer(LENGTH as u64);
    writer.key("name").bytes("t").key("piece length").integer(PIECE as u64);
    writer.key("pieces").bytes(&hashes).end().end();
    (Arc::new(Torrent::parse(&writer.finish().unwrap()).unwrap()), bytes)
}

fn start(folder: &Path, torrent: &Arc<Torrent>, peer: Option<SocketAddr>) -> Running {
    let client = ClientConfig { memory: MEMORY, ..ClientConfig::default() };
    let config = NetConfig {
        client,
        bind: Bind::parse("127.0.0.1").unwrap(),
        port: Port::Exactly(0),
        fs: Arc::new(RealFs),
        hash_threads: 1,
        trackers: TrackerConfig::default(),
    };
    let (net, heard) = Net::start(config).unwrap();
    let mut id = *b"-DN0100-............";
    id[18..].copy_from_slice(&net.port().to_be_bytes());
    let add = AddTorrent {
        torrent: TORRENT,
        source: Source::Metainfo(Arc::clone(torrent)),
        trackers: Vec::new(),
        peers: peer.into_iter().collect(),
        priorities: Vec::new(),
        sequential: false,
        limits: Limits::default(),
        seed: Some(SeedGoal::default()),
        peer_id: PeerId(id),
        key: 1,
        paused: false,
        serve_only: peer.is_none(),
    };
    let existing = if peer.is_none() { Existing::Read } else { Existing::Refuse };
    net.add(NewTorrent { add, folder: folder.to_owned(), existing });
    Running { net, heard }
}

struct Running {
    net: Net,
    heard: Receiver<NetEvent>,
}

impl Running {
    fn until_seeding(&self) {
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(NetEvent::Client(ClientEvent::State {
                    state: TorrentState::Seeding, ..
                })) => return,
                Ok(_) => {}
                Err(error) => panic!("it never seeds: {error}"),
            }
        }
    }

    fn stop(self) {
        self.net.command(Command::Stop);
        self.net.join();
    }
}

/// A connection from an address of this host, whose receive buffer is small.
fn dial(from: u8, to: SocketAddr, hash: InfoHash, small: bool) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if small {
        socket.set_recv_buffer_size(4096)?;
    }
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0)).into())?;
    socket.connect(&to.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    let mut peer_id = [b'x'; 20];
    peer_id[12..].copy_from_slice(&u64::from(stream.local_addr()?.port()).to_be_bytes());
    peer_id[0] = from;
    let reserved = Reserved::INTERNET;
    let handshake = Handshake { reserved, info_hash: hash, peer_id: PeerId(peer_id) };
    stream.write_all(&handshake.encode())?;
    stream.set_write_timeout(Some(HELD_UP))?;
    Ok(stream)
}

/// Sends `bytes` again and again until it is held up, hung up on, or has sent a flood.
fn flood(stream: &mut TcpStream, bytes: &[u8], sent: &AtomicU64) {
    let mut all = 0;
    while all < FLOOD {
        match stream.write(bytes) {
            Ok(count) => {
                // What is cut is finished by what follows: the stream stays in step.
                all += count;
                sent.fetch_add(count as u64, Ordering::Relaxed);
                if count < bytes.len() && stream.write_all(&bytes[count..]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn messages(of: impl Iterator<Item = Message>) -> Vec<u8> {
    let mut out = Vec::new();
    of.for_each(|message| encode_into(&message, &mut out));
    out
}

fn range(n: u32) -> BlockRef {
    let blocks = LENGTH as u32 / BLOCK;
    let at = n % blocks * BLOCK;
    BlockRef { piece: PieceIndex(at / PIECE as u32), begin: at % PIECE as u32, len: BLOCK }
}

/// Runs `attack` from so many addresses against a seed while an honest peer takes the torrent,
/// after every attacker has had its say. Returns how many bytes the attackers could send.
fn honest_beside(addresses: u8, attack: impl Fn(TcpStream, &AtomicU64) + Sync, small: bool) -> u64 {
    let (home, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (torrent, bytes) = torrent();
    std::fs::write(home.path().join("t"), &bytes).unwrap();
    let seed = start(home.path(), &torrent, None);
    seed.until_seeding();
    let (at, hash) = (seed.net.addresses()[0], torrent.hashes.first());
    let (sent, refused) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..addresses)
            .map(|n| {
                let (attack, sent, refused) = (&attack, &sent, &refused);
                scope.spawn(move || match dial(10 + n, at, hash, small) {
                    Ok(stream) => attack(stream, sent),
                    Err(_) => refused.store(true, Ordering::Relaxed),
                })
            })
            .collect();
        let honest = start(here.path(), &torrent, Some(at));
        honest.until_seeding();
        honest.stop();
        attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
    });
    assert_eq!(std::fs::read(here.path().join("t")).unwrap(), bytes);
    let peak = seed.net.memory_peak();
    assert!(peak <= MEMORY, "{peak} bytes in use");
    assert!(!refused.load(Ordering::Relaxed), "an attacker could not connect");
    seed.stop();
    sent.into_inner()
}

#[test]
fn who_does_not_read_the_answers_is_not_read_from() {
    let ask = messages((0..1000).map(|n| Message::Request(range(n))));
    let sent = honest_beside(4, |mut stream, sent| flood(&mut stream, &ask, sent), true);
    assert!(sent < 4 * FLOOD as u64, "{sent} bytes of requests were read from who reads nothing");
}

#[test]
fn who_takes_nothing_of_what_it_asked_for_keeps_no_memory() {
    // Each asks for a block of every piece, which keeps all that is read with it, and reads none.
    let mut ask = messages([Message::Interested].into_iter());
    ask.extend(messages((0..64).map(|n| Message::Request(range(n * 16)))));
    let attack = |mut stream: TcpStream, _: &AtomicU64| {
        for _ in 0..50 {
            if stream.write_all(&ask).is_err() {
                return;
            }
        }
    };
    honest_beside(30, attack, true);
}

#[test]
fn what_is_asked_for_and_taken_back_costs_nothing() {
    let pairs = (0..2000).flat_map(|n| {
        let range = range(n * 7);
        [Message::Request(range), Message::Cancel(range)]
    });
    let pairs = messages(std::iter::once(Message::Interested).chain(pairs));
    let attack = |mut stream: TcpStream, sent: &AtomicU64| {
        let mut reads = stream.try_clone().unwrap();
        let sink = std::thread::spawn(move || {
            let mut scratch = vec![0; 1 << 16];
            while reads.read(&mut scratch).is_ok_and(|count| count > 0) {}
        });
        flood(&mut stream, &pairs, sent);
        let _ = stream.shutdown(std::net::Shutdown::Both);
        sink.join().unwrap();
    };
    honest_beside(4, attack, false);
}

#[test]
fn floods_of_tiny_messages_keep_nobody_back() {
    let toggles = [Message::Interested, Message::NotInterested, Message::KeepAlive];
    let flooded = [
        messages(toggles.into_iter().cycle().take(9000)),
        messages((0..9000).map(|n| Message::Have { piece: n % 24 })),
        messages((0..9000).map(|n| Message::Cancel(range(n)))),
    ];
    for bytes in flooded {
        honest_beside(4, |mut stream, sent| flood(&mut stream, &bytes, sent), false);
    }
}

#[test]
fn what_is_begun_and_never_ended_keeps_no_memory() {
    // The head of a message of an extension of 60 KiB, and almost all of it.
    let mut begun = (60_u32 << 10).to_be_bytes().to_vec();
    begun.push(20);
    begun.resize(60 << 10, 0);
    let attack = |mut stream: TcpStream, _: &AtomicU64| {
        if stream.write_all(&begun).is_ok() {
            let mut scratch = vec![0; 1 << 16];
            stream.set_read_timeout(Some(HELD_UP)).unwrap();
            while stream.read(&mut scratch).is_ok_and(|count| count > 0) {}
        }
    };
    honest_beside(60, attack, false);
}
