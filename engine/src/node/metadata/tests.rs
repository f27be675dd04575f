use super::*;

const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);

fn at(seconds: u64) -> Time {
    Time::from_duration(Duration::from_secs(seconds))
}

fn asks(fetch: &mut Fetch, now: Time) -> Vec<(u64, u32)> {
    std::iter::from_fn(|| fetch.next(now)).map(|(conn, piece)| (conn.0, piece)).collect()
}

fn bytes(size: usize, byte: u8) -> Bytes {
    vec![byte; size].into()
}

#[test]
fn several_peers_share_it_and_nobody_is_asked_too_much() {
    let mut fetch = Fetch::default();
    let size = 5 * METADATA_PIECE - 100;
    fetch.offers(A, size);
    fetch.offers(B, size);
    assert_eq!(asks(&mut fetch, at(0)), [(1, 0), (1, 1), (2, 2), (2, 3)]);
    for (conn, piece) in [(A, 0), (A, 1), (B, 2), (B, 3)] {
        let data = bytes(METADATA_PIECE as usize, piece as u8);
        assert_eq!(fetch.data(at(0), conn, piece, size, &data), Ok(None));
    }
    assert_eq!(asks(&mut fetch, at(0)), [(1, 4)]);
    let last = bytes(METADATA_PIECE as usize - 100, 4);
    let complete = fetch.data(at(0), A, 4, size, &last).unwrap().unwrap();
    assert_eq!(complete.bytes.len(), size as usize);
    assert_eq!(complete.from, BTreeSet::from([A, B]));
    assert_eq!(complete.bytes[METADATA_PIECE as usize], 1);
}

#[test]
fn a_wrong_one_convicts_a_single_giver_and_else_one_gives_alone() {
    let mut fetch = Fetch::default();
    let size = 2 * METADATA_PIECE;
    let whole = bytes(METADATA_PIECE as usize, 9);
    fetch.offers(A, size);
    fetch.next(at(0));
    fetch.offers(B, size);
    assert_eq!(fetch.next(at(0)), Some((A, 1)));
    fetch.rejected(at(0), A, 1);
    assert_eq!(asks(&mut fetch, at(0)), [(2, 1)]);
    assert_eq!(fetch.data(at(0), A, 0, size, &whole), Ok(None));
    let complete = fetch.data(at(0), B, 1, size, &whole).unwrap().unwrap();
    assert_eq!(fetch.wrong(&complete.from), None, "one of two");
    assert_eq!(asks(&mut fetch, at(1)), [(2, 0), (2, 1)], "one alone");
    fetch.data(at(0), B, 0, size, &whole).unwrap();
    let complete = fetch.data(at(0), B, 1, size, &whole).unwrap().unwrap();
    assert_eq!(fetch.wrong(&complete.from), Some(B));
    fetch.gone(B);
    assert_eq!(asks(&mut fetch, at(30)), []);
    assert_eq!(asks(&mut fetch, at(61)), [(1, 0), (1, 1)], "who refused is asked again in the end");
}

#[test]
fn who_does_not_answer_is_left_for_others() {
    let mut fetch = Fetch::default();
    fetch.offers(A, 100);
    assert_eq!(asks(&mut fetch, at(0)), [(1, 0)]);
    fetch.offers(B, 100);
    assert_eq!(asks(&mut fetch, at(4)), []);
    assert_eq!(fetch.wake(at(4)), Some(at(5)));
    assert_eq!(asks(&mut fetch, at(5)), [(2, 0)]);
    assert_eq!(fetch.data(at(0), A, 0, 100, &bytes(100, 1)), Ok(None), "too late");
    assert!(fetch.data(at(0), B, 0, 100, &bytes(100, 1)).unwrap().is_some());
}

#[test]
fn sizes_that_differ_do_not_mix() {
    let mut fetch = Fetch::default();
    for (conn, size) in [(1, 100), (2, 200), (3, 0), (4, u32::MAX)] {
        fetch.offers(ConnId(conn), size);
    }
    assert_eq!(asks(&mut fetch, at(0)), [(1, 0), (2, 0)]);
    assert!(fetch.data(at(0), A, 0, 101, &bytes(100, 0)).is_err());
    let mut fetch = Fetch::default();
    fetch.offers(A, 100);
    asks(&mut fetch, at(0));
    assert!(fetch.data(at(0), A, 0, 100, &bytes(99, 0)).is_err());
    assert_eq!(fetch.data(at(0), A, 7, 100, &bytes(99, 0)), Ok(None), "never asked for");
}

#[test]
fn what_is_kept_is_bounded_and_the_small_one_stays() {
    let mut fetch = Fetch::default();
    let piece = bytes(METADATA_PIECE as usize, 1);
    fetch.offers(A, 3 * METADATA_PIECE);
    assert_eq!(asks(&mut fetch, at(0)), [(1, 0), (1, 1)]);
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
