//! Peers whose bytes are no messages, or no sensible ones.

use super::floods::other_hash;
use super::{Action, Context, Incoming, Strategy};
use bytes::Bytes;
use dunlin_base::{BlockRef, PeerId, PieceIndex};
use dunlin_wire::{Handshake, HashRange, Message, Reserved};

/// One thing that is wrong, once each tempo until it is hung up on.
pub(super) struct Malformed;

impl Strategy for Malformed {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } if cx.rng.chance(1, 6) => {
                let (reserved, info_hash) = (Reserved::INTERNET, other_hash(cx));
                let peer_id = PeerId([b'y'; 20]);
                cx.actions.push(Action::Handshake(Handshake { reserved, info_hash, peer_id }));
            }
            Incoming::Opened { .. } if cx.rng.chance(1, 6) => {
                let noise = cx.noise(100);
                cx.bytes(&noise);
            }
            Incoming::Opened { .. } => {
                cx.greet();
                cx.after(1);
            }
            Incoming::Timer => {
                wrong(cx);
                cx.after(1);
            }
            _ => {}
        }
    }
}

fn wrong(cx: &mut Context<'_>) {
    match cx.rng.below(12) {
        // Lengths that no message has.
        0 => cx.bytes(&[0xff; 5]),
        1 => cx.bytes(&[0, 0, 0, 6, 4, 0, 0, 0, 0, 0]),
        2 => cx.bytes(&[0, 0, 0, 1, 6]),
        3 => cx.bytes(&[0, 0, 0, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0]),
        4 => cx.bytes(&[0, 0, 0, 1, 20]),
        5 => cx.bytes(&[0, 0x20, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]),
        6 => cx.bytes(&[0, 0, 0, 50, 22]),
        // A second handshake.
        7 => cx.greet(),
        // Right lengths, wrong contents.
        8 => {
            let field = cx.noise(cx.target.pieces.div_ceil(8) as usize + 1);
            cx.send(Message::Bitfield(field));
        }
        9 => {
            let payload = cx.noise(20);
            cx.send(Message::Extended { id: cx.target.burst as u8 % 4, payload });
        }
        10 => cx.send(Message::Have { piece: cx.target.pieces }),
        _ => {
            let noise = cx.noise(300);
            cx.bytes(&noise);
        }
    }
}

/// Any messages with any numbers.
pub(super) struct Babbler;

impl Strategy for Babbler {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                cx.greet();
                cx.after(1);
            }
            Incoming::Timer => {
                for _ in 0..1 + cx.rng.below(u64::from(cx.target.burst).clamp(1, 20)) {
                    let message = any(cx);
                    cx.send(message);
                }
                cx.after(1);
            }
            _ => {}
        }
    }
}

/// A number that is mostly within bounds.
fn number(cx: &mut Context<'_>, bound: u32) -> u32 {
    match cx.rng.below(20) {
        0 => cx.rng.next_u64() as u32,
        1 => bound,
        _ => cx.rng.below(u64::from(bound.max(1))) as u32,
    }
}

fn range(cx: &mut Context<'_>) -> BlockRef {
    if cx.rng.chance(3, 4) {
        return cx.block();
    }
    let (pieces, length) = (cx.target.pieces, cx.target.piece_length);
    let (piece, begin) = (number(cx, pieces), number(cx, length));
    BlockRef { piece: PieceIndex(piece), begin, len: number(cx, 16 << 10) }
}

/// Any message, of any sense.
pub(crate) fn any(cx: &mut Context<'_>) -> Message {
    let pieces = cx.target.pieces;
    match cx.rng.below(21) {
        0 => Message::KeepAlive,
        1 => Message::Choke,
        2 => Message::Unchoke,
        3 => Message::Interested,
        4 => Message::NotInterested,
        5 => Message::Have { piece: number(cx, pieces) },
        6 => Message::Bitfield(cx.bitfield(2)),
        7 | 8 => Message::Request(range(cx)),
        9 => Message::Cancel(range(cx)),
        10 => Message::Port(cx.rng.next_u64() as u16),
        11 => Message::SuggestPiece { piece: number(cx, pieces) },
        12 => Message::HaveAll,
        13 => Message::HaveNone,
        14 => Message::RejectRequest(range(cx)),
        15 => Message::AllowedFast { piece: number(cx, pieces) },
        16 => Message::Extended { id: cx.rng.below(6) as u8, payload: cx.noise(12) },
        17 => Message::HashRequest(hash_range(cx)),
        18 => Message::HashReject(hash_range(cx)),
        19 => Message::Hashes { range: hash_range(cx), hashes: Bytes::from_static(&[9; 64]) },
        _ => {
            let said = dunlin_wire::extended::ExtendedHandshake {
                extensions: [("ut_metadata", cx.rng.below(4) as u8)].into(),
                port: Some(1 + cx.rng.below(65_535) as u16),
                metadata_size: Some(1 + cx.rng.below(100_000) as u32),
                upload_only: Some(cx.rng.chance(1, 2)),
                queue: Some(cx.rng.below(1000) as u32),
                ..Default::default()
            };
            Message::Extended { id: 0, payload: said.encode() }
        }
    }
}

fn hash_range(cx: &mut Context<'_>) -> HashRange {
    let root = cx.target.roots.first().copied().unwrap_or([7; 32]);
    let (base, index) = (number(cx, 4), number(cx, 8));
    HashRange { root, base, index, length: 1 << cx.rng.below(15), proof: number(cx, 4) }
}
