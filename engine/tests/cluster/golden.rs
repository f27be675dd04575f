//! Runs by seed whose whole traces are kept, so that a change of what the engine does shows in a diff.
//! `UPDATE_EXPECT=1` writes the files anew; whoever does that says in the commit why they changed.

mod cluster_world;
mod internet_world;

use cluster_world::{Setup, World};
use dunlin_engine::client::ClientConfig;
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};
use dunlin_metainfo::Format;
use expect_test::{ExpectFile, expect_file};
use internet_world::{HOUR, adding, magnet, torrent};
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
        (Profile::Course, SourceOrder::ROUND_ROBIN, expect_file!["golden/course.txt"]),
        (Profile::BitTorrent, SourceOrder::FASTEST, expect_file!["golden/bittorrent.txt"]),
        (Profile::Cluster, SourceOrder::FASTEST, expect_file!["golden/cluster.txt"]),
    ];
    for (profile, sources, file) in files {
        file.assert_eq(&cluster(profile, sources));
    }
}

#[test]
fn nodes_of_the_internet() {
    const PIECE: u32 = 32 << 10;
    let torrent = torrent(Format::Hybrid, PIECE, &[3 * u64::from(PIECE) + 123, 0, 20_000]);
    let mut world = internet_world::World::new();
    let mut hosts = world.swarm(&torrent, 1, 1);
    let third = world.host(ClientConfig { seed: 9, ..ClientConfig::default() });
    world.add(third, adding(magnet(torrent.hashes), third));
    hosts.push(third);
    world.hosts[hosts[1]].lies = true;
    assert!(world.run(HOUR, |world| hosts.iter().all(|host| world.seeds(*host))));
    world.pass(Duration::from_secs(60));
    let text = world.log.join("\n") + "\n";
    expect_file!["golden/internet.txt"].assert_eq(&text);
}
