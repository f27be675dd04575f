//! Replays every file of the committed fuzz corpus.
#![allow(clippy::print_stdout, reason = "the last file that is named is the one that failed")]

fn replay(folder: &str, check: fn(&[u8])) {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("an entry of the corpus").path();
        let data = std::fs::read(&path).expect("a file of the corpus");
        println!("{}: {} bytes", path.display(), data.len());
        check(&data);
        files += 1;
    }
    assert!(files >= 20, "{files} files in {folder}");
}

#[test]
fn every_resume_file_of_the_corpus_keeps_the_promises() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/resume");
    replay(folder, dunlin_disk::fuzzing::resume);
}

#[test]
fn every_list_of_hashes_of_the_corpus_keeps_the_promises() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/hashes");
    replay(folder, dunlin_disk::fuzzing::hashes);
}

#[test]
fn every_state_of_the_corpus_keeps_the_promises() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/state");
    replay(folder, dunlin_disk::fuzzing::state);
}

#[test]
fn every_file_of_claims_of_the_corpus_keeps_the_promises() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/claims");
    replay(folder, dunlin_disk::fuzzing::claims);
}
