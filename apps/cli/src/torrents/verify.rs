//! `dunlin verify TORRENT`: whether files have the content of a torrent, all of it read and hashed.

mod look;

use super::read;
use crate::console::progress::{ProgressMode, Step};
use crate::console::signals::Watch;
use crate::console::{json, out};
use crate::exit::{Exit, Failure};
use crate::torrents::args::verify::VerifyArgs;
use dunlin_base::{Bitfield, FileIndex, PieceIndex, format_size, plain};
use dunlin_disk::{CheckFiles, Checked, DiskErrorKind, Fs, RealFs};
use dunlin_metainfo::{BLOCK_LENGTH, Content, Torrent};
use look::{PlacedFile, Presence};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs of pieces that are named for one file; the rest is counted.
const MAX_RUNS: usize = 8;

/// What is wrong with one file.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct WrongFile {
    /// Its path from where the torrent is stored.
    path: String,
    /// `wrong`, `missing`, `short`, `long`, `extra`, `unreadable` or `no file`.
    #[serde(rename = "fault")]
    what: &'static str,
    /// Its length in the torrent, and as it was found, in bytes.
    #[serde(rename = "length_expected")]
    expected: Option<u64>,
    #[serde(rename = "length_found")]
    found: Option<u64>,
    /// Its wrong pieces; a piece that several files share is wrong in all of them.
    #[serde(rename = "pieces_wrong")]
    pieces: Vec<u32>,
    /// Why it could not be read.
    #[serde(rename = "error")]
    why: Option<String>,
}

/// What a verification found.
#[derive(Debug)]
struct Verification {
    pieces: u32,
    right: u32,
    /// Pieces whose files are all there, and that are not what they must be.
    wrong: u32,
    files: usize,
    /// Bytes of all files.
    bytes: u64,
    faults: Vec<WrongFile>,
}

/// Runs the command.
///
/// # Errors
/// If the torrent or the folder cannot be read (exit 4), or a person stops it (exit 9).
pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, Failure> {
    let (_, torrent) = read(&args.torrent)?;
    let content = torrent.content(BLOCK_LENGTH).ok_or_else(|| {
        Failure::input(format!(
            "{}: it has no piece layers, so nothing can be verified; fetch it with `dunlin get`",
            args.torrent.display()
        ))
    })?;
    if !args.data.is_dir() {
        let data = args.data.display();
        return Err(Failure::input(format!(
            "{data} is no folder; give the one that holds `{}`",
            plain(&torrent.name)
        )));
    }
    // As `get` does: names are looked up from the folder, so that they may be as long as there.
    let fs = &*RealFs.inside(&args.data);
    let mut tried = BTreeMap::new();
    let mut stands = look::look(fs, &torrent, &content, &args.data, &tried)?;
    let mut checked = check(fs, args, &content, &stands)?;
    // A file has three names at most.
    for _ in 0..2 {
        let misled = misled(&content, &stands, &checked);
        if misled.is_empty() {
            break;
        }
        misled.into_iter().for_each(|file| *tried.entry(file).or_default() += 1);
        stands = look::look(fs, &torrent, &content, &args.data, &tried)?;
        checked = check(fs, args, &content, &stands)?;
    }
    let outcome = judge(&content, stands, &checked);
    let well = outcome.faults.is_empty() && outcome.right == outcome.pieces;
    let message = outcome.message(&torrent);
    let exit = if well { Exit::Ok } else { Exit::Mismatch };
    if args.json {
        out::document(&json::report(outcome.document(&torrent), exit, &message))?;
    } else {
        let lines: Vec<String> = outcome.faults.iter().map(WrongFile::line).collect();
        out::data(|page| lines.iter().try_for_each(|line| page.line(line)))?;
    }
    match well {
        true => out::notice(&message),
        false => out::error(&message),
    }
    Ok(exit)
}

/// Hashes everything that is there.
fn check(
    fs: &dyn Fs,
    args: &VerifyArgs,
    content: &Content,
    stands: &[PlacedFile],
) -> Result<Checked, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let _watch = Watch::start(true, {
        let stop = Arc::clone(&stop);
        move || stop.store(true, Ordering::Relaxed)
    })?;
    let paths: Vec<_> = stands.iter().map(PlacedFile::path).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let total = content.geometry.total_len();
    let what = format!("verifying {}", format_size(total));
    let mut step = Step::begin(ProgressMode::of(args.quiet), what, total);
    let check = CheckFiles { fs, content, paths: &paths, threads, budget: None, stop: &stop };
    let checked = check.run(&mut |done, _| {
        step.at(done);
        ControlFlow::Continue(())
    });
    step.end();
    checked.map_err(|error| match error.kind {
        DiskErrorKind::Interrupted => {
            let message = "interrupted; the same command starts again".to_owned();
            Failure { exit: Exit::Interrupted, message }
        }
        _ => Failure::disk(error),
    })
}

/// Files that are wrong under one of their names, where another one has a file of their length.
fn misled(content: &Content, stands: &[PlacedFile], checked: &Checked) -> BTreeSet<FileIndex> {
    let wrong = wrong_pieces(content, stands, &checked.right);
    let is_wrong =
        |file| content.geometry.file_pieces(file).any(|piece| wrong.has(PieceIndex(piece)));
    let twice = stands.iter().zip((0..).map(FileIndex)).filter(|(stands, _)| stands.twice);
    twice.map(|(_, file)| file).filter(|file| is_wrong(*file)).collect()
}

/// What is wrong with which file.
fn judge(content: &Content, stands: Vec<PlacedFile>, checked: &Checked) -> Verification {
    let wrong = wrong_pieces(content, &stands, &checked.right);
    let mut faults = Vec::new();
    let (mut files, mut bytes) = (0, 0);
    let mut extra = Vec::new();
    for (stands, index) in stands.into_iter().zip((0..).map(FileIndex)) {
        let PlacedFile { name, found, expected, .. } = stands;
        let fault = |what, found, pieces, why| WrongFile {
            path: name.clone(),
            what,
            expected,
            found,
            pieces,
            why,
        };
        if matches!(found, Presence::Nothing) {
            continue;
        }
        if let Presence::Extra(length) = found {
            extra.push(fault("extra", Some(length), Vec::new(), None));
            continue;
        }
        files += 1;
        bytes += expected.unwrap_or_default();
        let pieces = content.geometry.file_pieces(index);
        let pieces: Vec<u32> = pieces.filter(|piece| wrong.has(PieceIndex(*piece))).collect();
        let failed = checked.failed.iter().find(|(file, _)| *file == index);
        match found {
            Presence::Missing => faults.push(fault("missing", None, pieces, None)),
            Presence::NoFile => faults.push(fault("no file", None, pieces, None)),
            Presence::File(length) if Some(length) < expected => {
                faults.push(fault("short", Some(length), pieces, None));
            }
            Presence::File(length) if Some(length) > expected => {
                faults.push(fault("long", Some(length), pieces, None));
            }
            _ => match failed {
                Some((_, error)) => {
                    let why = Some(error.to_string());
                    faults.push(fault("unreadable", None, pieces, why));
                }
                None if !pieces.is_empty() => faults.push(fault("wrong", None, pieces, None)),
                None => {}
            },
        }
    }
    faults.extend(extra);
    Verification {
        pieces: content.geometry.pieces(),
        right: checked.right.count(),
        wrong: wrong.count(),
        files,
        bytes,
        faults,
    }
}

/// The pieces that are all there and not what they must be. Where a file is missing or too short,
/// its piece does not show which of the bytes that are there are right.
fn wrong_pieces(content: &Content, stands: &[PlacedFile], right: &Bitfield) -> Bitfield {
    let geometry = &content.geometry;
    let mut wrong = Bitfield::new(geometry.pieces());
    let there = |extent: dunlin_metainfo::Extent| {
        let found = stands.get(extent.file.index()).map(|stands| &stands.found);
        let end = extent.offset + u64::from(extent.len);
        matches!(found, Some(Presence::File(length)) if *length >= end)
    };
    for piece in right.zeros() {
        let whole = dunlin_base::BlockRef { piece, begin: 0, len: geometry.data_len(piece) };
        if geometry.extents(whole).all(there) {
            wrong.set(piece);
        }
    }
    wrong
}

impl Verification {
    /// One sentence for people.
    fn message(&self, torrent: &Torrent) -> String {
        let name = plain(&torrent.name);
        if self.faults.is_empty() && self.right == self.pieces {
            let (size, pieces) = (format_size(self.bytes), self.pieces);
            return format!("{name}: all {pieces} pieces are right ({size}, {} files)", self.files);
        }
        let mut parts = Vec::new();
        for what in ["wrong", "missing", "short", "long", "unreadable", "no file", "extra"] {
            let count = self.faults.iter().filter(|fault| fault.what == what).count();
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        format!(
            "{name}: {} of {} pieces are right; files: {}; {}",
            self.right,
            self.pieces,
            parts.join(", "),
            self.advice()
        )
    }

    /// What a person can do. `get` replaces files, and nothing else.
    fn advice(&self) -> &'static str {
        let any = |what: &str| self.faults.iter().any(|fault| fault.what == what);
        let extra = self.faults.iter().all(|fault| fault.what == "extra");
        if any("no file") {
            "move away what is no file, then `dunlin get --force` fetches what is not right"
        } else if extra && self.right == self.pieces {
            "all that the torrent has is right, and `dunlin get` leaves the rest alone"
        } else {
            "`dunlin get --force` fetches what is not"
        }
    }

    fn document<'a>(&'a self, torrent: &'a Torrent) -> VerifyDocument<'a> {
        let named = self.faults.iter().filter(|fault| fault.what != "extra").count();
        VerifyDocument {
            name: &torrent.name,
            info_hash: torrent.hashes.v1.map(|hash| hash.to_string()),
            info_hash_v2: torrent.hashes.v2.map(|hash| dunlin_base::hex(&hash)),
            pieces: self.pieces,
            pieces_right: self.right,
            pieces_wrong: self.wrong,
            files: self.files,
            files_right: self.files - named,
            bytes: self.bytes,
            faults: &self.faults,
        }
    }
}

/// The document of `--json`, but for what all of them have.
#[derive(Serialize)]
struct VerifyDocument<'a> {
    name: &'a str,
    info_hash: Option<String>,
    info_hash_v2: Option<String>,
    pieces: u32,
    pieces_right: u32,
    pieces_wrong: u32,
    files: usize,
    files_right: usize,
    bytes: u64,
    faults: &'a [WrongFile],
}

impl WrongFile {
    /// One line for people, which begins with what is wrong.
    fn line(&self) -> String {
        let mut line = format!("{:<10}  {}", self.what, plain(&self.path));
        match (self.what, self.expected, self.found) {
            ("short" | "long", Some(expected), Some(found)) => {
                line.push_str(&format!("  {found} bytes, expected {expected}"));
            }
            ("extra", _, Some(found)) => line.push_str(&format!("  {found} bytes")),
            _ => {}
        }
        if !self.pieces.is_empty() {
            line.push_str(&format!("  {}", pieces(&self.pieces)));
        }
        if let Some(why) = &self.why {
            line.push_str(&format!("  {}", plain(why)));
        }
        line
    }
}

/// `piece 3`, or `pieces 3, 5-9`.
fn pieces(wrong: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for piece in wrong {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == *piece => *end = *piece,
            _ => runs.push((*piece, *piece)),
        }
    }
    let run = |(start, end): &(u32, u32)| match start == end {
        true => start.to_string(),
        false => format!("{start}-{end}"),
    };
    let shown: Vec<_> = runs.iter().take(MAX_RUNS).map(run).collect();
    let word = if wrong.len() == 1 { "piece" } else { "pieces" };
    let more = if runs.len() > MAX_RUNS { " and more" } else { "" };
    format!("{word} {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_named_in_runs() {
        let cases: [(&[u32], &str); 4] = [
            (&[3], "piece 3"),
            (&[3, 4], "pieces 3-4"),
            (&[0, 2, 3, 9], "pieces 0, 2-3, 9"),
            (&[0, 2, 4, 6, 8, 10, 12, 14, 16], "pieces 0, 2, 4, 6, 8, 10, 12, 14 and more"),
        ];
        for (wrong, text) in cases {
            assert_eq!(pieces(wrong), text);
        }
    }
}
