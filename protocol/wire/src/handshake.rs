//! The handshake (BEP 3, "peer protocol"): 68 bytes, with the reserved bits of BEP 6 and BEP 10.

use crate::WireError;
use dunlin_base::{InfoHash, PeerId};

/// What each side says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The eight reserved bytes: which extensions the sender speaks.
    pub reserved: Reserved,
    /// The torrent that the connection is for.
    pub info_hash: InfoHash,
    /// Who the sender is.
    pub peer_id: PeerId,
}

/// The eight reserved bytes of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// What this engine sets: the fast extension (BEP 6).
    pub const OURS: Reserved = Reserved([0, 0, 0, 0, 0, 0, 0, 0x04]);

    /// What this engine sets on the internet: the extension protocol (BEP 10) besides.
    pub const INTERNET: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04]);

    /// The same, by somebody who knows the torrent's version 2, too (BEP 52, "upgrade path").
    #[must_use]
    pub fn with_v2(mut self) -> Reserved {
        self.0[7] |= 0x10;
        self
    }

    /// Whether the sender knows the torrent's version 2, too (BEP 52, "upgrade path").
    #[must_use]
    pub fn v2(self) -> bool {
        self.0[7] & 0x10 != 0
    }

    /// Whether the sender speaks the fast extension (BEP 6).
    #[must_use]
    pub fn fast(self) -> bool {
        self.0[7] & 0x04 != 0
    }

    /// Whether the sender speaks the extension protocol (BEP 10).
    #[must_use]
    pub fn extended(self) -> bool {
        self.0[5] & 0x10 != 0
    }
}

/// The length of a handshake in bytes (BEP 3).
pub const HANDSHAKE_LEN: usize = 68;

/// What every handshake begins with (BEP 3): the length of the name, and the name.
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
/// Where the info-hash begins.
const INFO_HASH: usize = 28;
/// Where the peer id begins, and the info-hash ends.
const PEER_ID: usize = 48;

impl Handshake {
    /// The 68 bytes of the wire (BEP 3, "peer protocol").
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        bytes[..20].copy_from_slice(PROTOCOL);
        bytes[20..INFO_HASH].copy_from_slice(&self.reserved.0);
        bytes[INFO_HASH..PEER_ID].copy_from_slice(&self.info_hash.0);
        bytes[PEER_ID..].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// Reads the 68 bytes of the wire. Unknown reserved bits are kept and mean nothing.
    ///
    /// # Errors
    /// [`WireError::Protocol`] if the bytes do not begin as BEP 3 says.
    pub fn decode(bytes: &[u8; HANDSHAKE_LEN]) -> Result<Handshake, WireError> {
        check_protocol(bytes, 0)?;
        Ok(Handshake {
            reserved: Reserved(copy(&bytes[20..INFO_HASH])),
            info_hash: InfoHash(copy(&bytes[INFO_HASH..PEER_ID])),
            peer_id: PeerId(copy(&bytes[PEER_ID..])),
        })
    }
}

/// Reads a handshake that arrives in pieces. Who accepts a connection may look at
/// [`HandshakeDecoder::info_hash`] at byte 48 and answer before the peer id has come, as BEP 3
/// wants.
#[derive(Clone, Debug)]
pub struct HandshakeDecoder {
    bytes: [u8; HANDSHAKE_LEN],
    len: usize,
}

impl Default for HandshakeDecoder {
    fn default() -> HandshakeDecoder {
        HandshakeDecoder { bytes: [0; HANDSHAKE_LEN], len: 0 }
    }
}

impl HandshakeDecoder {
    /// Takes what the handshake still lacks from the front of `input`. A wrong protocol is found at
    /// its first wrong byte.
    ///
    /// # Errors
    /// [`WireError::Protocol`] if the bytes do not begin as BEP 3 says.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<(), WireError> {
        let from = self.len;
        let (taken, rest) = input.split_at(input.len().min(HANDSHAKE_LEN - from));
        self.bytes[from..from + taken.len()].copy_from_slice(taken);
        self.len += taken.len();
        *input = rest;
        check_protocol(&self.bytes[..self.len], from)
    }

    /// The torrent that the connection is for, as soon as byte 47 has come.
    #[must_use]
    pub fn info_hash(&self) -> Option<InfoHash> {
        (self.len >= PEER_ID).then(|| InfoHash(copy(&self.bytes[INFO_HASH..PEER_ID])))
    }

    /// The handshake, once all 68 bytes have come.
    #[must_use]
    pub fn handshake(&self) -> Option<Handshake> {
        if self.len < HANDSHAKE_LEN {
            return None;
        }
        Handshake::decode(&self.bytes).ok()
    }
}

fn check_protocol(bytes: &[u8], from: usize) -> Result<(), WireError> {
    let wrong = (from..).zip(bytes.iter().zip(PROTOCOL).skip(from)).find(|(_, (a, b))| a != b);
    match wrong {
        Some((offset, (found, _))) => {
            Err(WireError::Protocol { offset: offset as u8, found: *found })
        }
        None => Ok(()),
    }
}

fn copy<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(bytes) {
        *to = *from;
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::from_hex;

    /// The W-4 vector: extension protocol, fast extension and DHT.
    const W4: &str = "13426974546f7272656e742070726f746f636f6c00000000001000057b5e918f364908afab93\
                      7ecdd84059dfb61102b72d5858303130302d6162636465666768696a6b6c";

    #[test]
    fn vector_w4() {
        let bytes: [u8; 68] = from_hex(W4).try_into().unwrap();
        let handshake = Handshake::decode(&bytes).unwrap();
        assert_eq!(handshake.info_hash.to_string(), "7b5e918f364908afab937ecdd84059dfb61102b7");
        assert_eq!(&handshake.peer_id.0, b"-XX0100-abcdefghijkl");
        assert!(handshake.reserved.fast() && handshake.reserved.extended());
        assert_eq!(handshake.encode(), bytes);
    }

    #[test]
    fn the_info_hash_is_known_before_the_peer_id() {
        let bytes = from_hex(W4);
        let mut decoder = HandshakeDecoder::default();
        for (index, byte) in bytes.iter().enumerate() {
            assert_eq!(decoder.info_hash().is_some(), index >= 48, "{index}");
            assert!(decoder.handshake().is_none());
            decoder.feed(&mut &[*byte][..]).unwrap();
        }
        assert_eq!(decoder.handshake().unwrap().encode().to_vec(), bytes);
        let mut more: &[u8] = b"more";
        decoder.feed(&mut more).unwrap();
        assert_eq!(more, b"more");
    }

    #[test]
    fn another_protocol_is_found_at_its_first_byte() {
        let mut decoder = HandshakeDecoder::default();
        let found = decoder.feed(&mut &b"GET / HTTP/1.1"[..]);
        assert_eq!(found, Err(WireError::Protocol { offset: 0, found: b'G' }));
        let mut decoder = HandshakeDecoder::default();
        decoder.feed(&mut &PROTOCOL[..19]).unwrap();
        let found = decoder.feed(&mut &b"L"[..]);
        assert_eq!(found, Err(WireError::Protocol { offset: 19, found: b'L' }));
    }

    #[test]
    fn ours_is_what_we_speak() {
        assert!(Reserved::OURS.fast() && !Reserved::OURS.extended() && !Reserved::OURS.v2());
        assert!(Reserved::INTERNET.fast() && Reserved::INTERNET.extended());
        assert!(!Reserved::INTERNET.v2() && Reserved::INTERNET.with_v2().v2());
    }
}
