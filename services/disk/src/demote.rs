//! Bytes that are here but not where they belong: a finished file of other content becomes a part
//! file again, and what the store holds of a file that is wanted now goes to its part file.
//!
//! The old file stays as it is until the part file replaces it. What is moved counts as written,
//! and is claimed again after the next sync.

use crate::check::{Location, TorrentCheck};
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{FsFile, Look};
use crate::names::part_path;
use crate::places::FilePlace;
use crate::state::{FileRecord, State};
use crate::storage::Storage;
use crate::torrent_files::{PartFile, Replaces, Slot, TorrentFiles};
use bytes::Bytes;
use dunlin_base::{Bitfield, FileIndex, PieceIndex};
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::atomic::Ordering;

/// Bytes that are copied between two looks at whether anybody still needs them.
const COPY_STEP: u64 = 64 << 20;
/// Bytes that are moved at a time through our own memory.
const MOVE: u64 = 256 * 1024;

impl Storage {
    /// Makes a part file with the bytes of the file that stands under the final name. What is known
    /// of its pieces was found in the file as it was seen then: if it is not that any more, when
    /// its bytes have been copied, they are hashed where they are now. Returns how many pieces were
    /// lost so.
    ///
    /// # Errors
    /// If the file cannot be copied; nothing of it counts then.
    pub(crate) fn demote_to_part(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
    ) -> Result<u32, DiskError> {
        let known = files.inner().slots.get(file.index()).map(|slot| (slot.shown(), slot.seen));
        let Some((dest, seen)) = known else {
            return Err(DiskError::misuse(&self.config.root, "a file that the torrent has not"));
        };
        let named = |error: io::Error| DiskError::io(&dest, &error);
        let from = self.fs().open_read(&dest).map_err(named)?;
        let before = from.look().map_err(named)?;
        let (durable, written) = drop_pieces(files, file);
        self.files.remove((files.id, file));
        let place = FilePlace::Wanted { dest: dest.clone(), replace: true };
        let mut old = None;
        if let Some(slot) = files.inner().slots.get_mut(file.index()) {
            let own_part = slot.own_part.clone();
            let new =
                Slot { replaces: Replaces::This(before.seen()), own_part, ..Slot::new(place) };
            old = Some(std::mem::replace(slot, new));
        }
        let copied = self.copy_over(files, file, &dest, &*from, &before);
        let mut held = durable.clone();
        held.union_with(&written);
        let right = copied.and_then(|()| {
            match seen == Some(before.seen()) && seen == from.look().ok().map(|now| now.seen()) {
                true => Ok(held.clone()),
                false => self.still_right(files, &held),
            }
        });
        match right {
            Ok(right) => {
                // What is written to it from now on is not to be lost.
                if let Some(slot) = files.inner().slots.get_mut(file.index()) {
                    let now = from.look().map_or(before.seen(), |now| now.seen());
                    slot.replaces = Replaces::This(now);
                }
                self.count_moved(files, file, &right);
                Ok(held.count() - right.count())
            }
            Err(error) => {
                // The old file is what is read as before, if it is what it was.
                let part = files.inner().slots.get(file.index()).map(Slot::part_path);
                let _ = self.fs().remove_file(&part.unwrap_or_default());
                self.files.remove((files.id, file));
                let mut inner = files.inner();
                if let (Some(slot), Some(old)) = (inner.slots.get_mut(file.index()), old) {
                    *slot = old;
                }
                inner.durable.union_with(&durable);
                inner.written.union_with(&written);
                Err(error)
            }
        }
    }

    /// Makes the part file of what stands at `dest`.
    fn copy_over(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
        dest: &Path,
        from: &dyn FsFile,
        before: &Look,
    ) -> Result<(), DiskError> {
        let part = self.make_part(files, file, dest)?;
        let path = files.inner().slots.get(file.index()).map(Slot::part_path).unwrap_or_default();
        let at_part = |error: io::Error| DiskError::io(&path, &error);
        let inode = part.meta().map_err(at_part)?.inode;
        self.fs().keep_mode(&path, inode, before).map_err(at_part)?;
        let length = files.length_of(file);
        if self.fs().share(from, &*part).is_ok() {
            return part.set_len(length).map_err(at_part);
        }
        self.copy_data(from, &*part, &path, before.meta.len.min(length))
    }

    /// Which of these pieces are right as they can be read now.
    fn still_right(&self, files: &TorrentFiles, held: &Bitfield) -> Result<Bitfield, DiskError> {
        let inner = files.inner();
        let mut locations = vec![None; files.geometry.files() as usize];
        for extent in held.ones().flat_map(|piece| files.geometry.extents(files.whole(piece))) {
            let (location, offset) = files.location(&inner, extent);
            let from = inner.slots.get(location.index()).and_then(|slot| slot.readable().ok());
            if let Some(place) = locations.get_mut(extent.file.index()) {
                let base = offset - extent.offset;
                *place = from.map(|from| Location { path: from.path, base });
            }
        }
        drop(inner);
        let check = TorrentCheck {
            fs: self.fs(),
            content: &files.content,
            locations: &locations,
            threads: self.config.threads,
            budget: self.config.budget.as_ref(),
            buffers: &self.config.buffers,
            stop: [&self.config.stop, &self.config.stop],
        };
        let pieces = held.ones().collect();
        Ok(check.run(pieces, &mut |_, _| ControlFlow::Continue(()))?.right)
    }

    /// Copies what is data before `end` to the same places of another file.
    fn copy_data(
        &self,
        from: &dyn FsFile,
        part: &dyn FsFile,
        to: &Path,
        end: u64,
    ) -> Result<(), DiskError> {
        let data = from.data_ranges().map_err(|error| DiskError::io(to, &error))?;
        let clip = |range: &Range<u64>| range.start..range.end.min(end);
        let data: Vec<_> = data.iter().map(clip).filter(|range| !range.is_empty()).collect();
        let bytes = data.iter().map(|range| range.end - range.start).sum::<u64>();
        if self.fs().free_space(to).is_ok_and(|free| free < bytes) {
            return Err(DiskError::new(to, DiskErrorKind::Full));
        }
        for range in data {
            let mut at = range.start;
            while at < range.end {
                if self.config.stop.load(Ordering::Relaxed) {
                    return Err(DiskError::new(to, DiskErrorKind::Interrupted));
                }
                let next = range.end.min(at.saturating_add(COPY_STEP));
                let copied = self.fs().copy_range(from, part, at..next);
                copied.map_err(|error| DiskError::io(to, &error))?;
                at = next;
            }
        }
        self.read.fetch_add(bytes, Ordering::Relaxed);
        self.wrote.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Moves what came of files while they were not wanted to where it belongs now.
    pub(crate) fn empty_store(
        &self,
        files: &TorrentFiles,
        state: Option<&State>,
    ) -> Result<(), DiskError> {
        let (store, inode) = match files.inner().slots.get(files.store().index()) {
            Some(slot @ Slot { part: PartFile::There(inode), .. }) => (slot.part_path(), *inode),
            _ => return Ok(()),
        };
        let kept = state.map(|state| state.files.as_slice()).unwrap_or_default();
        let wanted = |(kept, file): (&FileRecord, FileIndex)| {
            let inner = files.inner();
            let slot = inner.slots.get(file.index())?;
            let moves =
                *kept == FileRecord::Store && slot.is_wanted() && slot.part != PartFile::Done;
            moves.then(|| (file, slot.shown()))
        };
        let wanted: Vec<_> = kept.iter().zip((0..).map(FileIndex)).filter_map(wanted).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let named = |error: io::Error| DiskError::io(&store, &error);
        let from = self.fs().open_read(&store).map_err(named)?;
        if from.meta().map_err(named)?.inode != inode {
            return Err(DiskError::new(store, DiskErrorKind::Changed));
        }
        let data = from.data_ranges().map_err(named)?;
        for (file, dest) in wanted {
            let base = files.geometry.file_start(file);
            let end = base + files.geometry.file_length(file);
            let clip = |range: &Range<u64>| range.start.max(base)..range.end.min(end);
            let data: Vec<_> = data.iter().map(clip).filter(|range| !range.is_empty()).collect();
            if data.is_empty() {
                continue;
            }
            let to = self.make_part(files, file, &dest)?;
            for range in data {
                let moved = move_bytes(&*from, &*to, range, base);
                moved.map_err(|error| DiskError::io(&part_path(&dest), &error))?;
            }
            let (mut held, written) = drop_pieces(files, file);
            held.union_with(&written);
            self.count_moved(files, file, &held);
        }
        Ok(())
    }

    /// What is known of a file's pieces is true of other bytes now, which are not synced.
    fn count_moved(&self, files: &TorrentFiles, file: FileIndex, right: &Bitfield) {
        let mut inner = files.inner();
        if let Some(slot) = inner.slots.get_mut(file.index()) {
            slot.fresh = false;
        }
        for piece in right.ones() {
            inner.written.set(piece);
        }
        inner.wrote(file);
        inner.new_names.insert(file.0);
        inner.changed = true;
        drop(inner);
        self.note_written(0);
    }
}

/// The pieces of a file that are durable, and those that are written. They do not count any more,
/// since their bytes move.
fn drop_pieces(files: &TorrentFiles, file: FileIndex) -> (Bitfield, Bitfield) {
    let mut inner = files.inner();
    let none = Bitfield::new(inner.durable.len());
    let (mut durable, mut written) = (none.clone(), none);
    for piece in files.geometry.file_pieces(file).map(PieceIndex) {
        if inner.durable.clear(piece) {
            durable.set(piece);
        }
        if inner.written.clear(piece) {
            written.set(piece);
        }
    }
    inner.changed = true;
    (durable, written)
}

/// Copies a range of the store to a file that begins at `base` there.
fn move_bytes(from: &dyn FsFile, to: &dyn FsFile, range: Range<u64>, base: u64) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let mut buffer = vec![0; MOVE.min(range.end - at) as usize];
        from.read_at(&mut buffer, at)?;
        let size = buffer.len() as u64;
        to.write_at(&[Bytes::from(buffer)], at - base)?;
        at += size;
    }
    Ok(())
}
