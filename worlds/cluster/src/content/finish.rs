//! The end of placing: links and looks, what nobody has is removed if that was asked for, and what is
//! known now is kept for the next run.

use super::Shared;
use super::files::{Copy, Files, lock};
use dunlin_base::FileIndex;
use dunlin_disk::{DiskError, FileKind, Fs, Look, TreeKeeper, Unkept};
use dunlin_tracker::FailedFile;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

impl Files {
    pub(super) fn allow_delete(&self) {
        self.may_delete.store(true, Ordering::Relaxed);
    }

    pub(super) fn finish_tree(&self, shared: &Shared) -> Vec<FailedFile> {
        let Some(keeper) = lock(&self.placed).keeper.clone() else { return Vec::new() };
        let fs = &*shared.fs;
        let unsynced = std::mem::take(&mut lock(&self.placed).unsynced);
        let unsynced: Vec<PathBuf> = unsynced.into_iter().collect();
        for (_, error) in fs.sync_many(&unsynced) {
            tracing::warn!("the folder of a link cannot be synced: {error}");
        }
        let right = self.right_files(fs, &keeper);
        let mut unkept = match self.mirrors() {
            // The rank that writes there sees to it.
            true => Vec::new(),
            false => keeper.finish(),
        };
        if unkept.is_empty() && self.may_delete.load(Ordering::Relaxed) {
            unkept = self.delete(fs, &keeper);
        }
        self.keep_hashes(shared, &keeper, right);
        let failed = |Unkept { name, reason }| FailedFile { name, reason };
        unkept.into_iter().map(failed).collect()
    }

    /// The files at the destination of which the hashes are known, before their looks are touched.
    fn right_files(&self, fs: &dyn Fs, keeper: &TreeKeeper) -> Vec<Copy> {
        let has_cache = self.lists.placing.as_ref().is_some_and(|p| p.cache.is_some());
        if !has_cache || self.mirrors() {
            return Vec::new();
        }
        let mut right = Vec::new();
        for copies in lock(&self.known).values() {
            let untouched = |copy: &&Copy| fs.look(&copy.path).is_ok_and(|l| l.meta == copy.seen);
            right.extend(copies.at_dest.iter().filter(untouched).cloned());
        }
        let placed = lock(&self.placed);
        let sets = placed.sets.iter().filter(|(_, (_, wants))| *wants);
        for (torrent, (info, _)) in sets {
            for file in self.storage.placed(*torrent) {
                let Some(named) = info.files.get(file.index()) else { continue };
                let path = self.lists.dest.join(&named.name);
                // What nobody said how it should look was written just now, so that no later
                // write could be told from ours.
                let Some(entry) = keeper.entry(&named.name) else { continue };
                let modified = i128::from(entry.meta.modified);
                let Ok(look) = fs.look(&path) else { continue };
                let ours = look.meta.modified == modified && look.meta.len == named.length;
                if look.kind == FileKind::File && ours {
                    let (piece_length, hashes) =
                        (info.piece_length, info.file_hashes(FileIndex(file.0)));
                    let (sha256, seen) = (None, look.meta);
                    right.push(Copy { path, piece_length, hashes, sha256, seen });
                }
            }
        }
        right
    }

    /// Keeps the hashes of what stands at the destination, as it looks now.
    fn keep_hashes(&self, shared: &Shared, keeper: &TreeKeeper, right: Vec<Copy>) {
        let caches = self.caches(&shared.fs);
        let Some(cache) = caches.of(true) else { return };
        for copy in right {
            let Ok(look) = shared.fs.look(&copy.path) else { continue };
            let name = copy.path.strip_prefix(&self.lists.dest).ok().and_then(Path::to_str);
            let entry = name.and_then(|name| keeper.entry(name));
            let modified = entry.map(|entry| i128::from(entry.meta.modified));
            if is_still(&look, &copy, modified) {
                cache.put(&copy.path, &look, copy.piece_length, &copy.hashes, copy.sha256);
            }
        }
        caches.save();
    }

    /// Removes what the patterns match and no rank has.
    fn delete(&self, fs: &dyn Fs, keeper: &TreeKeeper) -> Vec<Unkept> {
        let asked = self.lists.placing.as_ref().is_some_and(|placing| placing.delete);
        // A tree of nothing is what a source that went away looks like.
        if !asked || self.mirrors() || keeper.entries().is_empty() {
            return Vec::new();
        }
        let placed = lock(&self.placed);
        let in_sets: BTreeSet<&str> = placed
            .sets
            .values()
            .flat_map(|(info, _)| info.files.iter().map(|file| file.name.as_str()))
            .collect();
        let kept = |name: &str| {
            keeper.entry(name).is_some() || in_sets.contains(name) || placed.linked.contains(name)
        };
        let found = match self.elsewhere() {
            true => &self.lists.found_dest,
            false => &self.lists.found,
        };
        let mut unkept = Vec::new();
        let mut folders = BTreeSet::new();
        for file in found.iter().filter(|file| self.wanted(&file.name) && !kept(&file.name)) {
            if keeper.clear_way(&file.name).is_err() {
                continue;
            }
            match fs.remove_file(&self.lists.dest.join(&file.name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let error = DiskError::io(&self.lists.dest.join(&file.name), &error);
                    let (name, reason) = (file.name.clone(), error.to_string());
                    unkept.push(Unkept { name, reason });
                }
                _ => tracing::info!("{} is removed: nobody has it", file.name),
            }
            let above = file.name.match_indices('/').map(|(at, _)| file.name[..at].to_owned());
            folders.extend(above.filter(|folder| keeper.entry(folder).is_none()));
        }
        // The deepest first. What is not empty stays.
        for folder in folders.iter().rev() {
            let _ = fs.remove_dir(&self.lists.dest.join(folder));
        }
        // The folders that something was removed from have other times now.
        if unkept.is_empty() { keeper.finish() } else { unkept }
    }
}

/// Whether a file is what it was, but for a time that we may have given it.
fn is_still(now: &Look, copy: &Copy, modified: Option<i128>) -> bool {
    let time = now.meta.modified == copy.seen.modified || Some(now.meta.modified) == modified;
    let of = |look: &dunlin_disk::Meta| (look.device, look.inode, look.len);
    now.kind == FileKind::File && time && of(&now.meta) == of(&copy.seen)
}
