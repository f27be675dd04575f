//! Rank 0's judgement on a job before anything moves: whether it has as many ranks as the plan
//! needs, and whether every rank could read its part. Pure: from what the ranks sent to sentences.

use crate::console::{json, out};
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::Hello;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

/// How many missing inputs are named; the others are counted. They are all alike.
const MAX_MISSING: usize = 5;
/// How many other failures are named, the same text of several ranks being one: a screen of them.
const MAX_FAILURES: usize = 20;

/// Why a job ends before anything moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// How every process of it ends.
    pub(crate) exit: Exit,
    /// Full sentences for people.
    pub(crate) messages: Vec<String>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal { exit: failure.exit, messages: vec![failure.message] }
    }
}

impl Refusal {
    /// Says it on stderr, and with `--json` on stdout too. A closed stdout changes nothing.
    pub(crate) fn report(&self, json: bool) {
        self.messages.iter().for_each(|text| out::error(text));
        if json {
            let _ = out::document(&json::failure(self.exit, &self.messages.join("\n")));
        }
    }
}

/// Judges a job of ranks 0 to `peers` by what its ranks sent. `seen` is the highest rank of the
/// plan as rank 0 sees it (0 if it sees none), `own` what keeps rank 0 itself from going on. A rank
/// that sent nothing is no failure: the run goes on without it.
///
/// # Errors
/// If the job has the wrong number of ranks (exit 3), if inputs are missing (exit 4), or if a rank
/// failed (the exit of the lowest one).
pub(crate) fn judge(
    peers: u32,
    seen: u32,
    own: Option<&Failure>,
    hellos: &BTreeMap<Rank, Hello>,
) -> Result<(), Refusal> {
    let highest = hellos.values().map(|hello| hello.highest).fold(seen, u32::max);
    if highest > peers {
        return Err(wrong_size(peers, highest));
    }
    let lacking = || hellos.iter().filter(|(_, hello)| !hello.own);
    let beyond = lacking().count() > 0 && lacking().all(|(rank, _)| rank.0 > highest);
    if beyond && lacking().any(|(_, hello)| hello.highest > 0) {
        return Err(wrong_size(peers, highest));
    }
    let own = own.map(|failure| (Rank::TRACKER, failure.exit, failure.message.as_str()));
    let failed = own.into_iter().chain(hellos.iter().filter(|(_, hello)| hello.own).filter_map(
        |(rank, hello)| {
            let (code, text) = hello.failure.as_ref()?;
            Some((*rank, Exit::of_code(*code), text.as_str()))
        },
    ));
    let failed: Vec<(Rank, Exit, &str)> = failed.collect();
    let missing = lacking().map(|(rank, hello)| {
        let text = hello.failure.as_ref().map_or("its input is not there", |(_, text)| text);
        (*rank, text)
    });
    let mut messages = grouped(missing, MAX_MISSING, "lack their input, too");
    let exit = match (messages.is_empty(), failed.first()) {
        (true, None) => return Ok(()),
        (true, Some((_, exit, _))) => *exit,
        (false, _) => Exit::Input,
    };
    let failed = failed.iter().map(|(rank, _, text)| (*rank, *text));
    messages.extend(grouped(failed, MAX_FAILURES, "failed, too"));
    Err(Refusal { exit, messages })
}

fn wrong_size(peers: u32, highest: u32) -> Refusal {
    let (needed, ranks) = (u64::from(highest) + 1, u64::from(peers) + 1);
    let noun = if highest == 1 { "peer" } else { "peers" };
    let message = format!(
        "the plan has {highest} {noun} and needs {needed} ranks (one is the tracker); this job \
         has {ranks}: start it with -np {needed}"
    );
    Refusal { exit: Exit::Environment, messages: vec![message] }
}

/// One sentence for each text, with the ranks that gave it; beyond `most` they are counted. A text
/// of rank 0 is about the whole job and names no ranks.
fn grouped<'a>(
    said: impl Iterator<Item = (Rank, &'a str)>,
    most: usize,
    more: &str,
) -> Vec<String> {
    let mut by_text: BTreeMap<&str, BTreeSet<Rank>> = BTreeMap::new();
    for (rank, text) in said {
        by_text.entry(text).or_default().insert(rank);
    }
    let mut groups: Vec<(BTreeSet<Rank>, &str)> =
        by_text.into_iter().map(|(text, ranks)| (ranks, text)).collect();
    groups.sort_unstable();
    let rest: BTreeSet<Rank> =
        groups.iter().skip(most).flat_map(|(ranks, _)| ranks.iter().copied()).collect();
    let mut sentences: Vec<String> = groups
        .iter()
        .take(most)
        .map(|(ranks, text)| match ranks.contains(&Rank::TRACKER) {
            true => (*text).to_owned(),
            false => format!("{}: {text}", named(ranks)),
        })
        .collect();
    match rest.len() {
        0 => {}
        1 => sentences.push(format!("1 more rank {more}: {}", named(&rest))),
        count => sentences.push(format!("{count} more ranks {more}")),
    }
    sentences
}

/// The sentence on the last run, if it was cut off: which ranks died in it, or at least ended with
/// it.
pub(crate) fn last_run(hellos: &BTreeMap<Rank, Hello>) -> Option<String> {
    let marks = || hellos.iter().filter_map(|(rank, hello)| Some((rank, hello.last_run.as_ref()?)));
    let died: BTreeSet<Rank> = marks().flat_map(|(_, last)| last.died.iter().copied()).collect();
    let cut: BTreeSet<Rank> =
        marks().filter(|(_, last)| last.unfinished).map(|(rank, _)| *rank).collect();
    let what = match (died.is_empty(), cut.is_empty()) {
        (false, _) => format!("the last run ended when {} died", named(&died)),
        (true, false) => {
            format!("the last run was cut off ({} ended without a word)", named(&cut))
        }
        (true, true) => return None,
    };
    Some(format!("{what}; going on from what is on disk"))
}

/// The warning about the ranks that sent nothing within `patience`.
pub(crate) fn unheard(
    peers: u32,
    hellos: &BTreeMap<Rank, Hello>,
    patience: Duration,
) -> Option<String> {
    let silent: BTreeSet<Rank> =
        (1..=peers).map(Rank).filter(|rank| !hellos.contains_key(rank)).collect();
    let (has, it) = match silent.len() {
        0 => return None,
        1 => ("has", "it"),
        _ => ("have", "them"),
    };
    let ranks = named(&silent);
    Some(format!(
        "{ranks} {has} not read the plan within {patience:?} (--start-timeout); the run begins \
         without {it}"
    ))
}

/// `rank 3`, or `ranks 1-4, 7`. A range has three ranks at least.
pub(crate) fn named(ranks: &BTreeSet<Rank>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for Rank(rank) in ranks.iter().copied() {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(rank) => *last = rank,
            _ => runs.push((rank, rank)),
        }
    }
    let mut text = if ranks.len() == 1 { "rank" } else { "ranks" }.to_owned();
    for (index, (first, last)) in runs.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = match last - first {
            0 => write!(text, "{comma} {first}"),
            1 => write!(text, "{comma} {first}, {last}"),
            _ => write!(text, "{comma} {first}-{last}"),
        };
    }
    text
}

#[cfg(test)]
mod tests;
