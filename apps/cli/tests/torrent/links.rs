//! Symbolic links and executable bits (BEP 47): made by `create`, then by `get`, and kept by `seed`
//! and `verify`.

use crate::common::{Sandbox, data};
use crate::transfer::{HERE, Seed};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

const FORMATS: [&str; 3] = ["v1", "v2", "hybrid"];

/// Links of a framework of macOS, and some more: through one another, upwards, to a folder above.
const LINKS: [(&str, &str); 7] = [
    ("Fw", "Versions/Current/Fw"),
    ("Headers", "Versions/Current/Headers"),
    ("Versions/Current", "A"),
    ("through", "Headers"),
    ("up/down/h", "../../Versions/A/Headers/h.h"),
    ("up/versions", "../Versions"),
    ("empty link", "Versions/A/none"),
];

/// A framework in `home/F.framework`, and its torrent.
fn framework(format: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let files = [
        ("Fw", 90_000, 0o755),
        ("Headers/h.h", 3000, 0o644),
        ("run.sh", 70, 0o700),
        ("none", 0, 0o644),
    ];
    for ((name, length, mode), seed) in files.into_iter().zip(1..) {
        let path =
            sandbox.write(&format!("home/F.framework/Versions/A/{name}"), data(seed, length));
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir_all(sandbox.path("home/F.framework/up/down")).unwrap();
    for (link, text) in LINKS {
        symlink(text, sandbox.path(&format!("home/F.framework/{link}"))).unwrap();
    }
    let options = format!("--piece-size 16KiB --format {format} -o F.torrent");
    let done = sandbox.expect(0, &format!("create home/F.framework {options}"));
    assert!(!done.stderr.contains("warning"), "{}", done.stderr);
    sandbox
}

/// What stands in a folder, by path: bytes and whether it is a program, or the text of a link.
fn stands(sandbox: &Sandbox, folder: &str) -> BTreeMap<PathBuf, (Vec<u8>, &'static str)> {
    let (root, mut found) = (sandbox.path(folder), BTreeMap::new());
    let mut folders = vec![root.clone()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(&root).unwrap().to_owned();
            if meta.is_symlink() {
                let text = fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
                found.insert(name, (text, "link"));
            } else if meta.is_file() {
                let runs = meta.permissions().mode() & 0o111 != 0;
                let kind = if runs { "program" } else { "file" };
                found.insert(name, (fs::read(path).unwrap(), kind));
            } else if !path.ends_with(".dunlin") {
                folders.push(path);
            }
        }
    }
    found
}

fn fetch(sandbox: &Sandbox, from: &str, to: &str, more: &str) -> Value {
    let seed = Seed::start(sandbox, &format!("seed F.torrent --data {from} {HERE}"));
    let peer = format!("--peer {} {HERE} {more}", seed.address);
    let report = sandbox.json(0, &format!("get F.torrent -o {to} {peer}"));
    report["torrents"][0].clone()
}

#[test]
fn links_and_programs_go_round() {
    for format in FORMATS {
        let sandbox = framework(format);
        let expected = stands(&sandbox, "home");
        sandbox.expect(0, "verify F.torrent --data home");
        for (from, to) in [("home", "one"), ("one", "two")] {
            fetch(&sandbox, from, to, "");
            assert_eq!(stands(&sandbox, to), expected, "{format}");
            sandbox.expect(0, &format!("verify F.torrent --data {to}"));
        }
        // What is there is left as it is, and what is away is made once more.
        fs::remove_file(sandbox.path("two/F.framework/Headers")).unwrap();
        fs::remove_file(sandbox.path("two/F.framework/Versions/Current")).unwrap();
        let document = sandbox.json(6, "verify F.torrent --data two");
        let faults = document["faults"].as_array().unwrap();
        let missing = faults.iter().filter(|fault| fault["fault"] == "missing").count();
        assert_eq!((missing, faults.len()), (2, 2), "{document}");
        let one = fetch(&sandbox, "one", "two", "");
        assert_eq!(one["bytes_received"], 0);
        assert_eq!(stands(&sandbox, "two"), expected, "{format}");
    }
}

#[test]
fn only_links_that_are_wanted_are_made() {
    let sandbox = framework("v1");
    fetch(&sandbox, "home", "out", "--select Versions/A/run.sh --select Headers");
    let names: Vec<_> = stands(&sandbox, "out").into_keys().collect();
    assert!(names.contains(&"F.framework/Headers".into()), "{names:?}");
    assert!(names.contains(&"F.framework/Versions/A/run.sh".into()), "{names:?}");
    assert!(!names.contains(&"F.framework/Versions/Current".into()), "{names:?}");
}

#[test]
fn a_seed_names_links_that_are_not_as_they_should_be_and_serves_the_rest() {
    let sandbox = framework("hybrid");
    let whole = stands(&sandbox, "home");
    fs::remove_file(sandbox.path("home/F.framework/through")).unwrap();
    fs::remove_file(sandbox.path("home/F.framework/Headers")).unwrap();
    symlink("Versions/A/Headers", sandbox.path("home/F.framework/Headers")).unwrap();
    let before = stands(&sandbox, "home");
    let document = sandbox.json(6, "verify F.torrent --data home");
    let fault = |path: &str| {
        let faults = document["faults"].as_array().unwrap();
        let fault = faults.iter().find(|fault| fault["path"] == format!("F.framework/{path}"));
        fault.map(|fault| fault["fault"].as_str().unwrap().to_owned())
    };
    assert_eq!(fault("through").as_deref(), Some("missing"));
    assert_eq!(fault("Headers").as_deref(), Some("no file"));
    fetch(&sandbox, "home", "out", "");
    assert_eq!(stands(&sandbox, "out"), whole);
    assert_eq!(stands(&sandbox, "home"), before, "nothing was written");
}

#[test]
fn what_stands_where_a_link_belongs_is_refused_unless_it_may_go() {
    let sandbox = framework("v1");
    let whole = stands(&sandbox, "home");
    sandbox.write("precious", "outside");
    // (what stands there, by a name of the torrent)
    type Way = fn(&Sandbox);
    let ways: [(&str, Way); 3] = [
        ("a link out", |sandbox| {
            symlink("../../precious", sandbox.path("out/F.framework/Fw")).unwrap();
        }),
        ("a file", |sandbox| _ = sandbox.write("out/F.framework/Fw", "mine")),
        ("a link on the way", |sandbox| {
            fs::create_dir_all(sandbox.path("elsewhere")).unwrap();
            symlink("../../../elsewhere", sandbox.path("out/F.framework/up")).unwrap();
        }),
    ];
    for (what, way) in ways {
        let _ = fs::remove_dir_all(sandbox.path("out"));
        fs::create_dir_all(sandbox.path("out/F.framework")).unwrap();
        way(&sandbox);
        let seed = Seed::start(&sandbox, &format!("seed F.torrent --data home {HERE}"));
        let get = format!("get F.torrent -o out --peer {} {HERE}", seed.address);
        sandbox.expect(4, &get);
        if what != "a link on the way" {
            sandbox.expect(0, &format!("{get} --force"));
            assert_eq!(stands(&sandbox, "out"), whole, "{what}");
        }
        assert_eq!(fs::read(sandbox.path("precious")).unwrap(), b"outside");
        assert!(stands(&sandbox, ".").keys().all(|name| !name.starts_with("elsewhere")));
    }
}

/// A torrent of version 1 as bytes: paths, lengths, attributes and links.
fn torrent(files: &[(&str, usize, &str, &[&str])], pieces: &[u8]) -> Vec<u8> {
    let text = |text: &str| format!("{}:{text}", text.len());
    let list = |names: &mut dyn Iterator<Item = &str>| {
        format!("l{}e", names.map(text).collect::<String>())
    };
    let entry = |(path, length, attr, link): &(&str, usize, &str, &[&str])| {
        let attr = if attr.is_empty() { String::new() } else { format!("4:attr{}", text(attr)) };
        let link = match link.is_empty() {
            true => String::new(),
            false => format!("12:symlink path{}", list(&mut link.iter().copied())),
        };
        format!("d{attr}6:lengthi{length}e4:path{}{link}e", list(&mut path.split('/')))
    };
    let files: String = files.iter().map(entry).collect();
    let head = format!("d4:infod5:filesl{files}e4:name1:t12:piece lengthi16384e6:pieces");
    let mut bytes = format!("{head}{}:", pieces.len()).into_bytes();
    bytes.extend_from_slice(pieces);
    bytes.extend_from_slice(b"ee");
    bytes
}

#[test]
fn links_out_of_the_torrent_are_refused_and_others_harm_nobody() {
    let sandbox = Sandbox::new();
    let leaving: [&[&str]; 4] = [&["..", "x"], &["/etc"], &["", "etc"], &["a", "..", "..", "x"]];
    for link in leaving {
        sandbox.write("t.torrent", torrent(&[("e", 0, "", &[]), ("l", 0, "l", link)], b""));
        for command in ["get t.torrent -o out", "seed t.torrent --data .", "show t.torrent"] {
            let words = if command.starts_with("show") { "" } else { HERE };
            let done = sandbox.expect(4, &format!("{command} {words}"));
            assert!(done.stderr.contains("link"), "{command}: {}", done.stderr);
        }
        assert!(!sandbox.path("out").exists());
    }
    // Files below a link have a folder; the link gets another name. To nothing, or in a circle:
    // empty.
    let files: [(&str, usize, &str, &[&str]); 5] = [
        // As libtorrent writes links.
        ("d", 0, "xl", &["e"]),
        ("d/x", 0, "", &[]),
        ("e", 0, "", &[]),
        ("round", 0, "l", &["round", "x"]),
        ("nothing", 0, "l", &["no", "such"]),
    ];
    sandbox.write("t.torrent", torrent(&files, b""));
    sandbox.expect(0, &format!("get t.torrent -o out {HERE}"));
    let found = stands(&sandbox, "out/t");
    let expected = [
        ("d.1", "e", "link"),
        ("d/x", "", "file"),
        ("e", "", "file"),
        ("nothing", "", "file"),
        ("round", "", "file"),
    ];
    let expected = expected.map(|(name, text, kind)| (name.into(), (text.into(), kind)));
    assert_eq!(found, BTreeMap::from(expected));
    sandbox.expect(0, "verify t.torrent --data out");
}

#[test]
fn two_torrents_with_one_link_are_one_only_if_it_leads_to_the_same() {
    let sandbox = Sandbox::new();
    let of = |link: &'static [&'static str], kind: &'static str, own: &'static str| {
        torrent(
            &[("a", 0, "", &[]), ("b", 0, "", &[]), ("l", 0, kind, link), (own, 0, "", &[])],
            b"",
        )
    };
    sandbox.write("a.torrent", of(&["a"], "l", "1"));
    sandbox.write("same.torrent", of(&["a"], "l", "2"));
    sandbox.write("b.torrent", of(&["b"], "l", "3"));
    sandbox.write("file.torrent", of(&[], "", "4"));
    sandbox.expect(0, &format!("get a.torrent same.torrent -o same {HERE}"));
    for (first, second, stands) in [
        ("a", "b", ("a", "link")),
        ("b", "a", ("b", "link")),
        ("a", "file", ("a", "link")),
        ("file", "a", ("", "file")),
    ] {
        let out = format!("{first} {second}").replace(' ', "-");
        let done =
            sandbox.expect(4, &format!("get {first}.torrent {second}.torrent -o {out} {HERE}"));
        assert!(done.stderr.contains(&format!("{out}/t/l: ")), "{}", done.stderr);
        let found = stands_in(&sandbox, &out);
        assert_eq!(found, (stands.0.into(), stands.1), "{out}");
        // In a run of its own it is refused, too.
        sandbox.expect(4, &format!("get {second}.torrent -o {out} {HERE}"));
        assert_eq!(stands_in(&sandbox, &out), (stands.0.into(), stands.1), "{out}");
    }
}

/// What the link of a torrent is in a folder.
fn stands_in(sandbox: &Sandbox, out: &str) -> (Vec<u8>, &'static str) {
    stands(sandbox, &format!("{out}/t")).remove(&PathBuf::from("l")).unwrap()
}

#[test]
fn a_program_may_be_a_torrent_of_its_own() {
    for format in FORMATS {
        let sandbox = Sandbox::new();
        let path = sandbox.write("home/run", data(1, 40_000));
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        sandbox.expect(0, &format!("create home/run --format {format} -o F.torrent"));
        fetch(&sandbox, "home", "out", "");
        assert_eq!(stands(&sandbox, "out"), stands(&sandbox, "home"), "{format}");
        // Rights that somebody has taken away are his business.
        fs::set_permissions(sandbox.path("out/run"), Permissions::from_mode(0o644)).unwrap();
        sandbox.expect(0, "verify F.torrent --data out");
        fetch(&sandbox, "home", "out", "");
        let mode = fs::metadata(sandbox.path("out/run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0);
    }
}
