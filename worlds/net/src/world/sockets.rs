//! Listening, dialling, and turns: connections that can be read or written are, each for a bounded
//! number of bytes and messages before the next one.

use super::memory::SendProgress;
use super::{Connection, FIRST_CONN, FIRST_LISTENER, FIRST_UDP, World};
use crate::datagrams::Protocol;
use crate::outbox::{MAX_ANSWERS, Outbox};
use crate::receive::{Arrived, ReceiveError, Receiver};
use crate::stream::Stream;
use dunlin_base::{BlockRef, ConnId, Endpoint, PieceIndex, TorrentId};
use dunlin_engine::io::SwarmInput;
use dunlin_wire::{Message, WireError};
use mio::Token;
use std::io;
use std::time::{Duration, Instant};

/// A dial that takes longer has failed (the field's practice).
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes that one connection may be read or written in one turn.
const QUOTA: usize = 4 << 20;
/// Messages of one connection that are handled in one turn: a flood of tiny ones must not cost the
/// others more than about a millisecond. An honest peer's requests of a turn fit.
const MESSAGES_PER_TURN: usize = 512;
/// Connections that one listener accepts in one turn: other connections wait for no more than that.
const ACCEPTS_PER_TURN: usize = 64;

impl Connection {
    /// Whether the connection is to be read now. A connection whose answers wait unsent is not
    /// read: its peer would cause more of them.
    fn may_read(&self) -> bool {
        let comes = self.readable || self.receiver.has_rest();
        comes && self.dial_deadline.is_none() && self.outbox.answers() <= MAX_ANSWERS
    }
}

impl World {
    /// Watches the listeners.
    pub(super) fn listen(&mut self) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let token = Token(FIRST_LISTENER + index);
            if let Err(error) = listener.register(self.poll.registry(), token) {
                tracing::error!(%error, "a listener cannot be watched");
            }
        }
    }

    /// Notes what the system reports of a socket.
    pub(super) fn socket_event(&mut self, event: &mio::event::Event) {
        match event.token().0 {
            0 => {}
            token if (FIRST_UDP.0..FIRST_CONN).contains(&token) => {
                self.udp_ready.insert(token - FIRST_UDP.0);
            }
            token if token < FIRST_CONN => {
                self.ready_listeners.insert(token - FIRST_LISTENER);
            }
            token => {
                let id = ConnId((token - FIRST_CONN) as u64);
                let Some(conn) = self.conns.get_mut(&id) else { return };
                if conn.dial_deadline.is_some() {
                    self.dial_ended(id);
                    return;
                }
                conn.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                conn.writable |= event.is_writable();
                self.ready.insert(id);
            }
        }
    }

    fn accept(&mut self, number: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(number) else { return };
            match listener.accept() {
                Ok(stream) => {
                    if self.conns.len() >= self.max_conns && !self.make_room() {
                        // The connection is closed at once; a later one may find a place.
                        continue;
                    }
                    let remote = Endpoint::Socket(stream.peer_addr());
                    let Some(conn) = self.connection(stream, false) else { continue };
                    self.inputs.push_back(SwarmInput::Incoming { conn, remote }.into());
                    self.drain();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // No descriptor is free, for example. The next try is when a connection ends,
                    // or another one comes.
                    self.blocked_listeners.insert(number);
                    tracing::warn!(%error, "a connection could not be accepted");
                    return;
                }
            }
        }
        self.ready_listeners.insert(number);
    }

    /// Closes the oldest connection that has sent no handshake; false if there is none. Peers that
    /// send none must not keep out those that do.
    fn make_room(&mut self) -> bool {
        let silent =
            |conn: &Connection| conn.receiver.torrent().is_none() && conn.dial_deadline.is_none();
        let oldest = self.conns.iter().find(|(_, conn)| silent(conn)).map(|(id, _)| *id);
        oldest.map(|id| self.disconnected(id)).is_some()
    }

    fn connection(&mut self, mut stream: Stream, is_dialled: bool) -> Option<ConnId> {
        self.next_conn += 1;
        let id = ConnId(self.next_conn);
        let token = Token(FIRST_CONN + id.0 as usize);
        if let Err(error) = stream.register(self.poll.registry(), token) {
            tracing::warn!(%error, "a connection could not be watched");
            return None;
        }
        let conn = Connection {
            stream,
            receiver: Receiver::new(id),
            outbox: Outbox::default(),
            dial_deadline: is_dialled.then(|| Instant::now() + DIAL_TIMEOUT),
            readable: false,
            writable: true,
            send_progress: SendProgress::new(Instant::now()),
            held: 0,
            reason_logged: false,
        };
        self.conns.insert(id, conn);
        Some(id)
    }

    /// Dials a peer for a torrent.
    pub(super) fn dial(&mut self, torrent: TorrentId, remote: Endpoint) {
        let failed = SwarmInput::DialFailed { torrent, remote }.into();
        let Endpoint::Socket(address) = remote else {
            self.inputs.push_back(failed);
            return;
        };
        let conn = match Stream::connect(&self.bind, address) {
            Ok(stream) => self.connection(stream, true),
            Err(error) => {
                tracing::debug!(%error, %address, "cannot be dialled");
                None
            }
        };
        match conn {
            Some(id) => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.receiver.set_torrent(torrent);
                }
            }
            None => self.inputs.push_back(failed),
        }
    }

    /// Notes that a dial came through or failed.
    fn dial_ended(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match conn.stream.is_connected() {
            Ok(true) => {
                conn.dial_deadline = None;
                conn.readable = true;
                self.ready.insert(id);
                let Some(torrent) = conn.receiver.torrent() else { return };
                let remote = Endpoint::Socket(conn.stream.peer_addr());
                self.inputs.push_back(SwarmInput::Connected { torrent, conn: id, remote }.into());
                self.drain();
            }
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, %id, "a dial failed");
                self.dial_failed(id);
            }
        }
    }

    pub(super) fn dial_failed(&mut self, id: ConnId) {
        let Some(conn) = self.remove_conn(id) else { return };
        let remote = Endpoint::Socket(conn.stream.peer_addr());
        conn.stream.shutdown(self.poll.registry());
        let Some(torrent) = conn.receiver.torrent() else { return };
        self.inputs.push_back(SwarmInput::DialFailed { torrent, remote }.into());
        self.drain();
    }

    /// Removes a connection and everything that is kept of it. The caller shuts its stream down.
    pub(super) fn remove_conn(&mut self, id: ConnId) -> Option<Connection> {
        let mut conn = self.conns.remove(&id)?;
        if let Some(torrent) = conn.receiver.torrent() {
            self.views.mark(torrent);
        }
        conn.receiver.close(&mut self.buffers);
        self.held -= conn.held;
        self.ready.remove(&id);
        self.closing_conns.remove(&id);
        // A descriptor is free now.
        self.ready_listeners.append(&mut self.blocked_listeners);
        self.reads.forget(id);
        let first = BlockRef { piece: PieceIndex(0), begin: 0, len: 0 };
        let behind = self.unplaced_blocks.range((id, first)..);
        let unplaced_blocks: Vec<_> =
            behind.take_while(|(key, _)| key.0 == id).map(|(key, _)| *key).collect();
        for key in unplaced_blocks {
            self.unplaced_blocks.remove(&key);
        }
        Some(conn)
    }

    /// Closes a connection on behalf of the engine. Of what waits the system takes what it can.
    pub(super) fn hang_up(&mut self, id: ConnId) {
        if let Some(mut conn) = self.remove_conn(id) {
            let _ = conn.outbox.flush(&mut conn.stream, QUOTA);
            conn.stream.shutdown(self.poll.registry());
        }
    }

    /// The peer has closed the connection, or it broke.
    pub(super) fn disconnected(&mut self, id: ConnId) {
        if let Some(conn) = self.remove_conn(id) {
            conn.stream.shutdown(self.poll.registry());
            self.inputs.push_back(SwarmInput::Disconnected { conn: id }.into());
            self.drain();
        }
    }

    /// Receives what has come over UDP. Tracker replies go to the tracker client; the other
    /// protocols are not supported yet.
    pub(super) fn receive_datagrams(&mut self) {
        for socket in std::mem::take(&mut self.udp_ready) {
            let trackers = &self.trackers;
            let receive = |protocol, from, datagram: &[u8]| match protocol {
                Protocol::Tracker => trackers.receive(from, datagram),
                Protocol::Dht | Protocol::Utp => {}
            };
            if self.datagrams.receive(socket, &mut self.scratch, receive) {
                self.udp_ready.insert(socket);
            }
        }
    }

    /// Gives a turn to each listener and connection that is ready.
    pub(super) fn serve_connections(&mut self) {
        for listener in std::mem::take(&mut self.ready_listeners) {
            self.accept(listener);
        }
        let ready = std::mem::take(&mut self.ready);
        for id in ready {
            self.receive(id);
            self.send(id);
            let again =
                |conn: &Connection| conn.may_read() || conn.writable && !conn.outbox.is_empty();
            if self.conns.get(&id).is_some_and(again) {
                self.ready.insert(id);
            }
        }
    }

    fn receive(&mut self, id: ConnId) {
        let (mut bytes, mut messages) = (QUOTA, MESSAGES_PER_TURN);
        while bytes > 0 && messages > 0 {
            let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.may_read()) else { return };
            match conn.receiver.read(&mut conn.stream, &mut self.buffers, &mut self.scratch) {
                Ok(received) => {
                    if received.drained {
                        conn.readable = false;
                    }
                    bytes = bytes.saturating_sub(received.bytes);
                    messages = messages.saturating_sub(received.messages());
                    self.count_memory(id);
                    for arrived in received.arrived {
                        self.arrived(id, arrived);
                    }
                }
                Err(ReceiveError::Closed(error)) => {
                    self.log_end(id, &error);
                    self.disconnected(id);
                    return;
                }
                Err(ReceiveError::Malformed(error)) => {
                    self.log_malformed(id, &error);
                    self.inputs.push_back(SwarmInput::Malformed { conn: id }.into());
                    self.drain();
                    // The engine has hung up; if it has not, nothing more can be read.
                    self.disconnected(id);
                    return;
                }
            }
        }
    }

    /// Logs what is malformed in a peer's bytes, which the engine does not know.
    fn log_malformed(&mut self, id: ConnId, error: &WireError) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.reason_logged = true;
        let remote = conn.stream.peer_addr();
        if matches!(error, WireError::Protocol { .. }) {
            tracing::info!(
                %remote,
                "hung up on a peer that greets otherwise than BEP 3 says: it may try encryption \
                 first, which is not supported ({error})"
            );
        } else {
            tracing::info!(%remote, "hung up on a peer that breaks the protocol: {error}");
        }
    }

    /// Logs why a connection ended, as far as that is known.
    fn log_end(&self, id: ConnId, error: &io::Error) {
        let Some(conn) = self.conns.get(&id) else { return };
        // The torrent of a connection without a handshake is known only if it was dialled.
        if conn.receiver.awaits_handshake() && conn.receiver.torrent().is_some() {
            tracing::info!(
                remote = %conn.stream.peer_addr(),
                "the peer closed the connection before its handshake: it may accept encrypted \
                 connections only, which are not supported, or not share this torrent"
            );
        } else {
            tracing::debug!(%error, remote = %conn.stream.peer_addr(), "the connection is over");
        }
    }

    fn arrived(&mut self, id: ConnId, arrived: Arrived) {
        if !self.conns.contains_key(&id) {
            return;
        }
        match arrived {
            Arrived::Handshake(handshake) => {
                self.inputs.push_back(SwarmInput::Handshake { conn: id, handshake }.into());
            }
            Arrived::Message(message) => {
                if let Message::Cancel(block) = message {
                    self.inputs.push_back(SwarmInput::Message { conn: id, message }.into());
                    if self.take_back(id, block) {
                        self.inputs
                            .push_back(SwarmInput::ServeCancelled { conn: id, block }.into());
                    }
                } else {
                    self.inputs.push_back(SwarmInput::Message { conn: id, message }.into());
                }
            }
            Arrived::Block(block) => {
                self.inputs.push_back(SwarmInput::BlockArrived { conn: id, block }.into())
            }
            Arrived::Unplaced(block, bytes) => {
                self.unplaced_blocks.insert((id, block), bytes);
                self.inputs.push_back(SwarmInput::BlockArrived { conn: id, block }.into());
            }
        }
        self.drain();
    }

    /// Sends what waits, as far as the system takes it.
    pub(super) fn send(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.writable || conn.outbox.is_empty() || conn.dial_deadline.is_some() {
            return;
        }
        match conn.outbox.flush(&mut conn.stream, QUOTA) {
            Ok(flushed) => {
                conn.writable = !flushed.would_block;
                if flushed.bytes > 0 {
                    conn.send_progress.took(Instant::now());
                }
                self.count_memory(id);
                for block in flushed.blocks {
                    self.inputs.push_back(SwarmInput::BlockSent { conn: id, block }.into());
                }
                self.drain();
            }
            Err(error) => {
                tracing::debug!(%error, %id, "the connection is over");
                self.disconnected(id);
            }
        }
    }
}
