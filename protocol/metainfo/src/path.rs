//! File names that are safe to create. Names of a cluster are checked and refused; names from
//! .torrent files are made safe (BEP 52 asks for it, practice says how).

use std::collections::BTreeSet;
use thiserror::Error;

/// The most components of a path; deeper trees pass the limits of common systems.
pub const MAX_DEPTH: usize = 100;

/// The longest component of a path in bytes (`NAME_MAX` of common file systems).
pub const MAX_COMPONENT: usize = 255;

/// The longest component that sanitising leaves, in bytes: room for what is added to it later.
const MAX_SANITIZED: usize = 240;

/// The longest extension that is kept when a component is cut, in bytes without the dot.
const MAX_EXTENSION: usize = 9;

/// The most names of one torrent that are changed because another file has them. More is an attack.
pub const MAX_DUPLICATES: usize = 500;

/// Why a name is not safe to create. Whoever chose the name is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// No name at all.
    #[error("a file name is empty")]
    Empty,
    /// A path from the root.
    #[error("`{0}` begins with `/`: names are relative paths")]
    Absolute(String),
    /// Two slashes in a row, or one at the end.
    #[error("`{0}` has an empty component: write one `/` between components and none at the end")]
    EmptyComponent(String),
    /// A `.` or `..`.
    #[error("`{0}` has a component `.` or `..`: names must not leave their folder")]
    Dots(String),
    /// A separator of other systems.
    #[error("`{0}` has a backslash: separate components with `/`")]
    Backslash(String),
    /// A control character, NUL among them.
    #[error("{0:?} has a control character")]
    Control(String),
    /// A component that no file system holds.
    #[error("`{name}` has a component of {found} bytes, expected at most {MAX_COMPONENT}")]
    LongComponent {
        /// The name.
        name: String,
        /// The length of its longest component in bytes.
        found: usize,
    },
    /// Too many components.
    #[error("`{name}` has {found} components, expected at most {MAX_DEPTH}")]
    TooDeep {
        /// The name.
        name: String,
        /// How many components it has.
        found: usize,
    },
}

/// Checks the name of a file of a cluster: a relative path with `/`, in which no component is
/// empty, `.` or `..` or longer than 255 bytes; no backslash, no control character; at most 100
/// components.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let owned = || name.to_owned();
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control(owned()));
    }
    if name.contains('\\') {
        return Err(NameError::Backslash(owned()));
    }
    if name.starts_with('/') {
        return Err(NameError::Absolute(owned()));
    }
    for component in name.split('/') {
        match component {
            "" => return Err(NameError::EmptyComponent(owned())),
            "." | ".." => return Err(NameError::Dots(owned())),
            _ if component.len() > MAX_COMPONENT => {
                return Err(NameError::LongComponent { name: owned(), found: component.len() });
            }
            _ => {}
        }
    }
    let found = name.split('/').count();
    if found > MAX_DEPTH {
        return Err(NameError::TooDeep { name: owned(), found });
    }
    Ok(())
}

/// What the file system that will hold the files demands of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    /// Replace what Windows and FAT forbid.
    pub windows: bool,
    /// Names that differ only in case are the same file.
    pub fold_case: bool,
}

/// Why the paths of a torrent cannot be made safe. Whoever made the torrent is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// More than [`MAX_DUPLICATES`] names are taken by other files.
    #[error("more than {MAX_DUPLICATES} files have names that other files or folders have")]
    TooManyDuplicates,
}

/// Makes one component of a path safe. The result is never empty, `.` or `..`, holds no separator,
/// control or invisible character, has at most 240 bytes, and is left alone by a second call.
#[must_use]
pub fn sanitize_component(bytes: &[u8], rules: PathRules) -> String {
    let name = sanitize_name(bytes, rules);
    name.unwrap_or_else(|| "_".to_owned())
}

/// Makes the name of a torrent safe, as [`sanitize_component`]; `None` if nothing usable is left,
/// and the info-hash in hex should stand for it.
#[must_use]
pub fn sanitize_name(bytes: &[u8], rules: PathRules) -> Option<String> {
    let mut name = String::new();
    for part in bytes.utf8_chunks() {
        name.extend(part.valid().chars().filter_map(|c| clean(c, rules)));
        if !part.invalid().is_empty() {
            name.push('_');
        }
    }
    truncate(&mut name);
    if rules.windows {
        name.truncate(name.trim_end_matches([' ', '.']).len());
        if is_device(&name) {
            name.insert(0, '_');
            truncate(&mut name);
            name.truncate(name.trim_end_matches([' ', '.']).len());
        }
    }
    (!matches!(name.as_str(), "" | "." | "..")).then_some(name)
}

/// Makes every component of a path safe. A path of no components becomes `_`.
#[must_use]
pub fn sanitize(components: &[&[u8]], rules: PathRules) -> Vec<String> {
    if components.is_empty() {
        return vec!["_".to_owned()];
    }
    components.iter().map(|component| sanitize_component(component, rules)).collect()
}

/// What stands for a character in a name: itself, `_`, or nothing.
fn clean(c: char, rules: PathRules) -> Option<char> {
    match c {
        '/' | '\\' => None,
        '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' => None,
        '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' => None,
        _ if c.is_control() => Some('_'),
        '"' | '*' | ':' | '<' | '>' | '?' | '|' if rules.windows => Some('_'),
        _ => Some(c),
    }
}

/// Cuts a name to [`MAX_SANITIZED`] bytes between two characters and keeps a short extension.
fn truncate(name: &mut String) {
    if name.len() <= MAX_SANITIZED {
        return;
    }
    let extension = match name.rfind('.') {
        Some(dot) if (1..=MAX_EXTENSION).contains(&(name.len() - dot - 1)) => name.split_off(dot),
        _ => String::new(),
    };
    let mut end = (MAX_SANITIZED - extension.len()).min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name.push_str(&extension);
}

/// Whether Windows opens a device instead of a file of that name.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered = |prefix| {
        stem.strip_prefix(prefix).is_some_and(|rest| matches!(rest.as_bytes(), [b'1'..=b'9']))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

/// Gives every path a place of its own: of files with one path the first keeps it, and the others,
/// and files whose path is a folder of another, get `.1`, `.2`, … before their extension.
///
/// # Errors
/// If more than [`MAX_DUPLICATES`] paths would have to change.
pub fn resolve_duplicates(paths: &mut [Vec<String>], rules: PathRules) -> Result<(), PathError> {
    let wanted: Vec<String> = paths.iter().map(|path| key(path, rules)).collect();
    let sorted = PathIndex::new(wanted.clone());
    let mut taken = BTreeSet::new();
    let mut changed = 0;
    for (path, wanted) in paths.iter_mut().zip(wanted) {
        if !sorted.is_folder(&wanted) && taken.insert(wanted) {
            continue;
        }
        changed += 1;
        if changed > MAX_DUPLICATES {
            return Err(PathError::TooManyDuplicates);
        }
        let free = (1..=MAX_DUPLICATES).find_map(|number| {
            let other = numbered(path, number);
            let key = key(&other, rules);
            let free = !sorted.is_file(&key) && !sorted.is_folder(&key) && taken.insert(key);
            free.then_some(other)
        });
        *path = free.ok_or(PathError::TooManyDuplicates)?;
    }
    Ok(())
}

/// `path` with `.number` before the extension of its last component.
fn numbered(path: &[String], number: usize) -> Vec<String> {
    let mut path = path.to_vec();
    if let Some(name) = path.last_mut() {
        let at = name.rfind('.').filter(|dot| *dot > 0).unwrap_or(name.len());
        name.insert_str(at, &format!(".{number}"));
    }
    path
}

/// The components of a path in one string, which sorts a folder directly before what is in it: no
/// sanitised name holds NUL.
pub(crate) fn key(path: &[String], rules: PathRules) -> String {
    let key = path.join("\0");
    if rules.fold_case { key.to_lowercase() } else { key }
}

/// Which paths are files and which are folders, by their [`key`]s. Needs no more memory than they
/// do, however deep they are.
pub(crate) struct PathIndex(Vec<String>);

impl PathIndex {
    pub(crate) fn new(mut keys: Vec<String>) -> PathIndex {
        keys.sort_unstable();
        PathIndex(keys)
    }

    pub(crate) fn is_file(&self, key: &str) -> bool {
        self.0.binary_search_by(|other| other.as_str().cmp(key)).is_ok()
    }

    pub(crate) fn is_folder(&self, key: &str) -> bool {
        let inside = format!("{key}\0");
        let first = self.0.partition_point(|other| *other < inside);
        self.0.get(first).is_some_and(|other| other.starts_with(&inside))
    }
}

#[cfg(test)]
mod tests;
