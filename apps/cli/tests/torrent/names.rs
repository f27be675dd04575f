//! Names as files have them, from `create` to `get` and back: every class of names that some
//! program changes, in files, folders and the torrent's own name.

use crate::common::{Done, Sandbox, data, end};
use crate::transfer::{HERE, Seed};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const FORMATS: [&str; 3] = ["v1", "v2", "hybrid"];

/// A name, what `get` makes of it, and what libtorrent does, and so many other programs.
struct Class {
    name: String,
    ours: String,
    others: String,
}

/// Every class of docs/torrents.md.
fn classes() -> Vec<Class> {
    let each = |name: &str, ours: &str, others: &str| {
        (name.to_owned(), ours.to_owned(), others.to_owned())
    };
    let same = |name: &str| each(name, name, name);
    let changed = |name: &str, to: &str| each(name, to, to);
    let ours = |name: &str, to: &str| each(name, to, name);
    let others = |name: &str, to: &str| each(name, name, to);
    let all = [
        same("plain.bin"),
        same("می\u{200c}خواهم.txt"),
        same("family \u{1f469}\u{200d}\u{1f467}"),
        changed("left\u{200e}mark", "leftmark"),
        changed("right\u{200f}mark", "rightmark"),
        changed("turned\u{202e}txt", "turnedtxt"),
        ours("word\u{2060}joiner", "wordjoiner"),
        ours("\u{feff}byte order", "byte order"),
        others("back\\slash", "backslash"),
        others("x\\x41", "xx41"),
        changed("tab\there", "tab_here"),
        changed("line\nbreak", "line_break"),
        ours("c1\u{85}\u{9b}control", "c1__control"),
        ours("\u{7f}delete", "_delete"),
        each("two\t\u{2060}ways", "two_ways", "two_\u{2060}ways"),
        same(&"n".repeat(240)),
        others(&("n".repeat(237) + ".bin"), &("n".repeat(237) + ".bi")),
        others(&("m".repeat(251) + ".txt"), &("m".repeat(240) + ".txt")),
        others(&"ü".repeat(127), &"ü".repeat(120)),
    ];
    all.into_iter().map(|(name, ours, others)| Class { name, ours, others }).collect()
}

/// Which of the names of a class stand on a disk.
type Pick = fn(&Class) -> &str;
const RAW: Pick = |class| &class.name;
const OURS: Pick = |class| &class.ours;
const OTHERS: Pick = |class| &class.others;

/// A folder with a file, and a file in a folder, of every class.
fn tree(top: &Class, pick: Pick) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (class, seed) in classes().iter().zip((1..).step_by(2)) {
        let name = Path::new(pick(top));
        files.insert(name.join(format!("{}~", seed)).join(pick(class)), data(seed, 9000));
        files
            .insert(name.join(format!("f{seed}")).join(pick(class)).join("in"), data(seed + 1, 99));
    }
    files
}

fn write(sandbox: &Sandbox, folder: &str, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (name, bytes) in files {
        let path = sandbox.path(folder).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Everything in a folder but what runs keep there.
fn read(sandbox: &Sandbox, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let (root, mut files) = (sandbox.path(folder), BTreeMap::new());
    let mut folders = vec![root.clone()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path != root.join(".dunlin") {
                folders.push(path);
            } else if path.is_file() {
                let bytes = fs::read(&path).unwrap();
                files.insert(path.strip_prefix(&root).unwrap().to_owned(), bytes);
            }
        }
    }
    files
}

fn same(found: &BTreeMap<PathBuf, Vec<u8>>, expected: &BTreeMap<PathBuf, Vec<u8>>) {
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    assert!(found == expected, "bytes differ");
}

fn create(sandbox: &Sandbox, path: &Path, more: &str) -> Done {
    let mut command = sandbox.command(&format!("create -o t.torrent --piece-size 16KiB {more}"));
    command.arg(path).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command.spawn().unwrap())
}

/// Fetches from a seed of the data in one folder into another.
fn fetch(sandbox: &Sandbox, from: &str, to: &str) -> u64 {
    let seed = Seed::start(sandbox, &format!("seed t.torrent --data {from} {HERE}"));
    let line = format!("get t.torrent -o {to} --peer {} {HERE}", seed.address);
    let report = sandbox.json(0, &line);
    report["torrents"][0]["bytes_received"].as_u64().unwrap()
}

/// How a name stands in what is said.
fn shown(name: &str) -> String {
    let shown = |c: char| {
        let hidden = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{202e}');
        match c.is_control() || hidden {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        }
    };
    name.chars().map(shown).collect()
}

/// Where a name is changed, it has been said which.
fn warned(class: &Class, said: &str) {
    let line = said.lines().find(|line| {
        line.starts_with("warning: the name `") && { line.contains(&shown(&class.name)) }
    });
    let changes = class.name != class.ours || class.name != class.others;
    assert_eq!(line.is_some(), changes, "{}: {said}", shown(&class.name));
    if let Some(line) = line {
        let (name, who) = match class.name == class.ours {
            true => (&class.others, "other programs fetch it"),
            false => (&class.ours, "is fetched"),
        };
        assert!(line.contains(name) && line.ends_with(who), "{line}");
    }
}

#[test]
fn every_class_goes_round_in_files_and_folders() {
    let tops = [
        Class { name: "plain".into(), ours: "plain".into(), others: "plain".into() },
        Class { name: "t\u{200f}\top\\".into(), ours: "t_op\\".into(), others: "t_op".into() },
    ];
    for (format, top) in
        FORMATS.into_iter().flat_map(|format| tops.iter().map(move |top| (format, top)))
    {
        let sandbox = Sandbox::new();
        let (raw, ours, others) = (tree(top, RAW), tree(top, OURS), tree(top, OTHERS));
        write(&sandbox, "raw", &raw);
        write(&sandbox, "others", &others);
        let done =
            create(&sandbox, &sandbox.path("raw").join(&top.name), &format!("--format {format}"));
        assert_eq!(done.code, 0, "{}", done.stderr);
        sandbox.expect(0, "verify t.torrent --data raw");
        assert!(fetch(&sandbox, "raw", "ours") > 0);
        same(&read(&sandbox, "ours"), &ours);
        // What is there is found under each of its names, and nothing is fetched or made.
        for (folder, files) in [("raw", &raw), ("ours", &ours), ("others", &others)] {
            sandbox.expect(0, &format!("verify t.torrent --data {folder}"));
            assert_eq!(fetch(&sandbox, "ours", folder), 0, "{folder}");
            same(&read(&sandbox, folder), files);
        }
        fetch(&sandbox, "others", "again");
        same(&read(&sandbox, "again"), &ours);
    }
}

#[test]
fn every_class_is_the_name_of_a_torrent_of_one_file() {
    for (class, format) in classes().iter().zip(FORMATS.into_iter().cycle()) {
        let sandbox = Sandbox::new();
        let of = |pick: Pick| BTreeMap::from([(PathBuf::from(pick(class)), data(1, 40_000))]);
        write(&sandbox, "raw", &of(RAW));
        write(&sandbox, "others", &of(OTHERS));
        let path = sandbox.path("raw").join(&class.name);
        let done = create(&sandbox, &path, &format!("--format {format}"));
        assert_eq!(done.code, 0, "{}", done.stderr);
        warned(class, &done.stderr);
        assert!(fetch(&sandbox, "raw", "ours") > 0);
        same(&read(&sandbox, "ours"), &of(OURS));
        for (folder, pick) in [("raw", RAW), ("ours", OURS), ("others", OTHERS)] {
            sandbox.expect(0, &format!("verify t.torrent --data {folder}"));
            assert_eq!(fetch(&sandbox, "ours", folder), 0, "{folder}");
            same(&read(&sandbox, folder), &of(pick));
        }
        fetch(&sandbox, "others", "again");
        same(&read(&sandbox, "again"), &of(OURS));
    }
}

#[test]
fn names_that_others_change_are_warned_of_one_by_one() {
    for class in classes() {
        let sandbox = Sandbox::new();
        sandbox.write(&format!("t/{}", class.name), "x");
        let done = create(&sandbox, &sandbox.path("t"), "");
        assert_eq!(done.code, 0, "{}", done.stderr);
        warned(&class, &done.stderr);
    }
    let sandbox = Sandbox::new();
    for number in 0..25 {
        sandbox.write(&format!("t/back\\{number}"), "x");
    }
    let done = create(&sandbox, &sandbox.path("t"), "");
    let lines: Vec<_> = done.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(lines.len(), 21, "{}", done.stderr);
    assert!(lines[20].contains("5 more names"), "{}", done.stderr);
}

#[test]
fn names_that_become_one_stay_apart() {
    let sandbox = Sandbox::new();
    let names = ["a_b", "a\tb", "a\nb", "a\u{200e}_b"];
    let files = names.iter().zip(1..);
    let files: BTreeMap<_, _> =
        files.map(|(name, seed)| (Path::new("t").join(name), data(seed, 20_000))).collect();
    write(&sandbox, "raw", &files);
    assert_eq!(create(&sandbox, &sandbox.path("raw/t"), "").code, 0);
    sandbox.expect(0, "verify t.torrent --data raw");
    fetch(&sandbox, "raw", "out");
    let found = read(&sandbox, "out");
    let names: Vec<_> =
        found.keys().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a_b", "a_b.1", "a_b.2", "a_b.3"]);
    assert!(found[Path::new("t/a_b")] == data(1, 20_000), "whose name is right keeps it");
    let sorted = |files: &BTreeMap<PathBuf, Vec<u8>>| {
        let mut bytes: Vec<_> = files.values().cloned().collect();
        bytes.sort();
        bytes
    };
    assert!(sorted(&found) == sorted(&files));
    sandbox.expect(0, "verify t.torrent --data out");
    fetch(&sandbox, "out", "again");
    assert!(read(&sandbox, "again") == found);
}

#[test]
fn names_that_are_no_utf_8_are_all_named_and_can_be_left_out() {
    let sandbox = Sandbox::new();
    let bad: [&[u8]; 3] = [b"latin-\xe9.txt", b"deep/\xff\xfe", b"fold\xe9er/inside"];
    let mut files = BTreeMap::from([(PathBuf::from("t/good"), data(1, 100))]);
    files.extend(
        bad.iter()
            .zip(2..)
            .map(|(name, seed)| (Path::new("t").join(OsStr::from_bytes(name)), data(seed, 100))),
    );
    write(&sandbox, "raw", &files);
    let done = create(&sandbox, &sandbox.path("raw/t"), "");
    assert_eq!(done.code, 4, "{}", done.stderr);
    for name in ["latin-\\xE9.txt", "deep/\\xFF\\xFE", "fold\\xE9er"] {
        assert!(done.stderr.contains(name), "{name}: {}", done.stderr);
    }
    assert!(done.stderr.contains("--exclude"), "{}", done.stderr);
    // Those that are left are named still.
    let done = create(&sandbox, &sandbox.path("raw/t"), "--exclude latin-*");
    assert!(done.code == 4 && !done.stderr.contains("latin"), "{}", done.stderr);
    for some in [
        "--exclude latin-?.txt --exclude deep --exclude fold?er",
        "--exclude *lat* --exclude deep/* --exclude fold*",
    ] {
        let done = create(&sandbox, &sandbox.path("raw/t"), &format!("{some} --force"));
        assert_eq!(done.code, 0, "{}", done.stderr);
        fetch(&sandbox, "raw", "out");
        same(&read(&sandbox, "out"), &BTreeMap::from([(PathBuf::from("t/good"), data(1, 100))]));
    }
    let single = sandbox.path("raw/t").join(OsString::from_vec(b"latin-\xe9.txt".to_vec()));
    let done = create(&sandbox, &single, "--force");
    assert!(done.code == 4 && done.stderr.contains("no UTF-8"), "{}", done.stderr);
}

#[test]
fn names_of_our_own_are_in_no_torrent() {
    let sandbox = Sandbox::new();
    let own = [
        ".dunlin/x",
        ".Dunlin/x",
        ".dunlin-1000/x",
        ".dunlin-part",
        ".a.Dunlin-Part",
        "d/.b.dunlin-part",
    ];
    for name in own.iter().chain(&["good", "a.dunlin-part", ".dunlin-", ".dunlin2"]) {
        sandbox.write(&format!("raw/t/{name}"), name);
    }
    let done = create(&sandbox, &sandbox.path("raw/t"), "");
    assert_eq!(done.code, 0, "{}", done.stderr);
    for name in own {
        let name = name.trim_end_matches("/x");
        let line = format!("`{name}` is left out: it belongs to a run of dunlin");
        assert!(done.stderr.contains(&line), "{name}: {}", done.stderr);
    }
    fetch(&sandbox, "raw", "out");
    let found = read(&sandbox, "out");
    let names: Vec<_> = found.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(names, ["t/.dunlin-", "t/.dunlin2", "t/a.dunlin-part", "t/good"]);
    for path in ["raw/t/.Dunlin", "raw/t/.a.Dunlin-Part"] {
        let done = create(&sandbox, &sandbox.path(path), "--force");
        assert!(done.code == 4 && done.stderr.contains("--name"), "{path}: {}", done.stderr);
        let done = create(&sandbox, &sandbox.path(path), "--force --name other");
        assert_eq!(done.code, 0, "{path}: {}", done.stderr);
    }
}

#[test]
fn other_content_under_a_name_that_is_not_ours_is_neither_taken_nor_touched() {
    for force in ["", "--force"] {
        let sandbox = Sandbox::new();
        let names = ["tab\there", "back\\slash", "plain"];
        let files = names.iter().zip(1..);
        let files: BTreeMap<_, _> =
            files.map(|(name, seed)| (Path::new("t").join(name), data(seed, 50_000))).collect();
        write(&sandbox, "raw", &files);
        assert_eq!(create(&sandbox, &sandbox.path("raw/t"), "").code, 0);
        let strange = BTreeMap::from([
            (PathBuf::from("t/tab\there"), data(8, 50_000)),
            (PathBuf::from("t/backslash"), data(9, 50_000)),
        ]);
        write(&sandbox, "out", &strange);
        let seed = Seed::start(&sandbox, &format!("seed t.torrent --data raw {HERE}"));
        let line = format!("get t.torrent -o out --peer {} {HERE} {force}", seed.address);
        sandbox.expect(0, &line);
        let mut expected = strange;
        expected.insert("t/tab_here".into(), data(1, 50_000));
        expected.insert("t/back\\slash".into(), data(2, 50_000));
        expected.insert("t/plain".into(), data(3, 50_000));
        same(&read(&sandbox, "out"), &expected);
        // What is right is found beside what is not; and that is no part of the torrent.
        let document = sandbox.json(6, "verify t.torrent --data out");
        assert_eq!(document["pieces_right"], document["pieces"], "{document}");
        let faults = document["faults"].as_array().unwrap();
        let extra = |fault: &serde_json::Value| fault["fault"] == "extra";
        assert!(faults.len() == 2 && faults.iter().all(extra), "{document}");
        assert!(fetch(&sandbox, "out", "again") > 0);
        assert_eq!(read(&sandbox, "again").len(), 3);
        // Now that all is there, a second run fetches nothing.
        let report = sandbox.json(0, &line);
        assert_eq!(report["torrents"][0]["bytes_received"], 0);
        same(&read(&sandbox, "out"), &expected);
    }
}

/// Two of the three names of a file have other content of its length: the third is found, whichever
/// it is.
#[test]
fn data_is_found_under_each_of_three_names() {
    let names = ["two\t\u{2060}ways", "two_ways", "two_\u{2060}ways"];
    for format in FORMATS {
        let sandbox = Sandbox::new();
        let file = |name: &str, seed| (Path::new("t").join(name), data(seed, 50_000));
        let raw = BTreeMap::from([file(names[0], 1), file("plain", 2)]);
        write(&sandbox, "raw", &raw);
        let done = create(&sandbox, &sandbox.path("raw/t"), &format!("--format {format}"));
        assert_eq!(done.code, 0, "{}", done.stderr);
        for right in 0..3 {
            let at = format!("at{right}");
            let mut files = BTreeMap::from([file("plain", 2)]);
            for (name, index) in names.into_iter().zip(0..) {
                files.extend([file(name, if index == right { 1 } else { 7 + index })]);
            }
            write(&sandbox, &at, &files);
            let document = sandbox.json(6, &format!("verify t.torrent --data {at}"));
            assert_eq!(document["pieces_right"], document["pieces"], "{at}: {document}");
            let faults = document["faults"].as_array().unwrap();
            let extra = |fault: &serde_json::Value| fault["fault"] == "extra";
            assert!(faults.len() == 2 && faults.iter().all(extra), "{at}: {document}");
            assert!(fetch(&sandbox, &at, &format!("from{right}")) > 0);
        }
        // Where nothing has the name that we would give it, nothing is fetched.
        let files = BTreeMap::from([file(names[0], 7), file(names[2], 1), file("plain", 2)]);
        write(&sandbox, "two", &files);
        assert_eq!(fetch(&sandbox, "raw", "two"), 0);
        same(&read(&sandbox, "two"), &files);
    }
}
