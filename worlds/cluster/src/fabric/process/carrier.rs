//! What carries frames and messages between processes, as the drivers see it: frames and commands
//! go in, frames and events come out. How they travel is the carrier's own business: the MPI
//! thread, or TCP.

use super::message::ProcessMessage;
use crate::frame::{Frame, Sent};
use bytes::Bytes;
use dunlin_base::Rank;
use dunlin_disk::Budget;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

/// Calls [`Sent`] exactly once, whatever becomes of the block: one that is dropped will never be
/// sent.
pub(crate) struct SentNotice(Option<Sent>);

impl SentNotice {
    pub(crate) fn new(sent: Option<Sent>) -> SentNotice {
        SentNotice(sent)
    }

    /// The network has the block.
    pub(crate) fn sent(mut self) {
        if let Some(sent) = self.0.take() {
            sent(true);
        }
    }
}

impl Drop for SentNotice {
    fn drop(&mut self) {
        if let Some(sent) = self.0.take() {
            sent(false);
        }
    }
}

impl std::fmt::Debug for SentNotice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "pending" } else { "done" })
    }
}

/// Where frames go.
pub(crate) type FrameSink = Box<dyn Fn(Rank, Frame) + Send + Sync>;
/// Where everything else goes.
pub(crate) type EventSink = Box<dyn Fn(Rank, CarrierEvent) + Send + Sync>;

/// Carries between the processes of a job. No call blocks, and what is for a rank that is gone is
/// dropped.
pub(crate) trait Carrier: Send + Sync {
    /// Sends a frame. `sent`, for blocks, is called when the network has it, or never will.
    fn send(&self, to: Rank, frame: Frame, sent: Option<Sent>);

    /// Carries out a command.
    fn command(&self, command: CarrierCommand);
}

/// A carrier that has joined its job.
pub(crate) struct Started {
    pub(crate) rank: Rank,
    pub(crate) size: u32,
    /// What it is, for people.
    pub(crate) what: String,
    pub(crate) carrier: Box<dyn Carrier>,
    /// Receives once when the carrier has ended, where it has something to end.
    pub(crate) ended: Option<Receiver<()>>,
}

/// Something for the carrier to do beside sending frames.
pub(crate) enum CarrierCommand {
    /// Send a message to another process.
    Send {
        /// To whom.
        to: Rank,
        /// What.
        message: ProcessMessage,
    },
    /// Send this session message first to every rank, also to those that come later.
    Greet(Bytes),
    /// Deliver frames to this from now on.
    Deliver(FrameSink),
    /// Receive payload into this memory.
    Budget(Arc<Budget>),
    /// Links may break for so long, one after the other, without anything coming over them; then a
    /// rank is lost.
    Patience(Duration),
    /// A rank is gone.
    Lost(Rank),
    /// Send nothing any more without a command.
    Quiet,
    /// Send what waits, and end.
    Finish {
        /// Whether everyone lives and ends too.
        together: bool,
        /// Receives once when everything is sent.
        sent: Sender<()>,
    },
}

/// What comes in beside frames, for the drivers. Every event is about one rank.
#[derive(Debug)]
pub(crate) enum CarrierEvent {
    /// The rank sent a message.
    Message(ProcessMessage),
    /// What the rank sends makes no sense: nothing that it sends is read any more.
    Broken(String),
    /// The links with the rank break again and again, and nothing comes over them.
    Flapping(String),
    /// There is no way to the rank any more, and why. It may be started again; the carrier lets it
    /// in.
    Lost(String),
}
