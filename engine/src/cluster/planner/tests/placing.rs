//! A plan that is to be made so: conflicts by name, repair, pins, space, and what is there already.

use super::*;
use dunlin_metainfo::zero_hash;

fn pinned(pins: &[(&str, u8)]) -> BTreeMap<String, [u8; 32]> {
    pins.iter().map(|(name, letter)| ((*name).to_owned(), [*letter; 32])).collect()
}

#[test]
fn owners_that_disagree_fail_the_name_alone() {
    let text = "1: a=AB b=B
                2: a=AX
                3: *** 
                4: +a";
    expect_by(
        text,
        &placing(),
        "t0 b: 1=whole -> 3
         missing 3: a
         missing 4: a
         move 3: 1 3+0",
    );
    let why = "rank 1 and rank 2 have different files `a`: piece 1 is the first that differs";
    assert_eq!(
        fails(&make(text, &placing()).missing),
        [format!("3 a: {why}"), format!("4 a: {why}")]
    );
    // And so do copies in place, if nobody owns the file.
    let text = "1: a@AB +a b@B +b\n2: a@AX +a b@B +b";
    expect_by(
        text,
        &placing(),
        "t0 b: 1=whole 2=whole -> 1 2
         missing 1: a
         missing 2: a
         move 1: 0 0+3
         move 2: 0 0+3",
    );
    // Without placing only the name fails, too, and what is in the way is in the way.
    let rules = Rules { placing: false, ..placing() };
    expect_by(
        "1: a=A b=B\n2: a=X\n3: *** b@X",
        &rules,
        "t0 b: 1=whole -> 3
         obstacle b: 3
         missing 3: a
         move 3: 1 3+0",
    );
}

#[test]
fn what_stands_in_place_is_repaired() {
    expect_by(
        "1: a=ABCD b=B
         2: a@ABXD +a
         3: a@ABCD +a
         4: a@XYZ +a
         5: a@ABCDE +a
         6: a@ABX",
        &placing(),
        // The last piece has three bytes; of a shorter copy its short last piece cannot be right.
        "t0 a: 1=whole 3=whole -> 2 3 4 5
         unwanted b: 1
         replace 2: a
         replace 4: a
         replace 5: a
         move 2: 1 4+11
         move 3: 0 0+15
         move 4: 1 15+0
         move 5: 1 0+15",
    );
}

#[test]
fn who_owns_elsewhere_copies() {
    // Rank 1 owns the file and wants it in another folder; rank 2 has it there already, rank 3
    // another content; rank 4 owns nothing.
    expect_by(
        "1: a=ABC +a elsewhere
         2: a=ABC a@ABC +a elsewhere
         3: a=ABC a@ABX +a elsewhere
         4: +a elsewhere",
        &placing(),
        "t0 a: 1=whole 2=whole 3=all -> 1 2 3 4
         replace 3: a
         move 1: 1 0+0 linked 11
         move 2: 0 0+11
         move 3: 1 0+8 linked 3
         move 4: 1 11+0",
    );
}

#[test]
fn only_owners_count_where_the_plan_says_so() {
    let rules = Rules { owners_only: true, ..placing() };
    let text = "1: d/a=A\n2: d/a@X d/old@Y *d/**\n3: +d/old";
    expect_by(
        text,
        &rules,
        "t0 d/a: 1=whole -> 2
         replace 2: d/a
         missing 3: d/old
         move 2: 1 3+0",
    );
    // A pin speaks for a copy whatever its standing.
    let pins = pinned(&[("d/old", b'y')]);
    let sets = make("1: d/old@Y!y\n2: +d/old", &Rules { pins: &pins, ..rules });
    assert_eq!(draw(&sets), "t0 d/old: 1=whole -> 2\nmove 2: 1 3+0\n");
}

#[test]
fn pins() {
    let pins = pinned(&[("a", b'g')]);
    let rules = Rules { pins: &pins, ..placing() };
    // Owners with another hash are nobody; what stands in place with the right one is a seed. Parts
    // have no hash of the whole and go by their pieces.
    expect_by(
        "1: a=AX!b
         2: a@AB!g +a
         3: a=AX!b +a
         4: a~AB/10 +a
         5: a@AX!b +a
         6: a@AB +a",
        &rules,
        "t0 a: 2=whole 4=10 -> 2 3 4 5 6
         replace 3: a
         replace 5: a
         replace 6: a
         move 2: 0 0+7
         move 3: 1 3+4
         move 4: 1 3+4
         move 5: 1 3+4
         move 6: 1 0+7",
    );
    let (good, bad) = ("67".repeat(32), "62".repeat(32));
    let text = "1: a=AX!b\n2: +a\n3: *a*\n4: -a";
    let why = format!("nobody has it with SHA-256 {good}; rank 1 has {bad}");
    assert_eq!(fails(&make(text, &rules).missing), [format!("2 a: {why}"), format!("3 a: {why}")]);
    let why = format!("2 a: nobody has it with SHA-256 {good}");
    assert_eq!(fails(&make("2: +a", &rules).missing), std::slice::from_ref(&why));
    let unread = make("1: -a\n2: +a", &rules);
    assert_eq!(fails(&unread.missing), [format!("{why}; rank 1 cannot read it: denied")]);
}

#[test]
fn what_nobody_can_read() {
    let sets = make(
        "1: -a -b c=C
         2: *** b=B
         3: +a
         4: -c +c",
        &placing(),
    );
    assert_eq!(
        fails(&sets.missing),
        ["2 a: rank 1 cannot read it: denied", "3 a: rank 1 cannot read it: denied"]
    );
    // What rank 4 cannot read stands in the way of what it wants.
    assert_eq!(sets.replace, BTreeMap::from([(Rank(4), vec!["c".to_owned()])]));
}

#[test]
fn who_lacks_space_fails_alone() {
    let cases = [
        // Rank 2 needs 11 bytes, rank 3 has 4 already.
        ("2: %h2:/d $10 +a", "3: %h3:/d $7 a~ABC/100 +a", &["2"][..]),
        ("2: %h2:/d $11 +a", "3: %h3:/d $6 a~ABC/100 +a", &["3"]),
        ("2: %h2:/d $11 +a", "3: %h3:/d $7 a@AXX +a", &[]),
        // One device: the lower rank goes first, unless its files are linked.
        ("2: %h:/d2:1 $11 +a", "3: %h:/d3:2 $99 +a", &["3"]),
        ("2: %h:/d2 $11 +a", "3: %h:/d3 $99 +a", &[]),
        ("2: %h:/d2 $10 +a", "3: %h:/d3 $99 +a", &["2", "3"]),
        // What a rank copies from its own folder takes space, too.
        ("2: %h2:/d $10 a=ABC +a elsewhere", "3: %h3:/d $11 +a", &["2"]),
    ];
    for (two, three, failing) in cases {
        let sets = make(&format!("1: a=ABC b=B\n{two}\n{three}\n4: +a +b"), &placing());
        let failed: Vec<String> = sets.missing.keys().map(ToString::to_string).collect();
        assert_eq!(failed, failing, "{two} | {three}");
        let wants: Vec<u32> = (2..5).filter(|rank| sets.torrents[0].wants(Rank(*rank))).collect();
        let expected = (2..5).filter(|rank| !failing.contains(&&*rank.to_string()));
        assert_eq!(wants, expected.collect::<Vec<u32>>(), "{two} | {three}");
    }
    let pressed = [
        // Who has pieces that nobody else has fetches for itself, and needs its own space.
        ("2: %h:/2 $6 +a a~AB/10\n3: %h:/3 $6 +a a~AB/01", &[3][..]),
        ("2: %h:/2 $7 +a a~AB/10\n3: %h:/3 $7 +a a~AB/01", &[]),
        // The lowest links here, and stands for the rank that fetches, which has a part.
        ("1: a=ABC\n2: %h:/2 $7 +a\n3: %h:/3 $7 +a a~ABC/001", &[2, 3]),
        ("1: a=ABC\n2: %h:/2 $8 +a\n3: %h:/3 $8 +a a~ABC/001", &[]),
    ];
    for (text, failing) in pressed {
        let failed: Vec<u32> = make(text, &placing()).missing.keys().map(|rank| rank.0).collect();
        assert_eq!(failed, failing, "{text}");
    }
    let sets = make("1: a=ABC\n2: $10 +a *no*", &placing());
    assert_eq!(fails(&sets.missing), [
        "2 a: what the rank wants needs 11 B (11 bytes), but only 10 B (10 bytes) are free where \
         it goes; make room, or write to another place",
        "2 *no*: nobody has it",
    ].map(|line| line.replace("2 *no*", "2 no*")));
    assert!(sets.moves.is_empty() && sets.torrents.is_empty());
}

#[test]
fn zeros_do_not_move() {
    let unit = 16_384;
    let zero = zero_hash(unit);
    let file = |hashes: &[[u8; 20]], pieces: Option<&str>, provenance| OwnedFile {
        name: "a".to_owned(),
        length: hashes.len() as u64 * u64::from(unit) - 1_000,
        piece_length: unit,
        hashes: PieceHashes::Sha1(hashes.into()),
        pieces: pieces.map(|bits| {
            let mut field = Bitfield::new(bits.len() as u32);
            let ones = bits.bytes().enumerate().filter(|(_, bit)| *bit == b'1');
            ones.for_each(|(index, _)| {
                field.set(dunlin_base::PieceIndex(index as u32));
            });
            field
        }),
        provenance,
        bytes: hashes.len() as u64 * u64::from(unit) - 1_000,
        sha256: None,
    };
    let content = [[1; 20], zero, [2; 20], zero];
    let owner =
        Register { files: vec![file(&content, None, Provenance::Owner)], ..Register::default() };
    let wants = |files: Vec<OwnedFile>| Register {
        files,
        wants: vec![Want::Name("a".to_owned())],
        ..Register::default()
    };
    let part = wants(vec![file(&content, Some("1100"), Provenance::Part)]);
    let other = wants(vec![file(&[[1; 20], [9; 20], [8; 20], zero], None, Provenance::InPlace)]);
    let nothing = wants(vec![]);
    let all = [(Rank(1), &owner), (Rank(2), &part), (Rank(3), &other), (Rank(4), &nothing)];
    let sets = make_sets(&all, &placing());
    let (one, last) = (u64::from(unit), u64::from(unit) - 1_000);
    let expected = [(2, one, 2 * one + last), (3, one, one + last + one), (4, 2 * one, one + last)];
    for (rank, bytes, here) in expected {
        let Move { bytes: found, bytes_here, .. } = sets.moves[&Rank(rank)];
        // Of rank 3 the second piece is zeros only in the truth: nobody sends it, for all that.
        let here = if rank == 3 { one + last } else { here };
        let bytes = if rank == 3 { 2 * one } else { bytes };
        assert_eq!((found, bytes_here), (bytes, here), "rank {rank}");
    }
}

#[test]
fn the_differences_are_told_by_rank() {
    let rules = Rules { compare: true, ..placing() };
    let text = "1: a=ABC b=B c=C d:d d/l:>a d/h:^a x=X
                2: x=Y
                3: +a +b +d/l +d/h a@AXC b@BB .d:d .d/l:>b
                4: +a +c +ghost a@ABC c@C
                5: +a +x a~ABC/110
                6: %h:/d +a +b a@ABC
                7: %h:/d +a
                8: +a a=ABC elsewhere
                9: +a a=ABC a@ABC elsewhere";
    assert_eq!(
        fails(&make(text, &rules).differs),
        [
            "3 a: it differs: piece 1 of 3 is the first that does",
            "3 b: it differs: its length is 7, expected 3",
            "3 d/h: the further name of `a` is not there",
            "3 d/l: the symlink leads to `b`, expected `a`",
            "4 ghost: nobody has it",
            "5 a: it is unfinished",
            "5 x: rank 1 and rank 2 have different files `x`: piece 0 is the first that differs",
            "6 b: it is not there",
            "8 a: it is not there",
        ]
    );
    assert!(make(text, &placing()).differs.is_empty());
    // What holds differs in nothing.
    let text = "1: a=A d:d\n2: *** a@A .d:d\n3: +a a=A";
    assert!(make(text, &rules).differs.is_empty());
    // Who lacks space is told what differs, and not that it lacks space.
    let sets = make("1: a=ABC b=B\n2: $3 +a +b b@B", &rules);
    assert_eq!(fails(&sets.differs), ["2 a: it is not there"]);
    assert_eq!(sets.missing[&Rank(2)].len(), 2);
    // Of very many the rest is a number.
    let many: String = (0..1200).map(|file| format!(" f{file}=A")).collect();
    let sets = make(&format!("1: {many}\n2: ***"), &rules);
    let last = sets.differs[&Rank(2)].last().unwrap();
    assert_eq!((sets.differs[&Rank(2)].len(), &*last.reason), (1001, "200 more names differ"));
}
