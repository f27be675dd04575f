//! The two tasks of a link: one takes what waits for the rank and hands it to the system, the other
//! takes what comes apart and passes it on. Payload is copied once on its way out, by the sealing, and
//! not at all on its way in.
//!
//! | frame | | body |
//! |---|---|---|
//! | 1 | loose | stamp (u64), bytes of parcels |
//! | 2 | firm | stamp (u64), bytes of parcels that outlive the link |
//! | 3 | block | stamp (u64), torrent, piece, begin, length of the request, length of the data (u32 each) |
//! | 4 | data | the next bytes of the block |
//! | 5 | pulse | bytes of the firm stream that have come (u64) |
//! | 6 | talk | a message of the carrier |

use super::board::Board;
use super::pair::Pair;
use super::queue::{BATCH, Next};
use super::talk::Talk;
use crate::fabric::process::carrier::Word;
use crate::fabric::process::envelope::{MAX_BLOCK, Malformed, Parcel, Unpacker};
use crate::frame::{Frame, Payload};
use bytes::Bytes;
use dunlin_base::{Rank, TorrentId};
use dunlin_disk::Buffer;
use dunlin_links::{LinkError, LinkReceiver, LinkSender};
use dunlin_wire::BlockRange;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Everyone says this often that it lives.
const PULSE: Duration = Duration::from_secs(1);
/// Bytes of a block in one frame: they still lie in the processor's cache when they are handed to the
/// system, and small things that come up need not wait for the whole block.
const PART: usize = 128 * 1024;

mod kind {
    pub(super) const LOOSE: u8 = 1;
    pub(super) const FIRM: u8 = 2;
    pub(super) const BLOCK: u8 = 3;
    pub(super) const DATA: u8 = 4;
    pub(super) const PULSE: u8 = 5;
    pub(super) const TALK: u8 = 6;
}

/// Why a link is over.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{0}; run the same build at every rank")]
    Nonsense(&'static str),
    /// Somebody else has ended it.
    #[error("ended")]
    Ended,
}

/// Hands what waits to the system, until the link is over.
pub(super) async fn send(
    board: Arc<Board>,
    pair: Arc<Pair>,
    line: u64,
    wake: Arc<Notify>,
    mut sender: LinkSender,
) {
    let why = match sending(&board, &pair, line, &wake, &mut sender).await {
        Ok(()) => return,
        Err(why) => why,
    };
    board.broke(&pair, line, &why);
}

async fn sending(
    board: &Board,
    pair: &Pair,
    line: u64,
    wake: &Notify,
    sender: &mut LinkSender,
) -> Result<(), LinkError> {
    let mut pulse = Instant::now();
    loop {
        // Whatever else goes: it also says how much of the firm stream has come.
        if Instant::now() >= pulse && !board.is_quiet() {
            let received = pair.firm_in().received;
            sender.seal(kind::PULSE, &[&received.to_be_bytes()])?;
            sender.flush().await?;
            pulse = Instant::now() + PULSE;
        }
        let Ok(next) = pair.next(line, false) else { return Ok(()) };
        match next {
            Some(Next::Block(block)) => {
                let numbers = [block.torrent.0, block.range.piece, block.range.begin];
                let lengths = [block.range.length, block.payload.data.len() as u32];
                let head = numbers.into_iter().chain(lengths).flat_map(u32::to_be_bytes).collect();
                let data = block.payload.data.clone();
                let done = hand_over(board, pair, line, sender, head, data).await;
                block.end(done.is_ok());
                done?;
            }
            Some(small) => {
                seal(board, sender, small)?;
                sender.flush().await?;
            }
            None => {
                // Nothing is left: whoever has something to send wakes us.
                let until = if board.is_quiet() { Instant::now() + PULSE } else { pulse };
                let _ = timeout_at(until, wake.notified()).await;
            }
        }
    }
}

/// Sends a block, and between its parts what must not wait for it.
async fn hand_over(
    board: &Board,
    pair: &Pair,
    line: u64,
    sender: &mut LinkSender,
    head: Vec<u8>,
    data: Bytes,
) -> Result<(), LinkError> {
    sender.seal(kind::BLOCK, &[&board.clock.now().to_be_bytes(), &head])?;
    for part in data.chunks(PART) {
        sender.seal(kind::DATA, &[part])?;
        sender.flush().await?;
        while let Ok(Some(small)) = pair.next(line, true) {
            seal(board, sender, small)?;
        }
    }
    sender.flush().await
}

/// Seals what is no block.
fn seal(board: &Board, sender: &mut LinkSender, next: Next) -> Result<(), LinkError> {
    let stamp = board.clock.now().to_be_bytes();
    match next {
        Next::Talk(bytes) => sender.seal(kind::TALK, &[&bytes])?,
        Next::Loose(bytes) => {
            for part in bytes.chunks(BATCH) {
                sender.seal(kind::LOOSE, &[&stamp, part])?;
            }
        }
        Next::Firm(parts) => {
            let parts: Vec<&[u8]> =
                std::iter::once(&stamp[..]).chain(parts.iter().map(AsRef::as_ref)).collect();
            sender.seal(kind::FIRM, &parts)?;
        }
        Next::Block(block) => block.end(false),
    }
    Ok(())
}

/// Takes what comes, until the link is over.
pub(super) async fn receive(
    board: Arc<Board>,
    pair: Arc<Pair>,
    line: u64,
    mut receiver: LinkReceiver,
) {
    let mut inbox = Inbox {
        board: &board,
        pair: &pair,
        line,
        unpacker: Unpacker::new(),
        parcels: Vec::new(),
        block: None,
    };
    let why = loop {
        if let Err(why) = inbox.next(&mut receiver).await {
            break why;
        }
    };
    drop(inbox);
    match why {
        Over::Malformed(_) | Over::Nonsense(_) => board.broken(&pair, why.to_string()),
        Over::Link(error) => board.broke(&pair, line, &error),
        Over::Ended => board.broke(&pair, line, &LinkError::Closed),
    }
}

/// A block on its way in.
struct Coming {
    torrent: TorrentId,
    range: BlockRange,
    buffer: Buffer,
    done: usize,
}

struct Inbox<'a> {
    board: &'a Arc<Board>,
    pair: &'a Arc<Pair>,
    line: u64,
    unpacker: Unpacker,
    parcels: Vec<Parcel>,
    block: Option<Coming>,
}

impl Inbox<'_> {
    /// Takes one frame.
    async fn next(&mut self, receiver: &mut LinkReceiver) -> Result<(), Over> {
        let head = receiver.head().await?;
        if head.kind == kind::DATA {
            let coming = self.block.as_mut().ok_or(Over::Nonsense("data without a block"))?;
            let end = coming.done + head.length;
            let place = coming.buffer.bytes_mut().get_mut(coming.done..end);
            let place = place.ok_or(Over::Nonsense("more data than the block has"))?;
            receiver.body(head, place).await?;
            coming.done = end;
            return self.landed();
        }
        let mut body = vec![0; head.length];
        receiver.body(head, &mut body).await?;
        match head.kind {
            kind::LOOSE => self.loose(&body),
            kind::FIRM => self.firm(&body),
            kind::BLOCK => self.begin(&body),
            kind::PULSE => self.pulse(&body),
            kind::TALK => self.talk(&body),
            _ => Err(Over::Nonsense("a frame of an unknown kind")),
        }
    }

    /// The stamp in front; before anybody handles what came behind it, or its line could seem older
    /// than its cause.
    fn stamp<'b>(&self, body: &'b [u8]) -> Result<&'b [u8], Over> {
        let (stamp, rest) = body.split_first_chunk().ok_or(Over::Nonsense("no stamp"))?;
        self.board.clock.hear(u64::from_be_bytes(*stamp));
        Ok(rest)
    }

    fn loose(&mut self, body: &[u8]) -> Result<(), Over> {
        let bytes = self.stamp(body)?;
        self.unpacker.push(bytes);
        while let Some(parcel) = self.unpacker.next()? {
            self.parcel(parcel)?;
        }
        Ok(())
    }

    fn firm(&mut self, body: &[u8]) -> Result<(), Over> {
        if !self.board.leads() && self.pair.rank != Rank::TRACKER {
            return Err(Over::Nonsense("a firm stream between peers"));
        }
        let bytes = self.stamp(body)?;
        self.pair.state().gained();
        let mut firm = self.pair.firm_in();
        if firm.line != self.line {
            return Err(Over::Ended);
        }
        firm.received += bytes.len() as u64;
        firm.unpacker.push(bytes);
        while let Some(parcel) = firm.unpacker.next()? {
            self.parcels.push(parcel);
        }
        let parcels = std::mem::take(&mut self.parcels);
        let is_firm = |parcel: &Parcel| {
            matches!(parcel, Parcel::Control(_) | Parcel::Session(_) | Parcel::Trace { .. })
                || matches!(parcel, Parcel::Progress { .. })
        };
        if !parcels.iter().all(is_firm) {
            return Err(Over::Nonsense(
                "a parcel that goes down with its link, in the firm stream",
            ));
        }
        // Under the lock: a newer link must not overtake this one.
        parcels.into_iter().try_for_each(|parcel| self.parcel(parcel))
    }

    fn parcel(&self, parcel: Parcel) -> Result<(), Over> {
        let (board, from) = (self.board, self.pair.rank);
        let frame = match parcel {
            Parcel::Control(control) => Frame::Control(control),
            Parcel::Handshake { torrent, handshake } => {
                board.note(self.pair, torrent, true);
                Frame::Handshake { torrent, handshake }
            }
            Parcel::Wire { torrent, message } => Frame::Wire { torrent, message },
            Parcel::Piece { torrent, range, data } => {
                self.pair.state().gained();
                let bytes = data.len() as u64;
                let charge = board.budget().map(|budget| budget.charge_unbounded(bytes));
                Frame::Piece { torrent, range, payload: Payload { data, charge } }
            }
            Parcel::HangUp { torrent } => {
                board.note(self.pair, torrent, false);
                Frame::HangUp { torrent }
            }
            Parcel::Session(bytes) => {
                board.word(from, Word::Session(bytes));
                return Ok(());
            }
            Parcel::Progress { state, have, wanted, moved, sent } => {
                let numbers = [u64::from(state), have, wanted, moved, sent];
                board.word(from, Word::Progress(numbers));
                return Ok(());
            }
            Parcel::Trace { until, lines } => {
                board.word(from, Word::Trace { until, lines });
                return Ok(());
            }
            Parcel::Pulse => return Ok(()),
            Parcel::Ask { .. } | Parcel::Void { .. } => {
                return Err(Over::Nonsense("a parcel of the lanes of MPI"));
            }
        };
        board.deliver(from, frame);
        Ok(())
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), Over> {
        let rest = self.stamp(body)?;
        let mut numbers = [0_u32; 5];
        let (words, left) = rest.as_chunks();
        if words.len() != numbers.len() || !left.is_empty() {
            return Err(Over::Nonsense("the head of a block is of another length"));
        }
        for (number, word) in numbers.iter_mut().zip(words) {
            *number = u32::from_be_bytes(*word);
        }
        let [torrent, piece, begin, length, data] = numbers;
        if self.block.is_some() || !(1..=MAX_BLOCK).contains(&data) {
            return Err(Over::Nonsense("a block inside another one, or of no length"));
        }
        let buffer = self.board.buffer(data as usize);
        let range = BlockRange { piece, begin, length };
        self.block = Some(Coming { torrent: TorrentId(torrent), range, buffer, done: 0 });
        Ok(())
    }

    /// Passes the block on if all of it is here.
    fn landed(&mut self) -> Result<(), Over> {
        let whole = |coming: &Coming| coming.done == coming.buffer.as_ref().len();
        if let Some(coming) = self.block.take_if(|coming| whole(coming)) {
            self.pair.state().gained();
            let Coming { torrent, range, buffer, .. } = coming;
            let data: Bytes = buffer.freeze();
            // What was asked for has its memory reserved.
            let payload = Payload { data, charge: None };
            self.board.deliver(self.pair.rank, Frame::Piece { torrent, range, payload });
        }
        Ok(())
    }

    fn pulse(&mut self, body: &[u8]) -> Result<(), Over> {
        let received = body.try_into().map_err(|_| Over::Nonsense("a pulse of another length"))?;
        self.pair.state().queue.firm.acknowledged(u64::from_be_bytes(received));
        self.board.word(self.pair.rank, Word::Pulse);
        Ok(())
    }

    fn talk(&mut self, body: &[u8]) -> Result<(), Over> {
        let talk = Talk::decode(body).ok_or(Over::Nonsense("no message of a carrier"))?;
        let mut state = self.pair.state();
        let Some(line) = state.lines.iter_mut().find(|line| line.id == self.line) else {
            return Err(Over::Ended);
        };
        match talk {
            Talk::Here { port, ip } => {
                let ip = ip.unwrap_or(line.there);
                state.address = Some((state.life, SocketAddr::new(ip, port)));
            }
            Talk::Resume { received } => {
                line.resumed = true;
                if !state.queue.firm.resume(received) {
                    return Err(Over::Nonsense("another firm stream"));
                }
                state.wake();
            }
            Talk::Where { rank } => {
                let (here, there) = (line.here, line.there);
                drop(state);
                self.tell_where(rank, here, there);
            }
            Talk::At { rank, life, address } => {
                drop(state);
                let other = self.board.pair(rank);
                let mut other = other.state();
                other.address = Some((life, address));
                other.asked.take().into_iter().for_each(|asked| _ = asked.send(()));
            }
            Talk::Nowhere { rank } => {
                drop(state);
                let other = self.board.pair(rank);
                let mut other = other.state();
                other.address = None;
                other.asked.take().into_iter().for_each(|asked| _ = asked.send(()));
            }
        }
        Ok(())
    }

    /// Says where a rank is, as the asker can reach it: who is linked to us over the loop-back is on
    /// our host, and others find it under the address that they find us under.
    fn tell_where(&self, rank: Rank, here: IpAddr, there: IpAddr) {
        let other = self.board.pair(rank);
        let state = other.state();
        let known = state.address.filter(|(life, _)| state.dead != Some(*life));
        drop(state);
        let answer = match known {
            Some((life, mut address)) => {
                if address.ip().is_loopback() && !there.is_loopback() {
                    address.set_ip(here);
                }
                Talk::At { rank, life, address }
            }
            None => Talk::Nowhere { rank },
        };
        self.board.talk(self.pair, &answer);
    }
}
