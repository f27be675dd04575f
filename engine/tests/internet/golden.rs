//! Runs by seed whose whole traces are kept, so that a change of what the engine does shows in a
//! diff. `UPDATE_EXPECT=1` writes the files anew; whoever does that says in the commit why they
//! changed.

use crate::internet_world::{HOUR, World, adding, magnet, torrent};
use dunlin_engine::client::ClientConfig;
use dunlin_metainfo::Format;
use expect_test::expect_file;
use std::time::Duration;

#[test]
fn nodes_of_the_internet() {
    const PIECE: u32 = 32 << 10;
    let torrent = torrent(Format::Hybrid, PIECE, &[3 * u64::from(PIECE) + 123, 0, 20_000]);
    let mut world = World::new();
    let mut hosts = world.swarm(&torrent, 1, 1);
    let third = world.host(ClientConfig { seed: 9, ..ClientConfig::default() });
    world.add(third, adding(magnet(torrent.hashes), third));
    hosts.push(third);
    world.hosts[hosts[1]].lies = true;
    assert!(world.run(HOUR, |world| hosts.iter().all(|host| world.seeds(*host))));
    world.pass(Duration::from_secs(60));
    let text = world.log.join("\n") + "\n";
    expect_file!["../golden/internet.txt"].assert_eq(&text);
}
