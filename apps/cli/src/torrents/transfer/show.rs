//! What people and programs see of `get` and `seed`: a line a second or bars on stderr, and in the
//! end a table or one JSON document on stdout.

use super::progress::{TorrentProgress, TransferOutcome};
use crate::console::progress::{Bar, Bars, ProgressMode};
use crate::console::{json, out};
use crate::exit::{Exit, Failure};
use dunlin_base::{TorrentId, format_rate, format_size};
use dunlin_engine::io::{TorrentState, TorrentView};
use dunlin_net::Net;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Between two lines.
const LINE: Duration = Duration::from_secs(1);
/// Torrents that have a bar, or a line, of their own.
const MAX_BARS: usize = 8;
/// What one bar looks like.
const BAR: &str = "[{bar:16}] {percent:>3}%  {wide_msg}";
/// Notes that are shown once each, at most.
const MAX_NOTES: usize = 1000;

/// Says where we listen.
pub(super) fn listening(net: &Net) {
    for address in net.addresses() {
        out::notice(&format!("listening at {address}"));
    }
}

/// Where progress is shown.
pub(super) struct Screen {
    mode: ProgressMode,
    shown: Instant,
    bars: Bars,
    bar: BTreeMap<TorrentId, Bar>,
    said: BTreeSet<String>,
}

impl Screen {
    pub(super) fn new(quiet: bool) -> Screen {
        Screen {
            mode: ProgressMode::of(quiet),
            shown: Instant::now(),
            bars: Bars::new(),
            bar: BTreeMap::new(),
            said: BTreeSet::new(),
        }
    }

    /// Shows something that people should know, once.
    pub(super) fn once(&mut self, text: &str) {
        if self.mode == ProgressMode::Quiet
            || self.said.len() >= MAX_NOTES
            || !self.said.insert(text.to_owned())
        {
            return;
        }
        match self.mode {
            ProgressMode::Bars => self.bars.say(text),
            _ => out::notice(text),
        }
    }

    /// Shows how far everything is.
    pub(super) fn draw(&mut self, torrents: &BTreeMap<TorrentId, TorrentProgress>) {
        match self.mode {
            ProgressMode::Quiet => {}
            ProgressMode::Lines if self.shown.elapsed() < LINE => {}
            ProgressMode::Lines => {
                self.shown = Instant::now();
                torrents.values().take(MAX_BARS).for_each(|one| out::notice(&line(one)));
            }
            ProgressMode::Bars => {
                for (id, progress) in torrents.iter().take(MAX_BARS) {
                    let bars = &self.bars;
                    let bar = self.bar.entry(*id).or_insert_with(|| bars.add(BAR, ""));
                    let (have, wanted) = far(progress);
                    bar.draw(have, wanted.max(1), &line(progress));
                }
            }
        }
    }

    pub(super) fn end(self) {
        self.bar.values().for_each(Bar::abandon);
    }
}

fn far(progress: &TorrentProgress) -> (u64, u64) {
    match (progress.checking, &progress.view) {
        (Some(checking), _) => checking,
        (None, Some(view)) => (view.have, view.wanted),
        (None, None) => (0, 0),
    }
}

/// One torrent in a line.
fn line(progress: &TorrentProgress) -> String {
    let (have, wanted) = far(progress);
    let percent = if wanted == 0 { 0 } else { u128::from(have) * 100 / u128::from(wanted) };
    let mut text = format!("{}  {}  {percent}%", progress.name, word(progress.state));
    if let Some(view) = &progress.view {
        let (down, up) = (format_rate(view.rate_down.0), format_rate(view.rate_up.0));
        text += &format!(
            " of {}  {down} down  {up} up  {} peers, {} seeds",
            format_size(wanted),
            view.peers,
            view.seeds
        );
    }
    text
}

/// A state in a word, for people and programs.
fn word(state: Option<TorrentState>) -> &'static str {
    match state {
        None | Some(TorrentState::Checking) => "checking",
        Some(TorrentState::Metadata) => "metadata",
        Some(TorrentState::Downloading) => "downloading",
        Some(TorrentState::Seeding) => "seeding",
        Some(TorrentState::Paused) => "paused",
        Some(TorrentState::DiskFull) => "disk-full",
        Some(TorrentState::Failed) => "failed",
        Some(TorrentState::Done) => "done",
    }
}

/// The end: a document or a table on stdout, what went wrong on stderr.
pub(super) fn report(ended: &TransferOutcome, as_json: bool, quiet: bool) -> Result<(), Failure> {
    if ended.exit != Exit::Ok {
        ended.messages.iter().for_each(|text| out::error(text));
    }
    if as_json {
        let document = TransferDocument {
            exit: ended.exit.code(),
            interrupted: ended.interrupted,
            seconds: ended.seconds,
            torrents: ended.torrents.values().map(TorrentDocument::of).collect(),
        };
        return out::document(&json::report(document, ended.exit, &ended.messages.join("\n")));
    }
    if quiet {
        return Ok(());
    }
    out::data(|page| {
        for progress in ended.torrents.values() {
            let (have, wanted) =
                progress.view.as_ref().map_or((0, 0), |one| (one.have, one.wanted));
            let (got, gave) = progress.view.as_ref().map_or((0, 0), |one| (one.received, one.sent));
            let state = if progress.complete { "complete" } else { word(progress.state) };
            page.line(format_args!(
                "{}  {state}  {} of {}  {} received  {} sent",
                progress.name,
                format_size(have),
                format_size(wanted),
                format_size(got),
                format_size(gave)
            ))?;
        }
        Ok(())
    })
}

/// The document of `--json`, but for what all of them have.
#[derive(Serialize)]
struct TransferDocument<'a> {
    exit: u8,
    interrupted: bool,
    seconds: f64,
    torrents: Vec<TorrentDocument<'a>>,
}

/// One torrent in it.
#[derive(Serialize)]
struct TorrentDocument<'a> {
    name: &'a str,
    info_hash: Option<String>,
    info_hash_v2: Option<String>,
    state: &'static str,
    complete: bool,
    reason: Option<&'a str>,
    bytes_wanted: u64,
    bytes_have: u64,
    bytes_checked: u64,
    bytes_received: u64,
    bytes_sent: u64,
    files: Vec<FileDocument<'a>>,
    peers: Vec<PeerDocument<'a>>,
    trackers: &'a BTreeMap<String, String>,
}

/// One file of a torrent.
#[derive(Serialize)]
struct FileDocument<'a> {
    name: &'a str,
    length: u64,
    wanted: bool,
    error: Option<&'a str>,
}

/// One peer of a torrent.
#[derive(Serialize)]
struct PeerDocument<'a> {
    address: Option<IpAddr>,
    program: &'a str,
    bytes_received: u64,
    bytes_sent: u64,
}

impl TorrentDocument<'_> {
    fn of(progress: &TorrentProgress) -> TorrentDocument<'_> {
        let view = progress.view.as_ref();
        let number = |of: fn(&TorrentView) -> u64| view.map_or(0, of);
        let failed: BTreeMap<&str, &str> =
            progress.faults.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        let files = progress.files.iter().map(|(name, length, wanted)| FileDocument {
            name,
            length: *length,
            wanted: *wanted,
            error: failed.get(name.as_str()).copied(),
        });
        let peers =
            progress.peers.iter().map(|((address, program), (received, sent))| PeerDocument {
                address: *address,
                program,
                bytes_received: *received,
                bytes_sent: *sent,
            });
        TorrentDocument {
            name: &progress.name,
            info_hash: progress.hashes.v1.map(|hash| hash.to_string()),
            info_hash_v2: progress.hashes.v2.map(|hash| dunlin_base::hex(&hash)),
            state: word(progress.state),
            complete: progress.complete,
            reason: progress.reason.as_deref(),
            bytes_wanted: number(|view| view.wanted),
            bytes_have: number(|view| view.have),
            bytes_checked: progress.checked,
            bytes_received: number(|view| view.received),
            bytes_sent: number(|view| view.sent),
            files: files.collect(),
            peers: peers.collect(),
            trackers: &progress.trackers,
        }
    }
}
