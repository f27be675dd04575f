//! A file as the torrent names it, before its path is made safe, and its names for people.

use super::Attributes;

/// The longest part of a component that is kept, about, in bytes.
pub(super) const KEPT: usize = 240;

/// A file as the torrent names it.
#[derive(Clone, Debug)]
pub(crate) struct RawFile<'d> {
    pub(super) path: Vec<&'d [u8]>,
    pub(super) length: u64,
    pub(super) attributes: Attributes,
    pub(super) target: Option<Vec<&'d [u8]>>,
    pub(super) root: Option<[u8; 32]>,
}

/// A path of a torrent for people: what could disturb a terminal is spelled out.
pub(super) fn shown_path(path: &[&[u8]]) -> String {
    path.iter().map(|name| shown(name)).collect::<Vec<_>>().join("/")
}

/// As [`shown_path`], for one name.
pub(super) fn shown(name: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(name).chars().take(KEPT) {
        let hidden = matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}' | '\u{FEFF}');
        if c.is_control() || hidden {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}
