//! The classic algorithm: one request in flight, every member of the swarm may be asked, and a refusal is
//! remembered for (peer, piece) until the next refresh.

use crate::swarm::config::Availability;
use crate::swarm::context::SessionContext;
use crate::swarm::partials::Stage;
use crate::swarm::peer::{AskState, Peer};
use crate::swarm::peer_list::Known;
use crate::swarm::requests::MIN_DEADLINE;
use crate::swarm::sources::SourceView;
use crate::swarm::torrent::{RequestPolicy, Torrent};
use crate::wake::Reason;
use dunlin_base::{ConnId, Endpoint, PieceIndex, Rate, Time};

/// The classic way to ask for the blocks of one torrent.
#[derive(Debug, Default)]
pub(super) struct OneRequest {
    /// The member that was chosen and does not answer requests yet, and until when it is waited for.
    chosen: Option<(Endpoint, Time)>,
}

impl RequestPolicy for OneRequest {
    fn fill(&mut self, torrent: &mut Torrent, shared: &mut SessionContext, now: Time) {
        if piece_under_way(torrent) {
            return;
        }
        if let Some(conn) = self.chosen_conn(torrent) {
            self.chosen = None;
            unplan_unless(torrent, conn);
            if continue_started(torrent, shared, now, Some(conn)) {
                return;
            }
            if let Some(piece) = next_piece(torrent, shared, Some(conn))
                && !shared.out_of_memory
            {
                torrent.start(shared, now, piece, conn);
                torrent.plan(piece, conn);
                return;
            }
        }
        if self.chosen.is_some() {
            return;
        }
        if continue_started(torrent, shared, now, None) {
            return;
        }
        let started = torrent.partials.ready().next();
        let spilled = torrent.partials.spilled().next();
        let next = if shared.out_of_memory {
            started
        } else {
            started.or(spilled).or_else(|| next_piece(torrent, shared, None))
        };
        let Some(piece) = next else {
            if torrent.partials.is_empty() && !shared.out_of_memory {
                torrent.starve(shared);
            }
            return;
        };
        let Some(remote) = choose_member(torrent, shared, now, piece) else {
            torrent.starve(shared);
            return;
        };
        self.ask_member(torrent, shared, now, remote, piece);
    }

    /// After a full round of refusals the tracker is asked, at once.
    fn refused(&mut self, torrent: &mut Torrent, shared: &mut SessionContext, piece: PieceIndex) {
        if torrent.missing.has(piece) && candidates(torrent, shared, piece).next().is_none() {
            torrent.starve(shared);
        }
    }

    fn unreachable(&mut self, torrent: &mut Torrent, remote: Endpoint) {
        if let Some(known) = torrent.known.get_mut(remote) {
            known.unreachable = true;
        }
        if self.chosen.is_some_and(|(chosen, _)| chosen == remote) {
            self.chosen = None;
        }
    }

    /// The chosen member does not answer: it is not asked again before the next refresh.
    fn timeout(&mut self, torrent: &mut Torrent, shared: &mut SessionContext, now: Time) {
        match self.chosen {
            Some((remote, until)) if until <= now => {
                self.chosen = None;
                torrent.known.entry(remote).unreachable = true;
            }
            Some((_, until)) => shared.timers.by(Reason::Request, until),
            None => {}
        }
    }
}

impl OneRequest {
    /// The connection of the member that was chosen, once it answers requests.
    fn chosen_conn(&self, torrent: &Torrent) -> Option<ConnId> {
        let (remote, _) = self.chosen?;
        let conn = torrent.known.get(remote)?.conn?;
        torrent.peers.get(&conn).filter(|peer| peer.gives() && peer.may_ask())?;
        Some(conn)
    }

    /// Turns to a member: asks it at once if it answers requests, or waits until it does.
    fn ask_member(
        &mut self,
        torrent: &mut Torrent,
        shared: &mut SessionContext,
        now: Time,
        remote: Endpoint,
        piece: PieceIndex,
    ) {
        let until = now + MIN_DEADLINE;
        self.chosen = Some((remote, until));
        let Some(known) = torrent.known.get(remote) else { return };
        if known.conn.is_none() {
            shared.timers.by(Reason::Request, until);
            if !known.dialling {
                torrent.dial(shared, remote);
            }
            return;
        }
        let Some(conn) = self.chosen_conn(torrent) else {
            shared.timers.by(Reason::Request, until);
            return;
        };
        self.chosen = None;
        unplan_unless(torrent, conn);
        match torrent.partials.get(piece).map(|partial| partial.stage) {
            Some(Stage::Spilled) => {
                torrent.partials.set_stage(piece, Stage::Reserving);
                torrent.reserve(shared, piece);
                torrent.plan(piece, conn);
            }
            Some(_) => _ = continue_started(torrent, shared, now, Some(conn)),
            None => {
                torrent.start(shared, now, piece, conn);
                torrent.plan(piece, conn);
            }
        }
    }
}

/// Whether something is asked for, or memory for it is, or what came is not verified and written yet: the
/// classic algorithm requests the next piece when it has the last one, and a refresh that falls due then
/// goes before any further request.
fn piece_under_way(torrent: &Torrent) -> bool {
    let asked = |peer: &Peer| peer.asks.iter().any(|ask| ask.state == AskState::Live);
    let open = |stage| match stage {
        Stage::Reserving | Stage::Abandoned | Stage::Hashing | Stage::Failed => true,
        Stage::Storing { written, .. } => !written,
        Stage::Active | Stage::Spilled => false,
    };
    torrent.peers.values().any(asked)
        || torrent.partials.iter().any(|(_, partial)| open(partial.stage))
}

/// Pieces that were planned for other members may be asked of anybody.
fn unplan_unless(torrent: &mut Torrent, conn: ConnId) {
    let others: Vec<PieceIndex> = torrent
        .partials
        .iter()
        .filter(|(_, partial)| partial.planned.is_some_and(|planned| planned != conn))
        .map(|(piece, _)| piece)
        .collect();
    for piece in others {
        torrent.unplan(piece);
    }
}

/// Asks for the next block of a started piece: of `conn`, or of the member that gives that piece already.
fn continue_started(
    torrent: &mut Torrent,
    shared: &mut SessionContext,
    now: Time,
    conn: Option<ConnId>,
) -> bool {
    let ready: Vec<PieceIndex> = torrent.partials.ready().collect();
    for piece in ready {
        let Some(partial) = torrent.partials.get(piece) else { continue };
        let (Some(index), alone) = (partial.first_open(), partial.alone) else { continue };
        let begun = (partial.open() as usize) < partial.blocks.len();
        let giver = conn.or(partial.planned);
        let only = torrent.only_giver(piece);
        if alone && begun && only.is_none() {
            // The peer that began it is gone: what it gave cannot stand beside another's.
            torrent.drop_partial(shared, piece);
            continue;
        }
        let giver = giver.filter(|conn| !(alone && begun) || only == Some(*conn));
        let able = giver.filter(|conn| {
            torrent.gives_piece(*conn, piece)
                && torrent.peers.get(conn).is_some_and(|peer| peer.gives() && peer.may_ask())
        });
        if let Some(conn) = able {
            torrent.plan(piece, conn);
            torrent.ask(shared, now, conn, piece, index);
            return true;
        }
    }
    false
}

/// The next piece in order: one that `of` may be asked for, or anybody.
fn next_piece(
    torrent: &Torrent,
    shared: &SessionContext,
    of: Option<ConnId>,
) -> Option<PieceIndex> {
    torrent.picker.pick(None, |piece| match of {
        Some(conn) => torrent.gives_piece(conn, piece),
        None => candidates(torrent, shared, piece).next().is_some(),
    })
}

/// Members that may be asked for a piece.
fn candidates<'a>(
    torrent: &'a Torrent,
    shared: &'a SessionContext,
    piece: PieceIndex,
) -> impl Iterator<Item = (Endpoint, &'a Known, Option<&'a Peer>)> + 'a {
    let begun = torrent.partials.get(piece).filter(|partial| partial.alone);
    let only = begun
        .and_then(|_| torrent.only_giver(piece))
        .and_then(|conn| torrent.peers.get(&conn))
        .map(|peer| peer.remote);
    let reported = shared.config.availability == Availability::Reported;
    torrent
        .known
        .iter()
        .filter(move |(remote, known)| {
            only.is_none_or(|only| only == *remote)
                && known.place != u32::MAX
                && !known.unreachable
                && !known.rejected.contains(&piece)
                && !shared.is_banned(*remote)
                && (!reported || known.owned.as_ref().is_some_and(|owned| owned.has(piece)))
        })
        .map(|(remote, known)| {
            (remote, known, known.conn.and_then(|conn| torrent.peers.get(&conn)))
        })
        .filter(|(_, _, peer)| {
            // A peer that owes us an answer is not asked for more.
            peer.is_none_or(|peer| peer.asks.iter().all(|ask| ask.state == AskState::Cancelled))
        })
}

/// Chooses the member that is asked for a piece, and counts the choice.
fn choose_member(
    torrent: &mut Torrent,
    shared: &mut SessionContext,
    now: Time,
    piece: PieceIndex,
) -> Option<Endpoint> {
    let count = torrent.known.members();
    let order = shared.config.sources;
    let (members, sources): (Vec<Endpoint>, Vec<SourceView>) = candidates(torrent, shared, piece)
        .map(|(remote, known, peer)| {
            let rate = peer.map_or(Rate(0), |peer| peer.window.rate_at(now));
            (remote, known.source(count, 0, rate))
        })
        .unzip();
    let remote = members[order.choose(&sources, torrent.last_place, &mut shared.rng)?];
    shared.chosen += 1;
    let known = torrent.known.entry(remote);
    known.last_chosen = shared.chosen;
    known.asked += 1;
    torrent.last_place = Some(known.place);
    Some(remote)
}
