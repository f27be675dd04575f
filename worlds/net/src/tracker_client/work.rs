//! The thread `trackers`: takes announces, runs a bounded number of them at a time, each over every
//! family of addresses that reaches the tracker, and answers each once, whatever happens.

use super::answer::merge;
use super::hosts::Hosts;
use super::http::HttpClient;
use super::udp::UdpClient;
use super::{AnnounceResult, Datagram, Job, Reply, Told, TrackerConfig, TrackerTimeouts};
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

/// How long the answer over one family waits for the one over the other, so that both can be told as
/// one.
const SECOND_FAMILY: Duration = Duration::from_secs(3);

/// What the thread begins with: everything that may be wrong is made before it.
pub(super) struct Tools {
    bind: Bind,
    http: HttpClient,
    udp: UdpClient,
    received: mpsc::Receiver<Datagram>,
    timeouts: TrackerTimeouts,
    at_once: usize,
}

impl Tools {
    pub(super) fn new(
        config: TrackerConfig,
        sender: Arc<dyn DatagramSender>,
        received: mpsc::Receiver<Datagram>,
    ) -> io::Result<Tools> {
        let TrackerConfig { bind, user_agent, timeouts, at_once, roots } = config;
        let http = HttpClient::new(bind.clone(), &user_agent, timeouts.silent, roots)?;
        let udp = UdpClient::new(sender);
        Ok(Tools { bind, http, udp, received, timeouts, at_once: at_once.max(1) })
    }
}

/// What all announces share.
struct Worker {
    hosts: Hosts,
    http: HttpClient,
    udp: UdpClient,
    timeouts: TrackerTimeouts,
}

/// Runs until it is told to finish.
pub(super) fn run(runtime: Runtime, tools: Tools, told: mpsc::UnboundedReceiver<Told>) {
    LocalSet::new().block_on(&runtime, serve(tools, told));
    // A resolver that hangs must not hold us.
    runtime.shutdown_background();
}

async fn serve(tools: Tools, mut told: mpsc::UnboundedReceiver<Told>) {
    let Tools { bind, http, udp, mut received, timeouts, at_once } = tools;
    let turns = Rc::new(Semaphore::new(at_once));
    let worker = Rc::new(Worker { hosts: Hosts::new(bind), http, udp, timeouts });
    let receiver = worker.clone();
    // It ends with the runtime.
    tokio::task::spawn_local(async move {
        while let Some(Datagram { from, bytes }) = received.recv().await {
            receiver.udp.receive(from, &bytes);
        }
    });
    let mut jobs = JoinSet::new();
    let deadline = loop {
        match next_message(&mut told, &mut jobs).await {
            Some(Told::Announce(job)) => {
                jobs.spawn_local(answer(worker.clone(), turns.clone(), *job));
            }
            Some(Told::Finish(at)) => break Instant::from_std(at),
            None => break Instant::now(),
        }
    };
    told.close();
    let _ = timeout_at(deadline, async { while jobs.join_next().await.is_some() {} }).await;
    // Whoever is still at work is dropped here, and answers by that.
    jobs.shutdown().await;
    while let Ok(left) = told.try_recv() {
        if let Told::Announce(job) = left {
            (job.reply)(Err(over()));
        }
    }
}

/// The next message; `None` if none can come. What is left of announces that are done is dropped at once.
async fn next_message(
    told: &mut mpsc::UnboundedReceiver<Told>,
    jobs: &mut JoinSet<()>,
) -> Option<Told> {
    poll_fn(|context| {
        while let Poll::Ready(Some(_)) = jobs.poll_join_next(context) {}
        told.poll_recv(context)
    })
    .await
}

/// What is said when there is no time left for it.
pub(super) fn over() -> AnnounceFailure {
    AnnounceFailure::Unreachable("stopped before the tracker answered".to_owned())
}

/// A reply that is given when nobody else gives one.
struct Owed(Option<Reply>);

impl Owed {
    fn pay(mut self, result: AnnounceResult) {
        if let Some(reply) = self.0.take() {
            reply(result);
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Err(over()));
        }
    }
}

async fn answer(worker: Rc<Worker>, turns: Rc<Semaphore>, job: Job) {
    let Job { torrent, tracker, url, request, until, reply } = job;
    let owed = Owed(Some(reply));
    let whole = async {
        // It is never closed.
        let turn = turns.acquire().await;
        let result = attempt(&worker, &url, &request).await;
        drop(turn);
        result
    };
    let result = match until {
        Some(until) => timeout_at(until.into(), whole).await.unwrap_or_else(|_| Err(silence())),
        None => whole.await,
    };
    let failure = result.as_ref().err().map(ToString::to_string);
    tracing::debug!(%torrent, tracker = tracker.0, event = ?request.event, failure, "announced");
    owed.pay(result.map(Box::new));
}

fn silence() -> AnnounceFailure {
    AnnounceFailure::Unreachable("the tracker did not answer in time".to_owned())
}

async fn attempt(
    worker: &Rc<Worker>,
    url: &Arc<str>,
    request: &AnnounceRequest,
) -> Result<AnnounceReply, AnnounceFailure> {
    let url = TrackerUrl::parse(url);
    let url = url.map_err(|error| AnnounceFailure::Unsupported(error.to_string()))?;
    let usual = worker.timeouts.of(url.scheme(), request.event);
    let both = over_families(worker, &url, request, usual);
    timeout(usual, both).await.unwrap_or_else(|_| Err(silence()))
}

/// Over IPv4 and IPv6 at the same time, where the tracker has both and we can reach both (BEP 7).
async fn over_families(
    worker: &Rc<Worker>,
    url: &TrackerUrl,
    request: &AnnounceRequest,
    usual: Duration,
) -> Result<AnnounceReply, AnnounceFailure> {
    let ips = worker.hosts.find(url.host()).await?;
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
        let next = next.unwrap_or_else(|_| Err(over()));
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
    worker: &Worker,
    url: &TrackerUrl,
    ips: &[IpAddr],
    request: &AnnounceRequest,
    usual: Duration,
) -> Result<AnnounceReply, AnnounceFailure> {
    let (reply, ip) = match url.scheme() {
        Scheme::Http | Scheme::Https => {
            worker.http.announce(&worker.hosts, url, ips, request).await?
        }
        Scheme::Udp => {
            let Some(ip) = ips.first().copied() else { return Err(silence()) };
            let again = worker.timeouts.udp_again.min(usual / 3);
            (worker.udp.announce(url, ip, request, again).await?, ip)
        }
    };
    let named = worker.hosts.named(&reply.named_peers).await;
    Ok(super::answer::tidy(reply, named, ip))
}

impl TrackerTimeouts {
    /// How long an announce may take in all.
    fn of(&self, scheme: Scheme, event: AnnounceEvent) -> Duration {
        let usual = if scheme == Scheme::Udp { self.udp } else { self.http };
        if event == AnnounceEvent::Stopped { usual.min(self.stopped) } else { usual }
    }
}
