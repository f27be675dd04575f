use super::*;
use crate::cluster::planner::tests::sets_of;
use crate::cluster::{OnConflict, TrackerOrder};

const T0: TorrentId = TorrentId(0);

/// Two owners, a half, and two who have nothing; a file that nobody wants.
fn table(map: TrackerMap) -> SwarmTable {
    let text = "1: a=ABC b=D x=X
                2: a=ABC b=D
                3: a~ABC/010 +a +b
                4: +a +b
                5: +a +b
                6: +a +b a@ABC b@D";
    SwarmTable::new(&sets_of(text, OnConflict::Refuse, false), map)
}

fn arrival() -> Listing {
    Listing::default()
}

fn ranks(table: &SwarmTable) -> Vec<u32> {
    table.members(T0).iter().map(|rank| rank.0).collect()
}

fn dump(table: &SwarmTable) -> Vec<String> {
    let draw = |(hash, ranks): &DumpRow| {
        let ranks: Vec<String> = ranks.iter().map(ToString::to_string).collect();
        format!("{}:{}", &hash[..2], ranks.join(","))
    };
    let rows = |rows: &Vec<DumpRow>| rows.iter().map(draw).collect::<Vec<_>>().join(" ");
    table.dump().iter().map(|(name, of)| format!("{name} {}", rows(of))).collect()
}

#[test]
fn members_come_in_the_order_of_their_arrival() {
    let mut table = table(TrackerMap::Swarm);
    // Holders first, and who has everything that it wants; rank 3 has a part but does not know the
    // set.
    assert_eq!(ranks(&table), [1, 2, 6]);
    for rank in [5, 3, 5, 1] {
        table.join(T0, Rank(rank));
        table.check();
    }
    assert_eq!(ranks(&table), [1, 2, 6, 5, 3]);
    table.leave(Rank(2));
    table.join(T0, Rank(4));
    table.check();
    assert_eq!(ranks(&table), [1, 6, 5, 3, 4]);
    table.hide(Rank(6));
    assert_eq!(ranks(&table), [1, 5, 3, 4]);
    let swarm = table.swarm_for(T0, Rank(1), arrival(), &mut Rng::new(0));
    assert_eq!(swarm.iter().map(|member| member.rank.0).collect::<Vec<_>>(), [5, 3, 4, 1]);
    let swarm = table.swarm_for(T0, Rank(6), arrival(), &mut Rng::new(0));
    assert_eq!(swarm.last().map(|member| member.rank), Some(Rank(6)));
}

#[test]
fn loads_are_added_up_and_sort() {
    let mut table = table(TrackerMap::Swarm);
    table.load(Rank(1), Load { served: 5, in_flight: 2 });
    table.load(Rank(2), Load { served: u64::MAX, in_flight: 2 });
    let swarm = table.swarm_for(
        T0,
        Rank(9),
        Listing { order: TrackerOrder::LeastBusy, limit: 0 },
        &mut Rng::new(0),
    );
    let drawn: Vec<_> = swarm.iter().map(|member| (member.rank.0, member.load)).collect();
    assert_eq!(drawn, [(6, 0), (1, 7), (2, u64::MAX)]);
}

#[test]
fn owners_of_pieces() {
    let mut table = table(TrackerMap::Pieces);
    table.join(T0, Rank(3));
    table.join(T0, Rank(4));
    table.gained(T0, Rank(4), &[PieceIndex(3), PieceIndex(0), PieceIndex(9)]);
    table.check();
    let owners = |table: &SwarmTable, asker| {
        let members = table.swarm_for(T0, Rank(asker), arrival(), &mut Rng::new(0));
        let owners = table.owners(T0, Rank(asker), &members).unwrap();
        owners.iter().map(|(rank, pieces)| format!("{rank}={pieces:?}")).collect::<Vec<_>>()
    };
    assert_eq!(owners(&table, 2), ["1=1111", "3=0100", "4=1001", "6=1111"]);
    table.completed(T0, Rank(4), &[FileIndex(0), FileIndex(7), FileIndex(0)]);
    table.hide(Rank(1));
    table.check();
    assert_eq!(owners(&table, 5), ["2=1111", "3=0100", "4=1111", "6=1111"]);
    let swarm = SwarmTable::new(&Sets::default(), TrackerMap::Swarm);
    assert_eq!(swarm.owners(T0, Rank(1), &[]), None);
}

#[test]
fn who_is_no_member_gains_nothing() {
    let mut table = table(TrackerMap::Pieces);
    let before = dump(&table);
    table.gained(T0, Rank(5), &[PieceIndex(0)]);
    table.gained(T0, Rank(3), &[PieceIndex(0)]);
    table.gained(TorrentId(7), Rank(1), &[PieceIndex(0)]);
    table.completed(T0, Rank(99), &[FileIndex(0)]);
    table.completed(TorrentId(7), Rank(1), &[FileIndex(0)]);
    table.join(TorrentId(7), Rank(1));
    assert_eq!(dump(&table), before);
    table.check();
}

#[test]
fn the_dump_by_pieces_names_every_holder() {
    let mut table = table(TrackerMap::Pieces);
    let expected = ["a 41:1,2,6 42:1,2,3,6 43:1,2,6", "b 44:1,2,6", "x 58:1"];
    assert_eq!(dump(&table), expected);
    table.leave(Rank(1));
    assert_eq!(dump(&table), ["a 41:2,6 42:2,3,6 43:2,6", "b 44:2,6", "x 58:"]);
}

#[test]
fn the_dump_by_swarm_names_the_members_in_each_row() {
    let mut table = table(TrackerMap::Swarm);
    table.join(T0, Rank(4));
    table.hide(Rank(4));
    let expected = ["a 41:1,2,4,6 42:1,2,4,6 43:1,2,4,6", "b 44:1,2,4,6", "x 58:1"];
    assert_eq!(dump(&table), expected);
}

#[test]
fn names_are_found() {
    let table = table(TrackerMap::Swarm);
    let found = ["a", "b", "x", "y"].map(|name| (table.find(name), table.is_unwanted(name)));
    let expected = [(Some(T0), false), (Some(T0), false), (None, true), (None, false)];
    assert_eq!(found, expected);
}

/// A swarm of ranks 1 to `count` that join one after another, with rank 1 as the source, and whom
/// each is told of.
fn large(count: u32, limit: usize, seed: u64) -> (SwarmTable, Vec<Vec<u32>>) {
    let wanters: String = (2..=count).map(|rank| format!("{rank}: +a\n")).collect();
    let text = format!("1: a=ABC\n{wanters}");
    let mut table = SwarmTable::new(&sets_of(&text, OnConflict::Refuse, false), TrackerMap::Swarm);
    let mut rng = Rng::new(seed);
    let listing = Listing { limit, ..arrival() };
    for rank in 1..=count {
        table.set_rack(Rank(rank), ["left", "right", "", "far"][rank as usize % 4]);
    }
    let mut told = Vec::new();
    for rank in 2..=count {
        table.join(T0, Rank(rank));
        let members = table.swarm_for(T0, Rank(rank), listing, &mut rng);
        told.push(members.iter().map(|member| member.rank.0).collect());
    }
    table.check();
    (table, told)
}

/// How many of ranks 2 to `count` hang together by what they were told, without rank 1.
fn connected(count: u32, told: &[Vec<u32>]) -> usize {
    let mut near: Vec<Vec<u32>> = vec![Vec::new(); count as usize + 1];
    for (rank, members) in (2_u32..).zip(told) {
        for other in members.iter().filter(|other| **other != 1 && **other != rank) {
            near[rank as usize].push(*other);
            near[*other as usize].push(rank);
        }
    }
    let (mut seen, mut queue) = (BTreeSet::from([count]), vec![count]);
    while let Some(rank) = queue.pop() {
        queue.extend(near[rank as usize].iter().copied().filter(|rank| seen.insert(*rank)));
    }
    seen.len()
}

#[test]
fn answers_are_bounded_and_keep_a_swarm_in_one_piece() {
    for (count, limit, seed) in [(1000, 40, 1), (1000, 40, 2), (1000, 8, 3), (50, 40, 4)] {
        let (_, told) = large(count, limit, seed);
        for (rank, members) in (2_u32..).zip(&told) {
            let unique: BTreeSet<&u32> = members.iter().collect();
            assert_eq!(members.len(), unique.len(), "each is named once");
            assert_eq!(members.len(), limit.min(rank as usize), "rank {rank}");
            assert_eq!(members.last(), Some(&rank), "the asker is last");
        }
        assert_eq!(connected(count, &told), count as usize - 1, "{count} {limit} {seed}");
    }
    assert_eq!(large(100, 40, 7).1, large(100, 40, 7).1, "a seed is a graph");
    assert_ne!(large(100, 40, 7).1, large(100, 40, 8).1);
}

#[test]
fn sources_come_first_and_half_of_the_rest_is_near() {
    let (mut table, _) = large(1000, 40, 1);
    let listing = Listing { limit: 41, ..arrival() };
    let mut rng = Rng::new(9);
    let mut named = |table: &SwarmTable, asker: u32| {
        let members = table.swarm_for(T0, Rank(asker), listing, &mut rng);
        members.iter().map(|member| member.rank.0).collect::<Vec<u32>>()
    };
    let near = |ranks: &[u32], rack: u32| ranks.iter().filter(|rank| *rank % 4 == rack).count();
    let members = named(&table, 1000);
    assert_eq!(members[0], 1, "the source");
    // 39 of the 40 are left, and 19 of them are near; chance adds more of them.
    assert!(near(&members[1..20], 0) == 19, "{members:?}");
    assert!(near(&members[20..40], 0) < 15, "{members:?}");
    // Where nobody said where they are, nobody is near.
    assert!(near(&named(&table, 998), 2) < 25);
    // Many sources take up no more than a quarter by themselves.
    for rank in 2..=100 {
        table.completed(T0, Rank(rank), &[FileIndex(0)]);
    }
    let members = named(&table, 999);
    assert!(members[..10].iter().all(|rank| *rank <= 100), "{members:?}");
    assert!(members[10..40].iter().filter(|rank| **rank <= 100).count() < 15, "{members:?}");
    // The hidden and the dead are not named.
    (500..1000).for_each(|rank| table.hide(Rank(rank)));
    (1..=100).for_each(|rank| table.leave(Rank(rank)));
    table.check();
    let members = named(&table, 999);
    assert!(
        members[..members.len() - 1].iter().all(|rank| (101..500).contains(rank) || *rank == 1000)
    );
    assert!(members.len() >= 30, "{members:?}");
    let owners = table.owners(T0, Rank(999), &[]);
    assert_eq!(owners, None, "map `swarm` does not say");
}

#[test]
fn who_links_is_no_member_until_it_asks() {
    let text = "1: a=ABC b=D\n2: %h:/2 +a a@ABX\n3: %h:/3 +a a~ABC/100\n4: %h:/4 +b b=D elsewhere";
    let sets =
        crate::cluster::planner::tests::make(text, &crate::cluster::planner::tests::placing());
    assert_eq!(sets.torrents[0].links, BTreeMap::from([(Rank(3), Rank(2))]));
    let mut table = SwarmTable::new(&sets, TrackerMap::Pieces);
    assert_eq!(ranks(&table), [1]);
    table.join(T0, Rank(2));
    table.join(T0, Rank(3));
    assert_eq!(ranks(&table), [1, 2, 3]);
    // Not even if it owns the files: another one writes into its folder.
    let each = "%h:/2 +a a=ABC elsewhere";
    let sets = crate::cluster::planner::tests::make(
        &format!("2: {each}\n3: {each}"),
        &crate::cluster::planner::tests::placing(),
    );
    assert_eq!(ranks(&SwarmTable::new(&sets, TrackerMap::Pieces)), [2]);
    // A late rank has a seat from what it brings.
    let held = Holding { rank: Rank(9), pieces: None, whole: true };
    table.set_holding(T0, &held, true);
    table.set_holding(T0, &held, true);
    table.check();
    assert_eq!(ranks(&table), [1, 2, 3, 9]);
    table.set_holding(T0, &held, false);
    assert_eq!(ranks(&table), [1, 2, 3]);
}
