//! SHA-256 of eight messages side by side, with AVX2.

use super::lanes::{Blocks, Kernel, States};
use super::sha1_x8::{LANES, X8, add, choose, half, majority, parity, rotate, splat};
use std::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm256_loadu_si256, _mm256_srl_epi32, _mm256_storeu_si256,
};

/// Equally long messages from which on eight lanes beat the SHA instructions: none do. With
/// messages of 16 KiB they make 1.41 GB/s on the core on which this was measured (AMD EPYC), and
/// eight lanes 1.37, 0.17 each.
pub(super) const WORTH: usize = usize::MAX;

/// The same without the SHA instructions.
pub(super) const WORTH_WITHOUT_SHA: usize = 3;

impl Kernel<LANES, 8> for X8 {
    fn compress(self, states: &mut States<LANES, 8>, blocks: &Blocks<'_, LANES>) {
        // SAFETY: `X8` is made by `detect` alone, which has found the feature of `compress`.
        unsafe { compress(states, blocks) }
    }
}

#[target_feature(enable = "avx2")]
fn compress(states: &mut States<LANES, 8>, blocks: &Blocks<'_, LANES>) {
    let count = blocks.iter().map(|lane| lane.len()).min().unwrap_or(0);
    let mut state = [splat(0); 8];
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
        rounds256!(state, words);
        for (now, before) in state.iter_mut().zip(before) {
            *now = add(*now, before);
        }
    }
    for (vector, words) in state.into_iter().zip(states) {
        // SAFETY: the array is as long as the vector, and no alignment is asked for.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn right<const BY: i32, const LEFT: i32>(a: __m256i) -> __m256i {
    const { assert!(BY + LEFT == 32) }
    rotate::<LEFT>(a)
}

#[inline]
#[target_feature(enable = "avx2")]
fn shift<const BY: i32>(a: __m256i) -> __m256i {
    // The count is a constant, and becomes part of the instruction.
    _mm256_srl_epi32(a, _mm_cvtsi32_si128(BY))
}
