//! Metadata exchange (BEP 9, `ut_metadata`): the info dictionary of a torrent, as it is, in pieces
//! of 16 KiB.

use super::ExtendedError;
use bytes::Bytes;
use dunlin_bencode::{Limits, Mode, Writer, decode};

/// Every piece of metadata but the last has so many bytes (BEP 9).
pub const METADATA_PIECE: u32 = 16 << 10;

/// How many pieces metadata of so many bytes has.
#[must_use]
pub fn metadata_pieces(size: u32) -> u32 {
    size.div_ceil(METADATA_PIECE)
}

/// What is said about metadata. Numbers are as they stand on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataMessage {
    /// Asks for a piece.
    Request {
        /// Its index.
        piece: u32,
    },
    /// A piece.
    Data {
        /// Its index.
        piece: u32,
        /// Bytes of the whole; 0 if the sender does not say.
        total_size: u32,
        /// Its bytes.
        data: Bytes,
    },
    /// The piece will not come.
    Reject {
        /// Its index.
        piece: u32,
    },
}

const NAME: &str = "ut_metadata";

impl MetadataMessage {
    /// The payload; of data the bytes follow the dictionary.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (kind, piece) = match self {
            MetadataMessage::Request { piece } => (0, piece),
            MetadataMessage::Data { piece, .. } => (1, piece),
            MetadataMessage::Reject { piece } => (2, piece),
        };
        let mut writer = Writer::new();
        writer.dict().key("msg_type").integer(kind).key("piece").integer(*piece);
        if let MetadataMessage::Data { total_size, .. } = self {
            writer.key("total_size").integer(*total_size);
        }
        writer.end();
        let mut payload = writer.finish().unwrap_or_default();
        if let MetadataMessage::Data { data, .. } = self {
            payload.extend_from_slice(data);
        }
        payload.into()
    }

    /// Reads a payload. `None` is a kind of message that nobody knows, to be ignored (BEP 9).
    ///
    /// # Errors
    /// If it does not begin with a dictionary, or a key that is needed is of no use.
    pub fn decode(payload: &Bytes) -> Result<Option<MetadataMessage>, ExtendedError> {
        let limits = Limits { depth: 4, tokens: 100 };
        let document =
            decode(payload, Mode::Lenient, limits).map_err(|_| ExtendedError::NotDict(NAME))?;
        let root = document.root().dict().ok_or(ExtendedError::NotDict(NAME))?;
        let number = |key: &'static str| {
            let number = root.get(key).and_then(|node| node.as_u64());
            let number = number.and_then(|number| u32::try_from(number).ok());
            number.ok_or(ExtendedError::Key { extension: NAME, key })
        };
        let kind = root.get("msg_type").and_then(|node| node.as_i64());
        let kind = kind.ok_or(ExtendedError::Key { extension: NAME, key: "msg_type" })?;
        Ok(match kind {
            0 => Some(MetadataMessage::Request { piece: number("piece")? }),
            1 => Some(MetadataMessage::Data {
                piece: number("piece")?,
                total_size: number("total_size").unwrap_or(0),
                data: payload.slice(document.consumed().min(payload.len())..),
            }),
            2 => Some(MetadataMessage::Reject { piece: number("piece")? }),
            _ => None,
        })
    }
}
