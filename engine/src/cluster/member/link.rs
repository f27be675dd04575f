//! Files that a rank of the same host fetches for this one, and what trees are beside the bytes of
//! files.
//!
//! ```text
//!   Linking ── linkable (files) ─▶ Link ─▶ finished
//!      │                             └ failed ┐
//!      └── the last (the neighbour has no more) ┴─▶ Waiting: looked up and fetched like any other
//! ```

use super::{Member, TorrentPhase};
use crate::cluster::io::MemberOutput;
use crate::swarm::io::LocalError;
use dunlin_base::{FileIndex, Time, TorrentId};
use dunlin_control::FailedFile;
use std::collections::BTreeSet;

/// What is linked of a torrent.
#[derive(Clone, Debug, Default)]
pub(super) struct Linking {
    /// Files that are being linked.
    asked: BTreeSet<FileIndex>,
    /// Nothing more comes this way.
    over: bool,
}

/// Where the end of the trees is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TreeState {
    #[default]
    Unfinished,
    Asked,
    Finished,
}

impl Member {
    /// A neighbour has files; this may be the last that it has.
    pub(super) fn linkable(&mut self, now: Time, id: TorrentId, files: &[FileIndex], last: bool) {
        let Some(entry) =
            self.torrents.get_mut(&id).filter(|entry| entry.phase == TorrentPhase::Linking)
        else {
            return;
        };
        let Some(from) = entry.assignment.link.clone() else { return };
        entry.linking.over |= last;
        for file in files {
            let open = entry.unfinished.has(*file);
            let Some(name) = entry.assignment.names.get(file.index()).filter(|_| open) else {
                continue;
            };
            if entry.linking.asked.insert(*file) {
                let (name, from) = (name.clone(), from.clone());
                let output = MemberOutput::Link { torrent: id, file: *file, name, from };
                self.outputs.push(&mut self.session, output);
            }
        }
        self.fetch_the_rest(now, id);
    }

    /// A file was linked.
    pub(super) fn linked(&mut self, now: Time, id: TorrentId, file: FileIndex) {
        if let Some(entry) = self.torrents.get_mut(&id)
            && entry.linking.asked.remove(&file)
        {
            self.fetch_the_rest(now, id);
        }
    }

    pub(super) fn link_failed(
        &mut self,
        now: Time,
        id: TorrentId,
        file: FileIndex,
        error: &LocalError,
    ) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        if entry.linking.asked.remove(&file) {
            tracing::info!(torrent = %id, file = file.0, %error, "it is fetched instead of linked");
            entry.linking.over = true;
            self.fetch_the_rest(now, id);
        }
    }

    /// Where nothing more can be linked, the rest is looked up.
    fn fetch_the_rest(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let rest = entry.unfinished.any();
        let idle = entry.phase == TorrentPhase::Linking && entry.linking.asked.is_empty();
        if idle && entry.linking.over && rest {
            entry.phase = TorrentPhase::Waiting;
            self.queue.push_back(id);
            self.look_up_next(now);
        }
    }

    /// Whether the trees are as they should be. Asks for it, once every file is finished or has
    /// failed.
    pub(super) fn tree_is_finished(&mut self) -> bool {
        if !self.config.placing {
            return true;
        }
        if self.tree == TreeState::Unfinished {
            self.tree = TreeState::Asked;
            self.push(MemberOutput::FinishTree);
        }
        self.tree == TreeState::Finished
    }

    pub(super) fn tree_finished(&mut self, failed: Vec<FailedFile>) {
        if self.tree == TreeState::Asked {
            self.tree = TreeState::Finished;
            failed.into_iter().for_each(|failed| self.fail(failed));
        }
    }
}
