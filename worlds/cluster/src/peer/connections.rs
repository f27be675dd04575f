//! The connections of one rank: a connection is (remote rank, torrent), its number is never reused.
//!
//! ```text
//!   dial ───────────────────────▶ Dialled ── handshake ──▶ Heard
//!   handshake without connection ───────────────────────▶ Heard
//!   Heard ── another handshake: the other side began anew ─▶ gone, and a new one Heard
//!   any ── hang-up of either side ─▶ gone
//! ```

use dunlin_base::{ConnId, Rank, TorrentId};
use std::collections::BTreeMap;

/// One connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) remote: Rank,
    pub(super) torrent: TorrentId,
    /// The other side's handshake has come.
    heard: bool,
}

/// All connections of a rank.
#[derive(Debug, Default)]
pub(super) struct Links {
    next: u64,
    by_conn: BTreeMap<ConnId, Link>,
    by_pair: BTreeMap<(Rank, TorrentId), ConnId>,
}

/// What a handshake means for the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// It answers, or crosses, a dial of ours.
    Answer(ConnId),
    /// Somebody connects to us.
    New(ConnId),
    /// The other side began anew: the old connection is gone, the new one stands.
    Anew { old: ConnId, new: ConnId },
}

impl Links {
    /// A connection that we open; `None` if there is one already.
    pub(super) fn dial(&mut self, remote: Rank, torrent: TorrentId) -> Option<ConnId> {
        if self.by_pair.contains_key(&(remote, torrent)) {
            return None;
        }
        Some(self.add(remote, torrent, false))
    }

    /// A handshake came.
    pub(super) fn greeted(&mut self, remote: Rank, torrent: TorrentId) -> Greeting {
        let Some(old) = self.by_pair.get(&(remote, torrent)).copied() else {
            return Greeting::New(self.add(remote, torrent, true));
        };
        match self.by_conn.get_mut(&old) {
            Some(link) if !link.heard => {
                link.heard = true;
                Greeting::Answer(old)
            }
            _ => {
                self.remove(old);
                Greeting::Anew { old, new: self.add(remote, torrent, true) }
            }
        }
    }

    /// The connection that a frame belongs to. What comes before the handshake belongs to an older
    /// connection, and to nobody any more.
    pub(super) fn heard(&self, remote: Rank, torrent: TorrentId) -> Option<ConnId> {
        let conn = self.by_pair.get(&(remote, torrent))?;
        self.by_conn.get(conn).filter(|link| link.heard).map(|_| *conn)
    }

    /// The other side hung up.
    pub(super) fn hung_up(&mut self, remote: Rank, torrent: TorrentId) -> Option<ConnId> {
        let conn = self.by_pair.get(&(remote, torrent)).copied()?;
        self.remove(conn);
        Some(conn)
    }

    /// What a connection leads to.
    pub(super) fn get(&self, conn: ConnId) -> Option<Link> {
        self.by_conn.get(&conn).copied()
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Link> {
        let link = self.by_conn.remove(&conn)?;
        self.by_pair.remove(&(link.remote, link.torrent));
        Some(link)
    }

    fn add(&mut self, remote: Rank, torrent: TorrentId, heard: bool) -> ConnId {
        self.next += 1;
        let conn = ConnId(self.next);
        self.by_conn.insert(conn, Link { remote, torrent, heard });
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
        let mut links = Links::default();
        let conn = links.dial(HIM, FILE).unwrap();
        assert_eq!(links.heard(HIM, FILE), None, "nothing counts before the handshake");
        assert_eq!(links.greeted(HIM, FILE), Greeting::Answer(conn));
        assert_eq!(links.heard(HIM, FILE), Some(conn));
        assert_eq!(links.dial(HIM, FILE), None);
    }

    #[test]
    fn numbers_are_never_used_again() {
        let mut links = Links::default();
        let Greeting::New(first) = links.greeted(HIM, FILE) else { panic!("new") };
        let Greeting::Anew { old, new } = links.greeted(HIM, FILE) else { panic!("anew") };
        assert_eq!(old, first);
        assert_eq!(links.hung_up(HIM, FILE), Some(new));
        assert_eq!(links.hung_up(HIM, FILE), None);
        let third = links.dial(HIM, FILE).unwrap();
        assert!(third > new && new > first);
        assert_eq!(links.get(third).unwrap().remote, HIM);
        assert!(links.remove(third).is_some() && links.get(third).is_none());
    }
}
