//! What must hold for any bytes at all. Fuzz targets and replay tests call this.

use crate::{
    BLOCK_LENGTH, MAX_TORRENT_SIZE, Magnet, PathRules, Torrent, TorrentEdit, parse_token_file,
    resolve_path, sanitize, write_token_file,
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
        path.iter().for_each(|name| check_component(name));
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

/// Links lead to something within the torrent, and other names are those of nobody else.
fn check_links(torrent: &Torrent) {
    let Some(content) = torrent.content(BLOCK_LENGTH) else { return };
    let mut places = std::collections::BTreeSet::new();
    for file in content.files.iter().take(WALKED).filter(|file| !file.name.is_empty()) {
        for place in file.places() {
            assert!(places.insert(place.to_vec()), "two files share a name");
            for name in place.split(|byte| *byte == b'/') {
                assert!(!matches!(name, b"" | b"." | b".."), "it leaves its folder");
                assert!(name.len() <= crate::MAX_COMPONENT && !name.contains(&0));
                assert!(!crate::is_own_name(&String::from_utf8_lossy(name)));
            }
        }
        let Some(text) = &file.link else { continue };
        assert_eq!(file.length, 0);
        let mut folder: Vec<&[u8]> = file.name.as_bytes().split(|byte| *byte == b'/').collect();
        folder.pop();
        assert!(resolve_path(&folder, text).is_some_and(|path| !path.is_empty()), "it leaves");
        assert!(file.is_link(file.name.as_bytes(), text));
    }
}

/// What must hold of every name that we create.
fn check_component(name: &str) {
    assert!(!matches!(name, "" | "." | "..") && !crate::is_own_name(name), "{name:?}");
    assert!(!name.chars().any(|c| c == '/' || c.is_control()), "{name:?}");
    assert!(name.len() <= crate::MAX_COMPONENT, "{name:?}");
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
        file.path.iter().for_each(|name| check_component(name));
        let name = file.path.join("/");
        assert!(file.attributes.pad || names.insert(name), "paths are unique");
    }
    check_links(torrent);
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
