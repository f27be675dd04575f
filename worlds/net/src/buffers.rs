//! Pieces that are being received, each in one buffer, so that payload goes from the socket
//! straight to its place. This module owns the memory while blocks are received; from the start of
//! hashing it shares it. It has no socket, and decides nothing.
//!
//! ```text
//!   Empty ── claim ─▶ Claimed ── arrived ─▶ Parked ── keep ─▶ Full
//!     ▲                  │                     │
//!     └──── unclaim ─────┴─────── drop ────────┘
//! ```
//!
//! A block's place has one writer at a time: a connection that cannot claim it receives elsewhere.

use bytes::Bytes;
use dunlin_base::{BlockRef, ConnId, PieceKey, TorrentId};
use dunlin_disk::{Buffer, BufferPool, Charge};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state of a block in a piece's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockState {
    Empty,
    Claimed(ConnId),
    Parked(ConnId),
    Full,
}

/// The memory of a piece: still being filled, or shared.
enum PieceMemory {
    Filling(Buffer),
    Frozen(Bytes),
    /// On loan to a read of several blocks at once.
    Lent,
}

/// One piece.
struct PieceBuffer {
    memory: PieceMemory,
    places: Vec<BlockState>,
    block_length: u32,
    /// Given back when the piece is forgotten.
    _charge: Charge,
    /// Its blocks are written as they come: nothing lands here.
    streamed: bool,
}

/// All pieces that are being received.
pub(crate) struct Buffers {
    pool: Arc<BufferPool>,
    pieces: BTreeMap<PieceKey, PieceBuffer>,
    /// Pieces without memory, and the blocks of theirs that lie in part files.
    spilled: BTreeMap<PieceKey, Vec<BlockRef>>,
}

/// Blocks that leave memory.
pub(crate) type Spilled = Vec<(BlockRef, Bytes)>;

impl PieceBuffer {
    fn index(&self, block: BlockRef) -> usize {
        (block.begin / self.block_length.max(1)) as usize
    }

    fn place(&mut self, block: BlockRef) -> Option<&mut BlockState> {
        let index = self.index(block);
        self.places.get_mut(index)
    }

    fn bytes_mut(&mut self, block: BlockRef) -> Option<&mut [u8]> {
        let PieceMemory::Filling(buffer) = &mut self.memory else { return None };
        let begin = block.begin as usize;
        buffer.bytes_mut().get_mut(begin..begin.checked_add(block.len as usize)?)
    }
}

impl Buffers {
    /// No pieces; their memory comes from `pool`.
    pub(crate) fn new(pool: Arc<BufferPool>) -> Buffers {
        Buffers { pool, pieces: BTreeMap::new(), spilled: BTreeMap::new() }
    }

    /// Gives a piece of `bytes` bytes its memory. Returns the blocks that must be read back from
    /// its part file first.
    pub(crate) fn reserve(
        &mut self,
        key: PieceKey,
        charge: Charge,
        bytes: u32,
        block_length: u32,
        streamed: bool,
    ) -> Vec<BlockRef> {
        let (len, blocks) = match streamed {
            true => (0, 0),
            false => (bytes as usize, bytes.div_ceil(block_length.max(1))),
        };
        let piece = PieceBuffer {
            memory: PieceMemory::Filling(self.pool.take(len)),
            places: vec![BlockState::Empty; blocks as usize],
            block_length,
            _charge: charge,
            streamed,
        };
        self.pieces.insert(key, piece);
        self.spilled.remove(&key).unwrap_or_default()
    }

    /// Whether blocks of the piece are written as they come.
    pub(crate) fn is_streamed(&self, key: PieceKey) -> bool {
        self.pieces.get(&key).is_some_and(|piece| piece.streamed)
    }

    /// Claims the place of a block for a connection; false if it is not free.
    pub(crate) fn claim(&mut self, torrent: TorrentId, block: BlockRef, conn: ConnId) -> bool {
        let Some(piece) = self.pieces.get_mut(&PieceKey { torrent, piece: block.piece }) else {
            return false;
        };
        if piece.bytes_mut(block).is_none() {
            return false;
        }
        match piece.place(block) {
            Some(place) if *place == BlockState::Empty => {
                *place = BlockState::Claimed(conn);
                true
            }
            _ => false,
        }
    }

    /// Gives a claim up.
    pub(crate) fn unclaim(&mut self, torrent: TorrentId, block: BlockRef, conn: ConnId) {
        self.change_state(torrent, block, BlockState::Claimed(conn), BlockState::Empty);
    }

    /// All of a claimed block was received.
    pub(crate) fn arrived(&mut self, torrent: TorrentId, block: BlockRef, conn: ConnId) -> bool {
        self.change_state(torrent, block, BlockState::Claimed(conn), BlockState::Parked(conn))
    }

    /// Keeps the parked block; false if it is not there.
    pub(crate) fn keep(&mut self, torrent: TorrentId, block: BlockRef, conn: ConnId) -> bool {
        self.change_state(torrent, block, BlockState::Parked(conn), BlockState::Full)
    }

    /// Drops the parked block.
    pub(crate) fn discard(&mut self, torrent: TorrentId, block: BlockRef, conn: ConnId) {
        self.change_state(torrent, block, BlockState::Parked(conn), BlockState::Empty);
    }

    fn change_state(
        &mut self,
        torrent: TorrentId,
        block: BlockRef,
        from: BlockState,
        to: BlockState,
    ) -> bool {
        let piece = self.pieces.get_mut(&PieceKey { torrent, piece: block.piece });
        match piece.and_then(|piece| piece.place(block)) {
            Some(place) if *place == from => {
                *place = to;
                true
            }
            _ => false,
        }
    }

    /// The claimed place of a block, to be filled.
    pub(crate) fn bytes_mut(
        &mut self,
        torrent: TorrentId,
        block: BlockRef,
        conn: ConnId,
    ) -> Option<&mut [u8]> {
        let piece = self.pieces.get_mut(&PieceKey { torrent, piece: block.piece })?;
        if piece.place(block) != Some(&mut BlockState::Claimed(conn)) {
            return None;
        }
        piece.bytes_mut(block)
    }

    /// Puts a block that was received elsewhere, or read back, into its place; false if that is not
    /// free.
    pub(crate) fn put(&mut self, torrent: TorrentId, block: BlockRef, data: &[u8]) -> bool {
        let Some(piece) = self.pieces.get_mut(&PieceKey { torrent, piece: block.piece }) else {
            return false;
        };
        let free = piece.place(block).is_some_and(|place| *place == BlockState::Empty);
        match piece.bytes_mut(block) {
            Some(bytes) if free && bytes.len() == data.len() => bytes.copy_from_slice(data),
            _ => return false,
        }
        if let Some(place) = piece.place(block) {
            *place = BlockState::Full;
        }
        true
    }

    /// Frees the place of a block of which another copy was received first. What was received of a
    /// claimed one is returned: the rest of it goes elsewhere. A parked one was received after the
    /// other copy, and the engine has not decided about it: it is forgotten, and the engine will
    /// have it dropped.
    pub(crate) fn evict(&mut self, torrent: TorrentId, block: BlockRef) -> Option<Evicted> {
        let piece = self.pieces.get_mut(&PieceKey { torrent, piece: block.piece })?;
        let conn = match piece.place(block).copied()? {
            BlockState::Claimed(conn) => Some(conn),
            BlockState::Parked(_) => None,
            BlockState::Empty | BlockState::Full => return None,
        };
        let bytes = piece.bytes_mut(block)?.to_vec();
        if let Some(place) = piece.place(block) {
            *place = BlockState::Empty;
        }
        conn.map(|conn| Evicted { conn, bytes })
    }

    /// Takes the memory of a piece for a read of several blocks at once.
    pub(crate) fn lend(&mut self, key: PieceKey) -> Option<Buffer> {
        let piece = self.pieces.get_mut(&key)?;
        match std::mem::replace(&mut piece.memory, PieceMemory::Lent) {
            PieceMemory::Filling(buffer) => Some(buffer),
            other => {
                piece.memory = other;
                None
            }
        }
    }

    /// Takes the memory of a piece back after such a read.
    pub(crate) fn give_back(&mut self, key: PieceKey, buffer: Buffer) {
        if let Some(piece) = self.pieces.get_mut(&key)
            && matches!(piece.memory, PieceMemory::Lent)
        {
            piece.memory = PieceMemory::Filling(buffer);
        }
    }

    /// The bytes of a complete piece. From now on nothing is received into it.
    pub(crate) fn freeze(&mut self, key: PieceKey) -> Option<Bytes> {
        let piece = self.pieces.get_mut(&key)?;
        if piece.streamed || piece.places.iter().any(|place| *place != BlockState::Full) {
            return None;
        }
        let memory = std::mem::replace(&mut piece.memory, PieceMemory::Lent);
        let bytes = match memory {
            PieceMemory::Filling(buffer) => buffer.freeze(),
            PieceMemory::Frozen(bytes) => bytes,
            PieceMemory::Lent => return None,
        };
        piece.memory = PieceMemory::Frozen(bytes.clone());
        Some(bytes)
    }

    /// Takes the received blocks out of memory, to be written; the piece is remembered. The second
    /// part are the claims on it that are gone.
    pub(crate) fn spill(&mut self, key: PieceKey) -> Option<(Spilled, Vec<Evicted>)> {
        let evicted = self.claims(key);
        let piece = self.pieces.remove(&key)?;
        let PieceMemory::Filling(buffer) = piece.memory else { return None };
        let bytes = buffer.freeze();
        let mut blocks = Vec::new();
        for (index, place) in (0u32..).zip(&piece.places) {
            let begin = index * piece.block_length;
            let len = (bytes.len() as u32).saturating_sub(begin).min(piece.block_length);
            if *place == BlockState::Full && len > 0 {
                let block = BlockRef { piece: key.piece, begin, len };
                blocks.push((block, bytes.slice(begin as usize..(begin + len) as usize)));
            }
        }
        self.spilled.insert(key, blocks.iter().map(|(block, _)| *block).collect());
        Some((blocks, evicted))
    }

    /// Forgets a piece and gives its memory back. Returns the claims on it that are gone: the rest
    /// of those blocks goes elsewhere.
    pub(crate) fn release(&mut self, key: PieceKey) -> Vec<Evicted> {
        let evicted = self.claims(key);
        self.pieces.remove(&key);
        self.spilled.remove(&key);
        evicted
    }

    /// Forgets all pieces of a torrent.
    pub(crate) fn forget(&mut self, torrent: TorrentId) -> Vec<Evicted> {
        let keys: Vec<_> =
            self.pieces.keys().filter(|key| key.torrent == torrent).copied().collect();
        let evicted = keys.into_iter().flat_map(|key| self.release(key)).collect();
        self.spilled.retain(|key, _| key.torrent != torrent);
        evicted
    }

    /// The claims on a piece, with the bytes of their places.
    fn claims(&mut self, key: PieceKey) -> Vec<Evicted> {
        let Some(piece) = self.pieces.get_mut(&key) else { return Vec::new() };
        let claimed: Vec<(u32, ConnId)> = (0u32..)
            .zip(&piece.places)
            .filter_map(|(index, place)| match place {
                BlockState::Claimed(conn) => Some((index, *conn)),
                _ => None,
            })
            .collect();
        let length = piece.block_length;
        let PieceMemory::Filling(buffer) = &mut piece.memory else { return Vec::new() };
        let bytes = buffer.bytes_mut();
        claimed
            .into_iter()
            .map(|(index, conn)| {
                let begin = index as usize * length as usize;
                let end = bytes.len().min(begin + length as usize);
                Evicted { conn, bytes: bytes.get(begin..end).unwrap_or_default().to_vec() }
            })
            .collect()
    }
}

/// A claim on memory that is gone, and the bytes that were received so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Evicted {
    /// The connection that had the claim.
    pub(crate) conn: ConnId,
    /// The whole place; the received bytes stand at its beginning.
    pub(crate) bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_base::PieceIndex;
    use dunlin_disk::Budget;

    const KEY: PieceKey = PieceKey { torrent: TorrentId(1), piece: PieceIndex(7) };
    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    fn block(begin: u32, len: u32) -> BlockRef {
        BlockRef { piece: KEY.piece, begin, len }
    }

    /// A piece of 10 bytes in blocks of 4.
    fn piece() -> Buffers {
        let budget = Budget::new(1 << 20);
        let mut buffers = Buffers::new(Arc::clone(budget.buffers()));
        let charge = budget.reserve(0, 10).unwrap();
        assert!(buffers.reserve(KEY, charge, 10, 4, false).is_empty());
        buffers
    }

    #[test]
    fn a_place_has_one_writer() {
        let mut buffers = piece();
        assert!(buffers.claim(KEY.torrent, block(0, 4), A));
        assert!(!buffers.claim(KEY.torrent, block(0, 4), B), "claimed by another");
        assert!(!buffers.claim(KEY.torrent, block(8, 4), A), "beyond the end");
        assert!(!buffers.put(KEY.torrent, block(0, 4), b"xxxx"), "claimed");
        buffers.bytes_mut(KEY.torrent, block(0, 4), A).unwrap().copy_from_slice(b"abcd");
        assert!(buffers.bytes_mut(KEY.torrent, block(0, 4), B).is_none());
        assert!(buffers.arrived(KEY.torrent, block(0, 4), A));
        assert!(
            buffers.keep(KEY.torrent, block(0, 4), A) && !buffers.keep(KEY.torrent, block(0, 4), A)
        );
        assert!(buffers.freeze(KEY).is_none(), "two are missing");
        assert!(
            buffers.put(KEY.torrent, block(4, 4), b"efgh")
                && buffers.put(KEY.torrent, block(8, 2), b"ij")
        );
        assert_eq!(buffers.freeze(KEY).unwrap(), &b"abcdefghij"[..]);
        assert!(!buffers.claim(KEY.torrent, block(0, 4), B), "frozen");
        assert_eq!(buffers.freeze(KEY).unwrap().len(), 10, "as often as it is asked for");
    }

    #[test]
    fn what_is_under_way_is_not_lost_with_the_piece() {
        let mut buffers = piece();
        assert!(buffers.claim(KEY.torrent, block(4, 4), A));
        buffers.bytes_mut(KEY.torrent, block(4, 4), A).unwrap()[..2].copy_from_slice(b"ef");
        let evicted = buffers.release(KEY);
        assert_eq!(evicted.len(), 1);
        assert_eq!(
            (evicted[0].conn, evicted[0].bytes.len(), &evicted[0].bytes[..2]),
            (A, 4, &b"ef"[..])
        );
        assert!(!buffers.arrived(KEY.torrent, block(4, 4), A), "there is no such place");
    }

    #[test]
    fn the_copy_that_is_whole_first_has_the_place() {
        let mut buffers = piece();
        assert!(buffers.claim(KEY.torrent, block(4, 4), A));
        buffers.bytes_mut(KEY.torrent, block(4, 4), A).unwrap()[..2].copy_from_slice(b"ef");
        assert!(!buffers.put(KEY.torrent, block(4, 4), b"efgh"), "the place is taken");
        let evicted = buffers.evict(KEY.torrent, block(4, 4)).unwrap();
        assert_eq!((evicted.conn, &evicted.bytes[..2]), (A, &b"ef"[..]));
        assert!(buffers.put(KEY.torrent, block(4, 4), b"efgh"));
        assert!(
            !buffers.arrived(KEY.torrent, block(4, 4), A)
                && !buffers.claim(KEY.torrent, block(4, 4), A)
        );
        assert_eq!(
            buffers.evict(KEY.torrent, block(4, 4)),
            None,
            "no copy is being received any more"
        );
    }

    #[test]
    fn a_parked_copy_that_came_second_leaves_the_place() {
        let mut buffers = piece();
        assert!(buffers.claim(KEY.torrent, block(4, 4), A));
        // B's copy has come elsewhere by now, and then all of A's comes.
        assert!(buffers.arrived(KEY.torrent, block(4, 4), A));
        assert_eq!(buffers.evict(KEY.torrent, block(4, 4)), None);
        assert!(
            buffers.put(KEY.torrent, block(4, 4), b"efgh"),
            "B's is kept, because it was first"
        );
        buffers.discard(KEY.torrent, block(4, 4), A);
        assert!(!buffers.put(KEY.torrent, block(4, 4), b"efgh"), "dropping A's takes nothing away");
    }

    #[test]
    fn spilled_blocks_are_read_back() {
        let mut buffers = piece();
        assert!(buffers.put(KEY.torrent, block(8, 2), b"ij"));
        let (blocks, evicted) = buffers.spill(KEY).unwrap();
        assert_eq!((blocks.len(), &blocks[0].1[..], evicted.len()), (1, &b"ij"[..], 0));
        let charge = Budget::new(100).reserve(0, 10).unwrap();
        assert_eq!(buffers.reserve(KEY, charge, 10, 4, false), [block(8, 2)]);
        buffers.release(KEY);
        let charge = Budget::new(100).reserve(0, 10).unwrap();
        assert!(buffers.reserve(KEY, charge, 10, 4, false).is_empty(), "it was forgotten");
    }

    #[test]
    fn memory_that_is_lent_comes_back() {
        let mut buffers = piece();
        assert!(buffers.claim(KEY.torrent, block(0, 4), A));
        let mut lent = buffers.lend(KEY).unwrap();
        assert!(buffers.lend(KEY).is_none() && !buffers.claim(KEY.torrent, block(4, 4), A));
        lent.bytes_mut()[..4].copy_from_slice(b"abcd");
        buffers.give_back(KEY, lent);
        assert!(
            buffers.arrived(KEY.torrent, block(0, 4), A)
                && buffers.keep(KEY.torrent, block(0, 4), A)
        );
    }
}
