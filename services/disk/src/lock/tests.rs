use super::*;
use crate::lock_file::held_by;
use crate::{MemFs, RealFs, STATE_DIR};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use tempfile::TempDir;

/// Names the folder and the job to a process that is to hold a lock.
const HOLD: &str = "DUNLIN_TEST_HOLD";

type Place = (Arc<dyn Fs>, PathBuf);

/// A folder on each kind of file system.
fn places() -> (TempDir, [Place; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("out");
    (folder, [(Arc::new(MemFs::new()), "/out".into()), (Arc::new(RealFs), real)])
}

/// A refusal need not take its time here: whoever is in the way is there for good.
fn shared(fs: &Arc<dyn Fs>, root: &Path, job: &str) -> Result<OutputLock, LockError> {
    OutputLock::acquire_within(fs, root, job, Duration::ZERO)
}

#[test]
fn the_second_run_is_refused_and_told_who_holds_it() {
    let (_folder, places) = places();
    for (fs, root) in &places {
        let state = root.join(STATE_DIR);
        let lock = OutputLock::acquire(fs, root).unwrap();
        let text = OutputLock::acquire(fs, root).unwrap_err().to_string();
        assert!(text.contains(&format!("process {} (", std::process::id())), "{text}");
        assert!(held_by(&**fs, &state).is_some());
        drop(lock);
        assert!(fs.metadata(&state).is_err(), "the state folder goes with it");
        // Left behind by a killed run.
        fs.create_dir_all(&state).unwrap();
        fs.create_new(&state.join(LOCK_NAME)).unwrap();
        fs.create_new(&state.join("other")).unwrap();
        drop(OutputLock::acquire(fs, root).unwrap());
        assert!(fs.metadata(&state.join(LOCK_NAME)).is_err() && fs.metadata(&state).is_ok());
    }
}

#[test]
fn torrents_have_locks_of_their_own() {
    let (_folder, places) = places();
    let (one, other) = (InfoHash([1; 20]), InfoHash([2; 20]));
    for (fs, root) in &places {
        let state = root.join(STATE_DIR);
        let first = OutputLock::acquire_for(fs, root, one).unwrap();
        let second = OutputLock::acquire_for(fs, root, other).unwrap();
        let text = OutputLock::acquire_for(fs, root, one).unwrap_err().to_string();
        assert!(text.contains("in use by process"), "{text}");
        // A run that has the whole folder writes wherever it likes.
        let whole = [OutputLock::acquire(fs, root), OutputLock::acquire_shared(fs, root, "job")];
        for refused in whole {
            assert!(refused.unwrap_err().to_string().contains("in use by process"));
        }
        assert!(fs.metadata(&state.join(LOCK_NAME)).is_err(), "what was refused leaves no lock");
        drop(first);
        assert!(held_by(&**fs, &state).is_some(), "the other one is still held");
        drop(second);
        assert!(fs.metadata(&state).is_err(), "the state folder goes with the last");
        let whole = OutputLock::acquire(fs, root).unwrap();
        assert!(OutputLock::acquire_for(fs, root, one).is_err(), "a run has the whole folder");
        drop(whole);
    }
}

#[test]
fn ranks_of_one_job_share_and_nobody_else_gets_in() {
    let (_folder, places) = places();
    for (fs, root) in &places {
        let state = root.join(STATE_DIR);
        let first = shared(fs, root, "a-1\n").unwrap();
        let second = shared(fs, root, "a-1").unwrap();
        let refused = |what: &str| {
            let texts = [
                OutputLock::acquire(fs, root).unwrap_err().to_string(),
                shared(fs, root, "a").unwrap_err().to_string(),
                shared(fs, root, "b-1").unwrap_err().to_string(),
            ];
            let name =
                format!("the ranks of job a-1, one of them process {} (", std::process::id());
            for text in texts {
                assert!(text.contains(&name), "{what}: {text}");
            }
            assert!(held_by(&**fs, &state).is_some_and(|holder| holder.contains("a-1")), "{what}");
        };
        refused("two hold it");
        drop(first);
        refused("the first is gone");
        let third = shared(fs, root, "a-1").unwrap();
        drop(second);
        refused("the first two are gone");
        drop(third);
        assert!(fs.metadata(&state).is_err(), "the state folder goes with the last");
        let plain = OutputLock::acquire(fs, root).unwrap();
        let text = shared(fs, root, "a-1").unwrap_err().to_string();
        assert!(text.contains(&format!("in use by process {} (", std::process::id())), "{text}");
        drop(plain);
        drop(shared(fs, root, "b-1").unwrap());
        assert!(fs.metadata(&state).is_err());
    }
}

#[test]
fn what_a_killed_job_left_is_taken() {
    let (_folder, places) = places();
    for (fs, root) in &places {
        let path = root.join(STATE_DIR).join(LOCK_NAME);
        for left in ["", "job ", "job a\n12 (x)\n", "12 (x)\n", "job b", "job b\n", "\n\n\0"] {
            fs.create_dir_all(&root.join(STATE_DIR)).unwrap();
            let file = fs.open_write(&path).unwrap();
            write_text(&*file, bytes::Bytes::copy_from_slice(left.as_bytes())).unwrap();
            let locks = [shared(fs, root, "b").unwrap(), shared(fs, root, "b").unwrap()];
            assert!(shared(fs, root, "a").is_err() && OutputLock::acquire(fs, root).is_err());
            drop(locks);
            assert!(fs.metadata(&path).is_err());
        }
    }
}

#[test]
fn a_job_that_cannot_say_whose_the_lock_is_does_not_get_it() {
    let disk = MemFs::new();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    disk.set_space(Some(3));
    let failed = shared(&fs, Path::new("/out"), "a").unwrap_err();
    assert!(matches!(failed, LockError::Io { .. }), "{failed}");
    drop(OutputLock::acquire(&fs, Path::new("/out")).unwrap());
    disk.set_space(None);
    shared(&fs, Path::new("/out"), "a").unwrap();
}

#[test]
fn a_name_that_was_given_to_another_file_is_noticed() {
    let (_folder, places) = places();
    for (fs, root) in &places {
        let path = root.join(STATE_DIR).join(LOCK_NAME);
        let early = open(&**fs, &root.join(STATE_DIR), &path).unwrap().unwrap();
        fs.remove_file(&path).unwrap();
        let lock = shared(fs, root, "a").unwrap();
        assert!(!share(&**fs, &path, &early, "a").unwrap(), "a lock without a name");
        // As if somebody had got between when the last rank of `a` left.
        fs.remove_file(&path).unwrap();
        let other = shared(fs, root, "b").unwrap();
        drop(lock);
        assert!(
            OutputLock::acquire(fs, root).is_err(),
            "the name is not the first one's to remove"
        );
        drop(other);
        assert!(fs.metadata(&path).is_err());
    }
}

/// Threads of three jobs and of plain runs come and go; at no time do two of them hold the lock
/// that may not.
#[test]
fn never_two_jobs_at_once() {
    let (_folder, places) = places();
    for (fs, root) in &places {
        let inside: Mutex<BTreeMap<String, usize>> = Mutex::default();
        let enter = |name: &str| {
            let mut inside = inside.lock().unwrap();
            *inside.entry(name.to_owned()).or_default() += 1;
            let plain = inside.get("").copied().unwrap_or(0);
            assert!(inside.len() == 1 && plain <= 1, "{inside:?}");
        };
        let leave = |name: &str| {
            let mut inside = inside.lock().unwrap();
            let count = inside.get_mut(name).unwrap();
            *count -= 1;
            if *count == 0 {
                inside.remove(name);
            }
        };
        std::thread::scope(|scope| {
            for name in ["a", "a", "a", "b", "b", "c", "", ""] {
                let (enter, leave) = (&enter, &leave);
                scope.spawn(move || {
                    let mut got = 0;
                    while got < 50 {
                        let lock = match name {
                            "" => OutputLock::acquire(fs, root),
                            job => shared(fs, root, job),
                        };
                        let Ok(lock) = lock else { continue };
                        enter(name);
                        std::thread::yield_now();
                        leave(name);
                        drop(lock);
                        got += 1;
                    }
                });
            }
        });
        drop(OutputLock::acquire(fs, root).unwrap());
        assert!(fs.metadata(&root.join(STATE_DIR)).is_err());
    }
}

/// All ranks of a job start at the same moment, again and again: none is refused.
#[test]
fn ranks_that_start_together_all_get_it() {
    let (_folder, places) = places();
    for (fs, root) in &places {
        for round in 0..20 {
            let job = format!("job {round}");
            let start = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                let rank = || {
                    start.wait();
                    let lock = OutputLock::acquire_shared(fs, root, &job).unwrap();
                    start.wait();
                    drop(lock);
                };
                (0..8).for_each(|_| drop(scope.spawn(rank)));
            });
            assert!(fs.metadata(&root.join(STATE_DIR)).is_err(), "the last one cleans up");
        }
    }
}

/// Not a test by itself: the process that holds a lock until it is killed.
#[test]
fn hold_until_killed() {
    let Ok(text) = std::env::var(HOLD) else { return };
    let (root, job) = text.split_once('|').unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let _lock = OutputLock::acquire_shared(&fs, Path::new(root), job).unwrap();
    // On a line of its own, whatever the test harness has begun to print.
    writeln!(io::stdout(), "\nheld").unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn hold(root: &Path, job: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "lock::tests::hold_until_killed", "--nocapture"]);
    command.env(HOLD, format!("{}|{job}", root.display()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line == "held"), "it ended without the lock");
    child
}

#[test]
fn the_lock_outlives_all_but_the_last_process() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("out");
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut children = [hold(&root, "a"), hold(&root, "a"), hold(&root, "a")];
    for child in &mut children {
        assert!(shared(&fs, &root, "b").is_err() && OutputLock::acquire(&fs, &root).is_err());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    drop(shared(&fs, &root, "b").unwrap());
    assert!(fs.metadata(&root.join(STATE_DIR)).is_err(), "nothing is left of either");
}

/// Whoever may write to the state folder like us may have left a lock there that is not ours.
#[test]
fn a_lock_of_another_user_counts_while_it_is_held_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let (fs, root): Place = (Arc::new(RealFs), folder.path().join("out"));
    if !fs.is_root() {
        return;
    }
    let path = root.join(STATE_DIR).join(LOCK_NAME);
    for job in [None, Some("a")] {
        std::fs::create_dir_all(root.join(STATE_DIR)).unwrap();
        std::fs::write(&path, "12 (theirs)\n").unwrap();
        std::os::unix::fs::chown(&path, Some(61_001), Some(61_001)).unwrap();
        let take = || match job {
            None => OutputLock::acquire(&fs, &root),
            Some(job) => shared(&fs, &root, job).or_else(|_| shared(&fs, &root, job)),
        };
        let theirs = fs.open_read(&path).unwrap();
        assert!(fs.lock_exclusive(&theirs).unwrap());
        let text = take().unwrap_err().to_string();
        assert!(text.contains("in use by process 12 (theirs)"), "{job:?}: {text}");
        drop(theirs);
        drop(take().unwrap());
        assert!(!path.exists());
    }
}

#[test]
fn what_stands_in_the_place_of_the_state_folder_is_named() {
    let (_folder, places) = places();
    for (fs, root) in &places {
        fs.create_dir_all(root).unwrap();
        fs.create_new(&root.join(STATE_DIR)).unwrap();
        let state = root.join(STATE_DIR);
        for refused in [OutputLock::acquire(fs, root), shared(fs, root, "a")] {
            let text = refused.unwrap_err().to_string();
            assert!(text.starts_with(&format!("{}: this is no folder", state.display())), "{text}");
        }
    }
    let path = PathBuf::from("/out/.dunlin/lock");
    let error = io::ErrorKind::ReadOnlyFilesystem.into();
    let text = LockError::Io { path, error }.to_string();
    assert!(text.contains("the file system is mounted read-only;"), "{text}");
}
