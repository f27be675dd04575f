//! A rank's own part of each form, with nothing else there, and with all else unusable.

use super::*;
use crate::cluster::plan::load;
use dunlin_plan::Have;
use std::fs;
use tempfile::TempDir;

/// A folder with these files; a name that ends in `/` is a folder.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match name.ends_with('/') {
            true => fs::create_dir_all(path).unwrap(),
            false => fs::write(path, text).unwrap(),
        }
    }
    dir
}

const PLAN: &str = "[[generate]]\npath = \"work/1/a\"\nsize = \"1KiB\"\nseed = 1\n\
                    [[generate]]\npath = \"work/10/a\"\nsize = \"1KiB\"\nseed = 1\n\
                    [[generate]]\npath = \"data/b\"\nsize = \"1KiB\"\nseed = 1\n\
                    [[node]]\nranks = \"1-9\"\nroot = \"work/{rank}\"\nwant = [\"a\"]\n\
                    [[node]]\nranks = \"10\"\nroot = \"work/10\"\nhave = [\"a\"]\n";

#[test]
fn of_a_course_plan_only_the_own_file_is_read() {
    // A file that no rank could parse, a pipe that would block whoever opens it, a link to nowhere.
    let dir =
        folder(&[("in2.txt", "1\na 1\nt\n1\nb\n"), ("in3.txt", "\x7fELF"), ("in7.txt", "-1")]);
    let fifo = std::process::Command::new("mkfifo").arg(dir.path().join("in1.txt")).status();
    assert!(fifo.unwrap().success());
    std::os::unix::fs::symlink("nowhere", dir.path().join("in4.txt")).unwrap();
    assert!(load(dir.path()).is_err(), "the whole plan is unusable");
    let own = load_own(dir.path(), Rank(2));
    assert_eq!((own.highest, own.here), (7, true));
    let LoadedPlan { plan, dir: place, .. } = own.part.unwrap();
    assert_eq!(
        (plan.form, place.as_path(), plan.warnings.len()),
        (PlanForm::Course, dir.path(), 0)
    );
    let [PeerPlan { rank: Rank(2), source: PeerSource::Course(input) }] = &plan.peers[..] else {
        panic!("{plan:?}")
    };
    assert_eq!((input.owned[0].name.as_str(), &input.wanted[..]), ("a", &["b".to_owned()][..]));
    let own = load_own(dir.path(), Rank(3));
    let message = own.part.unwrap_err().to_string();
    assert!(own.here && message.contains("in3.txt:1: expected text"), "{message}");
}

#[test]
fn of_peer_folders_only_the_own_one_is_looked_into() {
    let dir = folder(&[("peer5/wants", "x/**\n"), ("peer5/y", ""), ("peer6/wants", "/absolute\n")]);
    assert!(load(dir.path()).is_err(), "the whole plan has a gap");
    let own = load_own(dir.path(), Rank(5));
    assert_eq!((own.highest, own.here), (6, true));
    let plan = own.part.unwrap().plan;
    let [PeerPlan { rank: Rank(5), source: PeerSource::Files { root, have, wants } }] =
        &plan.peers[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!((Path::new(root), have), (dir.path().join("peer5").as_path(), &Have::Everything));
    assert_eq!((plan.form, wants[0].as_str()), (PlanForm::Folders, "x/**"));
    assert!(load_own(dir.path(), Rank(6)).part.is_err());
}

#[test]
fn of_a_plan_toml_a_rank_has_its_node_and_the_test_data_below_its_root() {
    let dir = folder(&[("plan.toml", PLAN)]);
    let cases: [(u32, &[&str]); 3] = [(1, &["work/1/a"]), (2, &[]), (10, &["work/10/a"])];
    for path in [dir.path().to_owned(), dir.path().join("plan.toml")] {
        for (rank, made) in cases {
            let own = load_own(&path, Rank(rank));
            assert_eq!((own.highest, own.here), (10, true));
            let plan = own.part.unwrap().plan;
            let generated: Vec<&str> =
                plan.generate.iter().map(|data| data.path.as_str()).collect();
            assert_eq!((plan.peers.len(), plan.peers[0].rank), (1, Rank(rank)));
            assert_eq!(generated, made, "rank {rank}");
        }
    }
    // The root that is the plan's folder holds all test data.
    let all = PLAN.split_once("[[node]]").unwrap().0.to_owned()
        + "[[node]]\nranks = \"1\"\nroot = \".\"\n";
    let dir = folder(&[("plan.toml", &all)]);
    assert_eq!(load_own(dir.path(), Rank(1)).part.unwrap().plan.generate.len(), 3);
}

#[test]
fn what_is_not_there_is_named_and_told_from_what_is_wrong() {
    // Files, rank, highest rank seen, whether the own input is there, the message.
    type Case<'a> = (&'a [(&'a str, &'a str)], u32, u32, bool, &'a str);
    let cases: [Case<'_>; 10] = [
        (
            &[],
            3,
            0,
            false,
            "PLAN: expected in3.txt, peer3/ or plan.toml, found an empty folder; put",
        ),
        (
            &[("in1.txt", "")],
            3,
            1,
            false,
            "PLAN: expected in3.txt, found only in1.txt; put it where",
        ),
        (
            &[("in1.txt", ""), ("in2.txt", "")],
            3,
            2,
            false,
            "PLAN: expected in3.txt, found in1.txt and one more of other ranks; put it where",
        ),
        (
            &[("in1.txt", ""), ("in3.txt/", "")],
            3,
            1,
            false,
            "PLAN: expected in3.txt, found one that is ignored: it is no readable file; put it",
        ),
        (
            &[("peer1/", ""), ("peer2/", ""), ("peer4/", "")],
            3,
            4,
            false,
            "PLAN: expected peer3, found peer1 and 2 more of other ranks; put it where this",
        ),
        (
            &[("plan.toml", PLAN)],
            11,
            10,
            false,
            "PLAN/plan.toml: expected a [[node]] with rank 11, found ranks 1 to 10; put it",
        ),
        (&[("in3.txt", "")], 3, 3, true, "PLAN/in3.txt:1: expected the number of owned files, fo"),
        (&[("peer3/wants", "/a")], 3, 3, true, "PLAN/peer3/wants:1: expected a relative name or"),
        (&[("plan.toml", "x = 1")], 3, 0, true, "PLAN/plan.toml:1: expected [[generate]] or [[no"),
        (
            &[("in3.txt", "0 0"), ("peer4/", "")],
            3,
            4,
            true,
            "PLAN: expected one form of a plan, found in3.txt and peer4/; move",
        ),
    ];
    for (files, rank, highest, here, start) in cases {
        let dir = folder(files);
        let own = load_own(dir.path(), Rank(rank));
        let message = own.part.expect_err(start).to_string();
        let message = message.replace(&dir.path().display().to_string(), "PLAN");
        assert!(message.starts_with(start), "{message}");
        assert_eq!((own.highest, own.here), (highest, here), "{message}");
    }
    let own = load_own(Path::new("/nonexistent/plan"), Rank(1));
    assert_eq!((own.highest, own.here), (0, false));
    assert!(matches!(own.part, Err(LoadError::Absent { .. })));
}

#[test]
fn a_glance_sees_the_plan_and_opens_nothing() {
    let dir = folder(&[("in1.txt", "\x7fELF"), ("in4.txt", ""), ("in05.txt", "")]);
    let seen = glance(dir.path()).unwrap();
    assert_eq!((seen.form, seen.highest, seen.warnings.len()), (PlanForm::Course, 4, 1));
    let dir = folder(&[("peer2/wants", "/absolute\n")]);
    let seen = glance(dir.path()).unwrap();
    assert_eq!((seen.form, seen.highest, seen.warnings.len()), (PlanForm::Folders, 2, 0));
    let dir = folder(&[("plan.toml", PLAN)]);
    for path in [dir.path().to_owned(), dir.path().join("plan.toml")] {
        let seen = glance(&path).unwrap();
        assert_eq!((seen.form, seen.highest), (PlanForm::Toml, 10));
    }
    let dir = folder(&[("plan.toml", "garbage")]);
    assert_eq!(glance(dir.path()), None);
    assert_eq!(glance(&dir.path().join("none")), None);
    assert_eq!(glance(folder(&[]).path()), None);
}
