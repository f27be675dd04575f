//! What can be wrong with bytes of the peer wire protocol. All of it is the sender's fault.

use thiserror::Error;

/// Why bytes are not the peer wire protocol. The sender is to blame, and the connection is of no
/// more use: nobody can tell where the next message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The first twenty bytes are not those of BEP 3.
    #[error(
        "malformed handshake: expected byte {offset} to continue `\\x13BitTorrent protocol`, \
         found {found:#04x}; hang up, the other side speaks something else"
    )]
    Protocol {
        /// Where the bytes differ, 0 to 19.
        offset: u8,
        /// The byte that was found there.
        found: u8,
    },
    /// A message of fixed length has another one.
    #[error(
        "malformed message `{name}`: expected a length of {expected}, found {found}; hang up, the \
         stream cannot be followed"
    )]
    Length {
        /// The message's name.
        name: &'static str,
        /// The length that BEP 3 or BEP 6 gives it, id included.
        expected: u32,
        /// The length on the wire, id included.
        found: u32,
    },
    /// A `piece` message without data: nobody can have asked for it.
    #[error(
        "malformed message `piece`: expected a length of at least 10, found {found}; hang up, no \
         request has no bytes"
    )]
    EmptyPiece {
        /// The length on the wire, id included.
        found: u32,
    },
    /// An `extended` message that does not say of which extension (BEP 10).
    #[error(
        "malformed message `extended`: expected a length of at least 2, found {found}; hang up, it \
         says nothing"
    )]
    EmptyExtended {
        /// The length on the wire, id included.
        found: u32,
    },
    /// A `hashes` message without hashes, or with a part of one (BEP 52).
    #[error(
        "malformed message `hashes`: expected a length of 49 and 32 for each hash, found {found}; \
         hang up, nothing can be proved with a part of a hash"
    )]
    Hashes {
        /// The length on the wire, id included.
        found: u32,
    },
    /// A message is longer than the cap.
    #[error(
        "malformed message (id {id}): expected a length of at most {cap}, found {found}; hang up, \
         or negotiate larger blocks first"
    )]
    TooLong {
        /// The message's id.
        id: u8,
        /// The largest length allowed, id included.
        cap: u32,
        /// The length on the wire, id included.
        found: u32,
    },
}
