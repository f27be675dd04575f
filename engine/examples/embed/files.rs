//! The memory of started pieces, and the files: `name.part` until all of a file is verified and
//! durable.

use dunlin_base::{BlockRef, FileIndex, PieceIndex, TorrentId};
use dunlin_engine::io::{ClientInput, LocalError, SwarmInput, SwarmOutput};
use dunlin_metainfo::{BLOCK_LENGTH, Content, ExpectedPiece};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The files of one torrent.
pub(crate) struct Files {
    content: Content,
    folder: PathBuf,
    open: BTreeMap<FileIndex, File>,
    /// Bytes that started pieces hold together; one piece is always let through.
    memory: u64,
    started: BTreeMap<PieceIndex, Vec<u8>>,
    /// A reservation was refused, and waits until memory is given back.
    refused: bool,
    digests: RandomState,
}

impl Files {
    pub(crate) fn new(content: Content, folder: &Path, memory: u64) -> Files {
        Files {
            content,
            folder: folder.to_owned(),
            open: BTreeMap::new(),
            memory,
            started: BTreeMap::new(),
            refused: false,
            digests: RandomState::new(),
        }
    }

    pub(crate) fn pieces(&self) -> u32 {
        self.content.geometry.pieces()
    }

    /// Carries out what is asked of memory and pieces, and returns the answer.
    pub(crate) fn carry_out(&mut self, output: SwarmOutput) -> Option<SwarmInput> {
        Some(match output {
            SwarmOutput::Reserve { key, bytes, .. } => {
                let held: usize = self.started.values().map(Vec::len).sum();
                if held > 0 && held as u64 + u64::from(bytes) > self.memory {
                    self.refused = true;
                    return Some(SwarmInput::NoMemory(key));
                }
                let length = self.content.geometry.data_len(key.piece) as usize;
                self.started.insert(key.piece, vec![0; length]);
                SwarmInput::Reserved(key)
            }
            SwarmOutput::Release(key) => {
                self.started.remove(&key.piece);
                return std::mem::take(&mut self.refused).then_some(SwarmInput::MemoryFree);
            }
            SwarmOutput::Hash(key) => {
                SwarmInput::PieceHashed { key, matches: self.matches(key.piece) }
            }
            SwarmOutput::Digest(key) => {
                let blocks = self.started[&key.piece].chunks(BLOCK_LENGTH as usize);
                let digests = blocks.map(|block| self.digests.hash_one(block)).collect();
                SwarmInput::BlockDigests { key, digests }
            }
            SwarmOutput::Write(key) => match self.write(key.piece) {
                Ok(()) => SwarmInput::PieceWritten(key),
                Err(error) => SwarmInput::DiskFailed { key, error: local(&error) },
            },
            other => unreachable!("a download from given peers never needs {other:?}"),
        })
    }

    /// A file whose pieces are all written gets its name; returns the answer.
    pub(crate) fn finish(&mut self, torrent: TorrentId, file: FileIndex) -> ClientInput {
        match self.rename(file) {
            Ok(()) => ClientInput::FileFinished { torrent, file },
            Err(error) => ClientInput::FileFailed { torrent, file, error: local(&error) },
        }
    }

    fn path(&self, file: FileIndex, end: &str) -> PathBuf {
        self.folder.join(format!("{}{end}", self.content.files[file.index()].name))
    }

    /// Makes all files. Padding has no name, and links are left out.
    pub(crate) fn create(&mut self) -> Result<(), String> {
        for (raw, file) in (0..).zip(&self.content.files) {
            if file.name.is_empty() || file.link.is_some() {
                continue;
            }
            let (path, part) = (self.path(FileIndex(raw), ""), self.path(FileIndex(raw), ".part"));
            if path.exists() {
                return Err(format!("{} exists; name another folder", path.display()));
            }
            let folder = part.parent().unwrap_or(&self.folder);
            let created = fs::create_dir_all(folder).and_then(|()| {
                File::options().read(true).write(true).create(true).truncate(true).open(&part)
            });
            let created = created.map_err(|error| format!("{}: {error}", part.display()))?;
            self.open.insert(FileIndex(raw), created);
        }
        Ok(())
    }

    /// A block goes to its place in its piece.
    pub(crate) fn keep(&mut self, block: BlockRef, data: &[u8]) {
        let begin = block.begin as usize;
        if let Some(piece) = self.started.get_mut(&block.piece) {
            piece[begin..begin + data.len()].copy_from_slice(data);
        }
    }

    fn matches(&self, piece: PieceIndex) -> bool {
        let Some(ExpectedPiece::Sha1 { hash, zeros }) = self.content.expected(piece) else {
            return false;
        };
        let data = Sha1::new().chain_update(&self.started[&piece]);
        data.chain_update(vec![0; zeros as usize]).finalize()[..] == hash
    }

    fn write(&mut self, piece: PieceIndex) -> io::Result<()> {
        let mut data = &self.started[&piece][..];
        let whole = BlockRef { piece, begin: 0, len: self.content.geometry.data_len(piece) };
        for extent in self.content.geometry.extents(whole) {
            let (part, rest) = data.split_at(extent.len as usize);
            let file = self.open.get_mut(&extent.file).ok_or(io::ErrorKind::NotFound)?;
            file.seek(SeekFrom::Start(extent.offset))?;
            file.write_all(part)?;
            data = rest;
        }
        Ok(())
    }

    /// A block of a piece that was written.
    pub(crate) fn read(&mut self, block: BlockRef) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        for extent in self.content.geometry.extents(block) {
            let file = self.open.get_mut(&extent.file).ok_or(io::ErrorKind::NotFound)?;
            file.seek(SeekFrom::Start(extent.offset))?;
            file.take(u64::from(extent.len)).read_to_end(&mut data)?;
        }
        // Padding is read as zeros.
        data.resize(block.len as usize, 0);
        Ok(data)
    }

    /// Every byte is durable before the file has its name.
    fn rename(&mut self, file: FileIndex) -> io::Result<()> {
        let Some(open) = self.open.get(&file) else { return Ok(()) };
        open.sync_all()?;
        fs::rename(self.path(file, ".part"), self.path(file, ""))
    }
}

/// A fault of ours, for people.
pub(crate) fn local(error: &io::Error) -> LocalError {
    let message = format!("the files of the torrent: {error}; check the disk and the folder");
    LocalError { message, disk_full: error.kind() == io::ErrorKind::StorageFull }
}
