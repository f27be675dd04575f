//! All operations on files go through [`Fs`], so that a test disk (`MemFs`, feature `test-fs`) can
//! stand in for the machine's.

mod file;
mod held;
mod metadata;
mod place;
mod real;
mod seen;
mod shortage;

pub use held::Held;
pub use real::{RealFs, create_output};
pub use seen::Seen;
pub use shortage::allow_descriptors;
pub(crate) use shortage::{Keeps, register, unregister_dead};

use crate::names::{folder_of, is_state_name};
use bytes::Bytes;
use std::ffi::OsStr;
use std::fmt;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is known of a file without reading it.
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

/// Why what stands under a name is not used. It is the content of an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is a link, a folder, a pipe, a socket or a device where a regular file is expected.
    NotAFile,
    /// A file of ours has further names: whoever laid them would read or change what we write.
    FurtherNames(u64),
    /// It belongs to this user, who is neither us, nor root, nor the owner of its folder.
    Foreign(u32),
    /// Another file or folder stands there than before.
    Replaced,
    /// The file system has room for bytes, perhaps, but for no other name.
    NoInodes,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NotAFile => f.write_str("a link or something else than a file stands there"),
            Unfit::FurtherNames(links) => write!(f, "it is a file with {links} names (hard links)"),
            Unfit::Foreign(uid) => write!(f, "it belongs to another user, {uid}"),
            Unfit::Replaced => f.write_str("it was replaced while it was in use"),
            Unfit::NoInodes => f.write_str("the file system has no inodes left"),
        }
    }
}

impl std::error::Error for Unfit {}

impl From<Unfit> for io::Error {
    fn from(unfit: Unfit) -> io::Error {
        let kind = match unfit {
            Unfit::NotAFile | Unfit::FurtherNames(_) => io::ErrorKind::AlreadyExists,
            Unfit::Foreign(_) => io::ErrorKind::PermissionDenied,
            Unfit::Replaced => io::ErrorKind::StaleNetworkFileHandle,
            Unfit::NoInodes => io::ErrorKind::StorageFull,
        };
        io::Error::new(kind, unfit)
    }
}

/// A file system. All methods may be called from several threads.
///
/// Only regular files are ever opened; a pipe or a device under a name is an error at once, and
/// never waited for. Below a root that was entered by [`Fs::inside`], no link is followed, not even
/// the last component of a path.
///
/// # Errors
/// Every method fails with what the operating system says, or with [`Unfit`].
#[allow(clippy::missing_errors_doc)]
pub trait Fs: Send + Sync + Debug {
    /// The same file system for whoever works on an output folder: names below `root` are looked up
    /// from the descriptor of that folder, and no link is followed on the way. The root itself may
    /// be reached through links, since a person named it; when another folder stands there later,
    /// every call fails with [`Unfit::Replaced`]. Names elsewhere (sources) mean what they meant
    /// before.
    fn inside(&self, root: &Path) -> Arc<dyn Fs>;
    /// Opens an existing file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;
    /// Opens an existing file for reading and writing, if its number is `inode`.
    fn open_update(&self, path: &Path, inode: u64) -> io::Result<Arc<dyn FsFile>>;
    /// Opens a file for reading and writing; makes it if it is not there, keeps what it holds. For
    /// a name that nobody else may take away meanwhile. Below an entered root the file must be [our
    /// own](Fs::check_own).
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
    /// Looks at a path, following links where that is allowed: not below an entered root.
    fn metadata(&self, path: &Path) -> io::Result<Meta>;
    /// The names in a folder, in order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// The names in a folder that are `wanted`, in order: as many as are found first, and no more
    /// than `most`. The others are not kept.
    fn read_some(
        &self,
        path: &Path,
        most: usize,
        wanted: &mut dyn FnMut(&OsStr) -> bool,
    ) -> io::Result<Vec<DirEntry>> {
        let entries = self.read_dir(path)?.into_iter();
        let mut named = |entry: &DirEntry| entry.path.file_name().is_some_and(&mut *wanted);
        Ok(entries.filter(&mut named).take(most).collect())
    }
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
    /// Holds on to what stands under a name, to read and set its metadata without asking for the
    /// name again. Links are not followed.
    fn hold(&self, path: &Path) -> io::Result<Box<dyn Held>>;
    /// Sets the permissions, the lowest twelve bits. A link has none.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.hold(path)?.set_mode(mode)
    }
    /// Sets when the content was last written, in nanoseconds since 1970. Of a link: its own.
    fn set_modified(&self, path: &Path, time: i64) -> io::Result<()> {
        self.hold(path)?.set_modified(time)
    }
    /// Sets an extended attribute.
    fn set_attribute(&self, path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
        self.hold(path)?.set_attribute(name, value)
    }
    /// Lets `to`, which is empty, share the bytes of `from` until one of them is written (a
    /// reflink). Fails with `Unsupported` where the file system has no such thing.
    fn share(&self, from: &dyn FsFile, to: &dyn FsFile) -> io::Result<()>;
    /// Copies a range of `from` to the same place of `to`.
    fn copy_range(&self, from: &dyn FsFile, to: &dyn FsFile, range: Range<u64>) -> io::Result<()> {
        copy_by_hand(from, to, range)
    }
    /// The number of the user as whom this process works.
    fn user(&self) -> u32;
    /// Whether a folder is there in which we may not make names.
    fn is_closed(&self, folder: &Path) -> bool;
    /// Whether something is there that we may not both read and write.
    fn is_barred(&self, path: &Path) -> bool;
    /// Whether a file or folder of this owner, in `folder`, is as good as one of ours: of our own,
    /// of root's, or of the owner of the folder, who could change everything in it in any case (and
    /// who owns all files on file systems that know of one owner only).
    fn trusts(&self, uid: u32, folder: &Path) -> bool {
        uid == self.user() || uid == 0 || self.look(folder).is_ok_and(|look| look.uid == uid)
    }
    /// Whether what was found at `path` can be a file of ours: a regular file, of one name, of an
    /// owner whom we trust.
    ///
    /// # Errors
    /// [`Unfit`].
    fn check_own(&self, path: &Path, look: &Look) -> io::Result<()> {
        if look.kind != FileKind::File {
            return Err(Unfit::NotAFile.into());
        }
        if look.links == 0 {
            // Its name was taken away after it was opened.
            return Err(io::ErrorKind::NotFound.into());
        }
        if look.links != 1 {
            return Err(Unfit::FurtherNames(look.links).into());
        }
        match self.trusts(look.uid, base_of(path)) {
            true => Ok(()),
            false => Err(Unfit::Foreign(look.uid).into()),
        }
    }
    /// Whether a state folder can be ours: where others may make names, somebody may have made one
    /// that has our name, to be asked what was verified.
    ///
    /// # Errors
    /// [`Unfit`], or that nothing is there.
    fn check_state(&self, folder: &Path) -> io::Result<()> {
        let look = self.look(folder)?;
        match self.trusts(look.uid, folder_of(folder)) {
            true if look.kind == FileKind::Directory => Ok(()),
            true => Err(Unfit::NotAFile.into()),
            false => Err(Unfit::Foreign(look.uid).into()),
        }
    }
    /// Renames a file of the number `inode`, and no other: one that was put in its place is not
    /// given the new name, or loses it again.
    ///
    /// # Errors
    /// [`Unfit::Replaced`]; `AlreadyExists` if anything has the new name and is not to be replaced.
    fn settle(&self, from: &Path, to: &Path, inode: u64, replace: bool) -> io::Result<()> {
        let is_it = |path: &Path| {
            let look = self.look(path)?;
            Ok::<_, io::Error>(look.kind == FileKind::File && look.meta.inode == inode)
        };
        if !is_it(from)? {
            return Err(Unfit::Replaced.into());
        }
        match replace {
            true => self.rename(from, to)?,
            false => self.rename_new(from, to)?,
        }
        if is_it(to)? {
            return Ok(());
        }
        // Swapped between the two calls.
        let _ = self.rename_new(to, from);
        Err(Unfit::Replaced.into())
    }
    /// Sets the permissions of the file of the number `inode`, by a descriptor: what was put in its
    /// place keeps its own. `mode` gives the new ones for those that it has.
    ///
    /// # Errors
    /// [`Unfit::Replaced`] if another file, or something else, stands there.
    fn set_mode_of(&self, path: &Path, inode: u64, mode: &dyn Fn(u32) -> u32) -> io::Result<()> {
        let held = self.hold(path)?;
        let look = held.look()?;
        if look.kind != FileKind::File || look.meta.inode != inode {
            return Err(Unfit::Replaced.into());
        }
        held.set_mode(mode(look.mode))
    }
    /// Gives the file of the number `inode` the permissions that the one has which it is to
    /// replace. What belongs to somebody else, and the bits that let a program run as its owner,
    /// say nothing of it: its bytes come from others.
    ///
    /// # Errors
    /// As [`Fs::set_mode_of`].
    fn keep_mode(&self, path: &Path, inode: u64, before: &Look) -> io::Result<()> {
        if before.uid != self.user() {
            return Ok(());
        }
        self.set_mode_of(path, inode, &|_| before.mode & 0o777)
    }
    /// Whether this process may give files to others.
    fn is_root(&self) -> bool {
        self.user() == 0
    }
    /// Reads a whole file of at most `cap` bytes; fails with `FileTooLarge` above.
    fn read_all(&self, path: &Path, cap: u64) -> io::Result<Vec<u8>> {
        read_whole(&*self.open_read(path)?, cap)
    }
    /// As [`Fs::read_all`], for a file that must be [our own](Fs::check_own).
    fn read_own(&self, path: &Path, cap: u64) -> io::Result<Vec<u8>> {
        let file = self.open_read(path)?;
        self.check_own(path, &file.look()?)?;
        read_whole(&*file, cap)
    }
}

/// The folder whose owner could change a file in any case: the one that it is in, or, since anybody
/// can have made a state folder, the one that this is in.
fn base_of(path: &Path) -> &Path {
    let folder = folder_of(path);
    let state = folder.file_name().is_some_and(is_state_name);
    if state { folder_of(folder) } else { folder }
}

fn read_whole(file: &dyn FsFile, cap: u64) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    if len > cap {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
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
