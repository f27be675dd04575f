//! Messages that change nothing. Each costs little; a peer that sends them faster than any use
//! explains is hung up on. What moves payload or is news costs nothing here: it is bounded by what
//! there is.

use super::connect::Violation;
use super::connections::Connections;
use crate::swarm::peer::{Peer, Pieces};
use dunlin_base::{ConnId, PieceIndex, Time};
use dunlin_wire::Message;

/// A bitfield of so many pieces takes as much work as a small message.
const PIECES_PER_MESSAGE: u32 = 1024;

impl Connections {
    /// Whether a message may come now, in a torrent of so many pieces; counts what it costs if it
    /// changes nothing.
    ///
    /// # Errors
    /// If the handshake has not come yet, or if the peer sends more messages that change nothing
    /// than anybody has use for.
    pub(crate) fn may_send(
        &mut self,
        pieces: u32,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        if !peer.is_established() {
            return Err("a message before the handshake");
        }
        match cost(peer, message, pieces) {
            0 => Ok(()),
            cost => spend(peer, now, cost),
        }
    }

    /// A peer asked for something in vain.
    ///
    /// # Errors
    /// If it does so more often than anybody has use for.
    pub(crate) fn asked_in_vain(&mut self, now: Time, conn: ConnId) -> Result<(), Violation> {
        self.peers.get_mut(&conn).map_or(Ok(()), |peer| spend(peer, now, 1))
    }
}

/// Takes the cost from what a peer may still send.
///
/// # Errors
/// If there is not so much left.
pub(crate) fn spend(peer: &mut Peer, now: Time, cost: u32) -> Result<(), Violation> {
    match peer.patience.take(now, cost) {
        true => Ok(()),
        false => Err("more messages that change nothing than anybody has use for"),
    }
}

/// What a message costs, before it is looked at.
fn cost(peer: &Peer, message: &Message, pieces: u32) -> u32 {
    if !peer.patience.counts() {
        return 0;
    }
    let free = match message {
        Message::Have { piece } => match &peer.pieces {
            Pieces::Some(field) => *piece < pieces && !field.has(PieceIndex(*piece)),
            Pieces::Unknown => true,
            Pieces::All => false,
        },
        Message::Bitfield(_) | Message::HaveAll | Message::HaveNone if peer.has_announced() => {
            return 1 + pieces / PIECES_PER_MESSAGE;
        }
        Message::Bitfield(_) | Message::HaveAll | Message::HaveNone => true,
        // What is queued is served; what is asked for again, or in vain, is counted where that
        // shows.
        Message::Request(_) | Message::HashRequest(_) => true,
        Message::RejectRequest(_) => true,
        _ => false,
    };
    u32::from(!free)
}
