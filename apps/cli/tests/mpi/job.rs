//! A job under a real launcher: started in a group of its own, watched, ended at a limit, and gone
//! altogether when its test ends.

use crate::common::{Done, Sandbox, wait_for};
use crate::processes::{self, JOB, Process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No job of these tests takes that long, unless it says so.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at what a job does.
const LOOK: Duration = Duration::from_millis(5);
/// Launchers to use instead of those that the system has, one a line; `N` becomes the ranks.
const LAUNCHERS: &str = "DUNLIN_TEST_MPI_LAUNCHERS";
/// The library to load instead of the launcher's own.
const LIBRARY: &str = "DUNLIN_TEST_MPI_LIB";
/// What the system's packages have.
const INSTALLED: &str = "mpirun.openmpi --oversubscribe -np N\nmpiexec.mpich -np N";
/// With this filter every rank says when it has joined, beside what users see.
const FILTER: &str = "warn,dunlin::job=info";
/// What marks those lines.
const JOINED: &str = " INFO dunlin::job";

/// One job at a time: on a small machine several would only wait for each other, and some measure.
static ONE: Mutex<()> = Mutex::new(());
/// Numbers jobs of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// An MPI that jobs are started under.
#[derive(Clone, Debug)]
pub(crate) struct Mpi {
    /// The launcher and its options; `N` stands for the number of ranks.
    launcher: Vec<String>,
}

impl Mpi {
    fn of_line(line: &str) -> Mpi {
        Mpi { launcher: line.split_whitespace().map(str::to_owned).collect() }
    }

    /// All of them.
    pub(crate) fn all() -> Vec<Mpi> {
        let given = std::env::var(LAUNCHERS);
        given.as_deref().unwrap_or(INSTALLED).lines().map(Mpi::of_line).collect()
    }

    /// The system's Open MPI, for what others do not have.
    pub(crate) fn open_mpi() -> Mpi {
        INSTALLED.lines().map(Mpi::of_line).next().unwrap()
    }

    /// The launcher's name.
    pub(crate) fn name(&self) -> &str {
        &self.launcher[0]
    }

    /// Asserts that this is the library that its ranks are to load.
    pub(crate) fn check_library(&self, library: &str) {
        let wanted = match std::env::var(LIBRARY) {
            Ok(given) => given,
            Err(_) if self.name().contains("mpich") => "MPICH".to_owned(),
            Err(_) => "Open MPI".to_owned(),
        };
        assert!(library.contains(&wanted), "{}: {library}, expected {wanted}", self.name());
    }
}

/// What stands in the end when the launcher itself, and no rank, got SIGPIPE.
const LAUNCHER_DIED_WRITING: &str = "the launcher was ended by signal 13\n";

/// A job to be started.
#[derive(Clone)]
pub(crate) struct Job<'a> {
    sandbox: &'a Sandbox,
    mpi: &'a Mpi,
    ranks: u32,
    options: Vec<String>,
    wrapper: Vec<String>,
    /// What is run instead of the binary with words, and the folder of the sandbox in which.
    program: Option<(String, String)>,
    /// Whether it may mount.
    mounts: bool,
    line: String,
    limit: Duration,
}

impl<'a> Job<'a> {
    /// So many ranks of the binary with words from a line, to be run in the sandbox.
    pub(crate) fn new(sandbox: &'a Sandbox, mpi: &'a Mpi, ranks: u32, line: &str) -> Job<'a> {
        let (options, wrapper, line) = (Vec::new(), Vec::new(), line.to_owned());
        let (program, mounts, limit) = (None, false, LIMIT);
        Job { sandbox, mpi, ranks, options, wrapper, program, mounts, line, limit }
    }

    /// With another option of the launcher.
    pub(crate) fn option(mut self, option: &str) -> Job<'a> {
        self.options.push(option.to_owned());
        self
    }

    /// With these words before the binary's name: a program that becomes it, or runs it.
    pub(crate) fn wrapped(mut self, words: &[&str]) -> Job<'a> {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// With this program in a folder of the sandbox, which finds the binary through PATH.
    pub(crate) fn program(mut self, folder: &str, program: &str) -> Job<'a> {
        self.program = Some((folder.to_owned(), program.to_owned()));
        self
    }

    /// As the superuser, who may mount; who is not gets that in a namespace, and all ranks the same
    /// one: they would not trust each other otherwise.
    pub(crate) fn mounts(mut self) -> Job<'a> {
        self.mounts = true;
        self
    }

    /// With another limit.
    pub(crate) fn limit(mut self, limit: Duration) -> Job<'a> {
        self.limit = limit;
        self
    }

    /// Runs it to its end. A launcher that writes to a rank which has ended already may die of it,
    /// whatever the rank did; then it runs once more.
    pub(crate) fn run(&self) -> Done {
        let done = self.start().end();
        if !done.stderr.contains(LAUNCHER_DIED_WRITING) {
            return done;
        }
        // Not by a macro: it is to be seen though the test passes.
        let note = format!("{}: died of a closed pipe, and is started once more\n", self.name());
        std::io::stdout().write_all(note.as_bytes()).unwrap();
        self.start().end()
    }

    /// Runs it and expects this exit code of the launcher.
    pub(crate) fn expect(&self, code: i32) -> Done {
        let done = self.run();
        assert_eq!(done.code, code, "{}:\n{}{}", self.name(), done.stdout, done.stderr);
        assert!(!done.stderr.contains("panicked"), "{}:\n{}", self.name(), done.stderr);
        done
    }

    /// Runs it with `--json`, expects this exit code, and reads the document, and what was said.
    pub(crate) fn json(&self, code: i32) -> (Value, String) {
        let job = Job { line: format!("{} --json", self.line), ..self.clone() };
        let done = job.expect(code);
        (document(&done), done.stderr)
    }

    fn name(&self) -> String {
        format!("{} -np {} {}", self.mpi.name(), self.ranks, self.line)
    }

    /// Starts it, and returns once it has said something. Open MPI's launcher hangs now and then
    /// before it has started any rank; that says nothing of ours, and it is started once more.
    pub(crate) fn start(&self) -> Running {
        let lock = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let first = self.spawn(lock);
        match first.begin() {
            Ok(running) => running,
            Err(lock) => {
                // Not by a macro: it is to be seen though the test passes.
                let note = format!("{}: hung, and is started once more\n", self.name());
                std::io::stdout().write_all(note.as_bytes()).unwrap();
                let begun = self.spawn(lock).begin();
                begun.unwrap_or_else(|_| panic!("{}: no rank has said anything", self.name()))
            }
        }
    }

    fn spawn(&self, lock: MutexGuard<'static, ()>) -> Running {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let job = format!("{}-{number}", std::process::id());
        let mut command = self.command();
        // Its sessions' files go with the sandbox, whatever becomes of it.
        let temporary = self.sandbox.path("tmp");
        std::fs::create_dir_all(&temporary).unwrap();
        command.env(JOB, &job).env("TMPDIR", temporary).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned = command.spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{}: {error}", self.mpi.name()));
        let (stdout, stderr) = (Text::default(), Text::default());
        let readers = [
            stdout.clone().fill(child.stdout.take().unwrap()),
            stderr.clone().fill(child.stderr.take().unwrap()),
        ];
        Running {
            name: self.name(),
            job,
            child,
            stdout,
            stderr,
            readers: readers.into(),
            begun: Instant::now(),
            limit: self.limit,
            lock: Some(lock),
        }
    }

    fn command(&self) -> Command {
        let (program, words) = self.mpi.launcher.split_first().unwrap();
        let count = self.ranks.to_string();
        let words = words.iter().map(|word| if word == "N" { &count } else { word });
        let mut command = Command::new(program);
        if self.mounts && !root() {
            command = Command::new("unshare");
            command.arg("-rm").arg(program);
        }
        command.args(words).args(&self.options).args(&self.wrapper);
        let binary = Path::new(env!("CARGO_BIN_EXE_dunlin"));
        let folder = match &self.program {
            Some((folder, program)) => {
                let found = std::env::var_os("PATH").unwrap_or_default();
                let own = binary.parent().map(Path::to_owned);
                let all = own.into_iter().chain(std::env::split_paths(&found));
                command.arg(program).env("PATH", std::env::join_paths(all).unwrap());
                folder
            }
            None => {
                command.arg(binary).args(self.line.split_whitespace());
                if let Ok(library) = std::env::var(LIBRARY) {
                    command.args(["--mpi-lib", &library]);
                }
                ""
            }
        };
        command
            .current_dir(self.sandbox.path(folder))
            .env_remove("NO_COLOR")
            .env("DUNLIN_LOG", FILTER);
        if root() || self.mounts {
            command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        }
        command
    }
}

/// Whether this is the superuser.
fn root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The document of a run with `--json`: all that stands on stdout, whatever the number of ranks.
pub(crate) fn document(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("no document: {done:?}"))
}

/// A job that was started. Dropping it ends all of its processes.
pub(crate) struct Running {
    name: String,
    job: String,
    child: Child,
    stdout: Text,
    stderr: Text,
    readers: Vec<JoinHandle<()>>,
    begun: Instant,
    limit: Duration,
    lock: Option<MutexGuard<'static, ()>>,
}

impl Running {
    /// Waits for the first word of it, or its end. One that says nothing up to its limit is ended,
    /// and the lock is handed on.
    fn begin(mut self) -> Result<Running, MutexGuard<'static, ()>> {
        loop {
            if !self.stdout.bytes().is_empty() || !self.stderr.bytes().is_empty() || self.ended() {
                return Ok(self);
            }
            if self.begun.elapsed() > self.limit {
                return Err(self.lock.take().unwrap());
            }
            std::thread::sleep(LOOK);
        }
    }

    fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The process of the launcher.
    pub(crate) fn launcher(&self) -> u32 {
        self.child.id()
    }

    /// All of its processes that live.
    pub(crate) fn processes(&self) -> Vec<Process> {
        processes::of_job(&self.job)
    }

    /// Its ranks that live, and their processes.
    pub(crate) fn ranks(&self) -> BTreeMap<u32, u32> {
        processes::ranks(&self.job)
    }

    /// Waits until `look` finds something while it runs; fails with what it said if it ends before
    /// that, or at its limit.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&Running) -> Option<T>,
    ) -> T {
        loop {
            let ended = self.ended();
            if let Some(found) = look(self) {
                return found;
            }
            let late = self.begun.elapsed() > self.limit;
            assert!(!ended && !late, "{}: waited in vain for {what}:\n{}", self.name, self.said());
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until all of so many ranks have joined it, and gives their processes.
    pub(crate) fn joined(&mut self, ranks: u32) -> BTreeMap<u32, u32> {
        self.wait_for("all ranks to join", |running| {
            let joined = running.said().matches(" joined the job").count();
            (joined >= ranks as usize).then_some(())
        });
        let processes = self.ranks();
        assert_eq!(processes.len(), ranks as usize, "{}: {processes:?}", self.name);
        processes
    }

    /// What stands on its stderr so far.
    fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }

    /// The library that its ranks loaded, once one of them has joined it.
    pub(crate) fn library(&self) -> Option<String> {
        let said = self.said();
        let (library, _) = said.split_once("over=\"")?.1.split_once('"')?;
        Some(library.to_owned())
    }

    /// Waits for its end, for so long at most from now on.
    pub(crate) fn end_within(mut self, patience: Duration) -> Done {
        self.limit = self.begun.elapsed() + patience;
        self.end()
    }

    /// Waits for its end: the launcher's, and soon after that of all that it started. At the limit
    /// it is ended, and the test fails.
    pub(crate) fn end(mut self) -> Done {
        while !self.ended() {
            let late = self.begun.elapsed() > self.limit;
            assert!(!late, "{} took more than {:?}:\n{}", self.name, self.limit, self.said());
            std::thread::sleep(LOOK);
        }
        wait_for("the ranks and their witness to end", || {
            self.processes().is_empty().then_some(())
        });
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        let text = |text: &Text| String::from_utf8_lossy(&text.bytes()).into_owned();
        let said = self.said();
        let ours = |line: &&str| !line.contains(JOINED);
        let mut stderr: String =
            said.lines().filter(ours).map(|line| format!("{line}\n")).collect();
        let status = self.child.wait().unwrap();
        if let Some(signal) = status.signal() {
            stderr.push_str(&format!("the launcher was ended by signal {signal}\n"));
        }
        Done { code: status.code().unwrap_or(-1), stdout: text(&self.stdout), stderr }
    }

    /// Kills all of it at once.
    pub(crate) fn kill(&self) {
        let all = || self.processes().into_iter().map(|process| process.id);
        // Whoever started one in between is gone the second time.
        while all().next().is_some() {
            processes::signal_all("KILL", all());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a stream of a job has said so far.
#[derive(Clone, Debug, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    fn fill(self, mut stream: impl Read + Send + 'static) -> JoinHandle<()> {
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                self.0.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        })
    }
}
