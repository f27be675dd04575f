//! Who writes which path: no two torrents write one path, in this process or another.
//!
//! A torrent claims the paths of its wanted files when these are known, before anything is written.
//! Whoever comes second is refused by the name of the file, unless the torrents themselves prove
//! that both have the same content there: then each writes a part file of its own, and the second
//! one to finish finds the other's file in its place.
//!
//! Within a process the claims are in a [`PathClaims`] that its storages share. Between processes
//! they are in `<info hash>.<number>.claims` of the state folder, a file that its owner holds a
//! lock on as long as they hold: one that nobody locks was left by a killed run. Roots may lie
//! within one another, so such files are looked for in the root, in all folders above it, and in
//! all folders on the way to the files, in the state folders of all users; above the root only
//! those of users count whom the root trusts anyway.
//!
//! ```text
//!   publish "?" ──▶ look at others ──▶ settle "!" ──▶ … ──▶ remove
//!                        └── somebody else was first ──▶ remove, refuse
//! ```
//!
//! Two processes that publish at one time both see the other's: the one with the later time gives
//! way, and the other waits until it has.

pub(crate) mod format;
mod look;
#[cfg(test)]
mod tests;

pub(crate) use look::writer_from_above;

use crate::fs::{Fs, FsFile};
use crate::mutex::lock;
use dunlin_base::{FileIndex, InfoHash};
use dunlin_metainfo::{Content, PieceHashes};
use look::Published;
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The ending of the name of a file of claims.
pub(crate) const CLAIMS_SUFFIX: &str = ".claims";

/// The SHA-1 of a path.
pub(crate) type PathHash = [u8; 20];

/// What a claimed path is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimEntry {
    File(Proof),
    Folder,
}

/// What a torrent proves of the content of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Length in bytes.
    pub(crate) length: u64,
    /// The root of its tree of hashes (BEP 52).
    pub(crate) root: Option<[u8; 32]>,
    /// The SHA-1 of the length of a piece, where the file begins in its first piece, and the hashes
    /// of its pieces.
    pub(crate) pieces: Option<[u8; 20]>,
}

impl Proof {
    /// What is proved of a file whose root is `root`.
    pub(crate) fn of(content: &Content, file: FileIndex, root: Option<[u8; 32]>) -> Proof {
        let geometry = &content.geometry;
        let length = geometry.file_length(file);
        let range = geometry.file_pieces(file);
        let range = range.start as usize..range.end as usize;
        let mut sum = Sha1::new();
        sum.update(geometry.piece_length().to_be_bytes());
        let offset = geometry.file_start(file) % u64::from(geometry.piece_length().max(1));
        sum.update(offset.to_be_bytes());
        let pieces = match &content.hashes {
            PieceHashes::Sha1(hashes) => hashes.get(range).map(|hashes| {
                sum.update([1]);
                sum.update(hashes.as_flattened());
                sum.finalize().into()
            }),
            PieceHashes::Merkle(hashes) => hashes.get(range).map(|hashes| {
                sum.update([2]);
                sum.update(hashes.as_flattened());
                sum.finalize().into()
            }),
            PieceHashes::Tokens(_) => None,
        };
        Proof { length, root, pieces: pieces.filter(|_| length > 0) }
    }

    /// What is proved of a link with this text. No file is as long as that.
    pub(crate) fn of_link(text: &[u8]) -> Proof {
        Proof { length: u64::MAX, root: None, pieces: Some(Sha1::digest(text).into()) }
    }

    /// Whether two torrents prove that they mean the same content.
    fn is_same(&self, other: &Proof) -> bool {
        let same = |a: Option<&[u8]>, b: Option<&[u8]>| a.is_some() && a == b;
        self.length == other.length
            && (self.length == 0
                || same(self.root.as_ref().map(|r| &r[..]), other.root.as_ref().map(|r| &r[..]))
                || same(
                    self.pieces.as_ref().map(|p| &p[..]),
                    other.pieces.as_ref().map(|p| &p[..]),
                ))
    }
}

/// A file that a torrent wants to write.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) file: FileIndex,
    /// Its name below the root.
    pub(crate) name: String,
    pub(crate) proof: Proof,
}

/// Why a path is not ours alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clash {
    /// Whether the content is the same.
    pub(crate) same: bool,
    /// Who has claimed it, for people.
    pub(crate) holder: String,
}

/// What others have claimed of a wish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundClaims {
    /// Who writes the same torrent, with the same state: whatever it was named by, it is written
    /// once.
    pub(crate) twice: Option<String>,
    /// The files of the wish.
    pub(crate) clashes: BTreeMap<FileIndex, Clash>,
}

impl FoundClaims {
    /// Adds what somebody else has claimed.
    fn add(&mut self, clashes: BTreeMap<FileIndex, Clash>) {
        for (file, clash) in clashes {
            match self.clashes.entry(file) {
                // One of the same content says less than one of another.
                Slot::Occupied(mut known) if known.get().same => _ = known.insert(clash),
                Slot::Occupied(_) => {}
                Slot::Vacant(free) => _ = free.insert(clash),
            }
        }
    }
}

/// The paths that a torrent is about to claim.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) items: Vec<Item>,
    /// The folders above them, below the root.
    folders: BTreeMap<String, FileIndex>,
    /// Whether the file system takes names that differ in case alone for one.
    fold: bool,
}

impl Wish {
    pub(crate) fn new(items: Vec<Item>, fold: bool) -> Wish {
        let mut folders = BTreeMap::new();
        for item in &items {
            for (at, _) in item.name.match_indices('/') {
                let folder = item.name.get(..at).unwrap_or_default();
                folders.entry(folder.to_owned()).or_insert(item.file);
            }
        }
        Wish { items, folders, fold }
    }

    fn key(&self, path: &str) -> PathHash {
        key(path.as_bytes(), self.fold)
    }

    /// The entries, by the keys of what `path` makes of names.
    fn entries(&self, path: impl Fn(&str) -> String) -> BTreeMap<PathHash, ClaimEntry> {
        let folders = self.folders.keys().map(|name| (self.key(&path(name)), ClaimEntry::Folder));
        let files = self.items.iter().map(|item| (self.key(&path(&item.name)), item));
        folders.chain(files.map(|(key, item)| (key, ClaimEntry::File(item.proof)))).collect()
    }

    /// Which files clash with what `found` knows of a path; `path` gives the path of a name, where
    /// it has one there.
    fn clashes(
        &self,
        path: impl Fn(&str) -> Option<String>,
        found: impl Fn(&PathHash) -> Vec<(ClaimEntry, String)>,
    ) -> BTreeMap<FileIndex, Clash> {
        let at = |name: &str| path(name).map(|path| found(&self.key(&path))).unwrap_or_default();
        let mut clashes = BTreeMap::new();
        for folder in self.folders.keys() {
            let files =
                at(folder).into_iter().find(|(entry, _)| matches!(entry, ClaimEntry::File(_)));
            let Some((_, holder)) = files else { continue };
            let below =
                |name: &str| name.strip_prefix(&**folder).is_some_and(|r| r.starts_with('/'));
            for item in self.items.iter().filter(|item| below(&item.name)) {
                clashes.insert(item.file, Clash { same: false, holder: holder.clone() });
            }
        }
        for item in &self.items {
            let same = |entry: &ClaimEntry| match entry {
                ClaimEntry::File(proof) => proof.is_same(&item.proof),
                ClaimEntry::Folder => false,
            };
            let mut all = at(&item.name).into_iter().map(|(entry, holder)| (same(&entry), holder));
            // One of the same content says less than one of another.
            let Some(first) = all.next() else { continue };
            let (same, holder) = match first.0 {
                true => all.find(|(same, _)| !same).unwrap_or(first),
                false => first,
            };
            clashes.entry(item.file).or_insert(Clash { same, holder });
        }
        clashes
    }
}

fn key(path: &[u8], fold: bool) -> PathHash {
    match fold {
        true => Sha1::digest(String::from_utf8_lossy(path).to_lowercase().as_bytes()).into(),
        false => Sha1::digest(path).into(),
    }
}

/// The paths that the torrents of a process write. Its storages share one.
#[derive(Clone, Debug, Default)]
pub struct PathClaims(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// The first name of each root, by device and number.
    roots: BTreeMap<(u64, u64), PathBuf>,
    /// By path, and who claims it.
    entries: BTreeMap<(PathHash, u64), ClaimEntry>,
    holders: BTreeMap<u64, Holder>,
}

/// Who claims something in this process.
#[derive(Debug)]
struct Holder {
    torrent: InfoHash,
    root: PathBuf,
    /// For people.
    name: String,
}

impl Table {
    /// The name of `root` that all claims use, whatever name it was given this time; and its
    /// number, if no root is known that it is in.
    fn canonical(&self, fs: &dyn Fs, root: &Path) -> (PathBuf, Option<(u64, u64)>) {
        let number = |path: &Path| {
            let meta = fs.metadata(path).ok().filter(|meta| meta.inode != 0)?;
            Some((meta.device, meta.inode))
        };
        for above in root.ancestors().filter(|above| !above.as_os_str().is_empty()) {
            let Some(number) = number(above) else { continue };
            if let Some(known) = self.roots.get(&number) {
                let below = root.strip_prefix(above).unwrap_or(Path::new(""));
                return (known.join(below), None);
            }
        }
        (root.to_owned(), number(root))
    }

    /// Removes a holder, its claims, and the roots that no other one is in.
    fn remove(&mut self, holder: u64) {
        self.entries.retain(|(_, id), _| *id != holder);
        let Some(gone) = self.holders.remove(&holder) else { return };
        let holders = &self.holders;
        self.roots.retain(|_, root| {
            let is_in = |one: &Holder| one.root.starts_with(&*root);
            !is_in(&gone) || holders.values().any(is_in)
        });
    }

    /// What others have claimed of a path.
    fn find(&self, key: &PathHash, own: Option<u64>) -> Vec<(ClaimEntry, String)> {
        let range = self.entries.range((*key, 0)..=(*key, u64::MAX));
        let other = |((_, id), entry): (&(PathHash, u64), &ClaimEntry)| {
            let holder = self.holders.get(id).filter(|_| Some(*id) != own)?;
            Some((*entry, holder.name.clone()))
        };
        range.filter_map(other).collect()
    }

    /// Who else works on a torrent in a root.
    fn twice(&self, torrent: InfoHash, root: &Path, own: Option<u64>) -> Option<String> {
        let others = self.holders.iter().filter(|(id, _)| Some(**id) != own);
        let mut same = others.filter(|(_, one)| one.torrent == torrent && one.root == root);
        same.next().map(|(_, one)| one.name.clone())
    }
}

/// The claims of one torrent within the process. Dropping it gives them up.
#[derive(Debug)]
struct Registered {
    claims: PathClaims,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.claims.0).remove(self.id);
    }
}

/// The claims of one torrent. Dropping it gives them up.
#[derive(Debug)]
pub(crate) struct Hold {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    /// Its lock says that the claims hold.
    file: Arc<dyn FsFile>,
    /// Given up last: whoever is told so in this process finds no file any more.
    registered: Registered,
}

impl Hold {
    /// How its owner knows it again.
    pub(crate) fn before(&self) -> Before {
        Before { id: self.registered.id, path: self.path.clone() }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Who comes just now may have taken its name already.
        let ours = self.file.meta().ok().map(|meta| meta.inode);
        if self.fs.look(&self.path).is_ok_and(|look| Some(look.meta.inode) == ours) {
            let _ = self.fs.remove_file(&self.path);
        }
    }
}

/// What a torrent has claimed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    id: u64,
    path: PathBuf,
}

/// What came of a wish.
pub(crate) struct Claimed {
    pub(crate) hold: Hold,
    pub(crate) clashes: BTreeMap<FileIndex, Clash>,
}

/// For whom something is claimed.
pub(crate) struct Claimant<'a> {
    pub(crate) fs: &'a Arc<dyn Fs>,
    pub(crate) root: &'a Path,
    /// The state folder in that.
    pub(crate) folder: &'a Path,
    pub(crate) torrent: InfoHash,
    /// Who it is, for people.
    pub(crate) holder: String,
    /// What it has claimed before.
    pub(crate) before: Option<Before>,
}

impl PathClaims {
    /// Claims what nobody else has claimed, or what `accepts` of what was found.
    ///
    /// Within the process the claims stand before anybody else is looked for, so that nobody here
    /// has to wait while others are waited for.
    ///
    /// # Errors
    /// What `accepts` refuses with, or what the system says of the file of claims.
    pub(crate) fn claim<E: From<std::io::Error>>(
        &self,
        who: &Claimant<'_>,
        wish: &Wish,
        accepts: impl Fn(&FoundClaims) -> Result<(), E>,
    ) -> Result<Claimed, E> {
        let (mut found, registered) = self.register(who, wish, &accepts)?;
        let mine = look::publish(who, wish, registered.id)?;
        let Published { path, file, time } = mine;
        let hold = Hold { fs: Arc::clone(who.fs), path, file, registered };
        let others = look::others(who, wish, &hold.path, time, look::PATIENCE)?;
        found.twice = others.twice;
        found.add(others.clashes);
        accepts(&found)?;
        look::settle(&*hold.file)?;
        Ok(Claimed { hold, clashes: found.clashes })
    }

    /// Claims it within the process.
    fn register<E>(
        &self,
        who: &Claimant<'_>,
        wish: &Wish,
        accepts: impl Fn(&FoundClaims) -> Result<(), E>,
    ) -> Result<(FoundClaims, Registered), E> {
        let mut table = lock(&self.0);
        let (root, new_root) = table.canonical(&**who.fs, who.root);
        let below = |name: &str| root.join(name).to_string_lossy().into_owned();
        let own = who.before.as_ref().map(|before| before.id);
        let clashes = wish.clashes(|name| Some(below(name)), |key| table.find(key, own));
        let found = FoundClaims { twice: table.twice(who.torrent, &root, own), clashes };
        accepts(&found)?;
        table.next += 1;
        let id = table.next;
        table.roots.extend(new_root.map(|number| (number, root.clone())));
        let entries = wish.entries(below);
        table.entries.extend(entries.into_iter().map(|(key, entry)| ((key, id), entry)));
        let name = who.holder.clone();
        table.holders.insert(id, Holder { torrent: who.torrent, root, name });
        Ok((found, Registered { claims: self.clone(), id }))
    }
}
