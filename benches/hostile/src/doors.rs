//! Doors that one host shuts: the tracker's, by connections that it keeps and by torrents that it
//! makes up, and that of a cast, by sockets that say nothing.

use crate::program::{PATIENCE, Program, until};
use crate::{ANSWER_MS, Row};
use dunlin_base::Rng;
use dunlin_hostile::sockets::Attack;
use dunlin_hostile::{Kind, Target};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Connections that one host keeps: more than a tracker has places.
const CONNECTIONS: usize = 4500;
/// How long an honest announcer comes again and again.
const LASTS: Duration = Duration::from_secs(15);
/// Between two of its announces.
const PAUSE: Duration = Duration::from_millis(250);
/// The torrent of honest peers.
const HONEST: [u8; 20] = [b'h'; 20];

/// Runs what is wanted.
///
/// # Errors
/// If something cannot be measured at all.
pub(crate) fn run(
    dunlin: &Path,
    only: &[String],
    done: &mut impl FnMut(Row),
) -> Result<(), String> {
    if only.is_empty() || only.iter().any(|one| one == "C8") {
        eprintln!("C8 tracker");
        done(tracker(dunlin)?);
        eprintln!("C8 cast");
        done(cast(dunlin)?);
    }
    Ok(())
}

fn say(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn loopback(third: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 2, third, host))
}

/// Threads that do something until they are dropped, and count it.
struct Flood {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    fn new() -> Flood {
        Flood { stop: Arc::default(), count: Arc::default(), threads: Vec::new() }
    }

    fn also(&mut self, seed: u64, mut f: impl FnMut(&mut Rng) -> u64 + Send + 'static) {
        let (stop, count) = (Arc::clone(&self.stop), Arc::clone(&self.count));
        self.threads.push(std::thread::spawn(move || {
            let mut rng = Rng::new(seed);
            while !stop.load(Ordering::Relaxed) {
                count.fetch_add(f(&mut rng), Ordering::Relaxed);
            }
        }));
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.count.load(Ordering::Relaxed)
    }
}

fn silent(address: SocketAddr, host: u8) -> Result<dunlin_hostile::sockets::Running, String> {
    let mut target = Target::of(dunlin_base::InfoHash([1; 20]), 1, 16 << 10, 16 << 10);
    target.tempo = Duration::from_millis(50);
    let target = Arc::new(target);
    let (from, kind) = (vec![loopback(1, host)], Kind::Silent);
    let attack = Attack { address, from, kind, connections: CONNECTIONS, target, seed: 1 };
    attack.begin().map_err(say)
}

/// An announce over HTTP; what the tracker answers.
fn http(at: SocketAddr, from: IpAddr, hash: &[u8; 20], port: u16) -> Result<Vec<u8>, String> {
    let mut stream = dial(at, from)?;
    let request = announce(hash, port, "close");
    stream.write_all(request.as_bytes()).map_err(say)?;
    let mut answer = Vec::new();
    stream.take(1 << 16).read_to_end(&mut answer).map_err(say)?;
    Ok(answer)
}

fn announce(hash: &[u8; 20], port: u16, connection: &str) -> String {
    let hash: String = hash.iter().map(|byte| format!("%{byte:02x}")).collect();
    format!(
        "GET /announce?info_hash={hash}&peer_id=-XX0001-{port:012}&port={port}&uploaded=0\
         &downloaded=0&left=5&compact=1&numwant=200 HTTP/1.1\r\nHost: t\r\n\
         Connection: {connection}\r\n\r\n"
    )
}

/// A connection from one of the addresses of loopback.
fn dial(at: SocketAddr, from: IpAddr) -> Result<TcpStream, String> {
    let stream = dunlin_hostile::sockets::connect(at, from).map_err(say)?;
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).map_err(say)?;
    stream.set_write_timeout(patience).map_err(say)?;
    Ok(stream)
}

/// An announce over UDP (BEP 15); the number of bytes of the answer.
fn udp(socket: &UdpSocket, at: SocketAddr, hash: &[u8; 20], port: u16) -> Result<usize, String> {
    let mut answer = [0; 2048];
    let mut hello = [0; 16];
    hello[..8].copy_from_slice(&0x0417_2710_1980_u64.to_be_bytes());
    socket.send_to(&hello, at).map_err(say)?;
    socket.recv(&mut answer).map_err(say)?;
    let mut words = Vec::with_capacity(98);
    words.extend_from_slice(&answer[8..16]);
    words.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 7]);
    words.extend_from_slice(hash);
    words.extend_from_slice(b"-XX0001-udpudpudpudp");
    words.extend_from_slice(&[0; 8]);
    words.extend_from_slice(&5_u64.to_be_bytes());
    words.extend_from_slice(&[0; 20]);
    words.extend_from_slice(&u32::MAX.to_be_bytes());
    words.extend_from_slice(&port.to_be_bytes());
    socket.send_to(&words, at).map_err(say)?;
    socket.recv(&mut answer).map_err(say)
}

fn udp_socket(from: IpAddr) -> Result<UdpSocket, String> {
    let socket = UdpSocket::bind((from, 0)).map_err(say)?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).map_err(say)?;
    Ok(socket)
}

fn any_hash(rng: &mut Rng) -> [u8; 20] {
    let mut hash = [0; 20];
    hash.fill_with(|| rng.next_u64() as u8);
    hash
}

/// The port in an address `http://IP:PORT/announce`.
fn socket_of(url: &str) -> Result<SocketAddr, String> {
    let address = url.split('/').nth(2).unwrap_or_default();
    address.parse().map_err(|_| format!("`{url}` has no address"))
}

/// One host keeps more connections than there are places, and makes torrents up over HTTP and UDP.
fn tracker(dunlin: &Path) -> Result<Row, String> {
    let folder = tempfile::tempdir().map_err(say)?;
    let words = ["tracker", "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
    let mut tracker = Program::start(dunlin, folder.path(), "tracker", &words)?;
    let at = socket_of(&format!("http:{}", tracker.says("listening at http:")?))?;
    let udp_at = socket_of(&format!("udp:{}", tracker.says("listening at udp:")?))?;
    let idle_kib = tracker.peak_kib();
    http(at, loopback(9, 1), &HONEST, 1001)?;
    let running = silent(at, 1)?;
    let mut flood = Flood::new();
    flood.also(2, keeps_announcing(at));
    flood.also(3, move |rng| {
        let Ok(socket) = udp_socket(loopback(1, 1)) else { return 0 };
        (0..100).filter(|_| udp(&socket, udp_at, &any_hash(rng), 7).is_ok()).count() as u64
    });
    until("an attack connects", || (running.seen().connections > 1000).then_some(()))?;
    let (start, mut worst, mut served) = (Instant::now(), Duration::ZERO, true);
    let mut answers = 0;
    while start.elapsed() < LASTS {
        let asked = Instant::now();
        let came = http(at, loopback(9, 2), &HONEST, 1002);
        worst = worst.max(asked.elapsed());
        // It learns of the other honest peer.
        served &= came.is_ok_and(|bytes| bytes.windows(4).any(|four| four == [127, 2, 9, 1]));
        let asked = Instant::now();
        let socket = udp_socket(loopback(9, 3))?;
        served &= udp(&socket, udp_at, &HONEST, 1003).is_ok_and(|bytes| bytes > 20);
        worst = worst.max(asked.elapsed());
        answers += 2;
        tracker.peak_kib();
        std::thread::sleep(PAUSE);
    }
    let made_up = flood.end();
    let connections = running.end().connections;
    Ok(Row {
        name: "C8",
        what: "a tracker: 4500 connections of one host that say nothing, and torrents made up over \
               HTTP and UDP; the longest answer to others",
        peak_kib: tracker.peak_kib(),
        idle_kib,
        took_ms: worst.as_millis(),
        bound_ms: ANSWER_MS,
        note: format!("{connections} connections, {made_up} torrents; {answers} honest announces"),
        served,
    })
}

/// Announces of ever other torrents on one connection, as long as it stands.
fn keeps_announcing(at: SocketAddr) -> impl FnMut(&mut Rng) -> u64 + Send {
    let mut stream: Option<TcpStream> = None;
    move |rng| {
        let Some(mut open) = stream.take().or_else(|| dial(at, loopback(1, 1)).ok()) else {
            return 0;
        };
        let hash = any_hash(rng);
        let mut answer = [0; 4096];
        let sent = open.write_all(announce(&hash, 7, "keep-alive").as_bytes());
        match sent.and_then(|()| open.read(&mut answer)) {
            Ok(bytes) if bytes > 0 => {
                stream = Some(open);
                1
            }
            _ => 0,
        }
    }
}

/// Silent sockets before the door of a cast; another rank comes all the same.
fn cast(dunlin: &Path) -> Result<Row, String> {
    let (alone, ..) = cast_once(dunlin, false)?;
    let (took, peak_kib, idle_kib, note) = cast_once(dunlin, true)?;
    Ok(Row {
        name: "C8",
        what: "the door of a cast: 4500 connections of one host that say nothing; a rank that comes \
               then, to the end of the job",
        peak_kib,
        idle_kib,
        took_ms: took.as_millis(),
        bound_ms: alone.as_millis() + ANSWER_MS,
        note: format!("{note}; alone {:.2} s", alone.as_secs_f64()),
        served: took < PATIENCE,
    })
}

fn cast_once(dunlin: &Path, attacked: bool) -> Result<(Duration, u64, u64, String), String> {
    let folder = tempfile::tempdir().map_err(say)?;
    std::fs::write(folder.path().join("file"), vec![7; 4 << 20]).map_err(say)?;
    let free = std::net::TcpListener::bind("127.0.0.1:0").map_err(say)?;
    let root = free.local_addr().map_err(say)?;
    drop(free);
    let root_word = root.to_string();
    let start = |rank: &str| {
        let words = [
            "cast",
            "file",
            "out/{rank}",
            "--from",
            "0",
            "--to",
            "1",
            "--per-rank",
            "--fabric",
            "tcp",
            "--rank",
            rank,
            "--size",
            "2",
            "--root",
            &root_word,
            "--key-file",
            "key",
            "--memory",
            "64MiB",
            "--listen",
        ];
        let listen = if rank == "0" { root_word.as_str() } else { "127.0.0.1:0" };
        let words: Vec<&str> = words.iter().chain([&listen]).copied().collect();
        Program::start(dunlin, folder.path(), rank, &words)
    };
    let mut first = start("0")?;
    until("rank 0 listens", || TcpStream::connect(root).ok())?;
    let idle_kib = first.peak_kib();
    let running = attacked.then(|| silent(root, 2)).transpose()?;
    if let Some(running) = &running {
        until("an attack connects", || (running.seen().connections > 200).then_some(()))?;
        std::thread::sleep(Duration::from_secs(2));
    }
    let mut second = start("1")?;
    let took = second.ends(PATIENCE).map_or(PATIENCE, |(code, took)| match code {
        Some(0) => took,
        _ => PATIENCE,
    });
    let seen = running.map(|running| running.end().connections).unwrap_or_default();
    Ok((took, first.peak_kib(), idle_kib, format!("{seen} connections")))
}
