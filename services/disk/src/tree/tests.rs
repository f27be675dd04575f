use super::*;
use crate::{FileKind, Fs, Look, MemFs, RealFs, part_path};
use bytes::Bytes;
use dunlin_metainfo::{EntryKind, EntryMeta};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const YEAR: i64 = 31_556_952_000_000_000;

fn put(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    fs.create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs.open_write(path).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[Bytes::copy_from_slice(bytes)], 0).unwrap();
}

fn scan(fs: &dyn Fs, path: &Path, prefix: &str) -> Tree {
    scan_tree(fs, path, prefix, &AtomicBool::new(false)).unwrap()
}

fn preserver(
    fs: &(impl Fs + Clone + 'static),
    root: &Path,
    entries: Vec<TreeEntry>,
) -> MetadataPreserver {
    MetadataPreserver::new(Arc::new(fs.clone()), root.to_owned(), entries.into())
}

fn entry(name: &str, kind: EntryKind) -> TreeEntry {
    let meta = EntryMeta { mode: 0o755, modified: 7 * YEAR, ..EntryMeta::default() };
    TreeEntry { name: name.into(), kind, meta }
}

fn shown(tree: &Tree) -> Vec<String> {
    let show = |entry: &TreeEntry| match &entry.kind {
        EntryKind::File => format!("{} {:o}", entry.name, entry.meta.mode),
        EntryKind::Directory => format!("{}/ {:o}", entry.name, entry.meta.mode),
        EntryKind::Symlink { target } => format!("{} -> {target}", entry.name),
        EntryKind::HardLink { to } => format!("{} = {to}", entry.name),
    };
    tree.entries.iter().map(show).collect()
}

/// A tree with everything that is kept.
fn plant(fs: &dyn Fs, root: &Path) {
    let at = |name: &str| root.join(name);
    put(fs, &at("a/run.sh"), b"#!/bin/sh\n");
    put(fs, &at("a-b"), b"");
    put(fs, &at("z"), b"zz");
    for folder in ["a/empty", "a/closed"] {
        fs.create_dir_all(&at(folder)).unwrap();
    }
    fs.symlink(Path::new("../nowhere"), &at("a/link")).unwrap();
    fs.hard_link(&at("z"), &at("a/also z")).unwrap();
    fs.set_mode(&at("a/run.sh"), 0o750).unwrap();
    fs.set_mode(&at("a-b"), 0o444).unwrap();
    fs.set_mode(&at("z"), 0o600).unwrap();
    fs.set_mode(&at("a/closed"), 0o500).unwrap();
    let _ = fs.set_attribute(&at("a/run.sh"), "user.note", b"first");
    // The deepest first, or making them would change the time of those above.
    for (name, years) in [("a/run.sh", 1), ("a/link", 2), ("a/empty", 3), ("z", 4), ("a", 5)] {
        fs.set_modified(&at(name), years * YEAR + 123_456_789).unwrap();
    }
}

/// Copies the bytes of files, as the swarm would.
fn carry(fs: &dyn Fs, tree: &Tree, to: &Path) {
    for file in &tree.files {
        put(fs, &to.join(&file.name), &fs.read_all(&file.path, 1 << 20).unwrap());
    }
}

fn all_metadata(fs: &dyn Fs, root: &Path, tree: &Tree) -> Vec<Look> {
    tree.entries.iter().map(|entry| fs.look(&root.join(&entry.name)).unwrap()).collect()
}

fn a_tree_is_kept(fs: &(impl Fs + Clone + 'static), top: &Path) {
    let (from, to) = (top.join("from"), top.join("to"));
    plant(fs, &from);
    let tree = scan(fs, &from, "model");
    let expected = [
        "model/ 755",
        "model/a/ 755",
        "model/a-b 444",
        "model/a/also z 600",
        "model/a/closed/ 500",
        "model/a/empty/ 755",
        "model/a/link -> ../nowhere",
        "model/a/run.sh 750",
        "model/z = model/a/also z",
    ];
    assert_eq!(shown(&tree), expected);
    let names: Vec<_> = tree.files.iter().map(|file| (&*file.name, file.length)).collect();
    assert_eq!(names, [("model/a-b", 0), ("model/a/also z", 2), ("model/a/run.sh", 10)]);
    assert_eq!((&tree.unreadable, &tree.notes), (&Vec::new(), &Vec::new()));

    let preserver = preserver(fs, &to, tree.entries.clone());
    assert_eq!(preserver.make_folders(), []);
    carry(fs, &tree, &to);
    assert_eq!(preserver.finish(), []);
    let there = scan(fs, &to.join("model"), "model");
    assert_eq!(there.entries, tree.entries);
    let (z, also) = (to.join("model/z"), to.join("model/a/also z"));
    assert_eq!(fs.look(&z).unwrap().meta.inode, fs.look(&also).unwrap().meta.inode);

    let before = all_metadata(fs, &to, &tree);
    assert_eq!(preserver.finish(), []);
    assert_eq!(all_metadata(fs, &to, &tree), before, "a second time nothing is touched");

    // What differs is put right, and only that.
    fs.set_mode(&to.join("model/a/run.sh"), 0o700).unwrap();
    let _ = fs.set_attribute(&to.join("model/a/run.sh"), "user.more", b"x");
    fs.set_modified(&to.join("model/a/empty"), 9 * YEAR).unwrap();
    fs.remove_file(&z).unwrap();
    put(fs, &z, b"zz");
    fs.remove_file(&to.join("model/a/link")).unwrap();
    fs.symlink(Path::new("elsewhere"), &to.join("model/a/link")).unwrap();
    assert_eq!(preserver.finish(), []);
    assert_eq!(scan(fs, &to.join("model"), "model").entries, tree.entries);
    let after = all_metadata(fs, &to, &tree);
    let still = |name: &str| {
        let at = tree.entries.iter().position(|entry| entry.name == name).unwrap();
        before[at] == after[at]
    };
    assert!(still("model/a-b") && !still("model/a/run.sh"));
}

#[test]
fn a_tree_is_kept_in_memory() {
    a_tree_is_kept(&MemFs::new(), Path::new("/top"));
}

#[test]
fn a_tree_is_kept_on_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    a_tree_is_kept(&RealFs, folder.path());
    // Or nobody but root could remove it.
    for place in ["from", "to/model"] {
        let _ = RealFs.set_mode(&folder.path().join(place).join("a/closed"), 0o700);
    }
}

#[test]
fn attributes_of_users_are_kept_where_there_are_any() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    put(&RealFs, &from, b"x");
    put(&RealFs, &to, b"x");
    if RealFs.set_attribute(&from, "user.a", b"1").is_err() {
        return;
    }
    RealFs.set_attribute(&to, "user.b", b"2").unwrap();
    RealFs.set_mode(&to, 0o400).unwrap();
    let tree = scan(&RealFs, &from, "to");
    assert_eq!(tree.entries[0].meta.attributes, [("user.a".to_owned(), b"1".to_vec())]);
    assert_eq!(preserver(&RealFs, folder.path(), tree.entries.clone()).finish(), []);
    assert_eq!(scan(&RealFs, &to, "to").entries, tree.entries);
}

/// What only root sees and sets, of files, folders and links, under names that are no text.
#[test]
fn trusted_attributes_are_kept_by_root_and_named_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    put(&RealFs, &from.join("f"), b"x");
    std::os::unix::fs::symlink("f", from.join("l")).unwrap();
    for name in ["", "f", "l"] {
        if RealFs.set_attribute(&from.join(name), "trusted.x\\xff", b"1").is_err() {
            return;
        }
    }
    let tree = scan(&RealFs, &from, "to");
    assert_eq!(tree.notes, []);
    for entry in &tree.entries {
        assert_eq!(entry.meta.attributes, [("trusted.x\\xff".to_owned(), b"1".to_vec())]);
    }
    put(&RealFs, &to.join("f"), b"x");
    assert_eq!(preserver(&RealFs, folder.path(), tree.entries.clone()).finish(), []);
    assert_eq!(scan(&RealFs, &to, "to").entries, tree.entries);

    let fs = MemFs::new();
    fs.set_common(true);
    put(&fs, Path::new("/d/to/f"), b"x");
    let unkept = preserver(&fs, Path::new("/d"), tree.entries).finish();
    assert_eq!(unkept.len(), 3, "{unkept:?}");
    assert!(unkept.iter().all(|one| one.reason.contains("trusted.x\\xff")), "{unkept:?}");
}

#[test]
fn one_file_and_one_link_are_trees_too() {
    let fs = MemFs::new();
    put(&fs, Path::new("/d/f"), b"abc");
    fs.symlink(Path::new("f"), Path::new("/d/l")).unwrap();
    fs.symlink(Path::new("d"), Path::new("/e")).unwrap();
    assert_eq!(shown(&scan(&fs, Path::new("/d/f"), "g")), ["g 644"]);
    assert_eq!(shown(&scan(&fs, Path::new("/e"), "e")), ["e -> d"], "not followed");
    let none = AtomicBool::new(false);
    let refused = scan_tree(&fs, Path::new("/d/f"), "", &none).unwrap_err().to_string();
    assert!(refused.starts_with("/d/f: not a folder"), "{refused}");
    assert!(scan_tree(&fs, Path::new("/gone"), "gone", &none).is_err());
    assert!(scan_tree(&fs, Path::new("/d"), "d", &AtomicBool::new(true)).is_err(), "stopped");
}

#[test]
fn leavings_of_runs_are_no_part_of_a_tree() {
    let fs = MemFs::new();
    for name in ["/d/.dunlin/lock", "/d/.x.dunlin-part", "/d/x"] {
        put(&fs, Path::new(name), b"1");
    }
    assert_eq!(shown(&scan(&fs, Path::new("/d"), "")), ["x 644"]);
}

#[test]
fn at_a_destination_every_name_is_a_file() {
    let fs = MemFs::new();
    put(&fs, Path::new("/d/a"), b"1");
    fs.hard_link(Path::new("/d/a"), Path::new("/d/b")).unwrap();
    let found = list_files(&fs, Path::new("/d"), "", &AtomicBool::new(false)).unwrap();
    let names: Vec<_> = found.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!((names, shown(&found)), (vec!["a", "b"], vec!["a 644".into(), "b = a".into()]));
}

#[test]
fn what_does_not_travel_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    put(&RealFs, &root.join(OsStr::from_bytes(b"no\xfftext")), b"1");
    put(&RealFs, &root.join("back\\slash"), b"1");
    put(&RealFs, &root.join("good"), b"1");
    put(&RealFs, &root.join(".good.dunlin-part"), b"1");
    put(&RealFs, &root.join(".new.dunlin-part"), b"1");
    put(&RealFs, &root.join(".dunlin/state"), b"1");
    let tree = scan(&RealFs, root, "");
    assert_eq!(shown(&tree), ["back\\x5cslash 644", "good 644", "no\\xfftext 644"]);
    let names = |list: &[Unkept]| list.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&tree.unreadable), [""; 0]);
    assert_eq!(names(&tree.unfinished), ["new"]);
    assert_eq!(names(&tree.notes), [".dunlin", "good", "socket"]);
}

#[test]
fn a_folder_that_cannot_be_read_does_not_end_the_rest() {
    let fs = MemFs::new();
    put(&fs, Path::new("/d/a/x"), b"1");
    put(&fs, Path::new("/d/b/y"), b"1");
    fs.set_broken(Path::new("/d/a"), true);
    let tree = scan(&fs, Path::new("/d"), "d");
    assert_eq!(shown(&tree), ["d/ 755", "d/b/ 755", "d/b/y 644"]);
    assert_eq!(tree.unreadable.len(), 1);
    assert_eq!(tree.unreadable[0].name, "d/a");
}

#[test]
fn what_stands_in_the_way_is_neither_followed_nor_removed() {
    let fs = MemFs::new();
    put(&fs, Path::new("/out/secret"), b"1");
    put(&fs, Path::new("/to/file"), b"2");
    put(&fs, Path::new("/to/plain"), b"3");
    fs.create_dir_all(Path::new("/to/folder")).unwrap();
    fs.symlink(Path::new("/out"), Path::new("/to/link")).unwrap();
    let link = |target: &str| EntryKind::Symlink { target: target.into() };
    let hard = |to: &str| EntryKind::HardLink { to: to.into() };
    let preserver = preserver(
        &fs,
        Path::new("/to"),
        vec![
            entry("file", EntryKind::Directory),
            entry("file/x", link("a")),
            entry("folder", link("a")),
            entry("good", link("a")),
            entry("link", EntryKind::Directory),
            entry("link/secret", EntryKind::File),
            entry("link/y", hard("file/x")),
            entry("plain", link("a")),
            entry("z", hard("nothing")),
        ],
    );
    let made: Vec<_> = preserver.make_folders().into_iter().map(|one| one.name).collect();
    assert_eq!(made, ["file", "link"]);
    for name in ["file/x", "link/secret", "link/deep/er"] {
        let error = preserver.clear_way(name).unwrap_err().to_string();
        assert!(error.contains("not a folder, but one must stand there"), "{error}");
    }
    assert!(preserver.clear_way("new/deep/file").is_ok());
    let failed: Vec<_> = preserver.finish().into_iter().map(|one| one.name).collect();
    assert_eq!(failed, ["file", "file/x", "folder", "link", "link/y", "plain", "z"]);
    assert_eq!(fs.read_link(Path::new("/to/good")).unwrap(), Path::new("a"));
    assert_eq!(fs.look(Path::new("/to/folder")).unwrap().kind, FileKind::Directory);
    assert_eq!(fs.read_all(Path::new("/to/plain"), 9).unwrap(), b"3");
    let secret = fs.look(Path::new("/out/secret")).unwrap();
    assert_eq!(secret.mode, 0o644, "not even its metadata is touched through a link");
}

#[test]
fn owners_are_for_root() {
    for root in [true, false] {
        let fs = MemFs::new();
        put(&fs, Path::new("/to/f"), b"1");
        fs.set_common(!root);
        let mut wanted = entry("f", EntryKind::File);
        (wanted.meta.uid, wanted.meta.gid, wanted.meta.mode) = (5, 6, 0o4755);
        let unkept = preserver(&fs, Path::new("/to"), vec![wanted]).finish();
        let look = fs.look(Path::new("/to/f")).unwrap();
        let expected = if root { (5, 6, 0o4755) } else { (0, 0, 0o755) };
        assert_eq!((look.uid, look.gid, look.mode), expected);
        // Without its owner a set-id bit would mean somebody else.
        assert_eq!(unkept.len(), usize::from(!root), "{unkept:?}");
    }
}

#[test]
fn what_the_disk_refuses_is_told_by_name() {
    let fs = MemFs::new();
    put(&fs, Path::new("/to/f"), b"1");
    let preserver = preserver(
        &fs,
        Path::new("/to"),
        vec![entry("f", EntryKind::File), entry("g", EntryKind::Symlink { target: "x".into() })],
    );
    fs.set_broken(&part_path(Path::new("/to/g")), true);
    let failed = preserver.finish();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].name == "g" && failed[0].reason.contains("input/output error"));
    fs.set_broken(&part_path(Path::new("/to/g")), false);
    // Left by a run that was killed.
    fs.symlink(Path::new("old"), &part_path(Path::new("/to/g"))).unwrap();
    assert_eq!(preserver.finish(), []);
    assert_eq!(fs.read_link(Path::new("/to/g")).unwrap(), Path::new("x"));
}

#[test]
fn folders_that_are_closed_to_us_are_opened_only_while_something_is_made_in_them() {
    let fs = MemFs::new();
    fs.set_common(true);
    put(&fs, Path::new("/to/d/old"), b"1");
    fs.set_mode(Path::new("/to/d"), 0o500).unwrap();
    let mut folder = entry("d", EntryKind::Directory);
    folder.meta.mode = 0o500;
    let preserver = preserver(&fs, Path::new("/to"), vec![folder]);
    let mode = || fs.look(Path::new("/to/d")).unwrap().mode;
    assert_eq!((preserver.make_folders(), mode()), (vec![], 0o500));
    preserver.clear_way("d/new").unwrap();
    assert_eq!(mode(), 0o700);
    assert_eq!((preserver.finish(), mode()), (vec![], 0o500));
    let before = fs.look(Path::new("/to/d")).unwrap();
    assert_eq!(preserver.finish(), []);
    assert_eq!(fs.look(Path::new("/to/d")).unwrap(), before);
}

#[test]
fn a_folder_that_nobody_may_enter_gets_its_mode_last() {
    let fs = MemFs::new();
    fs.set_common(true);
    put(&fs, Path::new("/to/d/f"), b"1");
    let mut tree = vec![entry("d", EntryKind::Directory), entry("d/f", EntryKind::File)];
    (tree[0].meta.mode, tree[1].meta.mode) = (0o400, 0o640);
    for _ in 0..2 {
        assert_eq!(preserver(&fs, Path::new("/to"), tree.clone()).finish(), []);
        fs.set_common(false);
        let mode = |path: &str| fs.look(Path::new(path)).unwrap().mode;
        assert_eq!((mode("/to/d"), mode("/to/d/f")), (0o400, 0o640));
        fs.set_common(true);
    }
}

#[test]
fn names_that_lead_out_of_the_tree_are_none() {
    let fs = MemFs::new();
    fs.create_dir_all(Path::new("/to")).unwrap();
    let link = EntryKind::Symlink { target: "x".into() };
    let bad = ["../out", "/out", "a/../../out"].map(|name| entry(name, link.clone()));
    let preserver = preserver(&fs, Path::new("/to"), bad.to_vec());
    assert_eq!(
        (preserver.entries().len(), preserver.make_folders(), preserver.finish()),
        (0, vec![], vec![])
    );
    assert!(fs.look(Path::new("/out")).is_err());
}
