//! Inputs and outputs of the engine as lines of text for traces that are kept. The words are the
//! field's and never change with the names of types, so that a trace of an older build can be
//! compared. Sentences for people are left out: they may be written better.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use dunlin_base::{Bitfield, BlockRef, Endpoint, PieceKey};
use dunlin_control::{Control, FailedFile, ShutdownReason};
use dunlin_engine::io::{
    ClientEvent, ClientInput, ClientOutput, Command, CoordinatorOutput, HangUpReason, LocalError,
    MemberEvent, MemberInput, MemberOutput, SwarmEvent, SwarmInput, SwarmOutput,
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

fn swarm_input(input: &SwarmInput) -> String {
    match input {
        SwarmInput::Connected { torrent, conn, remote: to } => {
            format!("connected t{} c{} {}", torrent.0, conn.0, remote(*to))
        }
        SwarmInput::DialFailed { torrent, remote: to } => {
            format!("dial-failed t{} {}", torrent.0, remote(*to))
        }
        SwarmInput::Incoming { conn, remote: from } => {
            format!("incoming c{} {}", conn.0, remote(*from))
        }
        SwarmInput::Disconnected { conn } => format!("disconnected c{}", conn.0),
        SwarmInput::Handshake { conn, handshake: said } => {
            format!("c{} {}", conn.0, handshake(said))
        }
        SwarmInput::Message { conn, message: said } => format!("c{} {}", conn.0, message(said)),
        SwarmInput::Malformed { conn } => format!("malformed c{}", conn.0),
        SwarmInput::Reserved(PieceKey { torrent, piece }) => {
            format!("reserved t{} {}", torrent.0, piece.0)
        }
        SwarmInput::NoMemory(PieceKey { torrent, piece }) => {
            format!("no-memory t{} {}", torrent.0, piece.0)
        }
        SwarmInput::MemoryFree => "memory-free".into(),
        SwarmInput::MemoryWanted => "memory-wanted".into(),
        SwarmInput::BlockArrived { conn, block: at } => {
            format!("arrived c{} {}", conn.0, block(*at))
        }
        SwarmInput::BlockSent { conn, block: at } => format!("sent c{} {}", conn.0, block(*at)),
        SwarmInput::ServeCancelled { conn, block: at } => {
            format!("cancelled c{} {}", conn.0, block(*at))
        }
        SwarmInput::ServeFailed { conn, block: at, error } => {
            format!("serve-failed c{} {} {}", conn.0, block(*at), fault(error))
        }
        SwarmInput::PieceHashed { key: PieceKey { torrent, piece }, matches } => {
            format!("hashed t{} {} {matches}", torrent.0, piece.0)
        }
        SwarmInput::BlockDigests { key: PieceKey { torrent, piece }, digests } => {
            format!("digests t{} {} {digests:?}", torrent.0, piece.0)
        }
        SwarmInput::PieceWritten(PieceKey { torrent, piece }) => {
            format!("written t{} {}", torrent.0, piece.0)
        }
        SwarmInput::DiskFailed { key: PieceKey { torrent, piece }, error } => {
            format!("disk-failed t{} {} {}", torrent.0, piece.0, fault(error))
        }
    }
}

pub fn client_input(input: &ClientInput) -> String {
    match input {
        ClientInput::Swarm(input) => swarm_input(input),
        ClientInput::Timeout => "timeout".into(),
        ClientInput::Command(asked) => command(asked),
        ClientInput::Opened { torrent, have: found, resumed } => {
            format!("opened t{} {} resumed {resumed}", torrent.0, have(found))
        }
        ClientInput::OpenFailed { torrent, error } => {
            format!("open-failed t{} {}", torrent.0, fault(error))
        }
        ClientInput::FileFinished { torrent, file } => {
            format!("finished t{} f{}", torrent.0, file.0)
        }
        ClientInput::FileFailed { torrent, file, error } => {
            format!("file-failed t{} f{} {}", torrent.0, file.0, fault(error))
        }
        ClientInput::Announced { torrent, tracker, result } => match result {
            Ok(reply) => format!("announced t{} #{} {:?}", torrent.0, tracker.0, reply.peers),
            Err(_) => format!("announce-failed t{} #{}", torrent.0, tracker.0),
        },
        ClientInput::BlockHashes { key: PieceKey { torrent, piece }, hashes } => {
            format!("block-hashes t{} {} {}", torrent.0, piece.0, bytes(hashes.as_flattened()))
        }
        ClientInput::Closed { torrent } => format!("closed t{}", torrent.0),
    }
}

pub fn member_input(input: &MemberInput) -> String {
    match input {
        MemberInput::Swarm(input) => swarm_input(input),
        MemberInput::Timeout => "timeout".into(),
        MemberInput::Stop => "stop".into(),
        MemberInput::Checked(_) => "checked".into(),
        MemberInput::Control(message) => format!("control {}", control(message)),
        MemberInput::Opened { torrent, have: found, resumed } => {
            format!("opened t{} {} resumed {resumed}", torrent.0, have(found))
        }
        MemberInput::OpenFailed { torrent, error } => {
            format!("open-failed t{} {}", torrent.0, fault(error))
        }
        MemberInput::FileFinished { torrent, file } => {
            format!("finished t{} f{}", torrent.0, file.0)
        }
        MemberInput::FileFailed { torrent, file, error } => {
            format!("file-failed t{} f{} {}", torrent.0, file.0, fault(error))
        }
        MemberInput::LinkFailed { torrent, file, .. } => {
            format!("link-failed t{} f{}", torrent.0, file.0)
        }
        MemberInput::TreeFinished { failed: files } => format!("tree-finished {}", failed(files)),
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

fn swarm_output(output: &SwarmOutput) -> String {
    match output {
        SwarmOutput::Event(event) => format!("event {}", swarm_event(event)),
        SwarmOutput::Dial { torrent, remote: to } => format!("dial t{} {}", torrent.0, remote(*to)),
        SwarmOutput::HangUp { conn, reason } => format!("close c{} {}", conn.0, closed(*reason)),
        SwarmOutput::SendHandshake { conn, handshake: said } => {
            format!("c{} {}", conn.0, handshake(said))
        }
        SwarmOutput::Send { conn, message: said } => format!("c{} {}", conn.0, message(said)),
        SwarmOutput::Reserve { key: PieceKey { torrent, piece }, bytes, streamed } => {
            format!("reserve t{} {} {bytes} {streamed}", torrent.0, piece.0)
        }
        SwarmOutput::Release(PieceKey { torrent, piece }) => {
            format!("release t{} {}", torrent.0, piece.0)
        }
        SwarmOutput::Spill(PieceKey { torrent, piece }) => {
            format!("spill t{} {}", torrent.0, piece.0)
        }
        SwarmOutput::Keep { conn, block: at } => format!("keep c{} {}", conn.0, block(*at)),
        SwarmOutput::Drop { conn, block: at } => format!("drop c{} {}", conn.0, block(*at)),
        SwarmOutput::Hash(PieceKey { torrent, piece }) => {
            format!("hash t{} {}", torrent.0, piece.0)
        }
        SwarmOutput::Digest(PieceKey { torrent, piece }) => {
            format!("digest t{} {}", torrent.0, piece.0)
        }
        SwarmOutput::Write(PieceKey { torrent, piece }) => {
            format!("write t{} {}", torrent.0, piece.0)
        }
        SwarmOutput::Serve { conn, block: at } => format!("serve c{} {}", conn.0, block(*at)),
    }
}

pub fn client_output(output: &ClientOutput) -> String {
    match output {
        ClientOutput::Swarm(output) => swarm_output(output),
        ClientOutput::Open { torrent, wanted, .. } => format!("open t{} {wanted:?}", torrent.0),
        ClientOutput::Want { torrent, wanted } => format!("want t{} {wanted:?}", torrent.0),
        ClientOutput::FinishFile { torrent, file } => format!("finish t{} f{}", torrent.0, file.0),
        ClientOutput::HashBlocks(PieceKey { torrent, piece }) => {
            format!("hash-blocks t{} {}", torrent.0, piece.0)
        }
        ClientOutput::Close { torrent } => format!("close-storage t{}", torrent.0),
        ClientOutput::Announce { torrent, tracker, request, .. } => format!(
            "announce t{} #{} {} left {} up {} down {}",
            torrent.0,
            tracker.0,
            word(request.event),
            request.left,
            request.uploaded,
            request.downloaded
        ),
        ClientOutput::Removed { torrent } => format!("removed t{}", torrent.0),
        ClientOutput::Event(event) => format!("event {}", client_event(event)),
    }
}

pub fn member_output(output: &MemberOutput) -> String {
    match output {
        MemberOutput::Swarm(output) => swarm_output(output),
        MemberOutput::SendControl(message) => format!("control {}", control(message)),
        MemberOutput::Open { torrent, wants, .. } => format!("open t{} {wants}", torrent.0),
        MemberOutput::FinishFile { torrent, file } => format!("finish t{} f{}", torrent.0, file.0),
        MemberOutput::Link { torrent, file, from, .. } => {
            format!("link t{} f{} rank {}", torrent.0, file.0, from.rank.0)
        }
        MemberOutput::FinishTree => "finish-tree".into(),
        MemberOutput::Event(event) => format!("event {}", member_event(event)),
    }
}

fn swarm_event(event: &SwarmEvent) -> String {
    match event {
        SwarmEvent::Verified { key: PieceKey { torrent, piece }, from } => {
            format!("verified t{} {} {}", torrent.0, piece.0, remote(*from))
        }
        SwarmEvent::BadPiece { key: PieceKey { torrent, piece }, from } => {
            let from: Vec<String> = from.iter().map(|from| remote(*from)).collect();
            format!("bad-piece t{} {} {}", torrent.0, piece.0, from.join(","))
        }
        SwarmEvent::Banned { remote: liar } => format!("banned {}", remote(*liar)),
        SwarmEvent::Rejected { torrent, remote: by } => {
            format!("rejected t{} {}", torrent.0, remote(*by))
        }
    }
}

fn client_event(event: &ClientEvent) -> String {
    match event {
        ClientEvent::FileComplete { torrent, file } => {
            format!("file-complete t{} f{}", torrent.0, file.0)
        }
        ClientEvent::State { torrent, state, .. } => {
            format!("state t{} {}", torrent.0, word(state))
        }
        ClientEvent::Metadata { torrent, metainfo } => {
            format!("metadata t{} {}", torrent.0, bytes(metainfo.info()))
        }
        ClientEvent::Announced { torrent, news } => {
            let peers = news.result.as_ref().map_or("failed".to_owned(), u32::to_string);
            format!("announced t{} {} {peers}", torrent.0, word(news.event))
        }
        ClientEvent::PeerTotals { torrent, totals } => {
            let one = |peer: &dunlin_engine::io::PeerTotal| {
                format!("{:?} {} {}", peer.address, peer.received, peer.sent)
            };
            format!("totals t{} {:?}", torrent.0, totals.iter().map(one).collect::<Vec<_>>())
        }
        ClientEvent::Stopped => "stopped".into(),
    }
}

fn member_event(event: &MemberEvent) -> String {
    match event {
        MemberEvent::Started { wanted, missing } => format!("started {wanted} {missing:?}"),
        MemberEvent::FileComplete { torrent, file } => {
            format!("file-complete t{} f{}", torrent.0, file.0)
        }
        MemberEvent::FileFailed(file) => format!("file-failed {}", file.name),
        MemberEvent::AllComplete => "all-complete".into(),
        MemberEvent::Refreshed { forced } => format!("refreshed {forced}"),
        MemberEvent::Shutdown(reason) => format!("shutdown {}", shutdown(reason)),
    }
}

pub fn coordinator(output: &CoordinatorOutput) -> String {
    match output {
        CoordinatorOutput::Send { to, message } => format!("rank {} {}", to.0, control(message)),
        CoordinatorOutput::Finished => "finished".into(),
    }
}
