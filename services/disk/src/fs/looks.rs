//! What the machine's file systems say of a name, and how it is set: modes, times, attributes, holes
//! and shared bytes. Never follows a link but where a caller of [`super::Fs`] is told so.

use super::{FileKind, Look, meta_of};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, copy_file_range,
    fallocate, lgetxattr, llistxattr, lremovexattr, lsetxattr, utimensat,
};
use rustix::io::Errno;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The most bytes of one attribute, and of all their names: what Linux allows (`XATTR_SIZE_MAX`).
const MAX_BYTES: usize = 64 * 1024;

/// Bytes that one call copies, so that a stop is noticed between two.
const COPY_AT_ONCE: u64 = 1 << 30;

pub(super) fn look_of(meta: &Metadata) -> Look {
    let kind = meta.file_type();
    let kind = if kind.is_file() {
        FileKind::File
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::Other
    };
    Look {
        kind,
        meta: meta_of(meta),
        changed: i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec()),
        links: meta.nlink(),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
    }
}

pub(super) fn set_modified(path: &Path, time: i64) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: time.div_euclid(1_000_000_000),
            tv_nsec: time.rem_euclid(1_000_000_000),
        },
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(super) fn attribute_names(path: &Path) -> io::Result<Vec<String>> {
    // Most files have none: asked with a small buffer first.
    let list = match list(path, 512) {
        Err(Errno::RANGE) => list(path, MAX_BYTES),
        listed => listed,
    };
    let list = match list {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        listed => listed?,
    };
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut names: Vec<String> =
        names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

fn list(path: &Path, size: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; size];
    let len = llistxattr(path, bytes.as_mut_slice())?;
    bytes.truncate(len);
    Ok(bytes)
}

pub(super) fn attribute(path: &Path, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MAX_BYTES];
    let len = lgetxattr(path, name, bytes.as_mut_slice())?;
    bytes.truncate(len);
    Ok(bytes)
}

pub(super) fn set_attribute(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    Ok(lsetxattr(path, name, value, XattrFlags::empty())?)
}

pub(super) fn remove_attribute(path: &Path, name: &str) -> io::Result<()> {
    Ok(lremovexattr(path, name)?)
}

#[cfg(target_os = "linux")]
pub(super) fn share(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (File::open(from)?, OpenOptions::new().write(true).open(to)?);
    match rustix::fs::ioctl_ficlone(&to, &from) {
        // Whatever a file system says of a request that it does not know, or not for these two.
        Err(
            Errno::INVAL
            | Errno::NOSYS
            | Errno::NOTTY
            | Errno::OPNOTSUPP
            | Errno::XDEV
            | Errno::BADF
            | Errno::PERM
            | Errno::TXTBSY,
        ) => Err(io::ErrorKind::Unsupported.into()),
        done => Ok(done?),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn share(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Copies within the kernel; what it does not want to copy is returned.
pub(super) fn copy_range(from: &File, to: &File, range: Range<u64>) -> io::Result<Range<u64>> {
    let (mut read, mut wrote) = (range.start, range.start);
    while read < range.end {
        let size = usize::try_from((range.end - read).min(COPY_AT_ONCE)).unwrap_or(usize::MAX);
        match copy_file_range(from, Some(&mut read), to, Some(&mut wrote), size) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(io::ErrorKind::StorageFull.into()),
            Err(_) => break,
        }
    }
    Ok(wrote..range.end)
}

pub(super) fn punch(file: &File, range: &Range<u64>) -> io::Result<()> {
    let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(fallocate(file, how, range.start, range.end - range.start)?)
}
