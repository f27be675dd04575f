//! What a test does to a disk in memory: it loses power, kills the process that uses it, fills up,
//! breaks, and lets somebody else get in between. What comes of it is for others to see.

use super::change::Change;
use super::{Content, Deed, Disk, Lock, MemFs, Node};
use dunlin_base::Rng;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

impl MemFs {
    /// The power goes out when sync number `sync` (from 0, over the life of the disk) begins: it
    /// and all later operations fail.
    pub fn freeze_at_sync(&self, sync: u64) {
        self.disk().freeze_at = Some(sync);
    }

    /// So many more changes of names, content or metadata are made, at least one; then all
    /// operations fail, as they never happen to a process that is killed there. [`MemFs::reopen`]
    /// is what it leaves.
    pub fn freeze_after_changes(&self, changes: u64) {
        self.disk().changes_left = Some(changes.max(1));
    }

    /// The disk as the next process finds it, the power having been on all the time: nothing is
    /// lost, and nothing is frozen, full, broken or locked.
    #[must_use]
    pub fn reopen(&self) -> MemFs {
        let disk = self.disk();
        let unlocked = |(inode, content): (&u64, &Content)| {
            (*inode, Content { lock: Lock::default(), ..content.clone() })
        };
        let image = Disk {
            names: disk.names.clone(),
            durable_names: disk.durable_names.clone(),
            name_changes: disk.name_changes.clone(),
            files: disk.files.iter().map(unlocked).collect(),
            next_inode: disk.next_inode,
            clock: disk.clock,
            shares: disk.shares,
            common: disk.common,
            ..Disk::default()
        };
        MemFs { disk: Arc::new(Mutex::new(image)) }
    }

    /// Whether the power is out, or the process killed.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.disk().frozen
    }

    /// Lets that many more bytes be written, then the disk is full; `None`: no end.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.disk().space = bytes;
    }

    /// Every operation on this path fails from now on, or works again.
    pub fn set_broken(&self, path: &Path, broken: bool) {
        let mut disk = self.disk();
        if broken {
            disk.broken.insert(path.to_owned());
        } else {
            disk.broken.remove(path);
        }
    }

    /// The next sync of this path fails, once.
    pub fn break_next_sync(&self, path: &Path) {
        self.disk().broken_syncs.insert(path.to_owned());
    }

    /// Somebody overwrites the file at `path` with `bytes` after so many more reads of it.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn overwrite_after(&self, path: &Path, reads: u64, bytes: Vec<u8>) -> io::Result<()> {
        let mut disk = self.disk();
        let inode = disk.inode(path)?;
        disk.overwrites.insert(inode, (reads, bytes));
        Ok(())
    }

    /// Somebody does this when the path is to be opened the next time, just before it is.
    pub fn before_open(&self, path: &Path, deed: impl FnOnce() + Send + 'static) {
        self.disk().deeds.insert(path.to_owned(), Deed(Box::new(deed)));
    }

    /// What the disk may hold after a power loss now, drawn by `seed`. Nothing is frozen, full,
    /// broken or locked on the new disk, and all of it is durable.
    #[must_use]
    pub fn crash(&self, seed: u64) -> MemFs {
        let disk = self.disk();
        let mut rng = Rng::new(seed);
        let mut names = disk.durable_names.clone();
        let mut changes: Vec<_> =
            disk.name_changes.iter().filter(|_| rng.chance(1, 2)).cloned().collect();
        rng.shuffle(&mut changes);
        changes.iter().for_each(|change| change.apply(&mut names));
        // A name whose folder was lost is lost.
        let all = names.clone();
        names.retain(|path, _| {
            let above = path.ancestors().skip(1);
            above
                .filter(|up| *up != Path::new("") && *up != Path::new("/"))
                .all(|up| all.get(up).is_some_and(Node::is_dir))
        });
        let mut files = BTreeMap::new();
        for (inode, content) in &disk.files {
            let mut left = content.durable.clone();
            let torn = content.changes.iter().flat_map(Change::torn);
            // Whole batches come through or are lost, too: a coin a sector would never show it.
            let share = [0, 1, 2, 4].get(rng.below(4) as usize).copied().unwrap_or(1);
            let mut kept: Vec<_> = torn.filter(|_| rng.chance(share, 4)).collect();
            rng.shuffle(&mut kept);
            kept.iter().for_each(|change| change.apply(&mut left));
            let metadata = content.metadata.clone();
            let (durable, modified) = (left.clone(), content.modified);
            let content = Content { durable, now: left, modified, metadata, ..Content::default() };
            files.insert(*inode, content);
        }
        let next_inode = disk.next_inode;
        let durable_names = names.clone();
        let (shares, common) = (disk.shares, disk.common);
        // What the files look like says nothing of what was lost.
        let clock = disk.clock;
        let disk = Disk { names, durable_names, files, next_inode, clock, ..Disk::default() };
        let image = Disk { shares, common, ..disk };
        MemFs { disk: Arc::new(Mutex::new(image)) }
    }
}
