//! The handshake (BEP 3, "peer protocol"): 68 bytes, with the reserved bits of BEP 6 and BEP 10.

use dunlin_base::{InfoHash, PeerId};

/// What each side says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The eight reserved bytes: which extensions the sender speaks.
    pub reserved: Reserved,
    /// The torrent that the connection is for.
    pub info_hash: InfoHash,
    /// Who the sender is.
    pub peer_id: PeerId,
}

/// The eight reserved bytes of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// What this engine sets: the fast extension (BEP 6).
    pub const OURS: Reserved = Reserved([0, 0, 0, 0, 0, 0, 0, 0x04]);

    /// Whether the sender speaks the fast extension (BEP 6).
    #[must_use]
    pub fn fast(self) -> bool {
        self.0[7] & 0x04 != 0
    }

    /// Whether the sender speaks the extension protocol (BEP 10).
    #[must_use]
    pub fn extended(self) -> bool {
        self.0[5] & 0x10 != 0
    }
}
