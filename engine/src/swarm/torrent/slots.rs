//! What peers make of their upload slots: who lets one pass, who takes far less than it could have,
//! and whether there is one for a newcomer.

use super::SessionContext;
use super::connections::Connections;
use super::uploads::Uploads;
use crate::swarm::address::source_of;
use crate::swarm::choker::{ROUND, SLOW_SLOTS, TRIALS};
use crate::swarm::context::Outputs;
use crate::swarm::peer::Peer;
use crate::swarm::slot_memory::SlotMemory;
use dunlin_base::{ConnId, Time};
use std::time::Duration;

/// A peer that has just been let in and has asked for nothing yet has a slot on trial; one that
/// asks for nothing for so long keeps nobody out.
const TRIAL: Duration = Duration::from_secs(3);
/// A peer that asks for more than has gone is slow below this part of a fair share: others have
/// shown that more can be given, so it is its path that takes no more.
const SLOW_PART: u64 = 4;
/// A peer that asks for nothing more at the moment is slow below so many shares: it is given all
/// that it wants, and others may want more.
const IDLE_SHARES: u64 = 2;

/// What a peer that wants something may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotRoom {
    /// A slot.
    Slot,
    /// One on trial, beside the slots.
    Trial,
}

/// How many slots in a row a peer has let pass, the present one included where it took nothing of
/// it for a whole round though we were ready to give; and whether it is slow.
pub(super) fn judge(
    memory: &mut SlotMemory,
    peer: &mut Peer,
    share: Option<u64>,
    now: Time,
) -> (u32, bool) {
    let took = peer.slot.given.saturating_sub(peer.slot.given_before);
    peer.slot.given_before = peer.slot.given;
    // What waits here for the limit of our rate is not its fault.
    let held_back = !peer.queue.is_empty() && peer.serving.is_empty();
    let whole = now.since(*peer.slot.since.get_or_insert(now)) >= ROUND;
    if !peer.am_choking && peer.peer_interested && whole && !held_back {
        if took == 0 {
            peer.slot.unused = peer.slot.unused.saturating_add(1);
            memory.add_unused(now, peer.remote, peer.slot.unused);
        } else if let Some(share) = share {
            let slow =
                took < if peer.owed() == 0 { share * IDLE_SHARES } else { share / SLOW_PART };
            peer.slot.slow = Some(slow);
            memory.set_slow(now, peer.remote, slow);
        }
    }
    (wasted_so_far(memory, peer, now), slow_so_far(memory, peer, now))
}

/// The same as far as it is known. A peer that has taken something is judged by itself, all others
/// of a source by what that has let pass: connections are made faster than slots move on.
fn wasted_so_far(memory: &SlotMemory, peer: &Peer, now: Time) -> u32 {
    let of_source = match peer.moved {
        None => memory.unused(now, peer.remote),
        Some(_) => 0,
    };
    of_source.max(peer.slot.unused)
}

/// Whether it is slow as far as it is known: as its source is until it had a slot for a whole
/// round.
fn slow_so_far(memory: &SlotMemory, peer: &Peer, now: Time) -> bool {
    peer.slot.slow.unwrap_or_else(|| memory.was_slow(now, peer.remote))
}

/// Whether it makes use of its slot.
pub(super) fn uses_slot(peer: &Peer) -> bool {
    peer.slot.given > 0 || !peer.queue.is_empty() || !peer.serving.is_empty()
}

impl Uploads {
    /// What a peer that wants something may have at once: a slot is free, or, of a seed, as good as
    /// free, since nobody uses it and this one's source has none on trial.
    pub(super) fn room_for(
        &self,
        context: &SessionContext,
        connections: &Connections,
        downloads: bool,
        now: Time,
        conn: ConnId,
    ) -> Option<SlotRoom> {
        let peer = connections.peers.get(&conn)?;
        let memory = &context.slot_memory;
        if context.config.choker.unchokes_all() {
            return Some(SlotRoom::Slot);
        }
        let holders = || {
            let open = connections.peers.iter().filter(|(other, _)| **other != conn);
            open.map(|(_, other)| other).filter(|other| !other.am_choking && other.peer_interested)
        };
        if slow_so_far(memory, peer, now) {
            let slow = holders().filter(|other| slow_so_far(memory, other, now));
            return (slow.count() < SLOW_SLOTS).then_some(SlotRoom::Slot);
        }
        // A peer that let its last slot pass and has another one because nobody waited keeps nobody
        // out, and a slow peer has one besides.
        let taken =
            holders().filter(|other| other.slot.unused == 0 && !slow_so_far(memory, other, now));
        if taken.clone().count() < context.config.uploads.slots {
            return Some(SlotRoom::Slot);
        }
        if downloads || wasted_so_far(memory, peer, now) > 0 {
            return None;
        }
        let source = source_of(peer.remote);
        let fresh = |other: &&Peer| {
            !uses_slot(other) && other.slot.since.is_some_and(|at| now.since(at) < TRIAL)
        };
        let on_trial = || holders().filter(fresh);
        let free = taken.filter(|other| uses_slot(other)).count() < context.config.uploads.slots
            && on_trial().count() < TRIALS
            && !on_trial().any(|other| source_of(other.remote) == source);
        free.then_some(SlotRoom::Trial)
    }

    /// Before one more slot on trial is given: where that would be one too many, of the newcomer's
    /// source or in all, the one that was unused for longest goes. Its peer has let it pass.
    pub(super) fn end_a_trial(
        &self,
        connections: &mut Connections,
        memory: &mut SlotMemory,
        out: &mut Outputs,
        now: Time,
        newcomer: ConnId,
    ) {
        let source = connections.peers.get(&newcomer).and_then(|peer| source_of(peer.remote));
        let unused = connections.peers.iter().filter_map(|(conn, peer)| {
            let since = peer.slot.since.filter(|_| !peer.am_choking && !uses_slot(peer))?;
            Some((since, *conn, source_of(peer.remote)))
        });
        let of_source = unused.clone().filter(|(.., other)| *other == source).min();
        let oldest = || unused.clone().min().filter(|_| unused.clone().count() >= TRIALS);
        let Some((since, conn, _)) = of_source.or_else(oldest) else { return };
        if now.since(since) < TRIAL {
            return;
        }
        if let Some(peer) = connections.peers.get_mut(&conn) {
            peer.slot.unused = peer.slot.unused.saturating_add(1);
            memory.add_unused(now, peer.remote, peer.slot.unused);
        }
        connections.choke(out, self.choker.round(), conn);
    }
}
