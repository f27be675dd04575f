//! Every file of the committed corpora keeps the properties of registrations and of the swarm tables.

fn replay(folder: &str, check: fn(&[u8])) {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("an entry of the corpus").path();
        let data = std::fs::read(&path).expect("a file of the corpus");
        // The name of the one that fails is in the message of the panic.
        let failed = std::panic::catch_unwind(|| check(&data)).is_err();
        assert!(!failed, "{}", path.display());
        files += 1;
    }
    assert!(files >= 20, "{files} files in {folder}");
}

#[test]
fn registrations() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/control");
    replay(folder, dunlin_engine::cluster::fuzzing::control);
}

#[test]
fn swarms() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/swarms");
    replay(folder, dunlin_engine::tracker::fuzzing::swarms);
}

#[test]
fn lists_of_hashes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/announce");
    replay(folder, dunlin_engine::tracker::fuzzing::hash_list);
}
