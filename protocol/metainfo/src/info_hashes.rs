//! The hashes that name a torrent: SHA-1 (BEP 3), SHA-256 (BEP 52), or both for a hybrid one.

use dunlin_base::InfoHash;
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// The names of one torrent. At least one is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashes {
    /// SHA-1 of the info dictionary (BEP 3).
    pub v1: Option<InfoHash>,
    /// SHA-256 of the info dictionary (BEP 52).
    pub v2: Option<[u8; 32]>,
}

impl InfoHashes {
    /// Those of an info dictionary, as it came, of which it is known which versions it describes.
    #[must_use]
    pub fn of(info: &[u8], v1: bool, v2: bool) -> InfoHashes {
        InfoHashes {
            v1: v1.then(|| InfoHash(Sha1::digest(info).into())),
            v2: v2.then(|| Sha256::digest(info).into()),
        }
    }

    /// The 20 bytes that stand for version 2 where only so many fit (BEP 52).
    #[must_use]
    pub fn v2_short(&self) -> Option<InfoHash> {
        let full = self.v2?;
        let mut short = [0; 20];
        short.copy_from_slice(&full[..20]);
        Some(InfoHash(short))
    }

    /// The names on the wire and at trackers: of a hybrid torrent both, version 1 first (BEP 52).
    pub fn wire(&self) -> impl Iterator<Item = InfoHash> + use<> {
        self.v1.into_iter().chain(self.v2_short())
    }

    /// The name that stands for the torrent where one is enough.
    #[must_use]
    pub fn first(&self) -> InfoHash {
        self.wire().next().unwrap_or_default()
    }

    /// Whether this info dictionary is the one that every hash here names.
    #[must_use]
    pub fn names(&self, info: &[u8]) -> bool {
        let found = InfoHashes::of(info, self.v1.is_some(), self.v2.is_some());
        found == *self && found != InfoHashes::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_torrent_has_two_names() {
        let both = InfoHashes::of(b"de", true, true);
        let names: Vec<InfoHash> = both.wire().collect();
        assert_eq!(names.len(), 2);
        assert_eq!(names[0], both.first());
        assert_eq!(names[1].0[..], both.v2.unwrap()[..20]);
        assert!(both.names(b"de") && !both.names(b"d1:ae"));
        assert!(!InfoHashes::default().names(b"de"), "no name names nothing");
    }
}
