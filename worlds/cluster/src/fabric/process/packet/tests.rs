use super::*;
use dunlin_base::{BlockRef, InfoHash, PeerId, PieceIndex, Rank};
use dunlin_control::Control;
use dunlin_wire::Reserved;
use dunlin_wire::fuzzing::from_hex;
use proptest::collection::vec;
use proptest::prelude::*;

const TORRENT: TorrentId = TorrentId(3);
const RANGE: BlockRef = BlockRef { piece: PieceIndex(7), begin: 0x4000, len: 0x8_0000 };

const PULSE: Packet = Packet::Process(ProcessMessage::Pulse);

fn piece(range: BlockRef, data: Bytes) -> Packet {
    let payload = Payload { data, charge: None };
    Packet::Frame(Frame::Piece { torrent: TORRENT, range, payload })
}

fn session(bytes: Bytes) -> Packet {
    Packet::Process(ProcessMessage::Session(bytes))
}

fn progress(state: u8, [have, wanted, moved, sent]: [u64; 4]) -> Packet {
    Packet::Process(ProcessMessage::Progress { state, have, wanted, moved, sent })
}

fn trace(until: u64, lines: Bytes) -> Packet {
    Packet::Process(ProcessMessage::Trace { until, lines })
}

/// Every kind, and what it looks like.
fn vectors() -> Vec<(Packet, &'static str)> {
    let wire = |message| Packet::Frame(Frame::Wire { torrent: TORRENT, message });
    let handshake = Handshake {
        reserved: Reserved::OURS,
        info_hash: InfoHash([9; 20]),
        peer_id: PeerId::of_rank(Rank(4)),
    };
    let token = BlockRef { piece: PieceIndex(2), begin: 0, len: 1 };
    vec![
        (Packet::Frame(Frame::Control(Control::Alive)), "00000002 01 02"),
        (
            Packet::Frame(Frame::Control(Control::Lookup { name: "a/b".into() })),
            "00000009 01 04 00000003 612f62",
        ),
        (
            Packet::Frame(Frame::Handshake { torrent: TORRENT, handshake }),
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
            Packet::Ask { torrent: TORRENT, range: RANGE, tag: 32_767 },
            "00000013 04 00000003 00000007 00004000 00080000 7fff",
        ),
        (
            piece(token, Bytes::from_static(b"0a1b")),
            "00000015 05 00000003 00000002 00000000 00000001 30613162",
        ),
        (Packet::Frame(Frame::HangUp { torrent: TORRENT }), "00000005 06 00000003"),
        (Packet::Void { torrent: TORRENT, tag: 8 }, "00000007 07 00000003 0008"),
        (session(Bytes::from_static(b"{}")), "00000003 08 7b7d"),
        (session(Bytes::new()), "00000001 08"),
        (
            progress(2, [1, 1 << 40, 3, u64::MAX]),
            "00000022 09 02 0000000000000001 0000010000000000 0000000000000003 ffffffffffffffff",
        ),
        (trace(1_000_000_007, Bytes::from_static(b"{}\n")), "0000000c 0a 000000003b9aca07 7b7d0a"),
        (trace(0, Bytes::new()), "00000009 0a 0000000000000000"),
        (PULSE, "00000001 0b"),
    ]
}

fn hex(text: &str) -> Vec<u8> {
    from_hex(&text.replace(' ', ""))
}

fn encoded(packets: &[Packet]) -> Vec<u8> {
    let mut out = Vec::new();
    packets.iter().for_each(|packet| encode(packet, &mut out));
    out
}

/// Everything that comes of `parts`, and the error that ended it.
fn decoded<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Packet>, Option<PacketError>) {
    let (mut decoder, mut packets, mut came) = (PacketDecoder::new(), Vec::new(), 0);
    for part in parts {
        decoder.push(part);
        came += part.len();
        loop {
            match decoder.next() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(malformed) => return (packets, Some(malformed)),
            }
            decoder.check(came);
        }
    }
    (packets, None)
}

#[test]
fn every_kind_both_ways() {
    let mut kinds: Vec<u8> = Vec::new();
    for (packet, text) in vectors() {
        let bytes = hex(text);
        assert_eq!(
            dunlin_base::hex(&encoded(std::slice::from_ref(&packet))),
            text.replace(' ', "")
        );
        assert_eq!(decoded([&bytes[..]]), (vec![packet], None), "{text}");
        kinds.push(bytes[4]);
    }
    kinds.dedup();
    assert_eq!(kinds, (1..=11).collect::<Vec<u8>>(), "a kind has no vector");
}

#[test]
fn a_cut_changes_nothing() {
    let packets = (vectors().into_iter().map(|(packet, _)| packet).collect::<Vec<_>>(), None);
    let bytes = encoded(&packets.0);
    assert_eq!(decoded(bytes.chunks(1)), packets);
    for cut in 0..=bytes.len() {
        let (before, after) = bytes.split_at(cut);
        assert_eq!(decoded([before, after]), packets, "cut at {cut}");
    }
}

#[test]
fn what_is_no_packet() {
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
        let (packets, malformed) = decoded([&bytes[..]]);
        let malformed = malformed.unwrap_or_else(|| panic!("{text} became {packets:?}"));
        assert_eq!(packets, [PULSE], "{text}");
        assert!(malformed.to_string().contains(expected), "{text}: {malformed}");
        assert_eq!(decoded(bytes.chunks(1)), (packets, Some(malformed)), "{text}");
    }
    let handshake = hex(vectors()[2].1);
    let spoilt = [&handshake[..9], b"\x13bitTorrent", &handshake[20..]].concat();
    let (_, malformed) = decoded([&spoilt[..]]);
    let text = malformed.unwrap().to_string();
    assert!(text.starts_with("malformed packet `handshake`: malformed handshake: expected byte 1"));
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
        let (packets, malformed) = decoded([&hex(text)[..]]);
        assert_eq!((packets.len(), malformed), (1, None), "{text}");
    }
    let data = Bytes::from(vec![1; MAX_BLOCK as usize]);
    let range = BlockRef { len: MAX_BLOCK, ..RANGE };
    // A file of 2 TiB in pieces of 16 KiB: far above what a stranger on the internet may send.
    let bits = Bytes::from(vec![0xff; 16 << 20]);
    let packets = vec![
        piece(range, data),
        Packet::Frame(Frame::Wire { torrent: TORRENT, message: Message::Bitfield(bits) }),
        PULSE,
    ];
    let bytes = encoded(&packets);
    assert!(decoded(bytes.chunks(4080)) == (packets, None));
}

#[test]
fn a_length_is_no_reason_to_allocate() {
    for head in ["40000000 01", "40000000 03", "01000011 05", "40000000 08", "40000000 0a"] {
        let mut decoder = PacketDecoder::new();
        for (came, byte) in hex(head).iter().chain(&[0; 100]).enumerate() {
            decoder.push(&[*byte]);
            assert_eq!(decoder.next(), Ok(None), "{head}");
            decoder.check(came + 1);
        }
        assert!(decoder.buffer.capacity() <= 256, "{head}: {}", decoder.buffer.capacity());
    }
}

#[test]
fn a_dead_one_stays_dead_and_keeps_nothing() {
    let mut decoder = PacketDecoder::new();
    decoder.push(&hex("00000002 0b"));
    let malformed = decoder.next().unwrap_err();
    let length = PacketError::Length { kind: "pulse", least: 1, most: 1, found: 2 };
    assert_eq!(malformed, length);
    decoder.push(&hex("00000001 0b"));
    assert_eq!((decoder.next(), decoder.buffer.capacity()), (Err(malformed), 0));
}

#[test]
fn what_was_taken_is_given_up() {
    let mut decoder = PacketDecoder::new();
    let large = encoded(&[session(Bytes::from(vec![0; 1 << 20]))]);
    decoder.push(&[&large[..], &hex("000000")].concat());
    assert!(decoder.next().unwrap().is_some());
    assert!(decoder.buffer.capacity() < KEEP, "{}", decoder.buffer.capacity());
    decoder.push(&hex("01 0b"));
    assert_eq!(decoder.next(), Ok(Some(PULSE)));
    // As many small ones as a window holds, taken one by one: what is used stays the lesser part.
    let pulses = encoded(&std::iter::repeat_with(|| PULSE).take(13_000).collect::<Vec<_>>());
    decoder.push(&pulses);
    let mut moves = 0;
    for left in (0..13_000).rev() {
        assert_eq!(decoder.next(), Ok(Some(PULSE)));
        assert!(decoder.used <= left * 5);
        moves += usize::from(decoder.used == 0);
    }
    assert!(moves < 20, "bytes were moved {moves} times");
    assert_eq!((decoder.next(), decoder.used, decoder.buffer.len()), (Ok(None), 0, 0));
}

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn ranges() -> impl Strategy<Value = BlockRef> {
    (any::<u32>(), any::<u32>(), 1..=MAX_BLOCK).prop_map(|(piece, begin, length)| BlockRef {
        piece: PieceIndex(piece),
        begin,
        len: length,
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

fn packets() -> impl Strategy<Value = Packet> {
    let torrent = || any::<u32>().prop_map(TorrentId);
    let handshake = (any::<[u8; 8]>(), any::<[u8; 20]>(), any::<[u8; 20]>()).prop_map(
        |(reserved, info_hash, peer_id)| Handshake {
            reserved: Reserved(reserved),
            info_hash: InfoHash(info_hash),
            peer_id: PeerId(peer_id),
        },
    );
    let frames = prop_oneof![
        controls().prop_map(Frame::Control),
        (torrent(), handshake)
            .prop_map(|(torrent, handshake)| Frame::Handshake { torrent, handshake }),
        (torrent(), messages()).prop_map(|(torrent, message)| Frame::Wire { torrent, message }),
        (torrent(), ranges(), vec(any::<u8>(), 1..5000)).prop_map(|(torrent, range, data)| {
            Frame::Piece { torrent, range, payload: Payload { data: data.into(), charge: None } }
        }),
        torrent().prop_map(|torrent| Frame::HangUp { torrent }),
    ];
    let asks = (torrent(), ranges(), 1..=MAX_TAG);
    prop_oneof![
        5 => frames.prop_map(Packet::Frame),
        1 => asks.prop_map(|(torrent, range, tag)| Packet::Ask { torrent, range, tag }),
        1 => (torrent(), 1..=MAX_TAG).prop_map(|(torrent, tag)| Packet::Void { torrent, tag }),
        1 => bytes(5000).prop_map(session),
        1 => (any::<u8>(), any::<[u64; 4]>()).prop_map(|(state, counts)| progress(state, counts)),
        1 => (any::<u64>(), bytes(5000)).prop_map(|(until, lines)| trace(until, lines)),
        1 => Just(()).prop_map(|()| PULSE),
    ]
}

proptest! {
    #[test]
    fn packets_survive_any_cut(all in vec(packets(), 0..20), cut in 1..6000_usize) {
        let bytes = encoded(&all);
        prop_assert_eq!(decoded(bytes.chunks(cut)), (all, None));
    }

    #[test]
    fn any_bytes_are_packets_or_not(bytes: Vec<u8>, kind in 1..=12_u8) {
        let length = (bytes.len() as u32 + 1).to_be_bytes();
        let bytes = [&length[..], &[kind], &bytes].concat();
        let (all, malformed) = decoded([&bytes[..]]);
        prop_assert_eq!(all.len() + usize::from(malformed.is_some()), 1);
        prop_assert!(malformed.is_some() || encoded(&all) == bytes);
    }
}
