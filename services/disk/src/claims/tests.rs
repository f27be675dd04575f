//! Claims of strangers, who may lay there what they like.

use super::*;
use crate::RealFs;
use crate::claims::format::ClaimList;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::chown;
use std::time::{Duration, Instant};

/// Somebody who is neither root nor the owner of the folder.
const STRANGER: u32 = 61_234;

/// How often each of four sweeps at the same time.
const SWEEPS: usize = 1000;

/// What a stranger lays into a folder of ours, with a lock on each file.
struct Strange {
    root: tempfile::TempDir,
    locks: Vec<Arc<dyn FsFile>>,
}

impl Strange {
    fn new() -> Strange {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join(format!(".dunlin-{STRANGER}"));
        std::fs::create_dir(&state).unwrap();
        chown(&state, Some(STRANGER), None).unwrap();
        Strange { root, locks: Vec::new() }
    }

    fn lay(&mut self, name: &str, write: impl FnOnce(&File)) {
        let path = self.root.path().join(format!(".dunlin-{STRANGER}")).join(name);
        write(&File::create_new(&path).unwrap());
        chown(&path, Some(STRANGER), None).unwrap();
        let lock = RealFs.open_read(&path).unwrap();
        assert!(RealFs.lock_exclusive(&lock).unwrap());
        self.locks.push(lock);
    }

    /// What we find of a wish for these files.
    fn find(&self, names: &[&str], patience: Duration) -> FoundClaims {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let (root, torrent) = (self.root.path(), InfoHash([7; 20]));
        let holder = "us".to_owned();
        let who = Claimant { fs: &fs, root, folder: root, torrent, holder, before: None };
        let wish = wish(names);
        look::others(&who, &wish, &root.join("mine"), 0, patience).unwrap()
    }
}

fn wish(names: &[&str]) -> Wish {
    let items = names.iter().zip((0..).map(FileIndex)).map(|(name, file)| Item {
        file,
        name: (*name).to_owned(),
        proof: Proof { length: 1, ..Proof::default() },
    });
    Wish::new(items.collect(), false)
}

fn list(names: &[&str], settled: bool) -> ClaimList {
    let entries = wish(names).entries(str::to_owned);
    ClaimList { settled, time: i64::MAX, holder: "a stranger".into(), entries }
}

#[test]
fn what_strangers_lay_there_is_read_within_bounds() {
    if !RealFs.is_root() {
        return;
    }
    let mut strange = Strange::new();
    let bytes = |list: ClaimList| {
        move |file: &File| std::io::Write::write_all(&mut &*file, &list.encode()).unwrap()
    };
    strange.lay("a.1.claims", bytes(list(&["x"], true)));
    let found = strange.find(&["x", "y"], look::PATIENCE);
    assert_eq!(found.clashes.len(), 1, "what they claim counts");
    // A file with much in it, a hole, and more files than anybody needs.
    let many: Vec<String> = (0..300_000).map(|n| format!("f{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    strange.lay("b.1.claims", bytes(list(&many, true)));
    strange.lay("c.1.claims", |file| file.set_len(500 << 20).unwrap());
    let found = strange.find(&["f1", "y"], look::PATIENCE);
    assert_eq!(found, FoundClaims::default());
    for number in 0..400 {
        strange.lay(&format!("d.{number}.claims"), bytes(list(&[&format!("d{number}")], true)));
    }
    let all: Vec<String> = (0..400).map(|n| format!("d{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let found = strange.find(&all, look::PATIENCE);
    // What was laid before takes some of what is read.
    assert!((240..=256).contains(&found.clashes.len()), "{}", found.clashes.len());
}

/// Several processes sweep at one moment what a killed run has left, and publish under its name.
#[test]
fn who_sweeps_removes_no_claims_that_hold() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(".dunlin");
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let torrent = InfoHash([7; 20]);
    let one = || {
        let holder = "us".to_owned();
        let who =
            Claimant { fs: &fs, root: root.path(), folder: &folder, torrent, holder, before: None };
        for _ in 0..SWEEPS {
            let left = folder.join(format!("{torrent}.0{CLAIMS_SUFFIX}"));
            let _ = File::create_new(left);
            let published = look::publish(&who, &wish(&["x"]), 0).unwrap();
            std::thread::yield_now();
            let named = crate::lock_file::is_named(&*fs, &published.path, &published.file);
            assert!(named.unwrap(), "{:?}", published.path);
            fs.remove_file(&published.path).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(one);
        }
    });
}

#[test]
fn strangers_that_never_give_way_are_waited_for_once() {
    if !RealFs.is_root() {
        return;
    }
    let mut strange = Strange::new();
    let bytes = list(&["x"], false).encode();
    for number in 0..50 {
        strange.lay(&format!("a.{number}.claims"), |file| {
            std::io::Write::write_all(&mut &*file, &bytes).unwrap();
        });
    }
    let (begun, patience) = (Instant::now(), Duration::from_millis(100));
    let found = strange.find(&["x"], patience);
    assert_eq!(found.clashes.len(), 1, "what may yet hold counts");
    assert!(begun.elapsed() < patience * 40, "one time for all: {:?}", begun.elapsed());
}

/// Whoever can make names in a folder cannot make so many state folders that others are not seen.
#[test]
fn a_state_folder_counts_if_it_is_of_the_user_that_it_names() {
    if !RealFs.is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    for (name, owner) in [(".dunlin-61234", 61_234), (".dunlin-61235", 61_234), (".dunlin", 7)] {
        std::fs::create_dir(root.path().join(name)).unwrap();
        chown(root.path().join(name), Some(owner), None).unwrap();
    }
    let found = crate::state_folders::state_folders(&RealFs, root.path());
    let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap_or_default()).collect();
    assert_eq!(names, [".dunlin", ".dunlin-61234"].map(OsStr::new));
}

/// Of several claims of one path the one of other content counts.
#[test]
fn a_claim_of_other_content_hides_behind_none_of_the_same() {
    let proof = |n: u8| Proof { length: 1, root: Some([n; 32]), pieces: None };
    let item = |n| Item { file: FileIndex(0), name: "x".into(), proof: proof(n) };
    let wish = Wish::new(vec![item(1)], false);
    for order in [[1, 2], [2, 1]] {
        let found =
            |_: &PathHash| order.map(|n| (ClaimEntry::File(proof(n)), n.to_string())).to_vec();
        let clashes = wish.clashes(|name| Some(name.to_owned()), found);
        let expected = Clash { same: false, holder: "2".into() };
        assert_eq!(clashes.get(&FileIndex(0)), Some(&expected));
    }
}

#[test]
fn what_is_given_up_leaves_nothing_behind() {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let above = tempfile::tempdir().unwrap();
    let below = above.path().join("below");
    std::fs::create_dir(&below).unwrap();
    let claims = PathClaims::default();
    let claim = |root: &Path, torrent: u8| {
        let torrent = InfoHash([torrent; 20]);
        let holder = "one".to_owned();
        let who = Claimant { fs: &fs, root, folder: root, torrent, holder, before: None };
        claims.claim(&who, &wish(&["a"]), |_| std::io::Result::Ok(())).unwrap()
    };
    let (first, second) = (claim(above.path(), 1), claim(&below, 2));
    drop(first);
    assert_eq!(lock(&claims.0).roots.len(), 1, "the second one is named by it");
    drop(second);
    let table = lock(&claims.0);
    assert!(table.roots.is_empty() && table.entries.is_empty() && table.holders.is_empty());
}
