//! Every file of the committed corpus keeps the properties of bencoding.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn every_file_of_the_corpus_keeps_the_promises() {
    replay("fuzz/corpus/bencode", 20, dunlin_bencode::fuzzing::bencode);
}
