//! The table at the end of a run, on stdout: a row for each rank, and one line of totals.

use super::failures;
use crate::console::out::{Page, Paint};
use dunlin_base::{Rank, format_rate, format_size};
use dunlin_cluster::{FileState, PeerReport, PeerState, Report};
use std::collections::BTreeMap;
use std::io;

/// The columns of a `swarm`.
const SWARM: Columns<11> = Columns {
    head: [
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
    ],
    words: &[1],
};
/// The columns of a `cast` or `place`.
const PLACE: Columns<8> = Columns {
    head: ["rank", "host", "state", "files", "fetched", "linked", "sent", "seconds"],
    words: &[1, 2],
};

/// The columns of a table.
struct Columns<const N: usize> {
    head: [&'static str; N],
    /// Those with words: aligned left, all others right.
    words: &'static [usize],
}

/// Writes the table of a `swarm`, its totals, and what went wrong.
///
/// # Errors
/// If `to` refuses.
pub(crate) fn write_swarm(report: &Report, to: &mut Page<'_>) -> io::Result<()> {
    SWARM.write(report, swarm_row, to)?;
    to.line(format_args!(
        "{} of {} peers complete; {} moved in {:.1} s, {}",
        complete(report),
        report.peers.len(),
        format_size(report.bytes_moved),
        report.seconds,
        rate(report),
    ))?;
    for sentence in failures::failures(report) {
        to.painted(Paint::Red, sentence)?;
    }
    for sentence in failures::bans(report) {
        to.line(sentence)?;
    }
    Ok(())
}

/// Writes the table of a `cast` or `place`, and its totals.
///
/// # Errors
/// If `to` refuses.
pub(crate) fn write_place(
    report: &Report,
    hosts: &BTreeMap<Rank, String>,
    to: &mut Page<'_>,
) -> io::Result<()> {
    PLACE.write(report, |peer| place_row(peer, hosts), to)?;
    to.line(format_args!(
        "{} of {} ranks complete; {} moved, {} linked in {:.1} s, {}",
        complete(report),
        report.peers.len(),
        format_size(report.bytes_moved),
        format_size(report.bytes_linked),
        report.seconds,
        rate(report),
    ))
}

fn swarm_row(peer: &PeerReport) -> [String; 11] {
    [
        peer.rank.to_string(),
        match peer.state {
            PeerState::Dead => "dead".to_owned(),
            PeerState::Absent => "absent".to_owned(),
            PeerState::Complete | PeerState::Failed => peer.role.name().to_owned(),
        },
        files(peer),
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

fn place_row(peer: &PeerReport, hosts: &BTreeMap<Rank, String>) -> [String; 8] {
    [
        peer.rank.to_string(),
        hosts.get(&peer.rank).cloned().unwrap_or_default(),
        peer.state.name().to_owned(),
        files(peer),
        format_size(peer.bytes_moved),
        format_size(peer.bytes_linked),
        format_size(peer.bytes_sent),
        format!("{:.1}", peer.seconds),
    ]
}

fn files(peer: &PeerReport) -> String {
    let complete = peer.files.iter().filter(|file| file.state == FileState::Complete).count();
    format!("{complete}/{}", peer.files.len())
}

fn complete(report: &Report) -> usize {
    report.peers.iter().filter(|peer| peer.state == PeerState::Complete).count()
}

/// Shown to people only: a rate over less than a millisecond means nothing.
fn rate(report: &Report) -> String {
    format_rate((report.bytes_moved as f64 / report.seconds.max(0.001)) as u64)
}

impl<const N: usize> Columns<N> {
    /// Writes the head and a row for each peer, as wide as their cells.
    fn write(
        &self,
        report: &Report,
        row: impl Fn(&PeerReport) -> [String; N],
        to: &mut Page<'_>,
    ) -> io::Result<()> {
        let rows: Vec<[String; N]> = report.peers.iter().map(row).collect();
        let mut widths = self.head.map(|head| head.chars().count());
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        to.painted(Paint::Bold, self.line(&self.head.map(str::to_owned), &widths))?;
        for (peer, row) in report.peers.iter().zip(&rows) {
            let well = peer.state == PeerState::Complete;
            let paint = if well { Paint::Plain } else { Paint::Red };
            to.painted(paint, self.line(row, &widths))?;
        }
        Ok(())
    }

    fn line(&self, cells: &[String; N], widths: &[usize; N]) -> String {
        let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| match self
            .words
            .contains(&column)
        {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ")
    }
}
