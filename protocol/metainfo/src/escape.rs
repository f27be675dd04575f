//! Names of a cluster as text. A name of POSIX is any bytes but NUL and `/`; messages, plans and
//! reports carry text without control characters. What text cannot hold is written as `\xHH`, byte
//! for byte: control characters, the backslash itself, and bytes that are no UTF-8. Everything else
//! is as it is, so that a name has one spelling, and most names are their own.

/// The text of a path of these bytes. `/` stays what it is.
#[must_use]
pub fn escape_name(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || c.is_control() {
                let mut buffer = [0; 4];
                c.encode_utf8(&mut buffer).bytes().for_each(|byte| escape(&mut text, byte));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(&mut text, *byte));
    }
    text
}

fn escape(text: &mut String, byte: u8) {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    text.extend(['\\', 'x', digit(byte >> 4), digit(byte & 15)]);
}

/// The bytes that a text stands for. A backslash that escapes nothing stands for itself.
#[must_use]
pub fn unescape_name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if let (b'\\', [b'x', high, low, behind @ ..]) = (first, behind)
            && let (Some(high), Some(low)) = (value(*high), value(*low))
        {
            bytes.push(high << 4 | low);
            rest = behind;
        } else {
            bytes.push(*first);
        }
    }
    bytes
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Whether a text is the one spelling of what it stands for.
#[must_use]
pub fn is_escaped_well(text: &str) -> bool {
    escape_name(&unescape_name(text)) == text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_text_cannot_hold_is_written_by_bytes() {
        let cases: [(&[u8], &str); 8] = [
            (b"plain/name", "plain/name"),
            ("größe".as_bytes(), "größe"),
            (b"a\\x2db", "a\\x5cx2db"),
            (b"latin1-\xe9", "latin1-\\xe9"),
            (b"a\nb\tc", "a\\x0ab\\x09c"),
            ("\u{85}".as_bytes(), "\\xc2\\x85"),
            (b"\x7f", "\\x7f"),
            (b"cut \xf0\x9f", "cut \\xf0\\x9f"),
        ];
        for (bytes, text) in cases {
            assert_eq!((escape_name(bytes).as_str(), unescape_name(text)), (text, bytes.to_vec()));
            assert!(is_escaped_well(text));
        }
        for wrong in ["\\", "\\x", "\\x5", "\\X5c", "\\x5C", "\\x41", "\\x2f", "\\n", "a\n"] {
            assert!(!is_escaped_well(wrong), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = escape_name(&bytes);
            prop_assert!(is_escaped_well(&text));
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(unescape_name(&text), bytes);
        }

        #[test]
        fn a_text_has_at_most_one_spelling(text in "\\PC{0,4}(\\\\(x[0-9a-f]{2})?){0,3}\\PC{0,4}") {
            if is_escaped_well(&text) {
                prop_assert_eq!(escape_name(&unescape_name(&text)), text);
            }
        }
    }
}
