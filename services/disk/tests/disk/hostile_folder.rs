//! What somebody else may do to the names that a run uses: links, hard links, pipes, folders, files
//! of another user, before the run and while it goes on. Nothing outside is read or written,
//! nothing that was swapped gets a final name, and nothing waits.

use crate::common::torrent::{KINDS, Torrent, put};
use crate::common::{Set, T, storage};
use dunlin_base::PieceIndex;
use dunlin_disk::{
    DiskErrorKind, Existing, Fs, OutputLock, RealFs, STATE_DIR, Storage, StorageConfig,
    create_output, find_leftovers, is_state_name, part_path, remove_leftovers, state_folder,
    write_file,
};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is laid in the place of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Symlink,
    Dangling,
    HardLink,
    Pipe,
    Folder,
    Foreign,
}

const ALL: [Kind; 6] =
    [Kind::Symlink, Kind::Dangling, Kind::HardLink, Kind::Pipe, Kind::Folder, Kind::Foreign];

/// The number of somebody else.
const OTHER: u32 = 61_234;

/// A folder outside that nobody may touch, and what it holds.
struct Outside {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
}

impl Outside {
    fn new(bytes: &[u8]) -> Outside {
        let outside = Outside { folder: tempfile::tempdir().unwrap(), bytes: bytes.to_vec() };
        std::fs::write(outside.victim(), bytes).unwrap();
        std::fs::set_permissions(outside.victim(), PermissionsExt::from_mode(0o640)).unwrap();
        outside
    }

    fn victim(&self) -> PathBuf {
        self.folder.path().join("victim")
    }

    /// Lays something under a name, in place of what stands there.
    fn lay(&self, kind: Kind, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(path);
        match kind {
            Kind::Symlink => symlink(self.victim(), path).unwrap(),
            Kind::Dangling => symlink(self.folder.path().join("new"), path).unwrap(),
            Kind::HardLink => std::fs::hard_link(self.victim(), path).unwrap(),
            Kind::Pipe => {
                let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
                assert!(made.success());
            }
            Kind::Folder => std::fs::create_dir(path).unwrap(),
            Kind::Foreign => {
                std::fs::write(path, &self.bytes).unwrap();
                std::os::unix::fs::chown(path, Some(OTHER), Some(OTHER)).unwrap();
            }
        }
    }

    fn assert_untouched(&self, what: &str) {
        assert_eq!(std::fs::read(self.victim()).unwrap(), self.bytes, "{what}");
        let mode = std::fs::metadata(self.victim()).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o640, "{what}");
        assert!(!self.folder.path().join("new").exists(), "{what}");
    }
}

/// Whether files can be given away; these cases are for root only.
fn is_root() -> bool {
    RealFs.is_root()
}

fn kinds() -> impl Iterator<Item = Kind> {
    ALL.into_iter().filter(|kind| *kind != Kind::Foreign || is_root())
}

fn fs() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

#[test]
fn a_lock_is_never_something_else() {
    for kind in kinds() {
        let (outside, folder) = (Outside::new(b"precious"), tempfile::tempdir().unwrap());
        let lock = folder.path().join(STATE_DIR).join("lock");
        outside.lay(kind, &lock);
        // What another user's killed run left in our state folder is removed, and never written to.
        let goes = kind == Kind::Foreign;
        assert_eq!(OutputLock::acquire(&fs(), folder.path()).is_ok(), goes, "{kind:?}");
        let shared = OutputLock::acquire_shared(&fs(), folder.path(), "job");
        assert_eq!(shared.is_ok(), goes, "{kind:?}");
        drop(shared);
        assert_eq!(lock.symlink_metadata().is_err(), goes, "{kind:?}");
        outside.assert_untouched(&format!("{kind:?}"));
    }
}

#[test]
fn a_state_folder_is_never_a_link() {
    let (outside, folder) = (Outside::new(b"precious"), tempfile::tempdir().unwrap());
    symlink(outside.folder.path(), folder.path().join(STATE_DIR)).unwrap();
    assert!(OutputLock::acquire(&fs(), folder.path()).is_err());
    let set = Set::new(folder.path(), &[("a", 100_000)], 1);
    let store = storage(&RealFs, &set.root);
    assert!(store.unfinished().is_err(), "not what is there");
    assert!(set.write_all(&store).is_err());
    drop(store);
    assert_eq!(std::fs::read_dir(outside.folder.path()).unwrap().count(), 1);
    outside.assert_untouched("link");
}

/// In a folder where all may make names, somebody may have made a state folder that has our name,
/// with a state in it that says that everything is verified.
#[test]
fn a_state_folder_that_somebody_else_made_is_not_believed() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    let own = format!("{STATE_DIR}-{}", RealFs.user());
    let forged: Vec<PathBuf> = [STATE_DIR, &own].map(|name| folder.path().join(name)).to_vec();
    for state in &forged {
        std::fs::create_dir(state).unwrap();
        std::fs::write(state.join("x.state"), "all is well").unwrap();
        for path in [state.join("x.state"), state.clone()] {
            std::os::unix::fs::chown(path, Some(OTHER), Some(OTHER)).unwrap();
        }
    }
    assert!(RealFs.read_own(&state_folder(&RealFs, folder.path()).join("x.state"), 100).is_err());
    assert!(OutputLock::acquire(&fs(), folder.path()).is_err());
    let error = OutputLock::acquire_shared(&fs(), folder.path(), "job").unwrap_err().to_string();
    assert!(error.contains(&own) && error.contains("another user"), "{error}");
    // Nothing was made there, and without the second one we have our own.
    assert_eq!(std::fs::read_dir(&forged[1]).unwrap().count(), 1);
    std::fs::remove_dir_all(&forged[1]).unwrap();
    let lock = OutputLock::acquire(&fs(), folder.path()).unwrap();
    assert_eq!(std::fs::metadata(&forged[1]).unwrap().uid(), RealFs.user());
    drop(lock);
}

/// Part files at the start: what is no part of ours is not taken over, and never written to.
#[test]
fn parts_that_were_laid_before_the_run() {
    for kind in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let set = Set::new(&folder.path().join("out"), &[("a", 100_000)], 1);
        // The very content: it would be taken over if it were a file of ours.
        let outside = Outside::new(&set.contents[0]);
        outside.lay(kind, &part_path(&set.dest(0)));
        let store = storage(&RealFs, &set.root);
        let opened = set.open(&store, set.wanted(false)).unwrap();
        assert_eq!(opened.have.count(), 0, "{kind:?}: nothing is trusted");
        let done = set.write_all(&store).and_then(|()| set.finish_all(&store));
        let report = store.close();
        assert_eq!(done.is_ok() && report.failed.is_empty(), kind != Kind::Folder, "{kind:?}");
        if kind != Kind::Folder {
            set.assert_done(&RealFs);
            let meta = std::fs::symlink_metadata(set.dest(0)).unwrap();
            assert!(meta.is_file() && meta.nlink() == 1, "{kind:?}");
            assert_eq!(meta.uid(), RealFs.user(), "{kind:?}");
        }
        outside.assert_untouched(&format!("{kind:?}"));
    }
}

/// Part files that are swapped while the run goes on do not get the final name.
#[test]
fn parts_that_are_swapped_during_the_run() {
    for kind in kinds() {
        for open_files in [1, 64] {
            let folder = tempfile::tempdir().unwrap();
            let names = [("a", 100_000), ("b", 100_000)];
            let set = Set::new(&folder.path().join("out"), &names, 1);
            let outside = Outside::new(&set.contents[0]);
            let config = StorageConfig::new(fs(), set.root.clone());
            let store = Storage::new(StorageConfig { open_files, ..config });
            set.open(&store, set.wanted(false)).unwrap();
            set.write_all(&store).unwrap();
            let part = part_path(&set.dest(0));
            std::fs::rename(&part, folder.path().join("gone")).unwrap();
            outside.lay(kind, &part);
            // The file that was opened last is closed, so this one is opened again.
            let again = set.write(&store, 0);
            assert!(again.is_ok() || open_files == 1, "{kind:?}: {again:?}");
            let _ = set.finish_all(&store);
            let report = store.close();
            assert!(!report.failed.is_empty(), "{kind:?}: {report:?}");
            assert!(set.dest(0).symlink_metadata().is_err(), "{kind:?} got the name");
            assert_eq!(std::fs::read(set.dest(1)).unwrap(), set.contents[1], "the other is there");
            outside.assert_untouched(&format!("{kind:?}"));
        }
    }
}

/// The same of a torrent's file that may be run: what came in its place keeps its mode.
#[test]
fn parts_of_programs_that_are_swapped_keep_their_mode() {
    for kind in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("out");
        let mut torrent = Torrent::new(&root, KINDS[2], &[("a", 40_000), ("b", 10)], 1);
        let content = Arc::make_mut(&mut torrent.content);
        content.files.iter_mut().for_each(|file| file.executable = true);
        let outside = Outside::new(&torrent.contents[0]);
        let store = storage(&RealFs, &root);
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        torrent.fetch(&store, &opened);
        let part = part_path(&torrent.dest(0));
        outside.lay(kind, &part);
        let mode = std::fs::symlink_metadata(&part).unwrap().mode();
        let report = store.close_torrent(T, true);
        assert_eq!(report.failed.len(), 1, "{kind:?}: {report:?}");
        assert!(torrent.dest(0).symlink_metadata().is_err(), "{kind:?} got the name");
        assert_eq!(std::fs::symlink_metadata(&part).unwrap().mode(), mode, "{kind:?}");
        torrent.assert_file(&RealFs, 1);
        outside.assert_untouched(&format!("{kind:?}"));
    }
}

/// Final names: a link is neither read through nor written through, whatever it leads to.
#[test]
fn final_names_of_torrents() {
    for how in KINDS {
        for kind in kinds() {
            for existing in [Existing::Refuse, Existing::Replace] {
                let folder = tempfile::tempdir().unwrap();
                let root = folder.path().join("out");
                let torrent = Torrent::new(&root, how, &[("a", 40_000), ("b", 10)], 1);
                let outside = Outside::new(&[7; 40_000]);
                outside.lay(kind, &torrent.dest(0));
                let store = storage(&RealFs, &root);
                let opened = torrent.open(&store, torrent.plan(existing));
                let what = format!("{how:?} {kind:?} {existing:?}");
                if let Ok(opened) = &opened {
                    // A file that may be replaced; what it holds is nobody's here.
                    assert_eq!(existing, Existing::Replace, "{what}");
                    torrent.fetch(&store, opened);
                    store.close_torrent(T, false);
                    torrent.assert_done(&RealFs);
                } else {
                    let kind = opened.unwrap_err().kind;
                    let known =
                        matches!(kind, DiskErrorKind::Exists | DiskErrorKind::OtherContent { .. });
                    assert!(known, "{what}: {kind:?}");
                }
                outside.assert_untouched(&what);
            }
        }
    }
}

/// A folder on the way that is swapped for a link while the run goes on.
#[test]
fn folders_that_are_swapped_during_the_run() {
    for first in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let set = Set::new(&folder.path().join("out"), &[("d/e/a", 100_000)], 1);
        let outside = Outside::new(b"precious");
        std::fs::create_dir(outside.folder.path().join("e")).unwrap();
        let store = storage(&RealFs, &set.root);
        set.open(&store, set.wanted(true)).unwrap();
        if !first {
            set.write_all(&store).unwrap();
        }
        std::fs::rename(set.root.join("d"), folder.path().join("gone")).unwrap();
        symlink(outside.folder.path(), set.root.join("d")).unwrap();
        let done = set.write_all(&store).and_then(|()| set.finish_all(&store));
        let report = store.close();
        assert!(done.is_err() || !report.failed.is_empty(), "{report:?}");
        let inside = outside.folder.path().join("e");
        assert_eq!(std::fs::read_dir(inside).unwrap().count(), 0, "nothing came there");
        outside.assert_untouched("folder");
    }
}

/// The state and the resume file: what was laid there is not believed, and is replaced, not written
/// to.
#[test]
fn states_that_were_laid() {
    for kind in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let set = Set::new(&folder.path().join("out"), &[("a", 100_000)], 1);
        let first = storage(&RealFs, &set.root);
        set.open(&first, set.wanted(false)).unwrap();
        set.write(&first, 0).unwrap();
        first.close();
        let state = set.root.join(STATE_DIR);
        let entries = std::fs::read_dir(&state).unwrap();
        let resume = entries.map(|entry| entry.unwrap().path()).next().unwrap();
        let outside = Outside::new(&std::fs::read(&resume).unwrap());
        outside.lay(kind, &resume);
        // The name under which the next one is written, too.
        outside.lay(kind, &part_path(&resume));
        let second = storage(&RealFs, &set.root);
        let claims = second.unfinished().unwrap();
        assert_eq!(claims, [], "{kind:?} is not believed");
        let opened = set.open(&second, set.wanted(false)).unwrap();
        let have: Vec<_> = opened.have.ones().collect();
        assert_eq!(have, [PieceIndex(0)], "{kind:?}: the part file was hashed");
        let done = set.write_all(&second).and_then(|()| set.finish_all(&second));
        second.close();
        assert!(done.is_ok() || kind == Kind::Folder, "{kind:?}: {done:?}");
        outside.assert_untouched(&format!("{kind:?}"));
    }
}

/// Files that a person names, and small files that are written whole.
#[test]
fn outputs_and_whole_files() {
    for kind in kinds() {
        let (outside, folder) = (Outside::new(b"precious"), tempfile::tempdir().unwrap());
        let path = folder.path().join("trace");
        outside.lay(kind, &path);
        // In a folder of ours a file of somebody else's is one that root has given away.
        assert!(create_output(&path).is_err(), "{kind:?}");
        outside.lay(kind, &part_path(&folder.path().join("report")));
        let fs = RealFs.inside(folder.path());
        let done = write_file(&*fs, &folder.path().join("report"), b"new");
        assert_eq!(done.is_ok(), kind != Kind::Folder, "{kind:?}: {done:?}");
        outside.assert_untouched(&format!("{kind:?}"));
    }
    assert!(create_output(Path::new("/dev/null")).is_ok());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    std::fs::write(&path, "old").unwrap();
    drop(create_output(&path).unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), b"");
}

/// Users of one folder have a state folder each, and none is in the way of the next.
#[test]
fn a_state_folder_of_somebody_else_is_left_alone() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("out");
    std::fs::create_dir(&root).unwrap();
    let theirs = root.join(STATE_DIR);
    std::fs::create_dir(&theirs).unwrap();
    std::fs::write(theirs.join("lock"), "4711 (dunlin)").unwrap();
    for path in [&theirs, &theirs.join("lock")] {
        std::os::unix::fs::chown(path, Some(OTHER), Some(OTHER)).unwrap();
    }
    let own = root.join(format!("{STATE_DIR}-0"));
    assert_eq!(state_folder(&RealFs, &root), own);
    let lock = OutputLock::acquire(&fs(), &root).unwrap();
    assert!(own.join("lock").exists());
    // It stays ours, though theirs goes meanwhile.
    std::fs::rename(&theirs, folder.path().join("gone")).unwrap();
    assert_eq!(state_folder(&RealFs, &root), own);
    assert!(OutputLock::acquire(&fs(), &root).is_err(), "held");
    let left = find_leftovers(&RealFs, &root).unwrap();
    assert_eq!(left.len(), 1);
    assert!(remove_leftovers(&RealFs, &left).is_err(), "held");
    drop(lock);
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "nothing is left");
    assert!(is_state_name(own.file_name().unwrap()) && is_state_name(STATE_DIR.as_ref()));
    for name in [".dunlin-", ".dunlin-x", ".dunlin2", "dunlin-1", ".dunlin-part"] {
        assert!(!is_state_name(name.as_ref()), "{name}");
    }
    // Owners of the folder, and root, are trusted: they can change everything there.
    std::fs::create_dir(&theirs).unwrap();
    for path in [&root, &theirs] {
        std::os::unix::fs::chown(path, Some(OTHER), Some(OTHER)).unwrap();
    }
    assert_eq!(state_folder(&RealFs, &root), theirs);
    put(&RealFs, &root.join("x"), b"");
}
