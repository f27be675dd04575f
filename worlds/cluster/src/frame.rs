//! What ranks send each other: the same frames in every fabric.
//!
//! A connection of the cluster is a pair of ranks and a torrent, so the frames between peers name
//! the torrent and need no connection number of their own.

use bytes::Bytes;
use dunlin_base::{BlockRef, TorrentId};
use dunlin_control::Control;
use dunlin_disk::Charge;
use dunlin_wire::{Handshake, Message};
use std::fmt;

/// One message between two ranks.
#[derive(Debug, PartialEq)]
pub enum Frame {
    /// Between a peer and the tracker.
    Control(Control),
    /// The first frame of a connection, from either side.
    Handshake {
        /// The torrent that the connection is for.
        torrent: TorrentId,
        /// The handshake.
        handshake: Handshake,
    },
    /// A peer wire message; never `piece`.
    Wire {
        /// The torrent that the connection is for.
        torrent: TorrentId,
        /// The message.
        message: Message,
    },
    /// A `piece` message with its payload.
    Piece {
        /// The torrent that the connection is for.
        torrent: TorrentId,
        /// The request that it answers.
        range: BlockRef,
        /// The data of the block.
        payload: Payload,
    },
    /// The sender closed the connection.
    HangUp {
        /// The torrent that the connection was for.
        torrent: TorrentId,
    },
}

/// The data of a block on its way, with the memory it is charged for. Dropping it gives the memory
/// back; until then it counts against the budget of the process.
pub struct Payload {
    /// The bytes; for a token file the token itself.
    pub data: Bytes,
    /// What it is charged for; `None` once a piece's reservation covers it.
    pub charge: Option<Charge>,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.data.len())
    }
}

/// Two payloads are equal if their bytes are; what they are charged for does not count.
impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        self.data == other.data
    }
}

/// Called once: whether a block was handed to the network, or will never be.
pub(crate) type Sent = Box<dyn FnOnce(bool) + Send>;

impl Frame {
    /// Whether the frame comes back the same from the codecs that byte fabrics use. Tests ask this
    /// of every frame that crosses the virtual fabric.
    #[must_use]
    pub fn survives_codecs(&self) -> bool {
        match self {
            Frame::Control(control) => {
                dunlin_control::decode(&dunlin_control::encode(control)).as_ref() == Ok(control)
            }
            Frame::Handshake { handshake, .. } => {
                Handshake::decode(&handshake.encode()) == Ok(*handshake)
            }
            Frame::Wire { message, .. } => message_survives(message),
            Frame::Piece { range, payload, .. } => piece_survives(*range, &payload.data),
            Frame::HangUp { .. } => true,
        }
    }
}

fn message_survives(message: &Message) -> bool {
    let mut bytes = Vec::new();
    dunlin_wire::encode_into(message, &mut bytes);
    let mut framer = framer(dunlin_wire::FramerLimits::default().max_block);
    let mut input = bytes.as_slice();
    let same = match framer.next_frame(&mut input) {
        Ok(Some(dunlin_wire::Frame::Message(back))) => back == *message,
        _ => false,
    };
    same && input.is_empty()
}

fn piece_survives(range: BlockRef, data: &Bytes) -> bool {
    // A token is as long as it is, whatever its length in segments: on a byte fabric the length of
    // the frame determines it.
    let on_wire = BlockRef { len: data.len() as u32, ..range };
    let mut bytes = Vec::new();
    dunlin_wire::encode_piece_header(on_wire, &mut bytes);
    bytes.extend_from_slice(data);
    let mut framer = framer(data.len() as u32);
    let mut input = bytes.as_slice();
    match framer.next_frame(&mut input) {
        Ok(Some(dunlin_wire::Frame::Piece { range: back, data: same })) => {
            back == on_wire && same == data
        }
        _ => false,
    }
}

fn framer(max_block: u32) -> dunlin_wire::Framer {
    let limits = dunlin_wire::FramerLimits { max_block, ..dunlin_wire::FramerLimits::default() };
    dunlin_wire::Framer::after_handshake(limits, dunlin_wire::PieceMode::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::{InfoHash, PeerId, PieceIndex, Rank};
    use dunlin_wire::Reserved;

    const RANGE: BlockRef = BlockRef { piece: PieceIndex(7), begin: 16_384, len: 5 };

    #[test]
    fn every_wire_message_survives() {
        let bits = Message::Bitfield(Bytes::from_static(&[0xa0, 0x40]));
        let all = [
            Message::KeepAlive,
            Message::Choke,
            Message::Unchoke,
            Message::Interested,
            Message::NotInterested,
            Message::Have { piece: 258 },
            bits,
            Message::Request(RANGE),
            Message::Cancel(RANGE),
            Message::Port(6881),
            Message::SuggestPiece { piece: 1 },
            Message::HaveAll,
            Message::HaveNone,
            Message::RejectRequest(RANGE),
            Message::AllowedFast { piece: 0 },
        ];
        for message in all {
            let frame = Frame::Wire { torrent: TorrentId(3), message };
            assert!(frame.survives_codecs(), "{frame:?}");
        }
    }

    #[test]
    fn handshakes_and_payload_survive() {
        let torrent = TorrentId(0);
        let handshake = Handshake {
            reserved: Reserved::OURS,
            info_hash: InfoHash([9; 20]),
            peer_id: PeerId::of_rank(Rank(4)),
        };
        assert!(Frame::Handshake { torrent, handshake }.survives_codecs());
        let payload = Payload { data: Bytes::from_static(b"token"), charge: None };
        assert!(Frame::Piece { torrent, range: RANGE, payload }.survives_codecs());
    }
}
