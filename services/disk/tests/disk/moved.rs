//! Files of other content whose bytes move to a part file (`get --force`), and that somebody
//! changes at the worst moment: what was not hashed as it stands never counts, and what was only
//! touched is not lost.

use crate::common::torrent::{KINDS, Kind, Torrent, flip, put};
use crate::common::{T, storage};
use dunlin_disk::{DiskErrorKind, Existing, Fs, MemFs, part_path};
use std::path::Path;

type Deed = fn(&MemFs, &Path);

fn set_back(fs: &MemFs, path: &Path) {
    let modified = fs.metadata(path).unwrap().modified;
    flip(fs, path, 20_000);
    fs.set_modified(path, modified as i64).unwrap();
}

/// What somebody does to a file, and whether its content stays.
const DEEDS: [(&str, Deed, bool); 4] = [
    ("nothing", |_, _| {}, true),
    ("a further name", |fs, path| fs.hard_link(path, Path::new("/further")).unwrap(), true),
    ("a write", |fs, path| flip(fs, path, 20_000), false),
    ("a write whose time is set back", set_back, false),
];

fn torrent(kind: Kind) -> Torrent {
    Torrent::new(Path::new("/out"), kind, &[("a", 40_000), ("b", 30_000)], 3)
}

/// The file stands, and is changed before the piece comes that it shares with a missing one.
#[test]
fn a_file_that_changes_during_the_run_is_hashed_again() {
    for (what, deed, stays) in DEEDS {
        for shares in [true, false] {
            let (fs, torrent) = (MemFs::new(), torrent(Kind::Shared));
            fs.set_shares(shares);
            put(&fs, &torrent.dest(0), &torrent.contents[0]);
            let store = storage(&fs, Path::new("/out"));
            let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
            assert_eq!(opened.have.ones().count(), 2, "{what}");
            deed(&fs, &torrent.dest(0));
            let mut missing = opened.have.zeros();
            let written = missing.try_for_each(|piece| torrent.write(&store, piece.0));
            let finished = (0..2).all(|file| torrent.finish(&store, file).is_ok());
            let report = store.close_torrent(T, true);
            if stays {
                assert_eq!(written, Ok(()), "{what}");
                assert!(finished && report.failed.is_empty(), "{what}: {report:?}");
                torrent.assert_done(&fs);
                continue;
            }
            assert_eq!(written.unwrap_err().kind, DiskErrorKind::Changed, "{what}");
            assert!(!finished, "{what}: a file was finished whose bytes nobody knew");
            // What the state says of it is true.
            let store = storage(&fs, Path::new("/out"));
            let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
            torrent.fetch(&store, &opened);
            assert_eq!(store.close_torrent(T, true).failed, [], "{what}");
            torrent.assert_done(&fs);
        }
    }
}

/// The file has other content in its first piece, and is changed after it was hashed, before its
/// bytes are copied.
#[test]
fn a_file_that_changes_after_it_was_hashed_is_hashed_again() {
    for (kind, (what, deed, stays)) in KINDS.into_iter().flat_map(|kind| DEEDS.map(|d| (kind, d))) {
        for shares in [true, false] {
            let (fs, torrent) = (MemFs::new(), torrent(kind));
            fs.set_shares(shares);
            torrent.put(&fs);
            let path = torrent.dest(0);
            flip(&fs, &path, 5);
            let (other, at) = (fs.clone(), path.clone());
            fs.before_open(&part_path(&path), move || deed(&other, &at));
            let store = storage(&fs, Path::new("/out"));
            let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
            let missing = opened.have.zeros().count();
            assert_eq!(missing, if stays { 1 } else { 2 }, "{kind:?} {what}");
            torrent.fetch(&store, &opened);
            assert_eq!(store.close_torrent(T, true).failed, [], "{kind:?} {what}");
            torrent.assert_done(&fs);
        }
    }
}

/// When the copy fails, the old file is what is here, as before.
#[test]
fn a_copy_that_fails_loses_nothing() {
    let (fs, torrent) = (MemFs::new(), torrent(Kind::Shared));
    put(&fs, &torrent.dest(0), &torrent.contents[0]);
    let store = storage(&fs, Path::new("/out"));
    let opened = torrent.open(&store, torrent.plan(Existing::Replace)).unwrap();
    fs.hard_link(&torrent.dest(0), Path::new("/further")).unwrap();
    fs.set_space(Some(20_000));
    let error = opened.have.zeros().try_for_each(|piece| torrent.write(&store, piece.0));
    assert_eq!(error.unwrap_err().kind, DiskErrorKind::Full);
    fs.set_space(None);
    opened.have.zeros().for_each(|piece| torrent.write(&store, piece.0).unwrap());
    (0..2).for_each(|file| torrent.finish(&store, file).unwrap());
    assert_eq!(store.close_torrent(T, true).failed, []);
    torrent.assert_done(&fs);
}
