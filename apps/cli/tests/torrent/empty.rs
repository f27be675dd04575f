//! Files without a piece: empty ones, at the beginning, at the end and alone; wanted, not wanted,
//! gone.

use crate::common::{Sandbox, data};
use crate::transfer::{HERE, Seed};
use std::fs;

const FORMATS: [&str; 3] = ["v1", "v2", "hybrid"];
const NAMES: [&str; 4] = ["0 first", "bytes", "deep/none", "z last"];

/// A folder `home/t` with empty files before and behind the only one with bytes, and its torrent.
fn sandbox(format: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    for name in NAMES {
        let length = if name == "bytes" { 50_000 } else { 0 };
        sandbox.write(&format!("home/t/{name}"), data(1, length));
    }
    let options = format!("--piece-size 16KiB --format {format} -o t.torrent --quiet");
    sandbox.expect(0, &format!("create home/t {options}"));
    sandbox
}

fn names(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    let all = sandbox.files(folder).into_keys();
    all.filter(|name| !name.starts_with(".dunlin")).collect()
}

#[test]
fn wanted_ones_are_made_and_others_are_not() {
    // (what is selected, and what stands there then)
    let cases: [(&str, &[&str]); 6] = [
        ("", &NAMES),
        ("--select bytes", &["bytes"]),
        ("--select z*", &["z last"]),
        ("--select 0*", &["0 first"]),
        ("--select deep/*", &["deep/none"]),
        ("--select 0* --select bytes --select z*", &["0 first", "bytes", "z last"]),
    ];
    for format in FORMATS {
        let sandbox = sandbox(format);
        let seed = Seed::start(&sandbox, &format!("seed t.torrent --data home {HERE}"));
        for (at, (select, expected)) in cases.iter().enumerate() {
            let get = format!("get t.torrent -o {at} --peer {} {HERE} {select}", seed.address);
            // The second time everything is there.
            for _ in 0..2 {
                let report = sandbox.json(0, &get);
                assert_eq!(report["torrents"][0]["complete"], true);
                assert_eq!(names(&sandbox, &format!("{at}/t")), *expected, "{format} {select}");
            }
            assert!(
                sandbox
                    .files(&format!("{at}/t"))
                    .values()
                    .all(|bytes| { bytes.is_empty() || *bytes == data(1, 50_000) })
            );
        }
    }
}

#[test]
fn one_that_has_gone_is_made_again_by_get_and_named_by_seed_and_verify() {
    for (format, gone) in FORMATS.into_iter().zip(["0 first", "deep/none", "z last"]) {
        let sandbox = sandbox(format);
        fs::remove_file(sandbox.path(&format!("home/t/{gone}"))).unwrap();
        let document = sandbox.json(6, "verify t.torrent --data home");
        assert_eq!(document["faults"][0]["path"], format!("t/{gone}"));
        assert_eq!(document["faults"][0]["fault"], "missing");
        let seed = Seed::start(&sandbox, &format!("seed t.torrent --data home {HERE}"));
        let get = format!("get t.torrent -o out --peer {} {HERE} --quiet", seed.address);
        sandbox.expect(0, &get);
        assert_eq!(names(&sandbox, "out/t"), NAMES, "{format}");
        fs::remove_file(sandbox.path(&format!("out/t/{gone}"))).unwrap();
        sandbox.expect(0, &get);
        assert_eq!(names(&sandbox, "out/t"), NAMES, "{format}");
        assert!(!sandbox.path(&format!("home/t/{gone}")).exists(), "a seed writes nothing");
    }
}

#[test]
fn one_that_goes_while_it_is_seeded_is_missed_by_nobody() {
    for format in FORMATS {
        let sandbox = sandbox(format);
        let seed = Seed::start(&sandbox, &format!("seed t.torrent --data home {HERE}"));
        for name in ["0 first", "deep/none", "z last"] {
            fs::remove_file(sandbox.path(&format!("home/t/{name}"))).unwrap();
        }
        let get = format!("get t.torrent --peer {} {HERE} --quiet", seed.address);
        sandbox.expect(0, &format!("{get} -o one"));
        fs::remove_dir(sandbox.path("home/t/deep")).unwrap();
        sandbox.expect(0, &format!("{get} -o two"));
        for out in ["one/t", "two/t"] {
            assert_eq!(names(&sandbox, out), NAMES, "{format}");
        }
        assert_eq!(names(&sandbox, "home/t"), ["bytes"], "{format}");
    }
}

/// `d…e` of version 1, of version 2, of one file and of several.
const ALONE: [(&str, &[u8], &[&str]); 4] = [
    ("one", b"d4:infod6:lengthi0e4:name1:e12:piece lengthi16384e6:pieces0:ee", &["e"]),
    (
        "several",
        b"d4:infod5:filesld6:lengthi0e4:pathl1:aeed6:lengthi0e4:pathl1:d1:beee4:name1:t\
          12:piece lengthi16384e6:pieces0:ee",
        &["t/a", "t/d/b"],
    ),
    (
        "one of version 2",
        b"d4:infod9:file treed1:ed0:d6:lengthi0eeee12:meta versioni2e4:name1:e\
          12:piece lengthi16384ee12:piece layersdee",
        &["e"],
    ),
    (
        "several of version 2",
        b"d4:infod9:file treed1:ad0:d6:lengthi0eee1:dd1:bd0:d6:lengthi0eeeee12:meta versioni2e\
          4:name1:t12:piece lengthi16384ee12:piece layersdee",
        &["t/a", "t/d/b"],
    ),
];

#[test]
fn a_torrent_of_empty_files_alone_is_complete_at_once() {
    for (what, torrent, expected) in ALONE {
        let sandbox = Sandbox::new();
        sandbox.write("e.torrent", torrent);
        let report = sandbox.json(0, &format!("get e.torrent -o out {HERE}"));
        assert_eq!(report["torrents"][0]["complete"], true, "{what}");
        assert_eq!(names(&sandbox, "out"), expected, "{what}");
        sandbox.expect(0, "verify e.torrent --data out");
        sandbox.expect(0, &format!("seed e.torrent --data out --seed-ratio 0 {HERE}"));
        // Where one is away the other is right; where all are, nothing is.
        fs::remove_file(sandbox.path("out").join(expected[0])).unwrap();
        sandbox.expect(6, "verify e.torrent --data out");
        let code = if expected.len() > 1 { 0 } else { 6 };
        sandbox.expect(code, &format!("seed e.torrent --data out --seed-ratio 0 {HERE}"));
        sandbox.expect(0, &format!("get e.torrent -o out {HERE}"));
        assert_eq!(names(&sandbox, "out"), expected, "{what}");
    }
}
