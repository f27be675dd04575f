//! A tracker on loopback, asked by sockets that say anything.

use super::*;
use dunlin_base::percent;
use dunlin_base::{InfoHash, PeerId};
use dunlin_engine::tracker::HashList;
use dunlin_tracker::http::{announce_query, read_announce, read_scrape};
use dunlin_tracker::udp::{
    UdpReply, announce_request, connect_request, parse_reply, scrape_request,
};
use dunlin_tracker::{AnnounceEvent, AnnounceFailure, AnnounceReply, AnnounceRequest, RetryIn};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Instant;

/// No answer of a tracker on this host takes that long.
const LONG: Duration = Duration::from_secs(20);
/// How long it is waited for an answer that must not come.
const SHORT: Duration = Duration::from_millis(150);

fn config() -> TrackerServerConfig {
    TrackerServerConfig {
        http: vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()],
        udp: vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()],
        interval: Duration::from_secs(1800),
        access: Access::Open,
        trusted: Vec::new(),
        limits: TrackerLimits::default(),
    }
}

fn start(change: impl FnOnce(&mut TrackerServerConfig)) -> TrackerServer {
    let mut config = config();
    change(&mut config);
    TrackerServer::start(config).unwrap()
}

fn request(n: u16) -> AnnounceRequest {
    let mut id = *b"-XX0100-............";
    id[8..10].copy_from_slice(&n.to_be_bytes());
    AnnounceRequest {
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId(id),
        port: 10_000 + n,
        uploaded: 0,
        downloaded: 0,
        left: 5,
        corrupt: 0,
        redundant: 0,
        event: AnnounceEvent::Started,
        key: n.into(),
        num_want: None,
        tracker_id: None,
    }
}

/// Everything that an HTTP server says to these bytes.
fn exchange(at: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset instead of an end is an end, too.
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Status line and body of one page.
fn get(at: SocketAddr, target: &[u8]) -> (String, Vec<u8>) {
    let request = [b"GET ".as_slice(), target, b" HTTP/1.1\r\nConnection: close\r\n\r\n"].concat();
    split(&exchange(at, &request))
}

fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.lines().next().unwrap().to_owned(), answer[end + 4..].to_vec())
}

fn http(at: SocketAddr, request: &AnnounceRequest) -> Result<AnnounceReply, AnnounceFailure> {
    let (status, body) = get(at, format!("/announce?{}", announce_query(request)).as_bytes());
    assert_eq!(status, "HTTP/1.1 200 OK");
    read_announce(&body)
}

/// A UDP peer with a connection id.
struct Asker {
    socket: UdpSocket,
    id: u64,
}

impl Asker {
    fn new(to: SocketAddr) -> Asker {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let mut asker = Asker { socket, id: 0 };
        let Some(UdpReply::Connected(id)) = asker.ask(&connect_request(1)) else { panic!() };
        asker.id = id;
        asker
    }

    fn ask(&self, packet: &[u8]) -> Option<UdpReply> {
        self.socket.send(packet).unwrap();
        let mut answer = [0; 2048];
        let len = self.socket.recv(&mut answer).ok()?;
        let (number, reply) =
            parse_reply(&answer[..len], self.socket.local_addr().unwrap().is_ipv6())?;
        assert_eq!(number, 1);
        Some(reply)
    }

    fn announce(&self, request: &AnnounceRequest) -> AnnounceReply {
        match self.ask(&announce_request(self.id, 1, request, "/announce")) {
            Some(UdpReply::Announced(reply)) => *reply,
            other => panic!("{other:?}"),
        }
    }

    /// Sends packets that must not be answered, and sees that the next question is.
    fn silent(&self, packets: &[Vec<u8>]) {
        packets.iter().for_each(|packet| drop(self.socket.send(packet)));
        let Some(UdpReply::Connected(_)) = self.ask(&connect_request(1)) else {
            panic!("{packets:?}")
        };
        self.socket.set_read_timeout(Some(SHORT)).unwrap();
        assert!(self.socket.recv(&mut [0; 2048]).is_err(), "{packets:?}");
        self.socket.set_read_timeout(Some(LONG)).unwrap();
    }
}

/// Waits until something is so.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn http_and_udp_are_one_tracker() {
    let tracker = start(|_| {});
    let (at, udp) = (tracker.http()[0], Asker::new(tracker.udp()[0]));
    let first = http(at, &request(1)).unwrap();
    assert_eq!((first.complete, first.incomplete, first.peers.len()), (Some(0), Some(1), 0));
    assert_eq!(first.external_ip, Some([127, 0, 0, 1].into()));
    assert_eq!(first.interval, Some(Duration::from_secs(1800)));
    let second = udp.announce(&AnnounceRequest { left: 0, downloaded: 1, ..request(2) });
    assert_eq!((second.complete, second.incomplete), (Some(1), Some(1)));
    assert_eq!(second.peers, ["127.0.0.1:10001".parse().unwrap()]);
    let again = http(at, &AnnounceRequest { event: AnnounceEvent::None, ..request(1) }).unwrap();
    assert_eq!(again.peers, ["127.0.0.1:10002".parse().unwrap()]);
    let done = AnnounceRequest { event: AnnounceEvent::Completed, left: 0, ..request(1) };
    assert_eq!(http(at, &done).unwrap().peers, [], "a seed gets no seeds");

    let hash = request(1).info_hash;
    let unknown = InfoHash([9; 20]);
    let query = dunlin_tracker::http::scrape_query(&[hash, unknown]);
    for path in ["/scrape", "/0123456789abcdef/scrape"] {
        let (_, body) = get(at, format!("{path}?{query}").as_bytes());
        let scrape = read_scrape(&body).unwrap();
        assert_eq!(scrape.files.len(), 1, "unknown ones are left out");
        let counts = scrape.files[0].1;
        assert_eq!((counts.complete, counts.incomplete, counts.downloaded), (2, 0, 1));
    }
    let Some(UdpReply::Scraped(counts)) = udp.ask(&scrape_request(udp.id, 1, &[unknown, hash]))
    else {
        panic!()
    };
    assert_eq!((counts[0].complete, counts[1].complete, counts[1].downloaded), (0, 2, 1));
    let stopped = AnnounceRequest { event: AnnounceEvent::Stopped, ..request(1) };
    assert_eq!(http(at, &stopped).unwrap().complete, Some(1));
    udp.announce(&AnnounceRequest { event: AnnounceEvent::Stopped, ..request(2) });
    let stats = tracker.stats();
    assert_eq!((stats.totals.torrents, stats.http_announces, stats.udp_announces), (0, 4, 2));
    let (_, page) = get(at, b"/stats");
    let page: serde_json::Value = serde_json::from_slice(&page).unwrap();
    assert_eq!((&page["schema"], &page["completed"]), (&1.into(), &1.into()));
    assert_eq!(get(at, b"/healthz"), ("HTTP/1.1 200 OK".to_owned(), b"ok\n".to_vec()));
}

#[test]
fn who_misses_nothing_is_a_seed_when_it_says_so_again() {
    let tracker = start(|_| {});
    let (at, udp) = (tracker.http()[0], Asker::new(tracker.udp()[0]));
    let claims = |n, event| AnnounceRequest { left: 0, downloaded: 0, event, ..request(n) };
    let counts = |reply: &AnnounceReply| (reply.complete, reply.incomplete, reply.peers.len());
    let (began, goes_on) = (AnnounceEvent::Started, AnnounceEvent::None);
    let mut expected = 0;
    for (over_http, n) in [(true, 1), (false, 2), (true, 3), (false, 4)] {
        let announce = |request: &AnnounceRequest| match over_http {
            true => http(at, request).unwrap(),
            false => udp.announce(request),
        };
        let first = announce(&claims(n, began));
        assert_eq!(counts(&first), (Some(expected), Some(1), expected as usize), "peer {n}");
        let second = announce(&claims(n, goes_on));
        expected += 1;
        assert_eq!((second.complete, second.incomplete), (Some(expected), Some(0)), "peer {n}");
    }
}

#[test]
fn the_families_are_apart() {
    let tracker = start(|_| {});
    let (four, six) = (tracker.http()[0], tracker.http()[1]);
    http(four, &request(1)).unwrap();
    http(six, &request(2)).unwrap();
    let reply = http(six, &request(3)).unwrap();
    assert_eq!(reply.peers, ["[::1]:10002".parse().unwrap()]);
    assert_eq!((reply.incomplete, reply.external_ip), (Some(3), Some("::1".parse().unwrap())));
    let udp = Asker::new(tracker.udp()[1]);
    assert_eq!(udp.announce(&request(4)).peers.len(), 2);
    let text = String::from_utf8(
        get(
            four,
            format!(
                "/announce?{}&compact=0",
                announce_query(&request(5)).replace("&compact=1", "")
            )
            .as_bytes(),
        )
        .1,
    )
    .unwrap();
    assert!(text.contains("5:peersld2:ip9:127.0.0.14:porti10001eee"), "{text}");
}

#[test]
fn every_byte_may_stand_in_an_info_hash() {
    let tracker = start(|_| {});
    let udp = Asker::new(tracker.udp()[0]);
    for start in (0..=255_u8).step_by(20) {
        let hash = std::array::from_fn(|index| start.wrapping_add(index as u8));
        let request = AnnounceRequest { info_hash: InfoHash(hash), ..request(1) };
        http(tracker.http()[0], &request).unwrap();
        let mut lower = String::new();
        percent::encode(&hash, &mut lower);
        let target = format!(
            "/announce?info_hash={}&peer_id=aaaaaaaaaaaaaaaaaaaa&port=1",
            lower.to_lowercase()
        );
        // Lower-case digits would be other bytes where they stand for themselves.
        if !hash.iter().any(u8::is_ascii_uppercase) {
            read_announce(&get(tracker.http()[0], target.as_bytes()).1).unwrap();
        }
        let raw = !hash.iter().any(|byte| b"\r\n&%".contains(byte));
        if raw {
            let target =
                [b"/announce?peer_id=bbbbbbbbbbbbbbbbbbbb&port=2&info_hash=".as_slice(), &hash]
                    .concat();
            read_announce(&get(tracker.http()[0], &target).1).unwrap();
        }
        let found = udp.announce(&AnnounceRequest { port: 3, peer_id: PeerId([3; 20]), ..request });
        let expected = 2 + u32::from(raw) + u32::from(!hash.iter().any(u8::is_ascii_uppercase));
        assert_eq!(found.incomplete, Some(expected), "{hash:?}");
    }
}

#[test]
fn nobody_gets_more_than_there_is_to_get() {
    let tracker = start(|_| {});
    let asker = Asker::new(tracker.udp()[0]);
    let six = Asker::new(tracker.udp()[1]);
    for n in 0..300 {
        asker.announce(&AnnounceRequest { num_want: Some(0), ..request(n) });
        six.announce(&AnnounceRequest { num_want: Some(0), ..request(n) });
    }
    for wanted in [1_000_000_000, i32::MAX as u32] {
        let want = |n| AnnounceRequest { num_want: Some(wanted), ..request(n) };
        assert_eq!(http(tracker.http()[0], &want(1)).unwrap().peers.len(), 82);
        assert_eq!(asker.announce(&want(1)).peers.len(), 200);
        assert_eq!(six.announce(&want(1)).peers.len(), 64);
    }
    assert_eq!(asker.announce(&request(1)).peers.len(), 50, "by default");
    assert_eq!(tracker.stats().totals.peers_v4, 300);
}

#[test]
fn packets_that_make_no_sense_get_no_answer() {
    let tracker = start(|_| {});
    let asker = Asker::new(tracker.udp()[0]);
    let good = announce_request(asker.id, 1, &request(1), "");
    let mut packets: Vec<Vec<u8>> = (0..16).map(|len| good[..len].to_vec()).collect();
    // A packet without a valid id gets no answer, whatever else is wrong.
    let foreign = announce_request(asker.id ^ 1, 1, &request(1), "");
    packets.extend((16..98).map(|len| foreign[..len].to_vec()));
    packets.push(vec![0; 2000]);
    packets.push(announce_request(asker.id ^ 1, 1, &request(1), ""));
    packets.push(announce_request(0, 1, &request(1), ""));
    packets.push(scrape_request(asker.id ^ 1 << 40, 1, &[InfoHash([1; 20])]));
    packets.push(scrape_request(asker.id ^ 1, 1, &[]));
    asker.silent(&packets);
    // An id is for one address.
    let elsewhere = UdpSocket::bind("127.0.0.9:0").unwrap();
    elsewhere.connect(tracker.udp()[0]).unwrap();
    elsewhere.send(&good).unwrap();
    asker.silent(&[]);
    let stats = tracker.stats();
    assert_eq!((stats.totals.torrents, stats.udp_announces), (0, 0));
    // An empty packet is none.
    until("all packets are counted", || tracker.stats().udp_dropped >= packets.len() as u64);
    assert_eq!(asker.announce(&request(1)).incomplete, Some(1));
}

#[test]
fn who_is_known_and_breaks_a_rule_is_told_which() {
    let tracker = start(|_| {});
    for at in tracker.udp() {
        let asker = Asker::new(*at);
        let good = announce_request(asker.id, 1, &request(1), "");
        let mut action = good[..16].to_vec();
        action[11] = 9;
        let cases = [
            (good[..97].to_vec(), "98 bytes"),
            (good[..16].to_vec(), "98 bytes"),
            (announce_request(asker.id, 1, &AnnounceRequest { port: 0, ..request(1) }, ""), "port"),
            (scrape_request(asker.id, 1, &[]), "at least one torrent"),
            (action, "unknown action"),
        ];
        for (packet, expected) in cases {
            let Some(UdpReply::Refused(why)) = asker.ask(&packet) else { panic!("{expected}") };
            assert!(why.contains(expected), "{expected}: {why}");
        }
    }
    let stats = tracker.stats();
    assert_eq!((stats.udp_wrong, stats.udp_dropped, stats.totals.torrents), (10, 0, 0));
}

#[test]
fn it_answers_from_the_address_that_was_asked() {
    let tracker = start(|config| {
        config.http.clear();
        config.udp = vec!["0.0.0.0:0".parse().unwrap()];
    });
    let port = tracker.udp()[0].port();
    // A connected socket receives from that address alone.
    for ip in ["127.0.0.1", "127.0.0.2", "127.7.7.7"] {
        let asker = Asker::new(SocketAddr::new(ip.parse().unwrap(), port));
        assert_eq!(asker.announce(&request(1)).incomplete, Some(1), "{ip}");
    }
}

#[test]
fn wrong_requests_are_told_so() {
    let tracker = start(|_| {});
    let at = tracker.http()[0];
    let failures = [
        ("/announce", "missing info_hash"),
        ("/announce?info_hash=a", "invalid info_hash"),
        (
            "/x/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=aaaaaaaaaaaaaaaaaaaa&port=0",
            "invalid port",
        ),
        ("/scrape", "full scrapes are not served"),
    ];
    for (target, expected) in failures {
        let (status, body) = get(at, target.as_bytes());
        let Err(AnnounceFailure::Refused { reason, .. }) = read_announce(&body) else { panic!() };
        assert!(status.ends_with("200 OK") && reason.starts_with(expected), "{target}: {reason}");
    }
    let long = vec![b'a'; 100_000];
    let cases: &[(&[u8], &str)] = &[
        (b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n", "404"),
        (b"GET /a/b/announce HTTP/1.1\r\nConnection: close\r\n\r\n", "404"),
        (b"POST /announce HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", "400"),
        (b"GET /announce\r\n\r\n", "400"),
        (b"GET /healthz HTTP/1.1\r\nContent-Length : 0\r\n\r\n", "400"),
        (b"POST /healthz HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc", "400"),
        (&long, "431"),
    ];
    for (bytes, expected) in cases {
        let status = split(&exchange(at, bytes)).0;
        assert!(status.starts_with(&format!("HTTP/1.1 {expected} ")), "{expected}: {status}");
    }
    // Two questions on one connection, the second one in pieces.
    let mut stream = TcpStream::connect(at).unwrap();
    let once = b"GET /healthz HTTP/1.1\r\n\r\n";
    stream.write_all(&[once, &once[..9]].concat()).unwrap();
    let mut first = [0; 20];
    stream.read_exact(&mut first).unwrap();
    stream.write_all(&once[9..]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.matches("ok\n").count(), 2, "{rest}");
}

#[test]
fn slow_connections_end() {
    let tracker = start(|config| config.limits.patience = Duration::from_millis(200));
    let mut stream = TcpStream::connect(tracker.http()[0]).unwrap();
    // A byte now and then does not help.
    let start = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while stream.write_all(b"G").is_ok() && !matches!(stream.read(&mut [0; 9]), Ok(0)) {
        assert!(start.elapsed() < LONG, "it waits for ever");
    }
}

/// A connection from an address of this host.
fn connect_from(ip: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Asks for a page over a connection that stays open; false if it is over.
fn lives(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 512];
    stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").is_ok()
        && stream.read(&mut answer).is_ok_and(|read| read > 0)
}

#[test]
fn one_host_cannot_have_all_connections() {
    let tracker = start(|config| {
        config.limits.connections = 32;
        config.limits.patience = 2 * LONG;
    });
    let at = tracker.http()[0];
    let mut honest = connect_from([127, 0, 0, 9], at);
    assert!(lives(&mut honest));
    let mut flood: Vec<TcpStream> = Vec::new();
    for _ in 0..100 {
        let mut one = connect_from([127, 0, 0, 2], at);
        assert!(lives(&mut one));
        flood.push(one);
    }
    // An eighth of 32 is the share of one source: the last ones that came.
    let living: Vec<usize> =
        (0..100).filter(|index| flood.get_mut(*index).is_some_and(lives)).collect();
    assert_eq!(living, [96, 97, 98, 99]);
    assert!(lives(&mut honest), "another host keeps what it has");
    // With all places taken by many, the one that was idle for longest makes room.
    let mut many: Vec<TcpStream> =
        (10..40).map(|host| connect_from([127, 0, 1, host], at)).collect();
    assert!(many.iter_mut().all(lives), "everybody is answered");
    assert!(lives(&mut connect_from([127, 0, 0, 3], at)));
    assert!(tracker.stats().turned_away >= 96);
}

#[test]
fn announcers_are_answered_while_one_host_floods() {
    let tracker = start(|config| config.limits.connections = 64);
    let at = tracker.http()[0];
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flood = std::thread::spawn({
        let over = over.clone();
        move || {
            let mut held = std::collections::VecDeque::new();
            // Not for ever: a host has only so many ports.
            for count in 0..20_000 {
                if over.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let mut one = connect_from([127, 0, 0, 2], at);
                // Some have asked and go on, others say half of something, or nothing.
                let asks = [&b"GET /healthz HTTP/1.1\r\n\r\n"[..], b"GET /heal", b""];
                let _ = one.write_all(asks[count % 3]);
                held.push_back(one);
                if held.len() > 200 {
                    held.pop_front();
                }
            }
        }
    });
    until("the flood has its share", || tracker.stats().turned_away > 200);
    for n in 1..20 {
        // A connection each, and one packet, from a host that says nothing else.
        http(at, &request(n)).unwrap();
        Asker::new(tracker.udp()[0]).announce(&request(n));
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    flood.join().unwrap();
    assert_eq!(tracker.stats().totals.peers_v4, 19);
}

#[test]
fn one_host_cannot_fill_the_table() {
    let tracker = start(|_| {});
    let at = tracker.udp()[0];
    let asker = Asker::new(at);
    http(tracker.http()[0], &request(1)).unwrap();
    // All in one part of the table, whose number anybody can compute.
    let torrent = |n: u16| {
        let mut hash = [7; 20];
        hash[2..4].copy_from_slice(&n.to_be_bytes());
        InfoHash(hash)
    };
    for n in 0..2000 {
        let flood = AnnounceRequest { info_hash: torrent(n), ..request(2) };
        asker.ask(&announce_request(asker.id, 1, &flood, "")).unwrap();
    }
    let totals = tracker.stats().totals;
    assert!(totals.torrents <= usize::from(dunlin_engine::tracker::MAX_PER_SOURCE) + 1);
    // It is the same host that floods: even so it is answered.
    assert!(http(tracker.http()[0], &request(3)).is_ok());
}

/// Everything that is answered to these bytes, when they come in such pieces.
fn answers(data: &[u8], piece: impl Fn(usize) -> usize) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let limits = TrackerLimits { patience: LONG, ..TrackerLimits::default() };
    let tracker = TrackerState {
        swarms: Swarms::new(Duration::from_secs(1800), Access::Open, &limits).unwrap(),
        counters: Counters::default(),
        trusted: Vec::new(),
        limits,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Room for every answer, so that neither side waits for the other.
        let (mut ours, theirs) = tokio::io::duplex(1 << 20);
        let server = tokio::spawn(async move {
            let _ =
                super::http::serve_connection(&tracker, theirs, [192, 0, 2, 1].into(), None).await;
        });
        let mut at = 0;
        while at < data.len() {
            let end = data.len().min(at + piece(at).max(1));
            if ours.write_all(&data[at..end]).await.is_err() {
                break;
            }
            // The reader has read this piece before the next one comes.
            tokio::task::yield_now().await;
            at = end;
        }
        let _ = ours.shutdown().await;
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).await.unwrap();
        server.await.unwrap();
        answer
    })
}

#[test]
fn the_server_answers_the_same_in_whatever_pieces_it_is_asked() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/requests");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        let (seed, data) = data.split_first().unwrap();
        let whole = answers(data, |_| data.len());
        let text = String::from_utf8_lossy(&whole);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 "), "{path:?}: {text}");
        assert_eq!(answers(data, |_| 1), whole, "{path:?}");
        let odd = |at: usize| 1 + (at * 31 + usize::from(*seed)) % 97;
        assert_eq!(answers(data, odd), whole, "{path:?}");
    }
}

#[test]
fn lists_and_limits() {
    let list = |byte: u8| HashList::parse(&format!("{byte:02x}").repeat(20)).unwrap();
    let tracker = start(|config| {
        config.access = Access::Only(list(8));
        config.limits.peers = 2;
        config.limits.torrents = 1;
    });
    let at = tracker.http()[0];
    let udp = Asker::new(tracker.udp()[0]);
    let refused = |result: Result<AnnounceReply, AnnounceFailure>| match result {
        Err(AnnounceFailure::Refused { reason, retry }) => (reason, retry),
        other => panic!("{other:?}"),
    };
    assert!(refused(http(at, &request(1))).0.contains("does not serve"));
    let reply = udp.ask(&announce_request(udp.id, 1, &request(1), ""));
    assert!(matches!(reply, Some(UdpReply::Refused(reason)) if reason.contains("does not serve")));
    tracker.set_access(Access::Except(list(9)));
    let other = |byte, n| AnnounceRequest { info_hash: InfoHash([byte; 20]), ..request(n) };
    http(at, &request(1)).unwrap();
    assert!(refused(http(at, &other(9, 1))).0.contains("does not serve"));
    let (reason, retry) = refused(http(at, &other(1, 1)));
    assert!(reason.contains("as many torrents"), "{reason}");
    assert_eq!(retry, Some(RetryIn::After(Duration::from_secs(1800))));
    http(at, &request(2)).unwrap();
    assert!(refused(http(at, &request(3))).0.contains("as many peers"));
    http(at, &AnnounceRequest { event: AnnounceEvent::Stopped, ..request(2) }).unwrap();
    http(at, &request(3)).unwrap();
    assert_eq!((tracker.stats().totals.peers_v4, tracker.stats().refused), (2, 5));
    // A scrape does not show what is not served any more, either.
    tracker.set_access(Access::Except(list(7)));
    let Some(UdpReply::Scraped(counts)) = udp.ask(&scrape_request(udp.id, 1, &[InfoHash([7; 20])]))
    else {
        panic!()
    };
    assert_eq!(counts[0].incomplete, 0);
}

#[test]
fn only_trusted_hosts_speak_for_others() {
    for (trusted, expected) in [(vec![], "127.0.0.1"), (vec!["127.0.0.1"], "203.0.113.5")] {
        let tracker = start(|config| {
            config.trusted = trusted.iter().map(|ip| ip.parse().unwrap()).collect();
        });
        let text = format!(
            "GET /announce?{} HTTP/1.0\r\nX-Forwarded-For: 198.51.100.1, 203.0.113.5\r\n\r\n",
            announce_query(&request(1))
        );
        let reply = read_announce(&split(&exchange(tracker.http()[0], text.as_bytes())).1).unwrap();
        assert_eq!(reply.external_ip, Some(expected.parse().unwrap()));
    }
}

#[test]
fn the_dead_expire() {
    let tracker = start(|config| config.interval = Duration::from_secs(1));
    http(tracker.http()[0], &request(1)).unwrap();
    Asker::new(tracker.udp()[1]).announce(&request(2));
    assert_eq!(tracker.stats().totals.torrents, 1);
    until("they are forgotten", || tracker.stats().totals.torrents == 0);
}

#[test]
fn it_stops_and_leaves_nothing() {
    // An address of its own: a port that is let go here is not taken by another test.
    let own: SocketAddr = "127.44.0.1:0".parse().unwrap();
    let tracker = start(|config| (config.http, config.udp) = (vec![own], vec![own]));
    let at = tracker.http()[0];
    let taken =
        TrackerServer::start(TrackerServerConfig { http: vec![at], udp: vec![], ..config() });
    assert!(matches!(taken, Err(TrackerServerError::Listen(found, _)) if found == at));
    let udp = tracker.udp()[0];
    let taken =
        TrackerServer::start(TrackerServerConfig { http: vec![], udp: vec![udp], ..config() });
    assert!(matches!(taken, Err(TrackerServerError::Listen(found, _)) if found == udp));
    let none = TrackerServer::start(TrackerServerConfig { http: vec![], udp: vec![], ..config() });
    assert!(matches!(none, Err(TrackerServerError::NoAddress)));
    let idle = TcpStream::connect(at).unwrap();
    tracker.stop();
    assert!(TcpStream::connect(at).is_err());
    drop(idle);
    TrackerServer::start(TrackerServerConfig { http: vec![at], udp: vec![udp], ..config() })
        .unwrap();
}
