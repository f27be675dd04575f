//! The table at the end of a `cast` or `place`: what came to each rank, and how.

use super::HostNames;
use crate::console::out::{Page, Paint};
use dunlin_base::{format_rate, format_size};
use dunlin_cluster::{FileState, PeerReport, PeerState, Report};
use std::io;

const HEAD: [&str; 8] = ["rank", "host", "state", "files", "fetched", "linked", "sent", "seconds"];
/// The columns with words: aligned left, all others right.
const WORDS: [usize; 2] = [1, 2];

/// Writes the table and one line of totals.
///
/// # Errors
/// If `to` refuses.
pub(super) fn write(report: &Report, hosts: &HostNames, to: &mut Page<'_>) -> io::Result<()> {
    let rows: Vec<[String; 8]> = report.peers.iter().map(|peer| row(peer, hosts)).collect();
    let mut widths = HEAD.map(|head| head.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    to.painted(Paint::Bold, line(&HEAD.map(str::to_owned), &widths))?;
    for (peer, row) in report.peers.iter().zip(&rows) {
        let well = peer.state == PeerState::Complete;
        let paint = if well { Paint::Plain } else { Paint::Red };
        to.painted(paint, line(row, &widths))?;
    }
    let complete = report.peers.iter().filter(|peer| peer.state == PeerState::Complete).count();
    // Shown to people only: a rate over less than a millisecond says nothing.
    let rate = report.bytes_moved as f64 / report.seconds.max(0.001);
    to.line(format_args!(
        "{complete} of {} ranks complete; {} moved, {} linked in {:.1} s, {}",
        report.peers.len(),
        format_size(report.bytes_moved),
        format_size(report.bytes_linked),
        report.seconds,
        format_rate(rate as u64),
    ))
}

fn row(peer: &PeerReport, hosts: &HostNames) -> [String; 8] {
    let complete = peer.files.iter().filter(|file| file.state == FileState::Complete).count();
    [
        peer.rank.to_string(),
        hosts.get(&peer.rank).cloned().unwrap_or_default(),
        peer.state.name().to_owned(),
        format!("{complete}/{}", peer.files.len()),
        format_size(peer.bytes_moved),
        format_size(peer.bytes_linked),
        format_size(peer.bytes_sent),
        format!("{:.1}", peer.seconds),
    ]
}

fn line(cells: &[String; 8], widths: &[usize; 8]) -> String {
    let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
        match WORDS.contains(&column) {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        }
    });
    padded.collect::<Vec<_>>().join("  ")
}
