//! The file systems of this machine. Every name is looked up by [`super::place`].

use super::file::RealFile;
use super::held::{Held, RealHeld};
use super::metadata::{self, look_of_stat};
use super::place::{Inside, Place, Resolver, here};
use super::{DirEntry, FileKind, Fs, FsFile, Look, Meta, Unfit, copy_by_hand};
use rustix::fs::{
    Access, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, accessat, linkat, mkdirat,
    readlinkat, renameat, renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Up to this many files are synced one by one; above, one sync of the whole file system is
/// cheaper than as many journal commits.
const SYNC_ONE_BY_ONE: usize = 8;

/// The permissions of a new file, and of a new folder, before the umask.
const FILE_MODE: u32 = 0o666;
const FOLDER_MODE: u32 = 0o777;

/// The permissions of a new file that is nobody else's business.
const PRIVATE_MODE: u32 = 0o600;

/// The file systems of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl Resolver for RealFs {
    fn place<'a>(&self, path: &'a Path) -> io::Result<Place<'a>> {
        Ok(Place::free(path))
    }
}

/// Opens a regular file.
fn open(place: &Place<'_>, flags: OFlags, mode: u32) -> io::Result<File> {
    let file = File::from(place.open(flags, mode)?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(Unfit::NotAFile.into()),
    }
}

fn shared(file: File) -> Arc<dyn FsFile> {
    Arc::new(RealFile(Arc::new(file)))
}

/// The files behind two open files of this machine.
fn both(from: &dyn FsFile, to: &dyn FsFile) -> io::Result<(Arc<File>, Arc<File>)> {
    match (from.system_file(), to.system_file()) {
        (Some(from), Some(to)) => Ok((from, to)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

impl<W: Resolver> Fs for W {
    fn inside(&self, root: &Path) -> Arc<dyn Fs> {
        Arc::new(Inside::new(root))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        open(&self.place(path)?, OFlags::RDONLY, 0).map(shared)
    }

    fn open_update(&self, path: &Path, inode: u64) -> io::Result<Arc<dyn FsFile>> {
        let file = open(&self.place(path)?, OFlags::RDWR, 0)?;
        match file.metadata()?.ino() == inode {
            true => Ok(shared(file)),
            false => Err(Unfit::Replaced.into()),
        }
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let place = self.place(path)?;
        let file = open(&place, OFlags::RDWR | OFlags::CREATE, FILE_MODE)?;
        if place.bound {
            self.check_own(path, &metadata::look_of(&file.metadata()?))?;
        }
        Ok(shared(file))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        open(&self.place(path)?, flags, FILE_MODE).map(shared)
    }

    fn create_private(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        open(&self.place(path)?, flags, PRIVATE_MODE).map(shared)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        Ok(renameat(from.folder(), from.name, to.folder(), to.name)?)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (old, new) = (self.place(from)?, self.place(to)?);
        let flags = RenameFlags::NOREPLACE;
        match renameat_with(old.folder(), old.name, new.folder(), new.name, flags) {
            // Network file systems often lack the atomic form.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if self.look(to).is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                self.rename(from, to)
            }
            other => Ok(other?),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        Ok(unlinkat(place.folder(), place.name, AtFlags::empty())?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        Ok(unlinkat(place.folder(), place.name, AtFlags::REMOVEDIR)?)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let root = self.root().filter(|root| path.starts_with(root));
        let Some(root) = root else { return std::fs::create_dir_all(here(path)) };
        // The root itself is made as a person would make it.
        std::fs::create_dir_all(here(root))?;
        let mut missing: Vec<&Path> = Vec::new();
        for folder in path.ancestors().take_while(|above| *above != root) {
            match self.look(folder) {
                Ok(look) if look.kind == FileKind::Directory => break,
                Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(folder),
                Err(error) => return Err(error),
            }
        }
        for folder in missing.into_iter().rev() {
            match self.create_dir(folder) {
                // Another thread was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        match self.look(path)?.kind {
            FileKind::Directory => Ok(()),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        mkdirat(place.folder(), place.name, Mode::from(FOLDER_MODE)).map_err(|e| place.unmade(e))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        sync_one(self, path)
    }

    fn sync_many(&self, paths: &[PathBuf]) -> Vec<(usize, io::Error)> {
        if paths.len() > SYNC_ONE_BY_ONE && sync_file_systems(self, paths).is_ok() {
            return Vec::new();
        }
        let tried = paths.iter().map(|path| sync_one(self, path)).enumerate();
        tried.filter_map(|(index, done)| Some((index, done.err()?))).collect()
    }

    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        let place = self.place(path)?;
        let flags = if place.bound { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
        Ok(look_of_stat(&statat(place.folder(), place.name, flags)?).meta)
    }

    fn look(&self, path: &Path) -> io::Result<Look> {
        let place = self.place(path)?;
        let stat = statat(place.folder(), place.name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(look_of_stat(&stat))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.read_some(path, usize::MAX, &mut |_| true)
    }

    fn read_some(
        &self,
        path: &Path,
        most: usize,
        wanted: &mut dyn FnMut(&OsStr) -> bool,
    ) -> io::Result<Vec<DirEntry>> {
        let place = self.place(path)?;
        let mut folder = Dir::new(place.open(OFlags::RDONLY | OFlags::DIRECTORY, 0)?)?;
        let mut entries = Vec::new();
        while entries.len() < most
            && let Some(entry) = folder.read()
        {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") || !wanted(name) {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say it here.
                FileType::Unknown => {
                    match statat(folder.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                        Err(Errno::NOENT) => continue,
                        stat => FileType::from_raw_mode(stat?.st_mode),
                    }
                }
                kind => kind,
            };
            let (is_file, is_dir) = (kind.is_file(), kind.is_dir());
            entries.push(DirEntry { path: path.join(name), is_file, is_dir });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let place = self.place(path)?;
        let mut file = open(&place, OFlags::WRONLY | OFlags::APPEND, 0)?;
        if place.bound {
            self.check_own(path, &metadata::look_of(&file.metadata()?))?;
        }
        file.write_all(bytes)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let place = self.place(path)?;
        let target = readlinkat(place.folder(), place.name, Vec::new())?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        symlinkat(target, place.folder(), place.name).map_err(|error| place.unmade(error))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        Ok(linkat(from.folder(), from.name, to.folder(), to.name, AtFlags::empty())?)
    }

    fn hold(&self, path: &Path) -> io::Result<Box<dyn Held>> {
        Ok(Box::new(RealHeld::new(&self.place(path)?)?))
    }

    fn share(&self, from: &dyn FsFile, to: &dyn FsFile) -> io::Result<()> {
        let (from, to) = both(from, to)?;
        metadata::share(&from, &to)
    }

    fn copy_range(&self, from: &dyn FsFile, to: &dyn FsFile, range: Range<u64>) -> io::Result<()> {
        let (read, write) = both(from, to)?;
        copy_by_hand(from, to, metadata::copy_range(&read, &write, range)?)
    }

    fn user(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn is_closed(&self, folder: &Path) -> bool {
        is_refused(self, folder, Access::WRITE_OK | Access::EXEC_OK)
    }

    fn is_barred(&self, path: &Path) -> bool {
        is_refused(self, path, Access::READ_OK | Access::WRITE_OK)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let mut at = Some(path);
        while let Some(place) = at {
            match rustix::fs::statvfs(here(place)) {
                Err(Errno::NOENT | Errno::NOTDIR) => at = place.parent(),
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

/// Opens a file that a person has named for writing, made or emptied: a regular file of our own of
/// one name, or a character device such as `/dev/null`. No link is followed, so that nobody who may
/// make names in the folder can have us write elsewhere.
///
/// # Errors
/// [`Unfit`] if something else stands there; what the operating system says.
pub fn create_output(path: &Path) -> io::Result<File> {
    let place = RealFs.place(path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW;
    let file = File::from(place.open(flags, FILE_MODE)?);
    let meta = file.metadata()?;
    if meta.file_type().is_char_device() {
        return Ok(file);
    }
    RealFs.check_own(path, &metadata::look_of(&meta))?;
    file.set_len(0)?;
    Ok(file)
}

/// Whether something is there, and we have no right to use it so.
fn is_refused(way: &impl Resolver, path: &Path, asked: Access) -> bool {
    let Ok(place) = way.place(path) else { return false };
    let answer = accessat(place.folder(), place.name, asked, AtFlags::EACCESS);
    answer == Err(Errno::ACCESS)
}

/// Opens a file or a folder to sync it.
fn open_any(way: &impl Resolver, path: &Path) -> io::Result<File> {
    Ok(File::from(way.place(path)?.open(OFlags::RDONLY, 0)?))
}

fn sync_one(way: &impl Resolver, path: &Path) -> io::Result<()> {
    open_any(way, path)?.sync_all()
}

/// Syncs every file system that one of `paths` is on, once.
fn sync_file_systems(way: &impl Resolver, paths: &[PathBuf]) -> io::Result<()> {
    let mut synced = Vec::new();
    for path in paths {
        let file = open_any(way, path)?;
        let device = file.metadata()?.dev();
        if !synced.contains(&device) {
            rustix::fs::syncfs(&file)?;
            synced.push(device);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

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
