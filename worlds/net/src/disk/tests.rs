//! Jobs of torrents that are being checked, on a disk whose files can be held up.

use super::*;
use bytes::Bytes;
use dunlin_base::Bitfield;
use dunlin_base::PieceIndex;
use dunlin_disk::{DiskErrorKind, Existing, Fs, MemFs, PathClaims, StorageConfig};
use dunlin_metainfo::{Content, Torrent};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// No test waits longer for anything; none comes near it unless something is wrong.
const LIMIT: Duration = Duration::from_secs(60);
const PIECE: usize = 32 << 10;

const ONE: TorrentId = TorrentId(1);
const OTHER: TorrentId = TorrentId(2);

/// A disk, the threads that use it, and what they report.
struct Setup {
    fs: MemFs,
    storage: Arc<Storage>,
    disk: Disk,
    done: Receiver<DiskDone>,
}

/// Blocks each open of a file until it is dropped.
struct Hold {
    arrived: Receiver<()>,
    _gate: Sender<()>,
}

impl Setup {
    fn new() -> Setup {
        let fs = MemFs::new();
        fs.create_dir_all(Path::new("/f")).unwrap();
        let mut config = StorageConfig::new(Arc::new(fs.clone()), "/f".into());
        config.claims = PathClaims::default();
        let storage = Arc::new(Storage::new(config));
        let (send, done) = channel();
        let send = std::sync::Mutex::new(send);
        let report = move |report| _ = send.lock().unwrap().send(report);
        let disk = Disk::start(Arc::new(report)).unwrap();
        Setup { fs, storage, disk, done }
    }

    /// Two pieces of one file, which stands there if it is `whole`.
    fn plan(&self, name: &str, whole: bool) -> Box<TorrentPlan> {
        if whole {
            let file = self.fs.open_write(&path_of(name)).unwrap();
            file.write_at(&[Bytes::from(bytes_of(name))], 0).unwrap();
        }
        self.plan_of(name, &bytes_of(name))
    }

    fn plan_of(&self, name: &str, bytes: &[u8]) -> Box<TorrentPlan> {
        let mut writer = dunlin_bencode::Writer::new();
        writer.dict().key("info").dict();
        writer.key("length").integer(bytes.len() as u64).key("name").bytes(name);
        let hashes: Vec<u8> =
            bytes.chunks(PIECE).flat_map(<sha1::Sha1 as sha1::Digest>::digest).collect();
        writer.key("piece length").integer(PIECE as u64).key("pieces").bytes(&hashes).end().end();
        let torrent = Torrent::parse(&writer.finish().unwrap()).unwrap();
        let content: Arc<Content> =
            Arc::new(torrent.content(dunlin_metainfo::BLOCK_LENGTH).unwrap());
        let (folder, wanted) = ("/f".into(), vec![true]);
        let (existing, roots) = (Existing::Refuse, vec![None]);
        Box::new(TorrentPlan { content, folder, wanted, existing, roots })
    }

    fn hold(&self, name: &str) -> Hold {
        self.hold_path(&path_of(name))
    }

    fn hold_path(&self, path: &Path) -> Hold {
        let (send, arrived) = channel();
        let (gate, wait) = channel::<()>();
        self.fs.before_open(path, move || {
            send.send(()).unwrap();
            // Until the other end is dropped.
            let _ = wait.recv();
        });
        Hold { arrived, _gate: gate }
    }

    fn open(&self, torrent: TorrentId, plan: &TorrentPlan) {
        let (plan, again) = (Box::new(plan.clone()), false);
        self.disk.submit(&self.storage, DiskJob::Open { torrent, plan, again });
    }

    /// The next report but progress.
    fn next(&self) -> DiskDone {
        loop {
            match self.done.recv_timeout(LIMIT).expect("a report") {
                DiskDone::Checking { .. } => {}
                done => return done,
            }
        }
    }

    fn is_opened(&self, id: TorrentId) -> Bitfield {
        match self.next() {
            DiskDone::Opened { torrent, result: Ok(opened) } if torrent == id => opened.have,
            other => panic!("{other:?}"),
        }
    }

    fn is_closed(&self, id: TorrentId) {
        let done = self.next();
        assert!(matches!(done, DiskDone::Closed { torrent, .. } if torrent == id), "{done:?}");
    }

    /// Writes a piece, and waits until that is done.
    fn write(&self, torrent: TorrentId, name: &str) {
        let parts = vec![Bytes::from(bytes_of(name)).slice(..PIECE)];
        let job = pieces::Job::Write { key: PieceKey { torrent, piece: PieceIndex(0) }, parts };
        self.disk.submit(&self.storage, DiskJob::Pieces(job));
        loop {
            match self.next() {
                DiskDone::Pieces(pieces::Report::Written(key)) if key.torrent == torrent => {
                    return;
                }
                DiskDone::Pieces(pieces::Report::Synced(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn bytes_of(name: &str) -> Vec<u8> {
    (0..2 * PIECE).map(|at| at as u8 ^ name.len() as u8 | 1).collect()
}

fn path_of(name: &str) -> PathBuf {
    Path::new("/f").join(name)
}

#[test]
fn others_are_opened_written_and_closed_during_a_check() {
    let setup = Setup::new();
    let plan = setup.plan("one", true);
    let hold = setup.hold("one");
    setup.open(ONE, &plan);
    hold.arrived.recv_timeout(LIMIT).expect("the check has begun");
    setup.open(OTHER, &setup.plan("other", false));
    assert_eq!(setup.is_opened(OTHER).count(), 0);
    setup.write(OTHER, "other");
    setup.disk.submit(&setup.storage, DiskJob::Close { torrent: OTHER });
    setup.is_closed(OTHER);
    drop(hold);
    assert!(setup.is_opened(ONE).is_full());
}

#[test]
fn a_check_is_cancelled_by_a_close_and_the_next_open_waits_for_its_end() {
    let setup = Setup::new();
    let plan = setup.plan("one", true);
    let hold = setup.hold("one");
    setup.open(ONE, &plan);
    hold.arrived.recv_timeout(LIMIT).expect("the check has begun");
    setup.disk.submit(&setup.storage, DiskJob::Close { torrent: ONE });
    setup.is_closed(ONE);
    // Its claims are held until the check has ended: an open that did not wait would be refused.
    setup.open(ONE, &plan);
    drop(hold);
    assert!(setup.is_opened(ONE).is_full());
}

#[test]
fn an_open_that_has_not_begun_is_taken_back_by_a_close() {
    let setup = Setup::new();
    let plan = setup.plan("one", true);
    let hold = setup.hold("one");
    setup.open(ONE, &plan);
    hold.arrived.recv_timeout(LIMIT).expect("the check has begun");
    for _ in 0..2 {
        setup.disk.submit(&setup.storage, DiskJob::Close { torrent: ONE });
        setup.is_closed(ONE);
        setup.open(ONE, &plan);
    }
    setup.disk.submit(&setup.storage, DiskJob::Close { torrent: ONE });
    setup.is_closed(ONE);
}

#[test]
fn of_two_torrents_with_one_path_the_first_keeps_it() {
    let setup = Setup::new();
    let third = TorrentId(3);
    setup.open(third, &setup.plan("third", false));
    assert_eq!(setup.is_opened(third).count(), 0);
    let (plan, other) = (setup.plan("one", false), setup.plan_of("one", b"other content"));
    // What an earlier run left is read before the paths are claimed.
    let left = format!("/f/.dunlin/{}.state", plan.content.info_hash);
    setup.fs.create_dir_all(Path::new("/f/.dunlin")).unwrap();
    setup.fs.open_write(Path::new(&left)).unwrap();
    let hold = setup.hold_path(Path::new(&left));
    setup.open(ONE, &plan);
    hold.arrived.recv_timeout(LIMIT).expect("the opening has begun");
    setup.open(OTHER, &other);
    // If the second one did not wait, it would be open before these are done.
    (0..100).for_each(|_| setup.write(third, "third"));
    drop(hold);
    // The second one is refused as soon as the first one has claimed the path.
    let mut results = [0, 1].map(|_| match setup.next() {
        DiskDone::Opened { torrent, result } => (torrent, result.map_err(|error| error.kind)),
        other => panic!("{other:?}"),
    });
    results.sort_by_key(|(torrent, _)| *torrent);
    assert!(matches!(results[0], (ONE, Ok(_))), "{results:?}");
    assert!(matches!(results[1], (OTHER, Err(DiskErrorKind::Claimed { .. }))), "{results:?}");
}

#[test]
fn the_writes_of_others_do_not_wait_while_all_is_hashed_again() {
    let setup = Setup::new();
    let (plan, other) = (setup.plan("one", true), setup.plan("other", false));
    setup.open(ONE, &plan);
    assert!(setup.is_opened(ONE).is_full());
    setup.open(OTHER, &other);
    assert_eq!(setup.is_opened(OTHER).count(), 0);
    let hold = setup.hold("one");
    let (plan, again) = (plan, true);
    setup.disk.submit(&setup.storage, DiskJob::Open { torrent: ONE, plan, again });
    hold.arrived.recv_timeout(LIMIT).expect("the check has begun");
    setup.write(OTHER, "other");
    // A close is a sync of all that is open in the folder.
    setup.disk.submit(&setup.storage, DiskJob::Close { torrent: OTHER });
    setup.is_closed(OTHER);
    setup.disk.submit(&setup.storage, DiskJob::Close { torrent: ONE });
    drop(hold);
    setup.is_closed(ONE);
}
