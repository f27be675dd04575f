//! Peers that send one kind of small message without end.

use super::{Action, Context, Incoming, Receive, Strategy};
use bytes::Bytes;
use dunlin_base::{BlockRef, InfoHash, PieceIndex};
use dunlin_wire::extended::{ExtendedHandshake, MetadataMessage};
use dunlin_wire::{HashRange, Message};

/// What a flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flood {
    /// `have` of any pieces, again and again.
    Have,
    /// `interested` and `not interested` in turns.
    Interest,
    /// `unchoke` and `choke` in turns.
    Choke,
    /// Nothing, as keep-alives.
    KeepAlive,
    /// `port` of ever other DHT nodes.
    Port,
    /// `allowed fast`.
    AllowedFast,
    /// `suggest piece`.
    Suggest,
    /// Requests that nobody will answer but with rejects: this peer is choked.
    ChokedRequests,
    /// A request and its cancel.
    RequestCancel,
    /// Cancels of nothing.
    Cancel,
    /// Requests outside of every piece.
    WildRequests,
    /// Extension handshakes that name ever other ports.
    Ports,
    /// Extension handshakes that name ever other sizes of the metadata.
    MetadataSizes,
    /// Requests for pieces of the metadata.
    MetadataRequests,
    /// Messages of extensions that nobody has.
    UnknownExtensions,
    /// Messages of kinds that nobody knows.
    UnknownMessages,
    /// Requests for hashes (BEP 52).
    HashRequests,
    /// Rejects of requests for hashes that nobody has made.
    HashRejects,
    /// Rejects of requests that nobody has made.
    Rejects,
    /// "I do not have it any more" of any pieces (BEP 54).
    DontHave,
}

impl Flood {
    /// Each of them.
    pub const ALL: [Flood; 20] = [
        Flood::Have,
        Flood::Interest,
        Flood::Choke,
        Flood::KeepAlive,
        Flood::Port,
        Flood::AllowedFast,
        Flood::Suggest,
        Flood::ChokedRequests,
        Flood::RequestCancel,
        Flood::Cancel,
        Flood::WildRequests,
        Flood::Ports,
        Flood::MetadataSizes,
        Flood::MetadataRequests,
        Flood::UnknownExtensions,
        Flood::UnknownMessages,
        Flood::HashRequests,
        Flood::HashRejects,
        Flood::Rejects,
        Flood::DontHave,
    ];

    fn one(self, cx: &mut Context<'_>, count: u64) {
        let second = count % 2 == 1;
        let message = match self {
            Flood::Have => Message::Have { piece: cx.piece() },
            Flood::Interest if second => Message::NotInterested,
            Flood::Interest => Message::Interested,
            Flood::Choke if second => Message::Choke,
            Flood::Choke => Message::Unchoke,
            Flood::KeepAlive => Message::KeepAlive,
            Flood::Port => Message::Port(cx.rng.next_u64() as u16),
            Flood::AllowedFast => Message::AllowedFast { piece: cx.piece() },
            Flood::Suggest => Message::SuggestPiece { piece: cx.piece() },
            Flood::ChokedRequests => Message::Request(cx.block()),
            Flood::RequestCancel => {
                let block = cx.block();
                cx.send(Message::Request(block));
                Message::Cancel(block)
            }
            Flood::Cancel => Message::Cancel(cx.block()),
            Flood::WildRequests => {
                let (piece, begin) = (cx.rng.next_u64() as u32, cx.rng.next_u64() as u32);
                Message::Request(BlockRef {
                    piece: PieceIndex(piece),
                    begin,
                    len: cx.rng.below(40_000) as u32,
                })
            }
            Flood::Ports => {
                let port = Some(1 + cx.rng.below(65_535) as u16);
                return cx.extended(&ExtendedHandshake { port, ..ExtendedHandshake::default() });
            }
            Flood::MetadataSizes => {
                let metadata_size = Some(1 + cx.rng.below(30 << 20) as u32);
                let extensions = [("ut_metadata", 3)].into();
                let said = ExtendedHandshake { metadata_size, extensions, ..Default::default() };
                return cx.extended(&said);
            }
            Flood::MetadataRequests => {
                let piece = cx.rng.below(4) as u32;
                extended(2, &MetadataMessage::Request { piece }.encode())
            }
            Flood::UnknownExtensions => {
                let id = 100 + cx.rng.below(100) as u8;
                extended(id, &cx.noise(10))
            }
            Flood::UnknownMessages => return cx.bytes(&[0, 0, 0, 3, 200 + count as u8 % 50, 1, 2]),
            Flood::HashRequests => Message::HashRequest(hash_range(cx)),
            Flood::HashRejects => Message::HashReject(hash_range(cx)),
            Flood::Rejects => Message::RejectRequest(cx.block()),
            // The number that our engine gives the extension is found by trying.
            Flood::DontHave => extended(1 + count as u8 % 3, &cx.piece().to_be_bytes()),
        };
        cx.send(message);
    }
}

fn extended(id: u8, payload: &[u8]) -> Message {
    Message::Extended { id, payload: Bytes::copy_from_slice(payload) }
}

/// A range of hashes as programs ask for it, of a file of the torrent.
fn hash_range(cx: &mut Context<'_>) -> HashRange {
    let roots = cx.target.roots.len() as u64;
    let root = if roots == 0 { None } else { cx.target.roots.get(cx.rng.below(roots) as usize) };
    let root = root.copied().unwrap_or([7; 32]);
    let length = 2 << cx.rng.below(9);
    HashRange {
        root,
        base: cx.rng.below(3) as u32,
        index: 0,
        length,
        proof: cx.rng.below(4) as u32,
    }
}

/// The strategy.
pub(super) struct Flooder {
    flood: Flood,
    reads: bool,
    sent: u64,
}

impl Flooder {
    pub(super) fn new(flood: Flood, reads: bool) -> Flooder {
        Flooder { flood, reads, sent: 0 }
    }

    /// What has to be told before the flood has any effect.
    fn prepare(&self, cx: &mut Context<'_>) {
        match self.flood {
            Flood::Choke | Flood::Suggest | Flood::AllowedFast | Flood::DontHave => {
                cx.send(Message::HaveAll);
            }
            Flood::Have => {}
            _ => cx.send(Message::HaveNone),
        }
        if matches!(self.flood, Flood::RequestCancel | Flood::WildRequests) {
            cx.send(Message::Interested);
        }
        if matches!(self.flood, Flood::MetadataRequests | Flood::DontHave) {
            let said = ExtendedHandshake {
                extensions: [("ut_metadata", 2)].into(),
                ..ExtendedHandshake::default()
            };
            cx.extended(&said);
        }
    }
}

impl Strategy for Flooder {
    fn next(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        match incoming {
            Incoming::Opened { .. } => {
                if !self.reads {
                    cx.actions.push(Action::Receive(Receive::Nothing));
                }
                cx.greet();
                self.prepare(cx);
                cx.after(1);
            }
            Incoming::Timer => {
                for _ in 0..cx.target.burst {
                    self.flood.one(cx, self.sent);
                    self.sent += 1;
                }
                cx.after(1);
            }
            _ => {}
        }
    }
}

/// Another torrent than the target's, now and then, for who greets wrongly.
pub(super) fn other_hash(cx: &mut Context<'_>) -> InfoHash {
    let mut hash = [0; 20];
    hash.copy_from_slice(&cx.noise(20));
    InfoHash(hash)
}
