//! Whether a torrent goes on, and whether its pieces are known.

/// How far a torrent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// Its metadata comes later: nothing is known of its pieces (BEP 9).
    AwaitingMetadata,
    /// It asks for what it lacks and serves what it has.
    Running,
    /// Nothing is asked for or served: what is under way is brought to an end.
    Halted {
        /// Its metadata has not come.
        awaiting_metadata: bool,
    },
}

impl Lifecycle {
    pub(crate) fn new(awaiting_metadata: bool) -> Lifecycle {
        if awaiting_metadata { Lifecycle::AwaitingMetadata } else { Lifecycle::Running }
    }

    pub(crate) fn is_halted(self) -> bool {
        matches!(self, Lifecycle::Halted { .. })
    }

    pub(crate) fn awaits_metadata(self) -> bool {
        match self {
            Lifecycle::AwaitingMetadata => true,
            Lifecycle::Running => false,
            Lifecycle::Halted { awaiting_metadata } => awaiting_metadata,
        }
    }

    pub(crate) fn halt(&mut self) {
        *self = Lifecycle::Halted { awaiting_metadata: self.awaits_metadata() };
    }

    pub(crate) fn resume(&mut self) {
        *self = Lifecycle::new(self.awaits_metadata());
    }

    /// The metadata is here.
    pub(crate) fn set_metadata(&mut self) {
        *self = match self {
            Lifecycle::AwaitingMetadata | Lifecycle::Running => Lifecycle::Running,
            Lifecycle::Halted { .. } => Lifecycle::Halted { awaiting_metadata: false },
        };
    }
}
