//! What the fabric alone can move: every peer requests blocks from every other, as many at a time
//! as the caller sets, and serves them from memory. Nothing is hashed, written or decided. For
//! benchmarks.

use crate::fabric::process::carrier::{CarrierCommand, CarrierEvent};
use crate::fabric::process::job::{Job, JobEvent};
use crate::fabric::process::message::ProcessMessage;
use crate::fabric::process::session::{Hello, Session};
use crate::frame::{Frame, Payload};
use bytes::Bytes;
use dunlin_base::{BlockRef, PieceIndex, Rank, TorrentId};
use dunlin_disk::Budget;
use dunlin_wire::Message;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The memory that blocks land in, in bytes.
const MEMORY: u64 = 256 << 20;
/// How long rank 0 waits for everyone to come up.
const PATIENCE: Duration = Duration::from_secs(60);
const TORRENT: TorrentId = TorrentId(0);

/// What a measurement came to.
#[derive(Clone, Copy, Debug)]
pub struct Throughput {
    /// Bytes that all peers together received.
    pub bytes: u64,
    /// How long they asked, in seconds.
    pub seconds: f64,
}

/// Moves blocks of `block` bytes between all peers for `time`, with `in_flight` requests open to
/// each source. Every process of the job calls it; rank 0 gets the sum, the others nothing.
#[must_use]
pub fn blocks(job: &Job, block: u32, in_flight: u32, time: Duration) -> Option<Throughput> {
    if !job.leads() {
        peer(job, block, in_flight, time);
        return None;
    }
    let peers = job.hellos(PATIENCE, &|| false).len();
    job.welcome(0);
    let mut moved = BTreeMap::new();
    let mut gone = 0;
    while gone < peers {
        let event = job.next_event(PATIENCE)?;
        let JobEvent::Carrier(from, CarrierEvent::Message(message)) = event else { continue };
        match message {
            ProcessMessage::Progress { moved: bytes, .. } => _ = moved.insert(from, bytes),
            ProcessMessage::Session(_) => gone += 1,
            ProcessMessage::Trace { .. } | ProcessMessage::Pulse => {}
        }
    }
    Some(Throughput { bytes: moved.values().sum(), seconds: time.as_secs_f64() })
}

fn peer(job: &Job, block: u32, in_flight: u32, time: Duration) {
    let (frames, inbox) = channel();
    job.command(CarrierCommand::Budget(Budget::new(MEMORY)));
    job.command(CarrierCommand::Deliver(Box::new(move |from, frame| {
        let _ = frames.send((from, frame));
    })));
    let hello = Hello { own: true, block_length: block, ..Hello::default() };
    if job.hello(hello, &|| false).is_err() {
        return;
    }
    let data = Bytes::from(vec![7; block as usize]);
    let ask = |to: Rank, piece: u32| {
        let range = BlockRef { piece: PieceIndex(piece), begin: 0, len: block };
        let message = Message::Request(range);
        let frame = Frame::Wire { torrent: TORRENT, message };
        job.send_frame(to, frame, None);
    };
    for other in job.peers().filter(|rank| *rank != job.rank()) {
        (0..in_flight).for_each(|piece| ask(other, piece));
    }
    let end = Instant::now() + time;
    let mut bytes = 0;
    let mut reported = false;
    while !job.dismissed() {
        let now = Instant::now();
        if now >= end && !std::mem::replace(&mut reported, true) {
            let (state, have, wanted, moved, sent) = (0, 0, 0, bytes, 0);
            let message = ProcessMessage::Progress { state, have, wanted, moved, sent };
            job.command(CarrierCommand::Send { to: Rank::TRACKER, message });
            job.send(Rank::TRACKER, &Session::Gone);
        }
        match next(&inbox, reported.then_some(job)) {
            Some((from, Frame::Wire { message: Message::Request(range), .. })) => {
                let payload = Payload { data: data.clone(), charge: None };
                let frame = Frame::Piece { torrent: TORRENT, range, payload };
                job.send_frame(from, frame, None);
            }
            Some((from, Frame::Piece { range, payload, .. })) => {
                bytes += payload.data.len() as u64;
                if !reported {
                    ask(from, range.piece.0);
                }
            }
            Some(_) | None => {}
        }
    }
}

/// The next frame; takes in the end of the job, too, if `ending`.
fn next(inbox: &Receiver<(Rank, Frame)>, ending: Option<&Job>) -> Option<(Rank, Frame)> {
    match inbox.recv_timeout(Duration::from_millis(20)) {
        Ok(frame) => Some(frame),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            if let Some(job) = ending
                && let Some(JobEvent::Carrier(
                    from,
                    CarrierEvent::Message(ProcessMessage::Session(bytes)),
                )) = job.next_event(Duration::ZERO)
            {
                job.take_bye(from, &bytes);
            }
            None
        }
    }
}
