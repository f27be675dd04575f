//! Every file of the committed corpora keeps the properties of what is kept between runs.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn every_resume_file_of_the_corpus_keeps_the_promises() {
    replay("fuzz/corpus/resume", 20, dunlin_disk::fuzzing::resume);
}

#[test]
fn every_list_of_hashes_of_the_corpus_keeps_the_promises() {
    replay("fuzz/corpus/hashes", 20, dunlin_disk::fuzzing::hashes);
}

#[test]
fn every_state_of_the_corpus_keeps_the_promises() {
    replay("fuzz/corpus/state", 20, dunlin_disk::fuzzing::state);
}

#[test]
fn every_file_of_claims_of_the_corpus_keeps_the_promises() {
    replay("fuzz/corpus/claims", 20, dunlin_disk::fuzzing::claims);
}
