//! A job of several processes over TCP, started by a test.

use crate::common::{Done, Sandbox, data, end, signal, wait_for};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// The processes of a job, by rank.
pub(crate) struct Job<'a> {
    sandbox: &'a Sandbox,
    size: u32,
    line: String,
    ranks: Vec<Option<Child>>,
}

impl<'a> Job<'a> {
    /// Starts `dunlin swarm plan` as `size` processes, with these options too.
    pub(crate) fn start(sandbox: &'a Sandbox, size: u32, options: &str) -> Job<'a> {
        let line = format!("swarm plan --fabric tcp --size {size} --key-file key --json {options}");
        let mut job = Job { sandbox, size, line, ranks: Vec::new() };
        for rank in 0..size {
            job.ranks.push(Some(job.spawn(rank)));
        }
        job
    }

    fn spawn(&self, rank: u32) -> Child {
        let mut command = self.sandbox.command(&format!("{} --rank {rank}", self.line));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Kills a rank; it has no time for a word.
    pub(crate) fn kill(&mut self, rank: u32) {
        let mut child = self.ranks[rank as usize].take().expect("it runs");
        signal(child.id(), "KILL");
        child.wait().unwrap();
    }

    /// Starts a rank again.
    pub(crate) fn again(&mut self, rank: u32) {
        self.ranks[rank as usize] = Some(self.spawn(rank));
    }

    /// Waits until a rank has written so many bytes of a file that it wants.
    pub(crate) fn wait_for_bytes(&self, rank: u32, name: &str, bytes: u64) {
        let part = self.sandbox.path(&format!("plan/peer{rank}/.{name}.dunlin-part"));
        wait_for("a part of the file", || {
            // Blocks of 512 bytes that are really there.
            let written = std::fs::metadata(&part).map_or(0, |meta| meta.blocks() * 512);
            (written >= bytes || self.file(rank, name).exists()).then_some(())
        });
    }

    /// Where a rank's file stands in the end.
    pub(crate) fn file(&self, rank: u32, name: &str) -> PathBuf {
        self.sandbox.path(&format!("plan/peer{rank}/{name}"))
    }

    /// Waits until all processes have ended; those that were killed are `None`.
    pub(crate) fn end(&mut self) -> Vec<Option<Done>> {
        let end = |child: &mut Option<Child>| child.take().map(end);
        let done: Vec<Option<Done>> = self.ranks.iter_mut().map(end).collect();
        for one in done.iter().flatten() {
            assert!(!one.stderr.contains("panicked"), "{}", one.stderr);
        }
        assert_eq!(done.len(), self.size as usize);
        done
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        for child in self.ranks.iter_mut().flatten() {
            // A test that failed leaves nobody behind.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A plan in which rank 1 has `file` of so many bytes and the others want it.
pub(crate) fn one_owner(sandbox: &Sandbox, size: u32, bytes: usize) -> Vec<u8> {
    let content = data(7, bytes);
    sandbox.write("plan/peer1/file", &content);
    for rank in 2..size {
        sandbox.write(&format!("plan/peer{rank}/wants"), "file\n");
    }
    content
}

/// The exit codes of a job; -2 for a process that was killed.
pub(crate) fn codes(done: &[Option<Done>]) -> Vec<i32> {
    done.iter().map(|one| one.as_ref().map_or(-2, |done| done.code)).collect()
}

/// Rank 0's document.
pub(crate) fn document(done: &[Option<Done>]) -> Value {
    let first = done[0].as_ref().expect("rank 0");
    serde_json::from_str(&first.stdout).unwrap_or_else(|_| panic!("no document: {first:?}"))
}
