//! Looking at a rank's files before the start: which of them it offers, what stands where its wanted
//! ones go, and the hashes of all that.

use super::copies::{Copy, Known};
use super::files::Files;
use super::{CheckError, Shared, space};
use crate::config::{FoundFile, Placing};
use crate::lock::lock;
use dunlin_control::{FailedFile, OwnedFile, Register, Standing, Want};
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
    standing: Standing,
    at_dest: bool,
    /// What stands at the destination under the same name.
    other: Option<&'a FoundFile>,
}

/// Looks at one file after another.
struct Looker<'a> {
    files: &'a Files,
    shared: &'a Shared,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
    /// What was hashed of files with several names, by device and inode.
    linked: BTreeMap<(u64, u64), Copy>,
}

impl Files {
    /// The files that count, by name. What the plan says that the rank has makes it an owner; what
    /// merely stands where a wanted file goes does not.
    fn candidates(&self) -> BTreeMap<&str, Candidate<'_>> {
        let elsewhere = self.elsewhere();
        let alone = !self.mirrors();
        let mut all = BTreeMap::new();
        for file in &self.lists.found {
            let in_place = !elsewhere && self.wanted(&file.name);
            let standing = match &self.lists.have {
                Have::Everything => Standing::Owner,
                Have::Patterns(patterns) if patterns.iter().any(|p| p.matches(&file.name)) => {
                    Standing::Owner
                }
                Have::Patterns(_) | Have::Wanted if in_place && alone => Standing::InPlace,
                Have::Wanted if elsewhere && self.wanted(&file.name) => Standing::Owner,
                Have::Patterns(_) | Have::Wanted => continue,
            };
            // A source may stand where it goes already.
            let there = || file.path == dunlin_disk::path_of(&self.lists.dest, &file.name);
            let found = Candidate { file, standing, at_dest: !elsewhere || there(), other: None };
            all.insert(file.name.as_str(), found);
        }
        for file in self.lists.found_dest.iter().filter(|_| elsewhere && alone) {
            if !self.wanted(&file.name) {
                continue;
            }
            match all.entry(file.name.as_str()) {
                Entry::Occupied(mut owned) => {
                    let owned: &mut Candidate<'_> = owned.get_mut();
                    owned.other = Some(file).filter(|_| !owned.at_dest);
                }
                Entry::Vacant(none) => {
                    let standing = Standing::InPlace;
                    none.insert(Candidate { file, standing, at_dest: true, other: None });
                }
            }
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
        progress(0, total);
        let (done, linked) = (0, BTreeMap::new());
        let mut looker = Looker { files: self, shared, progress, done, total, linked };
        let mut files = Vec::new();
        let mut known = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (name, found) in candidates {
            let copies = match &self.lists.placing {
                Some(placing) => looker.placed(&found, placing, &mut files, &mut unreadable)?,
                None => looker.found(&found, &mut files)?,
            };
            known.insert(name.to_owned(), copies);
        }
        match self.add_unfinished(&mut files, &known) {
            Err(error)
                if self.lists.placing.is_some() && error.kind != DiskErrorKind::Interrupted =>
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
        match &self.lists.placing {
            Some(placing) => self.add_tree(shared, placing, register),
            None => Ok(register),
        }
    }

    /// Adds what a rank tells where a plan is to be made so.
    fn add_tree(
        &self,
        shared: &Shared,
        placing: &Placing,
        mut register: Register,
    ) -> Result<Register, CheckError> {
        register.entries.clone_from(&placing.entries);
        let told: Vec<_> = register.unreadable.iter().map(|failed| failed.name.clone()).collect();
        let more = placing.unreadable.iter().filter(|failed| !told.contains(&failed.name));
        register.unreadable.extend(more.cloned());
        register.node.clone_from(&placing.node);
        register.elsewhere = self.elsewhere();
        if !self.lists.wants.is_empty() && !self.mirrors() {
            register.stands = match &placing.stands {
                Some(stands) => Some(stands.clone()),
                None => Some(self.stands(shared, placing)?),
            };
        }
        Ok(register)
    }

    /// The folders and links that stand where wanted things go.
    fn stands(&self, shared: &Shared, placing: &Placing) -> Result<Vec<TreeEntry>, CheckError> {
        let counts = |entry: &TreeEntry| entry.kind != EntryKind::File;
        if !self.elsewhere() {
            return Ok(placing.entries.iter().filter(|entry| counts(entry)).cloned().collect());
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
        known: &BTreeMap<String, Known>,
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
                standing: Standing::Part,
                bytes: claim.length,
                sha256: None,
            });
        }
        Ok(())
    }
}

impl Looker<'_> {
    /// What a rank of a swarm has of a name.
    fn found(
        &mut self,
        found: &Candidate<'_>,
        files: &mut Vec<OwnedFile>,
    ) -> Result<Known, CheckError> {
        let (owned, copy) = self.hash(found.file, None, false)?;
        let mut known = Known::default();
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
        files.push(OwnedFile { standing: found.standing, ..owned });
        Ok(known)
    }

    /// The same where a plan is to be made so: what cannot be read is told, and differences are not
    /// in the way.
    fn placed(
        &mut self,
        found: &Candidate<'_>,
        placing: &Placing,
        files: &mut Vec<OwnedFile>,
        unreadable: &mut Vec<FailedFile>,
    ) -> Result<Known, CheckError> {
        let mut known = Known::default();
        let pinned = placing.pins.contains(&found.file.name);
        let copies = [
            Some((found.file, found.standing, found.at_dest)),
            found.other.map(|other| (other, Standing::InPlace, true)),
        ];
        let mut failed = None;
        for (file, standing, at_dest) in copies.into_iter().flatten() {
            let cache = self.files.caches(&self.shared.fs).of(at_dest);
            match self.hash(file, cache, pinned) {
                Ok((owned, copy)) => {
                    let both = standing == Standing::Owner && at_dest;
                    let both = both && self.files.elsewhere() && self.files.wanted(&file.name);
                    files.push(OwnedFile { standing, ..owned.clone() });
                    if both {
                        // It is what it gives, and it stands where it goes.
                        files.push(OwnedFile { standing: Standing::InPlace, ..owned });
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
    ) -> Result<(OwnedFile, Copy), CheckError> {
        if self.shared.stopped() {
            return Err(CheckError::Stopped);
        }
        let placing = self.files.lists.placing.is_some();
        let look = placing.then(|| self.shared.fs.look(&file.path).ok()).flatten();
        let look = look.filter(|look| look.kind == FileKind::File);
        let known = look.as_ref().and_then(|look| self.remembered(file, look, cache));
        let copy = match known.filter(|copy| copy.sha256.is_some() || !pinned) {
            Some(copy) => copy,
            None => self.read(file, cache, pinned)?,
        };
        self.tell(copy.seen.meta.len);
        if let Some(look) = look.filter(|look| look.links > 1) {
            self.linked.insert((look.meta.device, look.meta.inode), copy.clone());
        }
        Ok((owned(file, &copy, pinned), copy))
    }

    /// What is known of a file: another name of it was hashed in this run, or it was in an earlier
    /// one.
    fn remembered(&self, file: &FoundFile, look: &Look, cache: Option<&HashCache>) -> Option<Copy> {
        let (path, seen) = (file.path.clone(), look.seen());
        let other = self.linked.get(&(seen.meta.device, seen.meta.inode));
        if let Some(copy) = other.filter(|copy| copy.seen == seen) {
            return Some(Copy { path, ..copy.clone() });
        }
        let piece_length = piece_length_for(seen.meta.len, self.shared.piece_size);
        let CachedHashes { hashes, sha256 } = cache?.get(&file.path, look, piece_length)?;
        Some(Copy { path, piece_length, hashes, sha256, seen })
    }

    /// Reads and hashes a file.
    fn read(
        &mut self,
        file: &FoundFile,
        cache: Option<&HashCache>,
        pinned: bool,
    ) -> Result<Copy, CheckError> {
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
        Ok(Copy { path: path.clone(), piece_length, hashes, sha256, seen: hashed.look.seen() })
    }

    fn tell(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done, self.total.max(self.done));
    }
}

fn owned(file: &FoundFile, copy: &Copy, pinned: bool) -> OwnedFile {
    let length = copy.seen.meta.len;
    OwnedFile {
        name: file.name.clone(),
        length,
        piece_length: copy.piece_length,
        hashes: copy.hashes.clone(),
        pieces: None,
        standing: Standing::Owner,
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
