//! One run at a time on one output folder. The processes of one job share it: to everybody else they
//! are one run. It never waits for a run to end.

use crate::fs::{Fs, FsFile};
use crate::names::STATE_DIR;
use bytes::Bytes;
use dunlin_base::InfoHash;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The lock's name in the state folder.
pub(crate) const LOCK_NAME: &str = "lock";

/// What the name of a torrent's own lock ends with.
pub(crate) const LOCK_SUFFIX: &str = ".lock";

/// Bytes of a lock file that are read and written: the job if it is shared, then a process id and a
/// command line for people.
const MAX_CONTENT: usize = 4096;

/// What the first line of a shared lock begins with. That of any other begins with a number.
const JOB: &str = "job ";

/// Characters of a job's id that are kept, so that they fit into the content with room to spare.
const MAX_JOB: usize = 256;

/// Attempts to take a lock whose file is removed by its last holder at the same moment.
const ATTEMPTS: usize = 10;

/// How long a rank goes on asking for a lock that it may share. Another rank of the job holds it
/// alone for the few system calls in which it writes down whose it is, and a machine with many more
/// ranks than cores can stop it just there. Who is refused for good waits that long, too.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two questions: the system can wait for a lock, but not for a time.
const PAUSE: Duration = Duration::from_millis(2);

/// Why an output folder could not be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another run works on it.
    #[error(
        "{}: in use by {holder}; wait until it ends, or stop it, or choose another output",
        .root.display()
    )]
    Held {
        /// The output folder.
        root: PathBuf,
        /// Process id and command line of the other run.
        holder: String,
    },
    /// The lock file could not be made.
    #[error("{}: {error}; check that the folder can be written", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
}

/// The right to write below an output folder. Dropping it removes the lock, unless others share it,
/// and the state folder with it if nothing else is in it. A lock file that a killed run left behind
/// is simply taken.
#[derive(Debug)]
pub struct OutputLock {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
    path: PathBuf,
    file: Option<Arc<dyn FsFile>>,
    shared: bool,
}

impl OutputLock {
    /// Takes the lock of `root`, making the folder if it is not there.
    ///
    /// # Errors
    /// [`LockError::Held`] if another run holds it, [`LockError::Io`] if it cannot be made.
    pub fn acquire(fs: &Arc<dyn Fs>, root: &Path) -> Result<OutputLock, LockError> {
        OutputLock::acquire_alone(fs, root, LOCK_NAME)
    }

    /// Takes the lock of one torrent in `root`: several processes may work on different torrents there,
    /// but not beside a run that has the whole folder.
    ///
    /// # Errors
    /// As [`OutputLock::acquire`].
    pub fn acquire_for(
        fs: &Arc<dyn Fs>,
        root: &Path,
        torrent: InfoHash,
    ) -> Result<OutputLock, LockError> {
        if let Some(holder) = holder_of(&**fs, &root.join(STATE_DIR).join(LOCK_NAME)) {
            return Err(LockError::Held { root: root.to_owned(), holder });
        }
        OutputLock::acquire_alone(fs, root, &format!("{torrent}{LOCK_SUFFIX}"))
    }

    fn acquire_alone(fs: &Arc<dyn Fs>, root: &Path, name: &str) -> Result<OutputLock, LockError> {
        let folder = root.join(STATE_DIR);
        let path = folder.join(name);
        let failed = |error| LockError::Io { path: path.clone(), error };
        for _ in 0..ATTEMPTS {
            let Some(file) = open(&**fs, &folder, &path).map_err(failed)? else { continue };
            if !fs.lock_exclusive(&file).map_err(failed)? {
                return Err(held(&**fs, root, &path));
            }
            if is_named(&**fs, &path, &file).map_err(failed)? {
                // The content is for people; a full disk must not keep a run from resuming.
                let _ = write(&*file, content(None));
                return Ok(OutputLock {
                    fs: Arc::clone(fs),
                    folder,
                    path,
                    file: Some(file),
                    shared: false,
                });
            }
        }
        Err(failed(io::ErrorKind::ResourceBusy.into()))
    }

    /// Takes the lock of `root` together with the other processes of `job`: any number of processes
    /// that give the same id hold it at once, and nobody else does. The folder is made if it is not
    /// there. An id must not be used by two jobs; control characters in it do not count.
    ///
    /// The lock on the file is shared, and the file says which job shares it. That is written only
    /// by who holds the lock alone, and counts only while one holds it. Likewise only a process that
    /// holds it alone removes the name, so nobody else gets in while a rank of the job is left.
    ///
    /// # Errors
    /// [`LockError::Held`] if another run or another job holds it, after two seconds;
    /// [`LockError::Io`] if it cannot be made or written.
    pub fn acquire_shared(
        fs: &Arc<dyn Fs>,
        root: &Path,
        job: &str,
    ) -> Result<OutputLock, LockError> {
        OutputLock::acquire_within(fs, root, job, PATIENCE)
    }

    fn acquire_within(
        fs: &Arc<dyn Fs>,
        root: &Path,
        job: &str,
        patience: Duration,
    ) -> Result<OutputLock, LockError> {
        let folder = root.join(STATE_DIR);
        let path = folder.join(LOCK_NAME);
        let failed = |error| LockError::Io { path: path.clone(), error };
        let job: String = job.chars().filter(|c| !c.is_control()).take(MAX_JOB).collect();
        let begun = Instant::now();
        loop {
            if let Some(file) = open(&**fs, &folder, &path).map_err(failed)?
                && share(&**fs, &path, &file, &job).map_err(failed)?
            {
                return Ok(OutputLock {
                    fs: Arc::clone(fs),
                    folder,
                    path,
                    file: Some(file),
                    shared: true,
                });
            }
            if begun.elapsed() >= patience {
                return Err(held(&**fs, root, &path));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether nobody shares the lock, so that its name may go.
    fn is_last(&self) -> bool {
        let Some(file) = &self.file else { return false };
        let path = &self.path;
        // To hold it alone, it may be given up for a moment: the name must still be that of this
        // file, or it is somebody else's.
        !self.shared
            || self.fs.lock_exclusive(file).unwrap_or(false)
                && is_named(&*self.fs, path, file).unwrap_or(false)
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // The name goes while the lock is held; what fails here is found and taken by the next run.
        if self.is_last() {
            let _ = self.fs.remove_file(&self.path);
        }
        self.file = None;
        let _ = self.fs.remove_dir(&self.folder);
    }
}

/// Opens the lock file; `None` if the folder went away at the same moment.
fn open(fs: &dyn Fs, folder: &Path, path: &Path) -> io::Result<Option<Arc<dyn FsFile>>> {
    fs.create_dir_all(folder)?;
    match fs.open_write(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Whether `path` is the name of `file`: the last holder may have removed it between our open and
/// our lock.
fn is_named(fs: &dyn Fs, path: &Path, file: &Arc<dyn FsFile>) -> io::Result<bool> {
    let ours = file.meta()?;
    Ok(fs.metadata(path).is_ok_and(|named| named.inode == ours.inode))
}

/// One attempt to share the lock with the others of `job`.
fn share(fs: &dyn Fs, path: &Path, file: &Arc<dyn FsFile>, job: &str) -> io::Result<bool> {
    if fs.lock_exclusive(file)? && is_named(fs, path, file)? {
        // Nobody else is here, so what it says is of runs that have ended.
        write(&**file, content(Some(job)))?;
    }
    // Somebody may get between the two locks, so all is asked afresh.
    if !fs.lock_shared(file)? || !is_named(fs, path, file)? {
        return Ok(false);
    }
    let text = read(fs, path);
    let first = text.split_once('\n').map(|(first, _)| first);
    Ok(first.and_then(|first| first.strip_prefix(JOB)) == Some(job))
}

/// Who holds the lock of the state folder `folder`, if anybody does.
pub(crate) fn held_by(fs: &dyn Fs, folder: &Path) -> Option<String> {
    let named = |path: &Path| path.to_string_lossy().ends_with(LOCK_SUFFIX);
    let entries = fs.read_dir(folder).unwrap_or_default();
    let torrents = entries.into_iter().map(|entry| entry.path).filter(|path| named(path));
    std::iter::once(folder.join(LOCK_NAME)).chain(torrents).find_map(|path| holder_of(fs, &path))
}

/// Who holds a lock file, if anybody does.
fn holder_of(fs: &dyn Fs, path: &Path) -> Option<String> {
    let file = fs.open_read(path).ok()?;
    let free = fs.lock_exclusive(&file).unwrap_or(false);
    (!free).then(|| holder(fs, path))
}

fn held(fs: &dyn Fs, root: &Path, path: &Path) -> LockError {
    LockError::Held { root: root.to_owned(), holder: holder(fs, path) }
}

fn holder(fs: &dyn Fs, path: &Path) -> String {
    let text = read(fs, path);
    let shown = |text: &str| text.trim().chars().filter(|c| !c.is_control()).collect::<String>();
    let (job, process) = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with(JOB) => (shown(first), shown(rest)),
        _ => (String::new(), shown(&text)),
    };
    match (process.is_empty(), job.is_empty()) {
        (true, true) => "another run".to_owned(),
        (true, false) => format!("the ranks of {job}"),
        (false, true) => format!("process {process}"),
        // That one may have ended before the others.
        (false, false) => format!("the ranks of {job}, one of them process {process}"),
    }
}

fn read(fs: &dyn Fs, path: &Path) -> String {
    let bytes = fs.read_all(path, MAX_CONTENT as u64).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write(file: &dyn FsFile, content: Bytes) -> io::Result<()> {
    file.set_len(0)?;
    file.write_at(&[content], 0)
}

fn content(job: Option<&str>) -> Bytes {
    let words: Vec<_> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut text = job.map(|job| format!("{JOB}{job}\n")).unwrap_or_default();
    text.push_str(&format!("{} ({})\n", std::process::id(), words.join(" ")));
    let mut bytes = text.into_bytes();
    bytes.truncate(MAX_CONTENT);
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests;
