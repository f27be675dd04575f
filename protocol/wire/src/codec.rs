//! Messages to bytes and back (BEP 3, "peer messages"; BEP 6, 10, 52): `length ‖ id ‖ payload`,
//! numbers big-endian.

use crate::{HashRange, Message, WireError};
use bytes::Bytes;
use dunlin_base::{BlockRef, PieceIndex};

/// The id of `bitfield`, whose length depends on the torrent.
pub(crate) const BITFIELD: u8 = 5;
/// The id of `piece`, whose length depends on the block.
pub(crate) const PIECE: u8 = 7;
/// The id of `extended`, whose length depends on what it says.
pub(crate) const EXTENDED: u8 = 20;
/// The id of `hashes`, whose length depends on how many there are.
pub(crate) const HASHES: u8 = 22;
/// Length of `hash request` and its kin, id included; `hashes` follow it.
pub(crate) const HASH_HEAD: u32 = 49;
/// Length of a `piece` message without its data: id, piece and begin.
pub(crate) const PIECE_OVERHEAD: u32 = 9;
/// Bytes of a `piece` message before its data: length prefix, id, piece and begin.
pub const PIECE_HEADER_LEN: usize = 4 + PIECE_OVERHEAD as usize;

/// The name and the one right length of a message of fixed length, id included; `None` for the ids
/// whose length varies and for those that we do not know.
pub(crate) fn fixed_length(id: u8) -> Option<(&'static str, u32)> {
    Some(match id {
        0 => ("choke", 1),
        1 => ("unchoke", 1),
        2 => ("interested", 1),
        3 => ("not-interested", 1),
        4 => ("have", 5),
        6 => ("request", 13),
        8 => ("cancel", 13),
        9 => ("port", 3),
        13 => ("suggest-piece", 5),
        14 => ("have-all", 1),
        15 => ("have-none", 1),
        16 => ("reject-request", 13),
        17 => ("allowed-fast", 5),
        21 => ("hash-request", HASH_HEAD),
        23 => ("hash-reject", HASH_HEAD),
        _ => return None,
    })
}

/// Appends the message as it stands on the wire, length prefix included. Of a `piece` it is the
/// header: the data follows from elsewhere.
pub fn encode_into(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::KeepAlive => out.extend_from_slice(&[0; 4]),
        Message::Choke => plain(0, out),
        Message::Unchoke => plain(1, out),
        Message::Interested => plain(2, out),
        Message::NotInterested => plain(3, out),
        Message::Have { piece } => index(4, *piece, out),
        Message::Bitfield(bits) => {
            prefix(bits.len().saturating_add(1), BITFIELD, out);
            out.extend_from_slice(bits);
        }
        Message::Request(block) => range(6, *block, out),
        Message::Piece(block) => encode_piece_header(*block, out),
        Message::Cancel(block) => range(8, *block, out),
        Message::Port(port) => {
            out.extend_from_slice(&[0, 0, 0, 3, 9]);
            out.extend_from_slice(&port.to_be_bytes());
        }
        Message::SuggestPiece { piece } => index(13, *piece, out),
        Message::HaveAll => plain(14, out),
        Message::HaveNone => plain(15, out),
        Message::RejectRequest(block) => range(16, *block, out),
        Message::AllowedFast { piece } => index(17, *piece, out),
        Message::Extended { id, payload } => {
            prefix(payload.len().saturating_add(2), EXTENDED, out);
            out.push(*id);
            out.extend_from_slice(payload);
        }
        Message::HashRequest(range) => hash_range(21, *range, 0, out),
        Message::Hashes { range, hashes } => {
            hash_range(HASHES, *range, hashes.len(), out);
            out.extend_from_slice(hashes);
        }
        Message::HashReject(range) => hash_range(23, *range, 0, out),
    }
}

fn prefix(length: usize, id: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.push(id);
}

fn hash_range(id: u8, range: HashRange, behind: usize, out: &mut Vec<u8>) {
    prefix(behind.saturating_add(HASH_HEAD as usize), id, out);
    out.extend_from_slice(&range.root);
    for number in [range.base, range.index, range.length, range.proof] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Appends the first [`PIECE_HEADER_LEN`] bytes of a `piece` message; the sender follows up with
/// `block.len` bytes of data.
pub fn encode_piece_header(block: BlockRef, out: &mut Vec<u8>) {
    out.extend_from_slice(&block.len.saturating_add(PIECE_OVERHEAD).to_be_bytes());
    out.push(PIECE);
    out.extend_from_slice(&block.piece.0.to_be_bytes());
    out.extend_from_slice(&block.begin.to_be_bytes());
}

fn plain(id: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0, 1, id]);
}

fn index(id: u8, piece: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0, 5, id]);
    out.extend_from_slice(&piece.to_be_bytes());
}

fn range(id: u8, range: BlockRef, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0, 13, id]);
    for number in [range.piece.0, range.begin, range.len] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

impl Message {
    /// Reads a message from all that follows its length prefix; nothing at all is a keep-alive.
    /// `None` is an id that we do not know, to be skipped. Of a `piece` it is the header, its
    /// length filled in from the number of bytes. The cap on the length is the
    /// [`Framer`](crate::Framer)'s.
    ///
    /// # Errors
    /// If a message of fixed length has another one, a `piece` has no data, an `extended` says
    /// nothing, or `hashes` are no whole number of them.
    pub fn decode(body: &[u8]) -> Result<Option<Message>, WireError> {
        let Some((id, payload)) = body.split_first() else { return Ok(Some(Message::KeepAlive)) };
        let found = u32::try_from(body.len()).unwrap_or(u32::MAX);
        check_length(*id, found)?;
        Ok(decode_checked(*id, payload, found))
    }

    /// Whether only a peer that speaks the fast extension may send it (BEP 6).
    #[must_use]
    pub fn needs_fast(&self) -> bool {
        matches!(
            self,
            Message::SuggestPiece { .. }
                | Message::HaveAll
                | Message::HaveNone
                | Message::RejectRequest(_)
                | Message::AllowedFast { .. }
        )
    }
}

/// Checks the length of a message, id included, as far as its id alone tells it.
pub(crate) fn check_length(id: u8, found: u32) -> Result<(), WireError> {
    match fixed_length(id) {
        Some((name, expected)) if expected != found => {
            Err(WireError::Length { name, expected, found })
        }
        None if id == PIECE && found <= PIECE_OVERHEAD => Err(WireError::EmptyPiece { found }),
        None if id == EXTENDED && found < 2 => Err(WireError::EmptyExtended { found }),
        None if id == HASHES && !found.checked_sub(HASH_HEAD).is_some_and(whole_hashes) => {
            Err(WireError::Hashes { found })
        }
        _ => Ok(()),
    }
}

/// Whether so many bytes are whole hashes, and at least one.
fn whole_hashes(bytes: u32) -> bool {
    bytes > 0 && bytes.is_multiple_of(32)
}

/// Reads the payload of a message whose `length` has passed [`check_length`].
pub(crate) fn decode_checked(id: u8, payload: &[u8], length: u32) -> Option<Message> {
    let block = || BlockRef {
        piece: PieceIndex(number(payload, 0)),
        begin: number(payload, 4),
        len: number(payload, 8),
    };
    Some(match id {
        0 => Message::Choke,
        1 => Message::Unchoke,
        2 => Message::Interested,
        3 => Message::NotInterested,
        4 => Message::Have { piece: number(payload, 0) },
        BITFIELD => Message::Bitfield(Bytes::copy_from_slice(payload)),
        6 => Message::Request(block()),
        PIECE => Message::Piece(BlockRef { len: length.saturating_sub(PIECE_OVERHEAD), ..block() }),
        8 => Message::Cancel(block()),
        9 => Message::Port((number(payload, 0) >> 16) as u16),
        13 => Message::SuggestPiece { piece: number(payload, 0) },
        14 => Message::HaveAll,
        15 => Message::HaveNone,
        16 => Message::RejectRequest(block()),
        17 => Message::AllowedFast { piece: number(payload, 0) },
        EXTENDED => {
            let (id, rest) = payload.split_first()?;
            Message::Extended { id: *id, payload: Bytes::copy_from_slice(rest) }
        }
        21 => Message::HashRequest(read_hash_range(payload)),
        HASHES => Message::Hashes {
            range: read_hash_range(payload),
            hashes: Bytes::copy_from_slice(payload.get(HASH_HEAD as usize - 1..)?),
        },
        23 => Message::HashReject(read_hash_range(payload)),
        _ => return None,
    })
}

fn read_hash_range(payload: &[u8]) -> HashRange {
    let mut root = [0; 32];
    for (to, from) in root.iter_mut().zip(payload) {
        *to = *from;
    }
    let [base, index, length, proof] = [32, 36, 40, 44].map(|at| number(payload, at));
    HashRange { root, base, index, length, proof }
}

/// The big-endian number at `at`; bytes past the end count as 0.
fn number(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    for (to, from) in four.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    u32::from_be_bytes(four)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::from_hex;

    fn wire(message: &Message) -> String {
        let mut out = Vec::new();
        encode_into(message, &mut out);
        dunlin_base::hex(&out)
    }

    /// Every message: W-5 to W-8, and the rest by the tables of BEP 3 and BEP 6.
    fn table() -> Vec<(Message, &'static str)> {
        let block = BlockRef { piece: PieceIndex(1), begin: 16384, len: 16384 };
        vec![
            (Message::KeepAlive, "00000000"),
            (Message::Choke, "0000000100"),
            (Message::Unchoke, "0000000101"),
            (Message::Interested, "0000000102"),
            (Message::NotInterested, "0000000103"),
            (Message::Have { piece: 258 }, "000000050400000102"),
            (Message::Bitfield(Bytes::from_static(&[0xa0, 0x40])), "0000000305a040"),
            (Message::Bitfield(Bytes::new()), "0000000105"),
            (Message::Request(block), "0000000d06000000010000400000004000"),
            (Message::Cancel(block), "0000000d08000000010000400000004000"),
            (Message::Port(6881), "00000003091ae1"),
            (Message::SuggestPiece { piece: 5 }, "000000050d00000005"),
            (Message::HaveAll, "000000010e"),
            (Message::HaveNone, "000000010f"),
            (Message::RejectRequest(block), "0000000d10000000010000400000004000"),
            (Message::AllowedFast { piece: u32::MAX }, "0000000511ffffffff"),
            (
                Message::Extended { id: 7, payload: Bytes::from_static(&[0, 0, 0, 5]) },
                "00000006140700000005",
            ),
            (Message::Extended { id: 0, payload: Bytes::new() }, "000000021400"),
            // W-3: four hashes of the piece layer, and three layers of proof.
            (Message::HashRequest(w3()), W3),
        ]
    }

    const W3: &str = "0000003115cedf940612ac628d0e1eb980ad20f8cc17ea41c89b5f50e0afec0e1cc5c2d997\
                      00000002000000040000000400000003";

    fn w3() -> HashRange {
        let root = from_hex(&W3[10..74]).try_into().unwrap();
        HashRange { root, base: 2, index: 4, length: 4, proof: 3 }
    }

    #[test]
    fn hashes_follow_their_request() {
        let (range, hashes) = (w3(), Bytes::from(vec![7; 6 * 32]));
        let message = Message::Hashes { range, hashes };
        let mut out = Vec::new();
        encode_into(&message, &mut out);
        assert_eq!(out[..5], [0, 0, 0, 0xf1, 22]);
        assert_eq!(out.len(), 4 + 241);
        assert_eq!(Message::decode(&out[4..]), Ok(Some(message)));
        let reject = wire(&Message::HashReject(range));
        assert_eq!(reject.replacen("3117", "3115", 1), W3);
        for found in [2, 48, 49, 50, 80, 82] {
            let body = [&[22][..], &vec![0; found as usize - 1]].concat();
            assert_eq!(Message::decode(&body), Err(WireError::Hashes { found }), "{found}");
        }
        assert_eq!(Message::decode(&[20]), Err(WireError::EmptyExtended { found: 1 }));
    }

    #[test]
    fn every_message_both_ways() {
        for (message, hex) in table() {
            assert_eq!(wire(&message), hex, "{message:?}");
            let bytes = from_hex(hex);
            assert_eq!(Message::decode(&bytes[4..]), Ok(Some(message)), "{hex}");
        }
        let block = BlockRef { piece: PieceIndex(1), begin: 16384, len: 3 };
        assert_eq!(wire(&Message::Piece(block)), "0000000c070000000100004000");
        let body = from_hex("070000000100004000aabbcc");
        assert_eq!(Message::decode(&body), Ok(Some(Message::Piece(block))));
    }

    #[test]
    fn another_length_is_an_error() {
        for id in 0..=255 {
            let Some((name, expected)) = fixed_length(id) else { continue };
            for found in (1..60).filter(|found| *found != expected) {
                let body: Vec<u8> =
                    std::iter::once(id).chain(vec![0; found as usize - 1]).collect();
                let error = WireError::Length { name, expected, found };
                assert_eq!(Message::decode(&body), Err(error), "{name}");
            }
        }
        assert_eq!(Message::decode(&[7; 9]), Err(WireError::EmptyPiece { found: 9 }));
    }

    #[test]
    fn unknown_ids_are_nothing() {
        for id in [10, 11, 12, 18, 19, 24, 255] {
            assert_eq!(Message::decode(&[id, 1, 2]), Ok(None));
        }
    }

    #[test]
    fn what_needs_the_fast_extension() {
        for (message, hex) in table() {
            let id = from_hex(hex).get(4).copied().unwrap_or(0);
            assert_eq!(message.needs_fast(), (13..=17).contains(&id), "{message:?}");
        }
    }
}
