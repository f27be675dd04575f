//! Does what the engine asks for: each output has its arm here.

use super::World;
use crate::disk::DiskJob;
use crate::messages::{NetEvent, WorldMessage};
use dunlin_base::ConnId;
use dunlin_disk::pieces::Job;
use dunlin_engine::io::{ClientEvent, ClientOutput, HangUpReason, SwarmOutput};
use dunlin_wire::{Handshake, Message};
use std::sync::Arc;

impl World {
    /// Does what the engine asks for.
    pub(super) fn output(&mut self, output: ClientOutput) {
        match output {
            ClientOutput::Swarm(output) => self.swarm_output(output),
            ClientOutput::Open { torrent, metainfo, wanted } => {
                self.open(torrent, &metainfo, wanted);
            }
            ClientOutput::Want { torrent, wanted } => {
                self.submit(torrent, DiskJob::Want { torrent, wanted });
            }
            ClientOutput::FinishFile { torrent, file } => {
                self.pieces(Job::Finish { torrent, file, last: false });
            }
            ClientOutput::HashBlocks(key) => self.hash_blocks(key),
            ClientOutput::Close { torrent } => self.close(torrent),
            ClientOutput::Announce { torrent, tracker, url, request } => {
                let mailbox = Arc::clone(&self.mailbox);
                self.trackers.announce(torrent, tracker, url, *request, None, move |result| {
                    mailbox.send(WorldMessage::Announced { torrent, tracker, result });
                });
            }
            ClientOutput::Removed { torrent } => self.forget_torrent(torrent),
            ClientOutput::Event(event) => self.event(event),
        }
    }

    fn swarm_output(&mut self, output: SwarmOutput) {
        match output {
            SwarmOutput::Dial { torrent, remote } => self.dial(torrent, remote),
            SwarmOutput::HangUp { conn, reason } => {
                self.log_hang_up(conn, reason);
                self.hang_up(conn);
            }
            SwarmOutput::SendHandshake { conn, handshake } => {
                self.send_handshake(conn, &handshake);
            }
            SwarmOutput::Send { conn, message } => self.send_message(conn, &message),
            SwarmOutput::Reserve { key, bytes, streamed } => self.reserve(key, bytes, streamed),
            SwarmOutput::Release(key) => self.release(key),
            SwarmOutput::Spill(key) => self.spill(key),
            SwarmOutput::Keep { conn, block } => self.keep(conn, block),
            SwarmOutput::Drop { conn, block } => self.discard(conn, block),
            SwarmOutput::Hash(key) => self.hash(key),
            SwarmOutput::Digest(key) => self.digest(key),
            SwarmOutput::Write(key) => self.write(key),
            SwarmOutput::Serve { conn, block } => self.serve(conn, block),
            SwarmOutput::Event(event) => {
                let _ = self.events.send(NetEvent::Swarm(event));
            }
        }
    }

    fn send_handshake(&mut self, conn: ConnId, handshake: &Handshake) {
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

    fn send_message(&mut self, conn: ConnId, message: &Message) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        match message {
            Message::Request(range) => known.receiver.request_sent(*range),
            Message::Cancel(range) => {
                known.receiver.request_ended(*range);
            }
            _ => {}
        }
        if self.closing_conns.contains(&conn) {
            return;
        }
        known.outbox.push(message);
        self.ready.insert(conn);
        self.count_memory(conn);
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

    fn event(&mut self, event: ClientEvent) {
        if let ClientEvent::State { torrent, .. } = &event {
            self.views.mark(*torrent);
        }
        if event == ClientEvent::Stopped {
            self.stopped = true;
            self.disk.interrupt();
        }
        let _ = self.events.send(NetEvent::Client(event));
    }
}
