//! Text from outside on its way to people: torrents, trackers, peers, other hosts and file names
//! may hold characters that move a terminal's cursor, change its title, or turn a line around (the
//! Unicode Bidirectional Algorithm, UAX 9, section 2; "Trojan Source", CVE-2021-42574).

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character does something to the text around it, or to a terminal, instead of standing
/// for itself: the control characters of C0 and C1 with DEL, line and paragraph separators, every
/// control of direction, and format characters that nobody can see. The two joiners (U+200C,
/// U+200D) are left out: Persian, Hindi and emoji are written with them.
#[must_use]
pub fn is_disguise(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061C}'
                | '\u{200B}'
                | '\u{200E}'
                | '\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}'
        )
}

/// A text as one line that can do nothing to a terminal: each character of [`is_disguise`] is
/// written as Rust writes it (`\n`, `\u{1b}`, `\u{202e}`). Everything else stays as it is, so that
/// names stay readable; what was cleaned once is not changed by doing it again.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_disguise) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_disguise(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

/// A JSON document, as a serializer wrote it, in which every character of [`is_disguise`] is
/// escaped as `\uXXXX` (RFC 8259, section 7). Outside of strings JSON has no such character but the
/// line breaks and tabs of its layout, which stay; inside of strings a serializer has escaped those
/// already.
#[must_use]
pub fn plain_json(document: &str) -> Cow<'_, str> {
    let escaped = |c: char| is_disguise(c) && !matches!(c, '\n' | '\r' | '\t');
    if !document.contains(escaped) {
        return Cow::Borrowed(document);
    }
    let mut plain = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        if escaped(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string does not fail.
                let _ = write!(plain, "\\u{unit:04x}");
            }
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_something_is_shown_and_the_rest_stays() {
        let cases = [
            (
                "Ünï 日本語 می\u{200C}خواهم 👩\u{200D}👩 עברית",
                "Ünï 日本語 می\u{200C}خواهم 👩\u{200D}👩 עברית",
            ),
            ("a\u{1b}[2Jb", r"a\u{1b}[2Jb"),
            ("a\r\nb\tc\u{7f}", r"a\r\nb\tc\u{7f}"),
            ("\u{9b}31m\u{85}", r"\u{9b}31m\u{85}"),
            ("gpj.\u{202e}exe", r"gpj.\u{202e}exe"),
            ("\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}", r"\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}"),
            ("\u{2028}\u{2029}\u{feff}", r"\u{2028}\u{2029}\u{feff}"),
            (r"back\slash \n", r"back\slash \n"),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), expected);
            assert_eq!(plain(&plain(text)), expected, "doing it again changes nothing");
        }
    }

    #[test]
    fn json_means_the_same_as_before() {
        let document = "{\n\t\"a\": \"\u{7f}\u{9b}x\u{202e}\\n\u{2028}é\"\n}";
        let expected = "{\n\t\"a\": \"\\u007f\\u009bx\\u202e\\n\\u2028é\"\n}";
        assert_eq!(plain_json(document), expected);
    }

    #[test]
    fn every_character_is_the_one_or_the_other() {
        for c in '\0'..=char::MAX {
            let text = c.to_string();
            let clean = plain(&text);
            assert!(!clean.contains(is_disguise), "{c:?}");
            assert!(clean == text || is_disguise(c), "{c:?}");
        }
    }
}
