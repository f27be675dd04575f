//! The keys of a .torrent file, one after another. Optional keys with a wrong type count as absent.

use bytes::Bytes;
use dunlin_base::InfoHash;
use dunlin_bencode::{DecodeError, Dict, Kind, Limits, Mode, Node, decode};
use sha1::{Digest, Sha1};
use std::collections::BTreeSet;

use super::{
    Attributes, MAX_INFO_SIZE, MAX_PIECE_LENGTH, MAX_TORRENT_SIZE, MetainfoError, Torrent,
    TorrentFile, entries,
};
use crate::geometry::Geometry;
use crate::path::{
    MAX_DEPTH, PathIndex, PathRules, key, resolve_duplicates, sanitize, sanitize_name,
};
use crate::set::PieceHashes;

/// A program whose padding has no attribute, only this in its name (practice).
const NAMED_PADDING: &[u8] = b"_____padding_file_";

pub(super) fn torrent(bytes: &[u8], rules: PathRules) -> Result<Torrent, MetainfoError> {
    check_size(bytes, MAX_TORRENT_SIZE)?;
    let document = decode(bytes, Mode::Lenient, Limits::TORRENT)?;
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
    let hybrid = check_version(info)?;
    let info_hash = InfoHash(Sha1::digest(info.node().raw()).into());
    let expected = "a byte string";
    let name = bytes(info, "name.utf-8").or_else(|| bytes(info, "name"));
    let name = name.ok_or(MetainfoError::Key { key: "name", expected })?;
    let name = sanitize_name(name, rules).unwrap_or_else(|| info_hash.to_string());
    let piece_length = info.get("piece length").and_then(|node| node.as_i64());
    let expected = "a number of bytes";
    let piece_length = piece_length.ok_or(MetainfoError::Key { key: "piece length", expected })?;
    let piece_length = u32::try_from(piece_length)
        .ok()
        .filter(|length| (1..=MAX_PIECE_LENGTH).contains(length))
        .ok_or(MetainfoError::PieceLength(piece_length))?;
    let (single_file, files) = match (info.get("length"), info.get("files")) {
        (Some(length), None) => (true, vec![single_file(info, length, &name)?]),
        (None, Some(files)) => (false, several_files(files, rules)?),
        (None, None) => return Err(MetainfoError::LengthOrFiles("none")),
        (Some(_), Some(_)) => return Err(MetainfoError::LengthOrFiles("both")),
    };
    let pieces = pieces(info, piece_length, &files)?;
    Ok(Torrent {
        info: Bytes::copy_from_slice(info.node().raw()),
        info_hash,
        name,
        single_file,
        files,
        piece_length,
        pieces,
        private: info.get("private").and_then(|node| node.as_i64()).is_some_and(|flag| flag != 0),
        hybrid,
        source: text(info, "source"),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        http_seeds: Vec::new(),
        nodes: Vec::new(),
        comment: None,
        created_by: None,
        creation_date: None,
        similar: similar(&[info]),
        collections: collections(&[info]),
    })
}

/// BEP 52, "upgrade path": whether the dictionary is a hybrid; an error if it is not version 1 too.
fn check_version(info: Dict<'_>) -> Result<bool, MetainfoError> {
    let version = info.get("meta version").and_then(|node| node.as_i64()).unwrap_or(1);
    let tree = info.get("file tree").is_some();
    if version > 2 {
        return Err(MetainfoError::NewerVersion(version));
    }
    if !tree && version != 2 {
        return Ok(false);
    }
    if info.get("pieces").is_none() {
        return Err(MetainfoError::OnlyV2);
    }
    if !tree || version != 2 {
        return Err(MetainfoError::HalfV2);
    }
    match info.node().flaw() {
        Some(flaw) => Err(MetainfoError::NotCanonical(flaw)),
        None => Ok(true),
    }
}

fn pieces(
    info: Dict<'_>,
    piece_length: u32,
    files: &[TorrentFile],
) -> Result<PieceHashes, MetainfoError> {
    let geometry = Geometry::padded(piece_length, piece_length, &entries(files))?;
    if geometry.total_len() == 0 {
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

fn single_file(info: Dict<'_>, length: Node<'_>, name: &str) -> Result<TorrentFile, MetainfoError> {
    let expected = "a number of bytes, 0 or more";
    let length = length.as_u64().ok_or(MetainfoError::Key { key: "length", expected })?;
    // A lone file that pads or links to itself is none: those attributes have no meaning here.
    let attributes = Attributes { pad: false, symlink: false, ..attributes(info) };
    Ok(TorrentFile { path: vec![name.to_owned()], length, attributes, target: None })
}

fn several_files(list: Node<'_>, rules: PathRules) -> Result<Vec<TorrentFile>, MetainfoError> {
    let expected = "a list of dictionaries";
    let list = list.list().ok_or(MetainfoError::Key { key: "files", expected })?;
    let mut files = Vec::new();
    for (index, node) in list.enumerate() {
        let entry = node.dict().ok_or(MetainfoError::Key { key: "files", expected })?;
        files.push(file(entry, index, rules)?);
    }
    let mut stored: Vec<&mut TorrentFile> =
        files.iter_mut().filter(|file| !file.attributes.pad).collect();
    let mut paths: Vec<Vec<String>> =
        stored.iter_mut().map(|file| std::mem::take(&mut file.path)).collect();
    resolve_duplicates(&mut paths, rules)?;
    let index = PathIndex::new(paths.iter().map(|path| key(path, rules)).collect());
    for (file, path) in stored.into_iter().zip(paths) {
        file.path = path;
        file.target = file.target.take().filter(|target| {
            let key = key(target, rules);
            index.is_file(&key) || index.is_folder(&key)
        });
    }
    Ok(files)
}

fn file(entry: Dict<'_>, index: usize, rules: PathRules) -> Result<TorrentFile, MetainfoError> {
    let path = components(entry, "path.utf-8").or_else(|| components(entry, "path"));
    let mut attributes = attributes(entry);
    let named = |name: &&[u8]| name.windows(NAMED_PADDING.len()).any(|part| part == NAMED_PADDING);
    attributes.pad |= path.as_ref().is_some_and(|path| path.iter().any(named));
    let length = match entry.get("length") {
        _ if attributes.symlink && !attributes.pad => Some(0),
        length => length.and_then(|node| node.as_u64()),
    };
    let expected = "a number of bytes, 0 or more";
    let length = length.ok_or(MetainfoError::FileKey { index, key: "length", expected })?;
    let found = path.as_ref().map_or(0, Vec::len);
    if found > MAX_DEPTH {
        return Err(MetainfoError::TooDeep { index, found });
    }
    let path = match path {
        Some(path) => sanitize(&path, rules),
        None if attributes.pad => vec![".pad".to_owned(), length.to_string()],
        None => {
            let expected = "a list of names, at least one";
            return Err(MetainfoError::FileKey { index, key: "path", expected });
        }
    };
    let target = components(entry, "symlink path").filter(|target| target.len() <= MAX_DEPTH);
    let target = target.filter(|_| attributes.symlink).map(|target| sanitize(&target, rules));
    Ok(TorrentFile { path, length, attributes, target })
}

/// A list of names that is not empty.
fn components<'d>(entry: Dict<'d>, key: &str) -> Option<Vec<&'d [u8]>> {
    let names: Option<Vec<&[u8]>> = entry.get(key)?.list()?.map(|node| node.as_bytes()).collect();
    names.filter(|names| !names.is_empty())
}

fn attributes(entry: Dict<'_>) -> Attributes {
    let attr = bytes(entry, "attr").unwrap_or_default();
    Attributes {
        pad: attr.contains(&b'p'),
        executable: attr.contains(&b'x'),
        hidden: attr.contains(&b'h'),
        symlink: attr.contains(&b'l'),
    }
}

fn bytes<'d>(dict: Dict<'d>, key: &str) -> Option<&'d [u8]> {
    dict.get(key)?.as_bytes()
}

fn text(dict: Dict<'_>, key: &str) -> Option<String> {
    bytes(dict, key).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// BEP 12: the tiers; the single tracker only where they hold nothing of use.
fn trackers(outer: Dict<'_>) -> Vec<Vec<String>> {
    const SCHEMES: &[&str] = &["http", "https", "udp", "ws", "wss"];
    let tiers = outer.get("announce-list").and_then(|node| node.list());
    let mut tiers: Vec<Vec<String>> = tiers
        .into_iter()
        .flatten()
        .filter(|tier| tier.kind() == Kind::List)
        .map(|tier| urls(Some(tier), SCHEMES))
        .filter(|tier| !tier.is_empty())
        .collect();
    if tiers.is_empty() {
        let announce = outer.get("announce").filter(|node| node.kind() == Kind::Bytes);
        let single = urls(announce, SCHEMES);
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
