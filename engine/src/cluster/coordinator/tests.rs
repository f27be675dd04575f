use super::*;
use dunlin_base::{Bitfield, FileIndex, PieceIndex, TorrentId};
use dunlin_control::{FailedFile, Load, Member, OwnedFile, Provenance, Refresh, Space, Want};
use dunlin_metainfo::{EntryKind, EntryMeta, PieceHashes, TreeEntry};

mod late;
mod links;
mod loads;
mod placing;

/// A coordinator with a hand-cranked clock, whose outputs are drawn as text, one a line.
struct Run {
    coordinator: Coordinator,
    now: Time,
}

fn config(peers: u32) -> CoordinatorConfig {
    CoordinatorConfig {
        first: Rank(1),
        placing: false,
        owners_only: false,
        pins: std::collections::BTreeMap::new(),
        members: 0,
        peers,
        order: TrackerOrder::Arrival,
        map: TrackerMap::Swarm,
        on_conflict: OnConflict::Refuse,
        force: false,
        check_only: false,
        loads: false,
        load_min_age: Duration::from_secs(5),
        start_timeout: Duration::from_secs(60),
        silence: Duration::from_secs(30),
        seed: 1,
    }
}

impl Run {
    fn new(config: CoordinatorConfig) -> Run {
        Run { coordinator: Coordinator::new(config), now: Time::ZERO }
    }

    fn at(&mut self, seconds: u64) -> &mut Run {
        let now = Time::from_duration(Duration::from_secs(seconds));
        assert!(now >= self.now, "time goes on");
        self.now = now;
        self
    }

    fn input(&mut self, input: CoordinatorInput) -> Vec<String> {
        self.coordinator.check();
        self.coordinator.handle(self.now, input);
        self.coordinator.check();
        let outputs: Vec<_> = std::iter::from_fn(|| self.coordinator.poll()).collect();
        self.coordinator.check();
        outputs.iter().map(draw).collect()
    }

    fn say(&mut self, from: u32, message: Control) -> Vec<String> {
        self.input(CoordinatorInput::Message { from: Rank(from), message })
    }

    fn register(&mut self, from: u32, text: &str) -> Vec<String> {
        self.say(from, Control::Register(Box::new(registration(text))))
    }

    /// Registers all ranks in order and returns what the last registration caused.
    fn all(config: CoordinatorConfig, texts: &[&str]) -> (Run, Vec<String>) {
        let first = config.first.0;
        let mut run = Run::new(config);
        let mut last = Vec::new();
        for (rank, text) in (first..).zip(texts) {
            assert_eq!(last, [""; 0], "the barrier waits for rank {rank}");
            last = run.register(rank, text);
        }
        (run, last)
    }

    fn lookup(&mut self, from: u32, name: &str) -> Vec<String> {
        self.say(from, Control::Lookup { name: name.to_owned() })
    }

    fn refresh(&mut self, from: u32, torrents: &[(u32, &[u32])]) -> Vec<String> {
        let of = |pieces: &[u32]| pieces.iter().copied().map(PieceIndex).collect();
        let torrents = torrents.iter().map(|(t, pieces)| (TorrentId(*t), of(pieces))).collect();
        self.say(from, Control::Refresh(Refresh { torrents, forced: false, vain: 0 }))
    }

    fn done(&mut self, from: u32) -> Vec<String> {
        self.say(from, Control::AllComplete { failed: vec![] })
    }

    fn timeout(&mut self, seconds: u64) -> Vec<String> {
        self.at(seconds).input(CoordinatorInput::Timeout)
    }

    /// The next wake-up: seconds and reason.
    fn wake(&self) -> Option<(u64, Reason)> {
        let wake = self.coordinator.next_timeout();
        wake.map(|(time, reason)| (time.since(Time::ZERO).as_secs(), reason))
    }
}

/// A registration drawn as text: `a=ABC` owned, `a@ABC` in place, `a~ABC/101` a part, `+a` and
/// `*a/**` wanted, `!` shares nothing, `%7/100` 100 bytes free on device 7, `-a` unreadable, `:d` a
/// folder, `elsewhere` owned files elsewhere, `&host:folder` a location, in rack `r`, `awaits`
/// profile course. A letter is a piece of 4 bytes.
fn registration(text: &str) -> Register {
    let mut register = Register { shares: true, ..Register::default() };
    for word in text.split_whitespace() {
        let (first, rest) = word.split_at(1);
        match first {
            "+" => register.wants.push(Want::Name(rest.to_owned())),
            "*" => register.wants.push(Want::Glob(rest.to_owned())),
            "!" => register.shares = false,
            "%" => {
                let (device, free) = rest.split_once('/').unwrap();
                let (device, free) = (device.parse().unwrap(), free.parse().unwrap());
                register.space = Some(Space { device, free });
            }
            "-" => {
                let (name, reason) = (rest.to_owned(), "denied".to_owned());
                register.unreadable.push(FailedFile { name, reason });
            }
            ":" => {
                let (name, kind) = (rest.to_owned(), EntryKind::Directory);
                register.entries.push(TreeEntry { name, kind, meta: EntryMeta::default() });
            }
            "&" => {
                let (host, dest) = rest.split_once(':').unwrap();
                let (host, dest) = (host.to_owned(), dest.to_owned());
                register.location = Some(Location { host, rack: "r".to_owned(), dest, device: 1 });
            }
            _ if word == "elsewhere" => register.elsewhere = true,
            _ if word == "awaits" => register.awaits_answers = true,
            _ => register.files.push(owned(word)),
        }
    }
    register
}

fn owned(word: &str) -> OwnedFile {
    let at = word.find(['=', '@', '~']).unwrap();
    let (name, kind, rest) = (&word[..at], &word[at..=at], &word[at + 1..]);
    let (letters, bits) = rest.split_once('/').unwrap_or((rest, ""));
    let hashes = letters.bytes().map(|letter| [letter; 20]);
    let piece_length = 4;
    let pieces = (!bits.is_empty()).then(|| {
        let mut field = Bitfield::new(bits.len() as u32);
        let ones = (0..).map(PieceIndex).zip(bits.bytes()).filter(|(_, bit)| *bit == b'1');
        ones.for_each(|(piece, _)| {
            field.set(piece);
        });
        field
    });
    let length = letters.len() as u64 * u64::from(piece_length);
    OwnedFile {
        name: name.to_owned(),
        length,
        piece_length,
        hashes: PieceHashes::Sha1(hashes.collect()),
        pieces,
        provenance: match kind {
            "@" => Provenance::InPlace,
            "~" => Provenance::Part,
            _ => Provenance::Owner,
        },
        bytes: length,
        sha256: None,
    }
}

fn draw(output: &CoordinatorOutput) -> String {
    let CoordinatorOutput::Send { to, message } = output else { return "finished".to_owned() };
    let rest = match message {
        Control::Start(go) => {
            let torrents = go.torrents.iter().map(|assignment| {
                let holds = if assignment.holds_all { "!" } else { "" };
                let wants = if assignment.wants { "?" } else { "" };
                let link = assignment.link.as_ref();
                let link =
                    link.map_or(String::new(), |link| format!("<{}:{}", link.rank, link.dest));
                format!(
                    " {:?}({}){holds}{wants}{link}",
                    assignment.torrent,
                    assignment.names.join(" ")
                )
            });
            let mut text: String = torrents.collect();
            let missing: Vec<String> = go.missing.iter().map(|one| one.name.clone()).collect();
            for (what, names) in [("missing", &missing), ("replace", &go.replace)] {
                if !names.is_empty() {
                    text += &format!(" {what} {}", names.join(" "));
                }
            }
            for entry in go.entries.iter() {
                text += &format!(" :{}", entry.name);
            }
            if !go.absent.is_empty() {
                text += &format!(" absent {:?}", go.absent);
            }
            text
        }
        Control::Swarm(swarm) => {
            let member = |member: &Member| match member.load {
                0 => format!(" {}", member.rank),
                load => format!(" {}({load})", member.rank),
            };
            let members: String = swarm.members.iter().map(member).collect();
            let info = if swarm.info.is_some() { "+info" } else { "" };
            let owners = swarm.owners.as_ref().map_or(String::new(), |owners| {
                let owners = owners.iter().map(|(rank, pieces)| format!(" {rank}:{pieces:?}"));
                format!(" |{}", owners.collect::<String>())
            });
            format!(" {:?} {}{info}:{members}{owners}", swarm.torrent, swarm.name)
        }
        Control::Refused { name, .. } => format!(" {name}"),
        Control::Departed { rank } => format!(" {rank}"),
        Control::Linkable { torrent, files, last } => {
            let last = if *last { " last" } else { "" };
            format!(" {torrent:?} {files:?}{last}")
        }
        Control::Shutdown(ShutdownReason::Refused(_)) => " refused".to_owned(),
        Control::Shutdown(reason) => format!(" {reason:?}").to_lowercase(),
        _ => String::new(),
    };
    format!("{to} {}{rest}", message.name())
}

#[test]
fn a_run_from_the_first_registration_to_the_end() {
    let texts = ["a=ABC b=D x=X", "+a *b", "*ghost +a"];
    let (mut run, go) = Run::all(config(3), &texts);
    // One set of a each for its wanters: b is wanted by rank 2 only. Nobody wants x.
    let expected = ["1 go t0(a)! t1(b)!", "2 go t0(a)? t1(b)?", "3 go t0(a)? missing ghost"];
    assert_eq!(go, expected);
    assert_eq!(run.lookup(2, "a"), ["2 swarm t0 a+info: 1 2"]);
    // The asker is a member at once, and always last in its own list.
    assert_eq!(run.lookup(3, "a"), ["3 swarm t0 a+info: 1 2 3"]);
    assert_eq!(run.lookup(2, "a"), ["2 swarm t0 a+info: 1 3 2"]);
    assert_eq!(run.lookup(2, "ghost"), ["2 refused ghost"]);
    assert_eq!(run.lookup(2, "x"), ["2 refused x"]);
    assert_eq!(run.refresh(2, &[(0, &[]), (9, &[]), (0, &[])]), ["2 swarm t0 a: 1 3 2"]);
    assert_eq!(run.lookup(2, "b"), ["2 swarm t1 b+info: 1 2"]);
    let two = run.refresh(2, &[(1, &[]), (0, &[])]);
    assert_eq!(two, ["2 swarm t0 a: 1 3 2", "2 swarm t1 b: 1 2"]);
    assert_eq!(run.done(1), [""; 0]);
    assert_eq!(run.done(2), [""; 0]);
    let failed = FailedFile { name: "ghost".into(), reason: "nobody has it".into() };
    let end = run.say(3, Control::AllComplete { failed: vec![failed.clone()] });
    let expected = ["1 shutdown done", "2 shutdown done", "3 shutdown done", "finished"];
    assert_eq!(end, expected);
    assert_eq!(run.wake(), None);
    let outcome = run.coordinator.outcome();
    assert_eq!(outcome.completed, [Rank(1), Rank(2), Rank(3)]);
    assert_eq!(outcome.failed.get(&Rank(3)), Some(&vec![failed]));
    assert_eq!((outcome.bytes_wanted, outcome.plan.len()), (28, 2));
    // Nothing follows the end.
    assert_eq!(run.done(3), [""; 0]);
    assert_eq!(run.input(CoordinatorInput::Interrupt), [""; 0]);
}

#[test]
fn what_comes_before_go_is_ignored() {
    let mut run = Run::new(config(2));
    run.register(1, "a=A");
    let early = [
        Control::Lookup { name: "a".into() },
        Control::Refresh(Refresh { torrents: vec![(TorrentId(0), vec![])], forced: true, vain: 0 }),
        Control::AllComplete { failed: vec![] },
        Control::FileComplete { torrent: TorrentId(0), files: vec![FileIndex(0)] },
    ];
    for message in early {
        assert_eq!(run.say(1, message.clone()), [""; 0], "{message:?}");
        assert_eq!(run.say(2, message), [""; 0]);
    }
    // A second registration changes nothing.
    assert_eq!(run.register(1, "b=B"), [""; 0]);
    assert_eq!(run.register(2, "+a +b"), ["1 go t0(a)!", "2 go t0(a)? missing b"]);
}

#[test]
fn the_barrier_waits_for_progress_and_no_longer() {
    let mut run = Run::new(config(3));
    assert_eq!(run.wake(), Some((60, Reason::Start)));
    run.at(1).register(1, "a=A");
    assert_eq!(run.wake(), Some((31, Reason::Silence)));
    let checking = |done| Control::Checking { done, total: 100 };
    run.at(20).say(2, checking(10));
    run.at(25).say(1, Control::Alive);
    run.at(50).say(2, checking(20));
    // The same again is no progress.
    run.at(51).say(2, checking(20));
    run.at(51).say(1, Control::Alive);
    assert_eq!(run.timeout(59), [""; 0]);
    assert_eq!(run.wake(), Some((60, Reason::Start)));
    // Rank 3 said nothing at all; rank 2 is still checking.
    assert_eq!(run.timeout(60), [""; 0]);
    assert_eq!(run.coordinator.outcome().absent, [Rank(3)]);
    assert_eq!(run.wake(), Some((81, Reason::Silence)));
    run.at(80).say(1, Control::Alive);
    run.at(109).say(1, Control::Alive);
    let go = run.timeout(110);
    assert_eq!(go, ["1 go absent [r2, r3]"]);
    // Who still checks may come late: nobody sends it away.
    assert_eq!(run.say(2, checking(30)), [""; 0]);
    assert_eq!(run.lookup(3, "a"), [""; 0]);
    // In the end the absent are told that it is over, in case they come yet.
    let end = ["1 shutdown done", "2 shutdown refused", "3 shutdown refused", "finished"];
    assert_eq!(run.done(1), end);
}

#[test]
fn absent_ranks_do_not_stop_the_others() {
    let mut run = Run::new(config(3));
    run.register(1, "a=AB");
    run.register(3, "+a +b");
    assert_eq!(run.wake(), Some((30, Reason::Silence)));
    for rank in [1, 3] {
        run.at(29).say(rank, Control::Alive);
        assert_eq!(run.at(29).say(rank, Control::Alive), [""; 0]);
    }
    run.at(58).say(1, Control::Alive);
    run.at(58).say(3, Control::Alive);
    let go = ["1 go t0(a)! absent [r2]", "3 go t0(a)? missing b absent [r2]"];
    assert_eq!(run.timeout(60), go);
}

#[test]
fn a_rank_that_the_world_hears_is_not_dead() {
    let mut run = Run::new(config(2));
    let heard = |rank| CoordinatorInput::Alive { rank: Rank(rank) };
    // That it lives is no progress: it is absent all the same if it does not register.
    assert_eq!(run.at(50).input(heard(2)), [""; 0]);
    run.at(51).register(1, "a=A");
    assert_eq!(run.timeout(60), ["1 go absent [r2]"]);
    assert_eq!(run.wake(), Some((90, Reason::Silence)));
    assert_eq!(run.at(80).input(heard(1)), [""; 0]);
    assert_eq!(run.wake(), Some((110, Reason::Silence)));
    // Who is given up does not come back by that.
    assert_eq!(run.at(81).input(heard(2)), [""; 0]);
    assert_eq!(run.timeout(109), [""; 0]);
    assert_eq!(run.timeout(110).last().map(String::as_str), Some("finished"));
    assert_eq!(run.coordinator.outcome().dead, [Rank(1)]);
}

#[test]
fn nobody_comes() {
    let mut run = Run::new(config(2));
    let end = ["1 shutdown refused", "2 shutdown refused", "finished"];
    assert_eq!(run.timeout(60), end);
    assert_eq!(run.coordinator.outcome().absent, [Rank(1), Rank(2)]);
    let mut none = Coordinator::new(config(0));
    assert_eq!((none.poll(), none.next_timeout()), (Some(CoordinatorOutput::Finished), None));
    none.check();
}

#[test]
fn conflicts_move_nothing() {
    let texts = ["a=ABC", "a=ABX", "+a"];
    let (run, end) = Run::all(config(3), &texts);
    let all = ["1 shutdown refused", "2 shutdown refused", "3 shutdown refused", "finished"];
    assert_eq!(end, all);
    let refusal = run.coordinator.outcome().refusal.clone().unwrap();
    assert_eq!(refusal.kind, RefusalKind::Conflict);
    for part in ["`a`", "rank 1", "rank 2", "piece 2", "--on-conflict lowest-rank"] {
        assert!(refusal.text.contains(part), "{part}: {}", refusal.text);
    }
    let lowest = CoordinatorConfig { on_conflict: OnConflict::LowestRank, ..config(3) };
    let (_, go) = Run::all(lowest, &texts);
    assert_eq!(go, ["1 go t0(a)!", "2 go", "3 go t0(a)?"]);
}

#[test]
fn obstacles_move_nothing_without_force() {
    let texts = ["a=ABC b=D", "a@ABX b@X +a +b"];
    let (run, end) = Run::all(config(2), &texts);
    assert_eq!(end, ["1 shutdown refused", "2 shutdown refused", "finished"]);
    let refusal = run.coordinator.outcome().refusal.clone().unwrap();
    assert_eq!(refusal.kind, RefusalKind::Obstacle);
    for part in ["`a`", "rank 2", "1 more", "--force"] {
        assert!(refusal.text.contains(part), "{part}: {}", refusal.text);
    }
    let (run, go) = Run::all(CoordinatorConfig { force: true, ..config(2) }, &texts);
    assert_eq!(go, ["1 go t0(a b)!", "2 go t0(a b)? replace a b"]);
    let moved = run.coordinator.outcome().plan[0];
    assert_eq!((moved.files, moved.bytes, moved.bytes_here), (2, 16, 0));
}

#[test]
fn space_is_added_up_by_device() {
    // 12 bytes each for ranks 2 and 3: together too much for the least that any rank saw free.
    let cases = [
        ("+a %7/100", "+a %7/23", true),
        ("+a %7/100", "+a %7/24", false),
        ("+a %7/12", "+a %8/12", false),
        ("+a a~ABC/110 %7/16", "+a %7/99", false),
        ("+a a@ABC %7/12", "+a %7/99", false),
        ("+a %7/11", "", true),
        ("%7/0", "+a", false),
    ];
    for (two, three, refused) in cases {
        let (run, _) = Run::all(config(3), &["a=ABC", two, three]);
        let refusal = &run.coordinator.outcome().refusal;
        assert_eq!(refusal.is_some(), refused, "{two} | {three}");
        if let Some(refusal) = refusal {
            assert_eq!(refusal.kind, RefusalKind::NoSpace);
            assert!(refusal.text.contains("rank"), "{}", refusal.text);
        }
    }
}

#[test]
fn a_check_moves_nothing_and_says_what_would_move() {
    let check = CoordinatorConfig { check_only: true, ..config(2) };
    let (run, end) = Run::all(check, &["a=ABC b=D", "+a +b a~ABC/010"]);
    assert_eq!(end, ["1 shutdown checked", "2 shutdown checked", "finished"]);
    let outcome = run.coordinator.outcome();
    let moved = PlannedMove { rank: Rank(2), files: 2, bytes: 12, bytes_here: 4, linked: 0 };
    assert_eq!((outcome.plan.as_slice(), outcome.bytes_wanted), (&[moved][..], 16));
}

#[test]
fn who_is_in_the_swarm_at_go() {
    // Rank 2 has all that it wants and counts as a holder; rank 3 has a part and does not know the
    // set.
    let texts = ["a=ABC", "+a a@ABC", "+a a~ABC/011", "+a"];
    let (mut run, go) = Run::all(config(4), &texts);
    assert_eq!(go, ["1 go t0(a)!", "2 go t0(a)!?", "3 go t0(a)?", "4 go t0(a)?"]);
    assert_eq!(run.lookup(4, "a"), ["4 swarm t0 a+info: 1 2 4"]);
    assert_eq!(run.lookup(3, "a"), ["3 swarm t0 a+info: 1 2 4 3"]);
}

#[test]
fn a_file_that_is_only_there_in_parts_is_served() {
    let (mut run, go) = Run::all(config(2), &["a~ABC/110 +a", "a~ABC/011 +a"]);
    assert_eq!(go, ["1 go t0(a)?", "2 go t0(a)?"]);
    assert_eq!(run.lookup(1, "a"), ["1 swarm t0 a+info: 1"]);
    assert_eq!(run.lookup(2, "a"), ["2 swarm t0 a+info: 1 2"]);
}

#[test]
fn map_pieces_tells_the_owners_of_every_piece() {
    let pieces = CoordinatorConfig { map: TrackerMap::Pieces, ..config(4) };
    let (mut run, _) = Run::all(pieces, &["a=ABC", "+a", "+a a~ABC/010", "+a"]);
    assert_eq!(run.lookup(2, "a"), ["2 swarm t0 a+info: 1 2 | 1:111"]);
    assert_eq!(run.lookup(3, "a"), ["3 swarm t0 a+info: 1 2 3 | 1:111"]);
    // Rank 3 is now a member, with what it had; nonsense indexes are passed over.
    let answer = run.refresh(2, &[(0, &[0, 77]), (9, &[0])]);
    assert_eq!(answer, ["2 swarm t0 a: 1 3 2 | 1:111 3:010"]);
    let answer = run.refresh(3, &[(0, &[])]);
    assert_eq!(answer, ["3 swarm t0 a: 1 2 3 | 1:111 2:100"]);
    let complete = |file| Control::FileComplete { torrent: TorrentId(0), files: vec![file] };
    assert_eq!(run.say(3, complete(FileIndex(0))), [""; 0]);
    assert_eq!(run.say(4, complete(FileIndex(0))), [""; 0], "no member, no seed");
    let answer = run.refresh(2, &[(0, &[])]);
    assert_eq!(answer, ["2 swarm t0 a: 1 3 2 | 1:111 3:111"]);
    let rows = &run.coordinator.dump()[0].1;
    assert_eq!(rows[0].1, [Rank(1), Rank(2), Rank(3)]);
    assert_eq!(rows[2].1, [Rank(1), Rank(3)]);
}

#[test]
fn who_shares_nothing_is_not_handed_out() {
    let pieces = CoordinatorConfig { map: TrackerMap::Pieces, ..config(3) };
    let (mut run, _) = Run::all(pieces, &["a=AB", "+a !", "+a"]);
    assert_eq!(run.lookup(2, "a"), ["2 swarm t0 a+info: 1 2 | 1:11"]);
    run.refresh(2, &[(0, &[0])]);
    assert_eq!(run.lookup(3, "a"), ["3 swarm t0 a+info: 1 3 | 1:11"]);
    assert_eq!(run.coordinator.dump()[0].1[0].1, [Rank(1), Rank(2)], "the dump has it");
}

#[test]
fn loads_are_asked_for_in_the_background() {
    let order = TrackerOrder::LeastBusy;
    let (mut run, _) =
        Run::all(CoordinatorConfig { loads: true, order, ..config(3) }, &["a=A", "a=A", "+a"]);
    // The answer comes first and does not wait.
    let answer = run.at(1).lookup(3, "a");
    assert_eq!(answer, ["3 swarm t0 a+info: 1 2 3", "1 load-query", "2 load-query"]);
    // Who owes an answer is left in peace.
    assert_eq!(run.at(2).refresh(3, &[(0, &[])]), ["3 swarm t0 a: 1 2 3"]);
    assert_eq!(run.say(1, Control::Load(Load { served: 4, in_flight: 1 })), [""; 0]);
    assert_eq!(run.at(6).refresh(3, &[(0, &[])]), ["3 swarm t0 a: 2 1(5) 3"]);
    // A load is asked for again when it is old.
    let answer = run.at(7).refresh(3, &[(0, &[])]);
    assert_eq!(answer, ["3 swarm t0 a: 2 1(5) 3", "1 load-query"]);
    // Without `loads` nobody is asked.
    let (mut run, _) = Run::all(config(2), &["a=A", "+a"]);
    assert_eq!(run.lookup(2, "a"), ["2 swarm t0 a+info: 1 2"]);
}

#[test]
fn the_silent_are_dead() {
    let (mut run, _) = Run::all(config(3), &["a=A", "a=A", "+a"]);
    run.lookup(3, "a");
    run.at(20).say(1, Control::Alive);
    run.at(25).refresh(3, &[(0, &[])]);
    assert_eq!(run.wake(), Some((30, Reason::Silence)));
    assert_eq!(run.timeout(29), [""; 0]);
    assert_eq!(run.timeout(30), ["1 departed 2", "3 departed 2"]);
    assert_eq!(run.refresh(3, &[(0, &[])]), ["3 swarm t0 a: 1 3"]);
    // The dead do not come back, unless they register.
    assert_eq!(run.say(2, Control::Alive), [""; 0]);
    assert_eq!(run.lookup(2, "a"), [""; 0]);
    assert_eq!(run.coordinator.outcome().dead, [Rank(2)]);
    run.done(1);
    assert_eq!(run.done(3), ["1 shutdown done", "3 shutdown done", "finished"]);
}

#[test]
fn the_world_may_know_first() {
    let (mut run, _) = Run::all(config(3), &["a=A", "+a", "+a"]);
    run.done(1);
    let lost = |rank| CoordinatorInput::Lost { rank: Rank(rank) };
    // Who is complete can die, too: it served.
    assert_eq!(run.input(lost(1)), ["2 departed 1", "3 departed 1"]);
    assert_eq!(run.input(lost(1)), [""; 0]);
    assert_eq!(run.input(lost(0)), [""; 0]);
    assert_eq!(run.input(lost(77)), [""; 0]);
    assert_eq!(run.input(lost(2)), ["3 departed 2"]);
    assert_eq!(run.input(lost(3)), ["finished"], "all are dead");
    assert_eq!(run.coordinator.outcome().dead, [Rank(1), Rank(2), Rank(3)]);
    assert_eq!(run.coordinator.outcome().completed, [Rank(1)]);
}

#[test]
fn who_dies_before_go_brings_nothing() {
    let mut run = Run::new(config(3));
    run.register(1, "a=A");
    run.register(2, "a=X b=B");
    let lost = CoordinatorInput::Lost { rank: Rank(2) };
    assert_eq!(run.input(lost), ["1 departed 2"]);
    assert_eq!(run.register(3, "+a +b"), ["1 go t0(a)!", "3 go t0(a)? missing b"]);
    // And who dies before it registers keeps nobody waiting.
    let mut run = Run::new(config(2));
    run.register(1, "a=A");
    let lost = CoordinatorInput::Lost { rank: Rank(2) };
    assert_eq!(run.input(lost), ["1 departed 2", "1 go"]);
}

#[test]
fn an_interrupt_stops_everyone_at_any_time() {
    let mut run = Run::new(config(2));
    run.register(1, "a=A");
    let end = ["1 shutdown interrupted", "2 shutdown interrupted", "finished"];
    assert_eq!(run.input(CoordinatorInput::Interrupt), end);
    assert!(run.coordinator.outcome().interrupted);
    let (mut run, _) = Run::all(config(2), &["a=A", "+a"]);
    assert_eq!(run.input(CoordinatorInput::Interrupt), end);
}

#[test]
fn a_registration_that_makes_no_sense_is_refused() {
    let mut run = Run::new(config(2));
    let mut register = registration("a=A");
    register.files[0].length = 99;
    let answer = run.say(1, Control::Register(Box::new(register)));
    assert_eq!(answer, ["1 shutdown refused"]);
    assert_eq!(run.register(2, "+a"), ["2 go missing a absent [r1]"]);
}

#[test]
fn nonsense_changes_nothing() {
    let (mut run, _) = Run::all(config(2), &["a=AB", "+a"]);
    run.lookup(2, "a");
    let (before, wake) = (run.coordinator.dump(), run.wake());
    let far = TorrentId(u32::MAX);
    let nonsense = [
        (0, Control::Lookup { name: "a".into() }),
        (3, Control::Lookup { name: "a".into() }),
        (u32::MAX, Control::AllComplete { failed: vec![] }),
        (2, Control::FileComplete { torrent: far, files: vec![FileIndex(0)] }),
        (2, Control::FileComplete { torrent: TorrentId(0), files: vec![FileIndex(9)] }),
        (2, Control::Refresh(Refresh { torrents: vec![(far, vec![])], forced: true, vain: 0 })),
        (2, Control::Start(Box::default())),
        (2, Control::Shutdown(ShutdownReason::Done)),
        (2, Control::Departed { rank: Rank(1) }),
        (2, Control::LoadQuery),
        (2, Control::Refused { name: "a".into(), reason: String::new() }),
        (2, Control::Checking { done: 5, total: 1 }),
    ];
    for (from, message) in nonsense {
        assert_eq!(run.say(from, message.clone()), [""; 0], "{from} {message:?}");
    }
    assert_eq!((run.coordinator.dump(), run.wake()), (before, wake));
}

#[test]
fn the_same_seed_and_inputs_give_the_same_outputs() {
    let outputs = |seed| {
        let order = TrackerOrder::Random;
        let texts = ["a=A", "a=A", "a=A", "a=A", "a=A", "+a"];
        let (mut run, mut out) = Run::all(CoordinatorConfig { order, seed, ..config(6) }, &texts);
        out.extend(run.lookup(6, "a"));
        (0..9).for_each(|_| out.extend(run.refresh(6, &[(0, &[])])));
        out
    };
    assert_eq!(outputs(5), outputs(5));
    assert_ne!(outputs(5), outputs(6));
    assert!(outputs(5).iter().skip(6).all(|answer| answer.ends_with(" 6")), "the asker is last");
}

/// A message that a peer could send, right or wrong at this time.
fn any_message(rng: &mut Rng) -> Control {
    let texts = [
        "a=ABC b=D",
        "a=ABC +b awaits",
        "+a +b awaits",
        "*** a~ABC/010",
        "a@ABC +a !",
        "a=X",
        "%1/9 +a",
        "&h:/d +a +b",
        "&h:/e *** a@ABX",
        "&h:/d a=ABC b=D *** elsewhere",
        "&h:/d +b %1/9 -a",
        ":c -b *c",
    ];
    let torrent = TorrentId(rng.below(3) as u32);
    let piece = PieceIndex(rng.below(5) as u32);
    match rng.below(12) {
        0..=3 => {
            let text = texts[rng.below(texts.len() as u64) as usize];
            Control::Register(Box::new(registration(text)))
        }
        4 => Control::Checking { done: rng.below(4), total: 4 },
        5 => Control::Alive,
        6 | 7 => Control::Lookup { name: ["a", "b", "c"][rng.below(3) as usize].to_owned() },
        8 => {
            let torrents = vec![(torrent, vec![piece]), (torrent, vec![])];
            Control::Refresh(Refresh {
                torrents,
                forced: rng.chance(1, 2),
                vain: rng.below(12) as u32,
            })
        }
        9 => Control::Load(Load { served: rng.next_u64(), in_flight: rng.below(9) }),
        10 => Control::FileComplete { torrent, files: vec![FileIndex(rng.below(3) as u32)] },
        _ => Control::AllComplete { failed: vec![] },
    }
}

#[test]
fn any_inputs_keep_the_invariants_and_come_to_an_end() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut run = Run::new(CoordinatorConfig {
            order: [TrackerOrder::Arrival, TrackerOrder::LeastBusy, TrackerOrder::Random]
                [rng.below(3) as usize],
            map: [TrackerMap::Swarm, TrackerMap::Pieces][rng.below(2) as usize],
            on_conflict: [OnConflict::Refuse, OnConflict::LowestRank, OnConflict::FailName]
                [rng.below(3) as usize],
            force: rng.chance(1, 2),
            placing: rng.chance(1, 2),
            first: Rank(rng.below(2) as u32),
            members: rng.below(4) as usize,
            check_only: rng.chance(1, 9),
            loads: rng.chance(1, 2),
            seed,
            ..config(1 + rng.below(5) as u32)
        });
        let mut ends = 0;
        for second in 0..200 {
            let rank = rng.below(7) as u32;
            let input = match rng.below(60) {
                0 => CoordinatorInput::Withdrawn { rank: Rank(rank) },
                1..3 => CoordinatorInput::Lost { rank: Rank(rank) },
                3..=20 => CoordinatorInput::Timeout,
                21..=23 => CoordinatorInput::Alive { rank: Rank(rank) },
                _ => CoordinatorInput::Message { from: Rank(rank), message: any_message(&mut rng) },
            };
            let outputs = run.at(second).input(input);
            ends += outputs.iter().filter(|output| *output == "finished").count();
        }
        // Left alone, every run comes to its end by its own deadlines.
        while let Some((time, _)) = run.coordinator.next_timeout() {
            run.now = run.now.max(time);
            let outputs = run.input(CoordinatorInput::Timeout);
            ends += outputs.iter().filter(|output| *output == "finished").count();
        }
        assert_eq!(ends, 1, "seed {seed}");
    }
}
