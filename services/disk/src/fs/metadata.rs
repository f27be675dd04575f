//! What the machine's file systems say of a file, and how it is set: modes, times, attributes,
//! holes and shared bytes.

use super::{FileKind, Look, Meta};
use rustix::fs::{FallocateFlags, FileType, Stat, copy_file_range, fallocate};
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

/// The most bytes of one attribute, and of all their names: what Linux allows (`XATTR_SIZE_MAX`).
const MAX_BYTES: usize = 64 * 1024;

/// Bytes that one call copies, so that a stop is noticed between two.
const COPY_AT_ONCE: u64 = 1 << 30;

pub(super) fn meta_of(meta: &Metadata) -> Meta {
    Meta {
        len: meta.len(),
        is_file: meta.is_file(),
        is_dir: meta.is_dir(),
        device: meta.dev(),
        inode: meta.ino(),
        modified: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
    }
}

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

/// The same of what a descriptor or a name relative to one tells.
#[allow(clippy::useless_conversion, reason = "numbers are shorter on some machines")]
pub(super) fn look_of_stat(stat: &Stat) -> Look {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    let time = |seconds: i64, rest: u64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let meta = Meta {
        len: u64::try_from(stat.st_size).unwrap_or_default(),
        is_file: kind == FileKind::File,
        is_dir: kind == FileKind::Directory,
        device: stat.st_dev,
        inode: stat.st_ino,
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Look {
        kind,
        meta,
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
        links: stat.st_nlink.into(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

/// The names of attributes, which `list` puts into a buffer.
pub(super) fn attribute_names(
    list: impl Fn(&mut [u8]) -> io::Result<usize>,
) -> io::Result<Vec<String>> {
    let fill = |size| {
        let mut bytes = vec![0; size];
        let len = list(&mut bytes)?;
        bytes.truncate(len);
        Ok::<_, io::Error>(bytes)
    };
    let says =
        |error: &io::Error, number: Errno| error.raw_os_error() == Some(number.raw_os_error());
    // Most files have none: asked with a small buffer first.
    let listed = match fill(512) {
        Err(error) if says(&error, Errno::RANGE) => fill(MAX_BYTES),
        listed => listed,
    };
    let listed = match listed {
        Err(error) if says(&error, Errno::OPNOTSUPP) || says(&error, Errno::NOSYS) => {
            return Ok(Vec::new());
        }
        listed => listed?,
    };
    let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut names: Vec<String> = names.map(dunlin_metainfo::escape_name).collect();
    names.sort_unstable();
    Ok(names)
}

/// The value of an attribute, which `get` puts into a buffer.
pub(super) fn attribute(get: impl Fn(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MAX_BYTES];
    let len = get(&mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

pub(super) fn share(from: &File, to: &File) -> io::Result<()> {
    match rustix::fs::ioctl_ficlone(to, from) {
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
