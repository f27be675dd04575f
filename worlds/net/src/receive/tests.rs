//! Streams of a peer, cut anywhere, against the pieces that must come of them.

use super::*;
use dunlin_base::{BlockRef, InfoHash, PeerId, PieceIndex, PieceKey, Rng};
use dunlin_disk::Budget;
use dunlin_wire::{HANDSHAKE_LEN, Reserved, encode_into, encode_piece_header};
use std::sync::Arc;

const TORRENT: TorrentId = TorrentId(3);
const CONN: ConnId = ConnId(9);
const BLOCK: u32 = 64;
const PIECE: u32 = 4 * BLOCK;

/// Gives its bytes in portions of drawn sizes, and now and then nothing.
struct Drip {
    bytes: Vec<u8>,
    at: usize,
    rng: Rng,
}

impl Read for Drip {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(to)])
    }

    fn read_vectored(&mut self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.rng.chance(1, 8) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut most = 1 + self.rng.below(700) as usize;
        if self.at < HANDSHAKE_LEN {
            // A peer sends no block before it was asked for one.
            most = most.min(HANDSHAKE_LEN - self.at);
        }
        let mut taken = 0;
        for slice in slices {
            let rest = &self.bytes[self.at..];
            let count = rest.len().min(slice.len()).min(most);
            slice[..count].copy_from_slice(&rest[..count]);
            self.at += count;
            taken += count;
            most -= count;
        }
        Ok(taken)
    }
}

fn byte(block: BlockRef, offset: u32) -> u8 {
    (block.piece.0 * 131 + (block.begin + offset) * 7) as u8
}

fn data(block: BlockRef) -> Vec<u8> {
    (0..block.len).map(|offset| byte(block, offset)).collect()
}

fn block(piece: u32, index: u32) -> BlockRef {
    BlockRef { piece: PieceIndex(piece), begin: index * BLOCK, len: BLOCK }
}

fn handshake() -> Handshake {
    Handshake { reserved: Reserved::OURS, info_hash: InfoHash([5; 20]), peer_id: PeerId([6; 20]) }
}

/// A word a message: `piece.index` is a block, `h7` a HAVE, `k` a keep-alive, `c` a choke.
fn stream(drawing: &str) -> Vec<u8> {
    let mut out = handshake().encode().to_vec();
    for word in drawing.split_whitespace() {
        match word.split_at(1) {
            ("h", piece) => encode_into(&Message::Have { piece: piece.parse().unwrap() }, &mut out),
            ("k", _) => encode_into(&Message::KeepAlive, &mut out),
            ("c", _) => encode_into(&Message::Choke, &mut out),
            _ => {
                let block = drawn(word);
                encode_piece_header(block, &mut out);
                out.extend(data(block));
            }
        }
    }
    out
}

fn drawn(word: &str) -> BlockRef {
    let (piece, index) = word.split_once('.').unwrap();
    block(piece.parse().unwrap(), index.parse().unwrap())
}

/// Asks for `asked`, receives `comes`, and returns the blocks that arrived in place and loose, and
/// the other messages.
fn receive(asked: &str, comes: &str, seed: u64) -> (Vec<BlockRef>, Vec<BlockRef>, Vec<Message>) {
    let budget = Budget::new(1 << 20);
    let mut buffers = Buffers::new(Arc::clone(budget.buffers()));
    for piece in 0..8 {
        let charge = budget.reserve(0, u64::from(PIECE)).unwrap();
        buffers.reserve(
            PieceKey { torrent: TORRENT, piece: PieceIndex(piece) },
            charge,
            PIECE,
            BLOCK,
            false,
        );
    }
    let mut receiver = Receiver::new(CONN);
    let bytes = stream(comes);
    let total = bytes.len();
    let mut from = Drip { bytes, at: 0, rng: Rng::new(seed) };
    let (mut placed, mut unplaced, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    let mut scratch = vec![0; 300];
    while from.at < total || receiver.has_rest() {
        let received = receiver.read(&mut from, &mut buffers, &mut scratch).unwrap();
        for arrived in received.arrived {
            match arrived {
                Arrived::Handshake(found) => {
                    assert_eq!(found, handshake());
                    receiver.set_torrent(TORRENT);
                    asked.split_whitespace().for_each(|word| receiver.request_sent(drawn(word)));
                }
                Arrived::Message(message) => messages.push(message),
                Arrived::Block(block) => {
                    assert!(buffers.keep(TORRENT, block, CONN), "{block:?} is parked");
                    placed.push(block);
                }
                Arrived::Unplaced(block, bytes) => {
                    assert_eq!(bytes, data(block));
                    unplaced.push(block);
                }
            }
        }
    }
    // What arrived stands where it belongs; nothing else is claimed any more.
    for piece in 0..8 {
        for index in 0..4 {
            let block = block(piece, index);
            if placed.contains(&block) {
                continue;
            }
            assert!(buffers.put(TORRENT, block, &data(block)), "{block:?} is free");
        }
        let bytes =
            buffers.freeze(PieceKey { torrent: TORRENT, piece: PieceIndex(piece) }).unwrap();
        let expected: Vec<u8> = (0..4).flat_map(|index| data(block(piece, index))).collect();
        assert_eq!(bytes, expected, "piece {piece}");
    }
    (placed, unplaced, messages)
}

#[test]
fn blocks_land_in_their_places_however_the_stream_is_cut() {
    // (asked, comes, loose)
    let cases = [
        ("0.0 0.1 0.2 0.3 1.0 1.1", "0.0 0.1 0.2 0.3 1.0 1.1", ""),
        ("0.0 0.1 0.2 0.3", "h5 0.0 k 0.1 h6 h7 0.2 0.3 h1", ""),
        ("0.3 0.2 0.1 0.0", "0.3 0.2 0.1 0.0", ""),
        ("0.0 1.0 0.1 1.1 2.3", "0.0 1.0 0.1 1.1 2.3", ""),
        ("0.0 0.1 0.2 0.3", "0.2 0.0 0.3 0.1", ""),
        ("0.0 0.1 0.2 0.3 4.0", "0.0 0.2 4.0", ""),
        ("0.0 0.1", "0.0 5.1 0.1", "5.1"),
        ("", "1.1 h2", "1.1"),
        ("0.0 0.1 0.2", "0.0 c 0.1", "0.1"),
    ];
    for (asked, comes, unplaced) in cases {
        for seed in 0..200 {
            let found = receive(asked, comes, seed);
            let blocks: Vec<BlockRef> =
                comes.split_whitespace().filter(|word| word.contains('.')).map(drawn).collect();
            let unplaced: Vec<BlockRef> = unplaced.split_whitespace().map(drawn).collect();
            let placed: Vec<BlockRef> =
                blocks.iter().copied().filter(|block| !unplaced.contains(block)).collect();
            let messages = comes.split_whitespace().filter(|word| !word.contains('.')).count();
            assert_eq!((found.0, found.1, found.2.len()), (placed, unplaced, messages), "{comes}");
        }
    }
}

#[test]
fn a_place_that_goes_away_while_its_block_comes_is_no_loss() {
    let budget = Budget::new(1 << 20);
    let mut buffers = Buffers::new(Arc::clone(budget.buffers()));
    let key = PieceKey { torrent: TORRENT, piece: PieceIndex(0) };
    buffers.reserve(key, budget.reserve(0, 256).unwrap(), PIECE, BLOCK, false);
    let mut receiver = Receiver::new(CONN);
    receiver.set_torrent(TORRENT);
    receiver.request_sent(block(0, 1));
    let bytes = stream("0.1");
    let mut scratch = [0; 68];
    let begun = 68 + PIECE_HEADER_LEN + 20;
    let mut first = io::Cursor::new(bytes[..begun].to_vec());
    let mut arrived = Vec::new();
    while (first.position() as usize) < begun || receiver.has_rest() {
        arrived.extend(receiver.read(&mut first, &mut buffers, &mut scratch).unwrap().arrived);
    }
    for evicted in buffers.release(key) {
        receiver.evicted(evicted);
    }
    let mut rest = io::Cursor::new(bytes[begun..].to_vec());
    while (rest.position() as usize) < bytes.len() - begun || receiver.has_rest() {
        arrived.extend(receiver.read(&mut rest, &mut buffers, &mut scratch).unwrap().arrived);
    }
    assert_eq!(arrived.last(), Some(&Arrived::Unplaced(block(0, 1), data(block(0, 1)))));
}

#[test]
fn the_end_and_nonsense_are_told_apart() {
    let budget = Budget::new(1 << 20);
    let mut buffers = Buffers::new(Arc::clone(budget.buffers()));
    let mut scratch = [0; 300];
    let mut receiver = Receiver::new(CONN);
    let end = receiver.read(&mut io::empty(), &mut buffers, &mut scratch);
    assert!(matches!(end, Err(ReceiveError::Closed(_))), "{end:?}");
    let nonsense = receiver.read(&mut &b"GET / HTTP/1.1\r\n\r\n"[..], &mut buffers, &mut scratch);
    assert!(matches!(nonsense, Err(ReceiveError::Malformed(_))), "{nonsense:?}");
}

#[test]
fn a_read_takes_few_messages_and_the_rest_waits() {
    let budget = Budget::new(1 << 20);
    let mut buffers = Buffers::new(Arc::clone(budget.buffers()));
    let mut receiver = Receiver::new(CONN);
    let drawing = "k ".repeat(1000);
    let bytes = stream(&drawing);
    let mut from = &bytes[..];
    let mut scratch = vec![0; bytes.len()];
    let (mut messages, mut held) = (0, bytes.len());
    while !from.is_empty() || receiver.has_rest() {
        let received = receiver.read(&mut from, &mut buffers, &mut scratch).unwrap();
        assert!((1..=MESSAGES_PER_READ).contains(&received.arrived.len()));
        assert!(receiver.held() < held, "what waits are bytes, and they grow fewer");
        held = receiver.held();
        messages += received.arrived.len();
    }
    assert_eq!((messages, receiver.held()), (1001, 0), "the handshake, and all others");
}

#[test]
fn nothing_is_looked_at_behind_a_message_with_a_large_answer() {
    let budget = Budget::new(1 << 20);
    let mut buffers = Buffers::new(Arc::clone(budget.buffers()));
    let mut receiver = Receiver::new(CONN);
    let mut bytes = stream("");
    let empty = Message::Extended { id: 0, payload: bytes::Bytes::new() };
    (0..4).for_each(|_| encode_into(&empty, &mut bytes));
    let mut from = &bytes[..];
    let mut scratch = vec![0; bytes.len()];
    let mut counts = Vec::new();
    while !from.is_empty() || receiver.has_rest() {
        let received = receiver.read(&mut from, &mut buffers, &mut scratch).unwrap();
        counts.push(received.arrived.len());
    }
    assert_eq!(counts, [2, 1, 1, 1], "the handshake and one, then one by one");
}

#[test]
fn a_long_message_keeps_no_memory_and_one_that_is_too_long_is_none() {
    let budget = Budget::new(1 << 20);
    let mut buffers = Buffers::new(Arc::clone(budget.buffers()));
    let mut receiver = Receiver::new(CONN);
    let mut bytes = stream("");
    encode_into(&Message::Bitfield(vec![0; 100_000].into()), &mut bytes);
    let mut from = &bytes[..];
    let mut scratch = vec![0; 30_000];
    receiver.read(&mut from, &mut buffers, &mut scratch).unwrap();
    assert!((20_000..100_000).contains(&receiver.held()), "{}", receiver.held());
    while !from.is_empty() {
        receiver.read(&mut from, &mut buffers, &mut scratch).unwrap();
    }
    assert_eq!(receiver.held(), 0);
    let mut long = &[&(MAX_FRAME + 1).to_be_bytes()[..], &[5]].concat()[..];
    let broken = receiver.read(&mut long, &mut buffers, &mut scratch);
    assert!(matches!(broken, Err(ReceiveError::Malformed(_))), "{broken:?}");
}
