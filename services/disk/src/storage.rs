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
use crate::checking::{Checking, ReopenGuard};
use crate::claims::{Hold, PathClaims};
use crate::error::DiskError;
use crate::fs::{FileKind, Fs, Look};
use crate::mutex::lock;
use crate::open_files::OpenFiles;
use crate::places::FilePlace;
use crate::reports::{Counters, SyncReport};
use crate::scan::{Leftovers, PartClaim};
use crate::state_folders::state_folder;
use crate::torrent_files::{PartFile, TorrentFiles};
use crate::tree::MetadataPreserver;
use dunlin_base::{FileIndex, TorrentId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

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
    /// Whether files keep the metadata of a tree ([`Storage::preserve`]), and one that cannot be
    /// written fails by itself instead of its torrent.
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
    /// The defaults: 64 open files, a sync every second or 64 MiB, buffers that are not kept, a
    /// thread for every core, no budget.
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

/// The files of one rank. All methods may be called from several threads.
#[derive(Debug)]
pub struct Storage {
    pub(crate) config: StorageConfig,
    below: Arc<dyn Fs>,
    state_dir: OnceLock<PathBuf>,
    pub(crate) files: OpenFiles,
    pub(crate) torrents: Mutex<BTreeMap<TorrentId, Arc<TorrentFiles>>>,
    pub(crate) leftovers: Mutex<Option<Leftovers>>,
    pub(crate) sequence: AtomicU64,
    pub(crate) pending: Mutex<PendingSync>,
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
    /// Checks under way.
    pub(crate) checking: Checking,
    /// How files look in the end.
    pub(crate) preserver: Mutex<Option<Arc<MetadataPreserver>>>,
    pub(crate) read: AtomicU64,
    pub(crate) wrote: AtomicU64,
    pub(crate) shared: AtomicU64,
    pub(crate) syncs: AtomicU64,
}

/// What waits for the next sync.
#[derive(Debug, Default)]
pub(crate) struct PendingSync {
    pub(crate) bytes: u64,
    pub(crate) since: Option<Instant>,
    pub(crate) finish: Vec<(TorrentId, FileIndex)>,
    pub(crate) finish_since: Option<Instant>,
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
            leftovers: Mutex::default(),
            sequence: AtomicU64::new(0),
            pending: Mutex::default(),
            syncing: Mutex::default(),
            unreported: Mutex::default(),
            saving: Mutex::default(),
            said: Mutex::default(),
            held: Mutex::default(),
            checking: Checking::default(),
            preserver: Mutex::default(),
            read: AtomicU64::new(0),
            wrote: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        }
    }

    /// Files of this tree's names get their metadata with their names from now on; until then
    /// nobody but the owner may read them.
    pub fn preserve(&self, preserver: Arc<MetadataPreserver>) {
        *lock(&self.preserver) = Some(preserver);
    }

    pub(crate) fn preserver(&self) -> Option<Arc<MetadataPreserver>> {
        lock(&self.preserver).clone()
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
            let preserver = self.preserver().filter(|_| self.fs().is_root());
            let owner = preserver.and_then(|preserver| Some(preserver.file(name)?.meta.uid));
            look.kind == FileKind::File && look.links == 1 && owner == Some(look.uid)
        };
        self.fs().check_own(part, look).is_ok() || given()
    }

    pub(crate) fn torrent(&self, id: TorrentId) -> Result<Arc<TorrentFiles>, DiskError> {
        let found = lock(&self.torrents).get(&id).cloned();
        found.ok_or_else(|| DiskError::misuse(&self.config.root, "a torrent that is not open"))
    }

    /// Ends the check of a torrent that is being opened, soon and from any thread: the call that
    /// opens it fails as `Interrupted`, unless it is through already. Nothing happens if none is
    /// under way.
    pub fn interrupt(&self, torrent: TorrentId) {
        self.checking.interrupt(torrent);
    }

    /// An open torrent is opened again. A sync that is under way ends first.
    pub(crate) fn reopen(&self, torrent: TorrentId) -> ReopenGuard<'_> {
        let _one = lock(&self.syncing);
        self.checking.reopen(torrent)
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
        self.with_leftovers(|leftovers| leftovers.claims())
    }

    pub(crate) fn with_leftovers<T>(
        &self,
        look: impl FnOnce(&mut Leftovers) -> T,
    ) -> Result<T, DiskError> {
        let mut leftovers = lock(&self.leftovers);
        if leftovers.is_none() {
            let (root, state) = (&self.config.root, self.state_dir());
            let loaded = Leftovers::load(self.fs(), root, &state, &self.config.stop)?;
            self.sequence.store(loaded.sequence, Ordering::Relaxed);
            *leftovers = Some(loaded);
        }
        Ok(look(leftovers.get_or_insert_default()))
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
            None => {
                return Err(DiskError::misuse(
                    &self.config.root,
                    "a file that the torrent has not",
                ));
            }
        };
        match place {
            FilePlace::Source(_) => {}
            FilePlace::Absent | FilePlace::Skipped { .. } => {
                return Err(DiskError::misuse(
                    &self.config.root,
                    "an unwanted file that is to be finished",
                ));
            }
            FilePlace::Blocked { error, .. } => return Err(error),
            FilePlace::Copy { source, dest } => {
                if matches!(part, PartFile::None | PartFile::Stale) {
                    self.copy(&files, file, &source, &dest)?;
                }
            }
            FilePlace::Repair(repair) => {
                return Err(DiskError::misuse(repair.dest, "a repair that was never begun"));
            }
            FilePlace::Wanted { dest, .. } => {
                let inner = files.inner();
                let held = |piece| {
                    inner.durable.has(piece) || inner.written.has(piece) || inner.suspect.has(piece)
                };
                if !files.all_pieces(file, held) {
                    return Err(DiskError::misuse(
                        dest,
                        "a file with missing pieces that is to be finished",
                    ));
                }
                drop(inner);
                let named = files.content.files.get(file.index());
                let link = named.is_some_and(|file| file.link.is_some());
                // Of an empty file, or one that is all holes, nothing was written yet.
                if matches!(part, PartFile::None | PartFile::Stale) && !link {
                    self.make_part(&files, file, &dest)?;
                }
            }
        }
        let mut pending = lock(&self.pending);
        pending.finish.push((torrent, file));
        pending.finish_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    pub(crate) fn note_written(&self, bytes: u64) {
        let mut pending = lock(&self.pending);
        pending.bytes = pending.bytes.saturating_add(bytes);
        pending.since.get_or_insert_with(Instant::now);
    }

    /// The files of a torrent that were written here and have their final names.
    #[must_use]
    pub fn placed(&self, torrent: TorrentId) -> Vec<FileIndex> {
        let Ok(files) = self.torrent(torrent) else { return Vec::new() };
        let inner = files.inner();
        let slots = inner.slots.iter().zip((0..).map(FileIndex));
        slots.filter(|(slot, _)| slot.part == PartFile::Done).map(|(_, file)| file).collect()
    }

    /// When the next [`Storage::sync`] is due; `None` if nothing waits for one. A finished file is
    /// due after a quarter of the interval, so that small files gather in one batch.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let pending = lock(&self.pending);
        let wait = if pending.bytes >= self.config.sync_bytes {
            Duration::ZERO
        } else {
            // With room for the sync of the last write to begin within the interval.
            self.config.sync_interval / 4 * 3
        };
        let data = pending.since.map(|since| since + wait);
        let finish = pending.finish_since.map(|since| since + self.config.sync_interval / 4);
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
