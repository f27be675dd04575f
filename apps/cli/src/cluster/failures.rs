//! What went wrong in a run, in sentences for people.

use dunlin_base::Rank;
use dunlin_cluster::{FileState, PeerReport, PeerState, Report};
use std::collections::{BTreeMap, BTreeSet};

/// How many failed files of the same ranks are named one by one; the others are counted. A report
/// of 20 000 failures is of no use, and the document of `--json` has them all.
const NAMED_FILES: usize = 8;

/// Why the run is not ok: what stopped it as a whole; dead, absent and failed peers with their
/// reasons, a sentence each. Empty if all is well.
pub(crate) fn failures(report: &Report) -> Vec<String> {
    failures_at(report, |rank| format!("rank {rank}"))
}

/// The same, with ranks called as `name` calls them. What is the same at several ranks is one
/// sentence.
pub(crate) fn failures_at(report: &Report, name: impl Fn(Rank) -> String) -> Vec<String> {
    let mut sentences: Vec<String> = report.refused.iter().cloned().collect();
    sentences.extend(report.errors.iter().map(ToString::to_string));
    // The reason for all files is the one for the whole run.
    let told = |peer: &PeerReport| {
        !report.never_began && !matches!(peer.state, PeerState::Dead | PeerState::Absent)
    };
    let told = report.peers.iter().filter(|peer| told(peer));
    let files = together(told.map(|peer| (peer.rank, failed_files(peer))));
    let errors = report.peers.iter();
    let errors = together(errors.map(|peer| (peer.rank, peer.errors.clone())));
    for peer in &report.peers {
        match peer.state {
            PeerState::Dead => {
                sentences.push(format!("{} died: it stopped without a word", name(peer.rank)));
            }
            PeerState::Absent => sentences.push(format!("{} never registered", name(peer.rank))),
            PeerState::Complete | PeerState::Failed => {}
        }
        let first = |ranks: &BTreeSet<Rank>| ranks.first() == Some(&peer.rank);
        for (ranks, files) in files.iter().filter(|(ranks, _)| first(ranks)) {
            let who = called(ranks, &name);
            let named = files.iter().take(NAMED_FILES);
            sentences.extend(named.map(|file| format!("{who}: {file}")));
            if let Some(rest @ 1..) = files.len().checked_sub(NAMED_FILES) {
                sentences.push(format!("{who}: {rest} more files failed (--json names all)"));
            }
        }
        for (ranks, errors) in errors.iter().filter(|(ranks, _)| first(ranks)) {
            let who = called(ranks, &name);
            let named = errors.iter().take(NAMED_FILES);
            sentences.extend(named.map(|error| format!("{who}: {error}")));
        }
    }
    sentences
}

/// Texts of ranks, those of the same ranks together and in their order; the lowest ranks first.
pub(crate) fn together<T: Into<String>>(
    said: impl Iterator<Item = (Rank, Vec<T>)>,
) -> Vec<(BTreeSet<Rank>, Vec<String>)> {
    let mut by_text: BTreeMap<String, (BTreeSet<Rank>, usize)> = BTreeMap::new();
    for (rank, texts) in said {
        for text in texts {
            let place = by_text.len();
            by_text.entry(text.into()).or_insert((BTreeSet::new(), place)).0.insert(rank);
        }
    }
    let mut groups: BTreeMap<BTreeSet<Rank>, Vec<(usize, String)>> = BTreeMap::new();
    for (text, (ranks, place)) in by_text {
        groups.entry(ranks).or_default().push((place, text));
    }
    let sorted = groups.into_iter().map(|(ranks, mut texts)| {
        texts.sort_unstable();
        (ranks, texts.into_iter().map(|(_, text)| text).collect())
    });
    sorted.collect()
}

/// Several ranks, or the one as `name` calls it.
pub(crate) fn called(ranks: &BTreeSet<Rank>, name: impl Fn(Rank) -> String) -> String {
    match ranks.first() {
        Some(rank) if ranks.len() == 1 => name(*rank),
        _ => crate::cluster::ranks::named(ranks),
    }
}

fn failed_files(peer: &PeerReport) -> Vec<String> {
    let failed = peer.files.iter().filter(|file| file.state == FileState::Failed);
    let failed = failed.map(|file| {
        let reason = file.reason.as_deref().unwrap_or("for no stated reason");
        format!("{} failed: {reason}", file.name)
    });
    failed.collect()
}

/// Who was caught giving wrong bytes, a sentence for each rank that was banned. No failure by
/// itself.
pub(crate) fn bans(report: &Report) -> Vec<String> {
    let mut banned: BTreeMap<Rank, Vec<String>> = Default::default();
    for peer in &report.peers {
        for rank in &peer.banned {
            banned.entry(*rank).or_default().push(peer.rank.to_string());
        }
    }
    banned
        .into_iter()
        .map(|(rank, by)| {
            let noun = if by.len() == 1 { "rank" } else { "ranks" };
            format!("rank {rank} gave wrong bytes and was banned by {noun} {}", by.join(", "))
        })
        .collect()
}
