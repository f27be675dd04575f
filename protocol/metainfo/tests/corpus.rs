//! Every file of the committed corpora keeps the properties of torrent files and magnet links.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn every_file_of_the_corpus_keeps_the_promises() {
    replay("fuzz/corpus/metainfo", 20, dunlin_metainfo::fuzzing::metainfo);
}

#[test]
fn every_magnet_link_of_the_corpus_keeps_the_promises() {
    replay("fuzz/corpus/magnet", 12, dunlin_metainfo::fuzzing::magnet);
}
