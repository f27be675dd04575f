//! Pages that speak of the source: what they name is there, and what is there they name.

use crate::house::House;
use crate::scan::Source;
use std::collections::BTreeMap;

/// The inventory of unsafe code.
const UNSAFE: &str = "docs/unsafe.md";
/// Who can do what, and where that is held.
const THREATS: &str = "docs/threat-model.md";

/// Every file with the word `unsafe` has a row with the number of its uses, what for, and why it
/// holds.
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

/// Where each word stands, and the head of the table that says so.
const VOCABULARY: &str = "docs/vocabulary.md";
const WORDS: &str = "| word | what to open |";

/// Where to begin, and the head of the table of decisions.
const ARCHITECTURE: &str = "ARCHITECTURE.md";
const DECISIONS: &str = "| decision | reason | where |";

/// Recipes for changes that come often.
const RECIPES: &str = "CONTRIBUTING.md";

/// Every row of the threat model names where it is held, and what it names is there.
pub(crate) fn check_threats(house: &House) -> Vec<String> {
    check_threats_page(&house.text(THREATS), &house.sources)
}

/// Compares a threat model with sources.
pub(crate) fn check_threats_page(page: &str, sources: &[Source]) -> Vec<String> {
    let row = |line: &str| line.starts_with("| ") && !line.starts_with(HEAD);
    check_places(THREATS, page, sources, row)
}

/// Every word of the vocabulary has a file, and the file is there.
pub(crate) fn check_vocabulary(house: &House) -> Vec<String> {
    check_vocabulary_page(&house.text(VOCABULARY), &house.sources)
}

/// The files that the plan of the house names are there, and every decision has one.
pub(crate) fn check_architecture(house: &House) -> Vec<String> {
    check_architecture_page(&house.text(ARCHITECTURE), &house.sources)
}

/// Compares a plan of the house with sources.
pub(crate) fn check_architecture_page(page: &str, sources: &[Source]) -> Vec<String> {
    let decisions = page.split_once(DECISIONS).map_or("", |(_, rest)| rest);
    if decisions.is_empty() {
        return vec![format!("{ARCHITECTURE}:1: expected a table `{DECISIONS}`")];
    }
    let is_row = |line: &str| line.starts_with("| ") && decisions.contains(line);
    check_places(ARCHITECTURE, page, sources, is_row)
}

/// The files that the recipes name are there.
pub(crate) fn check_recipes(house: &House) -> Vec<String> {
    check_places(RECIPES, &house.text(RECIPES), &house.sources, |_| false)
}

/// Compares a vocabulary with sources.
pub(crate) fn check_vocabulary_page(page: &str, sources: &[Source]) -> Vec<String> {
    let table = page.split_once(WORDS).map_or("", |(_, rest)| rest.trim_start_matches('\n'));
    let table = table.split("\n\n").next().unwrap_or_default();
    if table.is_empty() {
        return vec![format!("{VOCABULARY}:1: expected a table `{WORDS}`")];
    }
    let rows: Vec<&str> = table.lines().collect();
    check_places(VOCABULARY, page, sources, |line| line.starts_with("| ") && rows.contains(&line))
}

/// Compares places on a page with sources: `file.rs: name, name` in backticks is a place. A row
/// that names none is a fault.
fn check_places(
    path: &str,
    page: &str,
    sources: &[Source],
    is_row: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in page.lines().enumerate() {
        let place = format!("{path}:{}", index + 1);
        let mut places = 0;
        for span in line.split('`').skip(1).step_by(2).filter(|span| span.contains(".rs")) {
            places += 1;
            let (file, names) = span.split_once(": ").unwrap_or((span, ""));
            let Some(source) = sources.iter().find(|source| source.path == file) else {
                found.push(format!("{place}: `{file}` is not there"));
                continue;
            };
            let has = |name: &&str| source.words.iter().any(|word| word.text == **name);
            let names = names.split(", ").filter(|name| !name.is_empty());
            for name in names.filter(|name| !has(name)) {
                found.push(format!("{place}: {file} has no `{name}`"));
            }
        }
        if is_row(line) && places == 0 {
            found.push(format!("{place}: expected where it is held, as `file.rs: name`"));
        }
    }
    found
}
