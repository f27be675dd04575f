//! Replays every file of the committed fuzz corpora: whatever was found once stays found.

#[test]
fn corpus_of_sealed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/sealed");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("an entry of the corpus").path();
        dunlin_links::fuzzing::sealed(&std::fs::read(&path).expect("a file of the corpus"));
        files += 1;
    }
    assert!(files >= 20, "{files} files in {folder}");
}
