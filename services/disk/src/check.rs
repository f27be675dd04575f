//! Files that stand there already, compared with the hashes of their torrent: on several threads,
//! each of which hashes several pieces side by side. A piece may be spread over several files.

use crate::budget::Budget;
use crate::buffers::BufferPool;
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{Fs, FsFile};
use bytes::Bytes;
use dunlin_base::{Bitfield, FileIndex, PieceIndex};
use dunlin_hash::{PieceCheck, PieceJob, verify_pieces};
use dunlin_metainfo::{Content, Extent};
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Pieces that a thread hashes at once: as many as fit into the widest registers.
const GROUP: u64 = 16;
/// The most bytes that a thread reads before it hashes.
const MAX_GROUP: u64 = 16 << 20;
/// The fewest, where pieces are small: each group is told of.
const MIN_GROUP: u64 = 1 << 20;
/// Bytes that are read at a time of a piece that is too large for that.
const READ: u64 = 256 * 1024;

/// What is to be checked, and with what means.
#[derive(Debug)]
pub struct CheckFiles<'a> {
    /// The file system.
    pub fs: &'a dyn Fs,
    /// The torrent.
    pub content: &'a Content,
    /// Where each file is; `None` if it is not there. Of padding and empty files it does not
    /// matter.
    pub paths: &'a [Option<PathBuf>],
    /// How many threads hash; at least one does.
    pub threads: usize,
    /// What their buffers are charged to.
    pub budget: Option<&'a Arc<Budget>>,
    /// Set when nobody needs the result any more.
    pub stop: &'a AtomicBool,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The pieces that are what they must be.
    pub right: Bitfield,
    /// Files that could not be read, and why; not those that are missing or too short.
    pub failed: Vec<(FileIndex, DiskError)>,
}

/// Hears of the bytes done and the bytes there are in all, and says whether to go on.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// Where the bytes of a file can be read.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    pub(crate) path: PathBuf,
    /// Where the file begins there, in bytes.
    pub(crate) base: u64,
}

impl CheckFiles<'_> {
    /// Hashes every piece. `progress` is called with the bytes done and the bytes to do, on the
    /// calling thread, and ends the work by `Break`.
    ///
    /// # Errors
    /// `Interrupted` if it is stopped.
    pub fn run(
        &self,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Checked, DiskError> {
        let location = |path: &Option<PathBuf>| path.clone().map(|path| Location { path, base: 0 });
        let locations: Vec<_> = self.paths.iter().map(location).collect();
        let pieces = (0..self.content.geometry.pieces()).map(PieceIndex).collect();
        let buffers = match self.budget {
            Some(budget) => Arc::clone(budget.buffers()),
            None => BufferPool::new(0),
        };
        let (fs, content) = (self.fs, self.content);
        let (threads, budget, stop) = (self.threads, self.budget, self.stop);
        let stop = [stop, stop];
        TorrentCheck {
            fs,
            content,
            locations: &locations,
            threads,
            budget,
            buffers: &buffers,
            stop,
        }
        .run(pieces, progress)
    }
}

/// The same for files that may have no path of their own.
pub(crate) struct TorrentCheck<'a> {
    pub(crate) fs: &'a dyn Fs,
    pub(crate) content: &'a Content,
    pub(crate) locations: &'a [Option<Location>],
    pub(crate) threads: usize,
    pub(crate) budget: Option<&'a Arc<Budget>>,
    pub(crate) buffers: &'a Arc<BufferPool>,
    /// Any of them is set when nobody needs the result any more.
    pub(crate) stop: [&'a AtomicBool; 2],
}

impl TorrentCheck<'_> {
    /// Which of `pieces` are right. Pieces of files that are not there are not.
    pub(crate) fn run(
        &self,
        pieces: Vec<PieceIndex>,
        progress: Progress<'_>,
    ) -> Result<Checked, DiskError> {
        let geometry = &self.content.geometry;
        let readable = |piece: &PieceIndex| {
            self.extents(*piece).all(|extent| self.location(extent.file).is_some())
        };
        let pieces: Vec<_> = pieces.into_iter().filter(readable).collect();
        let total = pieces.iter().map(|piece| u64::from(geometry.data_len(*piece))).sum();
        let groups: Vec<_> = pieces.chunks(self.group()).collect();
        let work = CheckWork {
            check: self,
            groups: &groups,
            next: AtomicUsize::new(0),
            aborted: AtomicBool::new(false),
            found: Mutex::new(Checked { right: Bitfield::new(geometry.pieces()), failed: vec![] }),
        };
        let stopped = || DiskError::new(self.any_path(), DiskErrorKind::Interrupted);
        let threads = self.threads.clamp(1, groups.len().max(1));
        std::thread::scope(|scope| {
            let (send, told) = channel();
            for index in 0..threads {
                let (work, send) = (&work, send.clone());
                let thread = std::thread::Builder::new().name(format!("check-{index}"));
                let started = thread.spawn_scoped(scope, move || work.run(&send));
                if started.is_err() && index == 0 {
                    return Err(DiskError::new(
                        self.any_path(),
                        DiskErrorKind::Io("the system gives no thread".to_owned()),
                    ));
                }
            }
            drop(send);
            let mut done = 0;
            for bytes in told {
                done += bytes;
                if progress(done, total).is_break() {
                    work.aborted.store(true, Ordering::Relaxed);
                }
            }
            if work.stopped() { Err(stopped()) } else { Ok(()) }
        })?;
        let mut found = work.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.failed.sort_by_key(|(file, _)| *file);
        found.failed.dedup_by_key(|(file, _)| *file);
        Ok(found)
    }

    fn any_path(&self) -> &Path {
        let found = self.locations.iter().flatten().next();
        found.map_or(Path::new(""), |location| location.path.as_path())
    }

    fn location(&self, file: FileIndex) -> Option<&Location> {
        self.locations.get(file.index())?.as_ref()
    }

    fn extents(&self, piece: PieceIndex) -> impl Iterator<Item = Extent> + '_ {
        let geometry = &self.content.geometry;
        geometry.extents(dunlin_base::BlockRef { piece, begin: 0, len: geometry.data_len(piece) })
    }

    /// The most bytes that a thread holds: several threads share what the budget has for this.
    fn most(&self) -> u64 {
        let share = self.budget.map_or(u64::MAX, |budget| budget.short_share());
        (share / (2 * self.threads.max(1) as u64)).clamp(READ, MAX_GROUP)
    }

    /// How many pieces a thread takes at a time.
    fn group(&self) -> usize {
        let piece = u64::from(self.content.geometry.piece_length()).max(1);
        let wanted = (piece * GROUP).max(MIN_GROUP).min(self.most());
        (wanted / piece).max(1) as usize
    }
}

/// What the threads share.
struct CheckWork<'a> {
    check: &'a TorrentCheck<'a>,
    groups: &'a [&'a [PieceIndex]],
    /// The next group that nobody has taken.
    next: AtomicUsize,
    aborted: AtomicBool,
    found: Mutex<Checked>,
}

/// What one thread has open.
#[derive(Default)]
struct CheckInput {
    last: Option<(FileIndex, Arc<dyn FsFile>)>,
    /// Files of which it is known that they cannot be read.
    failed: BTreeMap<FileIndex, Option<DiskError>>,
}

impl CheckWork<'_> {
    fn stopped(&self) -> bool {
        let is_set = |stop: &&AtomicBool| stop.load(Ordering::Relaxed);
        is_set(&&self.aborted) || self.check.stop.iter().any(is_set)
    }

    /// One thread: takes groups until there are none.
    fn run(&self, told: &Sender<u64>) {
        let mut open = CheckInput::default();
        loop {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(group) = self.groups.get(next).filter(|_| !self.stopped()) else { break };
            let right = self.group(&mut open, group, told);
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            right.into_iter().for_each(|piece| _ = found.right.set(piece));
        }
        let failed = open.failed.into_iter();
        let failed = failed.filter_map(|(file, error)| Some((file, error?)));
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.failed.extend(failed);
    }

    /// The pieces of a group that are right.
    fn group(
        &self,
        open: &mut CheckInput,
        group: &[PieceIndex],
        told: &Sender<u64>,
    ) -> Vec<PieceIndex> {
        let geometry = &self.check.content.geometry;
        let len = |piece: &PieceIndex| u64::from(geometry.data_len(*piece));
        if let [piece] = group
            && len(piece) > self.check.most()
        {
            return self.large(open, *piece, told).then_some(*piece).into_iter().collect();
        }
        let bytes = group.iter().map(len).sum();
        // Given back before the next group: who holds a charge waits for no other.
        let _charge = self.check.budget.map(|budget| budget.charge_blocking(bytes));
        let (mut jobs, mut places) = (Vec::new(), Vec::new());
        for piece in group {
            if self.stopped() {
                break;
            }
            let Some(expected) = self.check.content.expected(*piece) else { continue };
            if let Some(bytes) = self.read(open, *piece) {
                jobs.push(PieceJob { parts: vec![bytes], expected });
                places.push(*piece);
            }
        }
        let right = verify_pieces(&jobs);
        // Nobody listens after a stop.
        let _ = told.send(bytes);
        places.into_iter().zip(right).filter(|(_, right)| *right).map(|(piece, _)| piece).collect()
    }

    /// Whether a piece that is too large to be held is right.
    fn large(&self, open: &mut CheckInput, piece: PieceIndex, told: &Sender<u64>) -> bool {
        let Some(expected) = self.check.content.expected(piece) else { return false };
        let len = u64::from(self.check.content.geometry.data_len(piece));
        let _charge = self.check.budget.map(|budget| budget.charge_blocking(READ.min(len)));
        let mut buffer = self.check.buffers.take(READ.min(len) as usize);
        let mut hash = PieceCheck::new(&expected);
        let mut at = 0;
        while at < len {
            let size = READ.min(len - at) as usize;
            let Some(place) = buffer.bytes_mut().get_mut(..size) else { return false };
            if self.stopped() || !self.fill(open, piece, at as u32, place) {
                let _ = told.send(len - at);
                return false;
            }
            hash.update(place);
            at += size as u64;
            let _ = told.send(size as u64);
        }
        hash.matches()
    }

    /// All bytes of a piece; `None` if they are not there.
    fn read(&self, open: &mut CheckInput, piece: PieceIndex) -> Option<Bytes> {
        let len = self.check.content.geometry.data_len(piece) as usize;
        let mut buffer = self.check.buffers.take(len);
        self.fill(open, piece, 0, buffer.bytes_mut()).then(|| buffer.freeze())
    }

    /// Reads the bytes of a piece from `begin` on; whether they are there.
    fn fill(&self, open: &mut CheckInput, piece: PieceIndex, begin: u32, place: &mut [u8]) -> bool {
        let geometry = &self.check.content.geometry;
        let block = dunlin_base::BlockRef { piece, begin, len: place.len() as u32 };
        let start = u64::from(piece.0) * u64::from(geometry.piece_length()) + u64::from(begin);
        let mut filled = 0;
        for extent in geometry.extents(block) {
            let at = (geometry.file_start(extent.file) + extent.offset - start) as usize;
            let end = at + extent.len as usize;
            if let Some(padding) = place.get_mut(filled..at) {
                padding.fill(0);
            }
            let Some(part) = place.get_mut(at..end) else { return false };
            if !self.read_extent(open, extent, part) {
                return false;
            }
            filled = end;
        }
        if let Some(padding) = place.get_mut(filled..) {
            padding.fill(0);
        }
        true
    }

    fn read_extent(&self, open: &mut CheckInput, extent: Extent, part: &mut [u8]) -> bool {
        let Some(location) = self.check.location(extent.file) else { return false };
        let file = match &open.last {
            Some((last, file)) if *last == extent.file => Arc::clone(file),
            _ if open.failed.contains_key(&extent.file) => return false,
            _ => match self.check.fs.open_read(&location.path) {
                Ok(file) => {
                    open.last = Some((extent.file, Arc::clone(&file)));
                    file
                }
                Err(error) => {
                    open.note(extent.file, location, &error);
                    return false;
                }
            },
        };
        match file.read_at(part, location.base + extent.offset) {
            Ok(()) => true,
            // The file is too short: what is before its end may be right.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            Err(error) => {
                open.note(extent.file, location, &error);
                open.last = None;
                false
            }
        }
    }
}

impl CheckInput {
    fn note(&mut self, file: FileIndex, location: &Location, error: &io::Error) {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let error = (!missing).then(|| DiskError::io(&location.path, error));
        self.failed.insert(file, error);
    }
}
