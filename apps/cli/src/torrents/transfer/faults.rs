//! What is wrong with the files of a torrent that is seeded, in words, and where else they may be.

use dunlin_base::FileIndex;
use dunlin_disk::{DiskError, FaultKind, FileFault, FileKind, Fs, STATE_DIR};
use dunlin_metainfo::{Torrent, TorrentFile};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files whose faults are named; the others are counted.
const MAX_NAMED: usize = 20;
/// Files of a torrent that are looked for in a folder: enough to know it by.
const SAMPLE: usize = 16;
/// Folders above the given one that are looked into.
const ABOVE: usize = 4;
/// Levels below it that are looked into …
const BELOW: usize = 3;
/// … and folders in all: it is a hint, which must not take long.
const MAX_FOLDERS: usize = 500;

/// The name of a file below the torrent's folder.
pub(super) fn name_of(torrent: &Torrent, file: FileIndex) -> String {
    torrent.files.get(file.index()).map(|file| file.path.join("/")).unwrap_or_default()
}

/// What is wrong with one file, without its name.
pub(super) fn words(torrent: &Torrent, fault: &FileFault) -> String {
    match &fault.kind {
        FaultKind::Missing => "missing".to_owned(),
        FaultKind::Length(found) => {
            let expected = torrent.files.get(fault.file.index()).map_or(0, |file| file.length);
            format!("{found} bytes long, expected {expected}")
        }
        FaultKind::NoFile => {
            "something else stands there, or on the way to it; links are not followed".to_owned()
        }
        FaultKind::Unreadable(kind) => DiskError::new(&fault.path, kind.clone()).to_string(),
        FaultKind::Wrong { pieces, of } => format!("{pieces} of {of} pieces are wrong"),
    }
}

/// A line for each fault, for people; the last one counts what has none.
pub(super) fn lines(torrent: &Torrent, faults: &[FileFault]) -> Vec<String> {
    let name = &torrent.name;
    let line = |fault: &FileFault| {
        format!("{name}: {}: {}", name_of(torrent, fault.file), words(torrent, fault))
    };
    let mut lines: Vec<String> = faults.iter().take(MAX_NAMED).map(line).collect();
    if faults.len() > MAX_NAMED {
        let more = faults.len() - MAX_NAMED;
        lines.push(format!("{name}: {more} more files are missing or wrong"));
    }
    lines
}

/// Why a torrent is not seeded of which nothing is right in `folder`, and what to do.
pub(super) fn refusal(
    fs: &dyn Fs,
    torrent: &Torrent,
    folder: &Path,
    faults: &[FileFault],
) -> String {
    let count = |is: fn(&FaultKind) -> bool| faults.iter().filter(|fault| is(&fault.kind)).count();
    let missing = count(|kind| matches!(kind, FaultKind::Missing));
    let unreadable = count(|kind| matches!(kind, FaultKind::Unreadable(_)));
    let wrong = faults.len() - missing - unreadable;
    let counts = [(missing, "missing"), (wrong, "wrong"), (unreadable, "unreadable")];
    let counts: Vec<_> = counts.into_iter().filter(|(count, _)| *count > 0).collect();
    let counts: Vec<_> = counts.iter().map(|(count, what)| format!("{count} {what}")).collect();
    let what = match faults {
        [only] => words(torrent, only),
        _ => format!("files: {}", counts.join(", ")),
    };
    let hint = match elsewhere(fs, torrent, folder) {
        Some(Elsewhere::Data(data)) => {
            format!("files of its names and lengths are in {0}: give --data {0}", data.display())
        }
        Some(Elsewhere::Renamed(other)) => format!(
            "{} holds its files: give that folder the name `{}` again",
            other.display(),
            torrent.name
        ),
        None => format!("give --data with the folder that holds `{}`", torrent.name),
    };
    format!("nothing of it is right in {}: {what}; {hint}", folder.display())
}

/// Where the files of a torrent are instead.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Elsewhere {
    /// Below this folder, under the torrent's name.
    Data(PathBuf),
    /// In this folder, which should have the torrent's name.
    Renamed(PathBuf),
}

/// Looks above and below `folder` for files of the torrent's names and lengths, in any other place
/// than the one where nothing is right. Nothing is read.
fn elsewhere(fs: &dyn Fs, torrent: &Torrent, folder: &Path) -> Option<Elsewhere> {
    let sample = sample(torrent);
    let above = folder.ancestors().skip(1).take(ABOVE).map(Path::to_owned);
    if let Some(data) = above.into_iter().find(|folder| holds(fs, folder, &sample)) {
        return Some(Elsewhere::Data(data));
    }
    let below = |path: &PathBuf| path.components().skip(1).collect::<PathBuf>();
    let inside: Vec<(Vec<PathBuf>, u64)> = match torrent.single_file {
        true => Vec::new(),
        false => {
            sample.iter().map(|(paths, len)| (paths.iter().map(below).collect(), *len)).collect()
        }
    };
    let refused = folder.join(&torrent.name);
    let mut renamed = None;
    let mut folders = VecDeque::from([(folder.to_owned(), 0)]);
    for _ in 0..MAX_FOLDERS {
        let Some((at, depth)) = folders.pop_front() else { break };
        if at != folder && holds(fs, &at, &sample) {
            return Some(Elsewhere::Data(at));
        }
        if renamed.is_none() && at != refused && holds(fs, &at, &inside) {
            renamed = Some(Elsewhere::Renamed(at.clone()));
        }
        if depth < BELOW {
            let entries = fs.read_dir(&at).unwrap_or_default();
            let inner = entries.into_iter().filter(|entry| entry.is_dir);
            let inner = inner.filter(|entry| !entry.path.ends_with(STATE_DIR));
            folders.extend(inner.take(MAX_FOLDERS).map(|entry| (entry.path, depth + 1)));
        }
    }
    renamed
}

/// The first files with bytes: where they are stored, under any of their names, and their lengths.
fn sample(torrent: &Torrent) -> Vec<(Vec<PathBuf>, u64)> {
    let files = torrent.files.iter().enumerate();
    let stored = files.filter(|(_, file)| file.length > 0 && !file.attributes.pad);
    let paths = |(index, file): (usize, &TorrentFile)| {
        let aliases = file.aliases.as_deref();
        let others = aliases.into_iter().flat_map(|names| [&names.raw, &names.portable]);
        let others = others.flatten().map(|name| PathBuf::from(OsStr::from_bytes(name)));
        let own = torrent.stored_path(index).map(PathBuf::from);
        (others.chain(own).collect(), file.length)
    };
    stored.take(SAMPLE).map(paths).collect()
}

/// Whether most of these files stand below a folder with their lengths.
fn holds(fs: &dyn Fs, folder: &Path, files: &[(Vec<PathBuf>, u64)]) -> bool {
    let stands = |path: &PathBuf, length: u64| {
        let found = fs.look(&folder.join(path));
        found.is_ok_and(|look| look.kind == FileKind::File && look.meta.len == length)
    };
    let all = files.iter();
    let found = all.filter(|(paths, length)| paths.iter().any(|path| stands(path, *length)));
    found.count() * 2 > files.len()
}
