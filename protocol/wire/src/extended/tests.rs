use super::*;
use crate::fuzzing::from_hex;
use crate::{Message, encode_into};
use dunlin_base::hex;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn wire(id: u8, payload: Bytes) -> String {
    let mut out = Vec::new();
    encode_into(&Message::Extended { id, payload }, &mut out);
    hex(&out)
}

/// W-9: what another program says.
const W9: &[u8] = b"d1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e4:reqqi500e\
                    1:v11:Example 1.06:yourip4:\xc0\x00\x02\x01e";

#[test]
fn vector_w9() {
    assert_eq!(W9.len() + 2, 0x6f);
    let read = ExtendedHandshake::decode(W9).unwrap();
    let expected = ExtendedHandshake {
        extensions: [("ut_metadata", 3), ("ut_pex", 1)].into(),
        metadata_size: Some(31235),
        port: Some(6881),
        queue: Some(500),
        client: Some("Example 1.0".into()),
        your_ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        ..ExtendedHandshake::default()
    };
    assert_eq!(read, expected);
    assert_eq!(ExtendedHandshake::decode(&read.encode()), Ok(read));
}

#[test]
fn vectors_w10_w14_w15() {
    let request = MetadataMessage::Request { piece: 0 };
    assert_eq!(
        wire(3, request.encode()),
        "0000001b140364383a6d73675f74797065693065353a706965636569306565"
    );
    assert_eq!(wire(7, write_dont_have(5)), "00000006140700000005");
    assert_eq!(wire(2, write_upload_only(true)), "00000003140201");
}

#[test]
fn what_is_of_no_use_counts_for_nothing() {
    // (payload, what is left of it)
    let none = ExtendedHandshake::default();
    let cases: [(&[u8], ExtendedHandshake); 8] = [
        (b"de", none.clone()),
        (b"d1:mi5e1:p3:abce", none.clone()),
        (b"d1:pi0ee", none.clone()),
        (b"d1:pi65536e4:reqqi-4ee", none.clone()),
        (b"d13:metadata_sizei0ee", none.clone()),
        (b"d13:metadata_sizei31457281ee", none.clone()),
        (b"d1:md11:ut_metadatai256eee", none.clone()),
        (
            b"d4:reqqi99999999999999e11:upload_onlyi1ee",
            ExtendedHandshake { queue: Some(u32::MAX), upload_only: Some(true), ..none.clone() },
        ),
    ];
    for (payload, expected) in cases {
        let found = ExtendedHandshake::decode(payload);
        assert_eq!(found, Ok(expected), "{}", String::from_utf8_lossy(payload));
    }
    let off = ExtendedHandshake::decode(b"d1:md11:ut_metadatai0eee").unwrap();
    assert_eq!(off.extensions.get(UT_METADATA), Some(0), "0 takes an extension back");
    let mapped = [&b"d6:yourip16:"[..], &[0; 10], &[255, 255, 1, 2, 3, 4], b"e"].concat();
    let mapped = ExtendedHandshake::decode(&mapped).unwrap();
    assert_eq!(mapped.your_ip, Some(IpAddr::V4(Ipv4Addr::new(1, 2, 3, 4))));
    for bad in [&b""[..], b"le", b"i5e", b"d", b"\xff\xff"] {
        assert!(ExtendedHandshake::decode(bad).is_err());
    }
}

#[test]
fn names_of_programs_are_short_and_tame() {
    let long = format!("d1:v400:{}e", "\u{1}é".repeat(133) + "x");
    let name = ExtendedHandshake::decode(long.as_bytes()).unwrap().client.unwrap();
    assert!(name.len() <= MAX_CLIENT_NAME && name.starts_with('é'));
    assert!(!name.contains('\u{1}'));
}

#[test]
fn metadata_messages() {
    let data = Bytes::from_static(b"d4:name1:xe");
    let message = MetadataMessage::Data { piece: 1, total_size: 34256, data };
    let payload = message.encode();
    assert!(payload.starts_with(b"d8:msg_typei1e5:piecei1e10:total_sizei34256eed4:name"));
    assert_eq!(MetadataMessage::decode(&payload), Ok(Some(message)));
    let reject = Bytes::from_static(b"d8:msg_typei2e5:piecei0ee");
    assert_eq!(MetadataMessage::decode(&reject), Ok(Some(MetadataMessage::Reject { piece: 0 })));
    let unknown = Bytes::from_static(b"d8:msg_typei9ee");
    assert_eq!(MetadataMessage::decode(&unknown), Ok(None));
    let short = Bytes::from_static(b"d8:msg_typei1e5:piecei0eexy");
    let data = Bytes::from_static(b"xy");
    let said_nothing = MetadataMessage::Data { piece: 0, total_size: 0, data };
    assert_eq!(MetadataMessage::decode(&short), Ok(Some(said_nothing)));
    for bad in ["", "de", "d8:msg_typei1ee", "d8:msg_typei0e5:piecei-1ee", "i5e"] {
        assert!(MetadataMessage::decode(&Bytes::from(bad)).is_err(), "{bad}");
    }
    assert_eq!(
        [1, 16384, 16385, 34256].map(metadata_pieces),
        [1, 1, 2, 3],
        "the last one is shorter"
    );
}

#[test]
fn payloads_of_fixed_length() {
    assert_eq!(read_upload_only(&[1]), Ok(true));
    assert_eq!(read_upload_only(&[0]), Ok(false));
    assert!(read_upload_only(&[]).is_err() && read_upload_only(&[0, 0]).is_err());
    assert_eq!(read_dont_have(&from_hex("00000005")), Ok(5));
    assert!(read_dont_have(&[0; 3]).is_err());
}

proptest! {
    #[test]
    fn handshakes_both_ways(
        ids in proptest::collection::btree_map("[a-z_]{0,12}", any::<u8>(), 0..4),
        port in proptest::option::of(1..u16::MAX),
        client in proptest::option::of("[a-zA-Z0-9. ]{0,64}"),
        v4 in any::<Option<[u8; 4]>>(),
        v6 in any::<Option<[u8; 16]>>(),
        queue in any::<Option<u32>>(),
        size in proptest::option::of(1..=30u32 << 20),
        upload_only in any::<Option<bool>>(),
    ) {
        let handshake = ExtendedHandshake {
            extensions: ids.into_iter().collect(),
            port,
            client,
            your_ip: v6.map(|octets| IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()),
            ipv4: v4.map(Ipv4Addr::from),
            ipv6: v6.map(Ipv6Addr::from),
            queue,
            metadata_size: size,
            upload_only,
        };
        prop_assert_eq!(ExtendedHandshake::decode(&handshake.encode()), Ok(handshake));
    }

    #[test]
    fn metadata_both_ways(
        piece in any::<u32>(), total_size in any::<u32>(), data in any::<Vec<u8>>(),
    ) {
        let all = [
            MetadataMessage::Request { piece },
            MetadataMessage::Data { piece, total_size, data: data.into() },
            MetadataMessage::Reject { piece },
        ];
        for message in all {
            prop_assert_eq!(MetadataMessage::decode(&message.encode()), Ok(Some(message)));
        }
    }
}
