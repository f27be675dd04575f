//! `dunlin witness`: the process that outlives the ranks of its host, as ranks start it.

use crate::common::{Sandbox, wait_for};
use dunlin_base::Rank;
use dunlin_cluster::run_mark::{LastRun, RunMark};
use dunlin_cluster::watch::Neighbour;
use dunlin_cluster::witness::Witness;
use dunlin_disk::{Fs, RealFs};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

/// Tells a process of this test which rank it is, and where its files go.
const RANK: &str = "DUNLIN_TEST_RANK";

/// Not a test by itself: a rank that lives until it is killed. It begins its mark, and says who it
/// is.
#[test]
fn rank() {
    let Ok(text) = std::env::var(RANK) else { return };
    let (rank, dest) = text.split_once(' ').unwrap();
    let rank = Rank(rank.parse().unwrap());
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let me = match dest {
        "" => {
            let _mark = RunMark::begin_temporary(rank, "a-1").unwrap();
            Neighbour::me(rank, None)
        }
        dest => {
            let _mark = RunMark::begin(&fs, Path::new(dest), rank, "a-1").unwrap();
            Neighbour::me(rank, Some(dest.into()))
        }
    };
    writeln!(std::io::stdout(), "\nrank {} {}", me.pid, me.started).unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// A rank, as its launcher sees it.
struct Started {
    process: Child,
    output: BufReader<ChildStdout>,
    me: Neighbour,
}

/// Starts a rank; one without a folder has a temporary mark.
fn start(rank: u32, dest: Option<PathBuf>) -> Started {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "witness::rank", "--nocapture"]);
    let text = dest.as_ref().map_or(String::new(), |dest| dest.display().to_string());
    command.env(RANK, format!("{rank} {text}")).stderr(Stdio::null());
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut lines = output.by_ref().lines().map(Result::unwrap);
    let line = lines.find_map(|line| Some(line.strip_prefix("rank ")?.to_owned()));
    let line = line.expect("a rank that begins");
    let (pid, started) = line.split_once(' ').unwrap();
    let (pid, started) = (pid.parse().unwrap(), started.parse().unwrap());
    Started { process, output, me: Neighbour { rank: Rank(rank), pid, started, mark: dest } }
}

/// The command that a rank runs, in a process that got a descriptor of `file` from its parent.
fn command(file: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" witness 7<\"$1\"", env!("CARGO_BIN_EXE_dunlin")]).arg(file);
    command
}

/// A field of the state of a process, by its number in proc_pid_stat(5); `None` once it has ended.
fn field(process: u32, number: usize) -> Option<String> {
    let text = String::from_utf8(fs::read(format!("/proc/{process}/stat")).ok()?).unwrap();
    let fields = text.rsplit_once(')')?.1.split_whitespace().collect::<Vec<_>>();
    let ended = fields.first() == Some(&"Z");
    fields.get(number - 3).filter(|_| !ended).map(|field| (*field).to_owned())
}

#[test]
fn it_leaves_the_launcher_and_names_the_first_that_dies() {
    let sandbox = Sandbox::new();
    let inherited = sandbox.write("of-the-launcher", "").canonicalize().unwrap();
    for round in 0..20 {
        let dest = |rank: usize| (rank > 0).then(|| sandbox.path(&format!("{round}/peer{rank}")));
        let mut ranks: Vec<Started> = (0..4).map(|rank| start(rank as u32, dest(rank))).collect();
        let neighbours: Vec<Neighbour> = ranks.iter().map(|rank| rank.me.clone()).collect();
        let witness = Witness::spawn_as(command(&inherited), &neighbours).unwrap();
        let id = witness.id();
        let links = fs::read_dir(format!("/proc/{id}/fd")).unwrap();
        let links: Vec<PathBuf> =
            links.map(|entry| fs::read_link(entry.unwrap().path()).unwrap()).collect();
        assert!(!links.contains(&inherited), "{links:?}");
        assert_eq!(field(id, 6), Some(id.to_string()), "a session of its own");
        assert_eq!(fs::read_link(format!("/proc/{id}/cwd")).unwrap(), Path::new("/"));
        let first = round % 4;
        ranks[first].process.kill().unwrap();
        // As launchers do: the end of its output is the news, and then everybody else is killed.
        ranks[first].output.read_to_end(&mut Vec::new()).unwrap();
        ranks.iter_mut().for_each(|rank| rank.process.kill().unwrap());
        ranks.iter_mut().for_each(|rank| assert!(rank.process.wait().is_ok()));
        wait_for("the witness to end", || field(id, 6).is_none().then_some(()));
        let died = vec![Rank(first as u32)];
        let expected = Some(LastRun { died, unfinished: true });
        for place in (0..4).filter_map(dest) {
            assert_eq!(LastRun::read(&RealFs, &place), expected, "round {round}");
        }
        let of_tracker = format!("-{}-{}", neighbours[0].pid, neighbours[0].started);
        let left = fs::read_dir(std::env::temp_dir()).unwrap().filter(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(&of_tracker)
        });
        assert_eq!(left.count(), 0, "the tracker's mark is gone");
    }
}

#[test]
fn it_is_no_command_for_people() {
    let sandbox = Sandbox::new();
    assert!(!sandbox.expect(0, "--help").stdout.contains("witness"));
    let done = sandbox.expect(3, "witness");
    assert!(done.stdout.is_empty() && done.stderr.contains("the witness cannot watch"), "{done:?}");
}
