//! Torrents of the internet: opened in a folder where anything may stand, checked, and closed again.
//!
//! ```text
//!   state of the last run ─▶ survey ─▶ hash what no claim covers ─▶ judge ─▶ open
//!                                                                      └──▶ other content: refused
//! ```

use crate::check::{Check, Progress};
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::Meta;
use crate::opening::zero_pieces;
use crate::resume::relative;
use crate::state::{MAX_STATE, PARTS_SUFFIX, STATE_SUFFIX, State};
use crate::storage::{FilePlace, Opened, Storage, lock, misuse};
use crate::survey::{Data, Survey};
use crate::sync::{Last, SyncReport};
use crate::torrent_files::{Inner, Part, Slot, TorrentFiles};
use dunlin_base::{Bitfield, FileIndex, PieceIndex, TorrentId};
use dunlin_metainfo::{Content, HashKind};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A torrent of the internet, and where its files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentPlan {
    /// Its files, pieces and hashes.
    pub content: Arc<Content>,
    /// What the names of its files are below.
    pub folder: PathBuf,
    /// Whether each file is wanted, by index; padding and links are not.
    pub wanted: Vec<bool>,
    /// What may be done with files that stand there already.
    pub existing: Existing,
}

/// What may be done with a complete file that stands where one of the torrent's goes. What is right is
/// taken in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Other content is a refusal, and nothing is touched.
    Refuse,
    /// What is right of other content is kept; in the end it is replaced.
    Replace,
    /// Nothing is ever written: what is there is read.
    Read,
}

/// What the check of an opening came to.
struct Found {
    /// Right, and claimed by the last run: durable.
    claimed: Bitfield,
    /// Right, as hashing has shown.
    hashed: Bitfield,
    /// Hashed, and not right.
    wrong: Bitfield,
    /// Bytes that were hashed.
    bytes: u64,
}

impl Storage {
    /// Opens a torrent of the internet. Finished files that look as they did in the last run, and pieces
    /// that it has synced, are taken as they are; all else that has data is hashed, on all threads.
    /// `progress` hears of the bytes hashed and to be hashed, and ends the work by `Break`.
    ///
    /// # Errors
    /// `OtherContent` where a wanted file may not be replaced; `Exists` or `NoFolder` where something
    /// else than a file or a folder stands in the way, links among them: they are never followed.
    /// `Interrupted` if it is stopped.
    pub fn open_torrent(
        &self,
        torrent: TorrentId,
        plan: TorrentPlan,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Opened, DiskError> {
        self.check_open(torrent, &plan.content, plan.wanted.len())?;
        let state = self.load_state(&plan);
        self.open_with(torrent, plan, state, progress)
    }

    /// Opens an open torrent again and hashes everything that is there, whatever is claimed of it: when
    /// a read has failed as `Changed`. Nobody may write to it meanwhile; who reads hears what was known
    /// before.
    ///
    /// # Errors
    /// As [`Storage::open_torrent`]; the torrent is closed then.
    pub fn recheck(
        &self,
        torrent: TorrentId,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Opened, DiskError> {
        let plan = self.plan_of(torrent)?;
        self.sync_quietly(torrent);
        let _no_sync = lock(&self.syncing);
        // The store is ours alone, and nobody finds it by its name.
        let store = self
            .load_state(&plan)
            .filter(|state| state.store != 0)
            .map(|state| State { claimed: Bitfield::new(state.claimed.len()), ..state });
        let opened = self.open_with(torrent, plan, store, progress);
        if opened.is_err() {
            self.forget(torrent);
        }
        opened
    }

    /// Other files are wanted from now on. Bytes that came with pieces of others go from the store to
    /// newly wanted files; of files that are not wanted any more, what is there stays. Nobody may write
    /// to the torrent meanwhile.
    ///
    /// # Errors
    /// As [`Storage::open_torrent`]; what was wanted before still is then.
    pub fn set_wanted(&self, torrent: TorrentId, wanted: &[bool]) -> Result<Opened, DiskError> {
        let old = self.plan_of(torrent)?;
        if wanted.len() != old.wanted.len() {
            return Err(misuse(&self.config.root, "wishes for files that the torrent has not"));
        }
        self.sync_quietly(torrent);
        let plan = TorrentPlan { wanted: wanted.to_vec(), ..old };
        let state = self.load_state(&plan);
        let mut go_on = |_, _| ControlFlow::Continue(());
        let no_sync = lock(&self.syncing);
        let opened = self.open_with(torrent, plan, state, &mut go_on)?;
        drop(no_sync);
        // The bytes are in files of their own now, and the state says so.
        self.sync_quietly(torrent);
        Ok(opened)
    }

    /// The last sync of one torrent; then it is closed. What is kept of it stays, also when it is
    /// complete, so that opening it again costs nothing; without `keep` that goes, with the bytes of files
    /// that were not wanted. The report is of all torrents.
    pub fn close_torrent(&self, torrent: TorrentId, keep: bool) -> SyncReport {
        let Ok(files) = self.torrent(torrent) else { return SyncReport::default() };
        let report = self.sync_all(Last::One(torrent));
        self.forget(torrent);
        let inner = files.inner();
        let slots = inner.slots.iter().zip((0..).map(FileIndex));
        let mut filled = slots.filter(|(_, file)| files.geometry.file_length(*file) > 0);
        let stored = filled.any(|(slot, _)| slot.is_stored());
        drop(filled);
        drop(inner);
        // What cannot be removed is found by the next run, or by `clean`.
        if !(keep && stored) {
            let _ = self.fs().remove_file(&self.store_path(&files.content));
        }
        if !keep {
            let _ = self.fs().remove_file(&self.resume_path(&files));
        }
        if self.fs().remove_dir(&self.state_dir()).is_ok() {
            *lock(&self.saving) = false;
        }
        report
    }

    /// A sync whose report is given by the next one.
    fn sync_quietly(&self, torrent: TorrentId) {
        let report = self.sync_all(Last::One(torrent));
        if report != SyncReport::default() {
            *lock(&self.unreported) = report;
            lock(&self.pace).finish_since.get_or_insert_with(Instant::now);
        }
    }

    fn plan_of(&self, torrent: TorrentId) -> Result<TorrentPlan, DiskError> {
        let plan = self.torrent(torrent)?.plan.clone();
        plan.ok_or_else(|| misuse(&self.config.root, "a set that is opened as a torrent"))
    }

    fn forget(&self, torrent: TorrentId) {
        let Some(files) = lock(&self.torrents).remove(&torrent) else { return };
        self.close_files(&files);
    }

    fn close_files(&self, files: &TorrentFiles) {
        for file in (0..=files.geometry.files()).map(FileIndex) {
            self.files.remove((files.id, file));
        }
    }

    /// Where bytes of files that are not wanted are kept.
    pub(crate) fn store_path(&self, content: &Content) -> PathBuf {
        self.state_dir().join(format!("{}{PARTS_SUFFIX}", content.info_hash))
    }

    /// What the last run has kept of a torrent, if it is of use.
    fn load_state(&self, plan: &TorrentPlan) -> Option<State> {
        let content = &plan.content;
        let path = self.state_dir().join(format!("{}{STATE_SUFFIX}", content.info_hash));
        let bytes = match self.fs().read_all(&path, MAX_STATE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("{} is ignored, and files are hashed: {error}", path.display());
                return None;
            }
        };
        let state = match State::decode(&bytes) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!("{} is ignored, and files are hashed: {error}", path.display());
                return None;
            }
        };
        let same = state.claimed.len() == content.geometry.pieces()
            && state.files.len() == content.files.len()
            && state.folder == relative(&self.config.root, &plan.folder);
        same.then_some(state)
    }

    fn open_with(
        &self,
        torrent: TorrentId,
        plan: TorrentPlan,
        state: Option<State>,
        progress: Progress<'_>,
    ) -> Result<Opened, DiskError> {
        let content = Arc::clone(&plan.content);
        if content.hashes.kind() == HashKind::Token {
            return Err(misuse(&self.config.root, "tokens that are opened as a torrent"));
        }
        if let Ok(before) = self.torrent(torrent) {
            self.close_files(&before);
        }
        let zeros = zero_pieces(&content);
        let mut survey = self.survey(&plan, state.as_ref())?;
        let found = self.find(&plan, &survey, state.as_ref(), &zeros, progress)?;
        let known = state.is_some();
        let bad = survey.judge(&plan, &found.wrong)?;
        let inner = self.fill(&plan, survey, &found, known)?;
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let files = TorrentFiles {
            id: torrent,
            geometry: content.geometry.clone(),
            content,
            plan: Some(plan),
            sequence,
            zero_pieces: zeros,
            gate: Mutex::default(),
            inner: Mutex::new(inner),
        };
        bad.into_iter().try_for_each(|file| self.take_over(&files, file))?;
        self.empty_store(&files, state.as_ref())?;
        self.add_holes(&files)?;
        self.add_padding(&files);
        let opened = self.opened(&files, found.bytes);
        // Who read meanwhile may have opened files that are others now.
        self.close_files(&files);
        lock(&self.torrents).insert(torrent, Arc::new(files));
        Ok(opened)
    }

    /// Which pieces are right: claimed ones where all their files are still the same, and others with
    /// data by their hashes.
    fn find(
        &self,
        plan: &TorrentPlan,
        survey: &Survey,
        state: Option<&State>,
        zeros: &Bitfield,
        progress: Progress<'_>,
    ) -> Result<Found, DiskError> {
        let geometry = &plan.content.geometry;
        let none = || Bitfield::new(geometry.pieces());
        let mut found = Found { claimed: none(), hashed: none(), wrong: none(), bytes: 0 };
        let mut data = Data::new(self.fs(), survey);
        let mut open = Vec::new();
        for piece in (0..geometry.pieces()).map(PieceIndex) {
            let claimed = state.is_some_and(|state| state.claimed.has(piece));
            if claimed && survey.trusts(geometry, piece) {
                found.claimed.set(piece);
            } else if data.has_some(geometry, piece) {
                open.push(piece);
            } else if zeros.has(piece) && survey.is_whole(geometry, piece) {
                // Where a file that stands has a hole, it reads as zeros.
                found.hashed.set(piece);
            }
        }
        if open.is_empty() {
            return Ok(found);
        }
        let check = Check {
            fs: self.fs(),
            content: &plan.content,
            homes: &survey.homes,
            threads: self.config.threads,
            budget: self.config.budget.as_ref(),
            buffers: &self.config.buffers,
            stop: &self.config.stop,
        };
        let checked = check.run(open.clone(), progress)?;
        for (_, error) in &checked.failed {
            tracing::warn!("{error}");
        }
        let steady = survey.steady(self.fs());
        for piece in open {
            let len = geometry.data_len(piece);
            found.bytes += u64::from(len);
            let whole = dunlin_base::BlockRef { piece, begin: 0, len };
            let still =
                geometry.extents(whole).all(|part| steady.get(part.file.index()) != Some(&false));
            let set = match checked.right.has(piece) && still {
                true => &mut found.hashed,
                false => &mut found.wrong,
            };
            set.set(piece);
        }
        self.read.fetch_add(found.bytes, Ordering::Relaxed);
        Ok(found)
    }

    /// What is known when a torrent is opened.
    fn fill(
        &self,
        plan: &TorrentPlan,
        survey: Survey,
        found: &Found,
        known: bool,
    ) -> Result<Inner, DiskError> {
        let geometry = &plan.content.geometry;
        let mut inner = Inner::new(geometry.pieces());
        inner.slots = survey.slots;
        let mut store =
            Slot::new(FilePlace::Wanted { dest: self.store_path(&plan.content), replace: false });
        (store.in_place, store.part) = (true, survey.store);
        inner.slots.push(store);
        let dropped = |piece| {
            let len = geometry.data_len(piece);
            let mut parts = geometry.extents(dunlin_base::BlockRef { piece, begin: 0, len });
            parts.any(|part| survey.demoted.contains(&part.file))
        };
        for piece in found.claimed.ones().filter(|piece| !dropped(*piece)) {
            inner.durable.set(piece);
        }
        for piece in found.hashed.ones().filter(|piece| !dropped(*piece)) {
            inner.written.set(piece);
            let len = geometry.data_len(piece);
            let parts = geometry.extents(dunlin_base::BlockRef { piece, begin: 0, len });
            for part in parts {
                let stored = inner.slots.get(part.file.index()).is_some_and(Slot::is_stored);
                let home = if stored { geometry.files() } else { part.file.0 };
                inner.dirty.insert(home);
                inner.new_names.insert(home);
            }
        }
        inner.marked = known;
        if inner.written.count() > 0 || found.wrong.count() > 0 || survey.news {
            // The state says less than we know: it is saved with the next sync.
            (inner.changed, inner.marked) = (true, false);
            self.note_written(0);
        }
        if plan.existing != Existing::Read {
            let folders: BTreeSet<_> = inner
                .slots
                .iter()
                .filter(|slot| slot.is_wanted() && !slot.in_place)
                .filter_map(|slot| slot.dest())
                .map(|dest| crate::names::folder_of(dest).to_owned())
                .collect();
            self.make_folders(&folders)?;
        }
        Ok(inner)
    }

    /// Pieces of nothing but padding need no file.
    fn add_padding(&self, files: &TorrentFiles) {
        let mut inner = files.inner();
        for piece in files.zero_pieces.ones() {
            if files.geometry.extents(files.whole(piece)).next().is_none() {
                inner.durable.set(piece);
            }
        }
    }

    fn opened(&self, files: &TorrentFiles, checked: u64) -> Opened {
        let inner = files.inner();
        let mut have = inner.durable.clone();
        have.union_with(&inner.written);
        let unfinished = |file: u32| {
            let slot = inner.slots.get(file as usize);
            slot.is_some_and(|slot| matches!(slot.part, Part::There(_)))
        };
        let resumed = have.ones().filter(|piece| files.any_home(&inner, *piece, unfinished));
        Opened { resumed: resumed.count() as u32, have: have.clone(), checked }
    }
}

/// What a file was when it was looked at, and whether it still is that.
pub(crate) fn still(fs: &dyn crate::fs::Fs, path: &Path, seen: &Meta) -> bool {
    fs.metadata(path).is_ok_and(|now| now == *seen)
}

/// That other content stands at `path`.
pub(crate) fn other_content(path: &Path, more: usize) -> DiskError {
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    DiskError::new(path, DiskErrorKind::OtherContent { more })
}
