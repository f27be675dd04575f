//! Reading what is here: blocks and whole pieces for peers, ranges of files for the kernel to send.
//!
//! A file that stands under its final name, or is only read, must still look as it did when its
//! hashes were taken; otherwise it is not served.

use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{Fs, FsFile};
use crate::places::FilePlace;
use crate::storage::Storage;
use crate::torrent_files::{Readable, TorrentFiles};
use bytes::Bytes;
use dunlin_base::{BlockRef, FileIndex, PieceIndex, TorrentId};
use dunlin_hash::leaf_hashes;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A part of an open file that the kernel can send by itself.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file. Its own position means nothing.
    pub file: Arc<File>,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u32,
}

impl Storage {
    /// Reads a block from wherever it is: a source, a part file, the finished file, or the store.
    ///
    /// # Errors
    /// If it cannot be read; `Changed` if a source or a finished file is not what it was.
    pub fn read_block(&self, torrent: TorrentId, block: BlockRef) -> Result<Bytes, DiskError> {
        let files = self.torrent(torrent)?;
        self.read_from(&files, block)
    }

    /// Reads any part of a piece, in bytes, so that many blocks can be served from it.
    ///
    /// # Errors
    /// As [`Storage::read_block`].
    pub fn read_piece(
        &self,
        torrent: TorrentId,
        piece: PieceIndex,
        range: Range<u32>,
    ) -> Result<Bytes, DiskError> {
        let len = range.end.saturating_sub(range.start);
        self.read_block(torrent, BlockRef { piece, begin: range.start, len })
    }

    /// The SHA-256 of each block of 16 KiB of a piece that is here (BEP 52).
    ///
    /// # Errors
    /// As [`Storage::read_block`].
    pub fn hash_blocks(
        &self,
        torrent: TorrentId,
        piece: PieceIndex,
    ) -> Result<Vec<[u8; 32]>, DiskError> {
        let files = self.torrent(torrent)?;
        Ok(leaf_hashes(&[self.read_from(&files, files.whole(piece))?]))
    }

    /// Where a block lies in one open file, so that the kernel can send it. The file looked right
    /// just now. `None` where it must be read instead: it is spread over files, not in a file of
    /// this machine, or the file has changed.
    #[must_use]
    pub fn file_range(&self, torrent: TorrentId, block: BlockRef) -> Option<FileRange> {
        let files = self.torrent(torrent).ok()?;
        self.check_block(&files, block).ok()?;
        if files.is_unmade_hole(block.piece) {
            return None;
        }
        let extent = files.geometry.extents(block).next().filter(|part| part.len == block.len)?;
        let (location, offset) = files.location(&files.inner(), extent);
        let (file, from) = self.readable(&files, location).ok()?;
        if !is_unchanged(true, &from, &*file).unwrap_or(false) {
            return None;
        }
        let file = file.system_file()?;
        self.read.fetch_add(u64::from(block.len), Ordering::Relaxed);
        Some(FileRange { file, offset, len: block.len })
    }

    /// A block is never longer than a piece; this bounds the buffer.
    fn check_block(&self, files: &TorrentFiles, block: BlockRef) -> Result<(), DiskError> {
        let end = block.begin.checked_add(block.len);
        let inside = files.geometry.piece(block.piece.0).is_some()
            && end.is_some_and(|end| end <= files.geometry.served_len(block.piece));
        match inside {
            true => Ok(()),
            false => Err(DiskError::misuse(&self.config.root, "a block outside of its piece")),
        }
    }

    pub(crate) fn read_from(
        &self,
        files: &TorrentFiles,
        block: BlockRef,
    ) -> Result<Bytes, DiskError> {
        self.check_block(files, block)?;
        let mut buffer = self.config.buffers.take(block.len as usize);
        if files.is_unmade_hole(block.piece) {
            buffer.bytes_mut().fill(0);
            return Ok(buffer.freeze());
        }
        let start = files.start_of(block.piece) + u64::from(block.begin);
        let mut filled = 0;
        for extent in files.geometry.extents(block) {
            let at = (files.geometry.file_start(extent.file) + extent.offset - start) as usize;
            let end = at + extent.len as usize;
            let (location, offset) = files.location(&files.inner(), extent);
            // What no file covers is padding, and padding is zeros (BEP 47).
            if let Some(padding) = buffer.bytes_mut().get_mut(filled..at) {
                padding.fill(0);
            }
            let Some(place) = buffer.bytes_mut().get_mut(at..end) else { break };
            self.read_location(files, location, offset, place, true)?;
            filled = end;
        }
        if let Some(padding) = buffer.bytes_mut().get_mut(filled..) {
            padding.fill(0);
        }
        self.read.fetch_add(u64::from(block.len), Ordering::Relaxed);
        Ok(buffer.freeze())
    }

    /// Reads from one file, or the store; `to_give` if whoever gets the bytes hashes them.
    pub(crate) fn read_location(
        &self,
        files: &TorrentFiles,
        location: FileIndex,
        offset: u64,
        place: &mut [u8],
        to_give: bool,
    ) -> Result<(), DiskError> {
        let (file, from) = self.readable(files, location)?;
        let named = |error: io::Error| DiskError::io(&from.path, &error);
        file.read_at(place, offset).map_err(named)?;
        // Looked at after the read: what was written before it shows.
        if !is_unchanged(to_give, &from, &*file).map_err(named)? {
            self.files.remove((files.id, location));
            return Err(DiskError::new(from.path, DiskErrorKind::Changed));
        }
        Ok(())
    }

    /// An open file to read from, and where it is.
    fn readable(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
    ) -> Result<(Arc<dyn FsFile>, Readable), DiskError> {
        let place = || match files.inner().slots.get(file.index()) {
            Some(slot) => slot.readable(),
            None => Err(DiskError::misuse(&self.config.root, "a file that the torrent has not")),
        };
        let from = place()?;
        match self.open_file(files, file, &from.path, from.inode) {
            // Renamed to its final name meanwhile.
            Err(error) if from.inode.is_some() => match place()? {
                now if now.path != from.path => {
                    Ok((self.open_file(files, file, &now.path, now.inode)?, now))
                }
                _ => Err(error),
            },
            opened => Ok((opened?, from)),
        }
    }

    /// The file system by which a file is read that has its final name, or is a source.
    fn reads(&self, files: &TorrentFiles, file: FileIndex) -> &dyn Fs {
        let inner = files.inner();
        match inner.slots.get(file.index()).map(|slot| &slot.place) {
            Some(FilePlace::Source(_) | FilePlace::Copy { .. }) => self.sources(),
            _ => self.fs(),
        }
    }

    /// Opens a file that is there; a part file (one with an `inode`) for writing, too.
    pub(crate) fn open_file(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
        path: &Path,
        inode: Option<u64>,
    ) -> Result<Arc<dyn FsFile>, DiskError> {
        let key = (files.id, file);
        if let Some(open) = self.files.get(key) {
            return Ok(open);
        }
        let named = |error: io::Error| DiskError::io(path, &error);
        self.files.make_room();
        let opened = match inode {
            // Another thread may give it its final name just now: it must not be made again.
            Some(inode) => match self.fs().open_update(path, inode) {
                // A run that was killed had set its metadata already.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let again = || self.fs().open_update(path, inode);
                    let mode = self.fs().set_mode_of(path, inode, &|_| 0o600);
                    mode.and_then(|()| again())
                }
                opened => opened,
            },
            None => self.reads(files, file).open_read(path),
        };
        let opened = opened.map_err(named)?;
        let there = opened.meta().map_err(named)?;
        // Somebody else's file under our name must not be taken for ours.
        let same =
            there.len == files.length_of(file) && inode.is_none_or(|inode| inode == there.inode);
        if !same {
            return Err(DiskError::new(path, DiskErrorKind::Changed));
        }
        self.files.put(key, &opened);
        Ok(opened)
    }
}

/// Whether a file is what it was when its hashes were taken. Rights are set, and a backup or a
/// neighbour gives it further names, while it is served: there the time of writing must do, since
/// whoever gets the bytes hashes them.
fn is_unchanged(to_give: bool, from: &Readable, file: &dyn FsFile) -> io::Result<bool> {
    let Some(seen) = from.seen else { return Ok(true) };
    let now = file.look()?.seen();
    Ok(if to_give { now.meta == seen.meta } else { now == seen })
}
