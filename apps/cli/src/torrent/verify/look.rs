//! What stands where the files of a torrent belong, and what stands there besides. Nothing is read.

use crate::exit::Failure;
use dunlin_disk::{FileKind, Fs, RealFs, STATE_DIR, is_part_name};
use dunlin_metainfo::{Content, Torrent};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Folders that are entered one within another; deeper ones are no part of any torrent.
const MAX_DEPTH: usize = 128;

/// What stands at one place. The first are the files of the torrent, in order.
#[derive(Debug)]
pub(super) struct Stands {
    /// Its path below the data folder.
    pub(super) name: String,
    /// The folder and that.
    place: PathBuf,
    pub(super) found: Found,
    /// The length that it must have, in bytes; `None` if it is no file of the torrent.
    pub(super) expected: Option<u64>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
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

impl Stands {
    /// Where its bytes can be read.
    pub(super) fn path(&self) -> Option<PathBuf> {
        matches!(self.found, Found::File(_)).then(|| self.place.clone())
    }
}

/// Looks at everything below the torrent's place in `data`.
///
/// # Errors
/// If a folder cannot be read (exit 5).
pub(super) fn look(
    torrent: &Torrent,
    content: &Content,
    data: &Path,
) -> Result<Vec<Stands>, Failure> {
    let mut folders = BTreeMap::new();
    let mut all = Vec::new();
    for (index, file) in torrent.files.iter().enumerate() {
        let padding = file.attributes.pad;
        let name = torrent.stored_path(index).filter(|_| !padding).unwrap_or_default();
        let place = data.join(&name);
        let link = file.attributes.symlink && file.target.is_some();
        let found = match padding {
            true => Found::Nothing,
            false => look_at(data, &name, link, &mut folders)?,
        };
        let expected = content.files.get(index).map(|file| file.length);
        all.push(Stands { name, place, found, expected });
    }
    if !torrent.single_file {
        let known: BTreeSet<String> = all.iter().map(|stands| stands.name.clone()).collect();
        all.extend(extra(data, &torrent.name, &known)?);
    }
    Ok(all)
}

/// What stands under a name, and whether the way to it leads through folders alone.
fn look_at(
    data: &Path,
    name: &str,
    link: bool,
    folders: &mut BTreeMap<String, Found>,
) -> Result<Found, Failure> {
    let mut end = 0;
    while let Some(next) = name.get(end..).and_then(|rest| rest.find('/')) {
        end += next;
        let above = name.get(..end).unwrap_or(name);
        let found = match folders.get(above) {
            Some(found) => *found,
            None => {
                let found = kind(&data.join(above))?;
                folders.insert(above.to_owned(), found.0);
                found.0
            }
        };
        match found {
            Found::Missing => return Ok(Found::Missing),
            Found::NoFile => return Ok(Found::NoFile),
            _ => end += 1,
        }
    }
    let place = data.join(name);
    match kind(&place)? {
        (Found::Missing, _) => Ok(Found::Missing),
        (_, Some((FileKind::File, length))) if !link => Ok(Found::File(length)),
        (_, Some((FileKind::Symlink, _))) if link => Ok(Found::File(0)),
        _ => Ok(Found::NoFile),
    }
}

/// As a folder on the way (`Nothing` is one), and what it is.
fn kind(path: &Path) -> Result<(Found, Option<(FileKind, u64)>), Failure> {
    match RealFs.look(path) {
        Ok(look) => {
            let folder = look.kind == FileKind::Directory;
            let found = if folder { Found::Nothing } else { Found::NoFile };
            Ok((found, Some((look.kind, look.meta.len))))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Found::Missing, None)),
        Err(error) => Err(Failure::disk(format!(
            "cannot look at {}: {error}; check its rights",
            path.display()
        ))),
    }
}

/// Files in the torrent's folder that it has not; what unfinished runs left is none of them.
fn extra(data: &Path, name: &str, known: &BTreeSet<String>) -> Result<Vec<Stands>, Failure> {
    let mut extra = Vec::new();
    let mut folders = vec![(name.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let place = data.join(&folder);
        if kind(&place)?.0 != Found::Nothing {
            continue;
        }
        let entries = RealFs.read_dir(&place).map_err(|error| {
            Failure::disk(format!("cannot read {}: {error}; check its rights", place.display()))
        })?;
        for entry in entries {
            let file_name = entry.path.file_name().unwrap_or_default();
            let name = format!("{folder}/{}", file_name.to_string_lossy());
            if entry.is_dir {
                if depth < MAX_DEPTH && file_name != STATE_DIR {
                    folders.push((name, depth + 1));
                }
            } else if !known.contains(&name) && !is_part_name(file_name) {
                let length = RealFs.look(&entry.path).map_or(0, |look| look.meta.len);
                let (found, expected) = (Found::Extra(length), None);
                extra.push(Stands { name, place: entry.path, found, expected });
            }
        }
    }
    extra.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(extra)
}
