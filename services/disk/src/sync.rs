//! Syncs in batches, and what may happen only after one: final names and claims.
//!
//! The order is the promise: data and new part names, then final names, then the folders of these,
//! then resume files. A power loss between any two steps leaves a state that the next run resumes.

use crate::atomic::write_fresh;
use crate::error::{DiskError, DiskErrorKind};
use crate::hash::PieceCheck;
use crate::names::{folder_of, is_part_name, part_path};
use crate::resume::{RESUME_SUFFIX, Resume};
use crate::state::{STATE_SUFFIX, State};
use crate::storage::{Storage, lock};
use crate::torrent_files::{Part, Slot, TorrentFiles};
use dunlin_base::{Bitfield, FileIndex, PieceIndex, TorrentId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// A resume file is saved when this many times its length became durable: so saving large ones
/// costs little, and what is hashed again after a crash stays in proportion.
const SAVE_RATIO: u64 = 4;

/// What a sync did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Files that now stand, durably, under their final names (or were sources all along).
    pub finished: Vec<(TorrentId, FileIndex)>,
    /// Files that were asked for and could not be finished; the call may be repeated.
    pub failed: Vec<(TorrentId, FileIndex, DiskError)>,
}

/// Whose state is saved whatever it costs, since it is the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    None,
    One(TorrentId),
    All,
}

/// What is kept of a torrent for the next run.
enum Kept {
    Set(Resume),
    Torrent(State),
}

impl Kept {
    /// About how many bytes it is: what saving it costs.
    fn weight(&self) -> u64 {
        match self {
            Kept::Set(resume) => {
                resume.files.iter().map(|file| file.hashes.len() as u64 * 20 + 200).sum()
            }
            Kept::Torrent(state) => {
                state.files.len() as u64 * 25 + u64::from(state.claimed.len() / 8)
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Kept::Set(resume) => resume.encode(),
            Kept::Torrent(state) => state.encode(),
        }
    }
}

/// One torrent's share of a batch.
struct Batch {
    files: Arc<TorrentFiles>,
    /// Finished files of which pieces were hashed where they stood. That they cannot be synced is no
    /// reason not to serve them.
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
        self.tidy();
        report
    }

    pub(crate) fn sync_all(&self, last: Last) -> SyncReport {
        let _one = lock(&self.syncing);
        // Taken before the batch: what is to be finished was written before.
        let queue = {
            let mut pace = lock(&self.pace);
            (pace.bytes, pace.since, pace.finish_since) = (0, None, None);
            std::mem::take(&mut pace.finish)
        };
        let torrents = self.all_torrents();
        for files in &torrents {
            self.rewrite_suspects(files);
        }
        let batches: Vec<Batch> = torrents.iter().map(Batch::take).collect();
        let failed = self.sync_data(&batches);
        for batch in &batches {
            batch.settle(&failed);
        }
        let mut report = std::mem::take(&mut *lock(&self.unreported));
        let now = self.finish(queue, &failed);
        report.finished.extend(now.finished);
        report.failed.extend(now.failed);
        self.save_changed(&torrents, last);
        let left = torrents.iter().any(|files| files.inner().suspect.count() > 0);
        if left {
            // They are tried again after an interval, not at once.
            lock(&self.pace).since.get_or_insert_with(Instant::now);
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
        for piece in suspects {
            match self.rewrite(files, piece) {
                Ok(true) => {
                    let mut inner = files.inner();
                    inner.suspect.clear(piece);
                    inner.written.set(piece);
                }
                Ok(false) => tracing::warn!("piece {piece} was lost by a failed sync"),
                Err(error) => tracing::warn!("{error}"),
            }
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
            match self.rename(torrent, file, failed) {
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
        if slot.part == Part::Done {
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
        if let (Some(keeper), Some(set)) = (self.keeper(), files.content.files.get(file.index())) {
            keeper.dress(&set.name, &part);
        }
        let renamed = if slot.in_place {
            Ok(())
        } else if slot.replace {
            self.fs().rename(&part, &dest)
        } else {
            self.fs().rename_new(&part, &dest)
        };
        renamed.map_err(|error| DiskError::io(&dest, &error))?;
        slot.part = Part::Done;
        if files.plan.is_some() {
            // From now on it must stay what it is.
            slot.seen = self.fs().metadata(&dest).ok();
        }
        inner.changed = true;
        Ok(Some(folder))
    }

    /// The durable "being written" mark: the resume file, before the first write to its files.
    pub(crate) fn mark(&self, files: &TorrentFiles) -> Result<(), DiskError> {
        if files.inner().marked {
            return Ok(());
        }
        let kept = self.kept(files);
        self.save(kept.map(|kept| (files, kept)).into_iter().collect())?;
        files.inner().marked = true;
        Ok(())
    }

    fn kept(&self, files: &TorrentFiles) -> Option<Kept> {
        match &files.plan {
            Some(_) => files.state(&self.config.root).map(Kept::Torrent),
            None => files.resume(&self.config.root).map(Kept::Set),
        }
    }

    pub(crate) fn resume_path(&self, files: &TorrentFiles) -> PathBuf {
        let suffix = if files.plan.is_some() { STATE_SUFFIX } else { RESUME_SUFFIX };
        self.state_dir().join(format!("{}{suffix}", files.content.info_hash))
    }

    /// Saves the resume files of torrents of which more is known; removes those of complete ones.
    fn save_changed(&self, torrents: &[Arc<TorrentFiles>], last: Last) {
        let mut saves = Vec::new();
        for files in torrents {
            let inner = files.inner();
            let (changed, marked, since) = (inner.changed, inner.marked, inner.since_save);
            drop(inner);
            if !changed {
                continue;
            }
            let Some(kept) = self.kept(files) else {
                if marked && self.fs().remove_file(&self.resume_path(files)).is_ok() {
                    files.inner().marked = false;
                }
                files.inner().changed = false;
                continue;
            };
            let last = last == Last::All || last == Last::One(files.id);
            if last || !marked || since >= SAVE_RATIO * kept.weight() {
                saves.push((&**files, kept));
            }
        }
        let saved: Vec<_> = saves.iter().map(|(files, _)| *files).collect();
        match self.save(saves) {
            Ok(()) => saved.into_iter().for_each(|files| {
                let mut inner = files.inner();
                (inner.changed, inner.marked, inner.since_save) = (false, true, 0);
            }),
            // The old resume file still stands, and claims less: nothing is lost but time.
            Err(error) => tracing::warn!("{error} (what to resume is saved later)"),
        }
    }

    /// Writes resume files durably, in one batch.
    fn save(&self, saves: Vec<(&TorrentFiles, Kept)>) -> Result<(), DiskError> {
        if saves.is_empty() {
            return Ok(());
        }
        let mut folder_made = lock(&self.saving);
        let folder = self.state_dir();
        if !*folder_made {
            self.make_folders(&BTreeSet::from([folder.clone()]))?;
            *folder_made = true;
        }
        let paths: Vec<_> = saves.iter().map(|(files, _)| self.resume_path(files)).collect();
        let parts: Vec<_> = paths.iter().map(|path| part_path(path)).collect();
        for ((_, kept), part) in saves.iter().zip(&parts) {
            let written = write_fresh(self.fs(), part, &kept.encode());
            written.map_err(|error| DiskError::io(part, &error))?;
        }
        if let Some((index, error)) = self.sync_paths(&parts).into_iter().next() {
            return Err(DiskError::io(parts.get(index).unwrap_or(&folder), &error));
        }
        for (part, path) in parts.iter().zip(&paths) {
            self.fs().rename(part, path).map_err(|error| DiskError::io(path, &error))?;
        }
        match self.sync_paths(std::slice::from_ref(&folder)).into_iter().next() {
            Some((_, error)) => Err(DiskError::io(&folder, &error)),
            None => Ok(()),
        }
    }

    /// Removes resume files of earlier runs that say nothing any more, remains of interrupted
    /// saves, and the state folder if it is empty. What fails here is tried by the next run.
    fn tidy(&self) {
        let torrents = self.all_torrents();
        let kept: BTreeSet<_> = torrents
            .iter()
            .filter(|files| files.inner().marked)
            .map(|files| self.resume_path(files))
            .collect();
        let mut ours = BTreeSet::new();
        for files in &torrents {
            let inner = files.inner();
            let told = |slot: &&Slot| inner.marked || slot.part == Part::Done;
            let dests = inner.slots.iter().filter(told).filter_map(|slot| slot.dest());
            ours.extend(dests.map(PathBuf::from));
        }
        if let Some(leavings) = &*lock(&self.leavings) {
            for (path, dests) in &leavings.files {
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
        if self.fs().remove_dir(&folder).is_ok() {
            *lock(&self.saving) = false;
        }
    }
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
            let there = matches!(slot.part, Part::There(_));
            there.then(|| (file, slot.part_path()))
        };
        let parts = dirty.union(&new_names).filter_map(|file| part(*file)).collect();
        let stands = |file: &u32| {
            let slot = inner.slots.get(*file as usize)?;
            let done = files.plan.is_some() && !matches!(slot.part, Part::There(_));
            done.then(|| slot.readable().ok()).flatten().map(|from| from.path)
        };
        let stands = dirty.iter().filter_map(stands).collect();
        drop(inner);
        Batch { files: Arc::clone(files), stands, parts, new_names, pieces }
    }

    /// Files what the sync made durable, and what it may have lost.
    fn settle(&self, failed: &BTreeMap<PathBuf, DiskError>) {
        let files = &self.files;
        let fault = |file: u32| {
            let part = self.parts.get(&file)?;
            let new = self.new_names.contains(&file);
            failed.get(part).or_else(|| failed.get(folder_of(part)).filter(|_| new))
        };
        let mut inner = files.inner();
        for file in self.parts.keys() {
            let Some(error) = fault(*file) else { continue };
            tracing::warn!("{error}");
            if self.new_names.contains(file) {
                inner.new_names.insert(*file);
            }
            inner.dirty.insert(*file);
            if let Some(slot) = inner.slots.get_mut(*file as usize) {
                slot.fault = Some(error.clone());
                // A copy is not kept by the piece: it is made once more.
                if !slot.is_wanted() {
                    slot.part = Part::Stale;
                }
            }
        }
        for piece in self.pieces.ones() {
            if files.any_home(&inner, piece, |file| fault(file).is_some()) {
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
