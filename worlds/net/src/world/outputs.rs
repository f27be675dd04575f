//! Does what the engine asks for: each output has its arm here.

use super::World;
use crate::disk::DiskJob;
use crate::messages::{NetEvent, WorldMessage};
use dunlin_base::{ConnId, PieceKey};
use dunlin_disk::pieces::Job;
use dunlin_engine::io::{Event, HangUpReason, Output};
use dunlin_wire::Message;
use std::sync::Arc;

impl World {
    /// Does what the engine asks for.
    pub(super) fn output(&mut self, output: Output) {
        match output {
            Output::OpenTorrent { torrent, metainfo, wanted } => {
                self.open(torrent, &metainfo, wanted);
            }
            Output::Want { torrent, wanted } => {
                self.submit(torrent, DiskJob::Want { torrent, wanted })
            }
            Output::Close { torrent } => self.close(torrent),
            Output::Dial { torrent, remote } => self.dial(torrent, remote),
            Output::HangUp { conn, reason } => {
                self.log_hang_up(conn, reason);
                self.hang_up(conn);
            }
            Output::SendHandshake { conn, handshake } => {
                let torrent = self.by_hash.get(&handshake.info_hash).copied();
                if let Some(known) = self.conns.get_mut(&conn) {
                    if let Some(torrent) = torrent {
                        known.receiver.set_torrent(torrent);
                        self.views.mark(torrent);
                    }
                    known.outbox.push_bytes(&handshake.encode());
                    self.ready.insert(conn);
                    self.count_memory(conn);
                }
            }
            Output::Send { conn, message } => {
                let Some(known) = self.conns.get_mut(&conn) else { return };
                match &message {
                    Message::Request(range) => known.receiver.request_sent(*range),
                    Message::Cancel(range) => {
                        known.receiver.request_ended(*range);
                    }
                    _ => {}
                }
                if self.closing_conns.contains(&conn) {
                    return;
                }
                known.outbox.push(&message);
                self.ready.insert(conn);
                self.count_memory(conn);
            }
            Output::Reserve { key: PieceKey { torrent, piece }, bytes, streamed } => {
                self.reserve(torrent, piece, bytes, streamed);
            }
            Output::Release(PieceKey { torrent, piece }) => self.release(torrent, piece),
            Output::Spill(PieceKey { torrent, piece }) => self.spill(torrent, piece),
            Output::Keep { conn, block } => self.keep(conn, block),
            Output::Drop { conn, block } => self.discard(conn, block),
            Output::Hash(PieceKey { torrent, piece }) => self.hash(torrent, piece),
            Output::Digest(PieceKey { torrent, piece }) => self.digest(torrent, piece),
            Output::Write(PieceKey { torrent, piece }) => self.write(torrent, piece),
            Output::FinishFile { torrent, file } => {
                self.pieces(Job::Finish { torrent, file, last: false });
            }
            Output::Serve { conn, block } => self.serve(conn, block),
            Output::HashBlocks(PieceKey { torrent, piece }) => self.hash_blocks(torrent, piece),
            Output::Announce { torrent, tracker, url, request } => {
                let mailbox = Arc::clone(&self.mailbox);
                self.trackers.announce(torrent, tracker, url, *request, None, move |result| {
                    mailbox.send(WorldMessage::Announced { torrent, tracker, result });
                });
            }
            Output::Event(event) => self.event(event),
            // Sets of a cluster: a client has none.
            Output::SendControl(_)
            | Output::Open { .. }
            | Output::Link { .. }
            | Output::FinishTree => {}
        }
    }

    /// Logs why the engine closes a connection. People can act on a breach of the protocol;
    /// everything else is for debugging.
    fn log_hang_up(&self, conn: ConnId, reason: HangUpReason) {
        let known = self.conns.get(&conn);
        let remote = known.filter(|conn| !conn.reason_logged).map(|conn| conn.stream.peer_addr());
        match (reason, remote) {
            (HangUpReason::Violation(what), Some(remote)) => {
                tracing::info!(%remote, "hung up on a peer that breaks the protocol: {what}");
            }
            _ => tracing::debug!(%conn, ?remote, ?reason, "hang up"),
        }
    }

    fn event(&mut self, event: Event) {
        if let Event::State { torrent, .. } = &event {
            self.views.mark(*torrent);
        }
        if event == Event::Stopped {
            self.stopped = true;
            self.disk.interrupt();
        }
        let _ = self.events.send(NetEvent::Engine(event));
    }
}
