//! Trees of files as tests make and compare them: bytes, kinds, modes, times, links.

use crate::common::{Sandbox, data};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What there is to be seen of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `file`, `folder`, or the target of a symlink.
    kind: String,
    mode: u32,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// A digest of the bytes.
    bytes: u64,
    length: u64,
    /// The first name of the same file.
    first: String,
}

/// Everything below a folder, by relative name. What dunlin keeps for itself is left out.
pub(crate) fn look(root: &Path) -> BTreeMap<String, Seen> {
    let (mut all, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    let mut paths = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|_| panic!("{}", folder.display())) {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name == ".dunlin") {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                folders.push(path.clone());
            }
            paths.push(path);
        }
    }
    paths.sort();
    let mut inodes: BTreeMap<u64, String> = BTreeMap::new();
    for path in paths {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let is_file = metadata.is_file();
        let (kind, length, mode) = match () {
            () if metadata.is_symlink() => {
                (format!("-> {}", fs::read_link(&path).unwrap().display()), 0, 0)
            }
            () if metadata.is_dir() => ("folder".to_owned(), 0, metadata.mode()),
            () => ("file".to_owned(), metadata.len(), metadata.mode()),
        };
        let bytes = if is_file { digest(&fs::read(&path).unwrap()) } else { 0 };
        let first = match is_file {
            true => inodes.entry(metadata.ino()).or_insert(name.clone()).clone(),
            false => String::new(),
        };
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        all.insert(name, Seen { kind, mode, modified, bytes, length, first });
    }
    all
}

/// FNV-1a, enough to tell test data apart.
fn digest(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Asserts that two trees are equal in everything.
pub(crate) fn same_tree(left: &Path, right: &Path) {
    let (one, two) = (look(left), look(right));
    let names = |seen: &BTreeMap<String, Seen>| seen.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&two), "{} and {}", left.display(), right.display());
    for (name, seen) in &one {
        assert_eq!(
            Some(seen),
            two.get(name),
            "{name} in {} and {}",
            left.display(),
            right.display()
        );
    }
}

/// Makes a tree with one of everything: 2 MiB and some, hard links, symlinks, empty things, modes
/// and times that nobody has by chance. Its payload in bytes.
pub(crate) fn make(sandbox: &Sandbox, name: &str) -> u64 {
    let at = |rest: &str| sandbox.path(&format!("{name}/{rest}"));
    let files = [("big.bin", 2 << 20), ("sub/deep/b", 70_000), ("sub/run.sh", 30), ("zero", 0)];
    for (seed, (file, length)) in (1..).zip(files) {
        sandbox.write(&format!("{name}/{file}"), data(seed, length));
    }
    for index in 0..40 {
        sandbox.write(&format!("{name}/many/{index:02}"), data(100 + index, 500));
    }
    fs::create_dir_all(at("void/inner")).unwrap();
    symlink("../big.bin", at("sub/link")).unwrap();
    symlink("nowhere at all", at("dangling")).unwrap();
    fs::hard_link(at("big.bin"), at("sub/same")).unwrap();
    let mode =
        |rest: &str, mode| fs::set_permissions(at(rest), Permissions::from_mode(mode)).unwrap();
    mode("sub/run.sh", 0o755);
    mode("zero", 0o600);
    mode("void", 0o711);
    for (rest, seconds) in [("big.bin", 1_000_000_000), ("sub/deep/b", 1_234_567_890), ("void", 7)]
    {
        touch(&at(rest), seconds);
    }
    touch(&at("sub"), 1_111_111_111);
    files.iter().map(|(_, length)| *length as u64).sum::<u64>() + 40 * 500
}

/// Sets the time of the last change, with some nanoseconds.
pub(crate) fn touch(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// Changes one byte of a file, and leaves the time of its last change as it was.
pub(crate) fn flip(path: &Path, at: usize) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x5a;
    fs::write(path, bytes).unwrap();
    File::open(path).unwrap().set_modified(time).unwrap();
}
