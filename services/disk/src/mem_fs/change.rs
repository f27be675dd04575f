//! What has happened to a disk in memory and may not have reached it: names and contents, change by
//! change. It knows nothing of open files, locks or power.

use super::Node;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Writes are torn between sectors of this many bytes, as disks do.
const SECTOR: u64 = 512;

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

impl NameChange {
    pub(super) fn folder(&self) -> &Path {
        let path = match self {
            NameChange::Add(path, _)
            | NameChange::Remove(path)
            | NameChange::Rename(_, path, _) => path,
        };
        path.parent().unwrap_or(Path::new(""))
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            NameChange::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::SetLen(len) => content.resize(*len as usize, 0),
            Change::Write(offset, bytes) => {
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                if let Some(place) = content.get_mut(start..end) {
                    place.copy_from_slice(bytes);
                }
            }
        }
    }

    /// The parts of the change that each reach the disk, or not, by themselves.
    pub(super) fn torn(&self) -> Vec<Change> {
        let Change::Write(offset, bytes) = self else { return vec![self.clone()] };
        let mut pieces = Vec::new();
        let (mut at, mut rest) = (*offset, bytes.as_slice());
        while !rest.is_empty() {
            let room = (SECTOR - at % SECTOR) as usize;
            let (head, tail) = rest.split_at(room.min(rest.len()));
            pieces.push(Change::Write(at, head.to_vec()));
            at += head.len() as u64;
            rest = tail;
        }
        pieces
    }
}
