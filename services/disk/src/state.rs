//! What is kept of a torrent of the internet between two runs: the pieces that are durable, and where
//! the bytes of each file are.
//!
//! It stands in `.dunlin/<info hash>.state` of the destination root: one bencoded dictionary (BEP 3,
//! "bencoding") and the SHA-1 of it. A piece counts for the next run only if all files that hold its
//! bytes are still the ones that are meant here; everything else is hashed again. It stays when the
//! torrent is complete, so that a finished file that nobody touched is not read again.

use crate::checksum::{SealError, open, seal};
use crate::fs::Meta;
use dunlin_base::Bitfield;
use dunlin_bencode::{Limits, Mode, Writer, decode};
use dunlin_metainfo::MAX_PIECES;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The ending of the name.
pub(crate) const STATE_SUFFIX: &str = ".state";

/// The ending of the name of the store for bytes of files that are not wanted.
pub(crate) const PARTS_SUFFIX: &str = ".parts";

/// The largest that is read, in bytes: a full bitfield and some million files.
pub(crate) const MAX_STATE: u64 = 128 << 20;

/// The version of the format; others are ignored.
const VERSION: u64 = 1;

/// Bytes of one file's record.
const RECORD: usize = 25;

/// What is known of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The folder that its files are below, relative to the root where it is below that.
    pub(crate) folder: PathBuf,
    /// The pieces that are durable.
    pub(crate) claimed: Bitfield,
    /// Where the bytes of each file are, in order.
    pub(crate) files: Vec<Kept>,
    /// The number of the store on its file system; 0 if there is none.
    pub(crate) store: u64,
}

/// Where the bytes of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nowhere.
    Nowhere,
    /// In its part file, which has this number.
    Part {
        /// The number on its file system.
        inode: u64,
        /// Whether it is to replace other content in the end.
        replaces: bool,
    },
    /// In the store: what there is of it came with pieces of other files.
    Store,
    /// Under its final name, where it looked like this.
    Done {
        /// The number on its file system.
        inode: u64,
        /// Its length in bytes.
        length: u64,
        /// When it was last written, in nanoseconds since 1970.
        modified: i64,
    },
}

impl Kept {
    /// A file under its final name.
    pub(crate) fn done(meta: &Meta) -> Kept {
        // A time beyond all reason is none: the file is hashed again.
        let modified = i64::try_from(meta.modified).unwrap_or(i64::MIN);
        Kept::Done { inode: meta.inode, length: meta.len, modified }
    }

    fn encode(self) -> [u8; RECORD] {
        let (kind, inode, length, modified) = match self {
            Kept::Nowhere => (0, 0, 0, 0),
            Kept::Part { inode, replaces: false } => (1, inode, 0, 0),
            Kept::Store => (2, 0, 0, 0),
            Kept::Done { inode, length, modified } => (3, inode, length, modified),
            Kept::Part { inode, replaces: true } => (4, inode, 0, 0),
        };
        let mut record = [0; RECORD];
        record[0] = kind;
        record[1..9].copy_from_slice(&inode.to_le_bytes());
        record[9..17].copy_from_slice(&length.to_le_bytes());
        record[17..].copy_from_slice(&modified.to_le_bytes());
        record
    }

    fn decode(record: &[u8; RECORD]) -> Option<Kept> {
        let (kind, rest) = record.split_first()?;
        let (numbers, _) = rest.as_chunks::<8>();
        let [inode, length, modified] = numbers else { return None };
        let inode = u64::from_le_bytes(*inode);
        let (length, modified) = (u64::from_le_bytes(*length), i64::from_le_bytes(*modified));
        let kept = match kind {
            0 => Kept::Nowhere,
            1 => Kept::Part { inode, replaces: false },
            2 => Kept::Store,
            3 => Kept::Done { inode, length, modified },
            4 => Kept::Part { inode, replaces: true },
            _ => return None,
        };
        (kept.encode() == *record).then_some(kept)
    }
}

impl State {
    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        seal(self.encode_body())
    }

    pub(crate) fn encode_body(&self) -> Vec<u8> {
        let records: Vec<_> = self.files.iter().map(|file| file.encode()).collect();
        let mut writer = Writer::new();
        writer.dict().key("claimed").bytes(self.claimed.to_bytes());
        writer.key("files").bytes(records.as_flattened());
        writer.key("folder").bytes(self.folder.as_os_str().as_bytes());
        writer.key("pieces").integer(self.claimed.len());
        writer.key("store").integer(self.store);
        writer.key("version").integer(VERSION).end();
        // The keys above are in order, so the writer has nothing to object to.
        writer.finish().unwrap_or_default()
    }

    /// Reads the bytes of a file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<State, SealError> {
        State::decode_body(open(bytes)?)
    }

    pub(crate) fn decode_body(body: &[u8]) -> Result<State, SealError> {
        let document = decode(body, Mode::Strict, Limits::TORRENT)
            .map_err(|error| SealError::Bencode(error.to_string()))?;
        let root = document.root().dict().ok_or(SealError::Field("the dictionary"))?;
        let number = |key: &'static str| {
            root.get(key).and_then(|node| node.as_u64()).ok_or(SealError::Field(key))
        };
        let bytes = |key: &'static str| {
            root.get(key).and_then(|node| node.as_bytes()).ok_or(SealError::Field(key))
        };
        match number("version")? {
            VERSION => {}
            other => return Err(SealError::Version(other)),
        }
        let pieces = u32::try_from(number("pieces")?).ok().filter(|pieces| *pieces <= MAX_PIECES);
        let pieces = pieces.ok_or(SealError::Field("pieces"))?;
        let claimed = Bitfield::from_bytes(pieces, bytes("claimed")?);
        let (records, rest) = bytes("files")?.as_chunks::<RECORD>();
        let files: Option<Vec<_>> = records.iter().map(Kept::decode).collect();
        let files = files.filter(|_| rest.is_empty());
        Ok(State {
            folder: PathBuf::from(OsString::from_vec(bytes("folder")?.to_vec())),
            claimed: claimed.map_err(|_| SealError::Field("claimed"))?,
            files: files.ok_or(SealError::Field("files"))?,
            store: number("store")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::PieceIndex;
    use proptest::prelude::*;

    fn kept(kind: u8, inode: u64, length: u64, modified: i64) -> Kept {
        match kind % 5 {
            0 => Kept::Nowhere,
            1 => Kept::Store,
            2 => Kept::Part { inode, replaces: false },
            3 => Kept::Part { inode, replaces: true },
            _ => Kept::Done { inode, length, modified },
        }
    }

    fn state(pieces: u32, files: Vec<Kept>) -> State {
        let mut claimed = Bitfield::new(pieces);
        (0..pieces).step_by(3).for_each(|piece| _ = claimed.set(PieceIndex(piece)));
        State { folder: "a/ b".into(), claimed, files, store: 9 }
    }

    #[test]
    fn the_format() {
        let files = vec![Kept::Store, Kept::Done { inode: 1, length: 2, modified: -1 }];
        let expected = [
            &b"d7:claimed1:\x905:files50:\x02"[..],
            &[0; 24],
            b"\x03\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"6:folder4:a/ b6:piecesi4e5:storei9e7:versioni1ee",
        ];
        assert_eq!(state(4, files).encode_body(), expected.concat());
    }

    #[test]
    fn faults_are_named() {
        let good = state(9, vec![Kept::Store]).encode_body();
        let text = String::from_utf8_lossy(&good).into_owned();
        let cases = [
            ("7:versioni1e", "7:versioni2e", SealError::Version(2)),
            ("6:piecesi9e", "6:piecesi99e", SealError::Field("claimed")),
            ("6:piecesi9e", "6:piecesi99999999e", SealError::Field("pieces")),
            ("5:files25:\u{2}", "5:files25:\u{7}", SealError::Field("files")),
            ("5:files25:\u{2}\0", "5:files25:\u{2}\u{1}", SealError::Field("files")),
        ];
        for (from, to, error) in cases {
            assert!(text.contains(from), "{text:?}");
            // The bitfield is no text.
            let at = good.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
            let mut bytes = good[..at].to_vec();
            bytes.extend_from_slice(to.as_bytes());
            bytes.extend_from_slice(&good[at + from.len()..]);
            assert_eq!(State::decode_body(&bytes), Err(error), "{to:?}");
        }
        let mut bytes = state(9, vec![]).encode();
        bytes[9] ^= 1;
        assert_eq!(State::decode(&bytes), Err(SealError::Checksum));
        assert_eq!(State::decode(b"x"), Err(SealError::Short));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(
            pieces in 0..3000_u32,
            files in proptest::collection::vec(any::<(u8, u64, u64, i64)>(), 0..9),
        ) {
            let files = files.into_iter().map(|(k, i, l, m)| kept(k, i, l, m)).collect();
            let state = state(pieces, files);
            prop_assert_eq!(State::decode(&state.encode()), Ok(state));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::fuzzing::state(&bytes);
        }

        #[test]
        fn a_damaged_file_is_survived(at in 0..200_usize, byte: u8, cut in 0..200_usize) {
            let files = vec![Kept::Store, Kept::Done { inode: 1, length: 2, modified: 3 }];
            let mut body = state(99, files).encode_body();
            if let Some(place) = body.get_mut(at) { *place = byte; }
            crate::fuzzing::state(&body);
            body.truncate(cut);
            crate::fuzzing::state(&body);
        }
    }
}
