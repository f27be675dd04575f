//! What went wrong in a run, in sentences for people.

use dunlin_base::Rank;
use dunlin_cluster::{FileState, PeerReport, PeerState, Report};

/// How many failed files of one peer are named one by one; the others are counted. A report of
/// 20 000 failures helps nobody, and the document of `--json` has them all.
const NAMED_FILES: usize = 8;

/// Why the run is not ok: what stopped it as a whole; dead, absent and failed peers with their
/// reasons, a sentence each. Empty if all is well.
pub(crate) fn failures(report: &Report) -> Vec<String> {
    let mut sentences: Vec<String> = report.refused.iter().cloned().collect();
    // The reason for all files is the one for the whole run.
    let files = |peer| if report.never_began { Vec::new() } else { failed_files(peer) };
    sentences.extend(report.errors.iter().map(ToString::to_string));
    for peer in &report.peers {
        match peer.state {
            PeerState::Dead => {
                sentences.push(format!("rank {} died: it stopped without a word", peer.rank));
            }
            PeerState::Absent => sentences.push(format!("rank {} never registered", peer.rank)),
            PeerState::Complete | PeerState::Failed => sentences.extend(files(peer)),
        }
        let own = peer.errors.iter().map(|error| format!("rank {}: {error}", peer.rank));
        sentences.extend(own.take(NAMED_FILES));
    }
    sentences
}

fn failed_files(peer: &PeerReport) -> Vec<String> {
    let failed = || peer.files.iter().filter(|file| file.state == FileState::Failed);
    let mut sentences: Vec<String> = failed()
        .take(NAMED_FILES)
        .map(|file| {
            let reason = file.reason.as_deref().unwrap_or("for no stated reason");
            format!("rank {}: {} failed: {reason}", peer.rank, file.name)
        })
        .collect();
    let rest = failed().count().saturating_sub(NAMED_FILES);
    if rest > 0 {
        sentences.push(format!("rank {}: {rest} more files failed (--json names all)", peer.rank));
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
