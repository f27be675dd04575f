//! The thread `trackers`: takes announces, runs a bounded number of them at a time, each over every
//! family of addresses that reaches the tracker, and answers each once, whatever happens.

use super::http::HttpClient;
use super::replies::merge;
use super::resolver::Resolver;
use super::udp::UdpClient;
use super::{
    AnnounceJob, AnnounceResult, ClientMessage, Datagram, ReplyFn, TrackerConfig, TrackerTimeouts,
};
use crate::bind::Bind;
use crate::datagrams::DatagramSender;
use dunlin_tracker::{
    AnnounceEvent, AnnounceFailure, AnnounceReply, AnnounceRequest, Scheme, TrackerUrl,
};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, timeout, timeout_at};

/// How long the answer over one family waits for the one over the other, so that both are returned
/// as one.
const SECOND_FAMILY: Duration = Duration::from_secs(3);

/// What the thread begins with: everything that may be wrong is made before it.
pub(super) struct ClientSetup {
    bind: Bind,
    http: HttpClient,
    udp: UdpClient,
    received: mpsc::Receiver<Datagram>,
    timeouts: TrackerTimeouts,
    at_once: usize,
}

impl ClientSetup {
    pub(super) fn new(
        config: TrackerConfig,
        sender: Arc<dyn DatagramSender>,
        received: mpsc::Receiver<Datagram>,
    ) -> io::Result<ClientSetup> {
        let TrackerConfig { bind, user_agent, timeouts, at_once, roots } = config;
        let http = HttpClient::new(bind.clone(), &user_agent, timeouts.silent, roots)?;
        let udp = UdpClient::new(sender);
        Ok(ClientSetup { bind, http, udp, received, timeouts, at_once: at_once.max(1) })
    }
}

/// What all announces share.
struct TrackerWorker {
    resolver: Resolver,
    http: HttpClient,
    udp: UdpClient,
    timeouts: TrackerTimeouts,
}

/// Runs until it is to finish.
pub(super) fn run(
    runtime: Runtime,
    setup: ClientSetup,
    messages: mpsc::UnboundedReceiver<ClientMessage>,
) {
    LocalSet::new().block_on(&runtime, serve(setup, messages));
    // A look-up that hangs must not delay the end.
    runtime.shutdown_background();
}

async fn serve(setup: ClientSetup, mut messages: mpsc::UnboundedReceiver<ClientMessage>) {
    let ClientSetup { bind, http, udp, mut received, timeouts, at_once } = setup;
    let turns = Rc::new(Semaphore::new(at_once));
    let worker = Rc::new(TrackerWorker { resolver: Resolver::new(bind), http, udp, timeouts });
    let receiver = worker.clone();
    // It ends with the runtime.
    tokio::task::spawn_local(async move {
        while let Some(Datagram { from, bytes }) = received.recv().await {
            receiver.udp.receive(from, &bytes);
        }
    });
    let mut jobs = JoinSet::new();
    let deadline = loop {
        match next_message(&mut messages, &mut jobs).await {
            Some(ClientMessage::Announce(job)) => {
                jobs.spawn_local(answer(worker.clone(), turns.clone(), *job));
            }
            Some(ClientMessage::Finish(at)) => break Instant::from_std(at),
            None => break Instant::now(),
        }
    };
    messages.close();
    let _ = timeout_at(deadline, async { while jobs.join_next().await.is_some() {} }).await;
    // Announces under way are dropped here, and reply by that.
    jobs.shutdown().await;
    while let Ok(left) = messages.try_recv() {
        if let ClientMessage::Announce(job) = left {
            (job.reply)(Err(ended_early()));
        }
    }
}

/// The next message; `None` if none can come. What is left of announces that are done is dropped at
/// once.
async fn next_message(
    messages: &mut mpsc::UnboundedReceiver<ClientMessage>,
    jobs: &mut JoinSet<()>,
) -> Option<ClientMessage> {
    poll_fn(|context| {
        while let Poll::Ready(Some(_)) = jobs.poll_join_next(context) {}
        messages.poll_recv(context)
    })
    .await
}

/// The failure of an announce that is given up because the client ends.
pub(super) fn ended_early() -> AnnounceFailure {
    AnnounceFailure::Unreachable("stopped before the tracker answered".to_owned())
}

/// A reply that is sent as a failure if it is dropped unsent.
struct PendingReply(Option<ReplyFn>);

impl PendingReply {
    fn send(mut self, result: AnnounceResult) {
        if let Some(reply) = self.0.take() {
            reply(result);
        }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Err(ended_early()));
        }
    }
}

async fn answer(worker: Rc<TrackerWorker>, turns: Rc<Semaphore>, job: AnnounceJob) {
    let AnnounceJob { torrent, tracker, url, request, until, reply } = job;
    let pending = PendingReply(Some(reply));
    let whole = async {
        // It is never closed.
        let turn = turns.acquire().await;
        let result = attempt(&worker, &url, &request).await;
        drop(turn);
        result
    };
    let result = match until {
        Some(until) => timeout_at(until.into(), whole).await.unwrap_or_else(|_| Err(timed_out())),
        None => whole.await,
    };
    let failure = result.as_ref().err().map(ToString::to_string);
    tracing::debug!(%torrent, tracker = tracker.0, event = ?request.event, failure, "announced");
    pending.send(result.map(Box::new));
}

fn timed_out() -> AnnounceFailure {
    AnnounceFailure::Unreachable("the tracker did not answer in time".to_owned())
}

async fn attempt(
    worker: &Rc<TrackerWorker>,
    url: &Arc<str>,
    request: &AnnounceRequest,
) -> Result<AnnounceReply, AnnounceFailure> {
    let url = TrackerUrl::parse(url);
    let url = url.map_err(|error| AnnounceFailure::Unsupported(error.to_string()))?;
    let usual = worker.timeouts.of(url.scheme(), request.event);
    let both = over_families(worker, &url, request, usual);
    timeout(usual, both).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Over IPv4 and IPv6 at the same time, where the tracker has both and we can reach both (BEP 7).
async fn over_families(
    worker: &Rc<TrackerWorker>,
    url: &TrackerUrl,
    request: &AnnounceRequest,
    usual: Duration,
) -> Result<AnnounceReply, AnnounceFailure> {
    let ips = worker.resolver.resolve(url.host()).await?;
    for ip in &ips {
        url.check_host(*ip).map_err(|error| AnnounceFailure::Unsupported(error.to_string()))?;
    }
    let (four, six): (Vec<IpAddr>, Vec<IpAddr>) = ips.into_iter().partition(IpAddr::is_ipv4);
    let mut ways = JoinSet::new();
    for ips in [four, six].into_iter().filter(|ips| !ips.is_empty()) {
        let (worker, url, request) = (worker.clone(), url.clone(), request.clone());
        ways.spawn_local(async move { over_one(&worker, &url, &ips, &request, usual).await });
    }
    let mut found = None;
    loop {
        let next = match &found {
            Some(Ok(_)) => timeout(SECOND_FAMILY, ways.join_next()).await.unwrap_or(None),
            _ => ways.join_next().await,
        };
        let Some(next) = next else { break };
        let next = next.unwrap_or_else(|_| Err(ended_early()));
        found = Some(match found {
            Some(found) => merge(found, next),
            None => next,
        });
    }
    found.unwrap_or_else(|| {
        let why = format!("`{}` has no address that we can reach from ours", url.host());
        Err(AnnounceFailure::Unreachable(why))
    })
}

async fn over_one(
    worker: &TrackerWorker,
    url: &TrackerUrl,
    ips: &[IpAddr],
    request: &AnnounceRequest,
    usual: Duration,
) -> Result<AnnounceReply, AnnounceFailure> {
    let (reply, ip) = match url.scheme() {
        Scheme::Http | Scheme::Https => {
            worker.http.announce(&worker.resolver, url, ips, request).await?
        }
        Scheme::Udp => {
            let Some(ip) = ips.first().copied() else { return Err(timed_out()) };
            let again = worker.timeouts.udp_again.min(usual / 3);
            (worker.udp.announce(url, ip, request, again).await?, ip)
        }
    };
    let named = worker.resolver.resolve_peers(&reply.named_peers).await;
    Ok(super::replies::add_named_peers(reply, named, ip))
}

impl TrackerTimeouts {
    /// How long an announce may take in all.
    fn of(&self, scheme: Scheme, event: AnnounceEvent) -> Duration {
        let usual = if scheme == Scheme::Udp { self.udp } else { self.http };
        if event == AnnounceEvent::Stopped { usual.min(self.stopped) } else { usual }
    }
}
