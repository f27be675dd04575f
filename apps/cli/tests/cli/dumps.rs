//! `--dump-tracker` and `--dump-peers`.

use crate::common::{Course, Sandbox};
use serde_json::Value;

fn plan(sandbox: &Sandbox) {
    Course::new(&[("a", 12), ("b", 3)])
        .peer("a b", "")
        .peer("", "a")
        .peer("", "a b")
        .write(sandbox, "plan");
}

fn read(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(sandbox.path(name)).unwrap()).unwrap()
}

fn ranks(row: &Value) -> Vec<u64> {
    let mut ranks: Vec<u64> =
        row[1].as_array().unwrap().iter().map(|rank| rank.as_u64().unwrap()).collect();
    ranks.sort_unstable();
    ranks
}

#[test]
fn the_trackers_table_shows_every_holder_of_every_piece() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    for (map, profile) in [
        ("pieces", "course"),
        ("pieces", "bittorrent"),
        ("swarm", "course"),
        ("swarm", "bittorrent"),
    ] {
        sandbox.expect(
            0,
            &format!(
                "swarm plan --tracker-map {map} --profile {profile} --out out --dump-tracker t.json"
            ),
        );
        let dump = read(&sandbox, "t.json");
        assert_eq!(dump["a"].as_array().unwrap().len(), 12);
        assert!(dump["a"].as_array().unwrap().iter().all(|row| ranks(row) == [1, 2, 3]), "{dump}");
        assert!(dump["b"].as_array().unwrap().iter().all(|row| ranks(row) == [1, 3]), "{dump}");
    }
}

#[test]
fn each_peer_tells_what_it_has() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    sandbox.expect(0, "swarm plan --out out --dump-peers peers/here --dump-tracker t.json");
    let tracker = read(&sandbox, "t.json");
    let hashes: Vec<&Value> = tracker["a"].as_array().unwrap().iter().map(|row| &row[0]).collect();
    for rank in 1..=3 {
        let dump = read(&sandbox, &format!("peers/here/peer{rank}.json"));
        let own: Vec<&Value> = dump["a"].as_array().unwrap().iter().collect();
        assert_eq!(own, hashes, "rank {rank}");
        assert_eq!(dump.get("b").is_some(), rank != 2, "rank {rank}: {dump}");
    }
}
