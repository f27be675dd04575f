//! Announces over HTTP and HTTPS: one connection each, with limits on time, size and redirects.

use super::connect::{TlsTrust, TrackerStream, connect, start_tls};
use super::redirect::{self, MAX_REDIRECTS};
use super::resolver::Resolver;
use crate::bind::Bind;
use dunlin_tracker::http::{MAX_BODY, announce_query, read_announce};
use dunlin_tracker::{AnnounceFailure, AnnounceReply, AnnounceRequest, Scheme, TrackerUrl};
use flate2::read::MultiGzDecoder;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, HeaderName, HeaderValue, LOCATION,
    USER_AGENT,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Headers of an answer.
const MAX_HEADERS: usize = 100;
/// Characters of the user agent.
const MAX_AGENT: usize = 100;

/// Speaks HTTP to trackers.
pub(super) struct HttpClient {
    bind: Bind,
    agent: HeaderValue,
    silent: Duration,
    trust: TlsTrust,
}

impl HttpClient {
    pub(super) fn new(
        bind: Bind,
        agent: &str,
        silent: Duration,
        roots: Vec<Vec<u8>>,
    ) -> io::Result<HttpClient> {
        let shown = |c: &char| c.is_ascii_graphic() || *c == ' ';
        let agent: String = agent.chars().filter(shown).take(MAX_AGENT).collect();
        let agent = HeaderValue::from_str(&agent).map_err(io::Error::other)?;
        Ok(HttpClient { bind, agent, silent, trust: TlsTrust::new(roots)? })
    }

    /// Announces to `url` at one of `ips`; also says which address answered in the end.
    pub(super) async fn announce(
        &self,
        resolver: &Resolver,
        url: &TrackerUrl,
        ips: &[IpAddr],
        request: &AnnounceRequest,
    ) -> Result<(AnnounceReply, IpAddr), AnnounceFailure> {
        let (mut url, mut ips) = (url.clone(), ips.to_vec());
        let mut target = url.target_with(&announce_query(request));
        for _ in 0..=MAX_REDIRECTS {
            let mut tasks = JoinSet::new();
            let (answer, ip) = self.ask(&mut tasks, &url, &ips, &target).await?;
            let Some(location) = location(&answer)? else {
                return Ok((self.read(answer).await?, ip));
            };
            let v4 = ip.is_ipv4();
            (url, target) = redirect::next(&url, &target, &location)?;
            ips = resolver.resolve(url.host()).await?;
            ips.retain(|ip| ip.is_ipv4() == v4);
            redirect::check(ip, &url, &ips)?;
        }
        let why = format!("the tracker redirects more than {MAX_REDIRECTS} times");
        Err(AnnounceFailure::Unreachable(why))
    }

    /// Sends one request and waits for the head of its answer. The connection lives in `tasks`.
    async fn ask(
        &self,
        tasks: &mut JoinSet<()>,
        url: &TrackerUrl,
        ips: &[IpAddr],
        target: &str,
    ) -> Result<(Response<Incoming>, IpAddr), AnnounceFailure> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            AnnounceFailure::Unreachable(format!("cannot {what} {}: {error}", url.authority()))
        };
        let (stream, ip) = connect(&self.bind, ips, url.port(), self.silent)
            .await
            .map_err(|error| failed("connect to", &error))?;
        let stream = match url.scheme() {
            Scheme::Https => start_tls(&self.trust, url.host(), stream, self.silent)
                .await
                .map_err(|error| failed("agree on TLS with", &error))?,
            _ => TrackerStream::plain(stream),
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS).title_case_headers(true);
        builder.ignore_invalid_headers_in_responses(true);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| failed("ask", &error))?;
        tasks.spawn_local(async move {
            // The request that waits for the answer gets the error.
            let _ = connection.await;
        });
        let request = self.request(url, target).map_err(|error| failed("ask", &error))?;
        let answer = timeout(self.silent, sender.send_request(request)).await;
        let answer = answer.map_err(|_| failed("ask", &"no answer"))?;
        Ok((answer.map_err(|error| failed("ask", &Causes(&error)))?, ip))
    }

    fn request(
        &self,
        url: &TrackerUrl,
        target: &str,
    ) -> Result<Request<String>, hyper::http::Error> {
        let close = HeaderValue::from_static("close");
        let gzip = HeaderValue::from_static("gzip");
        let host = HeaderValue::from_str(&url.authority())?;
        let headers: [(HeaderName, HeaderValue); 4] = [
            (HOST, host),
            (USER_AGENT, self.agent.clone()),
            (ACCEPT_ENCODING, gzip),
            (CONNECTION, close),
        ];
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(String::new())
    }

    /// Reads the body, and what it says.
    async fn read(&self, answer: Response<Incoming>) -> Result<AnnounceReply, AnnounceFailure> {
        let status = answer.status();
        let encoding = answer.headers().get(CONTENT_ENCODING).cloned();
        let body = self.body(answer.into_body()).await?;
        let body = unpack(body, encoding.as_ref())?;
        let read = read_announce(&body);
        match (&read, status) {
            // The tracker's own message says more than the status.
            (_, StatusCode::OK) | (Err(AnnounceFailure::Refused { .. }), _) => read,
            _ => Err(AnnounceFailure::Unreachable(format!("the tracker answers {status}"))),
        }
    }

    async fn body(&self, body: Incoming) -> Result<Vec<u8>, AnnounceFailure> {
        let mut body = pin!(body);
        let mut bytes = Vec::new();
        loop {
            let next = poll_fn(|context| body.as_mut().poll_frame(context));
            let frame = timeout(self.silent, next).await.map_err(|_| {
                AnnounceFailure::Unreachable(
                    "the tracker's answer stopped in its middle".to_owned(),
                )
            })?;
            let Some(frame) = frame else { return Ok(bytes) };
            let frame = frame.map_err(|error| {
                let why = format!("the tracker's answer broke off: {}", Causes(&error));
                AnnounceFailure::Unreachable(why)
            })?;
            if let Some(data) = frame.data_ref() {
                if bytes.len() + data.len() > MAX_BODY {
                    return Err(too_long());
                }
                bytes.extend_from_slice(data);
            }
        }
    }
}

fn too_long() -> AnnounceFailure {
    AnnounceFailure::Malformed(format!("it has more than {MAX_BODY} bytes"))
}

/// Where an answer leads, if it leads elsewhere.
fn location(answer: &Response<Incoming>) -> Result<Option<String>, AnnounceFailure> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let why = || AnnounceFailure::Malformed("a redirect without an address".to_owned());
    location.map(|location| Some(location.to_owned())).ok_or_else(why)
}

/// Unpacks a body, at most to the size that an open one may have.
fn unpack(body: Vec<u8>, encoding: Option<&HeaderValue>) -> Result<Vec<u8>, AnnounceFailure> {
    let word = encoding.map_or(&b""[..], |value| value.as_bytes()).to_ascii_lowercase();
    match word.trim_ascii() {
        b"" | b"identity" => Ok(body),
        b"gzip" | b"x-gzip" => {
            let mut open = Vec::new();
            let packed = MultiGzDecoder::new(body.as_slice());
            let read = packed.take(MAX_BODY as u64 + 1).read_to_end(&mut open);
            read.map_err(|error| {
                AnnounceFailure::Malformed(format!("its gzip is broken: {error}"))
            })?;
            if open.len() > MAX_BODY { Err(too_long()) } else { Ok(open) }
        }
        _ => {
            Err(AnnounceFailure::Malformed("it is packed in a way that we did not ask for".into()))
        }
    }
}

/// An error with what caused it.
struct Causes<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut error = Some(self.0);
        let mut first = true;
        while let Some(cause) = error {
            write!(f, "{}{cause}", if first { "" } else { ": " })?;
            first = false;
            error = cause.source();
        }
        Ok(())
    }
}
