//! Power is lost at every sync of the download of a torrent, in which files share pieces or not,
//! and of which not everything is wanted at first; and again while it is resumed. Claims are right,
//! final names stand for whole files, and the download can go on.

use crate::common::torrent::{KINDS, Kind, Torrent};
use crate::common::{T, storage};
use dunlin_base::{Bitfield, PieceIndex, Rng};
use dunlin_disk::{DiskError, Existing, Fs, MemFs, Opened, Storage};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Seeds a test; the long form runs twenty times as many.
const SEEDS: u64 = 15;

fn root() -> &'static Path {
    Path::new("/data/out")
}

fn torrent(kind: Kind) -> Torrent {
    let files = [
        ("a.bin", 70_001),
        ("small/1", 300),
        ("small/2", 5_000),
        ("empty", 0),
        ("small/3", 16_000),
        ("deep/er/b.bin", 33_000),
        ("last", 1),
        ("link", 0),
        ("small/up", 0),
    ];
    let mut torrent = Torrent::new(root(), kind, &files, 1);
    for file in &mut Arc::make_mut(&mut torrent.content).files {
        match file.name.as_str() {
            "t/link" => file.link = Some(b"deep/er".to_vec()),
            "t/small/up" => file.link = Some(b"../a.bin".to_vec()),
            "t/small/2" | "t/empty" => file.executable = true,
            _ => {}
        }
    }
    torrent
}

/// One run of a program that downloads.
struct Run<'a> {
    torrent: &'a Torrent,
    storage: Storage,
    rng: Rng,
    wanted: Vec<bool>,
    have: Bitfield,
    asked: BTreeSet<usize>,
}

impl Run<'_> {
    fn opened(&mut self, opened: Opened) -> Result<(), DiskError> {
        self.torrent.assert_have(&self.storage, &opened)?;
        self.have = opened.have;
        self.asked.clear();
        Ok(())
    }

    fn is_wanted(&self, piece: PieceIndex) -> bool {
        let files = self.torrent.content.geometry.piece_files(piece);
        files.into_iter().any(|file| self.wanted[file as usize])
    }

    /// Writes wanted pieces in an order and with syncs drawn by the seed.
    fn download(&mut self, finished: &mut BTreeSet<usize>) -> Result<(), DiskError> {
        let missing = self.have.zeros().filter(|piece| self.is_wanted(*piece));
        let mut order: Vec<u32> = missing.map(|piece| piece.0).collect();
        self.rng.shuffle(&mut order);
        for piece in order {
            match self.rng.below(4) {
                0 => self.torrent.stream(&self.storage, piece)?,
                1 => {
                    // A block of it was spilled, and comes again.
                    let block = self.torrent.content.geometry.block(PieceIndex(piece), 0);
                    self.storage.write_block(T, block, &self.torrent.bytes(block))?;
                    self.torrent.write(&self.storage, piece)?;
                }
                _ => self.torrent.write(&self.storage, piece)?,
            }
            self.have.set(PieceIndex(piece));
            if self.rng.chance(1, 2) {
                self.ask()?;
            }
            if self.rng.chance(1, 3) {
                let report = self.storage.sync();
                finished.extend(report.finished.iter().map(|(_, file)| file.index()));
            }
        }
        self.ask()
    }

    fn ask(&mut self) -> Result<(), DiskError> {
        for file in 0..self.wanted.len() {
            let whole = self.torrent.pieces_of(file).all(|piece| self.have.has(PieceIndex(piece)));
            if self.wanted[file] && whole && self.asked.insert(file) {
                self.torrent.finish(&self.storage, file)?;
            }
        }
        Ok(())
    }
}

/// Downloads a part of the files, drawn by `seed`, and then all, until it is done or the power
/// fails. Files that were reported as finished go to `finished`.
fn download(
    fs: &MemFs,
    torrent: &Torrent,
    seed: u64,
    existing: Existing,
    finished: &mut BTreeSet<usize>,
) -> Result<(), DiskError> {
    let mut rng = Rng::new(seed);
    let some: Vec<bool> = torrent.contents.iter().map(|_| rng.chance(1, 2)).collect();
    let wanted = torrent.wanted(|file| some[file]);
    let storage = storage(fs, root());
    let plan = torrent.plan_for(existing, |file| some[file]);
    let opened = torrent.open(&storage, plan)?;
    let (have, asked) = (opened.have.clone(), BTreeSet::new());
    let mut run = Run { torrent, storage, rng, wanted, have, asked };
    run.download(finished)?;
    if run.rng.chance(1, 4) {
        run.storage.sync();
    }
    run.wanted = torrent.wanted(|_| true);
    let opened = run.storage.set_wanted(T, &run.wanted, &mut |_| ControlFlow::Continue(()))?;
    run.opened(opened)?;
    run.download(finished)?;
    let report = run.storage.close_torrent(T, true);
    finished.extend(report.finished.iter().map(|(_, file)| file.index()));
    Ok(())
}

/// Nothing on the disk is a lie.
fn check(fs: &MemFs, torrent: &Torrent, old: Option<&[u8]>, finished: &BTreeSet<usize>) {
    for (file, content) in torrent.contents.iter().enumerate() {
        if torrent.content.files[file].link.is_some() {
            let there = fs.look(&torrent.dest(file)).is_ok();
            assert!(there || !finished.contains(&file), "{file} was reported");
            if there {
                torrent.assert_file(fs, file);
            }
            continue;
        }
        let found = fs.read_all(&torrent.dest(file), 1 << 20);
        if finished.contains(&file) {
            assert!(found.as_ref().is_ok_and(|found| found == content), "{file} was reported");
        }
        if let Ok(found) = found {
            let old = old.filter(|_| file == 0);
            assert!(found == *content || old == Some(&found), "{file} is torn");
        }
    }
}

fn crash_everywhere(
    kind: Kind,
    seeds: u64,
    prepare: impl Fn() -> MemFs,
    existing: Existing,
    old: Option<&[u8]>,
) {
    let torrent = torrent(kind);
    let mut crashes = 0;
    for seed in 0..seeds {
        for at_sync in 0.. {
            let fs = prepare();
            fs.freeze_at_sync(fs.syncs() + at_sync);
            let mut finished = BTreeSet::new();
            let _ = download(&fs, &torrent, seed, existing, &mut finished);
            if !fs.is_frozen() {
                check(&fs, &torrent, None, &finished);
                torrent.assert_done(&fs);
                nothing_is_read_again(&fs, &torrent);
                break;
            }
            crashes += 1;
            let image = fs.crash(seed * 1000 + at_sync);
            check(&image, &torrent, old, &finished);

            // Again, while it is resumed.
            image.freeze_at_sync(Rng::fork(seed, at_sync).below(12));
            let _ = download(&image, &torrent, seed + 1, existing, &mut finished);
            let image = image.crash(seed);
            check(&image, &torrent, old, &finished);

            download(&image, &torrent, seed + 2, existing, &mut finished).unwrap();
            torrent.assert_done(&image);
            nothing_is_read_again(&image, &torrent);
        }
    }
    assert!(crashes > 10 * seeds, "only {crashes} crashes");
}

fn nothing_is_read_again(fs: &MemFs, torrent: &Torrent) {
    let store = storage(fs, root());
    let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
    assert!(opened.have.is_full());
    assert_eq!((opened.resumed, opened.checked), (0, 0));
}

#[test]
fn a_download_survives_a_power_loss_at_every_sync() {
    for kind in KINDS {
        crash_everywhere(kind, SEEDS, MemFs::new, Existing::Refuse, None);
    }
}

#[test]
#[ignore = "long; run by hand with --ignored"]
fn a_download_survives_many_power_losses() {
    for kind in KINDS {
        crash_everywhere(kind, 20 * SEEDS, MemFs::new, Existing::Refuse, None);
    }
}

#[test]
fn replacing_leaves_the_old_or_the_new() {
    for (kind, len) in [(Kind::Shared, 70_001), (Kind::Shared, 12_345), (Kind::Trees, 70_001)] {
        let mut old = torrent(kind).contents[0].clone();
        old.resize(len, 3);
        old[2_000] ^= 1;
        let prepare = || {
            let fs = MemFs::new();
            fs.create_dir_all(&root().join("t")).unwrap();
            fs.sync_many(&["/".into(), "/data".into(), root().into()]);
            dunlin_disk::write_file(&fs, &root().join("t/a.bin"), &old).unwrap();
            fs
        };
        crash_everywhere(kind, SEEDS, prepare, Existing::Replace, Some(&old));
    }
}

#[test]
fn after_a_kill_only_what_was_not_synced_is_hashed() {
    for kind in KINDS {
        let (fs, torrent) = (MemFs::new(), torrent(kind));
        let store = storage(&fs, root());
        torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        let pieces = torrent.content.geometry.pieces();
        (0..pieces - 3).for_each(|piece| torrent.write(&store, piece).unwrap());
        assert_eq!(store.sync().failed, []);
        let late: Vec<_> = (pieces - 3..pieces - 1).map(PieceIndex).collect();
        late.iter().for_each(|piece| torrent.write(&store, piece.0).unwrap());
        drop(store);

        let store = storage(&fs, root());
        let opened = torrent.open(&store, torrent.plan(Existing::Refuse)).unwrap();
        assert_eq!(opened.have.count(), pieces - 1, "{kind:?}: nothing is lost");
        let len = |piece: &PieceIndex| u64::from(torrent.content.geometry.data_len(*piece));
        assert_eq!(opened.checked, late.iter().map(len).sum::<u64>(), "{kind:?}");
    }
}
