//! One rank's files: opened, read by the block, written by the piece.
//!
//! ```text
//!            first write            all pieces            data synced, then renamed
//!   Wanted ───────────────▶ part ───────────────▶ queued ──────────────────────────▶ final name
//!            mark, then             finish_file           sync
//!            create
//! ```

use crate::budget::Budget;
use crate::buffers::BufferPool;
use crate::claims::{Hold, PathClaims};
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{FileKind, Fs, Look, Seen};
use crate::names::state_folder;
use crate::open_files::OpenFiles;
use crate::reading::FileFault;
use crate::scan::{Leavings, PartClaim};
use crate::sync::SyncReport;
use crate::torrent_files::{Part, TorrentFiles};
use crate::tree::TreeKeeper;
use dunlin_base::{Bitfield, FileIndex, TorrentId};
use dunlin_metainfo::PieceHashes;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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
    /// It is not wanted (a torrent of the internet). What comes of it with pieces of other files goes to
    /// the store of its torrent, unless a part file or the whole file is there.
    Skipped {
        /// Where it would go.
        dest: PathBuf,
    },
    /// Another content stands where it goes: what is right of that is kept, the rest is to be
    /// downloaded.
    Repair(Box<Repair>),
    /// It cannot be written, for this reason: whoever writes or finishes it is told so.
    Blocked {
        /// Where it would go.
        dest: PathBuf,
        /// Where it is owned; that is read as ever.
        source: Option<SourceFile>,
        /// What is wrong.
        error: DiskError,
    },
    /// It is none of our business.
    Absent,
}

/// A file that is made of another content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Where it goes, and where the other content stands.
    pub dest: PathBuf,
    /// What the other content was when `known` was taken. If it is not that any more, it is hashed
    /// again.
    pub base: SourceFile,
    /// The hashes of its pieces, if somebody has taken them.
    pub known: Option<KnownHashes>,
    /// Change it where it stands, instead of a copy beside it that replaces it in the end. Who reads
    /// it meanwhile sees a mixture, and so does who looks after a crash. Only for a file of one name.
    pub in_place: bool,
}

/// The hashes of a file's pieces, each padded to a whole one (BEP 47).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHashes {
    /// Bytes of a piece.
    pub piece_length: u32,
    /// The hashes, in order.
    pub hashes: PieceHashes,
}

/// A complete file that is only read, and must stay what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it was when its hashes were taken; `None` for what it is when it is opened. A file that
    /// is not this any more is not read.
    pub seen: Option<Seen>,
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
    /// The destination root; the state folder is in it ([`crate::state_folder`]).
    pub root: PathBuf,
    /// Files that are kept open at a time.
    pub open_files: usize,
    /// The longest time that written pieces stay unsynced.
    pub sync_interval: Duration,
    /// The most bytes that stay unsynced.
    pub sync_bytes: u64,
    /// Where blocks that are read get their buffers: the budget's, where there is one.
    pub buffers: Arc<BufferPool>,
    /// Whether files keep the looks of a tree ([`Storage::keep`]), and one that cannot be written fails
    /// by itself instead of its torrent.
    pub placing: bool,
    /// Set by the owner when what earlier runs left need not be checked to the end.
    pub stop: Arc<AtomicBool>,
    /// How many threads hash what stands there when a torrent of the internet is opened.
    pub threads: usize,
    /// What their buffers are charged to: the share for serving and hashing.
    pub budget: Option<Arc<Budget>>,
    /// What the torrents of the process write: all its storages have the same.
    pub claims: PathClaims,
}

impl StorageConfig {
    /// The defaults: 64 open files, a sync every second or 64 MiB, buffers that are not kept, a thread
    /// for every core, no budget.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, root: PathBuf) -> StorageConfig {
        let sync_interval = Duration::from_secs(1);
        let (open_files, sync_bytes, buffers) = (64, 64 << 20, BufferPool::new(0));
        StorageConfig {
            fs,
            root,
            open_files,
            sync_interval,
            sync_bytes,
            buffers,
            placing: false,
            stop: Arc::default(),
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            budget: None,
            claims: PathClaims::default(),
        }
    }
}

/// What is there when a torrent is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The pieces that are here.
    pub have: Bitfield,
    /// How many of them were found in unfinished files.
    pub resumed: u32,
    /// Bytes that were hashed to find that out (torrents of the internet).
    pub checked: u64,
    /// What is wrong with which file of a torrent that is only read ([`crate::Existing::Read`]).
    pub faults: Vec<FileFault>,
}

/// Bytes and syncs so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payload bytes read from files.
    pub bytes_read: u64,
    /// Payload bytes written to files.
    pub bytes_written: u64,
    /// Bytes of copies of own files, whether they share them with their sources or not.
    pub bytes_copied: u64,
    /// Batches that were synced.
    pub syncs: u64,
}

/// The files of one rank. All methods may be called from several threads.
#[derive(Debug)]
pub struct Storage {
    pub(crate) config: StorageConfig,
    below: Arc<dyn Fs>,
    state_dir: OnceLock<PathBuf>,
    pub(crate) files: OpenFiles,
    pub(crate) torrents: Mutex<BTreeMap<TorrentId, Arc<TorrentFiles>>>,
    pub(crate) leavings: Mutex<Option<Leavings>>,
    pub(crate) sequence: AtomicU64,
    pub(crate) pace: Mutex<Pace>,
    /// One sync at a time.
    pub(crate) syncing: Mutex<()>,
    /// What syncs did of which nobody has heard yet.
    pub(crate) unreported: Mutex<SyncReport>,
    /// One writer of resume files at a time. Taken last but for `inner`.
    pub(crate) saving: Mutex<bool>,
    /// Faults that were said since a state was last saved.
    pub(crate) said: Mutex<BTreeSet<String>>,
    /// What torrents of the internet have claimed.
    pub(crate) held: Mutex<BTreeMap<TorrentId, Vec<Hold>>>,
    /// How files look in the end.
    pub(crate) keeper: Mutex<Option<Arc<TreeKeeper>>>,
    pub(crate) read: AtomicU64,
    pub(crate) wrote: AtomicU64,
    pub(crate) shared: AtomicU64,
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
            below: config.fs.inside(&config.root),
            state_dir: OnceLock::new(),
            config,
            torrents: Mutex::default(),
            leavings: Mutex::default(),
            sequence: AtomicU64::new(0),
            pace: Mutex::default(),
            syncing: Mutex::default(),
            unreported: Mutex::default(),
            saving: Mutex::default(),
            said: Mutex::default(),
            held: Mutex::default(),
            keeper: Mutex::default(),
            read: AtomicU64::new(0),
            wrote: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        }
    }

    /// Files of this tree's names get their looks with their names from now on; until then nobody but
    /// the owner may read them.
    pub fn keep(&self, keeper: Arc<TreeKeeper>) {
        *lock(&self.keeper) = Some(keeper);
    }

    pub(crate) fn keeper(&self) -> Option<Arc<TreeKeeper>> {
        lock(&self.keeper).clone()
    }

    /// The file system below the root: no link is followed there.
    pub(crate) fn fs(&self) -> &dyn Fs {
        &*self.below
    }

    /// The file system as it is for files that are only read, and that a person has named.
    pub(crate) fn sources(&self) -> &dyn Fs {
        &*self.config.fs
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.state_dir.get_or_init(|| state_folder(self.fs(), &self.config.root)).clone()
    }

    /// Whether a part file that stands there can be one of ours: of a regular file of one name that
    /// nobody else can write. A run of root's that was killed may have given it its owner already.
    pub(crate) fn is_own_part(&self, part: &Path, look: &Look, name: &str) -> bool {
        let given = || {
            let keeper = self.keeper().filter(|_| self.fs().is_root());
            let owner = keeper.and_then(|keeper| Some(keeper.file(name)?.meta.uid));
            look.kind == FileKind::File && look.links == 1 && owner == Some(look.uid)
        };
        self.fs().check_own(part, look).is_ok() || given()
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
            let (root, state) = (&self.config.root, self.state_dir());
            let loaded = Leavings::load(self.fs(), root, &state, &self.config.stop)?;
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
            FilePlace::Absent | FilePlace::Skipped { .. } => {
                return Err(misuse(&self.config.root, "an unwanted file that is to be finished"));
            }
            FilePlace::Blocked { error, .. } => return Err(error),
            FilePlace::Copy { source, dest } => {
                if matches!(part, Part::None | Part::Stale) {
                    self.copy(&files, file, &source, &dest)?;
                }
            }
            FilePlace::Repair(repair) => {
                return Err(misuse(repair.dest, "a repair that was never begun"));
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
                let named = files.content.files.get(file.index());
                let link = named.is_some_and(|file| file.link.is_some());
                // Of an empty file, or one that is all holes, nothing was written yet.
                if matches!(part, Part::None | Part::Stale) && !link {
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

    /// The files of a torrent that were written here and have their final names.
    #[must_use]
    pub fn placed(&self, torrent: TorrentId) -> Vec<FileIndex> {
        let Ok(files) = self.torrent(torrent) else { return Vec::new() };
        let inner = files.inner();
        let slots = inner.slots.iter().zip((0..).map(FileIndex));
        slots.filter(|(slot, _)| slot.part == Part::Done).map(|(_, file)| file).collect()
    }

    /// When the next [`Storage::sync`] is due; `None` if nothing waits for one. A finished file is
    /// due after a quarter of the interval, so that small files gather in one batch.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let pace = lock(&self.pace);
        let wait = if pace.bytes >= self.config.sync_bytes {
            Duration::ZERO
        } else {
            // With room for the sync of the last write to begin within the interval.
            self.config.sync_interval / 4 * 3
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
            bytes_copied: self.shared.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
        }
    }
}
