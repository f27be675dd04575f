//! What stands in the folder of a torrent before it is opened: finished files, part files, the
//! store; which of them the last run has vouched for, and which are in the way.

use crate::check::Location;
use crate::claiming::Right;
use crate::error::{DiskError, DiskErrorKind, FileFault};
use crate::fs::{FileKind, Fs, Look};
use crate::holes::is_hole;
use crate::lock::is_kept_from;
use crate::names::{folder_of, is_part_name, own_part_path, part_path};
use crate::other_parts::OtherParts;
use crate::places::{Existing, FilePlace, SourceFile, TorrentPlan};
use crate::stamp::{Ending, Stamp};
use crate::state::{FileRecord, State};
use crate::storage::Storage;
use crate::torrent_files::{PartFile, Replaces, Slot};
use crate::unchanged::Since;
use dunlin_base::{Bitfield, BlockRef, FileIndex, PieceIndex};
use dunlin_metainfo::{Extent, Geometry};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Finished files up to this length are read as they are: asking for holes costs as much.
const SMALL: u64 = 64 * 1024;

/// What was found, by file.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) slots: Vec<Slot>,
    /// Where the bytes can be read now.
    pub(crate) locations: Vec<Option<Location>>,
    /// Whether what the last run claimed of the file holds.
    trusted: Vec<bool>,
    /// What files were that stand under their final names.
    finals: Vec<Option<Look>>,
    /// Files of another length than they must have, where they are wanted.
    unmatched: BTreeSet<FileIndex>,
    /// Files that are not wanted and of which other content stands there: nothing of them is here.
    pub(crate) demoted: BTreeSet<FileIndex>,
    /// Files that were found under one name and may be right under another one.
    pub(crate) elsewhere: BTreeSet<FileIndex>,
    /// The store.
    pub(crate) store: PartFile,
    /// Whether something is not as the state says.
    pub(crate) news: bool,
    /// What is wrong with files that are only read.
    pub(crate) faults: Vec<FileFault>,
}

/// Of how many of a file's names, in their order, it is known that other content stands under them.
pub(crate) type Tried = BTreeMap<FileIndex, usize>;

/// The way to files below a folder, on which there may be no links.
pub(crate) struct FolderChain<'a> {
    fs: &'a dyn Fs,
    /// Folders that were looked at, and whether they are there.
    seen: BTreeMap<PathBuf, bool>,
}

impl FolderChain<'_> {
    pub(crate) fn new(fs: &dyn Fs) -> FolderChain<'_> {
        FolderChain { fs, seen: BTreeMap::new() }
    }

    /// Whether all folders between `top` and a file are there.
    pub(crate) fn to(&mut self, top: &Path, name: &Path) -> Result<bool, DiskError> {
        let mut folder = top.to_owned();
        for component in name.parent().into_iter().flat_map(Path::components) {
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
pub(crate) struct Looking {
    pub(crate) index: FileIndex,
    pub(crate) dest: PathBuf,
    pub(crate) length: u64,
    pub(crate) wanted: bool,
    pub(crate) kept: FileRecord,
    pub(crate) ending: Ending,
    pub(crate) right: Right,
}

impl Looking {
    /// Whether the last run has vouched for what is in this file, part or final.
    fn trusts(&self, look: &Look) -> bool {
        let (then, now) = (self.kept.stamp(), Stamp::of(look));
        then.zip(now).is_some_and(|(then, now)| self.ending.vouches(then, &now))
    }
}

/// The store while files are looked at.
struct Store {
    path: PathBuf,
    part: PartFile,
    /// Whether what the last run claimed of it holds.
    trusted: bool,
}

impl Store {
    fn location(&self, geometry: &Geometry, file: FileIndex) -> Option<Location> {
        let there = matches!(self.part, PartFile::There(_));
        there.then(|| Location { path: self.path.clone(), base: geometry.file_start(file) })
    }
}

impl Storage {
    /// Looks at everything that stands where the files of a torrent go. Nothing is touched. Files
    /// that are only read have a way of their own ([`Storage::survey_to_read`]). `misled` says of
    /// how many other names of a file it is known that they mislead.
    pub(crate) fn survey(
        &self,
        plan: &TorrentPlan,
        state: Option<&State>,
        rights: &[Right],
        misled: &Tried,
    ) -> Result<Survey, DiskError> {
        let geometry = &plan.content.geometry;
        let store = self.look_at_store(plan, state);
        let mut survey = Survey::new(store.part, state.is_none_or(|state| state.old));
        let ending = state.map_or(Ending::CLEAN, |state| state.ending);
        let mut way = FolderChain::new(self.fs());
        let others = OtherParts::new(self, plan.content.info_hash);
        let listed = plan.content.files.iter().zip(&plan.wanted);
        for ((file, wanted), index) in listed.zip((0..).map(FileIndex)) {
            let looking = Looking {
                index,
                dest: plan.folder.join(&file.name),
                length: geometry.file_length(index),
                wanted: *wanted,
                kept: state
                    .and_then(|state| state.files.get(index.index()).copied())
                    .unwrap_or(FileRecord::Nowhere),
                ending,
                right: rights.get(index.index()).cloned().unwrap_or(Right::Ours),
            };
            // Padding has a name that means nothing.
            if looking.length == 0 && !wanted {
                survey.add(Slot::new(FilePlace::Skipped { dest: looking.dest }), None, true);
                continue;
            }
            if file.link.is_some() {
                let slot = self.look_at_link(plan, &mut way, file)?;
                survey.add(slot, None, true);
                continue;
            }
            let there = way.to(&plan.folder, Path::new(&file.name))?;
            let tried = misled.get(&index).copied().unwrap_or_default();
            if let Some((dest, look)) = self.find_elsewhere(plan, &mut way, file, tried) {
                survey.elsewhere.insert(index);
                let looking = Looking { dest, ..looking };
                let replaces = self.replaces(plan, &looking, Some(look));
                let own_part = self.own_part(plan, &looking, &others);
                survey.add_final(plan, &looking, look, replaces);
                if let Some(slot) = survey.slots.last_mut() {
                    slot.own_part = own_part;
                }
                continue;
            }
            let stands = if there { self.look_at_final(&looking)? } else { None };
            let part = self.own_part(plan, &looking, &others);
            self.look_at_file(plan, &store, &looking, (stands, part), there, &mut survey)?;
        }
        Ok(survey)
    }

    fn look_at_store(&self, plan: &TorrentPlan, state: Option<&State>) -> Store {
        let path = self.store_path(&plan.content);
        let geometry = &plan.content.geometry;
        let length = u64::from(geometry.pieces()) * u64::from(geometry.piece_length());
        let Ok(look) = self.fs().look(&path) else {
            return Store { path, part: PartFile::None, trusted: false };
        };
        let kept = state.and_then(|state| Some((state.store?, state.ending)));
        let own = self.is_own_part(&path, &look, "");
        let now = Stamp::of(&look).filter(|now| own && now.length == length);
        let known = kept.zip(now).filter(|((then, _), now)| then.inode == now.inode);
        let trusted = known.is_some_and(|((then, ending), now)| ending.vouches(&then, &now));
        let part = known.map_or(PartFile::Stale, |(_, now)| PartFile::There(now.inode));
        Store { path, part, trusted }
    }

    /// What stands under the final name of a file.
    fn look_at_final(&self, looking: &Looking) -> Result<Option<Look>, DiskError> {
        match self.fs().look(&looking.dest) {
            Ok(look) if look.kind == FileKind::File => Ok(Some(look)),
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
        (stands, own_part): (Option<Look>, Option<PathBuf>),
        there: bool,
        survey: &mut Survey,
    ) -> Result<(), DiskError> {
        let Looking { index, dest, length, wanted, kept, .. } = looking;
        let part_at = own_part.clone().unwrap_or_else(|| part_path(dest));
        let part = match there && looking.right != Right::Left {
            true => self.look_at_part(&part_at)?,
            false => None,
        };
        // One that is not our own is replaced by one that is, like one of another length.
        let own = |look: &Look| self.is_own_part(&part_path(dest), look, "");
        let whole = part.filter(|look| look.meta.len == *length && own(look));
        let replaced = match kept {
            FileRecord::Part { stamp, replaces: true } => Some(stamp.inode),
            _ => None,
        };
        let ours = |look: &Look| replaced == Some(look.meta.inode);
        // Whoever is not asked to replace what stands there now does not, though an earlier run
        // was.
        let goes_on = plan.existing == Existing::Replace && whole.as_ref().is_some_and(ours);
        let replaces = self.replaces(plan, looking, stands);
        if let Some(look) = stands.filter(|_| !goes_on) {
            survey.add_final(plan, looking, look, replaces);
            if let Some(slot) = survey.slots.last_mut() {
                slot.own_part = own_part;
            }
            return Ok(());
        }
        let place = match wanted {
            true => FilePlace::Wanted { dest: dest.clone(), replace: goes_on },
            false => FilePlace::Skipped { dest: dest.clone() },
        };
        let mut slot = Slot { replaces, own_part, ..Slot::new(place) };
        let stored = *kept == FileRecord::Store;
        if let Some(look) = whole.filter(|_| *wanted || !stored) {
            slot.part = PartFile::There(look.meta.inode);
        } else if part.is_some() {
            slot.part = PartFile::Stale;
        }
        let in_store = store.location(&plan.content.geometry, *index);
        let (location, trusted) = match slot.part {
            // What came while it was not wanted is moved to the file when all is known.
            _ if stored => (in_store, store.trusted),
            PartFile::There(_) => {
                let trusted = whole.as_ref().is_some_and(|look| looking.trusts(look));
                (Some(Location { path: part_at, base: 0 }), trusted)
            }
            _ if !wanted => (in_store, false),
            _ => (None, false),
        };
        let trusted = trusted && location.is_some();
        survey.add(slot, location, trusted);
        Ok(())
    }

    /// What the part file of a file replaces in the end.
    fn replaces(&self, plan: &TorrentPlan, looking: &Looking, stands: Option<Look>) -> Replaces {
        let asked = plan.existing == Existing::Replace && looking.wanted;
        let Some(look) = stands.filter(|_| asked) else { return Replaces::Nothing };
        // Who writes the same content and has no part file any more has finished it.
        let unfinished = || has_parts(self.fs(), &looking.dest);
        match matches!(looking.right, Right::Shared(_)) && !unfinished() {
            true => Replaces::Nothing,
            false => Replaces::This(look.seen()),
        }
    }

    /// What stands under the name of a part file; nothing else than a file is of use, or in the
    /// way.
    fn look_at_part(&self, part: &Path) -> Result<Option<Look>, DiskError> {
        match self.fs().look(part) {
            Ok(look) if look.kind == FileKind::File => Ok(Some(look)),
            Ok(_) => Err(DiskError::new(part, DiskErrorKind::Exists)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::io(part, &error)),
        }
    }

    /// The part file of a file whose usual one another torrent has, runs now or is to go on; or
    /// had, when this one last wrote.
    fn own_part(
        &self,
        plan: &TorrentPlan,
        looking: &Looking,
        others: &OtherParts<'_>,
    ) -> Option<PathBuf> {
        let own = own_part_path(&looking.dest, plan.content.info_hash, self.fs().user());
        let is_kept = |path: &Path| {
            let kept = looking.kept.stamp().map(|stamp| stamp.inode);
            let part = matches!(looking.kept, FileRecord::Part { .. });
            part && self.fs().look(path).is_ok_and(|look| Some(look.meta.inode) == kept)
        };
        let is_begun = || self.fs().look(&own).is_ok_and(|look| look.kind == FileKind::File);
        // What somebody else has there cannot be removed from a folder with the sticky bit; and
        // what we may not write is of no use, whoever is trusted.
        let usual = part_path(&looking.dest);
        let is_taken = || {
            self.fs().look(&usual).is_ok_and(|look| {
                let theirs = look.uid != self.fs().user()
                    && (!self.is_own_part(&usual, &look, "") || is_kept_from(self.fs(), &usual));
                let file = look.kind == FileKind::File;
                theirs || file && (self.fs().is_barred(&usual) || others.has(look.meta.inode))
            })
        };
        match looking.right {
            Right::Theirs(_) | Right::Left => None,
            _ if is_kept(&usual) => None,
            Right::Shared(_) => Some(own),
            Right::Ours => (is_begun() || is_taken()).then_some(own),
        }
    }
}

impl Survey {
    pub(crate) fn new(store: PartFile, news: bool) -> Survey {
        Survey {
            slots: Vec::new(),
            locations: Vec::new(),
            trusted: Vec::new(),
            finals: Vec::new(),
            unmatched: BTreeSet::new(),
            demoted: BTreeSet::new(),
            elsewhere: BTreeSet::new(),
            store,
            news,
            faults: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, slot: Slot, location: Option<Location>, trusted: bool) {
        self.slots.push(slot);
        self.locations.push(location);
        self.trusted.push(trusted);
        self.finals.push(None);
    }

    /// A file stands under its final name.
    pub(crate) fn add_final(
        &mut self,
        plan: &TorrentPlan,
        looking: &Looking,
        look: Look,
        replaces: Replaces,
    ) {
        let Looking { index, dest, length, wanted, kept, .. } = looking;
        let stamp = Stamp::of(&look);
        let fits = look.meta.len == *length;
        if !fits && !wanted {
            self.add(Slot::new(FilePlace::Skipped { dest: dest.clone() }), None, false);
            return;
        }
        let replace = replaces != Replaces::Nothing;
        let place = match plan.existing {
            Existing::Read => {
                FilePlace::Source(SourceFile { path: dest.clone(), seen: Some(look.seen()) })
            }
            _ if !wanted => FilePlace::Skipped { dest: dest.clone() },
            _ => FilePlace::Wanted { dest: dest.clone(), replace },
        };
        self.news |= stamp.is_none_or(|stamp| *kept != FileRecord::Done(stamp));
        let (part, seen) = (PartFile::Done, Some(look.seen()));
        let slot = Slot { part, replaces, seen, stamp, ..Slot::new(place) };
        let location = Location { path: dest.clone(), base: 0 };
        // A run that was killed may just have given the part its name.
        self.add(slot, Some(location), fits && looking.trusts(&look));
        if let Some(place) = self.finals.last_mut() {
            *place = Some(look);
        }
        if !fits {
            self.unmatched.insert(*index);
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

    /// Whether all files of a piece stand, are wanted, and are written here.
    pub(crate) fn is_wanted(&self, geometry: &Geometry, piece: PieceIndex) -> bool {
        let wanted = |file: FileIndex| {
            let slot = self.slots.get(file.index());
            slot.is_some_and(|slot| matches!(slot.place, FilePlace::Wanted { .. }))
        };
        extents(geometry, piece).all(|part| wanted(part.file))
    }

    /// Whether a file stands under its final name that is not replaced.
    fn keeps_final(&self, file: FileIndex) -> bool {
        let slot = self.slots.get(file.index());
        self.is_final(file) && slot.is_some_and(|slot| slot.replaces == Replaces::Nothing)
    }

    fn is_final(&self, file: FileIndex) -> bool {
        self.finals.get(file.index()).is_some_and(Option::is_some)
    }

    /// What has become of each file that stands, and that nobody vouched for, since it was looked
    /// at. One that was touched counts as looked at now.
    pub(crate) fn since(&mut self, fs: &dyn Fs) -> Vec<Since> {
        let looked = self.finals.iter_mut().zip(&mut self.slots);
        let listed = looked.zip(self.trusted.iter().zip(&self.locations));
        let since = listed.map(|((seen, slot), (trusted, location))| match (seen, location) {
            (Some(seen), Some(location)) if !*trusted => {
                let since = Since::of(fs, &location.path, seen);
                if since == Since::Touched {
                    slot.saw(seen);
                }
                since
            }
            _ => Since::Same,
        });
        since.collect()
    }

    /// Files of other content, as far as pieces that are `wrong` tell.
    fn bad(&self, geometry: &Geometry, wrong: &Bitfield) -> BTreeSet<FileIndex> {
        let mut bad = self.unmatched.clone();
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
        bad
    }

    /// Files whose first name has other content. Where they are fetched that is left alone, and
    /// they get the name that we give them.
    pub(crate) fn misled(&self, geometry: &Geometry, wrong: &Bitfield) -> BTreeSet<FileIndex> {
        if self.elsewhere.is_empty() {
            return BTreeSet::new();
        }
        &self.bad(geometry, wrong) & &self.elsewhere
    }

    /// Refuses what others write and what is not, as far as is known, what is wanted: whatever
    /// stands there must be right to the last piece. So must what others have finished, though they
    /// proved that they write the same: what they wrote is not replaced.
    ///
    /// # Errors
    /// `Claimed` for the first file that is not.
    pub(crate) fn check_theirs(
        &self,
        plan: &TorrentPlan,
        rights: &[Right],
        right: &Bitfield,
    ) -> Result<(), DiskError> {
        for (claim, file) in rights.iter().zip((0..).map(FileIndex)) {
            let mut pieces = plan.content.geometry.file_pieces(file).map(PieceIndex);
            let finished = || plan.existing == Existing::Replace && self.keeps_final(file);
            let error = match claim {
                Right::Theirs(error) => error,
                Right::Shared(error) if finished() => error,
                Right::Shared(_) | Right::Ours | Right::Left => continue,
            };
            if !pieces.all(|piece| right.has(piece)) {
                return Err(error.clone());
            }
        }
        Ok(())
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
        let bad = self.bad(&plan.content.geometry, wrong);
        let wanted = |file: &FileIndex| plan.wanted.get(file.index()) == Some(&true);
        let (bad, unwanted): (Vec<_>, Vec<_>) = bad.into_iter().partition(wanted);
        for file in unwanted {
            if let Some(slot) = self.slots.get_mut(file.index()) {
                (slot.part, slot.seen, slot.stamp) = (PartFile::None, None, None);
            }
            self.demoted.insert(file);
        }
        if let (Existing::Refuse, Some(first)) = (plan.existing, bad.first()) {
            let shown = self.slots.get(first.index()).map(Slot::shown).unwrap_or_default();
            return Err(DiskError::other_content(&shown, bad.len() - 1));
        }
        Ok(bad)
    }
}

/// Whether anybody has begun a file of this final name and not finished it.
fn has_parts(fs: &dyn Fs, dest: &Path) -> bool {
    if fs.look(&part_path(dest)).is_ok() {
        return true;
    }
    let mut begun = dest.file_name().unwrap_or_default().as_bytes().to_vec();
    begun.insert(0, b'.');
    begun.push(b'.');
    let mut named = |name: &OsStr| is_part_name(name) && name.as_bytes().starts_with(&begun);
    fs.read_some(folder_of(dest), 1, &mut named).is_ok_and(|found| !found.is_empty())
}

pub(crate) fn extents(geometry: &Geometry, piece: PieceIndex) -> impl Iterator<Item = Extent> + '_ {
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
            let Some(Some(location)) = self.survey.locations.get(part.file.index()) else {
                return false;
            };
            let small = geometry.file_length(part.file) <= SMALL;
            let small = small && self.survey.is_final(part.file);
            let start = location.base + part.offset;
            some = some || small || self.is_data(location, start..start + u64::from(part.len));
        }
        some
    }

    fn is_data(&mut self, location: &'a Location, range: Range<u64>) -> bool {
        let ask = || Some(self.fs.open_read(&location.path).ok()?.data_ranges().ok()?.into());
        let data = self.known.entry(&location.path).or_insert_with(ask);
        data.as_ref().is_none_or(|data| !is_hole(data, &range))
    }
}
