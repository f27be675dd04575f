//! The bytes of a file of claims: one byte that says whether they are settled, then a bencoded
//! dictionary (BEP 3, "bencoding") and the SHA-1 of it.
//!
//! ```text
//!   "?" or "!" │ d 7:entries …, 6:holder …, 4:time i…e, 7:version i1e e │ 20 bytes of SHA-1
//!   entry: 20 bytes of SHA-1 of the path │ u8 kind │ u64 length │ u8 proofs │ 32 root │ 20 pieces
//! ```

use super::{ClaimEntry, PathHash, Proof};
use crate::checksum::{SealError, open, seal};
use dunlin_bencode::{Limits, Mode, Writer, decode};
use std::collections::BTreeMap;

/// The version of the format.
const VERSION: u64 = 1;

/// Bytes of one entry.
const ENTRY: usize = 82;

/// The first byte while the claims may still be withdrawn.
pub(super) const PENDING: u8 = b'?';

/// The first byte when they hold.
pub(super) const SETTLED: u8 = b'!';

/// What a file of claims says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimList {
    /// Whether nobody may dispute the claims any more.
    pub(super) settled: bool,
    /// When they were made, in nanoseconds since 1970.
    pub(super) time: i64,
    /// Who made them, for people.
    pub(super) holder: String,
    /// The paths.
    pub(super) entries: BTreeMap<PathHash, ClaimEntry>,
}

impl ClaimList {
    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![if self.settled { SETTLED } else { PENDING }];
        bytes.append(&mut seal(self.encode_body()));
        bytes
    }

    pub(crate) fn encode_body(&self) -> Vec<u8> {
        let mut entries = Vec::with_capacity(self.entries.len() * ENTRY);
        for (key, entry) in &self.entries {
            entries.extend_from_slice(key);
            let (kind, proof) = match entry {
                ClaimEntry::File(proof) => (0, *proof),
                ClaimEntry::Folder => (1, Proof::default()),
            };
            entries.push(kind);
            entries.extend_from_slice(&proof.length.to_le_bytes());
            let has = u8::from(proof.root.is_some()) | u8::from(proof.pieces.is_some()) << 1;
            entries.push(has);
            entries.extend_from_slice(&proof.root.unwrap_or_default());
            entries.extend_from_slice(&proof.pieces.unwrap_or_default());
        }
        let mut writer = Writer::new();
        writer.dict().key("entries").bytes(entries).key("holder").bytes(&self.holder);
        writer.key("time").integer(self.time).key("version").integer(VERSION).end();
        // The keys above are in order, so the writer has nothing to object to.
        writer.finish().unwrap_or_default()
    }

    /// Reads the bytes of a file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<ClaimList, SealError> {
        let (state, sealed) = bytes.split_first().ok_or(SealError::Short)?;
        let settled = match *state {
            PENDING => false,
            SETTLED => true,
            _ => return Err(SealError::Field("state")),
        };
        ClaimList::decode_body(open(sealed)?).map(|list| ClaimList { settled, ..list })
    }

    /// Reads what is sealed; it does not say whether it is settled.
    pub(crate) fn decode_body(body: &[u8]) -> Result<ClaimList, SealError> {
        let document = decode(body, Mode::Strict, Limits::TORRENT)
            .map_err(|error| SealError::Bencode(error.to_string()))?;
        let root = document.root().dict().ok_or(SealError::Field("the dictionary"))?;
        let bytes = |key: &'static str| {
            root.get(key).and_then(|node| node.as_bytes()).ok_or(SealError::Field(key))
        };
        let number = |key: &'static str| {
            root.get(key).and_then(|node| node.as_i64()).ok_or(SealError::Field(key))
        };
        let version = u64::try_from(number("version")?).unwrap_or(u64::MAX);
        if version != VERSION {
            return Err(SealError::Version(version));
        }
        let (records, rest) = bytes("entries")?.as_chunks::<ENTRY>();
        let entries: Option<BTreeMap<_, _>> = records.iter().map(decode_entry).collect();
        Ok(ClaimList {
            settled: false,
            time: number("time")?,
            holder: String::from_utf8_lossy(bytes("holder")?).into_owned(),
            entries: entries.filter(|_| rest.is_empty()).ok_or(SealError::Field("entries"))?,
        })
    }
}

fn decode_entry(record: &[u8; ENTRY]) -> Option<(PathHash, ClaimEntry)> {
    let (key, rest) = record.split_first_chunk()?;
    let (kind, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (has, rest) = rest.split_first()?;
    let (root, rest) = rest.split_first_chunk()?;
    let pieces = rest.first_chunk()?;
    let proof = Proof {
        length: u64::from_le_bytes(*length),
        root: (has & 1 != 0).then_some(*root),
        pieces: (has & 2 != 0).then_some(*pieces),
    };
    let entry = match kind {
        0 => ClaimEntry::File(proof),
        1 => ClaimEntry::Folder,
        _ => return None,
    };
    Some((*key, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(count: u8) -> ClaimList {
        let entry = |n: u8| match n % 3 {
            0 => ClaimEntry::Folder,
            1 => ClaimEntry::File(Proof { length: 7, root: Some([n; 32]), pieces: None }),
            _ => ClaimEntry::File(Proof { length: u64::MAX, root: None, pieces: Some([n; 20]) }),
        };
        let entries = (0..count).map(|n| ([n; 20], entry(n))).collect();
        ClaimList { settled: false, time: -3, holder: "process 1".into(), entries }
    }

    #[test]
    fn the_format() {
        let expected = [
            &b"d7:entries164:"[..],
            &[0; 20],
            b"\x01",
            &[0; 61],
            &[1; 20],
            b"\0\x07\0\0\0\0\0\0\0\x01",
            &[1; 32],
            &[0; 20],
            b"6:holder9:process 14:timei-3e7:versioni1ee",
        ];
        assert_eq!(list(2).encode_body(), expected.concat());
    }

    #[test]
    fn faults_are_named() {
        let mut bytes = list(3).encode();
        bytes[0] = SETTLED;
        assert!(ClaimList::decode(&bytes).unwrap().settled);
        bytes[0] = b'x';
        assert_eq!(ClaimList::decode(&bytes), Err(SealError::Field("state")));
        bytes[0] = PENDING;
        bytes[20] ^= 1;
        assert_eq!(ClaimList::decode(&bytes), Err(SealError::Checksum));
        assert_eq!(ClaimList::decode(b""), Err(SealError::Short));
        let newer = b"d7:entries0:6:holder0:4:timei0e7:versioni2ee";
        assert_eq!(ClaimList::decode_body(newer), Err(SealError::Version(2)));
        let cut = b"d7:entries1:x6:holder0:4:timei0e7:versioni1ee";
        assert_eq!(ClaimList::decode_body(cut), Err(SealError::Field("entries")));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(count in 0..30_u8, settled: bool) {
            let list = ClaimList { settled, ..list(count) };
            prop_assert_eq!(ClaimList::decode(&list.encode()), Ok(list));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::fuzzing::claims(&bytes);
        }

        #[test]
        fn a_damaged_file_is_survived(at in 0..300_usize, byte: u8, cut in 0..300_usize) {
            let mut body = list(3).encode_body();
            if let Some(place) = body.get_mut(at) { *place = byte; }
            crate::fuzzing::claims(&body);
            body.truncate(cut);
            crate::fuzzing::claims(&body);
        }
    }
}
