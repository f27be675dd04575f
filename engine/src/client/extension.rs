//! One extension of the extension protocol (BEP 10): what its file states.
//!
//! The client sends its number with the handshake, and passes payloads to it. In the handshake `m`
//! of both sides it has the same name, and mostly another number.

use super::Client;
use super::internet_peer::InternetPeer;
use crate::swarm::io::SwarmOutput;
use bytes::Bytes;
use dunlin_base::{ConnId, Time, TorrentId};
use dunlin_wire::extended::MetadataMessage;
use dunlin_wire::{HashRange, Message};

/// The payload of an extension's messages, and what they do.
pub trait ExtensionMessage: Sized {
    /// The extension's name in the handshake.
    const NAME: &'static str;
    /// Bytes of the longest payload. A longer one is not read.
    const LONGEST: usize;
    /// Whether it is offered in the swarm of a private torrent, where peers come from trackers
    /// alone (BEP 27).
    const IN_PRIVATE: bool = true;
    /// What ends the connection of a peer that sends too many payloads that cannot be read.
    const MALFORMED: &'static str;

    /// Reads a payload of at most [`Self::LONGEST`] bytes, which a stranger wrote; `None` if it
    /// cannot be read.
    fn decode(payload: &Bytes) -> Option<Self>;

    /// A peer has sent it.
    fn received(self, context: &mut ExtensionContext<'_>);
}

/// An extension, as a client lists it.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    pub(super) name: &'static str,
    pub(super) in_private: bool,
    pub(super) malformed: &'static str,
    /// Reads a payload and passes it on; returns whether it could be read.
    pub(super) receive: fn(&mut ExtensionContext<'_>, &Bytes) -> bool,
}

impl Extension {
    /// The extension that has these messages.
    #[must_use]
    pub const fn of<M: ExtensionMessage>() -> Extension {
        Extension {
            name: M::NAME,
            in_private: M::IN_PRIVATE,
            malformed: M::MALFORMED,
            receive: |context, payload| {
                let message = (payload.len() <= M::LONGEST).then(|| M::decode(payload)).flatten();
                message.map(|message| message.received(context)).is_some()
            },
        }
    }
}

/// What a message may lead to, and who sent it.
#[derive(Debug)]
pub struct ExtensionContext<'a> {
    pub(super) client: &'a mut Client,
    pub(super) now: Time,
    pub(super) torrent: TorrentId,
    pub(super) conn: ConnId,
    pub(super) name: &'static str,
    /// What the client goes on with.
    pub(super) event: Option<ExtensionEvent>,
}

impl ExtensionContext<'_> {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// The torrent that the connection is for.
    #[must_use]
    pub fn torrent(&self) -> TorrentId {
        self.torrent
    }

    /// The connection that it came from.
    #[must_use]
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// Sends the peer a message of the same extension, if the peer has stated a number for it.
    pub fn reply(&mut self, payload: Bytes) {
        let id = self.client.peers.get(&self.conn).map_or(0, |known| known.extension_id(self.name));
        if id != 0 {
            let message = Message::Extended { id, payload };
            self.client.session.push(SwarmOutput::Send { conn: self.conn, message });
        }
    }

    /// What is kept of the peer.
    pub(super) fn peer(&mut self) -> Option<&mut InternetPeer> {
        self.client.peers.get_mut(&self.conn)
    }
}

/// What a message of an extension leads to when the connection has been looked at.
#[derive(Clone, Debug)]
pub(super) enum ExtensionEvent {
    /// The peer has sent its extension handshake.
    Introduced,
    /// It answers about metadata (BEP 9).
    Metadata(MetadataMessage),
    /// It asks for hashes (BEP 52).
    HashRequest(HashRange),
    /// It answers with hashes, or with none.
    Hashes(HashRange, Option<Bytes>),
}
