//! The files of a crate as a tree of modules, and which file imports which.

use crate::paths::{Aliases, Named, imports};
use crate::scan::Source;
use std::collections::{BTreeMap, BTreeSet};

/// Re-exports that are followed from one to the next; more would go round in circles.
const MAX_REEXPORTS: usize = 8;
/// Words that begin an item with a name.
const ITEMS: &[&str] =
    &["struct", "enum", "trait", "type", "union", "fn", "const", "static", "mod", "macro_rules"];

/// One file: a module.
pub(crate) struct Module<'a> {
    /// Its source.
    pub(crate) source: &'a Source,
    /// Its path below the root, empty for the root.
    pub(crate) path: Vec<String>,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    named: Vec<Named>,
    names: Aliases,
}

/// All modules below one root file, the root first. Modules of tests are left out.
pub(crate) struct Modules<'a> {
    /// The modules.
    pub(crate) all: Vec<Module<'a>>,
}

/// The trees of a crate: one for its library, one for each program.
pub(crate) fn trees<'a>(folder: &str, sources: &'a [Source]) -> Vec<Modules<'a>> {
    let root = |source: &&Source| {
        let rest = source.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix("/src/"));
        rest.is_some_and(|rest| {
            let program = rest.strip_prefix("bin/").is_some_and(|name| !name.contains('/'));
            rest == "lib.rs" || rest == "main.rs" || program
        })
    };
    sources.iter().filter(root).map(|root| Modules::read(root, sources)).collect()
}

impl<'a> Modules<'a> {
    fn read(root: &'a Source, sources: &'a [Source]) -> Modules<'a> {
        let mut modules = Modules { all: Vec::new() };
        modules.add(root, Vec::new(), None);
        let mut at = 0;
        while at < modules.all.len() {
            let (source, path) = (modules.all[at].source, modules.all[at].path.clone());
            for name in declared(source) {
                let folder = folder_of_children(&source.path, at == 0);
                let files = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
                let file = sources.iter().find(|source| files.contains(&source.path));
                if let Some(file) = file.filter(|file| !file.is_test()) {
                    let path = path.iter().chain([name]).cloned().collect();
                    let child = modules.add(file, path, Some(at));
                    modules.all[at].children.insert(name.clone(), child);
                }
            }
            at += 1;
        }
        modules
    }

    fn add(&mut self, source: &'a Source, path: Vec<String>, parent: Option<usize>) -> usize {
        let (named, names) = imports(source);
        let children = BTreeMap::new();
        self.all.push(Module { source, path, parent, children, named, names });
        self.all.len() - 1
    }

    /// Which module imports which, and the first line that does.
    pub(crate) fn edges(&self) -> BTreeMap<(usize, usize), usize> {
        let mut edges = BTreeMap::new();
        for (from, module) in self.all.iter().enumerate() {
            for named in &module.named {
                let targets = self.targets(from, &named.parts);
                for to in targets.into_iter().filter(|to| *to != from) {
                    let line = edges.entry((from, to)).or_insert(named.line);
                    *line = named.line.min(*line);
                }
            }
        }
        edges
    }

    /// Where a path leads; a glob also leads where the names lead that it brings in.
    fn targets(&self, from: usize, parts: &[String]) -> BTreeSet<usize> {
        // `pub(crate)` and `pub(super)` name nothing.
        let keyword = |part: &String| ["crate", "self", "super"].contains(&part.as_str());
        if parts.len() == 1 && keyword(&parts[0]) {
            return BTreeSet::new();
        }
        let Some(to) = self.resolve(from, parts, MAX_REEXPORTS) else { return BTreeSet::new() };
        let mut targets = BTreeSet::from([to]);
        if parts.last().is_some_and(|part| part == "*") {
            let words: BTreeSet<&str> =
                self.all[from].source.words.iter().map(|word| word.text.as_str()).collect();
            let used = self.all[to].names.iter().filter(|(name, _)| words.contains(name.as_str()));
            targets.extend(used.filter_map(|(_, path)| self.resolve(to, path, MAX_REEXPORTS)));
        }
        targets
    }

    /// The module whose file has the item that a path in the module `from` names; none if that is
    /// in another crate.
    fn resolve(&self, from: usize, parts: &[String], left: usize) -> Option<usize> {
        let (first, mut rest) = parts.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.all[from].parent?,
            name => *self.all[from].children.get(name)?,
        };
        while let Some((name, more)) = rest.split_first() {
            let module = &self.all[at];
            at = match name.as_str() {
                "self" => at,
                "super" => module.parent?,
                name => match module.children.get(name) {
                    Some(child) => *child,
                    None => break,
                },
            };
            rest = more;
        }
        let Some(name) = rest.first().filter(|name| *name != "*") else { return Some(at) };
        let Some(left) = left.checked_sub(1) else { return Some(at) };
        Some(self.reexport(at, name, left).unwrap_or(at))
    }

    /// Where a name leads that a module imports itself.
    fn reexport(&self, at: usize, name: &String, left: usize) -> Option<usize> {
        let module = &self.all[at];
        if defines(module.source, name) {
            return None;
        }
        if let Some(path) = module.names.get(name) {
            return self.resolve(at, path, left);
        }
        let globs =
            module.named.iter().filter(|named| named.parts.last().is_some_and(|p| p == "*"));
        let targets = globs.filter_map(|glob| self.resolve(at, &glob.parts, left));
        targets.filter(|to| *to != at).find(|to| defines(self.all[*to].source, name))
    }
}

/// Whether a file has an item of that name.
fn defines(source: &Source, name: &str) -> bool {
    source.words.windows(2).any(|pair| pair[1].text == name && ITEMS.contains(&&*pair[0].text))
}

/// The modules that a file declares: `mod name;`.
fn declared(source: &Source) -> impl Iterator<Item = &String> {
    let declarations = source.words.windows(3);
    let declarations = declarations.filter(|words| words[0].text == "mod" && words[2].text == ";");
    declarations.map(|words| &words[1].text)
}

fn folder_of_children(path: &str, root: bool) -> &str {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if root || name == "mod.rs" { folder } else { path.strip_suffix(".rs").unwrap_or(path) }
}
