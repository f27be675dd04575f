//! The whole contract: what goes into the engine and what comes out of it.
//!
//! **The engine decides, the world does.** `handle(now, input)`, then `poll()` until `None`, then
//! the next input. `next_timeout()` returns when to call `handle(now, Timeout)` and why. Same
//! inputs and same seed: same outputs, bit for bit. **Payload never passes through the engine**: it
//! names (piece, begin, length), the world moves the bytes.
//!
//! Each driver has a closed pair of its own, with the core's inside, so that its world matches
//! every case: [`ClientInput`] and [`ClientOutput`] on the internet, [`MemberInput`] and
//! [`MemberOutput`], [`CoordinatorInput`] and [`CoordinatorOutput`] in a cluster. The core's part
//! is this:
//!
//! ```text
//!   world                                engine
//!   ── Connected / Incoming ───────────────▶
//!   ◀── SendHandshake, Send(bitfield …) ────
//!   ── Handshake, Message(bitfield …) ─────▶
//!   ◀── Reserve(piece) ─────────────────────   memory first
//!   ── Reserved(piece) ────────────────────▶
//!   ◀── Send(request) ──────────────────────
//!   ── BlockArrived (payload parked) ──────▶
//!   ◀── Keep / Drop ────────────────────────
//!   ◀── Hash(piece) ────────────────────────   every block is here
//!   ── PieceHashed(matches) ───────────────▶
//!   ◀── Write(piece) ───────────────────────
//!   ── PieceWritten ───────────────────────▶   only now it is ours:
//!   ◀── Send(have), Release(piece) ─────────   announced and served
//! ```

pub use crate::client::io::{
    AddTorrent, AnnounceNews, ClientEvent, ClientInput, ClientOutput, Command, PeerTotal, Priority,
    SeedGoal, Source, TorrentState, TorrentView, TrackerIndex,
};
pub use crate::cluster::io::{
    CoordinatorInput, CoordinatorOutput, MemberEvent, MemberInput, MemberOutput,
};
pub use crate::swarm::io::{HangUpReason, LocalError, SwarmEvent, SwarmInput, SwarmOutput};
pub use crate::swarm::rate_limit::Limits;
pub use crate::wake::{Reason, Wake};
