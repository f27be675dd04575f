//! Source orders share the load as they promise.

use crate::common::{Course, Sandbox, number, peer};

#[test]
fn round_robin_spreads_over_equal_seeds() {
    let sandbox = Sandbox::new();
    let plan = Course::new(&[("f", 400)]).peer("f", "").peer("f", "").peer("f", "");
    plan.peer("f", "").peer("", "f").write(&sandbox, "plan");
    for profile in ["course", "bittorrent"] {
        let line = format!("swarm plan --profile {profile} --sources round-robin --out {profile}");
        let report = sandbox.json(0, &line);
        let from = peer(&report, 5)["pieces_from"].as_object().unwrap().clone();
        let counts: Vec<u64> = from.values().map(number).collect();
        let (largest, all) = (counts.iter().max().unwrap(), counts.iter().sum::<u64>());
        assert_eq!((counts.len(), all), (4, 400));
        assert!(largest * 100 <= all * 30, "{profile}: {counts:?}");
    }
}

#[test]
fn least_loaded_does_not_herd() {
    let sandbox = Sandbox::new();
    let mut plan = Course::new(&[("f", 400)]);
    for _ in 0..4 {
        plan = plan.peer("f", "");
    }
    for _ in 0..12 {
        plan = plan.peer("", "f");
    }
    plan.write(&sandbox, "plan");
    for profile in ["course", "bittorrent"] {
        let report = sandbox.json(
            0,
            &format!(
                "swarm plan --profile {profile} --sources least-loaded --no-share 5-16 \
                 --out {profile}"
            ),
        );
        let served: Vec<u64> =
            (1..=4).map(|rank| number(&peer(&report, rank)["pieces_served"])).collect();
        let (largest, all) = (served.iter().max().unwrap(), served.iter().sum::<u64>());
        assert_eq!(all, 12 * 400, "{profile}");
        // Largest over mean at most 1.25.
        assert!(largest * 4 * 100 <= all * 125, "{profile}: {served:?}");
    }
}
