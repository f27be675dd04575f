//! Peers that lie about who they are and what they have.

use super::{Action, Context, Incoming, Strategy};
use dunlin_base::PeerId;
use dunlin_wire::Message;
use dunlin_wire::extended::{ExtendedHandshake, MetadataMessage};

/// Has an honest peer's id.
pub(super) struct Thief;

/// One of the ids that honest peers have.
fn stolen(cx: &mut Context<'_>) -> PeerId {
    let ids = cx.target.peer_ids.len() as u64;
    let drawn = if ids == 0 { 0 } else { cx.rng.below(ids) as usize };
    cx.target.peer_ids.get(drawn).copied().unwrap_or(PeerId([b'x'; 20]))
}

/// Comes and goes, as somebody else each time.
pub(super) struct Impostor;

impl Strategy for Impostor {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                if cx.rng.chance(1, 2) {
                    let id = stolen(cx);
                    cx.greet_as(id);
                } else {
                    cx.greet();
                }
                cx.send(Message::HaveAll);
                let port = Some(1 + cx.rng.below(65_535) as u16);
                cx.extended(&ExtendedHandshake { port, ..ExtendedHandshake::default() });
                cx.send(Message::Unchoke);
                cx.after(1);
            }
            Incoming::Timer => cx.actions.push(Action::Close),
            _ => {}
        }
    }
}

impl Strategy for Thief {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                let id = stolen(cx);
                cx.greet_as(id);
                cx.send(Message::HaveAll);
                cx.after(20);
            }
            Incoming::Timer => {
                cx.send(Message::KeepAlive);
                cx.after(20);
            }
            _ => {}
        }
    }
}

/// Sends blocks that nobody asked for, wrong ones.
pub(super) struct Unasked;

impl Strategy for Unasked {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                cx.greet();
                cx.send(Message::HaveAll);
                cx.send(Message::Unchoke);
                cx.after(1);
            }
            Incoming::Timer => {
                let range = cx.block();
                cx.actions.push(Action::Block { range, right: false });
                cx.after(1);
            }
            _ => {}
        }
    }
}

/// Names a size of the metadata, and sends wrong metadata, a reject, or nothing.
pub(super) struct WrongMetadata;

impl Strategy for WrongMetadata {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                cx.greet();
                cx.send(Message::HaveAll);
                let size = match cx.rng.below(3) {
                    0 => cx.target.metadata_size,
                    1 => 1 + cx.rng.below(100_000) as u32,
                    _ => 30 << 20,
                };
                let (extensions, metadata_size) = ([("ut_metadata", 2)].into(), Some(size));
                cx.extended(&ExtendedHandshake { extensions, metadata_size, ..Default::default() });
                cx.after(20);
            }
            Incoming::Message(Message::Extended { id: 2, payload }) => {
                let asked = MetadataMessage::decode(payload).ok().flatten();
                let Some(MetadataMessage::Request { piece }) = asked else { return };
                let answer = match cx.rng.below(3) {
                    0 => MetadataMessage::Reject { piece },
                    1 => return,
                    _ => {
                        let length = cx.target.metadata_size.saturating_sub(piece << 14);
                        let data = cx.noise(length.min(16 << 10) as usize);
                        let total_size = cx.target.metadata_size;
                        MetadataMessage::Data { piece, total_size, data }
                    }
                };
                // The numbers that other programs give the extension, one of which is ours.
                for id in 1..=3 {
                    cx.send(Message::Extended { id, payload: answer.encode() });
                }
            }
            Incoming::Timer => {
                cx.send(Message::KeepAlive);
                cx.after(20);
            }
            _ => {}
        }
    }
}

/// States what it has again and again, each time something else.
pub(super) struct LateBitfield;

impl Strategy for LateBitfield {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                cx.greet();
                let field = cx.bitfield(4);
                cx.send(Message::Bitfield(field));
                cx.after(1);
            }
            Incoming::Message(Message::Interested) => cx.send(Message::Unchoke),
            Incoming::Timer => {
                let message = match cx.rng.below(6) {
                    0 => Message::HaveAll,
                    1 => Message::HaveNone,
                    2 => Message::Have { piece: cx.piece() },
                    _ => Message::Bitfield(cx.bitfield(2)),
                };
                cx.send(message);
                cx.after(1);
            }
            _ => {}
        }
    }
}
