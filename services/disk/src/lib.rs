//! Files on disk, the memory budget, hashing and resume files, trees with their metadata and the
//! hashes of earlier runs: what worlds share to get payload from memory to disk and back.
//!
//! A piece is hashed in memory before it is written, and never read back. A file stands under its
//! final name only when all of it is there, right and durable; until then it is a part file beside
//! its place. Nothing is claimed in a resume file that was not synced. Memory is bounded by one
//! [`Budget`] for the whole process, open files by a number, and syncs are batched. What is zeros
//! is a hole, and is neither written nor read. A file of other content is repaired beside its
//! place, so that who has it open sees the old one.
//!
//! This crate never decides what to fetch or whom to serve, never talks to the engine, never
//! follows a link that it finds in a folder, and never replaces a file that it was not told to
//! replace.
//!
//! ```
//! use dunlin_base::{FileIndex, PieceIndex, TorrentId};
//! use dunlin_hash::{HashJob, hash_pieces};
//! use dunlin_disk::{FilePlace, Fs, MemFs, Storage, StorageConfig};
//! use dunlin_metainfo::{HashKind, PieceHashes, SetFile, SetInfo};
//! use std::{path::Path, sync::Arc};
//!
//! let bytes = bytes::Bytes::from_static(b"hello");
//! let hashes = hash_pieces(&[HashJob { parts: vec![bytes.clone()], zeros: 16_384 - 5 }]);
//! let files = vec![SetFile { name: "greeting".into(), length: 5 }];
//! let info = SetInfo::new(HashKind::Sha1, 16_384, files, PieceHashes::Sha1(hashes.into()))?;
//!
//! let disk = MemFs::new();
//! let storage = Storage::new(StorageConfig::new(Arc::new(disk.clone()), "/out".into()));
//! let place = FilePlace::Wanted { dest: "/out/greeting".into(), replace: false };
//! let opened = storage.open(TorrentId(1), Arc::new(info.content(16_384)), vec![place])?;
//! assert_eq!(opened.have.count(), 0);
//! storage.write_piece(TorrentId(1), PieceIndex(0), &[bytes])?;
//! storage.finish_file(TorrentId(1), FileIndex(0))?;
//! assert_eq!(storage.close().finished, [(TorrentId(1), FileIndex(0))]);
//! assert_eq!(disk.read_all(Path::new("/out/greeting"), 100)?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod atomic;
mod budget;
mod buffers;
mod cache;
mod check;
mod checking;
mod checksum;
mod claiming;
mod claims;
mod clean;
mod copy;
mod create;
mod demote;
mod error;
mod fs;
#[doc(hidden)]
pub mod fuzzing;
mod hash_file;
mod holes;
mod lock;
mod lock_file;
#[cfg(feature = "test-fs")]
mod mem_fs;
mod mutex;
mod names;
mod open_files;
mod opening;
mod other_parts;
pub mod pieces;
mod places;
mod reading;
mod repair;
mod reports;
mod resume;
mod saving;
mod scan;
mod serving;
mod stamp;
mod state;
mod state_folders;
mod storage;
mod survey;
mod sync;
mod torrent_files;
mod torrents;
mod tree;
mod unchanged;
mod writing;

pub use atomic::{write_file, write_new};
pub use budget::{Budget, Charge, Queued, Waker, streamed};
pub use buffers::{Buffer, BufferPool};
pub use cache::{CachedHashes, HashCache};
pub use check::{CheckFiles, Checked};
pub use claims::PathClaims;
pub use clean::{CleanError, Leftover, find_leftovers, remove_leftovers};
pub use create::{NewSource, hash_new};
pub use error::{DiskError, DiskErrorKind, FaultKind, FileFault};
pub use fs::{
    DirEntry, FileKind, Fs, FsFile, Held, Look, Meta, RealFs, Seen, Unfit, allow_descriptors,
    create_output,
};
pub use hash_file::{HashedFile, hash_file, hash_file_and};
pub use lock::{LockError, OutputLock};
#[cfg(feature = "test-fs")]
pub use mem_fs::MemFs;
pub use names::{
    PART_SUFFIX, RUN_MARK, STATE_DIR, is_part_name, is_state_name, name_of, part_path, path_of,
};
pub use places::{Existing, FilePlace, KnownHashes, Repair, SourceFile, TorrentPlan};
pub use reports::{Counters, OpenStep, Opened, SyncReport};
pub use scan::PartClaim;
pub use serving::FileRange;
pub use state_folders::state_folder;
pub use storage::{Storage, StorageConfig};
pub use tree::{MetadataPreserver, Tree, TreeFile, Unkept, list_files, scan_tree};
