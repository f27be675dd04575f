//! The world on loopback: honest peers, and scripted sockets that are none.

use dunlin_base::{BlockRef, InfoHash, PeerId, PieceIndex, Rate, TorrentId};
use dunlin_bencode::Writer;
use dunlin_disk::{Existing, RealFs};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{
    AddTorrent, ClientEvent, Command, Limits, Priority, SeedGoal, Source, SwarmEvent, TorrentState,
};
use dunlin_metainfo::Torrent;
use dunlin_net::tracker_client::TrackerConfig;
use dunlin_net::{Bind, Net, NetConfig, NetEvent, NewTorrent, Port};
use dunlin_wire::{Handshake, Message, Reserved, encode_into, encode_piece_header};
use sha1::{Digest, Sha1};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const TORRENT: TorrentId = TorrentId(0);
const PIECE: usize = 32 << 10;
/// No test waits longer for anything; none comes near it unless something is wrong.
const LIMIT: Duration = Duration::from_secs(60);

/// Bytes that are the same each time.
fn data(length: usize) -> Vec<u8> {
    let mut rng = dunlin_base::Rng::new(length as u64 + 1);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

/// Files of these names and lengths as a torrent with pieces across files, and their bytes in
/// order.
fn torrent(files: &[(&str, usize)]) -> (Arc<Torrent>, Vec<u8>) {
    let bytes = data(files.iter().map(|(_, length)| length).sum());
    let mut hashes = Vec::new();
    for piece in bytes.chunks(PIECE) {
        hashes.extend_from_slice(&Sha1::digest(piece));
    }
    let mut writer = Writer::new();
    writer.dict().key("info").dict().key("files").list();
    for (name, length) in files {
        writer.dict().key("length").integer(*length as u64).key("path").list();
        name.split('/').for_each(|part| _ = writer.bytes(part));
        writer.end().end();
    }
    writer.end().key("name").bytes("t").key("piece length").integer(PIECE as u64);
    writer.key("pieces").bytes(&hashes).end().end();
    (Arc::new(Torrent::parse(&writer.finish().unwrap()).unwrap()), bytes)
}

/// Writes the files below `folder`.
fn write(folder: &Path, torrent: &Torrent, bytes: &[u8]) {
    let mut at = 0;
    for (index, file) in torrent.files.iter().enumerate() {
        let path = folder.join(torrent.stored_path(index).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let end = at + file.length as usize;
        std::fs::write(path, &bytes[at..end]).unwrap();
        at = end;
    }
}

/// The wanted files are there and right.
fn check(folder: &Path, torrent: &Torrent, bytes: &[u8]) {
    let mut at = 0;
    for (index, file) in torrent.files.iter().enumerate() {
        let path = folder.join(torrent.stored_path(index).unwrap());
        let end = at + file.length as usize;
        assert_eq!(std::fs::read(&path).unwrap(), &bytes[at..end], "{}", path.display());
        at = end;
    }
}

/// A running world, with what it says.
struct Peer {
    net: Net,
    heard: Receiver<NetEvent>,
    banned: u32,
}

/// How a world is started.
#[derive(Default)]
struct Setup {
    peers: Vec<SocketAddr>,
    seeds: bool,
    limits: Limits,
    priorities: Vec<Priority>,
}

impl Peer {
    fn start(folder: &Path, torrent: &Arc<Torrent>, setup: Setup) -> Peer {
        let mut id = *b"-DN0100-............";
        let client =
            ClientConfig { memory: 8 << 20, limits: setup.limits, ..ClientConfig::default() };
        let config = NetConfig {
            client,
            bind: Bind::parse("127.0.0.1").unwrap(),
            port: Port::Exactly(0),
            fs: Arc::new(RealFs),
            hash_threads: 1,
            trackers: TrackerConfig::default(),
        };
        let (net, heard) = Net::start(config).unwrap();
        // No two that run at a time listen at one port.
        id[18..].copy_from_slice(&net.port().to_be_bytes());
        let add = AddTorrent {
            torrent: TORRENT,
            source: Source::Metainfo(Arc::clone(torrent)),
            trackers: Vec::new(),
            peers: setup.peers,
            priorities: setup.priorities,
            sequential: false,
            limits: Limits::default(),
            seed: Some(SeedGoal::default()),
            peer_id: PeerId(id),
            key: 1,
            paused: false,
            serve_only: setup.seeds,
        };
        let existing = if setup.seeds { Existing::Read } else { Existing::Refuse };
        net.add(NewTorrent { add, folder: folder.to_owned(), existing });
        Peer { net, heard, banned: 0 }
    }

    fn address(&self) -> SocketAddr {
        self.net.addresses()[0]
    }

    /// Waits until the torrent stands there.
    fn until(&mut self, wanted: TorrentState) {
        self.until_event(
            &format!("{wanted:?}"),
            |event| matches!(event, ClientEvent::State { state, .. } if *state == wanted),
        );
    }

    /// Waits until the peer at another address is banned.
    fn until_ban(&mut self) {
        let seen = self.banned;
        self.until_net_event("a ban", |peer, _| peer.banned > seen);
    }

    fn until_event(&mut self, what: &str, is: impl Fn(&ClientEvent) -> bool) {
        self.until_net_event(
            what,
            |_, event| matches!(event, NetEvent::Client(event) if is(event)),
        );
    }

    fn until_net_event(&mut self, what: &str, is: impl Fn(&Peer, &NetEvent) -> bool) {
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(event) => {
                    let banned = matches!(event, NetEvent::Swarm(SwarmEvent::Banned { .. }));
                    self.banned += u32::from(banned);
                    if is(self, &event) {
                        return;
                    }
                    if let NetEvent::Client(ClientEvent::State { state, .. }) = &event {
                        assert_ne!(*state, TorrentState::Failed, "{event:?}");
                    }
                }
                Err(error) => panic!("{what} never came: {error}"),
            }
        }
    }

    fn stop(self) {
        self.net.command(Command::Stop);
        self.net.join();
    }
}

fn seed(folder: &Path, files: &[(&str, usize)]) -> (Peer, Arc<Torrent>, Vec<u8>) {
    let (torrent, bytes) = torrent(files);
    write(folder, &torrent, &bytes);
    let mut peer = Peer::start(folder, &torrent, Setup { seeds: true, ..Setup::default() });
    peer.until(TorrentState::Seeding);
    (peer, torrent, bytes)
}

const FILES: &[(&str, usize)] =
    &[("a", 100_000), ("sub/b", 5), ("sub/empty", 0), ("sub/deep/c", 1_500_000), ("z", 40_000)];

#[test]
fn a_torrent_goes_from_one_to_two_others() {
    let (home, one, two) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, torrent, bytes) = seed(home.path(), FILES);
    let setup = |peers| Setup { peers, ..Setup::default() };
    let mut second = Peer::start(one.path(), &torrent, setup(vec![first.address()]));
    let addresses = vec![first.address(), second.address()];
    let mut third = Peer::start(two.path(), &torrent, setup(addresses));
    second.until(TorrentState::Seeding);
    third.until(TorrentState::Seeding);
    for peer in [first, second, third] {
        peer.stop();
    }
    check(one.path(), &torrent, &bytes);
    check(two.path(), &torrent, &bytes);
}

#[test]
fn only_what_is_wanted_comes() {
    let (home, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, torrent, bytes) = seed(home.path(), FILES);
    let mut priorities = vec![Priority::Skip; FILES.len()];
    priorities[1] = Priority::Normal;
    let setup = Setup { peers: vec![first.address()], priorities, ..Setup::default() };
    let mut second = Peer::start(here.path(), &torrent, setup);
    second.until(TorrentState::Seeding);
    second.stop();
    first.stop();
    assert_eq!(std::fs::read(here.path().join("t/sub/b")).unwrap(), &bytes[100_000..100_005]);
    for other in ["t/a", "t/sub/empty", "t/sub/deep/c", "t/z"] {
        assert!(!here.path().join(other).exists(), "{other} was not wanted");
    }
}

#[test]
fn a_limit_holds() {
    let (home, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, torrent, _) = seed(home.path(), FILES);
    let down = Some(Rate(500_000));
    let limits = Limits { down, up: None };
    let begin = Instant::now();
    let setup = Setup { peers: vec![first.address()], limits, ..Setup::default() };
    let mut second = Peer::start(here.path(), &torrent, setup);
    second.until(TorrentState::Seeding);
    let took = begin.elapsed();
    // 1.64 MB at 500 kB/s, but for what the bucket holds at the start.
    assert!(took >= Duration::from_millis(2900), "{took:?}");
    second.stop();
    first.stop();
}

fn handshake(info_hash: InfoHash) -> Vec<u8> {
    handshake_of(info_hash, Reserved([0, 0, 0, 0, 0, 0x10, 0, 5]))
}

/// Of a peer without the fast extension, to which a request cannot be rejected.
fn plain_handshake(info_hash: InfoHash) -> Vec<u8> {
    handshake_of(info_hash, Reserved([0; 8]))
}

fn handshake_of(info_hash: InfoHash, reserved: Reserved) -> Vec<u8> {
    let peer_id = PeerId(*b"-XX0100-abcdefghijkl");
    Handshake { reserved, info_hash, peer_id }.encode().to_vec()
}

fn message(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(message, &mut out);
    out
}

/// A connection from the `n`-th address of this host: who breaks the protocol often is shut out
/// with all who share its address.
fn connect(to: SocketAddr, n: u8) -> TcpStream {
    let from = SocketAddr::from(([127, 0, 66, n], 0));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Whether the other side hangs up, whatever it says before.
fn is_hung_up(mut stream: &TcpStream) -> bool {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn who_breaks_the_protocol_is_hung_up_on_and_nobody_else_is_hurt() {
    let (home, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, torrent, bytes) = seed(home.path(), FILES);
    let hash = torrent.hashes.first();
    let pieces = torrent.pieces.len();
    let range = |piece, begin, length| BlockRef { piece: PieceIndex(piece), begin, len: length };
    let unasked = {
        let mut out = Vec::new();
        encode_piece_header(range(0, 0, 4), &mut out);
        out.extend_from_slice(b"lies");
        out
    };
    let bits = |bytes: Vec<u8>| message(&Message::Bitfield(bytes.into()));
    // As many as are borne, and one more.
    let strange = |range| {
        [vec![Message::Interested], vec![Message::Request(range); 51]]
            .concat()
            .iter()
            .map(message)
            .collect::<Vec<_>>()
            .concat()
    };
    // (what it is, what comes before the handshake is over, what comes behind it)
    let cases: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        ("another torrent", handshake(InfoHash([9; 20])), vec![]),
        ("no BitTorrent", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), vec![]),
        ("an encrypted dial", data(96), vec![]),
        ("a message without end", handshake(hash), vec![0x7f, 0xff, 0xff, 0xff, 9]),
        ("a request that is too short", handshake(hash), vec![0, 0, 0, 2, 6, 1]),
        ("a bitfield that is too long", handshake(hash), bits(vec![0; pieces])),
        ("have of no piece", handshake(hash), message(&Message::Have { piece: 1_000_000 })),
        ("blocks that nobody asked for", handshake(hash), unasked.repeat(51)),
        (
            "requests outside of the piece",
            plain_handshake(hash),
            strange(range(0, PIECE as u32 - 4, 16384)),
        ),
        ("requests for no piece", plain_handshake(hash), strange(range(77_777, 0, 16384))),
        ("a block of 1 MiB", handshake(hash), vec![0, 0x10, 0, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (n, (what, greeting, rest)) in (1..).zip(&cases) {
        let mut stream = connect(first.address(), n);
        stream.write_all(greeting).unwrap();
        // It may have hung up already.
        let _ = stream.write_all(rest);
        assert!(is_hung_up(&stream), "{what}");
    }
    let setup = Setup { peers: vec![first.address()], ..Setup::default() };
    let mut second = Peer::start(here.path(), &torrent, setup);
    second.until(TorrentState::Seeding);
    second.stop();
    check(here.path(), &torrent, &bytes);
    first.stop();
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out_for_long() {
    let (home, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, torrent, bytes) = seed(home.path(), &[("a", 300_000)]);
    let crowd: Vec<TcpStream> = (0..1000).map(|_| connect(first.address(), 1)).collect();
    let setup = Setup { peers: vec![first.address()], ..Setup::default() };
    let mut second = Peer::start(here.path(), &torrent, setup);
    // The crowd has as many connections as may wait; those that greet nobody are hung up on.
    second.until(TorrentState::Seeding);
    drop(crowd);
    second.stop();
    first.stop();
    check(here.path(), &torrent, &bytes);
}

/// A peer that has everything and gives wrong bytes; ends when it is hung up on.
fn liar(listener: &TcpListener, hash: InfoHash) {
    let Ok((mut stream, _)) = listener.accept() else { return };
    let mut greeting = [0; 68];
    if stream.read_exact(&mut greeting).is_err() {
        return;
    }
    let hello = [handshake(hash), message(&Message::HaveAll), message(&Message::Unchoke)].concat();
    if stream.write_all(&hello).is_err() {
        return;
    }
    let mut head = [0; 4];
    while stream.read_exact(&mut head).is_ok() {
        let mut body = vec![0; u32::from_be_bytes(head) as usize];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        if let Ok(Some(Message::Request(range))) = Message::decode(&body) {
            let mut out = Vec::new();
            encode_piece_header(range, &mut out);
            out.resize(out.len() + range.len as usize, 0xbd);
            if stream.write_all(&out).is_err() {
                return;
            }
        }
    }
}

/// A peer that has everything and stops in the middle of the first block; ends when it is hung up
/// on. It sends one message when it has stopped.
fn stops_in_a_block(listener: &TcpListener, hash: InfoHash, stopped: &Sender<()>) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut greeting = [0; 68];
    stream.read_exact(&mut greeting).unwrap();
    let hello = [handshake(hash), message(&Message::HaveAll), message(&Message::Unchoke)].concat();
    stream.write_all(&hello).unwrap();
    let mut head = [0; 4];
    while stream.read_exact(&mut head).is_ok() {
        let mut body = vec![0; u32::from_be_bytes(head) as usize];
        stream.read_exact(&mut body).unwrap();
        if let Ok(Some(Message::Request(range))) = Message::decode(&body) {
            let mut out = Vec::new();
            encode_piece_header(range, &mut out);
            out.resize(out.len() + range.len as usize / 2, 0xbd);
            stream.write_all(&out).unwrap();
            break;
        }
    }
    stopped.send(()).unwrap();
    is_hung_up(&stream);
}

#[test]
fn a_block_that_another_peer_sends_first_stays_counted() {
    let (home, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, torrent, bytes) = seed(home.path(), &[("a", PIECE)]);
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (hash, (send, stopped)) = (torrent.hashes.first(), channel());
    let thread = std::thread::spawn(move || stops_in_a_block(&listener, hash, &send));
    let setup = Setup { peers: vec![address], ..Setup::default() };
    let mut second = Peer::start(here.path(), &torrent, setup);
    stopped.recv_timeout(LIMIT).unwrap();
    second.net.command(Command::AddPeers(TORRENT, vec![first.address()]));
    // The memory for the rest of the other copy is counted, which the world checks after each turn.
    second.until(TorrentState::Seeding);
    second.stop();
    thread.join().unwrap();
    first.stop();
    check(here.path(), &torrent, &bytes);
}

#[test]
fn who_gives_wrong_bytes_is_banned_and_the_rest_comes_from_others() {
    let (home, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, torrent, bytes) = seed(home.path(), FILES);
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let liar_at = listener.local_addr().unwrap();
    let hash = torrent.hashes.first();
    let thread = std::thread::spawn(move || liar(&listener, hash));
    let mut second =
        Peer::start(here.path(), &torrent, Setup { peers: vec![liar_at], ..Setup::default() });
    second.until_ban();
    second.net.command(Command::AddPeers(TORRENT, vec![first.address()]));
    second.until(TorrentState::Seeding);
    thread.join().unwrap();
    second.stop();
    first.stop();
    check(here.path(), &torrent, &bytes);
}

#[test]
fn what_was_changed_behind_its_back_is_not_served() {
    let (home, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, torrent, bytes) = seed(home.path(), &[("a", 400_000), ("b", 400_000)]);
    let changed = home.path().join("t/b");
    let mut other = std::fs::read(&changed).unwrap();
    other[300_000] ^= 1;
    std::fs::write(&changed, other).unwrap();
    let setup = Setup { peers: vec![first.address()], ..Setup::default() };
    let mut second = Peer::start(here.path(), &torrent, setup);
    second.until_event(
        "the first file",
        |event| matches!(event, ClientEvent::FileComplete { file, .. } if file.0 == 0),
    );
    let bad = second.banned;
    second.stop();
    first.stop();
    assert_eq!(bad, 0, "nothing wrong was ever sent");
    assert_eq!(std::fs::read(here.path().join("t/a")).unwrap(), &bytes[..400_000]);
}
