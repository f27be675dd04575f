//! Faults of a course plan: exit 4, a message with file and line, nothing overwritten.

use crate::common::{Course, Sandbox};

/// Name of the case, the text of in2.txt, what the message must hold.
const FAULTS: &[(&str, &[u8], &[&str])] = &[
    ("empty", b"", &["in2.txt:1"]),
    ("no number", b"two\n", &["in2.txt:1", "two"]),
    ("negative", b"-1\n0\n", &["in2.txt:1", "-1"]),
    ("negative tokens", b"1\nf -5\n0\n", &["in2.txt:2", "-5"]),
    ("huge files", b"1000000000000000000\n", &["in2.txt:1", "1000000000000000000"]),
    ("huge tokens", b"1\nf 1000000000000000000\na\n0\n", &["in2.txt:2", "1000000000000000000"]),
    ("huge wants", b"0\n1000000000000000000\nf\n", &["in2.txt:2", "1000000000000000000"]),
    ("larger than 64 bits", b"99999999999999999999999999\n", &["in2.txt:1"]),
    ("more than there is", b"1\nf 5\na\nb\n0\n", &["in2.txt:"]),
    ("no wants", b"1\nf 1\na\n", &["in2.txt:"]),
    ("owned twice", b"2\nf 1\na\nf 1\na\n0\n", &["in2.txt:4", "f"]),
    ("trailing", b"0\n1\nf\nmore\n", &["in2.txt:4", "more"]),
    ("parent", b"1\n../f 1\na\n0\n", &["in2.txt:2", "../f"]),
    ("absolute", b"1\n/etc/f 1\na\n0\n", &["in2.txt:2", "/etc/f"]),
    ("slash", b"0\n1\na/b\n", &["in2.txt:3", "a/b"]),
    ("garbage", b"\x7fELF\x02\x01\x01\x00\x00\xff\xfe\x80", &["in2.txt:1"]),
    ("garbage token", b"1\nf 2\na\n\xff\xfe\n0\n", &["in2.txt:4"]),
];

#[test]
fn every_fault_names_file_and_line_and_overwrites_nothing() {
    for (case, text, expected) in FAULTS {
        let sandbox = Sandbox::new();
        Course::new(&[("f", 3)]).peer("f", "").peer("", "f").write(&sandbox, "plan");
        sandbox.write("plan/in2.txt", text);
        sandbox.write("plan/client2_f", "an earlier output\n");
        let before = sandbox.files("plan");
        let done = sandbox.expect(4, "swarm plan");
        for part in *expected {
            assert!(done.stderr.contains(part), "{case}: {part}: {}", done.stderr);
        }
        assert_eq!(done.stdout, "", "{case}");
        assert!(before == sandbox.files("plan"), "{case}: something changed");
        assert_eq!(sandbox.tree("plan").len(), before.len(), "{case}: a folder was made");
    }
}

#[test]
fn a_plan_that_is_none_is_named() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.write("other/readme.txt", "nothing here");
    sandbox.write("gap/in1.txt", "0\n0\n");
    sandbox.write("gap/in3.txt", "0\n0\n");
    sandbox.write("late/in2.txt", "0\n0\n");
    sandbox.write("two/in1.txt", "0\n0\n");
    sandbox.write("two/plan.toml", "");
    let cases = [
        ("absent", "absent"),
        ("empty", "empty"),
        ("other", "other"),
        ("gap", "in2.txt"),
        ("late", "in1.txt"),
        ("two", "plan.toml"),
    ];
    for (plan, expected) in cases {
        let done = sandbox.expect(4, &format!("swarm {plan} --out out"));
        assert!(done.stderr.contains(expected), "{plan}: {}", done.stderr);
        let document = sandbox.json(4, &format!("swarm {plan} --out out"));
        assert_eq!((&document["ok"], &document["error"]["kind"]), (&false.into(), &"input".into()));
    }
    assert!(!sandbox.path("out").exists(), "an output folder was made");
}
