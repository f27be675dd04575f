//! The MPI thread: the only one that makes calls of MPI. It takes frames and commands, polls
//! everything that was started, and pauses in between: MPI has nothing to wait on.
//!
//! ```text
//!   inputs ─▶ start ─▶ poll ─▶ deliver ─▶ flush ─┐
//!     ▲                                          │ nothing happened
//!     └── input, or the pause is over ◀─ pause ◀─┘ 50 µs to 1 ms
//! ```

use super::backoff::Backoff;
use super::endpoint::MpiEndpoint;
use super::transport::{Transport, TransportError};
use crate::fabric::process::carrier::{CarrierCommand, SentNotice};
use crate::fabric::process::message::ProcessMessage;
use crate::fabric::process::packet::Packet;
use crate::frame::{Frame, Sent};
use dunlin_base::Rank;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// Inputs that are taken before the next poll.
const BATCH: usize = 256;
/// Between two sweeps.
const SWEEP: Duration = Duration::from_secs(1);
/// Between two polls at the end.
const LAST_PAUSE: Duration = Duration::from_micros(50);
/// What waits to be sent at the end may take so long.
const DRAIN: Duration = Duration::from_secs(5);

/// What the thread takes from others.
pub(crate) enum MpiInput {
    /// A frame to send.
    Frame {
        /// To whom.
        to: Rank,
        /// What.
        frame: Frame,
        /// Called when the network has it; for blocks.
        sent: Option<Sent>,
    },
    /// Anything else.
    Command(CarrierCommand),
}

/// How the thread ended.
#[derive(Debug)]
pub(crate) enum LoopEnd<T> {
    /// A command ended it: finalize, or leave it.
    Finish {
        /// The calls of MPI.
        transport: T,
        /// Whether to finalize.
        together: bool,
    },
    /// The library failed.
    Failed(TransportError),
}

/// Runs until a command ends it, or no command can come any more.
pub(crate) fn event_loop<T: Transport>(
    mut endpoint: MpiEndpoint<T>,
    inputs: &Receiver<MpiInput>,
) -> LoopEnd<T> {
    match run(&mut endpoint, inputs) {
        Ok(together) => LoopEnd::Finish { transport: endpoint.transport, together },
        Err(error) => LoopEnd::Failed(error),
    }
}

fn run<T: Transport>(
    endpoint: &mut MpiEndpoint<T>,
    inputs: &Receiver<MpiInput>,
) -> Result<bool, TransportError> {
    let mut swept = Instant::now();
    let mut backoff = Backoff::new();
    loop {
        let mut happened = false;
        for _ in 0..BATCH {
            match inputs.try_recv() {
                Ok(MpiInput::Command(CarrierCommand::Finish { together, sent })) => {
                    return finish(endpoint, together, &sent);
                }
                Ok(input) => take(endpoint, input)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
            happened = true;
        }
        happened |= endpoint.poll()?;
        // On a busy machine something happens between any two polls: this must not wait for a
        // pause.
        let now = Instant::now();
        if now.duration_since(swept) >= SWEEP {
            swept = now;
            endpoint.sweep(now);
        }
        endpoint.flush()?;
        if happened {
            backoff.found(endpoint.transferring());
            continue;
        }
        match inputs.recv_timeout(backoff.next(endpoint.transferring())) {
            Ok(MpiInput::Command(CarrierCommand::Finish { together, sent })) => {
                return finish(endpoint, together, &sent);
            }
            Ok(input) => {
                take(endpoint, input)?;
                backoff.commanded(endpoint.transferring());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        }
    }
}

fn take<T: Transport>(
    endpoint: &mut MpiEndpoint<T>,
    input: MpiInput,
) -> Result<(), TransportError> {
    let command = match input {
        MpiInput::Frame { to, frame, sent } => {
            return endpoint.send(to, frame, SentNotice::new(sent));
        }
        MpiInput::Command(command) => command,
    };
    match command {
        CarrierCommand::Greet(session) => {
            let greeting = Packet::Process(ProcessMessage::Session(session));
            (1..endpoint.size()).for_each(|rank| endpoint.queue(rank, &greeting));
        }
        CarrierCommand::Send { to, message } => endpoint.queue(to.0, &Packet::Process(message)),
        CarrierCommand::Deliver(sink) => endpoint.deliver_to(sink),
        CarrierCommand::Budget(budget) => endpoint.use_budget(budget),
        CarrierCommand::Lost(rank) => endpoint.lost(rank),
        CarrierCommand::Quiet => endpoint.be_quiet(),
        // MPI has no links that could be made again.
        CarrierCommand::Patience(_) | CarrierCommand::Finish { .. } => {}
    }
    Ok(())
}

/// Sends what waits for ranks that live; bounded, since one of them may die at this very moment.
fn finish<T: Transport>(
    endpoint: &mut MpiEndpoint<T>,
    together: bool,
    sent: &Sender<()>,
) -> Result<bool, TransportError> {
    let until = Instant::now() + DRAIN;
    endpoint.flush()?;
    while !endpoint.drained() && Instant::now() < until {
        if !endpoint.poll()? {
            std::thread::sleep(LAST_PAUSE);
        }
        endpoint.flush()?;
    }
    let drained = endpoint.drained();
    tracing::debug!(drained, open = endpoint.transport.open(), "nothing more is sent");
    // The receiver may have stopped waiting.
    let _ = sent.send(());
    Ok(together && drained)
}
