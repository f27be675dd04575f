//! What the fabric alone can move: every peer asks every other for blocks, as many at a time as it is
//! told, and serves them from memory. Nothing is hashed, written or decided. For benchmarks.

use crate::fabric::process::carrier::{Order, Word};
use crate::fabric::process::envelope::Parcel;
use crate::fabric::process::job::{Job, News};
use crate::fabric::process::session::{Hello, Session};
use crate::frame::{Frame, Payload};
use bytes::Bytes;
use dunlin_base::{Rank, TorrentId};
use dunlin_disk::Budget;
use dunlin_wire::{BlockRange, Message};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The memory that blocks land in, in bytes.
const MEMORY: u64 = 256 << 20;
/// How long rank 0 waits for everyone to come up.
const PATIENCE: Duration = Duration::from_secs(60);
const TORRENT: TorrentId = TorrentId(0);

/// What rank 0 says about a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Bytes that all peers together received.
    pub bytes: u64,
    /// How long they asked, in seconds.
    pub seconds: f64,
}

/// Moves blocks of `block` bytes between all peers for `time`, with `in_flight` requests open to each
/// source. Every process of the job calls it; rank 0 gets the sum, the others nothing.
#[must_use]
pub fn blocks(job: &Job, block: u32, in_flight: u32, time: Duration) -> Option<Moved> {
    if !job.leads() {
        peer(job, block, in_flight, time);
        return None;
    }
    let peers = job.hellos(PATIENCE, &|| false).len();
    job.welcome(0);
    let mut moved = BTreeMap::new();
    let mut gone = 0;
    while gone < peers {
        match job.next(PATIENCE)? {
            News::Word(from, Word::Progress([.., bytes, _])) => _ = moved.insert(from, bytes),
            News::Word(_, Word::Session(_)) => gone += 1,
            _ => {}
        }
    }
    Some(Moved { bytes: moved.values().sum(), seconds: time.as_secs_f64() })
}

fn peer(job: &Job, block: u32, in_flight: u32, time: Duration) {
    let (frames, inbox) = channel();
    job.order(Order::Budget(Budget::new(MEMORY)));
    job.order(Order::Deliver(Box::new(move |from, frame| {
        let _ = frames.send((from, frame));
    })));
    let hello = Hello { own: true, block_length: block, ..Hello::default() };
    if job.hello(hello, &|| false).is_err() {
        return;
    }
    let data = Bytes::from(vec![7; block as usize]);
    let ask = |to: Rank, piece: u32| {
        let range = BlockRange { piece, begin: 0, length: block };
        let message = Message::Request(range);
        let frame = Frame::Wire { torrent: TORRENT, message };
        job.order(Order::Frame { to, frame, sent: None });
    };
    for other in job.peers().filter(|rank| *rank != job.rank()) {
        (0..in_flight).for_each(|piece| ask(other, piece));
    }
    let end = Instant::now() + time;
    let mut bytes = 0;
    let mut told = false;
    while !job.dismissed() {
        let now = Instant::now();
        if now >= end && !std::mem::replace(&mut told, true) {
            let parcel = Parcel::Progress { state: 0, have: 0, wanted: 0, moved: bytes, sent: 0 };
            job.order(Order::Parcel { to: Rank::TRACKER, parcel });
            job.say(Rank::TRACKER, &Session::Gone);
        }
        match next(&inbox, told.then_some(job)) {
            Some((from, Frame::Wire { message: Message::Request(range), .. })) => {
                let payload = Payload { data: data.clone(), charge: None };
                let frame = Frame::Piece { torrent: TORRENT, range, payload };
                job.order(Order::Frame { to: from, frame, sent: None });
            }
            Some((from, Frame::Piece { range, payload, .. })) => {
                bytes += payload.data.len() as u64;
                if !told {
                    ask(from, range.piece);
                }
            }
            Some(_) | None => {}
        }
    }
}

/// The next frame; whoever waits for the end looks for it, too.
fn next(inbox: &Receiver<(Rank, Frame)>, ending: Option<&Job>) -> Option<(Rank, Frame)> {
    match inbox.recv_timeout(Duration::from_millis(20)) {
        Ok(frame) => Some(frame),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            if let Some(job) = ending
                && let Some(News::Word(from, Word::Session(bytes))) = job.next(Duration::ZERO)
            {
                job.hear_bye(from, &bytes);
            }
            None
        }
    }
}
