//! What all tests share: running the binary with a time limit, making plans and data, comparing
//! outputs.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No run of these tests takes that long: one that does hangs, and the test says so.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at what a run has done.
const LOOK: Duration = Duration::from_millis(5);

/// A folder of its own for each test, removed at its end.
pub(crate) struct Sandbox(TempDir);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// Its exit code.
    pub(crate) code: i32,
    /// Its data.
    pub(crate) stdout: String,
    /// What it said.
    pub(crate) stderr: String,
}

impl Sandbox {
    /// Puts the program there, for users who may not read where it was built. Another process
    /// copies it: what other tests start meanwhile would inherit a file that is open for writing
    /// here, and a program that is open for writing cannot be run.
    pub(crate) fn copy_program(&self, path: &str) {
        let mut copy = Command::new("cp");
        copy.arg(env!("CARGO_BIN_EXE_dunlin")).arg(self.path(path));
        assert!(copy.status().unwrap().success());
    }

    pub(crate) fn new() -> Sandbox {
        Sandbox(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and the folders above it.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The binary with words from a line, to be run in the sandbox.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(line.split_whitespace()).current_dir(self.0.path());
        command.env_remove("DUNLIN_LOG").env_remove("NO_COLOR");
        command.env("XDG_CACHE_HOME", self.path(".cache"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, line: &str) -> Done {
        end(self.start(line))
    }

    /// Runs the binary and expects this exit code.
    pub(crate) fn expect(&self, code: i32, line: &str) -> Done {
        let done = self.run(line);
        assert_eq!(done.code, code, "dunlin {line}\n{}{}", done.stdout, done.stderr);
        assert!(!done.stderr.contains("panicked"), "dunlin {line}\n{}", done.stderr);
        done
    }

    /// Runs the binary with `--json`, expects this exit code, and reads the document.
    pub(crate) fn json(&self, code: i32, line: &str) -> Value {
        let done = self.expect(code, &format!("{line} --json"));
        serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("no document: {done:?}"))
    }

    pub(crate) fn start(&self, line: &str) -> Child {
        let mut command = self.command(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Every file below a folder, with its bytes, by relative path.
    pub(crate) fn files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let root = self.path(name);
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).unwrap().display().to_string();
                    files.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        files
    }

    /// The names of everything below a folder, folders too.
    pub(crate) fn tree(&self, name: &str) -> Vec<String> {
        let root = self.path(name);
        let (mut names, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                names.push(path.strip_prefix(&root).unwrap().display().to_string());
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        names.sort();
        names
    }
}

/// Waits for a run to end; one that does not is killed and fails the test.
pub(crate) fn end(child: Child) -> Done {
    let id = child.id();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    let Ok(output) = told.recv_timeout(LIMIT) else {
        signal(id, "KILL");
        panic!("the run took more than {LIMIT:?}");
    };
    done(output.unwrap())
}

fn done(output: Output) -> Done {
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sends a signal to a process that a test started.
pub(crate) fn signal(id: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap();
    assert!(sent.success());
}

/// Waits until `look` finds something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "waited in vain for {what}");
        std::thread::sleep(LOOK);
    }
}

/// Bytes that look random and are the same for the same seed.
pub(crate) fn data(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The text of a file, if it is there.
pub(crate) fn text(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Asserts that two files are equal, without printing them.
pub(crate) fn same(left: &Path, right: &Path) {
    let read = |path: &Path| fs::read(path).unwrap_or_else(|_| panic!("no {}", path.display()));
    assert!(read(left) == read(right), "{} and {} differ", left.display(), right.display());
}

/// A plan in the course format.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    peers: Vec<(Vec<String>, Vec<String>)>,
    tokens: BTreeMap<String, Vec<String>>,
}

impl Course {
    /// Files by name and number of tokens. Tokens repeat now and then, within a file and across.
    pub(crate) fn new(files: &[(&str, usize)]) -> Course {
        let tokens = |name: &str, count: usize| {
            let token = |index: usize| match index % 7 {
                3 => "repeated".to_owned(),
                _ => format!("{name}-{index:04}"),
            };
            (0..count).map(token).collect()
        };
        let tokens =
            files.iter().map(|(name, count)| ((*name).to_owned(), tokens(name, *count))).collect();
        Course { peers: Vec::new(), tokens }
    }

    /// Adds the next peer: names it owns and names it wants, each parted by spaces.
    #[must_use]
    pub(crate) fn peer(mut self, owned: &str, wanted: &str) -> Course {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        self.peers.push((words(owned), words(wanted)));
        self
    }

    /// Writes `in<R>.txt` into a folder of the sandbox.
    pub(crate) fn write(&self, sandbox: &Sandbox, folder: &str) {
        for (index, (owned, wanted)) in self.peers.iter().enumerate() {
            let mut text = format!("{}\n", owned.len());
            for name in owned {
                let tokens = &self.tokens[name];
                text.push_str(&format!("{name} {}\n", tokens.len()));
                tokens.iter().for_each(|token| text.push_str(&format!("{token}\n")));
            }
            text.push_str(&format!("{}\n{}", wanted.len(), wanted.join("\n")));
            sandbox.write(&format!("{folder}/in{}.txt", index + 1), text);
        }
    }

    /// What must stand in the output folder after a run: name and bytes.
    pub(crate) fn outputs(&self) -> BTreeMap<String, Vec<u8>> {
        let mut outputs = BTreeMap::new();
        for (index, (_, wanted)) in self.peers.iter().enumerate() {
            for name in wanted {
                let Some(tokens) = self.tokens.get(name) else { continue };
                let text: String = tokens.iter().map(|token| format!("{token}\n")).collect();
                outputs.insert(format!("client{}_{name}", index + 1), text.into_bytes());
            }
        }
        outputs
    }

    /// By rank and name: how many pieces of a wanted file a rank has to fetch; none if it owns it.
    pub(crate) fn pieces(&self) -> BTreeMap<(u64, String), u64> {
        let mut pieces = BTreeMap::new();
        for ((owned, wanted), rank) in self.peers.iter().zip(1..) {
            for name in wanted {
                let Some(tokens) = self.tokens.get(name) else { continue };
                let count = if owned.contains(name) { 0 } else { tokens.len() as u64 };
                pieces.insert((rank, name.clone()), count);
            }
        }
        pieces
    }

    /// Asserts that the output folder holds exactly what it must.
    pub(crate) fn check(&self, sandbox: &Sandbox, folder: &str) {
        let found = sandbox.files(folder);
        let expected = self.outputs();
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected));
        for (name, bytes) in expected {
            // Compared as `diff -w` does: white space aside.
            let plain = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes);
                text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(plain(&found[&name]), plain(&bytes), "{name}");
        }
    }
}

/// A peer of a report, by rank.
pub(crate) fn peer(report: &Value, rank: u64) -> &Value {
    let peers = report["peers"].as_array().expect("a list of peers");
    peers.iter().find(|peer| peer["rank"] == rank).expect("a peer of this rank")
}

/// A number of a document.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

/// The sum of a field over all peers.
pub(crate) fn total(report: &Value, field: &str) -> u64 {
    let peers = report["peers"].as_array().expect("a list of peers");
    peers.iter().map(|peer| number(&peer[field])).sum()
}

/// The ranks that anybody banned, without repeats.
pub(crate) fn banned(report: &Value) -> Vec<u64> {
    let peers = report["peers"].as_array().expect("a list of peers");
    let mut ranks: Vec<u64> = peers
        .iter()
        .flat_map(|peer| peer["banned"].as_array().expect("a list of ranks"))
        .map(number)
        .collect();
    ranks.sort_unstable();
    ranks.dedup();
    ranks
}

/// Whether all files of a peer are complete.
pub(crate) fn complete(report: &Value, rank: u64) -> bool {
    let files = peer(report, rank)["files"].as_array().expect("a list of files");
    files.iter().all(|file| file["state"] == "complete")
}
