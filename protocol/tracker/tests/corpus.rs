//! Every file of the committed corpus keeps the properties of the control messages.

#[test]
fn corpus_of_control() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/control");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("a readable folder").path();
        dunlin_tracker::fuzzing::control(&std::fs::read(&path).expect("a readable file"));
        files += 1;
    }
    assert!(files >= 20, "{folder} has only {files} files");
}
