//! One run at a time on one output folder. The processes of one job share it: to everybody else they
//! are one run. It never waits for a run to end.

use crate::claims::{
    MAX_FOREIGN_CLAIMS, is_held as is_kept, state_folders, states_above, writer_from_above,
};
use crate::fs::{FileKind, Fs, FsFile, Look};
use crate::names::{folder_of, show, state_folder};
use bytes::Bytes;
use dunlin_base::InfoHash;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use thiserror::Error;

/// The lock's name in the state folder.
pub(crate) const LOCK_NAME: &str = "lock";

/// What the name of a torrent's own lock ends with.
pub(crate) const LOCK_SUFFIX: &str = ".lock";

/// Bytes of a lock file that are read and written: the job if it is shared, then a process id and a
/// command line for people, then a word of the process that no other has.
const MAX_CONTENT: usize = 4096;

/// What the first line of a shared lock begins with. That of any other begins with a number.
const JOB: &str = "job ";

/// What the last line begins with.
const RUN: &str = "run ";

/// Characters of a job's id that are kept, so that they fit into the content with room to spare.
const MAX_JOB: usize = 256;

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
    /// [`LockError::Held`] if another run holds it, or works on a torrent there; [`LockError::Io`] if it
    /// cannot be made.
    pub fn acquire(fs: &Arc<dyn Fs>, root: &Path) -> Result<OutputLock, LockError> {
        OutputLock::acquire_alone(fs, root, LOCK_NAME)?.beside_no_torrent(root, None)
    }

    /// No torrent is fetched into the folder, or from a folder above to somewhere below it, and no other
    /// run has it, or a folder above.
    ///
    /// Whoever takes the whole folder, or one torrent of it, looks at the other kind when it has its own
    /// lock: of two at one time, one at least sees the other.
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
    /// Where the folder lets users have no hand in one another's files (the sticky bit), those whom it
    /// does not trust are in nobody's way, and do not count.
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
        let path = state_folder(&**fs, root).join(name);
        Err(LockError::Io { path, error: io::ErrorKind::ResourceBusy.into() })
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

/// Removes a lock file that we may not use and that nobody holds: a killed run of another user, who may
/// write to this folder like us, has left it. `false` if it stays.
fn sweep(fs: &dyn Fs, path: &Path) -> bool {
    let Ok(file) = fs.open_read(path) else { return false };
    fs.check_state(folder_of(path)).is_ok()
        && fs.lock_exclusive(&file).unwrap_or(false)
        && is_named(fs, path, &file).unwrap_or(false)
        && fs.remove_file(path).is_ok()
}

/// That a lock file could not be opened or locked; what stands in the place of its folder is to blame.
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

/// Whether `path` is the name of `file`: the last holder may have removed it between our open and
/// our lock.
pub(crate) fn is_named(fs: &dyn Fs, path: &Path, file: &Arc<dyn FsFile>) -> io::Result<bool> {
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
    locks_of(fs, folder).find_map(|path| holder_of(fs, &path))
}

/// The locks in a state folder.
fn locks_of(fs: &dyn Fs, folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::iter::once(folder.join(LOCK_NAME)).chain(torrent_locks(fs, folder))
}

/// The locks of single torrents in a state folder.
fn torrent_locks(fs: &dyn Fs, folder: &Path) -> Vec<PathBuf> {
    let named = |path: &PathBuf| path.to_string_lossy().ends_with(LOCK_SUFFIX);
    let entries = fs.read_dir(folder).unwrap_or_default();
    entries.into_iter().map(|entry| entry.path).filter(named).collect()
}

/// Whether somebody works on a torrent in `root`, or on the whole folder.
pub(crate) fn is_held(fs: &dyn Fs, root: &Path, torrent: InfoHash) -> bool {
    let folder = state_folder(fs, root);
    let names = [LOCK_NAME.to_owned(), format!("{torrent}{LOCK_SUFFIX}")];
    names.iter().any(|name| holder_of(fs, &folder.join(name)).is_some())
}

/// The run that has a folder above `root` for itself, and is not our own (`job`, or this process), if one
/// of a user does whom `root` trusts: others may not say what is done in ours.
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

/// Another run that works in one of `folders`, or in one between it and `root`, if one of a user does whom
/// `root` trusts; and in which.
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

/// Whether a lock that is held is held by the same run: a rank of the job, or this process.
fn is_ours(fs: &dyn Fs, path: &Path, job: Option<&str>) -> bool {
    let text = read(fs, path);
    match text.split_once('\n').and_then(|(first, _)| first.strip_prefix(JOB)) {
        Some(theirs) => job.is_some_and(|job| theirs == job_line(job)),
        None => text.lines().last() == Some(&*this_run()),
    }
}

/// The last line of this process's lock files. Processes of two containers, or of two hosts with one file
/// system, may have one number.
fn this_run() -> String {
    static DRAWN: OnceLock<u64> = OnceLock::new();
    // The keys of a hash table are random, and the standard library draws them from the system.
    let drawn = DRAWN.get_or_init(|| RandomState::new().build_hasher().finish());
    format!("{RUN}{drawn:016x}")
}

/// A job's id as it stands in a lock file.
fn job_line(job: &str) -> String {
    job.chars().filter(|c| !c.is_control()).take(MAX_JOB).collect()
}

/// Who holds a lock file, if anybody does.
pub(crate) fn holder_of(fs: &dyn Fs, path: &Path) -> Option<String> {
    let file = fs.open_read(path).ok()?;
    is_kept(|| fs.lock_exclusive(&file)).then(|| holder(fs, path))
}

fn held(fs: &dyn Fs, root: &Path, path: &Path) -> LockError {
    LockError::Held { root: root.to_owned(), holder: holder(fs, path) }
}

fn holder(fs: &dyn Fs, path: &Path) -> String {
    let text = read(fs, path);
    let text = text.rfind(&format!("\n{RUN}")).map_or(&*text, |at| text.split_at(at).0);
    let shown = |text: &str| text.trim().chars().filter(|c| !c.is_control()).collect::<String>();
    let (job, process) = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with(JOB) => (shown(first), shown(rest)),
        _ => (String::new(), shown(text)),
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
    let words = words.join(" ").replace(char::is_control, " ");
    let mut text = job.map(|job| format!("{JOB}{job}\n")).unwrap_or_default();
    text.push_str(&format!("{} ({words})", std::process::id()));
    let last = format!("\n{}\n", this_run());
    let mut bytes = text.into_bytes();
    bytes.truncate(MAX_CONTENT - last.len());
    bytes.extend(last.into_bytes());
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests;
