//! `--check` of a plan whose test data is not there yet: what would be generated, and what would
//! move, by names and sizes. Nothing is made, not even a folder.

use super::peers::{self, IdlePatterns, OutputFolders};
use crate::cluster::args::SwarmArgs;
use crate::cluster::plan::{self, LoadedPlan};
use crate::console::Console;
use crate::console::json::SCHEMA;
use crate::console::out::{self, Page};
use crate::exit::Failure;
use dunlin_base::{Rank, format_size};
use dunlin_cluster::Report;
use dunlin_plan::{PeerSource, PlanForm};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// What would move to one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Move {
    /// The peer.
    #[serde(serialize_with = "number")]
    pub(crate) rank: Rank,
    /// Wanted files that are not there whole.
    pub(crate) files: u64,
    /// Their bytes that are not there.
    pub(crate) bytes: u64,
    /// Bytes of wanted files that are there already.
    #[serde(rename = "bytes_here")]
    pub(crate) here: u64,
    /// Names and patterns that no rank could give.
    pub(crate) missing: Vec<String>,
}

/// Test data that a plan generates and that is not there: path and bytes.
///
/// # Errors
/// If something else stands in its place (exit 4), or it cannot be looked at (exit 5).
pub(crate) fn ungenerated(loaded: &LoadedPlan) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let mut missing = Vec::new();
    for data in &loaded.plan.generate {
        let there = plan::is_generated(&loaded.dir, data);
        if !there.map_err(|error| Failure::from(&error))? {
            missing.push((loaded.dir.join(&data.path), data.size));
        }
    }
    Ok(missing)
}

/// A check makes no test data, and without it one rank of a job cannot find out what it has.
///
/// # Errors
/// If some is not there (exit 4), or cannot be looked at (exit 5).
pub(crate) fn refuse_ungenerated(args: &SwarmArgs, loaded: &LoadedPlan) -> Result<(), Failure> {
    let Some((path, _)) = ungenerated(loaded)?.into_iter().next() else { return Ok(()) };
    Err(Failure::input(format!(
        "{}: the plan generates this test data and it is not there yet; a check of one rank a \
         process makes nothing: run `dunlin swarm {} --check` without the launcher",
        path.display(),
        out::shell_word(args.plan())
    )))
}

/// What would move, by names and sizes alone, as if `ungenerated` had been made.
///
/// # Errors
/// If a folder cannot be read (exit 4).
pub(crate) fn by_names(
    loaded: &LoadedPlan,
    outputs: &OutputFolders,
    ungenerated: &[(PathBuf, u64)],
    console: Console,
) -> Result<Vec<Move>, Failure> {
    let mut idle = IdlePatterns::of(loaded);
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    let mut places: BTreeMap<Rank, BTreeMap<String, u64>> = BTreeMap::new();
    for peer in &loaded.plan.peers {
        let PeerSource::Files { root, have, wants } = &peer.source else { continue };
        let root = Path::new(root);
        let dest = outputs.of_rank(peer.rank, root);
        let mut here = names(root, ungenerated)?;
        idle.look(peer.rank, root, have, || here.keys().map(String::as_str));
        for (name, length) in here.iter().filter(|(name, _)| peers::offers(have, wants, name)) {
            known.entry(name.clone()).or_insert(*length);
        }
        if dest != root {
            here = names(&dest, ungenerated)?;
        }
        places.insert(peer.rank, here);
    }
    idle.warn(console);
    let none = BTreeMap::new();
    let moves = loaded.plan.peers.iter().filter_map(|peer| {
        let PeerSource::Files { wants, .. } = &peer.source else { return None };
        let here = places.get(&peer.rank).unwrap_or(&none);
        let mut wanted = BTreeSet::new();
        let mut missing = Vec::new();
        for pattern in wants {
            let matching = known.iter().filter(|(name, _)| pattern.matches(name));
            let matching: Vec<_> = matching.collect();
            if matching.is_empty() {
                missing.push(pattern.as_str().to_owned());
            }
            wanted.extend(matching);
        }
        let mut planned = Move { rank: peer.rank, files: 0, bytes: 0, here: 0, missing };
        for (name, length) in wanted {
            if here.get(name) == Some(length) {
                planned.here = planned.here.saturating_add(*length);
            } else {
                planned.files += 1;
                planned.bytes = planned.bytes.saturating_add(*length);
            }
        }
        Some(planned)
    });
    Ok(moves.collect())
}

fn names(folder: &Path, ungenerated: &[(PathBuf, u64)]) -> Result<BTreeMap<String, u64>, Failure> {
    let found = peers::found(folder, Console::lead(true))?;
    let mut names: BTreeMap<String, u64> =
        found.into_iter().map(|file| (file.name, file.length)).collect();
    for (path, size) in ungenerated {
        if let Some(name) = path.strip_prefix(folder).ok().and_then(Path::to_str) {
            names.insert(name.to_owned(), *size);
        }
    }
    Ok(names)
}

/// What would move, as the tracker found out.
pub(crate) fn moves(report: &Report) -> Vec<Move> {
    let planned = report.plan.iter().map(|planned| Move {
        rank: planned.rank,
        files: planned.files,
        bytes: planned.bytes,
        here: planned.bytes_here,
        missing: Vec::new(),
    });
    planned.collect()
}

/// Writes what would be generated and what would move. A plan of unknown form (`None`) is taken for
/// one of real files if any of them are there.
///
/// # Errors
/// If `to` refuses.
pub(crate) fn write(
    form: Option<PlanForm>,
    ungenerated: &[(PathBuf, u64)],
    moves: &[Move],
    to: &mut Page<'_>,
) -> io::Result<()> {
    for (path, size) in ungenerated {
        to.line(format_args!("would generate {}  {}", path.display(), format_size(*size)))?;
    }
    let real = form.map_or_else(
        || moves.iter().any(|planned| planned.here > 0),
        |form| form != PlanForm::Course,
    );
    for planned in moves {
        let Move { rank, files, bytes, here, missing } = planned;
        let noun = if *files == 1 { "file" } else { "files" };
        let mut line = format!("rank {rank}: would fetch {files} {noun}, {}", format_size(*bytes));
        if real {
            line.push_str(&format!(" ({} there already)", format_size(*here)));
        }
        to.line(line)?;
        for name in missing {
            to.line(format_args!("rank {rank}: nobody has {name}"))?;
        }
    }
    let total = moves.iter().map(|planned| planned.bytes).fold(0, u64::saturating_add);
    to.line(format_args!("would move {} in all; nothing was moved", format_size(total)))
}

/// The document of `--json`.
#[derive(Serialize)]
struct CheckDocument<'a> {
    schema: u32,
    ok: bool,
    check: bool,
    generate: Vec<Generated>,
    plan: &'a [Move],
}

/// Test data that would be generated.
#[derive(Serialize)]
struct Generated {
    path: String,
    bytes: u64,
}

fn number<S: Serializer>(rank: &Rank, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u32(rank.0)
}

/// Prints it, as a document or for people.
///
/// # Errors
/// If stdout takes no more for another reason than that its reader went away.
pub(crate) fn print(
    json: bool,
    form: Option<PlanForm>,
    ungenerated: &[(PathBuf, u64)],
    moves: &[Move],
) -> Result<(), Failure> {
    if json {
        let generated = |(path, bytes): &(PathBuf, u64)| Generated {
            path: path.display().to_string(),
            bytes: *bytes,
        };
        return out::document(&CheckDocument {
            schema: SCHEMA,
            ok: true,
            check: true,
            generate: ungenerated.iter().map(generated).collect(),
            plan: moves,
        });
    }
    out::data(|page| write(form, ungenerated, moves, page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_not_seen_is_taken_for_what_its_ranks_have() {
        let planned =
            |here| [Move { rank: Rank(2), files: 1, bytes: 5, here, missing: Vec::new() }].to_vec();
        let cases = [
            (Some(PlanForm::Course), 0, false),
            (Some(PlanForm::Folders), 0, true),
            (None, 0, false),
            (None, 9, true),
        ];
        for (form, here, expected) in cases {
            let mut text = Vec::new();
            write(form, &[], &planned(here), &mut Page::on(&mut text)).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert_eq!(text.contains("there already"), expected, "{form:?}: {text}");
        }
    }
}
