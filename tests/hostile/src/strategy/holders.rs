//! Peers that hold a place or a buffer and give nothing for it.

use super::{Action, Context, Incoming, Receive, Strategy};
use dunlin_wire::{Handshake, Message, Reserved};

/// Requests that [`Taker`] keeps waiting.
const ASKED_AT_A_TIME: u32 = 64;
/// Bytes that a slow reader takes each tempo.
const SIP: usize = 2048;

/// Never sends a byte.
pub(super) struct Silent;

impl Strategy for Silent {
    fn next(&mut self, _: &mut Context<'_>, _: &Incoming) {}
}

/// Half a handshake.
pub(super) struct HalfHandshake;

impl Strategy for HalfHandshake {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        if matches!(incoming, Incoming::Opened { .. }) {
            let half = cx.rng.below(68) as usize;
            let handshake = handshake(cx).encode();
            cx.bytes(&handshake[..half]);
        }
    }
}

fn handshake(cx: &mut Context<'_>) -> Handshake {
    let peer_id = dunlin_base::PeerId(*b"-XX0001-drip-by-drip");
    Handshake { reserved: Reserved::INTERNET, info_hash: cx.target.info_hash, peer_id }
}

/// A byte at a time: handshake and messages, or the rest of a long message.
pub(super) struct Drip {
    long: bool,
    left: Vec<u8>,
}

impl Drip {
    pub(super) fn new(long: bool) -> Drip {
        Drip { long, left: Vec::new() }
    }
}

impl Strategy for Drip {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                self.left = handshake(cx).encode().to_vec();
                if self.long {
                    // 60 000 bytes of an extension are stated, a few come.
                    let greeting = std::mem::take(&mut self.left);
                    cx.bytes(&greeting);
                    cx.bytes(&[0, 0, 0xea, 0x60, 20, 0, b'd']);
                }
                cx.after(1);
            }
            Incoming::Timer => {
                if self.left.is_empty() && self.long {
                    self.left.push(b'1');
                } else if self.left.is_empty() {
                    let message = Message::Have { piece: cx.piece() };
                    dunlin_wire::encode_into(&message, &mut self.left);
                }
                let byte = self.left.remove(0);
                cx.bytes(&[byte]);
                cx.after(1);
            }
            _ => {}
        }
    }
}

/// Interested, and asks for nothing.
pub(super) struct Idle;

impl Strategy for Idle {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                cx.greet_as_leecher();
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

/// Connects, greets, closes.
pub(super) struct Churn;

impl Strategy for Churn {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                cx.greet();
                cx.send(Message::HaveAll);
                cx.after(1);
            }
            Incoming::Timer => cx.actions.push(Action::Close),
            _ => {}
        }
    }
}

/// Asks for everything, and takes it: at once, or slowly.
pub(super) struct Taker {
    pub(super) slowly: bool,
}

impl Taker {
    fn ask(cx: &mut Context<'_>, count: u32) {
        for _ in 0..count {
            let block = cx.block();
            cx.send(Message::Request(block));
        }
    }
}

impl Strategy for Taker {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                cx.greet_as_leecher();
                cx.after(1);
            }
            Incoming::Message(Message::Unchoke) => {
                Self::ask(cx, ASKED_AT_A_TIME);
                if self.slowly {
                    cx.actions.push(Action::Receive(Receive::Slowly(SIP)));
                }
            }
            Incoming::Message(Message::Piece(_)) => Self::ask(cx, 1),
            Incoming::Timer => cx.after(1),
            _ => {}
        }
    }
}

/// Asks for one block each tempo for as long as it is unchoked, and takes it: it breaks no rule.
pub(super) struct Sipper {
    pub(super) unchoked: bool,
}

impl Strategy for Sipper {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                cx.greet_as_leecher();
                cx.after(1);
            }
            Incoming::Message(Message::Unchoke) => self.unchoked = true,
            Incoming::Message(Message::Choke) => self.unchoked = false,
            Incoming::Timer => {
                if self.unchoked {
                    Taker::ask(cx, 1);
                }
                cx.after(1);
            }
            _ => {}
        }
    }
}
