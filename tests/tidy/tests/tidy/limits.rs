//! The page of bounds and the constants that are the bounds.

use crate::house::House;
use crate::scan::Source;
use std::collections::BTreeMap;

/// The page.
const PAGE: &str = "docs/limits.md";
/// Cells of a row: file, constant, value, what it bounds, reason.
const CELLS: usize = 5;

/// The page has a row for every bound, every row a constant with that value, and every row says
/// what it bounds and why; rows are in order.
pub(crate) fn check(house: &House) -> Vec<String> {
    let sources = house.sources.iter().filter(|source| !source.is_test());
    let sources: Vec<&Source> =
        sources.filter(|source| source.path.split('/').any(|part| part == "src")).collect();
    check_page(&house.text(PAGE), &sources)
}

/// Compares a page with sources.
pub(crate) fn check_page(page: &str, sources: &[&Source]) -> Vec<String> {
    let constants: BTreeMap<(&str, String), (usize, String)> =
        sources.iter().flat_map(|source| constants(source)).collect();
    let mut found = Vec::new();
    let mut rows: Vec<(&str, String)> = Vec::new();
    for (index, line) in page.lines().enumerate().filter(|(_, line)| line.starts_with("| `")) {
        let place = format!("{PAGE}:{}", index + 1);
        let cells: Vec<&str> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
        let &[file, name, value, bounds, reason] = cells.as_slice() else {
            found.push(format!("{place}: expected {CELLS} cells"));
            continue;
        };
        if bounds.is_empty() || reason.is_empty() {
            found.push(format!("{place}: expected what `{name}` bounds, and the reason"));
        }
        let key = (file, name.to_owned());
        if rows.last().is_some_and(|last| *last >= key) {
            found.push(format!("{place}: expected rows in order of file and constant, each once"));
        }
        match constants.get(&key) {
            None => found.push(format!("{place}: {file} has no constant `{name}`")),
            Some((_, is)) if *is != squeezed(value) => {
                found.push(format!("{place}: `{name}` is `{is}`, not `{value}`"));
            }
            Some(_) => {}
        }
        rows.push(key);
    }
    for ((file, name), (line, _)) in &constants {
        if is_bound(name) && !rows.contains(&(*file, name.clone())) {
            found.push(format!("{file}:{line}: `{name}` is a bound without a row in {PAGE}"));
        }
    }
    found
}

/// Whether a constant's name marks a bound.
fn is_bound(name: &str) -> bool {
    let part = |part: &str| name.contains(part);
    name.starts_with("MAX_") || name.ends_with("_LIMIT") || part("_MAX_") || part("_PER_")
}

/// The value of a row as the words of a source read.
fn squeezed(value: &str) -> String {
    words_of(&Source::new("row.rs", value))
}

fn words_of(source: &Source) -> String {
    let words: Vec<&str> = source.words.iter().map(|word| word.text.as_str()).collect();
    words.join(" ")
}

/// All constants of a source that are numbers or durations: where, and their value.
fn constants<'a>(
    source: &'a Source,
) -> impl Iterator<Item = ((&'a str, String), (usize, String))> + 'a {
    let text = |at: usize| source.words.get(at).map_or("", |word| word.text.as_str());
    let starts = (0..source.words.len()).filter(move |at| text(*at) == "const");
    starts.filter_map(move |at| {
        let name = source.words.get(at + 1).filter(|word| word.is_name())?;
        let known =
            name.text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        if !known || text(at + 2) != ":" {
            return None;
        }
        let equals = (at..source.words.len()).find(|at| text(*at) == "=" || text(*at) == ";")?;
        let end = (equals..source.words.len()).find(|at| text(*at) == ";")?;
        let value: Vec<&str> = (equals + 1..end).map(text).collect();
        Some(((source.path.as_str(), name.text.clone()), (name.line, value.join(" "))))
    })
}
