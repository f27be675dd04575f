//! What `--force` replaces: the very file that was seen there and nothing else, and what comes of
//! its looks.

use crate::common::torrent::{Kind, Torrent, put};
use crate::common::{PIECE, T};
use dunlin_base::InfoHash;
use dunlin_disk::{
    DiskError, DiskErrorKind, Existing, Fs, MemFs, PathClaims, RealFs, Storage, StorageConfig,
    TorrentPlan, part_path,
};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;

const FILES: &[(&str, usize)] = &[("a", 3 * PIECE as usize)];

fn storage(fs: &Arc<dyn Fs>, root: &Path, claims: &PathClaims) -> Storage {
    let mut config = StorageConfig::new(Arc::clone(fs), root.to_owned());
    config.claims = claims.clone();
    Storage::new(config)
}

fn memory() -> Arc<dyn Fs> {
    Arc::new(MemFs::new())
}

fn is_other(error: &DiskError) -> bool {
    matches!(error.kind, DiskErrorKind::OtherContent { .. })
}

#[test]
fn a_part_file_is_no_program_of_its_owner_and_nobody_elses() {
    // Whose file stood there: ours, or where this test may do so somebody else's.
    for other in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let torrent = Torrent::new(folder.path(), Kind::Shared, FILES, 1);
        let (dest, part) = (torrent.dest(0), part_path(&torrent.dest(0)));
        put(&*fs, &dest, b"something else");
        if other && chown(&dest, Some(1001), Some(1001)).is_err() {
            continue;
        }
        std::fs::set_permissions(&dest, PermissionsExt::from_mode(0o7775)).unwrap();
        let store = storage(&fs, folder.path(), &PathClaims::default());
        let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
        torrent.write(&store, 0).unwrap();
        let mode = std::fs::metadata(&part).unwrap().mode() & 0o7777;
        let expected = if other { 0o644 } else { 0o775 };
        assert_eq!(mode, expected, "{mode:o}, of another user: {other}");
        torrent.fetch(&store, &opened);
        assert_eq!(store.sync().failed, []);
        let found = std::fs::metadata(&dest).unwrap();
        assert_eq!(found.mode() & 0o7777, expected, "of another user: {other}");
        torrent.assert_file(&*fs, 0);
    }
}

type Change = fn(&dyn Fs, &Path);

/// What happens to the old file while a run that may replace it is interrupted, or goes on.
const AFTERWARDS: &[(&str, Change)] = &[
    ("written anew", |fs, path| put(fs, path, b"my thesis")),
    ("another file", |fs, path| {
        fs.remove_file(path).unwrap();
        put(fs, path, b"my thesis");
    }),
    ("another file as long as the right one", |fs, path| {
        fs.remove_file(path).unwrap();
        put(fs, path, &[7; 3 * PIECE as usize]);
    }),
];

#[test]
fn what_an_earlier_run_might_replace_is_not_replaced_by_one_that_may_not() {
    for (what, change) in AFTERWARDS {
        for in_order in [true, false] {
            let (fs, torrent) = (memory(), Torrent::new(Path::new("/o"), Kind::Shared, FILES, 1));
            put(&*fs, &torrent.dest(0), b"old");
            let store = storage(&fs, &torrent.root, &PathClaims::default());
            torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
            torrent.write(&store, 0).unwrap();
            store.sync();
            match in_order {
                true => assert_eq!(store.close_torrent(T, true).failed, []),
                false => drop(store),
            }
            change(&*fs, &torrent.dest(0));
            let thesis = fs.read_all(&torrent.dest(0), 1 << 20).unwrap();
            let store = storage(&fs, &torrent.root, &PathClaims::default());
            let error = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap_err();
            assert!(is_other(&error), "{what}: {error}");
            assert_eq!(fs.read_all(&torrent.dest(0), 1 << 20).unwrap(), thesis, "{what}");
            // Who is asked goes on with what is there.
            let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
            assert_eq!(opened.have.count(), 1, "{what}");
            torrent.fetch(&store, &opened);
            assert_eq!(store.sync().failed, [], "{what}");
            torrent.assert_done(&*fs);
        }
    }
}

#[test]
fn what_comes_in_the_place_of_the_old_file_is_not_replaced() {
    // Whether something stood there at all when the run began.
    for stood in [true, false] {
        for (what, change) in AFTERWARDS.iter().skip(usize::from(!stood)) {
            let (fs, torrent) = (memory(), Torrent::new(Path::new("/o"), Kind::Shared, FILES, 1));
            if stood {
                put(&*fs, &torrent.dest(0), b"old");
            }
            let store = storage(&fs, &torrent.root, &PathClaims::default());
            let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
            if !stood {
                put(&*fs, &torrent.dest(0), b"for a moment");
            }
            change(&*fs, &torrent.dest(0));
            let thesis = fs.read_all(&torrent.dest(0), 1 << 20).unwrap();
            torrent.fetch(&store, &opened);
            let failed = store.sync().failed;
            assert!(matches!(&*failed, [(.., error)] if is_other(error)), "{what}: {failed:?}");
            assert_eq!(fs.read_all(&torrent.dest(0), 1 << 20).unwrap(), thesis, "{what}");
        }
    }
}

/// A torrent that claims to have the content of `first`, by the roots of its files.
fn claims_the_same(first: &Torrent, content: &Torrent) -> (TorrentPlan, TorrentPlan, Torrent) {
    let mut second = content.clone();
    Arc::make_mut(&mut second.content).info_hash = InfoHash([2; 20]);
    let roots = vec![Some([1; 32])];
    let mine = TorrentPlan { roots: roots.clone(), ..first.plan(Existing::Replace) };
    let other = TorrentPlan { roots, ..second.plan(Existing::Replace) };
    (mine, other, second)
}

#[test]
fn what_another_torrent_has_finished_is_not_replaced() {
    for old in [None, Some(b"old")] {
        let fs = memory();
        let first = Torrent::new(Path::new("/o"), Kind::Shared, FILES, 1);
        // It lies about its content.
        let liar = Torrent::new(Path::new("/o"), Kind::Shared, FILES, 2);
        let (mine, other, liar) = claims_the_same(&first, &liar);
        if let Some(old) = old {
            put(&*fs, &first.dest(0), old);
        }
        let store = storage(&fs, &first.root, &PathClaims::default());
        let opened = first.open(&store, mine).unwrap();
        first.fetch(&store, &opened);
        assert_eq!(store.sync().failed, []);
        let others = storage(&fs, &first.root, &PathClaims::default());
        let error = liar.open(&others, other).unwrap_err();
        assert!(matches!(error.kind, DiskErrorKind::Claimed { .. }), "{error}");
        first.assert_done(&*fs);
    }
}

#[test]
fn two_may_replace_one_file_if_they_write_the_same() {
    for (truth, order) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let fs = memory();
        let first = Torrent::new(Path::new("/o"), Kind::Shared, FILES, 1);
        let content = if truth { 1 } else { 2 };
        let content = Torrent::new(Path::new("/o"), Kind::Shared, FILES, content);
        let (mine, other, second) = claims_the_same(&first, &content);
        put(&*fs, &first.dest(0), b"old");
        let store = storage(&fs, &first.root, &PathClaims::default());
        let opened = first.open(&store, mine).unwrap();
        let others = storage(&fs, &first.root, &PathClaims::default());
        let also = second.open(&others, other).unwrap();
        let fetch = |torrent: &Torrent, store: &Storage, opened| {
            torrent.fetch(store, opened);
            store.sync().failed
        };
        let (quick, slow, winner) = match order {
            0 => (fetch(&first, &store, &opened), fetch(&second, &others, &also), &first),
            _ => (fetch(&second, &others, &also), fetch(&first, &store, &opened), &second),
        };
        assert_eq!(quick, [], "{truth}, {order}");
        winner.assert_file(&*fs, 0);
        let refused = matches!(&*slow, [(.., error)] if is_other(error));
        assert_eq!(slow.is_empty(), truth, "{order}: {slow:?}");
        assert_eq!(refused, !truth, "{order}: {slow:?}");
    }
}

#[test]
fn a_file_with_holes_is_one_of_other_content() {
    // How many pieces of it are right, from the start.
    for right in 0..3 {
        let (fs, torrent) = (memory(), Torrent::new(Path::new("/o"), Kind::Shared, FILES, 1));
        let held = right * PIECE as usize;
        put(&*fs, &torrent.dest(0), &torrent.contents[0][..held]);
        let file = fs.open_write(&torrent.dest(0)).unwrap();
        file.set_len(torrent.contents[0].len() as u64).unwrap();
        let store = storage(&fs, &torrent.root, &PathClaims::default());
        let error = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap_err();
        assert!(is_other(&error), "{right} pieces: {error}");
        let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
        assert_eq!(opened.have.count() as usize, right);
        torrent.fetch(&store, &opened);
        assert_eq!(store.sync().failed, []);
        torrent.assert_done(&*fs);
    }
}
