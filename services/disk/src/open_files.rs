//! A bounded set of open files; the one that was used longest ago is closed first.

use crate::fs::{FsFile, Keeps, register, unregister_dead};
use dunlin_base::{FileIndex, TorrentId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

type OpenKey = (TorrentId, FileIndex);

#[derive(Debug)]
pub(crate) struct OpenFiles {
    limit: usize,
    shelf: Arc<Shelf>,
}

/// The files; when the process has no descriptor left, they are closed one after another.
#[derive(Debug, Default)]
struct Shelf(Mutex<State>);

impl Keeps for Shelf {
    fn close_one(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, key)) = state.by_use.pop_first() else { return false };
        let closed = state.files.remove(&key);
        drop(state);
        closed.is_some()
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        unregister_dead();
    }
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<OpenKey, (Arc<dyn FsFile>, u64)>,
    by_use: BTreeMap<u64, OpenKey>,
    uses: u64,
}

impl OpenFiles {
    /// Keeps up to `limit` files open, at least one.
    pub(crate) fn new(limit: usize) -> OpenFiles {
        let shelf = Arc::new(Shelf::default());
        let keeper: Weak<Shelf> = Arc::downgrade(&shelf);
        register(keeper);
        OpenFiles { limit: limit.max(1), shelf }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shelf.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, if it is open.
    pub(crate) fn get(&self, key: OpenKey) -> Option<Arc<dyn FsFile>> {
        let mut guard = self.state();
        let state = &mut *guard;
        state.uses += 1;
        let (file, used) = state.files.get_mut(&key)?;
        state.by_use.remove(used);
        *used = state.uses;
        state.by_use.insert(state.uses, key);
        Some(Arc::clone(file))
    }

    /// Makes room before a file is opened, so that the bound holds while it is.
    pub(crate) fn make_room(&self) {
        let mut guard = self.state();
        let mut closed = Vec::new();
        while guard.files.len() >= self.limit {
            let Some((_, key)) = guard.by_use.pop_first() else { break };
            closed.extend(guard.files.remove(&key));
        }
        drop(guard);
    }

    /// Keeps an open file.
    pub(crate) fn put(&self, key: OpenKey, file: &Arc<dyn FsFile>) {
        self.make_room();
        self.remove(key);
        let mut state = self.state();
        state.uses += 1;
        let uses = state.uses;
        state.by_use.insert(uses, key);
        state.files.insert(key, (Arc::clone(file), uses));
    }

    /// Closes a file once nobody uses it any more.
    pub(crate) fn remove(&self, key: OpenKey) {
        let mut state = self.state();
        let removed = state.files.remove(&key);
        if let Some((_, used)) = &removed {
            state.by_use.remove(used);
        }
        drop(state);
    }

    /// Closes all files.
    pub(crate) fn clear(&self) {
        let old = std::mem::take(&mut *self.state());
        drop(old);
    }
}
