//! BEP 52, "merkle trees": the trees of SHA-256 over the blocks of a file, their layers, and the
//! proofs with which peers send hashes of them.
//!
//! Layer 0 of a tree holds the hashes of the file's blocks of 16 KiB, filled up with zeros to a
//! power of two; each node above is the hash of the two below it. Layer `k` of a torrent's trees,
//! whose nodes cover a piece each, is the piece layer. No payload is hashed here.

use crate::geometry::BLOCK_LENGTH;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A node of a tree: a SHA-256.
pub type Node = [u8; 32];

/// The most hashes that one request may ask for (practice of common programs, which ask for 512).
pub const MAX_SPAN: u32 = 8192;

/// How many hashes of a piece layer one request of ours asks for (BEP 52: at most 512 are to be
/// expected).
pub const USUAL_SPAN: u32 = 512;

/// The parent of two nodes.
#[must_use]
pub fn parent(left: &Node, right: &Node) -> Node {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

/// The root over 2^`layer` leaves of zeros: what fills up layer `layer` of a tree.
#[must_use]
pub fn zero_node(layer: u32) -> Node {
    let mut node = [0; 32];
    for _ in 0..layer.min(64) {
        node = parent(&node, &node);
    }
    node
}

/// How many blocks of 16 KiB a file of `length` bytes has.
#[must_use]
pub fn leaves_of(length: u64) -> u64 {
    length.div_ceil(u64::from(BLOCK_LENGTH))
}

/// How many layers the tree of a file of `length` bytes has above its leaves.
#[must_use]
pub fn layers_of(length: u64) -> u32 {
    leaves_of(length).max(1).next_power_of_two().trailing_zeros()
}

/// The layer whose nodes cover a piece of `piece_length` bytes, a power of two of at least 16 KiB.
#[must_use]
pub fn piece_layer_of(piece_length: u32) -> u32 {
    (piece_length / BLOCK_LENGTH).max(1).trailing_zeros()
}

/// The root over the nodes of layer `layer`, which are filled up to the next power of two.
///
/// For a file these are its leaves (layer 0), or its piece layer. For one piece of a file that is
/// longer than a piece see [`root_over`].
#[must_use]
pub fn root_of(nodes: &[Node], layer: u32) -> Node {
    root_over(nodes, layer, nodes.len().max(1).next_power_of_two().trailing_zeros())
}

/// The root over 2^`height` nodes of layer `layer`, of which all behind `nodes` are filling. Nodes
/// beyond that number are not looked at.
#[must_use]
pub fn root_over(nodes: &[Node], layer: u32, height: u32) -> Node {
    let width = 1_usize.checked_shl(height).unwrap_or(usize::MAX).min(nodes.len());
    let mut level = nodes.get(..width).unwrap_or_default().to_vec();
    let mut filling = zero_node(layer);
    if level.is_empty() {
        return zero_node(layer + height);
    }
    for _ in 0..height {
        level = above(&level, &filling);
        filling = parent(&filling, &filling);
    }
    level.first().copied().unwrap_or(filling)
}

/// The nodes above these, of which an odd last one stands beside `filling`.
fn above(level: &[Node], filling: &Node) -> Vec<Node> {
    let pair = |pair: &[Node]| match pair {
        [left, right, ..] => parent(left, right),
        [left] => parent(left, filling),
        [] => *filling,
    };
    level.chunks(2).map(pair).collect()
}

/// Some hashes of one layer of a file's tree, as peers ask for them (BEP 52, "hash request").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashSpan {
    /// The layer, counted from the leaves.
    pub base: u32,
    /// The first hash in that layer; a multiple of `length`.
    pub index: u32,
    /// How many hashes: a power of two, at least 2.
    pub length: u32,
    /// How many layers above `base` are proven; the lower ones of them can be computed and are not
    /// sent.
    pub proof: u32,
}

impl HashSpan {
    /// What to ask for to get the whole piece layer of a file of `length` bytes, with proofs up to
    /// its root; nothing for a file that is not longer than a piece.
    pub fn of_piece_layer(
        length: u64,
        piece_length: u32,
    ) -> impl Iterator<Item = HashSpan> + use<> {
        let base = piece_layer_of(piece_length);
        let nodes = length.div_ceil(u64::from(piece_length.max(1)));
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
        let proof = layers_of(length).saturating_sub(base + 1);
        let starts = (0..nodes).step_by(USUAL_SPAN as usize).filter(move |_| nodes > 1);
        starts.map(move |index| {
            let rest = (nodes - index).min(USUAL_SPAN);
            HashSpan { base, index, length: rest.max(2).next_power_of_two(), proof }
        })
    }

    /// How many hashes of uncles follow those of the span: the sibling of its own root first, then
    /// one a layer.
    #[must_use]
    pub fn uncles(&self) -> u32 {
        self.proof.saturating_add(1).saturating_sub(self.height())
    }

    /// How many hashes an answer has.
    #[must_use]
    pub fn hashes(&self) -> u32 {
        self.length.saturating_add(self.uncles())
    }

    /// Whether somebody may ask that of a tree of `layers` layers (BEP 52, with the limits of
    /// common programs).
    #[must_use]
    pub fn is_within(&self, layers: u32) -> bool {
        let width = 1_u64.checked_shl(layers.saturating_sub(self.base)).unwrap_or(0);
        self.base < layers
            && (2..=MAX_SPAN).contains(&self.length)
            && self.length.is_power_of_two()
            && self.index.is_multiple_of(self.length)
            && u64::from(self.index) + u64::from(self.length) <= width
            && self.proof < layers - self.base
    }

    /// Layers from the span's hashes to their common root.
    fn height(&self) -> u32 {
        self.length.max(1).trailing_zeros()
    }
}

/// Whether `hashes`, the answer to `span`, belong to the tree of `layers` layers with this root:
/// the span's own hashes first, then the uncles up to the root. Only an answer that reaches the
/// root can be right; so a span must ask for the proof of all layers, as
/// [`HashSpan::of_piece_layer`] does.
#[must_use]
pub fn check_proof(root: &Node, layers: u32, span: HashSpan, hashes: &[Node]) -> bool {
    if !span.is_within(layers) || hashes.len() != span.hashes() as usize {
        return false;
    }
    if span.base + span.height() + span.uncles() != layers {
        return false;
    }
    let (own, uncles) = hashes.split_at(span.length as usize);
    let mut node = root_over(own, span.base, span.height());
    let mut index = span.index >> span.height();
    for uncle in uncles {
        node = if index.is_multiple_of(2) { parent(&node, uncle) } else { parent(uncle, &node) };
        index /= 2;
    }
    node == *root
}

/// What is known of the tree of one file: its root, and its piece layer with all above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTree {
    root: Node,
    layers: u32,
    piece_layer: u32,
    /// The piece layer without its filling, and the layers above it; nothing for a file that is not
    /// longer than a piece.
    levels: Arc<[Vec<Node>]>,
}

impl FileTree {
    /// The tree of a file of `length` bytes. `layer` is its piece layer without filling, empty for
    /// a file that is not longer than a piece.
    ///
    /// `None` if the layer does not fit the length, or has another root.
    #[must_use]
    pub fn new(root: Node, length: u64, piece_length: u32, layer: &[Node]) -> Option<FileTree> {
        let (layers, piece_layer) = (layers_of(length), piece_layer_of(piece_length));
        let pieces = length.div_ceil(u64::from(piece_length.max(1)));
        let expected = if pieces > 1 { pieces } else { 0 };
        if layer.len() as u64 != expected {
            return None;
        }
        let mut levels = Vec::new();
        if !layer.is_empty() {
            let mut filling = zero_node(piece_layer);
            let mut level = layer.to_vec();
            for _ in piece_layer..layers {
                let next = above(&level, &filling);
                filling = parent(&filling, &filling);
                levels.push(std::mem::replace(&mut level, next));
            }
            if level != [root] {
                return None;
            }
            levels.push(level);
        }
        Some(FileTree { root, layers, piece_layer, levels: levels.into() })
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Node {
        self.root
    }

    /// How many layers there are above the leaves.
    #[must_use]
    pub fn layers(&self) -> u32 {
        self.layers
    }

    /// The piece of the file, counted from its first, whose leaf hashes are needed to answer
    /// `span`; `None` if it is answered without, or not at all.
    #[must_use]
    pub fn needs_leaves(&self, span: HashSpan) -> Option<u32> {
        let asked = span.is_within(self.layers) && span.base == 0 && !self.knows(0);
        let height = self.piece_layer.min(self.layers);
        (asked && span.height() <= height).then_some(span.index >> height)
    }

    /// The hashes that answer `span`: its own, then its uncles. `leaves` are the leaf hashes of the
    /// piece that [`FileTree::needs_leaves`] names, without filling; otherwise they are not looked
    /// at.
    ///
    /// `None` if it is to be rejected: out of range, of a layer that nobody has to support, or with
    /// leaves that do not belong to the tree.
    #[must_use]
    pub fn answer(&self, span: HashSpan, leaves: &[Node]) -> Option<Vec<Node>> {
        if !span.is_within(self.layers) {
            return None;
        }
        let below = match self.needs_leaves(span) {
            Some(piece) => Some(self.below(piece, leaves)?),
            None => None,
        };
        let node = |layer: u32, index: u32| match (&below, self.knows(layer)) {
            (_, true) => Some(self.node(layer, index)),
            (Some(below), false) => below.node(layer, index),
            (None, false) => None,
        };
        let own = (span.index..span.index + span.length).map(|index| node(span.base, index));
        let first = span.base + span.height();
        let uncles = (first..first + span.uncles())
            .map(|layer| node(layer, (span.index >> (layer - span.base)) ^ 1));
        own.chain(uncles).collect()
    }

    /// Whether the nodes of a layer are kept.
    fn knows(&self, layer: u32) -> bool {
        layer >= self.piece_layer && !self.levels.is_empty()
    }

    /// A node of the piece layer or above it.
    fn node(&self, layer: u32, index: u32) -> Node {
        let level = self.levels.get((layer - self.piece_layer) as usize);
        let node = level.and_then(|level| level.get(index as usize));
        node.copied().unwrap_or_else(|| zero_node(layer))
    }

    /// The part of the tree over one piece, if the leaves are the right ones.
    fn below(&self, piece: u32, leaves: &[Node]) -> Option<Below> {
        let height = self.piece_layer.min(self.layers);
        let expected = if self.levels.is_empty() { self.root } else { self.node(height, piece) };
        let mut levels = vec![leaves.to_vec()];
        for layer in 0..height {
            let next = above(levels.last()?, &zero_node(layer));
            levels.push(next);
        }
        let whole = leaves.len() <= 1 << height && levels.last()?.as_slice() == [expected];
        whole.then_some(Below { first: piece << height, levels })
    }
}

/// The part of a tree over one piece.
struct Below {
    /// Its first leaf.
    first: u32,
    /// Its layers without filling, from the leaves up.
    levels: Vec<Vec<Node>>,
}

impl Below {
    fn node(&self, layer: u32, index: u32) -> Option<Node> {
        let level = self.levels.get(layer as usize)?;
        let index = index.checked_sub(self.first >> layer)?;
        Some(level.get(index as usize).copied().unwrap_or_else(|| zero_node(layer)))
    }
}

#[cfg(test)]
mod tests;
