//! Pieces that were started and are not yet ours: which of their blocks are open, asked for and
//! held.
//!
//! ```text
//!             Reserved            all held            matches           PieceWritten
//!   Reserving ────────▶ Active ──────────▶ Hashing ─────────▶ Storing ──────────────▶ gone: ours
//!       │ NoMemory       │ ▲                  │ no match, several senders
//!       ▼                ▼ │ Reserved         ▼
//!     gone: open again  Spilled             Failed (its blocks are digested) ──▶ gone: open again
//! ```
//!
//! A piece that is taken back while it is `Reserving` is `Abandoned` until the world has answered.

use dunlin_base::{BlockRef, ConnId, Endpoint, PieceIndex, Time};
use dunlin_metainfo::Geometry;
use std::collections::{BTreeMap, BTreeSet};

/// Where a started piece is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Memory was asked for.
    Reserving,
    /// Memory was asked for and is no longer wanted: it is given back when it comes.
    Abandoned,
    /// Blocks are asked for and arrive.
    Active,
    /// What it holds lies in the part file; no memory is held.
    Spilled,
    /// Every block is here; the hash is being computed.
    Hashing,
    /// The hash did not match; its blocks are being digested.
    Failed,
    /// The hash matched.
    Storing {
        /// It is on disk.
        written: bool,
        /// Nobody waits for digests of its blocks.
        digested: bool,
    },
}

/// One block of a started piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Not asked for.
    Open,
    /// Asked for; in endgame of a second peer too.
    Asked(ConnId, Option<ConnId>),
    /// Here, from this peer.
    Held(Endpoint),
}

/// A started piece.
#[derive(Clone, Debug)]
pub struct Partial {
    /// Where it is in its life.
    pub stage: Stage,
    /// Its blocks.
    pub blocks: Vec<Block>,
    /// The peer that is to give every block of it.
    pub planned: Option<ConnId>,
    /// A single peer must give it: several gave it once and it was wrong.
    pub single_source: bool,
    /// Streamed pieces: how many blocks past the first missing one may be asked for.
    pub stream_blocks: Option<u32>,
    /// When it last got a block, or was started.
    pub progress: Time,
    sequence: u64,
    open: u32,
    held: u32,
}

impl Partial {
    /// Blocks that nobody was asked for.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open
    }

    /// Blocks that are here.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.held
    }

    /// The first block that may be asked for now.
    #[must_use]
    pub fn first_open(&self) -> Option<u32> {
        if self.open == 0 {
            return None;
        }
        let missing = self.blocks.iter().position(|block| !matches!(block, Block::Held(_)))?;
        let end = self.stream_blocks.map_or(self.blocks.len(), |ahead| {
            self.blocks.len().min(missing + ahead.max(1) as usize)
        });
        let offset = self.blocks[missing..end].iter().position(|block| *block == Block::Open)?;
        Some((missing + offset) as u32)
    }

    /// Who gave how many of its blocks, each sender once, in order.
    #[must_use]
    pub fn senders(&self) -> BTreeMap<Endpoint, u32> {
        let mut senders = BTreeMap::new();
        for block in &self.blocks {
            if let Block::Held(from) = block {
                *senders.entry(*from).or_default() += 1;
            }
        }
        senders
    }
}

/// All started pieces of a torrent.
#[derive(Clone, Debug, Default)]
pub struct Partials {
    pieces: BTreeMap<PieceIndex, Partial>,
    /// Active pieces with open blocks, in the order in which they were started.
    ready: BTreeSet<(u64, PieceIndex)>,
    /// Pieces that lie in the part file alone.
    spilled: BTreeSet<PieceIndex>,
    next_sequence: u64,
}

impl Partials {
    /// Starts a piece: memory is being reserved.
    ///
    /// # Panics
    /// If the piece was started already.
    pub fn start(&mut self, piece: PieceIndex, blocks: u32, now: Time) -> &mut Partial {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let partial = Partial {
            stage: Stage::Reserving,
            blocks: vec![Block::Open; blocks as usize],
            planned: None,
            single_source: false,
            stream_blocks: None,
            progress: now,
            sequence,
            open: blocks,
            held: 0,
        };
        let old = self.pieces.insert(piece, partial);
        assert!(old.is_none(), "{piece:?} is started twice");
        self.pieces.get_mut(&piece).expect("it was just inserted")
    }

    /// The started piece.
    #[must_use]
    pub fn get(&self, piece: PieceIndex) -> Option<&Partial> {
        self.pieces.get(&piece)
    }

    /// The started piece, to plan it. Stages and blocks change only through the other methods.
    pub fn get_mut(&mut self, piece: PieceIndex) -> Option<&mut Partial> {
        self.pieces.get_mut(&piece)
    }

    /// Forgets a piece.
    pub fn remove(&mut self, piece: PieceIndex) -> Option<Partial> {
        let partial = self.pieces.remove(&piece)?;
        self.ready.remove(&(partial.sequence, piece));
        self.spilled.remove(&piece);
        Some(partial)
    }

    /// Moves a piece to another stage.
    pub fn set_stage(&mut self, piece: PieceIndex, stage: Stage) {
        if let Some(partial) = self.pieces.get_mut(&piece) {
            let old = std::mem::replace(&mut partial.stage, stage);
            if stage == Stage::Spilled {
                self.spilled.insert(piece);
            } else if old == Stage::Spilled {
                self.spilled.remove(&piece);
            }
            Self::sort_in(&mut self.ready, piece, partial);
        }
    }

    /// Changes one block.
    pub fn set_block(&mut self, piece: PieceIndex, index: u32, block: Block) {
        let Some(partial) = self.pieces.get_mut(&piece) else { return };
        let old = std::mem::replace(&mut partial.blocks[index as usize], block);
        partial.open -= u32::from(old == Block::Open);
        partial.open += u32::from(block == Block::Open);
        partial.held -= u32::from(matches!(old, Block::Held(_)));
        partial.held += u32::from(matches!(block, Block::Held(_)));
        Self::sort_in(&mut self.ready, piece, partial);
    }

    fn sort_in(ready: &mut BTreeSet<(u64, PieceIndex)>, piece: PieceIndex, partial: &Partial) {
        if partial.stage == Stage::Active && partial.open > 0 {
            ready.insert((partial.sequence, piece));
        } else {
            ready.remove(&(partial.sequence, piece));
        }
    }

    /// Active pieces with open blocks, first started first.
    pub fn ready(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.ready.iter().map(|(_, piece)| *piece)
    }

    /// Whether any active piece has open blocks.
    #[must_use]
    pub fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Spilled pieces, by index.
    pub fn spilled(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.spilled.iter().copied()
    }

    /// All started pieces, by index.
    pub fn iter(&self) -> impl Iterator<Item = (PieceIndex, &Partial)> {
        self.pieces.iter().map(|(piece, partial)| (*piece, partial))
    }

    /// How many pieces were started.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether no piece is started.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Checks all invariants.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self, geometry: &Geometry) {
        for (piece, partial) in &self.pieces {
            assert_eq!(partial.blocks.len(), geometry.blocks(*piece) as usize);
            let count = |wanted: fn(&Block) -> bool| {
                partial.blocks.iter().filter(|block| wanted(block)).count() as u32
            };
            assert_eq!(partial.open, count(|block| *block == Block::Open), "{piece:?}");
            assert_eq!(partial.held, count(|block| matches!(block, Block::Held(_))), "{piece:?}");
            let ready = self.ready.contains(&(partial.sequence, *piece));
            assert_eq!(ready, partial.stage == Stage::Active && partial.open > 0, "{piece:?}");
            let asked = partial.blocks.len() as u32 - partial.open - partial.held;
            if !matches!(partial.stage, Stage::Active) {
                assert_eq!(asked, 0, "{piece:?} is {:?} and asks", partial.stage);
            }
        }
        assert!(self.ready.iter().all(|(_, piece)| self.pieces.contains_key(piece)));
        let spilled = self.pieces.iter().filter(|(_, partial)| partial.stage == Stage::Spilled);
        assert!(self.spilled.iter().eq(spilled.map(|(piece, _)| piece)));
    }
}

/// The index of a block that the geometry made.
pub(crate) fn index_of(geometry: &Geometry, block: BlockRef) -> Option<u32> {
    geometry.block_index(block)
}
