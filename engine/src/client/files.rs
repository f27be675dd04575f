//! Files of a torrent: opening, finishing, and what becomes of the torrent with them.

use super::Client;
use super::lifecycle::{PendingClose, Storage};
use super::torrent_entry::TorrentEntry;
use crate::client::io::{ClientEvent, ClientOutput, Priority, SeedGoal, TorrentState};
use crate::swarm::io::{HangUpReason, LocalError};
use crate::wake::Reason;
use dunlin_base::{Bitfield, FileIndex, PieceIndex, Time, TorrentId};
use dunlin_metainfo::Geometry;
use std::time::Duration;

/// Time before a file is finished again that could not be because the disk was full.
const FINISH_AGAIN: Duration = Duration::from_secs(2);
/// A goal that is reached ends the torrent after so long: what was given is on its way through the
/// system, and a connection that is closed with requests unread would take it back.
const GOAL_REST: Duration = Duration::from_secs(1);
/// Checks in a row that blocks which cannot be read may cause: a disk that reads well for a check
/// and badly afterwards is broken.
const MAX_CHECKS: u32 = 5;
/// Checks this far apart are no row: somebody changes the files now and then.
const CHECKS_APART: Duration = Duration::from_secs(60);
/// Time before files that are only served are looked for again, when none of them was there: a
/// folder that was renamed may get its name back.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

impl Client {
    /// A torrent's files are open and checked, or others are wanted of them now.
    pub(super) fn opened(&mut self, now: Time, id: TorrentId, have: &Bitfield, resumed: u32) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let Some(geometry) = entry.geometry.clone() else { return };
        if have.len() != geometry.pieces() {
            return;
        }
        let first = entry.lifecycle.storage() == Storage::Opening;
        if entry.lifecycle.storage() == Storage::Closed
            || entry.lifecycle.storage() == Storage::Closing
        {
            return;
        }
        entry.lifecycle.set_storage(Storage::Open);
        let (wanted, priorities) = entry.wanted_pieces();
        // What was verified since the storage looked is not in its answer.
        let mut have = have.clone();
        if let Some(swarm) =
            self.session.torrent(id).filter(|swarm| !swarm.lifecycle.awaits_metadata() && !first)
        {
            have.union_with(&swarm.have);
        }
        entry.count(&have);
        let all_there = have.is_full() && resumed == 0;
        entry.begin_files(all_there);
        entry.was_incomplete |= first && !have.is_full() && !entry.serve_only;
        entry.look_again = None;
        if entry.serve_only && entry.have_bytes == 0 && entry.wanted_bytes > 0 {
            entry.look_again = Some(now + LOOK_AGAIN);
            self.session.timers().by(Reason::Stall, now + LOOK_AGAIN);
        }
        let paused = entry.lifecycle.is_paused();
        let finish: Vec<FileIndex> = entry.whole_files();
        self.session.stats_mut().pieces_resumed += u64::from(resumed);
        let Some(entry) = self.torrents.get_mut(&id).filter(|entry| !entry.lifecycle.is_ending())
        else {
            return;
        };
        if let Some(metainfo) = &entry.metainfo {
            entry.internet.info = Some(metainfo.info().clone());
            entry.internet.private = metainfo.private;
        }
        match self.session.torrent(id).map(|swarm| swarm.lifecycle.awaits_metadata()) {
            Some(true) => {
                self.session.with(now, id, |swarm, context| {
                    swarm.set_metadata(context, now, geometry, have, &wanted, priorities);
                });
                self.replay_early(now, id);
            }
            Some(false) => {
                self.session.with(now, id, |swarm, context| {
                    swarm.want(context, now, &have, &wanted, priorities);
                });
            }
            None => {
                let Some(entry) = self.torrents.get(&id) else { return };
                let mut params = entry.params(id, geometry, have, wanted);
                (params.awaits_metadata, params.priorities) = (false, priorities);
                self.session.add(now, params);
                self.session.with(now, id, |swarm, context| {
                    if paused {
                        swarm.halt(context, now, HangUpReason::Stopping);
                    }
                });
            }
        }
        for file in finish {
            self.finish(id, file);
        }
        if paused {
            return;
        }
        if first {
            self.enter_swarm(now, id);
        }
        self.update_state(now, id);
    }

    pub(super) fn open_failed(&mut self, now: Time, id: TorrentId, message: &str) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.lifecycle.set_storage(Storage::Closed);
        self.fail(now, id, message);
    }

    /// The torrent cannot go on.
    fn fail(&mut self, now: Time, id: TorrentId, message: &str) {
        self.end(now, id, PendingClose::Close, HangUpReason::Stopping);
        self.set_state(id, TorrentState::Failed, Some(message.to_owned()));
    }

    /// A piece is verified and on disk.
    pub(super) fn piece_done(&mut self, now: Time, id: TorrentId, piece: PieceIndex) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let Some(geometry) = entry.geometry.clone() else { return };
        entry.left = entry.left.saturating_sub(u64::from(geometry.data_len(piece)));
        entry.have_bytes += entry.wanted_in(piece);
        let mut finished = Vec::new();
        for file in geometry.piece_files(piece) {
            let index = file as usize;
            let (Some(lacks), Some(unfinished)) =
                (entry.lacks.get_mut(index), entry.unfinished.get(index))
            else {
                continue;
            };
            if geometry.file_pieces(FileIndex(file)).contains(&piece.0) {
                *lacks = lacks.saturating_sub(1);
                if *lacks == 0 && *unfinished {
                    finished.push(FileIndex(file));
                }
            }
        }
        let was_full = entry.state == Some(TorrentState::DiskFull);
        for file in finished {
            self.finish(id, file);
        }
        if was_full {
            self.set_state(id, TorrentState::Downloading, None);
        }
        if self.session.torrent(id).is_some_and(|swarm| !swarm.downloads.wants_pieces()) {
            self.send_upload_only(id);
            self.drop_useless(now, id);
        }
    }

    /// Gives a file its name, once.
    fn finish(&mut self, id: TorrentId, file: FileIndex) {
        if self.torrents.get_mut(&id).is_some_and(|entry| entry.finishing.insert(file)) {
            self.push(ClientOutput::FinishFile { torrent: id, file });
        }
    }

    /// A file stands under its name.
    pub(super) fn file_finished(&mut self, now: Time, id: TorrentId, file: FileIndex) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.finishing.remove(&file);
        // What failed for lack of space may have been begun anew for another reason meanwhile.
        entry.retry.retain(|other| *other != file);
        if let Some(finished) = entry.finished.get_mut(file.index()) {
            *finished = true;
        }
        let news = entry.unfinished.get_mut(file.index()).is_some_and(std::mem::take);
        if news {
            let mut links = Vec::new();
            if !entry.is_link(file.index()) {
                entry.files_left = entry.files_left.saturating_sub(1);
                if entry.files_left == 0 {
                    links = entry.whole_files();
                }
            }
            self.event(ClientEvent::FileComplete { torrent: id, file });
            for link in links {
                self.finish(id, link);
            }
            self.update_state(now, id);
        }
    }

    pub(super) fn file_failed(
        &mut self,
        now: Time,
        id: TorrentId,
        file: FileIndex,
        error: &LocalError,
    ) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.finishing.remove(&file);
        if !error.disk_full {
            self.fail(now, id, &error.message);
            return;
        }
        entry.retry.push(file);
        self.session.timers().by(Reason::Stall, now + FINISH_AGAIN);
        self.set_state(id, TorrentState::DiskFull, Some(error.message.clone()));
    }

    /// Files that could not be finished because the disk was full: perhaps they can be now.
    pub(super) fn finish_again(&mut self, now: Time) {
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            let Some(entry) = self.torrents.get_mut(&id) else { continue };
            let files = std::mem::take(&mut entry.retry);
            if files.is_empty() || entry.lifecycle.is_ending() {
                continue;
            }
            for file in files {
                self.finish(id, file);
            }
            self.update_state(now, id);
        }
    }

    /// Looks again for files that are only served, and of which none was there.
    pub(super) fn look_again(&mut self, now: Time) {
        let mut due = Vec::new();
        for (id, entry) in &self.torrents {
            let Some(at) = entry.look_again else { continue };
            if !entry.lifecycle.runs() {
                continue;
            }
            match at <= now {
                true => due.push(*id),
                false => self.session.timers().by(Reason::Stall, at),
            }
        }
        for id in due {
            self.halt(now, id, PendingClose::Check, HangUpReason::Stopping);
        }
    }

    pub(super) fn disk_failed(&mut self, now: Time, id: TorrentId, error: &LocalError) {
        if self.torrents.get(&id).is_none_or(|entry| entry.lifecycle.is_ending()) {
            return;
        }
        if error.disk_full {
            self.set_state(id, TorrentState::DiskFull, Some(error.message.clone()));
        } else {
            self.fail(now, id, &error.message);
        }
    }

    /// A block could not be read: somebody changed the files, or the disk is broken. What is there
    /// is checked again before anything more is served.
    pub(super) fn serve_failed(&mut self, now: Time, id: TorrentId, message: &str) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        if !entry.lifecycle.is_open() {
            return;
        }
        let apart = entry.checked.is_none_or(|last| now.since(last) >= CHECKS_APART);
        entry.checks = if apart { 1 } else { entry.checks + 1 };
        entry.checked = Some(now);
        if entry.checks > MAX_CHECKS {
            self.fail(now, id, message);
            return;
        }
        self.halt(now, id, PendingClose::Check, HangUpReason::Stopping);
        self.set_state(id, TorrentState::Checking, Some(message.to_owned()));
    }

    /// Where a torrent stands whose files are open: downloading, seeding, or done.
    pub(super) fn update_state(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        if !entry.lifecycle.runs() {
            return;
        }
        let complete = entry.is_complete();
        let whole = entry.left == 0;
        for announcer in &mut entry.announcers {
            announcer.set_partial_seed(complete && !whole);
        }
        if !complete {
            (entry.seeding_since, entry.goal_met) = (None, None);
            self.set_state(id, TorrentState::Downloading, None);
            self.session.with(now, id, |swarm, context| swarm.give_at_most(context, now, None));
            return;
        }
        entry.seeding_since.get_or_insert(now);
        if whole && std::mem::take(&mut entry.was_incomplete) {
            entry.announcers.iter_mut().for_each(crate::client::announcer::Announcer::completed);
            self.announce(now, id);
        }
        self.set_state(id, TorrentState::Seeding, None);
        self.send_upload_only(id);
        self.drop_useless(now, id);
        self.check_goals(now);
    }

    /// Ends torrents whose goal is reached, and wakes us for the others.
    pub(super) fn check_goals(&mut self, now: Time) {
        let mut reached = Vec::new();
        let mut limits = Vec::new();
        for (id, entry) in &mut self.torrents {
            let seeding =
                entry.state == Some(TorrentState::Seeding) && !entry.lifecycle.is_ending();
            let Some(since) = entry.seeding_since.filter(|_| seeding) else { continue };
            let Some(goal) = entry.seed else {
                reached.push(*id);
                continue;
            };
            let sent = entry.totals(self.session.torrent(*id)).uploaded;
            let needs = entry.needs(goal);
            let most = needs.map(|needs| needs.saturating_sub(entry.before.uploaded));
            limits.push((*id, most));
            let ratio = needs.is_some_and(|needs| sent >= needs);
            let met = ratio.then(|| *entry.goal_met.get_or_insert(now));
            let rests = needs == Some(0) || met.is_some_and(|met| now.since(met) >= GOAL_REST);
            let time = goal.time.is_some_and(|time| now.since(since) >= time);
            if rests || time {
                reached.push(*id);
                continue;
            }
            if let Some(met) = met {
                self.session.timers().by(Reason::Goal, met + GOAL_REST);
            }
            if let Some(time) = goal.time {
                self.session.timers().by(Reason::Goal, since + time);
            }
        }
        for (id, most) in limits {
            self.session.with(now, id, |swarm, context| swarm.give_at_most(context, now, most));
        }
        for id in reached {
            self.end(now, id, PendingClose::Close, HangUpReason::Stopping);
            self.set_state(id, TorrentState::Done, None);
        }
    }
}

impl TorrentEntry {
    /// Bytes that are to be given in all until this goal is reached, if it is one of payload.
    fn needs(&self, goal: SeedGoal) -> Option<u64> {
        let total = u128::from(self.geometry.as_ref().map_or(0, Geometry::total_len));
        let needs = (u128::from(goal.ratio_permille?) * total).div_ceil(1000);
        Some(u64::try_from(needs).unwrap_or(u64::MAX))
    }

    /// Begins with the files as they were found: whole ones stand under their names where nothing
    /// is missing at all, but for empty ones, which nobody looked for.
    fn begin_files(&mut self, all_there: bool) {
        let files = self.lacks.len();
        if self.finished.len() != files {
            let empty = |file: usize| {
                let length = |geometry: &Geometry| geometry.file_length(FileIndex(file as u32));
                self.geometry.as_ref().map_or(0, length) == 0
            };
            self.finished = (0..files).map(|file| all_there && !empty(file)).collect();
        }
        let open = |file: usize| {
            let finished = self.finished.get(file).copied().unwrap_or_default();
            !self.serve_only && self.priority(file) != Priority::Skip && !finished
        };
        self.unfinished = (0..files).map(open).collect();
        let plain =
            |file: &usize| self.unfinished.get(*file) == Some(&true) && !self.is_link(*file);
        self.files_left = (0..files).filter(plain).count();
    }

    /// Wanted files of which nothing is missing, and that do not stand under their names yet; links
    /// only when all others do.
    fn whole_files(&self) -> Vec<FileIndex> {
        let whole = |file: &usize| {
            self.unfinished.get(*file) == Some(&true)
                && self.lacks.get(*file) == Some(&0)
                && (self.files_left == 0 || !self.is_link(*file))
        };
        let whole = (0..self.unfinished.len()).filter(whole);
        whole.map(|file| FileIndex(file as u32)).collect()
    }
}
