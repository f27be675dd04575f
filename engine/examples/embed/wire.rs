//! A thread for each connection: it dials, and reads until the end.

use dunlin_base::{ConnId, Endpoint};
use dunlin_engine::io::SwarmInput;
use dunlin_wire::{Frame, Framer, FramerLimits, PieceMode};
use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

/// A dial, and a send to a peer that takes nothing, end after so long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a thread hands over.
pub(crate) enum Arrival {
    /// Nobody answers there.
    Failed(Endpoint),
    /// A connection, and its sending side.
    Dialled(ConnId, Endpoint, TcpStream),
    /// Something came; of a block its bytes, too.
    Input(ConnId, SwarmInput, Vec<u8>),
}

/// Dials a peer.
pub(crate) fn dial(remote: Endpoint, arrivals: SyncSender<Arrival>) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let conn = ConnId(NEXT.fetch_add(1, Ordering::Relaxed));
    thread::spawn(move || {
        let Endpoint::Socket(address) = remote else { return };
        let dialled = TcpStream::connect_timeout(&address, TIMEOUT).and_then(|stream| {
            stream.set_write_timeout(Some(TIMEOUT))?;
            Ok((stream.try_clone()?, stream))
        });
        // Nobody takes what arrives once the download is over.
        let _ = match dialled {
            Ok((sending, reading)) => arrivals
                .send(Arrival::Dialled(conn, remote, sending))
                .map(|()| read(conn, reading, &arrivals)),
            Err(error) => {
                eprintln!("{address}: {error}");
                arrivals.send(Arrival::Failed(remote))
            }
        };
    });
}

/// Hands over frames until the connection ends, or makes no sense any more.
fn read(conn: ConnId, mut stream: TcpStream, arrivals: &SyncSender<Arrival>) {
    let mut framer = Framer::new(FramerLimits::default(), PieceMode::Whole);
    let mut buffer = vec![0; 64 << 10];
    let hand_over = |input, data| arrivals.send(Arrival::Input(conn, input, data)).is_ok();
    loop {
        let length = stream.read(&mut buffer).unwrap_or(0);
        if length == 0 {
            hand_over(SwarmInput::Disconnected { conn }, Vec::new());
            return;
        }
        let mut bytes = &buffer[..length];
        loop {
            let (input, data) = match framer.next_frame(&mut bytes) {
                Ok(Some(Frame::Handshake(handshake))) => {
                    (SwarmInput::Handshake { conn, handshake }, Vec::new())
                }
                Ok(Some(Frame::Message(message))) => {
                    (SwarmInput::Message { conn, message }, Vec::new())
                }
                Ok(Some(Frame::Piece { range, data })) => {
                    (SwarmInput::BlockArrived { conn, block: range }, data.to_vec())
                }
                Ok(Some(Frame::PieceHeader { .. } | Frame::Payload { .. }) | None) => break,
                Err(_) => {
                    hand_over(SwarmInput::Malformed { conn }, Vec::new());
                    return;
                }
            };
            if !hand_over(input, data) {
                return;
            }
        }
    }
}
