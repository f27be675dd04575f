//! The start barrier: who is awaited, and what happens when nobody is any more.

use super::{Coordinator, Life, Phase, PlannedMove, RankState, Refusal, RefusalKind};
use crate::cluster::{Conflict, OnConflict, Rules, Sets, SwarmTable, make_sets};
use dunlin_base::{Rank, Time, TorrentId, format_size};
use dunlin_control::{
    Control, ControlError, Register, ShutdownReason, Space, Start, TorrentAssignment,
};
use std::collections::BTreeMap;
use std::fmt::Display;

impl RankState {
    /// Only progress keeps the barrier waiting: a rank that repeats itself is stuck.
    pub(super) fn checking(&mut self, now: Time, done: u64, total: u64) {
        if self.life == Life::Expected && self.checked.replace((done, total)) != Some((done, total))
        {
            self.progress = now;
        }
    }
}

impl Coordinator {
    /// The first registration of a rank counts. One that makes no sense is refused, and the others
    /// go on without that rank.
    pub(super) fn register(&mut self, from: Rank, register: Box<Register>) {
        if !self.peer(from).is_some_and(|peer| peer.life == Life::Expected) {
            return;
        }
        if let Err(fault) = register.check() {
            self.mark_absent(from);
            return self.refuse_fault(from, &fault);
        }
        self.set_life(from, Life::Registered);
        if let Some(peer) = self.peer_mut(from) {
            peer.register = Some(register);
        }
    }

    /// Tells a rank that its registration makes no sense.
    pub(super) fn refuse_fault(&mut self, rank: Rank, fault: &ControlError) {
        let text = format!("rank {rank} cannot take part: {fault}");
        self.send(rank, Control::Shutdown(ShutdownReason::Refused(text)));
    }

    /// Notes down where a rank is, whether it serves, and whether it awaits its answers.
    pub(super) fn register_rank(&mut self, rank: Rank, register: &Register) {
        if !register.shares {
            self.table.hide(rank);
        }
        if let Some(location) = &register.location {
            self.table.set_rack(rank, &location.rack);
        }
        if let Some(peer) = self.peer_mut(rank) {
            peer.location = register.location.clone().map(Box::new);
            peer.awaits_answers = register.awaits_answers;
        }
    }

    /// Nobody waits for this rank any more.
    pub(super) fn mark_absent(&mut self, rank: Rank) {
        self.set_life(rank, Life::Absent);
        let at = self.outcome.absent.partition_point(|other| *other < rank);
        self.outcome.absent.insert(at, rank);
    }

    /// What an absent rank is told.
    pub(super) fn too_late(&self, rank: Rank) -> String {
        let seconds = self.config.start_timeout.as_secs_f64();
        format!(
            "rank {rank} did not register in time (no progress for {seconds} s), and the others \
             went on without it; start again, or allow more time with --start-timeout"
        )
    }

    /// Everyone who will come is here: makes the sets, and opens the barrier unless something
    /// speaks against it.
    pub(super) fn start(&mut self, now: Time) {
        let registers: Vec<(Rank, Box<Register>)> = self
            .ranks()
            .zip(&mut self.peers)
            .filter_map(|(rank, peer)| peer.register.take().map(|register| (rank, register)))
            .collect();
        if registers.is_empty() {
            return self.end(&ShutdownReason::Done);
        }
        let borrowed: Vec<(Rank, &Register)> =
            registers.iter().map(|(rank, register)| (*rank, &**register)).collect();
        let mut sets = make_sets(&borrowed, &self.rules());
        self.plan(&mut sets);
        if let Some(mut refusal) = refusal(&sets, &borrowed, self.config.placing) {
            let advice = advice(&refusal, &sets, &borrowed, &self.rules());
            refusal.text = format!("{}; nothing was moved: {advice}", refusal.text);
            let reason = ShutdownReason::Refused(refusal.text.clone());
            self.outcome.refusal = Some(refusal);
            return self.end(&reason);
        }
        self.table = SwarmTable::new(&sets, self.config.map);
        if self.config.check_only {
            self.outcome.failed = sets.missing;
            return self.end(&ShutdownReason::Checked);
        }
        for (rank, register) in &registers {
            self.register_rank(*rank, register);
        }
        self.note_links(&sets.torrents);
        self.tree = std::mem::take(&mut sets.tree);
        self.phase = Phase::Running;
        self.go(now, sets);
        self.send_ready_links();
    }

    fn plan(&mut self, sets: &mut Sets) {
        for (rank, moved) in &sets.moves {
            let planned = PlannedMove::new(*rank, *moved);
            self.outcome.bytes_wanted = self.outcome.bytes_wanted.saturating_add(planned.wanted());
            self.outcome.plan.push(planned);
        }
        self.outcome.notes = std::mem::take(&mut sets.notes);
        self.outcome.differs = std::mem::take(&mut sets.differs);
    }

    fn go(&mut self, now: Time, mut sets: Sets) {
        let mut assignments: BTreeMap<Rank, Vec<TorrentAssignment>> = BTreeMap::new();
        for (number, set) in (0..).map(TorrentId).zip(&sets.torrents) {
            let mut parts: BTreeMap<Rank, bool> =
                set.wanters.iter().map(|rank| (*rank, false)).collect();
            parts.extend(set.holders.iter().map(|held| (held.rank, held.whole)));
            for (rank, holds_all) in parts {
                // The names are filled in when the message leaves.
                let (names, wants) = (Vec::new(), set.wants(rank));
                let pieces = set.info.hashes.len() as u32;
                let link = set.links.get(&rank).and_then(|from| self.link_from(*from));
                let holds_all = holds_all && link.is_none();
                let assignment =
                    TorrentAssignment { torrent: number, names, pieces, holds_all, wants, link };
                assignments.entry(rank).or_default().push(assignment);
            }
        }
        let living: Vec<Rank> = self
            .lives()
            .filter(|(_, life)| *life == Life::Registered)
            .map(|(rank, _)| rank)
            .collect();
        for rank in living {
            if let Some(peer) = self.peer_mut(rank) {
                // The barrier may have taken long for the tracker itself: silence counts from now
                // on.
                peer.last_received = peer.last_received.max(now);
            }
            self.rearm(rank);
            let go = Start {
                torrents: assignments.remove(&rank).unwrap_or_default(),
                missing: sets.missing.remove(&rank).unwrap_or_default(),
                absent: self.outcome.absent.clone(),
                replace: sets.replace.remove(&rank).unwrap_or_default(),
                entries: sets.entries.remove(&rank).unwrap_or_default(),
            };
            self.send(rank, Control::Start(Box::new(go)));
        }
    }
}

/// Why nothing may move, the weightiest reason first. When placing, space is each rank's own
/// matter.
fn refusal(sets: &Sets, registers: &[(Rank, &Register)], placing: bool) -> Option<Refusal> {
    if let Some(text) = first_of(&sets.conflicts) {
        let conflict = sets.conflicts.first().cloned();
        return Some(Refusal { kind: RefusalKind::Conflict, text, conflict });
    }
    if let Some(text) = first_of(&sets.obstacles) {
        return Some(Refusal { kind: RefusalKind::Obstacle, text, conflict: None });
    }
    let refusal = |text| Refusal { kind: RefusalKind::NoSpace, text, conflict: None };
    no_space(sets, registers).filter(|_| !placing).map(refusal)
}

/// What to do about a refusal. An option is named only if the run with it is not refused: that is
/// tried.
fn advice(
    refusal: &Refusal,
    sets: &Sets,
    registers: &[(Rank, &Register)],
    rules: &Rules<'_>,
) -> String {
    let helps = |on_conflict: OnConflict, force: bool| {
        let rules = Rules { on_conflict, force, ..*rules };
        let sets = make_sets(registers, &rules);
        self::refusal(&sets, registers, rules.placing).is_none()
    };
    match refusal.kind {
        RefusalKind::Conflict => {
            let lowest = OnConflict::LowestRank;
            let force = !rules.force && helps(rules.on_conflict, true);
            let settled = match () {
                () if helps(lowest, rules.force) => Some(""),
                () if helps(lowest, true) => Some(" --force"),
                () => None,
            };
            ways_out(&sets.conflicts, force, settled)
        }
        RefusalKind::Obstacle if helps(rules.on_conflict, true) => {
            "move such files out of the way, or let them be replaced with --force".to_owned()
        }
        RefusalKind::Obstacle => "move such files out of the way".to_owned(),
        RefusalKind::NoSpace => "make room, or write to another place".to_owned(),
    }
}

/// What to do about owners that disagree: whether `--force` is enough, and what is to be said
/// beside `--on-conflict lowest-rank`, if that is.
fn ways_out(conflicts: &[Conflict], force: bool, settled: Option<&str>) -> String {
    let gives_way = conflicts.first().and_then(|first| first.gives_way);
    let mut ways = vec!["make the copies equal".to_owned()];
    if let Some(rank) = gives_way.filter(|_| force) {
        ways.push(format!("replace the copy of rank {rank}, which wants it, with --force"));
    }
    if let Some(more) = settled {
        let replaces = if more.is_empty() { "" } else { " and replace those that differ" };
        ways.push(format!(
            "let the lowest rank's content count{replaces} with --on-conflict lowest-rank{more}"
        ));
    }
    let last = ways.pop().unwrap_or_default();
    match ways.len() {
        0 => last,
        _ => format!("{}, or {last}", ways.join(", ")),
    }
}

/// The first of several reasons, and how many more there are.
fn first_of<T: Display>(found: &[T]) -> Option<String> {
    let first = found.first()?;
    Some(match found.len() {
        1 => first.to_string(),
        all => format!("{first} (and {} more like it)", all - 1),
    })
}

/// Adds up what is still to come by device, against the least free space that any rank saw there.
fn no_space(sets: &Sets, registers: &[(Rank, &Register)]) -> Option<String> {
    let mut devices: BTreeMap<u64, (u64, u64, Vec<Rank>)> = BTreeMap::new();
    for (rank, register) in registers {
        let Some(Space { device, free }) = register.space else { continue };
        let entry = devices.entry(device).or_insert((0, free, Vec::new()));
        entry.1 = entry.1.min(free);
        let bytes = sets.moves.get(rank).map_or(0, |moved| moved.bytes);
        if bytes > 0 {
            entry.0 = entry.0.saturating_add(bytes);
            entry.2.push(*rank);
        }
    }
    let (needed, free, ranks) = devices.into_values().find(|(needed, free, _)| needed > free)?;
    let names: Vec<String> = ranks.iter().take(8).map(ToString::to_string).collect();
    let (noun, more) =
        (if ranks.len() == 1 { "rank" } else { "ranks" }, if ranks.len() > 8 { ", …" } else { "" });
    Some(format!(
        "{noun} {}{more} would write {} ({needed} bytes), but only {} ({free} bytes) are free \
         there",
        names.join(", "),
        format_size(needed),
        format_size(free),
    ))
}
