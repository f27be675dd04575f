//! Messages that change nothing. Each costs little; a peer that sends them faster than any use explains
//! is hung up on. What moves payload or is news costs nothing here: it is bounded by what there is.

use super::Torrent;
use super::connect::Violation;
use crate::swarm::peer::{Peer, Pieces};
use dunlin_base::{ConnId, Time};
use dunlin_wire::Message;
use std::time::Duration;

/// Messages that change nothing which one peer may send at once: a choke and the requests that cross
/// it, the cancels of an endgame, the metadata of the largest torrent.
const MAX_IDLE_MESSAGES: u32 = 4000;
/// Those that it may send each second besides, for as long as it likes.
const IDLE_MESSAGES_PER_SECOND: u32 = 200;
/// A bitfield of so many pieces takes as much work as a small message.
const PIECES_PER_MESSAGE: u32 = 1024;

/// How many messages that change nothing a peer may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    left: u32,
    /// Until when what was regained is counted.
    at: Time,
}

impl Patience {
    pub(crate) fn new(now: Time) -> Patience {
        Patience { left: MAX_IDLE_MESSAGES, at: now }
    }

    /// Takes `cost`; false if there is not so much left.
    fn take(&mut self, now: Time, cost: u32) -> bool {
        let each = Duration::from_secs(1) / IDLE_MESSAGES_PER_SECOND;
        let regained = now.since(self.at).as_nanos() / each.as_nanos();
        let regained = u32::try_from(regained).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(regained).min(MAX_IDLE_MESSAGES);
        // A part of one that came back counts the next time.
        self.at = if regained == u32::MAX { now } else { self.at + each * regained };
        let enough = self.left >= cost;
        self.left = self.left.saturating_sub(cost);
        enough
    }
}

impl Torrent {
    /// Takes note of what a message costs that changes nothing.
    ///
    /// # Errors
    /// If the peer sends more of them than anybody has use for.
    pub(crate) fn bear(
        &mut self,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        let pieces = self.geometry.pieces();
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        match cost(peer, message, pieces) {
            0 => Ok(()),
            cost => spend(peer, now, cost),
        }
    }

    /// A peer of the internet asked for something in vain.
    ///
    /// # Errors
    /// If it does so more often than anybody has use for.
    pub(super) fn asked_in_vain(&mut self, now: Time, conn: ConnId) -> Result<(), Violation> {
        if self.abroad.is_none() {
            return Ok(());
        }
        self.peers.get_mut(&conn).map_or(Ok(()), |peer| spend(peer, now, 1))
    }
}

fn spend(peer: &mut Peer, now: Time, cost: u32) -> Result<(), Violation> {
    match peer.abroad.patience.take(now, cost) {
        true => Ok(()),
        false => Err("more messages that change nothing than anybody has use for"),
    }
}

/// What a message costs, before it is looked at.
fn cost(peer: &Peer, message: &Message, pieces: u32) -> u32 {
    let free = match message {
        Message::Have { piece } => match &peer.pieces {
            Pieces::Some(field) => *piece < pieces && !field.has(dunlin_base::PieceIndex(*piece)),
            Pieces::Unknown => !peer.abroad.has_many_early(),
            Pieces::All => false,
        },
        Message::Bitfield(_) | Message::HaveAll | Message::HaveNone if peer.announced => {
            return 1 + pieces / PIECES_PER_MESSAGE;
        }
        Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => true,
        // What is queued is served; what is asked for again, or in vain, is counted where that shows.
        Message::Request(_) | Message::HashRequest(_) => true,
        Message::RejectRequest(_) => true,
        _ => false,
    };
    u32::from(!free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_and_comes_back() {
        let mut patience = Patience::new(Time::ZERO);
        assert!((0..MAX_IDLE_MESSAGES).all(|_| patience.take(Time::ZERO, 1)));
        assert!(!patience.take(Time::ZERO, 1));
        let mut now = Time::ZERO;
        // In steps that are shorter than one message takes to come back, and in longer ones.
        for (millis, steps) in [(1, 10_000), (6, 10_000), (9, 10_000)] {
            let mut taken = 0;
            for _ in 0..steps {
                now += Duration::from_millis(millis);
                taken += (0..2).filter(|_| patience.take(now, 1)).count() as u64;
            }
            let regained = millis * steps * u64::from(IDLE_MESSAGES_PER_SECOND) / 1000;
            assert_eq!(taken, regained, "{millis} ms");
        }
        now += Duration::from_secs(100_000);
        assert!(patience.take(now, MAX_IDLE_MESSAGES) && !patience.take(now, 1), "no hoarding");
    }
}
