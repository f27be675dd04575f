//! Replays every file of the committed fuzz corpora: whatever was found once stays found.
#![allow(clippy::print_stdout, reason = "the last file that is named is the one that failed")]

/// Calls `check` with every file of a folder.
fn replay(folder: &str, check: impl Fn(&[u8])) {
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
fn corpus_of_mpi() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/mpi");
    replay(folder, dunlin_cluster::fuzzing::mpi_stream);
}

#[test]
fn corpus_of_joining() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/joining");
    replay(folder, dunlin_cluster::fuzzing::joining);
}

#[test]
fn corpus_of_trace() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/trace");
    replay(folder, dunlin_cluster::fuzzing::trace);
}

#[test]
fn corpus_of_fault() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/fault");
    replay(folder, |data| {
        if let Ok(text) = std::str::from_utf8(data) {
            dunlin_cluster::fuzzing::fault(text);
        }
    });
}
