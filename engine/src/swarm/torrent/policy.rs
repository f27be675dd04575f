//! Another way to ask for blocks than the core's own, brought by a driver: the interface of policies that
//! are studied. The hot path of `fill` knows none of them.

use super::{SessionContext, Torrent};
use dunlin_base::{Endpoint, PieceIndex, Time};
use std::fmt::Debug;

/// Which block to ask of whom, and when. It decides with what [`Torrent`] shows of pieces and peers, and
/// asks through it.
pub(crate) trait RequestPolicy: Debug + Send {
    /// Asks for whatever may be asked for now. Called after everything that may have changed it, but not
    /// when a piece is written: then its driver calls [`Torrent::fill`].
    fn fill(&mut self, torrent: &mut Torrent, shared: &mut SessionContext, now: Time);

    /// A request for this piece was refused, or is late.
    fn refused(&mut self, torrent: &mut Torrent, shared: &mut SessionContext, piece: PieceIndex);

    /// A peer is gone, banned, or could not be reached.
    fn unreachable(&mut self, torrent: &mut Torrent, remote: Endpoint);

    /// A deadline that it set ([`crate::wake::Reason::Request`]) may have passed.
    fn timeout(&mut self, torrent: &mut Torrent, shared: &mut SessionContext, now: Time);
}

/// How a torrent asks for blocks.
#[derive(Debug, Default)]
pub(crate) enum Requests {
    /// Many requests in flight to every peer: the core's own way.
    #[default]
    Pipelined,
    /// A driver's way; `None` while it is at work.
    Policy(Option<Box<dyn RequestPolicy>>),
}

impl Requests {
    pub(crate) fn is_pipelined(&self) -> bool {
        matches!(self, Requests::Pipelined)
    }
}

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
