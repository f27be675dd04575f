//! The vectors of the protocol, hostile packets, and round trips.

use super::*;
use crate::{AnnounceEvent, AnnounceReply, AnnounceRequest, ScrapeCounts};
use dunlin_base::{InfoHash, PeerId, hex};
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;

const TX: u32 = 0x1122_3344;
const CONNECTION: u64 = 0x0102_0304_0506_0708;
const HASH: &str = "7b5e918f364908afab937ecdd84059dfb61102b7";
const T13: &str = "010203040506070800000001112233447b5e918f364908afab937ecdd84059dfb61102b72d5858303130302d6162636465666768696a6b6c0000000000000000000000000000000c00000000000000000000000200000000deadbeefffffffff1ae1";

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn hash() -> InfoHash {
    InfoHash(unhex(HASH).try_into().unwrap())
}

fn request() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: hash(),
        peer_id: PeerId(*b"-XX0100-abcdefghijkl"),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 12,
        corrupt: 0,
        redundant: 0,
        event: AnnounceEvent::Started,
        key: 0xDEAD_BEEF,
        num_want: None,
        tracker_id: None,
    }
}

/// What a function appends, in hex.
fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    hex(&out)
}

#[test]
fn t11_t12_connect() {
    let text = "00000417271019800000000011223344";
    assert_eq!(hex(&connect_request(TX)), text);
    assert_eq!(parse_request(&unhex(text)), Some(UdpRequest::Connect { transaction: TX }));
    let text = "00000000112233440102030405060708";
    assert_eq!(written(|out| connect_reply(TX, CONNECTION, out)), text);
    assert_eq!(parse_reply(&unhex(text), false), Some((TX, UdpReply::Connected(CONNECTION))));
}

#[test]
fn t13_t14_announce_with_options() {
    assert_eq!(hex(&announce_request(CONNECTION, TX, &request(), "")), T13);
    let tail = "020c2f6469723f613d6226633d64";
    let long = announce_request(CONNECTION, TX, &request(), "/dir?a=b&c=d");
    assert_eq!(hex(&long), format!("{T13}{tail}"));
    let Some(UdpRequest::Announce { connection, transaction, request: read, options }) =
        parse_request(&long)
    else {
        panic!("no announce")
    };
    assert_eq!((connection, transaction, read), (CONNECTION, TX, request()));
    assert_eq!(url_data(options).as_deref(), Some(&b"/dir?a=b&c=d"[..]));
    let cut = announce_request(CONNECTION, TX, &request(), &"/x".repeat(200));
    assert_eq!(cut.len(), 98 + 2 + 255);
}

#[test]
fn options_end_without_fault() {
    let cases: [(&[u8], Option<&[u8]>); 9] = [
        (b"", None),
        (b"\x00\x02\x01a", None),
        (b"\x01\x01\x02\x01a\x00\x02\x01b", Some(b"a")),
        (b"\x02\x01a\x02\x02bc", Some(b"abc")),
        (b"\x02\x00", Some(b"")),
        (b"\x07\x02zz\x02\x01a", Some(b"a")),
        (b"\x02", None),
        (b"\x02\x01a\x02\x09b", Some(b"a")),
        (b"\x09\xff\x02\x01a", None),
    ];
    for (options, expected) in cases {
        assert_eq!(url_data(options).as_deref(), expected, "{options:?}");
    }
}

#[test]
fn t15_t16_peers_depend_on_what_carries_them() {
    let counts = ScrapeCounts { complete: 3, incomplete: 2, ..ScrapeCounts::default() };
    for (peer, compact, v6) in [
        ("192.0.2.1:6881", "c00002011ae1", false),
        ("[2001:db8::1]:6881", "20010db80000000000000000000000011ae1", true),
    ] {
        let text = format!("0000000111223344000007080000000200000003{compact}");
        let reply = AnnounceReply {
            interval: Some(Duration::from_secs(1800)),
            complete: Some(3),
            incomplete: Some(2),
            peers: vec![peer.parse().unwrap()],
            ..AnnounceReply::default()
        };
        let read = parse_reply(&unhex(&text), v6);
        assert_eq!(read, Some((TX, UdpReply::Announced(Box::new(reply)))));
        let head = written(|out| announce_reply(TX, 1800, &counts, out));
        assert_eq!((head.len(), head + compact), (2 * ANNOUNCE_HEAD, text));
    }
}

#[test]
fn t17_t18_scrape() {
    let text = format!("01020304050607080000000211223344{HASH}");
    assert_eq!(hex(&scrape_request(CONNECTION, TX, &[hash()])), text);
    let torrents = vec![hash()];
    let scrape = UdpRequest::Scrape { connection: CONNECTION, transaction: TX, torrents };
    assert_eq!(parse_request(&unhex(&text)), Some(scrape));
    let text = "0000000211223344000000030000000a00000002";
    let counts = ScrapeCounts { complete: 3, downloaded: 10, incomplete: 2, downloaders: None };
    assert_eq!(written(|out| scrape_reply(TX, &[counts], out)), text);
    assert_eq!(parse_reply(&unhex(text), false), Some((TX, UdpReply::Scraped(vec![counts]))));
    let many = scrape_request(CONNECTION, TX, &[hash(); 100]);
    assert_eq!(many.len(), 16 + 74 * 20);
}

#[test]
fn t19_errors() {
    let text = "000000031122334462616420636f6e6e656374696f6e206964";
    let reason = "bad connection id";
    assert_eq!(written(|out| error_reply(TX, reason, out)), text);
    let read = parse_reply(&unhex(text), true);
    assert_eq!(read, Some((TX, UdpReply::Refused(reason.to_owned()))));
}

#[test]
fn t20_t21_connection_ids() {
    let ids = ConnectionIds::new(std::array::from_fn(|index| index as u8));
    let four: IpAddr = "192.0.2.1".parse().unwrap();
    let six: IpAddr = "2001:db8::1".parse().unwrap();
    assert_eq!(ids.issue(1000, four), 0x0000_03E8_3434_9229);
    assert_eq!(ids.issue(1000, six), 0x0000_03E8_5834_4033);
    let id = ids.issue(1000, four);
    // Seconds when it is shown, and whether it is good then.
    for (now, good) in [(939, false), (940, true), (1000, true), (1120, true), (1121, false)] {
        assert_eq!(ids.accepts(id, now, four), good, "{now}");
    }
    assert!(!ids.accepts(id, 1000, six), "another address");
    assert!(!ids.accepts(id, 1000, [192, 0, 2, 2].into()), "another address");
    assert!((0..64).all(|bit| !ids.accepts(id ^ 1 << bit, 1000, four)), "any bit changed");
    let other = ConnectionIds::new([7; 32]);
    assert!(!other.accepts(id, 1000, four), "another key");
}

#[test]
fn who_breaks_a_rule_can_be_told() {
    let whole = unhex(T13);
    assert!((0..16).all(|len| parse_request(&whole[..len]).is_none()), "no number to answer to");
    let wrong = |packet: &[u8]| match parse_request(packet) {
        Some(UdpRequest::Wrong { connection: CONNECTION, transaction: TX, why }) => why,
        other => panic!("{other:?}"),
    };
    assert!((16..98).all(|len| wrong(&whole[..len]).contains("98 bytes")), "cut");
    let changed = |at: usize, value: u8| {
        let mut packet = whole.clone();
        packet[at] = value;
        packet
    };
    assert!(wrong(&changed(11, 3)).contains("unknown action"));
    assert!(wrong(&changed(11, 0)).contains("connect"), "without the magic number");
    let mut port = whole.clone();
    port[96..].fill(0);
    assert!(wrong(&port).contains("port"));
    assert!(wrong(&unhex("01020304050607080000000211223344")).contains("at least one torrent"));
    let Some(UdpRequest::Announce { request, .. }) = parse_request(&changed(83, 4)) else {
        panic!()
    };
    assert_eq!(request.event, AnnounceEvent::None, "an event that has no number");
    let longer = [connect_request(TX), vec![0; 84]].concat();
    assert_eq!(parse_request(&longer), Some(UdpRequest::Connect { transaction: TX }));
}

#[test]
fn what_is_no_reply_is_not_read() {
    for text in [
        "",
        "0000000011223344010203040506",
        "00000001112233440000070800000002000000",
        "0000000411223344",
        "00000003112233",
    ] {
        assert_eq!(parse_reply(&unhex(text), false), None, "{text}");
    }
    let nobody = "0000000111223344ffffffff0000000200000003c000020100000000000000011ae1c0";
    let Some((_, UdpReply::Announced(reply))) = parse_reply(&unhex(nobody), false) else {
        panic!()
    };
    assert_eq!((reply.peers.len(), reply.interval), (0, Some(Duration::from_secs(86_400))));
}

proptest! {
    #[test]
    fn any_announce_survives(
        info_hash: [u8; 20], peer_id: [u8; 20], port in 1..=u16::MAX,
        uploaded: u64, downloaded: u64, left: u64, key: u32,
        num_want in proptest::option::of(0..=i32::MAX as u32), event in 0_usize..4,
        connection: u64, transaction: u32, target in "[/a-z]{0,255}",
    ) {
        let events = [AnnounceEvent::None, AnnounceEvent::Started, AnnounceEvent::Completed,
            AnnounceEvent::Stopped];
        let event = events[event];
        let num_want = if event == AnnounceEvent::Stopped { Some(0) } else { num_want };
        let request = AnnounceRequest {
            info_hash: InfoHash(info_hash), peer_id: PeerId(peer_id),
            port, uploaded, downloaded, left,
            corrupt: 0, redundant: 0, event, key, num_want, tracker_id: None,
        };
        let packet = announce_request(connection, transaction, &request, &target);
        let options = &packet[98..];
        let data = (!target.is_empty()).then(|| target.clone().into_bytes());
        prop_assert_eq!(url_data(options), data);
        let expected = UdpRequest::Announce { connection, transaction, request, options };
        prop_assert_eq!(parse_request(&packet), Some(expected));
    }
}
