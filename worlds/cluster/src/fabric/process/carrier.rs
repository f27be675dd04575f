//! What carries frames and parcels between processes, as the drivers see it: orders go in, words and
//! frames come out. How they travel is the carrier's own business: the MPI thread, or TCP.

use super::envelope::Parcel;
use crate::frame::{Frame, Sent};
use bytes::Bytes;
use dunlin_base::Rank;
use dunlin_disk::Budget;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

/// Tells it, whatever becomes of the block: one that is dropped will never be sent.
pub(crate) struct Told(Option<Sent>);

impl Told {
    pub(crate) fn new(sent: Option<Sent>) -> Told {
        Told(sent)
    }

    /// The block was handed over.
    pub(crate) fn sent(mut self) {
        if let Some(tell) = self.0.take() {
            tell(true);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(false);
        }
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "untold" } else { "told" })
    }
}

/// Where frames go.
pub(crate) type FrameSink = Box<dyn Fn(Rank, Frame) + Send + Sync>;
/// Where everything else goes.
pub(crate) type WordSink = Box<dyn Fn(Rank, Word) + Send + Sync>;

/// Carries what it is ordered to. Nothing here blocks.
pub(crate) trait Carrier: Send + Sync {
    /// Does something. What is for a rank that is gone is dropped.
    fn order(&self, order: Order);
}

/// A carrier that has joined its job.
pub(crate) struct Started {
    pub(crate) rank: Rank,
    pub(crate) size: u32,
    /// What it is, for people.
    pub(crate) what: String,
    pub(crate) carrier: Box<dyn Carrier>,
    /// Says that it has ended, where it has something to end.
    pub(crate) ended: Option<Receiver<()>>,
}

/// Something for the carrier to do.
pub(crate) enum Order {
    /// Send a frame.
    Frame {
        /// To whom.
        to: Rank,
        /// What.
        frame: Frame,
        /// Told when the network has it; for blocks.
        sent: Option<Sent>,
    },
    /// Send something that is no frame.
    Parcel {
        /// To whom.
        to: Rank,
        /// What.
        parcel: Parcel,
    },
    /// Say this first to everyone, also to who comes later.
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
    /// Say nothing any more by yourself.
    Quiet,
    /// Send what waits, and end.
    Finish {
        /// Whether everyone lives and ends too.
        together: bool,
        /// Told when everything is sent.
        sent: Sender<()>,
    },
}

/// What comes in beside frames, for the drivers.
#[derive(Debug)]
pub(crate) enum Word {
    /// A message of the launch or the end.
    Session(Bytes),
    /// How far a rank is: what it is doing, how many pieces it has and wants, bytes it moved and sent.
    Progress([u64; 5]),
    /// Lines of a rank's trace, complete up to a time of the trace.
    Trace {
        /// The time, in nanoseconds.
        until: u64,
        /// Whole lines.
        lines: Bytes,
    },
    /// A rank is alive.
    Pulse,
    /// What a rank sends makes no sense: nothing of it is heard any more.
    Broken(String),
    /// The links with a rank break again and again, and nothing comes over them.
    Worn(String),
    /// There is no way to a rank any more, and why. It may be started again; the carrier lets it in.
    Lost(String),
}
