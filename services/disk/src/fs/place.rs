//! Where a name is: the one way to every file and folder of this machine that is opened, made,
//! renamed or removed.
//!
//! A name below an entered root is looked up from a descriptor of the root, and no link is followed
//! on the way; what is done then is done to the last component, relative to the descriptor of its
//! folder. So whatever somebody puts in the place of a folder meanwhile, nothing outside is
//! reached.

use super::Unfit;
use super::shortage::with_room;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, fstatvfs, openat, openat2, statvfs};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

/// How a folder is opened to work relative to it.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A name, and the folder that it is in.
#[derive(Debug)]
pub struct Place<'a> {
    folder: Folder,
    /// The last component; of a name outside of every root, the whole path.
    pub(super) name: &'a Path,
    /// Whether it is below an entered root, so that even a last link is not followed.
    pub(super) bound: bool,
}

#[derive(Debug)]
enum Folder {
    Here,
    Held(OwnedFd),
}

impl<'a> Place<'a> {
    pub(super) fn free(path: &'a Path) -> Place<'a> {
        Place { folder: Folder::Here, name: here(path), bound: false }
    }

    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        match &self.folder {
            Folder::Here => CWD,
            Folder::Held(folder) => folder.as_fd(),
        }
    }

    /// Opens the name, never waiting for the other end of a pipe.
    pub(super) fn open(&self, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
        let mut flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        if self.bound {
            flags |= OFlags::NOFOLLOW;
        }
        let open = || openat(self.folder(), self.name, flags, Mode::from(mode));
        with_room(open).map_err(|error| match error {
            Errno::NOSPC => self.unmade(error),
            error => linked(error),
        })
    }

    /// What the system said when this name should be made: a file system that has no room for names
    /// says the same as a full one.
    pub(super) fn unmade(&self, error: Errno) -> io::Error {
        let space = match &self.folder {
            Folder::Held(folder) => fstatvfs(folder),
            Folder::Here => statvfs(here(self.name.parent().unwrap_or(Path::new("")))),
        };
        match space {
            Ok(space) if error == Errno::NOSPC && space.f_files > 0 && space.f_favail == 0 => {
                Unfit::NoInodes.into()
            }
            _ => error.into(),
        }
    }
}

/// A link where none is followed is something else than what is looked for.
fn linked(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => Unfit::NotAFile.into(),
        // A pipe without a reader, or a socket.
        Errno::NXIO => Unfit::NotAFile.into(),
        error => error.into(),
    }
}

/// The empty path is the parent of a bare name; the system calls it `.`.
pub(super) fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// A way to look up names.
pub trait Resolver: Clone + Send + Sync + Debug + 'static {
    /// Finds the folder of a name.
    ///
    /// # Errors
    /// If it is not there, or cannot be reached without following a link.
    fn place<'a>(&self, path: &'a Path) -> io::Result<Place<'a>>;

    /// The root below which no link is followed.
    fn root(&self) -> Option<&Path> {
        None
    }
}

/// The way below one root.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    root: PathBuf,
    /// The root as it was first met: device and number.
    first: OnceLock<(u64, u64)>,
}

impl Inside {
    pub(super) fn new(root: &Path) -> Inside {
        Inside { root: root.to_owned(), first: OnceLock::new() }
    }

    /// Opens the root, which must be the folder that it was.
    fn open_root(&self) -> io::Result<OwnedFd> {
        let root = with_room(|| openat(CWD, here(&self.root), FOLDER, Mode::empty()))?;
        let stat = fstat(&root)?;
        let now = (stat.st_dev, stat.st_ino);
        if *self.first.get_or_init(|| now) != now {
            return Err(Unfit::Replaced.into());
        }
        Ok(root)
    }
}

impl Resolver for Inside {
    fn root(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn place<'a>(&self, path: &'a Path) -> io::Result<Place<'a>> {
        let Ok(below) = path.strip_prefix(&self.root) else { return Ok(Place::free(path)) };
        if !below.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let root = self.open_root()?;
        let Some(name) = below.file_name().map(OsStr::as_ref) else {
            return Ok(Place { folder: Folder::Held(root), name: Path::new("."), bound: true });
        };
        let folder = match below.parent().filter(|above| !above.as_os_str().is_empty()) {
            Some(above) => descend(root, above)?,
            None => root,
        };
        Ok(Place { folder: Folder::Held(folder), name, bound: true })
    }
}

/// Opens a folder below another, following no link.
fn descend(top: OwnedFd, way: &Path) -> io::Result<OwnedFd> {
    let in_one = || openat2(&top, way, FOLDER, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let answer = with_room(in_one);
    match answer {
        // Linux before 5.6, or a sandbox that does not know the call: one step after another.
        Err(Errno::NOSYS | Errno::PERM) => {
            let flags = FOLDER | OFlags::NOFOLLOW;
            let step = |folder: OwnedFd, name: Component<'_>| {
                with_room(|| openat(&folder, name.as_os_str(), flags, Mode::empty()))
            };
            Ok(way.components().try_fold(top, step)?)
        }
        Err(Errno::LOOP) => Err(io::ErrorKind::NotADirectory.into()),
        answer => Ok(answer?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_one_call_come_to_the_same() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("l")).unwrap();
        let top = || openat(CWD, folder.path(), FOLDER, Mode::empty()).unwrap();
        let by_steps = |way: &str| {
            let step = |folder: OwnedFd, name: Component<'_>| {
                openat(&folder, name.as_os_str(), FOLDER | OFlags::NOFOLLOW, Mode::empty())
            };
            Path::new(way).components().try_fold(top(), step)
        };
        for (way, there) in [("a", true), ("a/b", true), ("l", false), ("l/b", false)] {
            let found = descend(top(), Path::new(way));
            assert_eq!((found.is_ok(), by_steps(way).is_ok()), (there, there), "{way}");
            if !there {
                assert_eq!(found.unwrap_err().kind(), io::ErrorKind::NotADirectory);
            }
        }
    }

    #[test]
    fn a_root_that_is_another_folder_later_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (root, other) = (folder.path().join("root"), folder.path().join("other"));
        [&root, &other].iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let way = Inside::new(&root);
        assert!(way.place(&root.join("x")).unwrap().bound);
        assert!(!way.place(&other.join("x")).unwrap().bound, "elsewhere");
        assert!(way.place(&root.join("../x")).is_err());
        std::fs::rename(&root, folder.path().join("gone")).unwrap();
        std::os::unix::fs::symlink(&other, &root).unwrap();
        let error = way.place(&root.join("x")).unwrap_err();
        assert!(error.to_string().contains("replaced"), "{error}");
    }
}
