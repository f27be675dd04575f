//! Torrents as people name them: files, magnet links, standard input, plain data. It moves nothing.

use super::beside;
use crate::console::out;
use crate::exit::Failure;
use crate::torrents::args::transfer::NetArgs;
use crate::torrents::{self, create};
use dunlin_base::{InfoHash, PeerId, TorrentId};
use dunlin_disk::RealFs;
use dunlin_engine::io::{AddTorrent, Limits, Priority, Source};
use dunlin_metainfo::{MAX_TORRENT_SIZE, Magnet, Torrent};
use dunlin_plan::Pattern;
use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a person wants.
#[derive(Clone, Debug)]
pub(super) enum TorrentSource {
    /// A torrent of which everything is known.
    Torrent(Arc<Torrent>),
    /// A torrent's name.
    Magnet(Box<Magnet>),
}

impl TorrentSource {
    /// Everything about it, if it is known.
    pub(super) fn metainfo(&self) -> Option<&Arc<Torrent>> {
        match self {
            TorrentSource::Torrent(torrent) => Some(torrent),
            TorrentSource::Magnet(_) => None,
        }
    }

    /// The hash that stands for it.
    pub(super) fn hash(&self) -> InfoHash {
        match self {
            TorrentSource::Torrent(torrent) => torrent.hashes.first(),
            TorrentSource::Magnet(magnet) => magnet.hashes.first(),
        }
    }

    /// What to call it.
    pub(super) fn name(&self) -> String {
        match self {
            TorrentSource::Torrent(torrent) => torrent.name.clone(),
            TorrentSource::Magnet(magnet) => {
                magnet.name.clone().unwrap_or_else(|| magnet.hashes.first().to_string())
            }
        }
    }
}

/// Reads torrents.
///
/// # Errors
/// If one cannot be read or is no torrent (exit 4), or two are the same.
pub(super) fn load(given: &[String]) -> Result<Vec<TorrentSource>, Failure> {
    let all: Vec<TorrentSource> =
        given.iter().map(|one| load_one(one)).collect::<Result<_, _>>()?;
    let mut names: Vec<_> = all
        .iter()
        .flat_map(|wanted| match wanted {
            TorrentSource::Torrent(torrent) => torrent.hashes.wire().collect::<Vec<_>>(),
            TorrentSource::Magnet(magnet) => magnet.hashes.wire().collect(),
        })
        .collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::usage(format!(
            "the torrent {} is given twice: give it once",
            pair[0]
        )));
    }
    Ok(all)
}

fn load_one(given: &str) -> Result<TorrentSource, Failure> {
    if Magnet::is_like(given) {
        let magnet: Magnet = given.parse().map_err(Failure::input)?;
        return Ok(TorrentSource::Magnet(Box::new(magnet)));
    }
    read_torrent(given).map(|torrent| TorrentSource::Torrent(Arc::new(torrent)))
}

/// Reads a torrent file, or standard input for `-`.
fn read_torrent(given: &str) -> Result<Torrent, Failure> {
    torrents::read(Path::new(given)).map(|(_, torrent)| torrent)
}

/// A torrent to seed, and the folder that holds its name: a torrent file and `data`, or plain data,
/// which becomes a torrent.
///
/// # Errors
/// If it can be neither.
pub(super) fn load_or_make(
    given: &str,
    data: &Path,
    options: &NetArgs,
) -> Result<(TorrentSource, PathBuf), Failure> {
    if Magnet::is_like(given) {
        return Err(Failure::usage(format!(
            "`seed` needs the torrent itself: `dunlin get '{given}' --seed` fetches what is missing \
             and seeds"
        )));
    }
    let path = Path::new(given);
    if given == "-" || !is_data(path) {
        let torrent = read_torrent(given)?;
        return Ok((TorrentSource::Torrent(Arc::new(torrent)), data.to_owned()));
    }
    let path = std::fs::canonicalize(path)
        .map_err(|error| Failure::input(format!("{given}: {error}; give a file or a folder")))?;
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".torrent");
    let beside = folder.join(name);
    if let Some(torrent) = beside::read(&RealFs, &beside, &path)? {
        out::notice(&format!("{}: there already, and taken", beside.display()));
        return Ok((TorrentSource::Torrent(Arc::new(torrent)), folder));
    }
    let torrent = create::of_data(&path, &options.tracker, options.quiet)?;
    match torrents::write(&beside, false, &torrent.to_bytes()) {
        Ok(()) => out::notice(&format!("{}: the torrent, for others", beside.display())),
        Err(failure) => out::notice(&format!("warning: {failure}; seeding all the same")),
    }
    Ok((TorrentSource::Torrent(Arc::new(torrent)), folder))
}

/// Whether this is data, and no torrent file: a folder, or a file that does not look like one.
fn is_data(path: &Path) -> bool {
    if path.is_dir() {
        return true;
    }
    if !path.is_file() {
        // A pipe can be read only once.
        return false;
    }
    let named = path.extension().is_some_and(|extension| extension == "torrent");
    let mut first = [0; 1];
    let looks = File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok();
    !(named || looks && first == *b"d" && is_torrent(path))
}

fn is_torrent(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let file = File::open(path).map(|file| file.take(MAX_TORRENT_SIZE as u64 + 1));
    let read = file.and_then(|mut file| file.read_to_end(&mut bytes));
    read.is_ok() && Torrent::parse(&bytes).is_ok()
}

/// What the engine is given of a torrent.
///
/// # Errors
/// If the system gives no random bytes.
pub(super) fn add(
    wanted: &TorrentSource,
    number: u32,
    options: &NetArgs,
) -> Result<AddTorrent, Failure> {
    let (source, mut trackers, named, private) = match wanted {
        TorrentSource::Torrent(torrent) => {
            let source = Source::Metainfo(Arc::clone(torrent));
            (source, torrent.trackers.clone(), &[][..], torrent.private)
        }
        TorrentSource::Magnet(magnet) => {
            let source = Source::Magnet { hashes: magnet.hashes, name: magnet.name.clone() };
            let tiers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
            (source, tiers, &magnet.peers[..], false)
        }
    };
    // A private torrent is announced to its own trackers alone (BEP 27).
    if !private {
        trackers.extend(options.tracker.iter().map(|url| vec![url.clone()]));
    }
    let mut peers = options.peer.clone();
    peers.extend(named.iter().flat_map(|(host, port)| addresses(host, *port)));
    let random = random_bytes::<16>()?;
    let mut key = [0; 4];
    key.copy_from_slice(&random[12..]);
    Ok(AddTorrent {
        torrent: TorrentId(number),
        source,
        trackers,
        peers,
        priorities: Vec::new(),
        sequential: false,
        limits: Limits::default(),
        seed: None,
        peer_id: peer_id(&random[..12]),
        key: u32::from_be_bytes(key),
        paused: false,
        serve_only: false,
    })
}

/// The addresses of a peer that a magnet link names.
fn addresses(host: &str, port: u16) -> Vec<SocketAddr> {
    (host, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default()
}

/// A peer id in the style of Azureus (BEP 20): our letters, our version, and letters and digits
/// that were drawn.
fn peer_id(random: &[u8]) -> PeerId {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut bytes = *b"-DN0100-000000000000";
    for (byte, drawn) in bytes.iter_mut().skip(8).zip(random) {
        *byte = LETTERS[usize::from(*drawn) % LETTERS.len()];
    }
    PeerId(bytes)
}

/// How much each file is wanted: what `select` matches, or what a magnet link selects, or
/// everything.
///
/// # Errors
/// If a pattern matches no file.
pub(super) fn priorities(
    wanted: &TorrentSource,
    metainfo: &Torrent,
    select: &[Pattern],
) -> Result<Vec<Priority>, Failure> {
    let names: Vec<String> = metainfo.files.iter().map(|file| file.path.join("/")).collect();
    for pattern in select {
        if !names.iter().any(|name| pattern.matches(name)) {
            let (text, torrent) = (pattern.as_str(), &metainfo.name);
            return Err(Failure::input(format!(
                "--select {text} matches no file of {torrent}; `dunlin show` lists its files"
            )));
        }
    }
    let of = |wanted: bool| if wanted { Priority::Normal } else { Priority::Skip };
    Ok(match wanted {
        _ if !select.is_empty() => names
            .iter()
            .map(|name| of(select.iter().any(|pattern| pattern.matches(name))))
            .collect(),
        TorrentSource::Magnet(magnet) if magnet.select.is_some() => {
            (0..).take(names.len()).map(|index| of(magnet.selects(index))).collect()
        }
        _ => Vec::new(),
    })
}

/// A number that cannot be guessed.
///
/// # Errors
/// If the system gives none.
pub(super) fn random_number() -> Result<u64, Failure> {
    random_bytes().map(u64::from_be_bytes)
}

fn random_bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::environment(format!("the system gives no random bytes: {error}"))
    })?;
    Ok(bytes)
}
