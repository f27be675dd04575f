//! `--json`: one document with schema 1, with at least these fields.

use crate::common::{Course, Sandbox, data, number, peer};
use serde_json::Value;

fn check(report: &Value, peers: usize) {
    assert_eq!(report["schema"], 1);
    assert_eq!(report["ok"], true);
    assert!(report["seconds"].is_number());
    assert!(report["bytes_wanted"].is_u64() && report["bytes_moved"].is_u64());
    assert!(report.get("error").is_none());
    let list = report["peers"].as_array().unwrap();
    assert_eq!(list.len(), peers);
    for (index, one) in list.iter().enumerate() {
        assert_eq!(number(&one["rank"]), index as u64 + 1);
        assert!(["seed", "leecher", "peer"].contains(&one["role"].as_str().unwrap()), "{one}");
        for field in [
            "pieces_served",
            "rejected",
            "bad_pieces",
            "refreshes",
            "refreshes_forced",
            "pieces_resumed",
        ] {
            assert!(one[field].is_u64(), "{field}: {one}");
        }
        for field in ["pieces_from", "bad_from"] {
            assert!(one[field].is_object(), "{field}: {one}");
        }
        assert!(one["banned"].is_array(), "{one}");
        for file in one["files"].as_array().unwrap() {
            assert!(file["name"].is_string(), "{file}");
            assert!(["complete", "failed"].contains(&file["state"].as_str().unwrap()), "{file}");
        }
    }
}

#[test]
fn a_course_plan() {
    let sandbox = Sandbox::new();
    Course::new(&[("f", 35)]).peer("f", "").peer("", "f").peer("", "f").write(&sandbox, "plan");
    let report = sandbox.json(0, "swarm plan");
    check(&report, 3);
    for rank in [2, 3] {
        let from = peer(&report, rank)["pieces_from"].as_object().unwrap();
        assert_eq!(from.values().map(number).sum::<u64>(), 35);
        assert!(!from.contains_key(&rank.to_string()), "nobody serves itself");
    }
    assert_eq!(peer(&report, 1)["role"], "seed");
}

#[test]
fn real_files() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", data(1, 100_000));
    sandbox.write("plan/peer2/wants", "a");
    let report = sandbox.json(0, "swarm plan --piece-size 16KiB");
    check(&report, 2);
    assert_eq!(number(&report["bytes_moved"]), 100_000);
    assert_eq!(number(&report["bytes_wanted"]), 100_000);
    assert_eq!(number(&peer(&report, 2)["pieces_from"]["1"]), 7);
    assert_eq!(number(&peer(&report, 1)["pieces_served"]), 7);
}
