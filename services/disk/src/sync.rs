//! Syncs in batches, and what may happen only after one: final names and claims.
//!
//! The order is the promise: data and new part names, then final names, then the folders of these,
//! then resume files. A power loss between any two steps leaves a state that the next run resumes.

use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{FileKind, Fs};
use crate::mutex::lock;
use crate::names::{folder_of, is_part_name, part_path};
use crate::reports::SyncReport;
use crate::saving::Last;
use crate::storage::Storage;
use crate::torrent_files::{PartFile, Slot, TorrentFiles};
use crate::unchanged::is_unchanged;
use dunlin_base::{Bitfield, FileIndex, PieceIndex, TorrentId};
use dunlin_hash::PieceCheck;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Bytes that are compared at a time.
const COMPARE: usize = 256 * 1024;

/// Faults that are remembered as said; more are not said.
const MAX_SAID: usize = 1000;

/// One torrent's share of a batch.
struct Batch {
    files: Arc<TorrentFiles>,
    /// Finished files of which pieces were hashed where they stood. That they cannot be synced is
    /// no reason not to serve them.
    stands: Vec<PathBuf>,
    /// Files with new data or a new name, and their part files.
    parts: BTreeMap<u32, PathBuf>,
    new_names: BTreeSet<u32>,
    pieces: Bitfield,
}

impl Storage {
    /// Makes everything written so far durable in one batch, gives finished files their final names
    /// and saves what resuming needs.
    pub fn sync(&self) -> SyncReport {
        self.sync_all(Last::None)
    }

    /// The last sync. Resume files of complete torrents go, and the state folder if nothing is left
    /// in it.
    pub fn close(&self) -> SyncReport {
        let report = self.sync_all(Last::All);
        self.files.clear();
        lock(&self.held).clear();
        self.tidy();
        report
    }

    pub(crate) fn sync_all(&self, last: Last) -> SyncReport {
        let _one = lock(&self.syncing);
        // Taken before the batch: what is to be finished was written before.
        let queue = {
            let mut pending = lock(&self.pending);
            (pending.bytes, pending.since, pending.finish_since) = (0, None, None);
            std::mem::take(&mut pending.finish)
        };
        let mut torrents = self.all_torrents();
        torrents.retain(|files| !self.checking.is_reopened(files.id));
        for files in &torrents {
            self.rewrite_suspects(files);
        }
        let batches: Vec<Batch> = torrents.iter().map(Batch::take).collect();
        let failed = self.sync_data(&batches);
        for batch in &batches {
            batch.settle(&failed, &|error| self.warn(error.to_string()));
        }
        let mut report = std::mem::take(&mut *lock(&self.unreported));
        // The names that files get change how they look.
        for (torrent, file) in &queue {
            let Ok(files) = self.torrent(*torrent) else { continue };
            let part = files.inner().slots.get(file.index()).map(|slot| slot.part);
            if matches!(part, Some(PartFile::There(_)))
                && let Err(error) = self.mark(&files)
            {
                self.warn(error.to_string());
            }
        }
        let now = self.finish(queue, &failed);
        report.add(now);
        self.save_changed(&torrents, last);
        let left = torrents.iter().any(|files| files.inner().suspect.count() > 0);
        if left {
            // They are tried again after an interval, not at once.
            lock(&self.pending).since.get_or_insert_with(Instant::now);
        }
        report
    }

    /// Syncs part files and the folders of new ones. Returns the paths that failed.
    fn sync_data(&self, batches: &[Batch]) -> BTreeMap<PathBuf, DiskError> {
        let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
        for batch in batches {
            paths.extend(batch.parts.values().cloned());
            paths.extend(batch.stands.iter().cloned());
            let new = batch.new_names.iter().filter_map(|file| batch.parts.get(file));
            paths.extend(new.map(|part| folder_of(part).to_owned()));
        }
        let paths: Vec<_> = paths.into_iter().collect();
        let failed = self.sync_paths(&paths).into_iter();
        failed
            .filter_map(|(index, error)| {
                let path = paths.get(index)?;
                Some((path.clone(), DiskError::io(path, &error)))
            })
            .collect()
    }

    /// Writes pieces once more of which a failed sync may have dropped the data. Who cannot be
    /// rewritten stays a suspect and is never claimed.
    fn rewrite_suspects(&self, files: &TorrentFiles) {
        let suspects: Vec<_> = files.inner().suspect.ones().collect();
        // Without it nothing may be written: that is asked once, and not for each of them.
        if !suspects.is_empty()
            && let Err(error) = self.mark(files)
        {
            self.warn(error.to_string());
            return;
        }
        for piece in suspects {
            match self.rewrite(files, piece) {
                Ok(true) => {
                    let mut inner = files.inner();
                    inner.suspect.clear(piece);
                    inner.written.set(piece);
                }
                Ok(false) => tracing::warn!("piece {piece} was lost by a failed sync"),
                Err(error) => self.warn(error.to_string()),
            }
        }
    }

    /// Says what is wrong, once until the state is saved again: what fails for many pieces, or at
    /// every sync, is one fault.
    pub(crate) fn warn(&self, text: String) {
        let mut said = lock(&self.said);
        if said.len() < MAX_SAID && said.insert(text.clone()) {
            tracing::warn!("{text}");
        }
    }

    fn rewrite(&self, files: &TorrentFiles, piece: PieceIndex) -> Result<bool, DiskError> {
        let blocks =
            || (0..files.geometry.blocks(piece)).map(|index| files.geometry.block(piece, index));
        let Some(expected) = files.content.expected(piece) else { return Ok(false) };
        let mut hash = PieceCheck::new(&expected);
        for block in blocks() {
            hash.update(&self.read_from(files, block)?);
        }
        if !hash.matches() {
            return Ok(false);
        }
        for block in blocks() {
            let bytes = self.read_from(files, block)?;
            self.write_to(files, block, &[bytes])?;
        }
        Ok(true)
    }

    /// Gives queued files their final names and makes these durable.
    fn finish(
        &self,
        queue: Vec<(TorrentId, FileIndex)>,
        failed: &BTreeMap<PathBuf, DiskError>,
    ) -> SyncReport {
        let mut report = SyncReport::default();
        let mut renamed = Vec::new();
        for (torrent, file) in queue.into_iter().collect::<BTreeSet<_>>() {
            let named = match self.rename(torrent, file, failed) {
                Err(error) if error.kind == DiskErrorKind::Exists => {
                    self.adopt(torrent, file, error)
                }
                named => named,
            };
            match named {
                Ok(Some(folder)) => renamed.push((torrent, file, folder)),
                Ok(None) => report.finished.push((torrent, file)),
                Err(error) => report.failed.push((torrent, file, error)),
            }
        }
        let folders: BTreeSet<_> = renamed.iter().map(|(_, _, folder)| folder.clone()).collect();
        let folders: Vec<_> = folders.into_iter().collect();
        let unsure: BTreeMap<PathBuf, io::Error> = self
            .sync_paths(&folders)
            .into_iter()
            .filter_map(|(index, error)| Some((folders.get(index)?.clone(), error)))
            .collect();
        for (torrent, file, folder) in renamed {
            match unsure.get(&folder) {
                None => report.finished.push((torrent, file)),
                Some(error) => {
                    report.failed.push((torrent, file, DiskError::io(&folder, error)));
                }
            }
        }
        report
    }

    /// Whoever may read a file may run it, too (BEP 47, `x`).
    fn let_run(&self, path: &Path, inode: u64) -> io::Result<()> {
        self.fs().set_mode_of(path, inode, &|mode| mode | (mode & 0o444) >> 2)
    }

    /// Renames one file; returns the folder to sync, or `None` for a source.
    fn rename(
        &self,
        torrent: TorrentId,
        file: FileIndex,
        failed: &BTreeMap<PathBuf, DiskError>,
    ) -> Result<Option<PathBuf>, DiskError> {
        let files = self.torrent(torrent)?;
        let mut inner = files.inner();
        let durable = files.all_pieces(file, |piece| inner.durable.has(piece));
        let Some(slot) = inner.slots.get_mut(file.index()) else { return Ok(None) };
        let Some(dest) = slot.dest().map(PathBuf::from) else { return Ok(None) };
        let folder = folder_of(&dest).to_owned();
        if slot.part == PartFile::Done {
            return Ok(Some(folder));
        }
        let part = slot.part_path();
        if let Some(error) = failed.get(&part).or(failed.get(&folder)) {
            return Err(error.clone());
        }
        if slot.is_wanted() && !durable {
            let lost = DiskError::new(&part, DiskErrorKind::Io("a sync failed".to_owned()));
            return Err(slot.fault.clone().unwrap_or(lost));
        }
        // A further name of it would be somebody's who may not have this metadata.
        let alone = || self.fs().look(&part).is_ok_and(|look| look.links == 1);
        if let (Some(preserver), Some(set)) =
            (self.preserver(), files.content.files.get(file.index()))
            && alone()
        {
            preserver.apply_metadata(&set.name, &part);
        }
        let named = files.content.files.get(file.index());
        if let PartFile::There(inode) = slot.part
            && named.is_some_and(|file| file.executable)
            && !slot.in_place
        {
            self.let_run(&part, inode).map_err(|error| DiskError::io(&part, &error))?;
        }
        let link = named.and_then(|file| file.link.as_deref());
        let renamed = match (link, slot.part) {
            (Some(text), _) => self.make_link(text, &dest, slot.may_replace(self.fs())),
            (None, _) if slot.in_place => Ok(()),
            (None, PartFile::There(inode)) => {
                let replace = slot.own_part.is_none() && slot.may_replace(self.fs());
                self.fs().settle(&part, &dest, inode, replace)
            }
            (None, PartFile::None | PartFile::Stale | PartFile::Done) => {
                Err(io::ErrorKind::NotFound.into())
            }
        };
        renamed.map_err(|error| DiskError::io(&dest, &error))?;
        if files.plan.is_some() {
            let now = self.fs().look(&dest).map_err(|error| DiskError::io(&dest, &error))?;
            // What came in its place meanwhile was never ours.
            if matches!(slot.part, PartFile::There(inode) if inode != now.meta.inode) {
                return Err(DiskError::new(dest, DiskErrorKind::Changed));
            }
            // From now on it must stay what it is.
            slot.saw(&now);
        }
        slot.part = PartFile::Done;
        inner.changed = true;
        Ok(Some(folder))
    }

    /// A file has come under the final name of a complete part file: another torrent may write the
    /// same content there. Then it is ours, too. What may be replaced is replaced if it is not.
    fn adopt(
        &self,
        torrent: TorrentId,
        file: FileIndex,
        error: DiskError,
    ) -> Result<Option<PathBuf>, DiskError> {
        let files = self.torrent(torrent)?;
        if files.plan.is_none() {
            return Err(error);
        }
        let (dest, part, replace, number) = match files.inner().slots.get(file.index()) {
            Some(slot @ Slot { part: PartFile::There(number), .. }) => {
                (slot.shown(), slot.part_path(), slot.may_replace(self.fs()), *number)
            }
            _ => return Err(error),
        };
        let named = |error: io::Error| DiskError::io(&dest, &error);
        let before = self.fs().look(&dest).map_err(named)?;
        if before.kind != FileKind::File {
            return Err(error);
        }
        let equal = same_bytes(self.fs(), &part, &dest).map_err(named)?
            && is_unchanged(self.fs(), &dest, &before);
        match (equal, replace) {
            (true, _) => {
                // Whoever made it may not have waited for that.
                if let Some((_, error)) = self.sync_paths(std::slice::from_ref(&dest)).pop() {
                    return Err(named(error));
                }
                let _ = self.fs().remove_file(&part);
            }
            (false, true) => self.fs().settle(&part, &dest, number, true).map_err(named)?,
            (false, false) => return Err(DiskError::other_content(&dest, 0)),
        }
        self.files.remove((torrent, file));
        let now = match equal {
            true => before,
            false => self.fs().look(&dest).map_err(named)?,
        };
        if !equal && now.meta.inode != number {
            return Err(DiskError::new(dest, DiskErrorKind::Changed));
        }
        let mut inner = files.inner();
        if let Some(slot) = inner.slots.get_mut(file.index()) {
            slot.part = PartFile::Done;
            slot.saw(&now);
        }
        inner.changed = true;
        Ok(Some(folder_of(&dest).to_owned()))
    }

    /// Removes the state folder if it is empty. Nobody saves anything in it meanwhile.
    pub(crate) fn remove_state_dir(&self) {
        let mut made = lock(&self.saving);
        if self.fs().remove_dir(&self.state_dir()).is_ok() {
            *made = false;
        }
    }

    /// Removes resume files of earlier runs that say nothing any more, remains of interrupted
    /// saves, and the state folder if it is empty. What fails here is tried by the next run.
    fn tidy(&self) {
        let torrents = self.all_torrents();
        let kept: BTreeSet<_> = torrents
            .iter()
            .filter(|files| files.inner().marked.is_some())
            .map(|files| self.resume_path(files))
            .collect();
        let mut ours = BTreeSet::new();
        for files in &torrents {
            let inner = files.inner();
            let told = |slot: &&Slot| inner.marked.is_some() || slot.part == PartFile::Done;
            let dests = inner.slots.iter().filter(told).filter_map(|slot| slot.dest());
            ours.extend(dests.map(PathBuf::from));
        }
        if let Some(leftovers) = &*lock(&self.leftovers) {
            for (path, dests) in &leftovers.files {
                let dead = |dest: &PathBuf| {
                    ours.contains(dest) || self.fs().metadata(&part_path(dest)).is_err()
                };
                if !kept.contains(path) && dests.iter().all(dead) {
                    let _ = self.fs().remove_file(path);
                }
            }
        }
        let folder = self.state_dir();
        for entry in self.fs().read_dir(&folder).unwrap_or_default() {
            if entry.is_file && entry.path.file_name().is_some_and(is_part_name) {
                let _ = self.fs().remove_file(&entry.path);
            }
        }
        self.remove_state_dir();
    }
}

/// Whether two files have the same content.
fn same_bytes(fs: &dyn Fs, one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (fs.open_read(one)?, fs.open_read(other)?);
    let length = one.len()?;
    if other.len()? != length {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (vec![0; COMPARE], vec![0; COMPARE]);
    let mut at = 0;
    while at < length {
        let size = (length - at).min(COMPARE as u64) as usize;
        let (Some(ours), Some(theirs)) = (ours.get_mut(..size), theirs.get_mut(..size)) else {
            return Ok(false);
        };
        one.read_at(ours, at)?;
        other.read_at(theirs, at)?;
        if ours != theirs {
            return Ok(false);
        }
        at += size as u64;
    }
    Ok(true)
}

impl Batch {
    fn take(files: &Arc<TorrentFiles>) -> Batch {
        let mut inner = files.inner();
        let empty = Bitfield::new(inner.written.len());
        let pieces = std::mem::replace(&mut inner.written, empty);
        let new_names = std::mem::take(&mut inner.new_names);
        let dirty = std::mem::take(&mut inner.dirty);
        let part = |file: u32| {
            let slot = inner.slots.get(file as usize)?;
            let there = matches!(slot.part, PartFile::There(_));
            there.then(|| (file, slot.part_path()))
        };
        let parts = dirty.union(&new_names).filter_map(|file| part(*file)).collect();
        let stands = |file: &u32| {
            let slot = inner.slots.get(*file as usize)?;
            let done = files.plan.is_some() && !matches!(slot.part, PartFile::There(_));
            done.then(|| slot.readable().ok()).flatten().map(|from| from.path)
        };
        let stands = dirty.iter().filter_map(stands).collect();
        drop(inner);
        Batch { files: Arc::clone(files), stands, parts, new_names, pieces }
    }

    /// Files what the sync made durable, and what it may have lost.
    fn settle(&self, failed: &BTreeMap<PathBuf, DiskError>, say: &dyn Fn(&DiskError)) {
        let files = &self.files;
        let fault = |file: u32| {
            let part = self.parts.get(&file)?;
            let new = self.new_names.contains(&file);
            failed.get(part).or_else(|| failed.get(folder_of(part)).filter(|_| new))
        };
        let mut inner = files.inner();
        for file in self.parts.keys() {
            let Some(error) = fault(*file) else { continue };
            say(error);
            if self.new_names.contains(file) {
                inner.new_names.insert(*file);
            }
            inner.dirty.insert(*file);
            if let Some(slot) = inner.slots.get_mut(*file as usize) {
                slot.fault = Some(error.clone());
                // A copy is not kept by the piece: it is made once more.
                if !slot.is_wanted() {
                    slot.part = PartFile::Stale;
                }
            }
        }
        for piece in self.pieces.ones() {
            if files.any_location(&inner, piece, |file| fault(file).is_some()) {
                inner.suspect.set(piece);
            } else {
                inner.durable.set(piece);
                let bytes = u64::from(files.geometry.data_len(piece));
                inner.since_save = inner.since_save.saturating_add(bytes);
                inner.changed = true;
            }
        }
    }
}
