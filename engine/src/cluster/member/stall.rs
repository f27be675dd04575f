//! Nothing waits for ever: a file that no live source can give for the stall timeout has failed.

use super::{Member, TorrentPhase};
use crate::wake::Reason;
use dunlin_base::{FileIndex, Time, TorrentId};
use std::time::Duration;

/// With tit-for-tat a choked peer waits its turn: a file has stalled after so many stall timeouts.
const CHOKED_PATIENCE: u32 = 5;

impl Member {
    fn stall_deadline(&self, id: TorrentId) -> Option<Time> {
        let torrent =
            self.session.torrent(id).filter(|torrent| torrent.downloads.wants_pieces())?;
        let timeout = self.config.stall_timeout;
        let choked = torrent.connections.is_choked_by_somebody();
        Some(torrent.downloads.last_gain + if choked { timeout * CHOKED_PATIENCE } else { timeout })
    }

    pub(super) fn watch_for_stalls(&mut self, now: Time) {
        let running =
            self.torrents.iter().filter(|(_, entry)| entry.phase == TorrentPhase::Running);
        let next = running.filter_map(|(id, _)| self.stall_deadline(*id)).min();
        if let Some(at) = next {
            let soonest = now + Duration::from_millis(1);
            self.session.timers().by(Reason::Stall, at.max(soonest));
        }
    }

    pub(super) fn fail_stalled(&mut self, now: Time) {
        let stalled: Vec<TorrentId> = self
            .torrents
            .iter()
            .filter(|(_, entry)| entry.phase == TorrentPhase::Running)
            .filter(|(id, _)| self.stall_deadline(**id).is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        let seconds = self.config.stall_timeout.as_secs_f64();
        for id in stalled {
            let entry = &self.torrents[&id];
            let files: Vec<FileIndex> = entry.unfinished.iter().collect();
            for file in files {
                let Some(piece) = self.session.first_missing(id, file) else { continue };
                let entry = &self.torrents[&id];
                let pieces = entry.geometry.as_ref().map(|g| g.file_pieces(file));
                let pieces = pieces.unwrap_or_default();
                let reason = match &entry.disk_full {
                    Some((_, full)) => full.clone(),
                    None => format!(
                        "no live source gave piece {} of {} for {seconds} s",
                        piece.0 - pieces.start,
                        pieces.len()
                    ),
                };
                self.fail_file(now, id, file, &reason);
            }
        }
        self.watch_for_stalls(now);
    }
}
