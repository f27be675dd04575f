//! Runs `get` and `seed`: starts the world, handles its events, decides when it is over and how it
//! ended.

use super::faults;
use super::progress::{TorrentProgress, TransferOutcome};
use super::show::{self, Screen};
use super::source::{self, TorrentSource};
use crate::console::out;
use crate::console::signals::Watch;
use crate::exit::{Exit, Failure};
use dunlin_base::{TorrentId, format_size};
use dunlin_disk::{DiskError, DiskErrorKind, FileFault, RealFs};
use dunlin_engine::io::{ClientEvent, Command, TorrentState};
use dunlin_net::{Net, NetConfig, NetError, NetEvent, NewTorrent};
use dunlin_plan::Pattern;
use dunlin_tracker::TrackerUrl;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often numbers are looked at.
const TICK: Duration = Duration::from_millis(100);

/// The reason of a torrent without a tracker and without a peer.
const ALONE: &str = "no tracker and no peer is known: give --tracker or --peer";

/// Everything that a run is given.
pub(super) struct TransferJob {
    pub(super) config: NetConfig,
    pub(super) new: Vec<NewTorrent>,
    pub(super) wanted: Vec<TorrentSource>,
    pub(super) select: Vec<Pattern>,
    pub(super) patience: Option<Duration>,
    /// It is there to fetch; otherwise to seed.
    pub(super) fetches: bool,
    pub(super) json: bool,
    pub(super) quiet: bool,
}

/// Runs until everything is done, has failed, or was stopped.
pub(super) fn run(job: TransferJob) -> Result<Exit, Failure> {
    let start = Instant::now();
    let (json, quiet, fetches) = (job.json, job.quiet, job.fetches);
    let mut torrents = BTreeMap::new();
    for (new, wanted) in job.new.iter().zip(&job.wanted) {
        let mut progress = TorrentProgress::begin(wanted, &new.add.priorities);
        progress.folder.clone_from(&new.folder);
        progress.alone = fetches && new.add.trackers.is_empty() && new.add.peers.is_empty();
        torrents.insert(new.add.torrent, progress);
    }
    let watch = Watch::start(true, || {})?;
    let (net, heard) = Net::start(job.config).map_err(|error| not_started(&error))?;
    if !quiet {
        show::listening(&net);
    }
    job.new.into_iter().for_each(|new| net.add(new));
    let mut running = Transfer {
        net,
        heard,
        wanted: job.wanted,
        select: job.select,
        patience: job.patience,
        fetches,
        torrents,
        screen: Screen::new(quiet),
        stopping: false,
    };
    running.name_alone();
    let interrupted = running.until_over(&watch);
    // What came while it stopped counts, too.
    running.look();
    let Transfer { net, torrents, screen, .. } = running;
    screen.end();
    net.join();
    let (exit, messages) = verdict(&torrents, interrupted, fetches);
    let seconds = start.elapsed().as_secs_f64();
    let ended = TransferOutcome { torrents, interrupted, seconds, exit, messages };
    show::report(&ended, json, quiet)?;
    Ok(ended.exit)
}

fn not_started(error: &NetError) -> Failure {
    let exit = match error {
        NetError::Listen { .. } => Exit::Network,
        NetError::System(_) => Exit::Environment,
    };
    Failure { exit, message: error.to_string() }
}

/// A run under way.
struct Transfer {
    net: Net,
    heard: Receiver<NetEvent>,
    wanted: Vec<TorrentSource>,
    select: Vec<Pattern>,
    patience: Option<Duration>,
    fetches: bool,
    torrents: BTreeMap<TorrentId, TorrentProgress>,
    screen: Screen,
    stopping: bool,
}

impl Transfer {
    /// Warns of torrents to fetch for which no peer can be found.
    fn name_alone(&mut self) {
        for progress in self.torrents.values().filter(|progress| progress.alone) {
            let name = &progress.name;
            self.screen.once(&format!("{name}: {ALONE}; it waits for peers that connect to it"));
        }
    }

    /// Whether a person stopped it.
    fn until_over(&mut self, watch: &Watch) -> bool {
        let mut interrupted = false;
        loop {
            match self.heard.recv_timeout(TICK) {
                Ok(NetEvent::Stopped) | Err(RecvTimeoutError::Disconnected) => return interrupted,
                Ok(event) => self.event(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if watch.interrupted() && !interrupted {
                interrupted = true;
                self.stop();
            }
            self.look();
            if !self.stopping && self.torrents.values().all(TorrentProgress::is_over) {
                self.stop();
            }
        }
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.net.command(Command::Stop);
        }
    }

    fn event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Client(event) => self.torrent_event(event),
            NetEvent::Checking { torrent, done, total } => {
                if let Some(progress) = self.torrents.get_mut(&torrent) {
                    progress.checking = Some((done, total));
                    progress.checked = progress.checked.max(total);
                }
            }
            NetEvent::Faults { torrent, faults } => self.faults(torrent, &faults),
            NetEvent::OpenFailed { torrent, error } => {
                if let DiskErrorKind::NothingRight(faults) = &error.kind {
                    self.faults(torrent, faults);
                    self.refuse(torrent, faults);
                }
                if let Some(progress) = self.torrents.get_mut(&torrent) {
                    progress.disk = Some(error);
                }
            }
            NetEvent::Swarm(_) | NetEvent::Removed { .. } | NetEvent::Stopped => {}
        }
    }

    /// Reports what is wrong with the files of a torrent that is seeded.
    fn faults(&mut self, torrent: TorrentId, faults: &[FileFault]) {
        let metainfo = self.wanted.get(torrent.0 as usize).and_then(TorrentSource::metainfo);
        let (Some(progress), Some(metainfo)) = (self.torrents.get_mut(&torrent), metainfo) else {
            return;
        };
        let named =
            |one: &FileFault| (faults::name_of(metainfo, one.file), faults::words(metainfo, one));
        progress.faults = faults.iter().map(named).collect();
        for line in faults::lines(metainfo, faults) {
            self.screen.once(&line);
        }
    }

    /// Nothing of a torrent that is to be seeded is right.
    fn refuse(&mut self, torrent: TorrentId, faults: &[FileFault]) {
        let metainfo = self.wanted.get(torrent.0 as usize).and_then(TorrentSource::metainfo);
        if let (Some(progress), Some(metainfo)) = (self.torrents.get_mut(&torrent), metainfo) {
            let folder = &progress.folder;
            progress.refusal = Some(faults::refusal(&RealFs, metainfo, folder, faults));
        }
    }

    fn torrent_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::State { torrent, state, reason } => self.state(torrent, state, reason),
            ClientEvent::Metadata { torrent, metainfo } => {
                metainfo.warnings.iter().for_each(|one| out::notice(&format!("warning: {one}")));
                let wanted = self.wanted.get(torrent.0 as usize);
                let Some(wanted) = wanted else { return };
                match source::priorities(wanted, &metainfo, &self.select) {
                    Ok(priorities) => {
                        if let Some(progress) = self.torrents.get_mut(&torrent) {
                            progress.set_metainfo(&metainfo, &priorities);
                        }
                        if !priorities.is_empty() {
                            self.net.command(Command::Prioritize(torrent, priorities));
                        }
                    }
                    Err(failure) => {
                        if let Some(progress) = self.torrents.get_mut(&torrent) {
                            progress.state = Some(TorrentState::Failed);
                            progress.reason = Some(failure.message);
                        }
                        self.net.command(Command::Remove(torrent));
                    }
                }
            }
            ClientEvent::PeerTotals { torrent, totals } => {
                let Some(progress) = self.torrents.get_mut(&torrent) else { return };
                for one in totals {
                    let moved = progress.peers.entry((one.address, one.program)).or_default();
                    *moved = (moved.0 + one.received, moved.1 + one.sent);
                }
            }
            ClientEvent::Announced { torrent, news } => {
                if let Some(progress) = self.torrents.get_mut(&torrent) {
                    let text = match &news.result {
                        Ok(peers) => format!("{peers} peers"),
                        Err(error) => {
                            // A passkey belongs to the user alone, and logs are shown around.
                            let url = TrackerUrl::mask(&news.url);
                            self.screen.once(&format!("tracker {url}: {error}"));
                            error.clone()
                        }
                    };
                    progress.trackers.insert(news.url.to_string(), text);
                }
            }
            // The view of a torrent shows its files, and the loop ends with `NetEvent::Stopped`.
            ClientEvent::FileComplete { .. } | ClientEvent::Stopped => {}
        }
    }

    fn state(&mut self, torrent: TorrentId, state: TorrentState, reason: Option<String>) {
        let Some(progress) = self.torrents.get_mut(&torrent) else { return };
        if progress.state == Some(TorrentState::Failed) {
            return;
        }
        let was = progress.state.replace(state);
        let reason = match state {
            TorrentState::Failed => progress.refusal.clone().or(reason),
            _ => reason,
        };
        progress.reason.clone_from(&reason);
        progress.opened |=
            matches!(state, TorrentState::Downloading | TorrentState::Seeding | TorrentState::Done);
        // What is only seeded may lack something: how much is here shows that.
        progress.complete |=
            self.fetches && matches!(state, TorrentState::Seeding | TorrentState::Done);
        if state != TorrentState::Checking {
            progress.checking = None;
        }
        let name = progress.name.clone();
        match (state, reason) {
            (TorrentState::DiskFull, Some(why)) => {
                self.screen.once(&format!("{name}: waiting for space: {why}"));
            }
            (TorrentState::Seeding, _) if was != Some(state) => {
                self.screen.once(&format!("{name}: seeding"));
            }
            (TorrentState::Checking, Some(why)) => {
                self.screen.once(&format!("{name}: {why} (what is there is checked again)"));
            }
            // The last one is named by the end itself.
            (TorrentState::Failed, why)
                if !self.torrents.values().all(TorrentProgress::is_over) =>
            {
                out::error(&format!("{name}: {}", why.unwrap_or_default()));
            }
            _ => {}
        }
    }

    /// Looks at the numbers, and whether anything still comes.
    fn look(&mut self) {
        for (torrent, view) in self.net.take_views() {
            if let Some(progress) = self.torrents.get_mut(&torrent) {
                progress.view = Some(view);
            }
        }
        let mut stalled = Vec::new();
        for (torrent, progress) in &mut self.torrents {
            if let Some(view) = &progress.view
                && !self.fetches
                && matches!(view.state, TorrentState::Seeding | TorrentState::Done)
            {
                progress.complete = view.have >= view.wanted;
                let (name, lacks) = (&progress.name, format_size(view.wanted - view.have));
                match view.have {
                    _ if progress.complete => {}
                    0 => self.screen.once(&format!(
                        "{name}: nothing of it is right any more in {}; it is looked for again, and \
                         seeded when it is back",
                        progress.folder.display()
                    )),
                    _ => self
                        .screen
                        .once(&format!("{name}: {lacks} are missing or wrong, the rest is seeded")),
                }
            }
            let came = progress.view.as_ref().map_or(0, |view| view.received);
            let waits =
                matches!(progress.state, Some(TorrentState::Metadata | TorrentState::Downloading));
            match progress.gained {
                Some((since, before)) if waits && came == before => {
                    if self.patience.is_some_and(|patience| since.elapsed() >= patience) {
                        stalled.push(*torrent);
                    }
                }
                _ => progress.gained = Some((Instant::now(), came)),
            }
        }
        for torrent in stalled {
            if let Some(progress) = self.torrents.get_mut(&torrent)
                && !std::mem::replace(&mut progress.stalled, true)
            {
                let patience = self.patience.unwrap_or_default().as_secs();
                progress.state = Some(TorrentState::Failed);
                let bad = progress.view.as_ref().and_then(|view| view.bad_piece);
                let why = match bad {
                    _ if progress.alone => format!("; {ALONE}"),
                    Some(piece) => format!("; piece {piece} failed its hash, whoever sent it"),
                    None => String::new(),
                };
                progress.reason = Some(format!("nothing came for {patience} s{why}"));
                self.net.command(Command::Remove(torrent));
            }
        }
        self.screen.draw(&self.torrents);
    }
}

/// How it ended, in a word and in a sentence.
fn verdict(
    torrents: &BTreeMap<TorrentId, TorrentProgress>,
    interrupted: bool,
    fetches: bool,
) -> (Exit, Vec<String>) {
    let mut failed = Vec::new();
    let mut exits = Vec::new();
    for progress in torrents.values() {
        let why = match (&progress.state, &progress.reason) {
            (Some(TorrentState::Failed), reason) => reason.clone().unwrap_or_default(),
            _ => continue,
        };
        exits.push(match &progress.disk {
            _ if progress.stalled => Exit::Stalled,
            Some(error) => exit_of(error),
            None => Exit::Failed,
        });
        failed.push(format!("{}: {why}", progress.name));
    }
    if let Some(last) = exits.last().copied() {
        // A seed of which a part went well ends as one that failed, whatever the reason was.
        let all_alike = exits.len() == torrents.len() && exits.iter().all(|exit| *exit == last);
        let exit = if fetches || all_alike { last } else { Exit::Failed };
        if let Some(last) = failed.last_mut().filter(|_| exit == Exit::Stalled) {
            last.push_str("; the same command goes on");
        }
        return (exit, failed);
    }
    if interrupted && fetches && torrents.values().any(|progress| !progress.complete) {
        return (Exit::Interrupted, vec!["interrupted; the same command goes on".to_owned()]);
    }
    (Exit::Ok, Vec::new())
}

/// What a disk error ends with: what stands in the way is an input that can be changed.
fn exit_of(error: &DiskError) -> Exit {
    match error.kind {
        DiskErrorKind::OtherContent { .. }
        | DiskErrorKind::Exists
        | DiskErrorKind::NoFolder
        | DiskErrorKind::Claimed { .. }
        | DiskErrorKind::Twice { .. }
        | DiskErrorKind::Newer(_) => Exit::Input,
        DiskErrorKind::NothingRight(_) => Exit::Mismatch,
        _ => Exit::Disk,
    }
}
