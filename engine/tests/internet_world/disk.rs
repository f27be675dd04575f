//! The disk and the memory of a host, without bytes.

use dunlin_base::{Bitfield, BlockRef, ConnId, FileIndex, PieceIndex, PieceKey, TorrentId};
use dunlin_engine::io::{Input, LocalError, Output};
use dunlin_metainfo::Geometry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

struct Store {
    geometry: Geometry,
    have: Bitfield,
    /// Good or bad blocks of each started piece.
    blocks: BTreeMap<PieceIndex, BTreeMap<u32, bool>>,
    finished: BTreeSet<FileIndex>,
    /// Pieces of which blocks went to the part file once: what is kept later may replace them.
    spilled: BTreeSet<PieceIndex>,
}

#[derive(Default)]
pub struct Disk {
    stores: BTreeMap<TorrentId, Store>,
    /// What is on disk of torrents that are closed.
    shelf: BTreeMap<TorrentId, Bitfield>,
    parked: BTreeMap<(ConnId, BlockRef), bool>,
    reserved: BTreeMap<(TorrentId, PieceIndex), u64>,
    /// Bytes that pieces may hold in memory together, and whether somebody waits for some.
    pub budget: Option<u64>,
    starving: bool,
    /// Whoever opens a torrent finds all of it.
    pub full_copy: bool,
    pub full: bool,
    /// Whatever is written fails, and waiting does not help.
    pub broken: bool,
    pub delay: Duration,
    /// Pieces that somebody has changed behind our back.
    pub changed: BTreeSet<PieceIndex>,
    pub opened: u32,
    pub peak: usize,
    /// The most bytes that pieces held together.
    pub peak_bytes: u64,
}

fn full() -> LocalError {
    LocalError { message: "the disk is full: make room".into(), disk_full: true }
}

fn broken() -> LocalError {
    LocalError { message: "an input/output error: look at the disk".into(), disk_full: false }
}

impl Disk {
    pub fn park(&mut self, conn: ConnId, block: BlockRef, good: bool) {
        self.parked.insert((conn, block), good);
    }

    pub fn have(&self, torrent: TorrentId) -> Option<&Bitfield> {
        self.stores.get(&torrent).map(|store| &store.have)
    }

    pub fn is_open(&self, torrent: TorrentId) -> bool {
        self.stores.contains_key(&torrent)
    }

    /// All files of a torrent are there again, and nobody has said so.
    pub fn put_back(&mut self, torrent: TorrentId) {
        let store = self.store(torrent);
        store.have = Bitfield::full(store.geometry.pieces());
    }

    /// What torrents hold memory.
    pub fn reserved(&self) -> usize {
        self.reserved.len()
    }

    pub fn unreadable(&self, piece: PieceIndex) -> Option<LocalError> {
        let message = "the file has changed since it was checked".to_owned();
        self.changed.contains(&piece).then_some(LocalError { message, disk_full: false })
    }

    /// Carries an output out and returns the answers.
    pub fn perform(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::OpenTorrent { torrent, metainfo, wanted } => {
                assert_eq!(wanted.len(), metainfo.files.len());
                self.opened += 1;
                let geometry = metainfo.geometry(dunlin_metainfo::BLOCK_LENGTH);
                let pieces = geometry.pieces();
                let mut have = match self.shelf.remove(&torrent) {
                    Some(have) => have,
                    None if self.full_copy => Bitfield::full(pieces),
                    None => Bitfield::new(pieces),
                };
                if let Some(old) = self.stores.remove(&torrent) {
                    have = old.have;
                }
                for piece in std::mem::take(&mut self.changed) {
                    have.clear(piece);
                }
                let (blocks, finished) = (BTreeMap::new(), BTreeSet::new());
                let spilled = BTreeSet::new();
                let answer = have.clone();
                self.stores.insert(torrent, Store { geometry, have, blocks, finished, spilled });
                vec![Input::Opened { torrent, have: answer, resumed: 0 }]
            }
            Output::Want { torrent, .. } => {
                let have = self.stores[&torrent].have.clone();
                vec![Input::Opened { torrent, have, resumed: 0 }]
            }
            Output::Close { torrent } => {
                if let Some(store) = self.stores.remove(&torrent) {
                    self.shelf.insert(torrent, store.have);
                }
                vec![Input::Closed { torrent }]
            }
            Output::HashBlocks(PieceKey { torrent, piece }) => {
                assert!(self.stores[&torrent].have.has(piece));
                vec![Input::BlockHashes { key: PieceKey { torrent, piece }, hashes: Vec::new() }]
            }
            other => self.perform_on_pieces(other),
        }
    }

    fn perform_on_pieces(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Reserve { key: PieceKey { torrent, piece }, bytes, .. } => {
                let held: u64 = self.reserved.values().sum::<u64>() + u64::from(bytes);
                if self.budget.is_some_and(|budget| held > budget) {
                    self.starving = true;
                    return vec![Input::NoMemory(PieceKey { torrent, piece })];
                }
                self.peak_bytes = self.peak_bytes.max(held);
                let old = self.reserved.insert((torrent, piece), u64::from(bytes));
                assert!(old.is_none(), "{piece:?} is reserved twice");
                self.peak = self.peak.max(self.reserved.len());
                self.store(torrent).blocks.entry(piece).or_default();
                vec![Input::Reserved(PieceKey { torrent, piece })]
            }
            Output::Release(PieceKey { torrent, piece }) => {
                self.give_back(torrent, piece);
                self.store(torrent).blocks.remove(&piece);
                self.freed()
            }
            Output::Spill(PieceKey { torrent, piece }) => {
                self.give_back(torrent, piece);
                self.store(torrent).spilled.insert(piece);
                self.freed()
            }
            Output::Keep { conn, block } => {
                let good = self.parked.remove(&(conn, block)).expect("kept and never parked");
                let torrent = *self.stores.keys().next().expect("one torrent a host");
                let store = self.store(torrent);
                let index = store.geometry.block_index(block).unwrap();
                let old = store.blocks.get_mut(&block.piece).unwrap().insert(index, good);
                let again = store.spilled.contains(&block.piece);
                assert!(old.is_none() || again, "{block:?} is kept twice");
                Vec::new()
            }
            Output::Drop { conn, block } => {
                self.parked.remove(&(conn, block)).expect("dropped and never parked");
                Vec::new()
            }
            Output::Hash(PieceKey { torrent, piece }) => {
                let store = self.store(torrent);
                let blocks = &store.blocks[&piece];
                assert_eq!(blocks.len() as u32, store.geometry.blocks(piece), "{piece:?}");
                let matches = blocks.values().all(|good| *good);
                vec![Input::PieceHashed { key: PieceKey { torrent, piece }, matches }]
            }
            Output::Digest(PieceKey { torrent, piece }) => {
                let blocks = &self.store(torrent).blocks[&piece];
                let digests = blocks.values().map(|good| if *good { 1 } else { 666 }).collect();
                vec![Input::BlockDigests { key: PieceKey { torrent, piece }, digests }]
            }
            Output::Write(PieceKey { torrent, piece }) if self.full => {
                vec![Input::DiskFailed { key: PieceKey { torrent, piece }, error: full() }]
            }
            Output::Write(PieceKey { torrent, piece }) if self.broken => {
                vec![Input::DiskFailed { key: PieceKey { torrent, piece }, error: broken() }]
            }
            Output::Write(PieceKey { torrent, piece }) => {
                let store = self.store(torrent);
                assert!(store.blocks[&piece].values().all(|good| *good), "a bad piece is written");
                store.have.set(piece);
                vec![Input::PieceWritten(PieceKey { torrent, piece })]
            }
            Output::FinishFile { torrent, file } if self.full => {
                vec![Input::FileFailed { torrent, file, error: full() }]
            }
            Output::FinishFile { torrent, file } if self.broken => {
                vec![Input::FileFailed { torrent, file, error: broken() }]
            }
            Output::FinishFile { torrent, file } => {
                let store = self.store(torrent);
                let mut pieces = store.geometry.file_pieces(file);
                assert!(pieces.all(|raw| store.have.has(PieceIndex(raw))), "{file:?} is not whole");
                assert!(store.finished.insert(file), "{file:?} is finished twice");
                vec![Input::FileFinished { torrent, file }]
            }
            other => panic!("{other:?} is no business of a disk"),
        }
    }

    fn give_back(&mut self, torrent: TorrentId, piece: PieceIndex) {
        let held = self.reserved.remove(&(torrent, piece));
        assert!(held.is_some(), "{piece:?} was not reserved");
    }

    /// Whoever waits for memory learns that there is some.
    fn freed(&mut self) -> Vec<Input> {
        if std::mem::take(&mut self.starving) { vec![Input::MemoryFree] } else { Vec::new() }
    }

    fn store(&mut self, torrent: TorrentId) -> &mut Store {
        self.stores.get_mut(&torrent).expect("storage is open")
    }
}
