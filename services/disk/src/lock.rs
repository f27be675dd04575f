//! One run at a time on one output folder. The processes of one job share it: to everybody else
//! they are one run. It never waits for a run to end.

use crate::claims::writer_from_above;
use crate::fs::{FileKind, Fs, FsFile, Look};
use crate::lock_file::{
    JOB, LOCK_NAME, LOCK_SUFFIX, holder, holder_of, is_kept, is_named, is_ours, job_line, locks_of,
    read_text, text_for, write_text,
};
use crate::names::folder_of;
use crate::state_folders::{MAX_FOREIGN_CLAIMS, show, state_folder, state_folders, states_above};
use dunlin_base::InfoHash;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The bit of a folder's mode by which nobody but their owners may rename or remove files in it.
const STICKY: u32 = 0o1000;

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
    #[error("{}: {}", .path.display(), unmade(.error))]
    Io {
        /// The lock file, or the state folder if something else stands there.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
}

/// Why a lock file could not be made, and what a person can do.
fn unmade(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotADirectory => {
            "this is no folder, and dunlin needs one of this name; move away what stands there"
                .into()
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is mounted read-only; mount it so that it can be written, or choose \
             another output"
                .into()
        }
        _ => format!("{error}; check that the folder can be written"),
    }
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
    /// [`LockError::Held`] if another run holds it, or works on a torrent there; [`LockError::Io`]
    /// if it cannot be made.
    pub fn acquire(fs: &Arc<dyn Fs>, root: &Path) -> Result<OutputLock, LockError> {
        OutputLock::acquire_alone(fs, root, LOCK_NAME)?.beside_no_torrent(root, None)
    }

    /// No torrent is fetched into the folder, or from a folder above to somewhere below it, and no
    /// other run has it, or a folder above.
    ///
    /// Whoever takes the whole folder, or one torrent of it, looks at the other kind when it has
    /// its own lock: of two at one time, one at least sees the other.
    fn beside_no_torrent(self, root: &Path, job: Option<&str>) -> Result<OutputLock, LockError> {
        let fs = &*self.fs;
        let failed = |error| LockError::Io { path: self.path.clone(), error };
        let whole = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let within = self.holder_within(root, |name| {
            name == LOCK_NAME || name.as_bytes().ends_with(LOCK_SUFFIX.as_bytes())
        });
        let holder = match within.map_err(failed)? {
            None => match run_above(fs, &whole, job) {
                None => writer_from_above(fs, &whole).map_err(failed)?,
                above => above,
            },
            within => within,
        };
        match holder {
            Some(holder) => Err(LockError::Held { root: root.to_owned(), holder }),
            None => Ok(self),
        }
    }

    /// Takes the lock of one torrent in `root`: several processes may work on different torrents
    /// there, but not beside a run that has the whole folder.
    ///
    /// # Errors
    /// As [`OutputLock::acquire`].
    pub fn acquire_for(
        fs: &Arc<dyn Fs>,
        root: &Path,
        torrent: InfoHash,
    ) -> Result<OutputLock, LockError> {
        let lock = OutputLock::acquire_alone(fs, root, &format!("{torrent}{LOCK_SUFFIX}"))?;
        let failed = |error| LockError::Io { path: lock.path.clone(), error };
        let whole = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let within = lock.holder_within(root, |name| name == LOCK_NAME).map_err(failed)?;
        match within.or_else(|| run_above(&*lock.fs, &whole, None)) {
            Some(holder) => Err(LockError::Held { root: root.to_owned(), holder }),
            None => Ok(lock),
        }
    }

    /// Who else holds one of the locks of `root` of such names, in the state folders of all users.
    ///
    /// Where the folder lets users have no hand in one another's files (the sticky bit), those whom
    /// it does not trust are in nobody's way, and do not count.
    ///
    /// # Errors
    /// If a state folder of somebody whom the folder trusts cannot be read.
    fn holder_within(
        &self,
        root: &Path,
        wanted: impl Fn(&OsStr) -> bool,
    ) -> io::Result<Option<String>> {
        let fs = &*self.fs;
        let apart = fs.look(root).is_ok_and(|look| look.mode & STICKY != 0);
        for state in state_folders(fs, root) {
            let trusted = fs.look(&state).is_ok_and(|look| fs.trusts(look.uid, root));
            if apart && !trusted {
                continue;
            }
            let most = if trusted { usize::MAX } else { MAX_FOREIGN_CLAIMS };
            let unread = |path: &Path, error: io::Error| {
                // It went away just now; or it is a stranger's, who may lay there what he likes.
                let passed = !trusted || error.kind() == io::ErrorKind::NotFound;
                let named = || io::Error::other(format!("{}: {error}", path.display()));
                if passed { Ok(()) } else { Err(named()) }
            };
            let locks = match fs.read_some(&state, most, &mut |name| wanted(name)) {
                Ok(locks) => locks,
                Err(error) => {
                    unread(&state, error)?;
                    continue;
                }
            };
            for path in locks.iter().map(|lock| &lock.path).filter(|path| **path != self.path) {
                match fs.open_read(path) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        unread(path, error)?;
                    }
                    Err(_) => continue,
                }
                if let Some(holder) = holder_of(fs, path) {
                    return Ok(Some(holder));
                }
            }
        }
        Ok(None)
    }

    fn acquire_alone(fs: &Arc<dyn Fs>, root: &Path, name: &str) -> Result<OutputLock, LockError> {
        let fs = &fs.inside(root);
        for _ in 0..ATTEMPTS {
            let folder = state_folder(&**fs, root);
            let path = folder.join(name);
            let failed = |error| unopened(&**fs, &folder, &path, error);
            let opened = match open(&**fs, &folder, &path) {
                // Another user has made it just now: ours is another.
                Err(_) if state_folder(&**fs, root) != folder => continue,
                Err(_) if holder_of(&**fs, &path).is_some() => {
                    return Err(held(&**fs, root, &path));
                }
                opened => opened.map_err(failed)?,
            };
            let Some(file) = opened else { continue };
            // Asked once more, for what else the system may say of it.
            if is_kept(|| fs.lock_exclusive(&file)) && !fs.lock_exclusive(&file).map_err(failed)? {
                return Err(held(&**fs, root, &path));
            }
            if is_named(&**fs, &path, &file).map_err(failed)? {
                // The content is for people; a full disk must not keep a run from resuming.
                let _ = write_text(&*file, text_for(None));
                return Ok(OutputLock {
                    fs: Arc::clone(fs),
                    folder,
                    path,
                    file: Some(file),
                    shared: false,
                });
            }
        }
        let path = state_folder(&**fs, root).join(name);
        Err(LockError::Io { path, error: io::ErrorKind::ResourceBusy.into() })
    }

    /// Takes the lock of `root` together with the other processes of `job`: any number of processes
    /// that give the same id hold it at once, and nobody else does. The folder is made if it is not
    /// there. An id must not be used by two jobs; control characters in it do not count.
    ///
    /// The lock on the file is shared, and the file says which job shares it. That is written only
    /// by who holds the lock alone, and counts only while one holds it. Likewise only a process
    /// that holds it alone removes the name, so nobody else gets in while a rank of the job is
    /// left.
    ///
    /// # Errors
    /// [`LockError::Held`] if another run or another job holds it, after two seconds;
    /// [`LockError::Io`] if it cannot be made or written.
    pub fn acquire_shared(
        fs: &Arc<dyn Fs>,
        root: &Path,
        job: &str,
    ) -> Result<OutputLock, LockError> {
        OutputLock::acquire_within(fs, root, job, PATIENCE)?.beside_no_torrent(root, Some(job))
    }

    fn acquire_within(
        fs: &Arc<dyn Fs>,
        root: &Path,
        job: &str,
        patience: Duration,
    ) -> Result<OutputLock, LockError> {
        let fs = &fs.inside(root);
        let folder = state_folder(&**fs, root);
        let path = folder.join(LOCK_NAME);
        let failed = |error| unopened(&**fs, &folder, &path, error);
        let job = job_line(job);
        let begun = Instant::now();
        loop {
            let opened = match open(&**fs, &folder, &path) {
                Err(_) if holder_of(&**fs, &path).is_some() => None,
                opened => opened.map_err(failed)?,
            };
            if let Some(file) = opened
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
    show(fs, folder);
    match fs.check_state(folder).and_then(|()| fs.open_write(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && sweep(fs, path) => {
            Ok(None)
        }
        opened => {
            show(fs, path);
            opened.map(Some)
        }
    }
}

/// Removes a lock file that we may not use and that nobody holds: a killed run of another user, who
/// may write to this folder like us, has left it. `false` if it stays.
fn sweep(fs: &dyn Fs, path: &Path) -> bool {
    let Ok(file) = fs.open_read(path) else { return false };
    fs.check_state(folder_of(path)).is_ok()
        && fs.lock_exclusive(&file).unwrap_or(false)
        && is_named(fs, path, &file).unwrap_or(false)
        && fs.remove_file(path).is_ok()
}

/// That a lock file could not be opened or locked; what stands in the place of its folder is to
/// blame.
fn unopened(fs: &dyn Fs, folder: &Path, path: &Path, error: io::Error) -> LockError {
    match fs.look(folder) {
        Ok(look) if look.kind != FileKind::Directory => {
            LockError::Io { path: folder.to_owned(), error: io::ErrorKind::NotADirectory.into() }
        }
        _ => LockError::Io { path: path.to_owned(), error },
    }
}

/// Whether the folder of a file, which is another user's, keeps us from renaming and removing it.
pub(crate) fn is_kept_from(fs: &dyn Fs, path: &Path) -> bool {
    let folder = fs.look(folder_of(path));
    !fs.is_root() && folder.is_ok_and(|look| look.mode & STICKY != 0 && look.uid != fs.user())
}

/// One attempt to share the lock with the others of `job`.
fn share(fs: &dyn Fs, path: &Path, file: &Arc<dyn FsFile>, job: &str) -> io::Result<bool> {
    if fs.lock_exclusive(file)? && is_named(fs, path, file)? {
        // Nobody else is here, so what it says is of runs that have ended.
        write_text(&**file, text_for(Some(job)))?;
    }
    // Somebody may get between the two locks, so all is asked afresh.
    if !fs.lock_shared(file)? || !is_named(fs, path, file)? {
        return Ok(false);
    }
    let text = read_text(fs, path);
    let first = text.split_once('\n').map(|(first, _)| first);
    Ok(first.and_then(|first| first.strip_prefix(JOB)) == Some(job))
}

/// The run that has a folder above `root` for itself, and is not our own (`job`, or this process),
/// if one of a user does whom `root` trusts: others may not say what is done in ours.
fn run_above(fs: &dyn Fs, root: &Path, job: Option<&str>) -> Option<String> {
    let above = root.ancestors().skip(1);
    let states = above.flat_map(|above| states_above(fs, above, root));
    let mut locks = states.map(|state| state.join(LOCK_NAME));
    locks.find_map(|path| {
        let is_file = |look: Look| look.kind == FileKind::File && fs.trusts(look.uid, root);
        let counts = fs.look(&path).is_ok_and(is_file);
        holder_of(fs, &path).filter(|_| counts && !is_ours(fs, &path, job))
    })
}

/// Another run that works in one of `folders`, or in one between it and `root`, if one of a user
/// does whom `root` trusts; and in which.
pub(crate) fn run_below(
    fs: &dyn Fs,
    root: &Path,
    folders: &BTreeSet<PathBuf>,
) -> Option<(PathBuf, String)> {
    let within = |folder: &&Path| *folder != root && folder.starts_with(root);
    let all: BTreeSet<&Path> =
        folders.iter().flat_map(|folder| folder.ancestors().take_while(within)).collect();
    all.into_iter().filter(|folder| fs.look(folder).is_ok()).find_map(|folder| {
        let states = states_above(fs, folder, root);
        let locks = states.iter().flat_map(|state| locks_of(fs, state));
        let mut others = locks.filter(|path| {
            let is_file = |look: Look| look.kind == FileKind::File && fs.trusts(look.uid, root);
            fs.look(path).is_ok_and(is_file) && !is_ours(fs, path, None)
        });
        others.find_map(|path| Some((folder.to_owned(), holder_of(fs, &path)?)))
    })
}

fn held(fs: &dyn Fs, root: &Path, path: &Path) -> LockError {
    LockError::Held { root: root.to_owned(), holder: holder(fs, path) }
}

#[cfg(test)]
mod tests;
