//! Who may depend on whom.

use crate::manifest::{Dependency, Manifest};
use std::collections::{BTreeMap, BTreeSet};

/// Crates that protocol and engine may use.
const ALLOWED: &[&str] = &[
    "bytes",
    "thiserror",
    "tracing",
    "sha1",
    "sha2",
    "crc32c",
    "rustc-hash",
    "smallvec",
    "slotmap",
];
/// Crates that one crate below the services may use besides.
const ALLOWED_FOR: &[(&str, &str)] = &[("dunlin-plan", "toml")];
/// Crates that their tests may use besides.
const ALLOWED_IN_TESTS: &[&str] = &["cap", "expect-test", "proptest"];
/// Edges up that tests may have. The worlds of the engine's tests run on the network in virtual
/// time, which knows no engine.
const UP_IN_TESTS: &[(&str, &str)] = &[("dunlin-engine", "dunlin-simnet")];

/// Crates that only these may use: whoever else wants a socket or a key asks them.
const RESERVED: &[(&str, &[&str])] = &[
    ("ring", &["dunlin-links"]),
    ("socket2", &["dunlin-links", "dunlin-net"]),
    ("tokio", &["dunlin-links", "dunlin-cluster", "dunlin-net"]),
];

/// Crates and features that only tests may take: a program must not write to a disk in memory.
const FOR_TESTS: &[(&str, &str)] = &[("dunlin-disk", "test-fs")];

/// A floor of the house, the ground floor first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Floor {
    Protocol,
    Engine,
    Services,
    Worlds,
    Apps,
    /// Outside: the tests of the whole, the fuzz targets and the benches.
    Garden,
}

fn floor(folder: &str) -> Option<Floor> {
    match folder.split('/').next()? {
        "protocol" => Some(Floor::Protocol),
        "engine" => Some(Floor::Engine),
        "services" => Some(Floor::Services),
        "worlds" => Some(Floor::Worlds),
        "apps" => Some(Floor::Apps),
        "tests" | "fuzz" | "benches" => Some(Floor::Garden),
        _ => None,
    }
}

/// Whether a crate of one floor may use a crate of another.
fn may_use(from: Floor, to: Floor) -> bool {
    match from {
        Floor::Protocol => to == Floor::Protocol,
        Floor::Engine => to == Floor::Protocol,
        // A service never knows who decides, or it would serve only that one.
        Floor::Services => matches!(to, Floor::Protocol | Floor::Services),
        Floor::Worlds | Floor::Apps => to < from,
        Floor::Garden => true,
    }
}

fn complaint(from: &Manifest, dependency: &Dependency, what: &str) -> String {
    let (path, line, name) = (&from.path, dependency.line, &dependency.name);
    format!("{path}:{line}: {} depends on {name}: {what}", from.name)
}

/// Edges point down, worlds do not see one another, nothing goes in circles.
pub(crate) fn check(crates: &[Manifest]) -> Vec<String> {
    let by_name: BTreeMap<&str, &Manifest> =
        crates.iter().map(|each| (each.name.as_str(), each)).collect();
    let mut found = Vec::new();
    for from in crates {
        let Some(from_floor) = floor(from.folder()) else {
            found.push(format!("{}:1: stands on no floor; move it", from.path));
            continue;
        };
        for dependency in &from.dependencies {
            let Some(to) = by_name.get(dependency.name.as_str()) else { continue };
            let to_floor = floor(to.folder()).unwrap_or(Floor::Garden);
            let up = UP_IN_TESTS.contains(&(from.name.as_str(), to.name.as_str()));
            if !(may_use(from_floor, to_floor) || dependency.dev && up) {
                let what = format!("an edge from {from_floor:?} to {to_floor:?}; edges point down");
                found.push(complaint(from, dependency, &what));
            }
        }
        if reaches(&by_name, &from.name, &from.name, &mut BTreeSet::new()) {
            found.push(format!("{}:1: {} depends on itself in a circle", from.path, from.name));
        }
    }
    found
}

fn reaches<'a>(
    crates: &BTreeMap<&'a str, &'a Manifest>,
    from: &str,
    goal: &str,
    seen: &mut BTreeSet<&'a str>,
) -> bool {
    let next = crates.get(from).map_or(&[][..], |manifest| &manifest.dependencies);
    // A crate enables a feature of its own for its tests by naming itself.
    let other = |dependency: &&Dependency| !(dependency.dev && dependency.name == from);
    next.iter().filter(other).any(|dependency| {
        let Some((name, _)) = crates.get_key_value(dependency.name.as_str()) else { return false };
        *name == goal || seen.insert(name) && reaches(crates, name, goal, seen)
    })
}

/// Below the services only a short list of other people's crates.
pub(crate) fn check_allowed(crates: &[Manifest]) -> Vec<String> {
    let ours: BTreeSet<&str> = crates.iter().map(|each| each.name.as_str()).collect();
    let mut found = Vec::new();
    for from in crates.iter().filter(|each| floor(each.folder()) <= Some(Floor::Engine)) {
        for dependency in &from.dependencies {
            let name = dependency.name.as_str();
            let allowed = ours.contains(name)
                || ALLOWED.contains(&name)
                || ALLOWED_FOR.contains(&(from.name.as_str(), name))
                || dependency.dev && ALLOWED_IN_TESTS.contains(&name);
            if !allowed {
                let what = "not on the list of crates that protocol and engine may use";
                found.push(complaint(from, dependency, what));
            }
        }
    }
    found
}

/// Some crates of other people are for few of ours.
pub(crate) fn check_reserved(crates: &[Manifest]) -> Vec<String> {
    let mut found = Vec::new();
    for from in crates {
        for dependency in &from.dependencies {
            let reserved = RESERVED.iter().find(|(name, _)| *name == dependency.name);
            if let Some((_, users)) = reserved.filter(|(_, users)| !users.contains(&&*from.name)) {
                let what = format!("reserved for {}; go through them", users.join(", "));
                found.push(complaint(from, dependency, &what));
            }
        }
    }
    found
}

/// What is made for tests is no part of the program.
pub(crate) fn check_test_features(crates: &[Manifest]) -> Vec<String> {
    let mut found = Vec::new();
    for from in crates {
        for dependency in from.dependencies.iter().filter(|dependency| !dependency.dev) {
            let takes = |feature: &str| dependency.features.iter().any(|name| name == feature);
            let wrong =
                FOR_TESTS.iter().find(|(name, feature)| *name == dependency.name && takes(feature));
            if let Some((_, feature)) = wrong {
                let what = format!("its feature `{feature}` is for [dev-dependencies]");
                found.push(complaint(from, dependency, &what));
            }
        }
    }
    found
}

/// Every crate has the lints of the workspace; the fuzz targets are no part of it.
pub(crate) fn check_lints(crates: &[Manifest]) -> Vec<String> {
    let inside = crates.iter().filter(|each| each.folder() != "fuzz" && !each.lints);
    let why = "add `[lints] workspace = true`; where a module is unsafe, copy the workspace's \
               lints with `unsafe_code = \"deny\"`";
    inside.map(|each| format!("{}:1: {why}", each.path)).collect()
}
