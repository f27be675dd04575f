//! The peer wire protocol (BEP 3, 6, 10, 52): handshake, messages, framer, extensions.
//!
//! Bytes become [`Handshake`]s and [`Message`]s here, and back. The crate never touches a socket,
//! never blocks, and never keeps payload longer than it must: with [`PieceMode::Direct`] the bytes
//! of a block do not pass through it at all.
//!
//! ```
//! use dunlin_wire::{Frame, Framer, FramerLimits, Message, PieceMode, encode_into};
//!
//! let mut wire = Vec::new();
//! encode_into(&Message::Have { piece: 258 }, &mut wire);
//! assert_eq!(wire, [0, 0, 0, 5, 4, 0, 0, 1, 2]);
//!
//! let mut framer = Framer::after_handshake(FramerLimits::default(), PieceMode::Whole);
//! let mut input = wire.as_slice();
//! let frame = framer.next_frame(&mut input)?;
//! assert_eq!(frame, Some(Frame::Message(Message::Have { piece: 258 })));
//! # Ok::<(), dunlin_wire::WireError>(())
//! ```

mod allowed_fast;
mod codec;
mod error;
pub mod extended;
mod framer;
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod message;

pub use allowed_fast::{ALLOWED_FAST_SET, allowed_fast_set};
pub use codec::{PIECE_HEADER_LEN, encode_into, encode_piece_header};
pub use error::WireError;
pub use framer::{Frame, Framer, FramerLimits, PieceMode};
pub use handshake::{HANDSHAKE_LEN, Handshake, HandshakeDecoder, Reserved};
pub use message::{HashRange, Message};
