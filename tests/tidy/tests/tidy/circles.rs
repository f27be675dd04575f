//! No import circle between files, but those that go through the module that holds all the others.

use crate::modules::Modules;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Which module imports which.
type Edges = BTreeMap<usize, BTreeSet<usize>>;

/// Every import that closes a circle, with the way back.
///
/// A module and the modules below it may name each other. So for every module, the files below it,
/// taken without the module itself, are searched for circles that join two of its children.
pub(crate) fn check(modules: &Modules) -> Vec<String> {
    let lines = modules.edges();
    let mut found = BTreeMap::new();
    for (top, module) in modules.all.iter().enumerate() {
        let child = |at: usize| child_of(&module.path, &modules.all[at].path);
        let below: BTreeSet<usize> =
            (0..modules.all.len()).filter(|at| *at != top && child(*at).is_some()).collect();
        let mut edges = Edges::new();
        for (from, to) in lines.keys().filter(|(a, b)| below.contains(a) && below.contains(b)) {
            edges.entry(*from).or_default().insert(*to);
        }
        for (from, to) in lines.keys().filter(|(a, b)| child(*a) != child(*b)) {
            if below.contains(from)
                && let Some(back) = way(&edges, *to, *from)
            {
                found.entry((*from, *to)).or_insert(back);
            }
        }
    }
    let path = |at: &usize| modules.all[*at].source.path.as_str();
    let complaint = |((from, to), back): (&(usize, usize), &Vec<usize>)| {
        let (line, back) = (lines[&(*from, *to)], back.iter().map(path).collect::<Vec<_>>());
        let (file, back) = (path(from), back.join(" → "));
        format!("{file}:{line}: closes a circle of imports: {back}; move what both need below both")
    };
    found.iter().map(complaint).collect()
}

/// The child of the module `top` that a module is or lies below.
fn child_of<'a>(top: &[String], path: &'a [String]) -> Option<&'a String> {
    path.strip_prefix(top).and_then(<[String]>::first)
}

/// The shortest way from one module to another.
fn way(edges: &Edges, from: usize, to: usize) -> Option<Vec<usize>> {
    let mut came = BTreeMap::from([(from, from)]);
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        if at == to {
            let mut way = vec![at];
            while let Some(last) = way.last().filter(|last| **last != from) {
                way.push(came[last]);
            }
            way.reverse();
            return Some(way);
        }
        for neighbour in edges.get(&at).into_iter().flatten() {
            if !came.contains_key(neighbour) {
                came.insert(*neighbour, at);
                next.push_back(*neighbour);
            }
        }
    }
    None
}
