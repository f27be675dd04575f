//! The keys of a .torrent file, one after another. Optional keys with a wrong type count as absent.

use bytes::Bytes;
use dunlin_base::{InfoHash, hex};
use dunlin_bencode::{DecodeError, Dict, Kind, Limits, Mode, Node, decode};
use std::collections::{BTreeMap, BTreeSet};

use super::files::{attributes, in_tree, join, listed, safe};
use super::raw_file::{RawFile, shown};
use super::{
    Attributes, MAX_INFO_SIZE, MAX_PIECE_LENGTH, MAX_TORRENT_SIZE, MetainfoError, TRACKER_SCHEMES,
    Torrent, TorrentFile, entries,
};
use crate::geometry::{BLOCK_LENGTH, Geometry};
use crate::info_hashes::InfoHashes;
use crate::merkle::Node as Hash;
use crate::path::{PathRules, sanitize_name};
use crate::piece_hashes::PieceHashes;

pub(super) fn torrent(bytes: &[u8], rules: PathRules) -> Result<Torrent, MetainfoError> {
    check_size(bytes, MAX_TORRENT_SIZE)?;
    let document = decode(bytes, Mode::Lenient, Limits::TORRENT).map_err(|error| match bytes {
        [] => MetainfoError::NotATorrent("it is empty"),
        // Another value of bencode may have been meant; what begins otherwise was not.
        [b'd' | b'l', ..] => error.into(),
        _ => MetainfoError::NotATorrent("it begins otherwise than a .torrent file"),
    })?;
    let outer = dict(document.root())?;
    let missing = MetainfoError::Key { key: "info", expected: "a dictionary" };
    let info = outer.get("info").and_then(|node| node.dict()).ok_or(missing)?;
    let mut torrent = read_info(info, rules)?;
    torrent.trackers = trackers(outer);
    torrent.web_seeds = urls(outer.get("url-list"), &["http", "https", "ftp"]);
    torrent.http_seeds = urls(outer.get("httpseeds"), &["http", "https"]);
    torrent.nodes = nodes(outer).unwrap_or_default();
    torrent.comment = text(outer, "comment.utf-8").or_else(|| text(outer, "comment"));
    torrent.created_by = text(outer, "created by.utf-8").or_else(|| text(outer, "created by"));
    torrent.creation_date = outer.get("creation date").and_then(|node| node.as_i64());
    torrent.similar = similar(&[outer, info]);
    torrent.collections = collections(&[outer, info]);
    if torrent.hashes.v2.is_some()
        && let Some(layers) = outer.get("piece layers").and_then(|node| node.dict())
    {
        torrent = torrent.with_layers(piece_layers(layers)?)?;
    }
    Ok(torrent)
}

pub(super) fn info_alone(bytes: &[u8], rules: PathRules) -> Result<Torrent, MetainfoError> {
    check_size(bytes, MAX_INFO_SIZE)?;
    let document = decode(bytes, Mode::Lenient, Limits::METADATA)?;
    if !document.rest().is_empty() {
        return Err(DecodeError::TrailingData { offset: document.consumed() }.into());
    }
    read_info(dict(document.root())?, rules)
}

fn check_size(bytes: &[u8], limit: usize) -> Result<(), MetainfoError> {
    if bytes.len() > limit {
        return Err(MetainfoError::TooLarge { found: bytes.len(), limit });
    }
    Ok(())
}

fn dict(node: Node<'_>) -> Result<Dict<'_>, MetainfoError> {
    node.dict().ok_or(MetainfoError::NotDict(match node.kind() {
        Kind::Integer => "number",
        Kind::Bytes => "byte string",
        Kind::List | Kind::Dict => "list",
    }))
}

fn read_info(info: Dict<'_>, rules: PathRules) -> Result<Torrent, MetainfoError> {
    let (v1, v2) = versions(info)?;
    let hashes = InfoHashes::of(info.node().raw(), v1, v2);
    let expected = "a byte string";
    let raw_name = bytes(info, "name.utf-8").or_else(|| bytes(info, "name"));
    let raw_name = raw_name.ok_or(MetainfoError::Key { key: "name", expected })?;
    let name = sanitize_name(raw_name, rules).unwrap_or_else(|| hashes.first().to_string());
    let piece_length = piece_length(info, v2)?;
    let tree = if v2 { in_tree(missing(info.get("file tree"))?)? } else { Vec::new() };
    let (single_file, raw) = if v1 {
        let (single_file, mut raw) = version_1(info, raw_name)?;
        if v2 {
            join(&mut raw, &tree, piece_length)?;
        }
        (single_file, raw)
    } else {
        let single = matches!(tree.as_slice(), [file] if file.path == [raw_name]);
        (single, tree)
    };
    let top = (!single_file).then_some((raw_name, name.as_str()));
    let (mut files, mut warnings) = safe(&raw, top, rules)?;
    if let (true, [file]) = (single_file, files.as_mut_slice()) {
        file.path = vec![name.clone()];
        warnings.clear();
    }
    if raw_name != name.as_bytes() {
        let (raw, safe) = (shown(raw_name), shown(name.as_bytes()));
        warnings.insert(0, format!("the name `{raw}` was changed to `{safe}`"));
    }
    let pieces =
        if v1 { pieces(info, piece_length, &files)? } else { PieceHashes::Merkle([].into()) };
    let mut torrent = Torrent {
        info: Bytes::copy_from_slice(info.node().raw()),
        layers: BTreeMap::new(),
        hashes,
        name,
        single_file,
        files,
        piece_length,
        pieces,
        private: info.get("private").and_then(|node| node.as_i64()).is_some_and(|flag| flag != 0),
        source: text(info, "source"),
        warnings,
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        http_seeds: Vec::new(),
        nodes: Vec::new(),
        comment: None,
        created_by: None,
        creation_date: None,
        similar: similar(&[info]),
        collections: collections(&[info]),
    };
    torrent.check_roots()?;
    Ok(torrent)
}

/// BEP 52: for which versions the dictionary describes the data.
fn versions(info: Dict<'_>) -> Result<(bool, bool), MetainfoError> {
    let version = info.get("meta version").and_then(|node| node.as_i64()).unwrap_or(1);
    let tree = info.get("file tree").is_some();
    if version > 2 {
        return Err(MetainfoError::NewerVersion(version));
    }
    if !tree && version != 2 {
        return Ok((true, false));
    }
    if !tree || version != 2 {
        return Err(MetainfoError::HalfV2);
    }
    match info.node().flaw() {
        Some(flaw) => Err(MetainfoError::NotCanonical(flaw)),
        None => Ok((info.get("pieces").is_some(), true)),
    }
}

fn piece_length(info: Dict<'_>, v2: bool) -> Result<u32, MetainfoError> {
    let piece_length = info.get("piece length").and_then(|node| node.as_i64());
    let expected = "a number of bytes";
    let piece_length = piece_length.ok_or(MetainfoError::Key { key: "piece length", expected })?;
    let piece_length = u32::try_from(piece_length)
        .ok()
        .filter(|length| (1..=MAX_PIECE_LENGTH).contains(length))
        .ok_or(MetainfoError::PieceLength(piece_length))?;
    if v2 && !(piece_length.is_power_of_two() && piece_length >= BLOCK_LENGTH) {
        return Err(MetainfoError::PieceLengthV2(piece_length));
    }
    Ok(piece_length)
}

/// The files of version 1, and whether it is one without a folder.
fn version_1<'d>(
    info: Dict<'d>,
    name: &'d [u8],
) -> Result<(bool, Vec<RawFile<'d>>), MetainfoError> {
    match (info.get("length"), info.get("files")) {
        (Some(length), None) => Ok((true, vec![single_file(info, length, name)?])),
        (None, Some(files)) => Ok((false, listed(files)?)),
        (None, None) => Err(MetainfoError::LengthOrFiles("none")),
        (Some(_), Some(_)) => Err(MetainfoError::LengthOrFiles("both")),
    }
}

fn pieces(
    info: Dict<'_>,
    piece_length: u32,
    files: &[TorrentFile],
) -> Result<PieceHashes, MetainfoError> {
    let geometry = Geometry::padded(piece_length, piece_length, &entries(files))?;
    if geometry.total_len() == 0 && (geometry.pieces() > 0 || files.is_empty()) {
        return Err(MetainfoError::Nothing);
    }
    let expected = "20 bytes for each piece";
    let pieces = bytes(info, "pieces").ok_or(MetainfoError::Key { key: "pieces", expected })?;
    let (hashes, rest) = pieces.as_chunks::<20>();
    if !rest.is_empty() || hashes.len() != geometry.pieces() as usize {
        let expected = u64::from(geometry.pieces()) * 20;
        return Err(MetainfoError::Pieces { expected, found: pieces.len() });
    }
    Ok(PieceHashes::Sha1(hashes.into()))
}

fn single_file<'d>(
    info: Dict<'d>,
    length: Node<'d>,
    name: &'d [u8],
) -> Result<RawFile<'d>, MetainfoError> {
    let expected = "a number of bytes, 0 or more";
    let length = length.as_u64().ok_or(MetainfoError::Key { key: "length", expected })?;
    // A lone file that pads or links to itself is none: those attributes have no meaning here.
    let attributes = Attributes { pad: false, symlink: false, ..attributes(info) };
    Ok(RawFile { path: vec![name], length, attributes, target: None, root: None })
}

fn missing(tree: Option<Node<'_>>) -> Result<Node<'_>, MetainfoError> {
    tree.ok_or(MetainfoError::HalfV2)
}

fn bytes<'d>(dict: Dict<'d>, key: &str) -> Option<&'d [u8]> {
    dict.get(key)?.as_bytes()
}

fn text(dict: Dict<'_>, key: &str) -> Option<String> {
    bytes(dict, key).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// BEP 52: the piece layers beside the info dictionary.
fn piece_layers(layers: Dict<'_>) -> Result<BTreeMap<Hash, Vec<Hash>>, MetainfoError> {
    let mut read = BTreeMap::new();
    for (root, nodes) in layers {
        let fault = |fault: &str| MetainfoError::Layer { root: hex(root), fault: fault.to_owned() };
        let key: Hash = root.try_into().map_err(|_| fault("a root has 32 bytes"))?;
        let nodes = nodes.as_bytes().ok_or_else(|| fault("expected a byte string of hashes"))?;
        let (nodes, rest) = nodes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(fault("expected hashes of 32 bytes each"));
        }
        read.entry(key).or_insert_with(|| nodes.to_vec());
    }
    Ok(read)
}

/// BEP 12: the tiers; the single tracker only where they hold nothing of use.
fn trackers(outer: Dict<'_>) -> Vec<Vec<String>> {
    let tiers = outer.get("announce-list").and_then(|node| node.list());
    let mut tiers: Vec<Vec<String>> = tiers
        .into_iter()
        .flatten()
        .filter(|tier| tier.kind() == Kind::List)
        .map(|tier| urls(Some(tier), TRACKER_SCHEMES))
        .filter(|tier| !tier.is_empty())
        .collect();
    if tiers.is_empty() {
        let announce = outer.get("announce").filter(|node| node.kind() == Kind::Bytes);
        let single = urls(announce, TRACKER_SCHEMES);
        tiers.extend((!single.is_empty()).then_some(single));
    }
    tiers
}

/// One address or a list of them, those with a scheme that is known.
fn urls(node: Option<Node<'_>>, schemes: &[&str]) -> Vec<String> {
    strings(node)
        .filter_map(|bytes| std::str::from_utf8(bytes).ok())
        .map(str::trim_start)
        .filter(|url| {
            let scheme = url.split_once("://").map(|(scheme, _)| scheme);
            scheme
                .is_some_and(|scheme| schemes.iter().any(|ours| ours.eq_ignore_ascii_case(scheme)))
        })
        .map(str::to_owned)
        .collect()
}

fn strings<'d>(node: Option<Node<'d>>) -> impl Iterator<Item = &'d [u8]> {
    let one = node.and_then(|node| node.as_bytes());
    let list = node.and_then(|node| node.list());
    one.into_iter().chain(list.into_iter().flatten().filter_map(|node| node.as_bytes()))
}

fn nodes(outer: Dict<'_>) -> Option<Vec<(String, u16)>> {
    let contact = |node: Node<'_>| {
        let mut pair = node.list()?;
        let host = pair.next()?.as_str()?.to_owned();
        let port = u16::try_from(pair.next()?.as_u64()?).ok()?;
        (port > 0 && !host.is_empty()).then_some((host, port))
    };
    Some(outer.get("nodes")?.list()?.filter_map(contact).collect())
}

/// BEP 38: what stands beside the info dictionary and in it, each once.
fn similar(dicts: &[Dict<'_>]) -> Vec<InfoHash> {
    let mut seen = BTreeSet::new();
    let lists = dicts.iter().flat_map(|dict| strings(dict.get("similar")));
    let hashes = lists.filter_map(|bytes| bytes.try_into().ok().map(InfoHash));
    hashes.filter(|hash| seen.insert(*hash)).collect()
}

fn collections(dicts: &[Dict<'_>]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let lists = dicts.iter().flat_map(|dict| strings(dict.get("collections")));
    let names = lists.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    names.filter(|name| seen.insert(name.clone())).collect()
}
