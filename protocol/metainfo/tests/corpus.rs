//! Replays every file of the committed fuzz corpora.
#![allow(clippy::print_stdout, reason = "the last file that is named is the one that failed")]

/// Calls `check` with every file of a folder, of which there are at least so many.
fn replay(folder: &str, least: usize, check: fn(&[u8])) {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("an entry of the corpus").path();
        let data = std::fs::read(&path).expect("a file of the corpus");
        println!("{}: {} bytes", path.display(), data.len());
        check(&data);
        files += 1;
    }
    assert!(files >= least, "{files} files in {folder}");
}

#[test]
fn every_file_of_the_corpus_keeps_the_promises() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/metainfo");
    replay(folder, 20, dunlin_metainfo::fuzzing::metainfo);
}

#[test]
fn every_magnet_link_of_the_corpus_keeps_the_promises() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/magnet");
    replay(folder, 12, dunlin_metainfo::fuzzing::magnet);
}
