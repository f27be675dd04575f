use super::*;
use crate::sets::tests::sets_of;
use crate::{OnConflict, TrackerOrder};

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
    let swarm = table.swarm_for(T0, Rank(1), TrackerOrder::Arrival, &mut Rng::new(0));
    assert_eq!(swarm.iter().map(|member| member.rank.0).collect::<Vec<_>>(), [5, 3, 4, 1]);
    let swarm = table.swarm_for(T0, Rank(6), TrackerOrder::Arrival, &mut Rng::new(0));
    assert_eq!(swarm.last().map(|member| member.rank), Some(Rank(6)));
}

#[test]
fn loads_are_added_up_and_sort() {
    let mut table = table(TrackerMap::Swarm);
    table.load(Rank(1), Load { served: 5, in_flight: 2 });
    table.load(Rank(2), Load { served: u64::MAX, in_flight: 2 });
    let swarm = table.swarm_for(T0, Rank(9), TrackerOrder::LeastBusy, &mut Rng::new(0));
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
        let owners = table.owners(T0, Rank(asker)).unwrap();
        owners.iter().map(|(rank, pieces)| format!("{rank}={pieces:?}")).collect::<Vec<_>>()
    };
    assert_eq!(owners(&table, 2), ["1=1111", "3=0100", "4=1001", "6=1111"]);
    table.completed(T0, Rank(4), &[FileIndex(0), FileIndex(7), FileIndex(0)]);
    table.hide(Rank(1));
    table.check();
    assert_eq!(owners(&table, 5), ["2=1111", "3=0100", "4=1111", "6=1111"]);
    let swarm = SwarmTable::new(&Sets::default(), TrackerMap::Swarm);
    assert_eq!(swarm.owners(T0, Rank(1)), None);
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
    let found = ["a", "b", "x", "y"].map(|name| (table.find(name), table.is_loose(name)));
    let expected = [(Some(T0), false), (Some(T0), false), (None, true), (None, false)];
    assert_eq!(found, expected);
}
