//! The files of one torrent: where each is, what of it is written, and what of that is durable.

use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{Fs, Look, Seen};
use crate::names::part_path;
use crate::places::{Existing, FilePlace, TorrentPlan};
use crate::resume::{Resume, ResumeFile, relative};
use crate::stamp::{Ending, Stamp};
use crate::state::{FileRecord, State};
use dunlin_base::{Bitfield, BlockRef, FileIndex, PieceIndex, TorrentId};
use dunlin_metainfo::{Content, Extent, Geometry, PieceHashes};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Bytes of a file in the state of a torrent.
const RECORD_WEIGHT: u64 = 33;

/// About as many bytes has a file in a resume file, beside its hashes.
const RESUME_WEIGHT: u64 = 200;

/// One torrent of one rank.
#[derive(Debug)]
pub(crate) struct TorrentFiles {
    pub(crate) id: TorrentId,
    pub(crate) content: Arc<Content>,
    /// That of the content.
    pub(crate) geometry: Geometry,
    /// How a torrent of the internet was opened; `None` for a set of a cluster.
    pub(crate) plan: Option<TorrentPlan>,
    pub(crate) sequence: u64,
    /// Whether what is known of the files is kept for the next run. What a `get` has left of them
    /// unfinished is not written over by somebody who only reads.
    pub(crate) keeps: bool,
    /// Pieces that are zeros: of files that are written they need nothing but a hole.
    pub(crate) zero_pieces: Bitfield,
    /// Held while a part file is made, so that it is made once. Taken before `inner`, never after.
    pub(crate) create_lock: Mutex<()>,
    pub(crate) inner: Mutex<Inner>,
}

/// What changes. The sets of pieces are disjoint.
#[derive(Debug)]
pub(crate) struct Inner {
    /// One a file. A torrent of the internet has one more: the store, for bytes of files that are
    /// not wanted, each at its place in the stream of the torrent.
    pub(crate) slots: Vec<Slot>,
    /// Right and synced: the resume file may claim them.
    pub(crate) durable: Bitfield,
    /// Right and handed to the operating system.
    pub(crate) written: Bitfield,
    /// Written before a sync that failed: the system may have dropped them while it still shows
    /// them. They are written once more before the next sync.
    pub(crate) suspect: Bitfield,
    /// Pieces of which anything was written since the torrent was opened.
    pub(crate) touched: Bitfield,
    /// Files with writes since the last sync.
    pub(crate) dirty: BTreeSet<u32>,
    /// Files whose part's name is new since the last sync.
    pub(crate) new_names: BTreeSet<u32>,
    /// When a durable resume file of this run was saved that names the files, and says that the run
    /// goes on.
    pub(crate) marked: Option<Instant>,
    /// The resume file says that the run that wrote it ended in order. Before anything is written,
    /// it must say something else.
    pub(crate) ended: bool,
    /// Whether the resume file says less than we know.
    pub(crate) changed: bool,
    /// Whether files look different from what the resume file says, though no more is known of
    /// them.
    pub(crate) moved: bool,
    /// Bytes that became durable since the resume file was saved.
    pub(crate) since_save: u64,
}

/// One file.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) place: FilePlace,
    pub(crate) part: PartFile,
    /// What is replaced under the final name.
    pub(crate) replaces: Replaces,
    /// The part file was made empty, so where nothing was written there are zeros.
    pub(crate) fresh: bool,
    /// There is no part file: the file is changed where it stands. So is the store.
    pub(crate) in_place: bool,
    /// Its part file, where another torrent has the one of the usual name.
    pub(crate) own_part: Option<PathBuf>,
    /// What the file was when it got its final name, where it must stay that.
    pub(crate) seen: Option<Seen>,
    /// What it looks like now, to be kept for the next run; `None` where it must be looked at
    /// again, since it was written.
    pub(crate) stamp: Option<Stamp>,
    /// Why a sync of the file failed. From then on pieces made of earlier blocks are suspects.
    pub(crate) fault: Option<DiskError>,
}

/// What may stand under a final name, and is replaced by the part file in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// Nothing.
    Nothing,
    /// The very file that was seen there. What comes in its place is somebody's who was not asked,
    /// or what another torrent has finished.
    This(Seen),
    /// Whatever stands there.
    Anything,
}

/// The part file of a file that is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartFile {
    /// There is none yet.
    None,
    /// One stands there with other content; it is removed before ours is made.
    Stale,
    /// It is there, with this inode.
    There(u64),
    /// It has its final name.
    Done,
}

/// Where the bytes of a file can be read.
#[derive(Clone, Debug)]
pub(crate) struct Readable {
    pub(crate) path: PathBuf,
    /// The inode of a part file.
    pub(crate) inode: Option<u64>,
    /// What a source must still be.
    pub(crate) seen: Option<Seen>,
}

impl Inner {
    /// No files yet, and nothing of `pieces` pieces.
    pub(crate) fn new(pieces: u32) -> Inner {
        Inner {
            slots: Vec::new(),
            durable: Bitfield::new(pieces),
            written: Bitfield::new(pieces),
            suspect: Bitfield::new(pieces),
            touched: Bitfield::new(pieces),
            dirty: BTreeSet::new(),
            new_names: BTreeSet::new(),
            marked: None,
            ended: false,
            changed: false,
            moved: false,
            since_save: 0,
        }
    }

    /// A file, or the store, was written.
    pub(crate) fn wrote(&mut self, file: FileIndex) {
        self.dirty.insert(file.0);
        self.moved = true;
        if let Some(slot) = self.slots.get_mut(file.index()) {
            slot.stamp = None;
        }
    }

    /// Looks at the files that were written since. Nobody can write to them unnoticed meanwhile:
    /// who has written waits for us, and says so afterwards.
    fn look_again(&mut self, fs: &dyn Fs) {
        for slot in self.slots.iter_mut().filter(|slot| slot.stamp.is_none()) {
            if let PartFile::There(inode) = slot.part {
                let now = fs.look(&slot.part_path()).ok().as_ref().and_then(Stamp::of);
                // Another file under its name was never ours.
                slot.stamp = now.filter(|now| now.inode == inode);
            }
        }
    }
}

impl Slot {
    /// A file of which nothing is here.
    pub(crate) fn new(place: FilePlace) -> Slot {
        Slot {
            place,
            part: PartFile::None,
            replaces: Replaces::Nothing,
            fresh: false,
            in_place: false,
            own_part: None,
            seen: None,
            stamp: None,
            fault: None,
        }
    }

    /// Whether what stands under the final name now may be replaced.
    pub(crate) fn may_replace(&self, fs: &dyn Fs) -> bool {
        match (self.replaces, self.dest()) {
            (Replaces::Nothing, _) | (_, None) => false,
            (Replaces::This(seen), Some(dest)) => fs.look(dest).is_ok_and(|now| now.seen() == seen),
            (Replaces::Anything, Some(_)) => true,
        }
    }

    /// Where the file will stand, if it is written here.
    pub(crate) fn dest(&self) -> Option<&Path> {
        match &self.place {
            FilePlace::Copy { dest, .. }
            | FilePlace::Wanted { dest, .. }
            | FilePlace::Skipped { dest } => Some(dest),
            FilePlace::Repair(repair) => Some(&repair.dest),
            FilePlace::Source(_) | FilePlace::Blocked { .. } | FilePlace::Absent => None,
        }
    }

    /// Where the file is while it is written.
    pub(crate) fn part_path(&self) -> PathBuf {
        match self.dest() {
            Some(dest) if self.in_place => dest.to_owned(),
            Some(dest) => self.own_part.clone().unwrap_or_else(|| part_path(dest)),
            None => PathBuf::new(),
        }
    }

    /// Any path that names the file for people.
    pub(crate) fn shown(&self) -> PathBuf {
        match &self.place {
            FilePlace::Source(source) => source.path.clone(),
            FilePlace::Copy { dest, .. }
            | FilePlace::Wanted { dest, .. }
            | FilePlace::Skipped { dest }
            | FilePlace::Blocked { dest, .. } => dest.clone(),
            FilePlace::Repair(repair) => repair.dest.clone(),
            FilePlace::Absent => PathBuf::new(),
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        matches!(self.place, FilePlace::Wanted { .. })
    }

    /// It was looked at, and what stands there was hashed as it looked, or is known from before.
    pub(crate) fn saw(&mut self, look: &Look) {
        (self.seen, self.stamp) = (Some(look.seen()), Stamp::of(look));
        if let FilePlace::Source(source) = &mut self.place {
            source.seen = self.seen;
        }
    }

    /// Whether the file's bytes are in the store.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.place, FilePlace::Skipped { .. })
            && matches!(self.part, PartFile::None | PartFile::Stale)
    }

    fn unfinished(&self) -> Option<&Path> {
        match &self.place {
            // Of a file that is changed where it stands nobody knows what a crash leaves of it.
            FilePlace::Wanted { dest, .. } if self.part != PartFile::Done && !self.in_place => {
                Some(dest)
            }
            _ => None,
        }
    }

    /// Where the bytes can be read now.
    pub(crate) fn readable(&self) -> Result<Readable, DiskError> {
        match (&self.place, self.part) {
            (
                FilePlace::Source(source)
                | FilePlace::Copy { source, .. }
                | FilePlace::Blocked { source: Some(source), .. },
                _,
            ) => Ok(Readable { path: source.path.clone(), inode: None, seen: source.seen }),
            (FilePlace::Wanted { .. } | FilePlace::Skipped { .. }, PartFile::There(inode)) => {
                Ok(Readable { path: self.part_path(), inode: Some(inode), seen: None })
            }
            (FilePlace::Wanted { dest, .. } | FilePlace::Skipped { dest }, PartFile::Done) => {
                Ok(Readable { path: dest.clone(), inode: None, seen: self.seen })
            }
            (FilePlace::Blocked { source: None, error, .. }, _) => Err(error.clone()),
            _ => Err(DiskError::new(self.shown(), DiskErrorKind::Misuse("read before written"))),
        }
    }
}

impl TorrentFiles {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the files are only read.
    pub(crate) fn is_read(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.existing == Existing::Read)
    }

    /// Whether a piece is a hole of a wanted file that is not made yet.
    pub(crate) fn is_unmade_hole(&self, piece: PieceIndex) -> bool {
        let unmade =
            |slot: &Slot| slot.is_wanted() && matches!(slot.part, PartFile::None | PartFile::Stale);
        let inner = self.zero_pieces.has(piece).then(|| self.inner());
        inner.is_some_and(|inner| {
            let slot = |file: u32| inner.slots.get(file as usize);
            self.geometry.piece_files(piece).filter_map(slot).any(unmade)
        })
    }

    /// The whole data of a piece.
    pub(crate) fn whole(&self, piece: PieceIndex) -> BlockRef {
        BlockRef { piece, begin: 0, len: self.geometry.data_len(piece) }
    }

    /// Where a piece that belongs to `file` alone is in it.
    pub(crate) fn place_in(&self, file: FileIndex, piece: PieceIndex) -> Range<u64> {
        let start = self.start_of(piece).saturating_sub(self.geometry.file_start(file));
        start..(start + u64::from(self.geometry.data_len(piece)))
    }

    /// Where a piece begins in the stream of the torrent.
    pub(crate) fn start_of(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.geometry.piece_length())
    }

    /// The index of the store.
    pub(crate) fn store(&self) -> FileIndex {
        FileIndex(self.geometry.files())
    }

    /// How long a file is, or the store.
    pub(crate) fn length_of(&self, file: FileIndex) -> u64 {
        if file == self.store() && self.plan.is_some() {
            u64::from(self.geometry.pieces()) * u64::from(self.geometry.piece_length())
        } else {
            self.geometry.file_length(file)
        }
    }

    /// Where a part of a file is now: in which file, or the store, and where in that.
    pub(crate) fn location(&self, inner: &Inner, extent: Extent) -> (FileIndex, u64) {
        match inner.slots.get(extent.file.index()) {
            Some(slot) if slot.is_stored() => {
                (self.store(), self.geometry.file_start(extent.file) + extent.offset)
            }
            _ => (extent.file, extent.offset),
        }
    }

    /// The hashes of the pieces of a file, each of which belongs to it alone; none if they are of
    /// another kind.
    pub(crate) fn file_hashes(&self, file: FileIndex) -> &[[u8; 20]] {
        file_hashes(&self.content, file)
    }

    /// Whether `test` holds of any file, or the store, that holds bytes of `piece`.
    pub(crate) fn any_location(
        &self,
        inner: &Inner,
        piece: PieceIndex,
        test: impl Fn(u32) -> bool,
    ) -> bool {
        self.geometry.extents(self.whole(piece)).any(|part| test(self.location(inner, part).0.0))
    }

    /// Whether every piece of `file` is in one of the sets that `held` looks at.
    pub(crate) fn all_pieces(&self, file: FileIndex, held: impl Fn(PieceIndex) -> bool) -> bool {
        self.geometry.file_pieces(file).all(|piece| held(PieceIndex(piece)))
    }

    /// What is kept of a torrent of the internet; `None` if nothing of it is here.
    pub(crate) fn state(&self, fs: &dyn Fs, root: &Path, ending: Ending) -> Option<State> {
        let plan = self.plan.as_ref()?;
        let mut inner = self.inner();
        inner.look_again(fs);
        let (store, slots) = inner.slots.split_last()?;
        let kept = |slot: &Slot| match (slot.part, slot.stamp) {
            (PartFile::There(_), Some(stamp)) => {
                FileRecord::Part { stamp, replaces: slot.replaces != Replaces::Nothing }
            }
            (PartFile::Done, Some(stamp)) => FileRecord::Done(stamp),
            _ if slot.is_stored() => FileRecord::Store,
            _ => FileRecord::Nowhere,
        };
        let files: Vec<_> = slots.iter().map(kept).collect();
        let store = store.stamp.filter(|_| matches!(store.part, PartFile::There(_)));
        let folder = relative(root, &plan.folder);
        let claimed = inner.durable.clone();
        inner.moved = false;
        Some(State { folder, claimed, files, store, ending, old: false })
    }

    /// About how many bytes is kept of it between runs: what saving it costs. `None` if there is
    /// nothing to keep.
    pub(crate) fn weight(&self) -> Option<u64> {
        if self.plan.is_some() {
            let files = self.content.files.len() as u64 * RECORD_WEIGHT;
            return Some(files + u64::from(self.geometry.pieces() / 8));
        }
        let inner = self.inner();
        let unfinished =
            inner.slots.iter().zip(0..).filter(|(slot, _)| slot.unfinished().is_some());
        let files = unfinished.map(|(_, file)| {
            self.geometry.file_pieces(FileIndex(file)).len() as u64 * 20 + RESUME_WEIGHT
        });
        files.reduce(|sum, file| sum + file)
    }

    /// What the resume file of a set should say; `None` if nothing is unfinished.
    pub(crate) fn resume(&self, fs: &dyn Fs, root: &Path, ending: Ending) -> Option<Resume> {
        let mut inner = self.inner();
        inner.look_again(fs);
        inner.moved = false;
        let unfinished = inner.slots.iter().enumerate();
        let files: Vec<_> = unfinished
            .filter_map(|(index, slot)| self.resume_file(&inner, index, slot.unfinished()?, root))
            .collect();
        (!files.is_empty()).then_some(Resume { sequence: self.sequence, files, ending })
    }

    fn resume_file(
        &self,
        inner: &Inner,
        index: usize,
        dest: &Path,
        root: &Path,
    ) -> Option<ResumeFile> {
        let file = self.content.files.get(index)?;
        let number = FileIndex(u32::try_from(index).ok()?);
        let hashes = self.file_hashes(number);
        let pieces = self.geometry.file_pieces(number);
        let mut claimed = Bitfield::new(pieces.len() as u32);
        for (place, piece) in pieces.enumerate() {
            if inner.durable.has(PieceIndex(piece)) {
                claimed.set(PieceIndex(place as u32));
            }
        }
        let slot = inner.slots.get(index)?;
        let part = slot.stamp.filter(|_| matches!(slot.part, PartFile::There(_)));
        Some(ResumeFile {
            name: file.name.clone(),
            dest: relative(root, dest),
            length: file.length,
            piece_length: self.geometry.piece_length(),
            part,
            claimed,
            hashes: hashes.to_vec(),
        })
    }
}

/// As [`TorrentFiles::file_hashes`].
pub(crate) fn file_hashes(content: &Content, file: FileIndex) -> &[[u8; 20]] {
    let PieceHashes::Sha1(hashes) = &content.hashes else { return &[] };
    let pieces = content.geometry.file_pieces(file);
    hashes.get(pieces.start as usize..pieces.end as usize).unwrap_or_default()
}
