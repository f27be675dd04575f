//! The file systems of this machine, but for one file: it counts as data from its begin to its end,
//! and whoever reads it waits at a gate.

use bytes::Bytes;
use dunlin_disk::{DirEntry, Fs, FsFile, Held, Look, Meta, RealFs};
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

/// Where readers of the one file wait.
#[derive(Debug)]
pub(crate) struct Gate {
    file: PathBuf,
    open: Mutex<bool>,
    opened: Condvar,
    arrivals: Mutex<Sender<()>>,
}

impl Gate {
    /// A gate before `file`, which is shut. The receiver gets a message whenever a reader arrives.
    pub(crate) fn before(file: PathBuf) -> (Arc<Gate>, Receiver<()>) {
        let (arrivals, arrived) = channel();
        let (open, opened) = (Mutex::new(false), Condvar::new());
        (Arc::new(Gate { file, open, opened, arrivals: Mutex::new(arrivals) }), arrived)
    }

    /// Lets all readers pass from now on.
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let _ = self.arrivals.lock().unwrap().send(());
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
    }
}

/// The file system with the gate.
#[derive(Debug)]
pub(crate) struct GatedFs {
    fs: Arc<dyn Fs>,
    gate: Arc<Gate>,
}

impl GatedFs {
    /// The file systems of this machine with a gate.
    pub(crate) fn over(gate: &Arc<Gate>) -> Arc<dyn Fs> {
        Arc::new(GatedFs { fs: Arc::new(RealFs), gate: Arc::clone(gate) })
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn FsFile>,
    gate: Arc<Gate>,
}

impl Fs for GatedFs {
    fn inside(&self, root: &Path) -> Arc<dyn Fs> {
        Arc::new(GatedFs { fs: self.fs.inside(root), gate: Arc::clone(&self.gate) })
    }
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let file = self.fs.open_read(path)?;
        match path == self.gate.file {
            true => Ok(Arc::new(GatedFile { file, gate: Arc::clone(&self.gate) })),
            false => Ok(file),
        }
    }
    fn open_update(&self, path: &Path, inode: u64) -> io::Result<Arc<dyn FsFile>> {
        self.fs.open_update(path, inode)
    }
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        self.fs.open_write(path)
    }
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        self.fs.create_new(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename_new(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.sync_dir(path)
    }
    fn sync_many(&self, paths: &[PathBuf]) -> Vec<(usize, io::Error)> {
        self.fs.sync_many(paths)
    }
    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        self.fs.metadata(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.fs.read_dir(path)
    }
    fn read_some(
        &self,
        path: &Path,
        most: usize,
        wanted: &mut dyn FnMut(&OsStr) -> bool,
    ) -> io::Result<Vec<DirEntry>> {
        self.fs.read_some(path, most, wanted)
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.fs.free_space(path)
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.fs.append(path, bytes)
    }
    fn look(&self, path: &Path) -> io::Result<Look> {
        self.fs.look(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.fs.read_link(path)
    }
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.fs.symlink(target, path)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.hard_link(from, to)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir(path)
    }
    fn create_private(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        self.fs.create_private(path)
    }
    fn hold(&self, path: &Path) -> io::Result<Box<dyn Held>> {
        self.fs.hold(path)
    }
    fn share(&self, from: &dyn FsFile, to: &dyn FsFile) -> io::Result<()> {
        self.fs.share(from, to)
    }
    fn user(&self) -> u32 {
        self.fs.user()
    }
    fn is_closed(&self, folder: &Path) -> bool {
        self.fs.is_closed(folder)
    }
    fn is_barred(&self, path: &Path) -> bool {
        self.fs.is_barred(path)
    }
}

impl FsFile for GatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.gate.pass();
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, parts: &[Bytes], offset: u64) -> io::Result<()> {
        self.file.write_at(parts, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn data_ranges(&self) -> io::Result<Vec<Range<u64>>> {
        let whole = 0..self.file.len()?;
        Ok(vec![whole])
    }
    fn meta(&self) -> io::Result<Meta> {
        self.file.meta()
    }
    fn look(&self) -> io::Result<Look> {
        self.file.look()
    }
    fn punch(&self, range: Range<u64>) -> io::Result<()> {
        self.file.punch(range)
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
    fn try_lock_shared(&self) -> io::Result<bool> {
        self.file.try_lock_shared()
    }
}
