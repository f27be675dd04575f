//! Honest nodes in virtual time, with strangers around them and disks that fail: drawn from a seed,
//! run, and judged. The same seed is the same run, bit for bit. Strangers have no queue of events:
//! a strategy is asked for its next wake, and reads when its socket has something and its own pace
//! allows.

mod plan;

use crate::line::Line;
use crate::strategy::Target;
use crate::world::{T, World, adding, byte_streams, magnet, peer_id, torrent};
use dunlin_base::{ConnId, Endpoint, PieceIndex, Rng, Time};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::io::{ClientEvent, Source, TorrentState};
use dunlin_metainfo::Torrent;
use dunlin_simnet::EventQueue;
pub use plan::{Fault, Member, Plan, Stranger};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What one connection may hold besides what waits when reading from it stops: the longest answer
/// to one message (8192 hashes and their proof), the blocks of an upload window (32 of 16 KiB), and
/// what others bring about (a HAVE for every piece, chokes, keep-alives).
pub const HELD: usize = byte_streams::UNREAD + (257 << 10) + (512 << 10) + (64 << 10);
/// Steps at one moment after which nothing comes to rest.
const RESTLESS: u32 = 100_000;

/// What came of a siege.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Honest peers that have everything.
    pub complete: usize,
    /// Honest peers that have not, with their reasons.
    pub excused: Vec<String>,
    /// Connections that strangers had.
    pub connections: u64,
    /// Messages that strangers got.
    pub messages: u64,
    /// The most bytes that were held for one connection.
    pub held: usize,
    /// When the last honest peer was complete.
    pub took: Duration,
}

/// Something that happens to an honest peer.
enum Change {
    /// The member of this number joins.
    Join(usize),
    /// The disk of this host is not what it was.
    Fault(usize, Fault),
}

/// A stranger in the world.
struct Attacker {
    plan: Stranger,
    host: usize,
    /// Connections that it has, or is making.
    open: usize,
    next_dial: Time,
}

/// A connection of a stranger.
struct Open {
    line: Line,
    attacker: usize,
    dialled: bool,
    /// When what has come to it is looked at.
    look: Option<Time>,
}

/// A running siege.
pub struct Siege {
    /// The world, for tests that want to look closer.
    pub world: World,
    /// The honest peers' hosts, in the order of the plan's members.
    pub members: Vec<usize>,
    plan: Plan,
    torrent: Arc<Torrent>,
    target: Arc<Target>,
    attackers: Vec<Attacker>,
    lines: BTreeMap<ConnId, Open>,
    /// What happens to honest peers; a join before a fault of the same time.
    changes: EventQueue<Change>,
    /// Members that have not joined yet.
    absent: usize,
    rng: Rng,
    restless: (Time, u32),
    outcome: Outcome,
}

impl Siege {
    /// A siege at its beginning.
    #[must_use]
    pub fn new(plan: Plan) -> Siege {
        let torrent = torrent(plan.format, plan.piece_length, &plan.lengths);
        let mut world = World::new();
        world.keeps_log = false;
        world.refused_after = Duration::from_secs(15);
        let members: Vec<usize> = plan
            .members
            .iter()
            .map(|member| {
                let seed = plan.seed * 1000 + world.hosts.len() as u64;
                let memory = member.memory;
                let host = world.host(ClientConfig { seed, memory, ..ClientConfig::default() });
                let disk = &mut world.hosts[host].disk;
                (disk.full_copy, disk.budget) = (member.seeds, Some(memory));
                disk.delay = member.disk_delay;
                world.set_uplink(host, member.uplink);
                host
            })
            .collect();
        let geometry = torrent.geometry(dunlin_metainfo::BLOCK_LENGTH);
        let hash = torrent.hashes.first();
        let mut target =
            Target::of(hash, geometry.pieces(), plan.piece_length, geometry.total_len());
        target.roots = torrent.files.iter().filter_map(|file| file.root).collect();
        target.peer_ids = members.iter().map(|host| peer_id(*host)).collect();
        target.metadata_size = torrent.info().len() as u32;
        (target.tempo, target.burst) = (plan.tempo, plan.burst);
        let attackers = plan.strangers.iter().map(|stranger| {
            let host = world.scripted();
            world.hosts[host].wired = true;
            if let Some(address) = stranger.address {
                world.hosts[host].address = SocketAddr::new(address, 6881);
            }
            world.hosts[host].listens = stranger.listens;
            if stranger.enlisted {
                world.enlist(host, hash);
            }
            Attacker { plan: stranger.clone(), host, open: 0, next_dial: Time::ZERO }
        });
        let attackers = attackers.collect();
        let mut changes = EventQueue::new();
        for (index, member) in plan.members.iter().enumerate() {
            changes.schedule(Time::ZERO + member.joins, Change::Join(index));
        }
        let mut faults = plan.faults.clone();
        faults.sort_by_key(|(at, member, _)| (*at, members[*member]));
        for (at, member, fault) in faults {
            changes.schedule(Time::ZERO + at, Change::Fault(members[member], fault));
        }
        let rng = Rng::fork(plan.seed, 77);
        Siege {
            world,
            members,
            torrent,
            target: Arc::new(target),
            attackers,
            lines: BTreeMap::new(),
            changes,
            absent: plan.members.len(),
            rng,
            restless: (Time::ZERO, 0),
            outcome: Outcome::default(),
            plan,
        }
    }

    /// Runs it to its end and judges it.
    ///
    /// # Errors
    /// One line that names the first honest peer that neither completed nor named a reason, or the
    /// bound that did not hold.
    ///
    /// # Panics
    /// If an invariant of the engine does not hold.
    pub fn run(&mut self) -> Result<Outcome, String> {
        let end = Time::ZERO + self.plan.lasts;
        while self.step(end)? {}
        self.judge()?;
        Ok(self.outcome.clone())
    }

    /// The next thing happens; false at the end.
    ///
    /// # Errors
    /// As [`Siege::run`].
    pub fn step(&mut self, end: Time) -> Result<bool, String> {
        let now = self.world.now();
        let lines = self.lines.iter().flat_map(|(conn, open)| {
            let waits =
                self.world.wires.all.get(conn).is_some_and(byte_streams::Wire::has_for_stranger);
            let looks = open.look.filter(|_| waits && open.line.readable() > 0);
            [open.line.next_wake(), looks]
        });
        let dials = self.attackers.iter().filter(|one| one.open < one.plan.connections);
        let next = lines
            .flatten()
            .chain(dials.map(|one| one.next_dial))
            .chain(self.world.next_event())
            .chain(self.changes.next_at())
            .min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.world.advance_clock(end);
            return Ok(false);
        };
        self.world.advance(next.max(now));
        self.rest()?;
        self.changes();
        self.dial();
        self.lines();
        while self.world.read_wires() {
            self.restless.1 += 1;
            if self.restless.1 > RESTLESS {
                break;
            }
        }
        self.lines_changed();
        self.check()?;
        self.note_progress();
        Ok(true)
    }

    fn rest(&mut self) -> Result<(), String> {
        let now = self.world.now();
        if self.restless.0 != now {
            self.restless = (now, 0);
        }
        self.restless.1 += 1;
        if self.restless.1 > RESTLESS {
            return Err(format!("nothing comes to rest at {now:?}"));
        }
        Ok(())
    }

    /// Honest peers join, disks fail and recover.
    fn changes(&mut self) {
        let now = self.world.now();
        while let Some(change) = self.changes.pop(now) {
            match change {
                Change::Join(index) => self.join(index),
                Change::Fault(host, fault) => self.fault(host, fault),
            }
        }
    }

    fn join(&mut self, index: usize) {
        self.absent -= 1;
        let host = self.members[index];
        let source = if self.plan.members[index].magnet {
            magnet(self.torrent.hashes)
        } else {
            Source::Metainfo(Arc::clone(&self.torrent))
        };
        self.world.add(host, adding(source, host));
    }

    fn fault(&mut self, host: usize, fault: Fault) {
        let pieces = u64::from(self.target.pieces);
        let disk = &mut self.world.hosts[host].disk;
        match fault {
            Fault::Full(full) => disk.full = full,
            Fault::Broken => disk.broken = true,
            Fault::Slow(delay) => disk.delay = delay,
            Fault::Changed(count) => {
                let drawn = (0..count).map(|_| PieceIndex(self.rng.below(pieces) as u32));
                disk.changed.extend(drawn);
            }
        }
    }

    fn dial(&mut self) {
        let now = self.world.now();
        for attacker in &mut self.attackers {
            while attacker.open < attacker.plan.connections && attacker.next_dial <= now {
                let drawn = self.rng.below(self.members.len() as u64) as usize;
                attacker.open += 1;
                // One after another, and none so fast that nothing else happens.
                attacker.next_dial = now + self.plan.tempo / 4;
                self.world.stranger_dials(attacker.host, self.members[drawn]);
            }
        }
    }

    /// Connections of strangers that came and went.
    fn lines_changed(&mut self) {
        let now = self.world.now();
        for (conn, dialled) in std::mem::take(&mut self.world.wires.opened) {
            let Some(wire) = self.world.wires.all.get(&conn) else { continue };
            let host = wire.stranger;
            let Some(attacker) = self.attackers.iter().position(|one| one.host == host) else {
                continue;
            };
            self.outcome.connections += 1;
            let kind = self.attackers[attacker].plan.kind;
            let mut line = Line::new(kind, Arc::clone(&self.target), self.rng.next_u64());
            line.opened(now, dialled);
            self.lines.insert(conn, Open { line, attacker, dialled, look: None });
        }
        for conn in std::mem::take(&mut self.world.wires.over) {
            let Some(open) = self.lines.remove(&conn) else { continue };
            self.outcome.messages += open.line.received().messages;
            if open.dialled {
                let pause = self.plan.tempo * self.attackers[open.attacker].plan.pause;
                let attacker = &mut self.attackers[open.attacker];
                attacker.open = attacker.open.saturating_sub(1);
                attacker.next_dial = attacker.next_dial.max(now + pause);
            }
        }
    }

    /// Every stranger has a turn on each of its connections.
    fn lines(&mut self) {
        self.lines_changed();
        let (now, delay) = (self.world.now(), self.world.delay());
        let conns: Vec<ConnId> = self.lines.keys().copied().collect();
        for conn in conns {
            let Some(open) = self.lines.get_mut(&conn) else { continue };
            let Some(wire) = self.world.wires.all.get_mut(&conn) else { continue };
            if wire.has_for_stranger() && open.look.is_none() {
                open.look = Some(now + delay);
            }
            open.line.wake(now);
            let most = open.line.readable();
            if open.look.is_some_and(|at| at <= now) && most > 0 {
                open.look = None;
                let bytes = self.world.stranger_reads(conn, most);
                open.line.receive(now, &bytes);
            }
            let Some(wire) = self.world.wires.all.get_mut(&conn) else { continue };
            while let Some(right) = open.line.next_block_is_right() {
                wire.will_give_block(right);
            }
            let took = wire.give(open.line.output());
            open.line.sent(took);
            if open.line.is_over() {
                self.world.stranger_closes(conn);
            }
        }
    }

    /// What must hold at every moment.
    fn check(&mut self) -> Result<(), String> {
        for (conn, wire) in &self.world.wires.all {
            self.outcome.held = self.outcome.held.max(wire.peak);
            if wire.peak > HELD {
                let open = self.lines.get(conn);
                let kind = open.map(|open| self.attackers[open.attacker].plan.kind);
                return Err(format!(
                    "{} bytes are held for one connection of {kind:?}, at most {HELD}",
                    wire.peak
                ));
            }
        }
        Ok(())
    }

    fn note_progress(&mut self) {
        if self.outcome.took == Duration::ZERO
            && self.absent == 0
            && self.members.iter().all(|host| self.world.seeds(*host))
        {
            self.outcome.took = self.world.now().since(Time::ZERO);
        }
    }

    /// Every honest peer is complete, or names why it is not; nobody honest is banned.
    fn judge(&mut self) -> Result<(), String> {
        for (index, host) in self.members.iter().enumerate() {
            let honest: Vec<SocketAddr> =
                self.members.iter().map(|host| self.world.hosts[*host].address).collect();
            for banned in &self.world.client(*host).stats().banned {
                let Endpoint::Socket(banned) = banned else { continue };
                if honest.iter().any(|address| address.ip() == banned.ip()) {
                    return Err(format!("member {index} has banned honest {banned}"));
                }
            }
            let disk = &self.world.hosts[*host].disk;
            if self.world.seeds(*host) {
                if !disk.have(T).is_some_and(dunlin_base::Bitfield::is_full) {
                    return Err(format!("member {index} seeds, and its disk is not whole"));
                }
                self.outcome.complete += 1;
                continue;
            }
            let why = self.why(*host);
            let member = &self.plan.members[index];
            match why {
                Some(why) => self.outcome.excused.push(format!("member {index}: {why}")),
                None => {
                    let view = self.world.client(*host).view(self.world.now(), T);
                    let view = view.map(|v| (v.state, v.have, v.wanted, v.peers, v.seeds, v.known));
                    return Err(format!(
                        "member {index} is not complete and names no reason: {view:?} \
                         (state, have, wanted, peers, seeds, known); {member:?}; strangers: {:?}",
                        self.plan.strangers.iter().map(|one| one.kind).collect::<Vec<_>>()
                    ));
                }
            }
        }
        Ok(())
    }

    /// The reason that a member names for not being complete.
    fn why(&self, host: usize) -> Option<String> {
        let last = self.world.hosts[host].events.iter().rev().find_map(|event| match event {
            ClientEvent::State { state, reason, .. } => Some((*state, reason.clone())),
            _ => None,
        });
        match last {
            Some((TorrentState::Failed | TorrentState::DiskFull, reason)) => reason,
            _ => None,
        }
    }
}
