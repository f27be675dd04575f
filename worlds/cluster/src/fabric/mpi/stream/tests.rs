use super::*;
use dunlin_wire::fuzzing::from_hex;
use proptest::prelude::*;

impl FragmentStream {
    /// A stream over which so many fragments have gone in both directions.
    fn after(fragments: u32) -> FragmentStream {
        FragmentStream { sequence: fragments, expected: fragments, ..FragmentStream::default() }
    }
}

fn data(sequence: u32, credits: u16, bytes: &[u8]) -> Vec<u8> {
    [&Header { kind: DATA, credits, sequence, stamp: 7 }.encode()[..], bytes].concat()
}

fn credit(credits: u16) -> Vec<u8> {
    Header { kind: CREDIT, credits, sequence: 0, stamp: 7 }.encode().to_vec()
}

/// All fragments that the stream has to send now.
fn all(stream: &mut FragmentStream) -> Vec<Bytes> {
    std::iter::from_fn(|| stream.next(0)).collect()
}

#[test]
fn fragments_as_hex() {
    let mut ours = FragmentStream::after(0xffff_ffff);
    ours.push(b"ab");
    ours.push(b"");
    ours.push(b"c");
    assert_eq!(ours.queued(), 3);
    let fragment = ours.next(0x0102_0304_0506_0708).unwrap();
    let hex = "0001 0000 ffffffff 0102030405060708 616263".replace(' ', "");
    assert_eq!(dunlin_base::hex(&fragment), hex);
    assert_eq!((ours.queued(), ours.next(0)), (0, None));

    let mut theirs = FragmentStream::after(0xffff_ffff);
    let mut got = Vec::new();
    let stamp = theirs.accept(&from_hex(&hex), |bytes| got.extend_from_slice(bytes));
    assert_eq!((stamp, got.as_slice()), (Ok(0x0102_0304_0506_0708), &b"abc"[..]));
    theirs.push(b"d");
    let hex = "0001 0001 ffffffff 0000000000000009 64".replace(' ', "");
    assert_eq!(theirs.next(9).map(|fragment| dunlin_base::hex(&fragment)), Some(hex));

    // After the wrap; and credits by themselves.
    ours.push(b"e");
    assert_eq!(&ours.next(0).unwrap()[4..8], [0; 4]);
    for sequence in 0..8 {
        // Less than half a window waits for data to go with.
        assert_eq!(theirs.next(0), None, "{sequence} are owed");
        theirs.accept(&data(sequence, 0, b"x"), |_| ()).unwrap();
    }
    let hex = "0002 0008 00000000 000000000000000a".replace(' ', "");
    assert_eq!(theirs.next(10).map(|fragment| dunlin_base::hex(&fragment)), Some(hex));
    assert_eq!(theirs.next(10), None);
}

#[test]
fn bytes_are_packed_and_cut() {
    let room = FRAGMENT - HEADER;
    let cases: &[(&[usize], &[usize])] = &[
        (&[0], &[]),
        (&[1], &[1]),
        (&[9; 500], &[room, 500 * 9 - room]),
        (&[room], &[room]),
        (&[room - 1, 1], &[room]),
        (&[room - 1, 2], &[room, 1]),
        (&[room, room, 1], &[room, room, 1]),
        (&[3 * room + 5], &[room, room, room, 5]),
    ];
    for (pushes, lengths) in cases {
        let mut stream = FragmentStream::new();
        for length in *pushes {
            stream.push(&vec![1; *length]);
            stream.check();
        }
        let found: Vec<usize> = all(&mut stream).iter().map(|each| each.len() - HEADER).collect();
        assert_eq!(found, *lengths, "{pushes:?}");
        assert_eq!(stream.queued(), 0);
    }
}

#[test]
fn a_window_and_no_more_without_credits() {
    let (mut ours, mut theirs) = (FragmentStream::new(), FragmentStream::new());
    ours.push(&vec![5; 20 * FRAGMENT]);
    let first = all(&mut ours);
    assert_eq!(first.len(), usize::from(WINDOW));
    let mut came = 0;
    // In reverse, so that nothing is in order until the last has come.
    for (index, fragment) in first.iter().rev().enumerate() {
        assert_eq!((came, theirs.next(0)), (0, None), "before {index}");
        theirs.accept(fragment, |bytes| came += bytes.len()).unwrap();
        theirs.check();
    }
    assert_eq!(came, usize::from(WINDOW) * (FRAGMENT - HEADER));
    let back = all(&mut theirs);
    assert_eq!(back.len(), 1);
    ours.accept(&back[0], |_| panic!("credits carry no bytes")).unwrap();
    assert_eq!(all(&mut ours).len(), 5);
}

#[test]
fn both_sides_full_is_no_deadlock() {
    let (mut ours, mut theirs) = (FragmentStream::new(), FragmentStream::new());
    ours.push(&vec![1; 100 * FRAGMENT]);
    theirs.push(&vec![2; 100 * FRAGMENT]);
    let (mut to_us, mut to_them, mut rounds) = (0, 0, 0);
    while ours.queued() + theirs.queued() > 0 {
        rounds += 1;
        assert!(rounds < 100, "no progress");
        let (out, back) = (all(&mut ours), all(&mut theirs));
        out.iter().for_each(|each| {
            theirs.accept(each, |bytes| to_them += bytes.len()).unwrap();
        });
        back.iter().for_each(|each| {
            ours.accept(each, |bytes| to_us += bytes.len()).unwrap();
        });
    }
    assert_eq!((to_us, to_them), (100 * FRAGMENT, 100 * FRAGMENT));
}

/// A stream that has sent three fragments, has received 0 and 1, and 4 too early.
fn busy() -> FragmentStream {
    let mut stream = FragmentStream::new();
    for sequence in [0, 1, 4] {
        stream.push(b"x");
        assert!(stream.next(0).is_some());
        stream.accept(&data(sequence, 0, b"y"), |_| ()).unwrap();
    }
    // The second and third fragment gave back what 0 and 1 had used.
    assert_eq!((stream.in_flight, stream.owed, stream.early.len()), (3, 0, 1));
    stream.push(b"waits");
    stream
}

#[test]
fn faults_are_found_and_kill() {
    let with_kind = |kind| Header { kind, credits: 0, sequence: 2, stamp: 0 }.encode().to_vec();
    let numbered = Header { kind: CREDIT, credits: 1, sequence: 3, stamp: 0 }.encode().to_vec();
    let cases: Vec<(Vec<u8>, StreamFault, &str)> = vec![
        (vec![], StreamFault::Length { found: 0 }, "0 bytes, expected 16 to 4096"),
        (vec![0; 15], StreamFault::Length { found: 15 }, "15 bytes"),
        (data(2, 0, &[0; 4081]), StreamFault::Length { found: 4097 }, "4097 bytes"),
        (with_kind(0), StreamFault::Kind { found: 0 }, "kind 0, expected 1 or 2"),
        (with_kind(3), StreamFault::Kind { found: 3 }, "kind 3"),
        (data(2, 0, b""), StreamFault::Empty { sequence: 2 }, "number 2 carries no byte"),
        (
            credit(0),
            StreamFault::Credit { sequence: 0, credits: 0, bytes: 0 },
            "0 credits and 0 bytes",
        ),
        (
            [credit(1), vec![1]].concat(),
            StreamFault::Credit { sequence: 0, credits: 1, bytes: 1 },
            "1 credits and 1 bytes",
        ),
        (
            numbered,
            StreamFault::Credit { sequence: 3, credits: 1, bytes: 0 },
            "with number 3, 1 credits and 0 bytes",
        ),
        (
            credit(4),
            StreamFault::Credits { credits: 4, in_flight: 3 },
            "4 credits come back, expected at most 3",
        ),
        (data(2, 4, b"z"), StreamFault::Credits { credits: 4, in_flight: 3 }, "4 credits"),
        (data(1, 0, b"z"), StreamFault::Again { sequence: 1, expected: 2 }, "number 1 comes again"),
        (data(4, 0, b"z"), StreamFault::Again { sequence: 4, expected: 2 }, "number 4 comes again"),
        (data(18, 0, b"z"), StreamFault::Outside { sequence: 18, limit: 18 }, "less than 18"),
        (
            data(u32::MAX, 0, b"z"),
            StreamFault::Again { sequence: u32::MAX, expected: 2 },
            "expected 2 or a later one",
        ),
    ];
    for (fragment, fault, text) in cases {
        let mut stream = busy();
        let taken = stream.accept(&fragment, |bytes| panic!("{bytes:?} taken"));
        assert_eq!(taken, Err(fault));
        assert!(fault.to_string().contains(text), "{fault}");
        stream.check();
        // Even what would have been right before.
        assert_eq!(stream.accept(&data(2, 0, b"z"), |_| panic!("dead")), Err(fault));
        stream.push(b"more");
        assert_eq!((stream.next(0), stream.queued()), (None, 0), "{fault}");
    }
    // The limits themselves are right.
    for fragment in [data(2, 3, &[0; 4080]), credit(3), data(17, 0, b"z"), data(3, 1, b"z")] {
        assert_eq!(busy().accept(&fragment, |_| ()), Ok(7));
    }
}

#[test]
fn what_is_owed_was_not_given() {
    let mut stream = FragmentStream::new();
    for sequence in 0..16 {
        stream.accept(&data(sequence, 0, b"x"), |_| ()).unwrap();
    }
    let limit = StreamFault::Outside { sequence: 16, limit: 16 };
    assert_eq!(stream.accept(&data(16, 0, b"x"), |_| ()), Err(limit));
}

/// Two streams and what is on its way between them.
struct Pair {
    ends: [FragmentStream; 2],
    /// On the way from each end to the other.
    travelling: [Vec<Bytes>; 2],
    pushed: [Vec<u8>; 2],
    came: [Vec<u8>; 2],
}

impl Pair {
    fn push(&mut self, end: usize, length: usize) {
        // Every byte depends on its place, so that nothing can change places unseen.
        let from = self.pushed[end].len();
        let bytes: Vec<u8> = (from..from + length).map(|at| (at * 31 / 7) as u8).collect();
        self.ends[end].push(&bytes);
        self.pushed[end].extend_from_slice(&bytes);
    }

    fn poll(&mut self, end: usize) -> bool {
        let stamp = self.travelling[end].len() as u64;
        let fragment = self.ends[end].next(stamp);
        fragment.map(|fragment| self.travelling[end].push(fragment)).is_some()
    }

    fn deliver(&mut self, to: usize, which: usize) -> bool {
        let ways = &mut self.travelling[1 - to];
        if ways.is_empty() {
            return false;
        }
        let fragment = ways.swap_remove(which % ways.len());
        let came = &mut self.came[to];
        let stamp = self.ends[to].accept(&fragment, |bytes| came.extend_from_slice(bytes));
        assert_eq!(stamp.unwrap().to_be_bytes(), fragment[8..16]);
        true
    }

    /// Both ends hold together, and no credit was lost or made on the way.
    fn check(&self) {
        for end in [0, 1] {
            let (ours, theirs) = (&self.ends[end], &self.ends[1 - end]);
            ours.check();
            let on_the_way = self.travelling[end].iter().filter(|each| each[1] == DATA as u8);
            let on_the_way = on_the_way.count();
            let back = self.travelling[1 - end].iter();
            let back: u16 = back.map(|each| u16::from_be_bytes([each[2], each[3]])).sum();
            let known = on_the_way as u16 + theirs.early.len() as u16 + theirs.owed + back;
            assert_eq!(ours.in_flight, known, "end {end}");
            assert!(on_the_way + theirs.early.len() <= usize::from(WINDOW));
            assert!(self.pushed[1 - end].starts_with(&self.came[end]), "end {end}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_interleaving_brings_all_bytes(
        before in prop_oneof![Just(0_u32), u32::MAX - 40..=u32::MAX, any::<u32>()],
        steps in proptest::collection::vec((0..8_u8, any::<u16>()), 0..400),
        order in any::<u64>(),
    ) {
        let mut pair = Pair {
            ends: [FragmentStream::after(before), FragmentStream::after(before)],
            travelling: [vec![], vec![]],
            pushed: [vec![], vec![]],
            came: [vec![], vec![]],
        };
        for (step, number) in steps {
            let (end, number) = (usize::from(step % 2), usize::from(number));
            match step / 2 {
                0 => pair.push(end, number % [40, 40, 5000, 40_000][number % 4]),
                1 => _ = pair.poll(end),
                _ => _ = pair.deliver(end, number),
            }
            pair.check();
        }
        // From here on both ends only poll: everything arrives, in whatever order.
        let mut rng = dunlin_base::Rng::new(order);
        loop {
            let mut moved = false;
            for end in [0, 1] {
                while rng.chance(2, 3) && pair.poll(end) {
                    moved = true;
                }
                let which = rng.next_u64() as usize;
                moved |= pair.deliver(end, which);
                pair.check();
            }
            let quiet = !moved && !pair.poll(0) && !pair.poll(1);
            if quiet && pair.travelling.iter().all(Vec::is_empty) {
                break;
            }
        }
        for end in [0, 1] {
            prop_assert_eq!(pair.ends[end].queued(), 0);
            prop_assert!(pair.came[end] == pair.pushed[1 - end]);
            // Less than half a window stays owed for ever, and nothing else.
            prop_assert_eq!(pair.ends[end].in_flight, pair.ends[1 - end].owed);
            prop_assert!(pair.ends[end].owed < WINDOW / 2);
        }
    }
}
