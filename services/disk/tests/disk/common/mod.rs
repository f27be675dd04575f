//! A small set of files with known content, and the steps of a download.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod torrent;

use bytes::Bytes;
use dunlin_base::{BlockRef, FileIndex, PieceIndex, Rng, TorrentId};
use dunlin_disk::{DiskError, FilePlace, Fs, Opened, Storage, StorageConfig};
use dunlin_hash::{HashJob, hash_pieces};
use dunlin_metainfo::{Geometry, HashKind, PieceHashes, SetFile, SetInfo};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const PIECE: u32 = 16_384;
pub const BLOCK: u32 = 4_096;
pub const T: TorrentId = TorrentId(1);

/// A set and what its files hold.
#[derive(Clone)]
pub struct Set {
    pub info: Arc<SetInfo>,
    pub geometry: Geometry,
    pub contents: Vec<Vec<u8>>,
    pub root: PathBuf,
}

impl Set {
    /// Files of these names and lengths, with content drawn by `seed`.
    pub fn new(root: &Path, files: &[(&str, usize)], seed: u64) -> Set {
        Set::with_pieces(root, files, seed, PIECE)
    }

    /// The same with pieces of another length.
    pub fn with_pieces(root: &Path, files: &[(&str, usize)], seed: u64, piece: u32) -> Set {
        let mut rng = Rng::new(seed);
        let mut fill = |len: &usize| (0..*len).map(|_| rng.next_u64() as u8 | 1).collect();
        let contents: Vec<Vec<u8>> = files.iter().map(|(_, len)| fill(len)).collect();
        Set::of(root, files.iter().map(|(name, _)| (*name).to_owned()).collect(), contents, piece)
    }

    fn of(root: &Path, names: Vec<String>, contents: Vec<Vec<u8>>, piece: u32) -> Set {
        let hashes: Vec<_> = contents.iter().flat_map(|bytes| hashes_of(bytes, piece)).collect();
        let listed = names.into_iter().zip(&contents);
        let listed = listed.map(|(name, c)| SetFile { name, length: c.len() as u64 });
        let hashes = PieceHashes::Sha1(hashes.into());
        let info = SetInfo::new(HashKind::Sha1, piece, listed.collect(), hashes).unwrap();
        let geometry = info.geometry(BLOCK);
        Set { info: Arc::new(info), geometry, contents, root: root.to_owned() }
    }

    /// The same files, hashed again after their contents were changed.
    pub fn rehashed(self) -> Set {
        let names = self.info.files.iter().map(|file| file.name.clone()).collect();
        Set::of(&self.root, names, self.contents, self.info.piece_length)
    }

    pub fn dest(&self, file: usize) -> PathBuf {
        self.root.join(&self.info.files[file].name)
    }

    pub fn wanted(&self, replace: bool) -> Vec<FilePlace> {
        let place = |file| FilePlace::Wanted { dest: self.dest(file), replace };
        (0..self.contents.len()).map(place).collect()
    }

    pub fn open(&self, storage: &Storage, places: Vec<FilePlace>) -> Result<Opened, DiskError> {
        storage.open(T, Arc::new(self.info.content(BLOCK)), places)
    }

    pub fn whole(&self, piece: PieceIndex) -> BlockRef {
        BlockRef { piece, begin: 0, len: self.geometry.data_len(piece) }
    }

    pub fn bytes(&self, block: BlockRef) -> Bytes {
        let mut bytes = Vec::new();
        for extent in self.geometry.extents(block) {
            let start = extent.offset as usize;
            let file = &self.contents[extent.file.index()];
            bytes.extend_from_slice(&file[start..start + extent.len as usize]);
        }
        Bytes::from(bytes)
    }

    pub fn write(&self, storage: &Storage, piece: u32) -> Result<(), DiskError> {
        let piece = PieceIndex(piece);
        let bytes = self.bytes(self.whole(piece));
        // In several parts, as blocks arrive.
        let parts: Vec<_> = (0..bytes.len())
            .step_by(BLOCK as usize)
            .map(|at| bytes.slice(at..bytes.len().min(at + BLOCK as usize)))
            .collect();
        storage.write_piece(T, piece, &parts)
    }

    /// The same piece, block by block.
    pub fn stream(&self, storage: &Storage, piece: u32) -> Result<(), DiskError> {
        let piece = PieceIndex(piece);
        for index in 0..self.geometry.blocks(piece) {
            let block = self.geometry.block(piece, index);
            storage.write_block(T, block, &self.bytes(block))?;
        }
        storage.verified(T, piece);
        Ok(())
    }

    pub fn write_all(&self, storage: &Storage) -> Result<(), DiskError> {
        (0..self.geometry.pieces()).try_for_each(|piece| self.write(storage, piece))
    }

    pub fn finish_all(&self, storage: &Storage) -> Result<(), DiskError> {
        (0..self.geometry.files()).try_for_each(|file| storage.finish_file(T, FileIndex(file)))
    }

    /// Every final name stands for the right content.
    pub fn assert_done(&self, fs: &dyn Fs) {
        for (file, content) in self.contents.iter().enumerate() {
            let found = fs.read_all(&self.dest(file), 1 << 30).unwrap();
            assert!(found == *content, "{} is wrong", self.dest(file).display());
        }
        assert_eq!(dunlin_disk::find_leftovers(fs, &self.root).unwrap(), []);
    }
}

pub fn storage(fs: &(impl Fs + Clone + 'static), root: &Path) -> Storage {
    Storage::new(StorageConfig::new(Arc::new(fs.clone()), root.to_owned()))
}

/// The hashes of a file's pieces, padded to whole ones.
pub fn hashes_of(bytes: &[u8], piece: u32) -> Vec<[u8; 20]> {
    let job = |part: &[u8]| HashJob {
        parts: vec![Bytes::copy_from_slice(part)],
        zeros: piece - part.len() as u32,
    };
    hash_pieces(&bytes.chunks(piece as usize).map(job).collect::<Vec<_>>())
}
