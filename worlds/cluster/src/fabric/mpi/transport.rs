//! What the fabric needs of MPI, as a safe contract: sends and receives that own their buffers
//! until they are done, one poll of all of them at a time, and no wildcard but for the streams. It
//! decides nothing: no protocol, no time, no order of its own.
//!
//! Two things fulfil it: `native` over a loaded library, and `loopback` between threads for tests.

use bytes::Bytes;
use dunlin_disk::Buffer;

/// A communicator of our own, so that tags never meet, and never those of anybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The stream between rank 0 and a peer.
    Tracker,
    /// The stream between two peers.
    Control,
    /// Payload, each block under the tag that its requester chose.
    Data,
}

impl Lane {
    /// All of them, in the order in which they are duplicated: the same at every rank.
    pub(crate) const ALL: [Lane; 3] = [Lane::Tracker, Lane::Control, Lane::Data];
}

/// The tag of every fragment of a stream: the lane determines which stream it is.
pub(crate) const STREAM_TAG: u16 = 0;

/// The highest tag that the MPI standard promises (MPI 4.1, section 8.1.2, `MPI_TAG_UB`).
pub(crate) const MAX_TAG: u16 = 32_767;

/// One operation that was started. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OperationId(pub(crate) u64);

/// How an operation ended. Every id ends once, or never (a receive that cannot be cancelled).
#[derive(Debug)]
pub(crate) enum Done {
    /// The library does not need the bytes any more.
    Sent {
        /// The send.
        id: OperationId,
    },
    /// A message has landed.
    Received {
        /// The receive.
        id: OperationId,
        /// Who sent it.
        from: u32,
        /// The buffer that was posted; only the first `len` bytes were written.
        buffer: Buffer,
        /// Bytes of the message.
        len: usize,
    },
    /// The receive or send was cancelled: nothing was and nothing will be moved.
    Cancelled {
        /// The operation.
        id: OperationId,
    },
    /// The library reports that the operation failed (a message longer than its buffer, for
    /// example).
    Failed {
        /// The operation.
        id: OperationId,
        /// The library's error.
        error: TransportError,
    },
}

/// An error of the library, with its own text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {text} (error {code})")]
pub(crate) struct TransportError {
    /// The entry point that returned it.
    pub(crate) call: &'static str,
    /// The library's number.
    pub(crate) code: i32,
    /// The library's text.
    pub(crate) text: String,
}

/// The calls of MPI that the fabric uses. One thread makes them all.
pub(crate) trait Transport {
    /// Our rank in the job.
    fn rank(&self) -> u32;

    /// How many ranks the job has.
    fn size(&self) -> u32;

    /// Starts to send; the bytes are held until the send is done.
    ///
    /// # Errors
    /// If the library refuses.
    fn send(
        &mut self,
        lane: Lane,
        to: u32,
        tag: u16,
        data: Bytes,
    ) -> Result<OperationId, TransportError>;

    /// Posts a receive of at most the buffer's length, from one rank, or from any if `from` is
    /// `None`.
    ///
    /// # Errors
    /// If the library refuses.
    fn receive(
        &mut self,
        lane: Lane,
        from: Option<u32>,
        tag: u16,
        buffer: Buffer,
    ) -> Result<OperationId, TransportError>;

    /// Asks to cancel. The operation still ends by itself, as cancelled or as done; or never, and
    /// then its buffer stays where it is for ever.
    fn cancel(&mut self, id: OperationId);

    /// Polls everything that was started: operations that have ended since go to `done`.
    ///
    /// # Errors
    /// If the library fails as a whole; nothing can be expected of it then.
    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), TransportError>;

    /// Operations that were started and have not ended.
    fn open(&self) -> usize;
}
