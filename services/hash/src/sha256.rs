//! SHA-256 (FIPS 180-4) of a stream: what plans pin files by. Not for speed: it is asked of pinned
//! files only, once, and what was found is kept in a cache.

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// The first 32 bits of the fractional parts of the square roots of the first 8 primes.
const START: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// Bytes of a block.
const BLOCK: usize = 64;

/// A SHA-256 that takes its bytes one after another.
#[derive(Clone, Debug)]
pub struct Sha256 {
    state: [u32; 8],
    /// What does not fill a block yet.
    rest: [u8; BLOCK],
    filled: usize,
    /// Bytes so far.
    length: u64,
}

impl Default for Sha256 {
    fn default() -> Sha256 {
        Sha256 { state: START, rest: [0; BLOCK], filled: 0, length: 0 }
    }
}

impl Sha256 {
    /// The hash of nothing yet.
    #[must_use]
    pub fn new() -> Sha256 {
        Sha256::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if self.filled > 0 {
            let (head, tail) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            if let Some(place) = self.rest.get_mut(self.filled..self.filled + head.len()) {
                place.copy_from_slice(head);
            }
            self.filled += head.len();
            bytes = tail;
            if self.filled < BLOCK {
                return;
            }
            compress(&mut self.state, &self.rest);
            self.filled = 0;
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        blocks.iter().for_each(|block| compress(&mut self.state, block));
        if let Some(place) = self.rest.get_mut(..rest.len()) {
            place.copy_from_slice(rest);
        }
        self.filled = rest.len();
    }

    /// The hash of all bytes.
    #[must_use]
    pub fn finish(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8);
        self.update(&[0x80]);
        let zeros = (2 * BLOCK - 8 - self.filled) % BLOCK;
        self.update(&[0; BLOCK][..zeros]);
        self.update(&bits.to_be_bytes());
        let mut hash = [0; 32];
        for (place, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *place = word.to_be_bytes();
        }
        hash
    }
}

/// One block, section 6.2.2 of the standard.
#[allow(clippy::indexing_slicing, reason = "every index is a constant or masked to the length")]
fn compress(state: &mut [u32; 8], block: &[u8; BLOCK]) {
    let mut words = [0_u32; 16];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (t, k) in K.iter().enumerate() {
        if t >= 16 {
            let (x, y) = (words[(t + 1) & 15], words[(t + 14) & 15]);
            let first = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
            let second = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
            let sum = words[t & 15].wrapping_add(first).wrapping_add(words[(t + 9) & 15]);
            words[t & 15] = sum.wrapping_add(second);
        }
        let sum = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let one = h.wrapping_add(sum).wrapping_add(choice).wrapping_add(*k);
        let one = one.wrapping_add(words[t & 15]);
        let sum = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let two = sum.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        (h, g, f, e) = (g, f, e, d.wrapping_add(one));
        (d, c, b, a) = (c, b, a, one.wrapping_add(two));
    }
    for (place, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *place = place.wrapping_add(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::hex;

    #[test]
    fn vectors_of_the_standard() {
        let million = vec![b'a'; 1_000_000];
        let cases: [(&[u8], &str); 4] = [
            (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ];
        for (bytes, expected) in cases {
            for step in [1, 55, 64, 65, 1000] {
                let mut hash = Sha256::new();
                bytes.chunks(step).for_each(|part| hash.update(part));
                assert_eq!(hex(&hash.finish()), expected, "{} in {step}", bytes.len());
            }
        }
    }
}
