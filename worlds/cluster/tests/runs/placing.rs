//! What a rank does with its files where a plan is to be made so: one rank at a time, without a
//! swarm.

use bytes::Bytes;
use dunlin_base::{FileIndex, Rank, TorrentId};
use dunlin_cluster::content::{Content, SharedResources};
use dunlin_cluster::{FoundFile, PeerContent, Placement};
use dunlin_control::{FailedFile, OwnedFile, Provenance, Register};
use dunlin_disk::pieces::PieceStore;
use dunlin_disk::{Budget, DiskError, FileKind, Fs, MemFs, RealFs, list_files, path_of, scan_tree};
use dunlin_hash::{HashPool, Sha256};
use dunlin_metainfo::{EntryKind, HashKind, SetFile, SetInfo, TreeEntry};
use dunlin_plan::{Have, Pattern};
use std::collections::BTreeSet;
use std::path::Path;
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

fn bytes(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

/// A rank that gives `source` (which lands as `model`) and wants `model` in `dest`.
struct Setup<'a> {
    source: &'a str,
    dest: &'a str,
    gives: bool,
    wants: bool,
    placement: Placement,
}

fn setup() -> Setup<'static> {
    let placement = Placement { cache: Some("/cache".into()), ..Placement::default() };
    Setup { source: "/src", dest: "/dst", gives: false, wants: true, placement }
}

fn content(fs: &(impl Fs + Clone + 'static), setup: Setup<'_>) -> Content {
    let stop = AtomicBool::new(false);
    let found = |tree: dunlin_disk::Tree| {
        let file =
            |f: dunlin_disk::TreeFile| FoundFile { name: f.name, path: f.path, length: f.length };
        tree.files.into_iter().map(file).collect::<Vec<_>>()
    };
    let mut placement = setup.placement;
    let mut own = Vec::new();
    if setup.gives {
        let tree = scan_tree(fs, Path::new(setup.source), "model", &stop).unwrap();
        placement.entries.clone_from(&tree.entries);
        own = found(tree);
    }
    let there = list_files(fs, Path::new(setup.dest), "", &stop).map(found).unwrap_or_default();
    let found_dest = there.into_iter().filter(|file| !own.iter().any(|f| f.path == file.path));
    let wants = if setup.wants { vec![Pattern::parse("model/**").unwrap()] } else { Vec::new() };
    let shared = Arc::new(SharedResources {
        fs: Arc::new(fs.clone()),
        pool: HashPool::new(1),
        budget: Budget::new(16 << 20),
        piece_size: None,
        block_length: dunlin_metainfo::CLUSTER_BLOCK_LENGTH,
        open_files: 4,
        force: false,
        stop: Arc::default(),
    });
    let content = PeerContent::Files {
        root: setup.source.into(),
        dest: setup.dest.into(),
        found_dest: found_dest.collect(),
        found: own,
        have: Have::Everything,
        wants,
        placement: Some(Box::new(placement)),
    };
    Content::new(Rank(1), content, true, shared)
}

fn register(content: &Content) -> Register {
    let register = content.check(&mut |_, _| {}).unwrap();
    register.check().unwrap();
    register
}

fn file<'a>(register: &'a Register, name: &str) -> &'a OwnedFile {
    register.files.iter().find(|file| file.name == name).unwrap()
}

/// Brings one file to a rank as a swarm would; returns how many pieces had to be written.
fn bring(to: &Content, number: u32, owned: &OwnedFile, bytes: &[u8]) -> Result<usize, String> {
    let named = SetFile { name: owned.name.clone(), length: owned.length };
    let (length, hashes) = (owned.piece_length, owned.hashes.clone());
    let info = Arc::new(SetInfo::new(HashKind::Sha1, length, vec![named], hashes).unwrap());
    let torrent = TorrentId(number);
    let said = |error: DiskError| error.to_string();
    let opened = to.open(torrent, &info, true, &BTreeSet::new());
    let (have, _) = opened.map_err(|error| error.message)?;
    let mut wrote = 0;
    for piece in have.zeros() {
        let start = piece.index() * length as usize;
        let part = &bytes[start..bytes.len().min(start + length as usize)];
        to.write_piece(torrent, piece, &[Bytes::copy_from_slice(part)]).map_err(said)?;
        wrote += 1;
    }
    to.finish_file(torrent, FileIndex(0)).map_err(said)?;
    let synced = to.sync();
    match synced.failed.into_iter().next() {
        Some((_, _, error)) => Err(error.to_string()),
        None => Ok(wrote),
    }
}

/// Brings all that a source registered to a rank, to its end.
fn cast(fs: &dyn Fs, source: &Register, to: &Content) -> usize {
    let wrote = bring_all(fs, source, to);
    let _ = to.close();
    wrote
}

/// The same, while the run goes on.
fn bring_all(fs: &dyn Fs, source: &Register, to: &Content) -> usize {
    to.set_tree(source.entries.clone().into());
    let mut wrote = 0;
    for (owned, number) in source.files.iter().zip(0..) {
        let path = path_of(Path::new("/src"), owned.name.strip_prefix("model/").unwrap());
        wrote += bring(to, number, owned, &fs.read_all(&path, 1 << 30).unwrap()).unwrap();
    }
    assert_eq!(to.finish_tree(), []);
    wrote
}

/// A source tree of two files, an empty one, a folder and links.
fn plant(fs: &dyn Fs) {
    put(fs, "/src/a", &bytes(1, 500_000));
    put(fs, "/src/d/b", &bytes(2, 100_000));
    put(fs, "/src/empty", b"");
    fs.create_dir(Path::new("/src/void")).unwrap();
    fs.symlink(Path::new("d/b"), Path::new("/src/link")).unwrap();
    fs.hard_link(Path::new("/src/a"), Path::new("/src/same")).unwrap();
    fs.set_mode(Path::new("/src/a"), 0o640).unwrap();
}

fn entries(fs: &dyn Fs, path: &str) -> Vec<TreeEntry> {
    scan_tree(fs, Path::new(path), "model", &AtomicBool::new(false)).unwrap().entries
}

fn giver(fs: &MemFs) -> Content {
    content(fs, Setup { gives: true, wants: false, ..setup() })
}

#[test]
fn a_tree_arrives_and_a_second_run_reads_only_metadata() {
    let fs = MemFs::new();
    plant(&fs);
    let source = register(&giver(&fs));
    let wanter = content(&fs, setup());
    assert_eq!(register(&wanter).files, []);
    assert_eq!(cast(&fs, &source, &wanter), 38);
    assert_eq!(entries(&fs, "/dst/model"), entries(&fs, "/src"));

    let before = fs.bytes_read();
    let again = register(&giver(&fs));
    assert_eq!(again, source);
    let wanter = content(&fs, setup());
    let there = register(&wanter);
    assert!(fs.bytes_read() - before < 5_000, "only the two lists of hashes");
    for owned in &source.files {
        let found = file(&there, &owned.name);
        assert_eq!((&found.hashes, found.provenance), (&owned.hashes, Provenance::InPlace));
    }
    let stands: Vec<_> = there.stands.unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(stands, ["model", "model/d", "model/link", "model/same", "model/void"]);
    assert_eq!(cast(&fs, &source, &wanter), 0, "nothing is written");
}

#[test]
fn without_a_cache_every_byte_is_read() {
    let fs = MemFs::new();
    plant(&fs);
    for _ in 0..2 {
        let before = fs.bytes_read();
        let none = Placement::default();
        register(&content(&fs, Setup { gives: true, wants: false, placement: none, ..setup() }));
        assert!(fs.bytes_read() - before >= 600_000);
    }
    assert!(fs.metadata(Path::new("/cache")).is_err());
}

#[test]
fn a_flipped_byte_with_its_time_set_back_is_found_and_mended() {
    for cached in [true, false] {
        let fs = MemFs::new();
        plant(&fs);
        let source = register(&giver(&fs));
        cast(&fs, &source, &content(&fs, setup()));
        let path = Path::new("/dst/model/a");
        let modified = fs.look(path).unwrap().meta.modified as i64;
        fs.open_write(path).unwrap().write_at(&[Bytes::from_static(b"!")], 70_000).unwrap();
        fs.set_modified(path, modified).unwrap();
        let reader = fs.open_read(path).unwrap();
        let cache = cached.then(|| "/cache".into());
        let placement = Placement { cache, ..Placement::default() };
        let wanter = content(&fs, Setup { placement, ..setup() });
        let there = register(&wanter);
        assert_ne!(file(&there, "model/a").hashes, file(&source, "model/a").hashes);
        assert_eq!(cast(&fs, &source, &wanter), 1, "one piece of {} travels", 38);
        assert_eq!(fs.read_all(path, 1 << 30).unwrap(), bytes(1, 500_000));
        assert_eq!(entries(&fs, "/dst/model"), entries(&fs, "/src"), "links and looks, too");
        let mut seen = [0];
        reader.read_at(&mut seen, 70_000).unwrap();
        assert_eq!(&seen, b"!", "who has it open sees the old bytes");
    }
}

#[test]
fn a_touched_file_is_read_again_and_gets_its_time_back() {
    let fs = MemFs::new();
    plant(&fs);
    let source = register(&giver(&fs));
    cast(&fs, &source, &content(&fs, setup()));
    fs.set_modified(Path::new("/dst/model/d/b"), OLD + 5).unwrap();
    for read in [100_000..110_000, 0..10_000] {
        let before = fs.bytes_read();
        let wanter = content(&fs, setup());
        register(&wanter);
        assert!(read.contains(&(fs.bytes_read() - before)), "{read:?}");
        assert_eq!(cast(&fs, &source, &wanter), 0);
        assert_eq!(entries(&fs, "/dst/model"), entries(&fs, "/src"));
    }
}

#[test]
fn what_cannot_be_read_is_told_by_name() {
    let fs = MemFs::new();
    plant(&fs);
    fs.set_broken(Path::new("/src/d/b"), false);
    let giver = giver(&fs);
    fs.set_broken(Path::new("/src/d/b"), true);
    let told = register(&giver);
    let names: Vec<_> = told.unreadable.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["model/d/b"]);
    assert!(told.unreadable[0].reason.starts_with("/src/d/b: input/output error"));
    assert_eq!(told.files.len(), 2, "the rest goes on");
    let failed = FailedFile { name: "model/x".into(), reason: "why".into() };
    let placement = Placement { unreadable: vec![failed.clone()], ..Placement::default() };
    assert_eq!(register(&content(&fs, Setup { placement, ..setup() })).unreadable, [failed]);
}

#[test]
fn who_gives_and_takes_tells_both_copies() {
    let fs = MemFs::new();
    plant(&fs);
    put(&fs, "/dst/model/a", b"old");
    let both = content(&fs, Setup { gives: true, ..setup() });
    let told = register(&both);
    assert!(told.elsewhere);
    let copies: Vec<_> = told
        .files
        .iter()
        .filter(|file| file.name == "model/a")
        .map(|file| (file.provenance, file.length))
        .collect();
    assert_eq!(copies, [(Provenance::Owner, 500_000), (Provenance::InPlace, 3)]);
    let source = register(&giver(&fs));
    assert_eq!(cast(&fs, &source, &both), 0, "copied, not fetched");
    assert_eq!(entries(&fs, "/dst/model"), entries(&fs, "/src"));
    assert_eq!(fs.read_all(Path::new("/dst/model/a"), 1 << 30).unwrap(), bytes(1, 500_000));
}

#[test]
fn a_source_that_stands_where_it_goes_is_left_alone() {
    let fs = MemFs::new();
    plant(&fs);
    fs.create_dir(Path::new("/top")).unwrap();
    for name in ["a", "d/b", "empty"] {
        put(
            &fs,
            &format!("/top/model/{name}"),
            &fs.read_all(&Path::new("/src").join(name), 1 << 20).unwrap(),
        );
    }
    let same = Setup { source: "/top/model", dest: "/top", gives: true, ..setup() };
    let content = content(&fs, same);
    let told = register(&content);
    let provenance: Vec<_> = told.files.iter().map(|file| file.provenance).collect();
    assert_eq!(
        provenance,
        [Provenance::Owner, Provenance::InPlace].repeat(3),
        "it has what it wants"
    );
    let before = fs.look(Path::new("/top/model/a")).unwrap();
    content.set_tree(told.entries.clone().into());
    for (owned, number) in told.files.iter().step_by(2).zip(0..) {
        assert_eq!(bring(&content, number, owned, b""), Ok(0));
    }
    assert_eq!(content.finish_tree(), []);
    assert_eq!(fs.look(Path::new("/top/model/a")).unwrap(), before);
}

/// What is right and gets another time alone is known to the next run, whatever its name.
#[test]
fn a_file_that_was_only_dressed_is_not_read_again() {
    for name in ["plain", "back\\slash", "tab\there"] {
        let fs = MemFs::new();
        put(&fs, &format!("/src/{name}"), &bytes(1, 500_000));
        let there = format!("/dst/model/{name}");
        put(&fs, &there, &bytes(1, 500_000));
        fs.set_modified(Path::new(&there), OLD + 5_000_000_000).unwrap();
        let source = register(&giver(&fs));
        let wanter = content(&fs, setup());
        register(&wanter);
        cast(&fs, &source, &wanter);
        assert_eq!(fs.metadata(Path::new(&there)).unwrap().modified, i128::from(OLD), "{name}");
        let before = fs.bytes_read();
        register(&content(&fs, setup()));
        assert!(fs.bytes_read() - before < 5_000, "{name}");
    }
}

#[test]
fn a_mirror_tells_only_what_it_wants() {
    let fs = MemFs::new();
    put(&fs, "/dst/model/a", b"old");
    let placement = Placement { mirrors: true, ..Placement::default() };
    let mirror = content(&fs, Setup { placement, ..setup() });
    let told = register(&mirror);
    assert_eq!((told.files.len(), told.wants.len(), told.stands), (0, 1, None));
    let before = fs.look(Path::new("/dst/model/a")).unwrap();
    mirror.set_tree(Arc::default());
    assert_eq!(mirror.link("model/a", Path::new("/dst/model/a")), Ok(0), "it is there already");
    assert_eq!(mirror.finish_tree(), []);
    assert_eq!(fs.look(Path::new("/dst/model/a")).unwrap(), before);
}

#[test]
fn pins_are_hashed_once() {
    let fs = MemFs::new();
    plant(&fs);
    let placement = || Placement {
        pins: ["model/d/b".to_owned()].into(),
        cache: Some("/cache".into()),
        ..Placement::default()
    };
    let rank =
        || content(&fs, Setup { gives: true, wants: false, placement: placement(), ..setup() });
    register(&giver(&fs));
    let mut expected = Sha256::new();
    expected.update(&bytes(2, 100_000));
    let expected = expected.finish();
    for read in [100_000..200_000, 0..10_000] {
        let before = fs.bytes_read();
        let told = register(&rank());
        assert_eq!(file(&told, "model/d/b").sha256, Some(expected));
        assert_eq!(file(&told, "model/a").sha256, None);
        assert!(read.contains(&(fs.bytes_read() - before)), "{read:?}");
    }
}

#[test]
fn neighbours_link_instead_of_fetching() {
    for shares in [true, false] {
        let fs = MemFs::new();
        fs.set_shares(shares);
        plant(&fs);
        let source = register(&giver(&fs));
        cast(&fs, &source, &content(&fs, setup()));
        put(&fs, "/dst2/model/d/b", b"old");
        let second = content(&fs, Setup { dest: "/dst2", ..setup() });
        register(&second);
        second.set_tree(source.entries.clone().into());
        for (name, length) in [("model/a", 500_000), ("model/d/b", 100_000), ("model/empty", 0)] {
            assert_eq!(second.link(name, &Path::new("/dst").join(name)), Ok(length));
        }
        assert_eq!(second.finish_tree(), []);
        assert_eq!(entries(&fs, "/dst2/model"), entries(&fs, "/src"));
        let inode = |path: &str| fs.look(Path::new(path)).unwrap().meta.inode;
        assert_eq!(inode("/dst/model/d/b") == inode("/dst2/model/d/b"), !shares);
        let mut left = fs.read_dir(Path::new("/dst2/model")).unwrap();
        left.retain(|entry| entry.path.to_str().unwrap().contains("dunlin-part"));
        assert_eq!(left, []);
        assert!(second.link("model/gone", Path::new("/dst/model/gone")).is_err());
        fs.create_dir(Path::new("/dst2/model/folder")).unwrap();
        let stands = second.link("model/folder", Path::new("/dst/model/a")).unwrap_err().message;
        assert!(stands.contains("something else stands there"), "{stands}");
    }
}

#[test]
fn a_file_that_came_under_a_neighbours_name_is_not_linked() {
    for shares in [true, false] {
        let fs = MemFs::new();
        fs.set_shares(shares);
        plant(&fs);
        let source = register(&giver(&fs));
        let one = content(&fs, setup());
        bring_all(&fs, &source, &one);
        let second = content(&fs, Setup { dest: "/dst2", ..setup() });
        register(&second);
        second.set_tree(source.entries.clone().into());
        let from = Path::new("/dst/model/d/b");
        put(&fs, "/other", &bytes(9, 100_000));
        let disk = fs.clone();
        fs.before_open(from, move || disk.rename(Path::new("/other"), from).unwrap());
        assert!(second.link("model/d/b", from).is_err(), "shares: {shares}");
        assert!(fs.look(Path::new("/dst2/model/d/b")).is_err(), "shares: {shares}");
    }
}

#[test]
fn what_neighbours_linked_is_not_read_again_at_either_end() {
    let cases = [(true, true), (true, false), (false, true), (false, false)];
    for (shares, fetcher_ends_first) in cases {
        let fs = MemFs::new();
        fs.set_shares(shares);
        plant(&fs);
        let source = register(&giver(&fs));
        let third = || content(&fs, Setup { dest: "/dst3", ..setup() });
        let second = || content(&fs, Setup { dest: "/dst2", ..setup() });
        let (one, two, three) = (content(&fs, setup()), second(), third());
        bring_all(&fs, &source, &one);
        for (rank, dest) in [(&two, "/dst2"), (&three, "/dst3")] {
            register(rank);
            rank.set_tree(source.entries.clone().into());
            for name in ["model/a", "model/d/b", "model/empty"] {
                rank.link(name, &Path::new("/dst").join(name)).unwrap();
            }
            assert_eq!(rank.finish_tree(), []);
            assert_eq!(entries(&fs, &format!("{dest}/model")), entries(&fs, "/src"));
        }
        let ends = if fetcher_ends_first { [&one, &two, &three] } else { [&three, &two, &one] };
        ends.iter().for_each(|rank| _ = rank.close());
        ends.iter().for_each(|rank| rank.keep_at_end());
        for again in [content(&fs, setup()), second(), third()] {
            let before = fs.bytes_read();
            let there = register(&again);
            let read = fs.bytes_read() - before;
            assert!(read < 2_500, "{read} bytes, a list of hashes has fewer; shares: {shares}");
            for owned in &source.files {
                assert_eq!(file(&there, &owned.name).hashes, owned.hashes);
            }
        }
    }
}

#[test]
fn what_was_changed_after_it_was_placed_is_read_again() {
    let fs = MemFs::new();
    fs.set_shares(false);
    plant(&fs);
    let source = register(&giver(&fs));
    let second = || content(&fs, Setup { dest: "/dst2", ..setup() });
    let (one, two) = (content(&fs, setup()), second());
    bring_all(&fs, &source, &one);
    register(&two);
    two.set_tree(source.entries.clone().into());
    two.link("model/a", Path::new("/dst/model/a")).unwrap();
    two.link("model/d/b", Path::new("/dst/model/d/b")).unwrap();
    assert_eq!(two.finish_tree(), []);
    // The run goes on for others; somebody writes to what stands, and hides it.
    let path = Path::new("/dst2/model/d/b");
    let modified = fs.look(path).unwrap().meta.modified as i64;
    fs.open_write(path).unwrap().write_at(&[Bytes::from_static(b"!")], 0).unwrap();
    fs.set_modified(path, modified).unwrap();
    let _ = (one.close(), two.close());
    let there = register(&second());
    assert_eq!(file(&there, "model/a").hashes, file(&source, "model/a").hashes);
    assert_ne!(file(&there, "model/d/b").hashes, file(&source, "model/d/b").hashes);
}

/// Brings what a source has to two ranks of a host, one of which links what the other has, until
/// something fails.
fn try_job(fs: &MemFs) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Debug| format!("{error:?}");
    let source = giver(fs).check(&mut |_, _| {}).map_err(|error| said(&error))?;
    let one = content(fs, setup());
    let two = content(fs, Setup { dest: "/dst2", ..setup() });
    for rank in [&one, &two] {
        rank.check(&mut |_, _| {}).map_err(|error| said(&error))?;
        rank.set_tree(source.entries.clone().into());
    }
    for (owned, number) in source.files.iter().zip(0..) {
        let path = Path::new("/src").join(owned.name.strip_prefix("model/").unwrap());
        let bytes = fs.read_all(&path, 1 << 30).map_err(|error| said(&error))?;
        bring(&one, number, owned, &bytes)?;
        let from = Path::new("/dst").join(&owned.name);
        two.link(&owned.name, &from).map_err(|error| said(&error))?;
    }
    for rank in [&one, &two] {
        match rank.finish_tree().first() {
            Some(failed) => return Err(said(failed)),
            None => _ = rank.close(),
        }
    }
    Ok(())
}

#[test]
fn a_job_that_is_killed_at_any_change_is_mended_by_the_next() {
    for (shares, stands) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut steps = 0;
        loop {
            let fs = MemFs::new();
            fs.set_shares(shares);
            put(&fs, "/src/a", &bytes(1, 50_000));
            put(&fs, "/src/d/b", &bytes(2, 20_000));
            fs.hard_link(Path::new("/src/a"), Path::new("/src/same")).unwrap();
            fs.symlink(Path::new("d/b"), Path::new("/src/link")).unwrap();
            for dest in ["/dst", "/dst2"].iter().filter(|_| stands) {
                put(&fs, &format!("{dest}/model/a"), &bytes(1, 30_000));
                put(&fs, &format!("{dest}/model/d/b"), &bytes(3, 20_000));
            }
            steps += 1;
            fs.freeze_after_changes(steps);
            let done = try_job(&fs);
            let survived = !fs.is_frozen();
            assert!(!survived || done.is_ok(), "{done:?}");
            let fs = fs.reopen();
            assert_eq!(try_job(&fs), Ok(()), "killed after {steps} changes");
            for dest in ["/dst", "/dst2"] {
                let model = format!("{dest}/model");
                assert_eq!(entries(&fs, &model), entries(&fs, "/src"), "{dest}, {steps}");
                for (name, right) in [("a", bytes(1, 50_000)), ("d/b", bytes(2, 20_000))] {
                    let found = fs.read_all(&Path::new(&model).join(name), 1 << 30).unwrap();
                    assert!(found == right, "{dest}: {name} after {steps}");
                }
                let left = dunlin_disk::find_leftovers(&fs, Path::new(dest)).unwrap();
                assert_eq!(left, [], "killed after {steps} changes; it stood there: {stands}");
            }
            if survived {
                break;
            }
        }
        assert!(steps > 50, "{steps} changes are no job");
    }
}

#[test]
fn another_file_system_gets_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let from = folder.path().join("model/a");
    put(&RealFs, from.to_str().unwrap(), &bytes(3, 300_000));
    let sparse = RealFs.open_write(&from).unwrap();
    sparse.set_len(5 << 20).unwrap();
    let dest = other.path().to_str().unwrap();
    let rank = content(&RealFs, Setup { dest, placement: Placement::default(), ..setup() });
    rank.set_tree(Arc::default());
    assert_eq!(rank.link("model/a", &from), Ok(5 << 20));
    let to = other.path().join("model/a");
    let (one, two) = (RealFs.read_all(&from, 1 << 30), RealFs.read_all(&to, 1 << 30));
    assert_eq!(one.unwrap(), two.unwrap());
    let ranges = RealFs.open_read(&to).unwrap().data_ranges().unwrap();
    assert!(
        ranges.iter().map(|range| range.end - range.start).sum::<u64>() < 1 << 20,
        "{ranges:?}"
    );
}

#[test]
fn nothing_is_removed_unless_all_is_well_and_it_was_asked_for() {
    for (asked, allowed, known) in
        [(true, true, true), (false, true, true), (true, false, true), (true, true, false)]
    {
        let fs = MemFs::new();
        plant(&fs);
        put(&fs, "/dst/model/old/deep/x", b"1");
        put(&fs, "/dst/model/old/y", b"1");
        put(&fs, "/dst/model/d/stale", b"1");
        put(&fs, "/dst/other", b"not wanted, not ours");
        let source = register(&giver(&fs));
        let placement = Placement { delete: asked, ..Placement::default() };
        let rank = content(&fs, Setup { placement, ..setup() });
        register(&rank);
        if allowed {
            rank.allow_delete();
        }
        if known {
            cast(&fs, &source, &rank);
        } else {
            assert_eq!(rank.finish_tree(), []);
        }
        let gone = asked && allowed && known;
        for path in
            ["/dst/model/old/deep/x", "/dst/model/old/y", "/dst/model/old", "/dst/model/d/stale"]
        {
            assert_eq!(fs.look(Path::new(path)).is_err(), gone, "{path}");
        }
        assert!(fs.look(Path::new("/dst/other")).is_ok());
        if gone {
            assert_eq!(entries(&fs, "/dst/model"), entries(&fs, "/src"));
        }
    }
}

#[test]
fn only_what_is_in_the_way_fails() {
    let fs = MemFs::new();
    plant(&fs);
    put(&fs, "/dst/model/d", b"a file where a folder must be");
    let source = register(&giver(&fs));
    let rank = content(&fs, setup());
    register(&rank);
    rank.set_tree(source.entries.clone().into());
    for (owned, number) in source.files.iter().zip(0..) {
        let path = Path::new("/src").join(owned.name.strip_prefix("model/").unwrap());
        let done = bring(&rank, number, owned, &fs.read_all(&path, 1 << 30).unwrap());
        match owned.name.as_str() {
            "model/d/b" => assert!(done.unwrap_err().starts_with("/dst/model/d: not a folder")),
            _ => assert!(done.is_ok()),
        }
    }
    let failed: Vec<_> = rank.finish_tree().into_iter().map(|one| one.name).collect();
    assert_eq!(failed, ["model/d"]);
    assert_eq!(fs.look(Path::new("/dst/model/d")).unwrap().kind, FileKind::File);
    let kinds = entries(&fs, "/dst/model");
    assert!(kinds.iter().any(|entry| matches!(entry.kind, EntryKind::HardLink { .. })));
}
