use super::*;

const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);

fn at(seconds: u64) -> Time {
    Time::from_duration(Duration::from_secs(seconds))
}

fn asks(fetch: &mut MetadataFetch, now: Time) -> Vec<(u64, u32)> {
    std::iter::from_fn(|| fetch.next(now)).map(|(conn, piece)| (conn.0, piece)).collect()
}

fn bytes(size: usize, byte: u8) -> Bytes {
    vec![byte; size].into()
}

#[test]
fn several_peers_share_it_and_each_has_one_request() {
    let mut fetch = MetadataFetch::default();
    let size = 3 * METADATA_PIECE - 100;
    fetch.offers(A, size);
    fetch.offers(B, size);
    assert_eq!(asks(&mut fetch, at(0)), [(1, 0), (2, 1)]);
    for (conn, piece, next) in [(B, 1, vec![(2, 2)]), (A, 0, vec![])] {
        let data = bytes(METADATA_PIECE as usize, piece as u8);
        assert_eq!(fetch.data(at(0), conn, piece, size, &data), Ok(None));
        assert_eq!(asks(&mut fetch, at(0)), next);
    }
    let last = bytes(METADATA_PIECE as usize - 100, 2);
    let complete = fetch.data(at(0), B, 2, size, &last).unwrap().unwrap();
    assert_eq!(complete.bytes.len(), size as usize);
    assert_eq!(complete.from, BTreeSet::from([A, B]));
    assert_eq!(complete.bytes[METADATA_PIECE as usize], 1);
}

#[test]
fn a_wrong_one_convicts_a_single_giver_and_else_one_gives_alone() {
    let mut fetch = MetadataFetch::default();
    let size = 2 * METADATA_PIECE;
    let whole = bytes(METADATA_PIECE as usize, 9);
    fetch.offers(A, size);
    fetch.offers(B, size);
    assert_eq!(asks(&mut fetch, at(0)), [(1, 0), (2, 1)]);
    assert_eq!(fetch.data(at(0), A, 0, size, &whole), Ok(None));
    let complete = fetch.data(at(0), B, 1, size, &whole).unwrap().unwrap();
    assert_eq!(fetch.wrong(&complete.from), None, "one of two");
    assert_eq!(asks(&mut fetch, at(1)), [(1, 0)], "one alone");
    fetch.rejected(at(1), A, 0);
    assert_eq!(asks(&mut fetch, at(1)), [(2, 0)], "or the other");
    fetch.data(at(1), B, 0, size, &whole).unwrap();
    assert_eq!(asks(&mut fetch, at(1)), [(2, 1)]);
    let complete = fetch.data(at(1), B, 1, size, &whole).unwrap().unwrap();
    assert_eq!(fetch.wrong(&complete.from), Some(B));
    fetch.gone(B);
    assert_eq!(asks(&mut fetch, at(5)), []);
    assert_eq!(asks(&mut fetch, at(7)), [(1, 0)], "who refused is asked again in the end");
}

#[test]
fn who_does_not_answer_is_left_for_others() {
    let mut fetch = MetadataFetch::default();
    fetch.offers(A, 100);
    assert_eq!(asks(&mut fetch, at(0)), [(1, 0)]);
    fetch.offers(B, 100);
    assert_eq!(asks(&mut fetch, at(4)), []);
    assert_eq!(fetch.wake(at(4)), Some(at(5)));
    assert_eq!(asks(&mut fetch, at(5)), [(2, 0)]);
    assert_eq!(fetch.data(at(5), A, 7, 100, &bytes(100, 1)), Ok(None), "never asked for");
    assert!(fetch.data(at(6), A, 0, 100, &bytes(100, 1)).unwrap().is_some(), "late and welcome");
}

#[test]
fn a_connection_without_answers_is_closed_and_not_asked_for_ever() {
    // Pieces, those that are answered, and when the connection is closed.
    for (pieces, answers, expected) in [(1, 0, 10), (40, 0, 10), (40, 7, 10), (40, 39, 10)] {
        let (mut fetch, size) = (MetadataFetch::default(), pieces * METADATA_PIECE);
        fetch.offers(A, size);
        let (mut asked, mut now) = (Vec::new(), at(0));
        while fetch.dead(now).is_none() {
            asked.extend(asks(&mut fetch, now));
            if asked.len() <= answers {
                let (_, piece) = asked[asked.len() - 1];
                let data = bytes(METADATA_PIECE as usize, piece as u8);
                assert_eq!(fetch.data(now, A, piece, size, &data), Ok(None));
            } else {
                now = fetch.wake(now).expect("it waits for something");
            }
        }
        assert_eq!((now, asked.len()), (at(expected), answers + 2), "{pieces} {answers}");
        assert_eq!((asks(&mut fetch, now), fetch.dead(now)), (vec![], None), "only once");
    }
}

#[test]
fn who_was_late_comes_after_the_others_and_refusals_rest_longer_and_longer() {
    let mut fetch = MetadataFetch::default();
    fetch.offers(A, 3 * METADATA_PIECE);
    assert_eq!(asks(&mut fetch, at(0)), [(1, 0)]);
    fetch.offers(B, 3 * METADATA_PIECE);
    assert_eq!(asks(&mut fetch, at(4)), [(2, 1)]);
    let piece = bytes(METADATA_PIECE as usize, 1);
    assert_eq!(fetch.data(at(5), B, 1, 0, &piece), Ok(None), "a total that was not said");
    assert_eq!(asks(&mut fetch, at(5)), [(2, 0), (1, 2)]);
    let mut fetch = MetadataFetch::default();
    fetch.offers(A, 100);
    let mut now = 0;
    for rest in [5, 10, 20, 40, 60, 60] {
        assert_eq!(asks(&mut fetch, at(now)), [(1, 0)]);
        fetch.rejected(at(now), A, 0);
        assert_eq!(fetch.wake(at(now)), Some(at(now + rest)));
        now += rest;
    }
}

#[test]
fn sizes_that_differ_do_not_mix() {
    let mut fetch = MetadataFetch::default();
    for (conn, size) in [(1, 100), (2, 200), (3, 0), (4, u32::MAX)] {
        fetch.offers(ConnId(conn), size);
    }
    assert_eq!(asks(&mut fetch, at(0)), [(1, 0), (2, 0)]);
    assert!(fetch.data(at(0), A, 0, 101, &bytes(100, 0)).is_err());
    let mut fetch = MetadataFetch::default();
    fetch.offers(A, 100);
    asks(&mut fetch, at(0));
    assert!(fetch.data(at(0), A, 0, 100, &bytes(99, 0)).is_err());
    assert_eq!(fetch.data(at(0), A, 7, 100, &bytes(99, 0)), Ok(None), "never asked for");
}

#[test]
fn what_is_kept_is_bounded_and_the_small_one_stays() {
    let mut fetch = MetadataFetch::default();
    let piece = bytes(METADATA_PIECE as usize, 1);
    fetch.offers(A, 3 * METADATA_PIECE);
    assert_eq!(asks(&mut fetch, at(0)), [(1, 0)]);
    assert_eq!(fetch.data(at(0), A, 0, 3 * METADATA_PIECE, &piece), Ok(None));
    let large: Vec<u32> = (0..5).map(|number| (20 << 20) + number).collect();
    for (number, size) in large.iter().enumerate() {
        fetch.offers(ConnId(10 + number as u64), *size);
    }
    for _ in 0..600 {
        for (conn, index) in asks(&mut fetch, at(0)) {
            if conn >= 10 {
                let size = large[conn as usize - 10];
                fetch.data(at(0), ConnId(conn), index, size, &piece).unwrap();
            }
        }
        let held: usize = fetch.sizes.values().map(|assembly| assembly.pieces.len()).sum();
        assert!(held * piece.len() <= MAX_HELD);
    }
    assert_eq!(fetch.sizes[&(3 * METADATA_PIECE)].pieces.len(), 1);
}

#[test]
fn sizes_that_peers_name_are_remembered_within_bounds() {
    let mut fetch = MetadataFetch::default();
    for size in 1..=200_000 {
        fetch.offers(A, size);
        asks(&mut fetch, at(0));
        fetch.check();
    }
    assert!(fetch.sizes.len() <= 2, "one peer names one size");
    // Others come, give a piece of a size of their own, and go.
    let size = |n: u64| 2 * METADATA_PIECE + n as u32;
    for n in 10..2000 {
        fetch.offers(ConnId(n), size(n));
        for (conn, piece) in asks(&mut fetch, at(0)) {
            let data = bytes(METADATA_PIECE as usize, 1);
            fetch.data(at(0), ConnId(conn), piece, size(conn), &data).unwrap();
        }
        fetch.gone(ConnId(n));
        fetch.check();
    }
    let whole = bytes(100, 3);
    fetch.offers(B, 100);
    assert_eq!(asks(&mut fetch, at(0)), [(2, 0)]);
    assert!(fetch.data(at(0), B, 0, 100, &whole).unwrap().is_some());
}

#[test]
fn who_never_answers_is_asked_after_who_was_not_asked() {
    let mut fetch = MetadataFetch::default();
    let size = METADATA_PIECE;
    for n in 1..=20 {
        fetch.offers(ConnId(n), size);
    }
    fetch.alone = true;
    // Twenty of which the last one answers: each is given its time once, and none twice before it.
    let mut asked = Vec::new();
    for round in 0..20 {
        asked.extend(asks(&mut fetch, at(round * 5)).into_iter().map(|(conn, _)| conn));
    }
    assert_eq!(asked, (1..=20).collect::<Vec<_>>());
}
