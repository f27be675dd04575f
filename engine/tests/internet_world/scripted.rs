//! What scripted hosts do, an event a line, and what a test asks of any host.

use super::{Parcel, T, World, adding, handshake};
use dunlin_base::{BlockRef, ConnId, InfoHash};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::Source;
use dunlin_metainfo::Torrent;
use dunlin_tracker::AnnounceEvent;
use dunlin_wire::{Handshake, Message};
use std::sync::Arc;

impl World {
    /// A stranger dials.
    pub fn stranger_dials(&mut self, from: usize, to: usize) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.post(from, to, Parcel::Syn { dialler: from, torrent: T, conn });
        conn
    }

    /// The tracker knows a host without having heard from it.
    pub fn enlist(&mut self, host: usize, info_hash: InfoHash) {
        let address = self.hosts[host].address;
        self.swarms.entry(info_hash).or_default().push(address);
    }

    /// A scripted host dials; the connection is its number for it.
    pub fn dial(&mut self, from: usize, to: usize) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.post(from, to, Parcel::Syn { dialler: from, torrent: T, conn });
        self.pass(self.delay * 3);
        conn
    }

    /// A client with the default policies that has the torrent, with all pieces or none.
    pub fn add_node(&mut self, torrent: &Arc<Torrent>, seeds: bool) -> usize {
        let host = self.host(ClientConfig::default());
        self.hosts[host].disk.full_copy = seeds;
        self.add(host, adding(Source::Metainfo(torrent.clone()), host));
        host
    }

    /// A scripted host dials and sends a handshake; the connection is its number for it.
    pub fn connect(&mut self, from: usize, to: usize, handshake: Handshake) -> ConnId {
        let conn = self.dial(from, to);
        self.send_handshake(from, conn, handshake);
        conn
    }

    /// A scripted host connects with the fast and the extension protocol.
    pub fn greet(&mut self, from: usize, to: usize, info_hash: InfoHash) -> ConnId {
        self.connect(from, to, handshake(from, info_hash))
    }

    /// A scripted host sends a message on a connection of its own, and the answers come. On a
    /// connection that is closed it sends nothing, and no time passes.
    pub fn send(&mut self, host: usize, conn: ConnId, message: Message) {
        self.send_parcel(host, conn, |conn| Parcel::Message(conn, message));
    }

    pub fn send_handshake(&mut self, host: usize, conn: ConnId, handshake: Handshake) {
        self.send_parcel(host, conn, |conn| Parcel::Handshake(conn, handshake));
    }

    /// A scripted host sends a right block, asked for or not.
    pub fn send_block(&mut self, host: usize, conn: ConnId, block: BlockRef) {
        self.send_parcel(host, conn, |conn| Parcel::Piece(conn, block, true));
    }

    /// A scripted host closes a connection.
    pub fn close(&mut self, host: usize, conn: ConnId) {
        self.send_parcel(host, conn, Parcel::Fin);
    }

    fn send_parcel(&mut self, host: usize, conn: ConnId, parcel: impl FnOnce(ConnId) -> Parcel) {
        if let Some(end) = self.hosts[host].ends.get(&conn).copied() {
            self.post(host, end.host, parcel(end.conn));
            self.pass(self.delay * 3);
        }
    }

    /// Messages that a scripted host has received on a connection.
    pub fn received(&self, host: usize, conn: ConnId) -> Vec<Message> {
        let theirs = self.hosts[host].got.iter().filter(|(other, _)| *other == conn);
        theirs
            .filter_map(|(_, parcel)| match parcel {
                Parcel::Message(_, message) => Some(message.clone()),
                _ => None,
            })
            .collect()
    }

    /// The last of them.
    pub fn last_received(&self, host: usize, conn: ConnId) -> Option<Message> {
        self.received(host, conn).pop()
    }

    /// Blocks that a scripted host was asked for on a connection, also those that were cancelled
    /// later.
    pub fn requested(&self, host: usize, conn: ConnId) -> Vec<BlockRef> {
        let messages = self.received(host, conn).into_iter();
        messages
            .filter_map(|message| match message {
                Message::Request(block) => Some(block),
                _ => None,
            })
            .collect()
    }

    /// Handshakes that a scripted host has received, on all its connections.
    pub fn handshakes(&self, host: usize) -> Vec<Handshake> {
        let got = self.hosts[host].got.iter();
        got.filter_map(|(_, parcel)| match parcel {
            Parcel::Handshake(_, handshake) => Some(*handshake),
            _ => None,
        })
        .collect()
    }

    /// Whether the other side has hung up on a scripted host.
    pub fn is_closed(&self, host: usize, conn: ConnId) -> bool {
        !self.hosts[host].ends.contains_key(&conn)
    }

    /// Events that a host has announced to trackers, in order.
    pub fn announced(&self, host: usize) -> Vec<AnnounceEvent> {
        let theirs = self.announces.iter().filter(|(from, ..)| *from == host);
        theirs.map(|(_, _, request)| request.event).collect()
    }

    pub fn banned(&self, host: usize) -> usize {
        self.client(host).stats().banned.len()
    }
}
