//! Real files: which of them a rank offers, and where its wanted files go.

use super::SharedResources;
use super::copies::{DestinationState, HashCaches, HashedFile, KnownCopies};
use crate::config::{FoundFile, Placement};
use crate::lock::lock;
use dunlin_base::{Bitfield, FileIndex, TorrentId};
use dunlin_disk::{
    DiskError, FileKind, FilePlace, Fs, HashCache, KnownHashes, MetadataPreserver, Repair, Storage,
    StorageConfig,
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

/// What was found, as the configuration of the run lists it.
pub(super) struct FileLists {
    pub(super) root: PathBuf,
    pub(super) dest: PathBuf,
    pub(super) found: Vec<FoundFile>,
    pub(super) found_dest: Vec<FoundFile>,
    pub(super) have: Have,
    pub(super) wants: Vec<Pattern>,
    pub(super) placement: Option<Box<Placement>>,
}

pub(super) struct FileContent {
    pub(super) lists: FileLists,
    pub(super) storage: Storage,
    /// The files that were hashed, by name.
    pub(super) known: Mutex<BTreeMap<String, KnownCopies>>,
    pub(super) placed: Mutex<DestinationState>,
    pub(super) caches: OnceLock<HashCaches>,
    pub(super) may_delete: AtomicBool,
}

impl FileContent {
    pub(super) fn new(lists: FileLists, shared: &SharedResources) -> FileContent {
        let storage = Storage::new(StorageConfig {
            fs: Arc::clone(&shared.fs),
            root: lists.dest.clone(),
            open_files: shared.open_files,
            sync_interval: SYNC_INTERVAL,
            sync_bytes: SYNC_BYTES,
            buffers: Arc::clone(shared.budget.buffers()),
            placing: lists.placement.is_some(),
            stop: Arc::clone(&shared.stop),
            ..StorageConfig::new(Arc::clone(&shared.fs), lists.dest.clone())
        });
        let files = FileContent {
            lists,
            storage,
            known: Mutex::default(),
            placed: Mutex::default(),
            caches: OnceLock::new(),
            may_delete: AtomicBool::new(false),
        };
        files.set_tree(shared, Arc::default());
        files
    }

    pub(super) fn elsewhere(&self) -> bool {
        self.lists.dest != self.lists.root
    }

    pub(super) fn wanted(&self, name: &str) -> bool {
        self.lists.wants.iter().any(|pattern| pattern.matches(name))
    }

    pub(super) fn mirrors(&self) -> bool {
        self.lists.placement.as_ref().is_some_and(|placement| placement.mirrors)
    }

    /// The hash lists of earlier runs; read at the first call.
    pub(super) fn caches(&self, fs: &Arc<dyn Fs>) -> &HashCaches {
        self.caches.get_or_init(|| {
            let folder =
                self.lists.placement.as_ref().and_then(|placement| placement.cache.as_ref());
            let open = |root: &Path| {
                let folder = folder.filter(|_| !root.as_os_str().is_empty())?;
                Some(HashCache::open(Arc::clone(fs), folder, root))
            };
            let elsewhere = self.elsewhere() && !self.mirrors();
            let dest = elsewhere.then(|| open(&self.lists.dest)).flatten();
            HashCaches { root: open(&self.lists.root), dest }
        })
    }

    /// Takes over what the wanted trees are, and makes their folders.
    pub(super) fn set_tree(&self, shared: &SharedResources, entries: Arc<[TreeEntry]>) {
        if self.lists.placement.is_none() {
            return;
        }
        let dest = self.lists.dest.clone();
        let preserver = Arc::new(MetadataPreserver::new(Arc::clone(&shared.fs), dest, entries));
        // A folder that cannot be made is reported in the end, by name.
        for unkept in preserver.make_folders() {
            tracing::debug!(name = unkept.name, "{}", unkept.reason);
        }
        self.storage.preserve(Arc::clone(&preserver));
        lock(&self.placed).preserver = Some(preserver);
    }

    pub(super) fn open(
        &self,
        shared: &SharedResources,
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
            if self.lists.placement.is_some() {
                return self.place(&*shared.fs, copies, &hashes, dest, wants);
            }
            let (own, at_dest) =
                copies.map_or((None, None), |found| (found.own.as_ref(), found.at_dest.as_ref()));
            let right = |copy: &&HashedFile| !replaced && copy.hashes == hashes;
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
            // `--force`: this rank owns the content that replaces it, so that it cannot fail to
            // come.
            let fs = shared.fs.inside(&self.lists.dest);
            fs.remove_file(&path).map_err(|error| DiskError::io(&path, &error))?;
        }
        let block_length = cluster_block_length(info.piece_length, shared.block_length);
        let content = Arc::new(info.content(block_length));
        let opened = self.storage.open(torrent, content, places)?;
        lock(&self.placed).sets.insert(torrent, (Arc::clone(info), wants));
        Ok((opened.have, opened.resumed))
    }

    /// The place of a file where a plan is carried out: what differs is repaired.
    fn place(
        &self,
        fs: &dyn Fs,
        copies: Option<&KnownCopies>,
        hashes: &PieceHashes,
        dest: PathBuf,
        wants: bool,
    ) -> FilePlace {
        let at_dest = copies.and_then(|copies| copies.at_dest.as_ref());
        let own = copies.and_then(|copies| copies.own.as_ref());
        let right = |copy: &&HashedFile| copy.hashes == *hashes;
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
        let in_place = self.lists.placement.as_ref().is_some_and(|placement| placement.in_place);
        // A file that was not listed can be there, too: a further name of another one, say.
        let exists = || fs.look(&dest).is_ok_and(|look| look.kind == FileKind::File);
        let (base, known) = match at_dest {
            Some(copy) => {
                let (piece_length, hashes) = (copy.piece_length, copy.hashes.clone());
                (copy.source(), Some(KnownHashes { piece_length, hashes }))
            }
            None if exists() => (dest.clone().into(), None),
            None => return FilePlace::Wanted { dest, replace: false },
        };
        FilePlace::Repair(Box::new(Repair { dest, base, known, in_place }))
    }
}
