//! Every fault that a loader can find, and what is right and looks odd.

use super::generate::generate;
use super::*;
use dunlin_base::Rng;
use dunlin_plan::Generate;
use std::ops::ControlFlow;
use tempfile::TempDir;

/// A folder with these files; a name that ends in `/` is a folder.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::write(path, text).unwrap();
        }
    }
    dir
}

/// The message for a folder, without the path of the folder.
fn message(files: &[(&str, &str)]) -> String {
    let dir = folder(files);
    let wrong = load(dir.path()).expect_err("a fault");
    wrong.to_string().replace(&dir.path().display().to_string(), "PLAN")
}

const NODE: &str = "[[node]]\nranks = \"1\"\nroot = \"w\"\n";

#[test]
fn no_plan_at_all() {
    let dir = folder(&[("a.txt", "")]);
    let absent = load(&dir.path().join("none")).unwrap_err().to_string();
    assert!(absent.contains("none: expected a folder or a plan.toml, found nothing"), "{absent}");
    let file = load(&dir.path().join("a.txt")).unwrap_err().to_string();
    assert!(file.contains("a.txt: expected a folder with in1.txt, peer1/ or plan.toml"), "{file}");
    let wanted = "PLAN: expected a folder with in1.txt, peer1/ or plan.toml, or a plan.toml itself";
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[], "found an empty folder; give"),
        (&[("b", ""), ("a", "")], "found a folder with `a`, `b`; give"),
        (
            &[("e", ""), ("d", ""), ("c", ""), ("b", ""), ("in01.txt", "")],
            "found a folder with `b`, `c`, `d` and 2 others (PLAN/in01.txt is ignored: a rank is \
             written without zeros in front, and is below 2³²); give",
        ),
        (
            &[("in0.txt", "")],
            "found nothing else (PLAN/in0.txt is ignored: rank 0 is the tracker's); give",
        ),
    ];
    for (files, found) in cases {
        let message = message(files);
        assert!(message.starts_with(&format!("{wanted}, {found}")), "{message}");
    }
}

#[test]
fn two_forms_and_gaps() {
    let cases: [(&[(&str, &str)], &str); 6] = [
        (
            &[("in1.txt", "0 0"), ("peer1/", "")],
            "PLAN: expected one form of a plan, found in1.txt and peer1/; move",
        ),
        (
            &[("plan.toml", NODE), ("peer2/a", "")],
            "PLAN: expected one form of a plan, found peer2/ and plan.toml; move",
        ),
        (
            &[("in1.txt", "0 0"), ("in3.txt", "0 0")],
            "PLAN: expected ranks from 1 without a gap, found in3.txt and no in2.txt; add in2.txt",
        ),
        (&[("in2.txt", "0 0")], "PLAN: expected ranks from 1 without a gap, found in2.txt and no"),
        (
            &[("peer1/", ""), ("peer3/", ""), ("peer2", "a file")],
            "PLAN: expected ranks from 1 without a gap, found peer3/ and no peer2/; add peer2/",
        ),
        (
            &[("plan.toml", "[[node]]\nranks = \"2\"\nroot = \"w\"")],
            "PLAN/plan.toml:2: expected ranks from 1 without a gap, found rank 2 and no rank 1",
        ),
    ];
    for (files, start) in cases {
        let message = message(files);
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn faults_in_files_name_file_and_line() {
    let long = "1\na 1000000000000000000\nt\n0";
    let cases: [(&[(&str, &str)], &str); 11] = [
        (&[("in1.txt", "")], "PLAN/in1.txt:1: expected the number of owned files, found an empty"),
        (&[("in1.txt", "0 0"), ("in2.txt", "0\n-2")], "PLAN/in2.txt:2: expected the number of wan"),
        (&[("in1.txt", "1\na 9\nt\n0")], "PLAN/in1.txt:2: expected the number of tokens of `a`, "),
        (&[("in1.txt", long)], "PLAN/in1.txt:2: expected the number of tokens of `a`, at most 2 "),
        (&[("in1.txt", "2\na 1\nt\na 1\nt\n0")], "PLAN/in1.txt:4: expected every owned file once"),
        (&[("in1.txt", "0\n1\n../a")], "PLAN/in1.txt:3: expected the name of a file, found `../a"),
        (&[("in1.txt", "\x7fELF\x01")], "PLAN/in1.txt:1: expected text (UTF-8), found control ch"),
        (&[("peer1/wants", "a\n/b")], "PLAN/peer1/wants:2: expected a relative name or glob, fou"),
        (&[("plan.toml", "")], "PLAN/plan.toml:1: expected at least one [[node]], found an empty"),
        (&[("plan.toml", "[[node]]\nrank = 1")], "PLAN/plan.toml:2: expected `ranks`, `hosts`, "),
        (
            &[("plan.toml", "[[node]]\nhosts = \"n\"\nroot = \"w\"")],
            "PLAN/plan.toml:1: expected `ranks` in this [[node]], found `hosts`, which are for `",
        ),
    ];
    for (files, start) in cases {
        let message = message(files);
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn files_over_their_limit_are_not_read() {
    for (name, limit) in
        [("in1.txt", MAX_COURSE), ("plan.toml", MAX_TEXT), ("peer1/wants", MAX_TEXT)]
    {
        let dir = folder(&[(name, "")]);
        let file = File::options().write(true).open(dir.path().join(name)).unwrap();
        file.set_len(limit + 1).unwrap();
        let wrong = load(dir.path()).unwrap_err();
        assert!(matches!(wrong, LoadError::TooLarge { .. }), "{wrong}");
    }
}

#[test]
fn a_course_folder() {
    let dir = folder(&[
        ("in1.txt", "1\r\na 2\r\nt\r\nt\r\n0\r\n"),
        ("in2.txt", "0 1 a"),
        ("in0.txt", "not read"),
        ("in01.txt", "not read"),
        ("in3.txt.bak", "not read"),
        ("client2_a", "t\nt\n"),
    ]);
    let LoadedPlan { plan, dir: place, .. } = load(dir.path()).unwrap();
    assert_eq!((plan.form, plan.peers.len(), place.as_path()), (PlanForm::Course, 2, dir.path()));
    let [warning, zeros] = &plan.warnings[..] else { panic!("{:?}", plan.warnings) };
    assert!(zeros.contains("in01.txt is ignored: a rank is written without zeros"), "{zeros}");
    assert!(warning.ends_with("in0.txt is ignored: rank 0 is the tracker's"), "{warning}");
    let PeerSource::Course(input) = &plan.peers[1].source else { panic!("{plan:?}") };
    assert_eq!(input.wanted, ["a"]);
}

#[test]
fn peer_folders() {
    let dir = folder(&[
        ("peer1/wants", "# nothing yet\r\nmodel/**\r\n"),
        ("peer1/x", "x"),
        ("peer2/wants/data", "a folder of this name is data"),
        ("peer02/", ""),
        ("README.md", ""),
    ]);
    let LoadedPlan { plan, .. } = load(dir.path()).unwrap();
    assert_eq!((plan.form, plan.peers.len()), (PlanForm::Folders, 2));
    let PeerSource::Files { root, have, wants } = &plan.peers[0].source else { panic!() };
    assert_eq!(Path::new(root), dir.path().join("peer1"));
    assert_eq!((have, wants[0].as_str()), (&Have::Everything, "model/**"));
    let names = |peer: &str| {
        let scan = scan_root(&dir.path().join(peer)).unwrap();
        scan.files.into_iter().map(|file| file.name).collect::<Vec<_>>()
    };
    assert_eq!(names("peer1"), ["x"]);
    assert_eq!(names("peer2"), ["wants/data"]);
}

#[test]
fn a_plan_toml_by_its_folder_or_itself() {
    let dir = folder(&[("plan.toml", NODE), ("other.toml", NODE)]);
    for path in [dir.path().to_owned(), dir.path().join("plan.toml"), dir.path().join("other.toml")]
    {
        let loaded = load(&path).unwrap();
        assert_eq!((loaded.plan.form, loaded.dir.as_path()), (PlanForm::Toml, dir.path()));
        let PeerSource::Files { root, have, .. } = &loaded.plan.peers[0].source else { panic!() };
        assert_eq!((Path::new(root), have), (dir.path().join("w").as_path(), &Have::Wanted));
    }
}

#[test]
fn a_scan_finds_regular_files_only() {
    let dir = folder(&[
        ("b", "22"),
        ("a/z", "1"),
        ("a-b", ""),
        ("a/.hidden", ""),
        ("wants", "never"),
        ("a/wants", "data"),
        (".b.dunlin-part", "never"),
        ("a/.z.dunlin-part", "never"),
        (".dunlin/state", "never"),
        ("bad\\name", "warned"),
    ]);
    std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let latin: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"caf\xe9");
    fs::write(dir.path().join(latin), "").unwrap();
    let scan = scan_root(dir.path()).unwrap();
    let found: Vec<(&str, u64)> =
        scan.files.iter().map(|file| (file.name.as_str(), file.length)).collect();
    assert_eq!(found, [("a-b", 0), ("a/.hidden", 0), ("a/wants", 4), ("a/z", 1), ("b", 2)]);
    assert!(scan.files.iter().all(|file| file.path == dir.path().join(&file.name)));
    let all = scan.warnings.join("\n");
    assert_eq!(scan.warnings.len(), 4, "{all}");
    for part in ["backslash", "symlinks are not followed", "a socket", "no UTF-8"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert_eq!(scan_root(&dir.path().join("none")).unwrap(), Scan::default());
    assert!(matches!(scan_root(&dir.path().join("b")), Err(LoadError::Io { .. })));
}

#[test]
fn test_data_is_made_once_and_is_the_same_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let size = (1 << 20) + 3;
    let data = |path: &str| Generate { path: path.to_owned(), size, seed: 1 };
    let heard = std::cell::RefCell::new(Vec::new());
    let mut go_on = |done| {
        heard.borrow_mut().push(done);
        ControlFlow::Continue(())
    };
    assert!(!is_generated(dir.path(), &data("d/a")).unwrap());
    assert!(generate(dir.path(), &data("d/a"), None, &mut go_on).unwrap());
    assert!(generate(dir.path(), &data("b"), None, &mut go_on).unwrap());
    assert!(!generate(dir.path(), &data("b"), None, &mut go_on).unwrap());
    assert_eq!(*heard.borrow(), [1 << 20, size, 1 << 20, size]);
    let bytes = fs::read(dir.path().join("d/a")).unwrap();
    assert_eq!(bytes.len() as u64, size);
    assert_eq!(bytes, fs::read(dir.path().join("b")).unwrap());
    assert_eq!(bytes[..8], Rng::new(1).next_u64().to_le_bytes());
    assert_eq!(fs::read_dir(dir.path().join("d")).unwrap().count(), 1, "no part is left");
    let nothing = Generate { path: "empty".to_owned(), size: 0, seed: 1 };
    assert!(generate(dir.path(), &nothing, None, &mut go_on).unwrap());
    assert_eq!(fs::read(dir.path().join("empty")).unwrap(), b"");
}

#[test]
fn test_data_overwrites_nothing_and_leaves_nothing_half_made() {
    let dir = folder(&[("a", "precious"), (".b.dunlin-part", "of a run that was killed")]);
    let data = |path: &str| Generate { path: path.to_owned(), size: 3 << 20, seed: 1 };
    let mut stop = |_| ControlFlow::Break(());
    let wrong = generate(dir.path(), &data("a"), None, &mut stop).unwrap_err();
    let message = wrong.to_string();
    assert!(message.contains("found a file of 8 B (8 bytes); remove it or"), "{message}");
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"precious");
    let wrong = generate(dir.path(), &data("b"), None, &mut stop).unwrap_err();
    assert!(matches!(wrong, LoadError::Interrupted { .. }), "{wrong}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "neither part nor file");
}

#[test]
fn ranks_that_make_the_same_test_data_stay_out_of_each_others_way() {
    let dir = tempfile::tempdir().unwrap();
    let size = (2 << 20) + 5;
    let data = Generate { path: "d/a".to_owned(), size, seed: 7 };
    let mut inner = 0;
    // While rank 1 is at it, rank 2 makes the whole file, and so does a process alone.
    let mut outer = |_| {
        for rank in [Some(Rank(2)), None] {
            let mut go_on = |_| ControlFlow::Continue(());
            inner += u32::from(generate(dir.path(), &data, rank, &mut go_on).unwrap());
        }
        ControlFlow::Continue(())
    };
    assert!(generate(dir.path(), &data, Some(Rank(1)), &mut outer).unwrap());
    assert_eq!(inner, 1, "made once, then found");
    assert_eq!(fs::read_dir(dir.path().join("d")).unwrap().count(), 1, "no part is left");
    let alone = Generate { path: "b".to_owned(), size, seed: 7 };
    assert!(generate(dir.path(), &alone, None, &mut |_| ControlFlow::Continue(())).unwrap());
    let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert!(read("d/a") == read("b"));
    // A part that a killed rank left is no data, and `dunlin clean` finds it.
    let stop = Generate { path: "long".repeat(60), size, seed: 7 };
    let mut part = None;
    let mut look = |_| {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        part = names.into_iter().find(|name| name.to_string_lossy().starts_with(".long"));
        ControlFlow::Break(())
    };
    assert!(generate(dir.path(), &stop, Some(Rank(100_000)), &mut look).is_err());
    assert!(dunlin_disk::is_part_name(&part.unwrap()));
}

#[test]
fn the_examples_load() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let course = load(&examples.join("course")).unwrap().plan;
    assert_eq!((course.form, course.peers.len()), (PlanForm::Course, 5));
    let flock = load(&examples.join("flock")).unwrap().plan;
    assert_eq!((flock.form, flock.peers.len()), (PlanForm::Toml, 6));
    assert_eq!(course.warnings.len() + flock.warnings.len(), 0);
}
