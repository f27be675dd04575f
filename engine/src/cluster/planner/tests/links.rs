//! Ranks of one host: who fetches and who links.

use super::*;

#[test]
fn one_of_a_host_fetches() {
    let cases = [
        // The lowest; the one with most pieces; the one that has all.
        ("1: a=AB\n2: %h:/2 +a\n3: %h:/3 +a\n4: %i:/4 +a", "2 3<2 4"),
        ("1: a=AB\n2: %h:/2 +a\n3: %h:/3 +a a~AB/10", "2<3 3"),
        ("1: a=ABC\n2: %h:/2 +a a~ABC/100\n3: %h:/3 +a a@ABX", "2<3 3"),
        ("1: a=AB\n2: %h:/2 +a a~AB/10\n3: %h:/3 +a a@AB", "2<3 3"),
        // Who has all copies nothing from others.
        ("1: a=AB\n2: %h:/2 +a a@AB\n3: %h:/3 +a a@AB", "2 3"),
        // Another file system; no host named; a host by itself.
        ("1: a=AB\n2: %h:/2:1 +a\n3: %h:/3:2 +a", "2 3"),
        ("1: a=AB\n2: +a\n3: +a", "2 3"),
        // The same folder is one, whatever device is named.
        ("1: a=AB\n2: %h:/2:1 +a\n3: %h:/2:2 +a", "2 3<2"),
        // Who owns it may be the source of its host.
        ("2: %h:/2 +a a=AB elsewhere\n3: %h:/3 +a\n4: %i:/4 +a", "2 3<2 4"),
        ("2: %h:/2 +a\n3: %h:/3 +a a=AB elsewhere\n4: %i:/4 +a", "2<3 3 4"),
        // Each owns it: each copies for itself; but into one folder only one writes.
        ("2: %h:/2 +a a=AB elsewhere\n3: %h:/3 +a a=AB elsewhere", "2 3"),
        ("2: %h:/2 +a a=AB elsewhere\n3: %h:/2 +a a=AB elsewhere", "2 3<2"),
        // Two folders with two ranks each: one fetches, one links to the other folder.
        ("1: a=AB\n2: %h:/2 +a\n3: %h:/2 +a\n4: %h:/4 +a\n5: %h:/4 +a", "2 3<2 4<2 5<4"),
        // Pieces that nobody else may have keep a rank in the swarm, but not beside a seed.
        ("2: %h:/2 +a a~AB/10\n3: %h:/3 +a a~AB/01", "2 3"),
        ("1: a=AB\n2: %h:/2 +a a~AB/10\n3: %h:/3 +a a~AB/01", "2 3<2"),
    ];
    for (text, expected) in cases {
        let drawn = draw(&make(text, &placing()));
        let line = drawn.lines().next().unwrap();
        assert!(line.ends_with(&format!("-> {expected}")), "{text}: {line}");
    }
}

#[test]
fn linked_bytes_do_not_move() {
    expect_by(
        "1: a=ABC b=BB
         2: %h:/2 +a +b a@AXC b@BB
         3: %h:/3 +a +b a~ABC/100
         4: %h:/2 +a +b",
        &placing(),
        // Rank 4 writes into the folder of rank 2: its state is the other's, and there is nothing
        // to write.
        "t0 a b: 1=whole 2=00011 3=10000 -> 2 3<2 4<2
         replace 2: a
         replace 4: a
         move 2: 1 4+14
         move 3: 2 0+4 linked 14
         move 4: 0 0+18",
    );
}

#[test]
fn what_stands_there_is_ready_at_once() {
    let ready = |text: &str| {
        let sets = make(text, &placing());
        let all = sets.torrents.iter().flat_map(|set| &set.ready);
        all.map(|(rank, files)| format!("{rank}{files:?}")).collect::<Vec<_>>()
    };
    let cases: [(&str, &[&str]); 3] = [
        ("1: a=A b=B c=C\n2: %h:/2 *** a@A c@C\n3: %h:/3 ***", &["2[f0, f2]"]),
        ("2: %h:/2 *** a=A\n3: %h:/3 ***", &["2[f0]"]),
        // What must be copied first is not there yet.
        ("2: %h:/2 *** a=A elsewhere\n3: %h:/3 ***", &["2[]"]),
    ];
    for (text, expected) in cases {
        assert_eq!(ready(text), expected, "{text}");
    }
}
