//! Inputs that concern the session alone, whoever drives it.

use super::Session;
use crate::io::Input;
use dunlin_base::Time;

impl Session {
    /// One input that concerns nobody but the session; others change nothing.
    pub(crate) fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Connected { torrent, conn, remote } => {
                self.connected(now, torrent, conn, remote);
            }
            Input::DialFailed { torrent, remote } => {
                self.with(now, torrent, |t, shared| t.dial_failed(shared, remote));
            }
            Input::Incoming { conn, remote } => {
                self.incoming(now, conn, remote);
            }
            Input::Disconnected { conn } => self.disconnected(now, conn),
            Input::Handshake { conn, handshake } => self.handshake(now, conn, &handshake),
            Input::Message { conn, message } => self.message(now, conn, &message),
            Input::Malformed { conn } => self.malformed(now, conn),
            Input::Reserved { torrent, piece } => {
                self.reserved(now, torrent, piece);
            }
            Input::NoMemory { torrent, piece } => {
                self.with(now, torrent, |t, shared| t.no_memory(shared, piece));
            }
            Input::MemoryFree => self.memory_free(now),
            Input::MemoryWanted => self.memory_wanted(now),
            Input::BlockArrived { conn, block } => {
                if let Err(what) = self.block(now, conn, block) {
                    self.violated(now, conn, what);
                }
            }
            Input::BlockSent { conn, block } => self.sent(now, conn, block),
            Input::ServeCancelled { conn, block } => self.not_served(now, conn, block),
            Input::ServeFailed { conn, block, error } => {
                self.serve_failed(now, conn, block, &error);
            }
            Input::PieceHashed { torrent, piece, matches } => {
                self.with(now, torrent, |t, s| t.hashed(s, now, piece, matches));
            }
            Input::BlockDigests { torrent, piece, digests } => {
                self.with(now, torrent, |t, s| t.digested(s, now, piece, &digests));
            }
            Input::PieceWritten { torrent, piece } => {
                self.with(now, torrent, |t, shared| t.written(shared, now, piece));
            }
            Input::DiskFailed { torrent, piece, error } => {
                self.with(now, torrent, |t, s| t.disk_failed(s, now, piece, error));
            }
            _ => {}
        }
    }
}
