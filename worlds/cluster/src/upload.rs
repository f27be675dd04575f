//! The upload side of a rank: reading blocks and sending them. It has its own queue, so that
//! serving goes on while the download side writes, and a request can be taken back until its turn
//! comes.

use crate::content::Content;
use crate::fault::RankFaults;
use crate::frame::{Frame, Payload};
use bytes::Bytes;
use dunlin_base::{BlockRef, ConnId, Rank, Time, TokenBucket, TorrentId};
use dunlin_disk::Charge;
use dunlin_engine::io::LocalError;
use dunlin_wire::BlockRange;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
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
}

/// A block to send.
#[derive(Clone, Copy, Debug)]
pub struct Serve {
    /// The connection that asked.
    pub conn: ConnId,
    /// Who is at its other end.
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
}

impl Uploader {
    /// The upload side of the rank with this content and these faults.
    #[must_use]
    pub fn new(content: Arc<Content>, faults: &RankFaults) -> Uploader {
        let bucket = faults.slow.map(TokenBucket::new);
        Uploader { content, queue: VecDeque::new(), bucket, corrupt: faults.corrupt }
    }

    /// Takes a job. A cancel or the end of a connection takes queued blocks out; the engine hears
    /// of each that it would wait for.
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
        }
        None
    }

    /// The next block and when it may go.
    pub fn next(&mut self, now: Time) -> Option<(Time, Serve)> {
        let serve = self.queue.pop_front()?;
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
        match self.content.read(torrent, block) {
            Ok(data) => {
                let data = if self.corrupt { flipped(&data) } else { data };
                let done = UploadDone::Sent { conn, block, bytes: data.len() as u64 };
                let range =
                    BlockRange { piece: block.piece.0, begin: block.begin, length: block.len };
                let payload = Payload { data, charge: Some(charge) };
                (Some(Frame::Piece { torrent, range, payload }), done)
            }
            Err(error) => (None, UploadDone::Failed { conn, block, error }),
        }
    }

    /// The memory that payload is charged for.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }
}

/// The same bytes but for one bit of the first one. The copy is the liar's own: what it holds stays
/// right, or it could not go on lying.
fn flipped(data: &Bytes) -> Bytes {
    let mut copy = data.to_vec();
    if let Some(first) = copy.first_mut() {
        *first ^= 1;
    }
    Bytes::from(copy)
}

/// What the upload thread needs of the driver.
pub(crate) struct UploadPorts {
    /// Sends a frame to a rank.
    pub(crate) send: Box<dyn Fn(Rank, Frame) + Send>,
    /// Reports to the state machine.
    pub(crate) report: Box<dyn Fn(UploadDone) + Send>,
    /// The time of the run.
    pub(crate) now: Box<dyn Fn() -> Time + Send>,
}

/// The thread `r<R>-upload`: runs until its jobs end.
pub(crate) fn upload_loop(mut uploader: Uploader, jobs: &Receiver<UploadJob>, ports: &UploadPorts) {
    loop {
        let Some((at, serve)) = uploader.next((ports.now)()) else {
            match jobs.recv() {
                Ok(job) => uploader.push(job).into_iter().for_each(|done| (ports.report)(done)),
                Err(_) => return,
            }
            continue;
        };
        match pause(&mut uploader, jobs, ports, at, &serve) {
            Turn::Now => {}
            Turn::Cancelled => continue,
            Turn::Over => return,
        }
        let charge = uploader.content.budget().charge_blocking(uploader.bytes(&serve));
        let (frame, done) = uploader.read(&serve, charge);
        if let Some(frame) = frame {
            (ports.send)(serve.to, frame);
        }
        (ports.report)(done);
    }
}

enum Turn {
    Now,
    Cancelled,
    Over,
}

/// Takes in what was queued, at least once, and waits until the block may go.
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
            UploadJob::Serve(_) => false,
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
