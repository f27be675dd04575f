//! What must hold for any bytes at all. Fuzz targets and replay tests call this.

use crate::{
    BLOCK_LENGTH, MAX_TORRENT_SIZE, Magnet, PathRules, Torrent, TorrentEdit, check_name,
    parse_token_file, sanitize, write_token_file,
};
use dunlin_base::{FileIndex, PieceIndex};

/// More pieces, files or path bytes than this are not walked, to keep a run short.
const WALKED: usize = 1_000;

/// Asserts the promises of all readers of this crate on `data`.
///
/// # Panics
/// If a promise is broken.
pub fn metainfo(data: &[u8]) {
    for windows in [false, true] {
        let rules = PathRules { windows, fold_case: windows };
        if let Ok(torrent) = Torrent::parse_with(data, rules) {
            check_torrent(&torrent, rules);
        }
        if let Ok(torrent) = Torrent::parse_info(data, rules) {
            assert_eq!(torrent.info(), data);
            check_torrent(&torrent, rules);
        }
        let components: Vec<&[u8]> = data.split(|byte| *byte == b'/').take(50).collect();
        let path = sanitize(&components, rules);
        assert_eq!(check_name(&path.join("/")), Ok(()), "sanitised names are safe");
        let again: Vec<&[u8]> = path.iter().map(|name| name.as_bytes()).collect();
        assert_eq!(sanitize(&again, rules), path, "sanitising twice changes nothing");
    }
    if let Ok(torrent) = Torrent::parse(data) {
        let mut edit = TorrentEdit::open(data).expect("what is read can be edited");
        edit.comment(None);
        let edited = Torrent::parse(&edit.finish()).expect("what was edited can be read");
        assert_eq!(edited.hashes, torrent.hashes, "a comment changes no hash");
        assert_eq!(edited.info(), torrent.info());
    }
    if let Ok(tokens) = parse_token_file(data) {
        let written = write_token_file(&tokens);
        assert_eq!(parse_token_file(&written).as_ref(), Ok(&tokens));
    }
}

/// Asserts the promises of magnet links on `data`.
///
/// # Panics
/// If a promise is broken.
pub fn magnet(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(magnet) = text.parse::<Magnet>() {
        let written = magnet.to_string();
        if written.len() <= crate::MAX_MAGNET {
            assert_eq!(written.parse().as_ref(), Ok(&magnet), "write, read is stable");
        }
    }
}

fn check_torrent(torrent: &Torrent, rules: PathRules) {
    let encoded = torrent.to_bytes();
    if encoded.len() <= MAX_TORRENT_SIZE {
        let again = Torrent::parse_with(&encoded, rules);
        assert_eq!(again.as_ref(), Ok(torrent), "read, write, read is stable");
    }
    let geometry = torrent.geometry(BLOCK_LENGTH);
    match torrent.content(BLOCK_LENGTH) {
        Some(content) => {
            assert_eq!(geometry.pieces() as usize, torrent.pieces.len());
            assert!(geometry.piece(0).is_none_or(|piece| content.expected(piece).is_some()));
        }
        None => assert!(!torrent.has_layers() && torrent.hashes.v1.is_none()),
    }
    for (root, layer) in torrent.layers().take(WALKED) {
        let tree = torrent.tree(root).expect("a layer makes a tree");
        assert_eq!(tree.root(), *root);
        assert!(!layer.is_empty());
    }
    assert_eq!(geometry.files() as usize, torrent.files.len());
    let mut names = std::collections::BTreeSet::new();
    for (index, file) in torrent.files.iter().enumerate().take(WALKED) {
        let length = if file.attributes.pad { 0 } else { file.length };
        assert_eq!(geometry.file_length(FileIndex(index as u32)), length);
        let name = file.path.join("/");
        assert_eq!(check_name(&name), Ok(()));
        assert!(file.attributes.pad || names.insert(name), "paths are unique");
    }
    for piece in (0..geometry.pieces()).take(WALKED).map(PieceIndex) {
        assert!(geometry.data_len(piece) <= geometry.hashed_len(piece));
        assert!(geometry.data_len(piece) > 0, "every piece has blocks");
        let last = geometry.block(piece, geometry.blocks(piece) - 1);
        assert_eq!(geometry.block_index(last), Some(geometry.blocks(piece) - 1));
        assert_eq!(last.begin + last.len, geometry.data_len(piece));
        let bytes: u64 = geometry.extents(last).map(|extent| u64::from(extent.len)).sum();
        assert!(bytes <= u64::from(last.len));
    }
}
