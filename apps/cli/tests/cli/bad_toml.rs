//! Faults of a `plan.toml`: exit 4, a message with file and line, nothing made.

use crate::common::Sandbox;

/// The text after the first line, and what the message must hold. Line 2 is the first of the text.
const FAULTS: &[(&str, &[&str])] = &[
    ("[[node]\n", &["plan.toml:2"]),
    ("[[node]]\nranks = \"1\"\nroot = \"a\"\ncolour = 1\n", &["plan.toml:5", "colour"]),
    ("[[peer]]\nranks = \"1\"\n", &["plan.toml:2", "peer"]),
    ("[[node]]\nranks = 1\nroot = \"a\"\n", &["plan.toml:3", "ranks"]),
    ("[[node]]\nranks = \"0\"\nroot = \"a\"\n", &["plan.toml:3", "0"]),
    ("[[node]]\nranks = \"2-1\"\nroot = \"a\"\n", &["plan.toml:3", "2-1"]),
    ("[[node]]\nranks = \"1-4000000000\"\nroot = \"a{rank}\"\n", &["plan.toml:3"]),
    ("[[node]]\nranks = \"1,3\"\nroot = \"a{rank}\"\n", &["plan.toml:", "2"]),
    ("[[node]]\nranks = \"1,1\"\nroot = \"a{rank}\"\n", &["plan.toml:3"]),
    ("[[node]]\nranks = \"1\"\nhosts = \"n1\"\nroot = \"a\"\n", &["plan.toml:"]),
    ("[[node]]\nroot = \"a\"\n", &["plan.toml:2"]),
    ("[[node]]\nhosts = \"n[1-2]\"\nroot = \"a\"\n", &["plan.toml:", "hosts"]),
    ("[[node]]\nranks = \"1\"\n", &["plan.toml:2", "root"]),
    ("[[node]]\nranks = \"1\"\nroot = \"/a\"\n", &["plan.toml:4", "/a"]),
    ("[[node]]\nranks = \"1\"\nroot = \"../a\"\n", &["plan.toml:4", "../a"]),
    ("[[node]]\nranks = \"1\"\nroot = \"a{rack}\"\n", &["plan.toml:4", "rack"]),
    ("[[node]]\nranks = \"1\"\nroot = \"a\"\nwant = [\"../x\"]\n", &["plan.toml:5", "../x"]),
    ("[[node]]\nranks = \"1\"\nroot = \"a\"\nwant = [\"[a\"]\n", &["plan.toml:5", "[a"]),
    ("[[node]]\nranks = \"1\"\nroot = \"a\"\nhave = \"x\"\n", &["plan.toml:5", "have"]),
    ("[[generate]]\npath = \"x\"\nsize = \"big\"\nseed = 1\n", &["plan.toml:4", "big"]),
    ("[[generate]]\npath = \"../x\"\nsize = \"1kB\"\nseed = 1\n", &["plan.toml:3", "../x"]),
    ("[[generate]]\npath = \"/x\"\nsize = \"1kB\"\nseed = 1\n", &["plan.toml:3", "/x"]),
    ("[[generate]]\nsize = \"1kB\"\nseed = 1\n", &["plan.toml:2", "path"]),
    ("\u{1}", &["plan.toml:2"]),
];

#[test]
fn every_fault_names_file_and_line_and_makes_nothing() {
    for (text, expected) in FAULTS {
        let sandbox = Sandbox::new();
        sandbox.write("plan/plan.toml", format!("# a plan\n{text}"));
        let done = sandbox.expect(4, "swarm plan --out out");
        for part in *expected {
            assert!(done.stderr.contains(part), "{text}\n{part}: {}", done.stderr);
        }
        assert_eq!(sandbox.tree("plan"), ["plan.toml"], "{text}");
        assert!(!sandbox.path("out").exists(), "{text}");
    }
}

#[test]
fn wishes_that_are_no_names_are_refused_with_their_line() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", "data");
    sandbox.write("plan/peer2/wants", "# wishes\na\n../b\n");
    let done = sandbox.expect(4, "swarm plan");
    assert!(done.stderr.contains("wants:3"), "{}", done.stderr);
    assert_eq!(sandbox.tree("plan").len(), 4, "something was made");
}
