//! Files that are owned at one place and wanted at another: shared where the file system can, or
//! else copied, and checked on the way.

use crate::error::{DiskError, DiskErrorKind};
use crate::fs::FsFile;
use crate::holes::is_hole;
use crate::names::part_path;
use crate::places::SourceFile;
use crate::storage::Storage;
use crate::torrent_files::{PartFile, TorrentFiles};
use crate::writing::write_data;
use bytes::Bytes;
use dunlin_base::{FileIndex, PieceIndex};
use dunlin_hash::PieceCheck;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Bytes that are copied at a time from a source to a place of our own.
const COPY: u64 = 256 * 1024;

impl Storage {
    /// Copies an owned file to its part file, checking every piece on the way.
    pub(crate) fn copy(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
        source: &SourceFile,
        dest: &Path,
    ) -> Result<(), DiskError> {
        let part = self.make_part(files, file, dest)?;
        let length = files.geometry.file_length(file);
        if self.share(source, &*part) {
            self.shared.fetch_add(length, Ordering::Relaxed);
            self.note_written(length);
            return Ok(());
        }
        let copied = self.copy_pieces(files, file, &source.path, dest, &*part);
        if copied.is_err() {
            let mut inner = files.inner();
            inner.dirty.remove(&file.0);
            inner.new_names.remove(&file.0);
            if let Some(slot) = inner.slots.get_mut(file.index()) {
                slot.part = PartFile::None;
            }
            drop(inner);
            // What is left of it is replaced when the copy is tried again.
            let _ = self.fs().remove_file(&part_path(dest));
        } else {
            self.shared.fetch_add(length, Ordering::Relaxed);
        }
        copied
    }

    /// Shares the bytes of a source that is still what its hashes were taken of.
    fn share(&self, source: &SourceFile, part: &dyn FsFile) -> bool {
        let Ok(from) = self.sources().open_read(&source.path) else { return false };
        let unchanged = || {
            let now = from.look().ok().map(|now| now.seen());
            now.is_some() && now == source.seen
        };
        unchanged() && self.fs().share(&*from, part).is_ok() && unchanged()
    }

    fn copy_pieces(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
        source: &Path,
        dest: &Path,
        part: &dyn FsFile,
    ) -> Result<(), DiskError> {
        let named = |error: io::Error| DiskError::io(source, &error);
        let part_name = part_path(dest);
        let length = files.geometry.file_length(file);
        // Every piece is hashed on the way, so a source that was written to and is right may pass.
        self.check_source(source, length)?;
        let from = self.sources().open_read(source).map_err(named)?;
        let data = from.data_ranges().map_err(named)?;
        // A try to share may have left something.
        let emptied = part.set_len(0).and_then(|()| part.set_len(length));
        emptied.map_err(|error| DiskError::io(&part_name, &error))?;
        let mut at = 0;
        for piece in files.geometry.file_pieces(file).map(PieceIndex) {
            let end = (at + u64::from(files.geometry.data_len(piece))).min(length);
            if files.zero_pieces.has(piece) && is_hole(&data, &(at..end)) {
                at = end;
                continue;
            }
            let Some(expected) = files.content.expected(piece) else { break };
            let mut hash = PieceCheck::new(&expected);
            while at < end {
                let mut buffer = vec![0; COPY.min(end - at) as usize];
                from.read_at(&mut buffer, at).map_err(named)?;
                hash.update(&buffer);
                let bytes = Bytes::from(buffer);
                let written = write_data(part, std::slice::from_ref(&bytes), at);
                written.map_err(|error| DiskError::io(&part_name, &error))?;
                at += bytes.len() as u64;
                self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                self.wrote.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            if !hash.matches() {
                return Err(DiskError::new(source, DiskErrorKind::Changed));
            }
        }
        self.note_written(length);
        Ok(())
    }
}
