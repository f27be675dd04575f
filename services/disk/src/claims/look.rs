//! Files of claims: how one is published, and how those of others are found.
//!
//! What users lay there whom the folder does not trust is read within bounds, and what is wrong
//! with it is no error of ours. What is there of those whom it trusts, and cannot be read, is one:
//! nobody knows what it claims.

use super::format::{ClaimList, SETTLED};
use super::{CLAIMS_SUFFIX, Claimant, Clash, FoundClaims, PathHash, Wish};
use crate::fs::{Fs, FsFile, Look, Unfit};
use crate::lock_file::{LOCK_NAME, holder_of, is_kept, is_named};
use crate::names::{folder_of, part_path};
use crate::state_folders::{MAX_FOREIGN_CLAIMS, show, state_folders, states_above};
use bytes::Bytes;
use dunlin_base::InfoHash;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The largest file of claims that is read, in bytes: six million files.
const MAX_CLAIMS: u64 = 512 << 20;

/// Bytes of claims that are read of one state folder that is a stranger's: 200 000 paths.
const MAX_FOREIGN_BYTES: u64 = 16 << 20;

/// Names that are tried for a file of claims: whoever takes one has claims of the same torrent, or
/// publishes them at this moment.
const MAX_NAMES: u64 = 1000;

/// How long others are waited for in all, who have claimed later and have not given way yet: they
/// need the time to look at our claims. What strangers have laid there is not read any more after
/// that.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks, at first and at most: nothing wakes us.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(64)];

/// A wish that others can see.
pub(super) struct Published {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn FsFile>,
    /// It says who was first, in nanoseconds since 1970.
    pub(super) time: i64,
}

/// Shows the wish to other processes, under the first name from `number` on that nobody has.
pub(super) fn publish(who: &Claimant<'_>, wish: &Wish, number: u64) -> io::Result<Published> {
    let fs = &**who.fs;
    // Whoever closes the last torrent of another process may just have removed it.
    fs.create_dir_all(who.folder)?;
    show(fs, who.folder);
    sweep(who);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    let (holder, entries) = (who.holder.clone(), wish.entries(str::to_owned));
    let bytes = Bytes::from(ClaimList { settled: false, time, holder, entries }.encode());
    for number in number..number.saturating_add(MAX_NAMES) {
        let path = who.folder.join(format!("{}.{number}{CLAIMS_SUFFIX}", who.torrent));
        if let Some(file) = publish_as(fs, &path, &bytes)? {
            return Ok(Published { path, file, time });
        }
        // Whoever closes the last torrent may have removed it meanwhile.
        fs.create_dir_all(who.folder)?;
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Publishes it under this name, unless somebody has it, or takes it at the same time.
fn publish_as(fs: &dyn Fs, path: &Path, bytes: &Bytes) -> io::Result<Option<Arc<dyn FsFile>>> {
    if fs.look(path).is_ok() {
        return Ok(None);
    }
    let part = part_path(path);
    // Locked before it has its name: nobody ever sees it and takes it for left behind.
    let Some(file) = make_locked(fs, &part)? else { return Ok(None) };
    show(fs, &part);
    let written = file.write_at(std::slice::from_ref(bytes), 0);
    let inode = file.meta()?.inode;
    match written.and_then(|()| fs.settle(&part, path, inode, false)) {
        Ok(()) => Ok(Some(file)),
        Err(error) => {
            remove_if_named(fs, &part, &file);
            if is_taken(&error) { Ok(None) } else { Err(error) }
        }
    }
}

/// Makes an empty file of this name and locks it, unless somebody else does at this moment. What
/// nobody has locked was left by a killed run, or is about to be locked by one that will find it
/// gone: nobody removes or moves what another one has locked.
fn make_locked(fs: &dyn Fs, part: &Path) -> io::Result<Option<Arc<dyn FsFile>>> {
    if let Ok(left) = fs.open_read(part)
        && fs.lock_exclusive(&left)?
    {
        remove_if_named(fs, part, &left);
    }
    let file = match fs.create_new(part) {
        Err(error) if is_taken(&error) => return Ok(None),
        file => file?,
    };
    let ours = fs.lock_exclusive(&file)? && is_named(fs, part, &file)?;
    Ok(ours.then_some(file))
}

/// Removes a file that we have locked, if the name is still its own.
fn remove_if_named(fs: &dyn Fs, path: &Path, file: &Arc<dyn FsFile>) {
    if is_named(fs, path, file).unwrap_or(false) {
        let _ = fs.remove_file(path);
    }
}

/// Whether somebody else was faster with a name, or has taken ours for left behind.
fn is_taken(error: &io::Error) -> bool {
    let unfit = error.get_ref().and_then(|inner| inner.downcast_ref::<Unfit>());
    let kinds = [io::ErrorKind::AlreadyExists, io::ErrorKind::NotFound];
    kinds.contains(&error.kind()) || unfit == Some(&Unfit::Replaced)
}

/// Removes what killed runs have left of the claims of this torrent.
fn sweep(who: &Claimant<'_>) {
    let fs = &**who.fs;
    for path in files(fs, who.folder, usize::MAX).unwrap_or_default() {
        if !is_of(who.torrent, &path) {
            continue;
        }
        let Ok(file) = fs.open_read(&path) else { continue };
        // The lock is held until the name is gone: others sweep, too, and who publishes at this
        // moment may have taken the name of what another one has removed.
        if fs.lock_exclusive(&file).unwrap_or(false) {
            remove_if_named(fs, &path, &file);
        }
    }
}

/// Whether a file of claims is named by this torrent.
fn is_of(torrent: InfoHash, path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| name.starts_with(&torrent.to_string()))
}

/// From now on the claims hold.
pub(super) fn settle(file: &dyn FsFile) -> io::Result<()> {
    file.write_at(&[Bytes::from_static(&[SETTLED])], 0)
}

/// What of a wish, published at `time` as `mine`, is claimed by others that were first. Those that
/// came later have so much `patience` in all to give way.
pub(super) fn others(
    who: &Claimant<'_>,
    wish: &Wish,
    mine: &Path,
    time: i64,
    patience: Duration,
) -> io::Result<FoundClaims> {
    let (fs, root) = (&**who.fs, who.root);
    let reader = ClaimReader { fs, root, until: Instant::now() + patience };
    let mut search = Search { who, wish, mine, time, reader, found: FoundClaims::default() };
    for above in root.ancestors() {
        // What is not text is nobody's name in a torrent.
        let Some(prefix) = root.strip_prefix(above).ok().and_then(Path::to_str) else { continue };
        let states = match prefix.is_empty() {
            true => state_folders(fs, above),
            false => states_above(fs, above, root),
        };
        search.look_in(&states, !prefix.is_empty(), &|name: &str| match prefix.is_empty() {
            true => Some(name.to_owned()),
            false => Some(format!("{prefix}/{name}")),
        })?;
    }
    for folder in wish.folders.keys() {
        let path = |name: &str| name.strip_prefix(&**folder)?.strip_prefix('/').map(str::to_owned);
        let states = state_folders(fs, &root.join(folder));
        search.look_in(&states, false, &path)?;
        let holder = states.iter().find_map(|state| holder_of(fs, &state.join(LOCK_NAME)));
        let Some(holder) = holder else { continue };
        for item in wish.items.iter().filter(|item| Path::new(&item.name).starts_with(folder)) {
            let clash = Clash { same: false, holder: holder.clone() };
            search.found.clashes.insert(item.file, clash);
        }
    }
    Ok(search.found)
}

/// Who writes to the folder `root`, or below it, from a folder above.
///
/// # Errors
/// If claims are there that cannot be read.
pub(crate) fn writer_from_above(fs: &dyn Fs, root: &Path) -> io::Result<Option<String>> {
    let reader = ClaimReader { fs, root, until: Instant::now() };
    for above in root.ancestors().skip(1) {
        let Some(name) = root.strip_prefix(above).ok().and_then(Path::to_str) else { continue };
        let key = super::key(name.as_bytes(), false);
        for state in states_above(fs, above, root) {
            let (files, mut room) = reader.files(&state)?;
            for file in files {
                if let Some(theirs) = reader.read(&file, &mut room, false)?
                    && theirs.list.entries.contains_key(&key)
                    && theirs.is_alive(fs)
                {
                    return Ok(Some(theirs.list.holder));
                }
            }
        }
    }
    Ok(None)
}

/// The files of claims in a state folder, the first `most` that are found.
fn files(fs: &dyn Fs, state: &Path, most: usize) -> io::Result<Vec<PathBuf>> {
    let mut named = |name: &OsStr| name.as_bytes().ends_with(CLAIMS_SUFFIX.as_bytes());
    let entries = fs.read_some(state, most, &mut named)?.into_iter();
    Ok(entries.filter(|entry| entry.is_file).map(|entry| entry.path).collect())
}

/// Claims that somebody held when they were read.
struct Theirs {
    list: ClaimList,
    open: Arc<dyn FsFile>,
}

impl Theirs {
    /// Whether their owner lives: whoever sweeps what is left behind has it locked for a moment.
    fn is_alive(&self, fs: &dyn Fs) -> bool {
        is_kept(|| fs.lock_shared(&self.open))
    }
}

/// Reads claims of others.
struct ClaimReader<'a> {
    fs: &'a dyn Fs,
    root: &'a Path,
    until: Instant,
}

impl ClaimReader<'_> {
    /// The files of claims in a state folder, and how many bytes of it are read that are
    /// strangers'.
    fn files(&self, state: &Path) -> io::Result<(Vec<PathBuf>, u64)> {
        let stranger = !self.fs.look(state).is_ok_and(|look| self.fs.trusts(look.uid, self.root));
        let most = if stranger { MAX_FOREIGN_CLAIMS } else { usize::MAX };
        let found = match files(self.fs, state, most) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.fault(state, stranger, &error)?;
                Vec::new()
            }
        };
        Ok((found, MAX_FOREIGN_BYTES))
    }

    /// What cannot be read: of a stranger, who may lay there what he likes, it is left alone.
    fn fault(&self, path: &Path, stranger: bool, why: &dyn Display) -> io::Result<()> {
        let shown = path.display();
        if stranger {
            tracing::warn!("{shown} of another user is left alone: {why}");
            return Ok(());
        }
        let advice = "of a run that may go on, cannot be read; wait until it ends, use one version, \
                      or remove it if nothing runs";
        Err(io::Error::other(format!("{shown}, {advice}: {why}")))
    }

    /// The claims of a file, if its owner lives; of `strangers` only if they count.
    fn read(&self, path: &Path, room: &mut u64, strangers: bool) -> io::Result<Option<Theirs>> {
        let trusts = |look: Look| self.fs.trusts(look.uid, self.root);
        let stranger = match self.fs.look(path) {
            Ok(look) => !trusts(look),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let stranger = !self.fs.look(folder_of(path)).is_ok_and(trusts);
                return self.fault(path, stranger, &error).map(|()| None);
            }
        };
        if stranger && !strangers {
            return Ok(None);
        }
        let why = match self.try_read(path, stranger.then_some(room)) {
            Ok(theirs) => return Ok(theirs),
            Err(why) => why,
        };
        self.fault(path, stranger, &why).map(|()| None)
    }

    fn try_read(&self, path: &Path, room: Option<&mut u64>) -> Result<Option<Theirs>, String> {
        let text = |error: io::Error| error.to_string();
        let open = match self.fs.open_read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            open => open.map_err(text)?,
        };
        // Whoever can lock it has no owner before them.
        if self.fs.lock_shared(&open).map_err(text)? {
            return Ok(None);
        }
        let look = open.look().map_err(text)?;
        let most = match (&room, self.fs.trusts(look.uid, self.root)) {
            (Some(room), _) => **room,
            (None, true) => MAX_CLAIMS,
            // Swapped after we had looked.
            (None, false) => 0,
        };
        let length = look.meta.len;
        if length > most {
            return Err(format!("it has {length} bytes"));
        }
        if let Some(room) = room {
            *room -= length;
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|error| error.to_string())?];
        open.read_at(&mut bytes, 0).map_err(text)?;
        let list = ClaimList::decode(&bytes).map_err(|error| error.to_string())?;
        Ok(Some(Theirs { list, open }))
    }
}

/// Looks for what others have claimed of a wish.
struct Search<'a> {
    who: &'a Claimant<'a>,
    wish: &'a Wish,
    mine: &'a Path,
    time: i64,
    reader: ClaimReader<'a>,
    found: FoundClaims,
}

impl Search<'_> {
    /// Looks at the claims in these state folders, where a name of ours is called what `path` says.
    fn look_in(
        &mut self,
        states: &[PathBuf],
        is_above: bool,
        path: &dyn Fn(&str) -> Option<String>,
    ) -> io::Result<()> {
        for state in states {
            let (files, mut room) = self.reader.files(state)?;
            for file in files {
                let before = self.who.before.as_ref().is_some_and(|before| before.path == file);
                if file != self.mine && !before {
                    // Who may write to a folder above ours may not for that reason say what is done
                    // in ours.
                    let strangers = !is_above && Instant::now() < self.reader.until;
                    self.look_at(&file, &mut room, strangers, path)?;
                }
            }
        }
        Ok(())
    }

    /// What of the wish clashes with one file of claims, unless its owner gives way.
    fn look_at(
        &mut self,
        file: &Path,
        room: &mut u64,
        strangers: bool,
        path: &dyn Fn(&str) -> Option<String>,
    ) -> io::Result<()> {
        let mut pause = PAUSES[0];
        loop {
            let mut left = *room;
            let Some(theirs) = self.reader.read(file, &mut left, strangers)? else { return Ok(()) };
            let (list, same) = (&theirs.list, is_of(self.who.torrent, file));
            // The state of a torrent is written by one.
            let twice = same && file.parent() == Some(self.who.folder);
            let found = |key: &PathHash| {
                let entry = list.entries.get(key).copied();
                entry.map(|entry| (entry, list.holder.clone())).into_iter().collect()
            };
            let clashes = self.wish.clashes(path, found);
            let first = (list.time, file) < (self.time, self.mine);
            let meets = twice || !clashes.is_empty();
            let given = list.settled || first || !meets;
            if !given && Instant::now() < self.reader.until {
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSES[1]);
                continue;
            }
            *room = left;
            if meets && theirs.is_alive(self.reader.fs) {
                self.found.add(clashes);
                self.found.twice = self.found.twice.take().or(twice.then_some(theirs.list.holder));
            }
            return Ok(());
        }
    }
}
