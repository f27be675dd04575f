//! Percent-encoding of bytes that need not be text (RFC 3986): an info-hash is any 20 bytes.

use crate::hex::hex_byte;
use std::fmt::Write;

/// Writes `%XX` for one byte.
pub fn escape(byte: u8, out: &mut String) {
    let _infallible = write!(out, "%{byte:02X}");
}

/// Writes bytes: letters, digits and `-_.~` as they are, all others as `%XX` in upper case.
pub fn encode(bytes: &[u8], out: &mut String) {
    encode_but(bytes, b"", out);
}

/// The same, with the bytes in `kept` as they are, too.
pub fn encode_but(bytes: &[u8], kept: &[u8], out: &mut String) {
    for byte in bytes {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
        if plain || kept.contains(byte) {
            out.push(char::from(*byte));
        } else {
            escape(*byte, out);
        }
    }
}

/// The bytes that a value stands for, one after another. Hex may be of either case; a `%` without
/// two digits behind it, a `+` and bytes that should have been encoded stand for themselves.
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Of a value as it was sent.
    #[must_use]
    pub fn new(value: &'a [u8]) -> Decoder<'a> {
        Decoder(value)
    }
}

impl Iterator for Decoder<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if let (b'%', [high, low, rest @ ..]) = (*first, rest)
            && let Some(byte) = hex_byte(*high, *low)
        {
            self.0 = rest;
            return Some(byte);
        }
        self.0 = rest;
        Some(*first)
    }
}

/// The bytes that a value stands for.
#[must_use]
pub fn decode(value: &[u8]) -> Vec<u8> {
    Decoder::new(value).collect()
}

/// A value of exactly 20 bytes.
#[must_use]
pub fn decode_20(value: &[u8]) -> Option<[u8; 20]> {
    let mut bytes = [0; 20];
    let mut decoder = Decoder::new(value);
    for byte in &mut bytes {
        *byte = decoder.next()?;
    }
    decoder.next().is_none().then_some(bytes)
}
