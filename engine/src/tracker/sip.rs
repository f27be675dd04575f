//! SipHash-1-3 over whole words: a hash of a few instructions whose collisions nobody can find
//! without the key.

/// A key that nobody else knows.
#[derive(Clone, Copy)]
pub(super) struct SipKey(pub(super) [u64; 2]);

impl SipKey {
    /// The hash of `words`.
    pub(super) fn hash<const N: usize>(self, words: [u64; N]) -> u64 {
        let [k0, k1] = self.0;
        let mut v = [
            k0 ^ 0x736F_6D65_7073_6575,
            k1 ^ 0x646F_7261_6E64_6F6D,
            k0 ^ 0x6C79_6765_6E65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        for word in words.into_iter().chain([(N as u64 * 8) << 56]) {
            v[3] ^= word;
            round(&mut v);
            v[0] ^= word;
        }
        v[2] ^= 0xFF;
        for _ in 0..3 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }

    /// The hash of 20 bytes.
    pub(super) fn hash_20(self, bytes: &[u8; 20]) -> u64 {
        self.hash(words(bytes))
    }
}

/// Bytes as three words; what is beyond 24 bytes does not count, and there is never more here.
pub(super) fn words(bytes: &[u8]) -> [u64; 3] {
    let mut padded = [0; 24];
    padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let (chunks, _) = padded.as_chunks::<8>();
    let mut words = [0; 3];
    words.iter_mut().zip(chunks).for_each(|(word, chunk)| *word = u64::from_le_bytes(*chunk));
    words
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    #[test]
    fn it_is_the_hash_that_others_compute() {
        // The standard library's hasher is SipHash-1-3 with a key of zeros.
        #[allow(deprecated, reason = "the only one in std with a known key")]
        let theirs = |words: &[u64]| {
            let mut hasher = std::hash::DefaultHasher::new();
            words.iter().for_each(|word| hasher.write_u64(*word));
            hasher.finish()
        };
        let key = SipKey([0, 0]);
        assert_eq!(key.hash([1]), theirs(&[1]));
        assert_eq!(key.hash([3, u64::MAX, 7]), theirs(&[3, u64::MAX, 7]));
        assert_ne!(SipKey([0, 1]).hash([1]), key.hash([1]));
    }
}
