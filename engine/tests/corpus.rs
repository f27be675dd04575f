//! Every file of the committed corpora keeps the properties of registrations and of the swarm
//! tables.

#[path = "../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn registrations() {
    replay("fuzz/corpus/control", 20, dunlin_engine::cluster::fuzzing::control);
}

#[test]
fn swarms() {
    replay("fuzz/corpus/swarms", 20, dunlin_engine::tracker::fuzzing::swarms);
}

#[test]
fn lists_of_hashes() {
    replay("fuzz/corpus/announce", 20, dunlin_engine::tracker::fuzzing::hash_list);
}
