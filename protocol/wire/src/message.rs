//! The messages between peers (BEP 3, "peer messages"; BEP 6, 10, 52). Payload-free: a `piece`
//! message is its header, and the data of the block stays with whoever moves bytes.

use bytes::Bytes;
use dunlin_base::BlockRef;

/// A message of the peer wire protocol, without its payload. Numbers are as they stand on the wire:
/// they become trusted indexes only through a torrent's geometry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Nothing; keeps the connection alive (length 0).
    KeepAlive,
    /// The sender will not answer requests (id 0).
    Choke,
    /// The sender will answer requests (id 1).
    Unchoke,
    /// The sender wants pieces that the receiver has (id 2).
    Interested,
    /// The sender wants nothing of the receiver (id 3).
    NotInterested,
    /// The sender now has this piece (id 4).
    Have {
        /// Piece index.
        piece: u32,
    },
    /// All that the sender has, piece 0 first, spare bits zero (id 5).
    Bitfield(Bytes),
    /// Asks for a block (id 6).
    Request(BlockRef),
    /// The header of a block that was asked for (id 7); its data follows on the wire.
    Piece(BlockRef),
    /// Takes a request back (id 8).
    Cancel(BlockRef),
    /// The UDP port of the sender's DHT node (id 9; BEP 5).
    Port(u16),
    /// A hint to ask for this piece (id 13; BEP 6).
    SuggestPiece {
        /// Piece index.
        piece: u32,
    },
    /// The sender has every piece (id 14; BEP 6).
    HaveAll,
    /// The sender has no piece (id 15; BEP 6). Under the course profile: no statement is made.
    HaveNone,
    /// A request will not be answered (id 16; BEP 6).
    RejectRequest(BlockRef),
    /// This piece may be asked for while choked (id 17; BEP 6).
    AllowedFast {
        /// Piece index.
        piece: u32,
    },
    /// A message of an extension (id 20; BEP 10). [`crate::extended`] reads and writes the
    /// payloads.
    Extended {
        /// 0 is the extension handshake; any other number is what the receiver said it means.
        id: u8,
        /// What the extension says.
        payload: Bytes,
    },
    /// Asks for hashes of a file's tree (id 21; BEP 52).
    HashRequest(HashRange),
    /// The hashes that were asked for, and those that prove them (id 22; BEP 52).
    Hashes {
        /// The request that is answered.
        range: HashRange,
        /// Whole hashes of 32 bytes, one behind the other: first those of the range, then uncles.
        hashes: Bytes,
    },
    /// Hashes that were asked for will not come (id 23; BEP 52).
    HashReject(HashRange),
}

/// Hashes of a file's tree, as they stand on the wire (BEP 52, "hash request").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashRange {
    /// The root of the file's tree.
    pub root: [u8; 32],
    /// The layer of the hashes: how many layers above the leaves; 0 are the blocks of 16 KiB.
    pub base: u32,
    /// The first hash within its layer.
    pub index: u32,
    /// How many hashes.
    pub length: u32,
    /// How many layers above are proved, those that the hashes themselves give among them.
    pub proof: u32,
}

impl Message {
    /// The message's name, as traces and logs write it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Message::KeepAlive => "keep-alive",
            Message::Choke => "choke",
            Message::Unchoke => "unchoke",
            Message::Interested => "interested",
            Message::NotInterested => "not-interested",
            Message::Have { .. } => "have",
            Message::Bitfield(_) => "bitfield",
            Message::Request(_) => "request",
            Message::Piece(_) => "piece",
            Message::Cancel(_) => "cancel",
            Message::Port(_) => "port",
            Message::SuggestPiece { .. } => "suggest-piece",
            Message::HaveAll => "have-all",
            Message::HaveNone => "have-none",
            Message::RejectRequest(_) => "reject-request",
            Message::AllowedFast { .. } => "allowed-fast",
            Message::Extended { .. } => "extended",
            Message::HashRequest(_) => "hash-request",
            Message::Hashes { .. } => "hashes",
            Message::HashReject(_) => "hash-reject",
        }
    }

    /// The piece that the message speaks of, if it speaks of one.
    #[must_use]
    pub fn piece(&self) -> Option<u32> {
        match self {
            Message::Have { piece }
            | Message::SuggestPiece { piece }
            | Message::AllowedFast { piece } => Some(*piece),
            Message::Request(range)
            | Message::Piece(range)
            | Message::Cancel(range)
            | Message::RejectRequest(range) => Some(range.piece.0),
            _ => None,
        }
    }
}
