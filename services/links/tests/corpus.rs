//! Every file of the committed corpus keeps the properties of handshakes and sealed frames.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn corpus_of_sealed() {
    replay("fuzz/corpus/sealed", 20, dunlin_links::fuzzing::sealed);
}
