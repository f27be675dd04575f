//! Trees over a whole swarm: looks, links, holes, repairs, and what a second run does.

use bytes::Bytes;
use dunlin_base::Rank;
use dunlin_cluster::{
    FabricKind, FoundFile, Mode, PeerConfig, PeerContent, Placement, Report, RunConfig, RunControl,
    VirtualConfig, run,
};
use dunlin_control::Location;
use dunlin_disk::{Fs, MemFs, list_files, scan_tree};
use dunlin_engine::cluster::OnConflict;
use dunlin_metainfo::TreeEntry;
use dunlin_plan::{Have, Pattern};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const OLD: i64 = 1_000_000_000_000_000_000;

fn put(fs: &dyn Fs, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs.open_write(path).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[Bytes::copy_from_slice(bytes)], 0).unwrap();
    fs.set_modified(path, OLD).unwrap();
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = dunlin_base::Rng::new(seed);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

fn plant(fs: &dyn Fs) {
    let mut sparse = bytes(1, 3_000_000);
    sparse[200_000..2_500_000].fill(0);
    put(fs, "/src/sparse", &sparse);
    put(fs, "/src/d/b", &bytes(2, 700_000));
    put(fs, "/src/empty", b"");
    fs.create_dir(Path::new("/src/void")).unwrap();
    fs.symlink(Path::new("d/b"), Path::new("/src/link")).unwrap();
    fs.hard_link(Path::new("/src/d/b"), Path::new("/src/same")).unwrap();
    fs.set_mode(Path::new("/src/d/b"), 0o640).unwrap();
    fs.set_mode(Path::new("/src/void"), 0o700).unwrap();
}

fn entries(fs: &dyn Fs, path: &str) -> Vec<TreeEntry> {
    scan_tree(fs, Path::new(path), "model", &AtomicBool::new(false)).unwrap().entries
}

/// A cast of `/src` from rank 0 to `/to/<rank>` on ranks 0 to 3, as `/to/<rank>/model`.
struct Cast {
    fs: MemFs,
    hosts: [&'static str; 4],
    check_only: bool,
    delete: bool,
    fabric: FabricKind,
}

fn dest(rank: u32) -> PathBuf {
    format!("/to/{rank}").into()
}

impl Cast {
    fn new(fs: &MemFs) -> Cast {
        let virtual_time =
            VirtualConfig { check: true, max_steps: 3_000_000, ..Default::default() };
        let fabric = FabricKind::Virtual(virtual_time);
        let hosts = ["a", "b", "c", "d"];
        Cast { fs: fs.clone(), hosts, check_only: false, delete: false, fabric }
    }

    fn peer(&self, rank: u32) -> PeerConfig {
        let stop = AtomicBool::new(false);
        let files = |tree: &dunlin_disk::Tree| {
            let file = |f: &dunlin_disk::TreeFile| FoundFile {
                name: f.name.clone(),
                path: f.path.clone(),
                length: f.length,
            };
            tree.files.iter().map(file).collect::<Vec<_>>()
        };
        let source = match rank {
            0 => scan_tree(&self.fs, Path::new("/src"), "model", &stop).unwrap(),
            _ => dunlin_disk::Tree::default(),
        };
        let there = list_files(&self.fs, &dest(rank), "", &stop).unwrap_or_default();
        let host = self.hosts[rank as usize].to_owned();
        let (rack, at) = (String::new(), dest(rank).to_str().unwrap().to_owned());
        let placement = Placement {
            entries: source.entries.clone(),
            location: Some(Location { host, rack, dest: at, device: 1 }),
            delete: self.delete,
            cache: Some("/cache".into()),
            ..Placement::default()
        };
        let content = PeerContent::Files {
            root: if rank == 0 { "/src".into() } else { dest(rank).join(".dunlin") },
            dest: dest(rank),
            found: files(&source),
            found_dest: files(&there),
            have: Have::Everything,
            wants: vec![Pattern::parse("model/***").unwrap()],
            placement: Some(Box::new(placement)),
        };
        PeerConfig { rank: Rank(rank), content }
    }

    #[track_caller]
    fn go(self) -> Report {
        let mut config = RunConfig::bittorrent(Arc::new(self.fs.clone()));
        config.peers = (0..4).map(|rank| self.peer(rank)).collect();
        config.fabric = self.fabric;
        config.mode = Mode::Place;
        config.owners_only = true;
        config.on_conflict = OnConflict::FailName;
        config.check_only = self.check_only;
        config.hash_threads = 1;
        let report = run(config, &RunControl::new());
        assert!(report.ok(), "{:#}", report.to_json());
        report
    }
}

#[track_caller]
fn assert_placed(fs: &MemFs) {
    for rank in 0..4 {
        let at = dest(rank).join("model");
        assert_eq!(entries(fs, at.to_str().unwrap()), entries(fs, "/src"), "rank {rank}");
        for name in ["sparse", "d/b", "empty"] {
            let found = fs.read_all(&at.join(name), 1 << 30).unwrap();
            assert!(
                found == fs.read_all(&Path::new("/src").join(name), 1 << 30).unwrap(),
                "{name}"
            );
        }
    }
}

#[test]
fn a_tree_reaches_all_ranks_and_a_second_run_reads_only_metadata() {
    for fabric in [None, Some(FabricKind::Memory)] {
        let fs = MemFs::new();
        plant(&fs);
        let mut cast = Cast::new(&fs);
        cast.fabric = fabric.unwrap_or(cast.fabric);
        let report = cast.go();
        assert_placed(&fs);
        // The holes of the sparse file do not travel, and rank 0 copies for itself.
        let data = 3 * (700_000 + 700_000 + 2 * 16_384);
        assert!((1..=data).contains(&report.bytes_moved), "{}", report.bytes_moved);
        let before = fs.bytes_read();
        let report = Cast::new(&fs).go();
        assert_eq!(report.bytes_moved, 0);
        assert!(fs.bytes_read() - before < 50_000, "{}", fs.bytes_read() - before);
    }
}

#[test]
fn what_differs_is_mended_and_only_that_travels() {
    let fs = MemFs::new();
    plant(&fs);
    Cast::new(&fs).go();
    for (rank, at) in [(1, 5), (1, 300_000), (2, 650_000)] {
        let path = dest(rank).join("model/d/b");
        let reader = fs.open_write(&path).unwrap();
        reader.write_at(&[Bytes::from_static(b"!")], at).unwrap();
        fs.set_modified(&path, OLD).unwrap();
    }
    let report = Cast { check_only: true, ..Cast::new(&fs) }.go();
    let planned: u64 = report.plan.iter().map(|planned| planned.bytes).sum();
    // A hole was filled, a link turned, a mode changed.
    let sparse = fs.open_write(&dest(3).join("model/sparse")).unwrap();
    sparse.write_at(&[Bytes::from_static(b"!")], 1_000_000).unwrap();
    fs.remove_file(&dest(3).join("model/link")).unwrap();
    fs.symlink(Path::new("astray"), &dest(3).join("model/link")).unwrap();
    fs.set_mode(&dest(3).join("model/void"), 0o777).unwrap();
    let report = Cast::new(&fs).go();
    assert_placed(&fs);
    assert_eq!((planned, report.bytes_moved), (3 * 16_384, 3 * 16_384));
}

#[test]
fn ranks_of_one_host_share_what_one_of_them_fetches() {
    for shares in [true, false] {
        let fs = MemFs::new();
        fs.set_shares(shares);
        plant(&fs);
        let report = Cast { hosts: ["a", "b", "b", "b"], ..Cast::new(&fs) }.go();
        assert_placed(&fs);
        assert!(report.bytes_moved <= 700_000 + 700_000 + 2 * 16_384, "{}", report.bytes_moved);
        assert!(report.bytes_linked >= 2 * 3_700_000, "{}", report.bytes_linked);
    }
}

#[test]
fn extra_files_go_only_when_that_is_asked_for() {
    for delete in [false, true] {
        let fs = MemFs::new();
        plant(&fs);
        put(&fs, "/to/2/model/old/x", b"1");
        put(&fs, "/to/2/other", b"1");
        Cast { delete, ..Cast::new(&fs) }.go();
        assert_eq!(fs.look(Path::new("/to/2/model/old")).is_err(), delete);
        assert!(fs.look(Path::new("/to/2/other")).is_ok());
        assert!(fs.look(Path::new("/to/1/model/old")).is_err(), "it does not spread");
    }
}
