//! What is kept of a torrent of the internet between two runs: the pieces that are durable, and
//! where the bytes of each file are.
//!
//! It stands in `.dunlin/<info hash>.state` of the destination root: one bencoded dictionary (BEP
//! 3, "bencoding") and the SHA-1 of it. A piece counts for the next run only if all files that hold
//! its bytes are still the ones that are meant here ([`crate::stamp`]); everything else is hashed
//! again. It stays when the torrent is complete, so that a finished file that nobody touched is not
//! read again. Sets of a cluster have another format ([`crate::resume`]), which carries hashes.
//!
//! Version 1 knew less of files than that, and not how the run ended: what it claims is hashed
//! again. A file of a later version is refused, since what it says cannot be kept.

use crate::checksum::{SealError, open, seal};
use crate::stamp::{Ending, STAMP, Stamp};
use dunlin_base::Bitfield;
use dunlin_bencode::{Dict, Limits, Mode, Writer, decode};
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

/// The version of the format that is written.
const VERSION: u64 = 2;

/// Bytes of one file's record: its kind, and its stamp or zeros.
const RECORD: usize = 1 + STAMP;

/// The same in version 1: kind, number, length and time of writing.
const OLD_RECORD: usize = 25;

/// What is known of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The folder that its files are below, relative to the root where it is below that.
    pub(crate) folder: PathBuf,
    /// The pieces that are durable.
    pub(crate) claimed: Bitfield,
    /// Where the bytes of each file are, in order.
    pub(crate) files: Vec<FileRecord>,
    /// The store, if there is one.
    pub(crate) store: Option<Stamp>,
    /// How the run ended that saved this.
    pub(crate) ending: Ending,
    /// It was read from a file of an older version, which is to be written anew.
    pub(crate) old: bool,
}

/// Where the bytes of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileRecord {
    /// Nowhere.
    Nowhere,
    /// In its part file.
    Part {
        /// What that looked like.
        stamp: Stamp,
        /// Whether it is to replace other content in the end.
        replaces: bool,
    },
    /// In the store: what there is of it came with pieces of other files.
    Store,
    /// Under its final name, where it looked like this.
    Done(Stamp),
}

impl FileRecord {
    /// What the file that holds the bytes looked like, unless that is the store.
    pub(crate) fn stamp(&self) -> Option<&Stamp> {
        match self {
            FileRecord::Part { stamp, .. } | FileRecord::Done(stamp) => Some(stamp),
            FileRecord::Nowhere | FileRecord::Store => None,
        }
    }

    fn encode(self) -> [u8; RECORD] {
        let (kind, stamp) = match self {
            FileRecord::Nowhere => (0, None),
            FileRecord::Part { stamp, replaces: false } => (1, Some(stamp)),
            FileRecord::Store => (2, None),
            FileRecord::Done(stamp) => (3, Some(stamp)),
            FileRecord::Part { stamp, replaces: true } => (4, Some(stamp)),
        };
        let mut record = [0; RECORD];
        record[0] = kind;
        record[1..].copy_from_slice(&stamp.map_or([0; STAMP], Stamp::encode));
        record
    }

    fn decode(record: &[u8; RECORD]) -> Option<FileRecord> {
        let (kind, rest) = record.split_first()?;
        let kept = FileRecord::of(*kind, Stamp::decode(rest.first_chunk()?))?;
        (kept.encode() == *record).then_some(kept)
    }

    /// A record of version 1. Its stamp is not whole, so that no file is ever taken for the same.
    fn decode_old(record: &[u8; OLD_RECORD]) -> Option<FileRecord> {
        let (kind, rest) = record.split_first()?;
        let (numbers, _) = rest.as_chunks::<8>();
        let [inode, length, modified] = numbers else { return None };
        let stamp = Stamp {
            inode: u64::from_le_bytes(*inode),
            length: u64::from_le_bytes(*length),
            modified: i64::from_le_bytes(*modified),
            changed: 0,
        };
        FileRecord::of(*kind, stamp)
    }

    fn of(kind: u8, stamp: Stamp) -> Option<FileRecord> {
        Some(match kind {
            0 => FileRecord::Nowhere,
            1 => FileRecord::Part { stamp, replaces: false },
            2 => FileRecord::Store,
            3 => FileRecord::Done(stamp),
            4 => FileRecord::Part { stamp, replaces: true },
            _ => return None,
        })
    }
}

impl State {
    /// Whether nothing is under way: no file is in a part file, and there is no store. Files that
    /// would be in it are no sign: padding never is anywhere else.
    pub(crate) fn is_finished(&self) -> bool {
        let under_way = |file: &FileRecord| matches!(file, FileRecord::Part { .. });
        self.store.is_none() && !self.files.iter().any(under_way)
    }

    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        seal(self.encode_body())
    }

    pub(crate) fn encode_body(&self) -> Vec<u8> {
        let records: Vec<_> = self.files.iter().map(|file| file.encode()).collect();
        let mut writer = Writer::new();
        writer.dict().key("claimed").bytes(self.claimed.to_bytes());
        writer.key("clean").integer(u8::from(self.ending.clean));
        writer.key("files").bytes(records.as_flattened());
        writer.key("folder").bytes(self.folder.as_os_str().as_bytes());
        writer.key("pieces").integer(self.claimed.len());
        writer.key("saved").integer(self.ending.saved);
        let store = self.store.map(Stamp::encode);
        writer.key("store").bytes(store.as_ref().map_or(&[][..], |store| store));
        writer.key("version").integer(VERSION);
        writer.key("window").integer(self.ending.window).end();
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
        match number(&root, "version")? {
            1 => State::decode_old(&root),
            VERSION => State::decode_now(&root),
            other => Err(SealError::Version(other)),
        }
    }

    fn decode_now(root: &Dict<'_>) -> Result<State, SealError> {
        let (records, rest) = bytes(root, "files")?.as_chunks::<RECORD>();
        let files: Option<Vec<_>> = records.iter().map(FileRecord::decode).collect();
        let store = match bytes(root, "store")? {
            [] => None,
            store => Some(store.try_into().map_err(|_| SealError::Field("store"))?),
        };
        Ok(State {
            folder: folder(root)?,
            claimed: claimed(root)?,
            files: files.filter(|_| rest.is_empty()).ok_or(SealError::Field("files"))?,
            store: store.map(Stamp::decode),
            ending: Ending::decode(root)?,
            old: false,
        })
    }

    /// Version 1: where bytes are is believed, what they are is not.
    fn decode_old(root: &Dict<'_>) -> Result<State, SealError> {
        let (records, rest) = bytes(root, "files")?.as_chunks::<OLD_RECORD>();
        let files: Option<Vec<_>> = records.iter().map(FileRecord::decode_old).collect();
        let inode = Some(number(root, "store")?).filter(|inode| *inode != 0);
        let (length, modified, changed) = (0, 0, 0);
        Ok(State {
            folder: folder(root)?,
            claimed: Bitfield::new(claimed(root)?.len()),
            files: files.filter(|_| rest.is_empty()).ok_or(SealError::Field("files"))?,
            store: inode.map(|inode| Stamp { inode, length, modified, changed }),
            ending: Ending::CLEAN,
            old: true,
        })
    }
}

fn number(root: &Dict<'_>, key: &'static str) -> Result<u64, SealError> {
    root.get(key).and_then(|node| node.as_u64()).ok_or(SealError::Field(key))
}

fn bytes<'d>(root: &Dict<'d>, key: &'static str) -> Result<&'d [u8], SealError> {
    root.get(key).and_then(|node| node.as_bytes()).ok_or(SealError::Field(key))
}

fn folder(root: &Dict<'_>) -> Result<PathBuf, SealError> {
    Ok(PathBuf::from(OsString::from_vec(bytes(root, "folder")?.to_vec())))
}

fn claimed(root: &Dict<'_>) -> Result<Bitfield, SealError> {
    let pieces = u32::try_from(number(root, "pieces")?).ok().filter(|count| *count <= MAX_PIECES);
    let pieces = pieces.ok_or(SealError::Field("pieces"))?;
    Bitfield::from_bytes(pieces, bytes(root, "claimed")?).map_err(|_| SealError::Field("claimed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::PieceIndex;
    use proptest::prelude::*;

    fn kept(kind: u8, stamp: Stamp) -> FileRecord {
        match kind % 5 {
            0 => FileRecord::Nowhere,
            1 => FileRecord::Store,
            2 => FileRecord::Part { stamp, replaces: false },
            3 => FileRecord::Part { stamp, replaces: true },
            _ => FileRecord::Done(stamp),
        }
    }

    fn stamp(inode: u64, length: u64, modified: i64, changed: i64) -> Stamp {
        Stamp { inode, length, modified, changed }
    }

    fn state(pieces: u32, files: Vec<FileRecord>) -> State {
        let mut claimed = Bitfield::new(pieces);
        (0..pieces).step_by(3).for_each(|piece| _ = claimed.set(PieceIndex(piece)));
        let ending = Ending { clean: false, saved: -4, window: 1000 };
        let store = Some(stamp(9, 0, 0, 0));
        State { folder: "a/ b".into(), claimed, files, store, ending, old: false }
    }

    #[test]
    fn the_format() {
        let files = vec![FileRecord::Store, FileRecord::Done(stamp(1, 2, -1, 3))];
        let expected = [
            &b"d7:claimed1:\x905:cleani0e5:files66:\x02"[..],
            &[0; 32],
            b"\x03\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x03\0\0\0\0\0\0\0",
            b"6:folder4:a/ b6:piecesi4e5:savedi-4e5:store32:\x09",
            &[0; 31],
            b"7:versioni2e6:windowi1000ee",
        ];
        assert_eq!(state(4, files).encode_body(), expected.concat());
    }

    #[test]
    fn every_version_is_read() {
        let old = State::decode(include_bytes!("../tests/formats/torrent-1.state")).unwrap();
        assert!(old.old && old.claimed.count() == 0 && old.claimed.len() == 7);
        let kinds = |state: &State| -> String {
            let kind = |kept: &FileRecord| match kept {
                FileRecord::Nowhere => '-',
                FileRecord::Part { .. } => 'p',
                FileRecord::Store => 's',
                FileRecord::Done(_) => 'd',
            };
            state.files.iter().map(kind).collect()
        };
        assert_eq!(kinds(&old), "ddps-p");
        assert!(old.store.is_some());
        // It says the same in today's form, which proves as little.
        let again = State::decode(&old.encode()).unwrap();
        assert_eq!(again, State { old: false, ..old });
        let now = State::decode(include_bytes!("../tests/formats/torrent-2.state")).unwrap();
        assert_eq!((kinds(&now).as_str(), now.ending.clean, now.old), ("ddps-p", true, false));
        assert_eq!(now.claimed.count(), 4);
    }

    #[test]
    fn faults_are_named() {
        let good = state(9, vec![FileRecord::Store]).encode_body();
        let text = String::from_utf8_lossy(&good).into_owned();
        let cases = [
            ("7:versioni2e", "7:versioni3e", SealError::Version(3)),
            ("7:versioni2e", "7:versioni0e", SealError::Version(0)),
            ("6:piecesi9e", "6:piecesi99e", SealError::Field("claimed")),
            ("6:piecesi9e", "6:piecesi99999999e", SealError::Field("pieces")),
            ("5:cleani0e", "5:cleani2e", SealError::Field("clean")),
            ("5:files33:\u{2}", "5:files33:\u{7}", SealError::Field("files")),
            ("5:files33:\u{2}\0", "5:files33:\u{2}\u{1}", SealError::Field("files")),
            ("7:versioni2e", "7:versioni1e", SealError::Field("store")),
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
            files in proptest::collection::vec(any::<(u8, u64, u64, i64, i64)>(), 0..9),
            clean: bool,
        ) {
            let kept = |(k, i, l, m, c)| kept(k, stamp(i, l, m, c));
            let mut state = state(pieces, files.into_iter().map(kept).collect());
            state.ending.clean = clean;
            prop_assert_eq!(State::decode(&state.encode()), Ok(state));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::fuzzing::state(&bytes);
        }

        #[test]
        fn a_damaged_file_is_survived(at in 0..240_usize, byte: u8, cut in 0..240_usize) {
            let files = vec![FileRecord::Store, FileRecord::Done(stamp(1, 2, 3, 4))];
            let mut body = state(99, files).encode_body();
            if let Some(place) = body.get_mut(at) { *place = byte; }
            crate::fuzzing::state(&body);
            body.truncate(cut);
            crate::fuzzing::state(&body);
        }
    }
}
