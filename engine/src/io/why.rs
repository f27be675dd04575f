//! Why connections are closed, and why the engine wants to be woken.

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUpReason {
    /// Its bytes are wrong, or it broke the protocol.
    Violation(&'static str),
    /// The peer is banned.
    Banned,
    /// We do not have the torrent that it asked for.
    UnknownTorrent,
    /// A second connection to the same peer for the same torrent.
    Duplicate,
    /// Neither side wants anything of the other.
    Useless,
    /// The peer answers nothing.
    Dead,
    /// We stop.
    Stopping,
    /// It is connected already, under another address.
    SamePeer,
    /// It is ourselves.
    Ourselves,
    /// There are as many connections as there may be.
    Crowded,
}

/// Why the engine wants to be woken: for people who ask why it does not idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A rechoke round is due.
    Choke,
    /// Pieces that came in a crowd are to be announced.
    Have,
    /// A request's deadline passes.
    Request,
    /// A refresh after a back-off.
    Refresh,
    /// A file may have stalled.
    Stall,
    /// The tracker should hear from us.
    Alive,
    /// A peer may be tried again.
    Dial,
    /// The start barrier's deadline.
    Start,
    /// A rank may be dead.
    Silence,
    /// The loads that an answer waits for are overdue.
    Load,
    /// A tracker is to be asked.
    Announce,
    /// A limit of rate lets more through.
    Rate,
    /// A connection needs a sign of life, or has been silent for too long.
    Idle,
    /// The time of a seed is over.
    Goal,
}
