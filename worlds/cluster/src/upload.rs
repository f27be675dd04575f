//! The upload side of a rank: reading blocks and sending them. It has its own queue, so that
//! serving goes on while the download side writes, and a request can be taken back until its turn
//! comes.
//!
//! A block counts as sent when the network has taken it, not when it was handed over. To each
//! destination only so much is handed over at a time: a slow one holds little memory, and fast ones
//! do not wait behind it.

use crate::content::{Content, local};
use crate::fault::RankFaults;
use crate::frame::{Frame, Payload, Sent};
use bytes::Bytes;
use dunlin_base::{BlockRef, ConnId, Rank, Rate, Time, TokenBucket, TorrentId};
use dunlin_disk::Charge;
use dunlin_disk::pieces::PieceStore;
use dunlin_engine::io::LocalError;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

/// Something for the upload side to do.
#[derive(Clone, Copy, Debug)]
pub enum UploadJob {
    /// Read a block and send it.
    Serve(Serve),
    /// A request was taken back.
    Cancel {
        /// The connection.
        conn: ConnId,
        /// The block.
        block: BlockRef,
    },
    /// A connection is gone.
    Forget {
        /// The connection.
        conn: ConnId,
    },
    /// What was handed over has been taken by the network, or never will be.
    Gone {
        /// What it was.
        serve: Serve,
        /// How many bytes its payload had.
        bytes: u64,
        /// Whether the network has it.
        sent: bool,
    },
    /// Nothing more comes.
    End,
}

/// A block to send.
#[derive(Clone, Copy, Debug)]
pub struct Serve {
    /// The connection that asked.
    pub conn: ConnId,
    /// The rank at its other end.
    pub to: Rank,
    /// The torrent.
    pub torrent: TorrentId,
    /// The block.
    pub block: BlockRef,
}

/// What the upload side has done.
#[derive(Clone, Debug)]
pub enum UploadDone {
    /// A block was handed to the fabric.
    Sent {
        /// The connection.
        conn: ConnId,
        /// The block.
        block: BlockRef,
        /// How many bytes its payload had.
        bytes: u64,
    },
    /// A block could not be read.
    Failed {
        /// The connection.
        conn: ConnId,
        /// The block.
        block: BlockRef,
        /// Why.
        error: LocalError,
    },
    /// A block was not sent because the request was taken back in time.
    Cancelled {
        /// The connection.
        conn: ConnId,
        /// The block.
        block: BlockRef,
    },
}

/// Serves the blocks of one rank, one after another.
pub struct Uploader {
    content: Arc<Content>,
    queue: VecDeque<Serve>,
    bucket: Option<TokenBucket>,
    corrupt: bool,
    /// Bytes that were handed over for each destination and are not taken yet.
    handed: BTreeMap<Rank, u64>,
}

/// Bytes that are handed over for one destination at a time, or one block if that is longer: at
/// 100 Gbit/s enough for the time in which the next one is read.
const WINDOW: u64 = 1 << 20;

impl Uploader {
    /// The upload side of the rank with this content and these faults. All that it sends together
    /// stays below `max_rate`, in bytes a second.
    #[must_use]
    pub fn new(content: Arc<Content>, faults: &RankFaults, max_rate: Option<Rate>) -> Uploader {
        let rate = faults.slow.into_iter().chain(max_rate).min_by_key(|rate| rate.0);
        let bucket = rate.map(TokenBucket::new);
        let (queue, handed) = (VecDeque::new(), BTreeMap::new());
        Uploader { content, queue, bucket, corrupt: faults.corrupt, handed }
    }

    /// Takes a job. A cancel or the end of a connection takes queued blocks out; the engine is
    /// notified of each that it would wait for.
    pub fn push(&mut self, job: UploadJob) -> Option<UploadDone> {
        match job {
            UploadJob::Serve(serve) => self.queue.push_back(serve),
            UploadJob::Cancel { conn, block } => {
                let found = self
                    .queue
                    .iter()
                    .position(|serve| serve.conn == conn && serve.block == block)?;
                self.queue.remove(found);
                return Some(UploadDone::Cancelled { conn, block });
            }
            UploadJob::Forget { conn } => self.queue.retain(|serve| serve.conn != conn),
            UploadJob::Gone { serve, bytes, sent } => {
                let Serve { conn, to, block, .. } = serve;
                if let Some(handed) = self.handed.get_mut(&to) {
                    *handed = handed.saturating_sub(bytes);
                    if *handed == 0 {
                        self.handed.remove(&to);
                    }
                }
                return Some(match sent {
                    true => UploadDone::Sent { conn, block, bytes },
                    false => UploadDone::Cancelled { conn, block },
                });
            }
            UploadJob::End => {}
        }
        None
    }

    /// What may be handed over for one destination at a time, in bytes: all together stay within
    /// half of the memory that serving and hashing have.
    fn window(&self) -> u64 {
        let all = self.content.budget().short_share() / 2;
        WINDOW.min(all / (self.handed.len() as u64 + 1))
    }

    /// The next block and when it may go: the first one whose destination can take it.
    pub fn next(&mut self, now: Time) -> Option<(Time, Serve)> {
        let window = self.window();
        let ready = |serve: &Serve| {
            let handed = self.handed.get(&serve.to).copied().unwrap_or(0);
            handed == 0 || handed + self.content.payload_len(serve.torrent, serve.block) <= window
        };
        let place = self.queue.iter().position(ready)?;
        let serve = self.queue.remove(place)?;
        let Some(bucket) = &mut self.bucket else { return Some((now, serve)) };
        let bytes = self.content.payload_len(serve.torrent, serve.block);
        Some((bucket.take(now, bytes), serve))
    }

    /// The memory that the block's payload needs, in bytes.
    #[must_use]
    pub fn bytes(&self, serve: &Serve) -> u64 {
        self.content.payload_len(serve.torrent, serve.block)
    }

    /// Reads a block. `charge` is the memory for it.
    #[must_use]
    pub fn read(&self, serve: &Serve, charge: Charge) -> (Option<Frame>, UploadDone) {
        let Serve { conn, torrent, block, .. } = *serve;
        match self.content.read_block(torrent, block) {
            Ok(data) => {
                let data = if self.corrupt { flipped(&data) } else { data };
                let done = UploadDone::Sent { conn, block, bytes: data.len() as u64 };
                let payload = Payload { data, charge: Some(charge) };
                (Some(Frame::Piece { torrent, range: block, payload }), done)
            }
            Err(error) => (None, UploadDone::Failed { conn, block, error: local(error) }),
        }
    }

    /// A block is handed over; [`UploadJob::Gone`] will report what became of it.
    pub fn handed(&mut self, serve: &Serve, bytes: u64) {
        *self.handed.entry(serve.to).or_default() += bytes;
    }

    /// The memory that payload is charged for.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }
}

/// The same bytes but for one bit of the first one. The copy leaves the content of the rank right,
/// so that its later pieces can be served corrupted, too.
fn flipped(data: &Bytes) -> Bytes {
    let mut copy = data.to_vec();
    if let Some(first) = copy.first_mut() {
        *first ^= 1;
    }
    Bytes::from(copy)
}

/// What the upload thread needs of the driver.
pub(crate) struct UploadPorts {
    /// Sends a frame to a rank, and reports later whether the network has it.
    pub(crate) send: Box<dyn Fn(Rank, Frame, Sent) + Send>,
    /// Puts a job into the thread's own queue.
    pub(crate) jobs: Sender<UploadJob>,
    /// Reports to the state machine.
    pub(crate) report: Box<dyn Fn(UploadDone) + Send>,
    /// The time of the run.
    pub(crate) now: Box<dyn Fn() -> Time + Send>,
}

/// The thread `r<R>-upload`: runs until its jobs end.
pub(crate) fn upload_loop(mut uploader: Uploader, jobs: &Receiver<UploadJob>, ports: &UploadPorts) {
    loop {
        // Jobs that came meanwhile count for what goes next.
        while let Ok(job) = jobs.try_recv() {
            if matches!(job, UploadJob::End) {
                return;
            }
            uploader.push(job).into_iter().for_each(|done| (ports.report)(done));
        }
        let Some((at, serve)) = uploader.next((ports.now)()) else {
            match jobs.recv() {
                Ok(UploadJob::End) | Err(_) => return,
                Ok(job) => uploader.push(job).into_iter().for_each(|done| (ports.report)(done)),
            }
            continue;
        };
        match pause(&mut uploader, jobs, ports, at, &serve) {
            Turn::Now => {}
            Turn::Cancelled => continue,
            Turn::Over => return,
        }
        let charge = uploader.content.budget().charge_blocking(uploader.bytes(&serve));
        match uploader.read(&serve, charge) {
            (Some(frame), UploadDone::Sent { bytes, .. }) => {
                uploader.handed(&serve, bytes);
                let jobs = ports.jobs.clone();
                // The thread may have ended by then.
                let sent = move |sent| _ = jobs.send(UploadJob::Gone { serve, bytes, sent });
                (ports.send)(serve.to, frame, Box::new(sent));
            }
            (_, done) => (ports.report)(done),
        }
    }
}

enum Turn {
    Now,
    Cancelled,
    Over,
}

/// Takes in what was queued, and waits until the block may go.
fn pause(
    uploader: &mut Uploader,
    jobs: &Receiver<UploadJob>,
    ports: &UploadPorts,
    at: Time,
    serve: &Serve,
) -> Turn {
    loop {
        let left = at.since((ports.now)());
        let job = if left == Duration::ZERO {
            match jobs.try_recv() {
                Ok(job) => job,
                Err(TryRecvError::Empty) => return Turn::Now,
                Err(TryRecvError::Disconnected) => return Turn::Over,
            }
        } else {
            match jobs.recv_timeout(left) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => return Turn::Now,
                Err(RecvTimeoutError::Disconnected) => return Turn::Over,
            }
        };
        let mine = match job {
            UploadJob::Cancel { conn, block } => conn == serve.conn && block == serve.block,
            UploadJob::Forget { conn } => conn == serve.conn,
            UploadJob::Serve(_) | UploadJob::Gone { .. } => false,
            UploadJob::End => return Turn::Over,
        };
        if let Some(done) = uploader.push(job) {
            (ports.report)(done);
        } else if mine {
            if let UploadJob::Cancel { conn, block } = job {
                (ports.report)(UploadDone::Cancelled { conn, block });
            }
            return Turn::Cancelled;
        }
    }
}
