//! Part files that other torrents have left unfinished, to go on with later: nobody else writes to
//! them, or what their states claim would not hold.

use crate::checksum::SealError;
use crate::names::part_path;
use crate::state::{FileRecord, MAX_STATE, STATE_SUFFIX, State};
use crate::storage::Storage;
use crate::torrent_files::{PartFile, TorrentFiles};
use dunlin_base::{FileIndex, InfoHash};
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The part files that other torrents of this folder have left, read when somebody asks.
pub(crate) struct OtherParts<'a> {
    storage: &'a Storage,
    torrent: InfoHash,
    /// By their numbers; `None` if a state is of a later version, which may name any.
    parts: OnceCell<Option<BTreeSet<u64>>>,
}

impl OtherParts<'_> {
    pub(crate) fn new(storage: &Storage, torrent: InfoHash) -> OtherParts<'_> {
        OtherParts { storage, torrent, parts: OnceCell::new() }
    }

    /// Whether the file of this number is a part file of another torrent.
    pub(crate) fn has(&self, inode: u64) -> bool {
        let parts = self.parts.get_or_init(|| self.read());
        parts.as_ref().is_none_or(|parts| parts.contains(&inode))
    }

    fn read(&self) -> Option<BTreeSet<u64>> {
        let (fs, mut parts) = (self.storage.fs(), BTreeSet::new());
        let own = format!("{}{STATE_SUFFIX}", self.torrent);
        let mut is_theirs = |name: &OsStr| {
            name.as_bytes().ends_with(STATE_SUFFIX.as_bytes()) && name != OsStr::new(&own)
        };
        let states = fs.read_some(&self.storage.state_dir(), usize::MAX, &mut is_theirs);
        for state in states.unwrap_or_default().into_iter().filter(|entry| entry.is_file) {
            let Ok(bytes) = fs.read_own(&state.path, MAX_STATE) else { continue };
            match State::decode(&bytes) {
                Ok(state) => parts.extend(state.files.iter().filter_map(|file| match file {
                    FileRecord::Part { stamp, .. } => Some(stamp.inode),
                    FileRecord::Nowhere | FileRecord::Store | FileRecord::Done(_) => None,
                })),
                Err(SealError::Version(_)) => return None,
                // What is damaged is not gone on with.
                Err(_) => {}
            }
        }
        Some(parts)
    }
}

impl Storage {
    /// Removes part files of ours of which nothing comes any more: the file is finished, or another
    /// part file of it is written to. What cannot be removed is found by the next run, or by
    /// `clean`.
    pub(crate) fn drop_parts(&self, files: &TorrentFiles, kept: &[FileRecord]) {
        let info_hash = files.content.info_hash;
        for (slot, file) in files.inner().slots.iter().zip((0..).map(FileIndex)) {
            let Some(dest) = slot.dest() else { continue };
            let own = crate::names::own_part_path(dest, info_hash, self.fs().user());
            if own != slot.part_path() {
                self.remove_part(&own, None);
            }
            if let (PartFile::Done, Some(FileRecord::Part { stamp, .. })) =
                (slot.part, kept.get(file.index()))
            {
                self.remove_part(&part_path(dest), Some(stamp.inode));
            }
        }
    }

    fn remove_part(&self, part: &Path, inode: Option<u64>) {
        let Ok(look) = self.fs().look(part) else { return };
        let is_it = inode.is_none_or(|inode| look.meta.inode == inode);
        if is_it && self.is_own_part(part, &look, "") {
            let _ = self.fs().remove_file(part);
        }
    }
}
