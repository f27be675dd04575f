//! `dunlin edit TORRENT`: another .torrent file for the same torrent, or, if that is asked for, for
//! another.

use super::{check_output, is_stream, read, write};
use crate::console::out;
use crate::exit::{Exit, Failure};
use crate::torrents::args::EditArgs;
use dunlin_metainfo::{Torrent, TorrentEdit};

/// Runs the command.
///
/// # Errors
/// If a change would make another torrent and that was not asked for (exit 2), there is no torrent,
/// or something stands where it goes (exit 4), or it cannot be written (exit 5).
pub(crate) fn run(args: &EditArgs) -> Result<Exit, Failure> {
    check_output(&args.out, args.force)?;
    let (bytes, torrent) = read(&args.torrent)?;
    let mut edit = TorrentEdit::open(&bytes).map_err(Failure::input)?;
    outside(args, &torrent, &mut edit);
    inside(args, &mut edit);
    if edit.is_renewed() && !args.new_hash {
        return Err(Failure::usage(
            "this would make another torrent, with another info-hash and another swarm; give \
             --new-hash if that is meant",
        ));
    }
    let renewed = edit.is_renewed();
    let bytes = edit.finish();
    let after = Torrent::parse(&bytes).map_err(Failure::input)?;
    write(&args.out, args.force, &bytes)?;
    let hash = after.hashes.first();
    let same = if renewed { "the info-hash is now" } else { "the info-hash stays" };
    if is_stream(&args.out) {
        out::notice(&format!("{same} {hash}"));
    } else {
        out::data(|page| page.line(format_args!("{same} {hash}")))?;
    }
    Ok(Exit::Ok)
}

/// What can be changed freely.
fn outside(args: &EditArgs, torrent: &Torrent, edit: &mut TorrentEdit) {
    let changed = args.remove_trackers || !args.tracker.is_empty() || !args.add_tracker.is_empty();
    if changed {
        let new = |tiers: &[crate::torrents::parsers::Tier]| -> Vec<Vec<String>> {
            tiers.iter().map(|tier| tier.0.clone()).collect()
        };
        let mut tiers = match args.tracker.is_empty() {
            true if args.remove_trackers => Vec::new(),
            true => torrent.trackers.clone(),
            false => new(&args.tracker),
        };
        for mut tier in new(&args.add_tracker) {
            tier.retain(|url| !tiers.iter().flatten().any(|there| there == url));
            tiers.extend((!tier.is_empty()).then_some(tier));
        }
        edit.trackers(&tiers);
    }
    if args.remove_web_seeds || !args.web_seed.is_empty() {
        edit.web_seeds(&args.web_seed);
    }
    if args.remove_comment || args.comment.is_some() {
        edit.comment(args.comment.as_deref());
    }
    if args.remove_origin {
        edit.created_by(None);
        edit.creation_date(None);
    }
}

/// What is hashed.
fn inside(args: &EditArgs, edit: &mut TorrentEdit) {
    if args.private || args.public {
        edit.private(args.private);
    }
    if args.remove_source || args.source.is_some() {
        edit.source(args.source.as_deref());
    }
    if let Some(name) = &args.name {
        edit.name(name);
    }
}
