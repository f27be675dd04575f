//! Hash trees of files, and requests for hashes that wait for the disk (BEP 52).

use dunlin_base::{ConnId, PieceIndex};
use dunlin_metainfo::Torrent;
use dunlin_metainfo::merkle::{FileTree, Node as TreeNode};
use dunlin_wire::HashRange;
use std::collections::BTreeMap;

/// Trees of files that are kept for answers.
const MAX_TREES: usize = 16;

/// Hashes for peers that ask.
#[derive(Debug, Default)]
pub(super) struct HashTrees {
    trees: BTreeMap<TreeNode, FileTree>,
    /// Requests that wait for the hashes of a piece's blocks.
    pub(super) waiting: BTreeMap<PieceIndex, Vec<(ConnId, HashRange)>>,
}

impl HashTrees {
    /// The tree of the files with this root, made once.
    pub(super) fn tree(&mut self, metainfo: &Torrent, root: TreeNode) -> Option<&FileTree> {
        if !self.trees.contains_key(&root) {
            let tree = metainfo.tree(&root)?;
            if self.trees.len() >= MAX_TREES {
                self.trees.pop_first();
            }
            self.trees.insert(root, tree);
        }
        self.trees.get(&root)
    }
}
