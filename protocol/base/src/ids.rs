//! Newtypes for numbers that must not mix. A raw `u32` from the wire becomes a [`PieceIndex`] that
//! may be trusted only through a torrent's geometry.

use crate::hex::hex;
use std::fmt;

macro_rules! twenty_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 20]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }
    };
}

twenty_bytes! {
    /// The 20 bytes that name a torrent on the wire (BEP 3; BEP 52 truncates to it).
    InfoHash
}
twenty_bytes! {
    /// The 20 bytes that name a peer in a handshake (BEP 3, BEP 20).
    PeerId
}

impl PeerId {
    /// The peer id of a rank of a cluster: `-DN0100-` and the rank in decimal.
    #[must_use]
    pub fn of_rank(rank: Rank) -> PeerId {
        let mut bytes = *b"-DN0100-000000000000";
        let mut rest = rank.0;
        for byte in bytes.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *byte = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        PeerId(bytes)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// A rank of a cluster. Rank 0 hosts the tracker; peers are 1, 2, …
    Rank(u32), "r"
}
number! {
    /// A torrent within one engine. In a cluster the coordinator gives it, so that it is the same
    /// number at every rank.
    TorrentId(u32), "t"
}
number! {
    /// A connection of one engine, to one peer for one torrent. Never reused within a run.
    ConnId(u64), "c"
}
number! {
    /// The index of a piece within a torrent.
    PieceIndex(u32), "p"
}
number! {
    /// The index of a file within a torrent.
    FileIndex(u32), "f"
}

/// Where a peer is: a rank of a cluster, or an address of the internet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A rank of this cluster.
    Rank(Rank),
    /// A socket address.
    Socket(std::net::SocketAddr),
}

impl Endpoint {
    /// The rank, if the peer is one.
    #[must_use]
    pub fn rank(self) -> Option<Rank> {
        match self {
            Endpoint::Rank(rank) => Some(rank),
            Endpoint::Socket(_) => None,
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Rank(rank) => rank.fmt(f),
            Endpoint::Socket(address) => address.fmt(f),
        }
    }
}

impl Rank {
    /// The rank that hosts the tracker.
    pub const TRACKER: Rank = Rank(0);
}

impl PieceIndex {
    /// The index as an index into a slice.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl FileIndex {
    /// The index as an index into a slice.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A piece of a torrent: what memory, jobs and files of a piece are kept by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceKey {
    /// The torrent.
    pub torrent: TorrentId,
    /// The piece of it.
    pub piece: PieceIndex,
}

impl fmt::Debug for PieceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.torrent, self.piece)
    }
}

/// A range of a piece, in bytes (in segments for a token file): the unit of a request. What came
/// from the wire is in the torrent only when its geometry says so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRef {
    /// The piece.
    pub piece: PieceIndex,
    /// Where the block begins within the piece.
    pub begin: u32,
    /// How long it is. In a `piece` message it is the length of the request it answers.
    pub len: u32,
}

impl fmt::Debug for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}+{}..{}",
            self.piece,
            self.begin,
            u64::from(self.begin) + u64::from(self.len)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_id_ends_in_the_rank() {
        assert_eq!(&PeerId::of_rank(Rank(1234)).0, b"-DN0100-000000001234");
        assert_eq!(&PeerId::of_rank(Rank(u32::MAX)).0, b"-DN0100-004294967295");
    }

    #[test]
    fn hex_is_lower_case() {
        assert_eq!(hex(&[0x00, 0xAF, 0x19]), "00af19");
    }
}
