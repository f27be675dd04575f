//! What stands where the files of a torrent belong, and what stands there besides. Nothing is read.

use crate::exit::Failure;
use dunlin_base::FileIndex;
use dunlin_disk::{FileKind, Fs, is_part_name, is_state_name};
use dunlin_metainfo::{Content, ContentFile, Torrent};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Folders that are entered one within another; deeper ones are no part of any torrent.
const MAX_DEPTH: usize = 128;

/// What stands at one place. The first are the files of the torrent, in order.
#[derive(Debug)]
pub(super) struct PlacedFile {
    /// Its path below the data folder.
    pub(super) name: String,
    /// The folder and that.
    place: PathBuf,
    pub(super) found: Presence,
    /// The length that it must have, in bytes; `None` if it is no file of the torrent.
    pub(super) expected: Option<u64>,
    /// Another of its names has a file of that length, too.
    pub(super) twice: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is padding, and nowhere.
    Nothing,
    /// A file, or the link that the torrent has there, of so many bytes.
    File(u64),
    /// It is not there.
    Missing,
    /// Something else stands there, or a link on the way to it.
    NoFile,
    /// A file that the torrent has not.
    Extra(u64),
}

impl PlacedFile {
    /// Where its bytes can be read.
    pub(super) fn path(&self) -> Option<PathBuf> {
        matches!(self.found, Presence::File(_)).then(|| self.place.clone())
    }
}

/// Looks at everything below the torrent's place in `data`, which `fs` has entered. `misled` has,
/// for a file, the number of its names under which other content was found.
///
/// # Errors
/// If a folder cannot be read (exit 5).
pub(super) fn look(
    fs: &dyn Fs,
    torrent: &Torrent,
    content: &Content,
    data: &Path,
    misled: &BTreeMap<FileIndex, usize>,
) -> Result<Vec<PlacedFile>, Failure> {
    let mut folders = BTreeMap::new();
    let mut all = Vec::new();
    let mut known = BTreeSet::new();
    for (file, index) in content.files.iter().zip((0..).map(FileIndex)) {
        let (place, found, twice) = match file.name.is_empty() {
            true => (PathBuf::new(), Presence::Nothing, false),
            false => {
                let tried = misled.get(&index).copied().unwrap_or_default();
                find(fs, data, file, tried, &mut folders)?
            }
        };
        let name = place.to_string_lossy().into_owned();
        known.insert(place.clone());
        let place = data.join(place);
        all.push(PlacedFile { name, place, found, expected: Some(file.length), twice });
    }
    if !torrent.single_file {
        let tops: BTreeSet<PathBuf> = known
            .iter()
            .filter_map(|place| Some(PathBuf::from(place.components().next()?.as_os_str())))
            .chain([PathBuf::from(&torrent.name)])
            .collect();
        all.extend(extra(fs, data, tops, &known)?);
    }
    Ok(all)
}

/// Where a file stands below `data`: under the first of its names that has what should be there and
/// was not `tried`, otherwise under the one that we would give it. And whether another one has
/// that, too.
fn find(
    fs: &dyn Fs,
    data: &Path,
    file: &ContentFile,
    tried: usize,
    folders: &mut BTreeMap<PathBuf, Presence>,
) -> Result<(PathBuf, Presence, bool), Failure> {
    let own = PathBuf::from(&file.name);
    let (mut right, mut best) = (Vec::new(), None);
    for place in file.places() {
        let place = PathBuf::from(OsStr::from_bytes(place));
        let found = look_at(fs, data, file, &place, folders)?;
        if found == Presence::File(file.length) {
            right.push((place, found));
        } else if found != Presence::Missing && (best.is_none() || place == own) {
            best = Some((place, found));
        }
    }
    let twice = right.len() > tried + 1;
    right.truncate(tried + 1);
    let (place, found) = right.pop().or(best).unwrap_or((own, Presence::Missing));
    Ok((place, found, twice))
}

/// What stands under a name, and whether the way to it leads through folders alone.
fn look_at(
    fs: &dyn Fs,
    data: &Path,
    file: &ContentFile,
    name: &Path,
    folders: &mut BTreeMap<PathBuf, Presence>,
) -> Result<Presence, Failure> {
    let above: Vec<&Path> = name.ancestors().skip(1).collect();
    for above in above.into_iter().rev().filter(|above| !above.as_os_str().is_empty()) {
        let found = match folders.get(above) {
            Some(found) => *found,
            None => {
                let found = kind(fs, &data.join(above))?;
                folders.insert(above.to_owned(), found.0);
                found.0
            }
        };
        if matches!(found, Presence::Missing | Presence::NoFile) {
            return Ok(found);
        }
    }
    let place = data.join(name);
    let leads = || {
        let text = fs.read_link(&place);
        text.is_ok_and(|text| {
            file.is_link(name.as_os_str().as_bytes(), text.as_os_str().as_bytes())
        })
    };
    match kind(fs, &place)? {
        (Presence::Missing, _) => Ok(Presence::Missing),
        (_, Some((FileKind::File, length))) if file.link.is_none() => Ok(Presence::File(length)),
        (_, Some((FileKind::Symlink, _))) if file.link.is_some() && leads() => {
            Ok(Presence::File(0))
        }
        _ => Ok(Presence::NoFile),
    }
}

/// As a folder on the way (`Nothing` is one), and what it is.
fn kind(fs: &dyn Fs, path: &Path) -> Result<(Presence, Option<(FileKind, u64)>), Failure> {
    match fs.look(path) {
        Ok(look) => {
            let folder = look.kind == FileKind::Directory;
            let found = if folder { Presence::Nothing } else { Presence::NoFile };
            Ok((found, Some((look.kind, look.meta.len))))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Presence::Missing, None)),
        Err(error) => Err(Failure::disk(format!(
            "cannot look at {}: {error}; check its rights",
            path.display()
        ))),
    }
}

/// Files in the torrent's folders that it has not; what unfinished runs left does not count.
fn extra(
    fs: &dyn Fs,
    data: &Path,
    tops: BTreeSet<PathBuf>,
    known: &BTreeSet<PathBuf>,
) -> Result<Vec<PlacedFile>, Failure> {
    let mut extra = Vec::new();
    let mut folders: Vec<(PathBuf, usize)> = tops.into_iter().map(|top| (top, 0)).collect();
    while let Some((folder, depth)) = folders.pop() {
        let place = data.join(&folder);
        if kind(fs, &place)?.0 != Presence::Nothing {
            continue;
        }
        let entries = fs.read_dir(&place).map_err(|error| {
            Failure::disk(format!("cannot read {}: {error}; check its rights", place.display()))
        })?;
        for entry in entries {
            let file_name = entry.path.file_name().unwrap_or_default();
            let below = folder.join(file_name);
            if entry.is_dir {
                if depth < MAX_DEPTH && !is_state_name(file_name) {
                    folders.push((below, depth + 1));
                }
            } else if !known.contains(&below)
                && !is_part_name(file_name)
                && !is_state_name(file_name)
            {
                let length = fs.look(&entry.path).map_or(0, |look| look.meta.len);
                let (found, expected) = (Presence::Extra(length), None);
                let name = below.to_string_lossy().into_owned();
                extra.push(PlacedFile { name, place: entry.path, found, expected, twice: false });
            }
        }
    }
    extra.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(extra)
}
