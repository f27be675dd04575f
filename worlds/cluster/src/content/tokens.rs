//! Token files: the payload of the course format. They live in memory; a finished one is written
//! under its final name in one go, one token a line.

use super::geometry_of;
use crate::lock::lock;
use bytes::Bytes;
use dunlin_base::{Bitfield, FileIndex, PieceIndex, Rank, TorrentId};
use dunlin_control::{OwnedFile, Provenance, Register, Want};
use dunlin_disk::{DiskError, DiskErrorKind, Fs, SyncReport, write_file};
use dunlin_metainfo::{PieceHashes, SetInfo, write_token_file};
use dunlin_plan::TokenFile;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

pub(super) struct TokenContent {
    rank: Rank,
    owned: BTreeMap<String, PieceHashes>,
    wanted: Vec<String>,
    out: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    torrents: BTreeMap<TorrentId, HeldTokens>,
    synced: SyncReport,
}

struct HeldTokens {
    name: String,
    /// What they must be.
    expected: PieceHashes,
    tokens: Vec<Option<Bytes>>,
}

impl TokenContent {
    pub(super) fn new(
        rank: Rank,
        owned: Vec<TokenFile>,
        wanted: Vec<String>,
        out: PathBuf,
    ) -> TokenContent {
        let owned = owned
            .into_iter()
            .map(|file| (file.name, PieceHashes::Tokens(file.tokens.into())))
            .collect();
        TokenContent { rank, owned, wanted, out, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn register(&self, fs: &dyn Fs) -> Register {
        let files = self.owned.iter().map(|(name, hashes)| OwnedFile {
            name: name.clone(),
            length: hashes.len() as u64,
            piece_length: 1,
            hashes: hashes.clone(),
            pieces: None,
            provenance: Provenance::Owner,
            bytes: bytes_of(hashes),
            sha256: None,
        });
        Register {
            files: files.collect(),
            wants: self.wanted.iter().cloned().map(Want::Name).collect(),
            shares: true,
            space: super::space(fs, &self.out),
            ..Register::default()
        }
    }

    pub(super) fn open(
        &self,
        torrent: TorrentId,
        info: &SetInfo,
        wants: bool,
        block_length: u32,
    ) -> Bitfield {
        let pieces = geometry_of(info, block_length).pieces();
        let name = info.files.first().map(|file| file.name.clone()).unwrap_or_default();
        let mut tokens = vec![None; if wants { pieces as usize } else { 0 }];
        let mut have = Bitfield::new(pieces);
        if let Some(PieceHashes::Tokens(own)) =
            self.owned.get(&name).filter(|own| **own == info.hashes)
        {
            tokens = own.iter().cloned().map(Some).collect();
            have = Bitfield::full(pieces);
        }
        let held = HeldTokens { name, expected: info.hashes.clone(), tokens };
        self.state().torrents.insert(torrent, held);
        have
    }

    pub(super) fn expected(&self, torrent: TorrentId, piece: PieceIndex) -> Option<Bytes> {
        match &self.state().torrents.get(&torrent)?.expected {
            PieceHashes::Tokens(tokens) => tokens.get(piece.index()).cloned(),
            PieceHashes::Sha1(_) | PieceHashes::Merkle(_) => None,
        }
    }

    pub(super) fn read(&self, torrent: TorrentId, piece: PieceIndex) -> Result<Bytes, DiskError> {
        let missing = || DiskErrorKind::Misuse("a token that is not here");
        self.token(torrent, piece).ok_or_else(|| DiskError::new(&self.out, missing()))
    }

    /// The length of a token in bytes; 0 if it is not here.
    pub(super) fn len_of(&self, torrent: TorrentId, piece: PieceIndex) -> u64 {
        self.token(torrent, piece).map_or(0, |token| token.len() as u64)
    }

    fn token(&self, torrent: TorrentId, piece: PieceIndex) -> Option<Bytes> {
        self.state().torrents.get(&torrent)?.tokens.get(piece.index())?.clone()
    }

    pub(super) fn write(&self, torrent: TorrentId, piece: PieceIndex, parts: &[Bytes]) {
        let mut state = self.state();
        let held = state.torrents.get_mut(&torrent);
        if let Some(place) = held.and_then(|held| held.tokens.get_mut(piece.index())) {
            *place = parts.first().cloned();
        }
    }

    pub(super) fn finish(&self, fs: &dyn Fs, torrent: TorrentId, file: FileIndex) {
        let mut state = self.state();
        let Some(held) = state.torrents.get(&torrent) else { return };
        let tokens: Vec<Bytes> = held.tokens.iter().flatten().cloned().collect();
        let whole = tokens.len() == held.tokens.len();
        let path = self.out.join(format!("client{}_{}", self.rank, held.name));
        let done = if whole {
            let fs = &*fs.inside(&self.out);
            fs.create_dir_all(&self.out)
                .and_then(|()| write_file(fs, &path, &write_token_file(&tokens)))
        } else {
            Err(std::io::Error::other("a piece is missing"))
        };
        match done {
            Ok(()) => state.synced.finished.push((torrent, file)),
            Err(error) => {
                let error = DiskError::io(&path, &error);
                state.synced.failed.push((torrent, file, error));
            }
        }
    }

    pub(super) fn synced(&self) -> SyncReport {
        std::mem::take(&mut self.state().synced)
    }
}

fn bytes_of(hashes: &PieceHashes) -> u64 {
    match hashes {
        PieceHashes::Tokens(tokens) => tokens.iter().map(|token| token.len() as u64).sum(),
        PieceHashes::Sha1(_) | PieceHashes::Merkle(_) => 0,
    }
}
