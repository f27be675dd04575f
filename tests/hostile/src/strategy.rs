//! What a strategy is, and the list of them.

mod floods;
mod givers;
mod holders;
mod liars;
mod nonsense;

use bytes::Bytes;
use dunlin_base::{BlockRef, InfoHash, PeerId, PieceIndex, Rng, Time};
use dunlin_wire::extended::ExtendedHandshake;
use dunlin_wire::{Handshake, Message, Reserved};
pub use floods::Flood;
use std::sync::Arc;
use std::time::Duration;

/// The largest block that deployed clients ask for, in bytes.
const BLOCK: u32 = 16 << 10;

/// Whom an attack is for: what a stranger can learn from the torrent and from its tracker.
#[derive(Clone, Debug)]
pub struct Target {
    /// The torrent.
    pub info_hash: InfoHash,
    /// How many pieces it has.
    pub pieces: u32,
    /// Bytes of a piece.
    pub piece_length: u32,
    /// Bytes of all pieces together.
    pub length: u64,
    /// The roots of its files' trees, where it has version 2 (BEP 52).
    pub roots: Vec<[u8; 32]>,
    /// Peer ids of honest peers, to be stolen.
    pub peer_ids: Vec<PeerId>,
    /// Its bytes, for strategies that give right blocks. Without them every block is zeros, and
    /// only [`Line::next_block_is_right`](crate::Line::next_block_is_right) tells which were meant
    /// to be right.
    pub content: Option<Arc<Vec<u8>>>,
    /// Bytes of the info dictionary; a guess for who does not know it.
    pub metadata_size: u32,
    /// Time between two bursts of a flood, and the unit of all other pauses.
    pub tempo: Duration,
    /// Messages of one burst.
    pub burst: u32,
}

impl Target {
    /// A torrent of so many pieces of `piece_length` bytes, of `length` bytes together.
    #[must_use]
    pub fn of(info_hash: InfoHash, pieces: u32, piece_length: u32, length: u64) -> Target {
        Target {
            info_hash,
            pieces,
            piece_length,
            length,
            roots: Vec::new(),
            peer_ids: Vec::new(),
            content: None,
            metadata_size: 20_000,
            tempo: Duration::from_secs(1),
            burst: 100,
        }
    }

    /// Bytes of a piece; 0 beyond the end.
    #[must_use]
    pub fn piece_len(&self, piece: u32) -> u32 {
        let begin = u64::from(piece) * u64::from(self.piece_length);
        let left = self.length.saturating_sub(begin).min(u64::from(self.piece_length));
        u32::try_from(left).unwrap_or(self.piece_length)
    }

    /// Any block of the torrent, as peers ask for it.
    fn block(&self, rng: &mut Rng) -> BlockRef {
        let piece = rng.below(u64::from(self.pieces.max(1))) as u32;
        let length = self.piece_len(piece);
        let blocks = length.div_ceil(BLOCK).max(1);
        let begin = rng.below(u64::from(blocks)) as u32 * BLOCK;
        BlockRef {
            piece: PieceIndex(piece),
            begin,
            len: length.saturating_sub(begin).clamp(1, BLOCK),
        }
    }
}

/// What reaches a strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// The connection stands; this side has dialled, or the other one has.
    Opened {
        /// Whether this side has dialled.
        dialled: bool,
    },
    /// The other side's handshake.
    Handshake(Handshake),
    /// A message; of a block only where it belongs.
    Message(Message),
    /// The time that [`Action::Timer`] asked for.
    Timer,
}

/// What a strategy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends a handshake.
    Handshake(Handshake),
    /// Sends a message; never `piece`.
    Send(Message),
    /// Sends any bytes.
    Bytes(Vec<u8>),
    /// Sends a block, with the right bytes or with others.
    Block {
        /// Where it belongs, as the sender states it.
        range: BlockRef,
        /// Whether its bytes are right.
        right: bool,
    },
    /// Reads like this from now on.
    Receive(Receive),
    /// [`Incoming::Timer`] comes after this time; it replaces an earlier one.
    Timer(Duration),
    /// Closes the connection once everything is sent.
    Close,
}

/// How much a peer takes from its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// All that comes.
    All,
    /// Nothing: the other side's buffers fill up.
    Nothing,
    /// So many bytes whenever its timer comes.
    Slowly(usize),
}

/// A peer's way of behaving on one connection.
pub trait Strategy: Send {
    /// Takes what came, and does what it likes through the context.
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming);
}

/// What a strategy knows and what it does, in one turn.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time.
    pub now: Time,
    /// Whom it attacks.
    pub target: &'a Target,
    /// Its choices.
    pub rng: &'a mut Rng,
    /// Its actions, in order.
    pub actions: &'a mut Vec<Action>,
}

impl Context<'_> {
    /// Sends a message.
    pub fn send(&mut self, message: Message) {
        self.actions.push(Action::Send(message));
    }

    /// Sends any bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.actions.push(Action::Bytes(bytes.to_vec()));
    }

    /// Asks for a timer after `tempos` times the target's tempo.
    pub fn after(&mut self, tempos: u32) {
        self.actions.push(Action::Timer(self.target.tempo * tempos));
    }

    /// A handshake with a peer id that nobody else has, the fast and the extension protocol.
    pub fn greet(&mut self) {
        let mut id = *b"-XX0001-000000000000";
        for byte in &mut id[8..] {
            *byte = self.rng.next_u64() as u8;
        }
        self.greet_as(PeerId(id));
    }

    /// A handshake of a peer that has nothing and wants everything.
    pub fn greet_as_leecher(&mut self) {
        self.greet();
        self.send(Message::HaveNone);
        self.send(Message::Interested);
    }

    /// A handshake as somebody.
    pub fn greet_as(&mut self, peer_id: PeerId) {
        let (reserved, info_hash) = (Reserved::INTERNET, self.target.info_hash);
        self.actions.push(Action::Handshake(Handshake { reserved, info_hash, peer_id }));
    }

    /// An extension handshake.
    pub fn extended(&mut self, said: &ExtendedHandshake) {
        self.send(Message::Extended { id: 0, payload: said.encode() });
    }

    /// Any block of the torrent.
    pub fn block(&mut self) -> BlockRef {
        self.target.block(self.rng)
    }

    /// Any piece of the torrent.
    pub fn piece(&mut self) -> u32 {
        self.rng.below(u64::from(self.target.pieces.max(1))) as u32
    }

    /// Random bytes.
    pub fn noise(&mut self, length: usize) -> Bytes {
        (0..length).map(|_| self.rng.next_u64() as u8).collect()
    }

    /// A bitfield in which about one piece of `part` is set, in the right length and with clean
    /// spare bits.
    pub fn bitfield(&mut self, part: u64) -> Bytes {
        let mut field = dunlin_base::Bitfield::new(self.target.pieces);
        for piece in 0..self.target.pieces {
            if self.rng.chance(1, part) {
                field.set(dunlin_base::PieceIndex(piece));
            }
        }
        Bytes::copy_from_slice(&field.to_bytes())
    }
}

/// The strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The same kind of small message without end; reading all answers, or none.
    Flood(Flood, bool),
    /// Never sends a byte.
    Silent,
    /// Half a handshake, and nothing more.
    HalfHandshake,
    /// A handshake and everything after it a byte at a time.
    Drip,
    /// The beginning of a long message, and its rest never or a byte at a time.
    HalfMessage,
    /// Interested, and asks for nothing.
    Idle,
    /// Connects, greets, closes.
    Churn,
    /// Has an honest peer's id and everything, and gives nothing.
    Thief,
    /// Comes and goes as somebody else each time: as an honest peer, or as nobody known, with
    /// another listening port.
    Impostor,
    /// Has everything; its blocks are wrong.
    WrongBlocks,
    /// Has everything; one block in eight is wrong.
    SometimesWrong,
    /// Has everything, and rejects every request.
    Refuser,
    /// Has everything, unchokes, and never answers.
    Staller,
    /// Has everything, and chokes whoever asks.
    Choker,
    /// Has everything, and never unchokes.
    Miser,
    /// Sends blocks that nobody asked for.
    Unasked,
    /// States wrong sizes of the metadata and sends wrong or no metadata.
    WrongMetadata,
    /// Pretends to have pieces in ever other bitfields.
    LateBitfield,
    /// Asks for everything at once, and reads slowly.
    SlowReader,
    /// Asks for one block each tempo, and takes it.
    Sipper,
    /// Has everything, and gives right blocks, one each tempo.
    SlowGiver,
    /// Takes as much as it can.
    Greedy,
    /// Bytes that are no message.
    Malformed,
    /// Any messages with any numbers.
    Babbler,
}

impl Kind {
    /// Each of them once.
    #[must_use]
    pub fn all() -> Vec<Kind> {
        let floods = Flood::ALL
            .iter()
            .flat_map(|flood| [Kind::Flood(*flood, true), Kind::Flood(*flood, false)]);
        let others = [
            Kind::Silent,
            Kind::HalfHandshake,
            Kind::Drip,
            Kind::HalfMessage,
            Kind::Idle,
            Kind::Churn,
            Kind::Thief,
            Kind::Impostor,
            Kind::WrongBlocks,
            Kind::SometimesWrong,
            Kind::Refuser,
            Kind::Staller,
            Kind::Choker,
            Kind::Miser,
            Kind::Unasked,
            Kind::WrongMetadata,
            Kind::LateBitfield,
            Kind::SlowReader,
            Kind::Sipper,
            Kind::SlowGiver,
            Kind::Greedy,
            Kind::Malformed,
            Kind::Babbler,
        ];
        floods.chain(others).collect()
    }

    /// Any one of them: each flood with half the weight of another kind.
    pub fn any(rng: &mut Rng) -> Kind {
        let all = Kind::all();
        let floods = Flood::ALL.len() * 2;
        let others = all.len() - floods;
        let drawn = rng.below((floods / 4 + others) as u64) as usize;
        let index = if drawn < others { floods + drawn } else { rng.below(floods as u64) as usize };
        all.get(index).copied().unwrap_or(Kind::Silent)
    }

    /// The strategy at its beginning.
    #[must_use]
    pub fn begin(self) -> Box<dyn Strategy> {
        match self {
            Kind::Flood(flood, reads) => Box::new(floods::Flooder::new(flood, reads)),
            Kind::Silent => Box::new(holders::Silent),
            Kind::HalfHandshake => Box::new(holders::HalfHandshake),
            Kind::Drip => Box::new(holders::Drip::new(false)),
            Kind::HalfMessage => Box::new(holders::Drip::new(true)),
            Kind::Idle => Box::new(holders::Idle),
            Kind::Churn => Box::new(holders::Churn),
            Kind::Thief => Box::new(liars::Thief),
            Kind::Impostor => Box::new(liars::Impostor),
            Kind::WrongBlocks => Box::new(givers::Giver::new(givers::Answer::Wrong(1))),
            Kind::SometimesWrong => Box::new(givers::Giver::new(givers::Answer::Wrong(8))),
            Kind::Refuser => Box::new(givers::Giver::new(givers::Answer::Reject)),
            Kind::Staller => Box::new(givers::Giver::new(givers::Answer::Nothing)),
            Kind::Choker => Box::new(givers::Giver::new(givers::Answer::Choke)),
            Kind::Miser => Box::new(givers::Giver::new(givers::Answer::NeverUnchoke)),
            Kind::SlowGiver => Box::new(givers::Giver::new(givers::Answer::Slowly)),
            Kind::Unasked => Box::new(liars::Unasked),
            Kind::WrongMetadata => Box::new(liars::WrongMetadata),
            Kind::LateBitfield => Box::new(liars::LateBitfield),
            Kind::SlowReader => Box::new(holders::Taker { slowly: true }),
            Kind::Sipper => Box::new(holders::Sipper { unchoked: false }),
            Kind::Greedy => Box::new(holders::Taker { slowly: false }),
            Kind::Malformed => Box::new(nonsense::Malformed),
            Kind::Babbler => Box::new(nonsense::Babbler),
        }
    }
}
