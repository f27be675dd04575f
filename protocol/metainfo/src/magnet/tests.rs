use super::*;
use proptest::prelude::*;

const M3_HEX: &str = "7b5e918f364908afab937ecdd84059dfb61102b7";
const M8: &str = "f5c45fbdc7ab75176d3e2a6e9b00c3c6d1902ec8bff632ecf3a45a5a8145f379";

fn parse(text: &str) -> Result<Magnet, MagnetError> {
    text.parse()
}

fn v1() -> InfoHash {
    InfoHash(parse_hex(M3_HEX).unwrap())
}

#[test]
fn hashes_in_all_forms() {
    let upper = M3_HEX.to_uppercase();
    for topic in [
        format!("urn:btih:{M3_HEX}"),
        format!("urn:btih:{upper}"),
        "urn:btih:PNPJDDZWJEEK7K4TP3G5QQCZ363BCAVX".to_owned(),
        "URN:BTIH:pnpjddzwjeek7k4tp3g5qqcz363bcavx".to_owned(),
        format!("urn%3Abtih%3A{M3_HEX}"),
    ] {
        let magnet = parse(&format!("magnet:?xt={topic}")).unwrap();
        assert_eq!((magnet.hashes.v1, magnet.hashes.v2), (Some(v1()), None), "{topic}");
    }
    let magnet = parse(&format!("magnet:?xt=urn:btmh:1220{M8}")).unwrap();
    assert_eq!(magnet.hashes.v2, parse_hex(M8));
    assert_eq!(magnet.to_string(), format!("magnet:?xt=urn:btmh:1220{M8}"));
    let both = format!("MAGNET:?xt.1=urn:btih:{M3_HEX}&xt.2=urn:btmh:1220{M8}&xt=urn:ed2k:abc");
    let magnet = parse(&both).unwrap();
    assert_eq!((magnet.hashes.v1, magnet.hashes.v2), (Some(v1()), parse_hex(M8)));
}

#[test]
fn every_parameter() {
    let link = format!(
        " magnet:?dn=two+words%20%C3%BC+%&unknown=1&xl=12&tr.1=udp%3A%2F%2Fa.example%3A80&tr.2=http://\
         b.example/x?y%3D1&tr=gopher://c&amp;ws=https://w.example/d/&x.pe=192.0.2.7:6881\
         &x.pe=[2001:db8::1]:51413&x.pe=peer.example:1&x.pe=nowhere&x.pe=a:0&x.pe=[x]:1&x.pe=a/b:1&so=0,2,4,6-8\
         &xt=urn:btih:{M3_HEX}\n"
    );
    let magnet = parse(&link).unwrap();
    assert_eq!(magnet.name.as_deref(), Some("two words ü %"));
    assert_eq!(magnet.length, Some(12));
    assert_eq!(magnet.trackers, ["udp://a.example:80", "http://b.example/x?y=1"]);
    assert_eq!(magnet.web_seeds, ["https://w.example/d/"]);
    let peers = [("192.0.2.7", 6881), ("2001:db8::1", 51_413), ("peer.example", 1)];
    assert_eq!(magnet.peers, peers.map(|(host, port)| (host.to_owned(), port)));
    // M-2.
    let selected: Vec<u32> = (0..12).filter(|index| magnet.selects(*index)).collect();
    assert_eq!(selected, [0, 2, 4, 6, 7, 8]);
    assert_eq!(parse(&magnet.to_string()), Ok(magnet));
}

#[test]
fn a_selection_with_anything_else_in_it_is_none() {
    for so in ["", "1,", "a", "1-", "-1", "3-2", "1,x", "0-4294967296", "+1", "1 ,2"] {
        let magnet = parse(&format!("magnet:?xt=urn:btih:{M3_HEX}&so={so}")).unwrap();
        assert_eq!(magnet.select, None, "{so}");
        assert!(magnet.selects(7));
    }
    let all = parse(&format!("magnet:?xt=urn:btih:{M3_HEX}&so=0-4294967295")).unwrap();
    assert!(all.selects(u32::MAX));
}

#[test]
fn what_is_no_link_is_said() {
    let other = "0000000000000000000000000000000000000000";
    let cases = [
        (String::new(), "`` is no magnet link"),
        ("http://a.example".to_owned(), "`http://a.example` is no magnet link"),
        ("magnet:".to_owned(), "`magnet:` is no magnet link"),
        ("magnet:?".to_owned(), "the magnet link names no torrent"),
        ("magnet:?dn=x".to_owned(), "the magnet link names no torrent"),
        ("magnet:?xt=urn:sha1:x".to_owned(), "the magnet link names no torrent"),
        ("magnet:?xt=urn:btih:1234".to_owned(), "`urn:btih:1234` is no info-hash"),
        ("magnet:?xt=urn:btih:".to_owned(), "`urn:btih:` is no info-hash"),
        (format!("magnet:?xt=urn:btih:{M3_HEX}0"), "`urn:btih:7b5e"),
        ("magnet:?xt=urn:btih:PNPJDDZWJEEK7K4TP3G5QQCZ363BCAV1".to_owned(), "`urn:btih:PNPJ"),
        (format!("magnet:?xt=urn:btmh:1120{M8}"), "`urn:btmh:1120f5"),
        (format!("magnet:?xt=urn:btmh:1220{}", &M8[2..]), "`urn:btmh:1220c4"),
        (
            format!("magnet:?xt=urn:btih:{M3_HEX}&xt=urn:btih:{other}"),
            "the magnet link names two torrents",
        ),
        (format!("magnet:?{}", "x".repeat(MAX_MAGNET)), "the magnet link has 65544 bytes"),
        ("magnét:?xt".to_owned(), "`magnét:?xt` is no magnet link"),
    ];
    for (link, expected) in cases {
        let text = parse(&link).map_err(|error| error.to_string());
        assert!(text.as_ref().is_err_and(|text| text.starts_with(expected)), "{link}: {text:?}");
    }
}

proptest! {
    #[test]
    fn links_round_trip(
        v1 in prop::option::of(any::<[u8; 20]>()), v2 in any::<[u8; 32]>(), name in "\\PC{1,20}",
        trackers in prop::collection::vec("http://[a-z%&=+ü]{1,9}", 0..3),
        hosts in prop::collection::vec(("[a-z]{1,5}", 1_u16..), 0..3),
        ranges in prop::collection::vec((0_u32..50, 50_u32..90), 0..3),
    ) {
        let magnet = Magnet {
            hashes: InfoHashes { v1: v1.map(InfoHash), v2: Some(v2) },
            name: Some(name), trackers, peers: hosts,
            select: (!ranges.is_empty()).then_some(ranges),
            ..Magnet::default()
        };
        prop_assert_eq!(parse(&magnet.to_string()), Ok(magnet));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        crate::fuzzing::magnet(text.as_bytes());
        crate::fuzzing::magnet(format!("magnet:?xt=urn:btih:{M3_HEX}&{text}").as_bytes());
    }
}
