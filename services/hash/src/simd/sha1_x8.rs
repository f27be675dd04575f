//! SHA-1 of eight messages side by side, with AVX2.

use super::lanes::{Blocks, Kernel, States};
use std::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256,
    _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi32, _mm256_setr_epi32,
    _mm256_shuffle_epi8, _mm256_sll_epi32, _mm256_srl_epi32, _mm256_storeu_si256,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

/// Messages side by side.
pub(super) const LANES: usize = 8;

/// Equally long messages from which on eight lanes beat the SHA instruction, which makes 2.2 GB/s
/// on the core on which this was measured (AMD EPYC, Zen 5, messages of 256 KiB). Lanes make 0.46
/// GB/s each, 1.9 for four messages, 2.3 for five, and 3.6 for eight.
pub(super) const WORTH: usize = 5;

/// The same without the SHA instruction: plain code makes 1.1 GB/s there, two lanes 0.95, three
/// lanes 1.4.
pub(super) const WORTH_WITHOUT_SHA: usize = 3;

/// Proof that this processor has AVX2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct X8(());

impl X8 {
    /// The proof, if it holds.
    pub(super) fn detect() -> Option<X8> {
        is_x86_feature_detected!("avx2").then_some(X8(()))
    }
}

impl Kernel<LANES, 5> for X8 {
    fn compress(self, states: &mut States<LANES, 5>, blocks: &Blocks<'_, LANES>) {
        // SAFETY: `X8` is made by `detect` alone, which has found the feature of `compress`.
        unsafe { compress(states, blocks) }
    }
}

#[target_feature(enable = "avx2")]
fn compress(states: &mut States<LANES, 5>, blocks: &Blocks<'_, LANES>) {
    let count = blocks.iter().map(|lane| lane.len()).min().unwrap_or(0);
    let mut state = [splat(0); 5];
    for (vector, words) in state.iter_mut().zip(&*states) {
        // SAFETY: the array is as long as the vector, and no alignment is asked for.
        *vector = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
    }
    for at in 0..count {
        let (low, high) = (half::<0>(blocks, at), half::<32>(blocks, at));
        let mut words = [splat(0); 16];
        for (word, half) in words.iter_mut().zip(low.into_iter().chain(high)) {
            *word = half;
        }
        let before = state;
        rounds!(state, words);
        for (now, before) in state.iter_mut().zip(before) {
            *now = add(*now, before);
        }
    }
    for (vector, words) in state.into_iter().zip(states) {
        // SAFETY: the array is as long as the vector, and no alignment is asked for.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
    }
}

/// Eight words of block `at` of every lane, from byte `FROM` on, turned round: word by word, each
/// word of all lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn half<const FROM: usize>(blocks: &Blocks<'_, LANES>, at: usize) -> [__m256i; 8] {
    let [a, b, c, d] = [0x0001_0203, 0x0405_0607, 0x0809_0a0b, 0x0c0d_0e0f];
    // Words in a message are big-endian.
    let swap = _mm256_setr_epi32(a, b, c, d, a, b, c, d);
    let mut rows = [splat(0); 8];
    for (row, lane) in rows.iter_mut().zip(blocks) {
        *row = _mm256_shuffle_epi8(load::<FROM>(&lane[at]), swap);
    }
    let mut pairs = rows;
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    let mut fours = rows;
    for i in 0..2 {
        fours[4 * i] = _mm256_unpacklo_epi64(pairs[4 * i], pairs[4 * i + 2]);
        fours[4 * i + 1] = _mm256_unpackhi_epi64(pairs[4 * i], pairs[4 * i + 2]);
        fours[4 * i + 2] = _mm256_unpacklo_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
        fours[4 * i + 3] = _mm256_unpackhi_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
    }
    // Half h of fours[4 i + j] holds word 4 h + j of the lanes 4 i to 4 i + 3.
    let mut words = rows;
    for j in 0..4 {
        words[j] = _mm256_permute2x128_si256::<0x20>(fours[j], fours[4 + j]);
        words[4 + j] = _mm256_permute2x128_si256::<0x31>(fours[j], fours[4 + j]);
    }
    words
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load<const FROM: usize>(block: &[u8; 64]) -> __m256i {
    const { assert!(FROM + size_of::<__m256i>() <= 64) }
    // SAFETY: a whole vector lies within the block from there on, and no alignment is asked for.
    unsafe { _mm256_loadu_si256(block.as_ptr().add(FROM).cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat(word: u32) -> __m256i {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn rotate<const BY: i32>(a: __m256i) -> __m256i {
    // There is no rotation. The counts are constants, and become part of the instructions.
    let (by, rest) = (_mm_cvtsi32_si128(BY), _mm_cvtsi32_si128(32 - BY));
    _mm256_or_si256(_mm256_sll_epi32(a, by), _mm256_srl_epi32(a, rest))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn choose(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d)))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn parity(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(b, c), d)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn majority(b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    let (both, either) = (_mm256_and_si256(b, c), _mm256_or_si256(b, c));
    _mm256_or_si256(both, _mm256_and_si256(d, either))
}

#[inline]
#[target_feature(enable = "avx2")]
fn mix(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    rotate::<1>(_mm256_xor_si256(parity(a, b, c), d))
}
