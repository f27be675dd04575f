//! One piece to be hashed: whole, or as its bytes come.

use bytes::Bytes;
use sha1::{Digest, Sha1};

/// The zeros that pad a piece are hashed from here.
pub static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

/// The bytes of one piece, then that many zero bytes (BEP 47 padding).
#[derive(Clone, Debug, Default)]
pub struct HashJob {
    /// The bytes, in order.
    pub parts: Vec<Bytes>,
    /// How many zero bytes follow.
    pub zeros: u32,
}

/// A keyed digest of a block: the first 64 bits of SHA-1 over key (big-endian) and bytes. It tells
/// later who sent the bad copy, without keeping the bytes; nobody can aim for a collision without
/// the key.
#[must_use]
pub fn block_digest(key: u64, bytes: &[u8]) -> u64 {
    let digest: [u8; 20] =
        Sha1::new().chain_update(key.to_be_bytes()).chain_update(bytes).finalize().into();
    digest.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// SHA-1 of a piece whose bytes come one after another.
#[derive(Clone, Default)]
pub struct StreamHash(Sha1);

impl StreamHash {
    /// The hash of nothing yet.
    #[must_use]
    pub fn new() -> StreamHash {
        StreamHash::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes, followed by `zeros` zero bytes.
    #[must_use]
    pub fn finish(mut self, zeros: u32) -> [u8; 20] {
        let mut left = zeros as usize;
        while left > 0 {
            let now = ZEROS.get(..left).unwrap_or(&ZEROS);
            self.0.update(now);
            left -= now.len();
        }
        self.0.finalize().into()
    }
}

impl std::fmt::Debug for StreamHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_pieces;
    use dunlin_base::hex;

    #[test]
    fn hashes_are_sha1() {
        let abc =
            HashJob { parts: vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")], zeros: 0 };
        let zeros = HashJob { parts: Vec::new(), zeros: 40_000 };
        let hashes = hash_pieces(&[abc, zeros, HashJob::default()]);
        assert_eq!(hex(&hashes[0]), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hashes[1].as_slice(), Sha1::digest(vec![0; 40_000]).as_slice());
        assert_eq!(hex(&hashes[2]), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }

    #[test]
    fn digests_depend_on_the_key() {
        let first = Sha1::digest([&[0, 0, 0, 0, 0, 0, 0, 7][..], b"block"].concat());
        assert_eq!(block_digest(7, b"block").to_be_bytes(), first[..8]);
        assert_ne!(block_digest(7, b"block"), block_digest(8, b"block"));
    }
}
