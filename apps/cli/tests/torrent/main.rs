//! The commands around .torrent files as their users meet them.

mod beside;
#[path = "../cli/common.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod common;
mod create;
mod edit;
mod elsewhere;
mod empty;
mod hostile_text;
mod links;
mod magnet;
mod manual;
mod names;
mod paths;
mod reasons;
mod refused;
mod rounds;
mod secrets;
mod seed;
mod show;
mod transfer;
mod verify;

use common::{Done, Sandbox};
use std::io::Write;
use std::process::Stdio;

/// The pattern of the specification's vectors: byte `i` is `i` modulo 251.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

/// Runs the binary with bytes on its standard input, and gives what it wrote, as bytes.
fn pipe(sandbox: &Sandbox, code: i32, line: &str, input: &[u8]) -> (Vec<u8>, Done) {
    let mut command = sandbox.command(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that refuses early reads no further; that is its right.
    let writer = std::thread::spawn(move || _ = stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let done = Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert_eq!(done.code, code, "dunlin {line}\n{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "dunlin {line}\n{}", done.stderr);
    (output.stdout, done)
}
