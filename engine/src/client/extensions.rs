//! The extension protocol (BEP 10): who we are, whom a payload goes to, and who may ask for hashes
//! (BEP 52).
//!
//! An extension is a file of its own below this one, and a line of `extensions!`: the handshake
//! takes its name and its number from there. A program may bring more with its `ClientConfig`.

use super::Client;
use super::candidates::PeerSource;
use super::extension::{Extension, ExtensionContext, ExtensionEvent};
use super::internet_torrent::InternetTorrent;
use crate::swarm::address::{canonical, ip_of, source_of};
use crate::swarm::io::SwarmOutput;
use crate::swarm::peer::MAX_QUEUED;
use crate::swarm::torrent::Violation;
use bytes::Bytes;
use dunlin_base::{ConnId, Endpoint, Time, TorrentId};
use dunlin_wire::extended::{self, ExtendedHandshake};
use dunlin_wire::{Handshake, Message};
use std::net::SocketAddr;

/// Declares the modules of extensions, and lists them.
macro_rules! extensions {
    ($(mod $module:ident;)+) => {
        $(mod $module;)+

        /// What every client knows, in the order of our numbers from 1 on.
        const OURS: &[Extension] = &[$($module::EXTENSION,)+];
    };
}

extensions! {
    mod ut_metadata;
    mod upload_only;
    mod lt_donthave;
}

/// Ranges of hashes that are looked for for one peer, later ones are rejected: of 512 hashes each
/// these are 16 million blocks.
const MAX_HASH_REQUESTS: u32 = 1 << 15;

impl Client {
    /// Keeps what a handshake states, and sends ours and that of the extension protocol before
    /// anything else.
    pub(super) fn introduce(&mut self, conn: ConnId, handshake: &Handshake) {
        let Some(id) = self.session.torrent_of(conn) else { return };
        let v2_name = self.torrents.get(&id).and_then(|entry| entry.hashes.v2_short());
        self.session.greet(conn);
        let Some(ours) = self.session.torrent(id).and_then(|torrent| torrent.name_on(conn)) else {
            return;
        };
        let v2 = |name| v2_name.is_some() && v2_name == Some(name);
        let v2 = v2(handshake.info_hash) || v2(ours.info_hash);
        if let Some(known) = self.peers.get_mut(&conn) {
            known.peer_id = Some(handshake.peer_id);
            known.extended = handshake.reserved.extended();
            known.v2 = v2;
        }
        self.send_extension_handshake(id, conn);
    }

    /// Sends who we are, what we can do, and what has changed of it.
    pub(super) fn send_extension_handshake(&mut self, id: TorrentId, conn: ConnId) {
        let (Some(torrent), Some(entry)) = (self.session.torrent(id), self.torrents.get(&id))
        else {
            return;
        };
        let Some(peer) = torrent.connections.peers.get(&conn) else { return };
        if !self.peers.get(&conn).is_some_and(|known| known.extended) {
            return;
        }
        let InternetTorrent { info, private, .. } = &entry.internet;
        let size = info.as_ref().map(Bytes::len).filter(|_| !private);
        let port = self.internet.port;
        let offered = self.extensions().filter(|(_, extension)| extension.in_private || !private);
        let handshake = ExtendedHandshake {
            extensions: offered.map(|(id, extension)| (extension.name, id)).collect(),
            port: Some(port).filter(|port| *port > 0),
            client: Some(self.internet.config.client.clone()),
            your_ip: ip_of(peer.remote),
            queue: u32::try_from(MAX_QUEUED).ok(),
            metadata_size: size.and_then(|size| u32::try_from(size).ok()),
            upload_only: torrent.is_upload_only().then_some(true),
            ..ExtendedHandshake::default()
        };
        let payload = handshake.encode();
        let message = Message::Extended { id: extended::HANDSHAKE, payload };
        self.session.push(SwarmOutput::Send { conn, message });
    }

    /// Everybody receives whether we want anything, when that has changed (BEP 21).
    pub(super) fn send_upload_only(&mut self, id: TorrentId) {
        let (Some(torrent), Some(entry)) = (self.session.torrent(id), self.torrents.get_mut(&id))
        else {
            return;
        };
        let upload_only = torrent.is_upload_only();
        let announced = &mut entry.internet.announced_upload_only;
        if torrent.lifecycle.awaits_metadata()
            || std::mem::replace(announced, upload_only) == upload_only
        {
            return;
        }
        let agreed: Vec<(ConnId, u8)> = torrent
            .connections
            .peers
            .keys()
            .filter_map(|conn| {
                Some((*conn, self.peers.get(conn)?.extension_id(extended::UPLOAD_ONLY)))
            })
            .filter(|(_, id)| *id != 0)
            .collect();
        for (conn, id) in agreed {
            let payload = extended::write_upload_only(upload_only);
            let message = Message::Extended { id, payload };
            self.session.push(SwarmOutput::Send { conn, message });
        }
    }

    /// A message of an extension, or about hashes.
    pub(super) fn on_extension(
        &mut self,
        now: Time,
        id: TorrentId,
        conn: ConnId,
        message: &Message,
    ) -> Result<Option<ExtensionEvent>, Violation> {
        let Some(known) = self.peers.get_mut(&conn) else { return Ok(None) };
        let mut harmless = None;
        let mut event = None;
        match message {
            Message::Extended { .. } if !known.extended => {
                harmless = Some("an extension that was never agreed on");
            }
            Message::Extended { id: extended::HANDSHAKE, payload } => {
                let stated = ExtendedHandshake::decode(payload);
                if stated.is_err() {
                    self.tolerate_or(id, conn, "an extension handshake that makes no sense")?;
                }
                // What cannot be read states nothing; the connection goes on without extensions.
                self.introduced_by(now, id, conn, &stated.unwrap_or_default());
                event = Some(ExtensionEvent::Introduced);
            }
            Message::Extended { id: number, payload } => {
                return self.on_payload(now, id, conn, *number, payload);
            }
            _ => return self.on_hashes(now, id, conn, message),
        }
        if let Some(what) = harmless {
            self.tolerate_or(id, conn, what)?;
        }
        Ok(event)
    }

    /// What we know, with our numbers.
    fn extensions(&self) -> impl Iterator<Item = (u8, Extension)> + '_ {
        (1..=u8::MAX).zip(OURS.iter().chain(&self.internet.config.extensions).copied())
    }

    /// A payload with one of our numbers.
    fn on_payload(
        &mut self,
        now: Time,
        id: TorrentId,
        conn: ConnId,
        number: u8,
        payload: &Bytes,
    ) -> Result<Option<ExtensionEvent>, Violation> {
        let found = self.extensions().find(|(ours, _)| *ours == number);
        // Nobody received this number from us.
        let Some((_, extension)) = found else { return Ok(None) };
        let name = extension.name;
        let mut context =
            ExtensionContext { client: self, now, torrent: id, conn, name, event: None };
        let is_read = (extension.receive)(&mut context, payload);
        let event = context.event;
        if !is_read {
            self.tolerate_or(id, conn, extension.malformed)?;
        }
        Ok(event)
    }

    /// A message that is wrong and harms nobody.
    fn tolerate_or(
        &mut self,
        id: TorrentId,
        conn: ConnId,
        what: &'static str,
    ) -> Result<(), Violation> {
        let peer = self
            .session
            .torrent_mut(id)
            .and_then(|torrent| torrent.connections.peers.get_mut(&conn));
        peer.map_or(Ok(()), |peer| peer.tolerate(what))
    }

    /// A message about hashes (BEP 52). A request always has its answer, also on a connection of
    /// version 1: libtorrent asks there for what a hybrid torrent that it added by its names lacks.
    fn on_hashes(
        &mut self,
        now: Time,
        id: TorrentId,
        conn: ConnId,
        message: &Message,
    ) -> Result<Option<ExtensionEvent>, Violation> {
        let Some(known) = self.peers.get_mut(&conn) else { return Ok(None) };
        match message {
            Message::HashRequest(range) => {
                let range = *range;
                if !known.v2 || known.hashes_asked >= MAX_HASH_REQUESTS {
                    let message = Message::HashReject(range);
                    self.session.push(SwarmOutput::Send { conn, message });
                    let torrent = self.session.torrent_mut(id);
                    torrent
                        .map_or(Ok(()), |torrent| torrent.connections.asked_in_vain(now, conn))?;
                    return Ok(None);
                }
                known.hashes_asked += 1;
                Ok(Some(ExtensionEvent::HashRequest(range)))
            }
            _ if !known.v2 => {
                self.tolerate_or(id, conn, "hashes on a connection of version 1")?;
                Ok(None)
            }
            Message::Hashes { range, hashes } => {
                Ok(Some(ExtensionEvent::Hashes(*range, Some(hashes.clone()))))
            }
            Message::HashReject(range) => Ok(Some(ExtensionEvent::Hashes(*range, None))),
            _ => Ok(None),
        }
    }

    /// What an extension handshake states; it may come again with what has changed.
    fn introduced_by(
        &mut self,
        now: Time,
        id: TorrentId,
        conn: ConnId,
        stated: &ExtendedHandshake,
    ) {
        let (Some(known), Some(entry)) = (self.peers.get_mut(&conn), self.torrents.get_mut(&id))
        else {
            return;
        };
        known.introduced = true;
        known.client = stated.client.clone().or(known.client.take());
        for extension in OURS.iter().chain(&self.internet.config.extensions) {
            if let Some(id) = stated.extensions.get(extension.name) {
                known.extension_ids.insert(extension.name, id);
            }
        }
        known.upload_only = stated.upload_only.unwrap_or(known.upload_only);
        known.metadata_size = stated.metadata_size.or(known.metadata_size);
        let before = match stated.port {
            Some(port) => known.port.replace(port),
            None => None,
        };
        let candidates = &mut entry.internet.candidates;
        self.session.with(now, id, |torrent, context| {
            let Some(peer) = torrent.connections.peers.get_mut(&conn) else { return };
            if let Some(queue) = stated.queue {
                peer.queue_limit = queue.clamp(1, MAX_QUEUED as u32);
            }
            let (remote, incoming) = (peer.remote, peer.incoming);
            if let (Some(port), Endpoint::Socket(address), true) = (stated.port, remote, incoming) {
                let at = |port| Endpoint::Socket(canonical(SocketAddr::new(address.ip(), port)));
                let before = before.filter(|before| *before != port).map(at);
                let source = PeerSource::Peer(source_of(remote));
                candidates.add_announced(torrent, context, conn, at(port), before, source);
            }
        });
    }

    /// Goes on with what a message of an extension led to.
    pub(super) fn on_extension_event(&mut self, now: Time, conn: ConnId, event: ExtensionEvent) {
        let Some(id) = self.session.torrent_of(conn) else { return };
        match event {
            ExtensionEvent::Introduced => self.introduced(now, id, conn),
            ExtensionEvent::Metadata(message) => self.metadata(now, id, conn, &message),
            ExtensionEvent::HashRequest(range) => self.hash_request(id, conn, range),
            ExtensionEvent::Hashes(range, hashes) => {
                self.hashes(now, id, conn, &range, hashes.as_ref());
            }
        }
    }
}
