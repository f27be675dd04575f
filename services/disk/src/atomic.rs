//! Writing a small file so that its name always stands for a whole one.

use crate::fs::Fs;
use crate::names::{folder_of, part_path};
use bytes::Bytes;
use std::io;
use std::path::Path;

/// Writes `bytes` under a part name, makes them durable, and only then gives them the name `path`,
/// replacing an older file. The folder must be there.
///
/// # Errors
/// What the operating system says; the old file, if any, then still stands.
pub fn write_file(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = part_path(path);
    let made = write_part(fs, &part, bytes);
    let done = made.and_then(|inode| fs.settle(&part, path, inode, true));
    if let Err(error) = done {
        // The first error is the one that matters.
        let _ = fs.remove_file(&part);
        return Err(error);
    }
    fs.sync_dir(folder_of(path))
}

/// Writes a file where none is, durably. Nothing of it is left if that fails.
///
/// # Errors
/// `AlreadyExists` if anything has the name; what the operating system says.
pub fn write_new(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = fs.create_new(path)?;
    let written = file.write_at(&[Bytes::copy_from_slice(bytes)], 0).and_then(|()| file.sync());
    if written.is_err() {
        let _ = fs.remove_file(path);
    }
    written
}

/// Returns the number of the new file.
fn write_part(fs: &dyn Fs, part: &Path, bytes: &[u8]) -> io::Result<u64> {
    let file = write_fresh(fs, part, bytes)?;
    file.sync()?;
    Ok(file.meta()?.inode)
}

/// Writes a new file that nobody relies on yet, without syncing it. What an earlier run left under
/// the name goes: a file system that lost power may know it by another name, too.
pub(crate) fn write_fresh(
    fs: &dyn Fs,
    part: &Path,
    bytes: &[u8],
) -> io::Result<std::sync::Arc<dyn crate::fs::FsFile>> {
    let file = create_fresh(fs, part)?;
    file.write_at(&[Bytes::copy_from_slice(bytes)], 0)?;
    Ok(file)
}

/// Makes an empty file of this name, whatever an earlier run left there.
pub(crate) fn create_fresh(
    fs: &dyn Fs,
    part: &Path,
) -> io::Result<std::sync::Arc<dyn crate::fs::FsFile>> {
    match fs.create_new(part) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs.remove_file(part).and_then(|()| fs.create_new(part))
        }
        created => created,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemFs;

    #[test]
    fn a_name_stands_for_the_old_or_the_new_whole() {
        for at_sync in 0..3 {
            for seed in 0..50 {
                let fs = MemFs::new();
                fs.create_dir_all(Path::new("/d")).unwrap();
                fs.sync_dir(Path::new("/")).unwrap();
                let path = Path::new("/d/report");
                write_file(&fs, path, b"old").unwrap();
                fs.freeze_at_sync(fs.syncs() + at_sync);
                let done = write_file(&fs, path, &[7; 3000]);
                let found = fs.crash(seed).read_all(path, 10_000).unwrap();
                assert!(found == b"old" || found == [7; 3000], "torn: {}", found.len());
                assert!(done.is_err() || found.len() == 3000, "durable when it says so");
            }
        }
    }
}
