//! Course plans: outputs beside the plan or in `--out`, and everything that is right though
//! unusual.

use crate::common::{Course, Sandbox, complete, number, text};

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
