//! Files that a neighbour on the same host fetches, and the end of trees: what a member asks for, in
//! order.

use dunlin_base::{FileIndex, PeerId, Rank, Time, TorrentId};
use dunlin_engine::choker::ChokerKind;
use dunlin_engine::config::{Config, PieceOrder, Profile, RefreshScope, SourceOrder};
use dunlin_engine::io::{Input, LocalError, Output};
use dunlin_engine::member::Member;
use dunlin_tracker::{Control, FailedFile, Go, LinkFrom, Outline, Register, Want};
use std::time::Duration;

const TORRENT: TorrentId = TorrentId(0);

struct Rig {
    member: Member,
}

impl Rig {
    /// A rank that wants `a` and `b`, which rank 2 of its host fetches.
    fn new() -> (Rig, Vec<String>) {
        let member = Member::new(Config {
            rank: Rank(3),
            peer_id: PeerId::of_rank(Rank(3)),
            profile: Profile::Cluster,
            pieces: PieceOrder::Rarest,
            sources: SourceOrder::Fastest,
            choker: ChokerKind::Cooperative,
            tracker_pieces: false,
            shares: true,
            refresh_every: 10,
            refresh_scope: RefreshScope::File,
            stall_timeout: Duration::from_secs(60),
            block_length: 512 << 10,
            placing: true,
            memory: 64 << 20,
            seed: 1,
        });
        let mut rig = Rig { member };
        let wants = vec![Want::Glob("**".into())];
        rig.say(Input::Checked(Box::new(Register { wants, ..Register::default() })));
        let link = Some(LinkFrom { rank: Rank(2), dest: "/data".into() });
        let names = vec!["a".into(), "b".into()];
        let outline =
            Outline { torrent: TORRENT, names, pieces: 2, holds_all: false, wants: true, link };
        let go = Go { torrents: vec![outline], ..Go::default() };
        let said = rig.say(Input::Control(Control::Go(Box::new(go))));
        (rig, said)
    }

    /// One input; what the member wants done, in words.
    fn say(&mut self, input: Input) -> Vec<String> {
        self.member.handle(Time::ZERO, input);
        let outputs = std::iter::from_fn(|| self.member.poll());
        let words = outputs.filter_map(|output| match output {
            Output::Link { file, name, from, .. } => {
                Some(format!("link {file} {name} from {} {}", from.rank, from.dest))
            }
            Output::FinishTree => Some("finish tree".to_owned()),
            Output::SendControl(Control::AllComplete { failed }) => {
                Some(format!("all complete, {} failed", failed.len()))
            }
            Output::SendControl(Control::FileComplete { files, .. }) => {
                Some(format!("file {} complete", files[0]))
            }
            Output::SendControl(Control::Lookup { name }) => Some(format!("lookup {name}")),
            _ => None,
        });
        let words = words.collect();
        self.member.check();
        words
    }

    fn linkable(&mut self, files: &[u32], last: bool) -> Vec<String> {
        let files = files.iter().copied().map(FileIndex).collect();
        self.say(Input::Control(Control::Linkable { torrent: TORRENT, files, last }))
    }

    fn finished(&mut self, file: u32) -> Vec<String> {
        self.say(Input::FileFinished { torrent: TORRENT, file: FileIndex(file) })
    }
}

#[test]
fn what_a_neighbour_has_is_linked_and_then_the_tree_is_finished() {
    let (mut rig, said) = Rig::new();
    assert_eq!(said, [""; 0], "nothing is looked up while a neighbour fetches");
    assert_eq!(rig.linkable(&[1], false), ["link 1 b from 2 /data"]);
    assert_eq!(rig.linkable(&[1], false), [""; 0], "once is enough");
    assert_eq!(rig.finished(1), ["file 1 complete"]);
    assert_eq!(rig.linkable(&[0, 7], true), ["link 0 a from 2 /data"]);
    assert_eq!(rig.finished(0), ["file 0 complete", "finish tree"]);
    let failed = vec![FailedFile { name: "a".into(), reason: "no attributes here".into() }];
    assert_eq!(rig.say(Input::TreeFinished { failed }), ["all complete, 1 failed"]);
    assert_eq!(rig.say(Input::TreeFinished { failed: vec![] }), [""; 0]);
}

#[test]
fn what_a_neighbour_cannot_give_is_fetched() {
    let (mut rig, _) = Rig::new();
    assert_eq!(rig.linkable(&[0], false).len(), 1);
    let error = LocalError { message: "another file system".into(), disk_full: false };
    let failed = Input::LinkFailed { torrent: TORRENT, file: FileIndex(0), error };
    assert_eq!(rig.say(failed), ["lookup a"]);
    assert_eq!(rig.linkable(&[1], true), [""; 0], "it is fetched with the rest");

    let (mut rig, _) = Rig::new();
    assert_eq!(rig.linkable(&[1], false).len(), 1);
    assert_eq!(rig.linkable(&[], true), [""; 0], "what is being linked is waited for");
    assert_eq!(rig.finished(1), ["lookup a", "file 1 complete"]);
}
