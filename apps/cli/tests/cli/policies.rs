//! Every legal combination of profile and policies moves the same plan right: 33 runs for each
//! source order.

use crate::common::{Course, Sandbox};
use dunlin_engine::config::SourceOrder;

const PROFILES: &[&str] = &["bittorrent", "course"];
const PIECES: &[&str] = &["rarest", "sequential", "random"];
const ORDERS: &[&str] = &["arrival", "least-busy", "random"];
const MAPS: &[&str] = &["swarm", "pieces"];

fn run_all(plan: &Course, fabric: &str) {
    let sandbox = Sandbox::new();
    plan.write(&sandbox, "plan");
    let mut runs = 0;
    for profile in PROFILES {
        for pieces in PIECES {
            for map in MAPS {
                if (*profile, *pieces, *map) == ("course", "rarest", "swarm") {
                    continue;
                }
                for sources in SourceOrder::ALL {
                    for order in ORDERS {
                        runs += 1;
                        let out = format!("out{runs}");
                        sandbox.expect(
                            0,
                            &format!(
                                "swarm plan --out {out} --profile {profile} --pieces {pieces} \
                             --sources {sources} --tracker-order {order} --tracker-map {map} \
                             --fabric {fabric} --seed {runs} --quiet"
                            ),
                        );
                        plan.check(&sandbox, &out);
                    }
                }
            }
        }
    }
    assert_eq!(runs, 33 * SourceOrder::ALL.len());
}

fn small() -> Course {
    Course::new(&[("a", 14), ("b", 23), ("c", 0)])
        .peer("a c", "b")
        .peer("b", "a")
        .peer("", "b a c")
        .peer("a b", "")
}

#[test]
fn every_combination_over_memory() {
    run_all(&small(), "memory");
}

#[test]
fn every_combination_in_virtual_time() {
    run_all(&small(), "virtual");
}
