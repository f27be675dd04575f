//! `--help`, `-h`, `--version`: on stdout, exit 0.

use crate::common::Sandbox;
use dunlin_engine::config::SourceOrder;
use std::path::Path;

#[test]
fn every_option_of_swarm_is_in_the_help() {
    let long = Sandbox::new().expect(0, "swarm --help").stdout;
    let options = "--out --profile --pieces --sources --tracker-order --tracker-map --refresh \
                   --refresh-scope --choker --piece-size --memory --fabric --seed --start-timeout \
                   --stall-timeout --no-share --force --check --on-conflict --trace \
                   --dump-tracker --dump-peers --json --quiet --fault --mpi-lib";
    for option in options.split_whitespace() {
        assert!(long.contains(&format!("{option} ")) || long.contains(&format!("{option}\n")));
    }
    let short = Sandbox::new().expect(0, "swarm -h").stdout;
    assert!(short.len() < long.len(), "the short help is shorter");
}

#[test]
fn every_option_of_cast_and_place_is_in_their_help() {
    let own = [("cast", "--to --from"), ("place", "")];
    let options = "--check --verify-only --delete --in-place --no-cache --per-rank --max-rate --rack \
                   --hosts --hostfile --ssh --remote-dunlin --ranks --host-names --link-rate \
                   --profile --pieces --sources --piece-size --block-size --memory --seed \
                   --start-timeout --stall-timeout --fabric --trace --dump-tracker --fault --json \
                   --quiet --mpi-lib";
    for (command, more) in own {
        let long = Sandbox::new().expect(0, &format!("{command} --help")).stdout;
        let about = if command == "cast" { "Brings files and folders" } else { "Makes every rank" };
        assert!(long.starts_with(about), "{long}");
        for option in options.split_whitespace().chain(more.split_whitespace()) {
            let found = [" ", "\n", "]"].iter().any(|end| long.contains(&format!("{option}{end}")));
            assert!(found, "{command} {option}");
        }
    }
}

#[test]
fn version_and_commands_are_data() {
    let sandbox = Sandbox::new();
    let version = sandbox.expect(0, "--version");
    assert_eq!(version.stdout.trim(), concat!("dunlin ", env!("CARGO_PKG_VERSION")));
    let help = sandbox.expect(0, "--help").stdout;
    for word in ["swarm", "cast", "place", "trace", "clean", "Exit codes", "DUNLIN_LOG"] {
        assert!(help.contains(word), "{word}");
    }
}

/// The row of the table of policies follows from the policies. `UPDATE_EXPECT=1` writes it anew.
#[test]
fn the_readme_names_every_source_order() {
    let page = include_str!("../../../../README.md");
    let names: Vec<String> = SourceOrder::ALL.iter().map(|order| format!("`{order}`")).collect();
    let expected = format!("| `--sources` | {} | from whom |", names.join(", "));
    let row = page.lines().find(|line| line.starts_with("| `--sources` |")).unwrap();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
        std::fs::write(path, page.replace(row, &expected)).unwrap();
    } else {
        assert_eq!(row, expected, "UPDATE_EXPECT=1 writes README.md anew");
    }
}
