//! The sixty-four steps of SHA-256 on one block (FIPS 180-4, section 6.2.2), for any kind of
//! vector.
//!
//! They are macros for the same reason as those of SHA-1. Who uses `rounds256!` has functions
//! `add`, `splat`, `choose`, `majority`, `parity`, `right` (a rotation to the right) and `shift`
//! (to the right).

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
pub(super) const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// Steps with words of one kind; `$word` is `first256` or `mixed256`.
macro_rules! steps256 {
    ($state:ident, $words:ident, $word:ident: $($t:literal)*) => {$({
        let word = $word!($words, $t);
        let [a, b, c, d, e, f, g, h] = $state;
        let turned = parity(right::<6, 26>(e), right::<11, 21>(e), right::<25, 7>(e));
        let key = add(word, splat($crate::simd::rounds256::K[$t]));
        let one = add(add(h, turned), add(choose(e, f, g), key));
        let turned = parity(right::<2, 30>(a), right::<13, 19>(a), right::<22, 10>(a));
        let two = add(turned, majority(a, b, c));
        $state = [add(one, two), a, b, c, add(d, one), e, f, g];
    })*};
}

/// A word of the block itself.
macro_rules! first256 {
    ($words:ident, $t:literal) => {
        $words[$t]
    };
}

/// A later word, made of four earlier ones; only the last sixteen are kept.
macro_rules! mixed256 {
    ($words:ident, $t:literal) => {{
        let (x, y) = ($words[($t + 1) & 15], $words[($t + 14) & 15]);
        let first = parity(right::<7, 25>(x), right::<18, 14>(x), shift::<3>(x));
        let second = parity(right::<17, 15>(y), right::<19, 13>(y), shift::<10>(y));
        let word = add(add($words[$t & 15], first), add($words[($t + 9) & 15], second));
        #[allow(unused_assignments, reason = "the last ones make no others")]
        {
            $words[$t & 15] = word;
        }
        word
    }};
}

/// All steps on `$state`, an array of eight vectors, with `$words`, an array of sixteen.
macro_rules! rounds256 {
    ($state:ident, $words:ident) => {{
        steps256!($state, $words, first256: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        steps256!($state, $words, mixed256: 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
        steps256!($state, $words, mixed256: 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47);
        steps256!($state, $words, mixed256: 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
    }};
}
