//! Every file of the committed corpus keeps the properties of the control messages, and there is a
//! right sample of every message.

use dunlin_control::{Control, decode};
use std::collections::{BTreeMap, BTreeSet};

/// All messages by the names in traces.
const MESSAGES: [&str; 15] = [
    "alive",
    "all-complete",
    "checking",
    "departed",
    "file-complete",
    "go",
    "linkable",
    "load",
    "load-query",
    "lookup",
    "refresh",
    "refused",
    "register",
    "shutdown",
    "swarm",
];

fn corpus() -> BTreeMap<String, Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/control");
    let entries = std::fs::read_dir(folder).expect("the corpus is committed");
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("a readable folder").path();
        let bytes = std::fs::read(&path).expect("a readable file");
        (path.display().to_string(), bytes)
    };
    entries.map(file).collect()
}

#[test]
fn corpus_of_control() {
    let corpus = corpus();
    for bytes in corpus.values() {
        let _ = dunlin_control::fuzzing::control(bytes);
    }
    assert!(corpus.len() >= 20, "the corpus has only {} files", corpus.len());
}

#[test]
fn every_message_has_a_right_sample() {
    let right: Vec<Control> = corpus().values().filter_map(|bytes| decode(bytes).ok()).collect();
    let names: BTreeSet<&str> = right.iter().map(Control::name).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), MESSAGES, "after a change of the encoding?");
    let full = right.iter().any(|message| match message {
        Control::Register(register) => {
            !register.files.is_empty()
                && !register.entries.is_empty()
                && register.location.is_some()
                && register.stands.is_some()
        }
        _ => false,
    });
    assert!(full, "a registration with all its parts");
    let awaits = |message: &Control| match message {
        Control::Register(register) => register.awaits_answers,
        _ => false,
    };
    assert!(right.iter().any(awaits), "a registration of profile course");
    let linked = |message: &Control| match message {
        Control::Start(go) => go.torrents.iter().any(|assignment| assignment.link.is_some()),
        _ => false,
    };
    assert!(right.iter().any(linked), "a start with links");
}
