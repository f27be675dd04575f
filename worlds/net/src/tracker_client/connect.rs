//! Connections to trackers: TCP from the address or interface that was given, and TLS over it.

use crate::bind::Bind;
use socket2::Type;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Bytes that are read for one answer: its head, its body, and as much again for how it is cut up.
const MAX_READ: usize = 3 << 20;

/// Which certificates are trusted.
#[derive(Clone)]
pub(super) struct TlsTrust(TlsConnector);

impl TlsTrust {
    /// The authorities that browsers trust, and those in `more`, in DER.
    ///
    /// # Errors
    /// If one of `more` is no certificate.
    pub(super) fn new(more: Vec<Vec<u8>>) -> io::Result<TlsTrust> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for root in more {
            roots.add(CertificateDer::from(root)).map_err(io::Error::other)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsTrust(TlsConnector::from(Arc::new(config))))
    }
}

/// A connection, with TLS or without, from which a bounded number of bytes is read: what a tracker
/// sends before its answer (`100 Continue`, again and again) and around it (chunks of a byte)
/// counts as well.
pub(super) struct TrackerStream {
    transport: Transport,
    /// Bytes that may still be read.
    left: usize,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl TrackerStream {
    /// A connection without TLS.
    pub(super) fn plain(stream: TcpStream) -> TrackerStream {
        TrackerStream { transport: Transport::Plain(stream), left: MAX_READ }
    }
}

/// Connects to the first of `ips` that answers. Each step may take `silent`.
pub(super) async fn connect(
    bind: &Bind,
    ips: &[IpAddr],
    port: u16,
    silent: Duration,
) -> io::Result<(TcpStream, IpAddr)> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for ip in ips {
        let at = SocketAddr::new(*ip, port);
        let attempt = async {
            let socket = bind.socket(*ip, Type::STREAM)?;
            TcpSocket::from_std_stream(socket.into()).connect(at).await
        };
        match timeout(silent, attempt).await {
            Ok(Ok(stream)) => return Ok((stream, *ip)),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}

/// Starts TLS with the host of this name.
pub(super) async fn start_tls(
    trust: &TlsTrust,
    host: &str,
    stream: TcpStream,
    silent: Duration,
) -> io::Result<TrackerStream> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let tls = timeout(silent, trust.0.connect(name, stream)).await;
    let tls = tls.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(TrackerStream { transport: Transport::Tls(Box::new(tls)), left: MAX_READ })
}

impl AsyncRead for TrackerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let TrackerStream { transport, left } = self.get_mut();
        let before = into.filled().len();
        let read = match transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, into),
        };
        match left.checked_sub(into.filled().len() - before) {
            Some(rest) => *left = rest,
            None => {
                let why = format!("it sends more than {MAX_READ} bytes for one answer");
                return Poll::Ready(Err(io::Error::other(why)));
            }
        }
        read
    }
}

impl AsyncWrite for TrackerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
