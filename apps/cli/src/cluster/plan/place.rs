//! The text of a `plan.toml` that is to be placed: read once, by rank 0, and sent to all ranks.

use super::{LoadError, MAX_TEXT, PLAN_TOML, read};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A `plan.toml` as it stands on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlaceFile {
    /// Its name for messages.
    pub(crate) file: String,
    /// The folder that relative roots start from, absolute.
    pub(crate) dir: PathBuf,
    /// Its bytes.
    pub(crate) text: Vec<u8>,
}

/// Reads a `plan.toml`, or the one in a folder.
///
/// # Errors
/// If there is no plan, or it is too large or cannot be read.
pub(crate) fn read_place(path: &Path) -> Result<PlaceFile, LoadError> {
    let metadata = fs::metadata(path).map_err(|wrong| match wrong.kind() {
        io::ErrorKind::NotFound => LoadError::Absent { path: path.to_owned() },
        _ => LoadError::io(path, "looking at it")(wrong),
    })?;
    let file = if metadata.is_dir() { path.join(PLAN_TOML) } else { path.to_owned() };
    if metadata.is_dir() && !file.is_file() {
        let found = format!("a folder without {PLAN_TOML}");
        return Err(LoadError::NoPlace { path: path.to_owned(), found });
    }
    let text = read(&file, MAX_TEXT)?;
    let whole = std::path::absolute(&file).map_err(LoadError::io(&file, "looking at it"))?;
    let dir = whole.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(PlaceFile { file: file.display().to_string(), dir, text })
}
