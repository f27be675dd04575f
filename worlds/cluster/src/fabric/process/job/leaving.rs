//! How the processes of a job leave: rank 0 sends everyone its exit code, everyone acknowledges it
//! and sends nothing from then on, and when rank 0 has all acknowledgements, all leave MPI
//! together. Where a rank has died they leave without finalizing MPI, since the library would wait
//! for the dead.
//!
//! ```text
//!   rank 0 ── bye (code) ──▶ peer        quiet from here on
//!          ◀──── gone ───────            the last that it sends
//!          ── end ──────────▶            so have all others: finalize, or nobody does
//! ```

use super::{Job, JobEvent, SILENCE, TICK, lock};
use crate::fabric::process::carrier::{CarrierCommand, CarrierEvent};
use crate::fabric::process::message::ProcessMessage;
use crate::fabric::process::session::Session;
use crate::report::{EXIT_DISK, EXIT_FAILED, EXIT_OK, PeerReport, RunError};
use dunlin_base::Rank;
use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The longest time between the last message and the end of the MPI thread.
const FINALIZE: Duration = Duration::from_secs(10);
/// Rank 0 waits so long for all acknowledgements: a rank that lives may be starved, and leaving
/// without it looks like a failure to the launcher.
const PARTING: Duration = SILENCE;

impl Job {
    /// Every process's last step: rank 0 sends the run's exit code, and every peer that has none of
    /// its own takes it; no process returns before everything is sent. Returns this process's code.
    /// `code` of a peer counts only if rank 0 is gone.
    #[must_use]
    pub fn leave(&self, code: u8) -> u8 {
        self.leave_within(code, PARTING)
    }

    /// The same; rank 0 waits for so long.
    pub(crate) fn leave_within(&self, code: u8, patience: Duration) -> u8 {
        let (code, together) = if self.leads() {
            self.dismiss(code, patience)
        } else {
            // Longer than rank 0, which decides.
            self.await_bye(code, 2 * patience)
        };
        let watchers = self.state().host.stop();
        drop(watchers);
        let (sent, done) = channel();
        self.command(CarrierCommand::Finish { together, sent });
        if done.recv_timeout(FINALIZE).is_ok()
            && let Some(ended) = &self.0.ended
        {
            // A rank that dies now keeps everyone else waiting in the library; nothing is left to
            // do.
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
            self.send(*rank, &Session::Bye { code, together });
        }
        self.command(CarrierCommand::Quiet);
        let mut waiting = left.clone();
        let until = Instant::now() + patience;
        let mut died = false;
        while !waiting.is_empty() && Instant::now() < until {
            match self.next_event(TICK) {
                Some(JobEvent::Carrier(
                    from,
                    CarrierEvent::Message(ProcessMessage::Session(bytes)),
                )) if matches!(Session::decode(&bytes), Some(Session::Gone)) => {
                    waiting.remove(&from);
                }
                Some(JobEvent::Died(rank)) => {
                    self.announce_death(rank);
                    died |= left.contains(&rank);
                    waiting.remove(&rank);
                }
                Some(JobEvent::Carrier(rank, CarrierEvent::Lost(_))) => {
                    self.mark_dead(rank);
                    died |= left.contains(&rank);
                    waiting.remove(&rank);
                }
                Some(JobEvent::Failed(_)) => break,
                Some(_) | None => {}
            }
        }
        // Everyone does the same: a rank that finalizes alone waits for the others in vain.
        let together = together && waiting.is_empty() && !died;
        tracing::debug!(together, ?waiting, "everyone leaves");
        left.iter().for_each(|rank| self.send(*rank, &Session::End { together }));
        (code, together)
    }

    fn await_bye(&self, code: u8, patience: Duration) -> (u8, bool) {
        let mut last_event = Instant::now();
        let bye = loop {
            if let Some(bye) = self.state().bye {
                break Some(bye);
            }
            if self.is_dead(Rank::TRACKER) || last_event.elapsed() > SILENCE {
                break None;
            }
            match self.next_event(TICK) {
                Some(JobEvent::Carrier(
                    from,
                    CarrierEvent::Message(ProcessMessage::Session(bytes)),
                )) => self.take_bye(from, &bytes),
                Some(JobEvent::Died(rank)) => self.announce_death(rank),
                Some(JobEvent::Carrier(rank, CarrierEvent::Lost(_))) => _ = self.mark_dead(rank),
                Some(JobEvent::Carrier(Rank::TRACKER, _)) => last_event = Instant::now(),
                Some(JobEvent::Failed(_)) => break None,
                Some(JobEvent::Carrier(..) | JobEvent::Over | JobEvent::GivenUp(_)) | None => {}
            }
        };
        match bye {
            Some((code, together)) => {
                self.command(CarrierCommand::Quiet);
                self.send(Rank::TRACKER, &Session::Gone);
                (code, self.await_end(patience) && together)
            }
            None => (code, false),
        }
    }

    /// Waits until everyone else has nothing more to send: until then something may still come.
    /// Returns whether all leave together, which rank 0 decides.
    fn await_end(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(together) = self.state().end {
                return together;
            }
            if self.is_dead(Rank::TRACKER) {
                return false;
            }
            match self.next_event(TICK) {
                Some(JobEvent::Carrier(
                    from,
                    CarrierEvent::Message(ProcessMessage::Session(bytes)),
                )) => self.take_bye(from, &bytes),
                Some(JobEvent::Died(rank)) => self.announce_death(rank),
                Some(JobEvent::Carrier(rank, CarrierEvent::Lost(_))) => _ = self.mark_dead(rank),
                Some(JobEvent::Failed(_)) => return false,
                Some(_) | None => {}
            }
        }
        false
    }

    /// A peer whose part cannot begin reports why, instead of running it.
    pub(crate) fn refuse(&self, error: &RunError) {
        let report = Box::new(PeerReport::silent(self.0.rank));
        let errors = vec![error.clone()];
        self.send(Rank::TRACKER, &Session::Report { report, errors, interrupted: false });
    }

    /// Takes a message that came, if it is one of rank 0's last ones.
    pub(crate) fn take_bye(&self, from: Rank, bytes: &[u8]) {
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
