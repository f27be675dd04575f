//! Every file of the committed corpora keeps the properties of the wire format.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn corpus_of_wire() {
    replay("fuzz/corpus/wire", 30, dunlin_wire::fuzzing::wire);
}

#[test]
fn corpus_of_extended() {
    replay("fuzz/corpus/extended", 15, dunlin_wire::fuzzing::extended);
}
