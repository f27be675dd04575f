//! `--check`: says what would move, moves nothing, makes nothing.

use crate::common::{Course, Sandbox, data, number};

#[test]
fn a_check_makes_no_file_and_no_folder() {
    let sandbox = Sandbox::new();
    Course::new(&[("f", 30)]).peer("f", "").peer("", "f").write(&sandbox, "course");
    sandbox.write("folders/peer1/a", data(1, 100_000));
    sandbox.write("folders/peer2/wants", "a");
    let before = sandbox.tree("");
    for plan in ["course", "folders"] {
        for out in ["", " --out out/here"] {
            let done = sandbox.expect(0, &format!("swarm {plan} --check{out}"));
            assert!(done.stdout.contains("rank 2: would fetch 1 file"), "{}", done.stdout);
            assert!(done.stdout.contains("nothing was moved"), "{}", done.stdout);
        }
    }
    assert_eq!(sandbox.tree(""), before);
}

fn bytes(document: &serde_json::Value) -> u64 {
    document["plan"].as_array().unwrap().iter().map(|planned| number(&planned["bytes"])).sum()
}

#[test]
fn what_is_there_already_does_not_count() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", data(1, 100_000));
    sandbox.write("plan/peer2/wants", "a");
    let fresh = sandbox.json(0, "swarm plan --check");
    assert_eq!(bytes(&fresh), 100_000);
    sandbox.expect(0, "swarm plan");
    let there = sandbox.json(0, "swarm plan --check");
    assert_eq!(bytes(&there), 0);
}

#[test]
fn data_that_would_be_generated_is_named_and_not_made() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "plan/plan.toml",
        "[[generate]]\npath = \"work/1/big\"\nsize = \"2MiB\"\nseed = 1\n\
         [[node]]\nranks = \"1\"\nroot = \"work/{rank}\"\nhave = [\"big\"]\n\
         [[node]]\nranks = \"2\"\nroot = \"work/{rank}\"\nwant = [\"b*\", \"lost\"]\n",
    );
    let done = sandbox.expect(0, "swarm plan --check");
    for part in ["would generate plan/work/1/big", "rank 2: would fetch 1 file, 2.0 MiB", "lost"] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    let document = sandbox.json(0, "swarm plan --check");
    assert_eq!(document["generate"][0]["bytes"], 2 << 20);
    assert_eq!(sandbox.tree("plan"), ["plan.toml"]);
}

#[test]
fn a_check_finds_conflicts() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", data(1, 100_000));
    sandbox.write("plan/peer2/a", data(2, 100_000));
    sandbox.write("plan/peer3/wants", "a");
    let done = sandbox.expect(4, "swarm plan --check");
    assert!(done.stderr.contains("--on-conflict"), "{}", done.stderr);
}
