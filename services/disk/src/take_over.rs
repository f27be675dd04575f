//! Bytes that are here but not where they belong: a finished file of other content becomes a part file
//! again, and what the store holds of a file that is wanted now goes to its part file.
//!
//! The old file stays as it is until the part file replaces it. What is moved counts as written, and is
//! claimed again after the next sync.

use crate::error::{DiskError, DiskErrorKind};
use crate::fs::FsFile;
use crate::names::part_path;
use crate::state::{Kept, State};
use crate::storage::{FilePlace, Storage, misuse};
use crate::torrent_files::{Part, Slot, TorrentFiles};
use bytes::Bytes;
use dunlin_base::{FileIndex, PieceIndex};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Bytes that are copied between two looks at whether anybody still needs them.
const COPY_STEP: u64 = 64 << 20;
/// Bytes that are moved at a time through our own memory.
const MOVE: u64 = 256 * 1024;

impl Storage {
    /// Makes a part file with the bytes of the file that stands under the final name.
    pub(crate) fn take_over(&self, files: &TorrentFiles, file: FileIndex) -> Result<(), DiskError> {
        let Some(dest) = files.inner().slots.get(file.index()).map(Slot::shown) else {
            return Err(misuse(&self.config.root, "a file that the torrent has not"));
        };
        let named = |error: io::Error| DiskError::io(&dest, &error);
        let before = self.fs().look(&dest).map_err(named)?;
        self.files.remove((files.id, file));
        let place = FilePlace::Wanted { dest: dest.clone(), replace: true };
        if let Some(slot) = files.inner().slots.get_mut(file.index()) {
            *slot = Slot { replace: true, ..Slot::new(place) };
        }
        let part = self.make_part(files, file, &dest)?;
        let path = part_path(&dest);
        let at_part = |error: io::Error| DiskError::io(&path, &error);
        self.fs().set_mode(&path, before.mode).map_err(at_part)?;
        let length = files.length_of(file);
        if self.fs().share(&dest, &path).is_ok() {
            part.set_len(length).map_err(at_part)?;
        } else {
            let from = self.fs().open_read(&dest).map_err(named)?;
            let data = from.data_ranges().map_err(named)?;
            self.copy_data(&dest, &path, &data, before.meta.len.min(length))?;
        }
        if self.fs().look(&dest).map_err(named)?.meta != before.meta {
            return Err(DiskError::new(dest, DiskErrorKind::Changed));
        }
        self.count_moved(files, file);
        Ok(())
    }

    /// Copies what is data before `end` to the same places of another file.
    fn copy_data(
        &self,
        from: &Path,
        to: &Path,
        data: &[Range<u64>],
        end: u64,
    ) -> Result<(), DiskError> {
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
                let copied = self.fs().copy_range(from, to, at..next);
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
        let store = match files.inner().slots.get(files.store().index()) {
            Some(slot) if matches!(slot.part, Part::There(_)) => slot.part_path(),
            _ => return Ok(()),
        };
        let kept = state.map(|state| state.files.as_slice()).unwrap_or_default();
        let wanted = |(kept, file): (&Kept, FileIndex)| {
            let inner = files.inner();
            let slot = inner.slots.get(file.index())?;
            let moves = *kept == Kept::Store && slot.is_wanted() && slot.part != Part::Done;
            moves.then(|| (file, slot.shown()))
        };
        let wanted: Vec<_> = kept.iter().zip((0..).map(FileIndex)).filter_map(wanted).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let named = |error: io::Error| DiskError::io(&store, &error);
        let from = self.fs().open_read(&store).map_err(named)?;
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
            self.count_moved(files, file);
        }
        Ok(())
    }

    /// What is known of a file's pieces is true of other bytes now, which are not synced.
    fn count_moved(&self, files: &TorrentFiles, file: FileIndex) {
        let mut inner = files.inner();
        if let Some(slot) = inner.slots.get_mut(file.index()) {
            slot.fresh = false;
        }
        for piece in files.geometry.file_pieces(file).map(PieceIndex) {
            if inner.durable.clear(piece) {
                inner.written.set(piece);
            }
        }
        inner.dirty.insert(file.0);
        inner.new_names.insert(file.0);
        inner.changed = true;
        drop(inner);
        self.note_written(0);
    }
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
