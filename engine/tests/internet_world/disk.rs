//! The disk and the memory of a host, without bytes.

use dunlin_base::{Bitfield, BlockRef, ConnId, FileIndex, PieceIndex, PieceKey, TorrentId};
use dunlin_engine::io::{ClientInput, ClientOutput, LocalError, SwarmInput, SwarmOutput};
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
    reserved: BTreeMap<PieceKey, u64>,
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

    /// Carries out what concerns files and returns the answer.
    pub fn perform(&mut self, output: ClientOutput) -> Option<ClientInput> {
        match output {
            ClientOutput::Open { torrent, metainfo, wanted } => {
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
                Some(ClientInput::Opened { torrent, have: answer, resumed: 0 })
            }
            ClientOutput::Want { torrent, .. } => {
                let have = self.stores[&torrent].have.clone();
                Some(ClientInput::Opened { torrent, have, resumed: 0 })
            }
            ClientOutput::Close { torrent } => {
                if let Some(store) = self.stores.remove(&torrent) {
                    self.shelf.insert(torrent, store.have);
                }
                Some(ClientInput::Closed { torrent })
            }
            ClientOutput::HashBlocks(key) => {
                assert!(self.stores[&key.torrent].have.has(key.piece));
                Some(ClientInput::BlockHashes { key, hashes: Vec::new() })
            }
            ClientOutput::FinishFile { torrent, file } if self.full => {
                Some(ClientInput::FileFailed { torrent, file, error: full() })
            }
            ClientOutput::FinishFile { torrent, file } if self.broken => {
                Some(ClientInput::FileFailed { torrent, file, error: broken() })
            }
            ClientOutput::FinishFile { torrent, file } => {
                let store = self.store(torrent);
                let mut pieces = store.geometry.file_pieces(file);
                assert!(pieces.all(|raw| store.have.has(PieceIndex(raw))), "{file:?} is not whole");
                assert!(store.finished.insert(file), "{file:?} is finished twice");
                Some(ClientInput::FileFinished { torrent, file })
            }
            ClientOutput::Swarm(_)
            | ClientOutput::Announce { .. }
            | ClientOutput::Removed { .. }
            | ClientOutput::Event(_) => panic!("{output:?} is no business of a disk"),
        }
    }

    /// Carries out what concerns memory and pieces and returns the answer.
    pub fn perform_swarm(&mut self, output: SwarmOutput) -> Option<SwarmInput> {
        match output {
            SwarmOutput::Reserve { key, bytes, .. } => {
                let held: u64 = self.reserved.values().sum::<u64>() + u64::from(bytes);
                if self.budget.is_some_and(|budget| held > budget) {
                    self.starving = true;
                    return Some(SwarmInput::NoMemory(key));
                }
                self.peak_bytes = self.peak_bytes.max(held);
                let old = self.reserved.insert(key, u64::from(bytes));
                assert!(old.is_none(), "{key:?} is reserved twice");
                self.peak = self.peak.max(self.reserved.len());
                self.store(key.torrent).blocks.entry(key.piece).or_default();
                Some(SwarmInput::Reserved(key))
            }
            SwarmOutput::Release(key) => {
                self.give_back(key);
                self.store(key.torrent).blocks.remove(&key.piece);
                self.freed()
            }
            SwarmOutput::Spill(key) => {
                self.give_back(key);
                self.store(key.torrent).spilled.insert(key.piece);
                self.freed()
            }
            SwarmOutput::Keep { conn, block } => {
                let good = self.parked.remove(&(conn, block)).expect("kept and never parked");
                let torrent = *self.stores.keys().next().expect("one torrent a host");
                let store = self.store(torrent);
                let index = store.geometry.block_index(block).unwrap();
                let old = store.blocks.get_mut(&block.piece).unwrap().insert(index, good);
                let again = store.spilled.contains(&block.piece);
                assert!(old.is_none() || again, "{block:?} is kept twice");
                None
            }
            SwarmOutput::Drop { conn, block } => {
                self.parked.remove(&(conn, block)).expect("dropped and never parked");
                None
            }
            SwarmOutput::Hash(key) => {
                let store = self.store(key.torrent);
                let blocks = &store.blocks[&key.piece];
                assert_eq!(blocks.len() as u32, store.geometry.blocks(key.piece), "{key:?}");
                let matches = blocks.values().all(|good| *good);
                Some(SwarmInput::PieceHashed { key, matches })
            }
            SwarmOutput::Digest(key) => {
                let blocks = &self.store(key.torrent).blocks[&key.piece];
                let digests = blocks.values().map(|good| if *good { 1 } else { 666 }).collect();
                Some(SwarmInput::BlockDigests { key, digests })
            }
            SwarmOutput::Write(key) if self.full => {
                Some(SwarmInput::DiskFailed { key, error: full() })
            }
            SwarmOutput::Write(key) if self.broken => {
                Some(SwarmInput::DiskFailed { key, error: broken() })
            }
            SwarmOutput::Write(key) => {
                let store = self.store(key.torrent);
                assert!(
                    store.blocks[&key.piece].values().all(|good| *good),
                    "a bad piece is written"
                );
                store.have.set(key.piece);
                Some(SwarmInput::PieceWritten(key))
            }
            SwarmOutput::Dial { .. }
            | SwarmOutput::HangUp { .. }
            | SwarmOutput::SendHandshake { .. }
            | SwarmOutput::Send { .. }
            | SwarmOutput::Serve { .. }
            | SwarmOutput::Event(_) => panic!("{output:?} is no business of a disk"),
        }
    }

    fn give_back(&mut self, key: PieceKey) {
        let held = self.reserved.remove(&key);
        assert!(held.is_some(), "{key:?} was not reserved");
    }

    /// Whoever waits for memory learns that there is some.
    fn freed(&mut self) -> Option<SwarmInput> {
        std::mem::take(&mut self.starving).then_some(SwarmInput::MemoryFree)
    }

    fn store(&mut self, torrent: TorrentId) -> &mut Store {
        self.stores.get_mut(&torrent).expect("storage is open")
    }
}
