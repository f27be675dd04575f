//! Whom to dial, and where: rank 0 at the start and after a break, a peer when there is something to
//! say to it. Nobody dials rank 0's peers for it: they come to it.

use super::board::{Board, GRACE};
use super::pair::Pair;
use super::talk::Talk;
use dunlin_base::Rank;
use dunlin_links::{DialError, Link, Party, dial};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::{sleep, sleep_until, timeout};

/// Who is silent for so long is taken for dead; everyone says something every second.
pub(super) const SILENCE: Duration = Duration::from_secs(6);
/// A step of a dial may take so long.
const LIMIT: Duration = Duration::from_secs(2);
/// Who is asked where a rank is has so long to say it.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two tries to reach rank 0: the first, and the last.
const TRIES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Without rank 0 so many neighbours are asked where a rank is.
const ASKED: usize = 4;

/// Makes a link to a peer, for what waits to be said to it.
pub(super) async fn to_peer(board: Arc<Board>, pair: Arc<Pair>) {
    let wait = pair.state().not_before();
    if let Some(until) = wait {
        sleep_until(until.into()).await;
    }
    let link = match whereabouts(&board, &pair).await {
        // It may have come to us in the meantime.
        None if !pair.state().lines.is_empty() => return pair.state().succeeded(),
        None => None,
        Some(address) => match dial(&board.party, pair.rank, address, LIMIT, SILENCE).await {
            Ok(link) => Some(link),
            Err(error) => {
                tracing::debug!(rank = %pair.rank, %error, "no link");
                None
            }
        },
    };
    if let Some(link) = link {
        return board.enter(link);
    }
    let mut state = pair.state();
    state.failed(Instant::now());
    state.address = None;
    if state.lines.is_empty() {
        let wreck = state.wreck();
        drop(state);
        board.hang_up(&pair, wreck);
    }
}

/// Where a peer lets others in; `None` if nobody knows, or if it has a link already.
async fn whereabouts(board: &Board, pair: &Pair) -> Option<SocketAddr> {
    let known = |pair: &Pair| {
        let state = pair.state();
        let of_the_living = state.address.filter(|(life, _)| state.dead != Some(*life));
        of_the_living.filter(|_| state.lines.is_empty()).map(|(_, address)| address)
    };
    if let Some(address) = known(pair) {
        return Some(address);
    }
    let (asked, answered) = oneshot::channel();
    pair.state().asked = Some(asked);
    let question = Talk::Where { rank: pair.rank };
    let root = board.pair(Rank::TRACKER);
    if root.state().lines.is_empty() {
        let others = board.pairs().into_iter().filter(|other| other.rank != pair.rank);
        let linked = others.filter(|other| !other.state().lines.is_empty());
        linked.take(ASKED).for_each(|other| board.talk(&other, &question));
    } else {
        board.talk(&root, &question);
    }
    // Silence is an answer, too.
    let _ = timeout(ANSWER, answered).await;
    known(pair)
}

/// Makes the link to rank 0 again after a break, or takes rank 0 for dead.
pub(super) async fn to_root_again(board: Arc<Board>, breaks: u64) {
    let until = Instant::now() + GRACE;
    let mut why = "it closed the link".to_owned();
    let mut pause = TRIES.0;
    let wait = board.pair(Rank::TRACKER).state().not_before();
    if let Some(wait) = wait.map(|at| at.saturating_duration_since(Instant::now())) {
        sleep(wait.min(TRIES.1)).await;
    }
    while let Some(address) = board.root.get().filter(|_| Instant::now() < until) {
        if board.is_quiet() {
            return;
        }
        match dial(&board.party, Rank::TRACKER, *address, LIMIT, SILENCE).await {
            Ok(link) if link.remote.life == board.pair(Rank::TRACKER).state().life => {
                return board.enter(link);
            }
            Ok(_) => "another process is rank 0 now".clone_into(&mut why),
            Err(error) => why = error.to_string(),
        }
        sleep(pause).await;
        pause = (pause * 2).min(TRIES.1);
    }
    board.lose(&board.pair(Rank::TRACKER), breaks, &why);
}

/// One try to reach rank 0, at any of these places. The error says what came of each.
pub(super) async fn to_root(party: &Party, places: &[String]) -> Result<Link, String> {
    let mut troubles = Vec::new();
    for place in places {
        let found = match timeout(LIMIT, tokio::net::lookup_host(place.as_str())).await {
            Ok(Ok(found)) => found.collect::<Vec<_>>(),
            Ok(Err(error)) => {
                troubles.push(format!("{place}: {error}"));
                continue;
            }
            Err(_) => {
                troubles.push(format!("{place}: the name is not resolved in time"));
                continue;
            }
        };
        for address in found {
            match dial(party, Rank::TRACKER, address, LIMIT, SILENCE).await {
                Ok(link) => return Ok(link),
                Err(error @ DialError::NoRandomness(_)) => return Err(error.to_string()),
                Err(error) => troubles.push(error.to_string()),
            }
        }
    }
    troubles.dedup();
    Err(troubles.join("; "))
}
