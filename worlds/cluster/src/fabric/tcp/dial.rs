//! Which rank to dial, and where: rank 0 at the start and after a break, a peer when there is
//! something to send to it. Rank 0 dials nobody: its peers connect to it.

use super::link_protocol::LinkMessage;
use super::link_table::{GRACE, LinkTable};
use super::rank_links::RankLinks;
use dunlin_base::Rank;
use dunlin_links::{DialError, Link, Party, dial};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::{sleep, sleep_until, timeout};

/// A rank that is silent for so long is taken for dead; every rank sends something each second.
pub(super) const SILENCE: Duration = Duration::from_secs(6);
/// A step of a dial may take so long.
const LIMIT: Duration = Duration::from_secs(2);
/// A rank that is asked where another one is has so long to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two tries to reach rank 0: the first, and the last.
const TRIES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Without rank 0 so many neighbours are asked where a rank is.
const ASKED: usize = 4;

/// Makes a link to a peer, for what waits to be sent to it.
pub(super) async fn to_peer(table: Arc<LinkTable>, links: Arc<RankLinks>) {
    let wait = links.state().not_before();
    if let Some(until) = wait {
        sleep_until(until.into()).await;
    }
    let link = match address_of(&table, &links).await {
        // It may have connected to us in the meantime.
        None if !links.state().open.is_empty() => return links.state().linked(),
        None => None,
        Some(address) => match dial(&table.party, links.rank, address, LIMIT, SILENCE).await {
            Ok(link) => Some(link),
            Err(error) => {
                tracing::debug!(rank = %links.rank, %error, "no link");
                None
            }
        },
    };
    if let Some(link) = link {
        return table.enter(link);
    }
    let mut state = links.state();
    state.dial_failed(Instant::now());
    state.address = None;
    if state.open.is_empty() {
        let lost = state.cut_all();
        drop(state);
        table.hang_up(&links, lost);
    }
}

/// Where a peer listens; `None` if nobody knows, or if it has a link already.
async fn address_of(table: &LinkTable, links: &RankLinks) -> Option<SocketAddr> {
    let known = |links: &RankLinks| {
        let state = links.state();
        let of_the_living = state.address.filter(|(life, _)| state.dead != Some(*life));
        of_the_living.filter(|_| state.open.is_empty()).map(|(_, address)| address)
    };
    if let Some(address) = known(links) {
        return Some(address);
    }
    let (waiter, answered) = oneshot::channel();
    links.state().address_waiter = Some(waiter);
    let question = LinkMessage::Where { rank: links.rank };
    let root = table.of(Rank::TRACKER);
    if root.state().open.is_empty() {
        let others = table.all().into_iter().filter(|other| other.rank != links.rank);
        let linked = others.filter(|other| !other.state().open.is_empty());
        linked.take(ASKED).for_each(|other| table.send_link_message(&other, &question));
    } else {
        table.send_link_message(&root, &question);
    }
    // No answer in time is an answer, too.
    let _ = timeout(ANSWER, answered).await;
    known(links)
}

/// Makes the link to rank 0 again after a break, or takes rank 0 for dead.
pub(super) async fn to_root_again(table: Arc<LinkTable>, breaks: u64) {
    let until = Instant::now() + GRACE;
    let mut why = "it closed the link".to_owned();
    let mut pause = TRIES.0;
    let wait = table.of(Rank::TRACKER).state().not_before();
    if let Some(wait) = wait.map(|at| at.saturating_duration_since(Instant::now())) {
        sleep(wait.min(TRIES.1)).await;
    }
    while let Some(address) = table.root.get().filter(|_| Instant::now() < until) {
        if table.is_quiet() {
            return;
        }
        match dial(&table.party, Rank::TRACKER, *address, LIMIT, SILENCE).await {
            Ok(link) if link.remote.life == table.of(Rank::TRACKER).state().life => {
                return table.enter(link);
            }
            Ok(_) => "another process is rank 0 now".clone_into(&mut why),
            Err(error) => why = error.to_string(),
        }
        sleep(pause).await;
        pause = (pause * 2).min(TRIES.1);
    }
    table.lose(&table.of(Rank::TRACKER), breaks, &why);
}

/// One try to reach rank 0, at any of these places. The error names what came of each.
pub(super) async fn to_root(party: &Party, places: &[String]) -> Result<Link, String> {
    let mut failures = Vec::new();
    for place in places {
        let found = match timeout(LIMIT, tokio::net::lookup_host(place.as_str())).await {
            Ok(Ok(found)) => found.collect::<Vec<_>>(),
            Ok(Err(error)) => {
                failures.push(format!("{place}: {error}"));
                continue;
            }
            Err(_) => {
                failures.push(format!("{place}: the name is not resolved in time"));
                continue;
            }
        };
        for address in found {
            match dial(party, Rank::TRACKER, address, LIMIT, SILENCE).await {
                Ok(link) => return Ok(link),
                Err(error @ DialError::NoRandomness(_)) => return Err(error.to_string()),
                Err(error) => failures.push(error.to_string()),
            }
        }
    }
    failures.dedup();
    Err(failures.join("; "))
}
