//! Listening, dialling, and turns: who can be read is read, who can be written to is written to, each
//! only so much before the next one.

use super::held::Pace;
use super::{Conn, FIRST_CONN, FIRST_LISTENER, FIRST_UDP, World};
use crate::datagrams::Protocol;
use crate::outbox::{MAX_ANSWERS, Outbox};
use crate::receive::{Arrived, Broken, Receiver};
use crate::stream::Stream;
use dunlin_base::{BlockRef, ConnId, Endpoint, PieceIndex, TorrentId};
use dunlin_engine::io::Input;
use dunlin_wire::{Message, WireError};
use mio::Token;
use std::io;
use std::time::{Duration, Instant};

/// A dial takes no longer (the field's practice).
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes that one connection may be read or written in one turn.
const QUOTA: usize = 4 << 20;
/// Messages of one connection that are looked at in one turn: a flood of tiny ones must not cost the
/// others more than a millisecond or so. An honest peer's requests of a turn fit.
const MESSAGES_PER_TURN: usize = 512;
/// Connections that one listener takes in one turn: those that stand wait no longer than for that.
const ACCEPTS_PER_TURN: usize = 64;

impl Conn {
    /// Whether there may be something to look at, and it may be looked at now: not while the other side
    /// takes none of the answers it has caused.
    fn may_read(&self) -> bool {
        let comes = self.readable || self.receiver.has_rest();
        comes && self.dialling.is_none() && self.outbox.answers() <= MAX_ANSWERS
    }
}

impl World {
    /// Opens the ears.
    pub(super) fn listen(&mut self) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let token = Token(FIRST_LISTENER + index);
            if let Err(error) = listener.register(self.poll.registry(), token) {
                tracing::error!(%error, "a listener hears nothing");
            }
        }
    }

    /// Something can be done with a socket.
    pub(super) fn socket_event(&mut self, event: &mio::event::Event) {
        match event.token().0 {
            0 => {}
            token if (FIRST_UDP.0..FIRST_CONN).contains(&token) => {
                self.udp_ready.insert(token - FIRST_UDP.0);
            }
            token if token < FIRST_CONN => {
                self.knocking.insert(token - FIRST_LISTENER);
            }
            token => {
                let id = ConnId((token - FIRST_CONN) as u64);
                let Some(conn) = self.conns.get_mut(&id) else { return };
                if conn.dialling.is_some() {
                    self.dialled(id);
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
                        // Closed at once: who comes later may have more luck.
                        continue;
                    }
                    let remote = Endpoint::Socket(stream.peer_addr());
                    let Some(conn) = self.connection(stream, false) else { continue };
                    self.inputs.push_back(Input::Incoming { conn, remote });
                    self.drain();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors, say: it goes on when a connection ends, or the next comes.
                    self.held_off.insert(number);
                    tracing::warn!(%error, "a connection could not be accepted");
                    return;
                }
            }
        }
        self.knocking.insert(number);
    }

    /// Closes the oldest connection of a stranger who has not said what it is for; false if there is none.
    /// A crowd that says nothing must not keep out who does.
    fn make_room(&mut self) -> bool {
        let silent = |conn: &Conn| conn.receiver.torrent().is_none() && conn.dialling.is_none();
        let oldest = self.conns.iter().find(|(_, conn)| silent(conn)).map(|(id, _)| *id);
        oldest.map(|id| self.gone(id)).is_some()
    }

    fn connection(&mut self, mut stream: Stream, dialling: bool) -> Option<ConnId> {
        self.next_conn += 1;
        let id = ConnId(self.next_conn);
        let token = Token(FIRST_CONN + id.0 as usize);
        if let Err(error) = stream.register(self.poll.registry(), token) {
            tracing::warn!(%error, "a connection could not be watched");
            return None;
        }
        let conn = Conn {
            stream,
            receiver: Receiver::new(id),
            outbox: Outbox::default(),
            dialling: dialling.then(|| Instant::now() + DIAL_TIMEOUT),
            readable: false,
            writable: true,
            pace: Pace::new(Instant::now()),
            held: 0,
            explained: false,
        };
        self.conns.insert(id, conn);
        Some(id)
    }

    /// Dials a peer for a torrent.
    pub(super) fn dial(&mut self, torrent: TorrentId, remote: Endpoint) {
        let failed = Input::DialFailed { torrent, remote };
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
                    conn.receiver.belongs_to(torrent);
                }
            }
            None => self.inputs.push_back(failed),
        }
    }

    /// A dial came through, or did not.
    fn dialled(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match conn.stream.is_connected() {
            Ok(true) => {
                conn.dialling = None;
                conn.readable = true;
                self.ready.insert(id);
                let Some(torrent) = conn.receiver.torrent() else { return };
                let remote = Endpoint::Socket(conn.stream.peer_addr());
                self.inputs.push_back(Input::Connected { torrent, conn: id, remote });
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
        let Some(conn) = self.forget(id) else { return };
        let remote = Endpoint::Socket(conn.stream.peer_addr());
        conn.stream.shutdown(self.poll.registry());
        let Some(torrent) = conn.receiver.torrent() else { return };
        self.inputs.push_back(Input::DialFailed { torrent, remote });
        self.drain();
    }

    /// Takes a connection out, with all that hangs on it. The caller shuts its stream down.
    pub(super) fn forget(&mut self, id: ConnId) -> Option<Conn> {
        let mut conn = self.conns.remove(&id)?;
        if let Some(torrent) = conn.receiver.torrent() {
            self.views.mark(torrent);
        }
        conn.receiver.close(&mut self.buffers);
        self.held -= conn.held;
        self.ready.remove(&id);
        self.doomed.remove(&id);
        // A descriptor is free now.
        self.knocking.append(&mut self.held_off);
        self.reads.forget(id);
        let first = BlockRef { piece: PieceIndex(0), begin: 0, len: 0 };
        let behind = self.loose.range((id, first)..);
        let loose: Vec<_> =
            behind.take_while(|(key, _)| key.0 == id).map(|(key, _)| *key).collect();
        for key in loose {
            self.loose.remove(&key);
        }
        Some(conn)
    }

    /// The engine hangs up: what waits is handed over as far as the system takes it.
    pub(super) fn hang_up(&mut self, id: ConnId) {
        if let Some(mut conn) = self.forget(id) {
            let _ = conn.outbox.flush(&mut conn.stream, QUOTA);
            conn.stream.shutdown(self.poll.registry());
        }
    }

    /// The other side is gone.
    pub(super) fn gone(&mut self, id: ConnId) {
        if let Some(conn) = self.forget(id) {
            conn.stream.shutdown(self.poll.registry());
            self.inputs.push_back(Input::Disconnected { conn: id });
            self.drain();
        }
    }

    /// Receives what has come over UDP. Tracker replies go to the tracker client; the other protocols
    /// are not spoken yet.
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

    /// Everybody who can do something has a turn.
    pub(super) fn turns(&mut self) {
        for listener in std::mem::take(&mut self.knocking) {
            self.accept(listener);
        }
        let ready = std::mem::take(&mut self.ready);
        for id in ready {
            self.receive(id);
            self.send(id);
            let again = |conn: &Conn| conn.may_read() || conn.writable && !conn.outbox.is_empty();
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
                    if received.dry {
                        conn.readable = false;
                    }
                    bytes = bytes.saturating_sub(received.bytes);
                    messages = messages.saturating_sub(received.messages());
                    self.weigh(id);
                    for arrived in received.arrived {
                        self.arrived(id, arrived);
                    }
                }
                Err(Broken::Gone(error)) => {
                    self.report_end(id, &error);
                    self.gone(id);
                    return;
                }
                Err(Broken::Malformed(error)) => {
                    self.report_nonsense(id, &error);
                    self.inputs.push_back(Input::Malformed { conn: id });
                    self.drain();
                    // The engine has hung up; if it did not, there is still nothing to read.
                    self.gone(id);
                    return;
                }
            }
        }
    }

    /// Says what made no sense, which the engine does not know.
    fn report_nonsense(&mut self, id: ConnId, error: &WireError) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.explained = true;
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

    /// Says why a connection ended, as far as it can be known.
    fn report_end(&self, id: ConnId, error: &io::Error) {
        let Some(conn) = self.conns.get(&id) else { return };
        // Of a stranger who has not greeted the torrent is not known.
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
                self.inputs.push_back(Input::Handshake { conn: id, handshake });
            }
            Arrived::Message(message) => {
                if let Message::Cancel(block) = message {
                    self.inputs.push_back(Input::Message { conn: id, message });
                    if self.take_back(id, block) {
                        self.inputs.push_back(Input::ServeCancelled { conn: id, block });
                    }
                } else {
                    self.inputs.push_back(Input::Message { conn: id, message });
                }
            }
            Arrived::Block(block) => self.inputs.push_back(Input::BlockArrived { conn: id, block }),
            Arrived::Loose(block, bytes) => {
                self.loose.insert((id, block), bytes);
                self.inputs.push_back(Input::BlockArrived { conn: id, block });
            }
        }
        self.drain();
    }

    /// Hands what waits to the system.
    pub(super) fn send(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.writable || conn.outbox.is_empty() || conn.dialling.is_some() {
            return;
        }
        match conn.outbox.flush(&mut conn.stream, QUOTA) {
            Ok(flushed) => {
                conn.writable = !flushed.full;
                if flushed.bytes > 0 {
                    conn.pace.took(Instant::now());
                }
                self.weigh(id);
                for block in flushed.blocks {
                    self.inputs.push_back(Input::BlockSent { conn: id, block });
                }
                self.drain();
            }
            Err(error) => {
                tracing::debug!(%error, %id, "the connection is over");
                self.gone(id);
            }
        }
    }
}
