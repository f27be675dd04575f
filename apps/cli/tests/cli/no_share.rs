//! `--no-share`: such a peer gets everything and serves nothing.

use crate::common::{Course, Sandbox, complete, data, number, peer, same};

#[test]
fn a_leecher_by_order_serves_nothing() {
    let sandbox = Sandbox::new();
    let plan = Course::new(&[("f", 60)]).peer("f", "").peer("", "f").peer("", "f").peer("", "f");
    plan.write(&sandbox, "plan");
    for profile in ["course", "bittorrent"] {
        let line = format!("swarm plan --no-share 2,3 --profile {profile} --out {profile}");
        let report = sandbox.json(0, &line);
        plan.check(&sandbox, profile);
        for rank in [2, 3] {
            assert!(complete(&report, rank));
            assert_eq!(number(&peer(&report, rank)["pieces_served"]), 0);
            assert_eq!(peer(&report, rank)["role"], "leecher");
        }
        let from = peer(&report, 4)["pieces_from"].as_object().unwrap();
        assert!(from.keys().all(|rank| rank == "1"), "{from:?}");
    }
}

#[test]
fn real_files_too() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/a", data(1, 2_000_000));
    for rank in [2, 3] {
        sandbox.write(&format!("plan/peer{rank}/wants"), "a");
    }
    let report = sandbox.json(0, "swarm plan --no-share 2 --no-share 3");
    for rank in [2, 3] {
        same(&sandbox.path("plan/peer1/a"), &sandbox.path(&format!("plan/peer{rank}/a")));
        assert_eq!(number(&peer(&report, rank)["pieces_served"]), 0);
    }
}
