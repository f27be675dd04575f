//! Announces over UDP (BEP 15, BEP 41): one socket a family, connection ids that are remembered for as
//! long as they are good, and packets that are sent again.

use crate::bind::Bind;
use dunlin_tracker::udp::{UdpReply, announce_request, connect_request, parse_reply};
use dunlin_tracker::{AnnounceFailure, AnnounceReply, AnnounceRequest, TrackerUrl};
use socket2::Type;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// How long a connection id is used (BEP 15).
const ID_LIFETIME: Duration = Duration::from_secs(60);
/// Trackers whose connection id is remembered.
const MAX_IDS: usize = 1000;
/// The longest packet that UDP carries.
const MAX_PACKET: usize = 65_535;
/// After a fault of the socket, so that one that never ends does not take a processor.
const FAULT_PAUSE: Duration = Duration::from_millis(50);

/// Speaks UDP to trackers.
pub(super) struct UdpClient {
    bind: Bind,
    four: RefCell<Option<Rc<Post>>>,
    six: RefCell<Option<Rc<Post>>>,
}

impl UdpClient {
    pub(super) fn new(bind: Bind) -> UdpClient {
        UdpClient { bind, four: RefCell::default(), six: RefCell::default() }
    }

    /// Announces until the tracker answers: the first packet is repeated after `again`, and then each
    /// time after twice as long. The caller sets the end.
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
        let post = self.post(ip).map_err(failed)?;
        let to = SocketAddr::new(ip, url.port());
        let target = if url.target() == "/" { "" } else { url.target() };
        let mut wait = again;
        loop {
            let reply = match post.id(to) {
                None => post.ask(to, Kind::Connect, wait, connect_request).await,
                Some(id) => {
                    let write = |number| announce_request(id, number, request, target);
                    post.ask(to, Kind::Announce, wait, write).await
                }
            };
            match reply.map_err(failed)? {
                Some(UdpReply::Connected(id)) => post.remember(to, id),
                Some(UdpReply::Announced(reply)) => return Ok(*reply),
                Some(UdpReply::Refused(reason)) => {
                    post.forget(to);
                    return Err(AnnounceFailure::Refused { reason, retry: None });
                }
                Some(UdpReply::Scraped(_)) => {}
                None => {
                    // The packet was lost, or the tracker has forgotten us: both are over with a new id.
                    post.forget(to);
                    wait *= 2;
                }
            }
        }
    }

    /// The socket of a family; it is made when it is needed first.
    fn post(&self, ip: IpAddr) -> io::Result<Rc<Post>> {
        let place = if ip.is_ipv4() { &self.four } else { &self.six };
        if let Some(post) = &*place.borrow() {
            return Ok(post.clone());
        }
        let post = Post::open(&self.bind, ip)?;
        place.replace(Some(post.clone()));
        Ok(post)
    }
}

/// What an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connect,
    Announce,
}

impl Kind {
    fn takes(self, reply: &UdpReply) -> bool {
        match reply {
            UdpReply::Connected(_) => self == Kind::Connect,
            UdpReply::Announced(_) => self == Kind::Announce,
            UdpReply::Refused(_) => true,
            UdpReply::Scraped(_) => false,
        }
    }
}

/// Who waits for an answer: it must come from there, and be of this kind.
struct Question {
    to: SocketAddr,
    kind: Kind,
    answer: oneshot::Sender<UdpReply>,
}

/// Questions by their number.
type Questions = Rc<RefCell<BTreeMap<u32, Question>>>;

/// A socket and who waits at it.
struct Post {
    socket: Rc<UdpSocket>,
    open: Questions,
    ids: RefCell<BTreeMap<SocketAddr, (u64, Instant)>>,
    reader: AbortHandle,
}

impl Drop for Post {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Post {
    fn open(bind: &Bind, family: IpAddr) -> io::Result<Rc<Post>> {
        let socket = bind.socket(family, Type::DGRAM)?;
        let socket = Rc::new(UdpSocket::from_std(socket.into())?);
        let open = Questions::default();
        let reader = tokio::task::spawn_local(read(socket.clone(), open.clone(), family.is_ipv6()));
        let reader = reader.abort_handle();
        Ok(Rc::new(Post { socket, open, ids: RefCell::default(), reader }))
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

    /// Sends one packet under a number that nobody can guess, and waits for its answer.
    async fn ask(
        &self,
        to: SocketAddr,
        kind: Kind,
        wait: Duration,
        write: impl FnOnce(u32) -> Vec<u8>,
    ) -> io::Result<Option<UdpReply>> {
        let number = getrandom::u32()?;
        let (answer, answered) = oneshot::channel();
        self.open.borrow_mut().insert(number, Question { to, kind, answer });
        let _open = Open { number, open: &self.open };
        self.socket.send_to(&write(number), to).await?;
        Ok(timeout(wait, answered).await.ok().and_then(Result::ok))
    }
}

/// Takes the question away when nobody waits for its answer any more.
struct Open<'a> {
    number: u32,
    open: &'a Questions,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.open.borrow_mut().remove(&self.number);
    }
}

/// Reads answers, and drops what nobody asked for.
async fn read(socket: Rc<UdpSocket>, open: Questions, v6: bool) {
    let mut packet = vec![0; MAX_PACKET];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut packet).await else {
            sleep(FAULT_PAUSE).await;
            continue;
        };
        let packet = packet.get(..len).unwrap_or_default();
        let Some((number, reply)) = parse_reply(packet, v6) else { continue };
        let mut open = open.borrow_mut();
        let fits = |question: &Question| {
            question.to.ip() == from.ip()
                && question.to.port() == from.port()
                && question.kind.takes(&reply)
        };
        if open.get(&number).is_some_and(fits)
            && let Some(question) = open.remove(&number)
        {
            // Who asked may have given up just now.
            let _ = question.answer.send(reply);
        }
    }
}
