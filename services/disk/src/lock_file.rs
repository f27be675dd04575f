//! Lock files: what stands in one, and who holds it.

use crate::fs::{Fs, FsFile};
use crate::state_folders::state_folder;
use bytes::Bytes;
use dunlin_base::InfoHash;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The lock's name in the state folder.
pub(crate) const LOCK_NAME: &str = "lock";

/// What the name of a torrent's own lock ends with.
pub(crate) const LOCK_SUFFIX: &str = ".lock";

/// Bytes of a lock file that are read and written: the job if it is shared, then a process id and a
/// command line for people, then a word of the process that no other has.
const MAX_CONTENT: usize = 4096;

/// What the first line of a shared lock begins with. That of any other begins with a number.
pub(crate) const JOB: &str = "job ";

/// What the last line begins with.
const RUN: &str = "run ";

/// Characters of a job's id that are kept, so that they fit into the content with room to spare.
const MAX_JOB: usize = 256;

/// How often a lock is asked for that somebody holds: whoever asks for it, too, holds it for a
/// moment.
const ASKED: usize = 4;

/// Between two of these questions: nothing wakes us.
const ASK_PAUSE: Duration = Duration::from_millis(2);

/// Whether a lock is held by somebody who keeps it.
pub(crate) fn is_kept(mut take: impl FnMut() -> io::Result<bool>) -> bool {
    for asked in 1..=ASKED {
        if take().unwrap_or(false) {
            return false;
        }
        if asked < ASKED {
            std::thread::sleep(ASK_PAUSE);
        }
    }
    true
}

/// Whether `path` is the name of `file`: the last holder may have removed it between our open and
/// our lock.
pub(crate) fn is_named(fs: &dyn Fs, path: &Path, file: &Arc<dyn FsFile>) -> io::Result<bool> {
    let ours = file.meta()?;
    Ok(fs.metadata(path).is_ok_and(|named| named.inode == ours.inode))
}

/// Who holds the lock of the state folder `folder`, if anybody does.
pub(crate) fn held_by(fs: &dyn Fs, folder: &Path) -> Option<String> {
    locks_of(fs, folder).find_map(|path| holder_of(fs, &path))
}

/// The locks in a state folder.
pub(crate) fn locks_of(fs: &dyn Fs, folder: &Path) -> impl Iterator<Item = PathBuf> {
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

/// Whether a lock that is held is held by the same run: a rank of the job, or this process.
pub(crate) fn is_ours(fs: &dyn Fs, path: &Path, job: Option<&str>) -> bool {
    let text = read_text(fs, path);
    match text.split_once('\n').and_then(|(first, _)| first.strip_prefix(JOB)) {
        Some(theirs) => job.is_some_and(|job| theirs == job_line(job)),
        None => text.lines().last() == Some(&*this_run()),
    }
}

/// The last line of this process's lock files. Processes of two containers, or of two hosts with
/// one file system, may have one number.
fn this_run() -> String {
    static DRAWN: OnceLock<u64> = OnceLock::new();
    // The keys of a hash table are random, and the standard library draws them from the system.
    let drawn = DRAWN.get_or_init(|| RandomState::new().build_hasher().finish());
    format!("{RUN}{drawn:016x}")
}

/// A job's id as it stands in a lock file.
pub(crate) fn job_line(job: &str) -> String {
    job.chars().filter(|c| !c.is_control()).take(MAX_JOB).collect()
}

/// Who holds a lock file, if anybody does.
pub(crate) fn holder_of(fs: &dyn Fs, path: &Path) -> Option<String> {
    let file = fs.open_read(path).ok()?;
    is_kept(|| fs.lock_exclusive(&file)).then(|| holder(fs, path))
}

pub(crate) fn holder(fs: &dyn Fs, path: &Path) -> String {
    let text = read_text(fs, path);
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

pub(crate) fn read_text(fs: &dyn Fs, path: &Path) -> String {
    let bytes = fs.read_all(path, MAX_CONTENT as u64).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn write_text(file: &dyn FsFile, content: Bytes) -> io::Result<()> {
    file.set_len(0)?;
    file.write_at(&[content], 0)
}

pub(crate) fn text_for(job: Option<&str>) -> Bytes {
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
