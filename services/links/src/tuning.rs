//! What is asked of the system for every connection. Each request is a wish: where the system does
//! not know it, the connection works all the same.

use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;
use tokio::net::TcpStream;

/// Bytes that the system takes beyond what the network can carry away now. What is handed to it
/// counts as sent, so a slow reader must not look like a fast one; at 100 Gbit/s it lasts for 40
/// µs, which is longer than it takes to wake who sends. What is on its way unacknowledged comes on
/// top, and has no bound but the system's own: it follows rate and distance.
const UNSENT: u32 = 512 * 1024;
/// What was sent and is not acknowledged for so long ends the connection: the other host is dead,
/// or the way to it.
const UNHEARD: Duration = Duration::from_secs(10);
/// An idle connection is looked at after so long, and then each time after so long again.
const IDLE: Duration = Duration::from_secs(5);
/// Looks in vain before the connection ends.
const LOOKS: u32 = 3;

/// Tunes a connection.
pub(crate) fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let idle = TcpKeepalive::new().with_time(IDLE).with_interval(IDLE).with_retries(LOOKS);
    let mut wishes = vec![
        // Small frames are put together here, not by the system.
        ("TCP_NODELAY", socket.set_tcp_nodelay(true)),
        ("SO_KEEPALIVE", socket.set_tcp_keepalive(&idle)),
    ];
    #[cfg(target_os = "linux")]
    wishes.extend([
        ("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(Some(UNHEARD))),
        ("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(UNSENT)),
    ]);
    for (wish, granted) in wishes {
        if let Err(error) = granted {
            tracing::debug!(wish, %error, "the system does not grant it");
        }
    }
}

/// Ends a connection for whoever waits on it, here and at the other end.
pub(crate) fn cut(stream: &TcpStream) {
    // It may be over already.
    let _ = SockRef::from(stream).shutdown(std::net::Shutdown::Both);
}
