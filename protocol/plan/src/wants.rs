//! The file `wants` of a `peer<R>/` folder: a name or glob a line. Blank lines and lines that
//! begin with `#` say nothing; white space at both ends of a line does not count.

use crate::fault::{error, shown, text};
use crate::{Fault, Pattern, PlanError};
use std::collections::BTreeSet;

/// Reads a `wants` file: its patterns, each once, in order. An empty file wants nothing. `file` is
/// its name for messages.
///
/// # Errors
/// If the bytes are no text or a line is no name or glob. The error has the line.
///
/// ```
/// let wants = dunlin_plan::parse_wants("peer1/wants", b"# images\r\nimages/*.img\r\nnotes\r\n")?;
/// assert_eq!(wants[0].as_str(), "images/*.img");
/// assert!(wants[1].is_literal());
/// # Ok::<(), dunlin_plan::PlanError>(())
/// ```
pub fn parse_wants(file: &str, bytes: &[u8]) -> Result<Vec<Pattern>, PlanError> {
    let mut wants = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, line) in text(file, bytes)?.split('\n').enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || !seen.insert(line) {
            continue;
        }
        wants.push(Pattern::parse(line).map_err(|wrong| {
            error(file, index + 1, Fault::BadPattern { found: shown(line), error: wrong })
        })?);
    }
    Ok(wants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_comments_and_repeats() {
        let wants = parse_wants("w", b"a\r\n\r\n  # no\n\tb/** \na\nc d#e").unwrap();
        let texts: Vec<_> = wants.iter().map(Pattern::as_str).collect();
        assert_eq!(texts, ["a", "b/**", "c d#e"]);
        assert_eq!(parse_wants("w", b"").unwrap(), []);
    }

    #[test]
    fn faults_name_their_line() {
        let cases: &[(&[u8], &str)] = &[
            (b"a\n../b\n", "w:2: expected a relative name or glob, found `../b`: it has a `..`; "),
            (b"\n\n/etc/x", "w:3: expected a relative name or glob, found `/etc/x`: it is absolu"),
            (b"a[b", "w:1: expected a relative name or glob, found `a[b`: it has a `[` without "),
            (b"a\n\xff", "w:2: expected text (UTF-8), found byte 0xff; check that this is the ri"),
            (b"a\n\x00", "w:2: expected text (UTF-8), found control character 0x00; check that t"),
        ];
        for (bytes, start) in cases {
            let message = parse_wants("w", bytes).unwrap_err().to_string();
            assert!(message.starts_with(start), "{message}");
        }
    }
}
