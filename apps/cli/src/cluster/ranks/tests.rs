//! What rank 0 decides for every way in which ranks can have read a plan.

use super::*;
use dunlin_cluster::process::LastRun;

/// One rank's words: `rank: highest`, then `-` if its own input is not there, then `!code text` if
/// it failed.
fn hellos(said: &[&str]) -> BTreeMap<Rank, Hello> {
    let one = |text: &&str| {
        let (rank, rest) = text.split_once(": ").unwrap();
        let (seen, failure) = match rest.split_once(" !") {
            Some((seen, failure)) => (seen, Some(failure.split_once(' ').unwrap())),
            None => (rest, None),
        };
        let hello = Hello {
            highest: seen.trim_end_matches('-').parse().unwrap(),
            own: !seen.ends_with('-'),
            failure: failure.map(|(code, text)| (code.parse().unwrap(), text.to_owned())),
            ..Hello::default()
        };
        (Rank(rank.parse().unwrap()), hello)
    };
    said.iter().map(one).collect()
}

/// A job's ranks, what rank 0 sees and what it failed at, what the peers sent, and what comes of
/// it.
type Case<'a> = (u32, u32, Option<&'a str>, &'a [&'a str], Result<(), (u8, &'a [&'a str])>);

fn check((peers, seen, own, said, expected): &Case<'_>) {
    let own = own.map(Failure::usage);
    let found = judge(*peers, *seen, own.as_ref(), &hellos(said));
    let found = found.map_err(|refusal| (refusal.exit.code(), refusal.messages));
    let expected = (*expected).map_err(|(code, messages)| {
        (code, messages.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    });
    assert_eq!(found, expected, "{peers} peers, {said:?}");
}

const TOO_FEW: &str = "the plan has 4 peers and needs 5 ranks (one is the tracker); this job has \
                       3: start it with -np 5";
const ONE_SHORT: &str = "the plan has 4 peers and needs 5 ranks (one is the tracker); this job \
                         has 4: start it with -np 5";
const TOO_MANY: &str = "the plan has 2 peers and needs 3 ranks (one is the tracker); this job has \
                        5: start it with -np 3";
const ONE: &str = "the plan has 1 peer and needs 2 ranks (one is the tracker); this job has 3: \
                   start it with -np 2";

#[test]
fn a_job_has_as_many_ranks_as_its_plan_needs() {
    let cases: [Case<'_>; 10] = [
        (2, 0, None, &["1: 2", "2: 2"], Ok(())),
        (3, 0, None, &["1: 4", "2: 4", "3: 4"], Err((3, &[ONE_SHORT]))),
        (2, 2, None, &["1: 1", "2: 2"], Ok(())),
        (2, 0, None, &["1: 4", "2: 4"], Err((3, &[TOO_FEW]))),
        // Only one rank sees the others' inputs, or only rank 0 does.
        (2, 0, None, &["1: 1", "2: 4"], Err((3, &[TOO_FEW]))),
        (2, 4, None, &["1: 1", "2: 2"], Err((3, &[TOO_FEW]))),
        // Whatever else is wrong, the number comes first.
        (2, 0, Some("no such rank"), &["1: 4 !2 no such rank", "2: 4"], Err((3, &[TOO_FEW]))),
        (
            4,
            0,
            None,
            &["1: 2", "2: 2", "3: 2- !4 no in3", "4: 2- !4 no in4"],
            Err((3, &[TOO_MANY])),
        ),
        // The ranks beyond see the plan, or one of them does.
        (
            4,
            0,
            None,
            &["1: 1", "2: 2", "3: 0- !4 no in3", "4: 2- !4 no in4"],
            Err((3, &[TOO_MANY])),
        ),
        (2, 0, None, &["1: 1", "2: 1- !4 no in2"], Err((3, &[ONE]))),
    ];
    cases.iter().for_each(check);
}

#[test]
fn a_missing_input_is_named() {
    let cases: [Case<'_>; 7] = [
        (3, 0, None, &["1: 3", "2: 3- !4 no in2", "3: 3"], Err((4, &["rank 2: no in2"]))),
        // Nobody beyond sees anything: most likely a disk on which the plan was not put.
        (3, 0, None, &["1: 1", "2: 2", "3: 0- !4 no in3"], Err((4, &["rank 3: no in3"]))),
        (3, 3, None, &["1: 1", "2: 2", "3: 2- !4 no in3"], Err((4, &["rank 3: no in3"]))),
        (2, 0, None, &["1: 0- !4 nothing", "2: 0- !4 nothing"], Err((4, &["ranks 1, 2: nothing"]))),
        (2, 0, None, &["2: 0-"], Err((4, &["rank 2: its input is not there"]))),
        (
            3,
            0,
            None,
            &["1: 3 !5 a bad disk", "2: 3- !4 no in2", "3: 3"],
            Err((4, &["rank 2: no in2", "rank 1: a bad disk"])),
        ),
        (
            9,
            0,
            None,
            &[
                "1: 0- !4 a",
                "2: 0- !4 b",
                "3: 0- !4 c",
                "4: 0- !4 d",
                "5: 0- !4 e",
                "6: 0- !4 f",
                "7: 0- !4 g",
                "9: 9",
            ],
            Err((
                4,
                &[
                    "rank 1: a",
                    "rank 2: b",
                    "rank 3: c",
                    "rank 4: d",
                    "rank 5: e",
                    "2 more ranks lack their input, too",
                ],
            )),
        ),
    ];
    cases.iter().for_each(check);
}

#[test]
fn a_failure_is_said_once_and_the_lowest_rank_decides() {
    let cases: [Case<'_>; 6] = [
        (2, 0, None, &["1: 2", "2: 2 !5 a bad disk"], Err((5, &["rank 2: a bad disk"]))),
        (
            4,
            0,
            None,
            &["1: 4 !4 line 3", "2: 4 !4 line 3", "3: 4 !5 a bad disk", "4: 4 !4 line 3"],
            Err((4, &["ranks 1, 2, 4: line 3", "rank 3: a bad disk"])),
        ),
        (
            3,
            0,
            None,
            &["1: 3 !5 full", "2: 3 !4 line 3", "3: 3 !4 line 3"],
            Err((5, &["rank 1: full", "ranks 2, 3: line 3"])),
        ),
        // What rank 0 finds of the command line is true of all ranks.
        (
            2,
            0,
            Some("bad words"),
            &["1: 2 !2 bad words", "2: 2 !2 bad words"],
            Err((2, &["bad words"])),
        ),
        (
            2,
            0,
            Some("no trace"),
            &["1: 2", "2: 2 !5 full"],
            Err((2, &["no trace", "rank 2: full"])),
        ),
        // A rank that sent nothing stops no other, and one that failed is not saved by it.
        (3, 0, None, &["1: 3", "2: 3 !9 stopped"], Err((9, &["rank 2: stopped"]))),
    ];
    cases.iter().for_each(check);
    check(&(3, 0, None, &["1: 3", "3: 3"], Ok(())));
    check(&(3, 0, None, &[], Ok(())));
}

#[test]
fn a_screen_of_failures_is_enough() {
    let said: Vec<String> = (1..=30).map(|rank| format!("{rank}: 30 !4 fault {rank}")).collect();
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    let refusal = judge(30, 0, None, &hellos(&said)).unwrap_err();
    assert_eq!(refusal.messages.len(), MAX_FAILURES + 1);
    assert_eq!(refusal.messages.last().unwrap(), "10 more ranks failed, too");
    let refusal = judge(30, 0, None, &hellos(&said[..21])).unwrap_err();
    assert_eq!(refusal.messages.len(), MAX_FAILURES + 1);
    assert_eq!(refusal.messages.last().unwrap(), "1 more rank failed, too: rank 21");
}

#[test]
fn ranks_are_named_as_people_write_them() {
    let cases: [(&[u32], &str); 5] = [
        (&[3], "rank 3"),
        (&[1, 2], "ranks 1, 2"),
        (&[1, 2, 3, 4, 7], "ranks 1-4, 7"),
        (&[2, 5, 6, 9, 10, 11], "ranks 2, 5, 6, 9-11"),
        (&[u32::MAX], "rank 4294967295"),
    ];
    for (ranks, expected) in cases {
        assert_eq!(named(&ranks.iter().copied().map(Rank).collect()), expected);
    }
}

#[test]
fn the_last_run_is_told_by_who_died_in_it() {
    // Which rank sends it, which ranks it names as dead, whether its own run was cut off.
    type Mark<'a> = (u32, &'a [u32], bool);
    let cases: [(&[Mark<'_>], Option<&str>); 5] = [
        (&[], None),
        (&[(1, &[], false)], None),
        (&[(1, &[3], false), (2, &[3], true)], Some("the last run ended when rank 3 died")),
        (&[(1, &[3], true), (2, &[4], true)], Some("the last run ended when ranks 3, 4 died")),
        (
            &[(2, &[], true), (3, &[], false), (5, &[], true)],
            Some("the last run was cut off (ranks 2, 5 ended without a word)"),
        ),
    ];
    for (marks, expected) in cases {
        let mut said = hellos(&["4: 4"]);
        for (rank, died, unfinished) in marks {
            let died = died.iter().copied().map(Rank).collect();
            let last_run = Some(LastRun { died, unfinished: *unfinished });
            said.insert(Rank(*rank), Hello { own: true, last_run, ..Hello::default() });
        }
        let expected = expected.map(|text| format!("{text}; going on from what is on disk"));
        assert_eq!(last_run(&said), expected);
    }
}

#[test]
fn silent_ranks_are_said_to_be_silent() {
    let cases: [(u32, &[&str], Option<&str>); 3] = [
        (2, &["1: 2", "2: 2"], None),
        (
            3,
            &["1: 3", "3: 3"],
            Some(
                "rank 2 has not read the plan within 1.5s (--start-timeout); \
                                    the run begins without it",
            ),
        ),
        (
            4,
            &["2: 4"],
            Some(
                "ranks 1, 3, 4 have not read the plan within 1.5s (--start-timeout); \
                            the run begins without them",
            ),
        ),
    ];
    for (peers, said, expected) in cases {
        let found = unheard(peers, &hellos(said), Duration::from_millis(1500));
        assert_eq!(found.as_deref(), expected);
    }
}
