//! One name, one type: no type name stands twice in a crate.

use crate::modules::Modules;
use std::collections::{BTreeMap, BTreeSet};

/// Words that begin a type.
const TYPES: &[&str] = &["struct", "enum", "trait", "type", "union"];
/// Names that many modules have, each for itself.
const SHARED: &[&str] = &["Error", "State", "Args"];
/// Crate and name of types that share a name for a reason. At most ten.
const TWICE: &[(&str, &str)] = &[];

/// Every type whose name an earlier file of the crate has, too.
pub(crate) fn check(folder: &str, trees: &[Modules]) -> Vec<String> {
    assert!(TWICE.len() <= 10, "at most ten type names may stand twice");
    let sources: BTreeMap<_, _> = trees
        .iter()
        .flat_map(|tree| &tree.all)
        .map(|module| (module.source.path.as_str(), module.source))
        .collect();
    let mut first: BTreeMap<&str, String> = BTreeMap::new();
    let mut found = Vec::new();
    let mut twice = BTreeSet::new();
    for (path, source) in sources {
        let mut depth = 0_usize;
        for pair in source.words.windows(2) {
            match pair[0].text.as_str() {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                // Deeper are types of a trait, and types that one function has for itself.
                word if depth == 0 && TYPES.contains(&word) && pair[1].is_name() => {
                    let (name, place) = (pair[1].text.as_str(), format!("{path}:{}", pair[1].line));
                    if SHARED.contains(&name) {
                    } else if let Some(other) = first.get(name) {
                        twice.insert(name);
                        if !TWICE.contains(&(folder, name)) {
                            let what = format!("`{name}` is also a type at {other}");
                            found.push(format!("{place}: {what}; one name, one type"));
                        }
                    } else {
                        first.insert(name, place);
                    }
                }
                _ => {}
            }
        }
    }
    let unused = TWICE.iter().filter(|(crate_, name)| *crate_ == folder && !twice.contains(name));
    found.extend(
        unused.map(|(_, name)| format!("{folder}: `{name}` stands once; take it off the list")),
    );
    found
}
