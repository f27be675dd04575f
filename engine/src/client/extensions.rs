//! The extension protocol (BEP 10) as one torrent speaks it: who we are, metadata for whoever asks
//! (BEP 9), who wants nothing (BEP 21), who has lost a piece (BEP 54). Metadata that we ask for, and
//! hashes (BEP 52), are the driver's business.

use super::connect::Violation;
use super::{Happened, Shared, Torrent};
use crate::client::internet::{canonical, ip_of, source_of};
use crate::swarm::peer::{MAX_QUEUED, Pieces};
use crate::swarm::peer_list::Whence;
use bytes::Bytes;
use dunlin_base::{Bitfield, ConnId, Endpoint, PieceIndex, Time};
use dunlin_wire::extended::{
    self, ExtendedHandshake, METADATA_PIECE, MetadataMessage, metadata_pieces,
};
use dunlin_wire::{Handshake, Message};
use std::net::SocketAddr;

/// Our number for metadata.
const UT_METADATA: u8 = 1;
/// Our number for `upload_only`.
const UPLOAD_ONLY: u8 = 2;
/// Our number for `lt_donthave`.
const DONT_HAVE: u8 = 3;
/// The longest message about metadata: a piece and its dictionary (practice: 17 KiB).
const MAX_METADATA_MESSAGE: usize = 17 << 10;
/// Whoever was given so many times the metadata that there is does not want it (practice: 3), …
const MAX_METADATA_TURNS: u32 = 3;
/// … though everybody is given so many pieces: metadata may be one.
const MIN_METADATA_REQUESTS: u32 = 16;
/// Ranges of hashes that are looked for for one peer, later ones are rejected: of 512 hashes each these are 16
/// million blocks.
const MAX_HASH_REQUESTS: u32 = 1 << 15;

impl Torrent {
    /// Takes note of a handshake, and answers the one of the extension protocol before anything else.
    pub(super) fn introduce(&mut self, shared: &mut Shared, conn: ConnId, handshake: &Handshake) {
        let Some(abroad) = &self.abroad else { return };
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let asked = peer.abroad.name.or(self.names.first().copied());
        peer.abroad.peer_id = Some(handshake.peer_id);
        peer.abroad.extended = handshake.reserved.extended();
        let v2 = |name| abroad.v2_name.is_some() && abroad.v2_name == name;
        peer.abroad.v2 = v2(Some(handshake.info_hash)) || v2(asked);
        self.introduce_again(shared, conn);
    }

    /// Says who we are, what we can do, and what has changed of it.
    pub(super) fn introduce_again(&self, shared: &mut Shared, conn: ConnId) {
        let (Some(abroad), Some(net)) = (&self.abroad, &shared.net) else { return };
        let Some(peer) = self.peers.get(&conn).filter(|peer| peer.abroad.extended) else { return };
        let size = abroad.info.as_ref().map(Bytes::len).filter(|_| !abroad.private);
        let handshake = ExtendedHandshake {
            ut_metadata: (!abroad.private).then_some(UT_METADATA),
            upload_only_id: Some(UPLOAD_ONLY),
            dont_have: Some(DONT_HAVE),
            port: Some(net.port).filter(|port| *port > 0),
            client: Some(net.config.client.clone()),
            your_ip: ip_of(peer.remote),
            queue: u32::try_from(MAX_QUEUED).ok(),
            metadata_size: size.and_then(|size| u32::try_from(size).ok()),
            upload_only: self.is_upload_only().then_some(true),
            ..ExtendedHandshake::default()
        };
        let payload = handshake.encode();
        shared.send(conn, Message::Extended { id: extended::HANDSHAKE, payload });
    }

    /// Everybody hears whether we want anything (BEP 21).
    pub(crate) fn tell_upload_only(&mut self, shared: &mut Shared) {
        let upload_only = self.is_upload_only();
        let Some(abroad) = self.abroad.as_mut().filter(|abroad| !abroad.blind) else { return };
        if std::mem::replace(&mut abroad.said_upload_only, upload_only) == upload_only {
            return;
        }
        for (conn, peer) in &self.peers {
            let id = peer.abroad.upload_only_id;
            if id != 0 {
                let payload = extended::write_upload_only(upload_only);
                shared.send(*conn, Message::Extended { id, payload });
            }
        }
    }

    /// A message of an extension.
    pub(super) fn on_extension(
        &mut self,
        shared: &mut Shared,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        if self.abroad.is_none() {
            return Err("an extension that was never agreed on");
        }
        match message {
            Message::Extended { .. } if !peer.abroad.extended => {
                return peer.tolerate("an extension that was never agreed on");
            }
            Message::Extended { id: extended::HANDSHAKE, payload } => {
                let said = ExtendedHandshake::decode(payload);
                if said.is_err() {
                    peer.tolerate("an extension handshake that makes no sense")?;
                }
                // What cannot be read says nothing; the connection goes on without extensions.
                self.introduced(shared, conn, &said.unwrap_or_default());
            }
            Message::Extended { id: UT_METADATA, payload } => {
                self.on_metadata(shared, now, conn, payload)?;
            }
            Message::Extended { id: UPLOAD_ONLY, payload } => {
                match extended::read_upload_only(payload) {
                    Ok(upload_only) => peer.abroad.upload_only = upload_only,
                    Err(_) => return peer.tolerate("upload_only of wrong size"),
                }
            }
            Message::Extended { id: DONT_HAVE, payload } => {
                match extended::read_dont_have(payload) {
                    Ok(piece) => self.lost(shared, conn, piece),
                    Err(_) => return peer.tolerate("lt_donthave of wrong size"),
                }
            }
            // Nobody was told this number.
            Message::Extended { .. } => {}
            _ => return self.on_hashes(shared, now, conn, message),
        }
        Ok(())
    }

    /// A message about hashes (BEP 52). A request always has its answer, also on a connection of version
    /// 1: libtorrent asks there for what a hybrid torrent that it added by its names lacks.
    fn on_hashes(
        &mut self,
        shared: &mut Shared,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        let (torrent, v2) = (self.id, peer.abroad.v2);
        match message {
            Message::HashRequest(range) => {
                let range = *range;
                if !v2 || peer.abroad.hashes_asked >= MAX_HASH_REQUESTS {
                    shared.send(conn, Message::HashReject(range));
                    return self.asked_in_vain(now, conn);
                }
                peer.abroad.hashes_asked += 1;
                shared.happened.push_back(Happened::HashRequest { torrent, conn, range });
            }
            _ if !v2 => return peer.tolerate("hashes on a connection of version 1"),
            Message::Hashes { range, hashes } => {
                let (range, hashes) = (*range, Some(hashes.clone()));
                shared.happened.push_back(Happened::Hashes { torrent, conn, range, hashes });
            }
            Message::HashReject(range) => {
                let range = *range;
                shared.happened.push_back(Happened::Hashes { torrent, conn, range, hashes: None });
            }
            _ => {}
        }
        Ok(())
    }

    /// What an extension handshake says; it may come again with what has changed.
    fn introduced(&mut self, shared: &mut Shared, conn: ConnId, said: &ExtendedHandshake) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let (remote, abroad) = (peer.remote, &mut peer.abroad);
        abroad.introduced = true;
        abroad.client = said.client.clone().or(abroad.client.take());
        abroad.ut_metadata = said.ut_metadata.unwrap_or(abroad.ut_metadata);
        abroad.upload_only_id = said.upload_only_id.unwrap_or(abroad.upload_only_id);
        abroad.upload_only = said.upload_only.unwrap_or(abroad.upload_only);
        abroad.metadata_size = said.metadata_size.or(abroad.metadata_size);
        if let Some(queue) = said.queue {
            abroad.queue = (queue as usize).clamp(1, MAX_QUEUED);
        }
        if let (Some(port), Endpoint::Socket(address)) = (said.port, remote) {
            let before = abroad.port.replace(port);
            if abroad.incoming {
                let at = |port| Endpoint::Socket(canonical(SocketAddr::new(address.ip(), port)));
                let listens = at(port);
                if let Some(before) = before.filter(|before| *before != port) {
                    // A connection listens at one address: the one that it says last.
                    self.known.take_back(at(before), conn);
                }
                let place = shared.rng.next_u64() as u32;
                self.known.add(listens, place, Whence::Said(source_of(remote)));
                if let Some(known) = self.known.get_mut(listens) {
                    known.twin = Some(conn);
                }
            }
        }
        shared.happened.push_back(Happened::Introduced { torrent: self.id, conn });
    }

    /// A message about metadata: requests are answered here.
    fn on_metadata(
        &mut self,
        shared: &mut Shared,
        now: Time,
        conn: ConnId,
        payload: &Bytes,
    ) -> Result<(), Violation> {
        let message = (payload.len() <= MAX_METADATA_MESSAGE)
            .then(|| MetadataMessage::decode(payload))
            .and_then(Result::ok);
        let Some(message) = message else {
            let peer = self.peers.get_mut(&conn);
            return peer.map_or(Ok(()), |peer| {
                peer.tolerate("a message about metadata that makes no sense")
            });
        };
        let Some(message) = message else { return Ok(()) };
        let MetadataMessage::Request { piece } = message else {
            let torrent = self.id;
            shared.happened.push_back(Happened::Metadata { torrent, conn, message });
            return Ok(());
        };
        let (Some(abroad), Some(peer)) = (&self.abroad, self.peers.get_mut(&conn)) else {
            return Ok(());
        };
        let id = peer.abroad.ut_metadata;
        if id == 0 {
            return Ok(());
        }
        let passes = peer.abroad.metadata.passes(now).is_ok();
        let data = abroad.info.as_ref().filter(|_| !abroad.private && passes).and_then(|info| {
            let total_size = u32::try_from(info.len()).ok()?;
            let most = metadata_pieces(total_size).saturating_mul(MAX_METADATA_TURNS);
            let begin = piece.checked_mul(METADATA_PIECE).filter(|begin| *begin < total_size)?;
            let end = begin.saturating_add(METADATA_PIECE).min(total_size);
            let welcome = peer.abroad.metadata_given < most.max(MIN_METADATA_REQUESTS);
            let data = info.slice(begin as usize..end as usize);
            welcome.then_some(MetadataMessage::Data { piece, total_size, data })
        });
        if data.is_some() {
            peer.abroad.metadata_given += 1;
            peer.abroad.metadata.take(METADATA_PIECE);
        }
        let payload = data.unwrap_or(MetadataMessage::Reject { piece }).encode();
        shared.send(conn, Message::Extended { id, payload });
        Ok(())
    }

    /// The peer has a piece no longer (BEP 54).
    fn lost(&mut self, shared: &mut Shared, conn: ConnId, piece: u32) {
        let Some(piece) = self.geometry.piece(piece) else { return };
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        match &mut peer.pieces {
            Pieces::Unknown => return,
            Pieces::All => {
                let mut field = Bitfield::full(self.geometry.pieces());
                field.clear(piece);
                self.set_pieces(shared, conn, Pieces::Some(field));
                return;
            }
            Pieces::Some(field) => {
                if !field.clear(piece) {
                    return;
                }
            }
        }
        self.picker.lost(piece);
        self.count_lost(shared, conn, piece);
    }

    fn count_lost(&mut self, shared: &mut Shared, conn: ConnId, piece: PieceIndex) {
        if self.missing.has(piece)
            && let Some(peer) = self.peers.get_mut(&conn)
        {
            peer.useful -= 1;
            self.update_interest(shared, conn);
        }
    }
}
