//! When and how what is kept for the next run is saved: before anything is written, after syncs,
//! and at the end.
//!
//! ```text
//!   open ──▶ mark ──▶ writes ──▶ sync ──▶ save ──▶ writes … ──▶ close: last sync, save as ended
//!            ▲                                       │
//!            └──── when the last save is too old ◀───┘
//! ```
//!
//! A file of this kind says when it was saved, and for how long after that its files may have been
//! written without another save. So whatever ends a run, the next one can tell what that run wrote
//! itself from what others did later.

use crate::atomic::create_fresh;
use crate::error::DiskError;
use crate::lock_file::is_held;
use crate::mutex::lock;
use crate::names::part_path;
use crate::resume::{RESUME_SUFFIX, Resume};
use crate::stamp::Ending;
use crate::state::{STATE_SUFFIX, State};
use crate::storage::Storage;
use crate::torrent_files::TorrentFiles;
use bytes::Bytes;
use dunlin_base::TorrentId;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// A resume file is saved when this many times its length became durable: so saving large ones
/// costs little, and what is hashed again after a crash stays in proportion.
const SAVE_RATIO: u64 = 4;

/// A resume file up to this length is saved before a write if the last save is too old for that. A
/// longer one is not: the files that were written since are then hashed as a whole after a crash,
/// and where a resume file is so long, its files are many and short.
const LIGHT: u64 = 4 << 20;

/// Whose state is saved whatever it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// Nobody's.
    None,
    /// This torrent's, which goes on.
    Pause(TorrentId),
    /// This torrent's, for the last time.
    One(TorrentId),
    /// Everybody's, for the last time.
    All,
}

impl Last {
    fn is_paid_for(self, torrent: TorrentId) -> bool {
        self == Last::Pause(torrent) || self.is_end(torrent)
    }

    fn is_end(self, torrent: TorrentId) -> bool {
        self == Last::All || self == Last::One(torrent)
    }
}

/// What is kept of a torrent for the next run.
enum Record {
    Set(Resume),
    Torrent(State),
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        match self {
            Record::Set(resume) => resume.encode(),
            Record::Torrent(state) => state.encode(),
        }
    }
}

/// One resume file that is to be saved.
struct Save<'a> {
    files: &'a TorrentFiles,
    /// Nothing is written after it.
    end: bool,
}

impl Storage {
    /// The durable "being written" mark: a resume file that is young enough, and says that the run
    /// goes on. Before every write to its files, and before anything else that changes their
    /// stamps.
    ///
    /// # Errors
    /// If it cannot be saved; then nothing may be written.
    pub(crate) fn mark(&self, files: &TorrentFiles) -> Result<(), DiskError> {
        if self.is_marked(files) || files.weight().is_none() {
            return Ok(());
        }
        self.save(&[Save { files, end: false }])
    }

    fn is_marked(&self, files: &TorrentFiles) -> bool {
        let inner = files.inner();
        let Some(marked) = inner.marked.filter(|_| !inner.ended) else { return false };
        drop(inner);
        // Sooner than the window ends, so that the write itself is within it.
        let young = marked.elapsed() < self.config.sync_interval / 8 * 7;
        young || files.weight().is_none_or(|weight| weight > LIGHT)
    }

    fn kept(&self, files: &TorrentFiles, ending: Ending) -> Option<Record> {
        let (fs, root) = (self.fs(), &self.config.root);
        match &files.plan {
            Some(_) => files.state(fs, root, ending).map(Record::Torrent),
            None => files.resume(fs, root, ending).map(Record::Set),
        }
    }

    pub(crate) fn resume_path(&self, files: &TorrentFiles) -> PathBuf {
        let suffix = if files.plan.is_some() { STATE_SUFFIX } else { RESUME_SUFFIX };
        self.state_dir().join(format!("{}{suffix}", files.content.info_hash))
    }

    /// Saves the resume files of torrents of which more is known; removes those of complete ones.
    pub(crate) fn save_changed(&self, torrents: &[Arc<TorrentFiles>], last: Last) {
        let mut saves = Vec::new();
        for files in torrents {
            let inner = files.inner();
            let (changed, marked, since) = (inner.changed, inner.marked, inner.since_save);
            let says_else = changed || inner.moved || !inner.ended && files.plan.is_some();
            drop(inner);
            let (end, paid) = (last.is_end(files.id), last.is_paid_for(files.id));
            if !(changed || end && (says_else || marked.is_some())) {
                continue;
            }
            if !self.may_keep(files) {
                files.inner().changed = false;
                continue;
            }
            let Some(weight) = files.weight() else {
                if marked.is_some() && self.fs().remove_file(&self.resume_path(files)).is_ok() {
                    files.inner().marked = None;
                }
                files.inner().changed = false;
                continue;
            };
            if paid || marked.is_none() || since >= SAVE_RATIO * weight {
                saves.push(Save { files, end });
            }
        }
        if let Err(error) = self.save(&saves) {
            // A folder that is only read may be nobody's to write to.
            if saves.iter().all(|save| save.files.is_read()) {
                tracing::debug!("{error} (files are hashed again next time)");
                saves.iter().for_each(|save| save.files.inner().changed = false);
                return;
            }
            // The old resume file still stands, and claims less: nothing is lost but time.
            self.warn(format!("{error} (what to resume is saved later)"));
        }
    }

    /// Whether what is known of a torrent may be written down. Who only reads its files leaves that
    /// to whoever is writing them.
    fn may_keep(&self, files: &TorrentFiles) -> bool {
        let busy = || is_held(self.fs(), &self.config.root, files.content.info_hash);
        files.keeps && !(files.is_read() && busy())
    }

    /// Writes resume files durably, in one batch.
    fn save(&self, saves: &[Save<'_>]) -> Result<(), DiskError> {
        if saves.is_empty() {
            return Ok(());
        }
        let mut folder_made = lock(&self.saving);
        let folder = self.state_dir();
        if !*folder_made {
            self.make_folders(&BTreeSet::from([folder.clone()]))?;
            // Who claimed paths or took a lock may have made it, and not durably.
            let root = self.config.root.clone();
            if let Some((_, error)) = self.sync_paths(&[root]).into_iter().next()
                && error.kind() != io::ErrorKind::PermissionDenied
            {
                return Err(DiskError::io(&self.config.root, &error));
            }
            *folder_made = true;
        }
        let mut paths = Vec::new();
        let mut saved = Vec::new();
        for save in saves {
            let now = Instant::now();
            let path = self.resume_path(save.files);
            let part = part_path(&path);
            let named = |error| DiskError::io(&part, &error);
            let file = create_fresh(self.fs(), &part).map_err(named)?;
            // Before the files are looked at: whoever writes to them meanwhile is later than that.
            let meta = file.meta().map_err(named)?;
            let ending = match save.end {
                true => Ending::CLEAN,
                false => Ending::running(meta.modified, self.config.sync_interval),
            };
            let Some(kept) = self.kept(save.files, ending) else {
                let _ = self.fs().remove_file(&part);
                continue;
            };
            file.write_at(&[Bytes::from(kept.encode())], 0).map_err(named)?;
            paths.push((part, path, meta.inode));
            saved.push((save, now));
        }
        let parts: Vec<_> = paths.iter().map(|(part, ..)| part.clone()).collect();
        if let Some((index, error)) = self.sync_paths(&parts).into_iter().next() {
            return Err(DiskError::io(parts.get(index).unwrap_or(&folder), &error));
        }
        for (part, path, inode) in &paths {
            let settled = self.fs().settle(part, path, *inode, true);
            settled.map_err(|error| DiskError::io(path, &error))?;
        }
        if let Some((_, error)) = self.sync_paths(std::slice::from_ref(&folder)).into_iter().next()
        {
            return Err(DiskError::io(&folder, &error));
        }
        for (save, at) in saved {
            let mut inner = save.files.inner();
            (inner.changed, inner.since_save) = (false, 0);
            (inner.marked, inner.ended) = (Some(at), save.end);
        }
        lock(&self.said).clear();
        Ok(())
    }
}
