//! The files that a torrent names: the list of version 1 (BEP 3), the tree of version 2 (BEP 52),
//! whether both say the same, and paths that are safe to create.

use dunlin_bencode::{Dict, Node};

use super::links::{self, Target};
use super::raw_file::{KEPT, RawFile, shown_path};
use super::{Attributes, MetainfoError, TorrentFile};
use crate::content::Aliases;
use crate::path::{
    MAX_DEPTH, PathIndex, PathRules, is_usable, key, link_text, portable_name, resolve, sanitize,
};
use std::collections::BTreeSet;

/// A program whose padding has no attribute, only this in its name (practice).
const NAMED_PADDING: &[u8] = b"_____padding_file_";

/// The most bytes of all paths together, folders counted for each file in them. A tree repeats the
/// names of its folders at no cost for who wrote it; what is real stays far below.
const MAX_PATHS: usize = 64 << 20;

/// What a component costs beside its bytes, about.
const COMPONENT: usize = 32;

/// The most names that warnings are about; one more warning counts the others.
const MAX_WARNINGS: usize = 100;

/// The entries of `files` (BEP 3).
pub(super) fn listed(list: Node<'_>) -> Result<Vec<RawFile<'_>>, MetainfoError> {
    let expected = "a list of dictionaries";
    let list = list.list().ok_or(MetainfoError::Key { key: "files", expected })?;
    let mut files = Vec::new();
    for (index, node) in list.enumerate() {
        let entry = node.dict().ok_or(MetainfoError::Key { key: "files", expected })?;
        files.push(entry_of_list(entry, index)?);
    }
    Ok(files)
}

fn entry_of_list(entry: Dict<'_>, index: usize) -> Result<RawFile<'_>, MetainfoError> {
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
        Some(path) => path,
        None if attributes.pad => Vec::new(),
        None => {
            let expected = "a list of names, at least one";
            return Err(MetainfoError::FileKey { index, key: "path", expected });
        }
    };
    let target = components(entry, "symlink path").filter(|_| attributes.symlink);
    Ok(RawFile { path, length, attributes, target, root: None })
}

/// A list of names that is not empty.
fn components<'d>(entry: Dict<'d>, key: &str) -> Option<Vec<&'d [u8]>> {
    let names: Option<Vec<&[u8]>> = entry.get(key)?.list()?.map(|node| node.as_bytes()).collect();
    names.filter(|names| !names.is_empty())
}

pub(super) fn attributes(entry: Dict<'_>) -> Attributes {
    let attr = entry.get("attr").and_then(|node| node.as_bytes()).unwrap_or_default();
    Attributes {
        pad: attr.contains(&b'p'),
        executable: attr.contains(&b'x'),
        hidden: attr.contains(&b'h'),
        symlink: attr.contains(&b'l'),
    }
}

/// The leaves of `file tree` in the order of the tree (BEP 52).
pub(super) fn in_tree(tree: Node<'_>) -> Result<Vec<RawFile<'_>>, MetainfoError> {
    let expected = "a dictionary";
    let tree = tree.dict().ok_or(MetainfoError::Key { key: "file tree", expected })?;
    let mut walk = Walk { files: Vec::new(), path: Vec::new(), bytes: 0 };
    if tree.get("").is_some() {
        return Err(walk.fault("the root of the tree is a file, expected folders and names"));
    }
    walk.folder(tree)?;
    Ok(walk.files)
}

struct Walk<'d> {
    files: Vec<RawFile<'d>>,
    path: Vec<&'d [u8]>,
    /// Of the paths so far.
    bytes: usize,
}

impl<'d> Walk<'d> {
    fn fault(&self, fault: &'static str) -> MetainfoError {
        MetainfoError::FileTree { path: shown_path(&self.path), fault }
    }

    /// All that is below a folder. The nesting of bencode is limited, and this with it.
    fn folder(&mut self, folder: Dict<'d>) -> Result<(), MetainfoError> {
        for (name, node) in folder {
            self.path.push(name);
            let found = self.path.len();
            if found > MAX_DEPTH {
                return Err(MetainfoError::TooDeep { index: self.files.len(), found });
            }
            let inner = node.dict();
            let inner = inner.ok_or_else(|| self.fault("expected a dictionary for each name"))?;
            match inner.iter().next() {
                // Keys are in order, so that the empty one comes first.
                Some((b"", leaf)) => {
                    if inner.iter().nth(1).is_some() {
                        return Err(self.fault("a file and a folder at once"));
                    }
                    let file = self.leaf(leaf)?;
                    self.files.push(file);
                }
                _ => self.folder(inner)?,
            }
            self.path.pop();
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: Node<'d>) -> Result<RawFile<'d>, MetainfoError> {
        let leaf = leaf.dict().ok_or_else(|| self.fault("expected a dictionary for the file"))?;
        let cost = |name: &&[u8]| name.len().min(KEPT) + COMPONENT;
        self.bytes += self.path.iter().map(cost).sum::<usize>();
        if self.bytes > MAX_PATHS {
            return Err(MetainfoError::PathsTooLong { limit: MAX_PATHS });
        }
        let attributes = attributes(leaf);
        if attributes.pad {
            return Err(self.fault("padding, which version 2 does not have"));
        }
        let length = match leaf.get("length") {
            _ if attributes.symlink => 0,
            length => length
                .and_then(|node| node.as_u64())
                .ok_or_else(|| self.fault("expected a `length` of 0 or more bytes"))?,
        };
        let root = match (length, leaf.get("pieces root")) {
            (0, Some(_)) if !attributes.symlink => {
                return Err(self.fault("an empty file with a `pieces root`"));
            }
            (0, _) => None,
            (_, root) => {
                let root = root.and_then(|node| node.as_bytes()?.try_into().ok());
                let root = root.filter(|root| *root != [0; 32]);
                Some(root.ok_or_else(|| self.fault("expected a `pieces root` of 32 bytes"))?)
            }
        };
        let target = components(leaf, "symlink path").filter(|_| attributes.symlink);
        Ok(RawFile { path: self.path.clone(), length, attributes, target, root })
    }
}

/// Gives the files of version 1 the roots of version 2, if both are the same files in the same
/// places (BEP 52, "upgrade path").
pub(super) fn join(
    listed: &mut [RawFile<'_>],
    tree: &[RawFile<'_>],
    piece_length: u32,
) -> Result<(), MetainfoError> {
    let unit = u64::from(piece_length);
    let disagree = |why: String| Err(MetainfoError::HalvesDisagree(why));
    let (mut offset, mut pieces) = (0_u64, 0_u64);
    let mut leaves = tree.iter();
    for file in listed.iter_mut() {
        let path = shown_path(&file.path);
        let start = offset;
        offset = offset.saturating_add(file.length);
        if file.attributes.pad {
            continue;
        }
        let Some(leaf) = leaves.next() else {
            return disagree(format!("`{path}` is in the list of files only"));
        };
        if leaf.path != file.path {
            let other = shown_path(&leaf.path);
            return disagree(format!("`{path}` stands where the file tree has `{other}`"));
        }
        if leaf.length != file.length {
            let (a, b) = (file.length, leaf.length);
            return disagree(format!("`{path}` has {a} bytes in one and {b} in the other"));
        }
        if leaf.attributes.symlink != file.attributes.symlink {
            return disagree(format!("`{path}` is a link in one and a file in the other"));
        }
        if leaf.target != file.target {
            return disagree(format!("the link `{path}` leads elsewhere in one than in the other"));
        }
        if file.length > 0 && !start.is_multiple_of(unit) {
            return disagree(format!("`{path}` does not begin at the start of a piece"));
        }
        pieces += file.length.div_ceil(unit);
        file.root = leaf.root;
    }
    if let Some(leaf) = leaves.next() {
        return disagree(format!("`{}` is in the file tree only", shown_path(&leaf.path)));
    }
    if pieces != offset.div_ceil(unit) {
        return disagree("there is more padding than the last piece of a file needs".to_owned());
    }
    Ok(())
}

/// The files with paths that are safe to create, each with a place of its own, and warnings about
/// what was changed for that. `top` is the name of the torrent's folder, if it has one: as it is
/// written, and as it is safe.
pub(super) fn safe(
    raw: &[RawFile<'_>],
    top: Option<(&[u8], &str)>,
    rules: PathRules,
) -> Result<(Vec<TorrentFile>, Vec<String>), MetainfoError> {
    let path = |file: &RawFile<'_>| match file.path.is_empty() {
        true => vec![".pad".to_owned(), file.length.to_string()],
        false => sanitize(&file.path, rules),
    };
    let stored = || raw.iter().filter(|file| !file.attributes.pad);
    let mut paths: Vec<Vec<String>> = stored().map(path).collect();
    // Names that need no change keep theirs, whatever others are made into.
    let kept: Vec<bool> =
        stored().zip(&paths).map(|(file, path)| same_path(&file.path, path)).collect();
    resolve(&mut paths, rules, |at| kept.get(at) == Some(&true))?;
    let mut warnings = Warnings::default();
    for (file, path) in stored().zip(&paths) {
        if !same_path(&file.path, path) {
            let (raw, safe) = (shown_path(&file.path), shown_text(path));
            warnings.add(|| format!("the name `{raw}` was changed to `{safe}`"));
        }
    }
    let index = PathIndex::new(paths.iter().map(|path| key(path, rules)).collect());
    let mut safe = paths.into_iter();
    let paths: Vec<Vec<String>> = raw
        .iter()
        .map(|file| match file.attributes.pad {
            true => path(file),
            false => safe.next().unwrap_or_default(),
        })
        .collect();
    let targets = links::targets(raw, &paths, &index, rules)?;
    let mut aliases = Finder::new(raw, &paths, top);
    let mut files = Vec::with_capacity(raw.len());
    for ((file, path), target) in raw.iter().zip(paths).zip(targets) {
        if file.attributes.symlink && !file.attributes.pad && target.is_none() {
            let path = shown_text(&path);
            warnings.add(|| {
                format!("the link `{path}` points to nothing in the torrent and is an empty file")
            });
        }
        let aliases = match file.attributes.pad {
            true => None,
            false => aliases.of(file, &path, target.as_ref()),
        };
        let target = target.map(|target| target.safe);
        let (length, attributes, root) = (file.length, file.attributes, file.root);
        files.push(TorrentFile { path, length, attributes, target, root, aliases });
    }
    Ok((files, warnings.finish()))
}

fn same_path(raw: &[&[u8]], path: &[String]) -> bool {
    raw.len() == path.len() && raw.iter().zip(path).all(|(raw, safe)| *raw == safe.as_bytes())
}

/// Finds other names under which the data of files may stand.
struct Finder<'a> {
    top: Option<(&'a [u8], &'a str)>,
    /// Names that are taken: by files as they are stored, and by other names.
    taken: BTreeSet<Vec<u8>>,
    /// Whether anything is changed at all.
    any: bool,
}

impl<'a> Finder<'a> {
    fn new(
        raw: &[RawFile<'_>],
        paths: &[Vec<String>],
        top: Option<(&'a [u8], &'a str)>,
    ) -> Finder<'a> {
        let changed = |(file, path): (&RawFile<'_>, &Vec<String>)| {
            let other = || file.path.iter().any(|name| is_changed(name));
            !file.attributes.pad && (!same_path(&file.path, path) || other())
        };
        let top_changed = top.is_some_and(|(raw, safe)| raw != safe.as_bytes() || is_changed(raw));
        let any = top_changed || raw.iter().zip(paths).any(changed);
        let mut taken = BTreeSet::new();
        if any {
            let stored = raw.iter().zip(paths).filter(|(file, _)| !file.attributes.pad);
            taken.extend(stored.map(|(_, path)| stored_path(top, path).into_bytes()));
        }
        Finder { top, taken, any }
    }

    /// Other names of one file, and of what it links to.
    fn of(
        &mut self,
        file: &RawFile<'_>,
        path: &[String],
        target: Option<&Target>,
    ) -> Option<Box<Aliases>> {
        if !self.any {
            return None;
        }
        let whole: Vec<&[u8]> =
            self.top.iter().map(|(raw, _)| *raw).chain(file.path.iter().copied()).collect();
        let mut free = |name: Vec<u8>| self.taken.insert(name.clone()).then_some(name);
        let raw = is_usable(&whole).then(|| whole.join(&b'/')).and_then(&mut free);
        let portable: Vec<_> = whole.iter().filter_map(|name| portable_name(name)).collect();
        let names: Vec<&[u8]> = portable.iter().map(Vec::as_slice).collect();
        let portable = is_usable(&names).then(|| names.join(&b'/')).and_then(&mut free);
        let link = target.and_then(|target| {
            let folder: Vec<Vec<u8>> = file.path.iter().map(|name| name.to_vec()).collect();
            let text = link_text(folder.split_last()?.1, &target.raw);
            let safe = link_text(path.split_last()?.1, &target.safe);
            (text != safe).then_some(text)
        });
        let aliases = Aliases { raw, portable, link };
        (aliases != Aliases::default()).then(|| Box::new(aliases))
    }
}

/// Whether other programs make another name of it.
fn is_changed(name: &[u8]) -> bool {
    portable_name(name).is_none_or(|other| other != name)
}

/// The path of a file from where the torrent is stored.
fn stored_path(top: Option<(&[u8], &str)>, path: &[String]) -> String {
    let path = path.join("/");
    top.map(|(_, safe)| format!("{safe}/{path}")).unwrap_or(path)
}

/// A safe path for people: it may hold joiners.
fn shown_text(path: &[String]) -> String {
    let path: Vec<&[u8]> = path.iter().map(|name| name.as_bytes()).collect();
    shown_path(&path)
}

#[derive(Default)]
struct Warnings {
    said: Vec<String>,
    more: usize,
}

impl Warnings {
    fn add(&mut self, text: impl FnOnce() -> String) {
        if self.said.len() < MAX_WARNINGS {
            self.said.push(text());
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.said.push(format!("{} more names like these", self.more));
        }
        self.said
    }
}
