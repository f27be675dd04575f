//! Hashing the files of a torrent that is to be made (BEP 3, BEP 52): on plain threads, several
//! pieces side by side on each, every byte read once.
//!
//! Each thread takes the next few pieces, reads them from their files, and hashes them for the
//! versions that are wanted. So the order of reading is about that of the files, and memory is
//! bounded by a number of bytes, whatever the number and length of files.

use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{Fs, Meta};
use bytes::Bytes;
use dunlin_base::{BlockRef, FileIndex, PieceIndex};
use dunlin_hash::sha256_many;
use dunlin_hash::{HashJob, hash_pieces};
use dunlin_metainfo::merkle::root_over;
use dunlin_metainfo::{BLOCK_LENGTH, Geometry, NewHashes, NewTorrent};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};

/// How many pieces a thread takes at a time, so that all its lanes are full.
const PIECES_AT_ONCE: u64 = 16;

/// Bytes that a thread takes at a time, unless one piece is longer.
const BYTES_AT_ONCE: std::ops::RangeInclusive<u64> = 4 << 20..=16 << 20;

/// Bytes that all threads together hold, about; at least one of them works.
const MEMORY: u64 = 256 << 20;

/// A file of the torrent, as it was found.
#[derive(Clone, Debug)]
pub struct NewSource {
    /// Where it is.
    pub path: PathBuf,
    /// What it was when the torrent was planned; if it is another, that is an error.
    pub meta: Meta,
}

/// Hashes the files of `torrent`, of which `sources` says where they are, in the same order. Uses
/// up to `threads` threads.
///
/// `progress` is called on this thread with the bytes hashed so far, and ends the work by `Break`.
///
/// # Errors
/// If a file cannot be read; `Changed` if it is not, or no longer, what it was; `Interrupted` after
/// `Break`.
pub fn hash_new(
    fs: &dyn Fs,
    torrent: &NewTorrent,
    sources: &[NewSource],
    threads: usize,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<NewHashes, DiskError> {
    if sources.len() != torrent.files().len() {
        let kind = DiskErrorKind::Misuse("a torrent of other files than were named");
        return Err(DiskError::new("", kind));
    }
    for (source, file) in sources.iter().zip(torrent.files()) {
        // Of empty files nothing is read, and so nothing would be noticed later.
        if source.meta.len != file.length {
            return Err(DiskError::new(&source.path, DiskErrorKind::Changed));
        }
    }
    let geometry = torrent.geometry();
    let piece_length = u64::from(torrent.piece_length());
    let bytes = (piece_length * PIECES_AT_ONCE).clamp(*BYTES_AT_ONCE.start(), *BYTES_AT_ONCE.end());
    let unit = (bytes / piece_length).max(1);
    let most = usize::try_from(MEMORY / (unit * piece_length)).unwrap_or(1).max(1);
    let work = CreateWork {
        fs,
        torrent,
        sources,
        geometry: &geometry,
        unit: unit as u32,
        next: AtomicU32::new(0),
        stop: AtomicBool::new(false),
    };
    let units = geometry.pieces().div_ceil(work.unit).max(1) as usize;
    let threads = threads.clamp(1, most).min(units);
    std::thread::scope(|scope| {
        let (send, receive) = channel();
        for index in 0..threads {
            let (work, send) = (&work, send.clone());
            let thread = std::thread::Builder::new().name(format!("create-{index}"));
            let spawned = thread.spawn_scoped(scope, move || work.run(&send));
            if let (Err(error), 0) = (spawned, index) {
                return Err(DiskError::new("", DiskErrorKind::Io(error.to_string())));
            }
        }
        drop(send);
        let mut found = CreateOutcome::new(torrent, geometry.pieces());
        let mut done = 0;
        let mut failed = None;
        // The channel ends when all threads have.
        for result in receive {
            match result {
                Ok(unit) => {
                    done += unit.bytes;
                    found.put(&unit);
                    if failed.is_none() && progress(done).is_break() {
                        failed = Some(DiskError::new(unit.last, DiskErrorKind::Interrupted));
                    }
                }
                Err(error) => failed = failed.or(Some(error)),
            }
            if failed.is_some() {
                work.stop.store(true, Ordering::Relaxed);
            }
        }
        failed.map_or(Ok(found.0), Err)
    })
}

/// What all threads share.
struct CreateWork<'a> {
    fs: &'a dyn Fs,
    torrent: &'a NewTorrent,
    sources: &'a [NewSource],
    geometry: &'a Geometry,
    /// Pieces that are taken at a time.
    unit: u32,
    /// The first piece that nobody has taken.
    next: AtomicU32,
    stop: AtomicBool,
}

/// Pieces that one thread has hashed.
struct Unit {
    first: u32,
    bytes: u64,
    pieces: Vec<[u8; 20]>,
    roots: Vec<[u8; 32]>,
    /// The file that was read last, for a message.
    last: PathBuf,
}

/// The hashes of all pieces, which come in any order.
struct CreateOutcome(NewHashes);

impl CreateOutcome {
    fn new(torrent: &NewTorrent, pieces: u32) -> CreateOutcome {
        let count = |there: bool| if there { pieces as usize } else { 0 };
        let format = torrent.format();
        CreateOutcome(NewHashes {
            pieces: vec![[0; 20]; count(format.has_v1())],
            roots: vec![[0; 32]; count(format.has_v2())],
        })
    }

    fn put(&mut self, unit: &Unit) {
        let first = unit.first as usize;
        let places = self.0.pieces.iter_mut().skip(first);
        places.zip(&unit.pieces).for_each(|(place, hash)| *place = *hash);
        let places = self.0.roots.iter_mut().skip(first);
        places.zip(&unit.roots).for_each(|(place, root)| *place = *root);
    }
}

impl CreateWork<'_> {
    fn run(&self, send: &Sender<Result<Unit, DiskError>>) {
        while !self.stop.load(Ordering::Relaxed) {
            let first = self.next.fetch_add(self.unit, Ordering::Relaxed);
            if first >= self.geometry.pieces() {
                return;
            }
            let last = first.saturating_add(self.unit).min(self.geometry.pieces());
            let result = self.hash(first..last);
            let failed = result.is_err();
            if send.send(result).is_err() || failed {
                return;
            }
        }
    }

    fn hash(&self, pieces: Range<u32>) -> Result<Unit, DiskError> {
        let first = pieces.start;
        let mut reader = SourceReader { work: self, open: None };
        let mut unit =
            Unit { first, bytes: 0, pieces: Vec::new(), roots: Vec::new(), last: PathBuf::new() };
        let (mut whole, mut leaves, mut trees) = (Vec::new(), Vec::new(), Vec::new());
        for piece in pieces.map(PieceIndex) {
            let data = self.geometry.data_len(piece);
            let bytes = reader.read(BlockRef { piece, begin: 0, len: data })?;
            unit.bytes += u64::from(data);
            if self.torrent.format().has_v2() {
                let file = FileIndex(self.geometry.piece_files(piece).start);
                let width = self.torrent.leaves(self.geometry.file_length(file), data);
                trees.push((data.div_ceil(BLOCK_LENGTH) as usize, width));
                let starts = (0..bytes.len()).step_by(BLOCK_LENGTH as usize);
                leaves.extend(starts.map(|start| {
                    let end = bytes.len().min(start + BLOCK_LENGTH as usize);
                    HashJob { parts: vec![bytes.slice(start..end)], zeros: 0 }
                }));
            }
            if self.torrent.format().has_v1() {
                let zeros = self.geometry.hashed_len(piece) - data;
                whole.push(HashJob { parts: vec![bytes], zeros });
            }
        }
        unit.last = reader.close()?;
        unit.pieces = hash_pieces(&whole);
        let leaves = sha256_many(&leaves);
        let mut rest = leaves.as_slice();
        for (count, width) in trees {
            let (own, later) = rest.split_at(count.min(rest.len()));
            unit.roots.push(root_over(own, 0, width.trailing_zeros()));
            rest = later;
        }
        Ok(unit)
    }
}

/// Reads parts of files one after another; each file is looked at before and after.
struct SourceReader<'a> {
    work: &'a CreateWork<'a>,
    open: Option<OpenSource<'a>>,
}

struct OpenSource<'a> {
    index: FileIndex,
    source: &'a NewSource,
    file: std::sync::Arc<dyn crate::fs::FsFile>,
}

impl<'a> SourceReader<'a> {
    /// The bytes of a piece.
    fn read(&mut self, piece: BlockRef) -> Result<Bytes, DiskError> {
        let mut bytes = vec![0; piece.len as usize];
        let mut rest = bytes.as_mut_slice();
        for extent in self.work.geometry.extents(piece) {
            let (now, later) = rest.split_at_mut(rest.len().min(extent.len as usize));
            let open = self.open(extent.file)?;
            let read = open.file.read_at(now, extent.offset);
            read.map_err(|error| DiskError::io(&open.source.path, &error))?;
            rest = later;
        }
        Ok(bytes.into())
    }

    fn open(&mut self, index: FileIndex) -> Result<&OpenSource<'a>, DiskError> {
        if self.open.as_ref().is_none_or(|open| open.index != index) {
            self.close()?;
            let source = self.work.sources.get(index.index());
            let misuse = DiskErrorKind::Misuse("a file that the torrent does not have");
            let source = source.ok_or_else(|| DiskError::new("", misuse))?;
            let file = self.work.fs.open_read(&source.path);
            let file = file.map_err(|error| DiskError::io(&source.path, &error))?;
            let open = OpenSource { index, source, file };
            open.check()?;
            self.open = Some(open);
        }
        let misuse = || DiskError::new("", DiskErrorKind::Misuse("a file that is not open"));
        self.open.as_ref().ok_or_else(misuse)
    }

    /// Looks at the file that is open again, and says which it was.
    fn close(&mut self) -> Result<PathBuf, DiskError> {
        let Some(open) = self.open.take() else { return Ok(PathBuf::new()) };
        open.check()?;
        Ok(open.source.path.clone())
    }
}

impl OpenSource<'_> {
    /// Whether the file is what it was found to be.
    fn check(&self) -> Result<(), DiskError> {
        let path = &self.source.path;
        let meta = self.file.meta().map_err(|error| DiskError::io(path, &error))?;
        if meta != self.source.meta {
            return Err(DiskError::new(path, DiskErrorKind::Changed));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
