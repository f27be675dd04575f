//! The classic algorithm: one request in flight, every member of the swarm may be asked, and a
//! refusal is remembered for (peer, piece) until the next refresh.

use crate::swarm::config::Availability;
use crate::swarm::partials::Stage;
use crate::swarm::peer::{AskState, Peer};
use crate::swarm::peer_list::{KnownPeer, PeerList};
use crate::swarm::policy::{RequestActions, RequestPolicy, SwarmView};
use crate::swarm::requests::MIN_DEADLINE;
use crate::swarm::sources::SourceView;
use dunlin_base::{ConnId, Endpoint, PieceIndex, Rate, Time};

/// The classic way to ask for the blocks of one torrent.
#[derive(Debug, Default)]
pub(in crate::cluster) struct OneRequest {
    /// The member that was chosen and does not answer requests yet, and until when it is waited
    /// for.
    chosen: Option<(Endpoint, Time)>,
}

impl RequestPolicy for OneRequest {
    fn fill(&mut self, swarm: &mut dyn RequestActions, now: Time) {
        if piece_under_way(&swarm.view()) {
            return;
        }
        if let Some(conn) = self.chosen_conn(&swarm.view()) {
            self.chosen = None;
            unplan_unless(swarm, conn);
            if continue_started(swarm, now, Some(conn)) {
                return;
            }
            let view = swarm.view();
            if let Some(piece) = next_piece(&view, Some(conn))
                && !view.out_of_memory
            {
                swarm.start(now, piece, conn);
                swarm.plan(piece, conn);
                return;
            }
        }
        if self.chosen.is_some() {
            return;
        }
        if continue_started(swarm, now, None) {
            return;
        }
        let view = swarm.view();
        let started = view.partials.ready().next();
        let spilled = view.partials.spilled().next();
        let next = if view.out_of_memory {
            started
        } else {
            started.or(spilled).or_else(|| next_piece(&view, None))
        };
        let Some(piece) = next else {
            if view.partials.is_empty() && !view.out_of_memory {
                swarm.starve();
            }
            return;
        };
        let Some(remote) = choose_member(swarm, now, piece) else {
            swarm.starve();
            return;
        };
        self.ask_member(swarm, now, remote, piece);
    }

    /// After a full round of refusals the tracker is asked, at once.
    fn refused(&mut self, swarm: &mut dyn RequestActions, piece: PieceIndex) {
        let view = swarm.view();
        if view.missing.has(piece) && candidates(&view, piece).next().is_none() {
            swarm.starve();
        }
    }

    fn unreachable(&mut self, known: &mut PeerList, remote: Endpoint) {
        if let Some(known) = known.get_mut(remote) {
            known.unreachable = true;
        }
        if self.chosen.is_some_and(|(chosen, _)| chosen == remote) {
            self.chosen = None;
        }
    }

    /// The chosen member does not answer: it is not asked again before the next refresh.
    fn timeout(&mut self, swarm: &mut dyn RequestActions, now: Time) {
        match self.chosen {
            Some((remote, until)) if until <= now => {
                self.chosen = None;
                swarm.give_up(remote);
            }
            Some((_, until)) => swarm.wake_at(until),
            None => {}
        }
    }
}

impl OneRequest {
    /// The connection of the member that was chosen, once it answers requests.
    fn chosen_conn(&self, view: &SwarmView<'_>) -> Option<ConnId> {
        let (remote, _) = self.chosen?;
        let conn = view.known.get(remote)?.conn?;
        view.peers.get(&conn).filter(|peer| peer.gives() && peer.may_ask())?;
        Some(conn)
    }

    /// Turns to a member: asks it at once if it answers requests, or waits until it does.
    fn ask_member(
        &mut self,
        swarm: &mut dyn RequestActions,
        now: Time,
        remote: Endpoint,
        piece: PieceIndex,
    ) {
        let until = now + MIN_DEADLINE;
        self.chosen = Some((remote, until));
        let view = swarm.view();
        let Some(known) = view.known.get(remote) else { return };
        if known.conn.is_none() {
            let dials = !known.dialling;
            swarm.wake_at(until);
            if dials {
                swarm.dial(remote);
            }
            return;
        }
        let Some(conn) = self.chosen_conn(&swarm.view()) else {
            swarm.wake_at(until);
            return;
        };
        self.chosen = None;
        unplan_unless(swarm, conn);
        match swarm.view().partials.get(piece).map(|partial| partial.stage) {
            Some(Stage::Spilled) => {
                swarm.revive(piece);
                swarm.plan(piece, conn);
            }
            Some(_) => _ = continue_started(swarm, now, Some(conn)),
            None => {
                swarm.start(now, piece, conn);
                swarm.plan(piece, conn);
            }
        }
    }
}

/// Whether something is asked for, or memory for it is, or what came is not verified and written
/// yet: the classic algorithm requests the next piece when it has the last one, and a refresh that
/// falls due then goes before any further request.
fn piece_under_way(view: &SwarmView<'_>) -> bool {
    let asked = |peer: &Peer| peer.asks.iter().any(|ask| ask.state == AskState::Live);
    let open = |stage| match stage {
        Stage::Reserving | Stage::Abandoned | Stage::Hashing | Stage::Failed => true,
        Stage::Storing { written, .. } => !written,
        Stage::Active | Stage::Spilled => false,
    };
    view.peers.values().any(asked) || view.partials.iter().any(|(_, partial)| open(partial.stage))
}

/// Pieces that were planned for other members may be asked of all.
fn unplan_unless(swarm: &mut dyn RequestActions, conn: ConnId) {
    let others: Vec<PieceIndex> = swarm
        .view()
        .partials
        .iter()
        .filter(|(_, partial)| partial.planned.is_some_and(|planned| planned != conn))
        .map(|(piece, _)| piece)
        .collect();
    for piece in others {
        swarm.unplan(piece);
    }
}

/// Asks for the next block of a started piece: of `conn`, or of the member that gives that piece
/// already.
fn continue_started(swarm: &mut dyn RequestActions, now: Time, conn: Option<ConnId>) -> bool {
    let ready: Vec<PieceIndex> = swarm.view().partials.ready().collect();
    for piece in ready {
        let view = swarm.view();
        let Some(partial) = view.partials.get(piece) else { continue };
        let (Some(index), single) = (partial.first_open(), partial.single_source) else { continue };
        let begun = (partial.open() as usize) < partial.blocks.len();
        let giver = conn.or(partial.planned);
        let only = view.single_giver(piece);
        if single && begun && only.is_none() {
            // The peer that began it is gone: what it gave cannot stand beside another's.
            swarm.take_back(piece);
            continue;
        }
        let giver = giver.filter(|conn| !(single && begun) || only == Some(*conn));
        let able = giver.filter(|conn| {
            view.gives_piece(*conn, piece)
                && view.peers.get(conn).is_some_and(|peer| peer.gives() && peer.may_ask())
        });
        if let Some(conn) = able {
            swarm.plan(piece, conn);
            swarm.ask(now, conn, piece, index);
            return true;
        }
    }
    false
}

/// The next piece in order: one that `of` may be asked for, or anybody.
fn next_piece(view: &SwarmView<'_>, of: Option<ConnId>) -> Option<PieceIndex> {
    view.picker.pick(None, |piece| match of {
        Some(conn) => view.gives_piece(conn, piece),
        None => candidates(view, piece).next().is_some(),
    })
}

/// Members that may be asked for a piece.
fn candidates<'a>(
    view: &'a SwarmView<'a>,
    piece: PieceIndex,
) -> impl Iterator<Item = (Endpoint, &'a KnownPeer, Option<&'a Peer>)> + 'a {
    let begun = view.partials.get(piece).filter(|partial| partial.single_source);
    let only = begun
        .and_then(|_| view.single_giver(piece))
        .and_then(|conn| view.peers.get(&conn))
        .map(|peer| peer.remote);
    let reported = view.config.availability == Availability::Reported;
    view.known
        .iter()
        .filter(move |(remote, known)| {
            only.is_none_or(|only| only == *remote)
                && known.place != u32::MAX
                && !known.unreachable
                && !known.rejected.contains(&piece)
                && !view.banned.bars(*remote)
                && (!reported || known.owned.as_ref().is_some_and(|owned| owned.has(piece)))
        })
        .map(|(remote, known)| (remote, known, known.conn.and_then(|conn| view.peers.get(&conn))))
        .filter(|(_, _, peer)| {
            // A peer that owes us an answer is not asked for more.
            peer.is_none_or(|peer| peer.asks.iter().all(|ask| ask.state == AskState::Cancelled))
        })
}

/// Chooses the member that is asked for a piece, and counts the choice.
fn choose_member(swarm: &mut dyn RequestActions, now: Time, piece: PieceIndex) -> Option<Endpoint> {
    let view = swarm.view();
    let count = view.known.members();
    let order = view.config.sources;
    let last = view.last_place;
    let (members, sources): (Vec<Endpoint>, Vec<SourceView>) = candidates(&view, piece)
        .map(|(remote, known, peer)| {
            let rate = peer.map_or(Rate(0), |peer| peer.window.rate_at(now));
            (remote, known.source(count, 0, rate))
        })
        .unzip();
    let remote = members[order.choose(&sources, last, swarm.rng())?];
    swarm.count_choice(remote);
    Some(remote)
}
