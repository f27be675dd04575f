//! Replays a committed corpus: what was found once stays found. The tests of each crate that is
//! fuzzed include this file by its path, since nothing below the services may depend on a crate
//! that reads folders.

/// Calls `check` with every file of a corpus, a path from the root of the repository.
///
/// # Panics
/// If `check` panics; the message names the file. Also if there are fewer than `at_least` files.
pub(crate) fn replay(corpus: &str, at_least: usize, check: fn(&[u8])) {
    let above = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = above.map(|up| up.join(corpus));
    let folder = folders.find(|path| path.is_dir()).expect("the corpus is committed");
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus can be read") {
        let path = entry.expect("an entry of the corpus").path();
        let data = std::fs::read(&path).expect("a file of the corpus");
        let failed = std::panic::catch_unwind(|| check(&data)).is_err();
        assert!(!failed, "{}", path.display());
        files += 1;
    }
    assert!(files >= at_least, "{files} files in {}", folder.display());
}
