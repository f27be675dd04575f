//! `dunlin edit`: other trackers, the same torrent.

use crate::common::Sandbox;
use crate::pipe;
use serde_json::{Value, json};
use std::fs;

const HASH: &str = "7b5e918f364908afab937ecdd84059dfb61102b7";

fn torrent(sandbox: &Sandbox) {
    sandbox.write("hello.txt", "hello world\n");
    let options = "--tracker http://a.example/ --web-seed http://w.example/ --comment old";
    sandbox.expect(0, &format!("create hello.txt -o t.torrent {options}"));
}

fn shown(sandbox: &Sandbox, name: &str) -> Value {
    sandbox.json(0, &format!("show {name}"))["torrent"].clone()
}

#[test]
fn trackers_web_seeds_and_comment_change_and_the_hash_stays() {
    let sandbox = Sandbox::new();
    torrent(&sandbox);
    let cases = [
        (
            "--tracker udp://b.example:1,udp://c.example:2",
            "trackers",
            json!([["udp://b.example:1", "udp://c.example:2"]]),
        ),
        (
            "--add-tracker udp://b.example:1 --add-tracker http://a.example/",
            "trackers",
            json!([["http://a.example/"], ["udp://b.example:1"]]),
        ),
        ("--remove-trackers", "trackers", json!([])),
        (
            "--remove-trackers --add-tracker udp://b.example:1",
            "trackers",
            json!([["udp://b.example:1"]]),
        ),
        ("--web-seed https://x.example/", "web_seeds", json!(["https://x.example/"])),
        ("--remove-web-seeds", "web_seeds", json!([])),
        ("--comment new", "comment", json!("new")),
        ("--remove-comment", "comment", json!(null)),
        ("--remove-origin", "created_by", json!(null)),
        ("--public", "private", json!(false)),
    ];
    let before = shown(&sandbox, "t.torrent");
    for (options, key, expected) in cases {
        let done = sandbox.expect(0, &format!("edit t.torrent -o new.torrent --force {options}"));
        assert_eq!(done.stdout.trim(), format!("the info-hash stays {HASH}"), "{options}");
        let after = shown(&sandbox, "new.torrent");
        assert_eq!(after[key], expected, "{options}");
        assert_eq!(after["info_hash"], HASH);
        for other in ["trackers", "web_seeds", "comment", "name", "files"] {
            assert!(other == key || after[other] == before[other], "{options}: {other}");
        }
    }
}

#[test]
fn another_torrent_only_if_that_is_said() {
    let sandbox = Sandbox::new();
    torrent(&sandbox);
    for (options, key, expected) in [
        ("--private", "private", json!(true)),
        ("--source here", "source", json!("here")),
        ("--name other.txt", "name", json!("other.txt")),
    ] {
        let done = sandbox.expect(2, &format!("edit t.torrent -o n.torrent {options}"));
        assert!(done.stderr.contains("--new-hash"), "{options}: {}", done.stderr);
        assert!(!sandbox.path("n.torrent").exists());
        let line = format!("edit t.torrent -o n.torrent --force --new-hash {options}");
        let done = sandbox.expect(0, &line);
        assert!(done.stdout.starts_with("the info-hash is now "), "{}", done.stdout);
        let after = shown(&sandbox, "n.torrent");
        assert_eq!(after[key], expected, "{options}");
        assert_ne!(after["info_hash"], HASH);
        fs::remove_file(sandbox.path("n.torrent")).unwrap();
    }
}

#[test]
fn streams_and_refusals() {
    let sandbox = Sandbox::new();
    torrent(&sandbox);
    let bytes = fs::read(sandbox.path("t.torrent")).unwrap();
    let (same, done) = pipe(&sandbox, 0, "edit - -o -", &bytes);
    assert!(same == bytes, "nothing was to be changed");
    assert!(done.stderr.contains("the info-hash stays"));
    let done = sandbox.expect(4, "edit t.torrent -o t.torrent --comment x");
    assert!(done.stderr.contains("t.torrent is there already"), "{done:?}");
    sandbox.expect(0, "edit t.torrent -o t.torrent --comment x --force");
    assert_eq!(shown(&sandbox, "t.torrent")["comment"], "x");
    for (code, line) in [
        (4, "edit nowhere.torrent -o x"),
        (2, "edit t.torrent"),
        (2, "edit t.torrent -o x --tracker y"),
        (2, "edit t.torrent -o x --private --public"),
        (2, "edit t.torrent -o x --comment a --remove-comment"),
        (4, "edit hello.txt -o x"),
    ] {
        sandbox.expect(code, line);
    }
    assert!(!sandbox.path("x").exists());
}
