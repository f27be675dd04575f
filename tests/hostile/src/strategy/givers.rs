//! Peers that have everything and give nothing, too little, or something else.

use super::{Action, Context, Incoming, Strategy};
use dunlin_base::BlockRef;
use dunlin_wire::Message;
use std::collections::VecDeque;

/// Requests that a slow giver remembers.
const REMEMBERED: usize = 500;

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A block; one in so many is wrong.
    Wrong(u64),
    /// A reject.
    Reject,
    /// Nothing.
    Nothing,
    /// A choke, and an unchoke later.
    Choke,
    /// There is none: it never unchokes.
    NeverUnchoke,
    /// The right block, when its turn comes: one each tempo.
    Slowly,
}

/// The strategy.
pub(super) struct Giver {
    answer: Answer,
    waiting: VecDeque<BlockRef>,
}

impl Giver {
    pub(super) fn new(answer: Answer) -> Giver {
        Giver { answer, waiting: VecDeque::new() }
    }

    fn asked(&mut self, cx: &mut Context<'_>, range: BlockRef) {
        match self.answer {
            Answer::Wrong(one_in) => {
                let right = !cx.rng.chance(1, one_in);
                cx.actions.push(Action::Block { range, right });
            }
            Answer::Reject => cx.send(Message::RejectRequest(range)),
            Answer::Choke => {
                cx.send(Message::Choke);
                cx.after(1);
            }
            Answer::Slowly => {
                if self.waiting.len() < REMEMBERED {
                    self.waiting.push_back(range);
                }
            }
            Answer::Nothing | Answer::NeverUnchoke => {}
        }
    }
}

impl Strategy for Giver {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                cx.greet();
                cx.send(Message::HaveAll);
                cx.after(1);
            }
            Incoming::Message(Message::Interested) if self.answer != Answer::NeverUnchoke => {
                cx.send(Message::Unchoke);
            }
            Incoming::Message(Message::Request(range)) => self.asked(cx, *range),
            Incoming::Message(Message::Cancel(range)) => {
                self.waiting.retain(|waiting| waiting != range);
            }
            Incoming::Timer if self.answer == Answer::Choke => cx.send(Message::Unchoke),
            Incoming::Timer => {
                match self.waiting.pop_front() {
                    Some(range) => cx.actions.push(Action::Block { range, right: true }),
                    None => cx.send(Message::KeepAlive),
                }
                cx.after(1);
            }
            _ => {}
        }
    }
}
