//! Checks that are under way: each can be ended, and the syncs of other torrents do not wait for
//! it.

use crate::mutex::lock;
use dunlin_base::TorrentId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The torrents of a storage that are being opened or checked.
#[derive(Debug, Default)]
pub(crate) struct Checking {
    /// What ends each check, when it is set.
    cancel: Mutex<BTreeMap<TorrentId, Arc<AtomicBool>>>,
    /// Open torrents that are opened again: what is known of them is about to be replaced.
    reopened: Mutex<BTreeSet<TorrentId>>,
}

/// A check is under way as long as this lives.
pub(crate) struct CheckGuard<'a> {
    checking: &'a Checking,
    torrent: TorrentId,
    cancel: Arc<AtomicBool>,
}

impl CheckGuard<'_> {
    /// Set when the check is to end.
    pub(crate) fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }
}

impl Drop for CheckGuard<'_> {
    fn drop(&mut self) {
        lock(&self.checking.cancel).remove(&self.torrent);
    }
}

/// Syncs leave a torrent out as long as this lives.
pub(crate) struct ReopenGuard<'a> {
    checking: &'a Checking,
    torrent: TorrentId,
}

impl Drop for ReopenGuard<'_> {
    fn drop(&mut self) {
        lock(&self.checking.reopened).remove(&self.torrent);
    }
}

impl Checking {
    /// A check of a torrent begins.
    pub(crate) fn begin(&self, torrent: TorrentId) -> CheckGuard<'_> {
        let cancel = Arc::new(AtomicBool::new(false));
        lock(&self.cancel).insert(torrent, Arc::clone(&cancel));
        CheckGuard { checking: self, torrent, cancel }
    }

    /// Ends the check of a torrent, if one is under way.
    pub(crate) fn interrupt(&self, torrent: TorrentId) {
        if let Some(cancel) = lock(&self.cancel).get(&torrent) {
            cancel.store(true, Ordering::Relaxed);
        }
    }

    /// A torrent is opened again.
    pub(crate) fn reopen(&self, torrent: TorrentId) -> ReopenGuard<'_> {
        lock(&self.reopened).insert(torrent);
        ReopenGuard { checking: self, torrent }
    }

    /// Whether a torrent is opened again.
    pub(crate) fn is_reopened(&self, torrent: TorrentId) -> bool {
        lock(&self.reopened).contains(&torrent)
    }
}
