//! Real files: what of them a rank offers, and where its wanted ones go.

use super::Shared;
use super::copies::{Caches, Copy, Known, Placed};
use crate::config::{FoundFile, Placing};
use crate::lock::lock;
use dunlin_base::{Bitfield, FileIndex, TorrentId};
use dunlin_disk::{
    DiskError, FileKind, FilePlace, Fs, HashCache, KnownHashes, Repair, Storage, StorageConfig,
    TreeKeeper,
};
use dunlin_metainfo::{PieceHashes, SetInfo, TreeEntry, cluster_block_length};
use dunlin_plan::{Have, Pattern};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Unsynced data is synced after this long: what a power cut can cost of work.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Unsynced data is synced at the latest at so many bytes: what must be checked again after a
/// crash.
const SYNC_BYTES: u64 = 64 * 1024 * 1024;

/// What was found, as the run was told.
pub(super) struct Lists {
    pub(super) root: PathBuf,
    pub(super) dest: PathBuf,
    pub(super) found: Vec<FoundFile>,
    pub(super) found_dest: Vec<FoundFile>,
    pub(super) have: Have,
    pub(super) wants: Vec<Pattern>,
    pub(super) placing: Option<Box<Placing>>,
}

pub(super) struct Files {
    pub(super) lists: Lists,
    pub(super) storage: Storage,
    /// The files that were hashed, by name.
    pub(super) known: Mutex<BTreeMap<String, Known>>,
    pub(super) placed: Mutex<Placed>,
    pub(super) caches: OnceLock<Caches>,
    pub(super) may_delete: AtomicBool,
}

impl Files {
    pub(super) fn new(lists: Lists, shared: &Shared) -> Files {
        let storage = Storage::new(StorageConfig {
            fs: Arc::clone(&shared.fs),
            root: lists.dest.clone(),
            open_files: shared.open_files,
            sync_interval: SYNC_INTERVAL,
            sync_bytes: SYNC_BYTES,
            buffers: Arc::clone(shared.budget.buffers()),
            placing: lists.placing.is_some(),
            stop: Arc::clone(&shared.stop),
            ..StorageConfig::new(Arc::clone(&shared.fs), lists.dest.clone())
        });
        let files = Files {
            lists,
            storage,
            known: Mutex::default(),
            placed: Mutex::default(),
            caches: OnceLock::new(),
            may_delete: AtomicBool::new(false),
        };
        files.take_tree(shared, Arc::default());
        files
    }

    pub(super) fn elsewhere(&self) -> bool {
        self.lists.dest != self.lists.root
    }

    pub(super) fn wanted(&self, name: &str) -> bool {
        self.lists.wants.iter().any(|pattern| pattern.matches(name))
    }

    pub(super) fn mirrors(&self) -> bool {
        self.lists.placing.as_ref().is_some_and(|placing| placing.mirrors)
    }

    /// The hash lists of earlier runs; read at the first call.
    pub(super) fn caches(&self, fs: &Arc<dyn Fs>) -> &Caches {
        self.caches.get_or_init(|| {
            let folder = self.lists.placing.as_ref().and_then(|placing| placing.cache.as_ref());
            let open = |root: &Path| {
                let folder = folder.filter(|_| !root.as_os_str().is_empty())?;
                Some(HashCache::open(Arc::clone(fs), folder, root))
            };
            let elsewhere = self.elsewhere() && !self.mirrors();
            let dest = elsewhere.then(|| open(&self.lists.dest)).flatten();
            Caches { root: open(&self.lists.root), dest }
        })
    }

    /// Takes over what the wanted trees are, and makes their folders.
    pub(super) fn take_tree(&self, shared: &Shared, entries: Arc<[TreeEntry]>) {
        if self.lists.placing.is_none() {
            return;
        }
        let dest = self.lists.dest.clone();
        let keeper = Arc::new(TreeKeeper::new(Arc::clone(&shared.fs), dest, entries));
        // What cannot be made is told in the end, by name.
        for unkept in keeper.make_folders() {
            tracing::debug!(name = unkept.name, "{}", unkept.reason);
        }
        self.storage.keep(Arc::clone(&keeper));
        lock(&self.placed).keeper = Some(keeper);
    }

    pub(super) fn open(
        &self,
        shared: &Shared,
        torrent: TorrentId,
        info: &Arc<SetInfo>,
        wants: bool,
        replace: &BTreeSet<String>,
    ) -> Result<(Bitfield, u32), DiskError> {
        let known = lock(&self.known);
        let mut in_the_way = Vec::new();
        let places = info.files.iter().zip(0..).map(|(file, index)| {
            let hashes = info.file_hashes(FileIndex(index));
            let copies = known.get(&file.name);
            let dest = dunlin_disk::path_of(&self.lists.dest, &file.name);
            let replaced = replace.contains(&file.name);
            if self.lists.placing.is_some() {
                return self.place(&*shared.fs, copies, &hashes, dest, wants);
            }
            let (own, at_dest) =
                copies.map_or((None, None), |found| (found.own.as_ref(), found.at_dest.as_ref()));
            let right = |copy: &&Copy| !replaced && copy.hashes == hashes;
            match (at_dest.filter(right), own.filter(right)) {
                (Some(here), _) => FilePlace::Source(here.source()),
                (None, Some(own)) if !wants => FilePlace::Source(own.source()),
                (None, Some(own)) => {
                    if at_dest.is_some() {
                        in_the_way.push(dest.clone());
                    }
                    FilePlace::Copy { source: own.source(), dest }
                }
                (None, None) if wants => FilePlace::Wanted { dest, replace: replaced },
                (None, None) => FilePlace::Absent,
            }
        });
        let places = places.collect();
        drop(known);
        for path in in_the_way {
            // `--force`: a copy of what we own ourselves cannot fail to come.
            let fs = shared.fs.inside(&self.lists.dest);
            fs.remove_file(&path).map_err(|error| DiskError::io(&path, &error))?;
        }
        let block_length = cluster_block_length(info.piece_length, shared.block_length);
        let content = Arc::new(info.content(block_length));
        let opened = self.storage.open(torrent, content, places)?;
        lock(&self.placed).sets.insert(torrent, (Arc::clone(info), wants));
        Ok((opened.have, opened.resumed))
    }

    /// The place of a file where a plan is to be made so: what differs is repaired.
    fn place(
        &self,
        fs: &dyn Fs,
        copies: Option<&Known>,
        hashes: &PieceHashes,
        dest: PathBuf,
        wants: bool,
    ) -> FilePlace {
        let at_dest = copies.and_then(|copies| copies.at_dest.as_ref());
        let own = copies.and_then(|copies| copies.own.as_ref());
        let right = |copy: &&Copy| copy.hashes == *hashes;
        if let Some(here) = at_dest.filter(right) {
            return FilePlace::Source(here.source());
        }
        if let Some(own) = own.filter(right) {
            let source = own.source();
            return match wants {
                true => FilePlace::Copy { source, dest },
                false => FilePlace::Source(source),
            };
        }
        if !wants {
            return FilePlace::Absent;
        }
        let in_place = self.lists.placing.as_ref().is_some_and(|placing| placing.in_place);
        // A file of which nobody spoke stands there, too: a further name of another, say.
        let stands = || fs.look(&dest).is_ok_and(|look| look.kind == FileKind::File);
        let (base, known) = match at_dest {
            Some(copy) => {
                let (piece_length, hashes) = (copy.piece_length, copy.hashes.clone());
                (copy.source(), Some(KnownHashes { piece_length, hashes }))
            }
            None if stands() => (dest.clone().into(), None),
            None => return FilePlace::Wanted { dest, replace: false },
        };
        FilePlace::Repair(Box::new(Repair { dest, base, known, in_place }))
    }
}
