//! SHA-1 of sixteen messages side by side, with AVX-512.

use super::lanes::{Blocks, Kernel, States};
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_rol_epi32, _mm512_set1_epi32,
    _mm512_set4_epi32, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};

/// Messages side by side.
pub(super) const LANES: usize = 16;

/// Equally long messages from which on sixteen lanes beat the SHA instruction, which makes 2.2 GB/s
/// on the core on which this was measured (AMD EPYC, Zen 5, messages of 256 KiB). Lanes make 0.65
/// GB/s each, 2.0 for three messages, 2.6 for four, and 9.4 for sixteen.
pub(super) const WORTH: usize = 4;

/// The same without the SHA instruction: plain code makes 1.1 GB/s there, two lanes 1.3.
pub(super) const WORTH_WITHOUT_SHA: usize = 2;

/// Proof that this processor has AVX-512 F and BW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct X16(());

impl X16 {
    /// The proof, if it holds.
    pub(super) fn detect() -> Option<X16> {
        let found = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        found.then_some(X16(()))
    }
}

impl Kernel<LANES, 5> for X16 {
    fn compress(self, states: &mut States<LANES, 5>, blocks: &Blocks<'_, LANES>) {
        // SAFETY: `X16` is made by `detect` alone, which has found both features of `compress`.
        unsafe { compress(states, blocks) }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress(states: &mut States<LANES, 5>, blocks: &Blocks<'_, LANES>) {
    let count = blocks.iter().map(|lane| lane.len()).min().unwrap_or(0);
    let mut state = [splat(0); 5];
    for (vector, words) in state.iter_mut().zip(&*states) {
        *vector = load(words);
    }
    for at in 0..count {
        let mut words = words(blocks, at);
        let before = state;
        rounds!(state, words);
        for (now, before) in state.iter_mut().zip(before) {
            *now = add(*now, before);
        }
    }
    for (vector, words) in state.into_iter().zip(states) {
        // SAFETY: the array is as long as the vector, and no alignment is asked for.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) }
    }
}

/// Block `at` of every lane, turned round: word by word, each word of all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn words(blocks: &Blocks<'_, LANES>, at: usize) -> [__m512i; 16] {
    // Words in a message are big-endian.
    let swap = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    let mut rows = [splat(0); 16];
    for (row, lane) in rows.iter_mut().zip(blocks) {
        *row = _mm512_shuffle_epi8(load(&lane[at]), swap);
    }
    let mut pairs = rows;
    for i in 0..8 {
        pairs[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    let mut fours = rows;
    for i in 0..4 {
        fours[4 * i] = _mm512_unpacklo_epi64(pairs[4 * i], pairs[4 * i + 2]);
        fours[4 * i + 1] = _mm512_unpackhi_epi64(pairs[4 * i], pairs[4 * i + 2]);
        fours[4 * i + 2] = _mm512_unpacklo_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
        fours[4 * i + 3] = _mm512_unpackhi_epi64(pairs[4 * i + 1], pairs[4 * i + 3]);
    }
    // Quarter q of fours[4 i + j] holds word 4 q + j of the lanes 4 i to 4 i + 3.
    let mut words = rows;
    for j in 0..4 {
        let even = _mm512_shuffle_i32x4::<0x88>(fours[j], fours[4 + j]);
        let even_later = _mm512_shuffle_i32x4::<0x88>(fours[8 + j], fours[12 + j]);
        let odd = _mm512_shuffle_i32x4::<0xdd>(fours[j], fours[4 + j]);
        let odd_later = _mm512_shuffle_i32x4::<0xdd>(fours[8 + j], fours[12 + j]);
        words[j] = _mm512_shuffle_i32x4::<0x88>(even, even_later);
        words[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd, odd_later);
        words[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even, even_later);
        words[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd, odd_later);
    }
    words
}

/// What a vector can be loaded from: 64 bytes of which every pattern is a value.
pub(super) trait Whole {}
impl Whole for [u8; 64] {}
impl Whole for [u32; 16] {}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load<T: Whole>(from: &T) -> __m512i {
    const { assert!(size_of::<T>() == size_of::<__m512i>()) }
    // SAFETY: `from` is as long as the vector, and no alignment is asked for.
    unsafe { _mm512_loadu_si512(std::ptr::from_ref(from).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(word: u32) -> __m512i {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn rotate<const BY: i32>(a: __m512i) -> __m512i {
    _mm512_rol_epi32::<BY>(a)
}

// The numbers are the tables of the three-way functions: bit 4 b + 2 c + d is the result.

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn choose(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(b, c, d)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn parity(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(b, c, d)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn majority(b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xe8>(b, c, d)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn mix(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    rotate::<1>(_mm512_xor_si512(parity(a, b, c), d))
}
