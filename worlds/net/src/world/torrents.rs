//! The torrents of the world: each has names on the wire, and shares the storage of its folder.
//! What is kept of a torrent anywhere is gone when the engine has removed it.

use super::World;
use crate::disk::DiskJob;
use crate::messages::{NetEvent, NewTorrent};
use dunlin_base::{InfoHash, TorrentId};
use dunlin_disk::{Existing, Storage, StorageConfig, TorrentPlan};
use dunlin_engine::io::{ClientInput, Command, LocalError, Source};
use dunlin_metainfo::{BLOCK_LENGTH, Content, Torrent};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

/// One torrent.
pub(super) struct TorrentEntry {
    pub(super) storage: Arc<Storage>,
    pub(super) existing: Existing,
    pub(super) content: Option<Arc<Content>>,
    /// Its files are open.
    pub(super) open: bool,
    folder: PathBuf,
    /// Its names on the wire.
    names: Vec<InfoHash>,
}

impl World {
    /// Adds a torrent. An id that is taken stays with its torrent.
    pub(super) fn add(&mut self, new: NewTorrent) {
        let NewTorrent { add, folder, existing } = new;
        if self.torrents.contains_key(&add.torrent) {
            tracing::warn!(torrent = %add.torrent, "not added: its id is taken");
            return;
        }
        let known = self.storages.get(&folder).and_then(Weak::upgrade);
        let storage = known.unwrap_or_else(|| self.create_storage(&folder));
        let hashes = match &add.source {
            Source::Metainfo(metainfo) => metainfo.hashes,
            Source::Magnet { hashes, .. } => *hashes,
        };
        let names: Vec<InfoHash> = hashes.wire().collect();
        self.by_hash.extend(names.iter().map(|name| (*name, add.torrent)));
        let entry = TorrentEntry { storage, existing, content: None, open: false, folder, names };
        self.torrents.insert(add.torrent, entry);
        self.inputs.push_back(Command::Add(Box::new(add)).into());
    }

    fn create_storage(&mut self, folder: &std::path::Path) -> Arc<Storage> {
        let mut config = StorageConfig::new(Arc::clone(&self.fs), folder.to_owned());
        config.stop = self.disk.stop();
        config.open_files = config.open_files.min(self.open_files);
        config.buffers = Arc::clone(self.budget.buffers());
        config.budget = Some(Arc::clone(&self.budget));
        config.claims = self.claims.clone();
        let storage = Arc::new(Storage::new(config));
        self.storages.insert(folder.to_owned(), Arc::downgrade(&storage));
        storage
    }

    /// Opens a torrent's files, or checks them again if they are open.
    pub(super) fn open(&mut self, torrent: TorrentId, metainfo: &Torrent, wanted: Vec<bool>) {
        let Some(entry) = self.torrents.get_mut(&torrent) else { return };
        let content = match metainfo.content(BLOCK_LENGTH) {
            Some(content) => Arc::new(content),
            None => {
                let message = "the torrent has no hashes of its pieces".to_owned();
                let error = LocalError { message, disk_full: false };
                self.inputs.push_back(ClientInput::OpenFailed { torrent, error });
                return;
            }
        };
        entry.content = Some(Arc::clone(&content));
        let again = std::mem::take(&mut entry.open);
        let folder = entry.folder.clone();
        let existing = entry.existing;
        let roots = metainfo.files.iter().map(|file| file.root).collect();
        let plan = Box::new(TorrentPlan { content, folder, wanted, existing, roots });
        self.forget_payload(torrent);
        self.submit(torrent, DiskJob::Open { torrent, plan, again });
    }

    /// Closes a torrent's files.
    pub(super) fn close(&mut self, torrent: TorrentId) {
        self.forget_payload(torrent);
        self.closing.insert(torrent);
        self.submit(torrent, DiskJob::Close { torrent });
    }

    /// Forgets what was read of a torrent, and pieces that are received.
    fn forget_payload(&mut self, torrent: TorrentId) {
        self.read_cache.forget_torrent(torrent);
        for evicted in self.buffers.forget(torrent) {
            self.evicted(evicted);
        }
    }

    /// Forgets a torrent that the engine has forgotten.
    pub(super) fn forget_torrent(&mut self, torrent: TorrentId) {
        self.closing.remove(&torrent);
        self.forget_payload(torrent);
        self.views.remove(torrent);
        self.mailbox.forget_view(torrent);
        let Some(entry) = self.torrents.remove(&torrent) else { return };
        for name in &entry.names {
            if self.by_hash.get(name) == Some(&torrent) {
                self.by_hash.remove(name);
            }
        }
        drop(entry);
        self.storages.retain(|_, storage| storage.strong_count() > 0);
        if self.torrents.is_empty() {
            self.budget.buffers().release();
        }
        let _ = self.events.send(NetEvent::Removed { torrent });
    }
}
