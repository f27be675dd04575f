//! The pieces that a rank holds in memory while they come in. Blocks are kept as they were
//! received: no byte is copied between the sender's read and our write.

use bytes::Bytes;
use dunlin_base::{BlockRef, PieceKey};
use dunlin_disk::Charge;
use dunlin_metainfo::Geometry;
use std::collections::BTreeMap;

/// One piece.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// The memory that it is charged for.
    charge: Option<Charge>,
    /// Its blocks are written as they come.
    pub(super) streamed: bool,
    blocks: Vec<Option<Bytes>>,
    /// Blocks that lie in the part file.
    spilled: Vec<BlockRef>,
}

/// Blocks that leave memory, with what they are charged for.
pub(super) type Spilled = (Vec<(BlockRef, Bytes)>, Option<Charge>);

/// All pieces of a rank that are on their way.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    all: BTreeMap<PieceKey, Buffer>,
}

/// What a reserved piece needs before it can be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// Nothing.
    Ready,
    /// These blocks must be read back first.
    Load(Vec<BlockRef>),
}

impl Buffers {
    /// A piece got its memory.
    pub(super) fn reserve(
        &mut self,
        key: PieceKey,
        charge: Charge,
        streamed: bool,
        blocks: u32,
    ) -> Reserved {
        let buffer = self.all.entry(key).or_default();
        buffer.charge = Some(charge);
        buffer.streamed = streamed;
        if !streamed {
            buffer.blocks.resize(blocks as usize, None);
        }
        match std::mem::take(&mut buffer.spilled) {
            spilled if spilled.is_empty() => Reserved::Ready,
            spilled => Reserved::Load(spilled),
        }
    }

    pub(super) fn get(&self, key: PieceKey) -> Option<&Buffer> {
        self.all.get(&key)
    }

    /// Puts a block into its place; false if the piece has no such place.
    pub(super) fn keep(&mut self, key: PieceKey, index: u32, data: Bytes) -> bool {
        let buffer = self.all.get_mut(&key);
        match buffer.and_then(|buffer| buffer.blocks.get_mut(index as usize)) {
            Some(place) => {
                *place = Some(data);
                true
            }
            None => false,
        }
    }

    /// The blocks of a complete piece, in order.
    pub(super) fn parts(&self, key: PieceKey) -> Option<Vec<Bytes>> {
        let buffer = self.all.get(&key).filter(|buffer| !buffer.blocks.is_empty())?;
        buffer.blocks.iter().cloned().collect()
    }

    /// Takes the blocks out of memory: they and their charge, to be written. The piece is
    /// remembered.
    pub(super) fn spill(&mut self, key: PieceKey, geometry: &Geometry) -> Option<Spilled> {
        let buffer = self.all.get_mut(&key)?;
        let charge = buffer.charge.take();
        let mut blocks = Vec::new();
        for (index, place) in (0..).zip(&mut buffer.blocks) {
            if let Some(data) = place.take() {
                blocks.push((geometry.block(key.piece, index), data));
            }
        }
        buffer.spilled = blocks.iter().map(|(block, _)| *block).collect();
        Some((blocks, charge))
    }

    /// Forgets a piece and gives its memory back.
    pub(super) fn release(&mut self, key: PieceKey) -> Option<Buffer> {
        self.all.remove(&key)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }
}
