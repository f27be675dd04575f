//! Two runs on one output: the second is refused and told who holds it.

use crate::common::{Course, Sandbox, data, end, text, wait_for};

fn refused(sandbox: &Sandbox, line: &str, lock: &str) {
    let mut run = sandbox.start(&format!("{line} --fault slow=1:50kB"));
    let lock = sandbox.path(lock);
    let id = run.id().to_string();
    wait_for("the lock", || text(&lock).filter(|text| text.contains(&id)));
    let done = sandbox.expect(4, line);
    assert!(done.stderr.contains(&id), "{}", done.stderr);
    let document = sandbox.json(4, line);
    assert_eq!(document["error"]["kind"], "input");
    run.kill().unwrap();
    end(run);
    // What a killed run left behind is taken.
    sandbox.expect(0, line);
    assert!(!lock.exists());
}

#[test]
fn course_outputs() {
    let sandbox = Sandbox::new();
    let token = "x".repeat(20_000);
    sandbox.write("plan/in1.txt", format!("1\nf 40\n{}0\n", format!("{token}\n").repeat(40)));
    sandbox.write("plan/in2.txt", "0\n1\nf\n");
    refused(&sandbox, "swarm plan --out out", "out/.dunlin/lock");
}

#[test]
fn outputs_of_real_files() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/big", data(1, 4 << 20));
    sandbox.write("plan/peer2/wants", "big");
    refused(&sandbox, "swarm plan", "plan/peer2/.dunlin/lock");
    std::fs::remove_file(sandbox.path("plan/peer2/big")).unwrap();
    refused(&sandbox, "swarm plan --out out", "out/peer2/.dunlin/lock");
}

#[test]
fn two_outputs_of_one_plan_do_not_meet() {
    let sandbox = Sandbox::new();
    Course::new(&[("f", 5)]).peer("f", "").peer("", "f").write(&sandbox, "plan");
    let runs = [1, 2, 3].map(|n| sandbox.start(&format!("swarm plan --out out{n}")));
    for run in runs {
        assert_eq!(end(run).code, 0);
    }
}
