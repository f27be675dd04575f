//! Files that are made of another content: what is right of that is kept.
//!
//! ```text
//!   base ─(shared, or the right pieces copied)─▶ part ─(missing pieces written)─▶ renamed over base
//! ```
//!
//! Who has the old file open goes on seeing the old bytes. What is kept is what the hashes say, and
//! the hashes are believed only of a file that nobody has touched since they were taken.

use crate::cache::is_settled;
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{FileKind, FsFile, Look};
use crate::holes::is_hole;
use crate::names::part_path;
use crate::places::{KnownHashes, Repair};
use crate::scan::PartCheck;
use crate::storage::Storage;
use crate::torrent_files::{PartFile, TorrentFiles};
use dunlin_base::{Bitfield, FileIndex, PieceIndex};
use dunlin_metainfo::PieceHashes;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Bytes that are copied between two looks at whether anybody still needs them.
const COPY_STEP: u64 = 64 << 20;

/// One repair while it begins.
struct RepairWork<'a> {
    files: &'a TorrentFiles,
    file: FileIndex,
    repair: &'a Repair,
    /// What the base was when the work began.
    before: Look,
    /// The hashes that the file must have.
    expected: Vec<[u8; 20]>,
    /// The pieces of the file that are in its part already.
    had: Bitfield,
}

impl Storage {
    /// Puts what is right of the other content into the part file, or finds it where it stands.
    pub(crate) fn repair(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
        repair: Repair,
    ) -> Result<(), DiskError> {
        let base = &repair.base.path;
        let before = match self.fs().look(base) {
            Ok(look) if look.kind == FileKind::File => look,
            // Whatever it was, it is gone: all is fetched.
            _ => return Ok(()),
        };
        if self.fs().open_read(base).is_err() {
            // It cannot be read, but it can be replaced.
            return Ok(());
        }
        let (had, part) = self.held(files, file);
        let expected = files.file_hashes(file).to_vec();
        let work = RepairWork { files, file, repair: &repair, before, expected, had };
        let alone = before.links == 1 && repair.dest == *base;
        if repair.in_place && alone && !matches!(part, PartFile::There(_)) {
            return self.repair_in_place(&work, part);
        }
        self.repair_beside(&work, part)
    }

    /// The pieces of a file that are here, and its part.
    fn held(&self, files: &TorrentFiles, file: FileIndex) -> (Bitfield, PartFile) {
        let range = files.geometry.file_pieces(file);
        let mut had = Bitfield::new(range.len() as u32);
        let inner = files.inner();
        for (piece, index) in range.map(PieceIndex).zip(0..) {
            if inner.durable.has(piece) || inner.written.has(piece) {
                had.set(PieceIndex(index));
            }
        }
        (had, inner.slots.get(file.index()).map_or(PartFile::None, |slot| slot.part))
    }

    fn repair_in_place(&self, work: &RepairWork<'_>, part: PartFile) -> Result<(), DiskError> {
        let dest = &work.repair.dest;
        let named = |error: io::Error| DiskError::io(dest, &error);
        if part == PartFile::Stale {
            // What an earlier run left is of no use now. If it stays, `clean` finds it.
            let _ = self.fs().remove_file(&part_path(dest));
        }
        let right = self.right_pieces(work, dest)?;
        let open = self.fs().open_update(dest, work.before.meta.inode).map_err(named)?;
        if work.before.meta.len != work.length() {
            open.set_len(work.length()).map_err(named)?;
        }
        if let Some(slot) = work.files.inner().slots.get_mut(work.file.index()) {
            (slot.part, slot.in_place) = (PartFile::There(work.before.meta.inode), true);
        }
        let right = self.punch_zeros(work, dest, &*open, right)?;
        self.keep_pieces(work, &right);
        Ok(())
    }

    fn repair_beside(&self, work: &RepairWork<'_>, part: PartFile) -> Result<(), DiskError> {
        let RepairWork { files, file, repair, before, .. } = work;
        let (base, path) = (&repair.base.path, part_path(&repair.dest));
        let named = |error: io::Error| DiskError::io(&path, &error);
        self.mark(files)?;
        let mut shared = false;
        let open = self.make_part(files, *file, &repair.dest)?;
        if !matches!(part, PartFile::There(_)) {
            if self.preserver().is_none_or(|preserver| preserver.file(work.name()).is_none()) {
                // Nobody says how it should look, so it stays as it was.
                let inode = open.meta().map_err(named)?.inode;
                self.fs().keep_mode(&path, inode, before).map_err(named)?;
            }
            let from = self.fs().open_read(base);
            shared = from.and_then(|from| self.fs().share(&*from, &*open)).is_ok();
            if shared {
                open.set_len(work.length()).map_err(named)?;
            }
        }
        let unchanged = || self.fs().look(base).is_ok_and(|now| now.seen() == before.seen());
        let mut right = if shared {
            match work.compare() {
                Some(right) if unchanged() => right,
                _ => self.hash_again(work, &path, &Bitfield::new(work.had.len()))?,
            }
        } else {
            let right = self.right_pieces(work, base)?;
            self.copy_right(work, &right, &path, &*open)?;
            match unchanged() {
                true => right,
                false => self.hash_again(work, &path, &work.had)?,
            }
        };
        right.union_with(&work.had);
        if shared && let Some(slot) = files.inner().slots.get_mut(file.index()) {
            slot.fresh = false;
        }
        let right = self.punch_zeros(work, &path, &*open, right)?;
        self.keep_pieces(work, &right);
        Ok(())
    }

    /// The pieces of the base that are as they must be: as its known hashes say, or by reading it.
    fn right_pieces(&self, work: &RepairWork<'_>, base: &Path) -> Result<Bitfield, DiskError> {
        match work.compare() {
            Some(right) => Ok(right),
            None => self.hash_again(work, base, &work.had),
        }
    }

    /// `known` and all other pieces of the file at `path` that have the right hash.
    fn hash_again(
        &self,
        work: &RepairWork<'_>,
        path: &Path,
        known: &Bitfield,
    ) -> Result<Bitfield, DiskError> {
        let named = |error: io::Error| DiskError::io(path, &error);
        let open = self.fs().open_read(path).map_err(named)?;
        let length = open.len().map_err(named)?.min(work.length());
        let piece_length = work.files.geometry.piece_length();
        let check = PartCheck { piece_length, length, stop: &self.config.stop };
        let right = check.rescue(&*open, &work.expected, known).map_err(named)?;
        self.read.fetch_add(length, Ordering::Relaxed);
        Ok(right)
    }

    /// Copies the data of pieces that are right in the base and not here yet.
    fn copy_right(
        &self,
        work: &RepairWork<'_>,
        right: &Bitfield,
        part: &Path,
        to: &dyn FsFile,
    ) -> Result<(), DiskError> {
        let base = &work.repair.base.path;
        let named = |error: io::Error| DiskError::io(base, &error);
        let open = self.fs().open_read(base).map_err(named)?;
        let (data, end) = (open.data_ranges().map_err(named)?, work.before.meta.len);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for piece in right.minus(&work.had) {
            let place = work.place(piece);
            let place = place.start..place.end.min(end);
            match ranges.last_mut() {
                _ if place.is_empty() || is_hole(&data, &place) => {}
                Some(last) if last.end == place.start => last.end = place.end,
                _ => ranges.push(place),
            }
        }
        let bytes = ranges.iter().map(|range| range.end - range.start).sum::<u64>();
        if self.fs().free_space(part).is_ok_and(|free| free < bytes) {
            return Err(DiskError::new(part, DiskErrorKind::Full));
        }
        let steps = ranges.iter().flat_map(|range| {
            let end = range.end;
            (range.start..end)
                .step_by(COPY_STEP as usize)
                .map(move |at| at..end.min(at.saturating_add(COPY_STEP)))
        });
        for step in steps {
            if self.config.stop.load(Ordering::Relaxed) {
                return Err(DiskError::new(part, DiskErrorKind::Interrupted));
            }
            self.fs().copy_range(&*open, to, step).map_err(|error| DiskError::io(part, &error))?;
        }
        self.read.fetch_add(bytes, Ordering::Relaxed);
        self.wrote.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Makes holes of the pieces that must be zeros and are not among the right ones.
    fn punch_zeros(
        &self,
        work: &RepairWork<'_>,
        path: &Path,
        open: &dyn FsFile,
        mut right: Bitfield,
    ) -> Result<Bitfield, DiskError> {
        let zeros = |piece: PieceIndex| work.files.zero_pieces.has(work.piece(piece));
        let wrong: Vec<PieceIndex> = right.zeros().filter(|piece| zeros(*piece)).collect();
        if wrong.is_empty() {
            return Ok(right);
        }
        let named = |error: io::Error| DiskError::io(path, &error);
        let data = open.data_ranges().map_err(named)?;
        for piece in wrong {
            let place = work.place(piece);
            if !is_hole(&data, &place) {
                open.punch(place).map_err(named)?;
            }
            right.set(piece);
        }
        Ok(right)
    }

    /// The pieces are here, and claimed after the next sync.
    fn keep_pieces(&self, work: &RepairWork<'_>, right: &Bitfield) {
        let mut inner = work.files.inner();
        for piece in right.ones().map(|piece| work.piece(piece)) {
            if !inner.durable.has(piece) {
                inner.written.set(piece);
            }
        }
        inner.wrote(work.file);
    }
}

impl RepairWork<'_> {
    fn length(&self) -> u64 {
        self.files.geometry.file_length(self.file)
    }

    fn name(&self) -> &str {
        self.files.content.files.get(self.file.index()).map_or("", |file| file.name.as_str())
    }

    /// The piece of the torrent that is a piece of the file.
    fn piece(&self, of_file: PieceIndex) -> PieceIndex {
        PieceIndex(self.files.geometry.file_pieces(self.file).start + of_file.0)
    }

    fn place(&self, of_file: PieceIndex) -> Range<u64> {
        self.files.place_in(self.file, self.piece(of_file))
    }

    /// The right pieces by the hashes that were taken of the base; `None` if there are none for
    /// pieces of this length, or the base may have been written since.
    ///
    /// Hashes of padded pieces tell enough: where one of the files ends within the piece, equal
    /// hashes mean that the other has zeros from there on, and so will the file that is cut or
    /// extended to its length.
    fn compare(&self) -> Option<Bitfield> {
        let KnownHashes { piece_length, hashes } = self.repair.known.as_ref()?;
        let PieceHashes::Sha1(hashes) = hashes else { return None };
        let untouched = self.repair.base.seen == Some(self.before.seen())
            && is_settled(self.before.meta.modified);
        if !untouched || *piece_length != self.files.geometry.piece_length() {
            return None;
        }
        let mut right = Bitfield::new(self.had.len());
        let pairs = self.expected.iter().zip(hashes.iter()).zip((0..).map(PieceIndex));
        for ((expected, found), piece) in pairs {
            if expected == found {
                right.set(piece);
            }
        }
        Some(right)
    }
}
