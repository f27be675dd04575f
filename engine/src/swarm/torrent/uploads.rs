//! What a torrent gives: whom it serves, what it offers first, and how much in all.

use crate::swarm::choker::Choker;
use crate::swarm::config::UploadRules;
use crate::swarm::superseed::Offers;
use dunlin_base::ConnId;

/// What was once given in a round counts less by this part each round.
const FADES: u64 = 8;

/// What a torrent gives in a round of the choker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UploadPace {
    /// The most that all peers took in a round, less the longer ago that was.
    most: u64,
    /// What had been given when the last round began.
    before: u64,
}

/// What a torrent gives besides its rate.
#[derive(Debug, Default)]
pub(crate) struct Giving {
    /// Payload that is given in all, at most: what is left of the goal of a seed.
    pub(crate) at_most: Option<u64>,
    /// Bytes of blocks that the world is serving.
    pub(crate) on_its_way: u64,
    /// Which waiting peer is served first, where not all can be.
    turn: usize,
}

impl Giving {
    /// A block of so many bytes is on its way.
    pub(crate) fn begins(&mut self, bytes: u32) {
        self.on_its_way += u64::from(bytes);
    }

    /// So many bytes are no longer on their way.
    pub(crate) fn ends(&mut self, bytes: u64) {
        self.on_its_way = self.on_its_way.saturating_sub(bytes);
    }

    /// Whether the goal of a seed needs nothing more than the `sent` bytes, and what is on its way.
    pub(crate) fn is_enough(&self, sent: u64) -> bool {
        self.at_most.is_some_and(|most| sent.saturating_add(self.on_its_way) >= most)
    }

    /// The order in which those who wait are served: another one is the first each time.
    pub(crate) fn take_turns(&mut self, waiting: &mut [ConnId]) {
        if !waiting.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            waiting.rotate_left(self.turn % waiting.len());
        }
    }
}

/// What a torrent gives.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    pub(crate) choker: Choker,
    /// What we offer, where we are a seed among cooperating ranks.
    pub(crate) offers: Option<Box<Offers>>,
    pub(crate) giving: Giving,
    /// What is given in a round of the choker.
    pub(crate) pace: UploadPace,
}

impl Uploads {
    /// A round begins, `sent` bytes of payload were sent so far: what each slot's share is of what
    /// we have shown that we can give in one.
    pub(crate) fn fair_share(&mut self, rules: UploadRules, sent: u64) -> Option<u64> {
        if !rules.rotates {
            return None;
        }
        let pace = &mut self.pace;
        pace.most = (pace.most - pace.most / FADES).max(sent.saturating_sub(pace.before));
        pace.before = sent;
        Some(pace.most / rules.slots as u64)
    }
}
