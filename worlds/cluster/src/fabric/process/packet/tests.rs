use super::*;
use dunlin_base::{InfoHash, PeerId, Rank};
use dunlin_wire::Reserved;
use dunlin_wire::fuzzing::from_hex;
use proptest::collection::vec;
use proptest::prelude::*;

const TORRENT: TorrentId = TorrentId(3);
const RANGE: BlockRange = BlockRange { piece: 7, begin: 0x4000, length: 0x8_0000 };

/// Every kind, and what it looks like.
fn vectors() -> Vec<(Parcel, &'static str)> {
    let wire = |message| Parcel::Wire { torrent: TORRENT, message };
    let handshake = Handshake {
        reserved: Reserved::OURS,
        info_hash: InfoHash([9; 20]),
        peer_id: PeerId::of_rank(Rank(4)),
    };
    let token = BlockRange { piece: 2, begin: 0, length: 1 };
    vec![
        (Parcel::Control(Control::Alive), "00000002 01 02"),
        (Parcel::Control(Control::Lookup { name: "a/b".into() }), "00000009 01 04 00000003 612f62"),
        (
            Parcel::Handshake { torrent: TORRENT, handshake },
            "00000049 02 00000003 13426974546f7272656e742070726f746f636f6c 0000000000000004 \
             0909090909090909090909090909090909090909 2d444e303130302d303030303030303030303034",
        ),
        (wire(Message::KeepAlive), "00000009 03 00000003 00000000"),
        (wire(Message::Have { piece: 258 }), "0000000e 03 00000003 0000000504 00000102"),
        (wire(Message::Bitfield(Bytes::new())), "0000000a 03 00000003 0000000105"),
        (
            wire(Message::Bitfield(Bytes::from_static(&[0xa0, 0x40]))),
            "0000000c 03 00000003 0000000305 a040",
        ),
        (
            wire(Message::Request(RANGE)),
            "00000016 03 00000003 0000000d06 00000007 00004000 00080000",
        ),
        (
            Parcel::Ask { torrent: TORRENT, range: RANGE, tag: 32_767 },
            "00000013 04 00000003 00000007 00004000 00080000 7fff",
        ),
        (
            Parcel::Piece { torrent: TORRENT, range: token, data: Bytes::from_static(b"0a1b") },
            "00000015 05 00000003 00000002 00000000 00000001 30613162",
        ),
        (Parcel::HangUp { torrent: TORRENT }, "00000005 06 00000003"),
        (Parcel::Void { torrent: TORRENT, tag: 8 }, "00000007 07 00000003 0008"),
        (Parcel::Session(Bytes::from_static(b"{}")), "00000003 08 7b7d"),
        (Parcel::Session(Bytes::new()), "00000001 08"),
        (
            Parcel::Progress { state: 2, have: 1, wanted: 1 << 40, moved: 3, sent: u64::MAX },
            "00000022 09 02 0000000000000001 0000010000000000 0000000000000003 ffffffffffffffff",
        ),
        (
            Parcel::Trace { until: 1_000_000_007, lines: Bytes::from_static(b"{}\n") },
            "0000000c 0a 000000003b9aca07 7b7d0a",
        ),
        (Parcel::Trace { until: 0, lines: Bytes::new() }, "00000009 0a 0000000000000000"),
        (Parcel::Pulse, "00000001 0b"),
    ]
}

fn hex(text: &str) -> Vec<u8> {
    from_hex(&text.replace(' ', ""))
}

fn packed(parcels: &[Parcel]) -> Vec<u8> {
    let mut out = Vec::new();
    parcels.iter().for_each(|parcel| pack(parcel, &mut out));
    out
}

/// Everything that comes of `parts`, and the error that ended it.
fn unpack<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Parcel>, Option<Malformed>) {
    let (mut unpacker, mut parcels, mut came) = (Unpacker::new(), Vec::new(), 0);
    for part in parts {
        unpacker.push(part);
        came += part.len();
        loop {
            match unpacker.next() {
                Ok(Some(parcel)) => parcels.push(parcel),
                Ok(None) => break,
                Err(malformed) => return (parcels, Some(malformed)),
            }
            unpacker.check(came);
        }
    }
    (parcels, None)
}

#[test]
fn every_kind_both_ways() {
    let mut kinds: Vec<u8> = Vec::new();
    for (parcel, text) in vectors() {
        let bytes = hex(text);
        assert_eq!(dunlin_base::hex(&packed(std::slice::from_ref(&parcel))), text.replace(' ', ""));
        assert_eq!(unpack([&bytes[..]]), (vec![parcel], None), "{text}");
        kinds.push(bytes[4]);
    }
    kinds.dedup();
    assert_eq!(kinds, (1..=11).collect::<Vec<u8>>(), "a kind has no vector");
}

#[test]
fn a_cut_changes_nothing() {
    let parcels: Vec<Parcel> = vectors().into_iter().map(|(parcel, _)| parcel).collect();
    let bytes = packed(&parcels);
    assert_eq!(unpack(bytes.chunks(1)), (parcels.clone(), None));
    for cut in 0..=bytes.len() {
        let (before, after) = bytes.split_at(cut);
        assert_eq!(unpack([before, after]), (parcels.clone(), None), "cut at {cut}");
    }
}

#[test]
fn what_is_no_parcel() {
    let cases = [
        ("00000000", "a length of 0"),
        ("00000001 00", "kind 0, expected 1 to 11"),
        ("00000001 0c", "kind 12"),
        ("ffffffff ff", "kind 255"),
        ("00000001 01", "`control`: expected a length of 2 to 1073741824, found 1"),
        ("40000001 01", "`control`: expected a length of 2 to 1073741824, found 1073741825"),
        ("00000048 02", "`handshake`: expected a length of 73 to 73, found 72"),
        ("0000004a 02", "`handshake`: expected a length of 73 to 73, found 74"),
        ("00000008 03", "`wire`: expected a length of 9 to 1073741824, found 8"),
        ("ffffffff 03", "`wire`: expected a length of 9 to 1073741824, found 4294967295"),
        ("00000012 04", "`ask`: expected a length of 19 to 19, found 18"),
        ("00000014 04", "`ask`"),
        ("00000011 05", "`piece`: expected a length of 18 to 16777233, found 17"),
        ("01000012 05", "`piece`: expected a length of 18 to 16777233, found 16777234"),
        ("00000004 06", "`hang-up`"),
        ("00000006 06", "`hang-up`"),
        ("00000006 07", "`void`"),
        ("00000008 07", "`void`"),
        ("40000001 08", "`session`: expected a length of 1 to 1073741824"),
        ("00000021 09", "`progress`"),
        ("00000023 09", "`progress`"),
        ("00000008 0a", "`trace`"),
        ("40000001 0a", "`trace`"),
        ("00000002 0b", "`pulse`: expected a length of 1 to 1, found 2"),
        ("00000002 01 ff", "`control`: malformed control message: 255 is no tag"),
        ("00000003 01 02 00", "`control`: malformed control message: 1 bytes after its end"),
        ("00000009 03 00000003 00000001", "`wire`: expected a message of length 0, found 1"),
        ("0000000a 03 00000003 00000000 00", "a message of length 1, found 0"),
        ("0000000a 03 00000003 00000001 0a", "a message of id 10, expected one of ours"),
        ("00000013 03 00000003 0000000a 07 00000000 00000000 aa", "id 7, expected one of ours"),
        ("0000000a 03 00000003 00000001 07", "`wire`: malformed message `piece`"),
        ("0000000a 03 00000003 00000001 04", "`wire`: malformed message `have`"),
        ("00000013 04 00000003 00000007 00004000 00000000 0008", "`ask`: a block of 0"),
        ("00000013 04 00000003 00000007 00004000 01000001 0008", "`ask`: a block of 16777217"),
        ("00000013 04 00000003 00000007 00004000 00080000 0000", "`ask`: tag 0, expected 1 to"),
        ("00000013 04 00000003 00000007 00004000 00080000 8000", "`ask`: tag 32768"),
        ("00000012 05 00000003 00000007 00004000 00000000 aa", "`piece`: a block of 0"),
        ("00000012 05 00000003 00000007 00004000 01000001 aa", "`piece`: a block of 16777217"),
        ("00000007 07 00000003 0000", "`void`: tag 0"),
        ("00000007 07 00000003 ffff", "`void`: tag 65535"),
    ];
    for (text, expected) in cases {
        // Between two that are right: the one before comes out, the one after never does.
        let bytes = [hex("00000001 0b"), hex(text), hex("00000001 0b")].concat();
        let (parcels, malformed) = unpack([&bytes[..]]);
        let malformed = malformed.unwrap_or_else(|| panic!("{text} became {parcels:?}"));
        assert_eq!(parcels, [Parcel::Pulse], "{text}");
        assert!(malformed.to_string().contains(expected), "{text}: {malformed}");
        assert_eq!(unpack(bytes.chunks(1)), (parcels, Some(malformed)), "{text}");
    }
    let handshake = hex(vectors()[2].1);
    let spoilt = [&handshake[..9], b"\x13bitTorrent", &handshake[20..]].concat();
    let (_, malformed) = unpack([&spoilt[..]]);
    let text = malformed.unwrap().to_string();
    assert!(text.starts_with("malformed parcel `handshake`: malformed handshake: expected byte 1"));
}

#[test]
fn the_limits_are_right() {
    let good = [
        "00000013 04 00000003 00000007 00004000 00000001 0001",
        "00000013 04 00000003 00000007 00004000 01000000 7fff",
        "00000007 07 00000003 0001",
        "00000012 05 ffffffff ffffffff ffffffff 01000000 aa",
    ];
    for text in good {
        let (parcels, malformed) = unpack([&hex(text)[..]]);
        assert_eq!((parcels.len(), malformed), (1, None), "{text}");
    }
    let data = Bytes::from(vec![1; MAX_BLOCK as usize]);
    let range = BlockRange { length: MAX_BLOCK, ..RANGE };
    // A file of 2 TiB in pieces of 16 KiB: far above what a stranger on the internet may send.
    let bits = Bytes::from(vec![0xff; 16 << 20]);
    let parcels = vec![
        Parcel::Piece { torrent: TORRENT, range, data },
        Parcel::Wire { torrent: TORRENT, message: Message::Bitfield(bits) },
        Parcel::Pulse,
    ];
    let bytes = packed(&parcels);
    assert!(unpack(bytes.chunks(4080)) == (parcels, None));
}

#[test]
fn a_length_is_no_reason_to_allocate() {
    for head in ["40000000 01", "40000000 03", "01000011 05", "40000000 08", "40000000 0a"] {
        let mut unpacker = Unpacker::new();
        for (came, byte) in hex(head).iter().chain(&[0; 100]).enumerate() {
            unpacker.push(&[*byte]);
            assert_eq!(unpacker.next(), Ok(None), "{head}");
            unpacker.check(came + 1);
        }
        assert!(unpacker.buffer.capacity() <= 256, "{head}: {}", unpacker.buffer.capacity());
    }
}

#[test]
fn a_dead_one_stays_dead_and_keeps_nothing() {
    let mut unpacker = Unpacker::new();
    unpacker.push(&hex("00000002 0b"));
    let malformed = unpacker.next().unwrap_err();
    let length = Malformed::Length { kind: "pulse", least: 1, most: 1, found: 2 };
    assert_eq!(malformed, length);
    unpacker.push(&hex("00000001 0b"));
    assert_eq!((unpacker.next(), unpacker.buffer.capacity()), (Err(malformed), 0));
}

#[test]
fn what_was_taken_is_given_up() {
    let mut unpacker = Unpacker::new();
    let large = packed(&[Parcel::Session(Bytes::from(vec![0; 1 << 20]))]);
    unpacker.push(&[&large[..], &hex("000000")].concat());
    assert!(unpacker.next().unwrap().is_some());
    assert!(unpacker.buffer.capacity() < KEEP, "{}", unpacker.buffer.capacity());
    unpacker.push(&hex("01 0b"));
    assert_eq!(unpacker.next(), Ok(Some(Parcel::Pulse)));
    // As many small ones as a window holds, taken one by one: what is used stays the lesser part.
    let pulses = packed(&vec![Parcel::Pulse; 13_000]);
    unpacker.push(&pulses);
    let mut moves = 0;
    for left in (0..13_000).rev() {
        assert_eq!(unpacker.next(), Ok(Some(Parcel::Pulse)));
        assert!(unpacker.used <= left * 5);
        moves += usize::from(unpacker.used == 0);
    }
    assert!(moves < 20, "bytes were moved {moves} times");
    assert_eq!((unpacker.next(), unpacker.used, unpacker.buffer.len()), (Ok(None), 0, 0));
}

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn ranges() -> impl Strategy<Value = BlockRange> {
    (any::<u32>(), any::<u32>(), 1..=MAX_BLOCK).prop_map(|(piece, begin, length)| BlockRange {
        piece,
        begin,
        length,
    })
}

fn messages() -> impl Strategy<Value = Message> {
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        any::<u32>().prop_map(|piece| Message::Have { piece }),
        bytes(300).prop_map(Message::Bitfield),
        ranges().prop_map(Message::Request),
        ranges().prop_map(Message::Cancel),
        any::<u16>().prop_map(Message::Port),
        any::<u32>().prop_map(|piece| Message::SuggestPiece { piece }),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        ranges().prop_map(Message::RejectRequest),
        any::<u32>().prop_map(|piece| Message::AllowedFast { piece }),
    ]
}

fn controls() -> impl Strategy<Value = Control> {
    prop_oneof![
        Just(Control::Alive),
        Just(Control::LoadQuery),
        (any::<u64>(), any::<u64>()).prop_map(|(done, total)| Control::Checking { done, total }),
        "[a-z]{1,40}".prop_map(|name| Control::Lookup { name }),
        ("[a-z]{1,40}", ".{0,40}").prop_map(|(name, reason)| Control::Refused { name, reason }),
        any::<u32>().prop_map(|rank| Control::Departed { rank: Rank(rank) }),
    ]
}

fn parcels() -> impl Strategy<Value = Parcel> {
    let torrent = || any::<u32>().prop_map(TorrentId);
    let handshake = (any::<[u8; 8]>(), any::<[u8; 20]>(), any::<[u8; 20]>()).prop_map(
        |(reserved, info_hash, peer_id)| Handshake {
            reserved: Reserved(reserved),
            info_hash: InfoHash(info_hash),
            peer_id: PeerId(peer_id),
        },
    );
    prop_oneof![
        controls().prop_map(Parcel::Control),
        (torrent(), handshake)
            .prop_map(|(torrent, handshake)| Parcel::Handshake { torrent, handshake }),
        (torrent(), messages()).prop_map(|(torrent, message)| Parcel::Wire { torrent, message }),
        (torrent(), ranges(), 1..=MAX_TAG).prop_map(|(torrent, range, tag)| Parcel::Ask {
            torrent,
            range,
            tag
        }),
        (torrent(), ranges(), vec(any::<u8>(), 1..5000)).prop_map(|(torrent, range, data)| {
            Parcel::Piece { torrent, range, data: data.into() }
        }),
        torrent().prop_map(|torrent| Parcel::HangUp { torrent }),
        (torrent(), 1..=MAX_TAG).prop_map(|(torrent, tag)| Parcel::Void { torrent, tag }),
        bytes(5000).prop_map(Parcel::Session),
        (any::<u8>(), any::<[u64; 4]>()).prop_map(|(state, [have, wanted, moved, sent])| {
            Parcel::Progress { state, have, wanted, moved, sent }
        }),
        (any::<u64>(), bytes(5000)).prop_map(|(until, lines)| Parcel::Trace { until, lines }),
        Just(Parcel::Pulse),
    ]
}

proptest! {
    #[test]
    fn parcels_survive_any_cut(all in vec(parcels(), 0..20), cut in 1..6000_usize) {
        let bytes = packed(&all);
        prop_assert_eq!(unpack(bytes.chunks(cut)), (all, None));
    }

    #[test]
    fn any_bytes_are_parcels_or_not(bytes: Vec<u8>, kind in 1..=12_u8) {
        let length = (bytes.len() as u32 + 1).to_be_bytes();
        let bytes = [&length[..], &[kind], &bytes].concat();
        let (all, malformed) = unpack([&bytes[..]]);
        prop_assert_eq!(all.len() + usize::from(malformed.is_some()), 1);
        prop_assert!(malformed.is_some() || packed(&all) == bytes);
    }
}
