//! The connections of one rank: a connection is (remote rank, torrent), its number is never reused.
//!
//! ```text
//!   dial ───────────────────────▶ Dialled ── handshake ──▶ Established
//!   handshake without connection ───────────────────────▶ Established
//!   Established ── another handshake: the other side began anew ─▶ gone, and a new one Established
//!   any ── hang-up of either side ─▶ gone
//! ```

use dunlin_base::{ConnId, Rank, TorrentId};
use std::collections::BTreeMap;

/// One connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) remote: Rank,
    pub(super) torrent: TorrentId,
    /// The other side's handshake has come.
    established: bool,
}

/// All connections of a rank.
#[derive(Debug, Default)]
pub(super) struct Connections {
    next: u64,
    by_conn: BTreeMap<ConnId, Connection>,
    by_pair: BTreeMap<(Rank, TorrentId), ConnId>,
}

/// What a handshake means for the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandshakeOutcome {
    /// It answers, or crosses, our own dial.
    Answer(ConnId),
    /// Another rank connects to us.
    New(ConnId),
    /// The other side began anew: the old connection is gone, the new one stands.
    Replaced { old: ConnId, new: ConnId },
}

impl Connections {
    /// A connection that we open; `None` if there is one already.
    pub(super) fn dial(&mut self, remote: Rank, torrent: TorrentId) -> Option<ConnId> {
        if self.by_pair.contains_key(&(remote, torrent)) {
            return None;
        }
        Some(self.add(remote, torrent, false))
    }

    /// A handshake came.
    pub(super) fn handshake(&mut self, remote: Rank, torrent: TorrentId) -> HandshakeOutcome {
        let Some(old) = self.by_pair.get(&(remote, torrent)).copied() else {
            return HandshakeOutcome::New(self.add(remote, torrent, true));
        };
        match self.by_conn.get_mut(&old) {
            Some(connection) if !connection.established => {
                connection.established = true;
                HandshakeOutcome::Answer(old)
            }
            _ => {
                self.remove(old);
                HandshakeOutcome::Replaced { old, new: self.add(remote, torrent, true) }
            }
        }
    }

    /// The connection that a frame belongs to. What comes before the handshake belongs to an older
    /// connection, which is gone.
    pub(super) fn established(&self, remote: Rank, torrent: TorrentId) -> Option<ConnId> {
        let conn = self.by_pair.get(&(remote, torrent))?;
        self.by_conn.get(conn).filter(|connection| connection.established).map(|_| *conn)
    }

    /// The other side hung up.
    pub(super) fn hung_up(&mut self, remote: Rank, torrent: TorrentId) -> Option<ConnId> {
        let conn = self.by_pair.get(&(remote, torrent)).copied()?;
        self.remove(conn);
        Some(conn)
    }

    /// What a connection leads to.
    pub(super) fn get(&self, conn: ConnId) -> Option<Connection> {
        self.by_conn.get(&conn).copied()
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Connection> {
        let connection = self.by_conn.remove(&conn)?;
        self.by_pair.remove(&(connection.remote, connection.torrent));
        Some(connection)
    }

    fn add(&mut self, remote: Rank, torrent: TorrentId, established: bool) -> ConnId {
        self.next += 1;
        let conn = ConnId(self.next);
        self.by_conn.insert(conn, Connection { remote, torrent, established });
        self.by_pair.insert((remote, torrent), conn);
        conn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIM: Rank = Rank(2);
    const FILE: TorrentId = TorrentId(0);

    #[test]
    fn both_dial_and_it_is_one_connection() {
        let mut connections = Connections::default();
        let conn = connections.dial(HIM, FILE).unwrap();
        assert_eq!(connections.established(HIM, FILE), None, "nothing counts before the handshake");
        assert_eq!(connections.handshake(HIM, FILE), HandshakeOutcome::Answer(conn));
        assert_eq!(connections.established(HIM, FILE), Some(conn));
        assert_eq!(connections.dial(HIM, FILE), None);
    }

    #[test]
    fn numbers_are_never_used_again() {
        let mut connections = Connections::default();
        let HandshakeOutcome::New(first) = connections.handshake(HIM, FILE) else { panic!("new") };
        let HandshakeOutcome::Replaced { old, new } = connections.handshake(HIM, FILE) else {
            panic!("anew")
        };
        assert_eq!(old, first);
        assert_eq!(connections.hung_up(HIM, FILE), Some(new));
        assert_eq!(connections.hung_up(HIM, FILE), None);
        let third = connections.dial(HIM, FILE).unwrap();
        assert!(third > new && new > first);
        assert_eq!(connections.get(third).unwrap().remote, HIM);
        assert!(connections.remove(third).is_some() && connections.get(third).is_none());
    }
}
