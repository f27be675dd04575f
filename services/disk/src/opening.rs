//! Opening a torrent: what is here already, and room for what is not.

use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{FileKind, Seen};
use crate::holes::is_hole;
use crate::lock::run_below;
use crate::mutex::lock;
use crate::names::{folder_of, part_path};
use crate::other_parts::OtherParts;
use crate::places::{FilePlace, Repair};
use crate::reports::Opened;
use crate::scan::PartCheck;
use crate::stamp::Stamp;
use crate::storage::Storage;
use crate::torrent_files::{Inner, PartFile, Replaces, Slot, TorrentFiles, file_hashes};
use dunlin_base::{Bitfield, BlockRef, FileIndex, PieceIndex, TorrentId};
use dunlin_metainfo::{Content, Geometry, HashKind, PieceHashes, zero_hash};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

impl Storage {
    /// Opens the files of a torrent, one place a file. All pieces of sources are there; of wanted
    /// files, those that earlier runs left, if they match the hashes. Folders are made, part files
    /// only at the first write.
    ///
    /// # Errors
    /// If a source is missing, has another length or is not what was seen, or a folder cannot be
    /// made; `Claimed` if another run works in a folder below the root; `Interrupted` if the
    /// storage is told to stop meanwhile.
    pub fn open(
        &self,
        torrent: TorrentId,
        content: Arc<Content>,
        places: Vec<FilePlace>,
    ) -> Result<Opened, DiskError> {
        let geometry = content.geometry.clone();
        if content.hashes.kind() != HashKind::Sha1 || !own_pieces(&geometry) {
            return Err(DiskError::misuse(&self.config.root, "a set whose files share pieces"));
        }
        self.check_open(torrent, &content, places.len())?;
        let pieces = geometry.pieces();
        let mut inner = Inner::new(pieces);
        let mut have = Bitfield::new(pieces);
        let mut folders = BTreeSet::new();
        let zero_pieces = zero_pieces(&content);
        let mut repairs = Vec::new();
        for (place, index) in places.into_iter().zip(0..) {
            let file = FileIndex(index);
            let mut place = self.passable(&content, file, place);
            let replace = match &place {
                FilePlace::Wanted { replace, .. } => *replace,
                FilePlace::Repair(_) => true,
                FilePlace::Copy { dest, .. } => self.fs().metadata(dest).is_ok(),
                FilePlace::Source(_)
                | FilePlace::Skipped { .. }
                | FilePlace::Blocked { .. }
                | FilePlace::Absent => false,
            };
            if let FilePlace::Source(source)
            | FilePlace::Copy { source, .. }
            | FilePlace::Blocked { source: Some(source), .. } = &mut place
            {
                let now = self.check_source(&source.path, geometry.file_length(file))?;
                // Who gave it a further name since, as a neighbour does, has left it as it is;
                // where its bytes are taken unread, more is asked.
                if source.seen.get_or_insert(now).meta != now.meta {
                    return Err(DiskError::new(&source.path, DiskErrorKind::Changed));
                }
                geometry.file_pieces(file).for_each(|piece| _ = have.set(PieceIndex(piece)));
            }
            if let FilePlace::Repair(repair) = place {
                let dest = repair.dest.clone();
                place = FilePlace::Wanted { dest, replace };
                repairs.push((file, *repair));
            }
            let replaces = if replace { Replaces::Anything } else { Replaces::Nothing };
            let slot = Slot { replaces, ..Slot::new(place) };
            folders.extend(slot.dest().map(|dest| folder_of(dest).to_owned()));
            inner.slots.push(slot);
            self.resume_part(&content, &mut inner, file)?;
        }
        if let Some((folder, by)) = run_below(self.fs(), &self.config.root, &folders) {
            return Err(DiskError::new(folder, DiskErrorKind::Claimed { by }));
        }
        if !self.config.placing {
            self.make_folders(&folders)?;
        }
        let resumed = inner.durable.count() + inner.written.count();
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let (create_lock, inner) = (Mutex::default(), Mutex::new(inner));
        let (id, plan, keeps) = (torrent, None, true);
        let files = TorrentFiles {
            id,
            content,
            geometry,
            plan,
            sequence,
            keeps,
            zero_pieces,
            create_lock,
            inner,
        };
        for (file, repair) in repairs {
            self.begin_repair(&files, file, repair)?;
        }
        self.add_holes(&files)?;
        let inner = files.inner();
        have.union_with(&inner.durable);
        have.union_with(&inner.written);
        let unsynced = u64::from(inner.written.count()) * u64::from(files.geometry.piece_length());
        drop(inner);
        lock(&self.torrents).insert(torrent, Arc::new(files));
        if unsynced > 0 {
            self.note_written(unsynced);
        }
        Ok(Opened { have, resumed, checked: 0, faults: Vec::new() })
    }

    /// The files of an open torrent that cannot be written, with the reasons. Those that are owned
    /// are left out: they are whole, and fail when they are finished.
    #[must_use]
    pub fn blocked(&self, torrent: TorrentId) -> Vec<(FileIndex, DiskError)> {
        let Ok(files) = self.torrent(torrent) else { return Vec::new() };
        let inner = files.inner();
        let places = inner.slots.iter().map(|slot| &slot.place).zip((0..).map(FileIndex));
        let blocked = places.filter_map(|(place, file)| match place {
            FilePlace::Blocked { source: None, error, .. } => Some((file, error.clone())),
            _ => None,
        });
        blocked.collect()
    }

    /// Whether a torrent with so many files may be opened.
    pub(crate) fn check_open(
        &self,
        torrent: TorrentId,
        content: &Content,
        files: usize,
    ) -> Result<(), DiskError> {
        let geometry = &content.geometry;
        if files != content.files.len()
            || geometry.files() as usize != files
            || geometry.pieces() as usize != content.hashes.len()
        {
            return Err(DiskError::misuse(
                &self.config.root,
                "places, files and pieces that do not agree",
            ));
        }
        if lock(&self.torrents).contains_key(&torrent) {
            return Err(DiskError::misuse(&self.config.root, "a torrent that is open already"));
        }
        Ok(())
    }

    /// The place of a file that is written, or why it cannot be: something stands in the way.
    /// Without a tree to keep that is for the first write to find.
    fn passable(&self, content: &Content, file: FileIndex, place: FilePlace) -> FilePlace {
        let dest = match &place {
            FilePlace::Copy { dest, .. } | FilePlace::Wanted { dest, .. } => dest.clone(),
            FilePlace::Repair(repair) => repair.dest.clone(),
            FilePlace::Source(_)
            | FilePlace::Skipped { .. }
            | FilePlace::Blocked { .. }
            | FilePlace::Absent => return place,
        };
        let preserver = self.preserver().filter(|_| self.config.placing);
        let (Some(preserver), Some(named)) = (preserver, content.files.get(file.index())) else {
            return place;
        };
        let clear = preserver.clear_way(&named.name).and_then(|()| match self.fs().look(&dest) {
            Ok(look) if look.kind != FileKind::File => {
                Err(DiskError::new(&dest, DiskErrorKind::Exists))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::io(&dest, &error))
            }
            _ => Ok(()),
        });
        match clear {
            Ok(()) => place,
            Err(error) => {
                let source = match place {
                    FilePlace::Copy { source, .. } => Some(source),
                    _ => None,
                };
                FilePlace::Blocked { dest, source, error }
            }
        }
    }

    /// What another content that stands there has in common with a file. If that goes wrong, the
    /// file fails by itself.
    fn begin_repair(
        &self,
        files: &TorrentFiles,
        file: FileIndex,
        repair: Repair,
    ) -> Result<(), DiskError> {
        let dest = repair.dest.clone();
        match self.repair(files, file, repair) {
            Err(error) if error.kind != DiskErrorKind::Interrupted && self.config.placing => {
                if let Some(slot) = files.inner().slots.get_mut(file.index()) {
                    slot.place = FilePlace::Blocked { dest, source: None, error };
                }
                Ok(())
            }
            done => done,
        }
    }

    /// Pieces of zeros are there wherever nothing else is.
    pub(crate) fn add_holes(&self, files: &TorrentFiles) -> Result<(), DiskError> {
        if files.zero_pieces.count() == 0 {
            return Ok(());
        }
        for file in (0..files.geometry.files()).map(FileIndex) {
            let state = files
                .inner()
                .slots
                .get(file.index())
                .filter(|slot| slot.is_wanted())
                .map(|slot| (slot.part, slot.part_path()));
            let Some((part, path)) = state else { continue };
            let zeros = files.geometry.file_pieces(file).map(PieceIndex);
            let zeros: Vec<_> = zeros.filter(|piece| files.zero_pieces.has(*piece)).collect();
            if zeros.is_empty() {
                continue;
            }
            let data = match part {
                // The part will be made of nothing but holes.
                PartFile::None | PartFile::Stale => None,
                PartFile::There(_) => {
                    let named = |error: io::Error| DiskError::io(&path, &error);
                    let open = self.fs().open_read(&path).map_err(named)?;
                    Some(open.data_ranges().map_err(named)?)
                }
                PartFile::Done => continue,
            };
            let mut inner = files.inner();
            for piece in zeros {
                let had = inner.durable.has(piece) || inner.written.has(piece);
                match &data {
                    None => _ = inner.durable.set(piece),
                    Some(data) if !had && is_hole(data, &files.place_in(file, piece)) => {
                        inner.written.set(piece);
                        inner.dirty.insert(file.0);
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    pub(crate) fn check_source(&self, source: &Path, length: u64) -> Result<Seen, DiskError> {
        let named = |error: io::Error| DiskError::io(source, &error);
        let look = self.sources().open_read(source).and_then(|file| file.look()).map_err(named)?;
        if look.kind == FileKind::File && look.meta.len == length {
            return Ok(look.seen());
        }
        Err(DiskError::new(source, DiskErrorKind::Changed))
    }

    /// Takes over the part file that an earlier run left of a wanted file, if there is one.
    fn resume_part(
        &self,
        content: &Content,
        inner: &mut Inner,
        file: FileIndex,
    ) -> Result<(), DiskError> {
        let geometry = &content.geometry;
        let Some(slot) = inner.slots.get_mut(file.index()) else { return Ok(()) };
        let FilePlace::Wanted { dest, .. } = &slot.place else { return Ok(()) };
        let claim = self.with_leftovers(|leftovers| leftovers.parts.remove(dest))?;
        let part = part_path(dest);
        let named = |error: io::Error| DiskError::io(&part, &error);
        let look = match self.fs().look(&part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            look => look.map_err(named)?,
        };
        let (length, piece_length) = (geometry.file_length(file), geometry.piece_length());
        slot.part = PartFile::Stale;
        let name = content.files.get(file.index()).map_or("", |file| file.name.as_str());
        // One that a torrent goes on with is replaced: nobody else writes to it.
        let theirs = || OtherParts::new(self, content.info_hash).has(look.meta.inode);
        let ours = self.is_own_part(&part, &look, name) && !self.fs().is_barred(&part);
        let ours = ours && !theirs();
        if !ours || look.meta.len != length {
            return Ok(());
        }
        let now = Stamp::of(&look);
        let hashes = file_hashes(content, file);
        let same = claim.filter(|found| {
            let file = &found.file;
            file.length == length
                && file.piece_length == piece_length
                && file.hashes == hashes
                && now == Some(found.stamp)
        });
        let (durable, pieces) = match same {
            Some(found) => (found.durable, found.pieces),
            None => {
                let none = Bitfield::new(hashes.len() as u32);
                let opened = self.fs().open_read(&part).map_err(named)?;
                let check = PartCheck { piece_length, length, stop: &self.config.stop };
                let pieces = check.rescue(&*opened, hashes, &none).map_err(named)?;
                (none, pieces)
            }
        };
        if pieces.count() == 0 {
            return Ok(());
        }
        slot.part = PartFile::There(look.meta.inode);
        let first = geometry.file_pieces(file).start;
        for piece in pieces.ones() {
            let set = if durable.has(piece) { &mut inner.durable } else { &mut inner.written };
            set.set(PieceIndex(first + piece.0));
        }
        if pieces.count() > durable.count() {
            inner.dirty.insert(file.0);
            inner.new_names.insert(file.0);
        }
        Ok(())
    }

    /// Makes folders that are not there, durably.
    pub(crate) fn make_folders(&self, folders: &BTreeSet<PathBuf>) -> Result<(), DiskError> {
        let mut parents = BTreeSet::new();
        for folder in folders {
            let missing = folder.ancestors().take_while(|above| {
                !above.as_os_str().is_empty() && self.fs().metadata(above).is_err()
            });
            let new: Vec<_> = missing.map(|above| folder_of(above).to_owned()).collect();
            self.fs().create_dir_all(folder).map_err(|error| DiskError::io(folder, &error))?;
            parents.extend(new);
        }
        let parents: Vec<_> = parents.into_iter().collect();
        for (index, error) in self.sync_paths(&parents) {
            let path = parents.get(index).map_or(Path::new(""), PathBuf::as_path);
            // A folder that we may enter but not read cannot be synced; its names last anyway.
            if error.kind() != io::ErrorKind::PermissionDenied {
                return Err(DiskError::io(path, &error));
            }
        }
        Ok(())
    }
}

/// Whether no piece belongs to two files.
fn own_pieces(geometry: &Geometry) -> bool {
    let mut next = 0;
    (0..geometry.files()).map(|file| geometry.file_pieces(FileIndex(file))).all(|pieces| {
        let apart = pieces.is_empty() || pieces.start >= next;
        next = next.max(pieces.end);
        apart
    })
}

/// The pieces that are zeros and belong to one file alone, or to none: those are padding.
pub(crate) fn zero_pieces(content: &Content) -> Bitfield {
    let geometry = &content.geometry;
    let mut zeros = Bitfield::new(geometry.pieces());
    let PieceHashes::Sha1(hashes) = &content.hashes else { return zeros };
    let (whole, last) = (geometry.piece_length(), PieceIndex(geometry.pieces().saturating_sub(1)));
    let known = [zero_hash(whole), zero_hash(geometry.hashed_len(last))];
    for (hash, piece) in hashes.iter().zip((0..geometry.pieces()).map(PieceIndex)) {
        let short = piece == last && geometry.hashed_len(last) < whole;
        if *hash != known[usize::from(short)] {
            continue;
        }
        let len = geometry.data_len(piece);
        let mut parts = geometry.extents(BlockRef { piece, begin: 0, len });
        if parts.next().is_none_or(|part| part.len == len) {
            zeros.set(piece);
        }
    }
    zeros
}
