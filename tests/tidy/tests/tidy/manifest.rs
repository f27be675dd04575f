//! Manifests: who depends on whom, with the line that says so.

use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Folders of crates in which a module may be unsafe. `forbid` cannot be lifted, so they write the
/// lints of the workspace out themselves, with `unsafe_code = "deny"`.
const OWN_LINTS: &[&str] = &["services/hash", "worlds/cluster"];

/// A crate's manifest.
pub(crate) struct Manifest {
    /// Its path, relative to the repository.
    pub(crate) path: String,
    /// The crate's name.
    pub(crate) name: String,
    /// All its direct dependencies.
    pub(crate) dependencies: Vec<Dependency>,
    /// Whether it takes the lints of the workspace, or has the same ones where it may be unsafe.
    pub(crate) lints: bool,
}

/// A direct dependency.
pub(crate) struct Dependency {
    /// The name of the crate.
    pub(crate) name: String,
    /// The version that is asked for; empty for our own crates.
    pub(crate) version: String,
    /// Features that are asked for.
    pub(crate) features: Vec<String>,
    /// Whether only tests see it.
    pub(crate) dev: bool,
    /// Where it is asked for.
    pub(crate) line: usize,
}

impl Manifest {
    /// Reads a manifest; `workspace` is the text of the workspace's.
    pub(crate) fn read(path: &str, text: &str, workspace: &str) -> Manifest {
        let whole = parse("Cargo.toml", workspace);
        let whole = table(&whole, "workspace");
        let shared = whole.and_then(|all| table(all, "dependencies"));
        let root = parse(path, text);
        let mut tables = vec![&root];
        let targets = table(&root, "target").into_iter().flat_map(DeTable::iter);
        tables.extend(targets.filter_map(|(_, value)| value.get_ref().as_table()));
        let mut dependencies = Vec::new();
        for (key, dev) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            for all in tables.iter().filter_map(|all| table(all, key)) {
                for (name, value) in all.iter() {
                    let line = line_of(text, name);
                    let of_workspace = shared.and_then(|shared| get(shared, name.get_ref()));
                    let mut features = features(value);
                    let value = Some(value).filter(|value| !is_of_workspace(value));
                    let Some(value) = value.or(of_workspace) else { continue };
                    let real =
                        string(value, "package").unwrap_or_else(|| name.get_ref().to_string());
                    let version = version(value);
                    features.extend(self::features(value));
                    dependencies.push(Dependency { name: real, version, features, dev, line });
                }
            }
        }
        let package = table(&root, "package");
        let name = package.and_then(|package| get(package, "name"));
        let name = name.and_then(|name| name.get_ref().as_str()).unwrap_or_default().to_owned();
        let folder = path.strip_suffix("/Cargo.toml").unwrap_or(path);
        let lints = table(&root, "lints");
        let lints = if OWN_LINTS.contains(&folder) {
            let mut wanted = rows(workspace, whole.and_then(|all| table(all, "lints")));
            let key = ("rust".to_owned(), "unsafe_code".to_owned());
            wanted.insert(key, "\"deny\"".to_owned());
            rows(text, lints) == wanted
        } else {
            let lints = lints.and_then(|lints| get(lints, "workspace"));
            lints.is_some_and(|value| value.get_ref().as_bool() == Some(true))
        };
        Manifest { path: path.to_owned(), name, dependencies, lints }
    }

    /// The crate's folder.
    pub(crate) fn folder(&self) -> &str {
        self.path.strip_suffix("/Cargo.toml").unwrap_or(&self.path)
    }
}

fn parse<'a>(path: &str, text: &'a str) -> DeTable<'a> {
    match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => panic!("{path}: {error}"),
    }
}

fn get<'a, 't>(table: &'a DeTable<'t>, key: &str) -> Option<&'a Spanned<DeValue<'t>>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
}

fn table<'a, 't>(of: &'a DeTable<'t>, key: &str) -> Option<&'a DeTable<'t>> {
    get(of, key)?.get_ref().as_table()
}

/// A table of lints: for each group and lint, the text of its level.
fn rows(text: &str, lints: Option<&DeTable<'_>>) -> BTreeMap<(String, String), String> {
    let mut rows = BTreeMap::new();
    for (group, all) in lints.into_iter().flat_map(DeTable::iter) {
        // What is no table stands under the empty name, and so equals nothing that is right.
        let Some(all) = all.get_ref().as_table() else {
            rows.insert((group.get_ref().to_string(), String::new()), String::new());
            continue;
        };
        for (lint, level) in all.iter() {
            let key = (group.get_ref().to_string(), lint.get_ref().to_string());
            rows.insert(key, text.get(level.span()).unwrap_or_default().to_owned());
        }
    }
    rows
}

fn string(value: &Spanned<DeValue<'_>>, key: &str) -> Option<String> {
    let value = get(value.get_ref().as_table()?, key)?;
    value.get_ref().as_str().map(str::to_owned)
}

/// The features that a dependency asks for.
fn features(value: &Spanned<DeValue<'_>>) -> Vec<String> {
    let table = value.get_ref().as_table();
    let features = table.and_then(|table| get(table, "features")?.get_ref().as_array());
    let names = features.into_iter().flat_map(|all| all.iter());
    names.filter_map(|name| name.get_ref().as_str().map(str::to_owned)).collect()
}

fn is_of_workspace(value: &Spanned<DeValue<'_>>) -> bool {
    let table = value.get_ref().as_table();
    let flag = table.and_then(|table| get(table, "workspace"));
    flag.is_some_and(|flag| flag.get_ref().as_bool() == Some(true))
}

fn version(value: &Spanned<DeValue<'_>>) -> String {
    let plain = value.get_ref().as_str().map(str::to_owned);
    plain.or_else(|| string(value, "version")).unwrap_or_default()
}

fn line_of<T>(text: &str, spanned: &Spanned<T>) -> usize {
    let before = text.get(..spanned.span().start).unwrap_or_default();
    before.matches('\n').count() + 1
}
