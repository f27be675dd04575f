//! Names of hosts, looked up by the system's resolver on threads of their own, and remembered for a
//! while. Which name servers are asked is the system's configuration.

use crate::bind::Bind;
use dunlin_tracker::AnnounceFailure;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long an address is used without a new look-up. The system does not say how long it is valid;
/// trackers move rarely, and one that has moved is found after this.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Names that are remembered.
const MAX_NAMES: usize = 1000;
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// Peers that a tracker gives by name, of which so many are looked up.
const MAX_NAMED: usize = 10;
/// How long looking up peers may keep the rest of the answer waiting.
const NAMED_WAIT: Duration = Duration::from_secs(3);

/// Looks up names.
pub(super) struct Resolver {
    bind: Bind,
    known: RefCell<BTreeMap<String, (Instant, Vec<IpAddr>)>>,
}

impl Resolver {
    pub(super) fn new(bind: Bind) -> Resolver {
        Resolver { bind, known: RefCell::default() }
    }

    /// The addresses of a host that can be reached from ours, in the system's order.
    pub(super) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, AnnounceFailure> {
        let mut ips = match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => self.look_up(host).await?,
        };
        ips.retain(|ip| self.bind.reaches(*ip));
        Ok(ips)
    }

    async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, AnnounceFailure> {
        if let Some((until, ips)) = self.known.borrow().get(host)
            && *until > Instant::now()
        {
            return Ok(ips.clone());
        }
        let name = host.to_owned();
        let found = tokio::task::spawn_blocking(move || {
            (name.as_str(), 0).to_socket_addrs().map(|found| {
                let mut ips: Vec<IpAddr> = Vec::new();
                for ip in found.map(|at| at.ip().to_canonical()) {
                    if ips.len() < MAX_ADDRESSES && !ips.contains(&ip) {
                        ips.push(ip);
                    }
                }
                ips
            })
        });
        let failed = |why: String| {
            AnnounceFailure::Unreachable(format!("the tracker's name `{host}` is not known: {why}"))
        };
        let found = found.await.map_err(|error| failed(error.to_string()))?;
        let ips = found.map_err(|error| failed(error.to_string()))?;
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_NAMES {
            let now = Instant::now();
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() < MAX_NAMES {
            known.insert(host.to_owned(), (Instant::now() + REMEMBERED, ips.clone()));
        }
        Ok(ips)
    }

    /// The addresses of peers that were given by name; those that are not found in time are left
    /// out.
    pub(super) async fn resolve_peers(&self, peers: &[(String, u16)]) -> Vec<SocketAddr> {
        let until = Instant::now() + NAMED_WAIT;
        let mut found = Vec::new();
        for (host, port) in peers.iter().take(MAX_NAMED) {
            let Ok(ips) = timeout_at(until, self.resolve(host)).await else { break };
            let ips = ips.unwrap_or_default();
            found.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, *port)));
        }
        found
    }
}
