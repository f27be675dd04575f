use super::*;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

/// Draws a swarm: one line a peer, `1` where it has the piece; the last line marks open pieces with
/// `x`.
fn swarm(order: PieceOrder, drawing: &str) -> Picker {
    let mut lines: Vec<&str> = drawing.split_whitespace().collect();
    let open = lines.pop().unwrap();
    let mut picker = Picker::new(order, open.len() as u32);
    let marked = |line: &str, mark: char| -> Vec<PieceIndex> {
        line.chars()
            .enumerate()
            .filter(|(_, c)| *c == mark)
            .map(|(i, _)| PieceIndex(i as u32))
            .collect()
    };
    picker.open_all(marked(open, 'x').into_iter(), &mut Rng::new(1));
    for line in lines {
        if line.chars().all(|c| c == '1') {
            picker.add_seed();
        } else {
            marked(line, '1').into_iter().for_each(|piece| picker.inc_availability(piece));
        }
    }
    picker.check();
    picker
}

fn pick(picker: &Picker, has: &str) -> Option<u32> {
    let has: Vec<char> = has.chars().collect();
    picker.pick(None, |piece| has[piece.index()] == '1').map(|piece| piece.0)
}

#[test]
fn rarest_first() {
    use PieceOrder::Rarest;
    // (the swarm, what the asking peer has, the piece)
    let cases = [
        ("1110 1101 1001 xxxx", "1111", Some(2)),
        ("1110 1101 1001 xxxx", "1100", Some(1)),
        ("1110 1101 1001 xx--", "1111", Some(1)),
        ("1110 1101 1001 ----", "1111", None),
        ("1111 1100 1101 xxxx", "1111", Some(2)),
        ("0000 0001 xxxx", "1111", Some(3)),
        ("0100 xxxx", "1011", None),
    ];
    for (drawing, has, expected) in cases {
        assert_eq!(pick(&swarm(Rarest, drawing), has), expected, "{drawing} for {has}");
    }
}

#[test]
fn sequential_and_random() {
    let mut picker = swarm(PieceOrder::Sequential, "11111 -xx-x");
    assert_eq!(pick(&picker, "11111"), Some(1));
    picker.close(PieceIndex(1));
    assert_eq!(pick(&picker, "11111"), Some(2));
    picker.open(PieceIndex(1));
    assert_eq!(pick(&picker, "10111"), Some(2));
    assert_eq!(pick(&picker, "11111"), Some(1));
    let mut picker = swarm(PieceOrder::Random, "11111 xxxxx");
    let mut seen = Vec::new();
    while let Some(piece) = pick(&picker, "11111") {
        picker.close(PieceIndex(piece));
        picker.check();
        seen.push(piece);
    }
    assert_ne!(seen, [0, 1, 2, 3, 4], "drawn from the seed");
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[test]
fn a_random_first_piece_is_not_always_the_rarest() {
    let mut picker = swarm(PieceOrder::Rarest, "11111110 xxxxxxxx");
    picker.add_seed();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        seen.insert(picker.pick(Some(&mut Rng::new(seed)), |_| true).unwrap().0);
    }
    assert!(seen.len() > 4, "{seen:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Open(u32),
    Close(u32),
    Gained(u32),
    Lost(u32),
    Seed(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let piece = 0u32..20;
    proptest::collection::vec(
        prop_oneof![
            piece.clone().prop_map(Step::Open),
            piece.clone().prop_map(Step::Close),
            piece.clone().prop_map(Step::Gained),
            piece.prop_map(Step::Lost),
            any::<bool>().prop_map(Step::Seed),
        ],
        0..200,
    )
}

proptest! {
    #[test]
    fn agrees_with_a_naive_model(steps in steps()) {
        let mut picker = Picker::new(PieceOrder::Rarest, 20);
        let mut available = [0u32; 20];
        let mut open = [false; 20];
        let mut seeds = 0;
        for step in steps {
            match step {
                Step::Open(p) => { picker.open(PieceIndex(p)); open[p as usize] = true; }
                Step::Close(p) => { picker.close(PieceIndex(p)); open[p as usize] = false; }
                Step::Gained(p) => {
                    picker.inc_availability(PieceIndex(p));
                    available[p as usize] += 1;
                }
                Step::Lost(p) if available[p as usize] > 0 => {
                    picker.dec_availability(PieceIndex(p));
                    available[p as usize] -= 1;
                }
                Step::Lost(_) => {}
                Step::Seed(true) => { picker.add_seed(); seeds += 1; }
                Step::Seed(false) if seeds > 0 => { picker.remove_seed(); seeds -= 1; }
                Step::Seed(false) => {}
            }
            picker.check();
        }
        let rarest = (0..20)
            .filter(|p| open[*p] && available[*p] + seeds > 0)
            .map(|p| available[p])
            .min();
        let picked = picker.pick(None, |_| true);
        prop_assert_eq!(picked.map(|piece| available[piece.index()]), rarest);
        for p in 0..20 {
            prop_assert_eq!(picker.availability(PieceIndex(p)), available[p as usize] + seeds);
            prop_assert_eq!(picker.is_open(PieceIndex(p)), open[p as usize]);
        }
    }
}
