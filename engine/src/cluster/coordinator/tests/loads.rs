//! Answers that are sorted by loads which were asked for them.

use super::*;

/// Ranks 1 and 2 have `a`, 3 and 4 want it and await their answers.
fn run() -> Run {
    let order = TrackerOrder::LeastBusy;
    let config = CoordinatorConfig { loads: true, order, ..config(4) };
    Run::all(config, &["a=A", "a=A", "+a awaits", "+a awaits"]).0
}

impl Run {
    fn load(&mut self, from: u32, served: u64) -> Vec<String> {
        self.say(from, Control::Load(Load { served, in_flight: 0 }))
    }
}

#[test]
fn an_answer_waits_for_every_load_that_was_asked_for_it() {
    let mut run = run();
    assert_eq!(run.at(1).lookup(3, "a"), ["1 load-query", "2 load-query"]);
    assert_eq!(run.wake(), Some((2, Reason::Load)));
    assert_eq!(run.load(1, 5), [""; 0]);
    assert_eq!(run.load(2, 4), ["3 swarm t0 a+info: 2(4) 1(5) 3"]);
    assert_eq!(run.wake().map(|(_, reason)| reason), Some(Reason::Silence));
    // A load that was reported before is asked for again, however young it is.
    assert_eq!(run.refresh(3, &[(0, &[])]), ["1 load-query", "2 load-query"]);
    assert_eq!(run.load(2, 9), [""; 0]);
    assert_eq!(run.load(1, 6), ["3 swarm t0 a: 1(6) 2(9) 3"]);
}

#[test]
fn a_report_that_was_under_way_does_not_count_for_a_later_answer() {
    let mut run = run();
    run.at(1).lookup(3, "a");
    // Both owe a report. Theirs are for rank 3; for rank 4 they are asked once more.
    assert_eq!(run.lookup(4, "a"), ["3 load-query"]);
    assert_eq!(run.load(3, 0), [""; 0]);
    assert_eq!(run.load(1, 1), ["1 load-query"]);
    assert_eq!(run.load(2, 2), ["2 load-query", "3 swarm t0 a+info: 1(1) 2(2) 3"]);
    assert_eq!(run.load(2, 7), [""; 0]);
    assert_eq!(run.load(1, 8), ["4 swarm t0 a+info: 3 2(7) 1(8) 4"]);
}

#[test]
fn who_is_late_or_dead_counts_with_its_last_load_and_blocks_nobody() {
    let mut run = run();
    run.at(1).lookup(3, "a");
    run.load(1, 5);
    run.load(2, 3);
    run.refresh(3, &[(0, &[])]);
    run.load(1, 1);
    assert_eq!(run.at(2).input(CoordinatorInput::Timeout), ["3 swarm t0 a: 1(1) 2(3) 3"]);
    // Nobody waits for it again before it has reported.
    assert_eq!(run.refresh(3, &[(0, &[])]), ["1 load-query"]);
    assert_eq!(run.load(1, 4), ["3 swarm t0 a: 2(3) 1(4) 3"]);
    assert_eq!(run.load(2, 8), [""; 0]);
    assert_eq!(run.refresh(3, &[(0, &[])]), ["1 load-query", "2 load-query"]);
    // Who dies is waited for no more, and its answers go with it.
    run.load(1, 5);
    let lost = run.input(CoordinatorInput::Lost { rank: Rank(2) });
    let expected = ["3 swarm t0 a: 1(5) 3", "1 departed 2", "3 departed 2", "4 departed 2"];
    assert_eq!(lost, expected);
    assert_eq!(run.refresh(3, &[(0, &[])]), ["1 load-query"]);
    run.input(CoordinatorInput::Lost { rank: Rank(3) });
    assert_eq!(run.load(1, 6), [""; 0]);
    assert_eq!(run.wake().map(|(_, reason)| reason), Some(Reason::Silence));
}

#[test]
fn answers_to_one_rank_keep_their_order_and_are_few() {
    let mut run = run();
    run.at(1).lookup(3, "a");
    run.load(1, 1);
    run.load(2, 2);
    assert_eq!(run.refresh(3, &[(0, &[])]), ["1 load-query", "2 load-query"]);
    run.load(1, 3);
    assert_eq!(run.refresh(3, &[(0, &[])]), ["1 load-query"]);
    // Rank 1 has reported for both, rank 2 for the first one only.
    assert_eq!(run.load(1, 4), [""; 0]);
    assert_eq!(run.load(2, 5), ["2 load-query", "3 swarm t0 a: 1(4) 2(5) 3"]);
    assert_eq!(run.load(2, 6), ["3 swarm t0 a: 1(4) 2(6) 3"]);
    // One that asks without end is answered with what is known.
    let answers: usize = (0..40).map(|_| run.refresh(3, &[(0, &[])]).len()).sum();
    assert!((36..=42).contains(&answers), "{answers}");
}

#[test]
fn who_awaits_nothing_is_answered_at_once() {
    let order = TrackerOrder::LeastBusy;
    let config = CoordinatorConfig { loads: true, order, ..config(3) };
    let (mut run, _) = Run::all(config, &["a=A", "+a", "+a awaits"]);
    assert_eq!(run.at(1).lookup(2, "a"), ["2 swarm t0 a+info: 1 2", "1 load-query"]);
    run.load(1, 2);
    // Nobody is asked where loads do not matter.
    let (mut run, _) = Run::all(super::config(2), &["a=A", "+a awaits"]);
    assert_eq!(run.lookup(2, "a"), ["2 swarm t0 a+info: 1 2"]);
}

#[test]
fn a_refresh_may_name_what_is_not_looked_up_yet() {
    let (mut run, _) = Run::all(config(3), &["a=A b=B", "+a", "+a +b"]);
    run.lookup(3, "a");
    let answers = run.refresh(3, &[(0, &[]), (1, &[])]);
    assert_eq!(answers, ["3 swarm t0 a: 1 3", "3 swarm t1 b: 1 3"]);
    // It is no member for that: others are not told of it.
    run.lookup(3, "b");
    assert_eq!(run.refresh(2, &[(1, &[])]), ["2 swarm t1 b: 1 3 2"]);
    let (mut run, _) = Run::all(config(3), &["a=A b=B", "+a +b", "+b"]);
    run.refresh(3, &[(0, &[]), (1, &[])]);
    assert_eq!(run.lookup(2, "b"), ["2 swarm t1 b+info: 1 2"]);
}
