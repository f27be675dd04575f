//! What only a torrent of the internet needs: who is who, whom to dial, who is of no use, and signs of
//! life.

use super::connect::Violation;
use super::ledger::Ledger;
use super::slots::Pace;
use super::{Happened, Levels, Shared, Torrent};
use crate::client::internet::{canonical, ip_of, is_dialable};
use crate::io::{HangUpReason, Limits, Reason};
use crate::swarm::peer::{Early, Peer, Pieces};
use crate::swarm::peer_list::Whence;
use crate::swarm::rate_limit::Bucket;
use bytes::Bytes;
use dunlin_base::{ConnId, Endpoint, InfoHash, RateMeter, Time};
use dunlin_metainfo::MAX_PIECES;
use dunlin_wire::{Handshake, Message, Reserved};
use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

/// Time before a peer is dialled again, for every dial in a row that came to nothing (practice).
const REDIAL: Duration = Duration::from_secs(60);
/// Dials in a row that come to nothing before a peer is given up (practice).
const MAX_FAILURES: u32 = 3;
/// A connection that stood so long was worth its dial.
const WORTH: Duration = Duration::from_secs(30);
/// A torrent that nobody gives anything, and that has nobody else to dial, tries one of the peers that it
/// knows again after so long, twice as long each time, …
const LONE_REDIAL: Duration = Duration::from_secs(1);
/// … up to this: a peer that starts later than we do is found within a minute, however late.
const MAX_LONE_REDIAL: Duration = Duration::from_secs(60);
/// Until then the handshake must have come (our own choice; the field has 10 to 30 s).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// We say that we are alive so often (BEP 3 wants two minutes), whatever else was said: four bytes cost
/// less than keeping book.
const KEEP_ALIVE: Duration = Duration::from_secs(90);
/// A peer that says nothing for so long is gone (practice: two minutes, and a little patience).
const SILENCE: Duration = Duration::from_secs(180);
/// Rates that people see are averaged over so long.
const METER: Duration = Duration::from_secs(4);

/// A torrent of the internet.
#[derive(Debug)]
pub(crate) struct Abroad {
    /// The short name of version 2, if it has one (BEP 52).
    pub(crate) v2_name: Option<InfoHash>,
    /// Peers come from its trackers alone (BEP 27).
    pub(crate) private: bool,
    /// The info dictionary, for whoever asks (BEP 9).
    pub(crate) info: Option<Bytes>,
    /// It is known by its name alone.
    pub(crate) blind: bool,
    pub(crate) levels: Levels,
    pub(crate) down: Bucket,
    pub(crate) up: Bucket,
    /// Payload that came, kept or not.
    pub(crate) received: RateMeter,
    /// Payload that was given.
    pub(crate) sent: RateMeter,
    /// What is given in a round.
    pub(crate) pace: Pace,
    /// Bytes of pieces that matched their hash.
    pub(crate) kept: u64,
    /// Bytes that came twice.
    pub(crate) redundant: u64,
    /// Bytes of pieces that did not match their hash.
    pub(crate) corrupt: u64,
    /// Whom to serve first, where not all can be.
    pub(crate) turn: usize,
    /// What peers heard last about our wanting anything.
    pub(crate) said_upload_only: bool,
    /// Dials in a row that a torrent without anybody made, and when the next one may be.
    lone: (u32, Time),
    /// Payload that is given in all, at most: what is left of the goal of a seed.
    pub(crate) give_at_most: Option<u64>,
    /// Bytes of blocks that the world is serving.
    pub(crate) on_its_way: u64,
    /// Who gave and took how much.
    pub(crate) ledger: Ledger,
}

impl Abroad {
    /// A torrent of which only its names are known.
    pub(crate) fn new(v2_name: Option<InfoHash>, limits: Limits) -> Abroad {
        Abroad {
            v2_name,
            private: false,
            info: None,
            blind: true,
            levels: Levels::default(),
            down: Bucket::new(limits.down),
            up: Bucket::new(limits.up),
            received: RateMeter::new(METER),
            sent: RateMeter::new(METER),
            pace: Pace::default(),
            kept: 0,
            redundant: 0,
            corrupt: 0,
            turn: 0,
            said_upload_only: false,
            lone: (0, Time::ZERO),
            give_at_most: None,
            on_its_way: 0,
            ledger: Ledger::default(),
        }
    }

    /// What our handshake says for this name: that we know version 2 as well, where it is the name of
    /// version 1 (BEP 52, "upgrade path").
    pub(super) fn reserved(&self, name: InfoHash) -> Reserved {
        match self.v2_name {
            Some(v2) if v2 != name => Reserved::INTERNET.with_v2(),
            _ => Reserved::INTERNET,
        }
    }
}

impl Torrent {
    /// Something came of this connection.
    pub(crate) fn heard(&mut self, now: Time, conn: ConnId) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.abroad.heard = now;
        }
    }

    /// Looks at who has greeted us: ourselves, or somebody who is connected already.
    pub(crate) fn recognise(
        &mut self,
        shared: &mut Shared,
        now: Time,
        conn: ConnId,
        handshake: &Handshake,
    ) -> Result<(), HangUpReason> {
        let Some(peer) = self.peers.get(&conn) else { return Ok(()) };
        let (remote, incoming) = (peer.remote, peer.abroad.incoming);
        if handshake.peer_id == self.peer_id {
            if incoming {
                // Our own dial learns from the answer whom it has reached.
                self.greet(shared, conn);
            } else {
                self.known.entry(remote).ourselves = true;
            }
            return Err(HangUpReason::Ourselves);
        }
        // An id is only a word, which anybody may say: two connections are of one peer if they lead to
        // one address, too. Or whoever copies an id could have its owner hung up on.
        let twin = self.peers.iter().find(|(other, peer)| {
            let same = peer.abroad.peer_id == Some(handshake.peer_id);
            **other != conn && peer.handshaken && same && ip_of(peer.remote) == ip_of(remote)
        });
        let Some((twin, other)) = twin.map(|(twin, peer)| (*twin, peer)) else { return Ok(()) };
        // The greater id keeps the connection that it made; of two alike the older one stays.
        let ours_stays = self.peer_id > handshake.peer_id;
        let new_stays = incoming != other.abroad.incoming && incoming != ours_stays;
        let (stays, goes) = if new_stays { (conn, twin) } else { (twin, conn) };
        let address = self.peers.get(&goes).filter(|peer| !peer.abroad.incoming);
        if let Some(remote) = address.map(|peer| peer.remote) {
            self.known.entry(remote).twin = Some(stays);
        }
        if new_stays {
            self.hang_up(shared, now, goes, HangUpReason::SamePeer);
            return Ok(());
        }
        Err(HangUpReason::SamePeer)
    }

    /// Peers that somebody told us of; returns how many of them are news. Those that people name, and
    /// not a tracker, are tried at once.
    pub(crate) fn add_peers(
        &mut self,
        shared: &mut Shared,
        peers: &[(SocketAddr, Whence)],
    ) -> usize {
        let mut news = 0;
        for (address, whence) in
            peers.iter().map(|(address, whence)| (canonical(*address), *whence))
        {
            if is_dialable(address) {
                let place = shared.rng.next_u64() as u32;
                let remote = Endpoint::Socket(address);
                let by_people = whence == Whence::People;
                news += usize::from(self.known.add(remote, place, whence));
                // Who is named anew may be there now.
                if let Some(abroad) = self.abroad.as_mut().filter(|_| news > 0 || by_people) {
                    abroad.lone.0 = 0;
                }
                if let Some(known) = self.known.get_mut(remote) {
                    // Who was given up and is named again gets one more try.
                    known.failures = known.failures.min(MAX_FAILURES - 1);
                    if by_people {
                        (known.failures, known.redial_at) = (0, Time::ZERO);
                    }
                }
            }
        }
        news
    }

    /// Whom to dial next; the time of the next chance is set where there is nobody.
    pub(crate) fn next_dial(&self, shared: &mut Shared, now: Time) -> Option<Endpoint> {
        let limit = shared.net.as_ref()?.config.connections_per_torrent;
        let dialling = self.known.iter().filter(|(_, known)| known.dialling).count();
        if self.halted || self.peers.len() + dialling >= limit {
            return None;
        }
        let (wants, mut best) = (!self.is_upload_only(), None);
        let (alone, mut last_hope) = (wants && dialling == 0 && self.is_alone(now), None);
        for (remote, known) in self.known.iter() {
            let twin = known.twin.is_some_and(|twin| self.peers.contains_key(&twin));
            let taken = known.conn.is_some() || known.dialling || known.ourselves || twin;
            if taken || known.seed && !wants || shared.is_banned(remote) {
                continue;
            }
            let key = (known.failures, Reverse(known.whence), known.place, remote);
            let hopeless = known.failures >= MAX_FAILURES;
            if hopeless || known.redial_at > now {
                if !hopeless {
                    shared.timers.by(Reason::Dial, known.redial_at);
                }
                if last_hope.is_none_or(|best| key < best) {
                    last_hope = Some(key);
                }
                continue;
            }
            if best.is_none_or(|best| key < best) {
                best = Some(key);
            }
        }
        if let (None, Some(key), true, Some(abroad)) = (best, last_hope, alone, &self.abroad) {
            let (_, next) = abroad.lone;
            if next <= now {
                best = Some(key);
            } else {
                shared.timers.by(Reason::Dial, next);
            }
        }
        best.map(|(.., remote)| remote)
    }

    /// Whether nobody who is connected has anything that we want, or may still say so. Who says that it
    /// has something, and moves nothing for a minute, is nobody.
    fn is_alone(&self, now: Time) -> bool {
        let blind = self.is_blind();
        self.peers.values().all(|peer| {
            let has = peer.am_interested || blind && peer.abroad.metadata_size.is_some();
            let lately = now.since(peer.abroad.moved.unwrap_or(peer.since)) < MAX_LONE_REDIAL;
            peer.handshaken && !(has && lately)
        })
    }

    /// A dial, or the connection that it made, came to nothing: the next one waits longer, where there
    /// is nobody else.
    fn came_to_nothing(&mut self, now: Time, worth: bool) {
        let Some(abroad) = &mut self.abroad else { return };
        let (tries, next) = &mut abroad.lone;
        *tries = if worth { 0 } else { tries.saturating_add(1) };
        let pause = LONE_REDIAL.saturating_mul(1 << tries.saturating_sub(1).min(16));
        *next = now + pause.min(MAX_LONE_REDIAL);
    }

    /// A dial failed.
    pub(super) fn unreachable(&mut self, shared: &mut Shared, now: Time, remote: Endpoint) {
        let known = self.known.entry(remote);
        known.failures = known.failures.saturating_add(1);
        known.redial_at = now + REDIAL.saturating_mul(known.failures);
        self.came_to_nothing(now, false);
        shared.look_for_peers();
    }

    /// A connection is gone.
    pub(super) fn left(&mut self, shared: &mut Shared, now: Time, conn: ConnId, peer: &Peer) {
        if let Some(net) = &mut shared.net {
            net.connected = net.connected.saturating_sub(1);
            if peer.abroad.incoming {
                net.goes(now, peer.remote);
            }
        }
        let full = match &peer.pieces {
            Pieces::All => true,
            Pieces::Some(field) => field.is_full() && !self.is_blind(),
            Pieces::Unknown => false,
        };
        if let Some(abroad) = &mut self.abroad {
            let serving: u64 = peer.serving.iter().map(|block| u64::from(block.len)).sum();
            abroad.on_its_way = abroad.on_its_way.saturating_sub(serving);
            abroad.ledger.add(peer);
        }
        shared.happened.push_back(Happened::Gone { torrent: self.id, conn });
        shared.look_for_peers();
        let mut remote = peer.remote;
        if peer.abroad.incoming {
            // Nobody listens at the port that it came from.
            self.known.remove(remote);
            let Endpoint::Socket(address) = remote else { return };
            let Some(port) = peer.abroad.port else { return };
            remote = Endpoint::Socket(canonical(SocketAddr::new(address.ip(), port)));
        }
        if let Some(known) = self.known.get_mut(remote) {
            if known.conn == Some(conn) {
                known.conn = None;
            }
            let worth = peer.handshaken && now.since(peer.since) >= WORTH;
            if worth {
                known.failures = 0;
            } else if !peer.abroad.incoming || known.whence.is_said() {
                // Who came by itself only said that it listens there: that is no reason to give up who
                // was named by somebody else.
                known.failures = known.failures.saturating_add(1);
            }
            known.seed = full || peer.abroad.upload_only;
            known.redial_at = now + REDIAL.saturating_mul(known.failures.max(1));
            // Who comes and goes by itself says nothing of those whom we dial.
            if !peer.abroad.incoming {
                self.came_to_nothing(now, worth);
            }
        }
    }

    /// Whether this connection is of no use to either side: neither wants anything of the other, and
    /// neither ever will.
    pub(crate) fn is_useless(&self, conn: ConnId) -> bool {
        let Some(peer) = self.peers.get(&conn).filter(|peer| peer.handshaken && peer.announced)
        else {
            return false;
        };
        if self.is_blind() || peer.abroad.extended && !peer.abroad.introduced {
            return false;
        }
        let full = match &peer.pieces {
            Pieces::All => true,
            Pieces::Some(field) => field.is_full(),
            Pieces::Unknown => false,
        };
        let takes_nothing = full || peer.abroad.upload_only;
        takes_nothing && !peer.am_interested && (self.is_upload_only() || !full)
    }

    /// Hangs up on whoever is of no use now.
    pub(crate) fn drop_useless(&mut self, shared: &mut Shared, now: Time) {
        let useless: Vec<ConnId> =
            self.peers.keys().copied().filter(|conn| self.is_useless(*conn)).collect();
        for conn in useless {
            self.hang_up(shared, now, conn, HangUpReason::Useless);
        }
    }

    /// Gives signs of life, and hangs up on whoever gives none.
    pub(crate) fn keep_alive(&mut self, shared: &mut Shared, now: Time) {
        let mut dead = Vec::new();
        for (conn, peer) in &mut self.peers {
            let late = !peer.handshaken && now.since(peer.since) >= HANDSHAKE_TIMEOUT;
            if late || now.since(peer.abroad.heard) >= SILENCE {
                dead.push(*conn);
            } else if peer.handshaken && now.since(peer.abroad.alive) >= KEEP_ALIVE {
                peer.abroad.alive = now;
                shared.send(*conn, Message::KeepAlive);
            }
        }
        for conn in dead {
            self.hang_up(shared, now, conn, HangUpReason::Dead);
        }
    }

    /// What a peer has, said before we know how many pieces there are.
    pub(super) fn on_early_pieces(
        &mut self,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        peer.announced = true;
        if matches!(message, Message::HaveAll | Message::HaveNone) && !peer.fast {
            return Err("have all and have none need the fast extension");
        }
        match message {
            Message::Have { piece } => peer.abroad.has_early(*piece),
            Message::HaveAll => peer.abroad.early = Early::All,
            Message::Bitfield(bits) => {
                let fits = bits.len() <= MAX_PIECES.div_ceil(8) as usize;
                if !fits || !peer.abroad.early.has_bits(bits) {
                    return Err("bitfield of wrong size");
                }
            }
            // It says nothing new, unless it is the first.
            Message::HaveNone if peer.abroad.early == Early::Silent => {
                peer.abroad.early = Early::None;
            }
            _ => {}
        }
        Ok(())
    }

    /// Hangs up everywhere, and forgets whom it knows: another tracker of a private torrent is another
    /// swarm (BEP 27).
    pub(crate) fn forget_peers(&mut self, shared: &mut Shared, now: Time) {
        self.hang_up_all(shared, now, HangUpReason::Useless);
        let all: Vec<Endpoint> = self
            .known
            .iter()
            .filter(|(_, known)| !known.dialling && !known.ourselves)
            .map(|(remote, _)| remote)
            .collect();
        for remote in all {
            self.known.remove(remote);
        }
    }

    pub(crate) fn hang_up_all(&mut self, shared: &mut Shared, now: Time, reason: HangUpReason) {
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            self.hang_up(shared, now, conn, reason);
        }
    }

    /// Brings everything to an end that is under way: nobody is connected, nothing is asked for, what
    /// is half here goes to its part file.
    pub(crate) fn halt(&mut self, shared: &mut Shared, now: Time, reason: HangUpReason) {
        self.halted = true;
        self.hang_up_all(shared, now, reason);
        self.spill_all(shared);
    }

    /// It goes on.
    pub(crate) fn resume(&mut self, shared: &mut Shared, now: Time) {
        self.halted = false;
        shared.look_for_peers();
        self.fill(shared, now);
    }

    /// The info dictionary is known, and whether the torrent is private.
    pub(crate) fn is_known(&mut self, info: Option<(Bytes, bool)>) {
        if let (Some(abroad), Some((info, private))) = (&mut self.abroad, info) {
            (abroad.info, abroad.private) = (Some(info), private);
        }
    }

    /// Whether nothing of it is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        let spilled = |partial: &crate::swarm::partials::Partial| {
            partial.stage == crate::swarm::partials::Stage::Spilled
        };
        self.partials.iter().all(|(_, partial)| spilled(partial))
    }
}
