//! Owners who disagree: refused with names, or settled by the lowest rank.

use crate::common::{Course, Sandbox, data, same};

#[test]
fn a_course_plan_names_file_ranks_and_piece() {
    let sandbox = Sandbox::new();
    Course::new(&[("f", 5)]).peer("f", "").peer("", "f").write(&sandbox, "plan");
    sandbox.write("plan/in3.txt", "1\nf 5\nf-0000\nf-0001\nother\nrepeated\nf-0004\n0\n");
    sandbox.write("plan/client2_f", "earlier\n");
    let done = sandbox.expect(4, "swarm plan");
    for part in ["f", "1", "3", "piece 2", "--on-conflict"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    assert_eq!(sandbox.files("plan")["client2_f"], b"earlier\n", "nothing was overwritten");
    let places =
        "piece 2 is the first that differs, see plan/in1.txt:5 and plan/in3.txt:5; nothing";
    assert!(done.stderr.contains(places), "{}", done.stderr);
    assert!(!done.stderr.contains("f failed"), "one reason for all: {}", done.stderr);
    let document = sandbox.json(4, "swarm plan");
    assert!(document["error"]["message"].as_str().unwrap().contains(places));
    assert_eq!((&document["schema"], &document["ok"]), (&1.into(), &false.into()));
    assert_eq!(document["error"]["kind"], "input");
    sandbox.expect(0, "swarm plan --on-conflict lowest-rank --out out");
    let text = String::from_utf8(sandbox.files("out")["client2_f"].clone()).unwrap();
    assert!(text.split_whitespace().eq(["f-0000", "f-0001", "f-0002", "repeated", "f-0004"]));
}

#[test]
fn real_files_too() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", data(1, 200_000));
    sandbox.write("plan/peer2/a", data(2, 200_000));
    sandbox.write("plan/peer3/wants", "a");
    let done = sandbox.expect(4, "swarm plan");
    assert!(done.stderr.contains("--on-conflict"), "{}", done.stderr);
    let places = "differs, see plan/peer1/a and plan/peer2/a; nothing";
    assert!(done.stderr.contains(places), "{}", done.stderr);
    assert!(!done.stderr.contains("--force"), "it would not help: {}", done.stderr);
    assert!(!sandbox.path("plan/peer3/a").exists());
    sandbox.expect(0, "swarm plan --on-conflict lowest-rank");
    same(&sandbox.path("plan/peer1/a"), &sandbox.path("plan/peer3/a"));
    assert_eq!(std::fs::read(sandbox.path("plan/peer2/a")).unwrap(), data(2, 200_000));
}

#[test]
fn counts_that_differ_are_named_by_the_line_of_the_file() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/in1.txt", "2\ng 1\nt\nf 2\na b\n0");
    sandbox.write("plan/in2.txt", "1\n\nf 3 a b c\n0");
    sandbox.write("plan/in3.txt", "0 1 f");
    let done = sandbox.expect(4, "swarm plan --check --out out");
    let text = "their lengths are 2 and 3, see plan/in1.txt:4 and plan/in2.txt:3; nothing";
    assert!(done.stderr.contains(text), "{}", done.stderr);
}

#[test]
fn real_paths_of_a_plan_toml_and_of_outputs() {
    let sandbox = Sandbox::new();
    let node = |rank: u32, rest: &str| {
        format!("[[node]]\nranks = \"{rank}\"\nroot = \"work/{{rank}}\"\n{rest}\n")
    };
    let plan = node(1, "want = [\"a\"]") + &node(2, "have = [\"a\"]\nwant = [\"a\"]");
    sandbox.write("plan/plan.toml", plan);
    sandbox.write("plan/work/1/a", "one");
    sandbox.write("plan/work/2/a", "two");
    let done = sandbox.expect(4, "swarm plan --out out");
    let places = "see plan/work/1/a and plan/work/2/a; nothing";
    assert!(done.stderr.contains(places), "{}", done.stderr);
}

#[test]
fn an_owner_that_wants_the_file_gives_way_with_force() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", data(1, 200_000));
    sandbox.write("plan/peer2/a", data(2, 200_000));
    sandbox.write("plan/peer2/wants", "a");
    sandbox.write("plan/peer3/wants", "a");
    let done = sandbox.expect(4, "swarm plan");
    for part in ["copy of rank 2", "--force", "--on-conflict lowest-rank"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    assert_eq!(std::fs::read(sandbox.path("plan/peer2/a")).unwrap(), data(2, 200_000));
    sandbox.expect(0, "swarm plan --force");
    for rank in [2, 3] {
        same(&sandbox.path("plan/peer1/a"), &sandbox.path(&format!("plan/peer{rank}/a")));
    }
}

#[test]
fn so_does_the_lower_rank_and_an_owner_of_tokens() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", "other");
    sandbox.write("plan/peer1/wants", "a");
    sandbox.write("plan/peer2/a", data(2, 200_000));
    sandbox.expect(4, "swarm plan --out out");
    sandbox.expect(0, "swarm plan --out out --force");
    same(&sandbox.path("plan/peer2/a"), &sandbox.path("out/peer1/a"));
    assert_eq!(std::fs::read(sandbox.path("plan/peer1/a")).unwrap(), b"other");
    Course::new(&[("f", 5)]).peer("f", "").write(&sandbox, "course");
    sandbox.write("course/in2.txt", "1\nf 1\nother\n1\nf");
    sandbox.expect(4, "swarm course --out tokens");
    sandbox.expect(0, "swarm course --out tokens --force");
    let text = String::from_utf8(sandbox.files("tokens")["client2_f"].clone()).unwrap();
    assert_eq!(text.split_whitespace().count(), 5, "{text}");
}

/// The options that a message advises, one set a way out.
fn advised(message: &str) -> Vec<String> {
    let (_, advice) = message.split_once("nothing was moved: ").expect("advice");
    let ways = advice.lines().next().unwrap().split(" with --").skip(1);
    ways.map(|way| format!("--{}", way.split(", ").next().unwrap())).collect()
}

#[test]
fn advice_is_not_refused_next() {
    // By rank: what it has of the file, and whether it wants it; and how many ways out there are.
    let cases: [(&[(&str, bool)], usize); 5] = [
        (&[("one", false), ("two", false), ("", true)], 1),
        (&[("one", false), ("two", true), ("", true)], 2),
        (&[("one", true), ("two", false), ("", true)], 2),
        (&[("one", true), ("two", true)], 1),
        (&[("one", false), ("two", false), ("three", true)], 1),
    ];
    for form in ["folders", "course"] {
        for (case, (peers, count)) in cases.iter().enumerate() {
            let sandbox = Sandbox::new();
            let make = |plan: &str| {
                for ((has, wants), rank) in peers.iter().zip(1..) {
                    let (owned, wanted) = (usize::from(!has.is_empty()), usize::from(*wants));
                    let file = if owned > 0 { format!("f 1 {has}") } else { String::new() };
                    let name = if *wants { "f" } else { "" };
                    if form == "course" {
                        let text = format!("{owned} {file} {wanted} {name}");
                        sandbox.write(&format!("{plan}/in{rank}.txt"), text);
                        continue;
                    }
                    sandbox.write(&format!("{plan}/peer{rank}/wants"), name);
                    if owned > 0 {
                        sandbox.write(&format!("{plan}/peer{rank}/f"), has);
                    }
                }
            };
            make("plan");
            let said = sandbox.expect(4, "swarm plan").stderr;
            let ways = advised(&said);
            assert_eq!(ways.len(), *count, "{form} {case}: {said}");
            for (index, options) in ways.iter().enumerate() {
                let plan = format!("{form}{case}-{index}");
                make(&plan);
                sandbox.expect(0, &format!("swarm {plan} {options}"));
            }
        }
    }
}
