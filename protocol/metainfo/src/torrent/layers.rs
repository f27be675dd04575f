//! BEP 52, "piece layers": the hashes of a torrent of version 2 that stand beside its info
//! dictionary, and come from peers if they do not.

use dunlin_base::{FileIndex, hex};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{MetainfoError, Torrent};
use crate::content::{Content, ContentFile};
use crate::geometry::Geometry;
use crate::merkle::{FileTree, Node, piece_layer_of, root_of};
use crate::path::link_text;
use crate::piece_hashes::PieceHashes;

/// A piece layer that is still to be fetched from peers (BEP 52, "hash request").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingLayer {
    /// The root of the file, which names the layer.
    pub root: Node,
    /// The first file with that root.
    pub file: FileIndex,
    /// The length of the file in bytes; more than a piece.
    pub length: u64,
    /// How many hashes the layer has: one for each piece of the file.
    pub pieces: u32,
}

impl Torrent {
    /// The piece layers that are known, by the root of their file, in the order of the roots. Only
    /// files of more than one piece have one.
    pub fn layers(&self) -> impl Iterator<Item = (&Node, &Arc<[Node]>)> {
        self.layers.iter()
    }

    /// The piece layers that are missing, in the order of their roots: all of them where the info
    /// dictionary came from peers; none for a torrent of version 1.
    #[must_use]
    pub fn layers_missing(&self) -> Vec<MissingLayer> {
        let mut missing = self.wanted_layers();
        missing.retain(|root, _| !self.layers.contains_key(root));
        missing.into_values().collect()
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn has_layers(&self) -> bool {
        self.layers_missing().is_empty()
    }

    /// The torrent with these piece layers, too: the hashes of each by the root of the file,
    /// without filling.
    ///
    /// # Errors
    /// If a root names no file of more than one piece, or a layer has another length or root.
    pub fn with_layers(
        mut self,
        layers: BTreeMap<Node, Vec<Node>>,
    ) -> Result<Torrent, MetainfoError> {
        let wanted = self.wanted_layers();
        let height = piece_layer_of(self.piece_length);
        for (root, layer) in layers {
            let fault = |fault: String| MetainfoError::Layer { root: hex(&root), fault };
            let Some(place) = wanted.get(&root) else {
                let why = "no file of more than one piece has that root";
                return Err(fault(why.to_owned()));
            };
            if layer.len() != place.pieces as usize {
                let (found, pieces) = (layer.len(), place.pieces);
                return Err(fault(format!("it has {found} hashes, expected {pieces}")));
            }
            if root_of(&layer, height) != root {
                return Err(fault("its hashes have another root".to_owned()));
            }
            self.layers.insert(root, layer.into());
        }
        self.assemble();
        Ok(self)
    }

    /// The tree of the files with that root, for messages about hashes; `None` if there is no such
    /// file, or its layer is missing.
    #[must_use]
    pub fn tree(&self, root: &Node) -> Option<FileTree> {
        let file = self.files.iter().find(|file| file.root == Some(*root))?;
        let layer = match self.layers.get(root) {
            Some(layer) => layer,
            None if file.length <= u64::from(self.piece_length) => &Arc::default(),
            None => return None,
        };
        FileTree::new(*root, file.length, self.piece_length, layer)
    }

    /// The files with that root, which have the same bytes: the first knows where pieces lie.
    pub fn files_with_root(&self, root: &Node) -> impl Iterator<Item = FileIndex> {
        let root = *root;
        let files = self.files.iter().zip(0_u32..);
        files.filter(move |(file, _)| file.root == Some(root)).map(|(_, index)| FileIndex(index))
    }

    /// What whoever stores the torrent has to know; `None` as long as piece layers are missing
    /// without which no piece can be verified. A hybrid torrent is verified by version 1.
    #[must_use]
    pub fn content(&self, block_length: u32) -> Option<Content> {
        let geometry = self.geometry(block_length);
        if self.pieces.len() != geometry.pieces() as usize {
            return None;
        }
        let files = self.files.iter().enumerate().map(|(index, file)| {
            if file.attributes.pad {
                return ContentFile::default();
            }
            let folder = file.path.split_last().map_or(&[][..], |(_, folder)| folder);
            ContentFile {
                name: self.stored_path(index).unwrap_or_default(),
                length: file.length,
                // A link has no rights of its own, whatever its attributes say.
                executable: file.attributes.executable && file.target.is_none(),
                link: file.target.as_ref().map(|target| link_text(folder, target)),
                aliases: file.aliases.clone(),
            }
        });
        Some(Content {
            info_hash: self.hashes.first(),
            files: files.collect(),
            geometry,
            hashes: self.pieces.clone(),
        })
    }

    /// Checks that files with one root have one length, and that there is anything to move; and
    /// gathers the hashes of pieces, where files are not longer than a piece.
    pub(super) fn check_roots(&mut self) -> Result<(), MetainfoError> {
        if self.hashes.v2.is_none() {
            return Ok(());
        }
        let mut lengths = BTreeMap::new();
        for file in &self.files {
            let Some(root) = file.root else { continue };
            if *lengths.entry(root).or_insert(file.length) != file.length {
                let path = file.path.join("/");
                let fault = "another file of another length has the same root";
                return Err(MetainfoError::FileTree { path, fault });
            }
        }
        if self.files.is_empty() {
            return Err(MetainfoError::Nothing);
        }
        if self.hashes.v1.is_none() {
            let lengths: Vec<u64> = self.files.iter().map(|file| file.length).collect();
            Geometry::aligned(self.piece_length, self.piece_length, &lengths)?;
        }
        self.assemble();
        Ok(())
    }

    /// The layers that the files need, by root.
    fn wanted_layers(&self) -> BTreeMap<Node, MissingLayer> {
        let mut wanted = BTreeMap::new();
        for (file, index) in self.files.iter().zip(0_u32..) {
            let pieces = file.length.div_ceil(u64::from(self.piece_length));
            if let (Some(root), true) = (file.root, pieces > 1) {
                let (file, length) = (FileIndex(index), file.length);
                let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
                wanted.entry(root).or_insert(MissingLayer { root, file, length, pieces });
            }
        }
        wanted
    }

    /// Puts the hashes of all pieces together, once they are known.
    fn assemble(&mut self) {
        if self.hashes.v1.is_some() || !self.has_layers() {
            return;
        }
        let mut hashes = Vec::new();
        for root in self.files.iter().filter_map(|file| file.root) {
            match self.layers.get(&root) {
                Some(layer) => hashes.extend_from_slice(layer),
                None => hashes.push(root),
            }
        }
        self.pieces = PieceHashes::Merkle(hashes.into());
    }
}
