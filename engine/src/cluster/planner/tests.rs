use super::*;
use bytes::Bytes;
use dunlin_control::{Location, Provenance, Space, Want};
use dunlin_metainfo::{EntryKind, EntryMeta};
use std::fmt::Write as _;

mod late;
mod links;
mod placing;
mod random;
mod trees;

/// Registrations drawn as text, one rank a line: `1: a=ABC b@AB c~ABC/101 t#xy +a *dir/**`. `=` is
/// an owner's file, `@` one in place, `~` a part with its pieces, `#` an owner's token file; every
/// letter is a piece (of 4 bytes, the last one of 3) or a token; `!x` at the end is a SHA-256. `+`
/// wants a name, `*` a glob. `-a` is unreadable. `a:d`, `a:f`, `a:>to` and `a:^to` are entries: a
/// folder, a file, a symlink and a hard link, with another mode if a `'` follows; `.a:d` stands
/// where wanted things go. `%host:folder` is the location (a device for each host, unless `:8` is
/// one), `$100` free space on the device of that host, and `elsewhere` says that owned files are
/// not in that folder.
pub(crate) fn registers(text: &str) -> Vec<(Rank, Register)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (rank, rest) = line.split_once(':').unwrap();
            let mut register = Register { shares: true, ..Register::default() };
            rest.split_whitespace().for_each(|word| add(&mut register, word));
            register.check().unwrap();
            (Rank(rank.parse().unwrap()), register)
        })
        .collect()
}

fn add(register: &mut Register, word: &str) {
    let (first, rest) = word.split_at(1);
    let named =
        |rest: &str| rest.split_once(':').map(|(one, two)| (one.to_owned(), two.to_owned()));
    match first {
        "+" => register.wants.push(Want::Name(rest.to_owned())),
        "*" => register.wants.push(Want::Glob(rest.to_owned())),
        "-" => {
            let (name, reason) = (rest.to_owned(), "denied".to_owned());
            register.unreadable.push(FailedFile { name, reason });
        }
        "%" => {
            let (host, dest) = named(rest).unwrap();
            let (dest, device) = named(&dest).unwrap_or((dest, "7".to_owned()));
            let device = device.parse().unwrap();
            register.location = Some(Location { host, rack: String::new(), dest, device });
        }
        "$" => {
            let host = register.location.as_ref().map_or("", |location| &location.host);
            let device = host.bytes().map(u64::from).sum();
            register.space = Some(Space { device, free: rest.parse().unwrap() });
        }
        "." => register.stands.get_or_insert_default().push(entry(rest)),
        _ if word == "elsewhere" => register.elsewhere = true,
        _ if word.contains(':') => register.entries.push(entry(word)),
        _ => register.files.push(owned(word)),
    }
}

fn entry(word: &str) -> TreeEntry {
    let (name, what) = word.split_once(':').unwrap();
    let (what, mode) = what.strip_suffix('\'').map_or((what, 0o644), |what| (what, 0o600));
    let kind = match what.split_at(1) {
        ("d", _) => EntryKind::Directory,
        ("f", _) => EntryKind::File,
        (">", target) => EntryKind::Symlink { target: target.to_owned() },
        (_, to) => EntryKind::HardLink { to: to.to_owned() },
    };
    let meta = EntryMeta { mode, ..EntryMeta::default() };
    TreeEntry { name: name.to_owned(), kind, meta }
}

fn owned(word: &str) -> OwnedFile {
    let (word, sha256) = match word.split_once('!') {
        Some((word, hash)) => (word, Some([hash.as_bytes()[0]; 32])),
        None => (word, None),
    };
    let at = word.find(['=', '@', '~', '#']).unwrap();
    let (name, kind, rest) = (&word[..at], &word[at..=at], &word[at + 1..]);
    let (letters, bits) = rest.split_once('/').unwrap_or((rest, ""));
    let (hashes, piece_length): (_, u32) = if kind == "#" {
        let tokens = letters.chars().map(|token| Bytes::from(token.to_string()));
        (PieceHashes::Tokens(tokens.collect()), 1)
    } else {
        (PieceHashes::Sha1(letters.bytes().map(|letter| [letter; 20]).collect()), 4)
    };
    let pieces = letters.len() as u32;
    let length = u64::from((pieces * piece_length).saturating_sub(u32::from(piece_length == 4)));
    let pieces = (!bits.is_empty()).then(|| {
        let mut field = Bitfield::new(pieces);
        let ones = bits.bytes().enumerate().filter(|(_, bit)| *bit == b'1');
        ones.for_each(|(index, _)| {
            field.set(dunlin_base::PieceIndex(index as u32));
        });
        field
    });
    let provenance = match kind {
        "@" => Provenance::InPlace,
        "~" => Provenance::Part,
        _ => Provenance::Owner,
    };
    OwnedFile {
        name: name.to_owned(),
        length,
        piece_length,
        hashes,
        pieces,
        provenance,
        bytes: length,
        sha256,
    }
}

/// No pins.
const NONE: &BTreeMap<String, [u8; 32]> = &BTreeMap::new();

/// The rules of a swarm.
pub(crate) fn swarm(on_conflict: OnConflict, force: bool) -> Rules<'static> {
    let (placing, owners_only, compare) = (false, false, false);
    Rules { on_conflict, force, placing, owners_only, compare, pins: NONE }
}

/// The rules of a plan that is to be made so.
pub(crate) fn placing() -> Rules<'static> {
    Rules { placing: true, ..swarm(OnConflict::FailName, false) }
}

/// Everything that fails, as text: `3 a: why`.
fn fails(of: &BTreeMap<Rank, Vec<FailedFile>>) -> Vec<String> {
    let line =
        |(rank, failed): (&Rank, &FailedFile)| format!("{rank} {}: {}", failed.name, failed.reason);
    of.iter().flat_map(|(rank, list)| list.iter().map(move |failed| line((rank, failed)))).collect()
}

pub(crate) fn sets_of(text: &str, policy: OnConflict, force: bool) -> Sets {
    make(text, &swarm(policy, force))
}

pub(crate) fn make(text: &str, rules: &Rules<'_>) -> Sets {
    let registers = registers(text);
    let borrowed: Vec<_> = registers.iter().map(|(rank, register)| (*rank, register)).collect();
    let sets = make_sets(&borrowed, rules);
    sets.check();
    sets
}

/// The sets as text: `t0 a b: 1=whole 2=all 3=101 -> 4 5<4`, where rank 5 links from rank 4.
fn draw(sets: &Sets) -> String {
    let mut out = String::new();
    for (number, set) in sets.torrents.iter().enumerate() {
        let names: Vec<&str> = set.info.files.iter().map(|file| file.name.as_str()).collect();
        write!(out, "t{number} {}:", names.join(" ")).unwrap();
        for held in &set.holders {
            write!(out, " {}=", held.rank).unwrap();
            match &held.pieces {
                None => out.push_str(if held.whole { "whole" } else { "all" }),
                Some(pieces) => write!(out, "{pieces:?}").unwrap(),
            }
        }
        out.push_str(" ->");
        for rank in set.wanters.iter() {
            let from = set.links.get(rank).map_or(String::new(), |from| format!("<{from}"));
            write!(out, " {rank}{from}").unwrap();
        }
        out.push('\n');
    }
    for file in &sets.unwanted {
        let ranks: Vec<String> = file.holders.iter().map(|(rank, _)| rank.to_string()).collect();
        writeln!(out, "unwanted {}: {}", file.name, ranks.join(" ")).unwrap();
    }
    for conflict in &sets.conflicts {
        let Conflict { name, first, second, piece, .. } = conflict;
        writeln!(out, "conflict {name}: {first} {second} {piece:?}").unwrap();
    }
    for Obstacle { rank, name } in &sets.obstacles {
        writeln!(out, "obstacle {name}: {rank}").unwrap();
    }
    for (rank, names) in &sets.replace {
        writeln!(out, "replace {rank}: {}", names.join(" ")).unwrap();
    }
    for (rank, names) in &sets.missing {
        let names: Vec<&str> = names.iter().map(|missing| missing.name.as_str()).collect();
        writeln!(out, "missing {rank}: {}", names.join(" ")).unwrap();
    }
    for (rank, Move { files, bytes, bytes_here, linked }) in &sets.moves {
        write!(out, "move {rank}: {files} {bytes}+{bytes_here}").unwrap();
        if *linked > 0 {
            write!(out, " linked {linked}").unwrap();
        }
        out.push('\n');
    }
    out
}

#[track_caller]
fn expect(text: &str, policy: OnConflict, force: bool, expected: &str) {
    expect_by(text, &swarm(policy, force), expected);
}

#[track_caller]
fn expect_by(text: &str, rules: &Rules<'_>, expected: &str) {
    let drawn = draw(&make(text, rules));
    let expected: Vec<&str> =
        expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(drawn.lines().collect::<Vec<_>>(), expected, "{text}");
}

const REFUSE: OnConflict = OnConflict::Refuse;
const LOWEST: OnConflict = OnConflict::LowestRank;

#[test]
fn equal_holders_and_wanters_make_one_set() {
    expect(
        "1: b=AB a=C d=D x=X
         2: b=AB a=C
         3: +a +b +d
         4: +b +a",
        REFUSE,
        false,
        "t0 a b: 1=whole 2=whole -> 3 4
         t1 d: 1=whole -> 3
         unwanted x: 1
         move 3: 3 13+0
         move 4: 2 10+0",
    );
}

#[test]
fn owners_that_want_do_not_part_a_set() {
    // Rank 2 holds half of what it wants: one set, of which it has some pieces.
    expect(
        "1: m/a=AB m/b=CD
         2: m/a=AB *m/**
         3: ***",
        REFUSE,
        false,
        "t0 m/a m/b: 1=whole 2=1100 -> 2 3
         move 2: 1 7+7
         move 3: 2 14+0",
    );
}

#[test]
fn who_serves_without_wanting_has_registered_every_file() {
    expect(
        "1: a=A b=B c=C
         2: b~B/1 c~C/0
         3: ***",
        REFUSE,
        false,
        "t0 a c: 1=whole -> 3
         t1 b: 1=whole 2=all -> 3
         move 3: 3 9+0",
    );
}

#[test]
fn owned_and_wanted_is_whole() {
    expect("1: a=AB +a", REFUSE, false, "t0 a: 1=whole -> 1\nmove 1: 0 0+7");
}

#[test]
fn token_files_stand_alone() {
    expect(
        "1: s#xyx t#xyx
         2: +s +t",
        REFUSE,
        false,
        "t0 s: 1=whole -> 2
         t1 t: 1=whole -> 2
         move 2: 2 6+0",
    );
}

#[test]
fn owners_that_disagree() {
    let text = "1: a=ABC b=A
                2: a=ABD b=AB c=A
                3: a=ABC +a
                4: a=XBC +a";
    let rest = "unwanted b: 1\nunwanted c: 2\n";
    let set = "t0 a: 1=whole 3=whole -> 3 4\n";
    let moves = "move 3: 0 0+11\nmove 4: 1 11+0";
    let conflicts = "conflict a: 1 2 Some(2)
                     conflict a: 1 4 Some(0)
                     conflict b: 1 2 None\n";
    expect(text, REFUSE, true, &format!("{set}{rest}{conflicts}{moves}"));
    // The lowest rank counts; the copy of rank 4, which wants the file, stands in the way.
    expect(text, LOWEST, false, &format!("{set}{rest}obstacle a: 4\n{moves}"));
    expect(text, LOWEST, true, &format!("{set}{rest}replace 4: a\n{moves}"));
}

#[test]
fn an_owner_that_wants_the_file_gives_way_to_those_that_do_not() {
    // Whichever has the lower rank.
    let cases = [
        ("1: a=AB\n2: a=AX +a\n3: a=AB +a\n4: a=AB", 2, "1=whole 3=whole 4=whole -> 2 3"),
        ("1: a=AX +a\n2: a=AB\n3: +a", 1, "2=whole -> 1 3"),
        ("1: a=AX +a\n2: a@AY\n3: a=AB", 1, "3=whole -> 1"),
    ];
    for (text, rank, set) in cases {
        let sets = sets_of(text, REFUSE, false);
        let [conflict] = &sets.conflicts[..] else { panic!("{text}: {:?}", sets.conflicts) };
        assert_eq!(conflict.gives_way, Some(Rank(rank)), "{text}");
        assert!(conflict.first < conflict.second, "{text}");
        let sets = sets_of(text, REFUSE, true);
        let drawn = draw(&sets);
        assert!(drawn.starts_with(&format!("t0 a: {set}\nreplace {rank}: a\n")), "{drawn}");
        assert_eq!(sets.moves[&Rank(rank)], Move { files: 1, bytes: 7, ..Move::default() });
    }
}

#[test]
fn nobody_gives_way_where_owners_disagree_or_all_want() {
    let cases = [
        ("1: a=AB +a\n2: a=AX\n3: a=AY", "conflict a: 1 2 Some(1)\nconflict a: 2 3 Some(1)\n"),
        ("1: a=AB +a\n2: a=AX +a", "conflict a: 1 2 Some(1)\n"),
        ("1: a=AB\n2: a=AX", "conflict a: 1 2 Some(1)\n"),
        ("1: a@AB +a\n2: a@AX\n3: +a", "conflict a: 1 2 Some(1)\n"),
    ];
    for (text, conflicts) in cases {
        for force in [false, true] {
            let sets = sets_of(text, REFUSE, force);
            assert!(draw(&sets).contains(conflicts), "{text}: {}", draw(&sets));
            assert!(sets.conflicts.iter().all(|conflict| conflict.gives_way.is_none()), "{text}");
        }
    }
}

#[test]
fn a_conflict_names_the_file_both_ranks_and_the_piece() {
    let sets = sets_of("1: a=ABC b=A t#xy\n2: a=ABD b=AB t=A", REFUSE, false);
    let texts: Vec<String> = sets.conflicts.iter().map(ToString::to_string).collect();
    let expected = [
        "rank 1 and rank 2 have different files `a`: piece 2 is the first that differs",
        "rank 1 and rank 2 have different files `b`: their lengths are 3 and 7",
        "rank 1 and rank 2 have different files `t`: their lengths are 2 and 3",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn what_stands_in_place() {
    // It agrees with the owner: nothing moves there. It differs: in the way.
    let text = "1: a=AB
                2: a@AB +a
                3: a@AX +a
                4: a@AX";
    let expected = "t0 a: 1=whole 2=whole -> 2 3\n";
    let moves = "move 2: 0 0+7\nmove 3: 1 7+0";
    expect(text, REFUSE, false, &format!("{expected}obstacle a: 3\n{moves}"));
    expect(text, REFUSE, true, &format!("{expected}replace 3: a\n{moves}"));
    // Without an owner it is the truth, and must agree.
    let text = "1: +a\n2: a@AB +a\n3: a@AX +a";
    let set = "t0 a: 2=whole -> 1 2 3\n";
    let moves = "move 1: 1 7+0\nmove 2: 0 0+7\nmove 3: 1 7+0";
    expect(text, REFUSE, false, &format!("{set}conflict a: 2 3 Some(1)\n{moves}"));
    expect(text, LOWEST, false, &format!("{set}obstacle a: 3\n{moves}"));
}

#[test]
fn parts() {
    // A part of the same content counts by its pieces, another one for nothing.
    expect(
        "1: a=ABC
         2: a~ABC/101 +a
         3: a~ABD/111 +a
         4: a~ABC/111 +a
         5: a~ABC/000 +a",
        REFUSE,
        false,
        "t0 a: 1=whole 2=101 4=all -> 2 3 4 5
         move 2: 1 4+7
         move 3: 1 11+0
         move 4: 1 0+11
         move 5: 1 11+0",
    );
    // With nothing better the lowest rank's list is the truth, and holders of parts serve.
    expect(
        "2: a~ABC/100 +a
         3: a~ABX/111 +a
         4: a~ABC/010 +a",
        REFUSE,
        false,
        "t0 a: 2=100 4=010 -> 2 3 4
         move 2: 1 7+4
         move 3: 1 11+0
         move 4: 1 7+4",
    );
    // A part beside a whole file of the same rank adds nothing.
    expect(
        "1: a=AB\n2: a~AB/10 a@AB +a",
        REFUSE,
        false,
        "t0 a: 1=whole 2=whole -> 2
         move 2: 0 0+7",
    );
}

#[test]
fn wants_that_nobody_can_meet_fail_by_themselves() {
    expect(
        "1: a=A m/x=B
         2: +a +ghost *m/*.bin *m/* +a
         3: *ghost/**",
        REFUSE,
        false,
        "t0 a m/x: 1=whole -> 2
         missing 2: ghost m/*.bin
         missing 3: ghost/**
         move 2: 2 6+0",
    );
}

#[test]
fn empty_files_have_holders_and_wanters_too() {
    expect(
        "1: a= b=A
         2: +a +b
         3: a@ +a",
        REFUSE,
        false,
        "t0 a: 1=whole 3=whole -> 2 3
         t1 b: 1=whole -> 2
         move 2: 2 3+0
         move 3: 0 0+0",
    );
}

#[test]
fn a_file_and_a_folder_of_one_name_part_the_set() {
    expect(
        "1: a=A a/b=B c=C
         2: ***",
        REFUSE,
        false,
        "t0 a: 1=whole -> 2
         t1 a/b: 1=whole -> 2
         t2 c: 1=whole -> 2
         move 2: 3 9+0",
    );
}

#[test]
fn large_sets_are_split() {
    let hashes = PieceHashes::Sha1(vec![[0; 20]; 700_000].into());
    let file = |name: &str| OwnedFile {
        name: name.to_owned(),
        length: 700_000,
        piece_length: 1,
        hashes: hashes.clone(),
        pieces: None,
        provenance: Provenance::Owner,
        bytes: 700_000,
        sha256: None,
    };
    let owner = Register { files: ["d", "a", "c", "b"].map(file).into(), ..Register::default() };
    let wants = vec![Want::Glob("**".to_owned())];
    let wanter = Register { wants, ..Register::default() };
    let sets = make_sets(&[(Rank(2), &wanter), (Rank(1), &owner)], &swarm(REFUSE, false));
    sets.check();
    let files: Vec<usize> = sets.torrents.iter().map(|set| set.info.files.len()).collect();
    assert_eq!(files, [2, 2]);
}

#[test]
fn many_files_and_ranks_take_linear_time() {
    // A hundred ranks that have and want two thousand files; what is quadratic would take minutes.
    let word = |file: u32| owned(&format!("dir{}/file{file}=A", file % 7));
    let all = Register {
        files: (0..2_000).map(word).collect(),
        wants: vec![Want::Glob("**".to_owned())],
        ..Register::default()
    };
    let registers: Vec<_> = (1..=100).map(|rank| (Rank(rank), &all)).collect();
    let sets = make_sets(&registers, &swarm(REFUSE, false));
    assert_eq!((sets.torrents.len(), sets.torrents[0].info.files.len()), (1, 2_000));
    assert!(sets.torrents[0].holders.iter().all(|held| held.whole));
}

#[test]
fn ten_thousand_ranks_with_equal_wants_are_one_class() {
    // Twenty thousand files for ten thousand ranks, eight a host: two hundred million pairs, none
    // of which is looked at.
    let word = |file: u32| owned(&format!("dir{}/file{file}=A", file % 7));
    let owner = Register { files: (0..20_000).map(word).collect(), ..Register::default() };
    let wanter = |rank: u32| {
        let (host, dest) = (format!("h{}", rank / 8), format!("/{rank}"));
        Register {
            wants: vec![Want::Glob("**".to_owned())],
            location: Some(Location { host, dest, rack: String::new(), device: 1 }),
            ..Register::default()
        }
    };
    let wanters: Vec<Register> = (0..10_000).map(wanter).collect();
    let mut registers: Vec<_> = (1..).map(Rank).zip(&wanters).collect();
    registers.push((Rank(0), &owner));
    let sets = make_sets(&registers, &placing());
    let [set] = &sets.torrents[..] else { panic!("{} sets", sets.torrents.len()) };
    assert_eq!((set.wanters.len(), set.links.len()), (10_000, 10_000 - 10_000 / 8));
    let total: u64 = sets.moves.values().map(|moved| moved.bytes).sum();
    assert_eq!(total, 1_250 * 20_000 * 3);
}
