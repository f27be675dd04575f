//! Every file of the committed corpora keeps the properties of announces.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn announces() {
    replay("fuzz/corpus/announce", 20, dunlin_tracker::fuzzing::announce);
}

#[test]
fn requests() {
    replay("fuzz/corpus/requests", 20, dunlin_tracker::fuzzing::requests);
}
