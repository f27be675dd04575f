//! What a test has scripted hosts do and say, and what it asks of any host.

use super::{Parcel, T, World, peer_id};
use dunlin_base::{ConnId, InfoHash};
use dunlin_tracker::AnnounceEvent;
use dunlin_wire::{Handshake, Message};

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

    /// A scripted host says something on a connection of its own.
    pub fn say(&mut self, host: usize, conn: ConnId, parcel: impl Fn(ConnId) -> Parcel) {
        if let Some(end) = self.hosts[host].ends.get(&conn).copied() {
            self.post(host, end.host, parcel(end.conn));
            self.pass(self.delay * 3);
        }
    }

    pub fn say_message(&mut self, host: usize, conn: ConnId, message: Message) {
        self.say(host, conn, |conn| Parcel::Message(conn, message.clone()));
    }

    /// A scripted host dials and greets; with the fast and the extension protocol.
    pub fn greet(&mut self, from: usize, to: usize, info_hash: InfoHash) -> ConnId {
        let conn = self.dial(from, to);
        let reserved = dunlin_wire::Reserved::INTERNET;
        let handshake = Handshake { reserved, info_hash, peer_id: peer_id(from) };
        self.say(from, conn, |conn| Parcel::Handshake(conn, handshake));
        conn
    }

    /// Messages that a scripted host got on a connection.
    pub fn messages(&self, host: usize, conn: ConnId) -> Vec<Message> {
        let theirs = self.hosts[host].got.iter().filter(|(other, _)| *other == conn);
        theirs
            .filter_map(|(_, parcel)| match parcel {
                Parcel::Message(_, message) => Some(message.clone()),
                _ => None,
            })
            .collect()
    }

    /// Whether the other side has hung up on a scripted host.
    pub fn is_closed(&self, host: usize, conn: ConnId) -> bool {
        !self.hosts[host].ends.contains_key(&conn)
    }

    /// Events that a tracker heard from a host, in order.
    pub fn heard(&self, host: usize) -> Vec<AnnounceEvent> {
        let theirs = self.announces.iter().filter(|(from, ..)| *from == host);
        theirs.map(|(_, _, request)| request.event).collect()
    }

    pub fn banned(&self, host: usize) -> usize {
        self.node(host).stats().banned.len()
    }
}
