//! A reader that goes away ends nothing with noise.

use crate::common::{Course, Sandbox, end};

#[test]
fn nobody_reads_stdout() {
    let sandbox = Sandbox::new();
    Course::new(&[("f", 5)]).peer("f", "").peer("", "f").write(&sandbox, "plan");
    sandbox.expect(0, "swarm plan --trace run.trace");
    let lines = [
        "--help",
        "swarm --help",
        "swarm plan",
        "swarm plan --json",
        "swarm plan --check",
        "trace run.trace",
    ];
    for line in lines {
        let mut child = sandbox.start(line);
        drop(child.stdout.take());
        let done = end(child);
        assert_eq!(done.code, 0, "{line}: {}", done.stderr);
        let noise = ["panicked", "Broken pipe", "error"];
        assert!(!noise.iter().any(|word| done.stderr.contains(word)), "{line}: {}", done.stderr);
    }
}
