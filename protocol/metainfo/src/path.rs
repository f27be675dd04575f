//! File names that are safe to create. Names of a cluster are checked and refused; names from
//! .torrent files are made safe (BEP 52 asks for it, practice says how).

mod portable;

use crate::escape::{is_escaped_well, unescape_name};
use std::collections::BTreeSet;
use thiserror::Error;

pub(crate) use portable::portable_name;

/// The most components of a path; deeper trees pass the limits of common systems.
pub const MAX_DEPTH: usize = 100;

/// The longest component of a path in bytes (`NAME_MAX` of common file systems).
pub const MAX_COMPONENT: usize = 255;

/// The folder in a destination that holds what runs keep there. No file of a torrent gets this
/// name.
pub const STATE_DIR: &str = ".dunlin";

/// How the name of an unfinished file ends, which begins with a dot. No file of a torrent gets such
/// a name: it could be that of another one's unfinished file.
pub const PART_SUFFIX: &str = ".dunlin-part";

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
    /// A separator of other systems, or an escape that is none.
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
/// empty, `.` or `..` or longer than 255 bytes; no control character; at most 100 components. A
/// backslash stands only where it escapes what text cannot hold ([`crate::escape_name`]), and
/// lengths are those of what the text stands for.
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
    let bytes = unescape_name(name);
    if bytes.contains(&0) {
        return Err(NameError::Control(owned()));
    }
    if !is_escaped_well(name) {
        return Err(NameError::Backslash(owned()));
    }
    if name.starts_with('/') {
        return Err(NameError::Absolute(owned()));
    }
    for component in bytes.split(|byte| *byte == b'/') {
        match component {
            b"" => return Err(NameError::EmptyComponent(owned())),
            b"." | b".." => return Err(NameError::Dots(owned())),
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

/// Makes one component of a path safe. The result is never empty, `.` or `..`, holds no separator
/// of the system, no control character and none that is invisible or changes the direction of text,
/// is no name that a run gives to files of its own, has at most 255 bytes, and is left alone by a
/// second call. The two joiners U+200C and U+200D stay: they are spelling, in Persian and in emoji.
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
    }
    if rules.windows && is_device(&name) || is_own_name(&name) {
        name.insert(0, '_');
        truncate(&mut name);
        if rules.windows {
            name.truncate(name.trim_end_matches([' ', '.']).len());
        }
    }
    // A name that shows nothing is none.
    let shows = name.trim_matches(JOINERS);
    (!matches!(shows, "" | "." | "..")).then_some(name)
}

/// Characters without a look of their own that are part of spelling: the zero width non-joiner and
/// the zero width joiner.
const JOINERS: [char; 2] = ['\u{200C}', '\u{200D}'];

/// Whether a run gives such names to files of its own, in any case of letters since some file
/// systems do not distinguish them: folders of state, of each user, and unfinished files.
#[must_use]
pub fn is_own_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let state = name.strip_prefix(STATE_DIR).is_some_and(|rest| {
        let user = rest.strip_prefix('-').unwrap_or_default();
        rest.is_empty() || !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit())
    });
    state || name.starts_with('.') && name.ends_with(PART_SUFFIX)
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
        '/' => None,
        '\\' if rules.windows => None,
        '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' => None,
        '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' => None,
        _ if c.is_control() => Some('_'),
        '"' | '*' | ':' | '<' | '>' | '?' | '|' if rules.windows => Some('_'),
        _ => Some(c),
    }
}

/// Cuts a name to [`MAX_COMPONENT`] bytes between two characters and keeps a short extension.
fn truncate(name: &mut String) {
    if name.len() <= MAX_COMPONENT {
        return;
    }
    let extension = match name.rfind('.') {
        Some(dot) if (1..=MAX_EXTENSION).contains(&(name.len() - dot - 1)) => name.split_off(dot),
        _ => String::new(),
    };
    cut(name, MAX_COMPONENT - extension.len());
    name.push_str(&extension);
}

/// Cuts a text to `longest` bytes, or some fewer, between two characters.
fn cut(text: &mut String, longest: usize) {
    let mut end = longest.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
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
    resolve(paths, rules, |_| true)
}

/// As [`resolve_duplicates`], but files that are `first` choose before the others.
pub(crate) fn resolve(
    paths: &mut [Vec<String>],
    rules: PathRules,
    first: impl Fn(usize) -> bool,
) -> Result<(), PathError> {
    let wanted: Vec<String> = paths.iter().map(|path| key(path, rules)).collect();
    let sorted = PathIndex::new(wanted.clone());
    let mut taken = BTreeSet::new();
    let mut changed = 0;
    let (early, late): (Vec<usize>, Vec<usize>) = (0..paths.len()).partition(|at| first(*at));
    for at in early.into_iter().chain(late) {
        let (Some(path), Some(wanted)) = (paths.get_mut(at), wanted.get(at)) else { continue };
        if !sorted.is_folder(wanted) && taken.insert(wanted.clone()) {
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

/// `path` with `.number` before the extension of its last component, which is cut where that would
/// be too long.
fn numbered(path: &[String], number: usize) -> Vec<String> {
    let mut path = path.to_vec();
    if let Some(name) = path.last_mut() {
        let number = format!(".{number}");
        let room = MAX_COMPONENT - number.len();
        let at = name.rfind('.').filter(|dot| *dot > 0 && name.len() - dot < room);
        let extension = name.split_off(at.unwrap_or(name.len()));
        cut(name, room - extension.len());
        name.push_str(&number);
        name.push_str(&extension);
    }
    path
}

/// Whether bytes from a torrent name something below a folder, as they are: a file may stand there.
pub(crate) fn is_usable(path: &[&[u8]]) -> bool {
    let component = |name: &&[u8]| {
        !matches!(**name, [] | [b'.'] | [b'.', b'.'])
            && name.len() <= MAX_COMPONENT
            && !name.iter().any(|byte| matches!(byte, b'/' | 0))
            && !is_own_name(&String::from_utf8_lossy(name))
    };
    !path.is_empty() && path.len() <= MAX_DEPTH && path.iter().all(component)
}

/// Where a path leads from a folder, in components below the root that `folder` is below: `.`
/// stays, `..` goes up. `None` if it leaves that root, or begins at that of the system. Nothing is
/// looked at: where a folder on the way is a link, the system comes out elsewhere.
#[must_use]
pub fn resolve_path<'a>(folder: &[&'a [u8]], path: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    if path.first() == Some(&b'/') {
        return None;
    }
    let mut found = folder.to_vec();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => _ = found.pop()?,
            name => found.push(name),
        }
    }
    Some(found)
}

/// The text of a link in `folder` that leads to `target`, both in components below one root.
#[must_use]
pub fn link_text<T: AsRef<[u8]>>(folder: &[T], target: &[T]) -> Vec<u8> {
    let same = folder.iter().zip(target).take_while(|(a, b)| a.as_ref() == b.as_ref()).count();
    let up = std::iter::repeat_n(&b".."[..], folder.len() - same);
    let down = target.iter().skip(same).map(AsRef::as_ref);
    let text: Vec<&[u8]> = up.chain(down).collect();
    if text.is_empty() { b".".to_vec() } else { text.join(&b'/') }
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
