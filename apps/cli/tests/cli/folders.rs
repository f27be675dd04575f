//! Plans of `peer<R>/` folders: real files, subfolders, wishes by name and glob.

use crate::common::{Sandbox, complete, data, number, peer, same};

fn plan(sandbox: &Sandbox) {
    sandbox.write("plan/peer1/big.bin", data(1, 700_001));
    sandbox.write("plan/peer1/tree/a", data(2, 16_384));
    sandbox.write("plan/peer1/tree/deep/b", data(3, 5));
    sandbox.write("plan/peer1/tree/empty", "");
    sandbox.write("plan/peer2/wants", "big.bin\ntree/**\n");
    sandbox.write("plan/peer3/wants", "tree/*\r\n\r\n# a comment\r\nbig.*\r\n");
    sandbox.write("plan/peer3/own", "own");
    sandbox.write("plan/notes", "ignored");
}

const ALL: &[&str] = &["big.bin", "tree/a", "tree/deep/b", "tree/empty"];

#[test]
fn files_arrive_in_the_peers_own_folders() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let report = sandbox.json(0, "swarm plan");
    for name in ALL {
        same(&sandbox.path("plan/peer1").join(name), &sandbox.path("plan/peer2").join(name));
    }
    same(&sandbox.path("plan/peer1/tree/a"), &sandbox.path("plan/peer3/tree/a"));
    assert!(!sandbox.path("plan/peer3/tree/deep").exists(), "`*` stays in one component");
    assert!((1..=3).all(|rank| complete(&report, rank)));
    assert_eq!(sandbox.tree("plan").iter().filter(|name| name.contains("dunlin")).count(), 0);
}

#[test]
fn with_out_the_peers_folders_are_untouched() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let before = sandbox.tree("plan");
    sandbox.expect(0, "swarm plan --out out");
    assert_eq!(sandbox.tree("plan"), before);
    for name in ALL {
        same(&sandbox.path("plan/peer1").join(name), &sandbox.path("out/peer2").join(name));
    }
}

#[test]
fn a_second_run_moves_nothing_and_says_how_to_start_over() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    sandbox.expect(0, "swarm plan");
    let report = sandbox.json(0, "swarm plan");
    assert_eq!(number(&report["bytes_moved"]), 0);
    let done = sandbox.expect(0, "swarm plan");
    assert!(done.stderr.contains("there already"), "{}", done.stderr);
    let command = "rm -r plan/peer2/big.bin plan/peer2/tree plan/peer3/big.bin plan/peer3/tree\n";
    assert!(done.stderr.contains(command), "{}", done.stderr);
    sandbox.expect(0, "swarm plan --out out");
    let done = sandbox.expect(0, "swarm plan --out out");
    let command = "rm -r out/peer2/big.bin out/peer2/tree out/peer3/big.bin out/peer3/tree\n";
    assert!(done.stderr.contains(command), "{}", done.stderr);
}

#[test]
fn how_to_start_over_spares_what_is_not_fetched() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    // Outputs into the plan's own folder, beside it, above it, and under an odd name.
    for (out, below) in [("--out plan", "plan"), ("--out .", "."), ("--out=-o", "-o")] {
        let mine = sandbox.path(below).join("peer2/tree/mine");
        std::fs::create_dir_all(mine.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("nowhere", &mine).unwrap();
        sandbox.write(&format!("{below}/mine"), "mine");
        sandbox.expect(0, &format!("swarm plan {out}"));
        let done = sandbox.expect(0, &format!("swarm plan {out}"));
        let dashes = if below == "-o" { "-- " } else { "" };
        let begin = format!(
            "rm -r {dashes}{below}/peer2/big.bin {below}/peer2/tree/a {below}/peer2/tree/deep \
             {below}/peer2/tree/empty {below}/peer3/big.bin {below}/peer3/tree\n"
        );
        assert!(done.stderr.contains(&begin), "{out}: {}", done.stderr);
        let command = done.stderr.lines().find(|line| line.contains("rm -r")).unwrap();
        let removed = std::process::Command::new("sh")
            .args(["-c", command])
            .current_dir(sandbox.path(""))
            .status();
        assert!(removed.unwrap().success());
        assert!(mine.is_symlink());
        assert!(sandbox.path("plan/peer3/own").exists() && sandbox.path("plan/peer1").exists());
        sandbox.expect(0, &format!("swarm plan {out}"));
        same(&sandbox.path("plan/peer1/big.bin"), &sandbox.path(below).join("peer2/big.bin"));
    }
}

#[test]
fn a_piece_size_is_obeyed() {
    let sandbox = Sandbox::new();
    plan(&sandbox);
    let report = sandbox.json(0, "swarm plan --piece-size 64KiB --out out");
    let pieces: u64 =
        peer(&report, 2)["pieces_from"].as_object().unwrap().values().map(number).sum();
    // 700 001 bytes are 11 pieces; the tree is at most one a file.
    assert!((12..=14).contains(&pieces), "{pieces}");
}

#[test]
fn files_larger_than_the_memory_move_with_large_pieces() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/big.bin", data(1, 5_000_001));
    sandbox.write("plan/peer2/wants", "big.bin");
    sandbox.write("plan/peer3/wants", "big.bin");
    sandbox.expect(0, "swarm plan --memory 1MiB --piece-size 1MiB");
    for rank in [2, 3] {
        let copy = sandbox.path(&format!("plan/peer{rank}/big.bin"));
        same(&sandbox.path("plan/peer1/big.bin"), &copy);
    }
}
