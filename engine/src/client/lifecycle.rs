//! How far a torrent of a client is, from being added to being gone.
//!
//! ```text
//!   Active(Closed) ─▶ Active(Opening) ─▶ Active(Open)      a check again goes back to Opening
//!         │                 │                 │
//!         ▼       end       ▼                 ▼            it halts, and comes to rest
//!   Ending(Closed) ◀─ Ending(Closing) ◀─ Ending(Open)
//!         │
//!         ▼
//!   Active(Closed), or gone once the trackers know
//! ```

/// What comes when a torrent that halts has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingClose {
    /// Its files are closed; it stays on the list.
    Close,
    /// Its files are closed, and it goes.
    Remove,
    /// Its files are checked again.
    Check,
}

/// How far its files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// Not open.
    Closed,
    /// Being opened.
    Opening,
    /// Open.
    Open,
    /// Being closed.
    Closing,
}

/// Whether it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryPhase {
    Active(Storage),
    Ending(Storage, PendingClose),
}

/// How far a torrent is, and whether it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryLifecycle {
    phase: EntryPhase,
    /// Somebody wants it to wait.
    paused: bool,
}

impl EntryLifecycle {
    pub(super) fn new(paused: bool) -> EntryLifecycle {
        EntryLifecycle { phase: EntryPhase::Active(Storage::Closed), paused }
    }

    pub(super) fn storage(self) -> Storage {
        match self.phase {
            EntryPhase::Active(storage) | EntryPhase::Ending(storage, _) => storage,
        }
    }

    pub(super) fn set_storage(&mut self, storage: Storage) {
        self.phase = match self.phase {
            EntryPhase::Active(_) => EntryPhase::Active(storage),
            EntryPhase::Ending(_, then) => EntryPhase::Ending(storage, then),
        };
    }

    /// What comes when it has come to rest, if it ends.
    pub(super) fn ending(self) -> Option<PendingClose> {
        match self.phase {
            EntryPhase::Active(_) => None,
            EntryPhase::Ending(_, then) => Some(then),
        }
    }

    pub(super) fn is_ending(self) -> bool {
        self.ending().is_some()
    }

    pub(super) fn is_paused(self) -> bool {
        self.paused
    }

    /// Whether its files are open, and stay so.
    pub(super) fn is_open(self) -> bool {
        self.phase == EntryPhase::Active(Storage::Open)
    }

    /// Whether it downloads and serves.
    pub(super) fn runs(self) -> bool {
        self.is_open() && !self.paused
    }

    /// It waits from now on. Returns whether something has to stop for that.
    pub(super) fn pause(&mut self) -> bool {
        !std::mem::replace(&mut self.paused, true) && !self.is_ending()
    }

    /// It waits no longer.
    pub(super) fn resume(&mut self) {
        self.paused = false;
    }

    /// It ends. A torrent that is removed stays so.
    pub(super) fn end(&mut self, then: PendingClose) {
        if self.ending() != Some(PendingClose::Remove) {
            self.phase = EntryPhase::Ending(self.storage(), then);
        }
    }

    /// It goes on: nothing comes when it rests.
    pub(super) fn go_on(&mut self) {
        self.phase = EntryPhase::Active(self.storage());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_stays_removed() {
        let mut lifecycle = EntryLifecycle::new(false);
        lifecycle.set_storage(Storage::Open);
        lifecycle.end(PendingClose::Check);
        assert!(!lifecycle.is_open() && lifecycle.storage() == Storage::Open);
        lifecycle.end(PendingClose::Remove);
        lifecycle.end(PendingClose::Close);
        assert_eq!(lifecycle.ending(), Some(PendingClose::Remove));
    }

    #[test]
    fn a_pause_stops_only_what_goes_on() {
        let mut lifecycle = EntryLifecycle::new(false);
        lifecycle.set_storage(Storage::Open);
        assert!(lifecycle.runs() && lifecycle.pause() && !lifecycle.pause());
        assert!(lifecycle.is_open() && !lifecycle.runs());
        lifecycle.resume();
        lifecycle.end(PendingClose::Close);
        assert!(!lifecycle.pause() && lifecycle.is_paused());
        lifecycle.go_on();
        assert!(lifecycle.is_open());
    }
}
