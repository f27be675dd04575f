//! Hash lists of files that were read before, so that a second run reads nothing but metadata.
//!
//! A list is believed only of a file that is, by all that the file system says, the very same:
//! device, number, length, and both the time of its content and the time of its last change, which
//! nobody can set back. A file that was written a moment before it was hashed is not kept: it could
//! be written once more within the same tick of the clock.
//!
//! One file for each root, in a folder that belongs to one host. What cannot be read is no cache,
//! and what cannot be saved costs the next run its time, nothing else. A cache of a later version
//! of the program is left as it is.

pub(crate) mod format;

use crate::atomic::write_fresh;
use crate::fs::{FileKind, Fs, Look, Meta};
use crate::mutex::lock;
use crate::names::part_path;
use dunlin_base::hex;
use dunlin_metainfo::PieceHashes;
use format::{CacheEntry, CacheKey};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A time stamp is final when it is this old: the coarsest clocks of file systems still in use tick
/// every two seconds (FAT).
const SETTLED: Duration = Duration::from_secs(2);

/// The same where the stamp has parts of a millisecond, which no coarse clock gives: clocks of
/// kernels tick every ten milliseconds at the least.
const SETTLED_FINE: Duration = Duration::from_millis(50);

/// The largest cache file that is read or written, in bytes: the hashes of 100 TB in pieces of
/// 4 MiB, or a million small files.
const MAX_CACHE: u64 = 512 << 20;

/// Tells the saves of this process apart.
static SAVES: AtomicU64 = AtomicU64::new(0);

/// The ending of a cache file's name.
const SUFFIX: &str = ".hashes";

/// The hash lists of one root. All methods may be called from several threads.
#[derive(Debug)]
pub struct HashCache {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Vec<u8>, CachedFile>,
    /// Whether the file says something else.
    changed: bool,
    /// A later version of this program wrote the file: it must not be written over.
    newer: bool,
}

#[derive(Debug)]
struct CachedFile {
    entry: CacheEntry,
    /// Whether it was seen to be right in this run.
    sure: bool,
}

/// What was known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedHashes {
    /// The SHA-1 of its pieces, each padded to a whole one.
    pub hashes: PieceHashes,
    /// The SHA-256 of the whole file, if anybody asked for it.
    pub sha256: Option<[u8; 32]>,
}

impl HashCache {
    /// What earlier runs kept in `folder` of files below `root`. Nothing is made.
    #[must_use]
    pub fn open(fs: Arc<dyn Fs>, folder: &Path, root: &Path) -> HashCache {
        let cache = HashCache {
            fs: fs.inside(folder),
            folder: folder.to_owned(),
            root: root.to_owned(),
            state: Mutex::default(),
        };
        let path = cache.path();
        match cache.fs.read_own(&path, MAX_CACHE) {
            Ok(bytes) => match format::decode(&bytes) {
                Ok(entries) => {
                    let kept = |(path, entry)| (path, CachedFile { entry, sure: false });
                    lock(&cache.state).entries = entries.into_iter().map(kept).collect();
                }
                Err(error) => {
                    tracing::warn!("{} is ignored: {error}", path.display());
                    lock(&cache.state).newer = matches!(error, format::CacheError::Newer(_));
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("{} is ignored: {error}", path.display()),
        }
        cache
    }

    fn path(&self) -> PathBuf {
        let name = hex(Sha1::digest(self.root.as_os_str().as_bytes()).as_slice());
        self.folder.join(format!("{name}{SUFFIX}"))
    }

    fn key(&self, path: &Path) -> Vec<u8> {
        path.strip_prefix(&self.root).unwrap_or(path).as_os_str().as_bytes().to_vec()
    }

    /// The hashes of the file at `path`, if it is still what it was; `look` is what it is now.
    #[must_use]
    pub fn get(&self, path: &Path, look: &Look, piece_length: u32) -> Option<CachedHashes> {
        let key = self.key(path);
        let mut state = lock(&self.state);
        let kept = state.entries.get_mut(&key)?;
        if CacheKey::of(look, piece_length).as_ref() != Some(&kept.entry.key) {
            return None;
        }
        kept.sure = true;
        let (hashes, sha256) = (Arc::clone(&kept.entry.hashes), kept.entry.sha256);
        Some(CachedHashes { hashes: PieceHashes::Sha1(hashes), sha256 })
    }

    /// What the cache says of a file that had this content, whatever became of its metadata and
    /// names since: for who made another of it then. With the length of a piece in bytes.
    #[must_use]
    pub fn recall(&self, path: &Path, then: &Meta) -> Option<(u32, CachedHashes)> {
        let state = lock(&self.state);
        let CacheEntry { key, hashes, sha256 } = &state.entries.get(&self.key(path))?.entry;
        let hashes = PieceHashes::Sha1(Arc::clone(hashes));
        let known = CachedHashes { hashes, sha256: *sha256 };
        key.has_content(then).then_some((key.piece_length, known))
    }

    /// Keeps the hashes of a file that was `look` when they were taken. One that was written a
    /// moment before is not kept. A SHA-256 that is known stays known while the hashes are the
    /// same.
    pub fn put(
        &self,
        path: &Path,
        look: &Look,
        piece_length: u32,
        hashes: &PieceHashes,
        sha256: Option<[u8; 32]>,
    ) {
        let key = self.key(path);
        let mut state = lock(&self.state);
        let old = state.entries.get(&key).map(|kept| &kept.entry);
        let same = old.filter(|old| {
            matches!(hashes, PieceHashes::Sha1(hashes) if *hashes == old.hashes)
                && old.key.piece_length == piece_length
        });
        let sha256 = sha256.or(same.and_then(|old| old.sha256));
        let entry = match hashes {
            PieceHashes::Sha1(hashes) if is_settled(look.meta.modified) => {
                let hashes = Arc::clone(hashes);
                CacheKey::of(look, piece_length)
                    .and_then(|key| CacheEntry::new(key, hashes, sha256))
            }
            _ => None,
        };
        let changed = match entry {
            Some(entry) if old == Some(&entry) => {
                if let Some(kept) = state.entries.get_mut(&key) {
                    kept.sure = true;
                }
                false
            }
            Some(entry) => {
                state.entries.insert(key, CachedFile { entry, sure: true });
                true
            }
            None => state.entries.remove(&key).is_some(),
        };
        state.changed |= changed;
    }

    /// Saves what is known now, if it is not what the file says. What was kept of files that are
    /// gone or changed is dropped.
    ///
    /// # Errors
    /// If the cache cannot be written. Nothing is lost but the next run's time.
    pub fn save(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.newer {
            return Ok(());
        }
        let before = state.entries.len();
        state.entries.retain(|path, kept| kept.sure || self.is_unchanged(path, &kept.entry));
        if !state.changed && state.entries.len() == before {
            return Ok(());
        }
        let path = self.path();
        if state.entries.is_empty() {
            state.changed = false;
            return match self.fs.remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let listed = state.entries.iter().map(|(path, kept)| (path.as_slice(), &kept.entry));
        let bytes = format::encode(listed, MAX_CACHE);
        if self.fs.metadata(&self.folder).is_err() {
            self.fs.create_dir_all(&self.folder)?;
            // The names of files may be nobody else's business.
            self.fs.set_mode(&self.folder, 0o700)?;
        }
        self.write(&path, &bytes)?;
        state.changed = false;
        Ok(())
    }

    /// Puts the file in its place in one step, under a part name of our own until then: other ranks
    /// may save theirs at the same moment. It is not synced: the checksum tells what a crash left.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let number = SAVES.fetch_add(1, Ordering::Relaxed);
        let own = path.with_extension(format!("{}-{number}", std::process::id()));
        let part = part_path(&own);
        // The folder is nobody else's. What stands there afterwards may be another rank's, as
        // whole.
        let done = write_fresh(&*self.fs, &part, bytes).and_then(|_| self.fs.rename(&part, path));
        if done.is_err() {
            let _ = self.fs.remove_file(&part);
        }
        done
    }

    /// Whether a file that nobody asked about in this run is still what it was.
    fn is_unchanged(&self, path: &[u8], entry: &CacheEntry) -> bool {
        let path = self.root.join(std::ffi::OsStr::from_bytes(path));
        self.fs.look(&path).is_ok_and(|look| {
            look.kind == FileKind::File
                && CacheKey::of(&look, entry.key.piece_length).as_ref() == Some(&entry.key)
        })
    }
}

/// Whether a time stamp, in nanoseconds since 1970, is so old that a later write has another one.
pub(crate) fn is_settled(modified: i128) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let age = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - modified;
    let fine = modified.rem_euclid(1_000_000) != 0;
    age >= if fine { SETTLED_FINE } else { SETTLED }.as_nanos() as i128
}

#[cfg(test)]
mod tests;
