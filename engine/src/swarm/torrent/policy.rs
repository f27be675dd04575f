//! Calls of the driver's request policy, if there is one.

use super::{SessionContext, Torrent};
use crate::swarm::policy::{RequestPolicy, Requests};
use dunlin_base::{Endpoint, PieceIndex};

impl Torrent {
    /// Calls the policy of the driver, if there is one.
    pub(super) fn with_policy(&mut self, f: impl FnOnce(&mut dyn RequestPolicy, &mut Torrent)) {
        let Requests::Policy(policy) = &mut self.requests else { return };
        let Some(mut policy) = policy.take() else { return };
        f(&mut *policy, self);
        self.requests = Requests::Policy(Some(policy));
    }

    pub(super) fn refused(&mut self, shared: &mut SessionContext, piece: PieceIndex) {
        self.with_policy(|policy, torrent| policy.refused(torrent, shared, piece));
    }

    pub(super) fn unreachable(&mut self, remote: Endpoint) {
        self.with_policy(|policy, torrent| policy.unreachable(torrent, remote));
    }
}
