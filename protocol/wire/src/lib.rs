//! The peer wire protocol: handshake, messages, framer.

mod handshake;
mod message;

pub use handshake::{Handshake, Reserved};
pub use message::{BlockRange, Message};
