//! Ranks that come when others have given them up.

use super::*;

fn lost(rank: u32) -> CoordinatorInput {
    CoordinatorInput::Lost { rank: Rank(rank) }
}

fn complete(file: u32) -> Control {
    Control::FileComplete { torrent: TorrentId(0), files: vec![FileIndex(file)] }
}

#[test]
fn an_absent_rank_is_taken_in() {
    let mut run = Run::new(config(4));
    run.register(1, "a=ABC b=B");
    run.register(2, "+a +b");
    run.at(29).say(1, Control::Alive);
    run.say(2, Control::Alive);
    run.at(50).say(1, Control::Alive);
    run.say(2, Control::Alive);
    assert_eq!(run.timeout(60).len(), 2, "the others go");
    // It brings a part and wants the set as it is.
    assert_eq!(run.register(3, "+a +b a~ABC/011"), ["3 go t0(a b)? absent [r4]"]);
    assert_eq!(run.register(3, "+a"), [""; 0], "a second registration is nothing");
    let outcome = run.coordinator.outcome();
    assert_eq!((&outcome.absent[..], &outcome.returned[..]), (&[Rank(4)][..], &[Rank(3)][..]));
    let planned = PlannedMove { rank: Rank(3), files: 2, bytes: 8, bytes_here: 8, linked: 0 };
    assert_eq!((outcome.plan[1], outcome.bytes_wanted), (planned, 32));
    assert_eq!(run.lookup(3, "a"), ["3 swarm t0 a+info: 1 3"]);
    // Others hear of it with the next refresh, and the run waits for it.
    assert_eq!(run.lookup(2, "a"), ["2 swarm t0 a+info: 1 3 2"]);
    assert_eq!(run.done(1), [""; 0]);
    assert_eq!(run.done(2), [""; 0]);
    // It can be lost again, and come again.
    assert_eq!(run.wake(), Some((90, Reason::Silence)));
    assert_eq!(
        run.input(lost(3)),
        [
            "1 departed 3",
            "2 departed 3",
            "1 shutdown done",
            "2 shutdown done",
            "4 shutdown refused",
            "finished"
        ]
    );
    let outcome = run.coordinator.outcome();
    assert_eq!((&outcome.dead[..], &outcome.returned[..]), (&[Rank(3)][..], &[Rank(3)][..]));
    // After the end it is too late.
    assert_eq!(run.register(3, "+a"), ["3 shutdown refused"]);
    assert_eq!(run.register(4, "+a"), ["4 shutdown refused"]);
    assert_eq!(run.register(2, "+a"), [""; 0]);
    assert_eq!(run.say(3, Control::Alive), [""; 0]);
}

#[test]
fn a_dead_rank_comes_back_with_what_it_has() {
    let pieces = CoordinatorConfig { map: TrackerMap::Pieces, ..config(3) };
    let (mut run, _) = Run::all(pieces, &["a=ABC", "+a", "+a"]);
    run.lookup(2, "a");
    run.lookup(3, "a");
    run.say(2, complete(0));
    run.done(2);
    assert_eq!(run.input(lost(2)), ["1 departed 2", "3 departed 2"]);
    assert_eq!(run.refresh(3, &[(0, &[])]), ["3 swarm t0 a: 1 3 | 1:111"]);
    // A faulty registration is refused, and the next one counts.
    let mut faulty = registration("a=A");
    faulty.files[0].length = 99;
    assert_eq!(run.say(2, Control::Register(Box::new(faulty))), ["2 shutdown refused"]);
    assert_eq!(run.register(2, "+a a@ABC"), ["2 go t0(a)!?"]);
    assert_eq!(run.refresh(3, &[(0, &[])]), ["3 swarm t0 a: 1 2 3 | 1:111 2:111"]);
    let outcome = run.coordinator.outcome();
    assert!(outcome.dead.is_empty() && outcome.returned == [Rank(2)]);
    assert_eq!((outcome.plan.len(), outcome.bytes_wanted), (2, 24), "it was planned before");
    run.done(1);
    run.done(3);
    let end = run.done(2);
    assert_eq!(end.last().map(String::as_str), Some("finished"));
    assert_eq!(run.coordinator.outcome().completed, [Rank(2), Rank(1), Rank(3)]);
}

#[test]
fn before_the_start_it_counts_like_any_other() {
    let mut run = Run::new(config(3));
    run.register(1, "a=A");
    assert_eq!(run.input(lost(2)), ["1 departed 2"]);
    assert_eq!(run.register(2, "+a"), [""; 0]);
    assert_eq!(run.register(3, "+a"), ["1 go t0(a)!", "2 go t0(a)?", "3 go t0(a)?"]);
    let outcome = run.coordinator.outcome();
    assert!(outcome.dead.is_empty() && outcome.returned == [Rank(2)]);
}

#[test]
fn only_whole_sets_are_joined() {
    let (mut run, _) = Run::all(config(3), &["a=A b=B", "+a +b", "+a +b"]);
    run.input(lost(3));
    assert_eq!(run.register(3, "+a +x"), ["3 go missing a x"]);
    assert_eq!(run.done(3), [""; 0]);
}

#[test]
fn a_late_rank_of_a_host_links() {
    let placing = |peers| CoordinatorConfig { placing: true, ..config(peers) };
    let texts = ["a=A b=B", "&h:/2 ***", "&h:/3 ***", "&h:/2 ***"];
    let (mut run, _) = Run::all(placing(4), &texts);
    run.input(lost(4));
    run.say(2, complete(0));
    // It writes into the folder of rank 2, and hears what is there.
    assert_eq!(run.register(4, texts[3]), ["4 go t0(a b)?<2:/2", "4 linkable t0 [f0]"]);
    let more = ["3 linkable t0 [f1] last", "4 linkable t0 [f1] last"];
    assert_eq!(run.say(2, complete(1)), more);
    run.say(3, complete(1));
    run.say(3, complete(0));
    run.done(2);
    run.done(3);
    // Whoever is complete has everything.
    run.input(lost(4));
    assert_eq!(run.register(4, "&h:/4 ***"), ["4 go t0(a b)?<2:/2", "4 linkable t0 [f0, f1] last"]);
    // One that brings something of its own takes part, unless the folder is another's.
    run.input(lost(4));
    assert_eq!(run.register(4, "&h:/4 *** a@A"), ["4 go t0(a b)?"]);
    run.input(lost(4));
    assert_eq!(
        run.register(4, "&h:/3 *** a=A b=B elsewhere"),
        ["4 go t0(a b)?<3:/3", "4 linkable t0 [f0, f1] last"]
    );
    run.input(lost(4));
    assert_eq!(run.register(4, "&i:/3 ***"), ["4 go t0(a b)?"]);
}
