//! How processes find their job, and what they say when they do not.

use crate::common::{Done, Sandbox, end};
use crate::job::one_owner;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

const LINE: &str = "swarm plan --fabric tcp";

#[test]
fn a_launchers_environment_is_enough() {
    for environment in [
        "OMPI_COMM_WORLD_RANK={rank} OMPI_COMM_WORLD_SIZE=3",
        "PMI_RANK={rank} PMI_SIZE=3",
        "SLURM_STEP_ID=0 SLURM_PROCID={rank} SLURM_NTASKS=3 SLURM_JOB_ID=7 SLURM_STEP_NODELIST=x",
        "RANK={rank} WORLD_SIZE=3 MASTER_ADDR=localhost MASTER_PORT=1",
    ] {
        let sandbox = Sandbox::new();
        let content = one_owner(&sandbox, 3, 300_000);
        let start = |rank: u32| {
            let mut command = sandbox.command(&format!("{LINE} --key-file key"));
            let words = environment.replace("{rank}", &rank.to_string());
            let words: Vec<_> = words.split(' ').filter_map(|word| word.split_once('=')).collect();
            command.envs(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let done: Vec<Done> = [0, 1, 2].map(start).into_iter().map(end).collect();
        assert!(done.iter().all(|one| one.code == 0), "{environment}: {done:?}");
        assert!(std::fs::read(sandbox.path("plan/peer2/file")).unwrap() == content);
    }
}

#[test]
fn the_key_can_come_from_standard_input() {
    let sandbox = Sandbox::new();
    let content = one_owner(&sandbox, 3, 300_000);
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told = format!("{{\"key\":\"{}\",\"root\":[\"{place}\"]}}\n", "ab".repeat(32));
    let start = |rank: u32| {
        let options = format!("--rank {rank} --size 3 --key-file -");
        let listen = if rank == 0 { format!("--listen {place}") } else { String::new() };
        let mut command = sandbox.command(&format!("{LINE} {options} {listen}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
        child
    };
    let done: Vec<Done> = [0, 1, 2].map(start).into_iter().map(end).collect();
    assert!(done.iter().all(|one| one.code == 0), "{done:?}");
    assert!(std::fs::read(sandbox.path("plan/peer2/file")).unwrap() == content);
}

#[test]
fn what_is_missing_is_said() {
    let sandbox = Sandbox::new();
    one_owner(&sandbox, 3, 1000);
    let loose = sandbox.write("loose", "ab".repeat(32));
    std::fs::set_permissions(loose, std::fs::Permissions::from_mode(0o644)).unwrap();
    for (options, code, expected) in [
        ("", 2, "--fabric tcp needs a rank"),
        ("--rank 1 --key-file key", 3, "does not say how many ranks"),
        ("--rank 1 --size 3", 2, "--fabric tcp needs a key"),
        ("--rank 3 --size 3 --key-file key", 2, "ranks are 0 to 2"),
        ("--rank 1 --size 3 --key-file key --root n01", 2, "expected HOST:PORT"),
        ("--rank 1 --size 3 --key-file loose", 3, "has mode 644"),
        ("--rank 0 --size 3 --key-file loose", 3, "has mode 644"),
        (
            "--rank 1 --size 3 --key-file key --start-timeout 200ms",
            3,
            "the key file key is not there",
        ),
        ("--rank 1 --size 3 --key-file -", 3, "expected one line of JSON"),
        (
            "--rank 0 --size 3 --key-file key --listen 192.0.2.1:0",
            3,
            "cannot listen at 192.0.2.1:0",
        ),
    ] {
        let done = sandbox.expect(code, &format!("{LINE} {options}"));
        assert!(done.stderr.contains(expected), "{options}: {}", done.stderr);
    }
    // Nobody answers at that place.
    let secret = sandbox.write("alone", "ab".repeat(32));
    std::fs::set_permissions(secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let line = "--rank 2 --size 3 --key-file alone --root 127.0.0.1:1 --start-timeout 3s";
    let done = sandbox.expect(3, &format!("{LINE} {line}"));
    assert!(done.stderr.contains("refuses connections"), "{}", done.stderr);
}

#[test]
fn a_job_of_another_size_is_refused() {
    let sandbox = Sandbox::new();
    one_owner(&sandbox, 4, 1000);
    let start = |rank: u32| {
        let line = format!("{LINE} --rank {rank} --size 3 --key-file key");
        let mut command = sandbox.command(&line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let done: Vec<Done> = [0, 1, 2].map(start).into_iter().map(end).collect();
    assert!(done.iter().all(|one| one.code == 3), "{done:?}");
    assert!(done[0].stderr.contains("needs 4 ranks"), "{}", done[0].stderr);
}
