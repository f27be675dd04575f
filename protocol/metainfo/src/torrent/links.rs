//! BEP 47, "symlink path": where the links of a torrent lead, within the torrent, also through one
//! another.
//!
//! BEP 47 counts the path from the root of the torrent; libtorrent up to 2.0 writes the link's own
//! text, which counts from its folder. So the first is tried before the second.

use std::collections::BTreeMap;

use super::raw_file::{RawFile, shown_path};
use super::{Attributes, MetainfoError};
use crate::path::{MAX_DEPTH, PathIndex, PathRules, key, sanitize};

/// The most links that a path may lead through, as systems have it.
const MAX_HOPS: usize = 40;

/// The most components that are followed for all links together. Links that lead through links cost
/// their maker little; what is real stays far below.
const MAX_STEPS: usize = 1_000_000;

/// Passes over links that lead through links which are not known yet.
const MAX_PASSES: usize = 8;

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The safe components, below the torrent's folder.
    pub(super) safe: Vec<String>,
    /// As the torrent has them.
    pub(super) raw: Vec<Vec<u8>>,
}

/// Finds where links lead. `paths` are the safe paths of `raw`, and `index` knows all of them.
///
/// # Errors
/// If a link leads out of the torrent.
pub(super) fn targets(
    raw: &[RawFile<'_>],
    paths: &[Vec<String>],
    index: &PathIndex,
    rules: PathRules,
) -> Result<Vec<Option<Target>>, MetainfoError> {
    let mut found = vec![None; raw.len()];
    let mut open = Vec::new();
    let mut links = BTreeMap::new();
    for (at, file) in raw.iter().enumerate().filter(|(_, file)| !file.attributes.pad) {
        let Some(target) = &file.target else { continue };
        let candidates = candidates(&file.path, target);
        if candidates.is_empty() {
            let (path, target) = (shown_path(&file.path), shown_path(target));
            return Err(MetainfoError::LinkLeaves { path, target });
        }
        let candidates: Vec<Target> = candidates
            .into_iter()
            .filter(|raw| (1..=MAX_DEPTH).contains(&raw.len()))
            .map(|raw| Target {
                safe: sanitize(&raw, rules),
                raw: raw.into_iter().map(<[u8]>::to_vec).collect(),
            })
            .collect();
        let there = |target: &&Target| is_there(index, &target.safe, rules);
        match (candidates.iter().find(there), paths.get(at)) {
            (Some(target), Some(path)) => {
                links.insert(key(path, rules), target.safe.clone());
                if let Some(place) = found.get_mut(at) {
                    *place = Some(target.clone());
                }
            }
            _ => open.push((at, candidates)),
        }
    }
    let mut steps = MAX_STEPS;
    for _ in 0..MAX_PASSES {
        let before = open.len();
        open.retain(|(at, candidates)| {
            let through = |target: &&Target| follow(index, &links, &target.safe, rules, &mut steps);
            let Some(target) = candidates.iter().find(through) else { return true };
            if let (Some(place), Some(path)) = (found.get_mut(*at), paths.get(*at)) {
                *place = Some(target.clone());
                links.insert(key(path, rules), target.safe.clone());
            }
            false
        });
        if open.is_empty() || open.len() == before {
            break;
        }
    }
    // Links are files of the torrent, too: one that leads to a link may lead round and round.
    for place in &mut found {
        let mut ends = |target: &Target| follow(index, &links, &target.safe, rules, &mut steps);
        if place.as_ref().is_some_and(|target| !ends(target)) {
            *place = None;
        }
    }
    Ok(found)
}

/// The places of links that lead nowhere, in files with these paths and targets of links.
pub(crate) fn dangling(files: &[(&[String], Option<&[String]>)]) -> Vec<usize> {
    fn bytes(path: &[String]) -> Vec<&[u8]> {
        path.iter().map(|name| name.as_bytes()).collect()
    }
    let rules = PathRules::default();
    let raw: Vec<RawFile<'_>> = files
        .iter()
        .map(|(path, link)| RawFile {
            path: bytes(path),
            length: 0,
            attributes: Attributes { symlink: link.is_some(), ..Attributes::default() },
            target: link.map(bytes),
            root: None,
        })
        .collect();
    let paths: Vec<Vec<String>> = raw.iter().map(|file| sanitize(&file.path, rules)).collect();
    let index = PathIndex::new(paths.iter().map(|path| key(path, rules)).collect());
    let found = targets(&raw, &paths, &index, rules).unwrap_or_default();
    let links = files.iter().enumerate().filter(|(_, (_, link))| link.is_some());
    let nowhere = |at: &usize| found.get(*at).is_none_or(Option::is_none);
    links.map(|(at, _)| at).filter(nowhere).collect()
}

/// The paths that a link may mean, in components below the torrent's folder: none if all of them
/// leave it, or try to.
fn candidates<'d>(link: &[&'d [u8]], target: &[&'d [u8]]) -> Vec<Vec<&'d [u8]>> {
    let absolute = target.first().is_some_and(|name| name.is_empty() || name.starts_with(b"/"));
    let up = |name: &&[u8]| {
        let mut parts = name.split(|byte| matches!(byte, b'/' | b'\\'));
        name.len() > 2 && parts.any(|part| part == b"..")
    };
    if absolute || target.iter().any(up) {
        return Vec::new();
    }
    let folder = link.split_last().map_or(&[][..], |(_, folder)| folder);
    let mut paths: Vec<_> = [&[][..], folder]
        .into_iter()
        .filter_map(|folder| {
            let parts = target.iter().flat_map(|name| name.split(|byte| *byte == b'/'));
            parts.into_iter().try_fold(folder.to_vec(), |mut path, name| {
                match name {
                    b"" | b"." => {}
                    b".." => _ = path.pop()?,
                    name => path.push(name),
                }
                Some(path)
            })
        })
        .collect();
    paths.dedup();
    paths
}

fn is_there(index: &PathIndex, path: &[String], rules: PathRules) -> bool {
    let key = key(path, rules);
    index.is_file(&key) || index.is_folder(&key)
}

/// Whether a path leads to something of the torrent when its links are followed.
fn follow(
    index: &PathIndex,
    links: &BTreeMap<String, Vec<String>>,
    path: &[String],
    rules: PathRules,
    steps: &mut usize,
) -> bool {
    let mut rest: Vec<String> = path.iter().rev().cloned().collect();
    let mut at = Vec::new();
    let mut hops = 0;
    while let Some(name) = rest.pop() {
        // What a step costs grows with the depth.
        *steps = steps.saturating_sub(at.len() + 1);
        if *steps == 0 {
            return false;
        }
        at.push(name);
        let Some(target) = links.get(&key(&at, rules)) else { continue };
        hops += 1;
        if hops > MAX_HOPS || rest.len() + target.len() > MAX_DEPTH {
            return false;
        }
        rest.extend(target.iter().rev().cloned());
        at.clear();
    }
    is_there(index, &at, rules)
}
