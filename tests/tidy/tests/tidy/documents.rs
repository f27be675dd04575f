//! What documents must say, and what no text may.

use crate::house::House;
use std::collections::{BTreeMap, BTreeSet};

const DEPENDENCIES: &str = "docs/dependencies.md";

/// Folders that only some machine has. Written in halves, since this text is checked, too.
const MACHINE: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Signs of a registry that only some machine uses.
const REGISTRY: &[&str] = &[
    concat!("index.cra", "tes.io"),
    concat!("static.cra", "tes.io"),
    concat!("spa", "rse+"),
    concat!("replace-", "with"),
];

/// Every direct dependency has a row with its version, and every row a dependency.
pub(crate) fn check_dependency_rows(house: &House) -> Vec<String> {
    let text = house.text(DEPENDENCIES);
    let mut rows: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let name = line.strip_prefix("| `").and_then(|rest| rest.split_once('`'));
        if let Some((name, rest)) = name {
            rows.insert(name, (index + 1, rest));
        }
    }
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    let ours: BTreeSet<&str> = house.crates.iter().map(|each| each.name.as_str()).collect();
    for each in &house.crates {
        for dependency in &each.dependencies {
            let (name, version) = (dependency.name.as_str(), &dependency.version);
            if ours.contains(name) {
                continue;
            }
            used.insert(name);
            let place = format!("{}:{}", each.path, dependency.line);
            match rows.get(name) {
                None => found.push(format!("{place}: {name} has no row in {DEPENDENCIES}")),
                Some((line, row)) if !row.contains(version.as_str()) => {
                    found.push(format!("{DEPENDENCIES}:{line}: {name}: expected {version}"));
                }
                Some(_) => {}
            }
        }
    }
    for (name, (line, _)) in rows.iter().filter(|(name, _)| !used.contains(*name)) {
        found.push(format!("{DEPENDENCIES}:{line}: nobody depends on {name}; remove the row"));
    }
    found
}

/// Every crate opens with what it is; a library also with an example that is compiled.
pub(crate) fn check_crate_docs(house: &House) -> Vec<String> {
    let mut found = Vec::new();
    for each in &house.crates {
        for (file, example) in [("src/lib.rs", true), ("src/main.rs", false)] {
            let path = format!("{}/{file}", each.folder());
            let Some(source) = house.sources.iter().find(|source| source.path == path) else {
                continue;
            };
            if !source.text.starts_with("//! ") {
                found
                    .push(format!("{path}:1: expected crate docs: what it is, what it never does"));
            } else if example && !source.text.contains("//! ```\n") {
                found.push(format!("{path}:1: expected an example in the crate docs"));
            }
        }
    }
    found
}

/// No absolute path of some machine and no registry but the public one, in any text.
pub(crate) fn check_texts(house: &House) -> Vec<String> {
    house.texts().flat_map(|(path, text)| check_text(path, text)).collect()
}

/// Checks one text.
pub(crate) fn check_text(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for folder in MACHINE {
            // Behind a name or a brace it is the middle of a relative path.
            let begins = |(at, _): (usize, &str)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-~}$)*\\".contains(c))
            };
            if line.match_indices(folder).any(begins) {
                found.push(format!("{path}:{}: `{folder}` is a path of one machine", index + 1));
            }
        }
        if let Some(sign) = REGISTRY.iter().find(|sign| line.contains(**sign)) {
            found.push(format!("{path}:{}: `{sign}` names a registry", index + 1));
        }
    }
    found
}

/// Relative links in Markdown lead to files that are there.
pub(crate) fn check_links(house: &House) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in house.texts().filter(|(path, _)| path.ends_with(".md")) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (index, line) in text.lines().enumerate() {
            for rest in line.split("](").skip(1) {
                let link = rest.split(')').next().unwrap_or_default();
                let link = link.split('#').next().unwrap_or_default();
                let outside = link.is_empty() || link.contains("://");
                if !outside && !house.root.join(folder).join(link).exists() {
                    found.push(format!("{path}:{}: `{link}` is not there", index + 1));
                }
            }
        }
    }
    found
}

/// Every fuzz target is declared, has a corpus, and is replayed by a test; no corpus is orphaned.
pub(crate) fn check_fuzz(house: &House) -> Vec<String> {
    let manifest = house.text("fuzz/Cargo.toml");
    let targets: BTreeSet<&str> =
        house.below("fuzz/fuzz_targets/").filter_map(|file| file.strip_suffix(".rs")).collect();
    let corpora: BTreeSet<&str> = house
        .below("fuzz/corpus/")
        .filter_map(|file| file.split_once('/'))
        .map(|at| at.0)
        .collect();
    let mut found = Vec::new();
    for target in &targets {
        let place = format!("fuzz/fuzz_targets/{target}.rs:1");
        if !manifest.contains(&format!("fuzz_targets/{target}.rs")) {
            found.push(format!("{place}: declare it in fuzz/Cargo.toml"));
        }
        if !corpora.contains(target) {
            found.push(format!("{place}: expected files in fuzz/corpus/{target}"));
        }
        let folder = format!("fuzz/corpus/{target}\"");
        let replays = |source: &&crate::scan::Source| {
            source.path.contains("/tests/") && source.text.contains(&folder)
        };
        if !house.sources.iter().any(|source| replays(&source)) {
            found.push(format!("{place}: expected a test that replays fuzz/corpus/{target}"));
        }
    }
    for corpus in corpora.difference(&targets) {
        found.push(format!("fuzz/corpus/{corpus}:1: has no target in fuzz/fuzz_targets"));
    }
    found
}

/// The seconds that `scripts/test` never takes more than, on two cores.
const WHOLE: u32 = 1440;

/// The budgets of the parts of `scripts/test` are within that of the whole, and that within the
/// bound.
pub(crate) fn check_budgets(page: &str) -> Vec<String> {
    let place = "docs/testing.md:1";
    let rows: Vec<(&str, u32)> = page.lines().filter_map(budget).collect();
    let Some((_, whole)) = rows.iter().find(|(name, _)| *name == "whole") else {
        return vec![format!("{place}: expected a budget of `whole`")];
    };
    let parts = rows.iter().filter(|(name, _)| !["whole", "quick"].contains(name));
    let sum: u32 = parts.map(|(_, seconds)| seconds).sum();
    let mut found = Vec::new();
    if sum > *whole {
        found.push(format!("{place}: the parts take {sum} s together, `whole` has {whole}"));
    }
    if *whole > WHOLE {
        found.push(format!("{place}: `whole` has {whole} s, at most {WHOLE}"));
    }
    found
}

/// The name and the seconds of a row such as ``| `tests` | 300 | why |``.
fn budget(line: &str) -> Option<(&str, u32)> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
    Some((name, rest.split_once(" |")?.0.parse().ok()?))
}
