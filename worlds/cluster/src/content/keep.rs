//! What the next run need not read: the hashes of the files at a destination. They are kept when a
//! file is placed and once more at the end of the run, since a neighbour's hard link changes the
//! metadata of a file and leaves its content.
//!
//! ```text
//!   placed ─▶ kept, with its metadata now ─▶ (neighbours link it) ─▶ the end: kept with that of then
//!   linked ─▶ noted ───────────────────────────────────────────────▶ the end: kept, with the hashes
//!                                                                    that the neighbour kept
//! ```
//!
//! Nothing is kept of a file whose metadata changed in between without a further name. A write
//! whose time was set back, to a file that was linked at about the same time, passes for the link:
//! `--verify-only` finds it.

use super::SharedResources;
use super::copies::{HashedFile, KeptAtEnd, KeptHashes};
use super::files::FileContent;
use crate::lock::lock;
use dunlin_base::FileIndex;
use dunlin_disk::{FileKind, Fs, HashCache, Look, Meta, MetadataPreserver, name_of, path_of};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl FileContent {
    /// The files at the destination whose hashes are known, before their metadata is set.
    pub(super) fn right_files(
        &self,
        fs: &dyn Fs,
        preserver: &MetadataPreserver,
    ) -> Vec<HashedFile> {
        if !self.keeps_hashes() {
            return Vec::new();
        }
        let mut right = Vec::new();
        for copies in lock(&self.known).values() {
            let untouched =
                |copy: &&HashedFile| fs.look(&copy.path).is_ok_and(|l| l.seen() == copy.seen);
            right.extend(copies.at_dest.iter().filter(untouched).cloned());
        }
        let placed = lock(&self.placed);
        let sets = placed.sets.iter().filter(|(_, (_, wants))| *wants);
        for (torrent, (info, _)) in sets {
            for file in self.storage.placed(*torrent) {
                let Some(named) = info.files.get(file.index()) else { continue };
                let path = path_of(&self.lists.dest, &named.name);
                // A file without an entry has the time of just now, so that a later write could not
                // be told from ours.
                let Some(entry) = preserver.entry(&named.name) else { continue };
                let modified = i128::from(entry.meta.modified);
                let Ok(look) = fs.look(&path) else { continue };
                let ours = look.meta.modified == modified && look.meta.len == named.length;
                if look.kind == FileKind::File && ours {
                    let (piece_length, hashes) =
                        (info.piece_length, info.file_hashes(FileIndex(file.0)));
                    let (sha256, seen) = (None, look.seen());
                    right.push(HashedFile { path, piece_length, hashes, sha256, seen });
                }
            }
        }
        right
    }

    fn keeps_hashes(&self) -> bool {
        let cached =
            self.lists.placement.as_ref().is_some_and(|placement| placement.cache.is_some());
        // The rank that writes there keeps them.
        cached && !self.mirrors()
    }

    /// Keeps the hashes of the files at the destination, with their metadata now.
    pub(super) fn keep_hashes(
        &self,
        shared: &SharedResources,
        preserver: &MetadataPreserver,
        right: Vec<HashedFile>,
    ) {
        let caches = self.caches(&shared.fs);
        let Some(cache) = caches.of(true).filter(|_| self.keeps_hashes()) else { return };
        let mut later = Vec::new();
        let mut note = |path: &Path, then: &Meta, hashes: KeptHashes| {
            let name = path.strip_prefix(&self.lists.dest).map(|below| name_of(below.as_os_str()));
            let entry = name.ok().and_then(|name| preserver.entry(&name));
            let modified = entry.map(|entry| i128::from(entry.meta.modified));
            let Ok(seen) = shared.fs.look(path) else { return };
            if is_still(&seen, then, modified) {
                if let KeptHashes::Ours(copy) = &hashes {
                    cache.put(path, &seen, copy.piece_length, &copy.hashes, copy.sha256);
                }
                later.push(KeptAtEnd { path: path.to_owned(), seen, hashes });
            }
        };
        for copy in right {
            note(&copy.path.clone(), &copy.seen.meta.clone(), KeptHashes::Ours(copy));
        }
        let linked = lock(&self.placed).linked.clone();
        for (name, linked) in linked {
            note(
                &path_of(&self.lists.dest, &name),
                &linked.made.clone(),
                KeptHashes::Neighbours(linked),
            );
        }
        caches.save();
        lock(&self.placed).later = later;
    }

    /// The end of the run: the hashes of files that got further names since are kept again, and
    /// those of linked files are taken from the neighbours that have them.
    pub(super) fn keep_at_end(&self, shared: &SharedResources) {
        let later = std::mem::take(&mut lock(&self.placed).later);
        if later.is_empty() {
            return;
        }
        let caches = self.caches(&shared.fs);
        let Some(cache) = caches.of(true) else { return };
        let mut neighbours = BTreeMap::new();
        for KeptAtEnd { path, seen, hashes } in later {
            let Ok(now) = shared.fs.look(&path) else { continue };
            let touched = now.changed != seen.changed;
            if now.meta != seen.meta || touched && now.links <= seen.links {
                continue;
            }
            match hashes {
                KeptHashes::Ours(_) if !touched => {}
                KeptHashes::Ours(copy) => {
                    cache.put(&path, &now, copy.piece_length, &copy.hashes, copy.sha256);
                }
                KeptHashes::Neighbours(linked) => {
                    let Some(root) = self.neighbours_root(&path, &linked.from) else { continue };
                    let theirs = neighbours
                        .entry(root)
                        .or_insert_with_key(|root| self.neighbours_cache(shared, root));
                    let known =
                        theirs.as_ref().and_then(|c| c.recall(&linked.from, &linked.source));
                    if let Some((piece_length, known)) = known {
                        cache.put(&path, &now, piece_length, &known.hashes, known.sha256);
                    }
                }
            }
        }
        caches.save();
    }

    /// The folder below which the neighbour's file has the name that ours has below our
    /// destination.
    fn neighbours_root(&self, path: &Path, from: &Path) -> Option<PathBuf> {
        let name = path.strip_prefix(&self.lists.dest).ok()?;
        let above = from.ends_with(name).then(|| from.ancestors().nth(name.components().count()));
        above.flatten().map(Path::to_owned)
    }

    fn neighbours_cache(&self, shared: &SharedResources, root: &Path) -> Option<HashCache> {
        let folder = self.lists.placement.as_ref()?.cache.as_ref()?;
        Some(HashCache::open(Arc::clone(&shared.fs), folder, root))
    }
}

/// Whether a file is unchanged, but for a time that this run may have set.
fn is_still(now: &Look, then: &Meta, modified: Option<i128>) -> bool {
    let time = now.meta.modified == then.modified || Some(now.meta.modified) == modified;
    let of = |meta: &Meta| (meta.device, meta.inode, meta.len);
    now.kind == FileKind::File && time && of(&now.meta) == of(then)
}
