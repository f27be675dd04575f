//! Torrents of the internet with known content, in each layout.

use super::{BLOCK, PIECE, T, hashes_of};
use bytes::Bytes;
use dunlin_base::{BlockRef, FileIndex, InfoHash, PieceIndex, Rng};
use dunlin_disk::{DiskError, Existing, Fs, Opened, Storage, TorrentPlan};
use dunlin_hash::{PieceJob, hash_pieces, merkle_root, verify_pieces};
use dunlin_metainfo::{Content, ContentFile, Entry, Geometry, PieceHashes};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How files are laid out in pieces, and hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Files share pieces (BEP 3).
    Shared,
    /// Files share pieces, and there is padding in the middle of some (BEP 47).
    Padded,
    /// Each file begins a piece; trees of hashes (BEP 52).
    Trees,
}

pub const KINDS: [Kind; 3] = [Kind::Shared, Kind::Padded, Kind::Trees];

/// A torrent and what its files hold; padding is an entry, too.
#[derive(Clone)]
pub struct Torrent {
    pub content: Arc<Content>,
    pub contents: Vec<Vec<u8>>,
    pub root: PathBuf,
}

impl Torrent {
    /// Files of these names and lengths below `t/`, with content drawn by `seed`.
    pub fn new(root: &Path, kind: Kind, files: &[(&str, usize)], seed: u64) -> Torrent {
        let mut rng = Rng::new(seed);
        let mut fill = |len: usize| (0..len).map(|_| rng.next_u64() as u8 | 1).collect();
        let contents = files.iter().map(|(_, len)| fill(*len)).collect();
        let names = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        Torrent::of(root, kind, names, contents)
    }

    /// Files with this content.
    pub fn of(root: &Path, kind: Kind, names: Vec<String>, contents: Vec<Vec<u8>>) -> Torrent {
        let lengths: Vec<u64> = contents.iter().map(|file| file.len() as u64).collect();
        let file = |(name, file): (&String, &Vec<u8>)| ContentFile {
            name: format!("t/{name}"),
            length: file.len() as u64,
            ..ContentFile::default()
        };
        let mut files: Vec<_> = names.iter().zip(&contents).map(file).collect();
        let mut held = contents;
        let geometry = match kind {
            Kind::Shared => Geometry::contiguous(PIECE, BLOCK, &lengths),
            Kind::Trees => Geometry::aligned(PIECE, BLOCK, &lengths),
            Kind::Padded => {
                // 100 bytes behind each file.
                let with_padding = |length: &u64| {
                    let (length, pad) = (*length, false);
                    [Entry { length, pad }, Entry { length: 100, pad: true }]
                };
                files = files.into_iter().flat_map(|file| [file, ContentFile::default()]).collect();
                held = held.into_iter().flat_map(|file| [file, Vec::new()]).collect();
                let entries: Vec<_> = lengths.iter().flat_map(with_padding).collect();
                Geometry::padded(PIECE, BLOCK, &entries)
            }
        }
        .unwrap();
        let mut torrent = Torrent {
            content: Arc::new(Content {
                info_hash: InfoHash([9; 20]),
                files,
                hashes: PieceHashes::Sha1(Arc::default()),
                geometry,
            }),
            contents: held,
            root: root.to_owned(),
        };
        let hashes = torrent.hash(kind);
        Arc::make_mut(&mut torrent.content).hashes = hashes;
        torrent
    }

    fn hash(&self, kind: Kind) -> PieceHashes {
        let geometry = &self.content.geometry;
        let pieces = (0..geometry.pieces()).map(PieceIndex);
        let data = |piece| self.bytes(self.whole(piece));
        if kind == Kind::Trees {
            // No file here is shorter than a block, so a piece has one leaf or is its file's only
            // one.
            assert_eq!(PIECE, dunlin_metainfo::BLOCK_LENGTH);
            return PieceHashes::Merkle(pieces.map(|p| merkle_root(&[data(p)], 1)).collect());
        }
        let hash = |piece| {
            let zeros = geometry.hashed_len(piece) - geometry.data_len(piece);
            let job = dunlin_hash::HashJob { parts: vec![data(piece)], zeros };
            hash_pieces(&[job])[0]
        };
        PieceHashes::Sha1(pieces.map(hash).collect())
    }

    pub fn dest(&self, file: usize) -> PathBuf {
        self.root.join(&self.content.files[file].name)
    }

    pub fn is_padding(&self, file: usize) -> bool {
        self.content.files[file].name.is_empty()
    }

    /// Everything is wanted.
    pub fn plan(&self, existing: Existing) -> TorrentPlan {
        self.plan_for(existing, |_| true)
    }

    pub fn plan_for(&self, existing: Existing, wanted: impl Fn(usize) -> bool) -> TorrentPlan {
        let wanted = self.wanted(wanted);
        TorrentPlan {
            content: Arc::clone(&self.content),
            folder: self.root.clone(),
            wanted,
            existing,
            roots: Vec::new(),
        }
    }

    pub fn wanted(&self, wanted: impl Fn(usize) -> bool) -> Vec<bool> {
        (0..self.contents.len()).map(|file| wanted(file) && !self.is_padding(file)).collect()
    }

    pub fn open(&self, storage: &Storage, plan: TorrentPlan) -> Result<Opened, DiskError> {
        let opened = storage.open_torrent(T, plan, &mut |_| ControlFlow::Continue(()))?;
        self.assert_have(storage, &opened)?;
        Ok(opened)
    }

    /// What is there is right.
    pub fn assert_have(&self, storage: &Storage, opened: &Opened) -> Result<(), DiskError> {
        for piece in opened.have.ones() {
            let block = self.whole(piece);
            let found = storage.read_block(T, block)?;
            assert!(found == self.bytes(block), "piece {piece} is not what it should be");
        }
        Ok(())
    }

    pub fn whole(&self, piece: PieceIndex) -> BlockRef {
        BlockRef { piece, begin: 0, len: self.content.geometry.data_len(piece) }
    }

    /// The bytes of a block, with padding.
    pub fn bytes(&self, block: BlockRef) -> Bytes {
        let geometry = &self.content.geometry;
        let start = u64::from(block.piece.0) * u64::from(PIECE) + u64::from(block.begin);
        let mut bytes = vec![0; block.len as usize];
        for extent in geometry.extents(block) {
            let at = (geometry.file_start(extent.file) + extent.offset - start) as usize;
            let (from, len) = (extent.offset as usize, extent.len as usize);
            let file = &self.contents[extent.file.index()];
            bytes[at..at + len].copy_from_slice(&file[from..from + len]);
        }
        Bytes::from(bytes)
    }

    pub fn write(&self, storage: &Storage, piece: u32) -> Result<(), DiskError> {
        let bytes = self.bytes(self.whole(PieceIndex(piece)));
        let parts: Vec<_> = bytes.chunks(5000).map(Bytes::copy_from_slice).collect();
        storage.write_piece(T, PieceIndex(piece), &parts)
    }

    /// The same piece, block by block.
    pub fn stream(&self, storage: &Storage, piece: u32) -> Result<(), DiskError> {
        let (geometry, piece) = (&self.content.geometry, PieceIndex(piece));
        for index in 0..geometry.blocks(piece) {
            let block = geometry.block(piece, index);
            storage.write_block(T, block, &self.bytes(block))?;
        }
        storage.verified(T, piece);
        Ok(())
    }

    /// The pieces that hold bytes of a file.
    pub fn pieces_of(&self, file: usize) -> std::ops::Range<u32> {
        self.content.geometry.file_pieces(FileIndex(file as u32))
    }

    pub fn finish(&self, storage: &Storage, file: usize) -> Result<(), DiskError> {
        storage.finish_file(T, FileIndex(file as u32))
    }

    /// Writes and finishes everything.
    pub fn fetch(&self, storage: &Storage, opened: &Opened) {
        opened.have.zeros().for_each(|piece| self.write(storage, piece.0).unwrap());
        let files = (0..self.contents.len()).filter(|file| !self.is_padding(*file));
        files.for_each(|file| self.finish(storage, file).unwrap());
    }

    /// The files stand there as they should.
    pub fn put(&self, fs: &dyn Fs) {
        for file in (0..self.contents.len()).filter(|file| !self.is_padding(*file)) {
            put(fs, &self.dest(file), &self.contents[file]);
        }
    }

    pub fn assert_file(&self, fs: &dyn Fs, file: usize) {
        let named = &self.content.files[file];
        if let Some(text) = &named.link {
            let found = fs.read_link(&self.dest(file)).unwrap();
            assert_eq!(found.as_os_str().as_encoded_bytes(), text.as_slice());
            return;
        }
        let mode = fs.look(&self.dest(file)).unwrap().mode;
        assert!(!named.executable || mode & 0o111 != 0, "{} may not be run", named.name);
        let found = fs.read_all(&self.dest(file), 1 << 30).unwrap();
        assert!(found == self.contents[file], "{} is wrong", self.dest(file).display());
    }

    /// Every final name stands for the right content, and no part is left.
    pub fn assert_done(&self, fs: &dyn Fs) {
        let files = (0..self.contents.len()).filter(|file| !self.is_padding(*file));
        files.for_each(|file| self.assert_file(fs, file));
        let left = dunlin_disk::find_leftovers(fs, &self.root).unwrap();
        assert!(left.iter().all(|leftover| leftover.is_state), "{left:?}");
    }
}

pub fn put(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs.open_write(path).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[Bytes::copy_from_slice(bytes)], 0).unwrap();
}

/// Turns over one bit of a file that is there.
pub fn flip(fs: &dyn Fs, path: &Path, at: u64) {
    let file = fs.open_write(path).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, at).unwrap();
    file.write_at(&[Bytes::copy_from_slice(&[byte[0] ^ 0x10])], at).unwrap();
}

#[test]
fn the_fixture_is_consistent() {
    for kind in KINDS {
        let torrent = Torrent::new(Path::new("/o"), kind, &[("a", 40_000), ("b", 10)], 1);
        for piece in (0..torrent.content.geometry.pieces()).map(PieceIndex) {
            let parts = vec![torrent.bytes(torrent.whole(piece))];
            let expected = torrent.content.expected(piece).unwrap();
            assert_eq!(verify_pieces(&[PieceJob { parts, expected }]), [true], "{kind:?}");
        }
    }
    assert_eq!(hashes_of(&[], PIECE), Vec::<[u8; 20]>::new());
}
