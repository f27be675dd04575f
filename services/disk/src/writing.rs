//! Writing pieces and blocks to part files. What is zeros stays a hole where nothing was written
//! yet.

use crate::error::{DiskError, DiskErrorKind};
use crate::fs::FsFile;
use crate::holes::{UNIT, without_zeros};
use crate::mutex::lock;
use crate::places::{Existing, FilePlace};
use crate::storage::Storage;
use crate::torrent_files::{PartFile, Slot, TorrentFiles};
use bytes::Bytes;
use dunlin_base::{BlockRef, FileIndex, PieceIndex, TorrentId};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A part file that can be written.
struct Writable {
    file: Arc<dyn FsFile>,
    path: PathBuf,
    /// Nothing but what this run wrote is in it.
    fresh: bool,
}

impl Storage {
    /// Writes a verified piece in one write a file. It is claimed after the next sync.
    ///
    /// # Errors
    /// If it cannot be written; nothing is claimed then, and the call may be repeated.
    pub fn write_piece(
        &self,
        torrent: TorrentId,
        piece: PieceIndex,
        parts: &[Bytes],
    ) -> Result<(), DiskError> {
        let files = self.torrent(torrent)?;
        if files.geometry.piece(piece.0).is_none() {
            return Err(DiskError::misuse(&self.config.root, "a piece that the torrent has not"));
        }
        self.write_over(&files, files.whole(piece), parts)?;
        let mut inner = files.inner();
        if !inner.durable.has(piece) {
            inner.suspect.clear(piece);
            inner.written.set(piece);
        }
        Ok(())
    }

    /// Writes a block of a piece that is not verified yet (spilled, or streamed). Nothing is
    /// claimed before [`Storage::verified`].
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_block(
        &self,
        torrent: TorrentId,
        block: BlockRef,
        bytes: &Bytes,
    ) -> Result<(), DiskError> {
        let files = self.torrent(torrent)?;
        self.write_over(&files, block, std::slice::from_ref(bytes))
    }

    /// Writes, and first moves a finished file of other content back to a part file, where it may
    /// be replaced.
    fn write_over(
        &self,
        files: &TorrentFiles,
        block: BlockRef,
        parts: &[Bytes],
    ) -> Result<(), DiskError> {
        let replaces = files.plan.as_ref().is_some_and(|plan| plan.existing == Existing::Replace);
        loop {
            match self.write_to(files, block, parts) {
                Err(error)
                    if replaces
                        && matches!(
                            error.kind,
                            DiskErrorKind::OtherContent { .. } | DiskErrorKind::Changed
                        ) =>
                {
                    let other = |file: &u32| {
                        let inner = files.inner();
                        let slot = inner.slots.get(*file as usize);
                        let done = slot.filter(|slot| slot.part == PartFile::Done);
                        done.is_some_and(|slot| slot.dest() == Some(&error.path))
                    };
                    let file = files.geometry.piece_files(block.piece).find(other);
                    let file = FileIndex(file.ok_or(error)?);
                    // Taken before the lock for making part files, as a sync takes it.
                    let _one = lock(&self.syncing);
                    let lost = self.demote_to_part(files, file)?;
                    if lost > 0 {
                        // They were said to be here.
                        let path = files.inner().slots.get(file.index()).map(Slot::shown);
                        let path = path.unwrap_or_default();
                        return Err(DiskError::new(path, DiskErrorKind::Changed));
                    }
                }
                done => return done,
            }
        }
    }

    /// All blocks of `piece` are written and right: it is claimed after the next sync.
    pub fn verified(&self, torrent: TorrentId, piece: PieceIndex) {
        let Ok(files) = self.torrent(torrent) else { return };
        if files.geometry.piece(piece.0).is_none() {
            return;
        }
        let mut inner = files.inner();
        if inner.durable.has(piece) {
            return;
        }
        let faulty =
            |file: u32| inner.slots.get(file as usize).is_some_and(|slot| slot.fault.is_some());
        if files.any_location(&inner, piece, faulty) {
            inner.suspect.set(piece);
        } else {
            inner.written.set(piece);
        }
        drop(inner);
        self.note_written(0);
    }

    pub(crate) fn write_to(
        &self,
        files: &TorrentFiles,
        block: BlockRef,
        parts: &[Bytes],
    ) -> Result<(), DiskError> {
        let end = block.begin.checked_add(block.len);
        let given: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let fits = files.geometry.piece(block.piece.0).is_some()
            && end.is_some_and(|end| end <= files.geometry.data_len(block.piece))
            && given == u64::from(block.len);
        if !fits {
            return Err(DiskError::misuse(&self.config.root, "bytes that do not fit their block"));
        }
        // What was there before, if only for a moment, must be overwritten with zeros, too.
        let first = files.inner().touched.set(block.piece);
        let start = files.start_of(block.piece) + u64::from(block.begin);
        for extent in files.geometry.extents(block) {
            let at = (files.geometry.file_start(extent.file) + extent.offset - start) as usize;
            let cut_parts;
            let own = if extent.len == block.len {
                parts
            } else {
                cut_parts = cut(parts, at, extent.len as usize);
                &cut_parts
            };
            let (location, offset) = files.location(&files.inner(), extent);
            let Some(Writable { file, path, fresh }) = self.writable(files, location)? else {
                self.compare(files, location, offset, own)?;
                continue;
            };
            let written = if first && fresh && u64::from(extent.len) >= UNIT {
                write_data(&*file, own, offset)
            } else {
                file.write_at(own, offset)
            };
            written.map_err(|error: io::Error| DiskError::io(&path, &error))?;
            files.inner().wrote(location);
        }
        self.wrote.fetch_add(given, Ordering::Relaxed);
        self.note_written(given);
        Ok(())
    }

    /// A finished file has what a piece of it and of an unfinished one brings: then there is
    /// nothing to write. Otherwise it is not the file that it was taken for, or (`Changed`) nobody
    /// knows what it is.
    fn compare(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
        offset: u64,
        parts: &[Bytes],
    ) -> Result<(), DiskError> {
        let mut at = offset;
        for part in parts {
            let mut buffer = self.config.buffers.take(part.len());
            let read =
                self.read_location(files, file, at, buffer.bytes_mut(), files.plan.is_none());
            read?;
            if buffer.bytes_mut() != &part[..] {
                let shown = files.inner().slots.get(file.index()).map(Slot::shown);
                let kind = DiskErrorKind::OtherContent { more: 0 };
                return Err(DiskError::new(shown.unwrap_or_default(), kind));
            }
            at += part.len() as u64;
        }
        Ok(())
    }

    /// The open part file of a file that is written, or the store, and its path. Makes it at the
    /// first write. `None` for a file of a torrent of the internet that is finished already.
    fn writable(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
    ) -> Result<Option<Writable>, DiskError> {
        let inner = files.inner();
        let Some(slot) = inner.slots.get(file.index()) else {
            return Err(DiskError::misuse(&self.config.root, "a file that the torrent has not"));
        };
        let (dest, part, path) = match &slot.place {
            FilePlace::Wanted { dest, .. } | FilePlace::Skipped { dest } => {
                (dest.clone(), slot.part, slot.part_path())
            }
            FilePlace::Blocked { error, .. } => return Err(error.clone()),
            _ => {
                return Err(DiskError::misuse(
                    &self.config.root,
                    "a write to a file that is not wanted",
                ));
            }
        };
        let mut fresh = slot.fresh;
        drop(inner);
        if part != PartFile::Done {
            self.mark(files)?;
        }
        let open = match part {
            PartFile::There(inode) => self.open_file(files, file, &path, Some(inode))?,
            PartFile::None | PartFile::Stale => {
                fresh = true;
                self.make_part(files, file, &dest)?
            }
            PartFile::Done if files.plan.is_some() => return Ok(None),
            PartFile::Done => return Err(DiskError::misuse(dest, "a write to a finished file")),
        };
        Ok(Some(Writable { file: open, path, fresh }))
    }

    /// Makes the part file of `file`, or the store, empty and sparse, after a durable mark that it
    /// is written.
    pub(crate) fn make_part(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
        dest: &Path,
    ) -> Result<Arc<dyn FsFile>, DiskError> {
        let _one = lock(&files.create_lock);
        let path = match files.inner().slots.get(file.index()) {
            Some(slot) => slot.part_path(),
            None => return Err(DiskError::misuse(dest, "a file that the torrent has not")),
        };
        let named = |error: io::Error| DiskError::io(&path, &error);
        let name = files.content.files.get(file.index()).map_or("", |file| file.name.as_str());
        let private = self.preserver().is_some_and(|preserver| preserver.file(name).is_some());
        let create = || match private {
            true => self.fs().create_private(&path),
            false => self.fs().create_new(&path),
        };
        let (wanted, part) = match files.inner().slots.get(file.index()) {
            Some(slot) => (slot.is_wanted(), slot.part),
            None => return Err(DiskError::misuse(dest, "a file that the torrent has not")),
        };
        if let PartFile::There(inode) = part {
            return self.open_file(files, file, &path, Some(inode));
        }
        self.mark(files)?;
        self.files.make_room();
        let created = match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.fs().remove_file(&path).and_then(|()| create())
            }
            created => created,
        };
        let created = created.map_err(named)?;
        let sized = created.set_len(files.length_of(file)).and_then(|()| created.meta());
        let meta = sized.map_err(|error| {
            // Not ours yet, so nothing refers to it.
            let _ = self.fs().remove_file(&path);
            named(error)
        })?;
        let mut inner = files.inner();
        inner.wrote(file);
        inner.new_names.insert(file.0);
        if let Some(slot) = inner.slots.get_mut(file.index()) {
            (slot.part, slot.fresh) = (PartFile::There(meta.inode), true);
        }
        drop(inner);
        // Blocks of a copy are read from its source: its part must not be found as the open file.
        if wanted {
            self.files.put((files.id, file), &created);
        }
        Ok(created)
    }
}

/// Writes what is no hole of new bytes to a file that has nothing there.
pub(crate) fn write_data(file: &dyn FsFile, parts: &[Bytes], offset: u64) -> io::Result<()> {
    let whole = offset..offset + parts.iter().map(|part| part.len() as u64).sum::<u64>();
    let data = without_zeros(parts, offset);
    if data == [whole] {
        return file.write_at(parts, offset);
    }
    for range in data {
        let at = (range.start - offset) as usize;
        file.write_at(&cut(parts, at, (range.end - range.start) as usize), range.start)?;
    }
    Ok(())
}

/// The bytes `at..at + len` of `parts`, without copying them.
fn cut(parts: &[Bytes], at: usize, len: usize) -> Vec<Bytes> {
    let (mut skip, mut left) = (at, len);
    let mut out = Vec::new();
    for part in parts {
        let start = skip.min(part.len());
        let end = (start + left).min(part.len());
        skip -= start;
        left -= end - start;
        if end > start {
            out.push(part.slice(start..end));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_without_copying() {
        let parts = [Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"defg")];
        for at in 0..=7 {
            for len in 0..=7 - at {
                assert_eq!(cut(&parts, at, len).concat(), b"abcdefg"[at..at + len]);
            }
        }
        assert_eq!(cut(&parts, 1, 2)[0].as_ptr(), parts[0][1..].as_ptr());
    }
}
