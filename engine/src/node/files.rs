//! Files of a torrent: opening, finishing, and what becomes of the torrent with them.

use super::Node;
use super::part::{After, Part, Storage};
use crate::io::{Event, HangUpReason, LocalError, Output, Priority, Reason, TorrentState};
use dunlin_base::{Bitfield, FileIndex, PieceIndex, Time, TorrentId};
use dunlin_metainfo::Geometry;
use std::time::Duration;

/// Time before a file is finished again that could not be because the disk was full.
const FINISH_AGAIN: Duration = Duration::from_secs(2);
/// How often ratios are looked at.
const GOAL_ROUND: Duration = Duration::from_secs(1);
/// Checks that blocks which cannot be read may cause: a disk that reads well for a check and badly
/// afterwards is broken.
const MAX_CHECKS: u32 = 5;

impl Node {
    /// A torrent's files are open and checked, or others are wanted of them now.
    pub(super) fn opened(&mut self, now: Time, id: TorrentId, have: &Bitfield, resumed: u32) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        let Some(geometry) = part.geometry.clone() else { return };
        if have.len() != geometry.pieces() {
            return;
        }
        let first = part.storage == Storage::Opening;
        if part.storage == Storage::Closed || part.storage == Storage::Closing {
            return;
        }
        part.storage = Storage::Open;
        let (wanted, levels) = part.wanted_pieces();
        // What was verified since the storage looked is not in its answer.
        let mut have = have.clone();
        if let Some(swarm) = self.session.torrent(id).filter(|swarm| !swarm.is_blind() && !first) {
            have.union_with(&swarm.have);
        }
        part.count(&have);
        let all_there = have.is_full() && resumed == 0;
        part.begin_files(all_there);
        part.was_incomplete |= first && !have.is_full();
        let info =
            part.metainfo.as_ref().map(|metainfo| (metainfo.info().clone(), metainfo.private));
        let paused = part.paused;
        let finish: Vec<FileIndex> = part.whole_files();
        self.session.stats_mut().pieces_resumed += u64::from(resumed);
        if part.after.is_some() {
            return;
        }
        match self.session.torrent(id).map(|swarm| swarm.is_blind()) {
            Some(true) => {
                self.session.with(now, id, |swarm, shared| {
                    swarm.is_known(info);
                    swarm.reveal(shared, now, geometry, have, &wanted, levels);
                });
                self.session.tidy();
            }
            Some(false) => {
                self.session.with(now, id, |swarm, shared| {
                    swarm.want(shared, now, &have, &wanted, levels);
                });
            }
            None => {
                let Some(part) = self.parts.get(&id) else { return };
                let mut beginning = part.beginning(id, geometry, have, wanted);
                if let Some(abroad) = &mut beginning.abroad {
                    (abroad.blind, abroad.levels) = (false, levels);
                }
                self.session.begin_torrent(now, beginning);
                self.session.with(now, id, |swarm, shared| {
                    swarm.is_known(info);
                    if paused {
                        swarm.halt(shared, now, HangUpReason::Stopping);
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
        self.stand(now, id);
    }

    pub(super) fn open_failed(&mut self, now: Time, id: TorrentId, message: &str) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        part.storage = Storage::Closed;
        self.fail(now, id, message);
    }

    /// The torrent cannot go on.
    fn fail(&mut self, now: Time, id: TorrentId, message: &str) {
        self.end(now, id, After::Close, HangUpReason::Stopping);
        self.set_state(id, TorrentState::Failed, Some(message.to_owned()));
    }

    /// A piece is verified and on disk.
    pub(super) fn piece_done(&mut self, now: Time, id: TorrentId, piece: PieceIndex) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        let Some(geometry) = part.geometry.clone() else { return };
        part.left = part.left.saturating_sub(u64::from(geometry.data_len(piece)));
        part.have_bytes += part.wanted_in(piece);
        let mut finished = Vec::new();
        for file in geometry.piece_files(piece) {
            let index = file as usize;
            let (Some(lacks), Some(unfinished)) =
                (part.lacks.get_mut(index), part.unfinished.get(index))
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
        let was_full = part.state == Some(TorrentState::DiskFull);
        for file in finished {
            self.finish(id, file);
        }
        if was_full {
            self.set_state(id, TorrentState::Downloading, None);
        }
        self.session.with(now, id, |swarm, shared| {
            if !swarm.downloads() {
                swarm.tell_upload_only(shared);
                swarm.drop_useless(shared, now);
            }
        });
        self.session.tidy();
    }

    /// Gives a file its name, once.
    fn finish(&mut self, id: TorrentId, file: FileIndex) {
        if self.parts.get_mut(&id).is_some_and(|part| part.finishing.insert(file)) {
            self.session.push(Output::FinishFile { torrent: id, file });
        }
    }

    /// A file stands under its name.
    pub(super) fn file_finished(&mut self, now: Time, id: TorrentId, file: FileIndex) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        part.finishing.remove(&file);
        if let Some(finished) = part.finished.get_mut(file.index()) {
            *finished = true;
        }
        let news = part.unfinished.get_mut(file.index()).is_some_and(std::mem::take);
        if news {
            self.event(Event::FileComplete { torrent: id, file });
            self.stand(now, id);
        }
    }

    pub(super) fn file_failed(
        &mut self,
        now: Time,
        id: TorrentId,
        file: FileIndex,
        error: &LocalError,
    ) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        part.finishing.remove(&file);
        if !error.disk_full {
            self.fail(now, id, &error.message);
            return;
        }
        part.retry.push(file);
        self.session.timers().by(Reason::Stall, now + FINISH_AGAIN);
        self.set_state(id, TorrentState::DiskFull, Some(error.message.clone()));
    }

    /// Files that could not be finished because the disk was full: perhaps they can be now.
    pub(super) fn finish_again(&mut self, now: Time) {
        let ids: Vec<TorrentId> = self.parts.keys().copied().collect();
        for id in ids {
            let Some(part) = self.parts.get_mut(&id) else { continue };
            let files = std::mem::take(&mut part.retry);
            if files.is_empty() || part.after.is_some() {
                continue;
            }
            for file in files {
                self.finish(id, file);
            }
            self.stand(now, id);
        }
    }

    pub(super) fn disk_failed(&mut self, now: Time, id: TorrentId, error: &LocalError) {
        if self.parts.get(&id).is_none_or(|part| part.after.is_some()) {
            return;
        }
        if error.disk_full {
            self.set_state(id, TorrentState::DiskFull, Some(error.message.clone()));
        } else {
            self.fail(now, id, &error.message);
        }
    }

    /// A block could not be read: somebody changed the files, or the disk is broken. What is there is
    /// checked again before anything more is served.
    pub(super) fn serve_failed(&mut self, now: Time, id: TorrentId, message: &str) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        if part.after.is_some() || part.storage != Storage::Open {
            return;
        }
        part.checks += 1;
        if part.checks > MAX_CHECKS {
            self.fail(now, id, message);
            return;
        }
        self.halt(now, id, After::Check, HangUpReason::Stopping);
        self.set_state(id, TorrentState::Checking, Some(message.to_owned()));
    }

    /// Where a torrent stands whose files are open: downloading, seeding, or done.
    pub(super) fn stand(&mut self, now: Time, id: TorrentId) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        if part.storage != Storage::Open || part.after.is_some() || part.paused {
            return;
        }
        let complete = part.is_complete();
        let whole = part.left == 0;
        for announcer in &mut part.announcers {
            announcer.set_partial_seed(complete && !whole);
        }
        if !complete {
            part.seeding_since = None;
            self.set_state(id, TorrentState::Downloading, None);
            return;
        }
        part.seeding_since.get_or_insert(now);
        if whole && std::mem::take(&mut part.was_incomplete) {
            part.announcers.iter_mut().for_each(crate::announcer::Announcer::completed);
            self.announce(now, id);
        }
        self.set_state(id, TorrentState::Seeding, None);
        self.session.with(now, id, |swarm, shared| {
            swarm.tell_upload_only(shared);
            swarm.drop_useless(shared, now);
        });
        self.session.tidy();
        self.check_goals(now);
    }

    /// Ends torrents whose goal is reached, and wakes us for the others.
    pub(super) fn check_goals(&mut self, now: Time) {
        let mut reached = Vec::new();
        for (id, part) in &self.parts {
            let seeding = part.state == Some(TorrentState::Seeding) && part.after.is_none();
            let Some(since) = part.seeding_since.filter(|_| seeding) else { continue };
            let Some(goal) = part.seed else {
                reached.push(*id);
                continue;
            };
            let sent = u128::from(part.totals(self.session.torrent(*id)).uploaded);
            let total = part.geometry.as_ref().map_or(0, Geometry::total_len);
            let ratio = goal
                .ratio_permille
                .is_some_and(|permille| sent * 1000 >= u128::from(permille) * u128::from(total));
            let time = goal.time.is_some_and(|time| now.since(since) >= time);
            if ratio || time {
                reached.push(*id);
                continue;
            }
            if goal.ratio_permille.is_some() {
                self.session.timers().by(Reason::Goal, now + GOAL_ROUND);
            }
            if let Some(time) = goal.time {
                self.session.timers().by(Reason::Goal, since + time);
            }
        }
        for id in reached {
            self.end(now, id, After::Close, HangUpReason::Stopping);
            self.set_state(id, TorrentState::Done, None);
        }
    }
}

impl Part {
    /// Begins with the files as they were found: whole ones stand under their names where nothing is
    /// missing at all, but for empty ones, which nobody looked for.
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
            self.priority(file) != Priority::Skip && !finished
        };
        self.unfinished = (0..files).map(open).collect();
    }

    /// Wanted files of which nothing is missing, and that do not stand under their names yet.
    fn whole_files(&self) -> Vec<FileIndex> {
        let files = (0_u32..).zip(self.lacks.iter().zip(&self.unfinished));
        files
            .filter(|(_, (lacks, open))| **lacks == 0 && **open)
            .map(|(f, _)| FileIndex(f))
            .collect()
    }
}
