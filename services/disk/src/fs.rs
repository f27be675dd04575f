//! All operations on files go through [`Fs`], so that a test disk ([`crate::MemFs`]) can stand in
//! for the machine's.

mod looks;

use bytes::Bytes;
use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Slices that one vectored write may carry: `IOV_MAX` of Linux.
const MAX_SLICES: usize = 1024;

/// Up to this many files are synced one by one; above, one sync of the whole file system is
/// cheaper than as many journal commits.
const SYNC_ONE_BY_ONE: usize = 8;

/// Data ranges that are told apart in a file; the rest of a more ragged file counts as data.
const MAX_RANGES: usize = 65_536;

/// What is known of a file without reading it. Links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Length in bytes.
    pub len: u64,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// The file system it is on.
    pub device: u64,
    /// Its number on that file system. May be used again once the file is gone.
    pub inode: u64,
    /// When its content was last written, in nanoseconds since 1970. Good for telling that it was
    /// written again; clocks jump, so not for more.
    pub modified: i128,
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a socket, a pipe.
    Other,
}

/// All that is known of a name without reading what it stands for. Links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What stands there.
    pub kind: FileKind,
    /// Length, number and time of its content.
    pub meta: Meta,
    /// When anything of it was last changed, its mode and its times too, in nanoseconds since 1970.
    /// Nobody can set it back.
    pub changed: i128,
    /// How many names it has.
    pub links: u64,
    /// Permissions, the lowest twelve bits.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// A name in a folder. Links are not followed: a link is neither a file nor a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The folder joined with the name.
    pub path: PathBuf,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// A file system. All methods may be called from several threads.
///
/// # Errors
/// Every method fails with what the operating system says.
#[allow(clippy::missing_errors_doc)]
pub trait Fs: Send + Sync + Debug {
    /// Opens an existing file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;
    /// Opens an existing file for reading and writing.
    fn open_update(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;
    /// Opens a file for reading and writing; makes it if it is not there, keeps what it holds. For a
    /// name that nobody else may take away meanwhile.
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;
    /// Makes a new file for reading and writing; fails if anything has that name.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;
    /// Renames a file, replacing one of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames a file; fails with `AlreadyExists` if anything has the new name.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder and those above it; whether they last is the caller's business.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the content of these files, and the names in these folders, durable in one batch.
    /// Returns the position and the error of each that failed.
    fn sync_many(&self, paths: &[PathBuf]) -> Vec<(usize, io::Error)>;
    /// Looks at a path, following links.
    fn metadata(&self, path: &Path) -> io::Result<Meta>;
    /// The names in a folder, in order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Free bytes for us on the file system of `path`, or of its nearest ancestor that exists.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
    /// Adds `bytes` at the end of an existing file by one write, so that those of several writers
    /// are never mixed.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Locks an open file against every other open of it; `false` if somebody else holds it. The
    /// lock ends with the file. A lock that this open file held before is given up for it, also
    /// if the answer is `false`.
    fn lock_exclusive(&self, file: &Arc<dyn FsFile>) -> io::Result<bool> {
        file.try_lock()
    }
    /// As [`Fs::lock_exclusive`], but any number of opens may hold it so at once.
    fn lock_shared(&self, file: &Arc<dyn FsFile>) -> io::Result<bool> {
        file.try_lock_shared()
    }
    /// Looks at a name, not following a link.
    fn look(&self, path: &Path) -> io::Result<Look>;
    /// The text of a symlink's target.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// Makes a symlink; fails if anything has that name.
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()>;
    /// Gives a file one more name; fails if anything has it.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes one folder; fails if anything has that name.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// As [`Fs::create_new`], for nobody but the owner.
    fn create_private(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;
    /// Sets the permissions, the lowest twelve bits. Of a link: of what it leads to.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Sets when the content was last written, in nanoseconds since 1970. Of a link: its own.
    fn set_modified(&self, path: &Path, time: i64) -> io::Result<()>;
    /// Sets owner and group. Of a link: its own.
    fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> io::Result<()>;
    /// The names of the extended attributes, in order; none where there are no such things.
    fn attribute_names(&self, path: &Path) -> io::Result<Vec<String>>;
    /// The value of an extended attribute.
    fn attribute(&self, path: &Path, name: &str) -> io::Result<Vec<u8>>;
    /// Sets an extended attribute.
    fn set_attribute(&self, path: &Path, name: &str, value: &[u8]) -> io::Result<()>;
    /// Removes an extended attribute.
    fn remove_attribute(&self, path: &Path, name: &str) -> io::Result<()>;
    /// Lets `to`, which is there and is empty, share the bytes of `from` until one of them is
    /// written (a reflink). Fails with `Unsupported` where the file system has no such thing.
    fn share(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Copies a range of `from` to the same place of `to`, which is there.
    fn copy_range(&self, from: &Path, to: &Path, range: Range<u64>) -> io::Result<()> {
        copy_by_hand(&*self.open_read(from)?, &*self.open_update(to)?, range)
    }
    /// Whether this process may give files to others.
    fn is_root(&self) -> bool;
    /// Reads a whole file of at most `cap` bytes; fails with `FileTooLarge` above.
    fn read_all(&self, path: &Path, cap: u64) -> io::Result<Vec<u8>> {
        let file = self.open_read(path)?;
        let len = file.len()?;
        if len > cap {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// An open file. All methods may be called from several threads.
///
/// # Errors
/// Every method fails with what the operating system says.
#[allow(clippy::missing_errors_doc, clippy::len_without_is_empty)]
pub trait FsFile: Send + Sync + Debug {
    /// Fills `buffer` from `offset`; fails with `UnexpectedEof` if the file is too short.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all parts, one after another, from `offset`.
    fn write_at(&self, parts: &[Bytes], offset: u64) -> io::Result<()>;
    /// Cuts the file, or extends it by a hole.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
    /// Where the file has data and no hole, in order; the whole file where that cannot be told.
    fn data_ranges(&self) -> io::Result<Vec<Range<u64>>>;
    /// The file's length, kind, number and time of change.
    fn meta(&self) -> io::Result<Meta>;
    /// All that is known of the file.
    fn look(&self) -> io::Result<Look>;
    /// Makes the range zeros: a hole where the file system can, written zeros where it cannot.
    fn punch(&self, range: Range<u64>) -> io::Result<()>;
    /// The file of the operating system behind it, for calls that this trait does not have.
    fn system_file(&self) -> Option<Arc<File>> {
        None
    }
    /// See [`Fs::lock_exclusive`].
    fn try_lock(&self) -> io::Result<bool>;
    /// See [`Fs::lock_shared`].
    fn try_lock_shared(&self) -> io::Result<bool>;
}

/// The file systems of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

#[derive(Debug)]
struct RealFile(Arc<File>);

/// Bytes that are copied at a time through our own memory.
const COPY: u64 = 256 * 1024;

/// Copies a range from one open file to the same place of another, through our own memory.
fn copy_by_hand(from: &dyn FsFile, to: &dyn FsFile, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let mut buffer = vec![0; COPY.min(range.end - at) as usize];
        from.read_at(&mut buffer, at)?;
        let size = buffer.len() as u64;
        to.write_at(&[Bytes::from(buffer)], at)?;
        at += size;
    }
    Ok(())
}

fn meta_of(meta: &std::fs::Metadata) -> Meta {
    Meta {
        len: meta.len(),
        is_file: meta.is_file(),
        is_dir: meta.is_dir(),
        device: meta.dev(),
        inode: meta.ino(),
        modified: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
    }
}

fn shared(file: File) -> Arc<dyn FsFile> {
    Arc::new(RealFile(Arc::new(file)))
}

impl Fs for RealFs {
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        File::open(path).map(shared)
    }

    fn open_update(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        OpenOptions::new().read(true).write(true).open(path).map(shared)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).open(path).map(shared)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path).map(shared)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Network file systems often lack the atomic form.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if to.symlink_metadata().is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                std::fs::rename(from, to)
            }
            other => Ok(other?),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(here(path))?.sync_all()
    }

    fn sync_many(&self, paths: &[PathBuf]) -> Vec<(usize, io::Error)> {
        if paths.len() > SYNC_ONE_BY_ONE && sync_file_systems(paths).is_ok() {
            return Vec::new();
        }
        let one = |path: &PathBuf| File::open(here(path))?.sync_all();
        let tried = paths.iter().map(one).enumerate();
        tried.filter_map(|(index, done)| Some((index, done.err()?))).collect()
    }

    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        std::fs::metadata(here(path)).map(|meta| meta_of(&meta))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(here(path))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let (is_file, is_dir) = (kind.is_file(), kind.is_dir());
            entries.push(DirEntry { path: path.join(entry.file_name()), is_file, is_dir });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).open(path)?.write_all(bytes)
    }

    fn look(&self, path: &Path) -> io::Result<Look> {
        std::fs::symlink_metadata(here(path)).map(|meta| looks::look_of(&meta))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(path)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn create_private(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).open(path).map(shared)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        std::fs::set_permissions(here(path), std::fs::Permissions::from_mode(mode))
    }

    fn set_modified(&self, path: &Path, time: i64) -> io::Result<()> {
        looks::set_modified(here(path), time)
    }

    fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> io::Result<()> {
        std::os::unix::fs::lchown(here(path), Some(uid), Some(gid))
    }

    fn attribute_names(&self, path: &Path) -> io::Result<Vec<String>> {
        looks::attribute_names(here(path))
    }

    fn attribute(&self, path: &Path, name: &str) -> io::Result<Vec<u8>> {
        looks::attribute(here(path), name)
    }

    fn set_attribute(&self, path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
        looks::set_attribute(here(path), name, value)
    }

    fn remove_attribute(&self, path: &Path, name: &str) -> io::Result<()> {
        looks::remove_attribute(here(path), name)
    }

    fn share(&self, from: &Path, to: &Path) -> io::Result<()> {
        looks::share(from, to)
    }

    fn copy_range(&self, from: &Path, to: &Path, range: Range<u64>) -> io::Result<()> {
        let (from, to) = (File::open(from)?, OpenOptions::new().write(true).open(to)?);
        let rest = looks::copy_range(&from, &to, range)?;
        copy_by_hand(&RealFile(from.into()), &RealFile(to.into()), rest)
    }

    fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let mut at = Some(path);
        while let Some(place) = at {
            match rustix::fs::statvfs(here(place)) {
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => at = place.parent(),
                found => {
                    return found
                        .map(|s| s.f_bavail.saturating_mul(s.f_frsize))
                        .map_err(Into::into);
                }
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

/// The empty path is the parent of a bare name; the system calls it `.`.
fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Syncs every file system that one of `paths` is on, once.
fn sync_file_systems(paths: &[PathBuf]) -> io::Result<()> {
    let mut synced = Vec::new();
    for path in paths {
        let file = File::open(here(path))?;
        let device = file.metadata()?.dev();
        if !synced.contains(&device) {
            #[cfg(target_os = "linux")]
            rustix::fs::syncfs(&file)?;
            #[cfg(not(target_os = "linux"))]
            return Err(io::ErrorKind::Unsupported.into());
            synced.push(device);
        }
    }
    Ok(())
}

impl FsFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, parts: &[Bytes], offset: u64) -> io::Result<()> {
        write_all(parts, offset, |slices, at| {
            rustix::io::pwritev(&self.0, slices, at).map_err(Into::into)
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn data_ranges(&self) -> io::Result<Vec<Range<u64>>> {
        use rustix::fs::{SeekFrom, seek};
        use rustix::io::Errno;
        let len = self.len()?;
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < len {
            let start = match seek(&self.0, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                Err(_) => at,
            };
            let end = match seek(&self.0, SeekFrom::Hole(start)) {
                Ok(end) if ranges.len() < MAX_RANGES && end > start => end.min(len),
                _ => len,
            };
            if start >= end {
                break;
            }
            ranges.push(start..end);
            at = end;
        }
        Ok(ranges)
    }

    fn meta(&self) -> io::Result<Meta> {
        self.0.metadata().map(|meta| meta_of(&meta))
    }

    fn look(&self) -> io::Result<Look> {
        Ok(looks::look_of(&self.0.metadata()?))
    }

    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() || looks::punch(&self.0, &range).is_ok() {
            return Ok(());
        }
        let zeros = Bytes::from_static(&crate::hash::ZEROS);
        let mut at = range.start;
        while at < range.end {
            let size = (range.end - at).min(zeros.len() as u64);
            self.write_at(&[zeros.slice(..size as usize)], at)?;
            at += size;
        }
        Ok(())
    }

    fn system_file(&self) -> Option<Arc<File>> {
        Some(Arc::clone(&self.0))
    }

    fn try_lock(&self) -> io::Result<bool> {
        locked(self.0.try_lock())
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        locked(self.0.try_lock_shared())
    }
}

fn locked(answer: Result<(), TryLockError>) -> io::Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Writes all `parts` by as few calls of `write` as it allows: it may take fewer bytes than
/// offered, or be interrupted.
fn write_all(
    parts: &[Bytes],
    mut offset: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let batch = rest.get(..MAX_SLICES).unwrap_or(rest);
        match write(batch, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_interrupted_writes_go_on() {
        let parts = [Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"defgh")];
        let (mut out, mut calls) = (Vec::new(), 0);
        write_all(&parts, 100, |slices, at| {
            calls += 1;
            if calls % 2 == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            assert_eq!(at, 100 + out.len() as u64);
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            out.extend(all.iter().take(2));
            Ok(all.len().min(2))
        })
        .unwrap();
        assert_eq!((out.as_slice(), calls), (&b"abcdefgh"[..], 7));
        assert!(write_all(&parts, 0, |_, _| Ok(0)).is_err());
    }

    #[test]
    fn many_slices_go_in_batches() {
        let parts = vec![Bytes::from_static(b"x"); 2500];
        let mut batches = Vec::new();
        write_all(&parts, 0, |slices, _| {
            batches.push(slices.len());
            Ok(slices.len())
        })
        .unwrap();
        assert_eq!(batches, [1024, 1024, 452]);
    }

    #[test]
    fn holes_renames_and_space_on_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = RealFs.create_new(&path).unwrap();
        file.set_len(10 << 20).unwrap();
        file.write_at(&[Bytes::from(vec![1; 4096])], 4 << 20).unwrap();
        let ranges = file.data_ranges().unwrap();
        assert!(ranges.iter().any(|range| range.contains(&(4 << 20))), "{ranges:?}");
        RealFs.create_new(&folder.path().join("b")).unwrap();
        let taken = RealFs.rename_new(&path, &folder.path().join("b")).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        RealFs.rename_new(&path, &folder.path().join("c")).unwrap();
        assert!(RealFs.free_space(&folder.path().join("no/such/place")).unwrap() > 0);
        assert!(RealFs.read_all(&folder.path().join("c"), 100).is_err());
        let missing = vec![folder.path().join("c"), folder.path().join("gone")];
        assert_eq!(RealFs.sync_many(&missing).first().map(|(index, _)| *index), Some(1));
    }
}
