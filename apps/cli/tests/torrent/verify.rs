//! `dunlin verify`: what is wrong is named, file by file and piece by piece.

use crate::common::{Sandbox, data};
use serde_json::{Value, json};

const FORMATS: [&str; 3] = ["v1", "v2", "hybrid"];

/// A folder `data/tree` and its torrent in pieces of 16 KiB.
fn tree(format: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data/tree/a.bin", data(1, 100_000));
    sandbox.write("data/tree/deep/b ü.bin", data(2, 70_000));
    sandbox.write("data/tree/empty", "");
    sandbox.write("data/tree/z", data(3, 50_000));
    sandbox
        .expect(0, &format!("create data/tree --piece-size 16KiB --format {format} -o t.torrent"));
    sandbox
}

fn flip(sandbox: &Sandbox, name: &str, at: usize) {
    let path = sandbox.path(name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

/// The faults of a document: path, what, pieces.
fn faults(document: &Value) -> Vec<(&str, &str, Vec<u64>)> {
    let fault = |fault: &'_ Value| {
        let pieces = fault["pieces_wrong"].as_array().unwrap();
        pieces.iter().map(|piece| piece.as_u64().unwrap()).collect::<Vec<_>>()
    };
    let faults = document["faults"].as_array().unwrap().iter();
    faults
        .map(|one| (one["path"].as_str().unwrap(), one["fault"].as_str().unwrap(), fault(one)))
        .collect()
}

#[test]
fn what_is_right_is_right() {
    for format in FORMATS {
        let sandbox = tree(format);
        let done = sandbox.expect(0, "verify t.torrent --data data");
        assert_eq!(done.stdout, "", "{format}");
        assert!(done.stderr.contains("pieces are right"), "{}", done.stderr);
        let document = sandbox.json(0, "verify t.torrent --data data");
        assert_eq!((&document["ok"], &document["schema"]), (&json!(true), &json!(1)));
        assert_eq!((&document["files"], &document["files_right"]), (&json!(4), &json!(4)));
        assert_eq!(document["pieces"], document["pieces_right"]);
        assert_eq!(faults(&document), []);
    }
}

#[test]
fn every_fault_is_named() {
    for format in FORMATS {
        let sandbox = tree(format);
        flip(&sandbox, "data/tree/a.bin", 40_000);
        let cut = sandbox.path("data/tree/z");
        std::fs::write(&cut, &std::fs::read(&cut).unwrap()[..49_000]).unwrap();
        std::fs::remove_file(sandbox.path("data/tree/empty")).unwrap();
        sandbox.write("data/tree/deep/more/new", "12345");
        sandbox.write("data/tree/deep/.x.dunlin-part", "ours");
        let document = sandbox.json(6, "verify t.torrent --data data");
        let expected = [
            ("tree/a.bin", "wrong", vec![2]),
            ("tree/empty", "missing", vec![]),
            ("tree/z", "short", vec![]),
            ("tree/deep/more/new", "extra", vec![]),
        ];
        assert_eq!(faults(&document), expected, "{format}");
        assert_eq!((&document["ok"], &document["files_right"]), (&json!(false), &json!(1)));
        assert_eq!(document["error"]["kind"], "mismatch");
        let done = sandbox.expect(6, "verify t.torrent --data data");
        let lines: Vec<_> = done.stdout.lines().collect();
        assert_eq!(
            lines,
            [
                "wrong       tree/a.bin  piece 2",
                "missing     tree/empty",
                "short       tree/z  49000 bytes, expected 50000",
                "extra       tree/deep/more/new  5 bytes",
            ]
        );
        assert!(done.stderr.contains("error: tree: "), "{}", done.stderr);
    }
}

#[test]
fn a_piece_that_files_share_is_wrong_in_all_of_them() {
    let sandbox = tree("v1");
    // Piece 6 holds the end of the first file and the beginning of the second.
    flip(&sandbox, "data/tree/deep/b ü.bin", 10);
    let document = sandbox.json(6, "verify t.torrent --data data");
    let expected = [("tree/a.bin", "wrong", vec![6]), ("tree/deep/b ü.bin", "wrong", vec![6])];
    assert_eq!(faults(&document), expected);
    // Without the one nobody can say of the other.
    std::fs::remove_file(sandbox.path("data/tree/deep/b ü.bin")).unwrap();
    let document = sandbox.json(6, "verify t.torrent --data data");
    assert_eq!(faults(&document), [("tree/deep/b ü.bin", "missing", vec![])]);
}

#[test]
fn a_single_file_may_stand_among_others() {
    let sandbox = Sandbox::new();
    sandbox.write("data/one.bin", data(1, 40_000));
    sandbox.write("data/other", "not of the torrent");
    sandbox.expect(0, "create data/one.bin -o t.torrent");
    sandbox.expect(0, "verify t.torrent --data data");
    sandbox.write("data/one.bin", data(1, 40_001));
    let document = sandbox.json(6, "verify t.torrent --data data");
    assert_eq!(faults(&document), [("one.bin", "long", vec![])]);
    std::fs::remove_file(sandbox.path("data/one.bin")).unwrap();
    let document = sandbox.json(6, "verify t.torrent --data data");
    assert_eq!(faults(&document), [("one.bin", "missing", vec![])]);
}

#[test]
fn links_are_not_followed() {
    let sandbox = tree("v1");
    std::fs::rename(sandbox.path("data/tree/deep"), sandbox.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(sandbox.path("elsewhere"), sandbox.path("data/tree/deep")).unwrap();
    std::fs::rename(sandbox.path("data/tree/z"), sandbox.path("z")).unwrap();
    std::os::unix::fs::symlink(sandbox.path("z"), sandbox.path("data/tree/z")).unwrap();
    let document = sandbox.json(6, "verify t.torrent --data data");
    let found: Vec<_> = faults(&document).into_iter().map(|(path, what, _)| (path, what)).collect();
    assert!(found.contains(&("tree/deep/b ü.bin", "no file")), "{found:?}");
    assert!(found.contains(&("tree/z", "no file")), "{found:?}");
    // A link is not replaced by force.
    let done = sandbox.expect(6, "verify t.torrent --data data");
    assert!(done.stderr.contains("move away what is no file, then"), "{}", done.stderr);
}

#[test]
fn what_is_only_extra_asks_for_no_fetching() {
    let sandbox = tree("v1");
    sandbox.write("data/tree/new", "12345");
    let done = sandbox.expect(6, "verify t.torrent --data data");
    assert!(done.stderr.contains("1 extra; all that the torrent has is right"), "{}", done.stderr);
    assert!(!done.stderr.contains("--force"), "{}", done.stderr);
}

/// The whole path is longer than the system takes at once; `get` writes such files.
#[test]
fn a_path_may_be_as_long_as_for_get() {
    let sandbox = Sandbox::new();
    let folder = "f".repeat(255);
    let path = format!("{}{}", format!("{folder}/").repeat(14), "n".repeat(255));
    sandbox.write(&format!("data/t/{path}"), data(1, 50_000));
    let name = "t".repeat(255);
    sandbox.expect(0, &format!("create data/t -o t.torrent --name {name}"));
    std::fs::rename(sandbox.path("data/t"), sandbox.path("data").join(&name)).unwrap();
    sandbox.expect(0, "verify t.torrent --data data");
    std::fs::rename(sandbox.path("data").join(&name), sandbox.path("data/t")).unwrap();
    flip(&sandbox, &format!("data/t/{path}"), 100);
    std::fs::rename(sandbox.path("data/t"), sandbox.path("data").join(&name)).unwrap();
    let document = sandbox.json(6, "verify t.torrent --data data");
    assert_eq!(faults(&document), [(&*format!("{name}/{path}"), "wrong", vec![0])]);
}

#[test]
fn bad_input_is_said() {
    let sandbox = tree("v1");
    for (line, says) in [
        ("verify none.torrent", "none.torrent"),
        ("verify data/tree/a.bin", "a.bin"),
        ("verify t.torrent --data nowhere", "nowhere"),
    ] {
        let document = sandbox.json(4, line);
        assert!(document["error"]["message"].as_str().unwrap().contains(says), "{document}");
    }
}
