//! When the engine wants to be called for the time's sake, and why.

use dunlin_base::Time;

/// A timeout and its reason.
pub type Wake = Option<(Time, Reason)>;

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
