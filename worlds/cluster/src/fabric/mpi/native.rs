//! The transport over a loaded MPI library: starting and ending MPI, and one set of calls for both
//! kinds of handles. One thread makes every call. It never aborts the job, and it never waits but
//! for a bounded time at the end, where what is open is cancelled.

mod calls;
mod process;
#[cfg(test)]
mod tests;

use self::process::Process;
use super::abi::HandleKind;
use super::library::{Library, LoadError};
use super::transport::{Done, Lane, MAX_TAG, OperationId, Transport, TransportError};
use bytes::Bytes;
use dunlin_disk::Buffer;
use std::ffi::{c_int, c_void};

/// MPI, started in this process. It stays on the thread that started it.
///
/// Dropped without [`finalize`](Native::finalize), it gives up the buffers of what is open for
/// good: the library may write into them as long as the process lives.
pub(crate) struct Native {
    ranks: Ranks,
}

/// By what handles are.
enum Ranks {
    Pointer(Process<*mut c_void>),
    Int(Process<c_int>),
}

/// MPI cannot be used in this process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The library is no whole one.
    #[error(transparent)]
    Library(#[from] LoadError),
    /// The library refused.
    #[error("MPI does not start: {0}")]
    Call(#[from] TransportError),
    /// The library did not connect to the other processes: it does not support the launcher's
    /// protocol.
    #[error(
        "this process was started by {launcher} as rank {launched}, but the MPI library \
         ({library}, {version}) came up as rank {rank} of {size}: it does not belong to this launcher; use the \
         launcher of that MPI, or name the library of this one with --mpi-lib"
    )]
    OtherWorld {
        /// Who started us.
        launcher: &'static str,
        /// Rank and size by the launcher.
        launched: String,
        /// The library's file.
        library: String,
        /// The version text of the library.
        version: String,
        /// Our rank by the library.
        rank: u32,
        /// Ranks by the library.
        size: u32,
    },
    /// The library has fewer tags than the standard promises.
    #[error(
        "the MPI library allows tags up to {highest} only, and {MAX_TAG} are needed; it is broken"
    )]
    Tags {
        /// The highest tag, or a negative number if the library does not report it.
        highest: i64,
    },
}

/// What both kinds of ranks can do, written once.
macro_rules! either {
    ($native:expr, $process:ident => $call:expr) => {
        match $native {
            Ranks::Pointer($process) => $call,
            Ranks::Int($process) => $call,
        }
    };
}

impl Native {
    /// Starts MPI and makes a communicator for each lane. Every process of the job must do this,
    /// and the thread that does it must make all later calls. It can be done once in a process.
    ///
    /// `expected_size` is the number of ranks that the launcher set, if it did.
    ///
    /// # Errors
    /// If MPI does not start, or the library has not met the processes that the launcher started.
    pub(crate) fn init(library: Library, expected_size: Option<u32>) -> Result<Native, StartError> {
        let ranks = match library.abi().handles {
            HandleKind::Pointer => Ranks::Pointer(Process::init(&library, expected_size)?),
            HandleKind::Int => Ranks::Int(Process::init(&library, expected_size)?),
        };
        let (name, interface) = (library.name(), library.abi().family.name());
        tracing::debug!(library = name, version = library.version(), interface, "MPI has started");
        Ok(Native { ranks })
    }

    /// The version text of the library, and its file: one line.
    pub(crate) fn library_version(&self) -> String {
        either!(&self.ranks, process => process.library_version().to_owned())
    }

    /// Ends MPI: cancels what is open and waits a little for that, then leaves the job with all the
    /// others; a process that never gets here makes the others wait, so this must not be called
    /// when one is gone. The buffers of what could not be cancelled are never used again.
    pub(crate) fn finalize(self) {
        match either!(self.ranks, process => process.finalize()) {
            Ok(0) => tracing::debug!("MPI has ended"),
            Ok(stuck) => tracing::warn!(stuck, "MPI has ended with operations that never did"),
            Err(error) => tracing::warn!(%error, "MPI has not ended well"),
        }
    }
}

impl Transport for Native {
    fn rank(&self) -> u32 {
        either!(&self.ranks, process => process.rank())
    }

    fn size(&self) -> u32 {
        either!(&self.ranks, process => process.size())
    }

    fn send(
        &mut self,
        lane: Lane,
        to: u32,
        tag: u16,
        data: Bytes,
    ) -> Result<OperationId, TransportError> {
        either!(&mut self.ranks, process => process.send(lane, to, tag, data))
    }

    fn receive(
        &mut self,
        lane: Lane,
        from: Option<u32>,
        tag: u16,
        buffer: Buffer,
    ) -> Result<OperationId, TransportError> {
        either!(&mut self.ranks, process => process.receive(lane, from, tag, buffer))
    }

    fn cancel(&mut self, id: OperationId) {
        either!(&mut self.ranks, process => process.cancel(id));
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), TransportError> {
        either!(&mut self.ranks, process => process.poll(done))
    }

    fn open(&self) -> usize {
        either!(&self.ranks, process => process.open())
    }
}
