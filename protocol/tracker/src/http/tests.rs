//! The vectors of the protocol, what real trackers get wrong, and round trips.

use super::reply::compact;
use super::*;
use crate::{
    AnnounceEvent, AnnounceFailure, AnnounceReply, AnnounceRequest, RetryIn, ScrapeCounts,
};
use bytes::Bytes;
use dunlin_base::{InfoHash, PeerId, percent};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const HASH: InfoHash = InfoHash([
    0x7B, 0x5E, 0x91, 0x8F, 0x36, 0x49, 0x08, 0xAF, 0xAB, 0x93, 0x7E, 0xCD, 0xD8, 0x40, 0x59, 0xDF,
    0xB6, 0x11, 0x02, 0xB7,
]);
const ENCODED: &str = "%7B%5E%91%8F6I%08%AF%AB%93~%CD%D8%40Y%DF%B6%11%02%B7";
const PEER: PeerId = PeerId(*b"-XX0100-abcdefghijkl");

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn request() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: HASH,
        peer_id: PEER,
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        corrupt: 4,
        redundant: 5,
        event: AnnounceEvent::Started,
        key: 0x00AB_CDEF,
        num_want: Some(200),
        tracker_id: None,
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// An answer as the reader gives it, written in the compact form.
fn write(reply: &AnnounceReply) -> Vec<u8> {
    let (peers, peers6) = compact(&reply.peers);
    let counts = reply.complete.map(|complete| ScrapeCounts {
        complete,
        downloaded: reply.downloaded.unwrap_or(0),
        incomplete: reply.incomplete.unwrap_or(0),
        downloaders: None,
    });
    let answer = AnnounceAnswer {
        interval: reply.interval.map(|time| time.as_secs() as u32),
        min_interval: reply.min_interval.map(|time| time.as_secs() as u32),
        counts,
        peers: &peers,
        peers6: &peers6,
        dictionaries: false,
        external_ip: reply.external_ip,
        tracker_id: reply.tracker_id.as_deref(),
        warning: reply.warning.as_deref(),
    };
    let mut out = Vec::new();
    write_announce(&answer, &mut out);
    out
}

#[test]
fn t1_an_info_hash_is_encoded_byte_by_byte() {
    let mut text = String::new();
    percent::encode(&HASH.0, &mut text);
    assert_eq!(text, ENCODED);
    assert_eq!(
        percent::decode(text.to_lowercase().as_bytes())[4..],
        HASH.0.to_ascii_lowercase()[4..]
    );
    let all: Vec<u8> = (0..=255).collect();
    let mut text = String::new();
    percent::encode(&all, &mut text);
    assert_eq!(percent::decode(text.as_bytes()), all);
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-_.~".contains(&byte)));
    assert_eq!(percent::decode(b"%7b%7B+%%4x%2"), b"{{+%%4x%2");
}

#[test]
fn queries_have_the_usual_order() {
    let expected = format!(
        "info_hash={ENCODED}&peer_id=-XX0100-abcdefghijkl&port=6881&uploaded=1&downloaded=2&left=3\
         &corrupt=4&key=00ABCDEF&event=started&numwant=200&compact=1&no_peer_id=1&redundant=5"
    );
    assert_eq!(announce_query(&request()), expected);
    let stopped = AnnounceRequest { event: AnnounceEvent::Stopped, ..request() };
    assert!(announce_query(&stopped).contains("&event=stopped&numwant=0&"));
    let again = AnnounceRequest {
        event: AnnounceEvent::None,
        num_want: None,
        tracker_id: Some(Bytes::from_static(b"a&b")),
        ..request()
    };
    let text = announce_query(&again);
    assert!(
        !text.contains("event") && !text.contains("numwant") && text.ends_with("&trackerid=a%26b")
    );
}

#[test]
fn queries_are_read_as_strangers_write_them() {
    let base = format!("info_hash={ENCODED}&peer_id=-XX0100-abcdefghijkl&port=6881");
    let read = |more: &str| AnnounceQuery::parse(format!("{base}{more}").as_bytes()).unwrap();
    let plain = read("");
    assert_eq!((plain.request.info_hash, plain.request.peer_id), (HASH, PEER));
    assert!(plain.request.left > 1 << 60 && plain.compact && !plain.no_peer_id);
    assert_eq!(read("&left=0").request.left, 0);
    assert!(read("&left=-1").request.left > 1 << 60, "unreadable is unknown, and no seed");
    assert_eq!(read("&numwant=1000000000").request.num_want, Some(1_000_000_000));
    assert_eq!(read("&numwant=99999999999999999999999").request.num_want, Some(u32::MAX));
    assert_eq!(read("&numwant=-1").request.num_want, None);
    assert_eq!(read("&event=paused").request.event, AnnounceEvent::Paused);
    assert_eq!(read("&event=empty").request.event, AnnounceEvent::None);
    assert_eq!(read("&key=DEADbeef").request.key, 0xDEAD_BEEF);
    assert_ne!(read("&key=one-word").request.key, read("&key=two-words").request.key);
    assert!(!read("&compact=0").compact);
    assert_eq!(read("&port=1&&x&=&").request.port, 6881, "the first one counts");
    // Raw bytes, and a plus that is a plus.
    let raw = b"port=80&peer_id=+XX0100+abcdefghijkl&info_hash=\x00\xFF\xFE\x80\"<>{}|\\^`+  \x7F\x01\x02\x03";
    let raw = AnnounceQuery::parse(raw).unwrap().request;
    assert_eq!(raw.info_hash.0, *b"\x00\xFF\xFE\x80\"<>{}|\\^`+  \x7F\x01\x02\x03");
    assert_eq!(raw.peer_id.0[0], b'+');
}

#[test]
fn wrong_queries_say_what_is_wrong() {
    let cases = [
        ("", "missing info_hash"),
        ("info_hash=abc&peer_id=-XX0100-abcdefghijkl&port=1", "invalid info_hash"),
        (
            "info_hash=aaaaaaaaaaaaaaaaaaaaa&peer_id=-XX0100-abcdefghijkl&port=1",
            "invalid info_hash",
        ),
        ("info_hash=aaaaaaaaaaaaaaaaaaaa&port=1", "missing peer_id"),
        ("info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=x&port=1", "invalid peer_id"),
        ("info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=aaaaaaaaaaaaaaaaaaaa", "missing port"),
        ("info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=aaaaaaaaaaaaaaaaaaaa&port=0", "invalid port"),
        ("info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=aaaaaaaaaaaaaaaaaaaa&port=65536", "invalid port"),
        ("info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=aaaaaaaaaaaaaaaaaaaa&port=x", "invalid port"),
    ];
    for (query, expected) in cases {
        let error = AnnounceQuery::parse(query.as_bytes()).expect_err(query).to_string();
        assert!(error.starts_with(expected), "{query}: {error}");
    }
}

#[test]
fn t4_to_t6_replies_are_written_and_read() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let plain = AnnounceReply { interval: seconds(1800), ..AnnounceReply::default() };
    let cases = [
        (
            "64383a636f6d706c65746569336531303a696e636f6d706c657465693265383a696e74657276616c69313830306531323a6d696e20696e74657276616c6939303065353a7065657273363ac00002011ae165",
            AnnounceReply {
                min_interval: seconds(900),
                complete: Some(3),
                incomplete: Some(2),
                peers: vec![socket("192.0.2.1:6881")],
                ..plain.clone()
            },
        ),
        (
            "64383a696e74657276616c693138303065353a7065657273303a363a70656572733631383a20010db80000000000000000000000011ae165",
            AnnounceReply { peers: vec![socket("[2001:db8::1]:6881")], ..plain.clone() },
        ),
        (
            "6431313a65787465726e616c206970343ac6336407383a696e74657276616c693138303065353a7065657273303a65",
            AnnounceReply { external_ip: Some([198, 51, 100, 7].into()), ..plain },
        ),
    ];
    for (hex, reply) in cases {
        assert_eq!(read_announce(&unhex(hex)).as_ref(), Ok(&reply), "{hex}");
        if reply.complete.is_none() {
            assert_eq!(write(&reply), unhex(hex));
        }
    }
    let (peers, _) = compact(&[socket("192.0.2.1:6881")]);
    let counts = ScrapeCounts { complete: 3, downloaded: 7, incomplete: 2, downloaders: Some(1) };
    let answer = AnnounceAnswer {
        interval: Some(1800),
        min_interval: Some(900),
        counts: Some(counts),
        peers: &peers,
        ..AnnounceAnswer::default()
    };
    let mut out = Vec::new();
    write_announce(&answer, &mut out);
    let expected =
        b"d8:completei3e10:downloadedi7e11:downloadersi1e10:incompletei2e8:intervali1800e\
                     12:min intervali900e5:peers6:\xC0\x00\x02\x01\x1A\xE1e";
    assert_eq!(out, expected);
}

#[test]
fn t7_peers_as_dictionaries() {
    let text =
        b"d8:intervali1800e5:peersld2:ip9:192.0.2.17:peer id20:-XX0100-abcdefghijkl4:porti6881eeee";
    let reply = read_announce(text).unwrap();
    assert_eq!(reply.peers, [socket("192.0.2.1:6881")]);
    let names = b"d5:peersld2:ip9:a.example4:porti7eed2:ip3:::14:porti8eed2:ip3:a/b4:porti9ee\
                  d4:porti9eed2:ip7:1.2.3.44:porti0eed2:ip7:1.2.3.44:porti70000eei3e1:xeee";
    let reply = read_announce(names).unwrap();
    assert_eq!(reply.named_peers, [("a.example".to_owned(), 7)]);
    assert_eq!(reply.peers, [socket("[::1]:8")]);
    let (peers, peers6) = compact(&[socket("192.0.2.1:6881"), socket("[2001:db8::1]:1")]);
    let answer = AnnounceAnswer {
        peers: &peers,
        peers6: &peers6,
        dictionaries: true,
        ..AnnounceAnswer::default()
    };
    let mut out = Vec::new();
    write_announce(&answer, &mut out);
    let text = "d5:peersld2:ip9:192.0.2.14:porti6881eed2:ip11:2001:db8::14:porti1eeee";
    assert_eq!(String::from_utf8(out).unwrap(), text);
}

#[test]
fn t8_t9_refusals() {
    let after = |minutes: u64| Some(RetryIn::After(Duration::from_secs(60 * minutes)));
    let cases = [
        ("d14:failure reason10:Overloaded8:retry in1:5e", "Overloaded", after(5)),
        (
            "d14:failure reason13:Not a tracker8:retry in5:nevere",
            "Not a tracker",
            Some(RetryIn::Never),
        ),
        ("d14:failure reason1:ae", "a", None),
    ];
    for (text, reason, retry) in cases {
        let expected = AnnounceFailure::Refused { reason: reason.to_owned(), retry };
        assert_eq!(read_announce(text.as_bytes()), Err(expected));
        let mut out = Vec::new();
        write_failure(reason, retry, &mut out);
        assert_eq!(out, text.as_bytes());
    }
    let odd = "d8:retry ini7e14:failure reason3:a\nbe";
    let expected = AnnounceFailure::Refused { reason: "a b".to_owned(), retry: after(7) };
    assert_eq!(read_announce(odd.as_bytes()), Err(expected));
}

#[test]
fn t10_scrapes() {
    let hex = "64353a66696c65736432303a7b5e918f364908afab937ecdd84059dfb61102b764383a636f6d706c65746569336531303a646f776e6c6f616465646931306531303a696e636f6d706c657465693265656565";
    let counts = ScrapeCounts { complete: 3, downloaded: 10, incomplete: 2, downloaders: None };
    let files = vec![(HASH, counts)];
    let expected = ScrapeReply { files: files.clone(), min_interval: None };
    assert_eq!(read_scrape(&unhex(hex)), Ok(expected));
    let mut out = Vec::new();
    write_scrape(&files, 0, &mut out);
    assert_eq!(out, unhex(hex));
    out.clear();
    let files = [(HASH, ScrapeCounts { downloaders: Some(1), ..counts })];
    write_scrape(&files, 60, &mut out);
    let reply = read_scrape(&out).unwrap();
    assert_eq!(
        (reply.files.as_slice(), reply.min_interval),
        (&files[..], Some(Duration::from_secs(60)))
    );

    let query = scrape_query(&[HASH, InfoHash([b'a'; 20])]);
    assert_eq!(query, format!("info_hash={ENCODED}&info_hash=aaaaaaaaaaaaaaaaaaaa"));
    assert_eq!(parse_scrape_query(query.as_bytes()), Ok(vec![InfoHash([b'a'; 20]), HASH]));
    assert_eq!(parse_scrape_query(b"x=1"), Err(QueryError::FullScrape));
    assert_eq!(parse_scrape_query(b"info_hash=a"), Err(QueryError::Length("info_hash")));
    let many = "info_hash=aaaaaaaaaaaaaaaaaaaa&".repeat(75);
    assert_eq!(parse_scrape_query(many.as_bytes()), Err(QueryError::TooMany(74)));
}

#[test]
fn what_trackers_get_wrong_is_tolerated() {
    // Keys in any order, numbers as text, numbers that nobody can mean.
    let odd = b"d5:peers6:\xC0\x00\x02\x01\x1A\xE18:interval4:18008:completei-4e10:incompletei99999999999ee junk";
    let reply = read_announce(odd).unwrap();
    assert_eq!(reply.interval, Some(Duration::from_secs(1800)));
    assert_eq!((reply.complete, reply.incomplete, reply.peers.len()), (None, Some(u32::MAX), 1));
    let clamped = read_announce(b"d8:intervali0e12:min intervali99999999ee").unwrap();
    assert_eq!(clamped.interval, Some(Duration::from_secs(1)));
    assert_eq!(clamped.min_interval, Some(Duration::from_secs(86_400)));
    // Half a peer, port 0, nobody's addresses, and IPv4 within IPv6.
    let half = read_announce(b"d5:peers8:\xC0\x00\x02\x01\x1A\xE1\xC0\x00e").unwrap();
    assert!(half.peers.len() == 1 && half.warning.is_some());
    let nobody = b"d5:peers24:\xC0\x00\x02\x01\x00\x00\x00\x00\x00\x00\x1A\xE1\xE0\x00\x00\x01\x1A\xE1\xFF\xFF\xFF\xFF\x1A\xE1e";
    assert_eq!(read_announce(nobody).unwrap().peers, []);
    let mapped = b"d6:peers618:\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xC0\0\x02\x01\x1A\xE1e";
    assert_eq!(read_announce(mapped).unwrap().peers, [socket("192.0.2.1:6881")]);
    assert_eq!(read_announce(b"de"), Ok(AnnounceReply::default()));
}

#[test]
fn what_is_no_answer_is_refused() {
    let deep = "l".repeat(50) + &"e".repeat(50);
    let cases = ["", "<html>404</html>", "i5e", "le", "d5:peersi5ee", "d5:peers", &deep];
    for text in cases {
        let found = read_announce(text.as_bytes());
        assert!(matches!(found, Err(AnnounceFailure::Malformed(_))), "{text}: {found:?}");
    }
    let found = read_announce(&vec![b' '; MAX_BODY + 1]);
    assert!(matches!(found, Err(AnnounceFailure::Malformed(_))));
    let many = [b"d5:peers600000:".as_slice(), &[1; 600_000], b"e"].concat();
    assert_eq!(read_announce(&many).unwrap().peers.len(), MAX_PEERS);
}

#[test]
fn heads_of_requests() {
    let text = b"GET /announce?info_hash=\xFF \x80?x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Real-IP: 3.3.3.3\r\n\r\nGET /";
    for cut in 0..text.len() - 5 {
        assert_eq!(Head::parse(&text[..cut], cut.saturating_sub(1)), Ok(None), "{cut}");
    }
    let head = Head::parse(text, text.len() - 9).unwrap().unwrap();
    assert_eq!(head, Head::parse(text, 0).unwrap().unwrap());
    assert_eq!((head.method, head.path), (&b"GET"[..], &b"/announce"[..]));
    assert_eq!((head.query, head.len), (&b"info_hash=\xFF \x80?x"[..], text.len() - 5));
    assert_eq!(head.forwarded, Some(IpAddr::from([2, 2, 2, 2])));
    assert!(head.keep_alive && !head.body);
    let parse = |text: &'static str| Head::parse(text.as_bytes(), 0).map(Option::unwrap);
    let real = parse("GET / HTTP/1.0\r\nx-real-ip: [::1]:80\r\n\r\n").unwrap();
    assert!(!real.keep_alive && real.forwarded == Some("::1".parse().unwrap()));
    assert!(parse("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n").unwrap().keep_alive);
    assert!(!parse("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap().keep_alive);
    assert!(parse("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n").unwrap().body);
    assert_eq!(parse("GET http://h:1/a?b HTTP/1.1\r\n\r\n").unwrap().path, b"/a");
    for bad in [
        "x\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/2\r\n\r\n",
        "get / HTTP/1.1\r\n\r\n",
        "GET a HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(parse(bad), Err(HeadError::NotHttp), "{bad}");
    }
    for (line, expected) in [
        ("Content-Length : 0", HeadError::NoHeader),
        ("Content-Length\t: 3", HeadError::NoHeader),
        (" folded: x", HeadError::NoHeader),
        ("no colon", HeadError::NoHeader),
        (": no name", HeadError::NoHeader),
        ("a\0b: c", HeadError::NoHeader),
        ("\r", HeadError::NoHeader),
        ("Content-Length: ", HeadError::Length),
        ("Content-Length: -1", HeadError::Length),
        ("Content-Length: +3", HeadError::Length),
        ("Content-Length: 0x3", HeadError::Length),
        ("Content-Length: 0, 0", HeadError::Length),
        ("Content-Length: 0\r\ncontent-length: 1", HeadError::Length),
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
        assert_eq!(Head::parse(text.as_bytes(), 0), Err(expected), "{line:?}");
    }
    for (line, body) in [
        ("Content-Length: 0", false),
        ("Content-Length:0\r\nContent-Length: 0", false),
        ("content-length: 99999999999999999999999", true),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0", true),
        ("Transfer-Encoding: identity", true),
        ("X_y.z!: :", false),
    ] {
        let text = format!("GET / HTTP/1.1\r\n{line}\r\n\r\n");
        let head = Head::parse(text.as_bytes(), 0).unwrap().unwrap();
        assert_eq!(head.body, body, "{line:?}");
    }
    assert_eq!(Head::parse(&vec![b'a'; MAX_HEAD], 0), Err(HeadError::TooLong));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
    assert_eq!(Head::parse(many.as_bytes(), 0), Err(HeadError::TooMany));
}

proptest! {
    #[test]
    fn any_announce_survives(
        info_hash: [u8; 20], peer_id: [u8; 20], port in 1..=u16::MAX,
        uploaded: u64, downloaded: u64, left: u64,
        corrupt: u64, redundant: u64, key: u32, num_want: Option<u32>, event in 0_usize..5,
        tracker_id in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
    ) {
        let events = [AnnounceEvent::None, AnnounceEvent::Started, AnnounceEvent::Completed,
            AnnounceEvent::Stopped, AnnounceEvent::Paused];
        let event = events[event];
        let num_want = if event == AnnounceEvent::Stopped { Some(0) } else { num_want };
        let request = AnnounceRequest {
            info_hash: InfoHash(info_hash), peer_id: PeerId(peer_id),
            port, uploaded, downloaded, left,
            corrupt, redundant, event, key, num_want, tracker_id: tracker_id.map(Bytes::from),
        };
        let read = AnnounceQuery::parse(announce_query(&request).as_bytes());
        prop_assert_eq!(read.map(|read| read.request), Ok(request));
    }

    #[test]
    fn any_reply_survives(
        four in proptest::collection::vec((1_u32..0xE000_0000, 1..=u16::MAX), 0..20),
        six in proptest::collection::vec((1_u128..1 << 120, 1..=u16::MAX), 0..20),
        interval in 1_u64..86_400,
        tracker_id in proptest::option::of("[a-z]{0,20}"), complete: Option<u32>,
    ) {
        let four = four.into_iter().map(|(ip, port)| (std::net::Ipv4Addr::from(ip), port));
        let four = four.map(|(ip, port)| SocketAddr::new(ip.into(), port));
        let six = six.into_iter().map(|(ip, port)| (std::net::Ipv6Addr::from(ip), port))
            .filter(|(ip, _)| ip.to_ipv4_mapped().is_none())
            .map(|(ip, port)| SocketAddr::new(ip.into(), port));
        let reply = AnnounceReply {
            interval: Some(Duration::from_secs(interval)),
            tracker_id: tracker_id.map(Bytes::from),
            complete, incomplete: complete.map(|_| 0), downloaded: complete.map(|_| 0),
            peers: four.chain(six).collect(),
            ..AnnounceReply::default()
        };
        prop_assert_eq!(read_announce(&write(&reply)), Ok(reply));
    }
}
