//! `dunlin cast` onto what is there already: only what differs moves, and nobody sees it half
//! changed.

use crate::common::{Sandbox, data, number, peer};
use crate::trees::{flip, make, same_tree};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

const LINE: &str = "cast src/model dst/{rank} --ranks 3 --from 0 --per-rank";

/// A tree on three ranks.
fn placed() -> Sandbox {
    let sandbox = Sandbox::new();
    make(&sandbox, "src/model");
    sandbox.expect(0, LINE);
    sandbox
}

fn check(sandbox: &Sandbox) {
    for rank in 0..3 {
        same_tree(&sandbox.path("src/model"), &sandbox.path(&format!("dst/{rank}/model")));
    }
}

fn named(report: &Value, list: &str) -> Vec<(u64, String)> {
    let all = report[list].as_array().unwrap_or_else(|| panic!("no {list}: {report}"));
    all.iter().map(|one| (number(&one["rank"]), one["name"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_flipped_byte_is_found_though_the_time_is_right() {
    let sandbox = placed();
    assert_eq!(sandbox.json(0, &format!("{LINE} --verify-only"))["differs"], Value::Array(vec![]));
    flip(&sandbox.path("dst/2/model/big.bin"), 1_000_000);
    let report = sandbox.json(6, &format!("{LINE} --verify-only"));
    assert_eq!(named(&report, "differs"), [(2, "model/big.bin".to_owned())]);
    assert_eq!((&report["verify"], &report["ok"]), (&true.into(), &false.into()));
    assert_eq!(report["error"]["kind"], "mismatch");
    let done = sandbox.expect(6, &format!("{LINE} --verify-only"));
    assert!(done.stdout.contains("rank 2: model/big.bin: "), "{}", done.stdout);
    fs::remove_file(sandbox.path("dst/1/model/sub/link")).unwrap();
    fs::remove_file(sandbox.path("dst/1/model/zero")).unwrap();
    let report = sandbox.json(6, &format!("{LINE} --verify-only"));
    let expected = [(1, "model/sub/link"), (1, "model/zero"), (2, "model/big.bin")];
    let mut found = named(&report, "differs");
    found.sort();
    assert_eq!(found, expected.map(|(rank, name)| (rank, name.to_owned())));
    sandbox.expect(0, LINE);
    check(&sandbox);
}

#[test]
fn only_what_differs_moves() {
    let sandbox = placed();
    let bytes = fs::metadata(sandbox.path("src/model/big.bin")).unwrap().len();
    flip(&sandbox.path("dst/1/model/big.bin"), 77);
    flip(&sandbox.path("dst/1/model/big.bin"), 1_500_000);
    let checked = sandbox.json(0, &format!("{LINE} --check"));
    let planned: u64 =
        checked["plan"].as_array().unwrap().iter().map(|one| number(&one["bytes"])).sum();
    let report = sandbox.json(0, LINE);
    let moved = number(&report["bytes_moved"]);
    assert!(moved > 0 && moved * 50 < bytes, "{moved} of {bytes}");
    assert!(moved.abs_diff(planned) * 100 <= moved, "{planned} was foretold, {moved} moved");
    assert_eq!(number(&peer(&report, 2)["bytes_moved"]), 0);
    check(&sandbox);
}

#[test]
fn a_check_foretells_what_moves() {
    let sandbox = Sandbox::new();
    let bytes = make(&sandbox, "src/model");
    let checked = sandbox.json(0, &format!("{LINE} --check"));
    assert!(!sandbox.path("dst").exists(), "nothing is made");
    assert_eq!((&checked["check"], &checked["ok"]), (&true.into(), &true.into()));
    let planned: Vec<u64> =
        checked["plan"].as_array().unwrap().iter().map(|one| number(&one["bytes"])).collect();
    assert_eq!(planned.iter().sum::<u64>(), 2 * bytes);
    let report = sandbox.json(0, LINE);
    assert_eq!(number(&report["bytes_moved"]), 2 * bytes);
    let done = sandbox.expect(0, &format!("{LINE} --check"));
    assert!(done.stdout.contains("would move 0 B in all; nothing was moved"), "{}", done.stdout);
}

#[test]
fn a_reader_of_the_old_file_sees_the_old_bytes() {
    for (option, in_place) in [("", false), ("--in-place", true)] {
        let sandbox = placed();
        // A file of one name: one of several is repaired beside it, whatever was said.
        let path = sandbox.path("dst/1/model/sub/deep/b");
        flip(&path, 5);
        let old = fs::read(&path).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let mut reader = File::open(&path).unwrap();
        sandbox.expect(0, &format!("{LINE} {option}"));
        let mut seen = Vec::new();
        reader.read_to_end(&mut seen).unwrap();
        assert_eq!(seen == old, !in_place, "the old file is the old one");
        assert_eq!(fs::metadata(&path).unwrap().ino() == inode, in_place);
        check(&sandbox);
    }
}

#[test]
fn extra_files_stay_unless_they_are_to_go() {
    let sandbox = placed();
    sandbox.write("dst/1/model/extra/e", data(9, 1000));
    sandbox.write("dst/1/other", "mine");
    sandbox.expect(0, LINE);
    assert!(sandbox.path("dst/1/model/extra/e").exists());
    assert!(!sandbox.path("dst/2/model/extra").exists(), "what only stands there is not spread");
    sandbox.expect(0, &format!("{LINE} --delete"));
    check(&sandbox);
    assert!(sandbox.path("dst/1/other").exists(), "it was not asked for");
}

#[test]
fn nothing_is_deleted_if_anything_failed() {
    let sandbox = placed();
    sandbox.write("dst/1/model/extra", "e");
    sandbox.expect(1, "cast src/model gone dst/{rank} --ranks 3 --from 0 --per-rank --delete");
    assert!(sandbox.path("dst/1/model/extra").exists());
}

#[test]
fn a_source_may_stand_where_it_lands() {
    let sandbox = Sandbox::new();
    make(&sandbox, "0/model");
    let line = "cast {rank}/model {rank} --ranks 3 --per-rank";
    let report = sandbox.json(0, line);
    assert_eq!(number(&peer(&report, 0)["bytes_moved"]), 0);
    for rank in 1..3 {
        same_tree(&sandbox.path("0/model"), &sandbox.path(&format!("{rank}/model")));
    }
    sandbox.expect(0, &format!("{line} --verify-only"));
    // An older copy of another rank is no source if that is said, and is repaired.
    flip(&sandbox.path("2/model/big.bin"), 99);
    sandbox.expect(1, line);
    sandbox.expect(0, &format!("{line} --from 0"));
    same_tree(&sandbox.path("0/model"), &sandbox.path("2/model"));
}
