//! Torrents of the internet: opened in a folder where anything may stand, checked, and closed
//! again.
//!
//! ```text
//!   state of the last run ─▶ survey ─▶ hash what no claim covers ─▶ judge ─▶ open
//!                                                                      └──▶ other content: refused
//! ```

use crate::check::{Progress, TorrentCheck};
use crate::checking::CheckGuard;
use crate::checksum::SealError;
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::FileKind;
use crate::mutex::lock;
use crate::opening::zero_pieces;
use crate::places::{Existing, FilePlace, TorrentPlan};
use crate::reading::is_any_right;
use crate::reports::{OpenStep, Opened, SyncReport};
use crate::resume::relative;
use crate::saving::Last;
use crate::state::{MAX_STATE, PARTS_SUFFIX, STATE_SUFFIX, State};
use crate::storage::Storage;
use crate::survey::{Data, Survey, Tried};
use crate::torrent_files::{Inner, PartFile, Slot, TorrentFiles};
use crate::unchanged::Since;
use dunlin_base::{Bitfield, FileIndex, PieceIndex, TorrentId};
use dunlin_metainfo::{Content, HashKind};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How often a file is hashed that is touched meanwhile: whoever does so again and again may be
/// writing.
const CHECKS: u32 = 3;

/// Receives each step, and returns whether to go on.
type Steps<'a> = &'a mut dyn FnMut(OpenStep) -> ControlFlow<()>;

/// What the check of an opening came to.
struct CheckOutcome {
    /// Right, and claimed by the last run: durable.
    claimed: Bitfield,
    /// Right, as hashing has shown.
    hashed: Bitfield,
    /// Hashed, and not right.
    wrong: Bitfield,
    /// Bytes that were hashed.
    bytes: u64,
    /// Files that could not be read, and why.
    failed: Vec<(FileIndex, DiskError)>,
}

impl Storage {
    /// Opens a torrent of the internet. Finished files that look as they did in the last run, and
    /// pieces that it has synced, are taken as they are; all else that has data is hashed, on all
    /// threads. `progress` receives each step, and ends the work by `Break`.
    ///
    /// # Errors
    /// `Claimed` where another torrent writes something else to one of its paths, `Newer` if a
    /// later version of the program kept its state; `OtherContent` where a wanted file may not be
    /// replaced; `Exists` or `NoFolder` where something else than a file or a folder stands in the
    /// way, links among them: they are never followed. `NothingRight` if files are only read
    /// ([`Existing::Read`]) and nothing of them is right. `Interrupted` if it is stopped.
    pub fn open_torrent(
        &self,
        torrent: TorrentId,
        plan: TorrentPlan,
        progress: Steps<'_>,
    ) -> Result<Opened, DiskError> {
        self.check_open(torrent, &plan.content, plan.wanted.len())?;
        let (content, folder) = (Arc::clone(&plan.content), plan.folder.clone());
        let reads = plan.existing == Existing::Read;
        let state = self.state_for(&plan)?;
        let opened = self.open_with(torrent, plan, state, progress);
        if opened.is_err() {
            self.unclaim(torrent);
        }
        let opened = opened?;
        if reads && !is_any_right(&content, &opened.have, opened.faults.len()) {
            self.forget(torrent);
            return Err(DiskError::new(folder, DiskErrorKind::NothingRight(opened.faults)));
        }
        Ok(opened)
    }

    /// Opens an open torrent again and hashes everything that is there, whatever is claimed of it:
    /// when a read has failed as `Changed`. Nobody may write to it meanwhile; who reads hears what
    /// was known before.
    ///
    /// # Errors
    /// As [`Storage::open_torrent`]; the torrent is closed then.
    pub fn recheck(&self, torrent: TorrentId, progress: Steps<'_>) -> Result<Opened, DiskError> {
        let plan = self.plan_of(torrent)?;
        self.sync_quietly(torrent);
        let _reopened = self.reopen(torrent);
        // The store is ours alone, and nobody finds it by its name.
        let store = self
            .state_for(&plan)?
            .filter(|state| state.store.is_some())
            .map(|state| State { claimed: Bitfield::new(state.claimed.len()), ..state });
        let opened = self.open_with(torrent, plan, store, progress);
        if opened.is_err() {
            self.forget(torrent);
        }
        opened
    }

    /// Other files are wanted from now on. Bytes that came with pieces of others go from the store
    /// to newly wanted files; of files that are not wanted any more, what is there stays. Nobody
    /// may write to the torrent meanwhile.
    ///
    /// # Errors
    /// As [`Storage::open_torrent`]; what was wanted before still is then.
    pub fn set_wanted(
        &self,
        torrent: TorrentId,
        wanted: &[bool],
        progress: Steps<'_>,
    ) -> Result<Opened, DiskError> {
        let old = self.plan_of(torrent)?;
        if wanted.len() != old.wanted.len() {
            return Err(DiskError::misuse(
                &self.config.root,
                "wishes for files that the torrent has not",
            ));
        }
        self.sync_quietly(torrent);
        let plan = TorrentPlan { wanted: wanted.to_vec(), ..old };
        let state = self.load_state(&plan)?;
        let reopened = self.reopen(torrent);
        // What it wrote before, it goes on writing.
        let opened = self
            .open_with(torrent, plan, state, progress)
            .inspect_err(|_| self.keep_first_claim(torrent))?;
        drop(reopened);
        // The bytes are in files of their own now, and the state says so.
        self.sync_quietly(torrent);
        Ok(opened)
    }

    /// The last sync of one torrent; then it is closed. What is kept of it stays, also when it is
    /// complete, so that opening it again costs nothing; without `keep` that goes, with the bytes
    /// of files that were not wanted. The report is of all torrents.
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
        // What cannot be removed is found by the next run, or by `clean`. The store of a torrent
        // that is only read belongs to whoever writes it.
        if !(files.is_read() || keep && stored) {
            let _ = self.fs().remove_file(&self.store_path(&files.content));
        }
        if !keep {
            let _ = self.fs().remove_file(&self.resume_path(&files));
        }
        self.remove_state_dir();
        report
    }

    /// A sync whose report is given by the next one.
    fn sync_quietly(&self, torrent: TorrentId) {
        let report = self.sync_all(Last::Pause(torrent));
        if report != SyncReport::default() {
            lock(&self.unreported).add(report);
            lock(&self.pending).finish_since.get_or_insert_with(Instant::now);
        }
    }

    fn plan_of(&self, torrent: TorrentId) -> Result<TorrentPlan, DiskError> {
        let plan = self.torrent(torrent)?.plan.clone();
        plan.ok_or_else(|| {
            DiskError::misuse(&self.config.root, "a set that is opened as a torrent")
        })
    }

    fn forget(&self, torrent: TorrentId) {
        self.unclaim(torrent);
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

    /// As [`Storage::load_state`]; who only reads can do without, and writes over nothing.
    fn state_for(&self, plan: &TorrentPlan) -> Result<Option<State>, DiskError> {
        match self.load_state(plan) {
            Err(error) if plan.existing == Existing::Read => {
                tracing::warn!("{error}");
                Ok(None)
            }
            state => state,
        }
    }

    /// What the last run has kept of a torrent, if it is of use.
    ///
    /// # Errors
    /// `Newer` if a later version of this program wrote it: it must not be written over.
    fn load_state(&self, plan: &TorrentPlan) -> Result<Option<State>, DiskError> {
        let content = &plan.content;
        let path = self.state_dir().join(format!("{}{STATE_SUFFIX}", content.info_hash));
        let ignored = |why: &dyn std::fmt::Display| {
            tracing::warn!("{} is ignored, and files are hashed: {why}", path.display());
            Ok(None)
        };
        // A pipe would be waited for, and a link leads elsewhere.
        match self.fs().look(&path) {
            Ok(look) if look.kind == FileKind::File => {}
            Ok(_) => return Err(DiskError::new(path, DiskErrorKind::Exists)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return ignored(&error),
        }
        let bytes = match self.fs().read_own(&path, MAX_STATE) {
            Ok(bytes) => bytes,
            Err(error) => return ignored(&error),
        };
        let state = match State::decode(&bytes) {
            Ok(state) => state,
            Err(SealError::Version(version)) => {
                return Err(DiskError::new(path, DiskErrorKind::Newer(version)));
            }
            Err(error) => return ignored(&error),
        };
        let same = state.claimed.len() == content.geometry.pieces()
            && state.files.len() == content.files.len()
            && state.folder == relative(&self.config.root, &plan.folder);
        Ok(same.then_some(state))
    }

    fn open_with(
        &self,
        torrent: TorrentId,
        plan: TorrentPlan,
        state: Option<State>,
        progress: Steps<'_>,
    ) -> Result<Opened, DiskError> {
        let content = Arc::clone(&plan.content);
        if content.hashes.kind() == HashKind::Token {
            return Err(DiskError::misuse(
                &self.config.root,
                "tokens that are opened as a torrent",
            ));
        }
        if let Ok(before) = self.torrent(torrent) {
            self.close_files(&before);
        }
        let check = self.checking.begin(torrent);
        let zeros = zero_pieces(&content);
        let reads = plan.existing == Existing::Read;
        let rights = self.claim(torrent, &plan)?;
        if progress(OpenStep::Claimed).is_break() {
            return Err(DiskError::new(&plan.folder, DiskErrorKind::Interrupted));
        }
        let mut hashed = |done, total| progress(OpenStep::Hashed { done, total });
        let (mut misled, mut round) = (Tried::new(), 0);
        let (mut survey, mut found) = loop {
            let mut survey = match reads {
                true => self.survey_to_read(&plan, state.as_ref(), &misled),
                false => self.survey(&plan, state.as_ref(), &rights, &misled)?,
            };
            let found =
                self.find(&plan, &mut survey, state.as_ref(), &zeros, (&check, &mut hashed))?;
            let more = survey.misled(&content.geometry, &found.wrong);
            round += 1;
            // Twice is enough for what is not made on purpose: a file has three names at most.
            match round {
                _ if more.is_empty() => break (survey, found),
                1 | 2 => more.into_iter().for_each(|file| *misled.entry(file).or_default() += 1),
                3 => (0..content.geometry.files()).for_each(|file| {
                    misled.entry(FileIndex(file)).or_insert(1);
                }),
                _ => break (survey, found),
            }
        };
        let mut right = found.claimed.clone();
        right.union_with(&found.hashed);
        survey.check_theirs(&plan, &rights, &right)?;
        let ended = state.as_ref().is_some_and(|state| state.ending.clean && !state.old);
        let bad = survey.judge(&plan, &found.wrong)?;
        let mut faults = Vec::new();
        if reads {
            let failed = std::mem::take(&mut found.failed);
            faults = survey.faults_of(&content.geometry, &right, failed);
        }
        let inner = self.fill(&plan, survey, &found, ended)?;
        // What a `get` has left unfinished, or a later version has written, is not written over.
        let finished = |kept: Option<State>| kept.as_ref().is_none_or(State::is_finished);
        let keeps = !reads || self.load_state(&plan).is_ok_and(finished);
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let files = TorrentFiles {
            id: torrent,
            geometry: content.geometry.clone(),
            content,
            plan: Some(plan),
            sequence,
            keeps,
            zero_pieces: zeros,
            create_lock: Mutex::default(),
            inner: Mutex::new(inner),
        };
        for file in bad {
            // What was lost is fetched with what is missing.
            self.demote_to_part(&files, file)?;
        }
        self.empty_store(&files, state.as_ref())?;
        if !reads {
            let kept = state.as_ref().map(|state| state.files.as_slice());
            self.drop_parts(&files, kept.unwrap_or_default());
        }
        self.add_holes(&files)?;
        self.add_padding(&files);
        let opened = Opened { faults, ..self.opened(&files, found.bytes) };
        // Who read meanwhile may have opened files that are others now.
        self.close_files(&files);
        lock(&self.torrents).insert(torrent, Arc::new(files));
        self.keep_last_claim(torrent);
        Ok(opened)
    }

    /// Which pieces are right: claimed ones where all their files are still the same, and others
    /// with data by their hashes.
    fn find(
        &self,
        plan: &TorrentPlan,
        survey: &mut Survey,
        state: Option<&State>,
        zeros: &Bitfield,
        (check, progress): (&CheckGuard<'_>, Progress<'_>),
    ) -> Result<CheckOutcome, DiskError> {
        let geometry = &plan.content.geometry;
        let none = || Bitfield::new(geometry.pieces());
        let (claimed, hashed, wrong) = (none(), none(), none());
        let mut found = CheckOutcome { claimed, hashed, wrong, bytes: 0, failed: Vec::new() };
        let mut data = Data::new(self.fs(), survey);
        let mut open = Vec::new();
        for piece in (0..geometry.pieces()).map(PieceIndex) {
            let claimed = state.is_some_and(|state| state.claimed.has(piece));
            if claimed && survey.trusts(geometry, piece) {
                found.claimed.set(piece);
            } else if data.has_some(geometry, piece) {
                open.push(piece);
            } else if survey.is_whole(geometry, piece) {
                // Where a file that stands has a hole, it reads as zeros.
                match zeros.has(piece) {
                    true => found.hashed.set(piece),
                    // As wrong as other bytes, where the file is not to be added to.
                    false if survey.is_wanted(geometry, piece) => found.wrong.set(piece),
                    false => false,
                };
            }
        }
        if open.is_empty() {
            return Ok(found);
        }
        self.hash_open(plan, survey, open, &mut found, (check, progress))?;
        self.read.fetch_add(found.bytes, Ordering::Relaxed);
        Ok(found)
    }

    /// Hashes pieces, and those of files that were touched meanwhile again: who gives a file
    /// another name or other rights changes nothing in it, but nobody else can tell.
    fn hash_open(
        &self,
        plan: &TorrentPlan,
        survey: &mut Survey,
        open: Vec<PieceIndex>,
        found: &mut CheckOutcome,
        (guard, progress): (&CheckGuard<'_>, Progress<'_>),
    ) -> Result<(), DiskError> {
        let geometry = &plan.content.geometry;
        let files = |piece| {
            let len = geometry.data_len(piece);
            geometry.extents(dunlin_base::BlockRef { piece, begin: 0, len }).map(|part| part.file)
        };
        let (mut again, mut right) = (open.clone(), Bitfield::new(geometry.pieces()));
        let mut since = Vec::new();
        for _ in 0..CHECKS {
            let check = TorrentCheck {
                fs: self.fs(),
                content: &plan.content,
                locations: &survey.locations,
                threads: self.config.threads,
                budget: self.config.budget.as_ref(),
                buffers: &self.config.buffers,
                stop: [&self.config.stop, guard.cancel()],
            };
            let checked = check.run(again.clone(), progress)?;
            for piece in again.drain(..) {
                if checked.right.has(piece) {
                    right.set(piece)
                } else {
                    right.clear(piece)
                };
            }
            found.failed.retain(|(file, _)| since.get(file.index()) != Some(&Since::Touched));
            found.failed.extend(checked.failed);
            since = survey.since(self.fs());
            let touched = |file: FileIndex| since.get(file.index()) == Some(&Since::Touched);
            again.extend(open.iter().copied().filter(|piece| files(*piece).any(touched)));
            if again.is_empty() {
                break;
            }
        }
        if plan.existing == Existing::Read {
            // It is served as it was found, and hashed again by the next run: whoever gets it
            // hashes it.
            for (slot, since) in survey.slots.iter_mut().zip(&mut since) {
                if *since == Since::Touched {
                    (slot.stamp, *since) = (None, Since::Same);
                }
            }
        } else {
            found.failed.iter().for_each(|(_, error)| tracing::warn!("{error}"));
        }
        for piece in open {
            found.bytes += u64::from(geometry.data_len(piece));
            let unchanged =
                files(piece).all(|file| since.get(file.index()).is_none_or(|s| *s == Since::Same));
            let set = match right.has(piece) && unchanged {
                true => &mut found.hashed,
                false => &mut found.wrong,
            };
            set.set(piece);
        }
        Ok(())
    }

    /// What is known when a torrent is opened; `ended` if the state says that the last run ended in
    /// order.
    fn fill(
        &self,
        plan: &TorrentPlan,
        survey: Survey,
        found: &CheckOutcome,
        ended: bool,
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
            // What is only read was synced, or not, by whoever wrote it.
            for part in parts.filter(|_| plan.existing != Existing::Read) {
                let stored = inner.slots.get(part.file.index()).is_some_and(Slot::is_stored);
                let location = if stored { geometry.files() } else { part.file.0 };
                inner.dirty.insert(location);
                inner.new_names.insert(location);
            }
        }
        inner.ended = ended;
        if inner.written.count() > 0 || found.wrong.count() > 0 || survey.news {
            // The state says less than we know: it is saved with the next sync.
            inner.changed = true;
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
            slot.is_some_and(|slot| matches!(slot.part, PartFile::There(_)))
        };
        let resumed = have.ones().filter(|piece| files.any_location(&inner, *piece, unfinished));
        let resumed = resumed.count() as u32;
        Opened { resumed, have: have.clone(), checked, faults: Vec::new() }
    }
}
