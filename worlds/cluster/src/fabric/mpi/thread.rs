//! The MPI thread as a carrier: starting it, passing inputs to it, and its end.

use super::endpoint::MpiEndpoint;
use super::event_loop::{LoopEnd, MpiInput, event_loop};
use super::library::{Library, LoadError};
use super::native::Native;
use super::transport::{Transport, TransportError};
use crate::fabric::process::carrier::{Carrier, CarrierCommand, EventSink, Started};
use crate::fabric::process::launcher::Launcher;
use crate::frame::{Frame, Sent};
use crate::trace::TraceClock;
use dunlin_base::Rank;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

/// Why MPI did not start. The environment is to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MpiStartError {
    /// The library could not be loaded, or does not fit the launcher.
    #[error(transparent)]
    Library(#[from] LoadError),
    /// The library refused to start.
    #[error("{0}; check that the program was started by the launcher of this MPI")]
    Refused(String),
}

/// Passes inputs to the MPI thread. If that has failed, everyone else notices the silence.
struct MpiThread(Sender<MpiInput>);

impl Carrier for MpiThread {
    fn send(&self, to: Rank, frame: Frame, sent: Option<Sent>) {
        let _ = self.0.send(MpiInput::Frame { to, frame, sent });
    }

    fn command(&self, command: CarrierCommand) {
        let _ = self.0.send(MpiInput::Command(command));
    }
}

/// Loads the library and starts MPI on a thread of its own; `failed` is called if it fails later.
///
/// # Errors
/// [`MpiStartError`]: no library, or one that does not fit.
pub(crate) fn start(
    launcher: Option<&Launcher>,
    library: Option<&Path>,
    clock: Arc<TraceClock>,
    events: EventSink,
    failed: impl FnOnce(String) + Send + 'static,
) -> Result<Started, MpiStartError> {
    let (launcher, library) = (launcher.cloned(), library.map(Path::to_owned));
    let make = move || {
        let library = Library::load(launcher.as_ref(), library.as_deref())?;
        let native = Native::init(library, launcher.as_ref().and_then(Launcher::size))
            .map_err(|error| MpiStartError::Refused(error.to_string()))?;
        let version = native.library_version();
        Ok((native, version))
    };
    start_over(make, Native::finalize, clock, events, failed)
}

/// The same over the transport that `make` makes on the thread that will use it; `finalize` ends it
/// where everyone ends.
///
/// # Errors
/// Those of `make`, or if there are no more threads.
pub(crate) fn start_over<T: Transport + 'static>(
    make: impl FnOnce() -> Result<(T, String), MpiStartError> + Send + 'static,
    finalize: fn(T),
    clock: Arc<TraceClock>,
    events: EventSink,
    failed: impl FnOnce(String) + Send + 'static,
) -> Result<Started, MpiStartError> {
    let (inputs, inbox) = channel();
    let (ready, joined) = channel();
    let (over, ended) = channel();
    let body = move || {
        let start = || -> Result<_, MpiStartError> {
            let (transport, version) = make()?;
            let endpoint = MpiEndpoint::new(transport, clock, events)
                .map_err(|error| MpiStartError::Refused(error.to_string()))?;
            Ok((endpoint, version))
        };
        match start() {
            Ok((endpoint, version)) => {
                let _ = ready.send(Ok((endpoint.rank(), endpoint.size(), version)));
                if let Some(error) = end(event_loop(endpoint, &inbox), finalize) {
                    failed(error.to_string());
                }
            }
            Err(error) => _ = ready.send(Err(error)),
        }
        // The receiver may be gone.
        let _ = over.send(());
    };
    std::thread::Builder::new()
        .name("mpi".into())
        .spawn(body)
        .map_err(|error| MpiStartError::Refused(format!("no more threads: {error}")))?;
    let lost = |_| MpiStartError::Refused("the MPI thread ended at its start".into());
    let (rank, size, what) = joined.recv().map_err(lost)??;
    let carrier = Box::new(MpiThread(inputs));
    Ok(Started { rank: Rank(rank), size, what, carrier, ended: Some(ended) })
}

/// Ends MPI if everyone ends it; why it failed, if it did.
fn end<T>(end: LoopEnd<T>, finalize: fn(T)) -> Option<TransportError> {
    match end {
        LoopEnd::Finish { transport, together: true } => finalize(transport),
        // Without finalizing, the library may still write into what was posted: it is never freed.
        LoopEnd::Finish { transport, together: false } => std::mem::forget(transport),
        LoopEnd::Failed(error) => return Some(error),
    }
    None
}
