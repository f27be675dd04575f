//! Hashes for peers that ask us (BEP 52).

use super::Client;
use super::layers;
use super::torrent_entry::TorrentEntry;
use crate::client::io::ClientOutput;
use crate::swarm::io::SwarmOutput;
use dunlin_base::{ConnId, PieceIndex, PieceKey, TorrentId};
use dunlin_metainfo::merkle::{FileTree, Node as TreeNode};
use dunlin_wire::{HashRange, Message};

/// Requests for hashes of blocks that wait for the disk; more are rejected.
const MAX_WAITING: usize = 64;
/// Those of one peer: so one cannot have the disk to itself.
const MAX_WAITING_PER_PEER: usize = 4;

impl Client {
    /// A peer asks us for hashes.
    pub(super) fn hash_request(&mut self, id: TorrentId, conn: ConnId, range: HashRange) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let span = layers::span(&range);
        let piece = entry.tree(range.root).and_then(|tree| tree.needs_leaves(span));
        let Some(piece) = piece else {
            let nodes = entry.tree(range.root).and_then(|tree| tree.answer(span, &[]));
            self.answer(id, conn, range, nodes);
            return;
        };
        let have = self.session.torrent(id).map(|swarm| &swarm.have);
        let piece = entry.piece_of(range.root, piece);
        let piece = piece.filter(|piece| have.is_some_and(|have| have.has(*piece)));
        let service = &mut entry.hash_trees;
        let waiting = || service.waiting.values().flatten();
        let own = waiting().filter(|(of, _)| *of == conn).count();
        let room = waiting().count() < MAX_WAITING && own < MAX_WAITING_PER_PEER;
        let Some(piece) = piece.filter(|_| room) else {
            self.answer(id, conn, range, None);
            return;
        };
        let askers = service.waiting.entry(piece).or_default();
        askers.push((conn, range));
        if askers.len() == 1 {
            self.push(ClientOutput::HashBlocks(PieceKey { torrent: id, piece }));
        }
    }

    /// The hashes of a piece's blocks are there.
    pub(super) fn block_hashes(&mut self, id: TorrentId, piece: PieceIndex, leaves: &[TreeNode]) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        for (conn, range) in entry.hash_trees.waiting.remove(&piece).unwrap_or_default() {
            let Some(entry) = self.torrents.get_mut(&id) else { return };
            let span = layers::span(&range);
            let nodes = entry.tree(range.root).filter(|_| !leaves.is_empty());
            let nodes = nodes.and_then(|tree| tree.answer(span, leaves));
            self.answer(id, conn, range, nodes);
        }
    }

    /// Answers a peer that is still there.
    fn answer(
        &mut self,
        id: TorrentId,
        conn: ConnId,
        range: HashRange,
        nodes: Option<Vec<TreeNode>>,
    ) {
        if !self
            .session
            .torrent(id)
            .is_some_and(|swarm| swarm.connections.peers.contains_key(&conn))
        {
            return;
        }
        let message = match nodes {
            Some(nodes) => Message::Hashes { range, hashes: nodes.concat().into() },
            None => Message::HashReject(range),
        };
        self.session.push(SwarmOutput::Send { conn, message });
    }
}

impl TorrentEntry {
    fn tree(&mut self, root: TreeNode) -> Option<&FileTree> {
        self.hash_trees.tree(self.metainfo.as_ref()?, root)
    }

    /// The piece that is the `index`th of the first file with this root.
    fn piece_of(&self, root: TreeNode, index: u32) -> Option<PieceIndex> {
        let file = self.metainfo.as_ref()?.files_with_root(&root).next()?;
        let mut pieces = self.geometry.as_ref()?.file_pieces(file);
        pieces.nth(index as usize).map(PieceIndex)
    }
}
