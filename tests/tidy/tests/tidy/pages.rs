//! Pages that speak of the source: what they name is there, and what is there they name.

use crate::house::House;
use crate::scan::Source;
use std::collections::BTreeMap;

/// The inventory of unsafe code.
const UNSAFE: &str = "docs/unsafe.md";
/// Who can do what, and where that is held.
const THREATS: &str = "docs/threat-model.md";

/// Every file with the word `unsafe` has a row with the number of its uses, what for, and why it holds.
pub(crate) fn check_unsafe(house: &House) -> Vec<String> {
    check_unsafe_page(&house.text(UNSAFE), &house.sources)
}

/// Compares an inventory with sources.
pub(crate) fn check_unsafe_page(page: &str, sources: &[Source]) -> Vec<String> {
    let uses = |source: &Source| source.words.iter().filter(|word| word.text == "unsafe").count();
    let mut left: BTreeMap<&str, usize> =
        sources.iter().map(|source| (source.path.as_str(), uses(source))).collect();
    left.retain(|_, uses| *uses > 0);
    let mut found = Vec::new();
    for (index, line) in page.lines().enumerate().filter(|(_, line)| line.starts_with("| `")) {
        let place = format!("{UNSAFE}:{}", index + 1);
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let &[file, number, what, why] = cells.as_slice() else {
            found.push(format!("{place}: expected 4 cells"));
            continue;
        };
        let file = file.trim_matches('`');
        match left.remove(file) {
            None => found.push(format!("{place}: {file} has no unsafe code, or two rows")),
            Some(uses) if number != uses.to_string() => {
                found.push(format!("{place}: {file} has {uses} uses, not {number}"));
            }
            Some(_) if what.is_empty() || why.is_empty() => {
                found.push(format!("{place}: expected what for, and why it holds"));
            }
            Some(_) => {}
        }
    }
    let missing = left
        .iter()
        .map(|(file, uses)| format!("{file}:1: {uses} uses of unsafe without a row in {UNSAFE}"));
    found.extend(missing);
    found
}

/// How the first line of its tables begins.
const HEAD: &str = "| cannot |";

/// Every row of the threat model names where it is held, and what it names is there.
pub(crate) fn check_threats(house: &House) -> Vec<String> {
    check_threats_page(&house.text(THREATS), &house.sources)
}

/// Compares a threat model with sources. `file.rs: name, name` in backticks is a place.
pub(crate) fn check_threats_page(page: &str, sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in page.lines().enumerate() {
        let place = format!("{THREATS}:{}", index + 1);
        let mut places = 0;
        for span in line.split('`').skip(1).step_by(2).filter(|span| span.contains(".rs")) {
            places += 1;
            let (path, names) = span.split_once(": ").unwrap_or((span, ""));
            let Some(source) = sources.iter().find(|source| source.path == path) else {
                found.push(format!("{place}: `{path}` is not there"));
                continue;
            };
            let has = |name: &&str| source.words.iter().any(|word| word.text == **name);
            let names = names.split(", ").filter(|name| !name.is_empty());
            for name in names.filter(|name| !has(name)) {
                found.push(format!("{place}: {path} has no `{name}`"));
            }
        }
        let row = line.starts_with("| ") && !line.starts_with(HEAD);
        if row && places == 0 {
            found.push(format!("{place}: expected where it is held, as `file.rs: name`"));
        }
    }
    found
}
