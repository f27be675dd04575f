//! Torrents that this rank holds whole: it has every hash itself and looks nothing up.

use super::Member;
use dunlin_base::{Time, TorrentId};
use dunlin_control::TorrentAssignment;
use dunlin_metainfo::{HashKind, PieceHashes, SetFile, SetInfo};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Member {
    /// A torrent that we hold whole: its metainfo is what we registered.
    pub(super) fn open_own(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get(&id) else { return };
        let Some(info) = self.own_info(&entry.assignment) else {
            let reason = "the tracker says that we have files which we never registered";
            tracing::warn!(torrent = %id, reason);
            self.fail_torrent(now, id, reason);
            return;
        };
        let wants = entry.assignment.wants;
        self.open(id, Arc::new(info), wants);
    }

    fn own_info(&self, assignment: &TorrentAssignment) -> Option<SetInfo> {
        let register = self.register.as_ref()?;
        let mut files = Vec::new();
        let mut sha1 = Vec::new();
        let mut tokens = Vec::new();
        let mut piece_length = None;
        let by_name: BTreeMap<&str, _> =
            register.files.iter().map(|file| (file.name.as_str(), file)).collect();
        for name in &assignment.names {
            let file = by_name.get(name.as_str())?;
            piece_length.get_or_insert(file.piece_length);
            files.push(SetFile { name: file.name.clone(), length: file.length });
            match &file.hashes {
                PieceHashes::Sha1(hashes) => sha1.extend_from_slice(hashes),
                PieceHashes::Tokens(list) => tokens.extend(list.iter().cloned()),
                PieceHashes::Merkle(_) => return None,
            }
        }
        let first = by_name.get(assignment.names.first()?.as_str())?;
        let (kind, hashes) = match first.hashes.kind() {
            HashKind::Sha1 => (HashKind::Sha1, PieceHashes::Sha1(sha1.into())),
            HashKind::Token => (HashKind::Token, PieceHashes::Tokens(tokens.into())),
            HashKind::Merkle => return None,
        };
        SetInfo::new(kind, piece_length?, files, hashes).ok()
    }
}
