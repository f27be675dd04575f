//! What went wrong in a run, in sentences for people.

use dunlin_base::Rank;
use dunlin_cluster::{FileState, PeerReport, PeerState, Report};

/// How many failed files of one peer are named one by one; the others are counted. A report of
/// 20 000 failures helps nobody, and the document of `--json` has them all.
const NAMED_FILES: usize = 8;

/// Why the run is not ok: what stopped it as a whole; dead, absent and failed peers with their
/// reasons, a sentence each. Empty if all is well.
pub(crate) fn failures(report: &Report) -> Vec<String> {
    failures_at(report, |rank| format!("rank {rank}"))
}

/// The same, with ranks called as `name` calls them.
pub(crate) fn failures_at(report: &Report, name: impl Fn(Rank) -> String) -> Vec<String> {
    let mut sentences: Vec<String> = report.refused.iter().cloned().collect();
    // The reason for all files is the one for the whole run.
    let files = |peer: &PeerReport| match report.never_began {
        true => Vec::new(),
        false => failed_files(peer, &name(peer.rank)),
    };
    sentences.extend(report.errors.iter().map(ToString::to_string));
    for peer in &report.peers {
        match peer.state {
            PeerState::Dead => {
                sentences.push(format!("{} died: it stopped without a word", name(peer.rank)));
            }
            PeerState::Absent => sentences.push(format!("{} never registered", name(peer.rank))),
            PeerState::Complete | PeerState::Failed => sentences.extend(files(peer)),
        }
        let own = peer.errors.iter().map(|error| format!("{}: {error}", name(peer.rank)));
        sentences.extend(own.take(NAMED_FILES));
    }
    sentences
}

fn failed_files(peer: &PeerReport, name: &str) -> Vec<String> {
    let failed = || peer.files.iter().filter(|file| file.state == FileState::Failed);
    let mut sentences: Vec<String> = failed()
        .take(NAMED_FILES)
        .map(|file| {
            let reason = file.reason.as_deref().unwrap_or("for no stated reason");
            format!("{name}: {} failed: {reason}", file.name)
        })
        .collect();
    let rest = failed().count().saturating_sub(NAMED_FILES);
    if rest > 0 {
        sentences.push(format!("{name}: {rest} more files failed (--json names all)"));
    }
    sentences
}

/// Who was caught giving wrong bytes, a sentence for each rank that was banned. No failure by
/// itself.
pub(crate) fn bans(report: &Report) -> Vec<String> {
    let mut banned: std::collections::BTreeMap<Rank, Vec<String>> = Default::default();
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
