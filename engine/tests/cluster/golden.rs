//! Runs by seed whose whole traces are kept, so that a change of what the engine does shows in a
//! diff. `UPDATE_EXPECT=1` writes the files anew; whoever does that says in the commit why they
//! changed.

use crate::cluster_world::{Setup, World};
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};
use expect_test::{ExpectFile, expect_file};
use std::time::Duration;

fn cluster(profile: Profile, sources: SourceOrder) -> String {
    let pieces = match profile {
        Profile::Course => PieceOrder::Sequential,
        Profile::BitTorrent | Profile::Cluster => PieceOrder::Rarest,
    };
    let setup = Setup { profile, pieces, sources, refresh: 3, ..Setup::default() };
    let mut world = World::new(&setup, &["has a:4 b:2", "has c:3 wants a", "wants a b c"]);
    world.set_uplinks([1], 40_000_000);
    world.node(2).refuses = 30;
    assert!(world.run(Duration::from_secs(600)));
    world.log
}

#[test]
fn ranks_of_a_cluster() {
    let files: [(Profile, SourceOrder, ExpectFile); 3] = [
        (Profile::Course, SourceOrder::ROUND_ROBIN, expect_file!["../golden/course.txt"]),
        (Profile::BitTorrent, SourceOrder::FASTEST, expect_file!["../golden/bittorrent.txt"]),
        (Profile::Cluster, SourceOrder::FASTEST, expect_file!["../golden/cluster.txt"]),
    ];
    for (profile, sources, file) in files {
        file.assert_eq(&cluster(profile, sources));
    }
}
