//! What earlier runs left: resume files are read, and of part files only what was written after the
//! last sync is hashed again.

use crate::checksum::SealError;
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{Fs, FsFile};
use crate::hash_file::hash_range;
use crate::names::part_path;
use crate::resume::{MAX_RESUME, RESUME_SUFFIX, Resume, ResumeFile};
use crate::stamp::{Ending, Stamp};
use dunlin_base::{Bitfield, PieceIndex};
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that are read at a time when a part file is checked.
const READ: usize = 256 * 1024;

/// Pieces of a file that an earlier run left unfinished. They can be offered to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartClaim {
    /// The file's name in its set.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// The length of a piece in bytes.
    pub piece_length: u32,
    /// The hashes of all its pieces.
    pub hashes: Vec<[u8; 20]>,
    /// The pieces that are there and right.
    pub pieces: Bitfield,
}

/// All that earlier runs left in a root.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// What stands in the part file of a final path.
    pub(crate) parts: BTreeMap<PathBuf, FoundPart>,
    /// The resume files and the final paths that each speaks of.
    pub(crate) files: Vec<(PathBuf, Vec<PathBuf>)>,
    /// The highest sequence number of them.
    pub(crate) sequence: u64,
}

/// A part file that is there.
#[derive(Debug)]
pub(crate) struct FoundPart {
    pub(crate) file: ResumeFile,
    /// Claimed by the resume file, so synced.
    pub(crate) durable: Bitfield,
    /// All that is right, synced or not.
    pub(crate) pieces: Bitfield,
    /// What the part file looked like when that was found.
    pub(crate) stamp: Stamp,
}

impl Leftovers {
    /// Reads the resume files in the state folder `state` of `root` and looks at the part files
    /// that they name. Ends with `Interrupted` soon after `stop` is set.
    pub(crate) fn load(
        fs: &dyn Fs,
        root: &Path,
        state: &Path,
        stop: &AtomicBool,
    ) -> Result<Leftovers, DiskError> {
        let entries = match fs.read_dir(state) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(|error| DiskError::io(state, &error))?,
        };
        let mut leftovers = Leftovers::default();
        let mut newest: BTreeMap<PathBuf, (u64, Ending, ResumeFile)> = BTreeMap::new();
        for entry in entries {
            let name = entry.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !entry.is_file || !name.ends_with(RESUME_SUFFIX) {
                continue;
            }
            let Some(resume) = read(fs, &entry.path)? else { continue };
            leftovers.sequence = leftovers.sequence.max(resume.sequence);
            let dests = resume.files.iter().map(|file| root.join(&file.dest)).collect();
            leftovers.files.push((entry.path, dests));
            for file in resume.files {
                let dest = root.join(&file.dest);
                if newest.get(&dest).is_none_or(|(sequence, ..)| *sequence < resume.sequence) {
                    newest.insert(dest, (resume.sequence, resume.ending, file));
                }
            }
        }
        for (dest, (_, ending, file)) in newest {
            match look_at(fs, &dest, file, ending, stop) {
                Ok(Some(found)) => _ = leftovers.parts.insert(dest, found),
                Ok(None) => {}
                Err(error) if error.kind == DiskErrorKind::Interrupted => return Err(error),
                Err(error) => tracing::warn!("{error} (its pieces are fetched again)"),
            }
        }
        Ok(leftovers)
    }

    /// The claims with at least one piece.
    pub(crate) fn claims(&self) -> Vec<PartClaim> {
        let with_data = self.parts.values().filter(|found| found.pieces.count() > 0);
        let claim = |found: &FoundPart| PartClaim {
            name: found.file.name.clone(),
            length: found.file.length,
            piece_length: found.file.piece_length,
            hashes: found.file.hashes.clone(),
            pieces: found.pieces.clone(),
        };
        with_data.map(claim).collect()
    }
}

/// What a resume file says; `None` if it is torn, or not ours.
///
/// # Errors
/// `Newer` if a later version of this program wrote it: it must not be written over.
fn read(fs: &dyn Fs, path: &Path) -> Result<Option<Resume>, DiskError> {
    let bytes = match fs.read_own(path, MAX_RESUME) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!("{} is ignored: {error}", path.display());
            return Ok(None);
        }
    };
    match Resume::decode(&bytes) {
        Ok(resume) => Ok(Some(resume)),
        Err(SealError::Version(version)) => {
            Err(DiskError::new(path, DiskErrorKind::Newer(version)))
        }
        Err(error) => {
            tracing::warn!("{} is ignored: {error}", path.display());
            Ok(None)
        }
    }
}

fn look_at(
    fs: &dyn Fs,
    dest: &Path,
    file: ResumeFile,
    ending: Ending,
    stop: &AtomicBool,
) -> Result<Option<FoundPart>, DiskError> {
    let part = part_path(dest);
    let named = |error: io::Error| DiskError::io(&part, &error);
    let look = match fs.look(&part) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        look => look.map_err(named)?,
    };
    let ours = fs.check_own(&part, &look).is_ok() && !fs.is_barred(&part);
    let whole = ours && look.meta.len == file.length;
    let Some(stamp) = Stamp::of(&look).filter(|_| whole) else { return Ok(None) };
    let ours = file.part.is_some_and(|then| ending.vouches(&then, &stamp));
    let none = Bitfield::new(file.claimed.len());
    let durable = if ours { file.claimed.clone() } else { none };
    let opened = fs.open_read(&part).map_err(named)?;
    let check = PartCheck { piece_length: file.piece_length, length: file.length, stop };
    let pieces = check.rescue(&*opened, &file.hashes, &durable).map_err(named)?;
    Ok(Some(FoundPart { file, durable, pieces, stamp }))
}

/// The shape of a file that begins at a piece boundary and is padded to whole pieces (BEP 47).
pub(crate) struct PartCheck<'a> {
    pub(crate) piece_length: u32,
    pub(crate) length: u64,
    /// Set when nobody needs the result any more.
    pub(crate) stop: &'a AtomicBool,
}

impl PartCheck<'_> {
    /// `known` and every other piece that has data in the file and the right hash.
    pub(crate) fn rescue(
        &self,
        file: &dyn FsFile,
        hashes: &[[u8; 20]],
        known: &Bitfield,
    ) -> io::Result<Bitfield> {
        let mut pieces = known.clone();
        if pieces.is_full() {
            return Ok(pieces);
        }
        let mut step = |_| match self.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let mut buffer = vec![0; READ];
        let length = u64::from(self.piece_length);
        let mut next = 0;
        for data in file.data_ranges()? {
            let first = (data.start / length).max(next);
            let end = data.end.min(self.length).div_ceil(length);
            for index in first..end {
                let piece = PieceIndex(u32::try_from(index).unwrap_or(u32::MAX));
                let Some(expected) = hashes.get(piece.index()) else { break };
                if pieces.has(piece) {
                    continue;
                }
                let start = index * length;
                let stop = (start + length).min(self.length);
                let zeros = (start + length - stop) as u32;
                let found =
                    hash_range(file, start..stop, zeros, &mut buffer, &mut step, &mut |_| {})?;
                if found == *expected {
                    pieces.set(piece);
                }
            }
            next = next.max(end);
        }
        Ok(pieces)
    }
}
