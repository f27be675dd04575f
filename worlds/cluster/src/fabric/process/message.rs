//! What the processes of a job send each other beside the frames of the swarm.

use bytes::Bytes;

/// One message between two processes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProcessMessage {
    /// A message of the launch or the end (`session`), opaque to what carries it.
    Session(Bytes),
    /// How far the sender is, for rank 0 to show.
    Progress {
        /// Its state: the number of a [`RankState`](crate::RankState).
        state: u8,
        /// Pieces of what it wants that it has.
        have: u64,
        /// Pieces that it wants.
        wanted: u64,
        /// Bytes of payload it received.
        moved: u64,
        /// Bytes of payload it sent.
        sent: u64,
    },
    /// Lines of the sender's trace.
    Trace {
        /// The sender's clock in nanoseconds; no line before it is still to come.
        until: u64,
        /// Whole lines, as they stand in the file.
        lines: Bytes,
    },
    /// The sender is alive.
    Pulse,
}
