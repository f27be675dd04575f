//! What the core receives: each case has its arm.

use super::Session;
use crate::swarm::io::SwarmInput;
use dunlin_base::{PieceKey, Time};

impl Session {
    /// One input.
    pub(crate) fn handle(&mut self, now: Time, input: SwarmInput) {
        match input {
            SwarmInput::Connected { torrent, conn, remote } => {
                self.connected(now, torrent, conn, remote);
            }
            SwarmInput::DialFailed { torrent, remote } => {
                self.with(now, torrent, |t, context| t.dial_failed(context, remote));
            }
            SwarmInput::Incoming { conn, remote } => {
                self.incoming(now, conn, remote);
            }
            SwarmInput::Disconnected { conn } => self.disconnected(now, conn),
            SwarmInput::Handshake { conn, handshake } => self.handshake(now, conn, &handshake),
            SwarmInput::Message { conn, message } => self.message(now, conn, &message),
            SwarmInput::Malformed { conn } => self.malformed(now, conn),
            SwarmInput::Reserved(PieceKey { torrent, piece }) => {
                self.reserved(now, torrent, piece);
            }
            SwarmInput::NoMemory(PieceKey { torrent, piece }) => {
                self.with(now, torrent, |t, context| t.no_memory(context, piece));
            }
            SwarmInput::MemoryFree => self.memory_free(now),
            SwarmInput::MemoryWanted => self.memory_wanted(now),
            SwarmInput::BlockArrived { conn, block } => {
                if let Err(what) = self.block(now, conn, block) {
                    self.violated(now, conn, what);
                }
            }
            SwarmInput::BlockSent { conn, block } => self.sent(now, conn, block),
            SwarmInput::ServeCancelled { conn, block } => self.not_served(now, conn, block),
            SwarmInput::ServeFailed { conn, block, error } => {
                self.serve_failed(now, conn, block, &error);
            }
            SwarmInput::PieceHashed { key: PieceKey { torrent, piece }, matches } => {
                self.with(now, torrent, |t, s| t.hashed(s, now, piece, matches));
            }
            SwarmInput::BlockDigests { key: PieceKey { torrent, piece }, digests } => {
                self.with(now, torrent, |t, s| t.digested(s, now, piece, &digests));
            }
            SwarmInput::PieceWritten(PieceKey { torrent, piece }) => {
                self.with(now, torrent, |t, context| t.written(context, now, piece));
            }
            SwarmInput::DiskFailed { key: PieceKey { torrent, piece }, error } => {
                self.with(now, torrent, |t, s| t.disk_failed(s, now, piece, error));
            }
        }
    }
}
