//! Processes of the program: what they say, how much memory they take, when they end.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing is waited for any longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something.
const LOOK: Duration = Duration::from_millis(20);

/// A running process. Dropping it ends it.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
    started: Instant,
    /// The most memory that was seen, in KiB.
    peak_kib: u64,
}

/// Tries something again and again.
pub(crate) fn until<T>(what: &str, mut f: impl FnMut() -> Option<T>) -> Result<T, String> {
    let start = Instant::now();
    loop {
        if let Some(found) = f() {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{what}: not within {PATIENCE:?}"));
        }
        std::thread::sleep(LOOK);
    }
}

/// A small file.
fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(1 << 20).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Program {
    /// Starts it with these words; what it says goes into a file in `folder`.
    pub(crate) fn start(
        dunlin: &Path,
        folder: &Path,
        name: &str,
        words: &[&str],
    ) -> Result<Program, String> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).map_err(|error| error.to_string())?;
        let child = Command::new(dunlin)
            .args(words)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", dunlin.display()))?;
        Ok(Program { child, log, started: Instant::now(), peak_kib: 0 })
    }

    /// Runs it to its end.
    pub(crate) fn finish(
        dunlin: &Path,
        folder: &Path,
        name: &str,
        words: &[&str],
    ) -> Result<(), String> {
        let mut program = Program::start(dunlin, folder, name, words)?;
        let (code, _) = program.ends(PATIENCE).ok_or_else(|| format!("{words:?} does not end"))?;
        if code == Some(0) {
            return Ok(());
        }
        Err(format!("{words:?}: exit {code:?}: {}", text(&program.log)))
    }

    /// The rest of a line that it says.
    pub(crate) fn says(&mut self, before: &str) -> Result<String, String> {
        until(before, || {
            let said = text(&self.log);
            let found = said.lines().find_map(|line| line.strip_prefix(before).map(str::to_owned));
            if found.is_none() && !matches!(self.child.try_wait(), Ok(None)) {
                return Some(Err(format!("it has ended: {said}")));
            }
            found.map(Ok)
        })?
    }

    /// Where it listens.
    pub(crate) fn address(&mut self) -> Result<SocketAddr, String> {
        let said = self.says("listening at ")?;
        said.trim().parse().map_err(|_| format!("`{said}` is no address"))
    }

    /// Its exit code and how long it ran, if it ends in time.
    pub(crate) fn ends(&mut self, limit: Duration) -> Option<(Option<i32>, Duration)> {
        while self.started.elapsed() < limit {
            self.peak_kib();
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some((status.code(), self.started.elapsed()));
            }
            std::thread::sleep(LOOK);
        }
        None
    }

    /// The most memory that it has had, in KiB, as far as it was looked at while it ran.
    pub(crate) fn peak_kib(&mut self) -> u64 {
        let status = text(Path::new(&format!("/proc/{}/status", self.child.id())));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        let now = number.and_then(|number| number.parse().ok()).unwrap_or(0);
        self.peak_kib = self.peak_kib.max(now);
        self.peak_kib
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
