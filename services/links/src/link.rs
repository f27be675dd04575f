//! A sealed link over a TCP connection: one end that sends, one that receives, and one that cuts.
//! It decides nothing about what is sent, keeps no queue, and never makes a link anew.

use crate::handshake::{Keys, Remote};
use crate::seal::{AuthError, HEAD, Head, Opener, Sealer, TAG, TooLong};
use crate::tuning;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Bytes that are read at once while it is not known what comes. An idle link holds none of them:
/// rank 0 of a large job has ten thousand.
const READ_AHEAD: usize = 32 * 1024;
/// Bytes that are read at once behind a body: they are copied once more, so they are few.
const BEHIND: usize = 2 * 1024;
/// What a sender may keep allocated between frames, in bytes.
const KEEP: usize = 2 << 20;

/// Why a link is over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The system says so: the other host or the way to it.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The other end closed it between two frames.
    #[error("the other end closed the connection")]
    Closed,
    /// The other end closed it inside a frame.
    #[error("the connection ended inside a frame")]
    Torn,
    /// Nothing came for so long.
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    /// What came was not sealed by the other end, or not in its place.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Our own frame is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// A link whose other end has proved who it is.
#[derive(Debug)]
pub struct Link {
    /// Who is there.
    pub remote: Remote,
    /// Whether this side opened it.
    pub dialled: bool,
    /// The address of the other end.
    pub there: SocketAddr,
    /// Our own address, as the other end sees it unless somebody translates.
    pub here: SocketAddr,
    /// The end that sends.
    pub sender: LinkSender,
    /// The end that receives.
    pub receiver: LinkReceiver,
}

/// Sends frames.
#[derive(Debug)]
pub struct LinkSender {
    stream: Arc<TcpStream>,
    sealer: Sealer,
    /// Sealed and not yet handed to the system.
    out: Vec<u8>,
}

/// Receives frames.
#[derive(Debug)]
pub struct LinkReceiver {
    stream: Arc<TcpStream>,
    opener: Opener,
    /// What was read beyond what was asked for: `ahead[used..filled]` is not yet used. Empty, or
    /// [`READ_AHEAD`] long.
    ahead: Vec<u8>,
    used: usize,
    filled: usize,
    patience: Duration,
}

/// Ends a link from outside.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<TcpStream>);

impl Shutdown {
    /// Ends the link: the sender and the receiver here, and the other side, notice it at once.
    pub fn shutdown(&self) {
        tuning::cut(&self.0);
    }
}

impl Link {
    /// A link over a connection on which both sides have proved who they are. Who is silent for
    /// `patience` is taken for dead.
    pub(crate) fn new(
        stream: TcpStream,
        remote: Remote,
        keys: Keys,
        dialled: bool,
        patience: Duration,
    ) -> io::Result<Link> {
        let (there, here) = (stream.peer_addr()?, stream.local_addr()?);
        let stream = Arc::new(stream);
        let sender =
            LinkSender { stream: Arc::clone(&stream), sealer: keys.sealer, out: Vec::new() };
        let receiver = LinkReceiver {
            stream,
            opener: keys.opener,
            ahead: Vec::new(),
            used: 0,
            filled: 0,
            patience,
        };
        Ok(Link { remote, dialled, there, here, sender, receiver })
    }

    /// A handle that ends the link.
    #[must_use]
    pub fn shutdown_handle(&self) -> Shutdown {
        Shutdown(Arc::clone(&self.sender.stream))
    }
}

impl LinkSender {
    /// Seals a frame that holds `parts` one after another, and keeps it until
    /// [`LinkSender::flush`].
    ///
    /// # Errors
    /// If it is longer than [`crate::MAX_FRAME`].
    pub fn seal(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(), TooLong> {
        self.sealer.seal(kind, parts, &mut self.out)
    }

    /// Bytes that are sealed and wait for [`LinkSender::flush`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Hands everything to the system; it takes little more than the network carries away.
    ///
    /// # Errors
    /// If the connection is over. What was sealed is lost.
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        let mut sent = 0;
        while let Some(rest) = self.out.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.out.shrink_to(KEEP);
        Ok(())
    }
}

impl LinkReceiver {
    /// The head of the next frame. Nobody vouches for it until [`LinkReceiver::body`] has returned;
    /// it serves to choose where the body goes.
    ///
    /// # Errors
    /// If the link is over.
    pub async fn head(&mut self) -> Result<Head, LinkError> {
        while self.filled - self.used < HEAD {
            let begun = self.filled > self.used;
            if self.read(&mut []).await? == 0 {
                return Err(if begun { LinkError::Torn } else { LinkError::Closed });
            }
        }
        let mut head = [0; HEAD];
        self.take(&mut head);
        Ok(Head::read(head)?)
    }

    /// The body of the frame whose head has just come, into a place that is as long as it says.
    /// What stands there on an error means nothing.
    ///
    /// # Errors
    /// If the link is over.
    pub async fn body(&mut self, head: Head, body: &mut [u8]) -> Result<(), LinkError> {
        let mut done = self.take(body);
        while let Some(rest) = body.get_mut(done..).filter(|rest| !rest.is_empty()) {
            done += self.more(rest).await?;
        }
        let mut tag = [0; TAG];
        while self.filled - self.used < TAG {
            self.more(&mut []).await?;
        }
        self.take(&mut tag);
        Ok(self.opener.open(head, body, tag)?)
    }

    async fn more(&mut self, place: &mut [u8]) -> Result<usize, LinkError> {
        let wanted = place.len();
        let read = self.read(place).await?;
        if read == 0 { Err(LinkError::Torn) } else { Ok(read.min(wanted)) }
    }

    /// Reads something: into `place` first, and what comes behind that into `ahead`. 0 is the end.
    async fn read(&mut self, place: &mut [u8]) -> Result<usize, LinkError> {
        loop {
            match self.try_read(place) {
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.used == self.filled {
                        self.ahead = Vec::new();
                    }
                    let ready = tokio::time::timeout(self.patience, self.stream.readable()).await;
                    ready.map_err(|_| LinkError::Silent(self.patience))??;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn try_read(&mut self, place: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            self.ahead.resize(READ_AHEAD, 0);
        }
        // What is left is less than a head or a tag.
        self.ahead.copy_within(self.used..self.filled, 0);
        (self.filled, self.used) = (self.filled - self.used, 0);
        let wanted = place.len();
        let most = if wanted == 0 { READ_AHEAD } else { self.filled + BEHIND };
        let behind = self.ahead.get_mut(self.filled..most).unwrap_or_default();
        let mut both = [IoSliceMut::new(place), IoSliceMut::new(behind)];
        let parts = if wanted == 0 { both.get_mut(1..) } else { both.get_mut(..) };
        let bytes = self.stream.try_read_vectored(parts.unwrap_or_default())?;
        self.filled += bytes.saturating_sub(wanted);
        Ok(bytes)
    }

    /// Moves what was read ahead to `place`; how many bytes.
    fn take(&mut self, place: &mut [u8]) -> usize {
        let here = self.ahead.get(self.used..self.filled).unwrap_or_default();
        let bytes = here.len().min(place.len());
        if let (Some(to), Some(from)) = (place.get_mut(..bytes), here.get(..bytes)) {
            to.copy_from_slice(from);
        }
        self.used += bytes;
        bytes
    }
}
