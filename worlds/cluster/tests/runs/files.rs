//! Real files in virtual time, on a disk in memory.

use crate::common::{Run, content, put, root};
use dunlin_base::{Rank, TorrentId};
use dunlin_cluster::content::{Content, SharedResources};
use dunlin_cluster::{FabricKind, FileState, PeerContent, PeerState, Role, RunControl};
use dunlin_disk::{Budget, Fs};
use dunlin_engine::cluster::OnConflict;
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};
use dunlin_engine::swarm::choker::ChokerKind;
use dunlin_hash::HashPool;
use dunlin_metainfo::{HashKind, SetFile, SetInfo};
use dunlin_plan::Have;
use std::collections::BTreeSet;
use std::sync::Arc;

const BIG: usize = 1_500_003;

#[test]
fn files_and_folders_reach_everybody() {
    let done = Run::files(&[
        ("big:1500003 sub/one:10 sub/two:16384 empty:0", ""),
        ("", "**"),
        ("", "sub/*"),
        ("sub/one:10", "sub/one big"),
    ])
    .go()
    .ok();
    for (rank, name, length) in [
        (2, "big", BIG),
        (2, "sub/one", 10),
        (2, "sub/two", 16384),
        (2, "empty", 0),
        (4, "big", BIG),
    ] {
        done.has_file(rank, name, length);
    }
    done.has_file(3, "sub/one", 10);
    assert!(done.disk.metadata(&root(3).join("big")).is_err());
    assert_eq!(done.peer(1).role, Role::Seed);
    assert!(done.disk.metadata(&root(2).join(".dunlin")).is_err(), "no state is left");
    assert_eq!(done.report.bytes_moved, done.report.bytes_missing, "what was there is not counted");
}

#[test]
fn course_profile_over_real_files() {
    let run = Run::files(&[("big:1500003 x:70000", ""), ("", "big x"), ("x:70000", "big")]);
    let done = run
        .with(|config| {
            config.profile = Profile::Course;
            config.pieces = PieceOrder::Sequential;
            config.sources = SourceOrder::ROUND_ROBIN;
        })
        .go()
        .ok();
    done.has_file(2, "big", BIG);
    done.has_file(3, "big", BIG);
    assert!(!done.counts().contains_key("have"), "the classic algorithm has no HAVE");
}

#[test]
fn tit_for_tat_and_odd_piece_sizes() {
    let run = Run::files(&[("big:1500003", ""), ("", "big"), ("", "big"), ("", "big")]);
    let done = run
        .with(|config| {
            config.choker = ChokerKind::TitForTat;
            config.piece_size = Some(65536);
        })
        .go()
        .ok();
    (2..=4).for_each(|rank| done.has_file(rank, "big", BIG));
}

#[test]
fn a_small_budget_streams_and_spills_and_still_ends() {
    for (memory, piece_size) in [(1 << 20, 1 << 20), (1 << 20, 1 << 18), (300_000, 1 << 16)] {
        let run = Run::files(&[
            ("big:1500003 more:900000", ""),
            ("", "big more"),
            ("", "big more"),
            ("", "more"),
        ]);
        let done = run
            .with(|config| {
                config.memory = memory;
                config.piece_size = Some(piece_size);
            })
            .go()
            .ok();
        (2..=3).for_each(|rank| done.has_file(rank, "big", BIG));
        (2..=4).for_each(|rank| done.has_file(rank, "more", 900_000));
    }
}

#[test]
fn the_second_run_moves_nothing() {
    let done = Run::files(&[("big:1500003", ""), ("", "big")]).go().ok();
    let again = Run::again(done.disk.clone(), &["", "big"]).go().ok();
    assert_eq!((again.report.bytes_moved, again.report.bytes_missing), (0, 0));
    assert_eq!(again.report.plan[0].bytes_here, BIG as u64);
    assert_eq!(again.peer(2).files[0].state, FileState::Complete);
    assert!(!again.counts().contains_key("request"));
}

#[test]
fn a_check_says_what_would_move_and_moves_nothing() {
    let run = Run::files(&[("big:1500003", ""), ("", "big")]);
    let done = run.with(|config| config.check_only = true).go();
    assert_eq!(done.report.exit_code(), 0);
    assert_eq!((done.report.plan[0].files, done.report.plan[0].bytes), (1, BIG as u64));
    assert!(done.disk.metadata(&root(2)).is_err(), "not even a folder is made");
}

#[test]
fn owners_in_conflict_move_nothing() {
    let conflict = || {
        let run = Run::files(&[("x:50000", ""), ("", "x"), ("", "")]);
        let mut wrong = content("x", 50_000);
        wrong[40_000] ^= 1;
        put(&run.disk, 3, "x", &wrong);
        Run::again(run.disk, &["", "x", ""])
    };
    let done = conflict().go();
    assert_eq!(done.report.exit_code(), 4);
    let text = done.report.error_text().unwrap();
    assert!(text.contains('x') && text.contains('1') && text.contains('3'), "{text}");
    assert!(done.disk.metadata(&root(2)).is_err(), "not even an empty folder is left");
    let done = conflict().with(|config| config.on_conflict = OnConflict::LowestRank).go().ok();
    done.has_file(2, "x", 50_000);
}

#[test]
fn another_content_in_place_is_kept_unless_forced() {
    let obstacle = || {
        let run = Run::files(&[("x:50000", ""), ("", "x")]);
        put(&run.disk, 2, "x", b"something else");
        let mut run = Run::again(run.disk, &["", "x"]);
        if let PeerContent::Files { have, .. } = &mut run.config.peers[1].content {
            *have = Have::Wanted;
        }
        run
    };
    let done = obstacle().go();
    assert_eq!(done.report.exit_code(), 4, "{:#}", done.report.to_json());
    let kept = done.disk.read_all(&root(2).join("x"), 100).unwrap();
    assert_eq!(kept, b"something else");
    obstacle().with(|config| config.force = true).go().ok().has_file(2, "x", 50_000);
}

#[test]
fn an_output_folder_gets_copies_of_what_is_owned() {
    let mut run = Run::files(&[("x:50000 y:10", "x"), ("", "**")]);
    for peer in &mut run.config.peers {
        if let PeerContent::Files { dest, .. } = &mut peer.content {
            *dest = format!("/to/peer{}", peer.rank).into();
        }
    }
    let done = run.go().ok();
    for path in ["/to/peer1/x", "/to/peer2/x"] {
        let bytes = done.disk.read_all(path.as_ref(), 1 << 20).unwrap();
        assert!(bytes == content("x", 50_000), "{path}");
    }
    assert!(done.disk.metadata("/to/peer1/y".as_ref()).is_err());
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = || {
        let run = Run::files(&[("big:700000", ""), ("", "big"), ("", "big")]);
        run.go().ok().trace.text()
    };
    assert!(run() == run());
}

#[test]
fn too_little_space_is_found_before_anything_moves() {
    let run = Run::files(&[("big:1500003", ""), ("", "big")]);
    run.disk.set_space(Some(400_000));
    let done = run.go();
    assert_eq!(done.report.exit_code(), 5);
    assert_eq!(done.peer(2).state, PeerState::Failed);
    assert!(done.report.error_text().is_some_and(|text| text.contains("free")));
    assert!(done.disk.metadata(&root(2)).is_err(), "not even an empty folder is left");
    assert!(!done.counts().contains_key("request"));
}

#[test]
fn a_source_that_is_overwritten_blames_nobody() {
    for (profile, reads) in [(Profile::BitTorrent, 40), (Profile::Course, 40), (Profile::Course, 0)]
    {
        let run = Run::files(&[("big:1500003 y:20000", ""), ("", "big y"), ("", "big y")]);
        // Two reads check it; then 0 or 40 blocks are served before other bytes stand there.
        let path = root(1).join("big");
        run.disk.overwrite_after(&path, 2 + reads, vec![7; BIG]).unwrap();
        let done = run
            .with(|config| {
                config.profile = profile;
                if profile == Profile::Course {
                    config.pieces = PieceOrder::Sequential;
                    config.sources = SourceOrder::ROUND_ROBIN;
                }
                config.stall_timeout = crate::common::seconds(3);
            })
            .go();
        assert_eq!(done.report.exit_code(), 1, "{:#}", done.report.to_json());
        for rank in 1..=3 {
            let peer = done.peer(rank);
            assert!(peer.banned.is_empty() && peer.bad_pieces == 0, "{rank}: {peer:?}");
        }
        let said = &done.peer(1).errors;
        assert!(
            said.len() == 1 && said[0].starts_with("/ranks/1/big: changed"),
            "{profile:?} {reads}: {:#}",
            done.report.to_json()
        );
        assert!(done.disk.metadata(&root(2).join("big")).is_err());
        (2..=3).for_each(|rank| done.has_file(rank, "y", 20_000));
    }
}

#[test]
fn a_source_that_changes_between_check_and_start_is_not_served() {
    let run = Run::files(&[("x:50000", "")]);
    let shared = Arc::new(SharedResources {
        fs: Arc::new(run.disk.clone()),
        pool: HashPool::new(1),
        budget: Budget::new(1 << 20),
        piece_size: None,
        block_length: dunlin_metainfo::CLUSTER_BLOCK_LENGTH,
        open_files: 4,
        force: false,
        stop: Arc::default(),
    });
    let found = run.config.peers[0].content.clone();
    let content = Content::new(Rank(1), found, true, shared);
    let register = content.check(&mut |_, _| {}).unwrap();
    let file = &register.files[0];
    let named = SetFile { name: file.name.clone(), length: file.length };
    let (length, hashes) = (file.piece_length, file.hashes.clone());
    let info = SetInfo::new(HashKind::Sha1, length, vec![named], hashes).unwrap();
    put(&run.disk, 1, "x", &[7; 50_000]);
    let opened = content.open(TorrentId(0), &Arc::new(info), false, &BTreeSet::new());
    let error = opened.unwrap_err().message;
    assert!(error.starts_with("/ranks/1/x: changed"), "{error}");
}

#[test]
fn an_interrupt_ends_the_check() {
    for fabric in [crate::common::checked(), FabricKind::Memory] {
        for check_only in [false, true] {
            let run = Run::files(&[("big:1500003", ""), ("", "big")]);
            // Whoever read on would find this.
            run.disk.set_broken(&root(1).join("big"), true);
            let (control, mut config) = (RunControl::new(), run.config);
            (config.fabric, config.check_only) = (fabric.clone(), check_only);
            control.interrupt();
            let report = dunlin_cluster::run(config, &control);
            assert_eq!(report.exit_code(), 9, "{:#}", report.to_json());
            assert!(run.disk.metadata(&root(2)).is_err(), "no empty folder is left");
        }
    }
}

#[test]
fn a_run_that_lost_power_is_resumed() {
    let wants = ["", "big", "big"];
    for seed in 0..6 {
        let run = Run::files(&[("big:1500003", ""), ("", "big"), ("", "big")]);
        let disk = run.disk.clone();
        let run = run.with(|config| {
            // So slow that the syncs of every second leave something behind before rank 1 is gone.
            config.faults = ["slow=1:300kB", "die=1@60"].map(|text| text.parse().unwrap()).into();
            config.stall_timeout = crate::common::seconds(3);
        });
        let done = run.go();
        assert_eq!(done.report.exit_code(), 1);
        assert!(done.disk.metadata(&root(2).join("big")).is_err(), "unfinished, so not there");
        let again = Run::again(disk.crash(seed), &wants).go().ok();
        again.has_file(2, "big", BIG);
        again.has_file(3, "big", BIG);
        assert!(again.peer(2).pieces_resumed > 20, "{}", again.peer(2).pieces_resumed);
        let fetched: u64 = again.peer(2).pieces_from.values().sum();
        assert_eq!(fetched + again.peer(2).pieces_resumed, 92);
    }
}
