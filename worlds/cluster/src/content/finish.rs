//! The end of a plan that is carried out: links and metadata, the removal of files that no rank
//! has, if that was asked for, and the hashes that are kept for the next run.

use super::SharedResources;
use super::files::FileContent;
use crate::lock::lock;
use dunlin_control::FailedFile;
use dunlin_disk::{DiskError, Fs, MetadataPreserver, Unkept, path_of};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

impl FileContent {
    pub(super) fn allow_delete(&self) {
        self.may_delete.store(true, Ordering::Relaxed);
    }

    pub(super) fn finish_tree(&self, shared: &SharedResources) -> Vec<FailedFile> {
        let Some(preserver) = lock(&self.placed).preserver.clone() else { return Vec::new() };
        let fs = &*shared.fs.inside(&self.lists.dest);
        let unsynced = std::mem::take(&mut lock(&self.placed).unsynced);
        let unsynced: Vec<PathBuf> = unsynced.into_iter().collect();
        for (_, error) in fs.sync_many(&unsynced) {
            tracing::warn!("the folder of a link cannot be synced: {error}");
        }
        let right = self.right_files(fs, &preserver);
        let mut unkept = match self.mirrors() {
            // The rank that writes there finishes it.
            true => Vec::new(),
            false => preserver.finish(),
        };
        if unkept.is_empty() && self.may_delete.load(Ordering::Relaxed) {
            unkept = self.delete(fs, &preserver);
        }
        self.keep_hashes(shared, &preserver, right);
        let failed = |Unkept { name, reason }| FailedFile { name, reason };
        unkept.into_iter().map(failed).collect()
    }

    /// Removes what the patterns match and no rank has.
    fn delete(&self, fs: &dyn Fs, preserver: &MetadataPreserver) -> Vec<Unkept> {
        let asked = self.lists.placement.as_ref().is_some_and(|placement| placement.delete);
        // A source that went away looks like a tree of nothing.
        if !asked || self.mirrors() || preserver.entries().is_empty() {
            return Vec::new();
        }
        let placed = lock(&self.placed);
        let in_sets: BTreeSet<&str> = placed
            .sets
            .values()
            .flat_map(|(info, _)| info.files.iter().map(|file| file.name.as_str()))
            .collect();
        let kept = |name: &str| {
            preserver.entry(name).is_some()
                || in_sets.contains(name)
                || placed.linked.contains_key(name)
        };
        let found = match self.elsewhere() {
            true => &self.lists.found_dest,
            false => &self.lists.found,
        };
        let mut unkept = Vec::new();
        let mut folders = BTreeSet::new();
        for file in found.iter().filter(|file| self.wanted(&file.name) && !kept(&file.name)) {
            if preserver.clear_way(&file.name).is_err() {
                continue;
            }
            match fs.remove_file(&path_of(&self.lists.dest, &file.name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let error = DiskError::io(&path_of(&self.lists.dest, &file.name), &error);
                    let (name, reason) = (file.name.clone(), error.to_string());
                    unkept.push(Unkept { name, reason });
                }
                _ => tracing::info!("{} is removed: nobody has it", file.name),
            }
            let above = file.name.match_indices('/').map(|(at, _)| file.name[..at].to_owned());
            folders.extend(above.filter(|folder| preserver.entry(folder).is_none()));
        }
        // The deepest first. A folder that is not empty stays.
        for folder in folders.iter().rev() {
            let _ = fs.remove_dir(&path_of(&self.lists.dest, folder));
        }
        // The folders that something was removed from have other times now.
        if unkept.is_empty() { preserver.finish() } else { unkept }
    }
}
