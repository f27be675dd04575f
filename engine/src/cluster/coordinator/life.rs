//! Completion, silence, death, and the end of the run.

use super::{Coordinator, Life, Phase};
use crate::cluster::io::CoordinatorOutput;
use dunlin_base::{Rank, Time};
use dunlin_control::{Control, FailedFile, ShutdownReason};

impl Coordinator {
    /// A rank has all that it wanted, or says why not. It goes on serving.
    pub(super) fn complete(&mut self, from: Rank, failed: Vec<FailedFile>) {
        if !self.peer(from).is_some_and(|peer| peer.life == Life::Registered) {
            return;
        }
        self.set_life(from, Life::Complete);
        // Who was lost and came back may have been complete before.
        if !self.outcome.completed.contains(&from) {
            self.outcome.completed.push(from);
        }
        if !failed.is_empty() {
            self.outcome.failed.insert(from, failed);
        }
        self.finish_links(from);
    }

    /// A rank lives. Whoever is given up only comes back by registering, and whoever has yet to
    /// come is expected to make progress.
    pub(super) fn received(&mut self, now: Time, rank: Rank) {
        if let Some(peer) = self.peer_mut(rank)
            && matches!(peer.life, Life::Registered | Life::Complete)
        {
            peer.last_received = now;
            self.rearm(rank);
        }
    }

    /// Deals with every deadline that has passed.
    pub(super) fn expire(&mut self, now: Time) {
        let passed = self.due.iter().take_while(|(at, _)| *at <= now);
        let mut passed: Vec<Rank> = passed.map(|(_, rank)| *rank).collect();
        passed.sort_unstable();
        self.expire_loads(now);
        for rank in passed {
            match self.peer(rank).map(|peer| peer.life) {
                Some(Life::Expected) => self.mark_absent(rank),
                _ => self.mark_dead(rank),
            }
        }
    }

    /// A rank is gone: it leaves all swarms, and the others are told. Who is absent or dead already
    /// cannot die.
    pub(super) fn mark_dead(&mut self, rank: Rank) {
        match self.peer(rank).map(|peer| peer.life) {
            Some(Life::Expected | Life::Registered | Life::Complete) => {}
            Some(Life::Absent | Life::Dead) | None => return,
        }
        self.set_life(rank, Life::Dead);
        if let Some(peer) = self.peer_mut(rank) {
            peer.register = None;
        }
        self.table.leave(rank);
        self.forget_load(rank);
        self.drop_links(rank);
        self.forget_vain(rank);
        let at = self.outcome.dead.partition_point(|other| *other < rank);
        self.outcome.dead.insert(at, rank);
        let others: Vec<Rank> = self
            .lives()
            .filter(|(_, life)| matches!(life, Life::Registered | Life::Complete))
            .map(|(rank, _)| rank)
            .collect();
        for other in others {
            self.send(other, Control::Departed { rank });
        }
    }

    /// Tells everyone who may be listening, and is finished.
    pub(super) fn end(&mut self, reason: &ShutdownReason) {
        let lives: Vec<(Rank, Life)> = self.lives().collect();
        for (rank, life) in lives {
            let reason = match life {
                Life::Dead => continue,
                // It has done nothing: it must not think so.
                Life::Absent if *reason == ShutdownReason::Done => {
                    ShutdownReason::Refused(self.too_late(rank))
                }
                _ => reason.clone(),
            };
            self.send(rank, Control::Shutdown(reason));
        }
        self.waiting.clear();
        self.phase = Phase::Finished;
        self.queue.push_back(CoordinatorOutput::Finished);
    }
}
