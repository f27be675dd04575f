//! Checking a rank's files before the start: which of them it offers, which are already where its
//! wanted files go, and the hashes of all of them.

use super::copies::{HashedFile, KnownCopies};
use super::files::FileContent;
use super::{CheckError, SharedResources, space};
use crate::config::{FoundFile, Placement};
use crate::lock::lock;
use dunlin_control::{FailedFile, OwnedFile, Provenance, Register, Want};
use dunlin_disk::{
    CachedHashes, DiskError, DiskErrorKind, FileKind, HashCache, Look, hash_file_and, list_files,
};
use dunlin_engine::io::LocalError;
use dunlin_hash::Sha256;
use dunlin_metainfo::{EntryKind, PieceHashes, TreeEntry, piece_length_for};
use dunlin_plan::Have;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;
use std::path::Path;

/// A file that will be hashed.
struct Candidate<'a> {
    file: &'a FoundFile,
    provenance: Provenance,
    at_dest: bool,
    /// The file at the destination under the same name.
    other: Option<&'a FoundFile>,
}

/// Checks one file after another.
struct FileChecker<'a> {
    files: &'a FileContent,
    shared: &'a SharedResources,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
    /// The hashes of files with several names, by device and inode.
    linked: BTreeMap<(u64, u64), HashedFile>,
}

impl FileContent {
    /// The files that count, by name. A file that the plan lists as the rank's makes it an owner;
    /// one that is merely where a wanted file goes does not.
    fn candidates(&self) -> BTreeMap<&str, Candidate<'_>> {
        let elsewhere = self.elsewhere();
        let writes = !self.mirrors();
        let mut all = BTreeMap::new();
        for file in &self.lists.found {
            let in_place = !elsewhere && self.wanted(&file.name);
            let provenance = match &self.lists.have {
                Have::Everything => Provenance::Owner,
                Have::Patterns(patterns) if patterns.iter().any(|p| p.matches(&file.name)) => {
                    Provenance::Owner
                }
                Have::Patterns(_) | Have::Wanted if in_place && writes => Provenance::InPlace,
                Have::Wanted if elsewhere && self.wanted(&file.name) => Provenance::Owner,
                Have::Patterns(_) | Have::Wanted => continue,
            };
            // A source may be where it goes already.
            let there = || file.path == dunlin_disk::path_of(&self.lists.dest, &file.name);
            let found = Candidate { file, provenance, at_dest: !elsewhere || there(), other: None };
            all.insert(file.name.as_str(), found);
        }
        for file in self.lists.found_dest.iter().filter(|_| elsewhere && writes) {
            if !self.wanted(&file.name) {
                continue;
            }
            match all.entry(file.name.as_str()) {
                Entry::Occupied(mut owned) => {
                    let owned: &mut Candidate<'_> = owned.get_mut();
                    owned.other = Some(file).filter(|_| !owned.at_dest);
                }
                Entry::Vacant(none) => {
                    let provenance = Provenance::InPlace;
                    none.insert(Candidate { file, provenance, at_dest: true, other: None });
                }
            }
        }
        all
    }

    pub(super) fn register(
        &self,
        shared: &SharedResources,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Register, CheckError> {
        let candidates = self.candidates();
        let all = candidates.values().flat_map(|found| [Some(found.file), found.other]);
        let total = all.flatten().map(|file| file.length).sum();
        progress(0, total);
        let (done, linked) = (0, BTreeMap::new());
        let mut checker = FileChecker { files: self, shared, progress, done, total, linked };
        let mut files = Vec::new();
        let mut known = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (name, found) in candidates {
            let copies = match &self.lists.placement {
                Some(placement) => {
                    checker.placed(&found, placement, &mut files, &mut unreadable)?
                }
                None => checker.found(&found, &mut files)?,
            };
            known.insert(name.to_owned(), copies);
        }
        match self.add_unfinished(&mut files, &known) {
            Err(error)
                if self.lists.placement.is_some() && error.kind != DiskErrorKind::Interrupted =>
            {
                tracing::warn!("{error} (what it holds is fetched again)");
            }
            added => added?,
        }
        self.caches(&shared.fs).save();
        *lock(&self.known) = known;
        let wants = self.lists.wants.iter().map(|pattern| {
            let text = pattern.as_str().to_owned();
            if pattern.is_literal() { Want::Name(text) } else { Want::Glob(text) }
        });
        let space = space(&*shared.fs, &self.lists.dest).filter(|_| !self.lists.wants.is_empty());
        let register = Register {
            files,
            wants: wants.collect(),
            shares: true,
            space,
            unreadable,
            ..Register::default()
        };
        match &self.lists.placement {
            Some(placement) => self.add_tree(shared, placement, register),
            None => Ok(register),
        }
    }

    /// Adds what a rank registers where a plan is carried out.
    fn add_tree(
        &self,
        shared: &SharedResources,
        placement: &Placement,
        mut register: Register,
    ) -> Result<Register, CheckError> {
        register.entries.clone_from(&placement.entries);
        let listed: Vec<_> = register.unreadable.iter().map(|failed| failed.name.clone()).collect();
        let more = placement.unreadable.iter().filter(|failed| !listed.contains(&failed.name));
        register.unreadable.extend(more.cloned());
        register.location.clone_from(&placement.location);
        register.elsewhere = self.elsewhere();
        if !self.lists.wants.is_empty() && !self.mirrors() {
            register.stands = match &placement.existing {
                Some(existing) => Some(existing.clone()),
                None => Some(self.existing(shared, placement)?),
            };
        }
        Ok(register)
    }

    /// The folders and links that are where wanted ones go.
    fn existing(
        &self,
        shared: &SharedResources,
        placement: &Placement,
    ) -> Result<Vec<TreeEntry>, CheckError> {
        let counts = |entry: &TreeEntry| entry.kind != EntryKind::File;
        if !self.elsewhere() {
            return Ok(placement.entries.iter().filter(|entry| counts(entry)).cloned().collect());
        }
        match list_files(&*shared.fs, &self.lists.dest, "", &shared.stop) {
            Ok(tree) => Ok(tree.entries.into_iter().filter(counts).collect()),
            Err(error) if error.kind == DiskErrorKind::Interrupted => Err(CheckError::Stopped),
            // It is not there yet.
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Adds what unfinished files of earlier runs hold.
    fn add_unfinished(
        &self,
        files: &mut Vec<OwnedFile>,
        known: &BTreeMap<String, KnownCopies>,
    ) -> Result<(), DiskError> {
        if self.lists.wants.is_empty() || self.mirrors() {
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
                provenance: Provenance::Part,
                bytes: claim.length,
                sha256: None,
            });
        }
        Ok(())
    }
}

impl FileChecker<'_> {
    /// The copies of a name that a rank of a swarm has.
    fn found(
        &mut self,
        found: &Candidate<'_>,
        files: &mut Vec<OwnedFile>,
    ) -> Result<KnownCopies, CheckError> {
        let (owned, copy) = self.hash(found.file, None, false)?;
        let mut known = KnownCopies::default();
        if let Some(other) = found.other {
            let (there, other_copy) = self.hash(other, None, false)?;
            let same = there.length == owned.length && there.hashes == owned.hashes;
            if !same && !self.shared.force {
                return Err(obstacle(other, &found.file.path).into());
            }
            known.at_dest = Some(other_copy);
        }
        match found.at_dest {
            true => known.at_dest = Some(copy),
            false => known.own = Some(copy),
        }
        files.push(OwnedFile { provenance: found.provenance, ..owned });
        Ok(known)
    }

    /// The same where a plan is carried out: a file that cannot be read is reported, and a
    /// difference is no obstacle.
    fn placed(
        &mut self,
        found: &Candidate<'_>,
        placement: &Placement,
        files: &mut Vec<OwnedFile>,
        unreadable: &mut Vec<FailedFile>,
    ) -> Result<KnownCopies, CheckError> {
        let mut known = KnownCopies::default();
        let pinned = placement.pins.contains(&found.file.name);
        let copies = [
            Some((found.file, found.provenance, found.at_dest)),
            found.other.map(|other| (other, Provenance::InPlace, true)),
        ];
        let mut failed = None;
        for (file, provenance, at_dest) in copies.into_iter().flatten() {
            let cache = self.files.caches(&self.shared.fs).of(at_dest);
            match self.hash(file, cache, pinned) {
                Ok((owned, copy)) => {
                    let both = provenance == Provenance::Owner && at_dest;
                    let both = both && self.files.elsewhere() && self.files.wanted(&file.name);
                    files.push(OwnedFile { provenance, ..owned.clone() });
                    if both {
                        // The file is a source, and it is where it goes.
                        files.push(OwnedFile { provenance: Provenance::InPlace, ..owned });
                    }
                    match at_dest {
                        true => known.at_dest = Some(copy),
                        false => known.own = Some(copy),
                    }
                }
                Err(CheckError::Stopped) => return Err(CheckError::Stopped),
                Err(CheckError::Failed(error)) => failed = Some(error.message),
            }
        }
        if let Some(reason) = failed.filter(|_| known.own.is_none() && known.at_dest.is_none()) {
            unreadable.push(FailedFile { name: found.file.name.clone(), reason });
        }
        Ok(known)
    }

    /// The hashes of a file, from a cache if it has them.
    fn hash(
        &mut self,
        file: &FoundFile,
        cache: Option<&HashCache>,
        pinned: bool,
    ) -> Result<(OwnedFile, HashedFile), CheckError> {
        if self.shared.stopped() {
            return Err(CheckError::Stopped);
        }
        let placement = self.files.lists.placement.is_some();
        let look = placement.then(|| self.shared.fs.look(&file.path).ok()).flatten();
        let look = look.filter(|look| look.kind == FileKind::File);
        let known = look.as_ref().and_then(|look| self.remembered(file, look, cache));
        let copy = match known.filter(|copy| copy.sha256.is_some() || !pinned) {
            Some(copy) => copy,
            None => self.read(file, cache, pinned)?,
        };
        self.advance(copy.seen.meta.len);
        if let Some(look) = look.filter(|look| look.links > 1) {
            self.linked.insert((look.meta.device, look.meta.inode), copy.clone());
        }
        Ok((owned(file, &copy, pinned), copy))
    }

    /// The hashes of a file that are known already: another name of it was hashed in this run, or
    /// it was hashed in an earlier one.
    fn remembered(
        &self,
        file: &FoundFile,
        look: &Look,
        cache: Option<&HashCache>,
    ) -> Option<HashedFile> {
        let (path, seen) = (file.path.clone(), look.seen());
        let other = self.linked.get(&(seen.meta.device, seen.meta.inode));
        if let Some(copy) = other.filter(|copy| copy.seen == seen) {
            return Some(HashedFile { path, ..copy.clone() });
        }
        let piece_length = piece_length_for(seen.meta.len, self.shared.piece_size);
        let CachedHashes { hashes, sha256 } = cache?.get(&file.path, look, piece_length)?;
        Some(HashedFile { path, piece_length, hashes, sha256, seen })
    }

    /// Reads and hashes a file.
    fn read(
        &mut self,
        file: &FoundFile,
        cache: Option<&HashCache>,
        pinned: bool,
    ) -> Result<HashedFile, CheckError> {
        let piece_length = piece_length_for(file.length, self.shared.piece_size);
        let (done, total, shared) = (self.done, self.total, self.shared);
        let mut step = |bytes: u64| {
            (self.progress)(done + bytes, total);
            if shared.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut sha256 = pinned.then(Sha256::new);
        let mut tap = |bytes: &[u8]| {
            if let Some(hash) = &mut sha256 {
                hash.update(bytes);
            }
        };
        let (fs, pool, budget) = (&*shared.fs, &*shared.pool, &shared.budget);
        let path = &file.path;
        let hashed = hash_file_and(fs, path, piece_length, pool, budget, &mut step, &mut tap)?;
        let hashes = PieceHashes::Sha1(hashed.hashes.into());
        let sha256 = sha256.map(Sha256::finish);
        if let Some(cache) = cache {
            cache.put(path, &hashed.look, piece_length, &hashes, sha256);
        }
        Ok(HashedFile {
            path: path.clone(),
            piece_length,
            hashes,
            sha256,
            seen: hashed.look.seen(),
        })
    }

    /// Reports that so many more bytes are checked.
    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done, self.total.max(self.done));
    }
}

fn owned(file: &FoundFile, copy: &HashedFile, pinned: bool) -> OwnedFile {
    let length = copy.seen.meta.len;
    OwnedFile {
        name: file.name.clone(),
        length,
        piece_length: copy.piece_length,
        hashes: copy.hashes.clone(),
        pieces: None,
        provenance: Provenance::Owner,
        bytes: length,
        sha256: copy.sha256.filter(|_| pinned),
    }
}

fn obstacle(other: &FoundFile, source: &Path) -> LocalError {
    LocalError {
        message: format!(
            "{}: another content than {} stands where its copy goes; move it away, or use --force",
            other.path.display(),
            source.display()
        ),
        disk_full: false,
    }
}
