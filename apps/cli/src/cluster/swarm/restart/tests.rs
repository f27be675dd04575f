//! What the advice names, and above all what it must not name.

use super::*;
use dunlin_cluster::{FileReport, PeerReport, PeerState, Role};
use dunlin_engine::cluster::coordinator::PlannedMove;
use dunlin_plan::Pattern;
use tempfile::TempDir;

/// A folder with peers below it.
struct Scene {
    dir: TempDir,
    peers: Vec<PeerConfig>,
}

impl Scene {
    fn new() -> Scene {
        Scene { dir: tempfile::tempdir().unwrap(), peers: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }

    /// Adds the next rank, which has `files` in `root` and `outputs` in `dest`.
    fn add(&mut self, root: &str, files: &str, dest: &str, outputs: &str, wants: &str) {
        let found = |folder: &str, names: &str| -> Vec<FoundFile> {
            let found = names.split_whitespace().map(|name| {
                self.write(&format!("{folder}/{name}"));
                let (name, path) = (name.to_owned(), self.path(folder).join(name));
                FoundFile { name, path, length: 1 }
            });
            found.collect()
        };
        let (found_dest, found) = (found(dest, outputs), found(root, files));
        let wants = wants.split_whitespace().map(|text| Pattern::parse(text).unwrap()).collect();
        let (root, dest) = (self.path(root), self.path(dest));
        let have = Have::Everything;
        let content =
            PeerContent::Files { root, dest, found, found_dest, have, wants, placement: None };
        self.peers.push(PeerConfig { rank: Rank(self.peers.len() as u32 + 1), content });
    }

    fn own(&mut self, files: &str, wants: &str) {
        let root = format!("work/{}", self.peers.len() + 1);
        self.add(&root, files, &root, "", wants);
    }

    /// What may be removed, relative to the folder.
    fn removable(&self, plan: &str, generated: &[&str]) -> Vec<String> {
        let generated = generated.iter().map(|name| self.path(name)).collect();
        let paths = Before::look(&self.peers, &self.path(plan), &generated).removable();
        let short = |path: &PathBuf| path.strip_prefix(self.dir.path()).unwrap().to_owned();
        paths.iter().map(|path| short(path).display().to_string()).collect()
    }
}

#[test]
fn only_what_somebody_else_can_give_again_is_removed() {
    let mut scene = Scene::new();
    scene.own("big tree/a tree/b cfg", "");
    scene.own("big tree/a", "big tree/*");
    scene.own("mine big tree/a tree/own", "big tree/a");
    scene.own("only-wanted", "only-wanted");
    let expected = ["work/2/big", "work/2/tree", "work/3/big", "work/3/tree/a"];
    assert_eq!(scene.removable("", &[]), expected);
    // What the plan makes again is no reason to spare a folder, and none to name a file.
    let generated = ["work/3/mine", "work/3/tree/own", "work/4/x"];
    let expected = ["work/2/big", "work/2/tree", "work/3/big", "work/3/tree"];
    assert_eq!(scene.removable("", &generated), expected);
}

#[test]
fn a_folder_is_named_only_if_nothing_else_lies_in_it() {
    for other in ["tree/deep/.hidden", "tree/deep/notes", "tree/deep/.x.dunlin-part"] {
        let mut scene = Scene::new();
        scene.own("tree/a tree/deep/b", "");
        scene.own("tree/a tree/deep/b", "tree/**");
        assert_eq!(scene.removable("", &[]), ["work/2/tree"]);
        scene.write(&format!("work/2/{other}"));
        assert_eq!(scene.removable("", &[]), ["work/2/tree/a", "work/2/tree/deep/b"], "{other}");
    }
    let mut scene = Scene::new();
    scene.own("tree/a tree/deep/b", "");
    scene.own("tree/a tree/deep/b", "tree/**");
    std::os::unix::fs::symlink("/", scene.path("work/2/tree/link")).unwrap();
    assert_eq!(scene.removable("", &[]), ["work/2/tree/a", "work/2/tree/deep"]);
    fs::create_dir(scene.path("work/2/tree/deep/empty")).unwrap();
    assert_eq!(scene.removable("", &[]), ["work/2/tree/a", "work/2/tree/deep/b"]);
}

#[test]
fn a_folder_for_outputs_is_looked_into_and_never_named() {
    // A folder of its own, the plan itself, and one above the plan.
    for out in ["out", "plan", "."] {
        let mut scene = Scene::new();
        scene.write("plan/plan.toml");
        scene.write(&format!("{out}/mine"));
        scene.write(&format!("{out}/peer3/notes"));
        let dest = |rank: u32| format!("{out}/peer{rank}");
        scene.add("plan/work/1", "a t/b", &dest(1), "", "");
        scene.add("plan/work/2", "", &dest(2), "a t/b", "**");
        scene.add("plan/work/3", "c", &dest(3), "a c", "a c");
        let below = if out == "." { String::new() } else { format!("{out}/") };
        let expected = ["peer2/a", "peer2/t", "peer3/a"].map(|path| format!("{below}{path}"));
        assert_eq!(scene.removable("plan", &[]), expected, "{out}");
    }
}

#[test]
fn an_output_folder_that_is_also_a_source_is_spared() {
    // The outputs of rank 2 go where the files of rank 1 lie, above them, or below them.
    for (root, dest) in [("o/peer2", "o/peer2"), ("o/peer2/t", "o/peer2"), ("o", "o/peer2")] {
        let mut scene = Scene::new();
        scene.add(root, "a", "o/peer1", "", "");
        scene.add("w/2", "", dest, "a", "a");
        scene.add("w/3", "a", "o/peer3", "", "");
        assert_eq!(scene.removable("w", &[]), [""; 0], "{root}");
    }
    // By another name, too; and the plan may lie in an output folder.
    let mut scene = Scene::new();
    scene.add("w/1", "a", "o/peer1", "", "");
    fs::create_dir(scene.path("o")).unwrap();
    std::os::unix::fs::symlink(scene.path("w/1"), scene.path("o/peer2")).unwrap();
    scene.add("w/2", "", "o/peer2", "a", "a");
    assert_eq!(scene.removable("w", &[]), [""; 0]);
    let mut scene = Scene::new();
    scene.write("o/peer2/plan/plan.toml");
    scene.add("w/1", "a", "o/peer1", "", "");
    scene.add("w/2", "", "o/peer2", "a", "a");
    assert_eq!(scene.removable("o/peer2/plan", &[]), [""; 0]);
}

#[test]
fn the_command_is_one_for_a_shell() {
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let said = |names: &[&str]| advice(&paths(names)).split_off(1);
    assert_eq!(advice(&[]), [IN_PLACE]);
    assert_eq!(advice(&paths(&["a"]))[0], format!("{IN_PLACE}. To start over:"));
    assert_eq!(said(&["a", "b c"]), ["  rm -r a 'b c'"]);
    assert_eq!(said(&["a", "-o/p"]), ["  rm -r -- a -o/p"]);
    let many = said(&["x"; MAX_PATHS + 2]);
    assert_eq!(many[1], "  and 2 more of this kind");
}

/// A peer of a run, with a file that it wanted, if it wanted one.
fn reported(rank: u32, wanted: Option<FileState>) -> PeerReport {
    let file = |state| FileReport { name: "f".to_owned(), state, reason: None };
    PeerReport {
        rank: Rank(rank),
        role: Role::Seed,
        state: PeerState::Complete,
        files: wanted.into_iter().map(file).collect(),
        pieces_from: BTreeMap::new(),
        pieces_served: 0,
        rejected: 0,
        bad_pieces: 0,
        bad_from: BTreeMap::new(),
        banned: BTreeSet::new(),
        refreshes: 0,
        refreshes_forced: 0,
        pieces_resumed: 0,
        seconds: 0.0,
        bytes_moved: 0,
        bytes_linked: 0,
        bytes_sent: 0,
        errors: Vec::new(),
        hashes: BTreeMap::new(),
    }
}

#[test]
fn a_job_tells_from_its_report_that_everything_was_in_place() {
    // Whether anybody wanted anything, files and bytes that were to move, bytes that did.
    let cases = [
        (true, 0, 0, 0, true),
        (false, 0, 0, 0, false),
        (true, 1, 0, 0, false),
        (true, 1, 9, 9, false),
        (true, 0, 0, 9, false),
    ];
    for (wanted, files, bytes, moved, expected) in cases {
        let wanted = wanted.then_some(FileState::Complete);
        let planned =
            |rank, files, bytes| PlannedMove { rank, files, bytes, bytes_here: 7, linked: 0 };
        let report = Report {
            peers: vec![reported(1, None), reported(2, wanted)],
            plan: vec![planned(Rank(1), 0, 0), planned(Rank(2), files, bytes)],
            bytes_moved: moved,
            ..Report::default()
        };
        assert_eq!(in_place(&report).is_some(), expected, "{report:?}");
    }
}
