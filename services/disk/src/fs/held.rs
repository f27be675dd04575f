//! Something that is held by a descriptor while it is looked at and changed, whatever becomes of
//! its name.

use super::metadata::{self, look_of_stat};
use super::place::Place;
use super::shortage::with_room;
use super::{FileKind, Look};
use dunlin_metainfo::unescape_name;
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat,
    chownat, fchmod, fgetxattr, flistxattr, fremovexattr, fsetxattr, fstat, futimens, getxattr,
    listxattr, openat, removexattr, setxattr, utimensat,
};
use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What stands under a name, a file, a folder or a link, held so that its metadata can be read and
/// set.
///
/// # Errors
/// Every method fails with what the operating system says.
#[allow(clippy::missing_errors_doc)]
pub trait Held: Debug {
    /// All that is known of it.
    fn look(&self) -> io::Result<Look>;
    /// Sets the permissions, the lowest twelve bits. A link has none.
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    /// Sets when the content was last written, in nanoseconds since 1970.
    fn set_modified(&self, time: i64) -> io::Result<()>;
    /// Sets owner and group.
    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()>;
    /// The names of the extended attributes, escaped like those of files, in order; none where
    /// there are no such things.
    fn attribute_names(&self) -> io::Result<Vec<String>>;
    /// The value of an extended attribute.
    fn attribute(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Sets an extended attribute.
    fn set_attribute(&self, name: &str, value: &[u8]) -> io::Result<()>;
    /// Removes an extended attribute.
    fn remove_attribute(&self, name: &str) -> io::Result<()>;
}

#[derive(Debug)]
pub(super) struct RealHeld {
    file: OwnedFd,
    /// Whether the descriptor is good for nothing but being named: of a link, or of a file that we
    /// may not read.
    name_only: bool,
    link: bool,
}

impl RealHeld {
    pub(super) fn new(place: &Place<'_>) -> io::Result<RealHeld> {
        let open = |flags: OFlags| {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            with_room(|| openat(place.folder(), place.name, flags, Mode::empty()))
        };
        let file = open(OFlags::PATH)?;
        let kind = look_of_stat(&fstat(&file)?).kind;
        let link = kind == FileKind::Symlink;
        if matches!(kind, FileKind::File | FileKind::Directory)
            && let Ok(readable) = open(OFlags::RDONLY)
            && same(&readable, &file)
        {
            return Ok(RealHeld { file: readable, name_only: false, link });
        }
        Ok(RealHeld { file, name_only: true, link })
    }

    /// A name that leads to what is held, and to nothing else; not to where a link points.
    fn itself(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// The same, for calls that make no sense for a link.
    fn name(&self) -> io::Result<PathBuf> {
        match self.link {
            true => Err(io::ErrorKind::Unsupported.into()),
            false => Ok(self.itself()),
        }
    }
}

fn same(one: &OwnedFd, other: &OwnedFd) -> bool {
    let id = |file| fstat(file).ok().map(|stat| (stat.st_dev, stat.st_ino));
    id(one).is_some() && id(one) == id(other)
}

impl Held for RealHeld {
    fn look(&self) -> io::Result<Look> {
        Ok(look_of_stat(&fstat(&self.file)?))
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from(mode);
        match self.name_only {
            true => chmodat(CWD, &self.name()?, mode, AtFlags::empty())?,
            false => fchmod(&self.file, mode)?,
        }
        Ok(())
    }

    fn set_modified(&self, time: i64) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec {
                tv_sec: time.div_euclid(1_000_000_000),
                tv_nsec: time.rem_euclid(1_000_000_000),
            },
        };
        match self.name_only {
            false => futimens(&self.file, &times)?,
            true if self.link => utimensat(&self.file, Path::new(""), &times, AtFlags::EMPTY_PATH)?,
            true => utimensat(CWD, &self.name()?, &times, AtFlags::empty())?,
        }
        Ok(())
    }

    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(chownat(self.file.as_fd(), Path::new(""), uid, gid, AtFlags::EMPTY_PATH)?)
    }

    fn attribute_names(&self) -> io::Result<Vec<String>> {
        metadata::attribute_names(|bytes| match self.name_only {
            true => Ok(listxattr(self.itself(), bytes)?),
            false => Ok(flistxattr(&self.file, bytes)?),
        })
    }

    fn attribute(&self, name: &str) -> io::Result<Vec<u8>> {
        let name = unescape_name(name);
        metadata::attribute(|bytes| match self.name_only {
            true => Ok(getxattr(self.itself(), &*name, bytes)?),
            false => Ok(fgetxattr(&self.file, &*name, bytes)?),
        })
    }

    fn set_attribute(&self, name: &str, value: &[u8]) -> io::Result<()> {
        let (name, flags) = (unescape_name(name), XattrFlags::empty());
        match self.name_only {
            true => setxattr(self.itself(), &*name, value, flags)?,
            false => fsetxattr(&self.file, &*name, value, flags)?,
        }
        Ok(())
    }

    fn remove_attribute(&self, name: &str) -> io::Result<()> {
        let name = unescape_name(name);
        match self.name_only {
            true => removexattr(self.itself(), &*name)?,
            false => fremovexattr(&self.file, &*name)?,
        }
        Ok(())
    }
}
