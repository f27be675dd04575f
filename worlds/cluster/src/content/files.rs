//! Real files: which of them a rank offers, and where its wanted ones go.

use super::{CheckError, Shared, geometry_of, space};
use crate::run::FoundFile;
use dunlin_base::{Bitfield, FileIndex, TorrentId};
use dunlin_disk::{DiskError, FilePlace, Meta, SourceFile, Storage, StorageConfig, hash_file};
use dunlin_engine::io::LocalError;
use dunlin_metainfo::{PieceHashes, SetInfo, piece_length_for};
use dunlin_plan::{Have, Pattern};
use dunlin_tracker::{OwnedFile, Register, Standing, Want};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Unsynced data is synced after this long: what a power cut can cost of work.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Unsynced data is synced at the latest at so many bytes: what must be checked again after a
/// crash.
const SYNC_BYTES: u64 = 64 * 1024 * 1024;

/// What was found, as the run was told.
pub(super) struct Lists {
    pub(super) root: PathBuf,
    pub(super) dest: PathBuf,
    pub(super) found: Vec<FoundFile>,
    pub(super) found_dest: Vec<FoundFile>,
    pub(super) have: Have,
    pub(super) wants: Vec<Pattern>,
}

pub(super) struct Files {
    lists: Lists,
    pub(super) storage: Storage,
    known: Mutex<BTreeMap<String, Known>>,
}

/// A file that was hashed and registered.
struct Known {
    path: PathBuf,
    /// It stands where a wanted file of its name goes.
    at_dest: bool,
    /// Another content stands where it would be copied to.
    replaces: bool,
    hashes: PieceHashes,
    /// What the file was when it was hashed.
    seen: Meta,
}

/// A file that will be hashed.
struct Candidate<'a> {
    file: &'a FoundFile,
    standing: Standing,
    at_dest: bool,
    /// What stands at the destination under the same name.
    other: Option<&'a FoundFile>,
}

impl Files {
    pub(super) fn new(lists: Lists, shared: &Shared) -> Files {
        let storage = Storage::new(StorageConfig {
            fs: Arc::clone(&shared.fs),
            root: lists.dest.clone(),
            open_files: shared.open_files,
            sync_interval: SYNC_INTERVAL,
            sync_bytes: SYNC_BYTES,
            buffers: Arc::clone(shared.budget.buffers()),
            stop: Arc::clone(&shared.stop),
        });
        Files { lists, storage, known: Mutex::default() }
    }

    fn elsewhere(&self) -> bool {
        self.lists.dest != self.lists.root
    }

    fn wanted(&self, name: &str) -> bool {
        self.lists.wants.iter().any(|pattern| pattern.matches(name))
    }

    /// The files that count, by name. What the plan says that the rank has makes it an owner; what
    /// merely stands where a wanted file goes does not.
    fn candidates(&self) -> BTreeMap<&str, Candidate<'_>> {
        let elsewhere = self.elsewhere();
        let mut all = BTreeMap::new();
        for file in &self.lists.found {
            let in_place = !elsewhere && self.wanted(&file.name);
            let standing = match &self.lists.have {
                Have::Everything => Standing::Owner,
                Have::Patterns(patterns) if patterns.iter().any(|p| p.matches(&file.name)) => {
                    Standing::Owner
                }
                Have::Patterns(_) | Have::Wanted if in_place => Standing::InPlace,
                Have::Wanted if elsewhere && self.wanted(&file.name) => Standing::Owner,
                Have::Patterns(_) | Have::Wanted => continue,
            };
            let found = Candidate { file, standing, at_dest: !elsewhere, other: None };
            all.insert(file.name.as_str(), found);
        }
        for file in self.lists.found_dest.iter().filter(|_| elsewhere) {
            if !self.wanted(&file.name) {
                continue;
            }
            all.entry(file.name.as_str()).and_modify(|owned| owned.other = Some(file)).or_insert(
                Candidate { file, standing: Standing::InPlace, at_dest: true, other: None },
            );
        }
        all
    }

    pub(super) fn register(
        &self,
        shared: &Shared,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Register, CheckError> {
        let candidates = self.candidates();
        let all = candidates.values().flat_map(|found| [Some(found.file), found.other]);
        let total = all.flatten().map(|file| file.length).sum();
        let mut done = 0;
        progress(done, total);
        let mut hash = |file: &FoundFile| {
            if shared.stopped() {
                return Err(CheckError::Stopped);
            }
            let piece_length = piece_length_for(file.length, shared.piece_size);
            let mut step = |bytes: u64| {
                progress(done + bytes, total);
                if shared.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let (fs, pool, budget) = (&*shared.fs, &*shared.pool, &shared.budget);
            let hashed = hash_file(fs, &file.path, piece_length, pool, budget, &mut step)?;
            let length = hashed.meta.len;
            done += length;
            let owned = OwnedFile {
                name: file.name.clone(),
                length,
                piece_length: piece_length_for(length, shared.piece_size),
                hashes: PieceHashes::Sha1(hashed.hashes.into()),
                pieces: None,
                standing: Standing::Owner,
                bytes: length,
                sha256: None,
            };
            Ok((owned, hashed.meta))
        };
        let mut files = Vec::new();
        let mut known = BTreeMap::new();
        for (name, found) in &candidates {
            let (mut owned, mut seen) = hash(found.file)?;
            owned.standing = found.standing;
            let (mut path, mut at_dest, mut replaces) =
                (found.file.path.clone(), found.at_dest, false);
            if let Some(other) = found.other {
                let (copy, copy_seen) = hash(other)?;
                let same = copy.length == owned.length && copy.hashes == owned.hashes;
                if !same && !shared.force {
                    return Err(obstacle(other, &found.file.path).into());
                }
                replaces = !same;
                if same {
                    (path, at_dest, seen) = (other.path.clone(), true, copy_seen);
                }
            }
            let hashes = owned.hashes.clone();
            let found = Known { path, at_dest, replaces, hashes, seen };
            known.insert((*name).to_owned(), found);
            files.push(owned);
        }
        self.add_unfinished(&mut files, &known)?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        let wants = self.lists.wants.iter().map(|pattern| {
            let text = pattern.as_str().to_owned();
            if pattern.is_literal() { Want::Name(text) } else { Want::Glob(text) }
        });
        let space = space(&*shared.fs, &self.lists.dest).filter(|_| !self.lists.wants.is_empty());
        let wants = wants.collect();
        Ok(Register { files, wants, shares: true, space, ..Register::default() })
    }

    /// Adds what unfinished files of earlier runs hold.
    fn add_unfinished(
        &self,
        files: &mut Vec<OwnedFile>,
        known: &BTreeMap<String, Known>,
    ) -> Result<(), DiskError> {
        if self.lists.wants.is_empty() {
            return Ok(());
        }
        for claim in self.storage.unfinished()? {
            if known.contains_key(&claim.name) || !self.wanted(&claim.name) {
                continue;
            }
            files.push(OwnedFile {
                name: claim.name,
                length: claim.length,
                piece_length: claim.piece_length,
                hashes: PieceHashes::Sha1(claim.hashes.into()),
                pieces: Some(claim.pieces),
                standing: Standing::Part,
                bytes: claim.length,
                sha256: None,
            });
        }
        Ok(())
    }

    pub(super) fn open(
        &self,
        shared: &Shared,
        torrent: TorrentId,
        info: &Arc<SetInfo>,
        wants: bool,
        replace: &BTreeSet<String>,
    ) -> Result<(Bitfield, u32), DiskError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut in_the_way = Vec::new();
        let places = info.files.iter().zip(0..).map(|(file, index)| {
            let dest = self.lists.dest.join(&file.name);
            let replaced = replace.contains(&file.name);
            let own = known
                .get(&file.name)
                .filter(|own| !replaced && own.hashes == info.file_hashes(FileIndex(index)));
            let source = |own: &Known| SourceFile { path: own.path.clone(), seen: Some(own.seen) };
            match own {
                Some(own) if own.at_dest || !wants => FilePlace::Source(source(own)),
                Some(own) => {
                    if own.replaces {
                        in_the_way.push(dest.clone());
                    }
                    FilePlace::Copy { source: source(own), dest }
                }
                None if wants => FilePlace::Wanted { dest, replace: replaced },
                None => FilePlace::Absent,
            }
        });
        let places = places.collect();
        drop(known);
        for path in in_the_way {
            // `--force`: a copy of what we own ourselves cannot fail to come.
            shared.fs.remove_file(&path).map_err(|error| DiskError::io(&path, &error))?;
        }
        let geometry = geometry_of(info, shared.block_length);
        let opened = self.storage.open(torrent, Arc::clone(info), geometry, places)?;
        Ok((opened.have, opened.resumed))
    }
}

fn obstacle(other: &FoundFile, source: &std::path::Path) -> LocalError {
    LocalError {
        message: format!(
            "{}: another content than {} stands where its copy goes; move it away, or use --force",
            other.path.display(),
            source.display()
        ),
        disk_full: false,
    }
}
