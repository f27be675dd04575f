//! A line to a process: a socket that the system closes while the process dies, before its parent
//! gets to know of the death.
//!
//! A launcher sees a death by a descriptor that closes, and kills all other ranks at once. On a
//! busy host they may be gone before the first one is: by the order of their ends it was not the
//! first. Descriptors have an order of their own: Linux queues those of a dying process and closes
//! the highest first, and this one is opened after those of the launcher. So the other end of a
//! line closes before the launcher sees the death. See unix(7) for the names.

use super::Neighbour;
use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    sockopt::socket_peercred,
};
use rustix::process::getuid;
use std::io;
use std::sync::OnceLock;

/// This process's end of all lines to it, open as long as the process lives. No connection is ever
/// accepted: one that waits is closed all the same.
static END: OnceLock<Option<OwnedFd>> = OnceLock::new();

/// From now on others can have a line to this process.
pub(super) fn begin(me: &Neighbour) {
    END.get_or_init(|| match serve(me) {
        Ok(end) => Some(end),
        Err(error) => {
            tracing::debug!(%error, "there is no line to this process");
            None
        }
    });
}

pub(super) fn serve(me: &Neighbour) -> io::Result<OwnedFd> {
    let end = socket()?;
    bind(&end, &name(me)?)?;
    // As many as the system allows.
    listen(&end, i32::MAX)?;
    Ok(end)
}

/// A descriptor that can be read once the process dies.
pub(super) fn to(one: &Neighbour) -> io::Result<OwnedFd> {
    let line = socket()?;
    connect(&line, &name(one)?)?;
    // Any process may bind a name.
    let peer = socket_peercred(&line)?;
    let same = u32::try_from(peer.pid.as_raw_nonzero().get()) == Ok(one.pid);
    if same && peer.uid == getuid() {
        Ok(line)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Never waits: a process with too many lines already gets no more.
fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// A name that stands in no folder, and goes with the process.
fn name(one: &Neighbour) -> io::Result<SocketAddrUnix> {
    let (user, Neighbour { pid, started, .. }) = (getuid().as_raw(), one);
    let name = format!("dunlin-line-{user}-{pid}-{started}");
    Ok(SocketAddrUnix::new_abstract_name(name.as_bytes())?)
}
