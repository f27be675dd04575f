//! Course plans: outputs beside the plan or in `--out`, and everything that is right though
//! unusual.

use crate::common::{Course, Sandbox, complete, number, text};
use crate::{classic, rules};
use std::time::{Duration, Instant};

fn flock() -> Course {
    Course::new(&[("file1", 40), ("file2", 25), ("file3", 0), ("file4", 1)])
        .peer("file1 file4", "file2")
        .peer("file2 file3", "file1 file3")
        .peer("", "file1 file2 file3 file4")
        .peer("file1", "")
}

#[test]
fn outputs_stand_in_out_under_the_peers_names() {
    let sandbox = Sandbox::new();
    flock().write(&sandbox, "plan");
    let report = sandbox.json(0, "swarm plan --out out/deep");
    flock().check(&sandbox, "out/deep");
    assert_eq!(sandbox.tree("plan").len(), 4, "the plan is untouched");
    assert!((1..=4).all(|rank| complete(&report, rank)));
    assert!(number(&report["bytes_moved"]) > 0);
}

#[test]
fn outputs_stand_beside_the_plan_and_replace_earlier_ones() {
    let sandbox = Sandbox::new();
    flock().write(&sandbox, "plan");
    sandbox.write("plan/client2_file1", "an earlier output\n");
    for _ in 0..2 {
        let done = sandbox.expect(0, "swarm plan");
        for word in ["rank", "role", "sources", "refreshes", "seconds"] {
            assert!(done.stdout.contains(word), "{}", done.stdout);
        }
        for (name, bytes) in flock().outputs() {
            let found = text(&sandbox.path("plan").join(&name)).unwrap();
            let expected = String::from_utf8(bytes).unwrap();
            assert!(found.split_whitespace().eq(expected.split_whitespace()), "{name}");
        }
    }
    assert!(!sandbox.path("plan/.dunlin").exists(), "the lock is gone");
}

#[test]
fn unusual_is_not_wrong() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(60_000);
    sandbox.write("plan/in1.txt", format!("2\r\na 3\r\nt\r\nt\r\n{long}\r\nb 1\r\nt\r\n0\r\n"));
    // Owned and wanted is written, not downloaded; wanted twice counts once.
    sandbox.write("plan/in2.txt", "1\nb 1\nt\n3\nb\na\na\n");
    sandbox.write("plan/in3.txt", "0 0");
    sandbox.write("plan/in4.txt", "0\n1\na");
    sandbox.write("plan/notes.txt", "ignored");
    let report = sandbox.json(0, "swarm plan --out out");
    let files = sandbox.files("out");
    let words = |name: &str| {
        let text = String::from_utf8(files[name].clone()).unwrap();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(files.len(), 3);
    assert_eq!(words("client2_a"), ["t", "t", long.as_str()]);
    assert_eq!(words("client4_a"), ["t", "t", long.as_str()]);
    assert_eq!(words("client2_b"), ["t"]);
    assert!((1..=4).all(|rank| complete(&report, rank)));
}

#[test]
fn both_fabrics_give_the_same_outputs() {
    let sandbox = Sandbox::new();
    flock().write(&sandbox, "plan");
    for fabric in ["memory", "virtual", "auto"] {
        sandbox.expect(0, &format!("swarm plan --fabric {fabric} --out {fabric}"));
        flock().check(&sandbox, fabric);
    }
}

#[test]
fn an_output_folder_that_cannot_be_written_names_out() {
    let sandbox = Sandbox::new();
    flock().write(&sandbox, "plan");
    sandbox.write("file", "");
    let done = sandbox.expect(5, "swarm plan --out file/out");
    assert!(done.stderr.contains("--out"), "{}", done.stderr);
}

#[test]
fn answers_are_awaited_and_sorted_by_loads_that_were_asked_for() {
    let sandbox = Sandbox::new();
    let names = ["a", "b", "c", "d", "e"];
    let files: Vec<(&str, usize)> = names.iter().copied().zip([30, 1, 0, 17, 9]).collect();
    let course = Course::new(&files)
        .peer("a b c", "d")
        .peer("a d e", "b")
        .peer("", "a b c d e")
        .peer("d", "a d e")
        .peer("", "e a");
    course.write(&sandbox, "plan");
    for fabric in ["memory", "virtual"] {
        let line = format!("swarm plan --out {fabric} --trace {fabric}.trace {}", classic::OPTIONS);
        sandbox.expect(0, &format!("{line} --fabric {fabric}"));
        course.check(&sandbox, fabric);
        let lines = rules::read(&sandbox.path(&format!("{fabric}.trace")));
        rules::check(&lines, 5, &course.pieces());
        classic::check(&lines, &course.pieces());
    }
    // Other profiles wait for nobody.
    let options = classic::OPTIONS.replace("--profile course", "--profile bittorrent");
    let line = format!("swarm plan --out other --trace other.trace {options}");
    sandbox.expect(0, &format!("{line} --fabric virtual"));
    let lines = rules::read(&sandbox.path("other.trace"));
    let at = |msg: &str| lines.iter().position(|line| rules::is(line, msg)).unwrap();
    assert!(at("swarm") < at("load"), "the first answer is there before any load");
}

#[test]
fn a_refresh_of_all_names_a_hundred_files() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..100).map(|index| format!("file{index:02}")).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 12)).collect();
    let all = names.join(" ");
    Course::new(&files).peer(&all, "").peer("", &all).write(&sandbox, "plan");
    sandbox.expect(0, "swarm plan --out out --trace trace --refresh-scope all --fabric virtual");
    let lines = rules::read(&sandbox.path("trace"));
    let counts: Vec<usize> = lines
        .iter()
        .filter(|line| rules::is(line, "refresh"))
        .map(|line| line["files"].as_array().map_or(1, Vec::len))
        .collect();
    assert_eq!(counts.first(), Some(&100));
    assert_eq!(counts.len(), 119, "after every 10 of 1 200 pieces but the last");
    classic::answers_are_awaited(&lines);
}

#[test]
fn a_finished_file_is_not_waited_for() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..300).map(|index| format!("file{index:03}")).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let all = names.join(" ");
    let course = Course::new(&files).peer(&all, "").peer("", &all);
    course.write(&sandbox, "plan");
    let begun = Instant::now();
    let report = sandbox.json(0, "swarm plan --out out");
    course.check(&sandbox, "out");
    // Tens of milliseconds a file would be many times that, whatever else the machine does.
    // scripts/soak wants 2 s of the release build.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let virtually = sandbox.json(0, "swarm plan --out virtual --fabric virtual");
    // Round trips and syncs of the modelled machine: 10 ms a file at most.
    assert!(virtually["seconds"].as_f64().unwrap() <= 3.0, "{}", virtually["seconds"]);
    assert_eq!(number(&report["peers"][1]["files"].as_array().unwrap().len().into()), 300);
}

#[test]
fn without_a_plan_it_is_the_folder_if_that_is_a_course_plan() {
    let sandbox = Sandbox::new();
    flock().write(&sandbox, "plan");
    sandbox.write("flock/peer1/a", "x");
    sandbox.write("flock/peer2/wants", "a");
    let run = |folder: &str, line: &str| {
        let output = sandbox.command(line).current_dir(sandbox.path(folder)).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text)
    };
    let (code, said) = run("plan", "swarm --fabric virtual");
    assert_eq!(code, Some(0), "{said}");
    for (name, bytes) in flock().outputs() {
        assert_eq!(std::fs::read(sandbox.path("plan").join(name)).unwrap(), bytes);
    }
    for (folder, expected) in [("flock", "dunlin swarm ."), ("", "expected in1.txt, found")] {
        let (code, said) = run(folder, "swarm");
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("no PLAN was given") && said.contains(expected), "{said}");
    }
    assert!(!sandbox.path("flock/peer2/a").exists());
    // What is wrong with a course plan is said as ever.
    sandbox.write("plan/in2.txt", "1\n");
    let (code, said) = run("plan", "swarm");
    assert!(code == Some(4) && said.contains("in2.txt:"), "{said}");
}
