//! The table at the end of a run, on stdout.

use crate::cluster::failures;
use crate::console::out::{self, Page, Paint};
use dunlin_base::{format_rate, format_size};
use dunlin_cluster::{FileState, PeerReport, PeerState, Report};
use std::io;

const HEAD: [&str; 11] = [
    "rank",
    "role",
    "files",
    "pieces",
    "sources",
    "served",
    "rejected",
    "bad",
    "refreshes",
    "resumed",
    "seconds",
];
/// The column with words: aligned left, all others right.
const WORDS: usize = 1;

/// Writes the table, what went wrong below it, and one line of totals.
///
/// # Errors
/// If `to` refuses.
pub(crate) fn write(report: &Report, to: &mut Page<'_>) -> io::Result<()> {
    let rows: Vec<[String; 11]> = report.peers.iter().map(row).collect();
    let mut widths = HEAD.map(str::len);
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
    to.line(totals(report))?;
    for sentence in failures::failures(report) {
        to.painted(Paint::Red, sentence)?;
    }
    for sentence in failures::bans(report) {
        to.line(sentence)?;
    }
    Ok(())
}

/// Writes the table to stdout.
///
/// # Errors
/// If stdout takes no more for another reason than that its reader went away.
pub(crate) fn print(report: &Report) -> Result<(), crate::exit::Failure> {
    out::data(|page| write(report, page))
}

fn row(peer: &PeerReport) -> [String; 11] {
    let complete = peer.files.iter().filter(|file| file.state == FileState::Complete).count();
    [
        peer.rank.to_string(),
        match peer.state {
            PeerState::Dead => "dead".to_owned(),
            PeerState::Absent => "absent".to_owned(),
            PeerState::Complete | PeerState::Failed => peer.role.name().to_owned(),
        },
        format!("{complete}/{}", peer.files.len()),
        peer.pieces_from.values().sum::<u64>().to_string(),
        peer.sources().to_string(),
        peer.pieces_served.to_string(),
        peer.rejected.to_string(),
        peer.bad_pieces.to_string(),
        peer.refreshes.to_string(),
        peer.pieces_resumed.to_string(),
        format!("{:.1}", peer.seconds),
    ]
}

fn line(cells: &[String; 11], widths: &[usize; 11]) -> String {
    let mut text = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = if column == 0 { "" } else { "  " };
        text.push_str(gap);
        text.push_str(&match column {
            WORDS => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
    }
    text
}

fn totals(report: &Report) -> String {
    let complete = report.peers.iter().filter(|peer| peer.state == PeerState::Complete).count();
    // Shown to people only: a rate over less than a millisecond says nothing.
    let rate = report.bytes_moved as f64 / report.seconds.max(0.001);
    format!(
        "{complete} of {} peers complete; {} moved in {:.1} s, {}",
        report.peers.len(),
        format_size(report.bytes_moved),
        report.seconds,
        format_rate(rate as u64),
    )
}
