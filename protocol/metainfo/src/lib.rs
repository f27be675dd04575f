//! What a torrent is: .torrent files, magnet links and trees of hashes, the geometry of pieces,
//! blocks and files, the sets of a cluster, token files, and file names that are safe to create.
//!
//! This crate never reads or writes a file and never hashes payload: it says which bytes belong
//! where, and which hash they must have.
//!
//! ```
//! use dunlin_metainfo::{BLOCK_LENGTH, Geometry};
//!
//! // Two files of 20 000 and 5 000 bytes share the second of two pieces (BEP 3).
//! let geometry = Geometry::contiguous(16_384, BLOCK_LENGTH, &[20_000, 5_000])?;
//! let piece = geometry.piece(1).ok_or("no such piece")?;
//! assert_eq!(geometry.data_len(piece), 8_616);
//! let extents: Vec<_> = geometry.extents(geometry.block(piece, 0)).collect();
//! assert_eq!((extents[0].file.0, extents[0].offset, extents[0].len), (0, 16_384, 3_616));
//! assert_eq!((extents[1].file.0, extents[1].offset, extents[1].len), (1, 0, 5_000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod content;
mod edit;
mod escape;
#[doc(hidden)]
pub mod fuzzing;
mod geometry;
mod info_hashes;
mod magnet;
pub mod merkle;
mod path;
mod piece_hashes;
mod set;
mod token;
mod torrent;
mod tree;
mod zeros;

pub use build::{
    BuildError, Format, NewFile, NewHashes, NewTorrent, dangling_links, usual_piece_length,
};
pub use content::{Aliases, Content, ContentFile, ExpectedPiece};
pub use edit::TorrentEdit;
pub use escape::{escape_name, is_escaped_well, unescape_name};
pub use geometry::{BLOCK_LENGTH, Entry, Extent, Geometry, GeometryError, MAX_PIECES};
pub use info_hashes::InfoHashes;
pub use magnet::{MAX_MAGNET, Magnet, MagnetError};
pub use path::{
    MAX_COMPONENT, MAX_DEPTH, MAX_DUPLICATES, NameError, PART_SUFFIX, PathError, PathRules,
    STATE_DIR, check_name, is_own_name, link_text, resolve_duplicates, resolve_path, sanitize,
    sanitize_component, sanitize_name,
};
pub use piece_hashes::{HashKind, PieceHashes};
pub use set::{
    CLUSTER_BLOCK_LENGTH, CLUSTER_BLOCK_LENGTHS, MAX_SET_PIECE_LENGTH, SetError, SetFile, SetInfo,
    check_cluster_block_length, check_piece_length, cluster_block_length, piece_length_for,
};
pub use token::{
    MAX_TOKEN, TokenError, check_token, parse_token_file, token_info_hash, write_token_file,
};
pub use torrent::{
    Attributes, MAX_INFO_SIZE, MAX_PIECE_LENGTH, MAX_TORRENT_SIZE, MetainfoError, MissingLayer,
    Torrent, TorrentFile,
};
pub use tree::{EntryError, EntryKind, EntryMeta, MAX_ATTRIBUTES, MAX_TARGET, TreeEntry};
pub use zeros::zero_hash;
