//! `dunlin show TORRENT`: everything in a torrent, as a table or as JSON.

use super::{magnet, read};
use crate::console::json::SCHEMA;
use crate::console::out::{self, Page};
use crate::exit::{Exit, Failure};
use crate::torrents::args::ShowArgs;
use dunlin_base::{format_size, hex};
use dunlin_metainfo::{BLOCK_LENGTH, Torrent, TorrentFile};
use serde_json::{Value, json};
use std::io;

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// Runs the command.
///
/// # Errors
/// If there is no torrent, or none that we take (exit 4).
pub(crate) fn run(args: &ShowArgs) -> Result<Exit, Failure> {
    let (bytes, torrent) = read(&args.torrent)?;
    if args.json {
        out::document(&document(&torrent, bytes.len()))?;
    } else {
        out::data(|page| table(&torrent, bytes.len(), page))?;
    }
    Ok(Exit::Ok)
}

/// Version 1, version 2, or both.
fn format(torrent: &Torrent) -> &'static str {
    match (torrent.hashes.v1, torrent.hashes.v2) {
        (_, None) => "v1",
        (None, _) => "v2",
        _ => "hybrid",
    }
}

/// The document of a torrent whose .torrent file has so many bytes. Schema 1.
pub(crate) fn document(torrent: &Torrent, bytes: usize) -> Value {
    let geometry = torrent.geometry(BLOCK_LENGTH);
    let file = |(index, file): (usize, &TorrentFile)| {
        let padding = file.attributes.pad;
        json!({
            "index": index,
            "path": file.path.join("/"),
            "stored": if padding { None } else { torrent.stored_path(index) },
            "size": file.length,
            "padding": padding,
            "executable": file.attributes.executable,
            "hidden": file.attributes.hidden,
            "link": file.target.as_ref().map(|target| target.join("/")),
            "pieces_root": file.root.map(|root| hex(&root)),
        })
    };
    let nodes = torrent.nodes.iter().map(|(host, port)| json!({ "host": host, "port": port }));
    json!({
        "schema": SCHEMA,
        "ok": true,
        "torrent": {
            "name": torrent.name,
            "info_hash": torrent.hashes.v1.map(|hash| hash.to_string()),
            "info_hash_v2": torrent.hashes.v2.map(|hash| hex(&hash)),
            "format": format(torrent),
            "private": torrent.private,
            "source": torrent.source,
            "comment": torrent.comment,
            "created_by": torrent.created_by,
            "creation_date": torrent.creation_date,
            "size": geometry.total_len(),
            "piece_size": torrent.piece_length,
            "pieces": geometry.pieces(),
            "single_file": torrent.single_file,
            "files": torrent.files.iter().enumerate().map(file).collect::<Vec<_>>(),
            "trackers": torrent.trackers,
            "web_seeds": torrent.web_seeds,
            "http_seeds": torrent.http_seeds,
            "nodes": nodes.collect::<Vec<_>>(),
            "similar": torrent.similar.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "collections": torrent.collections,
            "missing_piece_layers": torrent.layers_missing().len(),
            "magnet": magnet::of(torrent).to_string(),
            "torrent_size": bytes,
            "info_size": torrent.info().len(),
            "warnings": torrent.warnings,
        },
    })
}

/// The table of a torrent: a row a thing, and its files at the end.
fn table(torrent: &Torrent, bytes: usize, to: &mut Page<'_>) -> io::Result<()> {
    let rows = rows(torrent, bytes);
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    for (label, lines) in rows {
        for (at, line) in lines.iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            to.line(format_args!("{label:>width$}  {line}"))?;
        }
    }
    Ok(())
}

type Row = (&'static str, Vec<String>);

fn rows(torrent: &Torrent, bytes: usize) -> Vec<Row> {
    let geometry = torrent.geometry(BLOCK_LENGTH);
    let stored = torrent.files.iter().filter(|file| !file.attributes.pad).count();
    let tier = |(at, tier): (usize, &Vec<String>)| {
        tier.iter().map(move |url| format!("tier {}: {url}", at + 1)).collect::<Vec<_>>()
    };
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let missing = torrent.layers_missing().len();
    let layers = match missing {
        0 => None,
        _ => Some(format!("of {missing} files missing; they come from peers")),
    };
    let node = |(host, port): &(String, u16)| format!("{host}:{port}");
    let rows: Vec<Row> = vec![
        ("name", vec![torrent.name.clone()]),
        ("comment", torrent.comment.iter().cloned().collect()),
        ("created", torrent.creation_date.map(utc).into_iter().collect()),
        ("created by", torrent.created_by.iter().cloned().collect()),
        ("source", torrent.source.iter().cloned().collect()),
        ("info-hash", torrent.hashes.v1.iter().map(ToString::to_string).collect()),
        ("info-hash v2", torrent.hashes.v2.iter().map(|hash| hex(hash)).collect()),
        ("format", vec![format(torrent).to_owned()]),
        ("private", vec![yes(torrent.private)]),
        ("torrent size", vec![size(bytes as u64)]),
        ("content size", vec![size(geometry.total_len())]),
        ("piece size", vec![size(u64::from(torrent.piece_length))]),
        ("pieces", vec![geometry.pieces().to_string()]),
        ("piece layers", layers.into_iter().collect()),
        ("trackers", torrent.trackers.iter().enumerate().flat_map(tier).collect()),
        ("web seeds", torrent.web_seeds.clone()),
        ("http seeds", torrent.http_seeds.clone()),
        ("DHT nodes", torrent.nodes.iter().map(node).collect()),
        ("similar", torrent.similar.iter().map(ToString::to_string).collect()),
        ("collections", torrent.collections.clone()),
        ("file count", vec![stored.to_string()]),
        ("files", tree(torrent)),
    ];
    rows.into_iter().filter(|(_, lines)| !lines.is_empty()).collect()
}

/// `1.5 MiB (1572864 bytes)`.
fn size(bytes: u64) -> String {
    match format_size(bytes) {
        short if bytes < 1024 => short,
        short => format!("{short} ({bytes} bytes)"),
    }
}

/// The files as a tree, padding left out, in the order of the torrent. A folder whose files do not
/// follow one another stands there more than once.
fn tree(torrent: &Torrent) -> Vec<String> {
    let files: Vec<&TorrentFile> =
        torrent.files.iter().filter(|file| !file.attributes.pad).collect();
    if torrent.single_file {
        return files.iter().map(|file| leaf(file)).collect();
    }
    let mut lines = vec![torrent.name.clone()];
    branch(&files, 0, "", &mut lines);
    lines
}

/// What is in one folder, the first `depth` components of all these paths. Paths are not deep.
fn branch(files: &[&TorrentFile], depth: usize, indent: &str, lines: &mut Vec<String>) {
    let is_file = |file: &TorrentFile| file.path.len() <= depth + 1;
    let together = |a: &&TorrentFile, b: &&TorrentFile| {
        !is_file(a) && !is_file(b) && a.path.get(depth) == b.path.get(depth)
    };
    let mut groups = files.chunk_by(together).peekable();
    while let Some(group) = groups.next() {
        let last = groups.peek().is_none();
        let Some(first) = group.first() else { continue };
        let arm = if last { "└─" } else { "├─" };
        if is_file(first) {
            lines.push(format!("{indent}{arm}{}", leaf(first)));
        } else {
            let name = first.path.get(depth).map_or("", String::as_str);
            lines.push(format!("{indent}{arm}{name}"));
            let below = format!("{indent}{}", if last { "  " } else { "│ " });
            branch(group, depth + 1, &below, lines);
        }
    }
}

fn leaf(file: &TorrentFile) -> String {
    let name = file.path.last().map_or("", String::as_str);
    match &file.target {
        Some(target) => format!("{name} -> {}", target.join("/")),
        None => format!("{name} [{}]", format_size(file.length)),
    }
}

/// Seconds since 1970 as a date and a time of UTC; only the number where that has no year of four
/// digits.
fn utc(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(SECONDS_A_DAY), seconds.rem_euclid(SECONDS_A_DAY));
    // The days of 400 years repeat; years are counted from March, so that a leap day comes last.
    let days = days.saturating_add(719_468);
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    if !(1..=9999).contains(&year) {
        return format!("{seconds} seconds after 1970");
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_people_read_them() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_700_000_000, "2023-11-14 22:13:20 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (i64::MAX, "9223372036854775807 seconds after 1970"),
            (i64::MIN, "-9223372036854775808 seconds after 1970"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(utc(seconds), expected);
        }
    }
}
