//! `dunlin magnet TORRENT`: the link that stands for a torrent.

use super::read;
use crate::console::out;
use crate::exit::{Exit, Failure};
use crate::torrents::args::MagnetArgs;
use dunlin_base::plain;
use dunlin_metainfo::{Magnet, Torrent};

/// Runs the command.
///
/// # Errors
/// If there is no torrent, none that we take, or no file that was selected (exit 4).
pub(crate) fn run(args: &MagnetArgs) -> Result<Exit, Failure> {
    let (_, torrent) = read(&args.torrent)?;
    let mut magnet = of(&torrent);
    if args.no_trackers {
        magnet.trackers.clear();
    }
    magnet.peers.clone_from(&args.peer);
    if !args.select.is_empty() {
        magnet.select = Some(selected(args, &torrent)?);
    }
    out::data(|page| page.line(&magnet))?;
    Ok(Exit::Ok)
}

/// The link of a torrent, with its trackers and web seeds.
pub(crate) fn of(torrent: &Torrent) -> Magnet {
    Magnet {
        hashes: torrent.hashes,
        name: Some(torrent.name.clone()),
        trackers: torrent.trackers.concat(),
        web_seeds: torrent.web_seeds.clone(),
        ..Magnet::default()
    }
}

/// The indexes of the files that are meant, as ranges; each --select must mean one at least.
fn selected(args: &MagnetArgs, torrent: &Torrent) -> Result<Vec<(u32, u32)>, Failure> {
    let files = || (0_u32..).zip(&torrent.files).filter(|(_, file)| !file.attributes.pad);
    let idle = args.select.iter().position(|select| {
        !files().any(|(index, file)| select.matches(index, &file.path.join("/")))
    });
    if let Some(at) = idle {
        let which = at + 1;
        return Err(Failure::input(format!(
            "--select number {which} means no file of `{}`; `dunlin show` lists them",
            plain(&torrent.name)
        )));
    }
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for (index, file) in files() {
        let path = file.path.join("/");
        if !args.select.iter().any(|select| select.matches(index, &path)) {
            continue;
        }
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => ranges.push((index, index)),
        }
    }
    Ok(ranges)
}
