//! Resume files: what is known of unfinished files when a run ends early.
//!
//! A resume file is `.dunlin/<info hash>.resume` in the destination root: one bencoded dictionary
//! (BEP 3, "bencoding") and the SHA-1 of it. It lists every unfinished file of a torrent with its
//! whole list of piece hashes, so that a part can be offered to others before any owner is found,
//! and the pieces that are durable. It is the "being written" mark of its files, too: it is on disk
//! before the first byte of a part file is.

use crate::checksum::{SealError, open, seal};
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

/// The version of the format; others are ignored.
const VERSION: u64 = 1;

/// What a resume file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resume {
    /// Grows with every torrent that is opened in a root: of two claims on one place the one of the
    /// higher number counts.
    pub(crate) sequence: u64,
    /// The unfinished files.
    pub(crate) files: Vec<ResumeFile>,
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
    /// The number of the part file on its file system; 0 if there is none yet.
    pub(crate) inode: u64,
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
        writer.dict().key("files").list();
        for file in &self.files {
            writer.dict().key("claimed").bytes(file.claimed.to_bytes());
            writer.key("dest").bytes(file.dest.as_os_str().as_bytes());
            writer.key("hashes").bytes(file.hashes.as_flattened());
            writer.key("inode").integer(file.inode).key("length").integer(file.length);
            writer.key("name").bytes(&file.name);
            writer.key("piece length").integer(file.piece_length).end();
        }
        writer.end().key("sequence").integer(self.sequence);
        writer.key("version").integer(VERSION).end();
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
        match number(&root, "version")? {
            VERSION => {}
            other => return Err(SealError::Version(other)),
        }
        let files = root.get("files").and_then(|node| node.list());
        let files = files.ok_or(SealError::Field("files"))?;
        let file = |node: dunlin_bencode::Node<'_>| {
            decode_file(&node.dict().ok_or(SealError::Field("files"))?)
        };
        let files = files.map(file).collect::<Result<Vec<_>, _>>()?;
        Ok(Resume { sequence: number(&root, "sequence")?, files })
    }
}

fn number(dict: &Dict<'_>, key: &'static str) -> Result<u64, SealError> {
    dict.get(key).and_then(|node| node.as_u64()).ok_or(SealError::Field(key))
}

fn bytes<'d>(dict: &Dict<'d>, key: &'static str) -> Result<&'d [u8], SealError> {
    dict.get(key).and_then(|node| node.as_bytes()).ok_or(SealError::Field(key))
}

fn decode_file(dict: &Dict<'_>) -> Result<ResumeFile, SealError> {
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
    let claimed = Bitfield::from_bytes(pieces, bytes(dict, "claimed")?);
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
        inode: number(dict, "inode")?,
        claimed: claimed.map_err(|_| SealError::Field("claimed"))?,
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
        let (name, inode) = ("a b".to_owned(), u64::MAX - bits);
        ResumeFile { name, dest, length, piece_length, inode, claimed, hashes }
    }

    #[test]
    fn the_format() {
        let resume = Resume { sequence: 3, files: vec![file(5, 4, 1)] };
        let expected = b"d5:filesld7:claimed1:\x804:dest5:d/a b6:hashes40:\0\0\0\0\0\0\0\0\0\0\0\0\
            \0\0\0\0\0\0\0\0\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\
            \x01\x01\x015:inodei18446744073709551614e6:lengthi5e4:name3:a b12:piece lengthi4eee\
            8:sequencei3e7:versioni1ee";
        assert_eq!(resume.encode_body(), expected);
    }

    #[test]
    fn faults_are_named() {
        let good = Resume { sequence: 0, files: vec![file(5, 4, 1)] };
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
        let old = b"d5:filesle8:sequencei0e7:versioni2ee";
        assert_eq!(Resume::decode_body(old), Err(SealError::Version(2)));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(
            sequence: u64,
            shapes in proptest::collection::vec((0..2000_u64, 1..200_u32, any::<u64>()), 0..5),
        ) {
            let files = shapes.iter().map(|(len, piece, bits)| file(*len, *piece, *bits)).collect();
            let resume = Resume { sequence, files };
            prop_assert_eq!(Resume::decode(&resume.encode()), Ok(resume));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::fuzzing::resume(&bytes);
        }

        #[test]
        fn a_damaged_file_is_survived(at in 0..400_usize, byte: u8, cut in 0..400_usize) {
            let mut body = Resume { sequence: 1, files: vec![file(500, 50, 5)] }.encode_body();
            if let Some(place) = body.get_mut(at) { *place = byte; }
            crate::fuzzing::resume(&body);
            body.truncate(cut);
            crate::fuzzing::resume(&body);
        }
    }
}
