//! How far a member is.

use super::{Member, TorrentPhase};
use crate::stats::Progress;

impl Member {
    /// How far it is with what it wants.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut progress = Progress { complete: self.complete, ..Progress::default() };
        for (id, entry) in self.torrents.iter().filter(|(_, entry)| entry.assignment.wants) {
            let pieces = u64::from(entry.assignment.pieces);
            progress.pieces_wanted += pieces;
            progress.pieces_have += match (entry.phase, self.session.torrent(*id)) {
                (TorrentPhase::Running | TorrentPhase::Done, Some(torrent)) => {
                    u64::from(torrent.have.count())
                }
                _ => 0,
            };
        }
        progress
    }

    /// Whether no piece comes before a finished file has its name: all that was looked up is here,
    /// and what waits for its turn is looked up after that.
    #[must_use]
    pub fn waits_for_files(&self) -> bool {
        let wanted = self.torrents.iter().filter(|(_, entry)| entry.assignment.wants);
        wanted.into_iter().all(|(id, entry)| match entry.phase {
            TorrentPhase::LookingUp | TorrentPhase::Opening => false,
            TorrentPhase::Running => {
                self.session.torrent(*id).is_none_or(|torrent| !torrent.downloads.wants_pieces())
            }
            TorrentPhase::Waiting | TorrentPhase::Linking | TorrentPhase::Done => true,
        })
    }
}
