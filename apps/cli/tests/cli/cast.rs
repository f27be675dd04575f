//! `dunlin cast`: what lands where, on whom, and what is kept of it.

use crate::common::{Sandbox, complete, data, number, peer, total};
use crate::trees::{look, make, same_tree};
use std::fs;

/// Every fabric of one process.
const FABRICS: [&str; 2] = ["memory", "virtual"];

#[test]
fn a_tree_comes_to_every_rank_as_it_is() {
    for fabric in FABRICS {
        let sandbox = Sandbox::new();
        let bytes = make(&sandbox, "src/model");
        let line = "cast src/model dst/{rank} --ranks 4 --from 0 --per-rank --fabric";
        let report = sandbox.json(0, &format!("{line} {fabric}"));
        for rank in 0..4 {
            let place = sandbox.path(&format!("dst/{rank}/model"));
            same_tree(&sandbox.path("src/model"), &place);
        }
        assert_eq!(number(&report["bytes_moved"]), 3 * bytes, "{fabric}");
        assert_eq!((report["command"].as_str(), &report["ok"]), (Some("cast"), &true.into()));
        let all = || (0..4).map(|rank| look(&sandbox.path(&format!("dst/{rank}/model"))));
        let before: Vec<_> = all().collect();
        let again = sandbox.json(0, &format!("{line} {fabric}"));
        assert_eq!(number(&again["bytes_moved"]) + number(&again["bytes_linked"]), 0, "{fabric}");
        assert!(all().eq(before), "a second run changes nothing");
    }
}

#[test]
fn ranks_of_one_host_link_what_one_of_them_has() {
    let sandbox = Sandbox::new();
    let bytes = make(&sandbox, "src/model");
    let names = "--host-names a,a,b,b --from 0 --ranks 4";
    let report = sandbox.json(0, &format!("cast src/model dst/{{rank}} {names}"));
    for rank in 0..4 {
        same_tree(&sandbox.path("src/model"), &sandbox.path(&format!("dst/{rank}/model")));
    }
    // One rank of host b fetches; rank 1 links from rank 0, and one of host b from the other.
    assert_eq!(number(&report["bytes_moved"]), bytes, "one copy goes over the wire");
    let linked = |rank| number(&peer(&report, rank)["bytes_linked"]);
    assert_eq!(linked(1), bytes);
    assert_eq!(linked(2) + linked(3), bytes);
    assert_eq!(peer(&report, 3)["host"], "b");
}

#[test]
fn ranks_of_one_folder_have_one_copy() {
    let sandbox = Sandbox::new();
    make(&sandbox, "src/model");
    let report = sandbox.json(0, "cast src/model dst --ranks 3 --from 0");
    same_tree(&sandbox.path("src/model"), &sandbox.path("dst/model"));
    assert_eq!(number(&report["bytes_moved"]), 0);
    assert!((0..3).all(|rank| complete(&report, rank)), "{report}");
}

#[test]
fn ranks_of_one_folder_have_one_copy_even_if_each_fetches_for_itself() {
    for fabric in FABRICS {
        let sandbox = Sandbox::new();
        let bytes = make(&sandbox, "src/model");
        let line = "cast src/model dst --ranks 4 --from 0 --to 1-3 --per-rank --no-cache --fabric";
        let report = sandbox.json(0, &format!("{line} {fabric}"));
        same_tree(&sandbox.path("src/model"), &sandbox.path("dst/model"));
        assert_eq!(number(&report["bytes_moved"]), bytes, "{fabric}");
        assert!((0..4).all(|rank| complete(&report, rank)), "{report}");
        let left = sandbox.tree("dst").into_iter().find(|name| name.contains("dunlin-part"));
        assert_eq!(left, None);
    }
}

#[test]
fn dest_has_no_braces_but_those_that_are_filled_in() {
    let sandbox = Sandbox::new();
    make(&sandbox, "src/model");
    let done = sandbox.expect(2, "cast src/model dst/{rnak} --ranks 2");
    assert!(done.stderr.contains("neither {rank} nor {host}"), "{}", done.stderr);
    assert!(!sandbox.path("dst").exists());
}

#[test]
fn what_lands_where() {
    // SRC as given, what stands in DEST then.
    let cases = [
        ("src/d", "d d/a d/e d/e/b"),
        ("src/d/", "a e e/b"),
        ("src/d/.", "a e e/b"),
        ("src/d/a", "a"),
        ("src/d/a src/d/e", "a e e/b"),
        ("src/d/ src/x", "a e e/b x"),
        ("src/y[1]*", "y[1]*"),
        ("src/part-{rank}", "part-0 part-1"),
    ];
    for (sources, expected) in cases {
        let sandbox = Sandbox::new();
        for name in ["d/a", "d/e/b", "x", "y[1]*", "y1", "part-0", "part-1", "part-2"] {
            sandbox.write(&format!("src/{name}"), data(name.len() as u64, 30_000));
        }
        sandbox.expect(0, &format!("cast {sources} dst/{{rank}} --ranks 2"));
        for rank in 0..2 {
            let found = look(&sandbox.path(&format!("dst/{rank}")));
            let found: Vec<&str> = found.keys().map(String::as_str).collect();
            assert_eq!(found.join(" "), expected, "{sources}");
        }
    }
}

#[test]
fn who_gives_and_who_takes() {
    let sandbox = Sandbox::new();
    sandbox.write("src/0/f", data(1, 50_000));
    sandbox.write("src/1/f", data(2, 50_000));
    let line = "cast src/{rank}/f dst/{host} --ranks 3 --host-names n1,n2,n3";
    sandbox.expect(0, &format!("{line} --from 0 --to n[2-3]"));
    let stands = |host: &str| sandbox.path(&format!("dst/{host}/f")).exists();
    assert_eq!(["n1", "n2", "n3"].map(stands), [false, true, true]);
    assert!(fs::read(sandbox.path("dst/n3/f")).unwrap() == data(1, 50_000));
    // Without --from two ranks have different files at SRC.
    let report = sandbox.json(1, line);
    let reason = peer(&report, 2)["files"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("rank 0 and rank 1"), "{reason}");
    assert!(fs::read(sandbox.path("dst/n3/f")).unwrap() == data(1, 50_000), "nothing is lost");
    assert!(!sandbox.path("dst/n1/f").exists());
}

#[test]
fn two_that_hold_half_each_are_both_asked() {
    let sandbox = Sandbox::new();
    let all = data(5, 3 << 20);
    sandbox.write("src/0/m/a", &all[..2 << 20]);
    sandbox.write("src/1/m/b", &all[2 << 20..]);
    let report = sandbox.json(0, "cast src/{rank}/m dst/{rank} --ranks 4 --per-rank");
    for rank in 0..4 {
        assert!(fs::read(sandbox.path(&format!("dst/{rank}/m/a"))).unwrap() == all[..2 << 20]);
        assert!(fs::read(sandbox.path(&format!("dst/{rank}/m/b"))).unwrap() == all[2 << 20..]);
    }
    assert_eq!(total(&report, "bytes_moved"), 3 * (3 << 20));
}

#[test]
fn what_nobody_has_fails_by_itself() {
    let sandbox = Sandbox::new();
    sandbox.write("src/a", data(1, 10_000));
    for (sources, named) in [("src/a gone", "gone"), ("src/a gone/", "gone/")] {
        let done = sandbox.expect(1, &format!("cast {sources} dst/{{rank}} --ranks 2"));
        let looked = format!("looked for {}", sandbox.path("gone").display());
        let said =
            |line: &str| [named, "nobody has it", &looked].iter().all(|it| line.contains(it));
        assert!(done.stderr.lines().any(said), "{sources}: {}", done.stderr);
        assert!(sandbox.path("dst/1/a").exists());
    }
    let report = sandbox.json(1, "cast gone/ dst/{rank} --ranks 2");
    assert_eq!(peer(&report, 0)["files"][0]["name"], "gone/");
}

#[test]
fn what_cannot_be_cast_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("a/x", "1");
    sandbox.write("b/x", "2");
    sandbox.write("file", "3");
    let cases = [
        (2, "a/x b/x dst", "would both land as `x`"),
        (2, "a/.. dst", "its last part is `..`"),
        (2, "a", "required arguments"),
        (2, "a dst --check --verify-only", "cannot be used with"),
        (2, "a dst --link-rate 5MB", "--fabric virtual"),
        (2, "a dst --ranks 2 --host-names n1,n2", "same folder"),
        (2, "a dst --ranks 2 --fault mute=2", "ranks 0 to 1"),
        (1, "a dst --to 5", "--to: no rank of this job"),
        (1, "a a/dst", "lies inside the other"),
        (1, "a file", "expected a folder or nothing, found a file"),
        (1, "a file/deeper", "expected a folder or nothing, found a file"),
    ];
    for (code, words, part) in cases {
        let done = sandbox.expect(code, &format!("cast {words}"));
        assert!(done.stderr.contains(part), "{words}: {}", done.stderr);
    }
    assert_eq!(crate::common::text(&sandbox.path("file")).as_deref(), Some("3"));
    assert!(!sandbox.path("dst").exists() && !sandbox.path("a/dst").exists());
}
