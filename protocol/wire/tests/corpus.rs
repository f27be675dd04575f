//! Every file of the committed corpora keeps the properties of the wire format.

fn replay(name: &str, check: fn(&[u8]), at_least: usize) {
    let folder = format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"));
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is committed") {
        let path = entry.expect("a readable folder").path();
        check(&std::fs::read(&path).expect("a readable file"));
        files += 1;
    }
    assert!(files >= at_least, "{folder} has only {files} files");
}

#[test]
fn corpus_of_wire() {
    replay("fuzz/corpus/wire", dunlin_wire::fuzzing::wire, 30);
}

#[test]
fn corpus_of_extended() {
    replay("fuzz/corpus/extended", dunlin_wire::fuzzing::extended, 15);
}
