//! `--quiet` silences progress and table, never an error.

use crate::common::{Course, Sandbox};

#[test]
fn a_quiet_run_says_nothing() {
    let sandbox = Sandbox::new();
    Course::new(&[("f", 5)]).peer("f", "").peer("", "f").write(&sandbox, "plan");
    let done = sandbox.expect(0, "swarm plan --quiet");
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
    let loud = sandbox.expect(0, "swarm plan");
    assert!(loud.stdout.contains("rank") && loud.stderr.contains("peers complete"));
}

#[test]
fn a_quiet_failure_is_said() {
    let sandbox = Sandbox::new();
    Course::new(&[]).peer("", "ghost").write(&sandbox, "plan");
    let done = sandbox.expect(1, "swarm plan --quiet");
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("ghost"), "{}", done.stderr);
    let done = sandbox.expect(4, "swarm nowhere --quiet");
    assert!(done.stderr.contains("nowhere"), "{}", done.stderr);
}

#[test]
fn a_quiet_document_is_printed() {
    let sandbox = Sandbox::new();
    Course::new(&[("f", 5)]).peer("f", "").peer("", "f").write(&sandbox, "plan");
    assert_eq!(sandbox.json(0, "swarm plan --quiet")["ok"], true);
}

#[test]
fn no_colours_where_no_terminal_is() {
    let sandbox = Sandbox::new();
    Course::new(&[("f", 5)]).peer("f", "ghost").peer("", "f").write(&sandbox, "plan");
    let done = sandbox.expect(1, "swarm plan");
    assert!(!done.stdout.contains('\x1b') && !done.stderr.contains('\x1b'));
}
