//! The parts of the engine: which may import which, and what the core may not ask.

use crate::modules::Modules;
use crate::scan::Source;

/// The core.
const CORE: &str = "swarm";
/// Modules that every part may import.
const BASE: &[&str] = &["config", "stats", "wake"];
/// The page that exports the contracts of all parts. No part imports it.
const CONTRACT: &str = "io";
/// What tells one world from another: single words, and words in a row.
const WORLDS: &[&[&str]] = &[
    &["net", ".", "is_some"],
    &["net", ".", "is_none"],
    &["abroad"],
    &["is_internet"],
    &["is_cluster"],
    &["profile"],
    &["Profile"],
    &["ChokerKind", "::"],
    &["Endpoint", "::", "Rank"],
    &["Endpoint", "::", "Socket"],
    &["rank", "(", ")"],
];
/// The core's file that knows what an address is, for bans and for places of a source.
const ADDRESSES: &str = "engine/src/swarm/address.rs";

/// Parts import the core and the base modules, the core only base modules, base modules no part but
/// the core, the contract all of them. A part is a module below the root that is none of those.
pub(crate) fn check_edges(modules: &Modules) -> Vec<String> {
    let top = |at: usize| modules.all[at].path.first().map(String::as_str);
    let is_shared = |name: &str| name == CORE || BASE.contains(&name);
    let mut found = Vec::new();
    for ((from, to), line) in modules.edges() {
        let (Some(part), Some(other)) = (top(from), top(to)) else { continue };
        if part != CONTRACT && part != other && !is_shared(other) {
            let (file, imported) = (&modules.all[from].source.path, &modules.all[to].source.path);
            let what = format!("`{part}` may not import `{other}` ({imported})");
            let help = "parts of the engine share the core and the base modules, nothing else";
            found.push(format!("{file}:{line}: {what}: {help}"));
        }
    }
    found
}

/// The core does not ask which world it runs in.
pub(crate) fn check_worlds(source: &Source) -> Vec<String> {
    let core = format!("engine/src/{CORE}");
    let rest = source.path.strip_prefix(&core);
    let is_core = rest.is_some_and(|rest| rest.starts_with(['.', '/']));
    if source.is_test() || !is_core || source.path == ADDRESSES {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, word) in source.words.iter().enumerate() {
        let is = |(index, text): (usize, &&str)| {
            source.words.get(at + index).is_some_and(|word| word.text == **text)
        };
        if let Some(question) = WORLDS.iter().find(|words| words.iter().enumerate().all(is)) {
            let (path, line, question) = (&source.path, word.line, question.concat());
            let help = "the core does not know its world; take a plain value from the driver";
            found.push(format!("{path}:{line}: `{question}` asks for the world: {help}"));
        }
    }
    found
}
