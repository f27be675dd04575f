//! Names as other programs make them. Data that they fetched stands under these.
//!
//! The rules are those of libtorrent 2.0 (`sanitize_append_path_element`), and so of qBittorrent,
//! Deluge and others that are built on it.

/// Bytes of a name after which nothing but a short extension is kept.
const MAX_PORTABLE: usize = 240;

/// Only so many bytes at the end of a name are searched for a dot.
const EXTENSION: usize = 10;

/// Characters that are left out: separators, and those that turn text.
fn is_left_out(c: char) -> bool {
    matches!(c, '/' | '\\' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}')
}

/// A component of a path; `None` where it is dropped, as `.` and `..` are. What comes out may still
/// be no name that a file system takes.
pub(crate) fn portable_name(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.is_empty() {
        return Some(b"_".to_vec());
    }
    let mut name = String::new();
    let mut cut = false;
    let mut at = 0;
    while let Some((c, size)) = first(bytes.get(at..).unwrap_or_default()) {
        let here = at;
        at += size;
        match c {
            Some(c) if is_left_out(c) => continue,
            Some(c) if c >= ' ' => name.push(c),
            _ => {
                name.push('_');
                continue;
            }
        }
        if name.len() >= MAX_PORTABLE && !cut {
            let from = bytes.len().saturating_sub(EXTENSION).max(here) + 1;
            let end = bytes.get(from..).unwrap_or_default();
            let Some(dot) = end.iter().rposition(|byte| *byte == b'.') else { break };
            (at, cut) = (from + dot, true);
        }
    }
    (!matches!(name.as_str(), "" | "." | "..")).then(|| name.into_bytes())
}

/// The first character, or `None` for what is none, and its bytes.
fn first(bytes: &[u8]) -> Option<(Option<char>, usize)> {
    let chunk = bytes.get(..4).unwrap_or(bytes).utf8_chunks().next()?;
    Some(match chunk.valid().chars().next() {
        Some(c) => (Some(c), c.len_utf8()),
        None => (None, chunk.invalid().len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `torrent_info.files().file_path()` of libtorrent 2.0.8 says.
    #[test]
    fn names_are_those_of_another_program() {
        let long = |name: &str, count: usize, end: &str| name.repeat(count) + end;
        let cases = [
            ("plain.bin".to_owned(), "plain.bin".to_owned()),
            ("mi\u{200c}\u{200d}join".to_owned(), "mi\u{200c}\u{200d}join".to_owned()),
            ("left\u{200e}mark".to_owned(), "leftmark".to_owned()),
            ("right\u{200f}mark".to_owned(), "rightmark".to_owned()),
            ("word\u{2060}joiner".to_owned(), "word\u{2060}joiner".to_owned()),
            ("\u{feff}byte order".to_owned(), "\u{feff}byte order".to_owned()),
            ("turn\u{202e}txt".to_owned(), "turntxt".to_owned()),
            ("back\\slash".to_owned(), "backslash".to_owned()),
            ("tab\u{9}here".to_owned(), "tab_here".to_owned()),
            ("line\u{a}break".to_owned(), "line_break".to_owned()),
            ("c1\u{85}control".to_owned(), "c1\u{85}control".to_owned()),
            ("del\u{7f}ete".to_owned(), "del\u{7f}ete".to_owned()),
            (long("n", 240, ""), long("n", 240, "")),
            (long("n", 241, ""), long("n", 240, "")),
            (long("n", 237, ".bin"), long("n", 237, ".bi")),
            (long("n", 239, ".bin"), long("n", 239, ".")),
            (long("m", 251, ".txt"), long("m", 240, ".txt")),
            (long("m", 240, ".1234567"), long("m", 240, ".1234567")),
            (long("m", 240, ".12345678"), long("m", 240, ".12345678")),
            (long("m", 240, ".123456789"), long("m", 240, "")),
            (long("\u{fc}", 127, ""), long("\u{fc}", 120, "")),
            (long("\u{fc}", 120, ".mkv"), long("\u{fc}", 120, ".mkv")),
            (long("\u{65e5}", 84, ".mp4"), long("\u{65e5}", 80, ".mp4")),
            (long("\u{65e5}", 79, "abcdefgh.mp4"), long("\u{65e5}", 79, "abc.mp4")),
            (long("\u{200e}", 10, "..."), "...".to_owned()),
            ("...".to_owned(), "...".to_owned()),
            (" x ".to_owned(), " x ".to_owned()),
            ("x.".to_owned(), "x.".to_owned()),
            ("_\u{9}\\".to_owned(), "__".to_owned()),
            (".hidden".to_owned(), ".hidden".to_owned()),
            (long("a", 236, ".b.c.d.e.f"), long("a", 236, ".b.c.f")),
            (long("tab\u{9}", 80, ".iso"), long("tab_", 59, "tab_t.iso")),
        ];
        for (name, expected) in cases {
            let found = portable_name(name.as_bytes());
            assert_eq!(found.as_deref(), Some(expected.as_bytes()), "{name:?}");
        }
        for dropped in ["/", "\\", "\u{202e}", ".", "..", "\u{200e}.."] {
            assert_eq!(portable_name(dropped.as_bytes()), None, "{dropped:?}");
        }
    }

    #[test]
    fn any_bytes_have_a_name_or_none() {
        assert_eq!(portable_name(b""), Some(b"_".to_vec()));
        assert_eq!(portable_name(b"a\xffb\xf0\x9f"), Some(b"a_b_".to_vec()));
        // What is left out counts for nothing, and costs its length once.
        let long = "\u{202e}".repeat(100_000) + "x";
        assert_eq!(portable_name(long.as_bytes()), Some(b"x".to_vec()));
    }
}
