//! What stands in the folder of a torrent before it is opened: finished files, part files, the store;
//! which of them the last run has vouched for, and which are in the way.

use crate::check::Home;
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{FileKind, Fs, Meta};
use crate::holes::is_hole;
use crate::names::part_path;
use crate::state::{Kept, State};
use crate::storage::{FilePlace, SourceFile, Storage};
use crate::torrent_files::{Part, Slot};
use crate::torrents::{Existing, TorrentPlan, other_content, still};
use dunlin_base::{Bitfield, BlockRef, FileIndex, PieceIndex};
use dunlin_metainfo::{Extent, Geometry};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Finished files up to this length are read as they are: asking for holes costs as much.
const SMALL: u64 = 64 * 1024;

/// What was found, by file.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) slots: Vec<Slot>,
    /// Where the bytes can be read now.
    pub(crate) homes: Vec<Option<Home>>,
    /// Whether what the last run claimed of the file holds.
    trusted: Vec<bool>,
    /// What files were that stand under their final names.
    finals: Vec<Option<Meta>>,
    /// Files of another length than they must have, where they are wanted.
    misfits: BTreeSet<FileIndex>,
    /// Files that are not wanted and of which other content stands there: nothing of them is here.
    pub(crate) demoted: BTreeSet<FileIndex>,
    /// The store.
    pub(crate) store: Part,
    /// Whether something is not as the state says.
    pub(crate) news: bool,
}

/// The way to files below a folder, on which there may be no links.
struct Way<'a> {
    fs: &'a dyn Fs,
    /// Folders that were looked at, and whether they are there.
    seen: BTreeMap<PathBuf, bool>,
}

impl Way<'_> {
    /// Whether all folders between `top` and a file are there.
    fn to(&mut self, top: &Path, name: &str) -> Result<bool, DiskError> {
        let mut folder = top.to_owned();
        let Some((above, _)) = name.rsplit_once('/') else { return Ok(true) };
        for component in above.split('/') {
            folder.push(component);
            let there = match self.seen.get(&folder) {
                Some(there) => *there,
                None => match self.fs.look(&folder) {
                    Ok(look) if look.kind == FileKind::Directory => true,
                    Ok(_) => return Err(DiskError::new(folder, DiskErrorKind::NoFolder)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                    Err(error) => return Err(DiskError::io(&folder, &error)),
                },
            };
            self.seen.insert(folder.clone(), there);
            if !there {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// One file while it is looked at.
struct Looking {
    index: FileIndex,
    dest: PathBuf,
    length: u64,
    wanted: bool,
    kept: Kept,
}

/// The store while files are looked at.
struct Store {
    path: PathBuf,
    part: Part,
}

impl Store {
    fn home(&self, geometry: &Geometry, file: FileIndex) -> Option<Home> {
        let there = matches!(self.part, Part::There(_));
        there.then(|| Home { path: self.path.clone(), base: geometry.file_start(file) })
    }
}

impl Storage {
    /// Looks at everything that stands where the files of a torrent go. Nothing is touched.
    pub(crate) fn survey(
        &self,
        plan: &TorrentPlan,
        state: Option<&State>,
    ) -> Result<Survey, DiskError> {
        let geometry = &plan.content.geometry;
        let store = self.look_at_store(plan, state);
        let mut survey = Survey {
            slots: Vec::new(),
            homes: Vec::new(),
            trusted: Vec::new(),
            finals: Vec::new(),
            misfits: BTreeSet::new(),
            demoted: BTreeSet::new(),
            store: store.part,
            news: state.is_none(),
        };
        let mut way = Way { fs: self.fs(), seen: BTreeMap::new() };
        let listed = plan.content.files.iter().zip(&plan.wanted);
        for ((file, wanted), index) in listed.zip((0..).map(FileIndex)) {
            let looking = Looking {
                index,
                dest: plan.folder.join(&file.name),
                length: geometry.file_length(index),
                wanted: *wanted,
                kept: state
                    .and_then(|state| state.files.get(index.index()).copied())
                    .unwrap_or(Kept::Nowhere),
            };
            // Padding has a name that means nothing.
            if looking.length == 0 && !wanted {
                survey.add(Slot::new(FilePlace::Skipped { dest: looking.dest }), None, true);
                continue;
            }
            let there = way.to(&plan.folder, &file.name)?;
            let stands = if there { self.look_at_final(&looking)? } else { None };
            self.look_at_file(plan, &store, &looking, stands, there, &mut survey)?;
        }
        Ok(survey)
    }

    fn look_at_store(&self, plan: &TorrentPlan, state: Option<&State>) -> Store {
        let path = self.store_path(&plan.content);
        let geometry = &plan.content.geometry;
        let length = u64::from(geometry.pieces()) * u64::from(geometry.piece_length());
        let part = match self.fs().look(&path) {
            Ok(look) => {
                let ours = look.kind == FileKind::File
                    && look.meta.len == length
                    && state.is_some_and(|state| state.store == look.meta.inode);
                if ours { Part::There(look.meta.inode) } else { Part::Stale }
            }
            Err(_) => Part::None,
        };
        Store { path, part }
    }

    /// What stands under the final name of a file.
    fn look_at_final(&self, looking: &Looking) -> Result<Option<Meta>, DiskError> {
        match self.fs().look(&looking.dest) {
            Ok(look) if look.kind == FileKind::File => Ok(Some(look.meta)),
            Ok(_) if !looking.wanted => Ok(None),
            Ok(_) => Err(DiskError::new(&looking.dest, DiskErrorKind::Exists)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::io(&looking.dest, &error)),
        }
    }

    fn look_at_file(
        &self,
        plan: &TorrentPlan,
        store: &Store,
        looking: &Looking,
        stands: Option<Meta>,
        there: bool,
        survey: &mut Survey,
    ) -> Result<(), DiskError> {
        let Looking { index, dest, length, wanted, kept } = looking;
        let part = match there && plan.existing != Existing::Read {
            true => self.look_at_part(dest)?,
            false => None,
        };
        let whole = part.filter(|meta| meta.is_file && meta.len == *length);
        let replacing = |meta: &Meta| *kept == Kept::Part { inode: meta.inode, replaces: true };
        let goes_on = whole.as_ref().is_some_and(replacing);
        if let Some(meta) = stands.filter(|_| !goes_on) {
            survey.add_final(plan, looking, meta);
            return Ok(());
        }
        if plan.existing == Existing::Read {
            survey.add(Slot::new(FilePlace::Absent), None, false);
            return Ok(());
        }
        let replace = plan.existing == Existing::Replace || goes_on;
        let place = match wanted {
            true => FilePlace::Wanted { dest: dest.clone(), replace },
            false => FilePlace::Skipped { dest: dest.clone() },
        };
        let mut slot = Slot { replace: replace && *wanted, ..Slot::new(place) };
        let stored = *kept == Kept::Store;
        if let Some(meta) = whole.filter(|_| *wanted || !stored) {
            slot.part = Part::There(meta.inode);
        } else if part.is_some() {
            slot.part = Part::Stale;
        }
        let in_store = store.home(&plan.content.geometry, *index);
        let (home, trusted) = match slot.part {
            // What came while it was not wanted is moved to the file when all is known.
            _ if stored => (in_store, true),
            Part::There(inode) => {
                let ours = matches!(kept, Kept::Part { inode: kept, .. } if *kept == inode);
                (Some(Home { path: part_path(dest), base: 0 }), ours)
            }
            _ if !wanted => (in_store, false),
            _ => (None, false),
        };
        let trusted = trusted && home.is_some();
        survey.add(slot, home, trusted);
        Ok(())
    }

    /// What stands under the name of a part file; nothing else than a file is of use, or in the way.
    fn look_at_part(&self, dest: &Path) -> Result<Option<Meta>, DiskError> {
        let part = part_path(dest);
        match self.fs().look(&part) {
            Ok(look) if look.kind == FileKind::File => Ok(Some(look.meta)),
            Ok(_) => Err(DiskError::new(part, DiskErrorKind::Exists)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::io(&part, &error)),
        }
    }
}

impl Survey {
    fn add(&mut self, slot: Slot, home: Option<Home>, trusted: bool) {
        self.slots.push(slot);
        self.homes.push(home);
        self.trusted.push(trusted);
        self.finals.push(None);
    }

    /// A file stands under its final name.
    fn add_final(&mut self, plan: &TorrentPlan, looking: &Looking, meta: Meta) {
        let Looking { index, dest, length, wanted, kept } = looking;
        let fits = meta.len == *length;
        if !fits && (plan.existing == Existing::Read || !wanted) {
            let place = match plan.existing {
                Existing::Read => FilePlace::Absent,
                _ => FilePlace::Skipped { dest: dest.clone() },
            };
            self.add(Slot::new(place), None, false);
            return;
        }
        let replace = plan.existing == Existing::Replace;
        let place = match plan.existing {
            Existing::Read => {
                FilePlace::Source(SourceFile { path: dest.clone(), seen: Some(meta) })
            }
            _ if !wanted => FilePlace::Skipped { dest: dest.clone() },
            _ => FilePlace::Wanted { dest: dest.clone(), replace },
        };
        let same = *kept == Kept::done(&meta);
        // A run that was killed had just given the part its name.
        let renamed = matches!(kept, Kept::Part { inode, .. } if *inode == meta.inode);
        self.news |= !same;
        let slot = Slot { part: Part::Done, replace, seen: Some(meta), ..Slot::new(place) };
        let home = Home { path: dest.clone(), base: 0 };
        self.add(slot, Some(home), fits && (same || renamed));
        if let Some(place) = self.finals.last_mut() {
            *place = Some(meta);
        }
        if !fits {
            self.misfits.insert(*index);
        }
    }

    /// Whether a claim of the last run holds for a piece: all its files are still the same.
    pub(crate) fn trusts(&self, geometry: &Geometry, piece: PieceIndex) -> bool {
        extents(geometry, piece).all(|part| self.trusted.get(part.file.index()) == Some(&true))
    }

    /// Whether all files of a piece stand under their final names.
    pub(crate) fn is_whole(&self, geometry: &Geometry, piece: PieceIndex) -> bool {
        let mut parts = extents(geometry, piece).peekable();
        parts.peek().is_some() && parts.all(|part| self.is_final(part.file))
    }

    fn is_final(&self, file: FileIndex) -> bool {
        self.finals.get(file.index()).is_some_and(Option::is_some)
    }

    /// Whether each file that stands, and that nobody vouched for, is still what it was.
    pub(crate) fn steady(&self, fs: &dyn Fs) -> Vec<bool> {
        let listed = self.finals.iter().zip(&self.trusted).zip(&self.homes);
        let steady =
            |((seen, trusted), home): ((&Option<Meta>, &bool), &Option<Home>)| match (seen, home) {
                (Some(seen), Some(home)) if !trusted => still(fs, &home.path, seen),
                _ => true,
            };
        listed.map(steady).collect()
    }

    /// The files that must be made anew of what stands there, since pieces of them are `wrong`.
    ///
    /// # Errors
    /// `OtherContent` if there are some, and they may not be replaced.
    pub(crate) fn judge(
        &mut self,
        plan: &TorrentPlan,
        wrong: &Bitfield,
    ) -> Result<Vec<FileIndex>, DiskError> {
        if plan.existing == Existing::Read {
            return Ok(Vec::new());
        }
        let geometry = &plan.content.geometry;
        let mut bad = self.misfits.clone();
        let files = |piece| extents(geometry, piece).map(|part| part.file);
        let whole: Vec<_> = wrong.ones().filter(|piece| self.is_whole(geometry, *piece)).collect();
        for piece in &whole {
            let mut of = files(*piece);
            if let (Some(only), None) = (of.next(), of.next()) {
                bad.insert(only);
            }
        }
        // Which of several files it is that spoils a piece can only be guessed.
        for piece in whole {
            if files(piece).any(|file| bad.contains(&file)) {
                continue;
            }
            let doubted = |file: &FileIndex| self.trusted.get(file.index()) == Some(&false);
            let any = files(piece).any(|file| doubted(&file));
            bad.extend(files(piece).filter(|file| !any || doubted(file)));
        }
        let wanted = |file: &FileIndex| plan.wanted.get(file.index()) == Some(&true);
        let (bad, unwanted): (Vec<_>, Vec<_>) = bad.into_iter().partition(wanted);
        for file in unwanted {
            if let Some(slot) = self.slots.get_mut(file.index()) {
                (slot.part, slot.seen) = (Part::None, None);
            }
            self.demoted.insert(file);
        }
        if let (Existing::Refuse, Some(first)) = (plan.existing, bad.first()) {
            let shown = self.slots.get(first.index()).map(Slot::shown).unwrap_or_default();
            return Err(other_content(&shown, bad.len() - 1));
        }
        Ok(bad)
    }
}

fn extents(geometry: &Geometry, piece: PieceIndex) -> impl Iterator<Item = Extent> + '_ {
    geometry.extents(BlockRef { piece, begin: 0, len: geometry.data_len(piece) })
}

/// Where files have data and no holes. Files are asked when somebody needs to know.
pub(crate) struct Data<'a> {
    fs: &'a dyn Fs,
    survey: &'a Survey,
    /// By path, since many files may be in the store; `None` where that cannot be told.
    known: BTreeMap<&'a Path, Option<Arc<[Range<u64>]>>>,
}

impl<'a> Data<'a> {
    pub(crate) fn new(fs: &'a dyn Fs, survey: &'a Survey) -> Data<'a> {
        Data { fs, survey, known: BTreeMap::new() }
    }

    /// Whether all files of a piece are there, and any of them has data of it.
    pub(crate) fn has_some(&mut self, geometry: &Geometry, piece: PieceIndex) -> bool {
        let mut some = false;
        for part in extents(geometry, piece) {
            let Some(Some(home)) = self.survey.homes.get(part.file.index()) else { return false };
            let small = geometry.file_length(part.file) <= SMALL;
            let small = small && self.survey.is_final(part.file);
            let start = home.base + part.offset;
            some = some || small || self.is_data(home, start..start + u64::from(part.len));
        }
        some
    }

    fn is_data(&mut self, home: &'a Home, range: Range<u64>) -> bool {
        let ask = || Some(self.fs.open_read(&home.path).ok()?.data_ranges().ok()?.into());
        let data = self.known.entry(&home.path).or_insert_with(ask);
        data.as_ref().is_none_or(|data| !is_hole(data, &range))
    }
}
