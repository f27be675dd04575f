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
use dunlin_base::{BlockRef, ConnId, Endpoint, PieceKey, Rank, Time, TorrentId};
use dunlin_disk::pieces::Job;
use dunlin_engine::io::{LocalError, MemberEvent, MemberOutput, SwarmInput, SwarmOutput};
use std::path::Path;
use std::sync::Arc;

impl Peer {
    pub(super) fn output(&mut self, now: Time, output: MemberOutput) {
        match output {
            MemberOutput::Swarm(output) => self.swarm_output(now, output),
            MemberOutput::SendControl(control) => {
                self.send(Rank::TRACKER, Frame::Control(control));
            }
            MemberOutput::Open { torrent, info, wants } => {
                let geometry = geometry_of(&info, self.block_length);
                let known = KnownTorrent { info: Arc::clone(&info), geometry };
                self.recorder.torrents.insert(torrent, known);
                self.opening.insert(torrent);
                let replace = Arc::clone(&self.replace);
                self.download(DownloadJob::Open { torrent, info, wants, replace });
            }
            MemberOutput::FinishFile { torrent, file } => {
                let last = self.member.waits_for_files();
                self.submit(Job::Finish { torrent, file, last });
            }
            MemberOutput::Link { torrent, file, name, from } => {
                let from = dunlin_disk::path_of(Path::new(&from.dest), &name);
                self.download(DownloadJob::Link { torrent, file, name, from });
            }
            MemberOutput::FinishTree => {
                let clean = self.member.failed().is_empty();
                self.download(DownloadJob::FinishTree { clean });
            }
            MemberOutput::Event(event) => {
                if event == MemberEvent::AllComplete {
                    self.end_downloads();
                }
                self.recorder.event(now, event);
            }
        }
    }

    fn swarm_output(&mut self, now: Time, output: SwarmOutput) {
        match output {
            SwarmOutput::Dial { torrent, remote } => self.dial(torrent, remote),
            SwarmOutput::HangUp { conn, reason } => {
                tracing::debug!(rank = self.rank.0, %conn, ?reason, "hang up");
                if let Some(connection) = self.connections.remove(conn) {
                    self.forget(conn);
                    self.send(connection.remote, Frame::HangUp { torrent: connection.torrent });
                }
            }
            SwarmOutput::SendHandshake { conn, handshake } => {
                if let Some(connection) = self.connections.get(conn) {
                    let torrent = connection.torrent;
                    self.send(connection.remote, Frame::Handshake { torrent, handshake });
                }
            }
            SwarmOutput::Send { conn, message } => {
                if let Some(connection) = self.connections.get(conn) {
                    let torrent = connection.torrent;
                    self.send(connection.remote, Frame::Wire { torrent, message });
                }
            }
            SwarmOutput::Reserve { key, bytes, streamed } => self.reserve(key, bytes, streamed),
            SwarmOutput::Release(key) => self.release(key),
            SwarmOutput::Spill(key) => self.spill(key),
            SwarmOutput::Keep { conn, block } => self.keep(conn, block),
            SwarmOutput::Drop { conn, block } => {
                self.parked.remove(&(conn, block));
            }
            SwarmOutput::Hash(key) => self.hash(key),
            SwarmOutput::Digest(key) => self.digest(key),
            SwarmOutput::Write(key) => self.write(key),
            SwarmOutput::Serve { conn, block } => self.serve(conn, block),
            SwarmOutput::Event(event) => self.recorder.swarm_event(now, event),
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
            Some(conn) => SwarmInput::Connected { torrent, conn, remote }.into(),
            None => SwarmInput::DialFailed { torrent, remote }.into(),
        });
    }

    fn serve(&mut self, conn: ConnId, block: BlockRef) {
        let Some(connection) = self.connections.get(conn) else { return };
        let serve = Serve { conn, to: connection.remote, torrent: connection.torrent, block };
        self.effects.push_back(Effect::Upload(UploadJob::Serve(serve)));
    }

    fn reserve(&mut self, key: PieceKey, bytes: u32, streamed: bool) {
        let Some(known) = self.recorder.torrents.get(&key.torrent) else { return };
        let blocks = known.geometry.blocks(key.piece);
        match self.budget.reserve(u64::from(self.rank.0), u64::from(bytes)) {
            Ok(charge) => {
                self.queued = false;
                match self.buffers.reserve(key, charge, streamed, blocks) {
                    Reserved::Ready => self.inputs.push_back(SwarmInput::Reserved(key).into()),
                    Reserved::Load(blocks) => {
                        self.submit(Job::Load { key, blocks });
                    }
                }
            }
            Err(_) => {
                self.queued = true;
                self.inputs.push_back(SwarmInput::NoMemory(key).into());
            }
        }
    }

    fn release(&mut self, key: PieceKey) {
        let buffer = self.buffers.release(key);
        if buffer.is_some_and(|buffer| buffer.streamed) {
            self.submit(Job::StreamForget(key));
        }
    }

    fn spill(&mut self, key: PieceKey) {
        let Some(known) = self.recorder.torrents.get(&key.torrent) else { return };
        let Some((blocks, charge)) = self.buffers.spill(key, &known.geometry) else {
            return;
        };
        self.submit(Job::Spill { key, blocks, charge });
    }

    pub(super) fn loaded(&mut self, key: PieceKey, blocks: Vec<(BlockRef, Bytes)>) {
        let Some(known) = self.recorder.torrents.get(&key.torrent) else { return };
        for (block, data) in blocks {
            if let Some(index) = known.geometry.block_index(block) {
                self.buffers.keep(key, index, data);
            }
        }
    }

    fn keep(&mut self, conn: ConnId, block: BlockRef) {
        let Some((torrent, payload)) = self.parked.remove(&(conn, block)) else { return };
        self.recorder.bytes_moved += payload.data.len() as u64;
        let key = PieceKey { torrent, piece: block.piece };
        if self.buffers.get(key).is_some_and(|buffer| buffer.streamed) {
            let Payload { data, charge } = payload;
            self.submit(Job::StreamBlock { torrent, block, data, charge });
            return;
        }
        let known = self.recorder.torrents.get(&torrent);
        if let Some(index) = known.and_then(|known| known.geometry.block_index(block)) {
            // The reservation of the piece covers the block from now on.
            let Payload { data, charge } = payload;
            drop(charge);
            self.buffers.keep(key, index, data);
        }
    }

    fn is_streamed(&self, key: PieceKey) -> bool {
        self.buffers.get(key).is_some_and(|buffer| buffer.streamed)
    }

    fn hash(&mut self, key: PieceKey) {
        if self.is_streamed(key) {
            self.submit(Job::StreamVerify(key));
        } else if let Some(parts) = self.parts(key) {
            self.submit(Job::Verify { key, parts });
        }
    }

    fn digest(&mut self, key: PieceKey) {
        let digest_key = self.digest_key;
        if self.is_streamed(key) {
            let Some(known) = self.recorder.torrents.get(&key.torrent) else { return };
            let all = 0..known.geometry.blocks(key.piece);
            let blocks = all.map(|index| known.geometry.block(key.piece, index)).collect();
            self.submit(Job::StreamDigest { key, blocks, digest_key });
        } else if let Some(blocks) = self.parts(key) {
            self.submit(Job::Digest { key, blocks, digest_key });
        }
    }

    fn write(&mut self, key: PieceKey) {
        if self.is_streamed(key) {
            self.submit(Job::StreamWrite(key));
        } else if let Some(parts) = self.parts(key) {
            self.submit(Job::Write { key, parts });
        }
    }

    /// The blocks of a complete piece. A hole in it is a defect of this program: the engine is
    /// notified that the piece failed here, and no source is blamed.
    fn parts(&mut self, key: PieceKey) -> Option<Vec<Bytes>> {
        let parts = self.buffers.parts(key);
        if parts.is_none() {
            debug_assert!(false, "{key:?} has a hole");
            let PieceKey { torrent, piece } = key;
            let message =
                format!("piece {piece} of torrent {torrent} has a hole; please report it");
            let error = LocalError { message, disk_full: false };
            self.recorder.error(&error);
            self.inputs.push_back(SwarmInput::DiskFailed { key, error }.into());
        }
        parts
    }
}
