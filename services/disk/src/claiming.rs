//! A torrent of the internet claims the paths that it writes, before it looks at anything.

use crate::claims::{Claimant, Clash, FoundClaims, Hold, Item, Proof, Wish};
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::FileKind;
use crate::mutex::lock;
use crate::names::part_path;
use crate::places::{Existing, TorrentPlan};
use crate::storage::Storage;
use dunlin_base::{FileIndex, TorrentId};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Characters of the command line that are kept of who claims something.
const MAX_COMMAND: usize = 200;

/// What may be done with the path of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// It is written by nobody else; or it is not written here.
    Ours,
    /// Somebody else writes the same content: there are two part files. With what to say if it is
    /// not the same after all.
    Shared(DiskError),
    /// Somebody else writes something that cannot be told to be the same; it stands there already,
    /// and must be right. With what to say if it is not.
    Theirs(DiskError),
    /// Somebody else writes it, and it is not wanted here: its part file is none of our business.
    Left,
}

/// A refusal, or what the system says.
enum Refusal {
    Disk(DiskError),
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Io(error)
    }
}

impl Storage {
    /// Claims what a torrent writes. Returns what may be done with each file.
    ///
    /// # Errors
    /// `Claimed` if another torrent writes other content to one of the paths, `Twice` if this one
    /// is written here already, whatever it was named by; nothing is claimed then.
    pub(crate) fn claim(
        &self,
        torrent: TorrentId,
        plan: &TorrentPlan,
    ) -> Result<Vec<Right>, DiskError> {
        let mut rights = vec![Right::Ours; plan.content.files.len()];
        if plan.existing == Existing::Read {
            return Ok(rights);
        }
        // Durably, since files are written below it, too.
        let folder = self.state_dir();
        self.make_folders(&BTreeSet::from([folder.clone()]))?;
        let wish = Wish::new(self.items(plan), self.folds());
        let holder = format!("the torrent {} of {}", plan.content.info_hash, this_process());
        let before = lock(&self.held).get(&torrent).and_then(|held| held.last()).map(Hold::before);
        let who = Claimant {
            fs: &self.config.fs,
            root: &self.config.root,
            folder: &folder,
            torrent: plan.content.info_hash,
            holder,
            before,
        };
        let accepts = |found: &FoundClaims| self.accept(plan, found);
        let claimed =
            self.config.claims.claim(&who, &wish, accepts).map_err(|error| match error {
                Refusal::Disk(error) => error,
                Refusal::Io(error) => DiskError::io(&folder, &error),
            })?;
        for (file, clash) in claimed.clashes {
            let wanted = plan.wanted.get(file.index()) == Some(&true);
            let Some(right) = rights.get_mut(file.index()) else { continue };
            *right = match (clash.same, wanted) {
                (true, true) => Right::Shared(refusal(plan, file, &clash)),
                (false, true) => Right::Theirs(refusal(plan, file, &clash)),
                (_, false) => Right::Left,
            };
        }
        lock(&self.held).entry(torrent).or_default().push(claimed.hold);
        Ok(rights)
    }

    /// What was claimed last for a torrent counts, and what was claimed before it is given up.
    pub(crate) fn keep_last_claim(&self, torrent: TorrentId) {
        let earlier = lock(&self.held).get_mut(&torrent).map(|held| {
            let last = held.len().saturating_sub(1);
            held.drain(..last).collect::<Vec<_>>()
        });
        drop(earlier);
    }

    /// What was claimed before counts again.
    pub(crate) fn keep_first_claim(&self, torrent: TorrentId) {
        let later = lock(&self.held).get_mut(&torrent).map(|held| {
            let later = 1.min(held.len());
            held.drain(later..).collect::<Vec<_>>()
        });
        drop(later);
    }

    /// Gives up the claims of a torrent.
    pub(crate) fn unclaim(&self, torrent: TorrentId) {
        let hold = lock(&self.held).remove(&torrent);
        drop(hold);
    }

    /// What a torrent may write: wanted files and links, and others of which a part file is there.
    /// Where data stands under another name, that one too.
    fn items(&self, plan: &TorrentPlan) -> Vec<Item> {
        let content = &plan.content;
        let mut items = Vec::new();
        let listed = content.files.iter().zip(&plan.wanted).zip((0..).map(FileIndex));
        for ((named, wanted), file) in listed {
            let dest = plan.folder.join(&named.name);
            if !wanted && (named.length == 0 || self.fs().look(&part_path(&dest)).is_err()) {
                continue;
            }
            let root = plan.roots.get(file.index()).copied().flatten();
            let proof = match &named.link {
                Some(text) => Proof::of_link(text),
                None => Proof::of(content, file, root),
            };
            let others = named.places().map(|place| plan.folder.join(OsStr::from_bytes(place)));
            let others = others.filter(|other| *other != dest && self.fs().look(other).is_ok());
            for path in std::iter::once(dest.clone()).chain(others) {
                // What is not text is one with what looks like it: that refuses rather too much.
                let name = path.strip_prefix(&self.config.root).ok().map(Path::to_string_lossy);
                items.extend(name.map(|name| Item { file, name: name.into_owned(), proof }));
            }
        }
        items
    }

    /// Whether the file system takes names that differ in case alone for one.
    fn folds(&self) -> bool {
        let folder = self.state_dir();
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let other = folder.with_file_name(name.to_uppercase());
        let number = |path: &Path| {
            let look = self.fs().look(path).ok()?;
            (look.kind == FileKind::Directory).then_some((look.meta.device, look.meta.inode))
        };
        number(&other).is_some_and(|other| Some(other) == number(&folder))
    }

    /// Whether a torrent can live with others that were first.
    fn accept(&self, plan: &TorrentPlan, found: &FoundClaims) -> Result<(), Refusal> {
        if let Some(by) = found.twice.clone() {
            let by = by.chars().filter(|c| !c.is_control()).collect();
            return Err(Refusal::Disk(DiskError::new(&plan.folder, DiskErrorKind::Twice { by })));
        }
        for (file, clash) in found.clashes.iter().filter(|(_, clash)| !clash.same) {
            let wanted = plan.wanted.get(file.index()) == Some(&true);
            let dest = dest(plan, *file);
            let length = plan.content.geometry.file_length(*file);
            let stands = self
                .fs()
                .look(&dest)
                .is_ok_and(|look| look.kind == FileKind::File && look.meta.len == length);
            // A link is made, and never found right.
            let link = plan.content.files.get(file.index()).is_some_and(|file| file.link.is_some());
            if wanted && (link || !stands) {
                return Err(Refusal::Disk(refusal(plan, *file, clash)));
            }
        }
        Ok(())
    }
}

fn dest(plan: &TorrentPlan, file: FileIndex) -> PathBuf {
    let name = plan.content.files.get(file.index()).map(|file| file.name.as_str());
    plan.folder.join(name.unwrap_or_default())
}

fn refusal(plan: &TorrentPlan, file: FileIndex, clash: &Clash) -> DiskError {
    let by = clash.holder.chars().filter(|c| !c.is_control()).collect();
    DiskError::new(dest(plan, file), DiskErrorKind::Claimed { by })
}

fn this_process() -> String {
    let words: Vec<_> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let command: String = words.join(" ").chars().take(MAX_COMMAND).collect();
    format!("process {} ({command})", std::process::id())
}
