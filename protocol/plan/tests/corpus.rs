//! Replays the corpus of the fuzz target `plan`: whatever it once found stays found.

use std::path::Path;

#[test]
fn the_corpus_holds_the_promises() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/plan");
    let entries = std::fs::read_dir(&folder).expect("fuzz/corpus/plan is committed");
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let data = std::fs::read(&path).expect("a readable file");
        dunlin_plan::fuzzing::plan(&data);
        count += 1;
    }
    assert!(count >= 20, "expected 20 files or more in {}, found {count}", folder.display());
}
