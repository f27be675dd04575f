//! A plan that is to be made so: rank 0 as a peer, failures by name and by rank, looks,
//! differences.

use super::*;

fn placing(peers: u32) -> CoordinatorConfig {
    let on_conflict = OnConflict::FailName;
    CoordinatorConfig { first: Rank(0), placing: true, on_conflict, ..config(peers) }
}

/// What a rank is told that it will not get.
fn reasons(run: &mut Run, rank: u32, text: &str) -> Vec<String> {
    let register = Control::Register(Box::new(registration(text)));
    run.coordinator
        .handle(run.now, CoordinatorInput::Message { from: Rank(rank), message: register });
    let outputs: Vec<_> = std::iter::from_fn(|| run.coordinator.poll()).collect();
    let missing = outputs.iter().filter_map(|output| match output {
        CoordinatorOutput::Send { to, message: Control::Start(go) } => Some((to, &go.missing)),
        _ => None,
    });
    let line =
        |(to, failed): (&Rank, &FailedFile)| format!("{to} {}: {}", failed.name, failed.reason);
    missing.flat_map(|(to, list)| list.iter().map(move |failed| line((to, failed)))).collect()
}

#[test]
fn rank_0_is_tracker_and_peer() {
    let (mut run, go) = Run::all(placing(3), &["a=ABC +a elsewhere", "+a", "+a"]);
    assert_eq!(go, ["0 go t0(a)!?", "1 go t0(a)?", "2 go t0(a)?"]);
    assert_eq!(run.lookup(1, "a"), ["1 swarm t0 a+info: 0 1"]);
    assert_eq!(run.done(0), [""; 0]);
    assert_eq!(run.lookup(3, "a"), [""; 0], "there is no rank 3");
    assert_eq!(
        run.input(CoordinatorInput::Lost { rank: Rank(2) }),
        ["0 departed 2", "1 departed 2"]
    );
    assert_eq!(run.done(1), ["0 shutdown done", "1 shutdown done", "finished"]);
    let outcome = run.coordinator.outcome();
    assert_eq!(outcome.completed, [Rank(0), Rank(1)]);
    let moved: Vec<_> = outcome.plan.iter().map(|of| (of.rank.0, of.bytes, of.linked)).collect();
    assert_eq!((moved, outcome.bytes_wanted), (vec![(0, 0, 12), (1, 12, 0), (2, 12, 0)], 36));
    // Silent ranks die by the same clock.
    let (mut run, _) = Run::all(placing(2), &["a=A", "+a"]);
    run.at(20).say(1, Control::Alive);
    assert_eq!(run.wake(), Some((30, Reason::Silence)));
    assert_eq!(run.timeout(30), ["1 departed 0"]);
}

#[test]
fn what_fails_fails_alone() {
    let mut run = Run::new(placing(5));
    run.register(0, "a=ABC b=B c=C -d");
    run.register(1, "a=ABX");
    run.register(2, "+a +b %7/3");
    run.register(3, "*** %8/99");
    let why = "rank 0 and rank 1 have different files `a`: piece 2 is the first that differs";
    let space = "what the rank wants needs 4 B (4 bytes), but only 3 B (3 bytes) are free where it \
                 goes; make room, or write to another place";
    let expected = [
        format!("2 a: {space}"),
        format!("2 b: {space}"),
        format!("3 a: {why}"),
        "3 d: rank 0 cannot read it: denied".to_owned(),
        "4 ghost: nobody has it".to_owned(),
        format!("4 a: {why}"),
    ];
    assert_eq!(reasons(&mut run, 4, "+a +c +ghost"), expected);
    assert_eq!(run.coordinator.outcome().refusal, None);
    assert_eq!(run.lookup(3, "b"), ["3 swarm t0 b+info: 0 3"]);
    // Whoever is told to refuse still refuses.
    let refuse = CoordinatorConfig { on_conflict: OnConflict::Refuse, ..placing(2) };
    let (run, end) = Run::all(refuse, &["a=A", "a=B +a"]);
    assert_eq!(end.last().map(String::as_str), Some("finished"));
    assert_eq!(
        run.coordinator.outcome().refusal.as_ref().map(|of| of.kind),
        Some(RefusalKind::Conflict)
    );
}

#[test]
fn what_differs_is_repaired_and_looks_are_kept() {
    let texts = [":d d/a=ABC", "*d/** d/a@AXC", "+d", "+d/a d/a@ABC"];
    let (mut run, go) = Run::all(placing(4), &texts);
    let expected = [
        "0 go t0(d/a)!",
        "1 go t0(d/a)? replace d/a :d",
        // Who wants nothing but a folder has nothing to look up, and completes.
        "2 go :d",
        "3 go t0(d/a)!? :d",
    ];
    assert_eq!(go, expected);
    let plan: Vec<_> = run
        .coordinator
        .outcome()
        .plan
        .iter()
        .map(|of| (of.rank.0, of.bytes, of.bytes_here))
        .collect();
    assert_eq!(plan, [(1, 4, 8), (2, 0, 0), (3, 0, 12)]);
    for rank in [0, 2, 3] {
        assert_eq!(run.done(rank), [""; 0]);
    }
    assert_eq!(run.done(1).last().map(String::as_str), Some("finished"));
}

#[test]
fn a_check_says_what_differs() {
    let check = CoordinatorConfig { check_only: true, ..placing(4) };
    let (run, end) = Run::all(check, &["a=ABC b=B", "+a +b a@AXC b@B", "+a a@ABC", "+a +ghost"]);
    assert_eq!(end.last().map(String::as_str), Some("finished"));
    let outcome = run.coordinator.outcome();
    let names = |rank: u32| {
        let list = outcome.differs.get(&Rank(rank)).map_or(&[][..], Vec::as_slice);
        list.iter().map(|failed| failed.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!((names(1), names(2), names(3)), (vec!["a"], vec![], vec!["a", "ghost"]));
    assert_eq!(outcome.failed[&Rank(3)].len(), 1);
    assert_eq!(outcome.plan.len(), 3);
}

#[test]
fn pins_and_owners_come_from_the_plan() {
    let pins = BTreeMap::from([("a".to_owned(), [7; 32])]);
    let mut run = Run::new(CoordinatorConfig { pins, ..placing(2) });
    run.register(0, "a=A");
    let why = format!("1 a: nobody has it with SHA-256 {}", "07".repeat(32));
    assert_eq!(reasons(&mut run, 1, "+a"), [why]);
    let owners = CoordinatorConfig { owners_only: true, ..placing(2) };
    let (_, go) = Run::all(owners, &["a@A +a", "+a"]);
    assert_eq!(go, ["0 go missing a", "1 go missing a"]);
}

#[test]
fn answers_name_so_many_members_at_most() {
    let texts: Vec<&str> = std::iter::once("a=A").chain(std::iter::repeat_n("+a", 29)).collect();
    let (mut run, _) =
        Run::all(CoordinatorConfig { members: 8, loads: true, ..placing(30) }, &texts);
    for rank in 1..30 {
        let answer = run.lookup(rank, "a");
        let named = answer[0].split(": ").nth(1).map(|list| list.split(' ').collect::<Vec<_>>());
        let named = named.unwrap_or_default();
        assert_eq!(named.len(), 8.min(rank as usize + 1), "{answer:?}");
        assert_eq!((named[0], named.last()), ("0", Some(&&*rank.to_string())));
        assert!(answer.len() <= 8, "only who was named is asked for its load: {answer:?}");
    }
}
