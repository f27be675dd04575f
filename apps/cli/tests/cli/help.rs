//! `--help`, `-h`, `--version`: on stdout, exit 0.

use crate::common::Sandbox;

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
fn version_and_commands_are_data() {
    let sandbox = Sandbox::new();
    let version = sandbox.expect(0, "--version");
    assert_eq!(version.stdout.trim(), concat!("dunlin ", env!("CARGO_PKG_VERSION")));
    let help = sandbox.expect(0, "--help").stdout;
    for word in ["swarm", "trace", "clean", "Exit codes", "DUNLIN_LOG"] {
        assert!(help.contains(word), "{word}");
    }
}
