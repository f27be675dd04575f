//! The eighty steps of SHA-1 on one block (FIPS 180-4, section 6.1.2), for any kind of vector.
//!
//! They are macros so that every index is a constant and all words stay in registers. Who uses
//! `rounds!` has functions `add`, `rotate` (to the left), `splat`, `choose`, `parity`, `majority`,
//! and `mix` (exclusive or of four words, rotated by one).

/// Steps with one function and one constant; `$word` is `first` or `mixed`.
macro_rules! steps {
    ($state:ident, $words:ident, $word:ident, $f:ident, $k:ident: $($t:literal)*) => {$({
        let word = $word!($words, $t);
        let [a, b, c, d, e] = $state;
        let sum = add(add(rotate::<5>(a), $f(b, c, d)), add(e, add(word, $k)));
        $state = [sum, a, rotate::<30>(b), c, d];
    })*};
}

/// A word of the block itself.
macro_rules! first {
    ($words:ident, $t:literal) => {
        $words[$t]
    };
}

/// A later word, made of four earlier ones; only the last sixteen are kept.
macro_rules! mixed {
    ($words:ident, $t:literal) => {{
        let word = mix(
            $words[($t + 13) & 15],
            $words[($t + 8) & 15],
            $words[($t + 2) & 15],
            $words[$t & 15],
        );
        #[allow(unused_assignments, reason = "the last ones make no others")]
        {
            $words[$t & 15] = word;
        }
        word
    }};
}

/// All steps on `$state`, an array of five vectors, with `$words`, an array of sixteen.
macro_rules! rounds {
    ($state:ident, $words:ident) => {{
        let k = splat(0x5a82_7999);
        steps!($state, $words, first, choose, k: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        steps!($state, $words, mixed, choose, k: 16 17 18 19);
        let k = splat(0x6ed9_eba1);
        steps!($state, $words, mixed, parity, k: 20 21 22 23 24 25 26 27 28 29);
        steps!($state, $words, mixed, parity, k: 30 31 32 33 34 35 36 37 38 39);
        let k = splat(0x8f1b_bcdc);
        steps!($state, $words, mixed, majority, k: 40 41 42 43 44 45 46 47 48 49);
        steps!($state, $words, mixed, majority, k: 50 51 52 53 54 55 56 57 58 59);
        let k = splat(0xca62_c1d6);
        steps!($state, $words, mixed, parity, k: 60 61 62 63 64 65 66 67 68 69);
        steps!($state, $words, mixed, parity, k: 70 71 72 73 74 75 76 77 78 79);
    }};
}
