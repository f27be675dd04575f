//! The client against a real tracker in the same process, and against sockets that answer garbage,
//! too much, in circles, late, or nothing.
//!
//! `tests/` holds a certificate for `localhost` with its key, and that of the authority which
//! signed it and whose key is gone. They are good until 2100 and mean nothing to anybody else.

use super::*;
use crate::datagrams::{DatagramSockets, MAX_DATAGRAM};
use crate::tracker_server::{TrackerLimits, TrackerServer, TrackerServerConfig};
use dunlin_base::{InfoHash, PeerId};
use dunlin_engine::tracker::Access;
use dunlin_tracker::udp::{UdpRequest, announce_reply, connect_reply, error_reply, parse_request};
use dunlin_tracker::{AnnounceEvent, RetryIn, ScrapeCounts};
use flate2::Compression;
use flate2::write::GzEncoder;
use mio::{Events, Poll, Token};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

const LONG: Duration = Duration::from_secs(30);

const BODY: &[u8] = b"d8:intervali1800e5:peers6:\xC0\x00\x02\x01\x1A\xE1e";

fn config() -> TrackerConfig {
    TrackerConfig {
        timeouts: TrackerTimeouts {
            http: Duration::from_secs(3),
            silent: Duration::from_millis(300),
            udp: Duration::from_secs(3),
            udp_again: Duration::from_millis(100),
            stopped: Duration::from_millis(400),
        },
        ..TrackerConfig::default()
    }
}

fn client() -> TrackerClient {
    start(config()).unwrap()
}

/// A client with sockets of its own, and a thread that receives for it as long as it lives.
fn start(config: TrackerConfig) -> io::Result<TrackerClient> {
    let mut poll = Poll::new()?;
    let mut sockets = DatagramSockets::open(&config.bind, 0)?;
    sockets.register(poll.registry(), Token(0))?;
    let sockets = Arc::new(sockets);
    let client = TrackerClient::start(config, sockets.clone())?;
    let queue = client.datagrams.clone();
    std::thread::spawn(move || {
        let mut events = Events::with_capacity(8);
        let mut buffer = vec![0; MAX_DATAGRAM];
        while !queue.0.is_closed() {
            poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
            for socket in 0..2 {
                while sockets.receive(socket, &mut buffer, |_, from, datagram| {
                    queue.push(from, datagram);
                }) {}
            }
        }
    });
    Ok(client)
}

/// A network without sockets: the test receives what the client sends, and gives it what it likes.
struct FakeNetwork(Mutex<Sender<(SocketAddr, Vec<u8>)>>);

impl DatagramSender for FakeNetwork {
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let sent = self.0.lock().unwrap().send((to, datagram.to_vec()));
        sent.map_err(|_| io::ErrorKind::NetworkUnreachable.into())
    }
}

fn without_sockets() -> (TrackerClient, Receiver<(SocketAddr, Vec<u8>)>) {
    let (sender, sent) = channel();
    let network = Arc::new(FakeNetwork(Mutex::new(sender)));
    (TrackerClient::start(config(), network).unwrap(), sent)
}

fn request(n: u16) -> AnnounceRequest {
    let mut id = *b"-XX0100-............";
    id[8..10].copy_from_slice(&n.to_be_bytes());
    AnnounceRequest {
        info_hash: InfoHash([0xE9; 20]),
        peer_id: PeerId(id),
        port: 10_000 + n,
        uploaded: 0,
        downloaded: 0,
        left: 5,
        corrupt: 0,
        redundant: 0,
        event: AnnounceEvent::Started,
        key: n.into(),
        num_want: Some(30),
        tracker_id: None,
    }
}

/// Announces, and gives where the answer will be.
fn begin(client: &TrackerClient, url: &str, request: AnnounceRequest) -> Receiver<AnnounceResult> {
    let (sender, results) = channel();
    let reply = move |result| {
        assert_eq!(std::thread::current().name(), Some("trackers"));
        sender.send(result).unwrap();
    };
    client.announce(TorrentId(1), TrackerIndex(0), url.into(), request, None, reply);
    results
}

fn announce(client: &TrackerClient, url: &str, request: AnnounceRequest) -> AnnounceResult {
    begin(client, url, request).recv_timeout(LONG).expect("an answer")
}

/// What went wrong.
fn failure(client: &TrackerClient, url: &str) -> String {
    announce(client, url, request(1)).expect_err(url).to_string()
}

fn tracker() -> TrackerServer {
    let loopback: Vec<SocketAddr> =
        vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    TrackerServer::start(TrackerServerConfig {
        http: loopback.clone(),
        udp: loopback,
        interval: Duration::from_secs(900),
        access: Access::Open,
        trusted: Vec::new(),
        limits: TrackerLimits::default(),
    })
    .unwrap()
}

/// A server that answers every connection by `script`, with what was asked; its address.
fn scripted(script: impl Fn(&str, &mut dyn Write) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, script) = (stream.unwrap(), script.clone());
            std::thread::spawn(move || {
                let mut asked = Vec::new();
                let mut byte = [0];
                while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    asked.extend(byte);
                }
                script(&String::from_utf8_lossy(&asked), &mut stream);
            });
        }
    });
    at
}

/// A server that always says the same.
fn fixed(answer: impl Into<Vec<u8>>) -> String {
    let answer = answer.into();
    let at = scripted(move |_, stream| drop(stream.write_all(&answer)));
    format!("http://{at}/announce")
}

fn page(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(body).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_real_tracker_over_everything() {
    let (tracker, client) = (tracker(), client());
    let mut urls = Vec::new();
    for at in tracker.http() {
        urls.push(format!("http://{at}/announce"));
    }
    for at in tracker.udp() {
        urls.push(format!("udp://{at}"));
        urls.push(format!("udp://{at}/announce?a=b"));
    }
    for (n, url) in (1..).zip(&urls) {
        let reply =
            announce(&client, url, request(n)).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(reply.incomplete, Some(u32::from(n)), "{url}");
        assert_eq!(reply.interval, Some(Duration::from_secs(900)));
    }
    // Everybody of the same family, over either.
    let reply = announce(&client, &urls[0], request(1)).unwrap();
    assert_eq!(reply.peers.len(), 2, "{reply:?}");
    assert!(reply.peers.iter().all(|peer| peer.ip().is_ipv4() && peer.ip().is_loopback()));
    let ids = tracker.stats().udp_connects;
    announce(&client, &urls[2], request(3)).unwrap();
    assert_eq!(tracker.stats().udp_connects, ids, "a connection id is used again");
    for (n, url) in (1..).zip(&urls) {
        let stopped = AnnounceRequest { event: AnnounceEvent::Stopped, ..request(n) };
        announce(&client, url, stopped).unwrap();
    }
    assert_eq!(tracker.stats().totals.torrents, 0);
    client.finish(LONG);
}

#[test]
fn requests_are_as_trackers_know_them() {
    let (sender, results) = channel();
    let at = scripted(move |asked, stream| {
        sender.send(asked.to_owned()).unwrap();
        stream.write_all(&page("200 OK", BODY)).unwrap();
    });
    let client = client();
    let reply = announce(&client, &format!("http://{at}/announce?k=%41#x"), request(1)).unwrap();
    assert_eq!(reply.peers, ["192.0.2.1:6881".parse().unwrap()]);
    let asked = results.recv().unwrap();
    let mut lines = asked.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with("GET /announce?k=%41&info_hash=%E9%E9"), "{first}");
    assert!(first.ends_with(" HTTP/1.1"), "{first}");
    let agent = concat!("User-Agent: dunlin/", env!("CARGO_PKG_VERSION"));
    for header in [&format!("Host: {at}"), agent, "Accept-Encoding: gzip", "Connection: close"] {
        assert!(lines.clone().any(|line| line == header), "{header}: {asked}");
    }
}

#[test]
fn answers_in_every_form() {
    let packed = gzip(BODY);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nd8:in\r\n1c\r\n";
    let chunked = [chunked, &BODY[5..], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(BODY.len() - 5, 0x1C);
    let whole = [
        page("200 OK", BODY),
        [b"HTTP/1.0 200 OK\r\n\r\n", BODY].concat(),
        chunked,
        page("200 OK\r\nContent-Encoding: gzip", &packed),
        page("200 OK\r\nContent-Encoding: X-GZIP", &packed),
    ];
    let client = client();
    for answer in whole {
        let text = String::from_utf8_lossy(&answer).into_owned();
        let reply = announce(&client, &fixed(answer), request(1));
        assert_eq!(reply.map(|reply| reply.peers.len()), Ok(1), "{text}");
    }
    let refused = page("403 Forbidden", b"d14:failure reason2:no8:retry in5:nevere");
    let expected =
        AnnounceFailure::Refused { reason: "no".to_owned(), retry: Some(RetryIn::Never) };
    assert_eq!(announce(&client, &fixed(refused), request(1)), Err(expected));
}

#[test]
fn answers_that_are_none() {
    let huge = vec![b'x'; 2 << 20];
    let bomb = gzip(&vec![b'd'; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let mut broken = gzip(BODY);
    broken.truncate(12);
    let cases: [(Vec<u8>, &str); 13] = [
        (b"".to_vec(), "cannot ask"),
        (b"\x16\x03\x01garbage\r\n\r\n".to_vec(), "cannot ask"),
        (page("200 OK", b"<html>"), "makes no sense"),
        (page("404 Not Found", b"<html>"), "answers 404"),
        (page("500 Oops", BODY), "answers 500"),
        (page("200 OK", &huge), "more than 1048576 bytes"),
        (page("200 OK\r\nContent-Encoding: gzip", &bomb), "more than 1048576 bytes"),
        (page("200 OK\r\nContent-Encoding: gzip", &broken), "gzip is broken"),
        (page("200 OK\r\nContent-Encoding: br", BODY), "did not ask for"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nd8:".to_vec(), "broke off"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec(), "without an address"),
        ([b"HTTP/1.1 200 OK\r\nA: ", huge.as_slice()].concat(), "cannot ask"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(), "broke off"),
    ];
    let client = client();
    for (answer, expected) in cases {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let found = failure(&client, &fixed(answer));
        assert!(found.contains(expected), "{shown}: {found}");
    }
    // A body that never ends, one without its end, and a tracker that never answers.
    let endless = scripted(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert!(failure(&client, &format!("http://{endless}/announce")).contains("more than"));
    let stops = scripted(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nd8:");
        std::thread::sleep(LONG);
    });
    assert!(
        failure(&client, &format!("http://{stops}/announce")).contains("stopped in its middle")
    );
    let mute = scripted(|_, _| std::thread::sleep(LONG));
    assert!(failure(&client, &format!("http://{mute}/announce")).contains("no answer"));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(failure(&client, &format!("http://{closed}/announce")).contains("cannot connect to"));
    let dribble = scripted(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(failure(&client, &format!("http://{dribble}/announce")).contains("in time"));
}

#[test]
fn redirects_are_followed_so_far() {
    let client = client();
    let to = |target: &str| page(&format!("302 Found\r\nLocation: {target}"), b"");
    let end = fixed(page("200 OK", BODY));
    let once = fixed(to(&end));
    assert!(announce(&client, &once, request(1)).is_ok());
    // Each step leads to one less; our query goes along.
    let steps = |many: usize| {
        let at = scripted(move |asked, stream| {
            assert!(asked.contains("info_hash=%E9"), "{asked}");
            let path = asked.split([' ', '?']).nth(1).unwrap();
            let left: usize = path.strip_prefix("/announce/").unwrap().parse().unwrap();
            let answer = match left {
                0 => page("200 OK", BODY),
                _ => page(&format!("307 Go\r\nLocation: {}", left - 1), b""),
            };
            stream.write_all(&answer).unwrap();
        });
        format!("http://{at}/announce/{many}")
    };
    assert!(announce(&client, &steps(5), request(1)).is_ok());
    assert!(failure(&client, &steps(6)).contains("more than 5 times"));
    let circle = scripted(|_, stream| {
        stream.write_all(&page("301 Moved\r\nLocation: /announce", b"")).unwrap();
    });
    assert!(failure(&client, &format!("http://{circle}/announce")).contains("more than 5 times"));
    for (target, expected) in [
        ("udp://127.0.0.1:1/", "from HTTP to UDP"),
        ("ftp://127.0.0.1/", "not supported"),
        ("http://127.0.0.1:0/", "no port"),
    ] {
        let found = failure(&client, &fixed(to(target)));
        assert!(found.contains(expected), "{target}: {found}");
    }
}

#[test]
fn a_tracker_that_never_answers_holds_nobody() {
    // Only what is sent ends these: nothing is silent, and there is all the time in the world.
    let timeouts = TrackerTimeouts { http: 2 * LONG, silent: LONG, ..config().timeouts };
    let client = start(TrackerConfig { timeouts, ..config() }).unwrap();
    let forever = |head: &'static [u8], again: &'static [u8]| {
        let at = scripted(move |_, stream| {
            let again = again.repeat(1000);
            let mut sent = stream.write_all(head);
            while sent.is_ok() {
                sent = stream.write_all(&again);
            }
        });
        format!("http://{at}/announce")
    };
    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let start = Instant::now();
    for (head, again) in [
        (b"".as_slice(), b"HTTP/1.1 100 Continue\r\n\r\n".as_slice()),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"),
        (chunked, b"1\r\ny\r\n"),
        (chunked, b"1;extension=of-a-chunk\r\ny\r\n"),
        (chunked, b"0000000000000000"),
        (b"\r\n", b"\r\n"),
    ] {
        let why = failure(&client, &forever(head, again));
        assert!(!why.contains("no answer") && !why.contains("in time"), "{again:?}: {why}");
    }
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
}

#[test]
fn https_is_checked() {
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::rustls::{ServerConfig, crypto::ring};
    let (sender, results) = channel();
    std::thread::spawn(move || {
        let certificate = CertificateDer::from(&include_bytes!("tests/localhost.der")[..]);
        let key = PrivatePkcs8KeyDer::from(&include_bytes!("tests/localhost-key.der")[..]);
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap().port()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&page("200 OK", BODY)).await;
                let _ = stream.shutdown().await;
            }
        });
    });
    let port = results.recv().unwrap();
    let roots = vec![include_bytes!("tests/authority.der").to_vec()];
    let trusting = start(TrackerConfig { roots, ..config() }).unwrap();
    for host in ["localhost", "127.0.0.1"] {
        let reply = announce(&trusting, &format!("https://{host}:{port}/announce"), request(1));
        assert_eq!(reply.map(|reply| reply.peers.len()), Ok(1), "{host}");
    }
    let found = failure(&client(), &format!("https://localhost:{port}/announce"));
    assert!(found.contains("agree on TLS") && found.contains("UnknownIssuer"), "{found}");
    let found = failure(&trusting, &format!("https://127.0.0.2:{port}/announce"));
    assert!(found.contains("cannot"), "{found}");
    let plain = fixed(page("200 OK", BODY)).replace("http://", "https://");
    assert!(failure(&trusting, &plain).contains("agree on TLS"));
    let broken = TrackerConfig { roots: vec![b"nonsense".to_vec()], ..config() };
    assert!(start(broken).is_err());
}

#[test]
fn lost_and_foreign_packets() {
    let (client, sent) = without_sockets();
    let queue = client.datagrams.clone();
    let tracker: SocketAddr = "192.0.2.7:6969".parse().unwrap();
    let url = format!("udp://{tracker}/announce");
    let server = std::thread::spawn(move || {
        let next = || {
            let (to, packet) = sent.recv_timeout(LONG).unwrap();
            assert_eq!(to, tracker);
            packet
        };
        let send = |from, write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            queue.push(from, &out);
        };
        // The first one is lost.
        let first = next();
        let again = next();
        let number = |packet: &[u8]| match parse_request(packet) {
            Some(UdpRequest::Connect { transaction }) => transaction,
            other => panic!("{other:?}"),
        };
        assert_ne!(number(&first), number(&again), "each packet has a number of its own");
        let transaction = number(&again);
        // Another number, another kind, too short, and from somewhere else.
        send(tracker, &|out| connect_reply(transaction ^ 1, 13, out));
        send(tracker, &|out| announce_reply(transaction, 7, &ScrapeCounts::default(), out));
        send(tracker, &|out| out.extend_from_slice(&[0; 10]));
        for stranger in ["192.0.2.7:6970", "192.0.2.8:6969"] {
            send(stranger.parse().unwrap(), &|out| connect_reply(transaction, 13, out));
        }
        send(tracker, &|out| connect_reply(transaction, 42, out));
        let packet = next();
        let Some(UdpRequest::Announce { connection, transaction, request: found, options }) =
            parse_request(&packet)
        else {
            panic!()
        };
        assert_eq!((connection, found), (42, request(1)));
        assert_eq!(dunlin_tracker::udp::url_data(options).as_deref(), Some(&b"/announce"[..]));
        send(tracker, &|out| announce_reply(transaction, 77, &ScrapeCounts::default(), out));
        // The next one uses the id again, and is refused; after that it is forgotten.
        let packet = next();
        let Some(UdpRequest::Announce { connection: 42, transaction, .. }) = parse_request(&packet)
        else {
            panic!()
        };
        send(tracker, &|out| error_reply(transaction, "no such\nid", out));
        let packet = next();
        number(&packet);
        sent
    });
    let reply = announce(&client, &url, request(1)).unwrap();
    assert_eq!(reply.interval, Some(Duration::from_secs(77)));
    let refused = AnnounceFailure::Refused { reason: "no such id".to_owned(), retry: None };
    assert_eq!(announce(&client, &url, request(1)), Err(refused));
    // No answer comes any more, and `stopped` does not wait as long as others do.
    let start = Instant::now();
    let stopped = AnnounceRequest { event: AnnounceEvent::Stopped, ..request(1) };
    let failed = announce(&client, &url, stopped).unwrap_err();
    assert!(failed.to_string().contains("in time"), "{failed}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    // What the system refuses to send is a failure at once.
    drop(server.join().unwrap());
    assert!(failure(&client, &url).contains("cannot send to 192.0.2.7:6969"));
}

#[test]
fn addresses_that_are_not_asked() {
    let client = client();
    for (url, expected) in [
        ("wss://a.example/", "not supported"),
        ("udp://a.example/", "needs its port"),
        ("http://127.0.0.1/admin", "must begin with /announce"),
        ("http://a.example/?info_hash=1", "sets `info_hash` itself"),
        ("http://no-such-host.invalid/announce", "is not known"),
        ("http://255.255.255.255:9/announce", "cannot connect to"),
    ] {
        let found = failure(&client, url);
        assert!(found.contains(expected), "{url}: {found}");
    }
}

#[test]
fn every_socket_is_bound() {
    let tracker = tracker();
    let bind = Bind::parse("127.0.0.77").unwrap();
    let client = start(TrackerConfig { bind, ..config() }).unwrap();
    let reply = announce(&client, &format!("http://{}/announce", tracker.http()[0]), request(1));
    assert_eq!(reply.unwrap().external_ip, Some([127, 0, 0, 77].into()));
    announce(&client, &format!("udp://{}", tracker.udp()[0]), request(2)).unwrap();
    let other = self::client();
    let reply = announce(&other, &format!("udp://{}", tracker.udp()[0]), request(3)).unwrap();
    let bound: Vec<SocketAddr> =
        ["127.0.0.77:10001", "127.0.0.77:10002"].map(|at| at.parse().unwrap()).into();
    let mut found = reply.peers;
    found.sort_unstable();
    assert_eq!(found, bound);
    for url in
        [format!("http://{}/announce", tracker.http()[1]), format!("udp://{}", tracker.udp()[1])]
    {
        assert!(failure(&client, &url).contains("no address that we can reach"), "{url}");
    }
}

#[test]
fn only_so_many_at_a_time() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (there, peak) = (now.clone(), most.clone());
    let at = scripted(move |_, stream| {
        peak.fetch_max(there.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        there.fetch_sub(1, Ordering::SeqCst);
        stream.write_all(&page("200 OK", BODY)).unwrap();
    });
    let client = start(TrackerConfig { at_once: 3, ..config() }).unwrap();
    let url = format!("http://{at}/announce");
    let waiting: Vec<_> = (0..20).map(|n| begin(&client, &url, request(n))).collect();
    for answer in waiting {
        assert!(answer.recv_timeout(LONG).unwrap().is_ok());
    }
    assert!((2..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    assert_eq!((client.waiting(), now.load(Ordering::SeqCst)), (0, 0));
}

#[test]
fn the_end_keeps_its_deadline_and_answers_everybody() {
    let mute = scripted(|_, _| std::thread::sleep(LONG));
    let mut config = config();
    config.timeouts.silent = LONG;
    config.timeouts.http = LONG;
    config.at_once = 2;
    let start = Instant::now();
    let client = self::start(config).unwrap();
    let url = format!("http://{mute}/announce");
    let waiting: Vec<_> = (0..5).map(|n| begin(&client, &url, request(n))).collect();
    // One has a time of its own.
    let (sender, results) = channel();
    let within = Some(Duration::from_millis(50));
    let reply = move |result: AnnounceResult| sender.send(result).unwrap();
    client.announce(TorrentId(1), TrackerIndex(0), url.as_str().into(), request(9), within, reply);
    assert!(results.recv_timeout(LONG).unwrap().unwrap_err().to_string().contains("in time"));
    assert_eq!(client.waiting(), 5);
    client.finish(Duration::from_millis(200));
    for answer in waiting {
        let failed = answer.try_recv().expect("it was answered").unwrap_err();
        assert!(failed.to_string().contains("stopped before"), "{failed}");
    }
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    // What can be done in time is done.
    let tracker = tracker();
    let client = self::client();
    let url = format!("udp://{}", tracker.udp()[0]);
    let answers: Vec<_> = (0..50).map(|n| begin(&client, &url, request(n))).collect();
    client.finish(LONG);
    assert!(answers.iter().all(|answer| answer.try_recv().unwrap().is_ok()));
    assert_eq!(tracker.stats().totals.peers_v4, 50);
}
