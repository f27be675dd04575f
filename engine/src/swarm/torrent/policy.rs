//! A torrent that asks for blocks by the policy of a driver: what the policy sees, and what it
//! does.

use super::{SessionContext, Torrent};
use crate::swarm::partials::Stage;
use crate::swarm::policy::{RequestActions, RequestPolicy, Requests, SwarmView};
use crate::wake::Reason;
use dunlin_base::{ConnId, Endpoint, PieceIndex, Rng, Time};

/// A torrent, while its policy is at work.
struct Requester<'a> {
    torrent: &'a mut Torrent,
    context: &'a mut SessionContext,
}

impl RequestActions for Requester<'_> {
    fn view(&self) -> SwarmView<'_> {
        let Torrent { connections, downloads, .. } = &*self.torrent;
        SwarmView {
            config: &self.context.config,
            missing: &downloads.missing,
            picker: &downloads.picker,
            partials: &downloads.partials,
            peers: &connections.peers,
            known: &connections.known,
            banned: &self.context.banned,
            last_place: downloads.last_place,
            out_of_memory: self.context.out_of_memory,
        }
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.context.rng
    }

    fn start(&mut self, now: Time, piece: PieceIndex, conn: ConnId) {
        self.torrent.start(self.context, now, piece, conn);
    }

    fn revive(&mut self, piece: PieceIndex) {
        self.torrent.downloads.partials.set_stage(piece, Stage::Reserving);
        self.torrent.reserve(self.context, piece);
    }

    fn take_back(&mut self, piece: PieceIndex) {
        self.torrent.drop_partial(self.context, piece);
    }

    fn plan(&mut self, piece: PieceIndex, conn: ConnId) {
        let Torrent { connections, downloads, geometry, .. } = &mut *self.torrent;
        downloads.plan(connections, geometry, piece, conn);
    }

    fn unplan(&mut self, piece: PieceIndex) {
        let Torrent { connections, downloads, geometry, .. } = &mut *self.torrent;
        downloads.unplan(connections, geometry, piece);
    }

    fn ask(&mut self, now: Time, conn: ConnId, piece: PieceIndex, index: u32) {
        self.torrent.ask(self.context, now, conn, piece, index);
    }

    fn dial(&mut self, remote: Endpoint) {
        self.torrent.dial(self.context, remote);
    }

    fn count_choice(&mut self, remote: Endpoint) {
        self.torrent.count_choice(self.context, remote);
    }

    fn give_up(&mut self, remote: Endpoint) {
        self.torrent.connections.known.entry(remote).unreachable = true;
    }

    fn starve(&mut self) {
        self.torrent.starve(self.context);
    }

    fn wake_at(&mut self, at: Time) {
        self.context.timers.by(Reason::Request, at);
    }
}

impl Torrent {
    /// Calls the policy of the driver, if there is one.
    pub(super) fn with_policy(
        &mut self,
        context: &mut SessionContext,
        f: impl FnOnce(&mut dyn RequestPolicy, &mut dyn RequestActions),
    ) {
        let Requests::Policy(policy) = &mut self.requests else { return };
        let Some(mut policy) = policy.take() else { return };
        f(&mut *policy, &mut Requester { torrent: self, context });
        self.requests = Requests::Policy(Some(policy));
    }

    pub(super) fn refused(&mut self, context: &mut SessionContext, piece: PieceIndex) {
        self.with_policy(context, |policy, swarm| policy.refused(swarm, piece));
    }

    pub(super) fn unreachable(&mut self, remote: Endpoint) {
        if let Requests::Policy(Some(policy)) = &mut self.requests {
            policy.unreachable(&mut self.connections.known, remote);
        }
    }

    /// Counts that a piece is asked of a peer.
    pub(super) fn count_choice(&mut self, context: &mut SessionContext, remote: Endpoint) {
        context.chosen += 1;
        let known = self.connections.known.entry(remote);
        known.last_chosen = context.chosen;
        known.asked += 1;
        self.downloads.last_place = Some(known.place);
    }
}
