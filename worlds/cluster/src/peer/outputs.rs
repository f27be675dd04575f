//! What the engine asks of the world, carried out or passed on.

use super::Peer;
use super::buffers::Reserved;
use super::recorder::KnownTorrent;
use crate::content::geometry_of;
use crate::download::DownloadJob;
use crate::frame::{Frame, Payload};
use crate::peer::{Downloads, Effect};
use crate::upload::{Serve, UploadJob};
use bytes::Bytes;
use dunlin_base::{BlockRef, ConnId, Endpoint, PieceIndex, PieceKey, Rank, Time, TorrentId};
use dunlin_disk::pieces::Job;
use dunlin_engine::io::{Event, Input, LocalError, Output};
use std::path::Path;
use std::sync::Arc;

impl Peer {
    pub(super) fn output(&mut self, now: Time, output: Output) {
        match output {
            Output::SendControl(control) => {
                self.send(Rank::TRACKER, Frame::Control(control));
            }
            Output::Open { torrent, info, wants } => {
                let geometry = geometry_of(&info, self.block_length);
                let known = KnownTorrent { info: Arc::clone(&info), geometry };
                self.recorder.torrents.insert(torrent, known);
                self.opening.insert(torrent);
                let replace = Arc::clone(&self.replace);
                self.download(DownloadJob::Open { torrent, info, wants, replace });
            }
            Output::Dial { torrent, remote } => self.dial(torrent, remote),
            Output::HangUp { conn, reason } => {
                tracing::debug!(rank = self.rank.0, %conn, ?reason, "hang up");
                if let Some(connection) = self.connections.remove(conn) {
                    self.forget(conn);
                    self.send(connection.remote, Frame::HangUp { torrent: connection.torrent });
                }
            }
            Output::SendHandshake { conn, handshake } => {
                if let Some(connection) = self.connections.get(conn) {
                    let torrent = connection.torrent;
                    self.send(connection.remote, Frame::Handshake { torrent, handshake });
                }
            }
            Output::Send { conn, message } => {
                if let Some(connection) = self.connections.get(conn) {
                    self.send(
                        connection.remote,
                        Frame::Wire { torrent: connection.torrent, message },
                    );
                }
            }
            Output::Reserve { key: PieceKey { torrent, piece }, bytes, streamed } => {
                self.reserve(torrent, piece, bytes, streamed);
            }
            Output::Release(PieceKey { torrent, piece }) => self.release(torrent, piece),
            Output::Spill(PieceKey { torrent, piece }) => self.spill(torrent, piece),
            Output::Keep { conn, block } => self.keep(conn, block),
            Output::Drop { conn, block } => {
                self.parked.remove(&(conn, block));
            }
            Output::Hash(PieceKey { torrent, piece }) => self.hash(torrent, piece),
            Output::Digest(PieceKey { torrent, piece }) => self.digest(torrent, piece),
            Output::Write(PieceKey { torrent, piece }) => self.write(torrent, piece),
            Output::FinishFile { torrent, file } => {
                let last = self.member.waits_for_files();
                self.submit(Job::Finish { torrent, file, last });
            }
            Output::Link { torrent, file, name, from } => {
                let from = dunlin_disk::path_of(Path::new(&from.dest), &name);
                self.download(DownloadJob::Link { torrent, file, name, from });
            }
            Output::FinishTree => {
                let clean = self.member.failed().is_empty();
                self.download(DownloadJob::FinishTree { clean });
            }
            Output::Serve { conn, block } => self.serve(conn, block),
            Output::Event(event) => {
                if event == Event::AllComplete {
                    self.end_downloads();
                }
                self.recorder.event(now, event);
            }
            // Torrents of the internet: a member has none.
            Output::OpenTorrent { .. }
            | Output::Want { .. }
            | Output::Close { .. }
            | Output::Announce { .. }
            | Output::HashBlocks { .. } => {}
        }
    }

    fn send(&mut self, to: Rank, frame: Frame) {
        self.effects.push_back(Effect::Send { to, frame });
    }

    /// Gives a job to the download side, unless that has ended: what a file that failed left behind
    /// needs no work any more.
    fn submit(&mut self, job: Job) {
        self.download(DownloadJob::Pieces(job));
    }

    fn download(&mut self, job: DownloadJob) {
        if self.downloads == Downloads::Open {
            self.effects.push_back(Effect::Download(job));
        }
    }

    fn dial(&mut self, torrent: TorrentId, remote: Endpoint) {
        let conn = remote
            .rank()
            .filter(|rank| *rank != self.rank)
            .and_then(|rank| self.connections.dial(rank, torrent));
        self.inputs.push_back(match conn {
            Some(conn) => Input::Connected { torrent, conn, remote },
            None => Input::DialFailed { torrent, remote },
        });
    }

    fn serve(&mut self, conn: ConnId, block: BlockRef) {
        let Some(connection) = self.connections.get(conn) else { return };
        let serve = Serve { conn, to: connection.remote, torrent: connection.torrent, block };
        self.effects.push_back(Effect::Upload(UploadJob::Serve(serve)));
    }

    fn reserve(&mut self, torrent: TorrentId, piece: PieceIndex, bytes: u32, streamed: bool) {
        let Some(known) = self.recorder.torrents.get(&torrent) else { return };
        let blocks = known.geometry.blocks(piece);
        match self.budget.reserve(u64::from(self.rank.0), u64::from(bytes)) {
            Ok(charge) => {
                self.queued = false;
                match self.buffers.reserve(torrent, piece, charge, streamed, blocks) {
                    Reserved::Ready => {
                        self.inputs.push_back(Input::Reserved(PieceKey { torrent, piece }))
                    }
                    Reserved::Load(blocks) => {
                        self.submit(Job::Load { torrent, piece, blocks });
                    }
                }
            }
            Err(_) => {
                self.queued = true;
                self.inputs.push_back(Input::NoMemory(PieceKey { torrent, piece }));
            }
        }
    }

    fn release(&mut self, torrent: TorrentId, piece: PieceIndex) {
        let buffer = self.buffers.release(torrent, piece);
        if buffer.is_some_and(|buffer| buffer.streamed) {
            self.submit(Job::StreamForget { torrent, piece });
        }
    }

    fn spill(&mut self, torrent: TorrentId, piece: PieceIndex) {
        let Some(known) = self.recorder.torrents.get(&torrent) else { return };
        let Some((blocks, charge)) = self.buffers.spill(torrent, piece, &known.geometry) else {
            return;
        };
        self.submit(Job::Spill { torrent, piece, blocks, charge });
    }

    pub(super) fn loaded(
        &mut self,
        torrent: TorrentId,
        piece: PieceIndex,
        blocks: Vec<(BlockRef, Bytes)>,
    ) {
        let Some(known) = self.recorder.torrents.get(&torrent) else { return };
        for (block, data) in blocks {
            if let Some(index) = known.geometry.block_index(block) {
                self.buffers.keep(torrent, piece, index, data);
            }
        }
    }

    fn keep(&mut self, conn: ConnId, block: BlockRef) {
        let Some((torrent, payload)) = self.parked.remove(&(conn, block)) else { return };
        self.recorder.bytes_moved += payload.data.len() as u64;
        let piece = block.piece;
        if self.buffers.get(torrent, piece).is_some_and(|buffer| buffer.streamed) {
            let Payload { data, charge } = payload;
            self.submit(Job::StreamBlock { torrent, block, data, charge });
            return;
        }
        let known = self.recorder.torrents.get(&torrent);
        if let Some(index) = known.and_then(|known| known.geometry.block_index(block)) {
            // The reservation of the piece covers the block from now on.
            let Payload { data, charge } = payload;
            drop(charge);
            self.buffers.keep(torrent, piece, index, data);
        }
    }

    fn is_streamed(&self, torrent: TorrentId, piece: PieceIndex) -> bool {
        self.buffers.get(torrent, piece).is_some_and(|buffer| buffer.streamed)
    }

    fn hash(&mut self, torrent: TorrentId, piece: PieceIndex) {
        if self.is_streamed(torrent, piece) {
            self.submit(Job::StreamVerify { torrent, piece });
        } else if let Some(parts) = self.parts(torrent, piece) {
            self.submit(Job::Verify { torrent, piece, parts });
        }
    }

    fn digest(&mut self, torrent: TorrentId, piece: PieceIndex) {
        let key = self.digest_key;
        if self.is_streamed(torrent, piece) {
            let Some(known) = self.recorder.torrents.get(&torrent) else { return };
            let all = 0..known.geometry.blocks(piece);
            let blocks = all.map(|index| known.geometry.block(piece, index)).collect();
            self.submit(Job::StreamDigest { torrent, piece, blocks, key });
        } else if let Some(blocks) = self.parts(torrent, piece) {
            self.submit(Job::Digest { torrent, piece, blocks, key });
        }
    }

    fn write(&mut self, torrent: TorrentId, piece: PieceIndex) {
        if self.is_streamed(torrent, piece) {
            self.submit(Job::StreamWrite { torrent, piece });
        } else if let Some(parts) = self.parts(torrent, piece) {
            self.submit(Job::Write { torrent, piece, parts });
        }
    }

    /// The blocks of a complete piece. A hole in it is a defect of this program: the engine is notified
    /// that the piece failed here, and no source is blamed.
    fn parts(&mut self, torrent: TorrentId, piece: PieceIndex) -> Option<Vec<Bytes>> {
        let parts = self.buffers.parts(torrent, piece);
        if parts.is_none() {
            debug_assert!(false, "{torrent:?} {piece:?} has a hole");
            let message =
                format!("piece {piece} of torrent {torrent} has a hole; please report it");
            let error = LocalError { message, disk_full: false };
            self.recorder.error(&error);
            self.inputs.push_back(Input::DiskFailed { key: PieceKey { torrent, piece }, error });
        }
        parts
    }
}
