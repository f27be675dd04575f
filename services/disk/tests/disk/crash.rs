//! Power is lost at every sync of a download, and again while it is resumed. Whatever subset of the
//! unsynced reached the disk: claims are right, final names stand for whole files, what was
//! reported as finished stays, and the download can go on.

use crate::common::{PIECE, Set, T, storage};
use dunlin_base::{BlockRef, FileIndex, PieceIndex, Rng};
use dunlin_disk::{DiskError, FilePlace, Fs, MemFs, part_path};
use std::collections::BTreeSet;
use std::path::Path;

/// Seeds a test; the long form runs twenty times as many.
const SEEDS: u64 = 25;

fn root() -> &'static Path {
    Path::new("/data/out")
}

fn new_set() -> Set {
    Set::new(root(), &[("a.bin", 70_001), ("deep/er/b.bin", 33_000), ("empty", 0)], 1)
}

/// The places of a run: what stands complete under its final name is a source.
fn places(fs: &MemFs, set: &Set, replace: bool) -> Vec<FilePlace> {
    let place = |file: usize| match fs.read_all(&set.dest(file), 1 << 20) {
        Ok(found) if found == set.contents[file] => FilePlace::Source(set.dest(file).into()),
        _ => FilePlace::Wanted { dest: set.dest(file), replace },
    };
    (0..set.contents.len()).map(place).collect()
}

/// Downloads what is missing, in an order and with syncs drawn by `seed`, until it is done or the
/// power fails. What was reported as finished goes to `finished`.
fn download(
    fs: &MemFs,
    set: &Set,
    seed: u64,
    replace: bool,
    finished: &mut BTreeSet<FileIndex>,
) -> Result<(), DiskError> {
    let mut rng = Rng::new(seed);
    let storage = storage(fs, root());
    storage.unfinished()?;
    let opened = set.open(&storage, places(fs, set, replace))?;
    let mut have = opened.have;
    for piece in have.ones().collect::<Vec<_>>() {
        let block = set.whole(piece);
        assert!(storage.read_block(T, block)? == set.bytes(block), "{piece} is resumed wrong");
    }
    let mut order: Vec<u32> = have.zeros().map(|piece| piece.0).collect();
    rng.shuffle(&mut order);
    let mut asked = BTreeSet::new();
    let mut ask = |have: &dunlin_base::Bitfield| -> Result<(), DiskError> {
        for file in (0..set.geometry.files()).map(FileIndex) {
            let mut pieces = set.geometry.file_pieces(file);
            if pieces.all(|piece| have.has(PieceIndex(piece))) && asked.insert(file) {
                storage.finish_file(T, file)?;
            }
        }
        Ok(())
    };
    for piece in order {
        if rng.chance(1, 3) {
            set.stream(&storage, piece)?;
        } else {
            set.write(&storage, piece)?;
        }
        have.set(PieceIndex(piece));
        if rng.chance(1, 2) {
            ask(&have)?;
        }
        if rng.chance(1, 3) {
            finished.extend(storage.sync().finished.iter().map(|(_, file)| *file));
        }
    }
    ask(&have)?;
    finished.extend(storage.close().finished.iter().map(|(_, file)| *file));
    Ok(())
}

/// Nothing on the disk is a lie.
fn check(fs: &MemFs, set: &Set, old: Option<&[u8]>, finished: &BTreeSet<FileIndex>) {
    for (file, content) in set.contents.iter().enumerate() {
        let found = fs.read_all(&set.dest(file), 1 << 20);
        if finished.contains(&FileIndex(file as u32)) {
            assert!(found.as_ref().is_ok_and(|found| found == content), "{file} was reported");
        }
        if let Ok(found) = found {
            let old = old.filter(|_| file == 0);
            assert!(found == *content || old == Some(&found), "{file} is torn");
        }
    }
    let claims = storage(fs, root()).unfinished().unwrap();
    for claim in claims {
        let file = set.info.file_named(&claim.name).unwrap();
        let part = fs.read_all(&part_path(&set.dest(file.index())), 1 << 20).unwrap();
        let content = &set.contents[file.index()];
        assert_eq!(claim.length, content.len() as u64);
        for piece in claim.pieces.ones() {
            let start = piece.index() * PIECE as usize;
            let end = content.len().min(start + PIECE as usize);
            assert!(part[start..end] == content[start..end], "{file} {piece} is claimed");
        }
    }
}

fn crash_everywhere(seeds: u64, prepare: impl Fn() -> MemFs, replace: bool, old: Option<&[u8]>) {
    let set = new_set();
    let mut crashes = 0;
    for seed in 0..seeds {
        for at_sync in 0.. {
            let fs = prepare();
            fs.freeze_at_sync(fs.syncs() + at_sync);
            let mut finished = BTreeSet::new();
            let _ = download(&fs, &set, seed, replace, &mut finished);
            if !fs.is_frozen() {
                check(&fs, &set, None, &finished);
                set.assert_done(&fs);
                break;
            }
            crashes += 1;
            let image = fs.crash(seed * 1000 + at_sync);
            check(&image, &set, old, &finished);

            // Again, while it is resumed.
            image.freeze_at_sync(Rng::fork(seed, at_sync).below(12));
            let _ = download(&image, &set, seed + 1, replace, &mut finished);
            let image = image.crash(seed);
            check(&image, &set, old, &finished);

            download(&image, &set, seed + 2, replace, &mut finished).unwrap();
            set.assert_done(&image);
        }
    }
    assert!(crashes > 10 * seeds, "only {crashes} crashes");
}

#[test]
fn a_download_survives_a_power_loss_at_every_sync() {
    crash_everywhere(SEEDS, MemFs::new, false, None);
}

#[test]
#[ignore = "long; run by hand with --ignored"]
fn a_download_survives_many_power_losses() {
    crash_everywhere(20 * SEEDS, MemFs::new, false, None);
}

#[test]
fn the_first_write_is_preceded_by_a_durable_mark() {
    let set = new_set();
    for seed in 0..SEEDS {
        let fs = MemFs::new();
        let store = storage(&fs, root());
        set.open(&store, set.wanted(false)).unwrap();
        set.write(&store, 3).unwrap();
        let resume = root().join(format!(".dunlin/{}.resume", set.info.info_hash()));
        assert!(fs.crash(seed).metadata(&resume).is_ok());
    }
}

#[test]
fn replacing_leaves_the_old_or_the_new() {
    let old = vec![9; 12_345];
    let prepare = || {
        let fs = MemFs::new();
        fs.create_dir_all(root()).unwrap();
        fs.sync_many(&["/".into(), "/data".into()]);
        dunlin_disk::write_file(&fs, &root().join("a.bin"), &old).unwrap();
        fs
    };
    crash_everywhere(SEEDS, prepare, true, Some(&old));
}

#[test]
fn other_content_never_passes_for_the_right_one() {
    // An earlier run of other content under the same names was cut off; its parts are in the way.
    let other = Set::new(root(), &[("a.bin", 70_001), ("deep/er/b.bin", 33_000)], 2);
    let prepare = || {
        let fs = MemFs::new();
        let storage = storage(&fs, root());
        other.open(&storage, other.wanted(false)).unwrap();
        other.write_all(&storage).unwrap();
        storage.close();
        fs
    };
    let set = new_set();
    for seed in 0..SEEDS {
        for at_sync in 0..30 {
            let fs = prepare();
            fs.freeze_at_sync(fs.syncs() + at_sync);
            let mut finished = BTreeSet::new();
            let _ = download(&fs, &set, seed, false, &mut finished);
            let image = fs.crash(seed * 1000 + at_sync);
            // Now the first content is wanted again: no claim of one may pass for the other.
            let again = storage(&image, root());
            let places = |file| match image.metadata(&other.dest(file)) {
                Ok(_) => FilePlace::Absent,
                Err(_) => FilePlace::Wanted { dest: other.dest(file), replace: false },
            };
            let opened = other.open(&again, (0..2).map(places).collect()).unwrap();
            for piece in opened.have.ones() {
                let block: BlockRef = other.whole(piece);
                assert!(again.read_block(T, block).unwrap() == other.bytes(block));
            }
        }
    }
}
