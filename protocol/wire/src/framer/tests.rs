use super::*;
use crate::encode_into;
use crate::fuzzing::{Owned, from_hex, run, wire};
use bytes::Bytes;
use dunlin_base::{BlockRef, InfoHash, PeerId, PieceIndex};
use proptest::prelude::*;

const SMALL: FramerLimits =
    FramerLimits { max_block: 16, max_frame: 20, max_extended: 20, max_hashes: 49 + 64 };

fn one(limits: FramerLimits, hex: &str) -> (Vec<Owned>, Option<WireError>) {
    run(&mut Framer::after_handshake(limits, PieceMode::Whole), &from_hex(hex), &[1])
}

#[test]
fn what_must_be_refused_and_when() {
    // Each input ends where the fault can be known: not a byte of the body is needed.
    let cases = [
        ("0000000200", WireError::Length { name: "choke", expected: 1, found: 2 }),
        ("0000000404", WireError::Length { name: "have", expected: 5, found: 4 }),
        ("0000000e06", WireError::Length { name: "request", expected: 13, found: 14 }),
        ("ffffffff10", WireError::Length { name: "reject-request", expected: 13, found: !0 }),
        ("0000000907", WireError::EmptyPiece { found: 9 }),
        ("0000001a07", WireError::TooLong { id: 7, cap: 25, found: 26 }),
        ("0000001505", WireError::TooLong { id: 5, cap: 20, found: 21 }),
        ("0000000114", WireError::EmptyExtended { found: 1 }),
        ("0000001514", WireError::TooLong { id: 20, cap: 20, found: 21 }),
        ("0000003116", WireError::Hashes { found: 49 }),
        ("0000009116", WireError::TooLong { id: 22, cap: 113, found: 145 }),
        ("7fffffff63", WireError::TooLong { id: 99, cap: 20, found: 0x7fff_ffff }),
    ];
    for (hex, error) in cases {
        assert_eq!(one(SMALL, hex), (vec![], Some(error)), "{hex}");
    }
    // At the cap all is well.
    let zeros = |bytes| "00".repeat(bytes);
    assert_eq!(one(SMALL, &format!("0000001907{}", zeros(24))).1, None);
    assert_eq!(one(SMALL, &format!("0000001405{}", zeros(19))).1, None);
}

#[test]
fn the_default_caps_are_the_internets() {
    let limits = FramerLimits::default();
    assert_eq!(one(limits, "0000400907").1, None);
    assert!(one(limits, "0000400a07").1.is_some());
    assert_eq!(one(limits, "0010000005").1, None);
    assert!(one(limits, "0010000105").1.is_some());
}

#[test]
fn unknown_ids_are_skipped_up_to_the_cap() {
    let (frames, error) = one(
        SMALL,
        "0000000118000000041801020300000013ff00112233445566778899aabbccddeeff00110000000102",
    );
    assert_eq!((frames, error), (vec![Owned::Message(Message::Interested)], None));
}

#[test]
fn keep_alives_are_messages() {
    let alive = Owned::Message(Message::KeepAlive);
    assert_eq!(one(SMALL, "0000000000000000"), (vec![alive.clone(), alive], None));
}

#[test]
fn an_empty_bitfield_needs_no_further_byte() {
    let empty = Owned::Message(Message::Bitfield(Bytes::new()));
    assert_eq!(one(SMALL, "0000000105"), (vec![empty], None));
}

#[test]
fn a_block_can_be_received_elsewhere() {
    let mut framer = Framer::after_handshake(SMALL, PieceMode::Direct);
    let bytes = from_hex("0000000d07000000020000000361626364");
    let mut input = &bytes[..14];
    let range = BlockRef { piece: PieceIndex(2), begin: 3, len: 4 };
    assert_eq!(framer.next_frame(&mut input), Ok(Some(Frame::PieceHeader { range })));
    assert_eq!(framer.payload_left(), 4);
    let first = Frame::Payload { offset: 0, data: b"a" };
    assert_eq!(framer.next_frame(&mut input), Ok(Some(first)));
    assert_eq!(framer.next_frame(&mut input), Ok(None));
    assert_eq!(framer.payload_left(), 3);
    framer.payload_received(2);
    let mut input = &bytes[16..];
    let last = Frame::Payload { offset: 3, data: b"d" };
    assert_eq!(framer.next_frame(&mut input), Ok(Some(last)));
    assert_eq!((framer.payload_left(), framer.next_frame(&mut input)), (0, Ok(None)));
}

#[test]
#[should_panic(expected = "5 bytes received of a block that lacks 0")]
fn more_payload_than_there_is_is_a_fault_of_the_caller() {
    Framer::after_handshake(SMALL, PieceMode::Direct).payload_received(5);
}

#[test]
fn the_info_hash_is_there_before_the_handshake_ends() {
    let handshake = Handshake {
        reserved: crate::Reserved::OURS,
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([8; 20]),
    };
    let bytes = handshake.encode();
    let mut framer = Framer::new(SMALL, PieceMode::Whole);
    assert_eq!(framer.next_frame(&mut &bytes[..48]), Ok(None));
    assert_eq!(framer.early_info_hash(), Some(InfoHash([7; 20])));
    assert_eq!(framer.next_frame(&mut &bytes[48..]), Ok(Some(Frame::Handshake(handshake))));
    assert_eq!(framer.early_info_hash(), None);
}

#[test]
fn memory_grows_with_what_came_and_not_with_what_was_promised() {
    let mut framer = Framer::after_handshake(FramerLimits::default(), PieceMode::Whole);
    let bytes = from_hex("0010000005aabbcc");
    assert_eq!(framer.next_frame(&mut bytes.as_slice()), Ok(None));
    assert!(framer.buffer.capacity() < 100);
}

fn range() -> impl Strategy<Value = BlockRef> {
    (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(piece, begin, length)| BlockRef {
        piece: PieceIndex(piece),
        begin,
        len: length,
    })
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        any::<u32>().prop_map(|piece| Message::Have { piece }),
        proptest::collection::vec(any::<u8>(), 0..100).prop_map(|b| Message::Bitfield(b.into())),
        range().prop_map(Message::Request),
        range().prop_map(Message::Cancel),
        any::<u16>().prop_map(Message::Port),
        any::<u32>().prop_map(|piece| Message::SuggestPiece { piece }),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        range().prop_map(Message::RejectRequest),
        any::<u32>().prop_map(|piece| Message::AllowedFast { piece }),
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..100))
            .prop_map(|(id, payload)| Message::Extended { id, payload: payload.into() }),
        hash_range().prop_map(Message::HashRequest),
        (hash_range(), 1_usize..5, any::<u8>()).prop_map(|(range, count, byte)| {
            Message::Hashes { range, hashes: vec![byte; 32 * count].into() }
        }),
        hash_range().prop_map(Message::HashReject),
    ]
}

fn hash_range() -> impl Strategy<Value = crate::HashRange> {
    any::<([u8; 32], [u32; 4])>().prop_map(|(root, [base, index, length, proof])| {
        crate::HashRange { root, base, index, length, proof }
    })
}

fn item() -> impl Strategy<Value = Owned> {
    let data = proptest::collection::vec(any::<u8>(), 1..300);
    prop_oneof![
        4 => message().prop_map(Owned::Message),
        1 => (any::<u32>(), any::<u32>(), data).prop_map(|(piece, begin, data)| {
            Owned::Piece(BlockRef { piece: PieceIndex(piece), begin, len: data.len() as u32 }, data)
        }),
    ]
}

proptest! {
    #[test]
    fn any_stream_survives_any_cut(
        ids in any::<([u8; 8], [u8; 20], [u8; 20])>(),
        items in proptest::collection::vec(item(), 0..20),
        cuts in proptest::collection::vec(0_usize..40, 1..10),
        direct in any::<bool>(),
    ) {
        let handshake = Handshake {
            reserved: crate::Reserved(ids.0),
            info_hash: InfoHash(ids.1),
            peer_id: PeerId(ids.2),
        };
        let mut bytes = handshake.encode().to_vec();
        let mut expected = vec![Owned::Handshake(handshake)];
        for item in items {
            match &item {
                Owned::Message(message) => encode_into(message, &mut bytes),
                Owned::Piece(range, data) => {
                    crate::encode_piece_header(*range, &mut bytes);
                    bytes.extend_from_slice(data);
                }
                Owned::Handshake(_) => {}
            }
            expected.push(item);
        }
        let mode = if direct { PieceMode::Direct } else { PieceMode::Whole };
        let mut framer = Framer::new(FramerLimits::default(), mode);
        prop_assert_eq!(run(&mut framer, &bytes, &cuts), (expected, None));
    }

    #[test]
    fn any_bytes_keep_the_properties(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        wire(&data);
    }

    #[test]
    fn bytes_like_messages_keep_the_properties(
        flags in any::<[u8; 2]>(),
        parts in proptest::collection::vec(
            (0_u8..30, 0_u8..24, proptest::collection::vec(any::<u8>(), 0..24)), 0..12),
    ) {
        let mut data = flags.to_vec();
        for (length, id, body) in parts {
            data.extend_from_slice(&[0, 0, 0, length, id]);
            data.extend_from_slice(&body);
        }
        wire(&data);
    }
}
