use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<TomlPlan, PlanError> {
    parse_toml("plan.toml", text.as_bytes())
}

fn ranks(text: &str) -> Vec<u32> {
    let toml = format!("[[node]]\nranks = \"{text}\"\nroot = \"w/{{rank}}\"");
    let plan = read(&toml).unwrap_or_else(|wrong| panic!("{wrong}"));
    plan.nodes[0].ranks.iter().map(|rank| rank.0).collect()
}

fn hosts(text: &str) -> Result<Vec<String>, PlanError> {
    let toml = format!("[[node]]\nhosts = \"{text}\"\nroot = \"w\"");
    read(&toml).map(|plan| plan.nodes[0].hosts.clone())
}

#[test]
fn a_whole_plan() {
    let plan = read(concat!(
        "# a comment\r\n",
        "[[generate]]\r\n",
        "path = \"data/big.bin\"\r\nsize = \"300MiB\"\r\nseed = 0xff\r\n",
        "[[node]]\r\n",
        "ranks = \"2-3\"\r\nroot = \"./work/{rank}/\"\r\nhave = []\r\nwant = [\"model/**\"]\r\n",
        "[[node]]\r\n",
        "ranks = \"1\"\r\nroot = \"all\"\r\n",
    ));
    let plan = plan.unwrap_or_else(|wrong| panic!("{wrong}"));
    let path = "data/big.bin".to_owned();
    assert_eq!(plan.generate, [Generate { path, size: 300 << 20, seed: 255 }]);
    let [first, second] = &plan.nodes[..] else { panic!("{plan:?}") };
    assert_eq!((first.line, second.line), (6, 11));
    assert_eq!(first.root_of(Rank(3), ""), "work/3");
    assert_eq!((first.have.as_deref(), second.have.as_deref()), (Some(&[][..]), None));
    assert_eq!((first.want.len(), second.want.len()), (1, 0));
    let whole = crate::Plan::from_toml("plan.toml", plan, |root| format!("d/{root}")).unwrap();
    let order: Vec<u32> = whole.peers.iter().map(|peer| peer.rank.0).collect();
    assert_eq!(order, [1, 2, 3]);
    let source = crate::PeerSource::Files {
        root: "d/all".to_owned(),
        have: crate::Have::Wanted,
        wants: Vec::new(),
    };
    assert_eq!(whole.peers[0].source, source);
}

#[test]
fn ranges_and_hosts() {
    assert_eq!(ranks("1-4"), [1, 2, 3, 4]);
    assert_eq!(ranks("3, 1-2 ,4-4"), [1, 2, 3, 4]);
    assert_eq!(ranks("1-100000").len(), MAX_RANKS);
    assert_eq!(hosts("n[08-11],m3").unwrap(), ["n08", "n09", "n10", "n11", "m3"]);
    assert_eq!(hosts("r[1,3]n[1-2].x").unwrap(), ["r1n1.x", "r1n2.x", "r3n1.x", "r3n2.x"]);
    for wrong in [
        "",
        "a,,b",
        "n[1",
        "n1]",
        "n[]",
        "n[x]",
        "n[2-1]",
        "a b",
        "-a",
        "n[1-200000]",
        "n,n",
        "n[1-99999],m[1-99999]",
        "a[1-400]b[1-400]",
        "a[1-90000]{}[1]",
    ] {
        let text = wrong.replace("{}", &"x".repeat(100_000));
        let message = hosts(&text).unwrap_err().to_string();
        assert!(message.starts_with("plan.toml:2: expected "), "{message}");
    }
}

#[test]
fn hosts_are_not_for_a_swarm() {
    let plan = read("\n[[node]]\nhosts = \"n[1-4]\"\nroot = \"w\"").unwrap();
    let wrong = crate::Plan::from_toml("p.toml", plan, str::to_owned).unwrap_err();
    assert!(wrong.to_string().starts_with("p.toml:2: expected `ranks` in this [[node]], found"));
}

const NODE: &str = "[[node]]\nranks = \"1\"\nroot = \"w\"\n";

fn root(root: &str) -> String {
    format!("[[node]]\nranks = \"1\"\nroot = \"{root}\"")
}

fn check(cases: &[(String, &str)]) {
    for (text, start) in cases {
        let message = match read(text) {
            Err(wrong) => wrong.to_string(),
            Ok(plan) => panic!("{text}\n{plan:?}"),
        };
        assert!(message.starts_with(&format!("plan.toml:{start}")), "{text}\n{message}");
    }
}

#[test]
fn faults_of_keys_patterns_and_roots() {
    let node = |line: &str| format!("[[node]]\nranks = \"1-2\"\nroot = \"w/{{rank}}\"\n{line}");
    check(&[
        (String::new(), "1: expected at least one [[node]], found an empty file"),
        ("node = []".to_owned(), "1: expected at least one [[node]], found an empty file"),
        ("\n[[node]\n".to_owned(), "2: expected TOML, found a fault in its grammar ("),
        ("[[node]]\nranks = \"1\nroot".to_owned(), "2: expected TOML, found a fault"),
        (format!("{NODE}root = \"w\""), "4: expected TOML, found a fault in its grammar (dupl"),
        ("[[nodes]]\n".to_owned(), "1: expected [[generate]] or [[node]], found `nodes`"),
        ("[node]\nranks = \"1\"".to_owned(), "1: expected an array of tables for `node`, found"),
        ("node = [1]".to_owned(), "1: expected a table for `node`, found an integer"),
        (node("wants = []"), "4: expected `ranks`, `hosts`, `root`, `have` or `want` in [[node"),
        (node("want = \"a\""), "4: expected an array of strings for `want`, found a string; wri"),
        (node("want = [1]"), "4: expected a string for `want`, found an integer"),
        (node("have = [\n\"a\",\n\"../b\"]"), "6: expected a relative name or glob, found `../b`"),
        (node("have = [\"/b\"]"), "4: expected a relative name or glob, found `/b`: it is abs"),
        (node("want = [\"a[\"]"), "4: expected a relative name or glob, found `a[`: it has a `["),
        (node("hosts = \"n\""), "1: expected `ranks` or `hosts` in one [[node]] for `node`, foun"),
        ("\n[[node]]\nroot = \"w\"".to_owned(), "2: expected `ranks` in this [[node]], found n"),
        ("[[node]]\nranks = \"1\"".to_owned(), "1: expected `root` in this [[node]], found none"),
        ("[[node]]\nranks = 1".to_owned(), "2: expected a string for `ranks`, found an integer"),
        (root(""), "3: expected a folder below the plan's, with {rank} or {host} in it for `roo"),
        (root("/w"), "3: expected a folder below the plan's, with {rank} or {host} in it for `r"),
        (root("a/../../b"), "3: expected a folder below"),
        (root("a//b"), "3: expected a folder below"),
        (root("a\\\\b"), "3: expected a folder below"),
        (root("{host}"), "3: expected a root of ranks for `root`, found `{host}`, and a node of"),
        (root("w/{name}"), "3: expected a folder below"),
        (root("w/{rank"), "3: expected a folder below"),
        (root("w/}"), "3: expected a folder below"),
        (root(&"x".repeat(2000)), "3: expected a folder below"),
    ]);
    let wrong = parse_toml("plan.toml", b"[[node]]\n\xff").unwrap_err();
    assert!(wrong.to_string().starts_with("plan.toml:2: expected text (UTF-8), found byte 0xff"));
}

#[test]
fn faults_of_ranks() {
    let list = |ranks: &str| format!("[[node]]\nroot = \"w/{{rank}}\"\nranks = \"{ranks}\"");
    check(&[
        (list(""), "3: expected ranks and ranges of them, from 1 for `ranks`, found ``; write"),
        (list("a"), "3: expected ranks and ranges of them, from 1 for `ranks`, found `a`"),
        (list("-1"), "3: expected ranks and ranges"),
        (list("1-2-3"), "3: expected ranks and ranges"),
        (list("1,,2"), "3: expected ranks and ranges"),
        (list("0-2"), "3: expected ranks and ranges of them, from 1 for `ranks`, found `0-2`, a"),
        (list("3-1"), "3: expected ranks and ranges"),
        (list("1-4000000000"), "3: expected ranks and ranges"),
        (list("1-100001"), "3: expected ranks and ranges"),
        (list("1,99999999999999999999"), "3: expected ranks and ranges"),
        (list("1-3,2"), "3: expected every rank once, found rank 2 again (first on line 3)"),
        (list("1,3"), "3: expected ranks from 1 without a gap, found rank 3 and no rank 2; add"),
        (list("2-3"), "3: expected ranks from 1 without a gap, found rank 2 and no rank 1"),
        (format!("{NODE}{}", NODE.replace("\"w\"", "\"v\"")), "5: expected every rank once, f"),
        (
            format!("{NODE}{}", NODE.replace("\"1\"", "\"2\"")),
            "5: expected separate places, found `w` of rank 2 inside `w` of rank 1; give each",
        ),
        (
            format!("{NODE}[[node]]\nranks = \"2\"\nroot = \"w/x\""),
            "5: expected separate places, found `w/x` of rank 2 inside `w` of rank 1",
        ),
        (root(".").replace("\"1\"", "\"1-2\""), "2: expected separate places, found `` of rank"),
    ]);
}

#[test]
fn faults_of_test_data() {
    let data = |path: &str, size: &str, seed: &str| {
        format!("{NODE}[[generate]]\npath = {path}\nsize = {size}\nseed = {seed}\n")
    };
    check(&[
        (data("\"/a\"", "\"1\"", "1"), "5: expected a path below the plan's folder for `path`"),
        (data("\"../a\"", "\"1\"", "1"), "5: expected a path below the plan's folder"),
        (data("\"a/\"", "\"1\"", "1"), "5: expected a path below the plan's folder"),
        (data("\"./a\"", "\"1\"", "1"), "5: expected a path below the plan's folder"),
        (data("\"\"", "\"1\"", "1"), "5: expected a path below the plan's folder"),
        (data("\"a\\u0001\"", "\"1\"", "1"), "5: expected a path below the plan's folder"),
        (data("1", "\"1\"", "1"), "5: expected a string for `path`, found an integer"),
        (data("\"a\"", "\"5K\"", "1"), "6: expected a size up to 16 TiB for `size`, found `5K`"),
        (data("\"a\"", "\"-1\"", "1"), "6: expected a size up to 16 TiB"),
        (data("\"a\"", "\"17TiB\"", "1"), "6: expected a size up to 16 TiB"),
        (data("\"a\"", "1", "1"), "6: expected a string for `size`, found an integer"),
        (data("\"a\"", "\"1\"", "-1"), "7: expected an integer from 0 to 2^64 - 1 for `seed`"),
        (data("\"a\"", "\"1\"", "\"1\""), "7: expected an integer for `seed`, found a string"),
        (data("\"a\"", "\"1\"", "1\nx = 1"), "8: expected `path`, `size` or `seed` in [[gene"),
        (format!("{NODE}[[generate]]\npath = \"a\""), "4: expected `size` in this [[generate]]"),
        (
            data("\"a\"", "\"1\"", "1\n[[generate]]\npath = \"a\"\nsize = \"1\"\nseed = 1"),
            "9: expected every path once, found `a` again (first on line 5); remove one",
        ),
        (
            data("\"a\"", "\"1\"", "1\n[[generate]]\npath = \"a/b\"\nsize = \"1\"\nseed = 1"),
            "9: expected separate places, found `a/b` of this line inside `a` of line 5",
        ),
    ]);
}

fn place(text: &str) -> Result<TomlPlan, PlanError> {
    parse_place("plan.toml", text.as_bytes())
}

#[test]
fn a_plan_that_is_placed_has_more() {
    let hash = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789";
    let text = format!(
        "[[node]]\nranks = \"0,4\"\nroot = \"/d/./{{host}}/\"\nwant = [\"m/***\"]\n\
         [[node]]\nhosts = \"n[1-2]\"\nroot = \"/d\"\nrack = \"left\"\n\
         [[pin]]\npath = \"m/a\"\nsha256 = \"{hash}\"\n"
    );
    let plan = place(&text).unwrap_or_else(|wrong| panic!("{wrong}"));
    let [ranks, hosts] = &plan.nodes[..] else { panic!("{plan:?}") };
    assert_eq!((ranks.root_of(Rank(4), "x"), &*hosts.root), ("/d/x".to_owned(), "/d"));
    assert_eq!((&*hosts.rack, hosts.hosts.len(), ranks.ranks.len()), ("left", 2, 2));
    let [pin] = &plan.pins[..] else { panic!("{plan:?}") };
    assert_eq!((&*pin.path, pin.line, pin.sha256[0], pin.sha256[31]), ("m/a", 10, 1, 0x89));
    // None of that is for a swarm.
    assert!(read(&text).is_err());
    let swarm = "[[node]]\nranks = \"1-2\"\nroot = \"w/{rank}\"\n";
    assert_eq!(read(swarm), place(swarm));
}

#[test]
fn faults_of_a_plan_that_is_placed() {
    let node = |line: &str| format!("[[node]]\nranks = \"0\"\nroot = \"w\"\n{line}");
    let pin = |lines: &str| format!("{}[[pin]]\n{lines}", node(""));
    let sum = "a".repeat(64);
    let cases = [
        (
            node("racks = \"a\""),
            "4: expected `ranks`, `hosts`, `root`, `have`, `want` or `rack` in",
        ),
        (node("rack = \"\""), "4: expected a label of 1 to 253 bytes for `rack`, found ``"),
        (node("rack = 1"), "4: expected a string for `rack`, found an integer"),
        ("[[node]]\nranks = \"0\"\nroot = \"/\"".to_owned(), "3: expected a folder, with {rank}"),
        ("[[node]]\nranks = \"0\"\nroot = \"/a/../b\"".to_owned(), "3: expected a folder"),
        ("[[node]]\nranks = \"0,0\"\nroot = \"a\"".to_owned(), "2: expected every rank once"),
        (pin("path = \"a\""), "4: expected `sha256` in this [[pin]], found none"),
        (pin("sha256 = \"\""), "5: expected 64 hexadecimal digits for `sha256`, found ``"),
        (pin(&format!("sha256 = \"{}g\"", &sum[1..])), "5: expected 64 hexadecimal digits"),
        (pin("path = \"/a\""), "5: expected the name of a file for `path`, found `/a`, which is"),
        (pin("name = \"a\""), "5: expected `path` or `sha256` in [[pin]], found `name`"),
        (
            pin(&format!("path = \"a\"\nsha256 = \"{sum}\"\n").repeat(2).replacen(
                "\"\npath",
                "\"\n[[pin]]\npath",
                1,
            )),
            "8: expected every pinned path once, found `a` again (first on line 5)",
        ),
    ];
    for (text, start) in cases {
        let message = match place(&text) {
            Err(wrong) => wrong.to_string(),
            Ok(plan) => panic!("{text}\n{plan:?}"),
        };
        assert!(message.starts_with(&format!("plan.toml:{start}")), "{text}\n{message}");
    }
}

#[test]
fn ranks_and_patterns_do_not_multiply_without_end() {
    let want = vec!["\"a\""; 101].join(",");
    let text = format!("[[node]]\nranks = \"1-100000\"\nroot = \"{{rank}}\"\nwant = [{want}]");
    assert_eq!(*read(&text).unwrap_err().fault, Fault::TooManyPatterns { most: MAX_WISHES });
}

proptest! {
    #[test]
    fn any_lines_are_read_or_refused(lines in proptest::collection::vec(
        "(\\[\\[node\\]\\])|(\\[\\[generate\\]\\])|(ranks = \"[0-4,-]{1,4}\")\
         |(root = \"[a./{}]{1,3}\\{rank\\}\")\
         |(hosts = \"[n\\[\\]0-3,-]{1,8}\")|(want = \\[\"[a*?/]{1,3}\"\\])|(path = \"[a./]{1,3}\")\
         |(size = \"[0-9]{1,3}(MiB)?\")|(seed = [0-9]{1,3})", 0..9)) {
        crate::fuzzing::plan(format!("1{}", lines.join("\n")).as_bytes());
    }

    #[test]
    fn sound_plans_are_read(
        count in 1_u32..50,
        want in proptest::collection::vec("[a-z]{1,5}(/\\*\\*)?", 0..4),
        sizes in proptest::collection::vec(0_u64..1 << 40, 0..4),
    ) {
        let mut text = String::from("1");
        for (index, size) in sizes.iter().enumerate() {
            text += &format!("[[generate]]\npath = \"d/{index}\"\nsize = \"{size}\"\nseed = 7\n");
        }
        text += &format!("[[node]]\nranks = \"1-{count}\"\nroot = \"w/{{rank}}\"\nwant = {want:?}");
        let plan = read(&text[1..]).map_err(|wrong| TestCaseError::fail(wrong.to_string()))?;
        prop_assert_eq!(plan.nodes[0].ranks.len(), count as usize);
        prop_assert_eq!(plan.generate.iter().map(|file| file.size).collect::<Vec<_>>(), sizes);
        crate::fuzzing::plan(text.as_bytes());
    }
}
