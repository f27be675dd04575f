//! Piece hashes of files, read here and hashed on a pool of threads.

use crate::budget::{Budget, Charge};
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{Fs, FsFile, Look, Meta};
use crate::holes::Holes;
use bytes::Bytes;
use dunlin_hash::{HashJob, HashPool, StreamHash, ZEROS};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Bytes that are read at a time when a file is checked: large enough for full disk speed.
const READ_AT_LEAST: u64 = 1 << 20;

/// Files up to this length are hashed by the calling thread: handing them over costs more.
const HASH_HERE: u64 = 256 * 1024;

/// What [`hash_file`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedFile {
    /// The file as it was while it was hashed. A file that differs from this later has changed.
    pub meta: Meta,
    /// All that was known of it before it was hashed.
    pub look: Look,
    /// The SHA-1 of its pieces, in order.
    pub hashes: Vec<[u8; 20]>,
}

/// Hears of the bytes hashed so far, and says whether to go on.
pub(crate) type Step<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Hears of the bytes of a file, in order.
pub(crate) type Tap<'a> = &'a mut dyn FnMut(&[u8]);

/// Piece hashes of a file, each file padded with zeros to whole pieces (BEP 47), as sets need it.
/// Holes are not read.
/// `progress` is called with the bytes hashed so far, at least once a MiB, and ends the work by
/// `Break`. Buffers are charged to the serving share of `budget`; all threads of `pool` are kept
/// busy.
///
/// # Errors
/// If the file cannot be read; `Changed` if it is written meanwhile; `Interrupted` after `Break`.
pub fn hash_file(
    fs: &dyn Fs,
    path: &Path,
    piece_length: u32,
    pool: &HashPool,
    budget: &Arc<Budget>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<HashedFile, DiskError> {
    hash_file_and(fs, path, piece_length, pool, budget, progress, &mut |_| {})
}

/// As [`hash_file`], and `tap` is given all bytes in order, those of holes too.
///
/// # Errors
/// As [`hash_file`].
pub fn hash_file_and(
    fs: &dyn Fs,
    path: &Path,
    piece_length: u32,
    pool: &HashPool,
    budget: &Arc<Budget>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    tap: &mut dyn FnMut(&[u8]),
) -> Result<HashedFile, DiskError> {
    let named = |error: io::Error| DiskError::io(path, &error);
    if piece_length == 0 {
        return Err(DiskError::new(path, DiskErrorKind::Misuse("pieces of no bytes")));
    }
    let file = fs.open_read(path).map_err(named)?;
    let look = file.look().map_err(named)?;
    let (meta, len) = (look.meta, look.meta.len);
    let holes = Holes::of(&*file, piece_length).map_err(named)?;
    let check = FileCheck { file, len, piece_length, budget, holes };
    let hashes = if len > HASH_HERE && u64::from(piece_length) <= budget.short_share() / 2 {
        check.on_pool(pool, progress, tap)
    } else {
        check.here(progress, tap)
    }
    .map_err(named)?;
    if check.file.meta().map_err(named)? != meta {
        return Err(DiskError::new(path, DiskErrorKind::Changed));
    }
    Ok(HashedFile { meta, look, hashes })
}

struct FileCheck<'a> {
    file: Arc<dyn FsFile>,
    len: u64,
    piece_length: u32,
    budget: &'a Arc<Budget>,
    holes: Holes,
}

impl FileCheck<'_> {
    /// A buffer at a time, on this thread: small files, and pieces too large to be held whole.
    fn here(&self, progress: Step<'_>, tap: Tap<'_>) -> io::Result<Vec<[u8; 20]>> {
        let size = self.len.min(HASH_HERE);
        let _charge = self.budget.charge_blocking(size);
        let mut buffer = self.budget.buffers().take(size as usize);
        let mut hashes = Vec::new();
        let mut at = 0;
        while at < self.len {
            let end = (at + u64::from(self.piece_length)).min(self.len);
            if let Some(zeros) = self.holes.zeros(&(at..end)) {
                tap_zeros(tap, end - at);
                hashes.push(zeros);
                go_on(progress(end))?;
            } else {
                let zeros = self.piece_length - (end - at) as u32;
                let buffer = buffer.bytes_mut();
                hashes.push(hash_range(&*self.file, at..end, zeros, buffer, progress, tap)?);
            }
            at = end;
        }
        Ok(hashes)
    }

    /// Groups of whole pieces, read here and hashed on the pool.
    fn on_pool(
        &self,
        pool: &HashPool,
        progress: Step<'_>,
        tap: Tap<'_>,
    ) -> io::Result<Vec<[u8; 20]>> {
        let piece = u64::from(self.piece_length);
        // Several groups must fit into the share, or reading and hashing would take turns.
        let group = READ_AT_LEAST.min(self.budget.short_share() / 4) / piece * piece;
        let group = group.max(piece);
        let (send, receive) = channel();
        let mut results =
            Results { hashes: vec![Vec::new(); self.len.div_ceil(group) as usize], done: 0 };
        for index in 0..self.len.div_ceil(group) {
            let start = index * group;
            let size = group.min(self.len - start);
            if let Some(zeros) = self.holes.zeros(&(start..start + size)) {
                tap_zeros(tap, size);
                let hashes = vec![zeros; size.div_ceil(piece) as usize];
                let index = index as usize;
                results.add(Group { index, bytes: size, hashes }, progress)?;
                continue;
            }
            // Whoever holds a charge here waits for nobody: its buffer is already being hashed.
            let charge = self.budget.charge_blocking(size);
            let mut buffer = self.budget.buffers().take(size as usize);
            self.file.read_at(buffer.bytes_mut(), start)?;
            tap(buffer.bytes_mut());
            self.hash_group(pool, &buffer.freeze(), charge, (index as usize, send.clone()));
            results.take(&receive, progress, false)?;
        }
        drop(send);
        results.take(&receive, progress, true)?;
        Ok(results.hashes.into_iter().flatten().collect())
    }

    fn hash_group(
        &self,
        pool: &HashPool,
        bytes: &Bytes,
        charge: Charge,
        to: (usize, Sender<Group>),
    ) {
        let piece = self.piece_length as usize;
        let job = |start: usize| {
            let part = bytes.slice(start..bytes.len().min(start + piece));
            HashJob { zeros: (piece - part.len()) as u32, parts: vec![part] }
        };
        let jobs = (0..bytes.len()).step_by(piece).map(job).collect();
        let done = move |hashes| {
            let (index, send) = to;
            let bytes = charge.bytes();
            drop(charge);
            // Nobody listens after a read error or a stop.
            let _ = send.send(Group { index, bytes, hashes });
        };
        pool.submit(jobs, Box::new(done));
    }
}

/// Tells of so many zeros.
fn tap_zeros(tap: Tap<'_>, mut left: u64) {
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        tap(ZEROS.get(..now).unwrap_or(&ZEROS));
        left -= now as u64;
    }
}

/// Hashes a range of a file through `buffer`, then `zeros` zero bytes. `step` hears of the place in
/// the file after every read, `tap` of the bytes.
pub(crate) fn hash_range(
    file: &dyn FsFile,
    range: std::ops::Range<u64>,
    zeros: u32,
    buffer: &mut [u8],
    step: Step<'_>,
    tap: Tap<'_>,
) -> io::Result<[u8; 20]> {
    let mut hash = StreamHash::new();
    let mut at = range.start;
    while at < range.end {
        let size = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
        let place = buffer.get_mut(..size).filter(|place| !place.is_empty());
        let place = place.ok_or(io::ErrorKind::InvalidInput)?;
        file.read_at(place, at)?;
        hash.update(place);
        tap(place);
        at += size as u64;
        go_on(step(at))?;
    }
    Ok(hash.finish(zeros))
}

fn go_on(flow: ControlFlow<()>) -> io::Result<()> {
    if flow.is_break() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}

struct Group {
    index: usize,
    bytes: u64,
    hashes: Vec<[u8; 20]>,
}

struct Results {
    hashes: Vec<Vec<[u8; 20]>>,
    done: u64,
}

impl Results {
    /// Takes the groups that are done; all of them if `wait`.
    fn take(&mut self, from: &Receiver<Group>, progress: Step<'_>, wait: bool) -> io::Result<()> {
        let next = || if wait { from.recv().ok() } else { from.try_recv().ok() };
        while let Some(group) = next() {
            self.add(group, progress)?;
        }
        Ok(())
    }

    fn add(&mut self, group: Group, progress: Step<'_>) -> io::Result<()> {
        if let Some(place) = self.hashes.get_mut(group.index) {
            *place = group.hashes;
        }
        self.done += group.bytes;
        go_on(progress(self.done))
    }
}

#[cfg(test)]
mod tests;
