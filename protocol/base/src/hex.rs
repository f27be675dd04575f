//! Bytes as hexadecimal digits, and back.

/// Lower-case hex of any bytes, as people compare them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The bytes of exactly `2 * N` hexadecimal digits of either case; `None` for anything else.
#[must_use]
pub fn parse_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = hex_byte(*high, *low)?;
    }
    Some(bytes)
}

/// The byte of two hexadecimal digits of either case.
pub(crate) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back() {
        assert_eq!(hex(&[0x00, 0x7f, 0xa9]), "007fa9");
        assert_eq!(parse_hex("007FaP"), None::<[u8; 3]>);
        assert_eq!(parse_hex("007Fa9"), Some([0x00, 0x7f, 0xa9]));
        for wrong in ["", "007fa", "007fa9ff", "+07fa9", " 07fa9", "00é"] {
            assert_eq!(parse_hex::<3>(wrong), None, "{wrong}");
        }
    }
}
