//! Pieces that are ours and were not announced yet.

use crate::swarm::config::HaveRule;
use dunlin_base::{PieceIndex, Time};
use std::time::Duration;

/// Among many ranks most of what is sent are announcements. Pieces that come in a crowd are
/// announced together, so often at most; the first of a crowd at once.
const CROWD: Duration = Duration::from_millis(15);

/// Pieces that wait to be announced.
#[derive(Debug, Default)]
pub(crate) struct PendingHaves {
    pieces: Vec<PieceIndex>,
    /// When pieces were last announced.
    last: Option<Time>,
}

impl PendingHaves {
    /// A piece is ours.
    pub(crate) fn push(&mut self, piece: PieceIndex) {
        self.pieces.push(piece);
    }

    /// Takes the pieces that are announced now. `leeching`: more pieces will come.
    ///
    /// # Errors
    /// When they are announced, if that is later.
    pub(crate) fn take(
        &mut self,
        now: Time,
        rule: HaveRule,
        leeching: bool,
    ) -> Result<Vec<PieceIndex>, Time> {
        if let Some(last) = self.last
            && rule == HaveRule::Crowds
            && now.since(last) < CROWD
            && leeching
        {
            return Err(last + CROWD);
        }
        let pieces = std::mem::take(&mut self.pieces);
        if !pieces.is_empty() {
            self.last = Some(now);
        }
        Ok(pieces)
    }
}
