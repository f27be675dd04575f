//! Which torrents a tracker serves: all, only those of a list, or all but those of a list.

use dunlin_base::{InfoHash, parse_hex};
use thiserror::Error;

/// Characters of a line that an error shows.
const SHOWN: usize = 60;

/// Info-hashes in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashList(Vec<InfoHash>);

/// A line that is no info-hash.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "line {line}: expected an info-hash of 40 hex digits (or 64, of version 2), found `{found}`"
)]
pub struct AccessError {
    /// The line, from 1.
    pub line: usize,
    /// The beginning of what stands there.
    pub found: String,
}

impl HashList {
    /// Reads one hash a line. Empty lines, and what follows `#`, do not count. Of the 64 digits of
    /// version 2 the first 40 stand for the torrent (BEP 52).
    ///
    /// # Errors
    /// The first line that is none.
    pub fn parse(text: &str) -> Result<HashList, AccessError> {
        let mut hashes = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let word = line.split('#').next().unwrap_or_default().trim();
            if word.is_empty() {
                continue;
            }
            let hash = info_hash(word).ok_or_else(|| {
                let found = word.chars().take(SHOWN).collect();
                AccessError { line: index + 1, found }
            })?;
            hashes.push(hash);
        }
        hashes.sort_unstable();
        hashes.dedup();
        Ok(HashList(hashes))
    }

    /// Whether a torrent is in it.
    #[must_use]
    pub fn has(&self, torrent: &InfoHash) -> bool {
        self.0.binary_search(torrent).is_ok()
    }

    /// How many torrents are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An info-hash of version 1, or one of version 2, of which the first 20 bytes count (BEP 52).
fn info_hash(word: &str) -> Option<InfoHash> {
    let truncated = || parse_hex::<32>(word)?.first_chunk().copied();
    parse_hex(word).or_else(truncated).map(InfoHash)
}

/// Which torrents are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// All.
    #[default]
    Open,
    /// Only these.
    Only(HashList),
    /// All but these.
    Except(HashList),
}

impl Access {
    /// Whether a torrent is served.
    #[must_use]
    pub fn permits(&self, torrent: &InfoHash) -> bool {
        match self {
            Access::Open => true,
            Access::Only(list) => list.has(torrent),
            Access::Except(list) => !list.has(torrent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let one = "7b5e918f364908afab937ecdd84059dfb61102b7";
        let text =
            format!("# ours\n\n {} \r\n{one} # again\n{}\n", one.to_uppercase(), "ab".repeat(32));
        let list = HashList::parse(&text).unwrap();
        assert_eq!(list.len(), 2);
        let torrent = info_hash(one).unwrap();
        assert!(list.has(&torrent) && list.has(&InfoHash([0xAB; 20])));
        assert!(Access::Only(list.clone()).permits(&torrent));
        assert!(!Access::Except(list).permits(&torrent));
        assert!(Access::Open.permits(&torrent) && HashList::default().is_empty());
        for bad in ["7b5e", &format!("{one}x"), &"é".repeat(20), &"0x".repeat(20)] {
            let error = HashList::parse(&format!("#\n{bad}\n")).unwrap_err();
            assert_eq!(error.line, 2, "{bad}");
        }
    }
}
