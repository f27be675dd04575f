//! Ranks that come when others have given them up: they are taken in, and the run waits for them.

use super::{Coordinator, CoordinatorInput, Life, Phase, PlannedMove};
use crate::cluster::{Admission, PlannedSets, admit};
use dunlin_base::{Rank, Time};
use dunlin_control::{Control, LinkFrom, Register, ShutdownReason, Start, TorrentAssignment};

impl Coordinator {
    /// A registration of a rank that was absent or dead. Before the start it counts like any other.
    pub(super) fn register_late(&mut self, now: Time, from: Rank, register: Box<Register>) {
        if let Err(fault) = register.check() {
            return self.refuse_fault(from, &fault);
        }
        self.outcome.absent.retain(|rank| *rank != from);
        self.outcome.dead.retain(|rank| *rank != from);
        self.outcome.failed.remove(&from);
        let at = self.outcome.returned.partition_point(|rank| *rank < from);
        if self.outcome.returned.get(at) != Some(&from) {
            self.outcome.returned.insert(at, from);
        }
        if let Some(peer) = self.peer_mut(from) {
            peer.last_received = now;
        }
        self.set_life(from, Life::Registered);
        if self.phase == Phase::Collecting {
            if let Some(peer) = self.peer_mut(from) {
                peer.register = Some(register);
            }
            return;
        }
        self.register_rank(from, &register);
        self.admit_late(from, &register);
    }

    /// Tells a late rank to go: for the sets that it wants as they are, and with what it brings.
    fn admit_late(&mut self, from: Rank, register: &Register) {
        let (infos, unwanted) = (self.table.infos(), self.table.unwanted());
        let settled = PlannedSets { torrents: &infos, unwanted: &unwanted, tree: &self.tree };
        let admission = admit(from, register, &self.rules(), settled);
        self.plan_late(from, &admission);
        let mut torrents = Vec::new();
        let mut wanted = Vec::new();
        for part in &admission.assignments {
            let whole = part.holding.as_ref().is_some_and(|held| held.whole);
            let settled = whole && !register.elsewhere;
            let link = match part.wants && !settled {
                true => self.late_link(from, part.torrent, part.holding.is_some()),
                false => None,
            };
            if let Some(held) = &part.holding {
                self.table.set_holding(
                    part.torrent,
                    held,
                    link.is_none() && (whole || !part.wants),
                );
            }
            if part.wants {
                wanted.push((part.torrent, link));
            }
            let pieces = infos.get(part.torrent.0 as usize).map_or(0, |info| info.hashes.len());
            torrents.push(TorrentAssignment {
                torrent: part.torrent,
                names: Vec::new(),
                pieces: pieces as u32,
                holds_all: whole && link.is_none(),
                wants: part.wants,
                link: link.and_then(|rank| self.link_from(rank)),
            });
        }
        let go = Start {
            torrents,
            missing: admission.missing,
            absent: self.outcome.absent.clone(),
            replace: admission.replace,
            entries: admission.entries,
        };
        self.send(from, Control::Start(Box::new(go)));
        for (torrent, link) in wanted {
            self.note_late(from, torrent, link);
        }
    }

    /// What the rank has to fetch, unless that was planned when it came for the first time.
    fn plan_late(&mut self, from: Rank, admission: &Admission) {
        let at = self.outcome.plan.partition_point(|planned| planned.rank < from);
        let known = self.outcome.plan.get(at).is_some_and(|planned| planned.rank == from);
        let wants =
            !admission.entries.is_empty() || admission.assignments.iter().any(|part| part.wants);
        if !known && wants {
            let planned = PlannedMove::new(from, admission.moved);
            self.outcome.bytes_wanted = self.outcome.bytes_wanted.saturating_add(planned.wanted());
            self.outcome.plan.insert(at, planned);
        }
    }

    /// From where others link what `rank` has.
    pub(super) fn link_from(&self, rank: Rank) -> Option<LinkFrom> {
        let location = self.peer(rank)?.location.as_ref()?;
        Some(LinkFrom { rank, dest: location.dest.clone() })
    }

    /// The run is over: whoever registers now has done nothing and must not think so.
    pub(super) fn refuse_late(&mut self, input: &CoordinatorInput) {
        let CoordinatorInput::Message { from, message: Control::Register(_) } = input else {
            return;
        };
        let text = match self.peer(*from).map(|peer| peer.life) {
            Some(Life::Absent) => self.too_late(*from),
            Some(Life::Dead) => {
                format!("rank {from} came back when the run was over; start again")
            }
            _ => return,
        };
        self.send(*from, Control::Shutdown(ShutdownReason::Refused(text)));
    }
}
