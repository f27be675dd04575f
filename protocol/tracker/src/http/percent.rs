//! Percent-encoding of bytes that need not be text (RFC 3986): an info-hash is any 20 bytes.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes `%XX` for one byte.
pub(crate) fn escape(byte: u8, out: &mut String) {
    out.push('%');
    for digit in [byte >> 4, byte & 15] {
        out.push(HEX.get(usize::from(digit)).copied().map_or('0', char::from));
    }
}

/// Writes bytes: letters, digits and `-_.~` as they are, all others as `%XX` in upper case.
pub fn encode(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(*byte));
        } else {
            escape(*byte, out);
        }
    }
}

/// The bytes that a value stands for, one after another. Hex may be of either case; a `%` without two
/// digits behind it, a `+` and bytes that should have been encoded stand for themselves.
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Decoder<'a> {
        Decoder(value)
    }
}

impl Iterator for Decoder<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if let (b'%', [high, low, rest @ ..]) = (*first, rest)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            self.0 = rest;
            return Some(high << 4 | low);
        }
        self.0 = rest;
        Some(*first)
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// The bytes that a value stands for.
#[must_use]
pub fn decode(value: &[u8]) -> Vec<u8> {
    Decoder::new(value).collect()
}

/// A value of exactly 20 bytes.
pub(crate) fn decode_20(value: &[u8]) -> Option<[u8; 20]> {
    let mut bytes = [0; 20];
    let mut decoder = Decoder::new(value);
    for byte in &mut bytes {
        *byte = decoder.next()?;
    }
    decoder.next().is_none().then_some(bytes)
}
