//! The classic algorithm: one request in flight, every member of the swarm may be asked, and a refusal is
//! remembered for (peer, piece) until the next refresh.

use super::{Shared, Torrent};
use crate::config::{Profile, SourceOrder};
use crate::io::Reason;
use crate::swarm::partials::Stage;
use crate::swarm::peer::{AskState, Peer};
use crate::swarm::peer_list::Known;
use crate::swarm::requests::MIN_DEADLINE;
use crate::swarm::sources::{Source, choose};
use dunlin_base::{ConnId, Endpoint, PieceIndex, Rate, Time};

impl Torrent {
    pub(super) fn fill_one(&mut self, shared: &mut Shared, now: Time) {
        if shared.awaits_tracker || self.piece_under_way() {
            return;
        }
        if let Some(conn) = self.courted() {
            self.courting = None;
            self.unplan_unless(conn);
            if self.continue_started(shared, now, Some(conn)) {
                return;
            }
            if let Some(piece) = self.next_piece(shared, Some(conn))
                && !shared.out_of_memory
            {
                self.start(shared, now, piece, conn);
                self.plan(piece, conn);
                return;
            }
        }
        if self.courting.is_some() {
            return;
        }
        if self.continue_started(shared, now, None) {
            return;
        }
        let started = self.partials.ready().next();
        let spilled = self.partials.spilled().next();
        let next = if shared.out_of_memory {
            started
        } else {
            started.or(spilled).or_else(|| self.next_piece(shared, None))
        };
        let Some(piece) = next else {
            if self.partials.is_empty() && !shared.out_of_memory {
                self.starve(shared);
            }
            return;
        };
        let Some(remote) = self.choose_member(shared, now, piece) else {
            self.starve(shared);
            return;
        };
        self.court(shared, now, remote, piece);
    }

    /// Whether something is asked for, or memory for it is, or what came is not verified and written
    /// yet: the classic algorithm requests the next piece when it has the last one, and a refresh
    /// that falls due then goes before any further request.
    fn piece_under_way(&self) -> bool {
        let asked = |conn: &Peer| conn.asks.iter().any(|ask| ask.state == AskState::Live);
        let open = |stage| match stage {
            Stage::Reserving | Stage::Abandoned | Stage::Hashing | Stage::Failed => true,
            Stage::Storing { written, .. } => !written,
            Stage::Active | Stage::Spilled => false,
        };
        self.peers.values().any(asked)
            || self.partials.iter().any(|(_, partial)| open(partial.stage))
    }

    /// The connection of the member that was chosen, once it answers requests.
    fn courted(&self) -> Option<ConnId> {
        let (remote, _) = self.courting?;
        let conn = self.known.get(remote)?.conn?;
        self.peers.get(&conn).filter(|peer| peer.gives() && peer.may_ask())?;
        Some(conn)
    }

    fn unplan_unless(&mut self, conn: ConnId) {
        let others: Vec<PieceIndex> = self
            .partials
            .iter()
            .filter(|(_, partial)| partial.planned.is_some_and(|planned| planned != conn))
            .map(|(piece, _)| piece)
            .collect();
        for piece in others {
            self.unplan(piece);
        }
    }

    /// Asks for the next block of a started piece: of `conn`, or of whoever gives that piece already.
    fn continue_started(&mut self, shared: &mut Shared, now: Time, conn: Option<ConnId>) -> bool {
        let ready: Vec<PieceIndex> = self.partials.ready().collect();
        for piece in ready {
            let Some(partial) = self.partials.get(piece) else { continue };
            let (Some(index), alone) = (partial.first_open(), partial.alone) else { continue };
            let begun = (partial.open() as usize) < partial.blocks.len();
            let giver = conn.or(partial.planned);
            let only = self.only_giver(piece);
            if alone && begun && only.is_none() {
                // Whoever began it is gone: what it gave cannot stand beside another's.
                self.drop_partial(shared, piece);
                continue;
            }
            let giver = giver.filter(|conn| !(alone && begun) || only == Some(*conn));
            let able = giver.filter(|conn| {
                self.gives_piece(*conn, piece)
                    && self.peers.get(conn).is_some_and(|peer| peer.gives() && peer.may_ask())
            });
            if let Some(conn) = able {
                self.plan(piece, conn);
                self.ask(shared, now, conn, piece, index);
                return true;
            }
        }
        false
    }

    fn next_piece(&self, shared: &Shared, of: Option<ConnId>) -> Option<PieceIndex> {
        self.picker.pick(None, |piece| match of {
            Some(conn) => self.gives_piece(conn, piece),
            None => self.candidates(shared, piece).next().is_some(),
        })
    }

    /// Members that may be asked for a piece.
    fn candidates<'a>(
        &'a self,
        shared: &'a Shared,
        piece: PieceIndex,
    ) -> impl Iterator<Item = (Endpoint, &'a Known, Option<&'a Peer>)> + 'a {
        let begun = self.partials.get(piece).filter(|partial| partial.alone);
        let only = begun
            .and_then(|_| self.only_giver(piece))
            .and_then(|conn| self.peers.get(&conn))
            .map(|peer| peer.remote);
        self.known
            .iter()
            .filter(move |(remote, known)| {
                only.is_none_or(|only| only == *remote)
                    && known.place != u32::MAX
                    && !known.unreachable
                    && !known.rejected.contains(&piece)
                    && !shared.is_banned(*remote)
                    && (!shared.config.tracker_pieces
                        || known.owned.as_ref().is_some_and(|owned| owned.has(piece)))
            })
            .map(|(remote, known)| {
                (remote, known, known.conn.and_then(|conn| self.peers.get(&conn)))
            })
            .filter(|(_, _, peer)| {
                // A peer that owes us an answer is not asked for more.
                peer.is_none_or(|peer| peer.asks.iter().all(|ask| ask.state == AskState::Cancelled))
            })
    }

    fn choose_member(
        &mut self,
        shared: &mut Shared,
        now: Time,
        piece: PieceIndex,
    ) -> Option<Endpoint> {
        let count = self.known.members();
        let timed = shared.config.sources == SourceOrder::Fastest;
        let (members, sources): (Vec<Endpoint>, Vec<Source>) = self
            .candidates(shared, piece)
            .map(|(remote, known, peer)| {
                let rate = peer.filter(|_| timed).map_or(Rate(0), |peer| peer.window.rate_at(now));
                (remote, known.source(count, 0, rate))
            })
            .unzip();
        let remote =
            members[choose(shared.config.sources, &sources, self.last_place, &mut shared.rng)?];
        shared.chosen += 1;
        let known = self.known.entry(remote);
        known.last_chosen = shared.chosen;
        known.asked += 1;
        self.last_place = Some(known.place);
        Some(remote)
    }

    /// Turns to a member: asks it at once if it answers requests, or waits until it does.
    fn court(&mut self, shared: &mut Shared, now: Time, remote: Endpoint, piece: PieceIndex) {
        let until = now + MIN_DEADLINE;
        self.courting = Some((remote, until));
        let Some(known) = self.known.get(remote) else { return };
        if known.conn.is_none() {
            shared.timers.by(Reason::Request, until);
            if !known.dialling {
                self.dial(shared, remote);
            }
            return;
        }
        let Some(conn) = self.courted() else {
            shared.timers.by(Reason::Request, until);
            return;
        };
        self.courting = None;
        self.unplan_unless(conn);
        if self.partials.get(piece).is_some() {
            if self.partials.get(piece).map(|partial| partial.stage) == Some(Stage::Spilled) {
                self.partials.set_stage(piece, Stage::Reserving);
                self.reserve(shared, piece);
                self.plan(piece, conn);
            } else {
                self.continue_started(shared, now, Some(conn));
            }
        } else {
            self.start(shared, now, piece, conn);
            self.plan(piece, conn);
        }
    }

    /// The chosen member does not answer: it is not asked again before the next refresh.
    pub(super) fn give_up_courting(&mut self) {
        if let Some((remote, _)) = self.courting.take() {
            self.known.entry(remote).unreachable = true;
        }
    }

    /// Course profile: after a full round of refusals the tracker is asked, at once.
    pub(super) fn starve_if_nobody_gives(
        &mut self,
        shared: &mut Shared,
        _now: Time,
        piece: PieceIndex,
    ) {
        if shared.config.profile != Profile::Course || !self.missing.has(piece) {
            return;
        }
        if self.candidates(shared, piece).next().is_none() {
            self.starve(shared);
        }
    }
}
