//! Folders, links and looks: what counts, and who gets what.

use super::*;

/// The entries of each rank as text: `2: d d/l>x`.
fn entries(sets: &Sets) -> Vec<String> {
    let draw = |entry: &TreeEntry| match &entry.kind {
        EntryKind::File | EntryKind::Directory => format!(" {}", entry.name),
        EntryKind::Symlink { target } => format!(" {}>{target}", entry.name),
        EntryKind::HardLink { to } => format!(" {}^{to}", entry.name),
    };
    let line = |(rank, list): (&Rank, &Arc<[TreeEntry]>)| {
        format!("{rank}:{}", list.iter().map(draw).collect::<String>())
    };
    sets.entries.iter().map(line).collect()
}

#[test]
fn each_gets_what_it_wants_and_the_folders_above() {
    let tree = "1: m:d m/a:f m/a=A m/e:d m/e/l:>../a m/z:^m/a o:d o/b:f o/b=B";
    let cases = [
        ("***", "2: m m/a m/e m/e/l>../a m/z^m/a o o/b"),
        ("+m/e/l", "2: m m/e m/e/l>../a"),
        ("+m/a", "2: m m/a"),
        ("*m/*", "2: m m/a m/e m/z^m/a"),
        ("*o/**", "2: o o/b"),
        ("+m/e", "2: m m/e"),
    ];
    for (wants, expected) in cases {
        let sets = make(&format!("{tree}\n2: {wants}"), &placing());
        assert_eq!(entries(&sets), [expected], "{wants}");
        assert!(sets.missing.is_empty(), "{wants}: {:?}", sets.missing);
        assert!(
            sets.moves.contains_key(&Rank(2)),
            "{wants}: who wants only folders wants something"
        );
    }
}

#[test]
fn equal_wants_share_one_list() {
    let sets = make("1: d:d l:>x\n2: ***\n3: *d\n4: ***", &placing());
    let list = |rank| &sets.entries[&Rank(rank)];
    assert!(Arc::ptr_eq(list(2), list(4)) && !Arc::ptr_eq(list(2), list(3)));
}

#[test]
fn hard_links_need_their_file() {
    let sets = make("1: a:f a=A b:^a c:^b\n2: +b\n3: +a +b\n4: ***", &placing());
    assert_eq!(entries(&sets), ["3: a b^a", "4: a b^a"]);
    assert_eq!(
        fails(&sets.missing),
        [
            "2 b: it is a further name of `a`, which is not wanted here",
            "4 c: it is a further name of `b`, which is no file",
        ]
    );
    let sets = make("1: a:f a=A b:^a\n2: a=X\n3: ***", &placing());
    let why = "rank 1 and rank 2 have different files `a`: piece 0 is the first that differs";
    assert_eq!(
        fails(&sets.missing),
        [format!("3 a: {why}"), format!("3 b: it is a further name of `a`, which fails: {why}")]
    );
}

#[test]
fn a_file_here_and_a_folder_there_fail_by_name() {
    let cases = [
        ("a=A", "a:d", "`a` is a file at rank 1 and a folder at rank 2"),
        ("a=A", "a:>x", "`a` is a file at rank 1 and a symlink at rank 2"),
        (
            "a=A",
            "0=B a:^0",
            "`a` is a file at rank 1 and a further name of another file, `0`, at rank 2",
        ),
        // In place only, both of them.
        ("a@A +a", "a:d +a", "`a` is a file at rank 1 and a folder at rank 2"),
    ];
    for (one, two, why) in cases {
        let sets = make(&format!("1: {one}\n2: {two}\n3: +a"), &placing());
        assert!(
            fails(&sets.missing).contains(&format!("3 a: {why}")),
            "{one} {two}: {:?}",
            sets.missing
        );
        assert!(sets.torrents.is_empty() && sets.entries.is_empty());
    }
}

#[test]
fn who_does_not_want_a_name_says_what_it_is() {
    let cases = [
        // What stands at a destination says nothing against owners.
        ("1: a=A\n2: a:d +a\n3: +a", "t0 a: 1=whole -> 2 3", ""),
        ("1: a:d\n2: a@A +a\n3: +a", "", "2: a, 3: a"),
        ("1: 0=B 0:f a:^0\n2: a@A *** elsewhere", "t0 0: 1=whole -> 2", "2: 0 a^0"),
        ("1: a:>x +a elsewhere\n2: a@A +a\n3: +a", "", "1: a>x, 2: a>x, 3: a>x"),
        // A further name of the same content is that content.
        ("1: a=A\n2: 0=A a:^0\n3: +a", "t0 a: 1=whole -> 3", ""),
        // The lowest rank's link counts, unless it is only in place.
        ("1: l:>x +l\n2: l:>y\n3: +l", "", "1: l>y, 3: l>y"),
    ];
    for (text, set, entry) in cases {
        let sets = make(text, &placing());
        let drawn = draw(&sets);
        assert!(drawn.starts_with(set), "{text}: {drawn}");
        assert_eq!(sets.torrents.len(), usize::from(!set.is_empty()), "{text}");
        assert_eq!(entries(&sets).join(", "), entry, "{text}");
    }
    // A hard link replaces the file that stands in its place.
    let sets = make("1: 0=B a:^0\n2: a@A ***", &placing());
    assert_eq!(sets.replace[&Rank(2)], ["a"]);
}

#[test]
fn looks_that_differ_are_noted_and_the_lowest_rank_counts() {
    let sets = make("1: d:d a:f a=A\n2: d:d' a:f' a=A l:>x\n3: l:>y\n4: ***", &placing());
    assert_eq!(
        sets.notes,
        [
            "`a` has other permissions at rank 2: that of rank 1 counts",
            "`d` has other permissions at rank 2: that of rank 1 counts",
            "`l` has another target at rank 3: that of rank 2 counts",
        ]
    );
    let modes: Vec<u32> = sets.entries[&Rank(4)].iter().map(|entry| entry.meta.mode).collect();
    assert_eq!(modes, [0o644; 3]);
    // Of a file those of whose content counts.
    let sets = make("1: a:f a@X +a\n2: a:f' a=A\n3: +a", &placing());
    assert_eq!(sets.entries[&Rank(3)][0].meta.mode, 0o600);
    assert!(sets.notes.is_empty());
    let many: String = (0..60).map(|name| format!(" d{name}:d")).collect();
    let other: String = (0..60).map(|name| format!(" d{name}:d'")).collect();
    let sets = make(&format!("1: {many}\n2: {other}"), &placing());
    assert_eq!(
        (sets.notes.len(), &*sets.notes[50]),
        (51, "10 more names look different at their owners")
    );
}
