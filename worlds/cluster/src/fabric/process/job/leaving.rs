//! How the processes of a job part: rank 0 gives everyone its exit code, everyone says that it has heard
//! it and is silent from then on, and when rank 0 has heard that of all, all leave MPI together. Where
//! somebody has died they leave without it, since the library would wait for the dead.
//!
//! ```text
//!   rank 0 ── bye (code) ──▶ peer        quiet from here on
//!          ◀──── gone ───────            the last that it says
//!          ── end ──────────▶            so have all others: finalize, or nobody does
//! ```

use super::{Job, News, SILENCE, TICK, lock};
use crate::fabric::process::carrier::{Order, Word};
use crate::fabric::process::session::Session;
use crate::report::{EXIT_DISK, EXIT_FAILED, EXIT_OK, PeerReport, RunError};
use dunlin_base::Rank;
use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// What may pass between the last word and the end of the MPI thread.
const FINALIZE: Duration = Duration::from_secs(10);
/// Rank 0 waits so long for everyone to have heard the last word: one that lives may be starved, and
/// leaving without it looks like a failure to the launcher.
const PARTING: Duration = SILENCE;

impl Job {
    /// Everyone's last step: rank 0 gives the run's exit code, and every peer that has none of its own
    /// gets it; nobody returns before everything is sent. Returns this process's code. `code` of a
    /// peer counts only if rank 0 is gone.
    #[must_use]
    pub fn leave(&self, code: u8) -> u8 {
        self.leave_within(code, PARTING)
    }

    /// The same; rank 0 waits for so long.
    pub(crate) fn leave_within(&self, code: u8, patience: Duration) -> u8 {
        let (code, together) = if self.leads() {
            self.dismiss(code, patience)
        } else {
            // Longer than rank 0, whose word it is.
            self.await_bye(code, 2 * patience)
        };
        let watchers = self.state().host.stop();
        drop(watchers);
        let (sent, done) = channel();
        self.order(Order::Finish { together, sent });
        if done.recv_timeout(FINALIZE).is_ok()
            && let Some(ended) = &self.0.ended
        {
            // A rank that dies now keeps everyone else waiting in the library; nothing is left to do.
            let _ = lock(ended).recv_timeout(FINALIZE);
        }
        code
    }

    fn dismiss(&self, code: u8, patience: Duration) -> (u8, bool) {
        let state = self.state();
        let dead = state.host.dead();
        let together = dead.is_empty();
        let left: BTreeSet<Rank> = self.peers().filter(|rank| !dead.contains(rank)).collect();
        let codes = state.codes.clone();
        drop(state);
        // What ended the run as a whole is everyone's code.
        let of_ranks = matches!(code, EXIT_OK | EXIT_FAILED | EXIT_DISK);
        for rank in &left {
            let own = codes.get(rank).copied().filter(|_| of_ranks);
            let code = own.unwrap_or(code);
            self.say(*rank, &Session::Bye { code, together });
        }
        self.order(Order::Quiet);
        let mut waiting = left.clone();
        let until = Instant::now() + patience;
        let mut died = false;
        while !waiting.is_empty() && Instant::now() < until {
            match self.next(TICK) {
                Some(News::Word(from, Word::Session(bytes)))
                    if matches!(Session::decode(&bytes), Some(Session::Gone)) =>
                {
                    waiting.remove(&from);
                }
                Some(News::Died(rank)) => {
                    self.announce_death(rank);
                    died |= left.contains(&rank);
                    waiting.remove(&rank);
                }
                Some(News::Word(rank, Word::Lost(_))) => {
                    self.mark_dead(rank);
                    died |= left.contains(&rank);
                    waiting.remove(&rank);
                }
                Some(News::Failed(_)) => break,
                Some(_) | None => {}
            }
        }
        // Everyone does the same: who finalizes alone waits for the others in vain.
        let together = together && waiting.is_empty() && !died;
        tracing::debug!(together, ?waiting, "everyone leaves");
        left.iter().for_each(|rank| self.say(*rank, &Session::End { together }));
        (code, together)
    }

    fn await_bye(&self, code: u8, patience: Duration) -> (u8, bool) {
        let mut heard = Instant::now();
        let bye = loop {
            if let Some(bye) = self.state().bye {
                break Some(bye);
            }
            if self.is_dead(Rank::TRACKER) || heard.elapsed() > SILENCE {
                break None;
            }
            match self.next(TICK) {
                Some(News::Word(from, Word::Session(bytes))) => self.hear_bye(from, &bytes),
                Some(News::Died(rank)) => self.announce_death(rank),
                Some(News::Word(rank, Word::Lost(_))) => _ = self.mark_dead(rank),
                Some(News::Word(Rank::TRACKER, _)) => heard = Instant::now(),
                Some(News::Failed(_)) => break None,
                Some(News::Word(..) | News::Over | News::GivenUp(_)) | None => {}
            }
        };
        match bye {
            Some((code, together)) => {
                self.order(Order::Quiet);
                self.say(Rank::TRACKER, &Session::Gone);
                (code, self.await_end(patience) && together)
            }
            None => (code, false),
        }
    }

    /// Waits until everyone else has nothing more to say: until then something may still come.
    /// Returns whether all leave together; nobody does if rank 0 does not say so.
    fn await_end(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(together) = self.state().end {
                return together;
            }
            if self.is_dead(Rank::TRACKER) {
                return false;
            }
            match self.next(TICK) {
                Some(News::Word(from, Word::Session(bytes))) => self.hear_bye(from, &bytes),
                Some(News::Died(rank)) => self.announce_death(rank),
                Some(News::Word(rank, Word::Lost(_))) => _ = self.mark_dead(rank),
                Some(News::Failed(_)) => return false,
                Some(_) | None => {}
            }
        }
        false
    }

    /// A peer whose part cannot begin says why, instead of running it.
    pub(crate) fn refuse(&self, error: &RunError) {
        let report = Box::new(PeerReport::silent(self.0.rank));
        let errors = vec![error.clone()];
        self.say(Rank::TRACKER, &Session::Report { report, errors, interrupted: false });
    }

    /// Keeps rank 0's last words, should this be one of them.
    pub(crate) fn hear_bye(&self, from: Rank, bytes: &[u8]) {
        if from != Rank::TRACKER {
            return;
        }
        match Session::decode(bytes) {
            Some(Session::Bye { code, together }) => self.state().bye = Some((code, together)),
            Some(Session::End { together }) => self.state().end = Some(together),
            _ => {}
        }
    }

    /// Whether rank 0 has sent everyone away.
    pub(crate) fn dismissed(&self) -> bool {
        self.state().bye.is_some()
    }
}
