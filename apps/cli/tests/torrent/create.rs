//! `dunlin create`: the same torrents as the specification and another program make of the same
//! files.

use crate::common::Sandbox;
use crate::{pattern, pipe};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

/// A tree with empty files, names beyond ASCII, a program, and folders beside files of like names.
fn tree(sandbox: &Sandbox) {
    let files = [
        ("a.bin", 100_000),
        ("empty", 0),
        ("sub/b.bin", 5000),
        ("sub/deep/x", 70_000),
        ("sub.txt", 10),
        ("Über/naïve ☃.txt", 33_000),
        ("sub/zero", 0),
        ("B upper", 16_384),
        ("a/inner", 20),
        ("z10", 1),
        ("z9", 1),
        (".hidden", 5),
        ("日本.bin", 3),
    ];
    for (name, length) in files {
        let path = sandbox.write(&format!("tree/{name}"), pattern(length));
        let mode = if name == "z9" { 0o755 } else { 0o644 };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

fn hashes(sandbox: &Sandbox, torrent: &str) -> (Option<String>, Option<String>) {
    let document = sandbox.json(0, &format!("show {torrent}"));
    let text = |key: &str| document["torrent"][key].as_str().map(str::to_owned);
    (text("info_hash"), text("info_hash_v2"))
}

#[test]
fn one_file_is_the_vector_of_the_specification() {
    let sandbox = Sandbox::new();
    sandbox.write("hello.txt", "hello world\n");
    let v1 = "7b5e918f364908afab937ecdd84059dfb61102b7";
    let v2 = "f5c45fbdc7ab75176d3e2a6e9b00c3c6d1902ec8bff632ecf3a45a5a8145f379";
    let hybrid = (
        "1201f46812e91f688421cd180814fbe5a366bf56",
        "09228e7815691a5825b1ef70178c6790bb59ed2f7550579567f36230c5e1e206",
    );
    let done = sandbox.expect(0, "create hello.txt");
    assert!(done.stdout.contains("hello.txt.torrent") && done.stdout.contains(v1), "{done:?}");
    assert_eq!(hashes(&sandbox, "hello.txt.torrent"), (Some(v1.to_owned()), None));
    sandbox.expect(0, "create hello.txt -o 2.torrent --format v2 -q");
    assert_eq!(hashes(&sandbox, "2.torrent"), (None, Some(v2.to_owned())));
    sandbox.expect(0, "create hello.txt -o 3.torrent --format hybrid");
    let (a, b) = hybrid;
    assert_eq!(hashes(&sandbox, "3.torrent"), (Some(a.to_owned()), Some(b.to_owned())));
    // Keys that change the hash, and keys that do not.
    let options = "--private --tracker http://tracker.example/announce";
    sandbox.expect(0, &format!("create hello.txt -o 4.torrent {options}"));
    let private = "a1b5bcc0d125f7b5a0eb29a8d900f6f08092a84c";
    assert_eq!(hashes(&sandbox, "4.torrent").0.as_deref(), Some(private));
    sandbox.expect(0, "create hello.txt -o 5.torrent --source X --comment c");
    let source = "eaccc0d0e2614a96ed6bd69a22194a8d79ba1176";
    assert_eq!(hashes(&sandbox, "5.torrent").0.as_deref(), Some(source));
}

/// What libtorrent 2.0.8 makes of this tree with pieces of 16 KiB: `tests/interop/create_hash.py`.
#[test]
fn a_tree_is_what_another_program_makes_of_it() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    let cases = [
        ("v2", None, Some("7be1a60cba736cf3bac66376100f82a34147c0b64cead2eabca08d79b2080e3e")),
        (
            "hybrid",
            Some("552ff8f2a90df19b688997e7e27225adda41e5f8"),
            Some("8e3bc1dd7519b709514453d0df340f0971002e1258ad1d9ce3b7b8d4210c67bf"),
        ),
        ("v1", Some("137fd4ade287208c22aa728672a8b3404843cb82"), None),
    ];
    for (format, v1, v2) in cases {
        let options = format!("--piece-size 16KiB --format {format} -o {format}.torrent");
        sandbox.expect(0, &format!("create tree {options}"));
        let expected = (v1.map(str::to_owned), v2.map(str::to_owned));
        assert_eq!(hashes(&sandbox, &format!("{format}.torrent")), expected, "{format}");
    }
}

#[test]
fn the_same_files_are_the_same_torrent_whoever_asks_and_wherever_they_lie() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    // Made in another order, a file system may list them otherwise.
    for (name, bytes) in sandbox.files("tree").into_iter().rev() {
        let mode = fs::metadata(sandbox.path(&format!("tree/{name}"))).unwrap().permissions();
        let path = sandbox.write(&format!("other/tree/{name}"), bytes);
        fs::set_permissions(path, mode).unwrap();
    }
    let make = |path: &str, more: &str| {
        pipe(&sandbox, 0, &format!("create {path} -o - --no-date -q {more}"), b"").0
    };
    let torrent = make("tree", "");
    for path in ["tree/", "./tree", "tree/sub/..", "other/tree"] {
        assert!(make(path, "") == torrent, "{path}");
    }
    assert!(make("other", "--name tree") != torrent);
    let one = |name: &str| make("tree/a.bin", &format!("--name {name}"));
    assert!(one("x") != one("y") && one("a.bin") == make("tree/a.bin", ""));
}

#[test]
fn trackers_stand_in_tiers() {
    let sandbox = Sandbox::new();
    sandbox.write("f", "x");
    let options = "--tracker http://a.example/,udp://b.example:80 -t https://c.example/announce \
                   --web-seed https://w.example/f --comment hello";
    sandbox.expect(0, &format!("create f {options}"));
    let document = sandbox.json(0, "show f.torrent");
    let torrent = &document["torrent"];
    let tiers = serde_json::json!([
        ["http://a.example/", "udp://b.example:80"],
        ["https://c.example/announce"]
    ]);
    assert_eq!(torrent["trackers"], tiers);
    assert_eq!(torrent["web_seeds"][0], "https://w.example/f");
    assert_eq!(torrent["comment"], "hello");
    assert!(torrent["creation_date"].as_i64().unwrap() > 1_700_000_000);
    assert!(torrent["created_by"].as_str().unwrap().starts_with("dunlin "));
}

#[test]
fn what_is_left_out_is_said() {
    let sandbox = Sandbox::new();
    for name in ["keep", "a.tmp", "d/b.tmp", "d/keep", "cache/x", ".y.dunlin-part", ".dunlin/z"] {
        sandbox.write(&format!("in/{name}"), name);
    }
    symlink("keep", sandbox.path("in/link")).unwrap();
    symlink("nowhere", sandbox.path("in/broken")).unwrap();
    symlink("..", sandbox.path("in/d/up")).unwrap();
    symlink(".", sandbox.path("in/self")).unwrap();
    symlink("../../keep", sandbox.path("in/d/outside")).unwrap();
    sandbox.write("keep", "outside");
    symlink("a.tmp", sandbox.path("in/to excluded")).unwrap();
    symlink("/etc/hostname", sandbox.path("in/out")).unwrap();
    let paths = |torrent: &str| -> Vec<String> {
        let document = sandbox.json(0, &format!("show {torrent}"));
        let files = document["torrent"]["files"].as_array().unwrap();
        files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
    };
    let done = sandbox.expect(0, "create in -o 1.torrent --exclude **/*.tmp --exclude cache");
    assert_eq!(paths("1.torrent"), ["d/keep", "keep", "link"]);
    for name in ["broken", "d/up", "to excluded", "out", ".y.dunlin-part", ".dunlin"] {
        assert!(done.stderr.contains(&format!("`{name}` is left out")), "{name}: {}", done.stderr);
    }
    let up = "it is a link to a folder that it is in";
    let out = "it is a link that leads out of the folder; --follow-links takes it";
    for (name, why) in [("d/up", up), ("self", up), ("d/outside", out)] {
        let line = format!("`{name}` is left out: {why}");
        assert!(done.stderr.lines().any(|said| said.ends_with(&line)), "{name}: {}", done.stderr);
    }
    let broken = done.stderr.lines().find(|line| line.contains("`broken`")).unwrap();
    assert!(!broken.contains("--follow-links"), "{broken}");
    let line = "create in -o 2.torrent --exclude **/*.tmp --exclude cache --exclude out --exclude d/outside";
    sandbox.expect(0, &format!("{line} --follow-links"));
    assert_eq!(paths("2.torrent"), ["d/keep", "keep", "link", "to excluded"]);
    // The torrent itself is no part of it.
    sandbox.expect(0, "create in -o in/own.torrent");
    sandbox.expect(0, "create in -o in/own.torrent --force");
    assert!(!paths("in/own.torrent").iter().any(|path| path.contains("own")));
}

#[test]
fn the_output_is_not_replaced_unless_that_is_said() {
    let sandbox = Sandbox::new();
    sandbox.write("f", "x");
    sandbox.write("f.torrent", "precious");
    let done = sandbox.expect(4, "create f");
    assert!(done.stderr.contains("f.torrent is there already"), "{done:?}");
    assert_eq!(fs::read(sandbox.path("f.torrent")).unwrap(), b"precious");
    sandbox.expect(0, "create f --force");
    sandbox.expect(0, "show f.torrent");
    fs::create_dir(sandbox.path("folder")).unwrap();
    let done = sandbox.expect(4, "create f -o folder --force");
    assert!(done.stderr.contains("folder is a folder"), "{done:?}");
    let done = sandbox.expect(5, "create f -o nowhere/f.torrent");
    assert!(done.stderr.contains("cannot write nowhere/f.torrent"), "{done:?}");
}

#[test]
fn stdout_takes_the_torrent_and_stderr_the_rest() {
    let sandbox = Sandbox::new();
    sandbox.write("hello.txt", "hello world\n");
    let (torrent, done) = pipe(&sandbox, 0, "create hello.txt -o - --no-date", b"");
    assert!(torrent.starts_with(b"d10:created by") && torrent.ends_with(b"ee"));
    assert!(done.stderr.contains("7b5e918f364908afab937ecdd84059dfb61102b7"), "{done:?}");
    assert_eq!(sandbox.tree("."), ["hello.txt"]);
    let (_, done) = pipe(&sandbox, 0, "show -", &torrent);
    assert!(done.stdout.contains("7b5e918f364908afab937ecdd84059dfb61102b7"));
    let document = sandbox.json(0, "create hello.txt -o x.torrent");
    assert_eq!(document["schema"], 1);
    assert_eq!(document["torrent"]["info_hash"], "7b5e918f364908afab937ecdd84059dfb61102b7");
}

#[test]
fn what_cannot_be_made_says_why() {
    let sandbox = Sandbox::new();
    sandbox.write("f", "x");
    sandbox.write("empty", "");
    fs::create_dir_all(sandbox.path("none/below")).unwrap();
    sandbox.write("big/f", pattern(100_000));
    let cases = [
        (4, "create nowhere", "cannot find nowhere"),
        (4, "create empty", "there are no bytes"),
        (4, "create none", "there are no bytes"),
        (4, "create big --exclude f", "there are no bytes"),
        (4, "create f --name a/b", "`a/b` is no path"),
        (2, "create f --piece-size 20KiB", "no piece size"),
        (2, "create f --piece-size 8KiB", "no piece size"),
        (2, "create f --format v3", "one of v1, v2, hybrid"),
        (2, "create f --format v2 --order listed", "--order listed is for --format v1"),
        (2, "create f --order size", "one of name, listed"),
        (2, "create f --tracker example.com", "no tracker"),
        (2, "create f --web-seed udp://x", "no web seed"),
        (2, "create f --exclude ../x", "../x"),
        (2, "create f -o - --json", "both want stdout"),
        (5, "create f -o x/y.torrent", "x is no folder; make it first"),
        (2, "create", "PATH"),
    ];
    for (code, line, expected) in cases {
        let done = sandbox.expect(code, line);
        assert!(done.stderr.contains(expected), "{line}: {}", done.stderr);
    }
    let failure = sandbox.json(4, "create nowhere");
    assert_eq!(failure["error"]["kind"], "input");
    assert!(!sandbox.path("f.torrent").exists());
}

#[test]
fn many_small_files_are_one_torrent() {
    let sandbox = Sandbox::new();
    for at in 0..3000 {
        sandbox.write(&format!("many/{:02}/{at:05}", at % 40), pattern(at % 700));
    }
    for format in ["v1", "v2", "hybrid"] {
        let line = format!("create many -o {format}.torrent --piece-size 16KiB --format {format}");
        sandbox.expect(0, &line);
        let document = sandbox.json(0, &format!("show {format}.torrent"));
        let files = document["torrent"]["files"].as_array().unwrap();
        assert_eq!(files.iter().filter(|file| file["padding"] == false).count(), 3000);
    }
}
