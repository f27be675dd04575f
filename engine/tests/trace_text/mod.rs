//! Inputs and outputs of the engine as lines of text for traces that are kept. The words are the
//! field's and never change with the names of types, so that a trace of an older build can be compared.
//! Sentences for people are left out: they may be written better.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use dunlin_base::{Bitfield, BlockRef, Endpoint, PieceKey};
use dunlin_control::{Control, FailedFile, ShutdownReason};
use dunlin_engine::io::{
    Command, CoordinatorOutput, Event, HangUpReason, Input, LocalError, Output,
};
use dunlin_wire::{Handshake, Message};
use std::fmt::{Debug, Write as _};

/// FNV-1a of some bytes.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Short bytes in hex, longer ones by their length and digest.
fn bytes(bytes: &[u8]) -> String {
    if bytes.len() > 32 {
        return format!("{} bytes {:016x}", bytes.len(), digest(bytes));
    }
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn block(block: BlockRef) -> String {
    format!("{}+{}:{}", block.piece.0, block.begin, block.len)
}

fn remote(remote: Endpoint) -> String {
    match remote {
        Endpoint::Rank(rank) => format!("rank {}", rank.0),
        Endpoint::Socket(address) => address.to_string(),
    }
}

fn have(have: &Bitfield) -> String {
    format!("{} of {}", have.count(), have.len())
}

fn fault(error: &LocalError) -> &'static str {
    if error.disk_full { "disk full" } else { "fault" }
}

fn failed(files: &[FailedFile]) -> String {
    files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(",")
}

fn handshake(handshake: &Handshake) -> String {
    format!("handshake {}", bytes(&handshake.encode()))
}

/// A message of the peer wire protocol by its name and what follows its id.
pub fn message(message: &Message) -> String {
    let name = match message {
        Message::KeepAlive => "keep-alive",
        Message::Choke => "choke",
        Message::Unchoke => "unchoke",
        Message::Interested => "interested",
        Message::NotInterested => "not-interested",
        Message::Have { .. } => "have",
        Message::Bitfield(_) => "bitfield",
        Message::Request(_) => "request",
        Message::Piece(_) => "piece",
        Message::Cancel(_) => "cancel",
        Message::Port(_) => "port",
        Message::SuggestPiece { .. } => "suggest",
        Message::HaveAll => "have-all",
        Message::HaveNone => "have-none",
        Message::RejectRequest(_) => "reject",
        Message::AllowedFast { .. } => "allowed-fast",
        Message::Extended { .. } => "extended",
        Message::HashRequest(_) => "hash-request",
        Message::Hashes { .. } => "hashes",
        Message::HashReject(_) => "hash-reject",
    };
    let mut all = Vec::new();
    dunlin_wire::encode_into(message, &mut all);
    format!("{name} {}", bytes(all.get(5..).unwrap_or_default())).trim_end().to_owned()
}

/// A message of the cluster's control plane.
pub fn control(message: &Control) -> String {
    let name = match message {
        Control::Checking { .. } => "checking",
        Control::Register(_) => "register",
        Control::Alive => "alive",
        Control::Start(_) => "start",
        Control::Lookup { .. } => "lookup",
        Control::Swarm(_) => "swarm",
        Control::Refused { name, .. } => return format!("refused {name}"),
        Control::Refresh(_) => "refresh",
        Control::LoadQuery => "load-query",
        Control::Load(_) => "load",
        Control::FileComplete { .. } => "file-complete",
        Control::AllComplete { failed: files } => return format!("all-complete {}", failed(files)),
        Control::Linkable { .. } => "linkable",
        Control::Departed { .. } => "departed",
        Control::Shutdown(reason) => return format!("shutdown {}", shutdown(reason)),
    };
    format!("{name} {}", bytes(&dunlin_control::encode(message)))
}

fn shutdown(reason: &ShutdownReason) -> &'static str {
    match reason {
        ShutdownReason::Done => "done",
        ShutdownReason::Refused(_) => "refused",
        ShutdownReason::Checked => "checked",
        ShutdownReason::Interrupted => "interrupted",
    }
}

fn closed(reason: HangUpReason) -> &'static str {
    match reason {
        HangUpReason::Violation(_) => "violation",
        HangUpReason::Banned => "banned",
        HangUpReason::UnknownTorrent => "unknown-torrent",
        HangUpReason::Duplicate => "duplicate",
        HangUpReason::Useless => "useless",
        HangUpReason::Dead => "dead",
        HangUpReason::Stopping => "stopping",
        HangUpReason::SamePeer => "same-peer",
        HangUpReason::Ourselves => "ourselves",
        HangUpReason::Crowded => "crowded",
    }
}

/// Lower case, for words of enumerations that have no fields.
fn word(value: impl Debug) -> String {
    format!("{value:?}").to_lowercase()
}

pub fn input(input: &Input) -> String {
    match input {
        Input::Timeout => "timeout".into(),
        Input::Command(asked) => command(asked),
        Input::Checked(_) => "checked".into(),
        Input::Control(message) => format!("control {}", control(message)),
        Input::Opened { torrent, have: found, resumed } => {
            format!("opened t{} {} resumed {resumed}", torrent.0, have(found))
        }
        Input::OpenFailed { torrent, error } => {
            format!("open-failed t{} {}", torrent.0, fault(error))
        }
        Input::Connected { torrent, conn, remote: to } => {
            format!("connected t{} c{} {}", torrent.0, conn.0, remote(*to))
        }
        Input::DialFailed { torrent, remote: to } => {
            format!("dial-failed t{} {}", torrent.0, remote(*to))
        }
        Input::Incoming { conn, remote: from } => format!("incoming c{} {}", conn.0, remote(*from)),
        Input::Disconnected { conn } => format!("disconnected c{}", conn.0),
        Input::Handshake { conn, handshake: said } => format!("c{} {}", conn.0, handshake(said)),
        Input::Message { conn, message: said } => format!("c{} {}", conn.0, message(said)),
        Input::Malformed { conn } => format!("malformed c{}", conn.0),
        Input::Reserved(PieceKey { torrent, piece }) => {
            format!("reserved t{} {}", torrent.0, piece.0)
        }
        Input::NoMemory(PieceKey { torrent, piece }) => {
            format!("no-memory t{} {}", torrent.0, piece.0)
        }
        Input::MemoryFree => "memory-free".into(),
        Input::MemoryWanted => "memory-wanted".into(),
        Input::BlockArrived { conn, block: at } => format!("arrived c{} {}", conn.0, block(*at)),
        Input::BlockSent { conn, block: at } => format!("sent c{} {}", conn.0, block(*at)),
        Input::ServeCancelled { conn, block: at } => {
            format!("cancelled c{} {}", conn.0, block(*at))
        }
        Input::ServeFailed { conn, block: at, error } => {
            format!("serve-failed c{} {} {}", conn.0, block(*at), fault(error))
        }
        Input::PieceHashed { key: PieceKey { torrent, piece }, matches } => {
            format!("hashed t{} {} {matches}", torrent.0, piece.0)
        }
        Input::BlockDigests { key: PieceKey { torrent, piece }, digests } => {
            format!("digests t{} {} {digests:?}", torrent.0, piece.0)
        }
        Input::PieceWritten(PieceKey { torrent, piece }) => {
            format!("written t{} {}", torrent.0, piece.0)
        }
        Input::DiskFailed { key: PieceKey { torrent, piece }, error } => {
            format!("disk-failed t{} {} {}", torrent.0, piece.0, fault(error))
        }
        Input::FileFinished { torrent, file } => format!("finished t{} f{}", torrent.0, file.0),
        Input::LinkFailed { torrent, file, .. } => {
            format!("link-failed t{} f{}", torrent.0, file.0)
        }
        Input::TreeFinished { failed: files } => format!("tree-finished {}", failed(files)),
        Input::FileFailed { torrent, file, error } => {
            format!("file-failed t{} f{} {}", torrent.0, file.0, fault(error))
        }
        Input::Announced { torrent, tracker, result } => match result {
            Ok(reply) => format!("announced t{} #{} {:?}", torrent.0, tracker.0, reply.peers),
            Err(_) => format!("announce-failed t{} #{}", torrent.0, tracker.0),
        },
        Input::BlockHashes { key: PieceKey { torrent, piece }, hashes } => {
            format!("block-hashes t{} {} {}", torrent.0, piece.0, bytes(hashes.as_flattened()))
        }
        Input::Closed { torrent } => format!("closed t{}", torrent.0),
    }
}

fn command(command: &Command) -> String {
    match command {
        Command::Stop => "stop".into(),
        Command::Add(add) => format!("add t{}", add.torrent.0),
        Command::Remove(torrent) => format!("remove t{}", torrent.0),
        Command::Pause(torrent) => format!("pause t{}", torrent.0),
        Command::Resume(torrent) => format!("resume t{}", torrent.0),
        Command::Announce(torrent) => format!("ask-trackers t{}", torrent.0),
        Command::AddPeers(torrent, peers) => format!("add-peers t{} {peers:?}", torrent.0),
        Command::Prioritize(torrent, files) => format!("prioritize t{} {}", torrent.0, word(files)),
        Command::Sequential(torrent, is) => format!("sequential t{} {is}", torrent.0),
        Command::Limit(torrent, _) => format!("limit {:?}", torrent.map(|torrent| torrent.0)),
        Command::Seed(torrent, goal) => format!("seed t{} {}", torrent.0, goal.is_some()),
        Command::Listening(port) => format!("listening {port}"),
    }
}

pub fn output(output: &Output) -> String {
    match output {
        Output::SendControl(message) => format!("control {}", control(message)),
        Output::Open { torrent, wants, .. } => format!("open t{} {wants}", torrent.0),
        Output::Dial { torrent, remote: to } => format!("dial t{} {}", torrent.0, remote(*to)),
        Output::HangUp { conn, reason } => format!("close c{} {}", conn.0, closed(*reason)),
        Output::SendHandshake { conn, handshake: said } => {
            format!("c{} {}", conn.0, handshake(said))
        }
        Output::Send { conn, message: said } => format!("c{} {}", conn.0, message(said)),
        Output::Reserve { key: PieceKey { torrent, piece }, bytes, streamed } => {
            format!("reserve t{} {} {bytes} {streamed}", torrent.0, piece.0)
        }
        Output::Release(PieceKey { torrent, piece }) => {
            format!("release t{} {}", torrent.0, piece.0)
        }
        Output::Spill(PieceKey { torrent, piece }) => format!("spill t{} {}", torrent.0, piece.0),
        Output::Keep { conn, block: at } => format!("keep c{} {}", conn.0, block(*at)),
        Output::Drop { conn, block: at } => format!("drop c{} {}", conn.0, block(*at)),
        Output::Hash(PieceKey { torrent, piece }) => format!("hash t{} {}", torrent.0, piece.0),
        Output::Digest(PieceKey { torrent, piece }) => format!("digest t{} {}", torrent.0, piece.0),
        Output::Write(PieceKey { torrent, piece }) => format!("write t{} {}", torrent.0, piece.0),
        Output::FinishFile { torrent, file } => format!("finish t{} f{}", torrent.0, file.0),
        Output::Link { torrent, file, from, .. } => {
            format!("link t{} f{} rank {}", torrent.0, file.0, from.rank.0)
        }
        Output::FinishTree => "finish-tree".into(),
        Output::Serve { conn, block: at } => format!("serve c{} {}", conn.0, block(*at)),
        Output::OpenTorrent { torrent, wanted, .. } => format!("open t{} {wanted:?}", torrent.0),
        Output::Want { torrent, wanted } => format!("want t{} {wanted:?}", torrent.0),
        Output::Close { torrent } => format!("close-storage t{}", torrent.0),
        Output::Announce { torrent, tracker, request, .. } => format!(
            "announce t{} #{} {} left {} up {} down {}",
            torrent.0,
            tracker.0,
            word(request.event),
            request.left,
            request.uploaded,
            request.downloaded
        ),
        Output::HashBlocks(PieceKey { torrent, piece }) => {
            format!("hash-blocks t{} {}", torrent.0, piece.0)
        }
        Output::Event(happened) => format!("event {}", event(happened)),
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::Started { wanted, missing } => format!("started {wanted} {missing:?}"),
        Event::Verified { key: PieceKey { torrent, piece }, from } => {
            format!("verified t{} {} {}", torrent.0, piece.0, remote(*from))
        }
        Event::BadPiece { key: PieceKey { torrent, piece }, from } => {
            let from: Vec<String> = from.iter().map(|from| remote(*from)).collect();
            format!("bad-piece t{} {} {}", torrent.0, piece.0, from.join(","))
        }
        Event::Banned { remote: liar } => format!("banned {}", remote(*liar)),
        Event::FileComplete { torrent, file } => {
            format!("file-complete t{} f{}", torrent.0, file.0)
        }
        Event::FileFailed(file) => format!("file-failed {}", file.name),
        Event::AllComplete => "all-complete".into(),
        Event::Refreshed { forced } => format!("refreshed {forced}"),
        Event::Rejected { torrent, remote: by } => {
            format!("rejected t{} {}", torrent.0, remote(*by))
        }
        Event::Shutdown(reason) => format!("shutdown {}", shutdown(reason)),
        Event::State { torrent, state, .. } => format!("state t{} {}", torrent.0, word(state)),
        Event::Metadata { torrent, metainfo } => {
            format!("metadata t{} {}", torrent.0, bytes(metainfo.info()))
        }
        Event::Announced { torrent, news } => {
            let peers = news.result.as_ref().map_or("failed".to_owned(), u32::to_string);
            format!("announced t{} {} {peers}", torrent.0, word(news.event))
        }
        Event::PeerTotals { torrent, totals } => {
            let one = |peer: &dunlin_engine::io::PeerTotal| {
                format!("{:?} {} {}", peer.address, peer.received, peer.sent)
            };
            format!("totals t{} {:?}", torrent.0, totals.iter().map(one).collect::<Vec<_>>())
        }
        Event::Stopped => "stopped".into(),
    }
}

pub fn coordinator(output: &CoordinatorOutput) -> String {
    match output {
        CoordinatorOutput::Send { to, message } => format!("rank {} {}", to.0, control(message)),
        CoordinatorOutput::Finished => "finished".into(),
    }
}
