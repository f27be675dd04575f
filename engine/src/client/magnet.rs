//! Torrents that are known by their name alone: metadata, and for version 2 the piece layers, come
//! from peers.

use super::Client;
use super::layers::{Answer, LayerFetch};
use super::lifecycle::PendingClose;
use super::metadata::MetadataFetch;
use crate::client::io::{ClientEvent, TorrentState};
use crate::swarm::io::{HangUpReason, SwarmOutput};
use crate::wake::Reason;
use bytes::Bytes;
use dunlin_base::{ConnId, Time, TorrentId};
use dunlin_metainfo::{PathRules, Torrent};
use dunlin_wire::extended::{MetadataMessage, UT_METADATA};
use dunlin_wire::{HashRange, Message};
use std::sync::Arc;

impl Client {
    /// A peer has sent its extension handshake.
    pub(super) fn introduced(&mut self, now: Time, id: TorrentId, conn: ConnId) {
        let known = self.peers.get(&conn).filter(|known| known.extension_id(UT_METADATA) != 0);
        let size = known.and_then(|known| known.metadata_size);
        if let (Some(entry), Some(size)) = (self.torrents.get_mut(&id), size)
            && entry.metainfo.is_none()
        {
            entry.fetch.offers(conn, size);
        }
        self.request_metadata(now, id);
    }

    /// A connection is gone: what was asked of it is asked of others.
    pub(super) fn no_longer_asked(&mut self, now: Time, id: TorrentId, conn: ConnId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        entry.fetch.gone(conn);
        if let Some(layers) = &mut entry.layers {
            layers.gone(conn);
        }
        self.request_metadata(now, id);
    }

    /// Asks peers for what is missing of a torrent that is known by its name.
    pub(super) fn request_metadata(&mut self, now: Time, id: TorrentId) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        if entry.state != Some(TorrentState::Metadata) || entry.lifecycle.is_ending() {
            return;
        }
        while let Some(conn) = entry.fetch.dead(now) {
            self.session.hang_up(now, conn, HangUpReason::Dead);
        }
        let Some(swarm) = self.session.torrent(id) else { return };
        let mut sends = Vec::new();
        let wake = match &mut entry.layers {
            Some(layers) => {
                for (conn, peer) in &swarm.connections.peers {
                    let v2 = self.peers.get(conn).is_some_and(|known| known.v2);
                    while peer.is_established()
                        && v2
                        && let Some(range) = layers.next(now, *conn)
                    {
                        sends.push((*conn, Message::HashRequest(range)));
                    }
                }
                layers.wake(now)
            }
            None => {
                while let Some((conn, piece)) = entry.fetch.next(now) {
                    // Closed a moment ago, by us: its end is reported in its turn.
                    let known = self
                        .peers
                        .get(&conn)
                        .filter(|_| swarm.connections.peers.contains_key(&conn));
                    let Some(known) = known else {
                        entry.fetch.gone(conn);
                        continue;
                    };
                    let id = known.extension_id(UT_METADATA);
                    let payload = MetadataMessage::Request { piece }.encode();
                    sends.push((conn, Message::Extended { id, payload }));
                }
                entry.fetch.wake(now)
            }
        };
        for (conn, message) in sends {
            self.session.push(SwarmOutput::Send { conn, message });
        }
        if let Some(at) = wake {
            self.session.timers().by(Reason::Refresh, at);
        }
    }

    /// A peer gives metadata, or refuses.
    pub(super) fn metadata(
        &mut self,
        now: Time,
        id: TorrentId,
        conn: ConnId,
        message: &MetadataMessage,
    ) {
        let Some(entry) = self.torrents.get_mut(&id).filter(|entry| entry.metainfo.is_none())
        else {
            return;
        };
        let complete = match message {
            MetadataMessage::Request { .. } => Ok(None),
            MetadataMessage::Reject { piece } => {
                entry.fetch.rejected(now, conn, *piece);
                Ok(None)
            }
            MetadataMessage::Data { piece, total_size, data } => {
                entry.fetch.data(now, conn, *piece, *total_size, data)
            }
        };
        match complete {
            Ok(None) => {}
            Ok(Some(complete)) if entry.hashes.names(&complete.bytes) => {
                self.has_metadata(now, id, &complete.bytes);
            }
            Ok(Some(complete)) => {
                if let Some(liar) = entry.fetch.wrong(&complete.from) {
                    self.ban(now, id, liar);
                }
            }
            Err(what) => self.tolerate(now, id, conn, what),
        }
        self.request_metadata(now, id);
    }

    /// The info dictionary is here, and is the one that was named.
    fn has_metadata(&mut self, now: Time, id: TorrentId, info: &[u8]) {
        match Torrent::parse_info(info, PathRules::default()) {
            Ok(torrent) => {
                let missing = torrent.layers_missing();
                let Some(entry) = self.torrents.get_mut(&id) else { return };
                entry.name = Some(torrent.name.clone());
                // What else was taken for metadata is not needed any more.
                entry.fetch = MetadataFetch::default();
                for announcer in &mut entry.announcers {
                    announcer.set_private(torrent.private);
                }
                // A hybrid torrent is verified by version 1.
                if torrent.hashes.v1.is_some() || missing.is_empty() {
                    self.is_known(id, torrent);
                } else {
                    entry.layers = Some(LayerFetch::new(missing, torrent.piece_length));
                    entry.metainfo = Some(Arc::new(torrent));
                    self.request_metadata(now, id);
                }
            }
            Err(error) => {
                let message =
                    format!("what the link names is no torrent that can be used: {error}");
                self.end(now, id, PendingClose::Close, HangUpReason::Stopping);
                self.set_state(id, TorrentState::Failed, Some(message));
            }
        }
    }

    /// Everything about a torrent is known.
    fn is_known(&mut self, id: TorrentId, torrent: Torrent) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let metainfo = Arc::new(torrent);
        entry.layers = None;
        entry.geometry = Some(metainfo.geometry(super::BLOCK_LENGTH));
        entry.metainfo = Some(metainfo.clone());
        self.event(ClientEvent::Metadata { torrent: id, metainfo });
        self.open(id);
    }

    /// A peer answers with hashes, or with none.
    pub(super) fn hashes(
        &mut self,
        now: Time,
        id: TorrentId,
        conn: ConnId,
        range: &HashRange,
        hashes: Option<&Bytes>,
    ) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        let Some(layers) = &mut entry.layers else { return };
        match layers.answered(now, conn, range, hashes) {
            Answer::Unrequested => {}
            Answer::Accepted => {
                let layers = layers.complete();
                if let (Some(layers), Some(metainfo)) = (layers, entry.metainfo.clone()) {
                    let torrent = Arc::unwrap_or_clone(metainfo);
                    match torrent.with_layers(layers) {
                        Ok(torrent) => self.is_known(id, torrent),
                        Err(error) => tracing::warn!(%error, "proved layers do not fit"),
                    }
                }
            }
            Answer::Wrong => self.ban(now, id, conn),
        }
        self.request_metadata(now, id);
    }

    pub(super) fn request_all_metadata(&mut self, now: Time) {
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            self.request_metadata(now, id);
        }
    }
}
