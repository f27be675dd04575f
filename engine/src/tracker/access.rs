//! Which torrents a tracker serves: all, only those of a list, or all but those of a list.

use dunlin_base::InfoHash;
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
            let hash = unhex(word).ok_or_else(|| {
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

fn unhex(word: &str) -> Option<InfoHash> {
    let digits = word.as_bytes();
    if !matches!(digits.len(), 40 | 64) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut hash = [0; 20];
    for (byte, pair) in hash.iter_mut().zip(digits.as_chunks::<2>().0) {
        let text = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(InfoHash(hash))
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
        let torrent = unhex(one).unwrap();
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
