//! Where owners disagree, in places of the plan: the tracker knows ranks and names, the plan knows
//! files and lines.

use super::peers::{OutputFolders, offers};
use crate::cluster::plan::{self, LoadedPlan};
use dunlin_base::Rank;
use dunlin_cluster::Report;
use dunlin_engine::cluster::Conflict;
use dunlin_plan::PeerSource;
use std::fs;
use std::path::Path;

/// Completes the message of a run that was refused since owners disagree: it names the two places
/// in the plan, as in `in1.txt:3 and in2.txt:3`, or the two files.
pub(crate) fn name_places(report: &mut Report, loaded: &LoadedPlan, outputs: &OutputFolders) {
    let (Some(conflict), Some(text)) = (&report.conflict, &report.refused) else { return };
    let what = conflict.to_string();
    let place = |rank| place(conflict, rank, loaded, outputs);
    let (Some(rest), Some(first), Some(second)) =
        (text.strip_prefix(&what), place(conflict.first), place(conflict.second))
    else {
        return;
    };
    report.refused = Some(format!("{what}, see {first} and {second}{rest}"));
}

fn place(
    conflict: &Conflict,
    rank: Rank,
    loaded: &LoadedPlan,
    outputs: &OutputFolders,
) -> Option<String> {
    let name = &conflict.name;
    let peer = loaded.plan.peers.iter().find(|peer| peer.rank == rank)?;
    let path = match &peer.source {
        PeerSource::Course(_) => {
            let (path, line) = plan::course_place(&loaded.dir, rank, name, conflict.piece);
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            return Some(format!("{}{line}", path.display()));
        }
        PeerSource::Files { root, have, wants } => {
            let (root, own) = (Path::new(root), Path::new(root).join(name));
            let stands = fs::symlink_metadata(&own).is_ok_and(|metadata| metadata.is_file());
            let owned = stands && offers(have, wants, name);
            let other = outputs.of_rank(rank, root).join(name);
            let place = if owned { own } else { other };
            // On the disk of another machine it stands, but not here.
            fs::symlink_metadata(&place).ok().map(|_| place)?
        }
    };
    Some(path.display().to_string())
}
