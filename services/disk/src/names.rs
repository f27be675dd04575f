//! Names of what a run leaves on disk until it is done: part files and the state folder.

use dunlin_base::hex;
use sha1::{Digest, Sha1};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The folder in a destination root that holds the lock and the resume files.
pub const STATE_DIR: &str = ".dunlin";

/// The name in [`STATE_DIR`] of what a run leaves to tell the next one: whether it ended in order,
/// and who died.
pub const RUN_MARK: &str = "run";

/// The ending of a part file's name.
pub const PART_SUFFIX: &str = ".dunlin-part";

/// The longest file name that common file systems take, in bytes (`NAME_MAX`).
const MAX_NAME: usize = 255;

/// Hex digits of the hash that keeps cut names apart.
const HASH_DIGITS: usize = 16;

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
