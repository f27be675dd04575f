//! Ranks that are started over ssh. The command line of each is fixed and holds no secret; key,
//! address and rank go through its standard input, as one line of JSON. Its standard error is
//! passed on with its host in front. It never decides what a rank does.
//!
//! ```text
//!   rank 0 ── ssh HOST 'dunlin join -' ──▶ rank R
//!             stdin: one line, then open until the end: when it closes, rank 0 is gone
//! ```

use crate::console::out;
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often remote commands are looked at for their end: nothing waits for that.
const LOOK: Duration = Duration::from_millis(50);
/// How long remote ranks have to end by themselves after rank 0 has closed their standard input.
const LEAVE: Duration = Duration::from_secs(10);
/// How long a remote rank goes on after rank 0 is gone: it finishes what its neighbours hold, which
/// takes less.
const ORPHAN: Duration = Duration::from_secs(60);
/// The longest line that is passed on or read from standard input, in bytes.
const MAX_LINE: u64 = 64 * 1024;
/// What is added to plain `ssh`: it must not ask anybody anything, and not wait for ever.
const PLAIN_SSH: [&str; 5] = ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"];

/// How a program is started on a host.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    /// The command and its options.
    words: Vec<String>,
    /// What is run on the host.
    command: String,
}

impl Remote {
    /// `ssh` is the command as it was given; `dunlin` is where dunlin is on the hosts, if that was
    /// given.
    ///
    /// # Errors
    /// If the command is empty (exit 2).
    pub(super) fn new(ssh: &str, dunlin: Option<&Path>) -> Result<Remote, Failure> {
        let mut words: Vec<String> = ssh.split_whitespace().map(str::to_owned).collect();
        match words.as_slice() {
            [] => return Err(Failure::usage("--ssh: the command is empty; leave it away for ssh")),
            [only] if only == "ssh" => words.extend(PLAIN_SSH.map(str::to_owned)),
            _ => {}
        }
        let run = match (dunlin, std::env::current_exe()) {
            (Some(path), _) => format!("exec {} join -", out::shell_word(path)),
            (None, Ok(own)) => {
                let own = out::shell_word(&own);
                format!("if test -x {own}; then exec {own} join -; fi; exec dunlin join -")
            }
            (None, Err(_)) => "exec dunlin join -".to_owned(),
        };
        // The login shell there may be any.
        let command = format!("exec sh -c {}", out::shell_word(&PathBuf::from(run)));
        Ok(Remote { words, command })
    }

    fn spawn(&self, host: &str, line: &str) -> io::Result<Child> {
        let (program, options) = self.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(options)
            .args([host, &self.command])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for rank 0, which ends the others in order.
            .process_group(0)
            .spawn()?;
        if let Some(stdin) = &mut child.stdin {
            // A command that ended at once prints the reason by itself.
            let _ = stdin.write_all(format!("{line}\n").as_bytes());
        }
        Ok(child)
    }
}

/// A rank that is to be started.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// The rank.
    pub(super) rank: Rank,
    /// Its host.
    pub(super) host: String,
    /// The line for its standard input.
    pub(super) line: String,
}

/// Ranks that were started; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Remotes {
    over: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

impl Remotes {
    /// Starts ranks. `lost` is called for each that could not be started or ended without having
    /// been a rank.
    ///
    /// # Errors
    /// If there are no more threads (exit 3).
    pub(super) fn start(
        remote: &Remote,
        ranks: Vec<Start>,
        lost: impl Fn(Rank) + Send + 'static,
    ) -> Result<Remotes, Failure> {
        let mut running = Vec::new();
        for Start { rank, host, line } in ranks {
            match remote.spawn(&host, &line) {
                Ok(mut child) => {
                    if let Some(stderr) = child.stderr.take() {
                        forward_stderr(stderr, host.clone())?;
                    }
                    running.push(RemoteCommand { rank, host, child });
                }
                Err(error) => {
                    let program = remote.words.first().map_or("ssh", String::as_str);
                    out::error(&format!(
                        "{host}: rank {rank} cannot be started: {program}: {error}"
                    ));
                    lost(rank);
                }
            }
        }
        let over = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&over);
        let keeper = thread::Builder::new()
            .name("remotes".to_owned())
            .spawn(move || keep(running, &ending, &lost))
            .map_err(no_threads)?;
        Ok(Remotes { over, keeper: Some(keeper) })
    }
}

impl Drop for Remotes {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(keeper) = self.keeper.take() {
            // A keeper that failed has nothing left to keep.
            let _ = keeper.join();
        }
    }
}

/// A remote command.
struct RemoteCommand {
    rank: Rank,
    host: String,
    child: Child,
}

/// Watches over remote commands until all have ended; kills those that do not when all is over.
fn keep(mut running: Vec<RemoteCommand>, over: &AtomicBool, lost: &dyn Fn(Rank)) {
    let mut until: Option<Instant> = None;
    while !running.is_empty() {
        if over.load(Ordering::SeqCst) && until.is_none() {
            until = Some(Instant::now() + LEAVE);
            running.iter_mut().for_each(|one| drop(one.child.stdin.take()));
        }
        let late = until.is_some_and(|until| Instant::now() >= until);
        running.retain_mut(|one| {
            if late {
                let _ = one.child.kill();
                let _ = one.child.wait();
                return false;
            }
            match one.child.try_wait() {
                Ok(None) => true,
                Ok(Some(status)) => {
                    if until.is_none() && never_began(status) {
                        let (host, rank) = (&one.host, one.rank);
                        out::error(&format!("{host}: rank {rank} did not start: {}", why(status)));
                        lost(rank);
                    }
                    false
                }
                Err(_) => false,
            }
        });
        if !running.is_empty() {
            thread::sleep(LOOK);
        }
    }
}

/// Whether the exit code is one that no rank ends with after it has joined: of ssh, of a shell that
/// finds no program, or of a program that cannot begin. One that was killed may have joined; if so,
/// its silence is noticed.
fn never_began(status: ExitStatus) -> bool {
    matches!(status.code(), Some(2 | 3 | 126 | 127 | 255))
}

fn why(status: ExitStatus) -> String {
    match status.code() {
        Some(255) => "the host cannot be reached (exit status 255)".to_owned(),
        Some(126 | 127) => {
            "there is no dunlin that can be run; give its place with --remote-dunlin".to_owned()
        }
        _ => format!("its command ended ({status})"),
    }
}

/// Passes on what a host prints, line by line.
fn forward_stderr(stderr: ChildStderr, host: String) -> Result<(), Failure> {
    let pass = move || {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        while reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line);
            out::notice(&format!("{host}: {}", text.trim_end()));
            line.clear();
        }
    };
    thread::Builder::new().name("remote-says".to_owned()).spawn(pass).map_err(no_threads)?;
    Ok(())
}

fn no_threads(error: io::Error) -> Failure {
    Failure::environment(format!("no more threads: {error}; try again"))
}

/// Reads the one line with the job of this process, and ends the process some time after the rest
/// of standard input has ended: then the process that started it is gone.
///
/// # Errors
/// If there is no such line (exit 3).
pub(super) fn read_line() -> Result<String, Failure> {
    let wrong = |why: &str| {
        Failure::environment(format!(
            "`dunlin join -` is started by rank 0, which tells it what to do: {why}"
        ))
    };
    let mut line = Vec::new();
    let mut byte = [0];
    // Byte by byte: what follows must not be buffered.
    let mut stdin = io::stdin().lock();
    while line.len() as u64 <= MAX_LINE && stdin.read(&mut byte).is_ok_and(|read| read > 0) {
        match byte {
            [b'\n'] => break,
            [other] => line.push(other),
        }
    }
    drop(stdin);
    if line.is_empty() {
        return Err(wrong("standard input says nothing"));
    }
    let line = String::from_utf8(line).map_err(|_| wrong("standard input is no text"))?;
    let wait = || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        thread::sleep(ORPHAN);
        std::process::exit(Exit::Network.code().into());
    };
    thread::Builder::new().name("told".to_owned()).spawn(wait).map_err(no_threads)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A remote that runs `sh -c` here with everything after the host.
    fn here(dunlin: &str) -> Remote {
        let mut remote = Remote::new("env", Some(Path::new(dunlin))).unwrap();
        remote.words = ["sh", "-c", "shift; sh -c \"$*\"", "ssh"].map(str::to_owned).into();
        remote
    }

    fn start(host: &str) -> Start {
        Start { rank: Rank(3), host: host.to_owned(), line: "{}".to_owned() }
    }

    #[test]
    fn the_command_says_nothing_but_what_it_is() {
        let remote = Remote::new("ssh", Some(Path::new("/opt/my dunlin"))).unwrap();
        assert_eq!(remote.words.first().map(String::as_str), Some("ssh"));
        assert!(remote.words.contains(&"BatchMode=yes".to_owned()));
        assert_eq!(remote.command, r"exec sh -c 'exec '\''/opt/my dunlin'\'' join -'");
        let other = Remote::new("rsh -x", None).unwrap();
        assert_eq!(other.words, ["rsh", "-x"]);
        assert!(other.command.ends_with("exec dunlin join -'"), "{}", other.command);
        assert!(Remote::new("  ", None).is_err());
    }

    #[test]
    fn a_rank_that_does_not_start_is_lost() {
        for remote in [here("/nowhere/dunlin"), Remote::new("/nowhere/ssh -q", None).unwrap()] {
            let (send_lost, lost_ranks) = mpsc::channel();
            let lost = move |rank| _ = send_lost.send(rank);
            let remotes = Remotes::start(&remote, vec![start("n3")], lost).unwrap();
            assert_eq!(lost_ranks.recv_timeout(Duration::from_secs(60)), Ok(Rank(3)));
            drop(remotes);
        }
    }

    #[test]
    fn a_rank_that_ends_in_order_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("dunlin");
        // Ends when its standard input does, with the code of a rank that failed.
        std::fs::write(&script, "#!/bin/sh\ncat >/dev/null\nexit 1\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        let (send_lost, lost_ranks) = mpsc::channel();
        let lost = move |rank| _ = send_lost.send(rank);
        let remote = here(script.to_str().unwrap());
        let remotes = Remotes::start(&remote, vec![start("n3")], lost).unwrap();
        let begun = Instant::now();
        drop(remotes);
        assert!(begun.elapsed() < LEAVE, "it was not waited for in vain");
        assert!(lost_ranks.recv().is_err(), "nobody is lost");
    }
}
