//! `--fault`: whoever is honest and alive gets what it wants, and the report names the others.

use crate::common::{Course, Sandbox, banned, complete, data, peer, same, total};

/// Every file has two owners, so that one of them may lie or die.
fn course(sandbox: &Sandbox) -> Course {
    let plan = Course::new(&[("a", 60), ("b", 40)])
        .peer("a b", "")
        .peer("a b", "")
        .peer("", "a b")
        .peer("", "b a")
        .peer("", "a");
    plan.write(sandbox, "course");
    plan
}

fn folders(sandbox: &Sandbox) {
    for rank in [1, 2] {
        sandbox.write(&format!("real/peer{rank}/big"), data(1, 3_000_000));
    }
    for rank in [3, 4, 5] {
        sandbox.write(&format!("real/peer{rank}/wants"), "big");
    }
}

fn check_real(sandbox: &Sandbox, ranks: &[u64]) {
    for rank in ranks {
        let copy = sandbox.path(&format!("out/peer{rank}/big"));
        same(&sandbox.path("real/peer1/big"), &copy);
    }
}

#[test]
fn one_who_lies_is_found_and_nobody_else_is_blamed() {
    let sandbox = Sandbox::new();
    let plan = course(&sandbox);
    folders(&sandbox);
    for seed in 1..=5 {
        let out = format!("c{seed}");
        let line = format!("swarm course --fault corrupt=2 --seed {seed} --out {out}");
        let report = sandbox.json(0, &line);
        plan.check(&sandbox, &out);
        assert!(total(&report, "bad_pieces") > 0);
        assert!(banned(&report).iter().all(|rank| *rank == 2), "{report}");
    }
    let report = sandbox.json(0, "swarm real --fault corrupt=2 --out out --sources round-robin");
    check_real(&sandbox, &[3, 4, 5]);
    assert!(total(&report, "bad_pieces") > 0);
    assert_eq!(banned(&report), [2]);
}

#[test]
fn one_who_dies_is_named_and_the_others_complete() {
    let sandbox = Sandbox::new();
    course(&sandbox);
    folders(&sandbox);
    let done = sandbox.expect(1, "swarm course --fault die=3@50 --out out1");
    assert!(done.stdout.contains("rank 3 died"), "{}", done.stdout);
    let report = sandbox.json(1, "swarm course --fault die=3@50 --out out2");
    assert!([1, 2, 4, 5].into_iter().all(|rank| complete(&report, rank)), "{report}");
    assert_eq!(report["error"]["kind"], "failed");
    assert!(report["error"]["message"].as_str().unwrap().contains("rank 3"));
    let report = sandbox.json(1, "swarm real --fault die=3@50 --out out");
    assert!([4, 5].into_iter().all(|rank| complete(&report, rank)));
    check_real(&sandbox, &[4, 5]);
    // One that wants nothing dies when it has served its share.
    let report = sandbox.json(1, "swarm real --fault die=1@20 --out fresh");
    assert!([3, 4, 5].into_iter().all(|rank| complete(&report, rank)));
}

#[test]
fn refusing_and_slow_peers_only_cost_time() {
    let sandbox = Sandbox::new();
    let plan = course(&sandbox);
    folders(&sandbox);
    for (index, fault) in ["refuse=1:50", "refuse=1:100", "slow=1:2kB"].iter().enumerate() {
        let out = format!("c{index}");
        sandbox.expect(0, &format!("swarm course --fault {fault} --out {out}"));
        plan.check(&sandbox, &out);
    }
    let report = sandbox.json(0, "swarm real --out out --fault refuse=1:50 --fault slow=2:4MB");
    check_real(&sandbox, &[3, 4, 5]);
    assert!(total(&report, "rejected") > 0);
}

#[test]
fn one_who_never_registers_is_named() {
    let sandbox = Sandbox::new();
    course(&sandbox);
    let line = "swarm course --fault mute=3 --start-timeout 500ms";
    let report = sandbox.json(1, &format!("{line} --out out1"));
    assert!([1, 2, 4, 5].into_iter().all(|rank| complete(&report, rank)));
    assert_eq!(peer(&report, 3)["rank"], 3);
    let done = sandbox.expect(1, &format!("{line} --out out2"));
    assert!(done.stdout.contains("rank 3 never registered"), "{}", done.stdout);
    assert!(done.stderr.contains("rank 3"), "{}", done.stderr);
}

#[test]
fn faults_in_virtual_time_end_the_same_way() {
    let sandbox = Sandbox::new();
    let plan = course(&sandbox);
    for (fault, code) in
        [("corrupt=2", 0), ("die=3@50", 1), ("mute=3", 1), ("refuse=1:90", 0), ("slow=1:1kB", 0)]
    {
        let out = fault.replace(['=', '@', ':'], "-");
        let line = format!("swarm course --fabric virtual --fault {fault} --out {out}");
        sandbox.expect(code, &line);
        if code == 0 {
            plan.check(&sandbox, &out);
        }
    }
}
