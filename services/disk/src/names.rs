//! Names of what a run leaves on disk until it is done: part files and the state folder.

use dunlin_base::{InfoHash, hex};
use sha1::{Digest, Sha1};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The folder in a destination root that holds the lock and the resume files, where no other user
/// has one of that name already, and the ending of a part file's name: no file of a torrent gets
/// such names.
pub use dunlin_metainfo::{PART_SUFFIX, STATE_DIR};

/// Whether a name is that of a state folder, of whatever user.
#[must_use]
pub fn is_state_name(name: &OsStr) -> bool {
    let Some(rest) = name.as_bytes().strip_prefix(STATE_DIR.as_bytes()) else { return false };
    match rest.split_first() {
        None => true,
        Some((b'-', uid)) => !uid.is_empty() && uid.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    }
}

/// The name in [`STATE_DIR`] of what a run leaves to tell the next one: whether it ended in order,
/// and who died.
pub const RUN_MARK: &str = "run";

/// The longest file name that common file systems take, in bytes (`NAME_MAX`).
const MAX_NAME: usize = 255;

/// Hex digits of the hash that keeps cut names apart.
const HASH_DIGITS: usize = 16;

/// Where a file of a cluster's name is below a folder. The name is text; what of the file's own
/// name text cannot hold is escaped in it ([`dunlin_metainfo::escape_name`]).
#[must_use]
pub fn path_of(root: &Path, name: &str) -> PathBuf {
    root.join(OsString::from_vec(dunlin_metainfo::unescape_name(name)))
}

/// The name by which a cluster speaks of a path, or of a part of one.
#[must_use]
pub fn name_of(path: &OsStr) -> String {
    dunlin_metainfo::escape_name(path.as_bytes())
}

/// Where a file is while it is unfinished: `.NAME.dunlin-part` beside its place. A name that would
/// not fit into 255 bytes is cut and gets a hash of the whole.
#[must_use]
pub fn part_path(final_path: &Path) -> PathBuf {
    let name = final_path.file_name().unwrap_or_default().as_bytes();
    let mut part = Vec::with_capacity(name.len() + PART_SUFFIX.len() + 1);
    part.push(b'.');
    if name.len() + PART_SUFFIX.len() < MAX_NAME {
        part.extend_from_slice(name);
    } else {
        let room = MAX_NAME - PART_SUFFIX.len() - HASH_DIGITS - 2;
        let kept = name.get(..cut(name, room)).unwrap_or_default();
        part.extend_from_slice(kept);
        part.push(b'~');
        let digest = hex(Sha1::digest(name).as_slice());
        part.extend(digest.bytes().take(HASH_DIGITS));
    }
    part.extend_from_slice(PART_SUFFIX.as_bytes());
    final_path.with_file_name(OsString::from_vec(part))
}

/// Where a file is while it is unfinished, if another torrent has its part file, or another user:
/// each of them has one of its own then. Torrent and user are part of the name.
pub(crate) fn own_part_path(final_path: &Path, torrent: InfoHash, user: u32) -> PathBuf {
    let mut name = final_path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{torrent}-{user}"));
    part_path(&final_path.with_file_name(name))
}

/// The largest length up to `room` at which `name` can be cut without splitting a character.
fn cut(name: &[u8], room: usize) -> usize {
    let inside = |at: &usize| name.get(*at).is_some_and(|byte| byte & 0xC0 == 0x80);
    (0..=room).rev().take(4).find(|at| !inside(at)).unwrap_or(room)
}

/// Whether a file name is that of a part file.
#[must_use]
pub fn is_part_name(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.len() > PART_SUFFIX.len() + 1
        && name.starts_with(b".")
        && name.ends_with(PART_SUFFIX.as_bytes())
}

/// The name that a part file will have in the end; a long one's as far as it is known.
pub(crate) fn final_name(part: &OsStr) -> OsString {
    let name = part.as_bytes().strip_prefix(b".").unwrap_or_default();
    let name = name.strip_suffix(PART_SUFFIX.as_bytes()).unwrap_or(name);
    OsString::from_vec(name.to_vec())
}

/// The folder that a path stands in; empty for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_names_stand_beside_the_file() {
        let cases = [("/a/b.bin", "/a/.b.bin.dunlin-part"), ("x", ".x.dunlin-part")];
        for (path, part) in cases {
            assert_eq!(part_path(Path::new(path)), Path::new(part));
        }
    }

    #[test]
    fn part_files_of_torrents_and_users_stay_apart() {
        let own = |torrent, user| own_part_path(Path::new("/a/b"), InfoHash([torrent; 20]), user);
        let expected = format!("/a/.b.{}-7.dunlin-part", "01".repeat(20));
        assert_eq!(own(1, 7), Path::new(&expected));
        assert_ne!(own(1, 7), own(1, 8));
        assert_ne!(own(1, 7), own(2, 7));
    }

    #[test]
    fn long_names_fit_and_stay_apart() {
        for length in 230..=255 {
            let names = ["a", "b"].map(|end| format!("{}{end}", "n".repeat(length - 1)));
            let parts = names.map(|name| part_path(Path::new("/d").join(name).as_path()));
            assert_ne!(parts[0], parts[1]);
            for part in parts {
                let name = part.file_name().unwrap();
                assert!(name.len() <= 255 && is_part_name(name), "{name:?}");
            }
        }
        let wide = part_path(Path::new(&"é".repeat(127)));
        assert!(wide.to_str().is_some(), "no character is split");
    }

    #[test]
    fn only_our_names_are_part_names() {
        let cases = [
            (".a.dunlin-part", true),
            (".dunlin-part", false),
            ("a.dunlin-part", false),
            (".dunlin", false),
            (".a.dunlin-part2", false),
        ];
        for (name, is) in cases {
            assert_eq!(is_part_name(OsStr::new(name)), is, "{name}");
        }
    }
}
