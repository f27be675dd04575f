//! What a run in one process asks of the system, as `strace` sees it: no network, and no write
//! outside its outputs and state.

use crate::common::{Sandbox, data, end};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Calls that change something by its name; a `?` stands before those that not every machine has.
const CHANGES: &str = "?open,openat,?openat2,?creat,?mkdir,mkdirat,?mknod,mknodat,?rename,renameat,\
                       ?renameat2,?unlink,unlinkat,?rmdir,?link,linkat,?symlink,symlinkat,truncate,\
                       ftruncate,fallocate,?chmod,fchmod,fchmodat,?fchmodat2,?chown,fchown,fchownat,\
                       ?lchown,utimensat,setxattr,fsetxattr,lsetxattr,removexattr,fremovexattr";

/// A line of the trace: a call that did what it was asked to.
struct Call<'a> {
    name: &'a str,
    /// The arguments and the result.
    rest: &'a str,
}

impl<'a> Call<'a> {
    fn read(line: &'a str) -> Option<Call<'a>> {
        let (name, rest) = line.split_once('(')?;
        let called = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        (called && !rest.contains(" = -1 ")).then_some(Call { name, rest })
    }

    /// Whether it makes or changes anything.
    fn changes(&self) -> bool {
        let opens = self.name.starts_with("open");
        let flags = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE"];
        !opens || flags.iter().any(|flag| self.rest.contains(flag))
    }

    /// The paths that it names: texts, each below the folder that stands before it, and descriptors
    /// of calls without a text.
    fn paths(&self, cwd: &Path) -> Vec<PathBuf> {
        let (mut paths, mut folder, mut rest) = (Vec::new(), cwd.to_owned(), self.rest);
        while let Some(at) = rest.find(['<', '"']) {
            let close = if rest[at..].starts_with('<') { '>' } else { '"' };
            let (text, after) = rest[at + 1..].split_once(close).expect("what opens also closes");
            match close {
                '>' => folder = PathBuf::from(text),
                _ => paths.push(folder.join(text)),
            }
            rest = after;
        }
        if paths.is_empty() { vec![folder] } else { paths }
    }
}

/// Runs the program under `strace` and returns the lines of all its threads.
fn traced(sandbox: &Sandbox, line: &str) -> Vec<String> {
    let program = sandbox.command(line);
    let log = sandbox.path("strace");
    fs::create_dir(&log).unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-ff", "-y", "-s", "4096", "-e", &format!("trace=%network,{CHANGES}"), "-o"]);
    strace.arg(log.join("thread")).arg(program.get_program()).args(program.get_args());
    strace.current_dir(program.get_current_dir().unwrap());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = strace.spawn().expect("this test needs strace: install it");
    let done = end(child);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let logs = fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let texts: Vec<String> =
        logs.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect();
    texts.iter().flat_map(|text| text.lines().map(str::to_owned)).collect()
}

fn check(sandbox: &Sandbox, line: &str, outputs: &[&str]) {
    let lines = traced(sandbox, line);
    let calls: Vec<Call<'_>> = lines.iter().filter_map(|line| Call::read(line)).collect();
    // The unnamed pair that carries signals to the thread that waits for them.
    let pairs = calls.iter().filter(|call| call.name == "socketpair").count();
    assert_eq!(pairs, 1, "dunlin {line}");
    for call in &calls {
        let network = ["socket", "bind", "connect", "listen", "accept", "accept4", "sendto"];
        assert!(!network.contains(&call.name), "dunlin {line}: {}({}", call.name, call.rest);
    }
    // Links on the way to the sandbox are followed.
    let cwd = sandbox.path("").canonicalize().unwrap();
    let outputs: Vec<PathBuf> = outputs.iter().map(|output| cwd.join(output)).collect();
    let mut changes = 0;
    let network = |call: &&Call<'_>| !["socketpair", "recvfrom", "sendmsg"].contains(&call.name);
    for call in calls.iter().filter(network).filter(|call| call.changes()) {
        changes += 1;
        for path in call.paths(&cwd) {
            let inside = outputs.iter().any(|output| path.starts_with(output));
            assert!(inside, "dunlin {line}: {}({}", call.name, call.rest);
        }
    }
    assert!(changes > 0, "dunlin {line}: a run writes its outputs");
}

#[test]
fn a_course_plan_has_no_network_and_writes_its_outputs_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/in1.txt", "1\nfile1 2\naa\nbb\n0\n");
    sandbox.write("plan/in2.txt", "0\n1\nfile1\n");
    check(&sandbox, "swarm plan --out out", &["out"]);
    assert_eq!(sandbox.files("out")["client2_file1"], b"aa\nbb\n");
}

#[test]
fn real_files_move_without_network_into_outputs_state_and_records_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/big.bin", data(1, 300_001));
    sandbox.write("plan/peer1/tree/a", data(2, 16_384));
    sandbox.write("plan/peer2/wants", "**\n");
    let records = ["out", "run.trace", "table.json", ".table.json.dunlin-part"];
    check(&sandbox, "swarm plan --out out --trace run.trace --dump-tracker table.json", &records);
    // Without --out the outputs, and the state beside them, are in the peer's own folder.
    let sandbox = Sandbox::new();
    sandbox.write("plan/peer1/big.bin", data(1, 300_001));
    sandbox.write("plan/peer2/wants", "big.bin\n");
    check(&sandbox, "swarm plan", &["plan/peer2"]);
}
