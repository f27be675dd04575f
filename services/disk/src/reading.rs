//! Torrents whose files are only read ([`Existing::Read`]): what stands in their folder, and what
//! is wrong with which file. Nothing here fails for what stands there: a file that cannot be used
//! is named, and the others are served. And for all torrents: data under other names than ours, and
//! links.

use crate::claiming::Right;
use crate::error::{DiskError, DiskErrorKind, FaultKind, FileFault};
use crate::fs::{FileKind, Look};
use crate::names::part_path;
use crate::places::{Existing, FilePlace, TorrentPlan};
use crate::stamp::Ending;
use crate::state::{FileRecord, State};
use crate::storage::Storage;
use crate::survey::{FolderChain, Looking, Survey, Tried, extents};
use crate::torrent_files::{PartFile, Replaces, Slot};
use dunlin_base::{Bitfield, FileIndex};
use dunlin_metainfo::{Content, ContentFile, Extent, Geometry};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Storage {
    /// Looks at everything that stands where the files of a torrent are. Nothing is touched.
    /// `misled` says of how many names of a file it is known that other content stands under them.
    pub(crate) fn survey_to_read(
        &self,
        plan: &TorrentPlan,
        state: Option<&State>,
        misled: &Tried,
    ) -> Survey {
        let mut survey = Survey::new(PartFile::None, state.is_none_or(|state| state.old));
        let ending = state.map_or(Ending::CLEAN, |state| state.ending);
        let mut way = FolderChain::new(self.fs());
        for (file, index) in plan.content.files.iter().zip((0..).map(FileIndex)) {
            let looking = Looking {
                index,
                dest: plan.folder.join(&file.name),
                length: plan.content.geometry.file_length(index),
                wanted: false,
                kept: state
                    .and_then(|state| state.files.get(index.index()).copied())
                    .unwrap_or(FileRecord::Nowhere),
                ending,
                right: Right::Ours,
            };
            // Padding has no name.
            if file.name.is_empty() {
                survey.add(Slot::new(FilePlace::Skipped { dest: looking.dest }), None, true);
                continue;
            }
            let mut fault = None;
            let fits = file.places().filter_map(|place| {
                let place = Path::new(OsStr::from_bytes(place));
                match self.look_to_read(&mut way, plan, file, place) {
                    Ok(look) => Some((plan.folder.join(place), look)),
                    Err(kind) => {
                        // What stands there says more than what does not.
                        if fault.as_ref().is_none_or(|known| *known == FaultKind::Missing) {
                            fault = Some(kind);
                        }
                        None
                    }
                }
            });
            let mut fits: Vec<_> = fits.collect();
            let tried = misled.get(&index).copied().unwrap_or_default();
            if fits.len() > tried + 1 {
                survey.elsewhere.insert(index);
            }
            fits.truncate(tried + 1);
            let found = fits.pop();
            match (found, fault) {
                (Some((dest, _)), _) if file.link.is_some() => {
                    survey.add(Slot::new(FilePlace::Skipped { dest }), None, true);
                }
                (Some((dest, look)), _) => {
                    survey.add_final(plan, &Looking { dest, ..looking }, look, Replaces::Nothing);
                }
                (None, fault) => {
                    let kind = fault.unwrap_or(FaultKind::Missing);
                    survey.faults.push(FileFault { file: index, path: looking.dest, kind });
                    survey.add(Slot::new(FilePlace::Absent), None, false);
                }
            }
        }
        survey
    }

    /// What stands at one of the places of a file, if that is what should.
    fn look_to_read(
        &self,
        way: &mut FolderChain<'_>,
        plan: &TorrentPlan,
        file: &ContentFile,
        place: &Path,
    ) -> Result<Look, FaultKind> {
        let refused = |error: DiskError| match error.kind {
            DiskErrorKind::NoFolder | DiskErrorKind::Exists => FaultKind::NoFile,
            DiskErrorKind::Missing => FaultKind::Missing,
            kind => FaultKind::Unreadable(kind),
        };
        let path = plan.folder.join(place);
        if !way.to(&plan.folder, place).map_err(refused)? {
            return Err(FaultKind::Missing);
        }
        match self.fs().look(&path) {
            Ok(look) if file.link.is_some() => match self.is_link(file, place, &path, &look) {
                true => Ok(look),
                false => Err(FaultKind::NoFile),
            },
            Ok(look) if look.kind != FileKind::File => Err(FaultKind::NoFile),
            Ok(look) if look.meta.len != file.length => Err(FaultKind::Length(look.meta.len)),
            Ok(look) => Ok(look),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FaultKind::Missing),
            Err(error) => Err(refused(DiskError::io(&path, &error))),
        }
    }

    /// Whether the link of a torrent stands at one of its places.
    fn is_link(&self, file: &ContentFile, place: &Path, path: &Path, look: &Look) -> bool {
        let text = (look.kind == FileKind::Symlink).then(|| self.fs().read_link(path).ok());
        let leads = |text: &PathBuf| {
            file.is_link(place.as_os_str().as_bytes(), text.as_os_str().as_bytes())
        };
        text.flatten().as_ref().is_some_and(leads)
    }

    /// A file of the right length that stands under another name than the one which we would give
    /// it: the raw one where there is such a file, that of other programs where nothing has ours.
    /// The first of them that was not `tried`.
    pub(crate) fn find_elsewhere(
        &self,
        plan: &TorrentPlan,
        way: &mut FolderChain<'_>,
        file: &ContentFile,
        tried: usize,
    ) -> Option<(PathBuf, Look)> {
        let aliases = file.aliases.as_deref()?;
        let mut stands = |place: &[u8]| {
            let place = Path::new(OsStr::from_bytes(place));
            let path = plan.folder.join(place);
            let there = way.to(&plan.folder, place).unwrap_or(false);
            let look =
                self.fs().look(&path).ok().filter(|look| there && look.kind == FileKind::File);
            Some((path, look?))
        };
        let fits = |found: &(PathBuf, Look)| found.1.meta.len == file.length;
        let raw = aliases.raw.as_deref().and_then(&mut stands).filter(fits);
        let portable = match stands(file.name.as_bytes()) {
            Some(_) => None,
            None => aliases.portable.as_deref().and_then(&mut stands).filter(fits),
        };
        raw.into_iter().chain(portable).nth(tried)
    }

    /// Where the link of a torrent goes, and whether it stands there already.
    pub(crate) fn look_at_link(
        &self,
        plan: &TorrentPlan,
        way: &mut FolderChain<'_>,
        file: &ContentFile,
    ) -> Result<Slot, DiskError> {
        let mut slot = None;
        for place in file.places() {
            let place = Path::new(OsStr::from_bytes(place));
            let dest = plan.folder.join(place);
            let there = way.to(&plan.folder, place);
            let stands = match there {
                Ok(true) => self.fs().look(&dest).ok(),
                _ => None,
            };
            let wanted = FilePlace::Wanted { dest: dest.clone(), replace: false };
            if stands.is_some_and(|look| self.is_link(file, place, &dest, &look)) {
                return Ok(Slot { part: PartFile::Done, ..Slot::new(wanted) });
            }
            if place != Path::new(&file.name) {
                continue;
            }
            there?;
            let replace = plan.existing == Existing::Replace;
            let replaces = match stands {
                None => Replaces::Nothing,
                Some(look) if replace && look.kind != FileKind::Directory => {
                    Replaces::This(look.seen())
                }
                Some(_) => return Err(DiskError::new(dest, DiskErrorKind::Exists)),
            };
            slot = Some(Slot { replaces, ..Slot::new(wanted) });
        }
        let nameless = || DiskError::new(&plan.folder, DiskErrorKind::Exists);
        slot.ok_or_else(nameless)
    }

    /// Makes the link of a torrent. Nothing is written through it, and what stands in its place is
    /// only replaced where that is meant.
    pub(crate) fn make_link(&self, text: &[u8], dest: &Path, replace: bool) -> io::Result<()> {
        let text = Path::new(OsStr::from_bytes(text));
        if !replace {
            return match self.fs().symlink(text, dest) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let same = self.fs().read_link(dest).is_ok_and(|found| found == text);
                    if same { Ok(()) } else { Err(error) }
                }
                made => made,
            };
        }
        let part = part_path(dest);
        match self.fs().symlink(text, &part) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.fs().remove_file(&part)?;
                self.fs().symlink(text, &part)?;
            }
            made => made?,
        }
        self.fs().rename(&part, dest)
    }
}

impl Survey {
    /// What is wrong with each file, now that it is known which pieces are right. `failed` are
    /// files that could not be read.
    pub(crate) fn faults_of(
        &mut self,
        geometry: &Geometry,
        right: &Bitfield,
        failed: Vec<(FileIndex, DiskError)>,
    ) -> Vec<FileFault> {
        let mut wrong = BTreeMap::<FileIndex, u32>::new();
        for piece in right.zeros() {
            // Whose fault it is cannot be said while a file of the piece is missing.
            let there =
                |part: Extent| self.locations.get(part.file.index()).is_some_and(Option::is_some);
            if extents(geometry, piece).all(there) {
                extents(geometry, piece).for_each(|p| *wrong.entry(p.file).or_default() += 1);
            }
        }
        let mut faults = std::mem::take(&mut self.faults);
        let path =
            |file: FileIndex| self.slots.get(file.index()).map(Slot::shown).unwrap_or_default();
        for (file, error) in failed {
            wrong.remove(&file);
            let kind = FaultKind::Unreadable(error.kind);
            faults.push(FileFault { file, path: path(file), kind });
        }
        faults.extend(wrong.into_iter().map(|(file, pieces)| {
            let of = geometry.file_pieces(file).len() as u32;
            FileFault { file, path: path(file), kind: FaultKind::Wrong { pieces, of } }
        }));
        faults.sort_by_key(|fault| fault.file);
        faults
    }
}

/// Whether anything of a torrent is right: a piece with bytes of a file, or, where no file has any,
/// a file. `faulty` is how many files have a fault.
pub(crate) fn is_any_right(content: &Content, right: &Bitfield, faulty: usize) -> bool {
    let geometry = &content.geometry;
    if geometry.total_len() == 0 {
        return faulty < content.files.iter().filter(|file| !file.name.is_empty()).count();
    }
    right.ones().any(|piece| extents(geometry, piece).next().is_some())
}
