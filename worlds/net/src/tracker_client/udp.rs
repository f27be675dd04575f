//! Announces over UDP (BEP 15, BEP 41): requests that are sent again until they are answered, and
//! connection ids that are remembered for as long as they are good. It has no socket: it is given
//! what the shared sockets received, and sends through them.

use crate::datagrams::DatagramSender;
use dunlin_tracker::udp::{UdpReply, announce_request, connect_request, parse_reply};
use dunlin_tracker::{AnnounceFailure, AnnounceReply, AnnounceRequest, TrackerUrl};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// How long a connection id is used (BEP 15).
const ID_LIFETIME: Duration = Duration::from_secs(60);
/// Trackers whose connection id is remembered.
const MAX_IDS: usize = 1000;

/// Sends announces over UDP, and receives their replies.
pub(super) struct UdpClient {
    sender: Arc<dyn DatagramSender>,
    /// Requests without a reply, by their transaction id.
    pending: RefCell<BTreeMap<u32, PendingRequest>>,
    /// Connection ids, and when they came.
    ids: RefCell<BTreeMap<SocketAddr, (u64, Instant)>>,
}

impl UdpClient {
    pub(super) fn new(sender: Arc<dyn DatagramSender>) -> UdpClient {
        UdpClient { sender, pending: RefCell::default(), ids: RefCell::default() }
    }

    /// Announces until the tracker answers: the first packet is repeated after `again`, and then
    /// each time after twice as long. The caller sets the end.
    pub(super) async fn announce(
        &self,
        url: &TrackerUrl,
        ip: IpAddr,
        request: &AnnounceRequest,
        again: Duration,
    ) -> Result<AnnounceReply, AnnounceFailure> {
        let failed = |error: io::Error| {
            let why = format!("cannot send to {}: {error}", url.authority());
            AnnounceFailure::Unreachable(why)
        };
        let to = SocketAddr::new(ip, url.port());
        let target = if url.target() == "/" { "" } else { url.target() };
        let mut wait = again;
        loop {
            let reply = match self.id(to) {
                None => self.request(to, Action::Connect, wait, connect_request).await,
                Some(id) => {
                    let write = |transaction| announce_request(id, transaction, request, target);
                    self.request(to, Action::Announce, wait, write).await
                }
            };
            match reply.map_err(failed)? {
                Some(UdpReply::Connected(id)) => self.remember(to, id),
                Some(UdpReply::Announced(reply)) => return Ok(*reply),
                Some(UdpReply::Refused(reason)) => {
                    self.forget(to);
                    return Err(AnnounceFailure::Refused { reason, retry: None });
                }
                Some(UdpReply::Scraped(_)) => {}
                None => {
                    // The packet was lost, or the tracker has forgotten the id: a new one helps in
                    // both cases.
                    self.forget(to);
                    wait *= 2;
                }
            }
        }
    }

    /// Receives a datagram: the reply to a pending request, or nothing that was asked for.
    pub(super) fn receive(&self, from: SocketAddr, datagram: &[u8]) {
        let Some((transaction, reply)) = parse_reply(datagram, from.is_ipv6()) else { return };
        let mut pending = self.pending.borrow_mut();
        let answers = |request: &PendingRequest| {
            request.to.ip() == from.ip()
                && request.to.port() == from.port()
                && request.action.is_answered_by(&reply)
        };
        if pending.get(&transaction).is_some_and(answers)
            && let Some(request) = pending.remove(&transaction)
        {
            // The announce may have been given up just now.
            let _ = request.reply.send(reply);
        }
    }

    fn id(&self, to: SocketAddr) -> Option<u64> {
        let ids = self.ids.borrow();
        let (id, since) = ids.get(&to)?;
        (since.elapsed() < ID_LIFETIME).then_some(*id)
    }

    fn remember(&self, to: SocketAddr, id: u64) {
        let mut ids = self.ids.borrow_mut();
        if ids.len() >= MAX_IDS {
            ids.retain(|_, (_, since)| since.elapsed() < ID_LIFETIME);
        }
        if ids.len() >= MAX_IDS {
            ids.pop_first();
        }
        ids.insert(to, (id, Instant::now()));
    }

    fn forget(&self, to: SocketAddr) {
        self.ids.borrow_mut().remove(&to);
    }

    /// Sends one packet under a transaction id that nobody can guess, and waits for its reply;
    /// `None` if none comes in time.
    async fn request(
        &self,
        to: SocketAddr,
        action: Action,
        wait: Duration,
        write: impl FnOnce(u32) -> Vec<u8>,
    ) -> io::Result<Option<UdpReply>> {
        let transaction = getrandom::u32()?;
        let (reply, replied) = oneshot::channel();
        let request = PendingRequest { to, action, reply };
        self.pending.borrow_mut().insert(transaction, request);
        let _guard = PendingGuard { transaction, client: self };
        self.sender.send_to(&write(transaction), to)?;
        Ok(timeout(wait, replied).await.ok().and_then(Result::ok))
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Connect,
    Announce,
}

impl Action {
    fn is_answered_by(self, reply: &UdpReply) -> bool {
        match reply {
            UdpReply::Connected(_) => self == Action::Connect,
            UdpReply::Announced(_) => self == Action::Announce,
            UdpReply::Refused(_) => true,
            UdpReply::Scraped(_) => false,
        }
    }
}

/// A request without a reply: the reply must come from `to`, and be one to `action`.
struct PendingRequest {
    to: SocketAddr,
    action: Action,
    reply: oneshot::Sender<UdpReply>,
}

/// Removes a request when nobody waits for its reply any more.
struct PendingGuard<'a> {
    transaction: u32,
    client: &'a UdpClient,
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        self.client.pending.borrow_mut().remove(&self.transaction);
    }
}
