//! One rank's files: opened, read by the block, written by the piece.
//!
//! ```text
//!            first write            all pieces            data synced, then renamed
//!   Wanted ───────────────▶ part ───────────────▶ queued ──────────────────────────▶ final name
//!            mark, then             finish_file           sync
//!            create
//! ```

use crate::buffers::BufferPool;
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{Fs, FsFile, Meta};
use crate::names::{STATE_DIR, part_path};
use crate::open_files::OpenFiles;
use crate::scan::{Leavings, PartClaim};
use crate::torrent_files::{Part, Readable, TorrentFiles};
use bytes::Bytes;
use dunlin_base::{Bitfield, BlockRef, FileIndex, PieceIndex, TorrentId};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where a file of a torrent is, or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilePlace {
    /// It is complete here, and only read.
    Source(SourceFile),
    /// It is owned at one place and wanted at another: written, not downloaded. Other content that
    /// stands there when the torrent is opened is replaced in the end: ask before you open.
    Copy {
        /// Where it is; only read.
        source: SourceFile,
        /// Where it goes.
        dest: PathBuf,
    },
    /// It is to be downloaded.
    Wanted {
        /// Where it goes.
        dest: PathBuf,
        /// Whether other content that stands there may be replaced in the end.
        replace: bool,
    },
    /// It is none of our business.
    Absent,
}

/// A complete file that is only read, and must stay what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it was when its hashes were taken; `None` for what it is when it is opened. A file that
    /// is not this any more is not read.
    pub seen: Option<Meta>,
}

impl From<PathBuf> for SourceFile {
    /// A source whose hashes are known from elsewhere.
    fn from(path: PathBuf) -> SourceFile {
        SourceFile { path, seen: None }
    }
}

/// How a rank's files are kept.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The destination root; the state folder is `.dunlin` in it.
    pub root: PathBuf,
    /// Files that are kept open at a time.
    pub open_files: usize,
    /// The longest time that written pieces stay unsynced.
    pub sync_interval: Duration,
    /// The most bytes that stay unsynced.
    pub sync_bytes: u64,
    /// Where blocks that are read get their buffers: the budget's, where there is one.
    pub buffers: Arc<BufferPool>,
    /// Set by the owner when what earlier runs left need not be checked to the end.
    pub stop: Arc<AtomicBool>,
}

impl StorageConfig {
    /// The defaults: 64 open files, a sync every second or 64 MiB, buffers that are not kept.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, root: PathBuf) -> StorageConfig {
        let sync_interval = Duration::from_secs(1);
        let (open_files, sync_bytes, buffers) = (64, 64 << 20, BufferPool::new(0));
        let stop = Arc::default();
        StorageConfig { fs, root, open_files, sync_interval, sync_bytes, buffers, stop }
    }
}

/// What is there when a torrent is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The pieces that are here.
    pub have: Bitfield,
    /// How many of them were found in unfinished files.
    pub resumed: u32,
}

/// Bytes and syncs so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payload bytes read from files.
    pub bytes_read: u64,
    /// Payload bytes written to files.
    pub bytes_written: u64,
    /// Batches that were synced.
    pub syncs: u64,
}

/// The files of one rank. All methods may be called from several threads.
#[derive(Debug)]
pub struct Storage {
    pub(crate) config: StorageConfig,
    pub(crate) files: OpenFiles,
    pub(crate) torrents: Mutex<BTreeMap<TorrentId, Arc<TorrentFiles>>>,
    pub(crate) leavings: Mutex<Option<Leavings>>,
    pub(crate) sequence: AtomicU64,
    pub(crate) pace: Mutex<Pace>,
    /// One sync at a time.
    pub(crate) syncing: Mutex<()>,
    /// One writer of resume files at a time. Taken last but for `inner`.
    pub(crate) saving: Mutex<bool>,
    pub(crate) read: AtomicU64,
    pub(crate) wrote: AtomicU64,
    pub(crate) syncs: AtomicU64,
}

/// What waits for the next sync.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    pub(crate) bytes: u64,
    pub(crate) since: Option<Instant>,
    pub(crate) finish: Vec<(TorrentId, FileIndex)>,
    pub(crate) finish_since: Option<Instant>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn misuse(path: impl Into<PathBuf>, what: &'static str) -> DiskError {
    DiskError::new(path, DiskErrorKind::Misuse(what))
}

impl Storage {
    /// Storage that holds no torrent yet. Nothing on disk is touched.
    #[must_use]
    pub fn new(config: StorageConfig) -> Storage {
        Storage {
            files: OpenFiles::new(config.open_files),
            config,
            torrents: Mutex::default(),
            leavings: Mutex::default(),
            sequence: AtomicU64::new(0),
            pace: Mutex::default(),
            syncing: Mutex::default(),
            saving: Mutex::default(),
            read: AtomicU64::new(0),
            wrote: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        }
    }

    pub(crate) fn fs(&self) -> &dyn Fs {
        &*self.config.fs
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.config.root.join(STATE_DIR)
    }

    pub(crate) fn torrent(&self, id: TorrentId) -> Result<Arc<TorrentFiles>, DiskError> {
        let found = lock(&self.torrents).get(&id).cloned();
        found.ok_or_else(|| misuse(&self.config.root, "a torrent that is not open"))
    }

    pub(crate) fn all_torrents(&self) -> Vec<Arc<TorrentFiles>> {
        lock(&self.torrents).values().cloned().collect()
    }

    /// What earlier runs left unfinished in this root. Pieces that their resume files claim are
    /// trusted where the part file is still the same; other pieces with data are hashed now. Resume
    /// files that are torn or not ours are ignored with a warning. They are read once; files that
    /// were opened since are left out.
    ///
    /// # Errors
    /// If the state folder cannot be read; `Interrupted` if the storage is told to stop meanwhile.
    pub fn unfinished(&self) -> Result<Vec<PartClaim>, DiskError> {
        self.with_leavings(|leavings| leavings.claims())
    }

    pub(crate) fn with_leavings<T>(
        &self,
        look: impl FnOnce(&mut Leavings) -> T,
    ) -> Result<T, DiskError> {
        let mut leavings = lock(&self.leavings);
        if leavings.is_none() {
            let loaded = Leavings::load(self.fs(), &self.config.root, &self.config.stop)?;
            self.sequence.store(loaded.sequence, Ordering::Relaxed);
            *leavings = Some(loaded);
        }
        Ok(look(leavings.get_or_insert_default()))
    }

    pub(crate) fn sync_paths(&self, paths: &[PathBuf]) -> Vec<(usize, io::Error)> {
        if paths.is_empty() {
            return Vec::new();
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.fs().sync_many(paths)
    }

    /// Reads a block from wherever it is: a source, a part file, or the finished file.
    ///
    /// # Errors
    /// If it cannot be read; `Changed` if a source is not what it was.
    pub fn read_block(&self, torrent: TorrentId, block: BlockRef) -> Result<Bytes, DiskError> {
        let files = self.torrent(torrent)?;
        self.read_from(&files, block)
    }

    pub(crate) fn read_from(
        &self,
        files: &TorrentFiles,
        block: BlockRef,
    ) -> Result<Bytes, DiskError> {
        // A block is never longer than a piece; this bounds the buffer.
        let end = block.begin.checked_add(block.len);
        let inside = files.geometry.piece(block.piece.0).is_some()
            && end.is_some_and(|end| end <= files.geometry.data_len(block.piece));
        if !inside {
            return Err(misuse(&self.config.root, "a block outside of its piece"));
        }
        let mut buffer = self.config.buffers.take(block.len as usize);
        let mut filled = 0;
        for extent in files.geometry.extents(block) {
            let end = filled + extent.len as usize;
            let Some(place) = buffer.bytes_mut().get_mut(filled..end) else { break };
            let (file, from) = self.readable(files, extent.file)?;
            let named = |error: io::Error| DiskError::io(&from.path, &error);
            file.read_at(place, extent.offset).map_err(named)?;
            // Looked at after the read: what was written before it shows.
            if let Some(seen) = from.seen
                && file.meta().map_err(named)? != seen
            {
                self.files.remove((files.id, extent.file));
                return Err(DiskError::new(from.path, DiskErrorKind::Changed));
            }
            filled = end;
        }
        // What no file covers is padding, and padding is zeros (BEP 47).
        buffer.bytes_mut()[filled..].fill(0);
        self.read.fetch_add(u64::from(block.len), Ordering::Relaxed);
        Ok(buffer.freeze())
    }

    /// An open file to read from, and where it is.
    fn readable(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
    ) -> Result<(Arc<dyn FsFile>, Readable), DiskError> {
        let place = || match files.inner().slots.get(file.index()) {
            Some(slot) => slot.readable(),
            None => Err(misuse(&self.config.root, "a file that the torrent has not")),
        };
        let from = place()?;
        match self.open_file(files, file, &from.path, from.inode) {
            // Renamed to its final name meanwhile.
            Err(error) if from.inode.is_some() => match place()? {
                now if now.path != from.path => {
                    Ok((self.open_file(files, file, &now.path, now.inode)?, now))
                }
                _ => Err(error),
            },
            opened => Ok((opened?, from)),
        }
    }

    /// Opens a file that is there; a part file (one with an `inode`) for writing, too.
    fn open_file(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
        path: &Path,
        inode: Option<u64>,
    ) -> Result<Arc<dyn FsFile>, DiskError> {
        let key = (files.id, file);
        if let Some(open) = self.files.get(key) {
            return Ok(open);
        }
        let named = |error: io::Error| DiskError::io(path, &error);
        self.files.make_room();
        let there = self.fs().metadata(path).map_err(named)?;
        let opened = match inode {
            Some(_) => self.fs().open_write(path),
            None => self.fs().open_read(path),
        };
        let opened = opened.map_err(named)?;
        // Somebody else's file under our name must not be taken for ours.
        let same = there.len == files.geometry.file_length(file)
            && inode.is_none_or(|inode| inode == there.inode);
        if !same {
            return Err(DiskError::new(path, DiskErrorKind::Changed));
        }
        self.files.put(key, &opened);
        Ok(opened)
    }

    /// Writes a verified piece in one write a file. It is claimed after the next sync.
    ///
    /// # Errors
    /// If it cannot be written; nothing is claimed then, and the call may be repeated.
    pub fn write_piece(
        &self,
        torrent: TorrentId,
        piece: PieceIndex,
        parts: &[Bytes],
    ) -> Result<(), DiskError> {
        let files = self.torrent(torrent)?;
        if files.geometry.piece(piece.0).is_none() {
            return Err(misuse(&self.config.root, "a piece that the torrent has not"));
        }
        self.write_to(&files, files.whole(piece), parts)?;
        let mut inner = files.inner();
        if !inner.durable.has(piece) {
            inner.suspect.clear(piece);
            inner.written.set(piece);
        }
        Ok(())
    }

    /// Writes a block of a piece that is not verified yet (spilled, or streamed). Nothing is
    /// claimed before [`Storage::verified`].
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_block(
        &self,
        torrent: TorrentId,
        block: BlockRef,
        bytes: &Bytes,
    ) -> Result<(), DiskError> {
        let files = self.torrent(torrent)?;
        self.write_to(&files, block, std::slice::from_ref(bytes))
    }

    /// All blocks of `piece` are written and right: it is claimed after the next sync.
    pub fn verified(&self, torrent: TorrentId, piece: PieceIndex) {
        let Ok(files) = self.torrent(torrent) else { return };
        if files.geometry.piece(piece.0).is_none() {
            return;
        }
        let mut inner = files.inner();
        if inner.durable.has(piece) {
            return;
        }
        let faulty =
            |file: u32| inner.slots.get(file as usize).is_some_and(|slot| slot.fault.is_some());
        if files.file_of(piece, faulty).is_some() {
            inner.suspect.set(piece);
        } else {
            inner.written.set(piece);
        }
        drop(inner);
        self.note_written(0);
    }

    pub(crate) fn write_to(
        &self,
        files: &TorrentFiles,
        block: BlockRef,
        parts: &[Bytes],
    ) -> Result<(), DiskError> {
        let end = block.begin.checked_add(block.len);
        let given: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let fits = files.geometry.piece(block.piece.0).is_some()
            && end.is_some_and(|end| end <= files.geometry.data_len(block.piece))
            && given == u64::from(block.len);
        if !fits {
            return Err(misuse(&self.config.root, "bytes that do not fit their block"));
        }
        let mut at = 0;
        for extent in files.geometry.extents(block) {
            let (file, path) = self.writable(files, extent.file)?;
            let named = |error: io::Error| DiskError::io(&path, &error);
            if extent.len == block.len {
                file.write_at(parts, extent.offset).map_err(named)?;
            } else {
                file.write_at(&cut(parts, at, extent.len as usize), extent.offset)
                    .map_err(named)?;
            }
            at += extent.len as usize;
            files.inner().dirty.insert(extent.file.0);
        }
        self.wrote.fetch_add(given, Ordering::Relaxed);
        self.note_written(given);
        Ok(())
    }

    /// The open part file of a wanted file, and its path. Makes it at the first write.
    fn writable(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
    ) -> Result<(Arc<dyn FsFile>, PathBuf), DiskError> {
        let state =
            files.inner().slots.get(file.index()).map(|slot| (slot.place.clone(), slot.part));
        let (dest, part) = match state {
            Some((FilePlace::Wanted { dest, .. }, part)) => (dest, part),
            _ => return Err(misuse(&self.config.root, "a write to a file that is not wanted")),
        };
        let path = part_path(&dest);
        match part {
            Part::There(inode) => Ok((self.open_file(files, file, &path, Some(inode))?, path)),
            Part::None | Part::Stale => Ok((self.make_part(files, file, &dest)?, path)),
            Part::Done => Err(misuse(dest, "a write to a finished file")),
        }
    }

    /// Makes the part file of `file`, empty and sparse, after a durable mark that it is written.
    pub(crate) fn make_part(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
        dest: &Path,
    ) -> Result<Arc<dyn FsFile>, DiskError> {
        let _one = lock(&files.gate);
        let path = part_path(dest);
        let named = |error: io::Error| DiskError::io(&path, &error);
        let (wanted, part) = match files.inner().slots.get(file.index()) {
            Some(slot) => (slot.is_wanted(), slot.part),
            None => return Err(misuse(dest, "a file that the torrent has not")),
        };
        if let Part::There(inode) = part {
            return self.open_file(files, file, &path, Some(inode));
        }
        if wanted {
            self.mark(files)?;
        }
        self.files.make_room();
        let created = match self.fs().create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.fs().remove_file(&path).and_then(|()| self.fs().create_new(&path))
            }
            created => created,
        };
        let created = created.map_err(named)?;
        let sized = created.set_len(files.geometry.file_length(file)).and_then(|()| created.meta());
        let meta = sized.map_err(|error| {
            // Not ours yet, so nothing refers to it.
            let _ = self.fs().remove_file(&path);
            named(error)
        })?;
        let mut inner = files.inner();
        inner.dirty.insert(file.0);
        inner.new_names.insert(file.0);
        if let Some(slot) = inner.slots.get_mut(file.index()) {
            slot.part = Part::There(meta.inode);
        }
        drop(inner);
        // Blocks of a copy are read from its source: its part must not be found as the open file.
        if wanted {
            self.files.put((files.id, file), &created);
        }
        Ok(created)
    }

    /// Asks that a complete file gets its final name at the next sync. A copy is made now.
    ///
    /// # Errors
    /// If the copy fails, or pieces are missing. After an error the call may be repeated.
    pub fn finish_file(&self, torrent: TorrentId, file: FileIndex) -> Result<(), DiskError> {
        let files = self.torrent(torrent)?;
        let (place, part) = match files.inner().slots.get(file.index()) {
            Some(slot) => (slot.place.clone(), slot.part),
            None => return Err(misuse(&self.config.root, "a file that the torrent has not")),
        };
        match place {
            FilePlace::Source(_) => {}
            FilePlace::Absent => {
                return Err(misuse(&self.config.root, "an absent file that is to be finished"));
            }
            FilePlace::Copy { source, dest } => {
                if matches!(part, Part::None | Part::Stale) {
                    self.copy(&files, file, &source.path, &dest)?;
                }
            }
            FilePlace::Wanted { dest, .. } => {
                let inner = files.inner();
                let held = |piece| {
                    inner.durable.has(piece) || inner.written.has(piece) || inner.suspect.has(piece)
                };
                if !files.all_pieces(file, held) {
                    return Err(misuse(dest, "a file with missing pieces that is to be finished"));
                }
                drop(inner);
                if files.geometry.file_length(file) == 0 && part != Part::Done {
                    self.make_part(&files, file, &dest)?;
                }
            }
        }
        let mut pace = lock(&self.pace);
        pace.finish.push((torrent, file));
        pace.finish_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    pub(crate) fn note_written(&self, bytes: u64) {
        let mut pace = lock(&self.pace);
        pace.bytes = pace.bytes.saturating_add(bytes);
        pace.since.get_or_insert_with(Instant::now);
    }

    /// When the next [`Storage::sync`] is due; `None` if nothing waits for one. A finished file is
    /// due after a quarter of the interval, so that small files gather in one batch.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let pace = lock(&self.pace);
        let wait = if pace.bytes >= self.config.sync_bytes {
            Duration::ZERO
        } else {
            self.config.sync_interval
        };
        let data = pace.since.map(|since| since + wait);
        let finish = pace.finish_since.map(|since| since + self.config.sync_interval / 4);
        data.into_iter().chain(finish).min()
    }

    /// Bytes and syncs so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            bytes_read: self.read.load(Ordering::Relaxed),
            bytes_written: self.wrote.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
        }
    }
}

/// The bytes `at..at + len` of `parts`, without copying them.
fn cut(parts: &[Bytes], at: usize, len: usize) -> Vec<Bytes> {
    let (mut skip, mut left) = (at, len);
    let mut out = Vec::new();
    for part in parts {
        let start = skip.min(part.len());
        let end = (start + left).min(part.len());
        skip -= start;
        left -= end - start;
        if end > start {
            out.push(part.slice(start..end));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_without_copying() {
        let parts = [Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"defg")];
        for at in 0..=7 {
            for len in 0..=7 - at {
                assert_eq!(cut(&parts, at, len).concat(), b"abcdefg"[at..at + len]);
            }
        }
        assert_eq!(cut(&parts, 1, 2)[0].as_ptr(), parts[0][1..].as_ptr());
    }
}
