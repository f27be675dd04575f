//! A wrong command line: exit 2, what is wrong on stderr, nothing on stdout, nothing touched.

use crate::common::{Course, Sandbox};

fn plan(sandbox: &Sandbox) {
    Course::new(&[("f", 5)]).peer("f", "").peer("", "f").write(sandbox, "plan");
}

#[test]
fn wrong_words_name_the_right_ones() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let cases = [
        ("--profile fast", "bittorrent, cluster, course"),
        ("--pieces first", "rarest, sequential, random"),
        ("--sources best", "round-robin"),
        ("--tracker-order none", "arrival, least-busy or random"),
        ("--tracker-map all", "swarm or pieces"),
        ("--refresh-scope none", "file, all"),
        ("--choker nice", "cooperative, tit-for-tat"),
        ("--fabric ether", "auto, memory, virtual, mpi"),
        ("--on-conflict win", "refuse, lowest-rank"),
        ("--fault break=1", "corrupt=R"),
        ("--fault die=1@101", "101"),
        ("--fault slow=1:fast", "fast"),
        ("--no-share x", "ranks"),
        ("--piece-size 20KiB", "power of two"),
        ("--piece-size 8KiB", "power of two"),
        ("--memory 10KiB", "1MiB"),
        ("--memory 5K", "unit"),
        ("--stall-timeout 0", "out of range"),
        ("--start-timeout soon", "no duration"),
        ("--refresh -1", "-1"),
        ("--seed many", "many"),
        ("--unknown", "--unknown"),
    ];
    for (options, expected) in cases {
        let done = sandbox.expect(2, &format!("swarm plan {options}"));
        assert!(done.stderr.contains(expected), "{options}: {}", done.stderr);
        assert_eq!(done.stdout, "", "{options}");
    }
    assert_eq!(sandbox.tree("plan"), ["in1.txt", "in2.txt"]);
}

#[test]
fn what_cannot_work_says_why() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let cases = [
        ("--pieces rarest", "nobody knows which piece is rarest"),
        ("--profile course --pieces rarest --tracker-map swarm", "--tracker-map pieces"),
        ("--fault mute=3", "ranks 1 to 2"),
        ("--no-share 2,3", "ranks 1 to 2"),
    ];
    for (options, expected) in cases {
        let done = sandbox.expect(2, &format!("swarm plan {options}"));
        assert!(done.stderr.contains(expected), "{options}: {}", done.stderr);
    }
    assert_eq!(sandbox.tree("plan"), ["in1.txt", "in2.txt"]);
}

#[test]
fn no_command_and_no_plan_are_usage_errors() {
    let sandbox = Sandbox::new();
    for line in ["", "swarm", "trace", "clean", "fly"] {
        let done = sandbox.expect(2, line);
        assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{line}");
    }
}

#[test]
fn with_json_a_usage_error_is_a_document_too() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    for options in ["--pieces first", "--pieces rarest"] {
        let document = sandbox.json(2, &format!("swarm plan {options}"));
        assert_eq!(document["schema"], 1);
        assert_eq!(document["ok"], false);
        assert_eq!(document["error"]["kind"], "usage");
        assert!(document["error"]["message"].as_str().unwrap().contains("rarest"));
    }
}

#[test]
fn a_filter_that_is_none_is_an_environment_error() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let output = sandbox.command("swarm plan").env("DUNLIN_LOG", "a=b=c").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DUNLIN_LOG"));
}
