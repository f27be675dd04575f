//! Resume files: what is known of unfinished files when a run ends early.
//!
//! A resume file is `.dunlin/<info hash>.resume` in the destination root: one bencoded dictionary
//! (BEP 3, "bencoding") and the SHA-1 of it. It lists every unfinished file of a torrent with its
//! whole list of piece hashes, so that a part can be offered to others before any owner is found,
//! and the pieces that are durable. It is the "being written" mark of its files, too: it is on disk
//! before the first byte of a part file is.
//!
//! The state of a torrent of the internet is another format ([`crate::state`]): there the metainfo
//! has the hashes, and it stays after completion. Here the hashes are kept, since nobody else may
//! have them before an owner is found, and the file goes with the last unfinished one.
//!
//! Version 1 knew of a part file no more than its number: what it claims is hashed again. A file of
//! a later version is refused, since what it says cannot be kept.

use crate::checksum::{SealError, open, seal};
use crate::stamp::{Ending, Stamp};
use dunlin_base::Bitfield;
use dunlin_bencode::{Dict, Limits, Mode, Writer, decode};
use dunlin_metainfo::MAX_PIECES;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The ending of a resume file's name.
pub(crate) const RESUME_SUFFIX: &str = ".resume";

/// The largest resume file that is read, in bytes: the hashes of a full-sized torrent (40 MiB) and
/// the names of its files.
pub(crate) const MAX_RESUME: u64 = 128 << 20;

/// The version of the format that is written.
const VERSION: u64 = 2;

/// What a resume file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resume {
    /// Grows with every torrent that is opened in a root: of two claims on one place the one of the
    /// higher number counts.
    pub(crate) sequence: u64,
    /// The unfinished files.
    pub(crate) files: Vec<ResumeFile>,
    /// How the run ended that saved this.
    pub(crate) ending: Ending,
}

/// What is known of one unfinished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResumeFile {
    /// Its name in the set.
    pub(crate) name: String,
    /// Its final path, relative to the destination root where it is below.
    pub(crate) dest: PathBuf,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// The length of a piece in bytes.
    pub(crate) piece_length: u32,
    /// What the part file looked like; `None` if there was none yet.
    pub(crate) part: Option<Stamp>,
    /// The pieces that are durable.
    pub(crate) claimed: Bitfield,
    /// The hashes of all its pieces.
    pub(crate) hashes: Vec<[u8; 20]>,
}

impl Resume {
    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        seal(self.encode_body())
    }

    pub(crate) fn encode_body(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.dict().key("clean").integer(u8::from(self.ending.clean)).key("files").list();
        for file in &self.files {
            writer.dict().key("claimed").bytes(file.claimed.to_bytes());
            writer.key("dest").bytes(file.dest.as_os_str().as_bytes());
            writer.key("hashes").bytes(file.hashes.as_flattened());
            writer.key("length").integer(file.length).key("name").bytes(&file.name);
            let part = file.part.map(Stamp::encode);
            writer.key("part").bytes(part.as_ref().map_or(&[][..], |part| part));
            writer.key("piece length").integer(file.piece_length).end();
        }
        writer.end().key("saved").integer(self.ending.saved);
        writer.key("sequence").integer(self.sequence).key("version").integer(VERSION);
        writer.key("window").integer(self.ending.window).end();
        // The keys above are in order, so the writer has nothing to object to.
        writer.finish().unwrap_or_default()
    }

    /// Reads the bytes of a file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Resume, SealError> {
        Resume::decode_body(open(bytes)?)
    }

    pub(crate) fn decode_body(body: &[u8]) -> Result<Resume, SealError> {
        let document = decode(body, Mode::Strict, Limits::TORRENT)
            .map_err(|error| SealError::Bencode(error.to_string()))?;
        let root = document.root().dict().ok_or(SealError::Field("the dictionary"))?;
        let old = match number(&root, "version")? {
            1 => true,
            VERSION => false,
            other => return Err(SealError::Version(other)),
        };
        let files = root.get("files").and_then(|node| node.list());
        let files = files.ok_or(SealError::Field("files"))?;
        let file = |node: dunlin_bencode::Node<'_>| {
            decode_file(&node.dict().ok_or(SealError::Field("files"))?, old)
        };
        let files = files.map(file).collect::<Result<Vec<_>, _>>()?;
        let ending = if old { Ending::CLEAN } else { Ending::decode(&root)? };
        Ok(Resume { sequence: number(&root, "sequence")?, files, ending })
    }
}

fn number(dict: &Dict<'_>, key: &'static str) -> Result<u64, SealError> {
    dict.get(key).and_then(|node| node.as_u64()).ok_or(SealError::Field(key))
}

fn bytes<'d>(dict: &Dict<'d>, key: &'static str) -> Result<&'d [u8], SealError> {
    dict.get(key).and_then(|node| node.as_bytes()).ok_or(SealError::Field(key))
}

fn decode_file(dict: &Dict<'_>, old: bool) -> Result<ResumeFile, SealError> {
    let length = number(dict, "length")?;
    let piece_length = u32::try_from(number(dict, "piece length")?).ok().filter(|len| *len > 0);
    let piece_length = piece_length.ok_or(SealError::Field("piece length"))?;
    let pieces = u32::try_from(length.div_ceil(u64::from(piece_length)));
    let pieces = pieces.ok().filter(|pieces| *pieces <= MAX_PIECES);
    let pieces = pieces.ok_or(SealError::Field("length"))?;
    let (hashes, rest) = bytes(dict, "hashes")?.as_chunks::<20>();
    if !rest.is_empty() || hashes.len() != pieces as usize {
        return Err(SealError::Field("hashes"));
    }
    let mut claimed = Bitfield::from_bytes(pieces, bytes(dict, "claimed")?)
        .map_err(|_| SealError::Field("claimed"))?;
    let part = match old {
        // The number alone proves nothing.
        true => {
            claimed = Bitfield::new(pieces);
            number(dict, "inode").map(|_| None)?
        }
        false => match bytes(dict, "part")? {
            [] => None,
            part => Some(part.try_into().map_err(|_| SealError::Field("part"))?),
        },
    };
    let name = std::str::from_utf8(bytes(dict, "name")?).ok();
    let name = name.filter(|name| dunlin_metainfo::check_name(name).is_ok());
    let dest = PathBuf::from(OsString::from_vec(bytes(dict, "dest")?.to_vec()));
    // A place that leads out of the root by dots was not written by us.
    let plain = dest.components().all(|part| part != Component::ParentDir);
    if !plain || dest.file_name().is_none() || dest.as_os_str().as_bytes().contains(&0) {
        return Err(SealError::Field("dest"));
    }
    Ok(ResumeFile {
        name: name.ok_or(SealError::Field("name"))?.to_owned(),
        dest,
        length,
        piece_length,
        part: part.map(Stamp::decode),
        claimed,
        hashes: hashes.to_vec(),
    })
}

/// A path as a resume file keeps it: relative to `root` where it is below.
pub(crate) fn relative(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::PieceIndex;
    use proptest::prelude::*;

    fn file(length: u64, piece_length: u32, bits: u64) -> ResumeFile {
        let pieces = length.div_ceil(u64::from(piece_length)) as u32;
        let mut claimed = Bitfield::new(pieces);
        for piece in (0..pieces).filter(|piece| bits >> (piece % 64) & 1 == 1) {
            claimed.set(PieceIndex(piece));
        }
        let hashes = (0..pieces).map(|piece| [piece as u8; 20]).collect();
        let dest = PathBuf::from("d/a b");
        let stamp = Stamp { inode: u64::MAX - bits, length, modified: 2, changed: 3 };
        let (name, part) = ("a b".to_owned(), (bits % 4 != 3).then_some(stamp));
        ResumeFile { name, dest, length, piece_length, part, claimed, hashes }
    }

    const ENDING: Ending = Ending { clean: false, saved: -4, window: 1000 };

    #[test]
    fn the_format() {
        let resume = Resume { sequence: 3, files: vec![file(5, 4, 1)], ending: ENDING };
        let expected = [
            &b"d5:cleani0e5:filesld7:claimed1:\x804:dest5:d/a b6:hashes40:"[..],
            &[0; 20],
            &[1; 20],
            b"6:lengthi5e4:name3:a b4:part32:\xfe\xff\xff\xff\xff\xff\xff\xff\x05\0\0\0\0\0\0\0",
            b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\x0012:piece lengthi4ee",
            b"e5:savedi-4e8:sequencei3e7:versioni2e6:windowi1000ee",
        ];
        assert_eq!(resume.encode_body(), expected.concat());
    }

    #[test]
    fn every_version_is_read() {
        let old = Resume::decode(include_bytes!("../tests/formats/set-1.resume")).unwrap();
        let names = |resume: &Resume| {
            resume.files.iter().map(|file| file.name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&old), "x d/y");
        assert!(old.files.iter().all(|file| file.claimed.count() == 0 && file.part.is_none()));
        assert_eq!(Resume::decode(&old.encode()), Ok(old));
        let now = Resume::decode(include_bytes!("../tests/formats/set-2.resume")).unwrap();
        assert_eq!((names(&now).as_str(), now.ending.clean), ("x d/y", true));
        assert!(now.files.iter().all(|file| file.claimed.count() == 1 && file.part.is_some()));
    }

    #[test]
    fn faults_are_named() {
        let good = Resume { sequence: 0, files: vec![file(5, 4, 1)], ending: ENDING };
        type Fault = fn(&mut ResumeFile);
        let change = |change: Fault| {
            let mut resume = good.clone();
            resume.files.iter_mut().for_each(change);
            Resume::decode(&resume.encode()).map_err(|error| error.to_string())
        };
        let cases: [(Fault, &str); 7] = [
            (|f| f.length = 50, "hashes"),
            (|f| f.length = u64::MAX, "length"),
            (|f| f.piece_length = 0, "piece length"),
            (|f| f.claimed = Bitfield::full(9), "claimed"),
            (|f| f.name = "../x".into(), "name"),
            (|f| f.dest = "a/../b".into(), "dest"),
            (|f| f.dest = "".into(), "dest"),
        ];
        for (fault, field) in cases {
            assert_eq!(change(fault), Err(format!("`{field}` is missing or wrong")));
        }
        let mut bytes = good.encode();
        bytes[9] ^= 1;
        assert_eq!(Resume::decode(&bytes), Err(SealError::Checksum));
        assert_eq!(Resume::decode(b"x"), Err(SealError::Short));
        let new = b"d5:filesle8:sequencei0e7:versioni3ee";
        assert_eq!(Resume::decode_body(new), Err(SealError::Version(3)));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(
            sequence: u64,
            shapes in proptest::collection::vec((0..2000_u64, 1..200_u32, any::<u64>()), 0..5),
        ) {
            let files = shapes.iter().map(|(len, piece, bits)| file(*len, *piece, *bits)).collect();
            let resume = Resume { sequence, files, ending: ENDING };
            prop_assert_eq!(Resume::decode(&resume.encode()), Ok(resume));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::fuzzing::resume(&bytes);
        }

        #[test]
        fn a_damaged_file_is_survived(at in 0..400_usize, byte: u8, cut in 0..400_usize) {
            let mut body = Resume {
                sequence: 1,
                files: vec![file(500, 50, 5)],
                ending: ENDING,
            }
            .encode_body();
            if let Some(place) = body.get_mut(at) { *place = byte; }
            crate::fuzzing::resume(&body);
            body.truncate(cut);
            crate::fuzzing::resume(&body);
        }
    }
}
