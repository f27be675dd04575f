//! How far one torrent of `get` or `seed` is, and what came of all of them.

use super::source::TorrentSource;
use crate::exit::Exit;
use dunlin_base::TorrentId;
use dunlin_disk::DiskError;
use dunlin_engine::io::{Priority, TorrentState, TorrentView};
use dunlin_metainfo::{InfoHashes, Torrent};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

/// One torrent, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct TorrentProgress {
    pub(super) name: String,
    pub(super) hashes: InfoHashes,
    pub(super) files: Vec<(String, u64, bool)>,
    pub(super) state: Option<TorrentState>,
    pub(super) reason: Option<String>,
    pub(super) checking: Option<(u64, u64)>,
    /// Bytes that were hashed to know what is here.
    pub(super) checked: u64,
    pub(super) complete: bool,
    pub(super) opened: bool,
    pub(super) view: Option<TorrentView>,
    /// The folder that holds its name.
    pub(super) folder: PathBuf,
    /// Why its files could not be opened.
    pub(super) disk: Option<DiskError>,
    /// That, for people, where more is known than the disk knows.
    pub(super) refusal: Option<String>,
    /// What is wrong with which file of a torrent that is seeded.
    pub(super) faults: Vec<(String, String)>,
    pub(super) trackers: BTreeMap<String, String>,
    /// Bytes received of each peer and sent to it, by its address and program; without an address
    /// are those that are not counted apart.
    pub(super) peers: BTreeMap<(Option<IpAddr>, String), (u64, u64)>,
    /// When something last came, and how much had come then.
    pub(super) gained: Option<(Instant, u64)>,
    pub(super) stalled: bool,
    /// Neither a tracker nor a peer of it is known.
    pub(super) alone: bool,
}

/// What came of a run.
pub(super) struct TransferOutcome {
    pub(super) torrents: BTreeMap<TorrentId, TorrentProgress>,
    pub(super) interrupted: bool,
    pub(super) seconds: f64,
    pub(super) exit: Exit,
    pub(super) messages: Vec<String>,
}

impl TorrentProgress {
    /// What is known of a torrent at the start.
    pub(super) fn begin(wanted: &TorrentSource, priorities: &[Priority]) -> TorrentProgress {
        let mut progress = TorrentProgress { name: wanted.name(), ..TorrentProgress::default() };
        match wanted {
            TorrentSource::Torrent(torrent) => progress.set_metainfo(torrent, priorities),
            TorrentSource::Magnet(magnet) => progress.hashes = magnet.hashes,
        }
        progress
    }

    /// Takes over what the metainfo contains.
    pub(super) fn set_metainfo(&mut self, torrent: &Torrent, priorities: &[Priority]) {
        self.name.clone_from(&torrent.name);
        self.hashes = torrent.hashes;
        let files = torrent.files.iter().enumerate().filter(|(_, file)| !file.attributes.pad);
        let files = files.map(|(index, file)| {
            let wanted = priorities.get(index).copied().unwrap_or_default() != Priority::Skip;
            (file.path.join("/"), file.length, wanted)
        });
        self.files = files.collect();
    }

    /// Whether it is done or has failed.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, Some(TorrentState::Done | TorrentState::Failed))
    }
}
